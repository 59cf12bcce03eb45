// In the page: a log of everything that was heard, and waiting for it with a deadline. It decides nothing about lines.
import { Moorline, MoorlineError } from "/pkg/index.js";

const TYPES = [
  "ws-connected",
  "ws-disconnected",
  "ws-reconnecting",
  "ws-failed",
  "ws-unhandled",
  "ws-error",
  "session-init",
  "chat-message",
  "status-update",
  "pr-notification",
  "player-joined",
  "player-left",
];
const DEADLINE_MS = 10_000;

const log = [];
const taken = new Map();
const watchers = new Set();

function plain(detail) {
  if (!(detail instanceof Error)) return detail;
  const { name, code, message, retryable, count, cause } = detail;
  return { name, code, message, retryable, count, cause: cause === undefined ? undefined : String(cause) };
}

function note(type, detail) {
  log.push({ type, detail: plain(detail), at: performance.now() });
  for (const look of [...watchers]) look();
}

function listen(...types) {
  for (const type of types) globalThis.addEventListener(type, (event) => note(type, event.detail));
}

// Settles when `fits` answers something true; looked at after every event and a few times a second.
function until(fits, what = String(fits), deadlineMs = DEADLINE_MS) {
  return new Promise((resolve, reject) => {
    const look = () => {
      const found = fits();
      if (!found) return;
      stop();
      resolve(found);
    };
    const stop = () => {
      watchers.delete(look);
      clearInterval(ticking);
      clearTimeout(late);
    };
    const ticking = setInterval(look, 10);
    const late = setTimeout(() => {
      stop();
      const heard = log.map(({ type, detail }) => `${type} ${JSON.stringify(detail)}`).join("\n");
      reject(new Error(`${what} did not come within ${deadlineMs} ms; heard:\n${heard}\nexplained:\n${rig.main?.explain?.().join("\n")}`));
    }, deadlineMs);
    watchers.add(look);
    look();
  });
}

// The detail of the next event of this type that no earlier call has answered with.
function next(type, deadlineMs) {
  return until(
    () => {
      const seen = taken.get(type) ?? 0;
      const found = log.filter((heard) => heard.type === type)[seen];
      if (found) taken.set(type, seen + 1);
      return found && { it: found.detail };
    },
    type,
    deadlineMs,
  ).then(({ it }) => it);
}

const QUICK = { reconnect: { baseDelayMs: 60, jitter: "none" } };

function line(options = {}, url = "/api/world/ws", connect = true) {
  const reconnect = { ...QUICK.reconnect, ...options.reconnect };
  const made = new Moorline(url, { ...options, reconnect });
  rig.main = made;
  if (connect) made.connect();
  return made;
}

// What became of a receipt, in words that leave the page.
async function fate(receipt) {
  try {
    await receipt.sent;
    return { status: receipt.status };
  } catch (error) {
    return { status: receipt.status, code: error.code, mine: error instanceof MoorlineError };
  }
}

// What a call throws, in words that leave the page.
function thrown(act) {
  try {
    act();
  } catch (error) {
    return { mine: error instanceof MoorlineError, ...plain(error) };
  }
  return undefined;
}

function clear() {
  log.length = 0;
  taken.clear();
}

listen(...TYPES);
const rig = { Moorline, MoorlineError, TYPES, log, note, listen, until, next, line, fate, thrown, clear, plain, main: undefined };
globalThis.rig = rig;
