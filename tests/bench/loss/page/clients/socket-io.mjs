/** Socket.IO's client, with its defaults and with acknowledgements and retries. */
import { io } from "socket.io-client";

export const byDefault = {
  create(url, down) {
    const socket = io(url);
    socket.on("disconnect", down);
    return {
      ready: () => socket.connected,
      send: (n) => socket.emit("reading", { n }),
      waiting: () => socket.sendBuffer.length + (socket.io.engine?.writeBuffer.length ?? 0),
    };
  },
};

export const retrying = {
  create(url, down) {
    const socket = io(url, { retries: Infinity, ackTimeout: 1000 });
    let emitted = 0;
    let acknowledged = 0;
    socket.on("disconnect", down);
    return {
      ready: () => socket.connected,
      send(n) {
        emitted += 1;
        socket.emit("reading", { n }, (error) => {
          if (!error) acknowledged += 1;
        });
      },
      waiting: () => emitted - acknowledged,
      acknowledged: () => acknowledged,
    };
  },
};
