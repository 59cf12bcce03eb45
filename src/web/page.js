// The page as the driver knows it: its events, socket, storage and surroundings, wired to each other and to Rust.

import { Env } from "./env.js";
import { Events } from "./events.js";
import { Socket } from "./socket.js";
import { Store } from "./storage.js";

export class Page {
  static open(Handle, given) {
    const { routes = {}, closePolicy = {}, ...options } = given.options;
    const page = new Page(given, routes["*"], options);
    const policy = Object.entries(closePolicy).map(([code, verdict]) => (verdict === "retry" ? +code : -code));
    const { events, socket, store, env } = page;
    const handle = Handle.open(events, socket, store, env, flat(options), Int32Array.from(policy), Math.random());
    if (!handle) throw new given.ErrorType("config.invalid", "an option is not what it may be");
    page.handle = socket.handle = store.handle = env.handle = handle;
    // The protocol's routes are there; the page's own go over them.
    for (const [type, event] of Object.entries(routes)) if (type !== "*") socket.route(type, event);
    env.listen();
    return page;
  }

  constructor(given, wildcard, { target = globalThis, session = {}, reconnect = {}, maxFrameBytes = 16777216 }) {
    this.events = new Events(given, target, wildcard, reconnect.maxAttempts ?? Infinity);
    this.socket = new Socket(this.events, maxFrameBytes);
    this.store = new Store(session.storage, session.key, this.events);
    this.env = new Env(given.url, this.events);
  }

  save(data) {
    this.store.save(data);
    this.handle.session(text(data.token), text(data.clientId));
  }

  forget() {
    this.store.clear();
    this.handle.session();
  }

  retry(baseMs, maxMs, maxAttempts) {
    this.events.maxAttempts = maxAttempts;
    this.handle.retry(baseMs, maxMs, maxAttempts);
  }

  // In the order of `Handle::stats`.
  stats() {
    const counted = Array.from(this.handle.stats(), (value, at) => [COUNTED[at], value]);
    return Object.fromEntries(counted.filter(([, value]) => !Number.isNaN(value)));
  }

  dispose() {
    const { handle } = this;
    handle.dispose();
    this.env.dispose();
    this.events.dispose();
    // A listener may have called us from inside Rust: what it stands on is freed when the stack has unwound.
    queueMicrotask(() => handle.free());
  }
}

const COUNTED = [
  "attempts",
  "queueMessages",
  "queueBytes",
  "oldestWaitsMs",
  "bufferedBytes",
  "received",
  "misbehaved",
  "sockets",
  "connections",
  "rttMs",
  "nextAttemptInMs",
];

const text = (value) => (typeof value === "string" ? value : undefined);

// Options by their paths, as Rust asks for them.
function flat(options, prefix = "") {
  const entries = Object.entries(options).flatMap(([key, value]) =>
    value !== null && typeof value === "object" && key !== "target" && key !== "storage"
      ? Object.entries(flat(value, `${prefix}${key}.`))
      : [[prefix + key, value]],
  );
  return Object.fromEntries(entries);
}
