/**
 * The application in the page: it sends numbered messages, and remembers what its client told it about them. Which client that
 * is decides who imports this. The numbers go on after a reload.
 */

/** So many messages at most are on their way while throughput is measured: below every client's bound. */
const AHEAD = 800;
const COUNT = "sent";

export function install({ create }) {
  let client;
  let ticking;
  /** When the client said that its connection is gone. */
  const downs = [];
  let shown;
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) shown = Date.now();
  });
  const sent = () => Number(sessionStorage.getItem(COUNT) ?? 0);

  function send() {
    const n = sent();
    // Noted first: what was given to a client that a reload then took counts as sent.
    sessionStorage.setItem(COUNT, n + 1);
    client.send(n);
  }

  globalThis.bench = {
    connect(url) {
      client = create(url, () => downs.push(Date.now()));
    },
    ready: () => client.ready(),
    /** One message each `everyMs` from now on; answers when that is. What a busy machine delays is caught up with. */
    start(everyMs) {
      const begun = Date.now();
      let given = 0;
      ticking = setInterval(() => {
        for (; given < Math.floor((Date.now() - begun) / everyMs); given++) send();
      }, everyMs);
      return begun;
    },
    stop: () => clearInterval(ticking),
    sent,
    /** How many messages the client still means to send, or to have acknowledged. */
    waiting: () => client.waiting(),
    /** What the client says of each of these messages; `undefined` is nothing. */
    fates: (numbers) => numbers.map((n) => client.fate?.(n)),
    downs: () => downs,
    /** When the page was last looked at again. */
    shown: () => shown,
    /** As much as the client takes, for so long. Answers from when to when that was, and how many were acknowledged meanwhile. */
    async pump(ms) {
      const from = Date.now();
      const acknowledged = client.acknowledged?.();
      for (let number = sent(); Date.now() < from + ms; await new Promise((resolve) => setTimeout(resolve, 4))) {
        for (let room = AHEAD - client.waiting(); room > 0; room--) client.send(number++);
      }
      return { from, to: Date.now(), acknowledged: acknowledged === undefined ? undefined : client.acknowledged() - acknowledged };
    },
  };
}
