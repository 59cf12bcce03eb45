/** What a page adds to a plain reconnecting socket so that it hears the same events: the floor's routing, nothing else. */
import { ROUTES } from "../frames.mjs";

/** `socket` is one that has not been told to connect yet. */
export function routed(socket) {
  const routes = new Map(ROUTES);
  socket.addEventListener("message", (event) => {
    const frame = JSON.parse(event.data);
    const name = routes.get(frame.type);
    if (name !== undefined) window.dispatchEvent(new CustomEvent(name, { detail: frame }));
  });
  return {
    connect: () => socket.reconnect(),
    send: (frame) => socket.send(JSON.stringify(frame)),
    close: () => socket.close(),
  };
}
