/**
 * The page: one line to the gateway, and what its events mean for the people, the signals, the chat and the panel.
 * How those look is in the other modules; how the line is kept is the package's.
 */
import { Moorline } from "moorline";
import { Chat } from "./chat.js";
import { Panel } from "./panel.js";
import { SESSION_KEY, Who } from "./who.js";

const POSE_EVERY_MS = 100;
const NOTICES = 4;
const AGENTS = 8;

const me = new Who();
/** The others, by their id. */
const players = new Map();
const agents = new Map();
/** What the log says of who has just come: the name follows in a frame of its own. */
const arrivals = new Map();
/** The messages in the log, by the gateway's numbers: a snapshot repeats what was said last. */
const heard = new Set();
const LOADED = Date.now();
let stage = null;

const line = new Moorline(gatewayUrl(), {
  routes: { world_state: "world_state", "player-moved": "player-moved", "player-updated": "player-updated" },
  session: { storage: "session", key: SESSION_KEY },
  // Somebody sits in front of it, and the gateway is a small one: no need to spread the tries over half a minute.
  reconnect: { maxDelayMs: 10_000 },
});
window.world = { line, players, me, stage };

const chat = new Chat((text) => {
  const receipt = line.send({ type: "chat", text });
  stage?.say(null, line.state === "connected" ? text : `◷ ${text}`);
  return receipt;
});
chat.as = () => me;
const panel = new Panel(line, (state) => {
  chat.refresh();
  stage?.signals.line(state);
});

line.on("session-init", ({ clientId }) => known(clientId));
line.addEventListener("ws-connected", () => {
  known(line.session?.clientId);
  introduce();
  report(pose(), "pose");
  fade(false);
});
line.addEventListener("ws-disconnected", () => {
  chat.refresh();
  fade(true);
});
line.addEventListener("ws-error", ({ detail }) => {
  if (line.state === "closed" && detail.code !== "disposed") panel.broken(detail);
});

line.on("world_state", ({ players: there, agents: crew, chat: before, you }) => {
  known(you);
  const present = list(there).map(player).filter(({ id }) => id && id !== me.id);
  const ids = new Set(present.map(({ id }) => id));
  for (const id of [...players.keys()]) if (!ids.has(id)) leave(id);
  present.forEach(join);
  for (const { agent, status, task } of list(crew)) tellAgent(agent, status, task);
  // What was said while the line was down, and before one came. One's own words since then are in the log already.
  for (const said of list(before)) if (said.senderId !== me.id || said.at < LOADED) hear(said);
});
line.on("player-joined", (frame) => {
  const newcomer = player(frame);
  if (!newcomer.id || newcomer.id === me.id) return;
  const isNew = !players.has(newcomer.id);
  join(newcomer);
  if (isNew) arrivals.set(newcomer.id, chat.note(`${newcomer.name} came aboard`));
});
line.on("player-updated", (frame) => {
  const there = players.get(frame.id);
  if (!there) return;
  there.name = word(frame.name, there.name, 32);
  there.color = color(frame.color);
  stage?.dress(there.id, there.name, there.color);
  const note = arrivals.get(there.id);
  if (note) note.textContent = `${there.name} came aboard`;
  arrivals.delete(there.id);
  count();
});
line.on("player-moved", (frame) => {
  const there = players.get(frame.id);
  if (!there) return;
  Object.assign(there, place(frame, there));
  stage?.walk(there.id, there);
});
line.on("player-left", ({ id }) => {
  if (!players.has(id)) return;
  chat.note(`${players.get(id).name} left`);
  leave(id);
});
line.on("chat-message", (said) => {
  // A gateway may send one's own words back: they are in the log already.
  if (said.senderId === undefined || said.senderId !== me.id) hear(said, true);
});
line.on("status-update", ({ agent, status, task }) => tellAgent(agent, status, task));
line.on("pr-notification", ({ action, pr }) => {
  const { number, title, author } = Object(pr);
  const verb = word(action, "changed", 20);
  const head = `#${word(String(number ?? "?"), "?", 12)}`;
  notice(verb, head, word(title, "", 90), word(author, "", 30));
  stage?.signals.notice(verb, head);
});

document.querySelector("#name").value = me.name;
document.querySelector("#who").addEventListener("submit", (event) => {
  event.preventDefault();
  document.querySelector("#name").blur();
});
document.querySelector("#name").addEventListener("change", ({ target }) => {
  me.rename(target.value);
  target.value = me.name;
  stage?.dress(null, me.name, me.color);
  introduce();
});

await me.alone();
document.querySelector("#name").value = me.name;
document.querySelector("#who").style.setProperty("--mine", me.color);
introduce();
panel.connect();
raise();

/** The scene comes last, and the line does without it. */
async function raise() {
  const absent = document.querySelector("#no-webgl");
  try {
    const { Stage } = await import("./stage.js");
    stage = new Stage(document.querySelector("#scene"), {
      pose: { x: me.x, z: me.z, ry: me.ry },
      name: me.name,
      color: me.color,
      calm: matchMedia("(prefers-reduced-motion: reduce)").matches,
      onPose: moved,
      onLost: (lost) => (absent.hidden = !lost),
    });
  } catch (error) {
    console.warn(`The scene cannot be shown: ${error.message}`);
    absent.hidden = false;
    document.documentElement.dataset.scene = "none";
    return;
  }
  window.world.stage = stage;
  for (const there of players.values()) stage.join(there);
  for (const [name, { status }] of agents) stage.signals.agent(name, status);
  stage.signals.line(line.state);
}

let reported = { at: 0, timer: 0 };
function moved({ x, z, ry }) {
  Object.assign(me, { x, z, ry });
  if (reported.timer) return;
  const wait = Math.max(0, reported.at + POSE_EVERY_MS - performance.now());
  reported.timer = setTimeout(() => {
    reported = { at: performance.now(), timer: 0 };
    report(pose(), "pose");
  }, wait);
}

function pose() {
  const round = (value) => Math.round(value * 100) / 100;
  return { type: "move", x: round(me.x), z: round(me.z), ry: round(me.ry) };
}

/** Puts somebody's words into the log, once; over a head only while they are being said. */
function hear({ id, text, sender, senderId }, aloud = false) {
  const said = word(text, "", 600);
  if (!said || heard.has(id)) return;
  if (id !== undefined) heard.add(id);
  const from = senderId === me.id ? me : players.get(senderId);
  chat.said(from?.name ?? word(sender, "somebody", 40), from?.color ?? "#ffd9a8", said);
  if (aloud && from) stage?.say(from.id, said);
}

function introduce() {
  report({ type: "profile", name: me.name, color: me.color }, "profile");
}

/** Says how something is: only the newest word on it counts. */
function report(frame, key) {
  try {
    line.send(frame, { delivery: "latest", key });
  } catch (error) {
    if (line.state === "closed") panel.broken(error);
  }
}

function known(id) {
  if (typeof id !== "string" || id === me.id) return;
  me.id = id;
  panel.client = id;
  leave(id);
}

function join(there) {
  const before = players.get(there.id);
  players.set(there.id, there);
  if (before) {
    stage?.dress(there.id, there.name, there.color);
    stage?.walk(there.id, there);
  } else stage?.join(there);
  count();
}

function leave(id) {
  if (players.delete(id)) stage?.leave(id);
  arrivals.delete(id);
  count();
}

/** While the line is down nobody knows whether the others still stand where they are shown. */
function fade(faded) {
  for (const { id, name, color } of players.values()) stage?.dress(id, name, color, faded);
}

function count() {
  const names = [...players.values()].map(({ name }) => name);
  document.querySelector("#aboard").textContent = names.length ? `with ${names.slice(0, 6).join(", ")}${names.length > 6 ? ` and ${names.length - 6} more` : ""}` : "nobody else is here yet";
}

function tellAgent(agent, status, task) {
  const name = word(agent, "agent", 24);
  if (!agents.has(name)) {
    if (agents.size === AGENTS) return;
    const [item, dot, who, what] = ["li", "i", "b", "span"].map((tag) => document.createElement(tag));
    who.textContent = name;
    item.append(dot, who, " ", what);
    document.querySelector("#agents").append(item);
    agents.set(name, { item, what });
  }
  const entry = agents.get(name);
  entry.status = word(status, "", 24);
  const doing = word(task, "", 60);
  entry.what.textContent = doing ? `${entry.status} · ${doing}` : entry.status;
  entry.item.dataset.status = entry.status;
  stage?.signals.agent(name, entry.status);
}

function notice(action, head, title, author) {
  const notices = document.querySelector("#notices");
  const [item, first, what, by] = ["li", "b", "span", "small"].map((tag) => document.createElement(tag));
  item.dataset.action = action;
  first.textContent = `${head} ${action}`;
  what.textContent = title;
  by.textContent = author && `by ${author}`;
  item.append(first, " ", what, " ", by);
  notices.prepend(item);
  while (notices.childElementCount > NOTICES) notices.lastElementChild.remove();
}

function player(frame) {
  const { id, name, color: paint } = Object(frame);
  return { id: word(id, "", 200), name: word(name, "a stranger", 32), color: color(paint), ...place(Object(frame), { x: 0, z: 0, ry: 0 }) };
}

function place({ x, z, ry }, before) {
  const number = (value, other) => (Number.isFinite(value) ? Math.max(-500, Math.min(500, value)) : other);
  return { x: number(x, before.x), z: number(z, before.z), ry: number(ry, before.ry) };
}

function word(value, otherwise, most) {
  return typeof value === "string" && value.trim() ? value.slice(0, most) : otherwise;
}

function color(value) {
  return typeof value === "string" && /^#[0-9a-f]{6}$/i.test(value) ? value : "#b9b2c8";
}

function list(value) {
  return Array.isArray(value) ? value.map(Object) : [];
}

/** The gateway that served the page; on one's own machine another may be named, such as the fault proxy in front of it. */
function gatewayUrl() {
  const url = new URL("api/world/ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = "";
  const asked = new URLSearchParams(location.search).get("gateway");
  const local = asked && URL.canParse(asked) && /^(127\.0\.0\.1|localhost|\[::1\])$/.test(new URL(asked).hostname);
  return local ? asked : url;
}
