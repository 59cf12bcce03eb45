/** moorline as published, with default options but for one more route and a queue that takes the flood of the flush. */
import { Moorline } from "/pkg/index.js";

export const OPTIONS = {
  routes: { "player-moved": "player-moved" },
  queue: { maxMessages: 1_000_000, maxBytes: 1_000_000_000 },
  // Each line is somebody new: no page goes on with another's session.
  session: { storage: "memory" },
};

export function create(url, options = OPTIONS) {
  const line = new Moorline(url, options);
  return {
    connect: () => line.connect(),
    send: (frame) => line.send(frame),
    close: () => line.dispose(),
    on: (type, listener) => line.on(type, listener),
  };
}
