/**
 * A conversation with a real OpenClaw gateway, frame by frame: challenge, device proof, hello, a streamed answer, an abort, a
 * failure, and a line dropped in the middle. It shows that the server can be had and does what the protocol's page says; it
 * uses nothing of the package. `node check-openclaw.mjs [--protocol=4|3]`
 */
import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { VERSIONS, startOpenclaw } from "./openclaw.mjs";
import { check } from "./process.mjs";
import { open } from "./socket.mjs";

const SCOPES = ["operator.read", "operator.write"];
const CLIENT = { id: "webchat-ui", version: "0.0.1", platform: "web", mode: "webchat" };
const ORIGIN = "http://127.0.0.1:1";

/** A device as a page would have one: an Ed25519 key, and the name that follows from it. */
function newDevice() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ format: "der", type: "spki" }).subarray(-32);
  const id = createHash("sha256").update(raw).digest("hex");
  return {
    prove({ nonce, ts }, token) {
      const text = ["v3", id, CLIENT.id, CLIENT.mode, "operator", SCOPES.join(","), ts, token, nonce, CLIENT.platform, ""].join("|");
      const signature = sign(null, Buffer.from(text), privateKey).toString("base64url");
      return { id, publicKey: raw.toString("base64url"), signature, signedAt: ts, nonce };
    },
  };
}

/** Opens a socket and shakes hands; the answer to `connect` is `hello`, whatever it says. */
async function connect(port, { token, device, range = [3, 4] }) {
  const line = await open(`ws://127.0.0.1:${port}/`, { origin: ORIGIN });
  let id = 0;
  line.call = async (method, params) => {
    const mine = `c${++id}`;
    line.send({ type: "req", id: mine, method, params });
    return line.wait((frame) => frame.type === "res" && frame.id === mine, { what: `the answer to ${method}`, patience: 60_000 });
  };
  /** Sends a message into a session of its own, which no earlier run keeps busy, and gives the run. */
  line.ask = async (sessionKey, message) => {
    const subscribed = await line.call("sessions.messages.subscribe", { key: sessionKey });
    assert.equal(subscribed.payload?.key, `agent:main:${sessionKey}`, JSON.stringify(subscribed));
    const from = line.now();
    const run = randomUUID();
    const sent = await line.call("chat.send", { sessionKey, message, idempotencyKey: run });
    const event = (fits, what, patience = 60_000) =>
      line
        .wait((frame) => frame.event === "chat" && frame.payload.runId === run && fits(frame.payload), { from, what, patience })
        .then((frame) => frame.payload);
    return { run, sent, event, from };
  };
  const { payload: challenge } = await line.wait((frame) => frame.event === "connect.challenge", { what: "the challenge" });
  line.hello = await line.call("connect", {
    minProtocol: range[0],
    maxProtocol: range[1],
    client: CLIENT,
    role: "operator",
    scopes: SCOPES,
    caps: ["session-scoped-events"],
    auth: { token },
    ...(device && { device: device.prove(challenge, token) }),
  });
  return line;
}

const textOf = ({ message }) => message?.content?.map((part) => part.text ?? "").join("");
const counted = (n) => Array.from({ length: n }, (_, at) => at + 1).join(" ");

await check("openclaw", async ({ protocol = "4", ...options }, held) => {
  const began = Date.now();
  const server = await startOpenclaw({ version: VERSIONS[protocol], ...options });
  held("started", { version: server.version, ms: Date.now() - began });
  try {
    const { port, token, model } = server;

    const stranger = await connect(port, { token });
    assert.equal(stranger.hello.ok, true);
    assert.deepEqual(stranger.hello.payload.auth.scopes ?? [], []);
    await stranger.close();
    held("a token alone connects without rights");

    const refused = await connect(port, { token: "wrong", device: newDevice() });
    assert.equal(refused.hello.ok, false);
    held("a wrong token is refused", { error: refused.hello.error, close: await refused.closed });

    const device = newDevice();
    const line = await connect(port, { token, device });
    assert.equal(line.hello.ok, true, JSON.stringify(line.hello));
    const hello = line.hello.payload;
    assert.equal(hello.protocol, Number(protocol));
    assert.deepEqual(hello.auth.scopes, SCOPES);
    assert.ok(hello.auth.deviceToken);
    held("a signed device keeps its scopes", { methods: hello.features.methods.length, policy: hello.policy });

    const counting = await line.ask("counting", "count=12 pace=60");
    assert.equal(counting.sent.payload.runId, counting.run);
    assert.equal(counting.sent.payload.status, "started");
    const final = await counting.event(({ state }) => state === "final", "the end of the answer", 120_000);
    assert.equal(textOf(final), counted(12));
    const deltas = line.frames
      .slice(counting.from)
      .filter(({ event, payload }) => event === "chat" && payload.runId === counting.run && payload.state === "delta");
    held("an answer streams", { deltas: deltas.length, deltaText: deltas.map(({ payload }) => payload.deltaText) });

    const again = await line.call("chat.send", { sessionKey: "counting", message: "count=12 pace=60", idempotencyKey: counting.run });
    held("the same key asks the model once", { status: again.payload.status, asked: model.calls.length });

    const failing = await line.ask("failing", "fail=400");
    const error = await failing.event(({ state }) => state === "error", "the failure");
    held("a failure of the model is told", { errorMessage: error.errorMessage, errorKind: error.errorKind });

    const stopped = await line.ask("stopped", "count=50 hold=5");
    await stopped.event(({ state }) => state === "delta", "the first words");
    const abort = await line.call("chat.abort", { sessionKey: "stopped", runId: stopped.run });
    const aborted = await stopped.event(({ state }) => state === "aborted", "the abort");
    held("an answer can be stopped", { answer: abort.payload, stopReason: aborted.stopReason, text: textOf(aborted) });

    const dropped = await line.ask("dropped", "count=30 hold=10");
    await dropped.event(({ state }) => state === "delta", "the first words");
    await line.drop();
    const back = await connect(port, { token: hello.auth.deviceToken, device });
    assert.equal(back.hello.ok, true, JSON.stringify(back.hello));
    await back.call("sessions.messages.subscribe", { key: "dropped" });
    const history = await back.call("chat.history", { sessionKey: "dropped", limit: 50 });
    const { inFlightRun } = history.payload;
    held("the device token connects again", { inFlight: inFlightRun && { runId: inFlightRun.runId, text: inFlightRun.text } });
    if (protocol === "4") assert.equal(inFlightRun?.runId, dropped.run);
    await model.go();
    const end = await back.wait(
      ({ event, payload }) => event === "chat" && payload.runId === dropped.run && payload.state === "final",
      { what: "the end of the dropped answer", patience: 60_000 },
    );
    assert.equal(textOf(end.payload), counted(30));
    held("the run outlives the line");
    await back.close();
    return { version: server.version, asked: model.calls.length };
  } finally {
    await server.end();
  }
});
