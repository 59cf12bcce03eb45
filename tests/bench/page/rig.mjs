/**
 * What runs in a client's page: it makes the client, brings it up on a fake or a real socket, and takes the times. Which
 * client takes its turn when, and what the times mean, is decided outside.
 */
import { FakeSocket } from "./fake-socket.mjs";
import { GREETING, SHAPES, outbound, texts } from "./frames.mjs";
import { tasks, trimmed } from "./sampling.mjs";

const RealSocket = globalThis.WebSocket;
/** A clock that ticks every 5 µs needs batches many ticks long; the machine interrupts long ones. */
const BATCH_MS = 0.2;

let client;
let line;
let sink = 0;
let heard = 0;
let ends = [];
const memories = [];

export function install(module) {
  client = module;
  watchMemory();
  globalThis.bench = { up, down, listen, deaf, inbound, expect, outboundFake, outboundReal, fill, flushFake, flushReal, blocked, wasmBytes };
}

/** Remembers the memory of every wasm instance that the page makes. */
function watchMemory() {
  for (const way of ["instantiate", "instantiateStreaming"]) {
    const made = WebAssembly[way];
    WebAssembly[way] = async (...given) => {
      const result = await made.apply(WebAssembly, given);
      const memory = (result.instance ?? result).exports?.memory;
      if (memory) memories.push(memory);
      return result;
    };
  }
}

const wasmBytes = () => memories.reduce((sum, memory) => sum + memory.buffer.byteLength, 0);

const url = () => `ws://${location.host}/socket`;
const message = (data) => new MessageEvent("message", { data });
const greet = () => FakeSocket.latest.deliver(message(GREETING));
const moment = () => new Promise((resolve) => setTimeout(resolve, 1));

/** Adds a listener where this client's events are heard; answers what removes it. */
function hear(type, listener) {
  if (client.direct) return line.on(type, listener);
  const onEvent = (event) => listener(event.detail);
  window.addEventListener(type, onEvent);
  return () => window.removeEventListener(type, onEvent);
}

/** Makes the client and connects it: `fake` (greeted and ready), `held` (a fake that is not open yet) or `real`. */
async function up(kind) {
  down();
  globalThis.WebSocket = kind === "real" ? RealSocket : FakeSocket;
  FakeSocket.latest = undefined;
  line = client.create(url());
  if (kind === "real") {
    const ready = new Promise((resolve) => ends.push(hear("session-init", resolve)));
    line.connect();
    await ready;
    return;
  }
  line.connect();
  while (FakeSocket.latest === undefined) await moment();
  if (kind === "held") return;
  FakeSocket.latest.open();
  greet();
}

/** Nobody listens any more. */
function deaf() {
  for (const end of ends.splice(0)) end();
}

function down() {
  deaf();
  line?.close();
  line = undefined;
}

/** Somebody listens for every shape's event and reads a field of it. */
function listen() {
  const fields = new Map(Object.values(SHAPES).map(({ event, field }) => [event, field]));
  for (const [event, field] of fields) {
    ends.push(
      hear(event, (detail) => {
        heard++;
        sink += detail[field].length;
      }),
    );
  }
}

/** How many calls fill a batch. The best of a few tries decides: an interruption is not the cost of a call. */
async function batch(act) {
  let count = 1;
  let tries = 0;
  let best = Infinity;
  await tasks(() => {
    const start = performance.now();
    act(count);
    best = Math.min(best, performance.now() - start);
    if (best >= BATCH_MS / 2 && ++tries < 5) return true;
    if (best >= BATCH_MS / 2) return false;
    count *= 2;
    tries = 0;
    best = Infinity;
    return true;
  });
  return Math.max(1, Math.round((count * BATCH_MS) / best));
}

/** Nanoseconds per call of `act(count)` counted by one. */
async function sampled(act, ms) {
  const count = await batch(act);
  const times = [];
  const end = performance.now() + ms;
  await tasks(() => {
    const start = performance.now();
    act(count);
    const now = performance.now();
    times.push(now - start);
    return now < end;
  });
  return (trimmed(times) / count) * 1e6;
}

const prepared = new Map();

/** In-process: prepared events of a shape, straight into the client's handlers. */
async function inbound(shape, ms) {
  if (!prepared.has(shape)) prepared.set(shape, texts(shape).map(message));
  const events = prepared.get(shape);
  const mask = events.length - 1;
  const socket = FakeSocket.latest;
  let at = 0;
  const before = heard;
  const ns = await sampled((count) => {
    for (let i = 0; i < count; i++) socket.deliver(events[at++ & mask]);
  }, ms);
  return { ns, frames: at, heard: heard - before };
}

/** Over a socket: the time from the first of so many events to the last. */
function expect(shape, count) {
  const { event, field } = SHAPES[shape];
  return new Promise((resolve) => {
    let left = count;
    let start = 0;
    const end = hear(event, (detail) => {
      sink += detail[field].length;
      if (left === count) start = performance.now();
      if (--left > 0) return;
      const ms = performance.now() - start;
      end();
      resolve(ms);
    });
  });
}

/** Nanoseconds per `send()` of a fresh object while open. */
function outboundFake(ms) {
  const next = outbound();
  const socket = FakeSocket.latest;
  socket.holds = true;
  return sampled((count) => {
    socket.bufferedAmount = 0;
    for (let i = 0; i < count; i++) line.send(next());
  }, ms);
}

function outboundReal(count) {
  const next = outbound();
  const start = performance.now();
  for (let i = 0; i < count; i++) line.send(next());
  return { start: performance.timeOrigin + start, callMs: performance.now() - start };
}

/** Queues so many messages on a line that is not open yet. */
function fill(count) {
  const next = outbound();
  const start = performance.now();
  for (let i = 0; i < count; i++) line.send(next());
  return performance.now() - start;
}

/** Opens the held fake socket: how long until everything has been handed over, and how much that was. */
async function flushFake(count) {
  const socket = FakeSocket.latest;
  const start = performance.now();
  socket.open();
  greet();
  while (socket.sent < count && performance.now() - start < 10_000) await moment();
  return { ms: performance.now() - start, sent: socket.sent };
}

/** Dials, queues before the socket can open, and leaves the rest to the client. */
function flushReal(count) {
  globalThis.WebSocket = RealSocket;
  down();
  line = client.create(url());
  line.connect();
  fill(count);
  watch();
  return { start: performance.timeOrigin + performance.now() };
}

let watched;

/** Begins to look how long the page is blocked at a stretch. */
function watch() {
  let last = performance.now();
  let longest = 0;
  const look = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  };
  const timer = setInterval(look, 4);
  watched = () => {
    look();
    clearInterval(timer);
    return longest;
  };
}

/** Ends it: the longest time in ms. */
const blocked = () => watched();
