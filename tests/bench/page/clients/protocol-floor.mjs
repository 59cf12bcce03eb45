/**
 * The floor of each further protocol: the least that one writes by hand to get its frames to a callback. No reconnecting, no
 * numbers looked at, no errors.
 */
import { CABLE, HERMES, RUN, SESSION } from "../protocols.mjs";

function dial(url, subprotocols, onmessage) {
  const ws = new WebSocket(url, subprotocols);
  ws.onmessage = onmessage;
  return ws;
}

export function cable(url, heard) {
  const subscriptions = new Map();
  let ws;
  return {
    up: () =>
      new Promise((resolve) => {
        subscriptions.set(CABLE.identifier, (message) => heard(message.content));
        ws = dial(url, ["actioncable-v1-json"], (event) => {
          const { type, identifier, message } = JSON.parse(event.data);
          if (type === undefined) subscriptions.get(identifier)?.(message);
          else if (type === "welcome") ws.send(JSON.stringify({ command: "subscribe", identifier: CABLE.identifier }));
          else if (type === "confirm_subscription") resolve();
        });
      }),
  };
}

export function openclaw(url, heard) {
  const runs = new Map();
  let ws;
  return {
    up: () =>
      new Promise((resolve) => {
        const ask = (id, method, params) => ws.send(JSON.stringify({ type: "req", id, method, params }));
        ws = dial(url, [], (event) => {
          const frame = JSON.parse(event.data);
          if (frame.type === "event") {
            const { payload } = frame;
            if (frame.event === "chat" && payload.state === "delta") {
              const run = runs.get(payload.runId);
              if (run === undefined) return;
              const { message, replace, deltaText } = payload;
              run.text = message !== undefined ? message.content[0].text : replace ? deltaText : run.text + deltaText;
              run.hear(deltaText);
            } else if (frame.event === "connect.challenge") ask("c", "connect", {});
          } else if (frame.id === "c") {
            runs.set(RUN, { text: "", hear: heard });
            ask("1", "chat.send", { sessionKey: SESSION, message: "go", idempotencyKey: RUN });
          } else resolve();
        });
      }),
  };
}

export function hermes(url, heard) {
  const turns = new Map();
  let next = 2;
  let ws;
  return {
    up: () =>
      new Promise((resolve) => {
        ws = dial(url, [], (event) => {
          const frame = JSON.parse(event.data);
          if (frame.method !== "event") return frame.id === 1 ? resolve() : undefined;
          const { type, session_id: session, payload } = frame.params;
          if (type === "message.delta") {
            const turn = turns.get(session);
            if (turn === undefined) return;
            turn.text += payload.text;
            turn.hear(payload.text);
          } else if (type === "message.start") turns.set(session, { text: "", hear: heard });
          else if (type === "message.complete") turns.delete(session);
          else if (type === "gateway.ready") ws.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "session.create", params: {} }));
        });
      }),
    ask: () => ws.send(JSON.stringify({ jsonrpc: "2.0", id: next++, method: "prompt.submit", params: { session_id: HERMES, text: "go" } })),
  };
}

export function observation(url, heard) {
  const observed = new Map();
  return {
    up: () =>
      new Promise((resolve) => {
        observed.set("worker-00000001", { cursor: undefined, hear: (event, data) => (event === "text_delta" ? heard(data.text) : resolve()) });
        dial(url, [], (event) => {
          const { kind, envelope } = JSON.parse(event.data);
          if (kind !== "event") return;
          const worker = observed.get(envelope.worker_id);
          if (worker === undefined) return;
          worker.cursor = envelope.cursor;
          worker.hear(envelope.payload.event, envelope.payload.data);
        });
      }),
  };
}

export function rpc(url, heard) {
  const waiting = new Map();
  let next = 1;
  let ws;
  const request = (method, params) =>
    new Promise((resolve) => {
      const id = next++;
      waiting.set(id, resolve);
      ws.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  return {
    up: () =>
      new Promise((resolve) => {
        ws = dial(url, [], (event) => {
          const { id, result } = JSON.parse(event.data);
          const answer = waiting.get(id);
          waiting.delete(id);
          answer?.(result);
        });
        ws.onopen = resolve;
      }),
    ask(count) {
      for (let i = 0; i < count; i++) request("echo", { i }).then(({ text }) => heard(text));
    },
  };
}
