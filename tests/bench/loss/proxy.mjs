/**
 * The path between a client and its server: a TCP relay on loopback that can delay every byte, fall into a black hole and
 * reset what goes through it. It looks into nothing, so that it is the same for every client.
 */
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** What one direction may hold back before it reads no more. */
const MAX_HELD = 4 * 2 ** 20;

export class Path {
  #pairs = new Set();
  #dark = false;
  #server;

  /** A path to `port`. `delayMs` is how long a byte is on its way, in each direction. */
  static async to(port, delayMs = 0) {
    const path = new Path();
    path.#server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => path.#admit(near, port, delayMs));
    path.#server.listen(0, "127.0.0.1");
    await once(path.#server, "listening");
    return path;
  }

  get port() {
    return this.#server.address().port;
  }

  /** From now on nothing arrives, in either direction: no byte, no FIN, no RST. Whoever connects hears nothing. */
  fall() {
    this.#dark = true;
  }

  /** Both ends of every connection get a RST; after that, the path is whole. */
  heal() {
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy();
    this.#pairs.clear();
    this.#dark = false;
  }

  async close() {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.heal();
    await closed;
  }

  #admit(near, port, delayMs) {
    near.on("error", () => {});
    if (this.#dark) {
      near.resume();
      this.#pairs.add([near]);
      return;
    }
    const far = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    const pair = [near, far];
    this.#pairs.add(pair);
    const down = () => {
      if (this.#dark) return;
      for (const socket of pair) if (!socket.destroyed) socket.resetAndDestroy();
      this.#pairs.delete(pair);
    };
    far.on("error", down);
    near.on("error", down);
    this.#relay(near, far, delayMs);
    this.#relay(far, near, delayMs);
  }

  #relay(from, to, delayMs) {
    const held = [];
    let weight = 0;
    let timer;
    const pass = () => {
      timer = undefined;
      if (this.#dark || to.destroyed) return;
      while (held.length > 0 && held[0].due <= performance.now()) {
        const { bytes } = held.shift();
        if (!bytes) return to.end();
        weight -= bytes.length;
        to.write(bytes);
      }
      if (weight < MAX_HELD && to.writableLength < MAX_HELD) from.resume();
      if (held.length > 0) timer = setTimeout(pass, held[0].due - performance.now());
    };
    const take = (bytes) => {
      if (this.#dark) return;
      held.push({ due: performance.now() + delayMs, bytes });
      weight += bytes?.length ?? 0;
      if (weight >= MAX_HELD || to.writableLength >= MAX_HELD) from.pause();
      if (delayMs === 0) pass();
      else timer ??= setTimeout(pass, delayMs);
    };
    from.on("data", take);
    from.on("end", () => take(undefined));
    to.on("drain", pass);
  }
}
