/**
 * The page of the five gateways: which one is talked to, what one says to it, and how its line is broken. A gateway's file
 * makes the line and says how an answer is asked for; all of them answer in the same words, which agents-talk.js shows.
 *
 * Such a file gives `id`, `name`, `says` (one sentence on the protocol), `load` (the package's entry), `dialects` if there
 * are several, `tries` (things to say), `harms` (controls with what they are told, or a sentence on why not), and `open(…)`, which answers with
 * `line`, `say(text)` (a run of the package's, or a `Turn` that tells the same events), `aside(frame)` (what else a frame says).
 */
import { Gateway } from "./agents-gateway.js";
import { Talk } from "./agents-talk.js";
import actionCable from "./agents-action-cable.js";
import hermes from "./agents-hermes.js";
import nexus from "./agents-nexus.js";
import observation from "./agents-observation.js";
import openclaw from "./agents-openclaw.js";
import { Panel } from "./panel.js";

const KNOWN = [nexus, actionCable, openclaw, hermes, observation];

/** What one may do to a line, unless the gateway's file knows better. */
const HARMS = {
  drop: { label: ["Drop", "the line"], steps: [["faults", { reset: true }]], says: "The connection is reset, in the middle of whatever it carries." },
  freeze: { label: ["Freeze", "it"], steps: [["faults", { halfOpen: true }]], says: "Not a byte more, and no end: the line has to notice by itself." },
  restart: { label: ["Restart", "the server"], says: "It goes down for a moment, and forgets what it does not store." },
  tear: { label: ["Tear", "a hole"] },
};

const query = new URLSearchParams(location.search);
const chosen = KNOWN.find(({ id }) => id === query.get("with")) ?? openclaw;
const dialects = Object.entries(chosen.dialects ?? {});
const [dialectName, dialect] = dialects.find(([name]) => name === query.get("as")) ?? dialects[0] ?? ["", ""];

const $ = (selector) => document.querySelector(selector);
const talk = new Talk();
const gateway = new Gateway();

offer();
const { Moorline } = await chosen.load();
await gateway.find();
const options = {
  // Nobody else listens on this page.
  target: null,
  // Somebody sits in front of it, and the gateway is a small one.
  reconnect: { baseDelayMs: 1500, maxDelayMs: 8000 },
  heartbeat: { idleMs: 5000, probeTimeoutMs: 3000 },
};
const talks = await chosen.open({ Moorline, options, gateway, talk, dialect });
const { line } = talks;
window.agents = { line, gateway, chosen };

line.addEventListener("ws-connected", ({ detail }) => talk.back(detail));
line.addEventListener("ws-disconnected", ({ detail }) => talk.lost(detail));
line.addEventListener("ws-failed", ({ detail }) => talk.fault(detail.frame?.error?.message ?? ""));
line.addEventListener("ws-error", ({ detail }) => talk.fault(detail.message));
const panel = new Panel(line, () => {});
talk.panel = panel;
talk.onChange = () => {
  $("#stop").hidden = !talk.latest;
};

$("#say").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = $("#words");
  if (say(words.value.trim())) words.value = "";
});
$("#stop").addEventListener("click", () => {
  talk.latest?.cancel();
  $("#words").focus();
});
addEventListener("keydown", ({ key }) => key === "Escape" && talk.latest?.cancel());
threaten();
panel.connect();
document.documentElement.dataset.ready = "true";

function say(text) {
  if (!text) return false;
  talk.fault("");
  try {
    const turn = talks.say(text);
    const fate = talk.mine(text);
    if (line.state !== "connected") fate("waiting", "◷ waits for the line");
    talk.answer(turn, { aside: talks.aside, fate, again: () => say(text) });
    return true;
  } catch (error) {
    talk.fault(`Not taken: ${error.message}`);
    return false;
  }
}

/** What there is to choose, and the choice. */
function offer() {
  document.title = `moorline · ${chosen.name}`;
  $("#whom").textContent = chosen.name;
  $("#about").textContent = chosen.says;
  for (const { id, name, says } of KNOWN) {
    const link = choice($("#choice"), `?with=${id}`, id === chosen.id);
    const [title, about] = ["b", "span"].map((tag) => document.createElement(tag));
    [title.textContent, about.textContent] = [name, says];
    link.append(title, about);
  }
  $("#choice [aria-current]").scrollIntoView({ block: "nearest", inline: "center" });
  for (const [name] of dialects) choice($("#dialects"), `?with=${chosen.id}&as=${encodeURIComponent(name)}`, name === dialectName).append(name);
  for (const text of chosen.tries) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => say(text));
    $("#tries").append(button);
  }
}

function choice(place, href, isChosen) {
  const link = document.createElement("a");
  link.href = href;
  if (isChosen) link.setAttribute("aria-current", "page");
  place.append(link);
  return link;
}

function threaten() {
  if (!gateway.obeys) {
    $("#unbroken").textContent = "The gateway's controls obey only a page at the gateway's own machine.";
    $("#unbroken").hidden = false;
    return;
  }
  const own = { ...chosen.harms, ...talks.harms };
  for (const [name, common] of Object.entries(HARMS)) {
    const excuse = typeof own[name] === "string" ? own[name] : "";
    const harm = { ...common, ...(excuse ? {} : own[name]) };
    const [item, button, rest, about] = ["li", "button", "span", "small"].map((tag) => document.createElement(tag));
    button.type = "button";
    rest.textContent = ` ${harm.label[1]}`;
    button.append(harm.label[0], rest);
    button.dataset.testid = `harm-${name}`;
    button.disabled = Boolean(excuse);
    about.id = `harm-${name}`;
    about.textContent = excuse || harm.says;
    button.setAttribute("aria-describedby", about.id);
    button.addEventListener("click", () => inflict(harm.steps));
    item.append(button, about);
    $("#harms").append(item);
  }
}

async function inflict(steps) {
  try {
    for (const [control, body] of steps) await gateway.control(control, body);
  } catch (error) {
    talk.fault(error.message);
  }
}
