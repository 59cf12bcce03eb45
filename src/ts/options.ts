/**
 * What a malformed option is, so that it can be refused at the caller's line before wasm has come. The defaults and the
 * upper limits are in src/config.rs; a test compares the two.
 */
import { refuse } from "./error.js";
import type { LineOptions, Url } from "./types.js";

/** The least that a number may be, the words that may stand there, what `typeof` says, or more of the same. */
type Rule = number | unknown[] | "string" | "object" | "function" | Rules;
export type Rules = { [option: string]: Rule };

const RULES: Rules = {
  protocol: ["nexus"],
  target: "object",
  routes: "object",
  reconnect: { baseDelayMs: 1, maxDelayMs: 1, factor: 1, jitter: ["full", "none"], maxAttempts: 0, stableMs: 0 },
  connectTimeoutMs: 1,
  hidden: ["keep", "slow", "park"],
  hiddenAfterMs: 0,
  heartbeat: { idleMs: 1, probeTimeoutMs: 1 },
  queue: { maxMessages: 0, maxBytes: 0, overflow: ["reject", "drop-oldest", "drop-newest"], persist: [false, true] },
  session: { key: "string", storage: ["local", "session", "memory"], maxAgeMs: 0 },
  maxFrameBytes: 1,
  closePolicy: "object",
  getState: "function",
  nexus: { initType: "string", resumeType: "string", tokenField: "string", readyOn: ["frame", "open"], settleMs: 0 },
  log: ["warn", "silent"],
};

/** Throws `config.invalid` or `config.url` for what cannot be meant. */
export function check(url: Url, options: LineOptions, more?: Rules): void {
  if (typeof url !== "function") checkUrl(url instanceof URL ? url.href : url);
  walk({ ...RULES, ...more }, options, "options");
  const { target, routes = {}, closePolicy = {} } = options;
  if (target && !target.dispatchEvent) wrong("options.target", "an EventTarget");
  for (const [type, event] of Object.entries(routes))
    if (event !== null && /^ws-/.test(walk("string", event, `options.routes.${type}`) as string))
      wrong(`options.routes.${type}`, "free");
  for (const [code, verdict] of Object.entries(closePolicy))
    walk(+code >= 1000 && +code < 5000 ? ["retry", "fatal"] : undefined, verdict, `options.closePolicy.${code}`);
}

/** Answers the value, if the rule lets it pass. */
function walk(rule: Rule | undefined, value: unknown, path: string): unknown {
  if (rule === undefined) wrong(path, "an option");
  if (typeof rule === "number") {
    if (!(typeof value === "number" && value >= rule)) wrong(path, `a number from ${rule}`);
  } else if (Array.isArray(rule)) {
    const own = path === "options.session.storage" && (value as Storage | null)?.getItem;
    if (!own && !rule.includes(value)) wrong(path, `one of ${rule}`);
  } else {
    const type = typeof rule === "string" ? rule : "object";
    if (typeof value !== type || (value === null && path !== "options.target")) wrong(path, `of type ${type}`);
    if (typeof rule === "object")
      for (const [key, inner] of Object.entries(value as object))
        if (inner !== undefined) walk(rule[key], inner, `${path}.${key}`);
  }
  return value;
}

function wrong(path: string, what: string): never {
  refuse("config.invalid", `${path} is not ${what}`);
}

function checkUrl(url: string): void {
  // On a server there is no page to which a relative URL could refer; it is looked at again before each attempt.
  const base = globalThis.location?.href ?? "ws://x";
  // A scheme that is not a WebSocket's, a fragment, or nothing at all. The value stays unsaid: it may hold a secret.
  if (typeof url !== "string" || /^\s*(?!wss?:)[a-z][a-z0-9+.-]*:|#|^$/i.test(url) || !URL.canParse(url, base))
    refuse("config.url", "no ws: or wss: URL");
}
