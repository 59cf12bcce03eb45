// JSON-RPC in Chromium against two servers that others wrote, and against one that says what a test wants.
import { createRequire } from "node:module";
import { expect, type Gateway, type Page, test as base, eventually } from "./support/test.js";

interface Server {
  port: number;
  facts: { server: string; url: string };
  commands: { drop(): Promise<void> };
  end(): Promise<void>;
}
interface Rpc {
  line: import("moorline/json-rpc").Moorline;
  log: { type: string; detail: any }[];
  /** What becomes of a promise, as a page can carry it out. */
  fate(promise: Promise<unknown>): Promise<any>;
}
declare global {
  var rpc: Rpc;
}

const { startJsonRpc, FAILURE } = (await import(new URL("../live/json-rpc.mjs", import.meta.url).href)) as {
  startJsonRpc(options: { server: string }): Promise<Server>;
  FAILURE: { code: number; message: string; data: unknown };
};

const test = base.extend<{ serve: (server: string) => Promise<Server>; raw: () => Promise<Raw> }>({
  serve: async ({}, use) => {
    const running: Server[] = [];
    await use(async (server) => {
      const started = await startJsonRpc({ server });
      running.push(started);
      return started;
    });
    await Promise.all(running.map((one) => one.end()));
  },
  // A socket server that speaks what it is told to.
  raw: async ({}, use) => {
    const { WebSocketServer } = createRequire(import.meta.url)("ws") as any;
    const running: any[] = [];
    await use(async () => {
      const wss = new WebSocketServer({ host: "127.0.0.1", port: 0 });
      await new Promise((resolve) => wss.once("listening", resolve));
      running.push(wss);
      const heard: any[] = [];
      wss.on("connection", (socket: any) => socket.on("message", (data: Buffer) => heard.push(JSON.parse(data.toString()))));
      return {
        url: `ws://127.0.0.1:${wss.address().port}/`,
        heard,
        say: (text: unknown) => wss.clients.forEach((one: any) => one.send(typeof text === "string" ? text : JSON.stringify(text))),
      };
    });
    for (const wss of running) {
      for (const client of wss.clients) client.terminate();
      await new Promise((resolve) => wss.close(resolve));
    }
  },
});
interface Raw {
  url: string;
  heard: any[];
  say(text: unknown): void;
}

async function moored(open: (gateway: Gateway, path?: string) => Promise<Page>, gateway: Gateway, url: string): Promise<Page> {
  const page = await open(gateway, "blank.html");
  await page.evaluate(async (url) => {
    const { Moorline } = (await import("/pkg/json-rpc.js" as string)) as typeof import("moorline/json-rpc");
    const line = new Moorline(url, { reconnect: { baseDelayMs: 60, jitter: "none" } });
    const log: Rpc["log"] = [];
    for (const type of ["ws-connected", "ws-disconnected", "ws-error", "ws-unhandled", "rpc-error", "rpc-told"])
      line.on(type, ((detail: any) => log.push({ type, detail: type === "ws-error" ? { code: detail.code } : detail })) as (detail: never) => void);
    const fate = (promise: Promise<unknown>) =>
      promise.then(
        (result) => ({ result }),
        ({ code, message, cause, retryable }) => ({ code, message, cause, retryable }),
      );
    globalThis.rpc = { line, log, fate };
    line.connect();
  }, url);
  await eventually(() => log(page, "ws-connected"), (all) => all.length > 0, "ws-connected");
  return page;
}

const log = (page: Page, type: string): Promise<any[]> =>
  page.evaluate((type) => rpc.log.filter((one) => one.type === type).map(({ detail }) => detail), type);
const call = (page: Page, method: string, params?: unknown, options: object = {}): Promise<any> =>
  page.evaluate(([method, params, options]) => rpc.fate(rpc.line.request(method as string, params ?? undefined, options as object)), [method, params ?? null, options] as const);

for (const server of ["jayson", "json-rpc-2.0"])
  test(`calls, errors, notifications and batches with ${server}`, async ({ launch, open, serve }) => {
    const gateway = await launch();
    const { facts, commands } = await serve(server);
    const page = await moored(open, gateway, facts.url);

    expect(await call(page, "subtract", [42, 23])).toEqual({ result: 19 });
    expect(await call(page, "subtract", { subtrahend: 23, minuend: 42 })).toEqual({ result: 19 });
    expect(await call(page, "echo", { deep: [1, null, "ü😀"] })).toEqual({ result: { deep: [1, null, "ü😀"] } });
    expect(await call(page, "foobar")).toMatchObject({ code: "call.remote", cause: { code: -32601 } });
    expect(await call(page, "fail", {})).toMatchObject({ code: "call.remote", message: FAILURE.message, cause: FAILURE });
    expect(await call(page, "subtract", "42")).toMatchObject({ code: "call.unsupported" });

    // Out of order: the slow one is asked first.
    const [slow, quick] = await page.evaluate(() => {
      const order: string[] = [];
      const slow = rpc.line.request("slow", { ms: 150 }).then(() => order.push("slow"));
      const quick = rpc.line.request("sum", [1]).then(() => order.push("quick"));
      return Promise.all([slow, quick]).then(() => order);
    });
    expect([slow, quick]).toEqual(["quick", "slow"]);
    expect(await call(page, "slow", { ms: 5000 }, { timeoutMs: 50 })).toMatchObject({ code: "call.timeout" });
    const aborted = await page.evaluate(() => {
      const stop = new AbortController();
      const fate = rpc.fate(rpc.line.request("slow", { ms: 5000 }, { signal: stop.signal }));
      stop.abort();
      return fate;
    });
    expect(aborted).toMatchObject({ code: "call.aborted" });

    await page.evaluate(() => rpc.line.notify("note", { n: 1 }));
    await eventually(() => call(page, "noted"), ({ result }) => JSON.stringify(result) === '[{"n":1}]', "the notification");

    const batch = await page.evaluate(() => {
      const made = rpc.line.batch(() => [
        rpc.fate(rpc.line.request("sum", [1, 2, 4])),
        rpc.fate(rpc.line.notify("note", { n: 2 })),
        rpc.fate(rpc.line.request("subtract", [42, 23])),
        rpc.fate(rpc.line.request("foobar")),
      ]);
      return Promise.all(made);
    });
    expect(batch).toMatchObject([{ result: 7 }, {}, { result: 19 }, { code: "call.remote", cause: { code: -32601 } }]);
    await eventually(() => call(page, "noted"), ({ result }) => JSON.stringify(result) === '[{"n":2}]', "the notification of the batch");

    // The line is lost: what was under way is said to be of unknown fate, what comes later goes to the next socket.
    const lost = page.evaluate(() => rpc.fate(rpc.line.request("slow", { ms: 5000 })));
    await call(page, "sum", [1]);
    await commands.drop();
    expect(await lost).toMatchObject({ code: "call.lost", retryable: false });
    expect(await call(page, "sum", [2, 3])).toEqual({ result: 5 });
    expect(await log(page, "ws-error")).toEqual([]);
    expect(await log(page, "ws-unhandled")).toEqual([]);
  });

test("a peer that counts its calls from 1, as we do, calls and is called", async ({ launch, open, serve }) => {
  const gateway = await launch();
  const { facts } = await serve("json-rpc-2.0");
  const page = await moored(open, gateway, facts.url);
  await page.evaluate(() => {
    rpc.line.handle("double", ({ n }: { n: number }) => n * 2);
    rpc.line.handle("refuse", () => {
      throw Object.assign(new Error("not today"), { code: 7, data: { why: "rain" } });
    });
  });
  expect(await call(page, "ask", { method: "double", params: { n: 21 } })).toEqual({ result: 42 });
  expect(await call(page, "ask", { method: "refuse", params: {} })).toMatchObject({ code: "call.remote", message: "not today" });
  expect(await call(page, "ask", { method: "nobody", params: {} })).toMatchObject({ code: "call.remote" });

  const told = await page.evaluate(async () => {
    const heard: number[] = [];
    rpc.line.handle("told", ({ n }: { n: number }) => void heard.push(n));
    await rpc.line.request("tell", { count: 500 });
    return heard;
  });
  expect(told).toEqual(Array.from({ length: 500 }, (_, at) => at + 1));
  expect(await log(page, "rpc-told")).toHaveLength(500);
});

test("the examples of the specification, asked of us", async ({ launch, open, raw }) => {
  const gateway = await launch();
  const { url, heard, say } = await raw();
  const page = await moored(open, gateway, url);
  await page.evaluate(() => {
    const { line } = rpc;
    line.handle("subtract", (params) => (Array.isArray(params) ? params[0] - params[1] : params.minuend - params.subtrahend));
    line.handle("sum", (params: number[]) => params.reduce((a, b) => a + b, 0));
    line.handle("get_data", () => ["hello", 5]);
  });
  const answer = async (asked: unknown) => {
    const before = heard.length;
    say(asked);
    await eventually(async () => heard.length, (count) => count > before, "an answer");
    return heard.at(-1);
  };
  const error = (code: number) => ({ jsonrpc: "2.0", error: expect.objectContaining({ code }), id: null });
  expect(await answer({ jsonrpc: "2.0", method: "subtract", params: [42, 23], id: 1 })).toEqual({ jsonrpc: "2.0", result: 19, id: 1 });
  expect(await answer({ jsonrpc: "2.0", method: "subtract", params: { subtrahend: 23, minuend: 42 }, id: 3 })).toEqual({ jsonrpc: "2.0", result: 19, id: 3 });
  expect(await answer({ jsonrpc: "2.0", method: "foobar", id: "1" })).toMatchObject({ error: { code: -32601 }, id: "1" });
  expect(await answer('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]')).toEqual(error(-32700));
  expect(await answer({ jsonrpc: "2.0", method: 1, params: "bar" })).toEqual(error(-32600));
  expect(await answer('[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method"')).toEqual(error(-32700));
  expect(await answer([])).toEqual(error(-32600));
  expect(await answer([1])).toEqual([error(-32600)]);
  expect(await answer([1, 2, 3])).toEqual([error(-32600), error(-32600), error(-32600)]);
  const mixed = await answer([
    { jsonrpc: "2.0", method: "sum", params: [1, 2, 4], id: "1" },
    { jsonrpc: "2.0", method: "notify_hello", params: [7] },
    { jsonrpc: "2.0", method: "subtract", params: [42, 23], id: "2" },
    { foo: "boo" },
    { jsonrpc: "2.0", method: "foo.get", params: { name: "myself" }, id: "5" },
    { jsonrpc: "2.0", method: "get_data", id: "9" },
  ]);
  expect(mixed).toHaveLength(5);
  expect(mixed).toEqual(
    expect.arrayContaining([
      { jsonrpc: "2.0", result: 7, id: "1" },
      { jsonrpc: "2.0", result: 19, id: "2" },
      error(-32600),
      { jsonrpc: "2.0", error: expect.objectContaining({ code: -32601 }), id: "5" },
      { jsonrpc: "2.0", result: ["hello", 5], id: "9" },
    ]),
  );
  // Notifications have no answer, alone or together.
  const before = heard.length;
  say({ jsonrpc: "2.0", method: "update", params: [1, 2, 3, 4, 5] });
  say([
    { jsonrpc: "2.0", method: "notify_sum", params: [1, 2, 4] },
    { jsonrpc: "2.0", method: "notify_hello", params: [7] },
  ]);
  await answer({ jsonrpc: "2.0", method: "get_data", id: 10 });
  expect(heard.length).toBe(before + 1);
});
