/** The floor: what one writes by hand when nothing may go wrong. No reconnecting, no limits, no checks. */
import { ROUTES } from "../frames.mjs";

export function create(url) {
  const routes = new Map(ROUTES);
  const queue = [];
  let ws;
  return {
    connect() {
      ws = new WebSocket(url);
      ws.onopen = () => {
        for (const text of queue) ws.send(text);
        queue.length = 0;
      };
      ws.onmessage = (event) => {
        const frame = JSON.parse(event.data);
        const name = routes.get(frame.type);
        if (name !== undefined) window.dispatchEvent(new CustomEvent(name, { detail: frame }));
      };
    },
    send(frame) {
      const text = JSON.stringify(frame);
      if (ws !== undefined && ws.readyState === 1) ws.send(text);
      else queue.push(text);
    },
    close: () => ws.close(),
  };
}
