/** moorline's entries, as a page uses them: subscriptions with `on`, runs and observations with a loop, calls with a promise. */
import { CABLE, HERMES, RUN, SESSION } from "../protocols.mjs";

// Each line is somebody new, and 10,000 calls may wait.
const OPTIONS = { session: { storage: "memory" }, queue: { maxMessages: 20_000, maxBytes: 16_777_216 } };

async function made(entry, url) {
  const { Moorline } = await import(`/pkg/${entry}.js`);
  return new Moorline(url, OPTIONS);
}

const happens = (target, type) => new Promise((resolve) => target.on(type, resolve));

async function read(run, heard) {
  for await (const event of run) if (event.type === "delta") heard(event.text);
}

export const cable = (url, heard) => ({
  async up() {
    const line = await made("action-cable", url);
    line.connect();
    const subscription = line.subscribe(CABLE.identifier);
    await happens(subscription, "confirmed");
    subscription.on("message", (message) => heard(message.content));
  },
});

export const openclaw = (url, heard) => ({
  async up() {
    const line = await made("openclaw", url);
    line.connect();
    await happens(line, "ws-connected");
    const run = line.run("chat.send", { sessionKey: SESSION, message: "go" }, { idempotencyKey: RUN });
    read(run, heard);
    // The first delta comes behind the answer, and shows that the run is known.
    while (run.text === "") await new Promise((resolve) => setTimeout(resolve, 1));
  },
});

export function hermes(url, heard) {
  let line;
  return {
    async up() {
      line = await made("hermes", url);
      line.connect();
      await line.request("session.create", {});
    },
    ask: () => void read(line.run("prompt.submit", { session_id: HERMES, text: "go" }), heard),
  };
}

export const observation = (url, heard) => ({
  async up() {
    const line = await made("observation", url);
    line.connect();
    const observation = line.observe();
    await new Promise(async (resolve) => {
      for await (const { type, event, data } of observation) {
        if (event === "text_delta") heard(data.text);
        else if (type === "event") resolve();
      }
    });
  },
});

export function rpc(url, heard) {
  let line;
  return {
    async up() {
      line = await made("json-rpc", url);
      line.connect();
      await happens(line, "ws-connected");
    },
    ask(count) {
      for (let i = 0; i < count; i++) line.request("echo", { i }).then(({ text }) => heard(text));
    },
  };
}
