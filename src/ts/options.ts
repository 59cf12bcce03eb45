/**
 * What a malformed option is, so that it can be refused at the caller's line before wasm has come. The defaults and the
 * upper limits are in src/config.rs; a test compares the two.
 */
import { MoorlineError } from "./error.js";
import type { Options, Url } from "./types.js";

/** The least that a number may be, the words that may stand there, what `typeof` says, or more of the same. */
type Rule = number | string[] | "string" | "object" | { [option: string]: Rule };

const RULES: Rule = {
  protocol: ["nexus"],
  target: "object",
  routes: "object",
  reconnect: { baseDelayMs: 1, maxDelayMs: 1, factor: 1, jitter: ["full", "none"], maxAttempts: 0, stableMs: 0 },
  connectTimeoutMs: 1,
  heartbeat: { idleMs: 1, probeTimeoutMs: 1 },
  queue: { maxMessages: 0, maxBytes: 0, overflow: ["reject", "drop-oldest", "drop-newest"] },
  session: { key: "string", storage: ["local", "session", "memory"], maxAgeMs: 0 },
  maxFrameBytes: 1,
  closePolicy: "object",
  nexus: { initType: "string", resumeType: "string", tokenField: "string", readyOn: ["frame", "open"], settleMs: 0 },
  log: ["warn", "silent"],
};

function refuse(option: string, why: string): never {
  throw new MoorlineError("config.invalid", `${option} ${why}`);
}

/** Throws `config.invalid` or `config.url` for what cannot be meant. */
export function check(url: Url, options: Options): void {
  checkUrl(url);
  walk(RULES, options, "options");
  const { target, routes = {}, closePolicy = {} } = options;
  if (target && !target.dispatchEvent) refuse("target", "is not an EventTarget");
  for (const [type, event] of Object.entries(routes)) {
    if (event !== null && typeof event !== "string") refuse(`routes.${type}`, "is not a string");
    if (event?.startsWith("ws-")) refuse(`routes.${type}`, "leads to a ws- event: those are the line's own");
  }
  for (const [code, verdict] of Object.entries(closePolicy))
    if (!(+code >= 1000 && +code < 5000 && /^(retry|fatal)$/.test(verdict))) refuse(`closePolicy.${code}`, `is ${verdict}`);
}

function walk(rule: Rule | undefined, value: unknown, path: string): void {
  const is = `is ${typeof value === "symbol" ? "a symbol" : `${value as string}`}, not `;
  if (rule === undefined) refuse(path, "is not an option");
  if (typeof rule === "number") {
    if (!(typeof value === "number" && value >= rule)) refuse(path, `${is}a number from ${rule}`);
  } else if (Array.isArray(rule)) {
    const own = path === "options.session.storage" && (value as Storage | null)?.getItem;
    if (!own && !rule.includes(value as string)) refuse(path, `${is}one of ${rule}`);
  } else {
    const type = typeof rule === "string" ? rule : "object";
    if (typeof value !== type || (value === null && path !== "options.target")) refuse(path, `${is}a ${type}`);
    if (typeof rule === "object")
      for (const [key, inner] of Object.entries(value as object))
        if (inner !== undefined) walk(Object.hasOwn(rule, key) ? rule[key] : undefined, inner, `${path}.${key}`);
  }
}

function checkUrl(url: Url): void {
  if (typeof url === "function") return;
  const text = `${url}`;
  // On a server there is no page to which a relative URL could refer; it is looked at again before each attempt.
  const base = globalThis.location?.href ?? "ws://page.invalid";
  if (!text || /#/.test(text) || !(/^wss?:/i.test(text) || !/^\s*[a-z][a-z0-9+.-]*:/i.test(text)) || !URL.canParse(text, base))
    // What stands behind a question mark may be secret.
    throw new MoorlineError("config.url", `"${text.replace(/\?.*/s, "?…")}" is not a ws: or wss: URL without a fragment`);
}
