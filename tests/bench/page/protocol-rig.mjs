/**
 * What runs in a page that speaks a further protocol: it brings the client up, against a script in the page or the bench's
 * server, and takes the times of a flood.
 */
import { FakeSocket } from "./fake-socket.mjs";
import { tasks, trimmed } from "./sampling.mjs";

const RealSocket = globalThis.WebSocket;

let about;
let make;
let line;
let peer;
let heard = 0;
let sink = 0;
let reached = () => {};
let wanted = Infinity;

export function install(given, clients) {
  about = given;
  make = clients[given.client];
  globalThis.bench = { up, inbound, ask, expect };
}

const message = (frame) => new MessageEvent("message", { data: typeof frame === "string" ? frame : JSON.stringify(frame) });

function hear(text) {
  sink += text.length;
  if (++heard === wanted) reached();
}

/** Brings the client up, on a `fake` socket that follows the script or a `real` one. */
async function up(kind) {
  globalThis.WebSocket = kind === "real" ? RealSocket : FakeSocket;
  FakeSocket.onMade = (socket) => {
    // What a server says comes in a task of its own, in order.
    peer = about.peer((frame) => void task().then(() => socket.deliver(message(frame))));
    socket.protocol = about.subprotocol ?? "";
    socket.send = (text) => peer.heard(JSON.parse(text));
    setTimeout(() => {
      socket.open();
      peer.opened();
    });
  };
  line = make(`ws://${location.host}/socket`, hear);
  await line.up();
  // What a script says last may be under way.
  await new Promise((resolve) => setTimeout(resolve, 50));
}

const task = () => tasks(() => false);

/** Whoever reads in a loop has read by then: so long a browser waits for promises after each message. */
async function settled() {
  await null;
  await null;
  await null;
}

/** Frames that nobody takes the time of; answers how many of them were heard. */
async function aside(frames = []) {
  const before = heard;
  for (const frame of frames) {
    FakeSocket.latest.deliver(message(frame));
    await settled();
  }
  return heard - before;
}

/**
 * Nanoseconds per frame, in-process: stretch after stretch of the flood, each frame followed by whatever promises it settles;
 * the wait itself, measured in the same way with no frame, is taken off.
 */
async function inbound(ms) {
  const { stretch } = about;
  const piece = Math.min(stretch, 250);
  const socket = FakeSocket.latest;
  const [times, idles] = [[], []];
  const before = heard;
  let frames = 0;
  const end = performance.now() + ms;
  do {
    ask(stretch);
    // What is asked is answered, where it has an answer of its own.
    await task();
    await task();
    frames += await aside(peer.begins?.());
    for (let sent = 0; sent < stretch; sent += piece) {
      const events = Array.from({ length: piece }, () => message(peer.next()));
      await task();
      let start = performance.now();
      for (const event of events) {
        socket.deliver(event);
        await settled();
      }
      times.push(performance.now() - start);
      frames += piece;
      start = performance.now();
      for (let at = 0; at < piece; at++) await settled();
      idles.push(performance.now() - start);
    }
    frames += await aside(peer.ends?.());
  } while (performance.now() < end);
  const ns = (all) => (trimmed(all) / piece) * 1e6;
  return { ns: ns(times) - ns(idles), idle: ns(idles), frames, heard: heard - before };
}

const ask = (count) => line.ask?.(count);

/** Over a socket: the time from now on until so many frames have been heard. */
function expect(count) {
  const start = performance.now();
  wanted = heard + count;
  return new Promise((resolve) => (reached = () => resolve(performance.now() - start)));
}
