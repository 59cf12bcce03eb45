/**
 * The servers at the other end. Each does what a first page of its documentation does, and writes down the number of every
 * message that reaches the application, in the order in which they do. Loopback only.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";

const here = createRequire(import.meta.url);

/** However this process ends, its gateways do. */
const gateways = new Set();
process.once("exit", () => gateways.forEach((child) => child.kill("SIGKILL")));

/** What reached the application. */
class Arrivals {
  /** The numbers, in order. */
  numbers = [];
  /** When the last one came, and how many different ones there were. */
  last = 0;
  #known = new Set();

  take(number) {
    this.numbers.push(number);
    this.#known.add(number);
    this.last = Date.now();
  }

  has(number) {
    return this.#known.has(number);
  }

  get different() {
    return this.#known.size;
  }
}

/** A plain WebSocket server. */
export async function plain({ e2e }) {
  const { WebSocketServer } = createRequire(path.join(e2e, "package.json"))("ws");
  const arrivals = new Arrivals();
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  server.on("connection", (socket) => {
    socket.on("error", () => {});
    socket.on("message", (text) => arrivals.take(JSON.parse(text).n));
  });
  return {
    arrivals,
    port: server.address().port,
    address: (port) => `ws://127.0.0.1:${port}/`,
    async close() {
      for (const socket of server.clients) socket.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A Socket.IO server that acknowledges what wants to be acknowledged. */
export async function socketIo() {
  const { Server } = here("socket.io");
  const arrivals = new Arrivals();
  const http = createServer();
  const server = new Server(http, { cors: { origin: true } });
  server.on("connection", (socket) =>
    socket.on("reading", ({ n }, acknowledge) => {
      arrivals.take(n);
      acknowledge?.();
    }),
  );
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  return {
    arrivals,
    port: http.address().port,
    address: (port) => `http://127.0.0.1:${port}/`,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

/** The development gateway. What reached its world is what another client of that world hears. */
export async function gateway({ e2e, gateway: program }, flags) {
  const { WebSocket } = createRequire(path.join(e2e, "package.json"))("ws");
  const arrivals = new Arrivals();
  const always = ["--port", "0", "--agents", "off", "--snapshot", "off", "--rate-limit", "0"];
  const child = spawn(program, [...always, ...flags], { stdio: ["ignore", "pipe", "ignore"] });
  gateways.add(child);
  const ended = once(child, "exit").finally(() => gateways.delete(child));
  const lines = createInterface({ input: child.stdout });
  const started = await Promise.race([
    once(lines, "line").then(([line]) => JSON.parse(line)),
    ended.then(([code]) => Promise.reject(new Error(`the gateway ended with ${code}: ${flags.join(" ")}`))),
  ]);
  const { port, pathname } = new URL(started.ws);
  const witness = new WebSocket(started.ws);
  const greeted = new Promise((resolve, reject) => {
    witness.once("error", reject);
    witness.on("message", (text) => {
      const frame = JSON.parse(text);
      if (frame.type === "reading") arrivals.take(frame.n);
      if (frame.type === "session-init") resolve();
    });
  });
  const stop = async () => {
    witness.terminate();
    child.kill("SIGKILL");
    await ended;
  };
  await greeted.catch((error) => stop().then(() => Promise.reject(error)));
  return { arrivals, port: Number(port), address: (port) => `ws://127.0.0.1:${port}${pathname}`, close: stop };
}
