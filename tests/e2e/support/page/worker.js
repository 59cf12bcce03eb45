// A module worker with a line of its own: it says what it hears.
import { Moorline } from "/pkg/index.js";

const line = new Moorline(new URL("/api/world/ws", location.href.replace(/^http/, "ws")));
const tell = (type) => globalThis.addEventListener(type, ({ detail }) => postMessage({ type, detail }));
for (const type of ["ws-connected", "ws-disconnected", "ws-reconnecting", "session-init", "chat-message"]) tell(type);
globalThis.addEventListener("ws-error", ({ detail }) => postMessage({ type: "ws-error", detail: { code: detail.code } }));
globalThis.onmessage = ({ data }) => {
  line.send(data);
};
line.connect();
