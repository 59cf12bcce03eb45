/**
 * Two independent JSON-RPC 2.0 servers on loopback, each the work of others: `jayson`, whose own WebSocket server this starts,
 * and `json-rpc-2.0`, which asks as well as it answers, over the test tools' WebSocket.
 * `node json-rpc.mjs --server=jayson|json-rpc-2.0 [--port=] [--minutes=60]` prints {"ready": port, …} or {"skipped": reason}.
 *
 *   echo       its params, as they came
 *   subtract   [minuend, subtrahend], or both by name
 *   sum        of all that it is given, by position
 *   note       a sink for notifications; `noted` tells what came, the last 1000, and forgets it
 *   fail       an error with code, message and data
 *   throw      an exception of the server's own
 *   slow       {ms}: "late", after so many milliseconds, at most a minute
 *   tell       {count}: so many notifications `told` {n}, then their count; json-rpc-2.0 only
 *   ask        {method, params, ms}: calls the client's method and answers with its answer; json-rpc-2.0 only
 *
 * `noted` and the answers of `slow` belong to all sockets of the server.
 */
import { tools } from "./socket.mjs";
import { Unavailable, isMain, serveUntilSignal } from "./process.mjs";

export const SERVERS = ["jayson", "json-rpc-2.0"];
const KEPT_NOTES = 1000;

/** The error that `fail` answers with. */
export const FAILURE = { code: 4001, message: "told to fail", data: { why: "asked", list: [1, null, "two"] } };

function tool(name) {
  try {
    return tools(name);
  } catch (error) {
    throw new Unavailable(`${name} is not among the test tools: ${error.message.split("\n")[0]}`);
  }
}

/** What both servers do, in plain functions of the params; `refuse` makes an error of the server's library. */
function methodsOf(refuse) {
  const notes = [];
  const invalid = (message) => refuse({ code: -32602, message });
  return {
    echo: (params) => params,
    subtract(params) {
      const [minuend, subtrahend] = Array.isArray(params) ? params : [params?.minuend, params?.subtrahend];
      if (typeof minuend !== "number" || typeof subtrahend !== "number") throw invalid("subtract takes two numbers");
      return minuend - subtrahend;
    },
    sum(params) {
      if (!Array.isArray(params)) throw invalid("sum takes its numbers by position");
      return params.reduce((total, n) => total + n, 0);
    },
    note(params) {
      notes.push(params ?? null);
      if (notes.length > KEPT_NOTES) notes.shift();
      return "noted";
    },
    noted: () => notes.splice(0),
    fail() {
      throw refuse(FAILURE);
    },
    throw() {
      throw new Error("thrown in the server");
    },
    slow: (params) => {
      const ms = Array.isArray(params) ? params[0] : params?.ms;
      return new Promise((resolve) => setTimeout(() => resolve("late"), Math.min(Number(ms) || 0, 60_000)).unref());
    },
  };
}

function startJayson(port) {
  const jayson = tool("jayson");
  const methods = methodsOf((error) => Object.assign(new Error(error.message), { answer: error }));
  const own = Object.entries(methods).map(([name, method]) => [
    name,
    new jayson.Method(
      (params, callback) => {
        Promise.resolve(params)
          .then(method)
          .then(
            (result) => callback(null, result),
            (error) => callback(error.answer ?? { code: -32603, message: error.message }),
          );
      },
      { useContext: false },
    ),
  ]);
  const wss = new jayson.Server(Object.fromEntries(own)).websocket({ host: "127.0.0.1", port });
  return { wss, version: tool("jayson/package.json").version };
}

function startPeer(port) {
  const { JSONRPCClient, JSONRPCErrorException, JSONRPCServer, JSONRPCServerAndClient } = tool("json-rpc-2.0");
  const { WebSocketServer } = tool("ws");
  const methods = methodsOf(({ code, message, data }) => new JSONRPCErrorException(message, code, data));
  const wss = new WebSocketServer({ host: "127.0.0.1", port });
  wss.on("connection", (socket) => {
    const quiet = () => {};
    const peer = new JSONRPCServerAndClient(
      new JSONRPCServer({ errorListener: quiet }),
      new JSONRPCClient((payload) => {
        if (socket.readyState !== socket.OPEN) return Promise.reject(new Error("the socket is closed"));
        socket.send(JSON.stringify(payload));
        return Promise.resolve();
      }),
      { errorListener: quiet },
    );
    for (const [name, method] of Object.entries(methods)) peer.addMethod(name, method);
    peer.addMethod("tell", (params) => {
      const count = Math.min(Number(params?.count) || 1, 10_000);
      for (let n = 1; n <= count; n++) peer.notify("told", { n });
      return count;
    });
    peer.addMethod("ask", ({ method, params, ms = 10_000 }) => peer.timeout(Math.min(ms, 60_000)).request(method, params));
    socket.on("message", (data) => {
      let payload;
      try {
        payload = JSON.parse(data.toString());
      } catch {
        // The library is given objects; what is no JSON is its user's to answer.
        return socket.send(JSON.stringify({ jsonrpc: "2.0", id: null, error: { code: -32700, message: "Parse error" } }));
      }
      peer.receiveAndSend(payload).catch(quiet);
    });
    socket.on("close", () => peer.rejectAllPendingRequests("the socket closed"));
    socket.on("error", quiet);
  });
  return { wss, version: tool("json-rpc-2.0/package.json").version };
}

export async function startJsonRpc({ server = SERVERS[0], port = 0 } = {}) {
  if (!SERVERS.includes(server)) throw new Error(`there is no server ${server}, only ${SERVERS.join(" and ")}`);
  const { wss, version } = (server === "jayson" ? startJayson : startPeer)(Number(port));
  await new Promise((resolve, reject) => wss.once("listening", resolve).once("error", reject));
  const at = wss.address().port;
  return {
    port: at,
    facts: { server: `${server} ${version}`, url: `ws://127.0.0.1:${at}/` },
    commands: {
      /** Ends every socket at once, as a lost network does. */
      drop: async () => wss.clients.forEach((client) => client.terminate()),
    },
    end: async () => {
      for (const client of wss.clients) client.terminate();
      await new Promise((resolve) => wss.close(resolve));
    },
  };
}

if (isMain(import.meta.url)) await serveUntilSignal(startJsonRpc);
