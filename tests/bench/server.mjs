/**
 * The loopback server, in a thread of its own: it serves the clients' pages and their WebSockets, sends bursts of frames
 * that were encoded beforehand, and counts what arrives without looking into it, unless a protocol's script has to answer.
 * It is told what to do by messages.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { GREETING, SHAPES, texts } from "./page/frames.mjs";
import { caseOf } from "./page/protocols.mjs";

/** Starts the thread. The answer's `ask` hands it a task and waits for what comes of it. */
export async function serve(scripts, pkg) {
  const worker = new Worker(new URL(import.meta.url), { workerData: { scripts, pkg } });
  const asked = new Map();
  let next = 1;
  let fail;
  const broken = new Promise((_, reject) => (fail = reject));
  broken.catch(() => {});
  const port = await new Promise((resolve, reject) => {
    worker.once("error", (error) => {
      fail(error);
      reject(error);
    });
    worker.on("message", ({ id, answer }) => {
      if (id === 0) return resolve(answer);
      asked.get(id)(answer);
      asked.delete(id);
    });
  });
  const ask = (task) => {
    const id = next++;
    worker.postMessage({ id, ...task });
    return Promise.race([new Promise((resolve) => asked.set(id, resolve)), broken]);
  };
  return {
    // Names of their own make sites of their own, and so processes of their own.
    address: (client) => `http://${client}.localhost:${port}/`,
    /** Sends so many frames of a shape to a client. */
    burst: (client, shape, count) => ask({ task: "burst", client, shape, count }),
    /** Answers at once when counting has begun; `arrived` then waits for so many frames of the client's. */
    count: (client) => ask({ task: "count", client }),
    arrived: (client, count) => ask({ task: "arrived", client, count }),
    /** Sends so many frames of a protocol's flood to a client, once it has asked for them. */
    flood: (client, count) => ask({ task: "flood", client, count }),
    close: () => worker.terminate(),
  };
}

const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm" };

/** A text frame as a server sends it. */
function encode(frame) {
  const payload = Buffer.from(typeof frame === "string" ? frame : JSON.stringify(frame));
  const head =
    payload.length < 126 ? Buffer.from([0x81, payload.length]) : Buffer.from([0x81, 126, payload.length >> 8, payload.length & 255]);
  return Buffer.concat([head, payload]);
}

/** Frames from a browser, counted as they pass: always masked, and what is in them matters to nobody. */
class Counter {
  frames = 0;
  closing = false;
  #head = [];
  #left = 0;

  take(chunk) {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, chunk.length - at);
        at += step;
        this.#left -= step;
        continue;
      }
      this.#head.push(chunk[at++]);
      const [kind, short] = this.#head;
      if (this.#head.length < 2) continue;
      const length = short & 127;
      const extended = length === 126 ? 2 : length === 127 ? 8 : 0;
      if (this.#head.length < 2 + extended + 4) continue;
      this.#left = extended === 0 ? length : this.#head.slice(2, 2 + extended).reduce((sum, byte) => sum * 256 + byte, 0);
      this.#head = [];
      if ((kind & 15) < 8) this.frames++;
      if ((kind & 15) === 8) this.closing = true;
    }
  }
}

/** The texts that a browser sends, for a script that answers them. */
class Texts {
  closing = false;
  #rest = Buffer.alloc(0);

  *take(chunk) {
    let rest = Buffer.concat([this.#rest, chunk]);
    while (rest.length >= 6) {
      const short = rest[1] & 127;
      const extended = short === 126 ? 2 : short === 127 ? 8 : 0;
      if (rest.length < 6 + extended) break;
      const length = extended === 0 ? short : extended === 2 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
      const start = 6 + extended;
      if (rest.length < start + length) break;
      const mask = rest.subarray(start - 4, start);
      const payload = Buffer.from(rest.subarray(start, start + length)).map((byte, at) => byte ^ mask[at & 3]);
      if ((rest[0] & 15) === 1) yield payload.toString();
      if ((rest[0] & 15) === 8) this.closing = true;
      rest = rest.subarray(start + length);
    }
    this.#rest = rest;
  }
}

function run({ scripts, pkg }) {
  const encoded = Object.fromEntries(Object.keys(SHAPES).map((shape) => [shape, texts(shape).map(encode)]));
  const sockets = new Map();
  const counters = new Map();
  const peers = new Map();
  const nameOf = (request) => String(request.headers.host).split(".")[0];

  const server = createServer(async (request, response) => {
    // Isolated pages get a clock of 5 µs; others one of 100.
    const headers = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
    const say = (status, type, body) => response.writeHead(status, { ...headers, "Content-Type": type }).end(body);
    const { pathname } = new URL(request.url, "http://localhost");
    if (pathname === "/") return say(200, "text/html", '<!doctype html><meta charset="utf-8"><script type="module" src="/client.js"></script>');
    if (pathname === "/client.js" && scripts.has(nameOf(request))) return say(200, TYPES[".js"], scripts.get(nameOf(request)));
    const file = /^\/pkg\/([\w.-]+)$/.exec(pathname)?.[1];
    const type = file && TYPES[path.extname(file)];
    try {
      if (type) return say(200, type, await readFile(path.join(pkg, file)));
    } catch {
      // A file that is not there is answered like any other unknown address.
    }
    say(404, "text/plain", "not here");
  });

  server.on("upgrade", (request, socket) => {
    const client = nameOf(request);
    const key = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    socket.setNoDelay(true);
    socket.on("error", () => socket.destroy());
    const about = caseOf(client);
    const chosen = about?.subprotocol ? `Sec-WebSocket-Protocol: ${about.subprotocol}\r\n` : "";
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\n${chosen}\r\n`);
    if (about) return follow(client, socket, about);
    socket.write(encode(GREETING));
    const frames = new Counter();
    socket.on("data", (chunk) => {
      const before = frames.frames;
      frames.take(chunk);
      count(client, frames.frames - before);
      if (frames.closing) socket.end(Buffer.from([0x88, 0]));
    });
    socket.on("end", () => socket.end());
    sockets.set(client, socket);
  });

  /** The script of a protocol. */
  function follow(client, socket, about) {
    const peer = about.peer((frame) => socket.write(encode(frame)));
    const texts = new Texts();
    socket.on("data", (chunk) => {
      for (const text of texts.take(chunk)) peer.heard(JSON.parse(text));
      peers.get(client)?.look();
      if (texts.closing) socket.end(Buffer.from([0x88, 0]));
    });
    socket.on("end", () => socket.end());
    sockets.set(client, socket);
    peers.set(client, { peer, look() {} });
    peer.opened();
  }

  /** Whoever makes calls is answered when all of them are there. */
  async function flood(client, count) {
    const entry = peers.get(client);
    const { peer } = entry;
    if ("asked" in peer) await new Promise((resolve) => ((entry.look = () => peer.asked >= count && resolve()), entry.look()));
    const frames = [...(peer.begins?.() ?? []), ...Array.from({ length: count }, () => peer.next()), ...(peer.ends?.() ?? [])].map(encode);
    for (let at = 0; at < frames.length; at += 256) await burst(sockets.get(client), frames.slice(at, at + 256), Math.min(256, frames.length - at));
  }

  function count(client, more) {
    const counter = counters.get(client);
    if (!counter || more === 0) return;
    counter.frames += more;
    look(counter);
  }

  function look(counter) {
    if (!counter.answer || counter.frames < counter.wanted) return;
    counter.answer({ at: performance.timeOrigin + performance.now(), frames: counter.frames });
    counter.answer = undefined;
  }

  async function burst(socket, frames, count) {
    const all = Buffer.concat(frames);
    for (let sent = 0; sent < count; sent += frames.length) {
      const more = Math.min(frames.length, count - sent);
      const chunk = more === frames.length ? all : Buffer.concat(frames.slice(0, more));
      if (!socket.write(chunk)) await new Promise((resolve) => socket.once("drain", resolve));
    }
  }

  parentPort.on("message", async ({ id, task, client, shape, count: wanted }) => {
    const answer = (value) => parentPort.postMessage({ id, answer: value });
    if (task === "burst") {
      await burst(sockets.get(client), encoded[shape], wanted);
      answer();
    } else if (task === "flood") {
      await flood(client, wanted);
      answer();
    } else if (task === "count") {
      counters.set(client, { frames: 0, wanted: 0, answer: undefined });
      answer();
    } else {
      const counter = counters.get(client);
      Object.assign(counter, { wanted, answer });
      look(counter);
    }
  });

  server.listen(0, "127.0.0.1", () => parentPort.postMessage({ id: 0, answer: server.address().port }));
}

if (!isMainThread && workerData?.scripts) run(workerData);
