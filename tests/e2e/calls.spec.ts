// Calls and runs in Chromium, against a gateway that does what a test says: what runs.spec.ts drives by hand, through Rust.
import { createRequire } from "node:module";
import type { Run, RunEvent } from "moorline/openclaw";
import { eventually, expect, type Page, test } from "./support/test.js";

const types = (events: { type: string }[]) => events.map(({ type }) => type);

/** A gateway that greets as OpenClaw does and then says what the test says. */
interface Scripted {
  url: string;
  heard: { id: string; method: string; params: any }[];
  say(...frames: object[]): void;
  /** The next request of this method that no earlier call has answered with. */
  asked(method: string): Promise<{ id: string; params: any }>;
  drop(): void;
}
const scripted = test.extend<{ gateway: Scripted; line: Page }>({
  gateway: async ({}, use) => {
    const { WebSocketServer } = createRequire(import.meta.url)("ws") as any;
    const wss = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    await new Promise((resolve) => wss.once("listening", resolve));
    const heard: Scripted["heard"] = [];
    let answered = 0;
    const say = (...frames: object[]) => {
      for (const frame of frames) for (const client of wss.clients) client.send(JSON.stringify(frame));
    };
    wss.on("connection", (socket: any) => {
      const own = (frame: object) => socket.send(JSON.stringify(frame));
      own({ type: "event", event: "connect.challenge", payload: { nonce: "n", ts: Date.now() } });
      socket.on("message", (data: Buffer) => {
        const frame = JSON.parse(data.toString());
        const policy = { maxPayload: 1_000_000, maxBufferedBytes: 1_000_000, tickIntervalMs: 30_000 };
        const hello = { type: "hello-ok", protocol: 4, auth: { role: "operator", scopes: ["operator.read", "operator.write"] }, policy };
        if (frame.method === "connect") own({ type: "res", id: frame.id, ok: true, payload: hello });
        else if (frame.method === "sessions.messages.subscribe") own({ type: "res", id: frame.id, ok: true, payload: { subscribed: true, key: frame.params.key } });
        else heard.push(frame);

      });
    });
    const asked = async (method: string) => {
      const find = () => heard.findIndex((frame, at) => at >= answered && frame.method === method);
      await eventually(async () => find(), (at) => at >= 0, method);
      const [frame] = heard.splice(find(), 1);
      heard.splice(answered++, 0, frame!);
      return frame!;
    };
    await use({ url: `ws://127.0.0.1:${wss.address().port}/`, heard, say, asked, drop: () => wss.clients.forEach((client: any) => client.terminate()) });
    for (const client of wss.clients) client.terminate();
    await new Promise((resolve) => wss.close(resolve));
  },
  /** A page with a line to it. */
  line: async ({ launch, open, gateway }, use) => {
    const page = await open(await launch(), "blank.html");
    await begin(page, gateway.url);
    await use(page);
  },
});

interface Own {
  line: import("moorline/openclaw").Moorline;
  log: { type: string; detail: any }[];
  kept: Record<string, any>;
  fate(promise: Promise<unknown>): Promise<any>;
  read(run: Run): Promise<RunEvent[]>;
}
declare global {
  var own: Own;
}
function begin(page: Page, url: string): Promise<void> {
  return page.evaluate(async (url) => {
    const { Moorline } = (await import("/pkg/openclaw.js" as string)) as typeof import("moorline/openclaw");
    const line = new Moorline(url, { log: "silent", reconnect: { baseDelayMs: 60, jitter: "none" } });
    globalThis.own = {
      line,
      log: [],
      kept: {},
      fate: (promise) =>
        promise.then(
          (value) => ({ value }),
          (error) => ({ code: error.code, message: error.message, retryable: error.retryable }),
        ),
      async read(run) {
        const events: RunEvent[] = [];
        for await (const event of run) events.push(event.type === "error" ? ({ type: "error", error: { code: event.error.code } } as RunEvent) : event);
        return events;
      },
    };
    for (const type of ["ws-connected", "ws-unhandled", "ws-error"] as const) line.addEventListener(type, ({ detail }: CustomEvent) => own.log.push({ type, detail: detail.code ?? detail.frame?.id ?? "" }));
    addEventListener("unhandledrejection", () => own.log.push({ type: "unhandledrejection", detail: "" }));
    line.connect();
  }, url);
}
const logged = (page: Page) => page.evaluate(() => own.log);
const chat = (runId: string, state: string, more: object = {}) => ({ type: "event", event: "chat", payload: { runId, sessionKey: "main", state, ...more } });

scripted.describe("in Chromium", () => {
  scripted("answers out of order, twice, to nobody and never: each has its end", async ({ line: page, gateway }) => {
    await page.evaluate(() => {
      own.kept["calls"] = ["a", "b", "c"].map((sessionKey) => own.fate(own.line.request("chat.history", { sessionKey }, sessionKey === "c" ? { timeoutMs: 400 } : {})));
    });
    const [a, b] = [await gateway.asked("chat.history"), await gateway.asked("chat.history"), await gateway.asked("chat.history")];
    const answer = ({ id }: { id: string }, payload: object) => ({ type: "res", id, ok: true, payload });
    gateway.say(answer({ id: "4711" }, {}), answer(b!, { n: 2 }), answer(b!, { n: "twice" }), { type: "res", id: a!.id, ok: false, error: { code: "UNAVAILABLE", message: "later", retryable: true, details: [1] } });
    expect(await page.evaluate(() => Promise.all(own.kept["calls"]))).toEqual([
      { code: "call.remote", message: "later", retryable: true },
      { value: { n: 2 } },
      { code: "call.timeout", message: "no answer in time", retryable: false },
    ]);
    expect(await logged(page)).toContainEqual({ type: "ws-unhandled", detail: "4711" });

    await page.evaluate(() => void (own.kept["lost"] = own.fate(own.line.request("chat.history", { sessionKey: "d" }))));
    await gateway.asked("chat.history");
    gateway.drop();
    expect(await page.evaluate(() => own.kept["lost"])).toMatchObject({ code: "call.lost" });
    expect((await logged(page)).map(({ type }) => type)).not.toContain("unhandledrejection");
  });

  scripted("cancel and a signal reach the gateway, and its many last words are one", async ({ line: page, gateway }) => {
    await page.evaluate(() => {
      const abort = new AbortController();
      const runs = [own.line.run("chat.send", { sessionKey: "main", message: "one" }), own.line.run("chat.send", { sessionKey: "main", message: "two" }, { signal: abort.signal })];
      own.kept = { abort, runs, read: runs.map(own.read), results: runs.map(({ result }) => own.fate(result)) };
    });
    const ids: string[] = [];
    for (const name of ["first", "second"]) {
      const { id, params } = await gateway.asked("chat.send");
      ids.push(params.idempotencyKey);
      gateway.say({ type: "res", id, ok: true, payload: { runId: params.idempotencyKey, status: "started" } }, chat(params.idempotencyKey, "delta", { deltaText: name }));
    }
    await eventually(() => page.evaluate(() => own.kept["runs"].map((run: Run) => run.text)), (texts) => texts.every(Boolean), "the first words");
    await page.evaluate(() => {
      own.kept["runs"][0].cancel();
      own.kept["abort"].abort();
    });
    for (const runId of ids) {
      const { id, params } = await gateway.asked("chat.abort");
      expect(params.runId).toBe(runId);
      gateway.say({ type: "res", id, ok: true, payload: { ok: true, aborted: true, runIds: [runId] } });
      gateway.say(chat(runId, "aborted"), chat(runId, "delta", { deltaText: " late" }), chat(runId, "aborted"), chat(runId, "final", { message: { content: "late" } }), chat(runId, "error", { errorMessage: "late" }));
    }
    const seen = (await page.evaluate(() => Promise.all(own.kept["read"]))) as RunEvent[][];
    expect(seen.map(types)).toEqual(Array(2).fill(["started", "delta", "aborted"]));
    expect(seen.map((events) => (events.at(-1) as { text: string }).text)).toEqual(["first", "second"]);
    expect(await page.evaluate(() => Promise.all(own.kept["results"]))).toMatchObject(Array(2).fill({ code: "call.aborted" }));
  });

  scripted("a listener that throws at a run of the gateway's stops nobody", async ({ line: page, gateway, mishaps }) => {
    await page.evaluate(() => {
      const broken = () => {
        throw new Error("a listener of the page's");
      };
      own.line.on("run-started", broken);
      addEventListener("run-started", broken);
      own.line.addEventListener("run-started", broken);
      own.line.on("run-started", ({ run }) => void (own.kept["read"] = own.read(run)));
    });
    await eventually(() => logged(page), (log) => log.length > 0, "a connection");
    gateway.say(chat("other", "delta", { deltaText: "of another's " }), chat("other", "delta", { deltaText: "doing" }), chat("other", "final", { message: { content: "of another's doing" } }));
    const events = (await eventually(() => page.evaluate(() => own.kept["read"]), Boolean, "a run")) as RunEvent[];
    expect(events.at(-1)).toMatchObject({ type: "final", text: "of another's doing" });
    expect(mishaps.splice(0)).toEqual(Array(3).fill(expect.stringContaining("a listener of the page's")));
  });

  scripted("a page that reads slowly has the whole text in few events, and is told", async ({ line: page, gateway }) => {
    await page.evaluate(() => void (own.kept["run"] = own.line.run("chat.send", { sessionKey: "main", message: "much" })));
    const { id, params } = await gateway.asked("chat.send");
    const runId = params.idempotencyKey;
    gateway.say({ type: "res", id, ok: true, payload: { runId, status: "started" } });
    let whole = "";
    for (let n = 0; n < 3000; n++) {
      whole += `${n} `;
      gateway.say(chat(runId, "delta", { deltaText: `${n} ` }), { type: "event", event: "agent", payload: { runId, sessionKey: "main", stream: "tool", data: { n } } });
    }
    gateway.say(chat(runId, "final", { message: { content: whole } }));
    expect(await page.evaluate(() => own.kept["run"].result)).toBe(whole);
    const events = await page.evaluate(() => own.read(own.kept["run"]));
    expect(events.length).toBeLessThanOrEqual(1003);
    expect(types(events)).toContain("gap");
    let text = "";
    for (const event of events) {
      if (event.type === "resumed") text = event.text;
      if (event.type === "delta") text += event.text;
    }
    expect(text).toBe(whole);
    expect(events.at(-1)).toMatchObject({ type: "final", text: whole });
  });

  for (const [what, end, code] of [
    ["dispose", () => own.line.dispose(), "disposed"],
    ["a bug of ours", () => (globalThis as any).moorlinePanicked("a bug on purpose"), "internal"],
  ] as const)
    scripted(`${what} settles everything that waits`, async ({ line: page, gateway }) => {
      await page.evaluate(() => {
        const run = own.line.run("chat.send", { sessionKey: "main", message: "one" });
        own.kept["ends"] = [own.fate(own.line.request("chat.history", { sessionKey: "main" })), own.fate(run.result), own.read(run)];
        own.kept["run"] = run;
      });
      await gateway.asked("chat.send");
      await gateway.asked("chat.history");
      await page.evaluate(end);
      const [call, result, events] = await page.evaluate(() => Promise.all(own.kept["ends"]));
      expect([call.code, result.code]).toEqual([code, code]);
      expect(events).toEqual([{ type: "error", error: { code } }]);
      expect(await page.evaluate(() => (own.kept["run"].cancel(), own.fate(own.line.request("chat.history"))))).toMatchObject({ code });
      expect((await logged(page)).map(({ type }) => type)).not.toContain("unhandledrejection");
    });

  scripted("wasm that hangs, and then cannot be had, leaves no call waiting", async ({ launch, open, gateway }) => {
    const page = await open(await launch(), "blank.html");
    let fail = () => {};
    const hangs = new Promise<void>((resolve) => (fail = resolve));
    await page.route("**/bytes-*.js", async (route) => {
      await hangs;
      await route.abort();
    });
    await begin(page, gateway.url);
    const early = await page.evaluate(async () => {
      const abort = new AbortController();
      const run = own.line.run("chat.send", { sessionKey: "main", message: "one" }, { signal: abort.signal });
      const ends = [own.fate(own.line.request("chat.history", {}, { timeoutMs: 30 })), own.fate(run.result), own.read(run)];
      own.kept["late"] = [own.fate(own.line.request("chat.history")), own.fate(own.line.run("chat.send", {}).result)];
      abort.abort();
      return Promise.all(ends);
    });
    expect(early).toMatchObject([{ code: "call.timeout" }, { code: "call.aborted" }, [{ type: "aborted", text: "" }]]);
    fail();
    expect(await page.evaluate(() => Promise.all(own.kept["late"]))).toMatchObject(Array(2).fill({ code: "wasm.unavailable" }));
    expect((await logged(page)).map(({ type }) => type)).toEqual(["ws-error"]);
  });
});
