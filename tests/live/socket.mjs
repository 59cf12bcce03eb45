/**
 * A raw WebSocket conversation in JSON: what was sent, what came, and waiting for a frame that fits, with a deadline. It knows
 * no protocol. The WebSocket is the one among the test tools.
 */
import { createRequire } from "node:module";

/** What is installed for the tests in tests/e2e. */
export const tools = createRequire(new URL("../e2e/package.json", import.meta.url));

const PATIENCE = 30_000;

/** Opens a socket. A browser's page would name its origin; without one it is a program. */
export async function open(url, { origin, protocols = [] } = {}) {
  const { WebSocket } = tools("ws");
  const socket = new WebSocket(url, protocols, { origin, maxPayload: 64 * 1024 * 1024 });
  const frames = [];
  const waiting = new Set();
  let over;
  const closed = new Promise((resolve) => {
    socket.once("close", (code, reason) => {
      over = { code, reason: reason.toString() };
      resolve(over);
      for (const look of waiting) look();
    });
  });
  socket.on("message", (data) => {
    const text = data.toString();
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      frame = { unparsed: text };
    }
    frames.push(frame);
    for (const look of waiting) look();
  });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  socket.on("error", () => {});

  /** The first frame from place `from` on that fits. */
  const wait = (fits, { from = 0, patience = PATIENCE, what = "a frame" } = {}) =>
    new Promise((resolve, reject) => {
      let at = from;
      const done = (settle, value) => {
        clearTimeout(timer);
        waiting.delete(look);
        settle(value);
      };
      const told = () => `${what} did not come; the last frames: ${JSON.stringify(frames.slice(-5)).slice(0, 2000)}`;
      const look = () => {
        for (; at < frames.length; at++) if (fits(frames[at])) return done(resolve, frames[at]);
        if (over) done(reject, new Error(`closed with ${over.code} "${over.reason}" before ${told()}`));
      };
      const timer = setTimeout(() => done(reject, new Error(`within ${patience} ms ${told()}`)), patience);
      waiting.add(look);
      look();
    });

  return {
    frames,
    closed,
    wait,
    /** The place behind the last frame, to wait from. */
    now: () => frames.length,
    send: (frame) => socket.send(typeof frame === "string" ? frame : JSON.stringify(frame)),
    /** Ends it without a close frame, as a lost network does. */
    drop: async () => {
      socket.terminate();
      await closed;
    },
    close: async (code = 1000) => {
      socket.close(code);
      await closed;
    },
  };
}
