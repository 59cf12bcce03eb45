/** partysocket's WebSocket with the floor's routing. */
import { WebSocket as PartyWebSocket } from "partysocket";
import { routed } from "./routed.mjs";

export const create = (url) => routed(new PartyWebSocket(url, [], { startClosed: true, WebSocket: globalThis.WebSocket }));
