// The JavaScript half of events.rs: what the page hears. A frame stays the object that the browser's parser made; here it
// waits, if it has to, and becomes the `detail` of an event, or goes to whoever has the handle.

import { BEGAN, CALLED, DELTA, NOTE, REJECTED } from "./rust.js";

export class Events {
  constructor({ line, ErrorType, heard, dialect }, target, wildcard = dialect?.wildcard, maxAttempts) {
    this.line = line;
    this.dialect = dialect;
    // In Node the global scope hears no events.
    this.target = target?.dispatchEvent ? target : null;
    this.ErrorType = ErrorType;
    this.maxAttempts = maxAttempts;
    // Event names in the order of the routes; `null` for a frame type that becomes none.
    this.names = [];
    // The prefix for types without a route; `undefined` where those are unhandled.
    this.wildcard = wildcard ?? undefined;
    this.inbox = new Map();
    // Calls, runs, subscriptions and observations, by their handles.
    this.handles = new Map();
    this.nextKey = 0;
    this.heard = heard;
    this.direct = new Map();
    this.url = "";
    this.cause = undefined;
    this.dead = undefined;
    this.numbered = false;
    this.again = false;
    // Frames that wait for the page's state.
    this.held = undefined;
    lines.add(this);
  }

  hasWildcard(type) {
    return this.wildcard !== undefined && !(this.wildcard + type).startsWith("ws-") && !this.dialect?.own?.includes(type);
  }

  // The hot path's end.
  deliver(route, frame, type) {
    const name = route > this.names.length ? this.wildcard + type : this.names[route - 1];
    if (name !== null) this.dispatch(name, frame);
  }

  // Tells whoever has a handle; an answer of `true` says that nothing more will come for it.
  hand(handle, word, frame, number, text) {
    const hearer = this.handles.get(handle);
    try {
      if (hearer?.told(word, frame, number, text)) this.handles.delete(handle);
    } catch {
      // The page's half of the protocol cannot read it. More of a text is said once more at the end; anything else ends it.
      this.fault("frame.malformed");
      if (word !== DELTA && word !== NOTE && this.handles.delete(handle)) hearer.told(REJECTED, undefined, 0, "frame.malformed");
    }
  }

  told(handle, word, key, number, text) {
    const frame = this.inbox.get(key);
    if (word !== BEGAN && word !== CALLED) return this.hand(handle, word, frame, number, text);
    const hearer = this.began(handle, word, frame, text);
    if (hearer) this.handles.set(handle, hearer);
  }

  // Lets Rust look at a frame; it stays here for as long as Rust holds its key.
  show(frame, ask) {
    const key = (this.nextKey = (this.nextKey + 1) >>> 0);
    this.inbox.set(key, frame);
    if (!ask(key)) this.inbox.clear();
  }

  take(key) {
    const frame = this.inbox.get(key);
    this.inbox.delete(key);
    return frame;
  }

  frame(route, key) {
    const frame = this.take(key);
    this.deliver(route, frame, typeOf(frame, this.dialect));
  }

  unhandled(key) {
    const frame = this.take(key);
    const object = frame !== null && typeof frame === "object" && !Array.isArray(frame);
    const given = object ? typeOf(frame, this.dialect) : undefined;
    const type = typeof given === "string" ? given : undefined;
    const reason = type !== undefined ? "no-route" : object ? "no-type" : "not-an-object";
    this.dispatch("ws-unhandled", { reason, type, frame });
  }

  connected(attempt, recovered) {
    // A query may hold a token, and details are logged.
    this.dispatch("ws-connected", { url: this.url.replace(/\?.*/, ""), attempt, recovered });
    // Whether something was missed, nobody can know.
    if (this.again && !this.numbered) this.ask({ from: null, to: null, reason: "unnumbered" });
    this.again = true;
  }

  resumed(from, to) {
    this.dispatch("ws-resumed", { from, to });
  }

  gap(from, to, reason) {
    const gap = { from, to: Number.isNaN(to) ? null : to, reason };
    this.dispatch("ws-gap", gap);
    this.ask(gap);
  }

  // Has the page fetch the truth. What comes meanwhile is told behind it.
  async ask(gap) {
    const { getState } = this;
    if (!getState) return;
    const held = (this.held = this.held ?? []);
    const turn = (this.turn = {});
    const late = new Promise((_, reject) => (this.release = reject));
    const timer = setTimeout(this.release, STATE_MS, new Error("no answer"));
    try {
      await Promise.race([getState(gap), late]);
    } catch (error) {
      this.cause = error;
      this.fault("state.failed");
    }
    clearTimeout(timer);
    // A later gap has asked again.
    if (turn !== this.turn) return;
    this.held = undefined;
    for (const [name, detail] of held) this.dispatch(name, detail);
  }

  disconnected(code, reason, wasClean, willReconnect, cause) {
    this.dispatch("ws-disconnected", { code, reason, wasClean, willReconnect, cause });
  }

  reconnecting(attempt, delayMs, cause) {
    this.dispatch("ws-reconnecting", { attempt, maxAttempts: this.maxAttempts, delayMs, retryAt: Date.now() + delayMs, cause });
  }

  failed(cause, code, attempts, key) {
    this.dispatch("ws-failed", { cause, code, attempts, frame: this.inbox.get(key) });
  }

  fault(code, count) {
    const [message, retryable] = FAULTS[code];
    const cause = code === "url.provider" || /^st/.test(code) ? this.cause : undefined;
    this.dispatch("ws-error", new this.ErrorType(code, message, { cause, count: count || undefined, retryable }));
  }

  dispatch(name, detail) {
    if (this.held !== undefined && (!name.startsWith("ws-") || name === "ws-unhandled")) {
      if (this.held.push([name, detail]) > MOST_HELD) this.release(new Error("too much waits for it"));
      return;
    }
    const { target, line } = this;
    target?.dispatchEvent(event(name, detail));
    if (line !== target && this.heard.has(name)) line.dispatchEvent(event(name, detail));
    if (this.direct.size === 0) return;
    const listeners = this.direct.get(name);
    if (listeners === undefined) return;
    for (const listener of [...listeners]) {
      try {
        listener(detail);
      } catch (error) {
        // What a listener of the page throws is reported like that of any event, and stops nobody else.
        report(error);
      }
    }
  }

  on(name, listener) {
    const listeners = this.direct.get(name) ?? new Set();
    this.direct.set(name, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.direct.get(name) === listeners) this.direct.delete(name);
    };
  }

  // Nothing will come for any of them.
  reject(code) {
    for (const handle of this.handles.keys()) this.hand(handle, REJECTED, undefined, 0, code);
  }

  dispose() {
    lines.delete(this);
    this.inbox.clear();
    this.direct.clear();
  }
}

/** The type of a frame, as the route table has it; whatever else stands there where there is none. */
export const typeOf = (frame, dialect) => (dialect ? dialect.type(frame) : frame?.type);

const lines = new Set();

// How long frames wait for the page's state, and how many.
const STATE_MS = 10_000;
const MOST_HELD = 1000;

const report =
  globalThis.reportError ??
  ((error) =>
    queueMicrotask(() => {
      throw error;
    }));

// A sentence for each fault that Rust may name, and whether trying the same again may go better.
const FAULTS = {
  "frame.binary": ["the server sent a binary message; this protocol has text only", false],
  "frame.too-large": ["the server sent a message above maxFrameBytes", false],
  "frame.not-json": ["the server sent text that is not JSON", false],
  "frame.malformed": ["the server sent a known type without what it needs", false],
  "peer.ack-ahead": ["the server acknowledges what it was never sent", false],
  "peer.ack-behind": ["the server acknowledges less than it did before", false],
  "storage.denied": ["the storage refused; the session lives on in memory", false],
  "storage.corrupt": ["what is stored under the session's key is not a session", false],
  "state.failed": ["getState failed, or took too long; what waited for it is told all the same", true],
  "url.provider": ["the url provider failed", true],
  "send.expired": ["messages waited longer than their ttlMs", true],
  "send.evicted": ["messages gave way to newer ones (queue.overflow)", true],
  "send.rejected": ["messages found no room (queue.overflow)", true],
  "send.unknown": ["messages were handed to a socket that died; they may have arrived or not", false],
};

// `initCustomEvent` is old but makes the same event faster and with less garbage; a worker has no document.
const event =
  typeof document === "undefined"
    ? (name, detail) => new CustomEvent(name, { detail })
    : (name, detail) => {
        const made = document.createEvent("CustomEvent");
        made.initCustomEvent(name, false, false, detail);
        return made;
      };

// How Rust looks into a frame: by names and places with `/` between them.
globalThis.moorlineAt = (object, path) => path.split("/").reduce((value, step) => value?.[step], object);

// A panic of ours. Nothing of Rust may be called any more; each line says so once, when the stack has unwound.
globalThis.moorlinePanicked = (text) => {
  for (const line of lines) {
    if (line.dead !== undefined) continue;
    line.dead = new line.ErrorType("internal", text, { retryable: false });
    line.stop?.();
    queueMicrotask(() => {
      line.dispatch("ws-error", line.dead);
      line.reject("internal");
    });
  }
};
