/**
 * What a malformed option is, so that it can be refused at the caller's line before wasm has arrived. The table is the
 * one of src/config.rs, which has the defaults; a test compares the two.
 */
import { MoorlineError } from "./error.js";
import type { Options, Url } from "./types.js";

const DAY = 86_400_000;
const MANY = 1_073_741_824;

/** Path → the least and the most that a number may be, the words that may stand there, or a type's name. */
const RULES: Record<string, [number, number] | string[] | string> = {
  protocol: ["nexus"],
  target: "object",
  routes: "object",
  "reconnect.baseDelayMs": [1, DAY],
  "reconnect.maxDelayMs": [1, DAY],
  "reconnect.factor": [1, 10],
  "reconnect.jitter": ["full", "none"],
  "reconnect.maxAttempts": [0, Infinity],
  "reconnect.stableMs": [0, DAY],
  connectTimeoutMs: [1, DAY],
  "heartbeat.idleMs": [1, DAY],
  "heartbeat.probeTimeoutMs": [1, DAY],
  "queue.maxMessages": [0, 16_777_216],
  "queue.maxBytes": [0, MANY],
  "queue.overflow": ["reject", "drop-oldest", "drop-newest"],
  "session.key": "string",
  "session.storage": ["local", "session", "memory"],
  "session.maxAgeMs": [0, Infinity],
  maxFrameBytes: [1, MANY],
  closePolicy: "object",
  "nexus.initType": "string",
  "nexus.resumeType": "string",
  "nexus.tokenField": "string",
  "nexus.readyOn": ["frame", "open"],
  "nexus.settleMs": [0, DAY],
  log: ["warn", "silent"],
};

const refuse = (option: string, why: string): never => {
  throw new MoorlineError("config.invalid", `${option} ${why}`);
};

/** Throws `config.invalid` or `config.url` for what cannot be meant. */
export function check(url: Url, options: Options): void {
  checkUrl(url);
  walk(options, "");
  for (const [type, event] of Object.entries(options.routes ?? {})) {
    if (event !== null && typeof event !== "string") refuse(`routes["${type}"]`, "is not a string or null");
    if (event?.startsWith("ws-")) refuse(`routes["${type}"]`, "may not lead to a ws- event: those are the line's own");
  }
  for (const [code, policy] of Object.entries(options.closePolicy ?? {})) {
    if (!(+code >= 1000 && +code <= 4999)) refuse(`closePolicy[${code}]`, "is no close code");
    if (policy !== "retry" && policy !== "fatal") refuse(`closePolicy[${code}]`, 'is not "retry" or "fatal"');
  }
  const { target } = options;
  if (target && typeof target.dispatchEvent !== "function") refuse("target", "is not an EventTarget");
}

function walk(options: object, prefix: string): void {
  if (typeof options !== "object" || options === null) refuse(prefix || "options", "is not an object");
  for (const [key, value] of Object.entries(options)) {
    const path = prefix + key;
    const rule = Object.hasOwn(RULES, path) ? RULES[path]! : undefined;
    if (value === undefined) continue;
    if (rule === undefined) {
      if (!Object.keys(RULES).some((known) => known.startsWith(`${path}.`))) refuse(path, "is not an option");
      walk(value, `${path}.`);
    } else if (typeof rule === "string") {
      if (typeof value !== rule) refuse(path, `is not ${rule === "object" ? "an object" : "a string"}`);
    } else if (typeof rule[0] === "number") {
      const [least, most] = rule as [number, number];
      if (!(typeof value === "number" && value >= least && value <= most))
        refuse(path, `is not a number from ${least} to ${most}: ${String(value)}`);
    } else if (!(rule as string[]).includes(value)) {
      if (path === "session.storage" && typeof value?.getItem === "function") continue;
      refuse(path, `is not one of ${rule.join(", ")}: ${String(value)}`);
    }
  }
}

function checkUrl(url: Url): void {
  if (typeof url === "function") return;
  const text = String(url);
  const relative = !/^[a-z][a-z0-9+.-]*:/i.test(text.trim());
  // On a server there is no page that a relative URL could refer to; it is looked at again before the first attempt.
  const base = globalThis.location?.href ?? "ws://page.invalid/";
  let parsed: URL | undefined;
  try {
    parsed = new URL(text, base);
  } catch {
    // What cannot be parsed is refused below.
  }
  if (!text || !parsed || parsed.hash || !(relative || /^wss?:$/.test(parsed.protocol)))
    throw new MoorlineError("config.url", `"${redact(text)}" is not a ws: or wss: URL without a fragment`);
}

/** What stands behind a question mark may be secret. */
const redact = (text: string) => text.replace(/\?.*/s, "?…");
