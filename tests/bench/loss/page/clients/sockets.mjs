/** The wrappers that have a WebSocket's shape, each with its defaults. */
import { WebSocket as PartySocket } from "partysocket";
import ReconnectingWebSocket from "reconnecting-websocket";
import { ArrayQueue, ConstantBackoff, WebsocketBuilder, WebsocketEvent } from "websocket-ts";

const shaped = (Socket) => ({
  create(url, down) {
    const socket = new Socket(url);
    socket.addEventListener("close", down);
    return {
      ready: () => socket.readyState === WebSocket.OPEN,
      send: (n) => socket.send(JSON.stringify({ type: "reading", n })),
      // It counts what it keeps besides what the browser keeps; in bytes, and a message has more than one.
      waiting: () => socket.bufferedAmount,
    };
  },
});

export const reconnecting = shaped(ReconnectingWebSocket);
export const party = shaped(PartySocket);

/** It keeps and retries nothing unless told how: as its README tells it. */
export const builder = {
  create(url, down) {
    const queue = new ArrayQueue();
    const socket = new WebsocketBuilder(url).withBuffer(queue).withBackoff(new ConstantBackoff(1000)).build();
    socket.addEventListener(WebsocketEvent.close, down);
    return {
      ready: () => socket.readyState === WebSocket.OPEN,
      send: (n) => socket.send(JSON.stringify({ type: "reading", n })),
      waiting: () => queue.length() + socket.bufferedAmount,
    };
  },
};
