/** What was found, as Markdown, and whether moorline kept its word. */
import { CLIENTS } from "./clients.mjs";
import * as phases from "./phases.mjs";

const line = (cells) => `| ${cells.join(" | ")} |`;
const table = (heads, rows) => [line(heads), line(heads.map((_, at) => (at === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
const seconds = (ms) => (ms === undefined ? `not in ${phases.NOTICE_MS / 1000}` : (ms / 1000).toFixed(1));
const whole = (value) => Math.round(value).toLocaleString("en-GB");

export function machine({ date, cpu, cores, system, node, chromium, versions }) {
  const npm = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `${date}: ${cpu}, ${cores} cores, ${system}; Node ${node}, ${chromium} headless; ${npm.join(", ")}.`;
}

const SCENARIO = {
  loss: "## A half-open path",
  reload: `## The same, and the page is reloaded ${phases.RELOAD_MS / 1000} s after its first message`,
};

function scenario(names, part, found) {
  const rows = names.map((name, at) => {
    const { sent, received, lost, doubled, disordered, told, settled } = found[at];
    return [
      CLIENTS[name].title,
      sent,
      `${received}${settled ? "" : " (and more to come)"}`,
      `**${lost}**`,
      lost === 0 ? "–" : (told ?? 0),
      doubled,
      disordered,
    ];
  });
  return `${SCENARIO[part]}\n\n${table(["client", "sent", "received", "lost", "of these told", "doubled", "out of order"], rows)}`;
}

export const loss = (names, found) =>
  [
    `A page sends a message each ${phases.EVERY_MS} ms for ${phases.END_MS / 1000} s. After ${phases.FALL_MS / 1000} s its path becomes a black hole, without FIN or RST, for ${(phases.HEAL_MS - phases.FALL_MS) / 1000} s; then both ends are reset and the path is whole.`,
    scenario(names, "loss", found),
  ].join("\n\n");

export function reload(names, found) {
  const back = found.map(({ backMs }) => backMs);
  const said = `The pages sent again ${seconds(Math.min(...back))} to ${seconds(Math.max(...back))} s after their first message.`;
  return `${scenario(names, "reload", found)}\n\n${said}`;
}

export const notice = (names, found) =>
  [
    `## Seconds until the client says that its path is dead, when no end is reset (watched for ${phases.NOTICE_MS / 1000} s)`,
    "The page sends nothing. The last column counts from the moment in which the user comes back to the page from another tab. Where in its heartbeat a client is when its path dies is chance.",
    table(
      ["client", "idle", "looked at again"],
      names.map((name, at) => [CLIENTS[name].title, ...found[at].map(seconds)]),
    ),
  ].join("\n\n");

export const throughput = (names, found) =>
  [
    `## Messages a second at a round trip of ${2 * phases.DELAY_MS} ms`,
    `As many as the client takes for ${phases.PUMP_MS / 1000} s, counted when they are acknowledged; where nothing is, when they are at the server.`,
    table(
      ["client", "messages/s", "counted when"],
      names.map((name, at) => [CLIENTS[name].title, whole(found[at].perSecond), found[at].acknowledged ? "acknowledged" : "arrived"]),
    ),
  ].join("\n\n");

/** Each promise, and what is wrong where it was not kept. */
const PROMISES = {
  settled: ({ settled }) => !settled && `not done ${phases.SETTLE_MS / 1000} s after the last message`,
  undoubled: ({ doubled }) => doubled > 0 && `${doubled} doubled`,
  ordered: ({ disordered }) => disordered > 0 && `${disordered} out of order`,
  lossless: ({ lost }) => lost > 0 && `${lost} lost`,
  told: ({ lost, told }) => lost > told && `${lost - told} lost in silence`,
};

/** What was promised and not kept, as sentences. */
export function broken(names, results) {
  const wrong = [];
  for (const [at, name] of names.entries()) {
    const { title, promises = {} } = CLIENTS[name];
    for (const [part, kept] of Object.entries(promises)) {
      if (!results[part]) continue;
      const found = kept.map((promise) => PROMISES[promise](results[part][at])).filter(Boolean);
      if (found.length > 0) wrong.push(`${part}: ${title}: ${found.join(", ")}.`);
    }
  }
  return wrong;
}
