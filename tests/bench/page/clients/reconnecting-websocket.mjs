/** reconnecting-websocket with the floor's routing. */
import ReconnectingWebSocket from "reconnecting-websocket";
import { routed } from "./routed.mjs";

// Named on every attempt: by default it remembers the class that was there when it was loaded.
export const create = (url) => routed(new ReconnectingWebSocket(url, [], { startClosed: true, WebSocket: globalThis.WebSocket }));
