/**
 * The further protocols, as far as the bench needs them: for each case a server that says what its script says, and the
 * frames that come in a flood once the line is up. Pages and the server share them; who proves to be whom is not checked.
 */
import { dice, words } from "./frames.mjs";

/** Frames of one answer: as many as come between its beginning and its end. */
export const ANSWER = 250;

const json = JSON.stringify;

/** A few words, another few each time. */
function pieces() {
  const pick = dice(4711);
  const made = Array.from({ length: 1024 }, () => words(pick, 3 + pick(6)));
  let at = 0;
  return () => made[at++ & 1023];
}

const IDENTIFIER = json({ channel: "SessionChannel", session_id: 42 });
export const CABLE = { identifier: IDENTIFIER };

/** One run, known to page and server by this key. */
export const RUN = "0f8fad5b-d9cb-469f-a165-70867728950e";
export const SESSION = "agent:main:bench";

export const HERMES = "644d82f9";

function openclaw(say, cumulative) {
  const piece = pieces();
  let seq = 0;
  let own = 0;
  let text;
  const event = (event, payload) => ({ type: "event", event, payload, seq: ++seq });
  return {
    opened: () => say({ type: "event", event: "connect.challenge", payload: { nonce: "bench", ts: 1_795_222_472_138 } }),
    heard({ id, method }) {
      const payload =
        method === "connect"
          ? {
              type: "hello-ok",
              protocol: 4,
              server: { version: cumulative ? "2026.9.6" : "2026.9.7", bootId: "bench" },
              auth: { role: "operator", scopes: ["operator.read", "operator.write"] },
              policy: { maxPayload: 26_214_400, tickIntervalMs: 30_000 },
            }
          : { key: SESSION, runId: RUN, status: "started" };
      say({ type: "res", id, ok: true, payload });
      if (method === "chat.send") say(delta());
    },
    next: () => json(delta()),
  };
  /** After so many the text begins anew: no answer is as long as the flood. */
  function delta() {
    const deltaText = piece();
    const first = own % ANSWER === 0;
    text = first ? deltaText : text + deltaText;
    const message = { role: "assistant", content: [{ type: "text", text }], timestamp: 1_795_222_472_138 };
    const payload = { runId: RUN, sessionKey: SESSION, seq: ++own, state: "delta", deltaText };
    if (cumulative || own === 1) payload.message = message;
    else if (first) payload.replace = true;
    return event("chat", payload);
  }
}

function hermes(say, numbered) {
  const piece = pieces();
  let seq = 0;
  const stored_session_id = "20261121_000157_98d41a";
  const event = (type, payload) => ({
    jsonrpc: "2.0",
    method: "event",
    params: { type, session_id: HERMES, ...(numbered && { seq: ++seq }), payload },
  });
  return {
    opened() {
      const payload = { skin: { name: "default" }, ...(numbered && { replay_epoch: "bench", heartbeat: true }) };
      say({ jsonrpc: "2.0", method: "event", params: { type: "gateway.ready", payload } });
    },
    heard({ id, method }) {
      const session = { session_id: HERMES, stored_session_id, message_count: 0, messages: [] };
      say({ jsonrpc: "2.0", id, result: method === "session.create" ? session : { status: "streaming" } });
    },
    begins: () => [event("message.start")],
    ends: () => [event("message.complete", { status: "complete", text: "." }), event("session.info", { running: false, stored_session_id })],
    next: () => json(event("message.delta", { text: piece() })),
  };
}

function cable(say) {
  const piece = pieces();
  let at = 0;
  return {
    opened: () => say({ type: "welcome" }),
    heard({ command, identifier }) {
      if (command === "subscribe") say({ identifier, type: "confirm_subscription" });
    },
    next: () => json({ identifier: IDENTIFIER, message: { type: "agent_message", id: ++at, content: `${piece()} ${piece()} ${piece()}` } }),
  };
}

function observation(say) {
  const piece = pieces();
  let at = 0;
  const event = (event, data) => ({
    kind: "event",
    envelope: { cursor: `bo_${(++at).toString(16).padStart(16, "0")}`, worker_id: "worker-00000001", payload: { event, data } },
  });
  return {
    opened: () => say(event("snapshot", { status: "idle" })),
    heard() {},
    next: () => json(event("text_delta", { text: piece() })),
  };
}

function rpc() {
  const piece = pieces();
  const ids = [];
  let at = 0;
  return {
    opened() {},
    heard: ({ id }) => ids.push(id),
    /** How many answers are owed. */
    get asked() {
      return ids.length - at;
    },
    next() {
      const text = json({ jsonrpc: "2.0", id: ids[at++], result: { text: piece(), count: at } });
      if (at === ids.length) {
        ids.length = 0;
        at = 0;
      }
      return text;
    },
  };
}

/**
 * Name → what it is called, which client speaks it, the subprotocol, how many frames come at a stretch, and the server. Its
 * `opened` and `heard` say what the script says; `begins` and `ends` are frames around an answer, `next` is the flood. Clients
 * that have `ask` ask for each answer.
 */
export const CASES = {
  "action-cable": {
    title: "Action Cable, data frame to a subscription",
    client: "cable",
    subprotocol: "actioncable-v1-json",
    stretch: ANSWER,
    peer: cable,
  },
  "openclaw-message": {
    title: "OpenClaw to 2026.9.6, `chat` delta with the whole message to a run",
    client: "openclaw",
    stretch: ANSWER,
    peer: (say) => openclaw(say, true),
  },
  "openclaw-delta": {
    title: "OpenClaw from 2026.9.7, `chat` delta to a run",
    client: "openclaw",
    stretch: ANSWER,
    peer: (say) => openclaw(say, false),
  },
  hermes: { title: "Hermes 0.19, `message.delta` to a turn", client: "hermes", stretch: ANSWER, peer: (say) => hermes(say, false) },
  "hermes-numbered": {
    title: "Hermes 0.20, `message.delta` with a number to a turn",
    client: "hermes",
    stretch: ANSWER,
    peer: (say) => hermes(say, true),
  },
  observation: { title: "yoi, `text_delta` event to an observation", client: "observation", stretch: ANSWER, peer: observation },
  "json-rpc": { title: "JSON-RPC, answers to 100 open requests", client: "rpc", many: true, stretch: 100, peer: rpc },
  "json-rpc-10k": { title: "JSON-RPC, answers to 10,000 open requests", client: "rpc", many: true, stretch: 10_000, peer: rpc },
};

/** Who speaks it: their pages are called after the case and them. */
export const SPEAKERS = ["floor", "control", "moorline"];
export const pageOf = (name, speaker) => `${name}--${speaker}`;
export const caseOf = (page) => CASES[page.split("--")[0]];
