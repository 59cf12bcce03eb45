// The JavaScript half of env.rs: the url provider and the signals of the surroundings.

import { BACK, OFFLINE, ONLINE, PUT_AWAY, RESUMED, RING, UNRESOLVED, VISIBLE } from "./tell.js";

export class Env {
  constructor(provider, events) {
    this.provider = provider;
    this.events = events;
    this.handle = undefined;
    this.timer = undefined;
    this.url = "";
    this.protocols = [];
    this.listening = new AbortController();
  }

  // Calls the page's provider, which is the page's code: it may throw, hang, or call the line.
  resolve(ticket) {
    const { handle } = this;
    const fail = (error) => {
      this.events.cause = error;
      handle.tell(UNRESOLVED, ticket);
    };
    const take = (answer) => {
      try {
        const given = typeof answer === "string" || answer instanceof URL ? { url: answer } : answer;
        this.url = this.events.url = dialable(given.url);
        this.protocols = [].concat(given.protocols ?? []);
        handle.resolved(ticket, typeof given.token === "string" ? given.token : undefined);
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

  // The driver's one timer.
  arm(waitMs) {
    clearTimeout(this.timer);
    this.timer = waitMs < 0 ? undefined : setTimeout(() => this.handle.tell(RING, 0), waitMs);
  }

  listen() {
    const { handle } = this;
    const { signal } = this.listening;
    const on = (target, type, tell) => target?.addEventListener?.(type, tell, { signal });
    const { document } = globalThis;
    on(globalThis, "online", () => handle.tell(ONLINE, 0));
    on(globalThis, "offline", () => handle.tell(OFFLINE, 0));
    on(document, "visibilitychange", () => document.visibilityState === "visible" && handle.tell(VISIBLE, 0));
    on(globalThis, "pageshow", (event) => event.persisted && handle.tell(BACK, 0));
    on(document, "resume", () => handle.tell(RESUMED, 0));
    on(globalThis, "pagehide", () => handle.tell(PUT_AWAY, 0));
    on(document, "freeze", () => handle.tell(PUT_AWAY, 0));
  }

  dispose() {
    this.arm(-1);
    this.listening.abort();
  }
}

/** A URL as a WebSocket takes it; relative ones are the page's. Throws what names the trouble. */
export function dialable(given) {
  const base = globalThis.location?.href;
  const url = new URL(String(given), base);
  const relative = !/^[a-z][a-z0-9+.-]*:/i.test(String(given).trim());
  if (relative) url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  if (url.protocol !== "ws:" && url.protocol !== "wss:") throw new TypeError(`${url.protocol} is not ws: or wss:`);
  if (url.hash) throw new TypeError("a WebSocket URL has no fragment");
  return url.href;
}
