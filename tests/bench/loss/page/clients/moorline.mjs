/** moorline as published, with its defaults but for what a name says. */
import { Moorline } from "/pkg/index.js";

/** For a gateway that acknowledges nothing. */
export const plain = line({}, { acks: false });
export const acknowledged = line({}, { acks: true });
export const kept = line({ queue: { persist: true } }, { acks: true });

function line(options, { acks }) {
  return {
    create(url, down) {
      const line = new Moorline(url, options);
      const receipts = new Map();
      let given = 0;
      let over = 0;
      let acknowledged = 0;
      line.on("ws-disconnected", down);
      line.connect();
      return {
        ready: () => line.state === "connected",
        send(n) {
          const receipt = line.send({ type: "reading", n });
          given += 1;
          receipts.set(n, receipt);
          (acks ? receipt.acked.then(() => (acknowledged += 1)) : receipt.sent).catch(() => {}).finally(() => (over += 1));
        },
        // What an earlier page has left has no receipt in this one.
        waiting: () => Math.max(given - over, line.stats().queueMessages),
        fate: (n) => receipts.get(n)?.status,
        ...(acks && { acknowledged: () => acknowledged }),
      };
    },
  };
}
