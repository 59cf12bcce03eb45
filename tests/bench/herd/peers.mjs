// What the peers do when they lose their server and nobody takes them back: each one's published code, many instances of it, on a
// clock and a network of this file's. Writes down the waits; what a crowd makes of them is decided in Rust. Seeded: the same
// packages give the same waits.
//
// node peers.mjs <folder> [instances]
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const here = import.meta.dirname;
const [folder, given = 10_000] = process.argv.slice(2);
/** All have connected by then, have been heard for a while, and no heartbeat has been due. */
const LOST_AT = 25_000;
/** Connections begin within this time, each at a moment of its own. */
const JOINED_BY = 10_000;
/** Whoever has been silent for so long has given up: longer than any wait of theirs, and than the watch goes on after their last. */
const SILENCE = 60_000;
/** How long a refusal takes: the mean of the model's round trips. */
const REFUSED_AFTER = 110;

// The clock. Promises run to their end between two instants.
const breath = globalThis.setImmediate;
let now = 0;
let count = 0;
let queue = [];
const cancelled = new Set();
const before = (a, b) => a.at - b.at || a.id - b.id;
const swap = (a, b) => ([queue[a], queue[b]] = [queue[b], queue[a]]);
function put(timer) {
  let at = queue.push(timer) - 1;
  for (let up; at > 0 && before(queue[at], queue[(up = (at - 1) >> 1)]) < 0; at = up) swap(at, up);
}
function take() {
  const first = queue[0];
  const last = queue.pop();
  if (queue.length) {
    queue[0] = last;
    for (let at = 0; ; ) {
      let least = at;
      for (const down of [2 * at + 1, 2 * at + 2]) if (down < queue.length && before(queue[down], queue[least]) < 0) least = down;
      if (least === at) break;
      swap(at, least);
      at = least;
    }
  }
  return first;
}
class Timer {
  constructor(id) {
    this.id = id;
  }
  ref() {
    return this;
  }
  unref() {
    return this;
  }
  [Symbol.toPrimitive]() {
    return this.id;
  }
}
function start(act, wait, args, every) {
  const id = (count += 1);
  // As in a browser: whole milliseconds.
  const ms = Math.max(0, Math.trunc(Number(wait) || 0));
  put({ id, at: now + ms, act: () => act(...args), every: every ? Math.max(1, ms) : undefined });
  return new Timer(id);
}
const stop = (timer) => void (timer && cancelled.add(Number(timer)));
async function until(end) {
  while (queue.length && queue[0].at <= end) {
    now = queue[0].at;
    while (queue.length && queue[0].at === now) {
      const timer = take();
      if (cancelled.delete(timer.id)) continue;
      if (timer.every) put({ ...timer, at: now + timer.every });
      timer.act();
    }
    await new Promise((resolve) => breath(resolve));
  }
  now = end;
}

const RealDate = Date;
class VirtualDate extends RealDate {
  constructor(...given) {
    super(...(given.length ? given : [now]));
  }
  static now() {
    return now;
  }
}
// mulberry32
let state = 1;
const random = () => {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
Object.assign(globalThis, {
  setTimeout: (act, wait, ...args) => start(act, wait, args, false),
  setInterval: (act, wait, ...args) => start(act, wait, args, true),
  clearTimeout: stop,
  clearInterval: stop,
  Date: VirtualDate,
  addEventListener() {},
  removeEventListener() {},
});
Math.random = random;
performance.now = () => now;
console.log = console.info = console.warn = console.error = () => {};

/** The network: takes everybody in until the loss, then nobody. */
let lost = false;
let alive = new Set();
/** Of each instance, which its URL names: how long it waited before each dial, and since when it waits. */
const waits = [];
const since = [];

class Socket extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSING = 2;
  static CLOSED = 3;
  CONNECTING = 0;
  OPEN = 1;
  CLOSING = 2;
  CLOSED = 3;
  readyState = 0;
  bufferedAmount = 0;
  extensions = "";
  binaryType = "blob";
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;

  constructor(url, protocols) {
    super();
    this.url = String(url);
    this.protocol = [protocols].flat()[0] ?? "";
    this.who = Number(/\bwho=(\d+)/.exec(this.url)[1]);
    if (lost) {
      waits[this.who].push(now - since[this.who]);
      setTimeout(() => this.end(), REFUSED_AFTER);
      return;
    }
    setTimeout(() => {
      this.readyState = 1;
      alive.add(this);
      this.tell("open", {});
      peer.opened?.(this);
    }, 20);
  }
  send(text) {
    if (this.readyState === 1 && !lost) peer.said?.(this, String(text));
  }
  close() {
    if (this.readyState >= 2) return;
    this.readyState = 2;
    setTimeout(() => this.end(), 20);
  }
  hear(data) {
    setTimeout(() => this.readyState === 1 && this.tell("message", { data }), 20);
  }
  /** Without a word: an error and 1006. */
  end() {
    if (this.readyState === 3) return;
    this.readyState = 3;
    alive.delete(this);
    if (lost) since[this.who] = now;
    this.tell("error", {});
    this.tell("close", { code: 1006, reason: "", wasClean: false });
  }
  tell(type, fields) {
    const event = Object.assign(new Event(type), fields);
    this[`on${type}`]?.(event);
    this.dispatchEvent(event);
  }
}
globalThis.WebSocket = Socket;

const wanted = { e2e: createRequire(path.join(here, "../../e2e/package.json")), loss: createRequire(path.join(here, "../loss/package.json")), here: createRequire(import.meta.url) };
const address = (who) => `ws://server.example/socket?who=${who}`;

/**
 * `load` gives what makes one instance that is to connect; `opened` and `said` are the server's part. `watched`: how long after the
 * loss, in seconds, until its waits have long been of one kind. `alike`: it draws nothing.
 */
const PEERS = {
  phoenix: {
    watched: 100,
    alike: true,
    from: "here",
    load: ({ Socket: Phoenix }) => (who) => new Phoenix("ws://server.example/socket", { transport: Socket, params: { who } }).connect(),
  },
  "@microsoft/signalr": {
    watched: 120,
    alike: true,
    from: "here",
    load:
      ({ HubConnectionBuilder, HttpTransportType, LogLevel }) =>
      (who) =>
        // The negotiation is a request of its own: without it there is one dial for an attempt.
        void new HubConnectionBuilder()
          .withUrl(`https://server.example/socket?who=${who}`, { skipNegotiation: true, transport: HttpTransportType.WebSockets, WebSocket: Socket })
          .configureLogging(LogLevel.None)
          .withAutomaticReconnect()
          .build()
          .start()
          .catch(() => {}),
    said: (socket, text) => text.includes('"protocol"') && socket.hear("{}\x1e"),
  },
  partysocket: { watched: 150, alike: true, from: "e2e", entry: "partysocket/ws", load: ({ default: Party }) => (who) => void new Party(address(who), [], { WebSocket: Socket }) },
  "socket.io-client": {
    watched: 70,
    from: "loss",
    load:
      ({ io }) =>
      (who) =>
        // Long polling would come before it, with a request of its own.
        void io("ws://server.example", { transports: ["websocket"], query: { who }, forceNew: true }),
    entry: "socket.io-client/dist/socket.io.js",
    opened: (socket) => socket.hear('0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'),
    said: (socket, text) => text.startsWith("40") && socket.hear('40{"sid":"s"}'),
  },
  centrifuge: {
    watched: 200,
    from: "here",
    load:
      ({ Centrifuge }) =>
      (who) =>
        new Centrifuge(address(who), { websocket: Socket }).connect(),
    said: (socket, text) => text.includes('"connect"') && socket.hear(`{"id":${JSON.parse(text).id},"connect":{"client":"c","version":"1"}}`),
  },
  "@rails/actioncable": {
    watched: 350,
    from: "e2e",
    load:
      ({ createConsumer, adapters }) =>
      (who) => {
        adapters.WebSocket = Socket;
        createConsumer(address(who)).connect();
      },
    opened: (socket) => socket.hear('{"type":"welcome"}'),
    // One timer of the server's for everybody.
    beat: [3000, '{"type":"ping","message":1}'],
  },
  "reconnecting-websocket": {
    watched: 150,
    from: "e2e",
    // It draws its least wait when it is loaded: once for a page, so once for each instance here.
    load: (_, source) => {
      const page = new Function("exports", "module", "require", source);
      return (who) => {
        const module = { exports: {} };
        page(module.exports, module, () => ({}));
        const Reconnecting = module.exports.default ?? module.exports;
        void new Reconnecting(address(who), [], { WebSocket: Socket });
      };
    },
  },
};

mkdirSync(folder, { recursive: true });
let peer;
for (const [name, kind] of Object.entries(PEERS)) {
  const instances = kind.alike ? 10 : Number(given);
  const require = wanted[kind.from];
  const home = path.dirname(require.resolve.paths(name).map((place) => path.join(place, name, "package.json")).find((file) => existsSync(file)));
  const { version } = JSON.parse(readFileSync(path.join(home, "package.json"), "utf8"));
  const entry = require.resolve(kind.entry ?? name);
  [now, count, queue, state, lost, alive, peer] = [0, 0, [], 1, false, new Set(), kind];
  cancelled.clear();
  waits.length = since.length = 0;
  const make = kind.load(require(entry), readFileSync(entry, "utf8"));
  for (let who = 0; who < instances; who += 1) {
    waits.push([]);
    since.push(0);
    setTimeout(make, random() * JOINED_BY, who);
  }
  if (kind.beat) setInterval(() => alive.forEach((socket) => socket.hear(kind.beat[1])), kind.beat[0]);
  await until(LOST_AT);
  if (alive.size !== instances) throw new Error(`${name}: ${alive.size} of ${instances} are connected`);
  lost = true;
  for (const socket of [...alive]) socket.end();
  await until(LOST_AT + kind.watched * 1000);
  const lines = waits.map((all, who) => `${all.join(" ")}${now - since[who] > SILENCE ? " end" : ""}`);
  if (kind.alike && new Set(lines).size > 1) throw new Error(`${name} draws its waits`);
  writeFileSync(path.join(folder, `${name.replace("/", "-")}.txt`), `${name} ${version}\n${lines.join("\n")}\n`);
  process.stdout.write(`${name} ${version}\n`);
}

// Some of them keep timers for ever.
process.exit(0);
