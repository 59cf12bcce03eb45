/**
 * A conversation with each of the two JSON-RPC servers, frame by frame, after the examples of the specification's section 7.
 * Where the two differ from each other, both answers stand here. It uses nothing of the package.
 * `node check-json-rpc.mjs`
 */
import assert from "node:assert/strict";
import { FAILURE, SERVERS, startJsonRpc } from "./json-rpc.mjs";
import { check } from "./process.mjs";
import { open } from "./socket.mjs";

const request = (id, method, params) => ({ jsonrpc: "2.0", id, method, params });
const result = (id, value) => ({ jsonrpc: "2.0", id, result: value });
const error = (id, code, message) => ({ jsonrpc: "2.0", id, error: { code, message } });
const notification = (method, params) => ({ jsonrpc: "2.0", method, params });

/** Broken JSON, as the specification shows it. */
const BROKEN = '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]';

async function converse(server, held) {
  const strict = server === "jayson";
  const running = await startJsonRpc({ server });
  held("started", running.facts);
  try {
    const line = await open(running.facts.url);
    let fence = 0;
    /** What comes for a frame, up to the answer of a request sent behind it. */
    const brought = async (frame) => {
      const from = line.now();
      line.send(frame);
      const id = `fence ${++fence}`;
      line.send(request(id, "echo", []));
      await line.wait((came) => came.id === id, { from, what: "the fence" });
      return line.frames.slice(from).filter((came) => came.id !== id);
    };
    const brings = async (frame, ...expected) => assert.deepEqual(await brought(frame), expected, JSON.stringify(frame));

    await brings(request(1, "subtract", [42, 23]), result(1, 19));
    await brings(request(2, "subtract", [23, 42]), result(2, -19));
    await brings(request(3, "subtract", { subtrahend: 23, minuend: 42 }), result(3, 19));
    held("params by position and by name");

    await brings(notification("note", [1, 2, 3]));
    await brings(notification("foobar"));
    await brings(request("n", "noted"), result("n", [[1, 2, 3]]));
    held("a notification has no answer, even of a method that is not there");

    await brings(request("1", "foobar"), error("1", -32601, "Method not found"));
    await brings(request(4, "fail"), { jsonrpc: "2.0", id: 4, error: FAILURE });
    await brings(request(5, "throw"), error(5, strict ? -32603 : 0, "thrown in the server"));
    const [parse] = await brought(BROKEN);
    assert.equal(parse.id, null);
    assert.equal(parse.error.code, -32700);
    held("errors keep code, message and data", { parse: parse.error });

    const invalid = error(null, -32600, "Invalid request");
    await brings({ jsonrpc: "2.0", method: 1, params: "bar" }, ...(strict ? [invalid] : []));
    await brings([], ...(strict ? [invalid] : []));
    await brings([1, 2, 3], ...(strict ? [[invalid, invalid, invalid]] : []));
    held("an invalid request", { answered: strict });

    const from = line.now();
    const batch = [request("1", "sum", [1, 2, 4]), notification("note", [7]), request("2", "slow", { ms: 50 }), request("5", "foo.get")];
    line.send(batch);
    const answers = await line.wait((came) => Array.isArray(came), { from, what: "the batch's answer" });
    const sorted = answers.toSorted((a, b) => a.id - b.id);
    assert.deepEqual(sorted, [result("1", 7), result("2", "late"), error("5", -32601, "Method not found")]);
    await brings([notification("note", [8]), notification("note", [9])]);
    await brings(request("n2", "noted"), result("n2", [[7], [8], [9]]));
    held("a batch is answered in one frame, and one of notifications not at all", { ids: answers.map(({ id }) => id) });

    line.send(request(6, "slow", { ms: 100 }));
    line.send(request(7, "echo", ["first"]));
    const places = await Promise.all([6, 7].map((id) => line.wait((came) => came.id === id).then((came) => line.frames.indexOf(came))));
    assert.ok(places[1] < places[0]);
    held("answers come when they are ready, not in order");

    if (!strict) {
      await brings(request(8, "tell", { count: 2 }), notification("told", { n: 1 }), notification("told", { n: 2 }), result(8, 2));
      line.send(request(9, "ask", { method: "who", params: { a: 1 } }));
      const question = await line.wait((came) => came.method === "who", { what: "the server's request" });
      line.send(result(question.id, "me"));
      assert.deepEqual(await line.wait((came) => came.id === 9 && came.method === undefined), result(9, "me"));
      held("the server notifies and asks too, with ids of its own", { question });
    }

    await running.commands.drop();
    assert.equal((await line.closed).code, 1006);
    return running.facts.server;
  } finally {
    await running.end();
  }
}

await check("json-rpc", async (options, held) => {
  const servers = [];
  for (const server of options.server ? [options.server] : SERVERS) servers.push(await converse(server, held));
  return { servers };
});
