/**
 * A conversation with a real Hermes agent gateway, frame by frame: ready, a session, a streamed answer, a stop, a question, a
 * failure, a busy session, and a line dropped in the middle. It shows that the server can be had and does what the protocol's
 * page says; it uses nothing of the package. `node check-hermes.mjs [--version=0.19.0|0.17.0]`
 */
import assert from "node:assert/strict";
import { startHermes } from "./hermes.mjs";
import { check } from "./process.mjs";
import { open } from "./socket.mjs";

const ORIGIN = "http://127.0.0.1:1";

/** Opens a socket and waits for the server's word that it is there. */
async function connect(port, token) {
  const line = await open(`ws://127.0.0.1:${port}/api/ws?token=${token}`, { origin: ORIGIN });
  let id = 0;
  line.call = async (method, params) => {
    const mine = `c${++id}`;
    line.send({ jsonrpc: "2.0", id: mine, method, params });
    return line.wait((frame) => frame.id === mine, { what: `the answer to ${method}`, patience: 60_000 });
  };
  /** The next event of a type, of that session, from a place on. */
  line.event = async (type, session, { from = 0, fits = () => true, patience = 60_000 } = {}) => {
    const mine = ({ method, params }) =>
      method === "event" && params.type === type && params.session_id === session && fits(params.payload);
    return (await line.wait(mine, { from, what: type, patience })).params.payload;
  };
  /** The end of a turn. The session is idle only when its state has been told after that; before, 0.17 calls it busy. */
  line.end = async (session, { from }, fits) => {
    const complete = await line.event("message.complete", session, { from, fits });
    const at = line.frames.findIndex(({ params }) => params?.payload === complete);
    await line.event("session.info", session, { from: at, fits: ({ running }) => running === false });
    return complete;
  };
  /** Sends a prompt and gives its answer and the place to wait from. */
  line.ask = async (session_id, text) => {
    const from = line.now();
    return { from, sent: await line.call("prompt.submit", { session_id, text }) };
  };
  line.ready = (await line.wait(({ params }) => params?.type === "gateway.ready", { what: "gateway.ready" })).params.payload;
  return line;
}

const counted = (n) => Array.from({ length: n }, (_, at) => at + 1).join(" ");
const deltasOf = (line, session, from) =>
  line.frames.slice(from).filter(({ params }) => params?.type === "message.delta" && params.session_id === session);

await check("hermes", async (options, held) => {
  const began = Date.now();
  const server = await startHermes(options);
  held("started", { version: server.version, ms: Date.now() - began });
  try {
    const { port, token, model } = server;

    await assert.rejects(open(`ws://127.0.0.1:${port}/api/ws?token=wrong`, { origin: ORIGIN }), /403/);
    await assert.rejects(open(`ws://127.0.0.1:${port}/api/ws?token=${token}`, { origin: "https://example.com" }), /403/);
    held("a wrong token and a foreign origin are refused before the socket opens");

    const line = await connect(port, token);
    held("gateway.ready is the first frame", { keys: Object.keys(line.ready) });
    assert.equal((await line.call("no.such.method", {})).error.code, -32601);

    const created = (await line.call("session.create", { cols: 80 })).result;
    const session = created.session_id;
    const stored = created.stored_session_id;
    held("a session has two ids", { session, stored, contract: created.info.desktop_contract });

    const counting = await line.ask(session, "count=12 pace=60");
    assert.equal(counting.sent.result.status, "streaming");
    const complete = await line.end(session, counting);
    assert.equal(complete.text, counted(12));
    assert.equal(complete.status, "complete");
    const deltas = deltasOf(line, session, counting.from).map(({ params }) => params.payload.text);
    assert.equal(deltas.join(""), counted(12));
    held("an answer streams", { deltas: deltas.length });

    const stopped = await line.ask(session, "count=50 hold=5");
    await line.event("message.delta", session, stopped);
    const stop = await line.call("session.interrupt", { session_id: session });
    const interrupted = await line.end(session, stopped);
    assert.equal(interrupted.status, "interrupted");
    held("an answer can be stopped", { answer: stop.result, text: interrupted.text });

    const failing = await line.ask(session, "fail=400");
    const failed = await line.end(session, failing);
    assert.equal(failed.status, "error");
    held("a failure of the model is the turn's text", { text: failed.text?.slice(0, 200) });

    const asking = await line.ask(session, 'tool=clarify:{"question":"Which one?","choices":["left","right"]} count=3');
    const question = await line.event("clarify.request", session, asking);
    const answer = await line.call("clarify.respond", { request_id: question.request_id, answer: "left" });
    const answered = await line.end(session, asking);
    assert.equal(answered.text, counted(3));
    held("a question is asked and answered", { question, answer: answer.result });

    const daring = await line.ask(session, 'tool=terminal:{"command":"rm -rf ./nothing-of-that-name"} count=3');
    const approval = await line.event("approval.request", session, daring);
    const denied = await line.call("approval.respond", { session_id: session, choice: "deny" });
    await line.end(session, daring);
    held("a dangerous command asks first", { command: approval.command, choices: approval.choices, answer: denied.result });

    const busy = await line.ask(session, "count=20 hold=5");
    await line.event("message.delta", session, busy);
    const second = await line.ask(session, "count=4");
    held("a second prompt while one runs", { answer: second.sent.result ?? second.sent.error });
    if (second.sent.error) {
      await model.go();
      assert.equal((await line.end(session, busy)).text, counted(20));
    } else {
      const next = await line.end(session, busy, ({ text }) => text === counted(4));
      assert.equal(next.status, "complete");
    }

    const dropped = await line.ask(session, "count=30 hold=10");
    await line.event("message.delta", session, dropped);
    await line.drop();
    const back = await connect(port, token);
    const resumed = (await back.call("session.resume", { session_id: stored })).result;
    const { inflight, running, status } = resumed;
    held("the stored id resumes a running turn", { same: resumed.session_id === session, running, status, inflight });
    assert.equal(running, true);
    await model.go();
    const end = await back.event("message.complete", resumed.session_id);
    assert.equal(end.text, counted(30));
    const rest = deltasOf(back, resumed.session_id, 0).map(({ params }) => params.payload.text);
    held("the turn outlives the line", { whole: inflight.assistant + rest.join("") === counted(30) });
    await back.close();
    return { version: server.version, asked: model.calls.length };
  } finally {
    await server.end();
  }
});
