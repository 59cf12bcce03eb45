// The page as the driver knows it: its events, socket, storage and surroundings, wired to each other and to Rust.

import { Env } from "./env.js";
import { Events } from "./events.js";
import { Socket } from "./socket.js";
import { Store } from "./storage.js";
import { CONNECT, DISPOSE } from "./tell.js";

export class Page {
  static open(Handle, given) {
    const { routes = {}, closePolicy = {}, ...options } = given.options;
    const page = new Page(given, routes["*"], options);
    const { events, socket, store, env } = page;
    const handle = Handle.open(events, socket, store, env, flat(options), Math.random());
    if (!handle) throw new given.ErrorType("config.invalid", "an option is not what it may be");
    page.handle = socket.handle = store.handle = env.handle = handle;
    // The protocol's routes are there; the page's own go over them.
    for (const [type, event] of Object.entries(routes)) if (type !== "*") socket.route(type, event);
    for (const [code, verdict] of Object.entries(closePolicy)) handle.policy(+code, verdict === "retry");
    env.listen();
    return page;
  }

  constructor(given, wildcard, { target = globalThis, session = {}, reconnect = {}, maxFrameBytes = 16777216 }) {
    this.events = new Events(given, target, wildcard, reconnect.maxAttempts ?? Infinity);
    this.store = new Store(session.storage, session.key, this.events);
    this.env = new Env(given.url, this.events);
    this.socket = new Socket(this.events, this.env, maxFrameBytes);
    this.events.stop = () => this.stop();
  }

  connect() {
    this.handle.tell(CONNECT, 0);
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

  stats() {
    const counted = COUNTED.map((name, at) => [name, this.handle.stat(at)]);
    return Object.fromEntries(counted.filter(([, value]) => !Number.isNaN(value)));
  }

  stop() {
    this.env.dispose();
    if (this.socket.ws) this.socket.abandon("");
  }

  dispose() {
    const { handle } = this;
    handle.tell(DISPOSE, 0);
    this.stop();
    this.events.dispose();
    // A listener may have called us from inside Rust: what it stands on is freed when the stack has unwound.
    queueMicrotask(() => handle.free());
  }
}

// In the order of `Handle::stat`.
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
