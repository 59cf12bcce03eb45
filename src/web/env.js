// The JavaScript half of env.rs: the url provider and the signals of the surroundings.

import { ANSWERED, BACK, OFFLINE, ONLINE, PUT_AWAY, RESOLVED, RING, THAWED, UNRESOLVED, VISIBLE } from "./rust.js";

export class Env {
  constructor(provider, events, dialect) {
    this.provider = provider;
    this.events = events;
    this.dialect = dialect;
    this.rust = undefined;
    this.timer = undefined;
    // When it should have rung, on the clock of events.
    this.due = Infinity;
    this.hidden = false;
    this.url = "";
    this.protocols = [];
    this.listening = new AbortController();
  }

  // Calls the page's provider, which is the page's code: it may throw, hang, or call the line.
  resolve(ticket) {
    const { rust } = this;
    const fail = (error) => {
      this.events.cause = error;
      rust.tell(UNRESOLVED, ticket);
    };
    const take = (answer) => {
      try {
        const given = typeof answer === "string" || answer instanceof URL ? { url: answer } : answer;
        this.url = this.events.url = dialable(given.url);
        this.protocols = [].concat(given.protocols ?? []);
        rust.say([given.token], RESOLVED, ticket);
      } catch (error) {
        fail(error);
      }
    };
    let answer;
    try {
      answer = typeof this.provider === "function" ? this.provider() : this.provider;
    } catch (error) {
      return fail(error);
    }
    if (typeof answer?.then === "function") answer.then(take, fail);
    else take(answer);
  }

  // What a protocol needs of the page. No answer is an answer too.
  async ask(ticket, what, text) {
    let texts = [];
    try {
      texts = await this.dialect.ask(what, text, this);
    } catch {
      // Rust decides what follows from none.
    }
    this.rust.say(texts, ANSWERED, ticket);
  }

  // The driver's one timer.
  arm(waitMs) {
    clearTimeout(this.timer);
    this.due = waitMs < 0 ? Infinity : performance.now() + waitMs;
    this.timer = waitMs < 0 ? undefined : setTimeout(() => this.rust.tell(RING), waitMs);
  }

  // A hidden page's timers ring once a minute: whatever else wakes it rings what is overdue.
  notice(event) {
    if (this.hidden && event.timeStamp > this.due) this.rust.tell(RING);
  }

  listen() {
    const { rust } = this;
    const { signal } = this.listening;
    const on = (target, type, tell) => target?.addEventListener?.(type, tell, { signal });
    const { document } = globalThis;
    const seen = () => rust.tell(VISIBLE, +(this.hidden = document?.visibilityState === "hidden"));
    on(globalThis, "online", () => rust.tell(ONLINE));
    // What runs on this machine needs no network.
    on(globalThis, "offline", () => LOOPBACK.test(this.url) || rust.tell(OFFLINE));
    on(document, "visibilitychange", seen);
    on(globalThis, "focus", seen);
    on(globalThis, "pageshow", (event) => event.persisted && rust.tell(BACK));
    on(document, "resume", () => rust.tell(THAWED));
    on(globalThis, "pagehide", () => rust.tell(PUT_AWAY));
    on(document, "freeze", () => rust.tell(PUT_AWAY));
    if (document?.visibilityState === "hidden") seen();
  }

  dispose() {
    this.arm(-1);
    this.listening.abort();
  }
}

const LOOPBACK = /^wss?:\/\/([^/]*@)?(localhost|[^/:]*\.localhost|127\.[\d.]+|\[::1])[:/]/;

/** A URL as a WebSocket takes it; relative ones are the page's. Throws what names the trouble. */
export function dialable(given) {
  if (typeof given !== "string" && !(given instanceof URL)) throw new TypeError("the url function answered with no URL");
  const base = globalThis.location?.href;
  const url = new URL(String(given), base);
  const relative = !/^[a-z][a-z0-9+.-]*:/i.test(String(given).trim());
  if (relative) url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  if (url.protocol !== "ws:" && url.protocol !== "wss:") throw new TypeError(`${url.protocol} is not ws: or wss:`);
  if (url.hash) throw new TypeError("a WebSocket URL has no fragment");
  return url.href;
}
