// The page as the driver knows it: its events, socket, storage and surroundings, wired to each other and to Rust.

import { Env } from "./env.js";
import { Events } from "./events.js";
import { CLEAR, COMMAND, CONNECT, DISCONNECT, DISPOSE, POLICY, RENEW, RETRY, Rust, SESSION } from "./rust.js";
import { Socket } from "./socket.js";
import { Store } from "./storage.js";

export class Page {
  static open(glue, exports, given) {
    const { routes = {}, closePolicy = {}, ...options } = given.options;
    const page = new Page(given, routes["*"], options);
    const { events, socket, store, env } = page;
    const line = glue.open(events, socket, store, env, flat({ protocol: given.dialect?.name, ...options }), seed());
    if (line < 0) throw new given.ErrorType("config.invalid", "an option is not what it may be");
    page.rust = socket.rust = store.rust = env.rust = new Rust(glue, exports, line);
    // The protocol's routes are there; the page's own go over them.
    for (const [type, event] of Object.entries(routes)) if (type !== "*") socket.route(type, event);
    for (const [code, verdict] of Object.entries(closePolicy)) page.rust.tell(POLICY, +code, +(verdict === "retry"));
    const start = () => {
      env.listen();
      given.here(page);
    };
    if (!options.queue?.persist) start();
    else import("./outbox.js").then((outbox) => outbox.keep(page, given, start), (error) => {
      events.cause = error;
      start();
      events.fault("storage.denied");
    });
  }

  constructor(given, wildcard, { target = globalThis, session = {}, reconnect = {}, maxFrameBytes = 16777216, getState }) {
    const { dialect } = given;
    this.events = new Events(given, target, wildcard, reconnect.maxAttempts ?? Infinity);
    this.events.getState = getState;
    this.events.began = (...facts) => given.began?.(this, ...facts);
    this.store = new Store(session.storage, session.key ?? dialect?.sessionKey, this.events);
    this.env = new Env(given.url, this.events, dialect);
    this.socket = new Socket(this.events, this.env, maxFrameBytes, dialect);
    this.events.stop = () => this.stop();
  }

  // `hearer` is told of everything that becomes of it; without one, it hears of itself.
  command(verb, handle, hearer, texts = [], number = NaN) {
    if (hearer) this.events.handles.set(handle, hearer);
    this.rust.say(texts, COMMAND, handle, verb, number);
  }

  get state() {
    return STATES[this.rust.stat(COUNTED.length)];
  }

  clear() {
    this.rust.tell(CLEAR);
  }

  connect() {
    this.rust.tell(CONNECT);
  }

  renew() {
    this.rust.tell(RENEW);
  }

  disconnect(code, reason) {
    this.rust.say([reason], DISCONNECT, code);
  }

  save(data) {
    this.store.save(data);
    this.rust.say([data.token, data.clientId], SESSION);
  }

  forget() {
    this.store.clear();
    this.rust.tell(SESSION);
  }

  retry(baseMs, maxMs, maxAttempts) {
    this.events.maxAttempts = maxAttempts;
    // These cross as whole numbers; what is none would be no wait at all.
    const wait = (ms) => Math.min(Math.max(1, ms) || 1, 864e5);
    this.rust.tell(RETRY, wait(baseMs), wait(maxMs), maxAttempts);
  }

  stats() {
    const counted = COUNTED.map((name, at) => [name, this.rust.stat(at)]);
    counted.push(["keptMessages", this.kept?.count() ?? NaN]);
    return Object.fromEntries(counted.filter(([, value]) => !Number.isNaN(value)));
  }

  stop() {
    this.env.dispose();
    while (this.socket.ws) this.socket.abandon("");
  }

  explain() {
    return this.rust.explain().split("\n");
  }

  dispose() {
    const { rust } = this;
    this.events.reject("disposed");
    this.kept?.leave();
    rust.tell(DISPOSE);
    this.stop();
    this.events.dispose();
    // A listener may have called us from inside Rust: what it stands on is freed when the stack has unwound.
    queueMicrotask(() => rust.free());
  }
}

// As mod.rs numbers them.
const STATES = ["idle", "connecting", "connected", "reconnecting", "closed"];

// In the order of `stat` in mod.rs.
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
  "repeated",
  "unacknowledged",
  "nextAttemptInMs",
];

// What the waits are drawn from. A page that puts a seeded generator in place of Math.random has it the same for everybody: all
// its visitors would wait in step.
const seed = () =>
  globalThis.crypto?.getRandomValues?.(new Uint32Array(2)).reduce((high, low) => high * 2 ** 21 + (low >>> 11)) ?? Math.random() * 2 ** 53;

// Options by their paths, as Rust asks for them.
function flat(options, prefix = "") {
  const entries = Object.entries(options).flatMap(([key, value]) =>
    value !== null && typeof value === "object" && key !== "target" && key !== "storage"
      ? Object.entries(flat(value, `${prefix}${key}.`))
      : [[prefix + key, value]],
  );
  return Object.fromEntries(entries);
}
