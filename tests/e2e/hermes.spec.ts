// Hermes in Chromium, against the development gateway in its three versions: turns whole and once whatever the line does,
// and questions that are answered after all.
import type { Run, RunEvent } from "moorline/hermes";
import { eventually, expect, type Gateway, type Page, test } from "./support/test.js";

const TOKEN = "moorline-hermes";
const VERSIONS = ["0.17", "0.19", "0.20"];

interface Hermes {
  line: import("moorline/hermes").Moorline;
  log: { type: string; detail: any }[];
  runs: Record<string, { run: Run; events: RunEvent[]; result?: string; error?: string }>;
  follow(name: string, run: Run): void;
  fate(promise: Promise<unknown>): Promise<any>;
}
declare global {
  var hermes: Hermes;
}

const TYPES = ["ws-connected", "ws-disconnected", "ws-failed", "ws-error", "ws-unhandled", "run-started", "hermes-session", "hermes-session-lost", "hermes-question", "hermes-tool.start", "hermes-session.info"];

function mooring(page: Page, base: string, options: object = {}): Promise<void> {
  return page.evaluate(
    async ([url, token, options, types]) => {
      const { Moorline } = (await import("/pkg/hermes.js" as string)) as typeof import("moorline/hermes");
      const line = new Moorline(() => ({ url, token }), { reconnect: { baseDelayMs: 60, jitter: "none" }, ...options });
      const own: Hermes = {
        line,
        log: [],
        runs: {},
        follow(name, run) {
          const kept: Hermes["runs"][string] = (own.runs[name] = { run, events: [] });
          run.result.then((text) => (kept.result = text)).catch((error: { code: string }) => (kept.error = error.code));
          void (async () => {
            for await (const event of run) kept.events.push({ ...event });
          })();
        },
        fate: (promise) =>
          promise.then(
            (result) => ({ result }),
            ({ code, message, cause, retryable }) => ({ code, message, cause, retryable }),
          ),
      };
      let begun = 0;
      for (const type of types)
        line.on(type, ((detail: any) => {
          own.log.push({ type, detail: type === "ws-error" ? { code: detail.code } : type === "run-started" ? { origin: detail.origin } : type === "hermes-question" ? { kind: detail.kind, payload: detail.payload } : detail });
          if (type === "run-started") own.follow(`begun ${begun++}`, detail.run);
        }) as (detail: never) => void);
      globalThis.hermes = own;
      line.connect();
    },
    [new URL("/api/ws", base).href, TOKEN, options, TYPES] as const,
  );
}

async function moored(open: (gateway: Gateway, path?: string) => Promise<Page>, gateway: Gateway, base = gateway.ws): Promise<Page> {
  const page = await open(gateway, "blank.html");
  await mooring(page, base);
  await heard(page, "ws-connected");
  return page;
}

const log = (page: Page, type: string): Promise<any[]> =>
  page.evaluate((type) => hermes.log.filter((one) => one.type === type).map(({ detail }) => detail), type);
const heard = (page: Page, type: string, count = 1) => eventually(() => log(page, type), (all) => all.length >= count, `${count} × ${type}`);
const ask = (page: Page, name: string, text: string): Promise<void> =>
  page.evaluate(([name, text]) => hermes.follow(name, hermes.line.run("prompt.submit", { text })), [name, text] as const);
const told = (page: Page, name: string) =>
  page.evaluate((name) => {
    const { run, events, result, error } = hermes.runs[name] ?? { run: undefined, events: [] as RunEvent[] };
    // What a reader has, who does what the events say.
    let text = "";
    for (const event of events) {
      if (event.type === "restarted") text = "";
      if (event.type === "delta") text = event.replace ? event.text : text + event.text;
      if (event.type === "resumed" || event.type === "final") text = event.text;
    }
    return { text, result, error, whole: run?.text, types: events.map(({ type }) => type), events };
  }, name);
const until = (page: Page, name: string, type: RunEvent["type"]) => eventually(() => told(page, name), ({ types }) => types.includes(type), `${type} of ${name}`);
const request = (page: Page, method: string, params: unknown = {}): Promise<any> =>
  page.evaluate(([method, params]) => hermes.fate(hermes.line.request(method as string, params)), [method, params] as const);

const control = <T = any>(gateway: Gateway, what: string, body: object = {}) => gateway.post<T>(`hermes/${what}`, body);
const submitted = async (gateway: Gateway): Promise<string[]> => {
  const all = await gateway.get<any>("hermes/received");
  const frames: any[] = (all.frames ?? all).map((one: any) => one.frame ?? one);
  return frames.filter(({ method }) => method === "prompt.submit").map(({ params }) => params.text);
};

for (const version of VERSIONS)
  test(`a turn streams, is stopped, and survives the loss of its line (${version})`, async ({ launch, open }) => {
    const gateway = await launch();
    await control(gateway, "config", { version });
    const page = await moored(open, gateway, gateway.proxy);

    await ask(page, "first", "hello words:12 pace:20");
    const first = await until(page, "first", "final");
    expect(first.text).toBe(first.result);
    expect(first.result!.trim().split(/\s+/)).toHaveLength(12);
    expect(first.types.filter((type) => type === "final")).toHaveLength(1);

    // Right behind the end: 0.17 is busy for a moment longer.
    await ask(page, "tools", "tool words:12 pace:5");
    const tools = await until(page, "tools", "final");
    expect(tools.text).toBe(tools.result);
    expect(tools.result).toContain("\n\n");
    expect(tools.events.filter((event) => event.type === "delta" && event.replace)).toEqual([]);

    await ask(page, "stopped", "hang words:3 pace:20");
    await until(page, "stopped", "delta");
    await page.evaluate(() => hermes.runs["stopped"]!.run.cancel());
    expect((await until(page, "stopped", "aborted")).error).toBe("call.aborted");

    await ask(page, "cut", "long words:60 pace:30");
    await until(page, "cut", "delta");
    await gateway.faults({ reset: true });
    await heard(page, "ws-disconnected");
    await gateway.faults({ reset: false });
    const cut = await until(page, "cut", "final");
    expect(cut.types.filter((type) => type === "resumed")).toHaveLength(1);
    const resumed = cut.events.find((event) => event.type === "resumed") as { text: string };
    expect(cut.result!.startsWith(resumed.text.trim()) && resumed.text !== "").toBe(true);
    expect(cut.text).toBe(cut.result);
    expect(cut.result!.trim().split(/\s+/)).toHaveLength(60);
    const { result: history } = await request(page, "session.history");
    expect(history.messages.at(-1).text.trim()).toBe(cut.result!.trim());

    expect(await submitted(gateway)).toEqual(["hello words:12 pace:20", "tool words:12 pace:5", "hang words:3 pace:20", "long words:60 pace:30"]);
    expect(await log(page, "ws-error")).toEqual([]);
    expect(await log(page, "ws-unhandled")).toEqual([]);
    expect(await log(page, "run-started")).toEqual([]);
  });

for (const version of VERSIONS)
  test(`a reload finds the turn again (${version})`, async ({ launch, open }) => {
    const gateway = await launch();
    await control(gateway, "config", { version });
    const page = await moored(open, gateway);
    await ask(page, "long", "long words:40 pace:40");
    await until(page, "long", "delta");
    await page.reload();
    await mooring(page, gateway.ws);
    await heard(page, "run-started");
    expect(await log(page, "run-started")).toEqual([{ origin: "resumed" }]);
    const found = await until(page, "begun 0", "final");
    expect(found.types).toContain("resumed");
    expect(found.text.trim().split(/\s+/)).toHaveLength(40);
  });

test("where the gateway has not kept all that was missed, the snapshot says it", async ({ launch, open }) => {
  const gateway = await launch();
  await control(gateway, "config", { version: "0.20", ring: 2 });
  const page = await moored(open, gateway, gateway.proxy);
  await ask(page, "cut", "long words:60 pace:30");
  await until(page, "cut", "delta");
  await gateway.faults({ reset: true, refuse: true });
  await heard(page, "ws-disconnected");
  const before = (await told(page, "cut")).text.length;
  // Many times what two events take, so that more than these are missed; the outcome does not hang on it.
  await heard(page, "ws-disconnected", 4);
  await gateway.faults({ reset: false, refuse: false });
  const cut = await until(page, "cut", "final");
  expect(before).toBeLessThan(cut.text.length);
  expect(cut.text).toBe(cut.result);
  expect(cut.result!.trim().split(/\s+/)).toHaveLength(60);
  expect(await submitted(gateway)).toHaveLength(1);
});

test("a turn that ends while the line is away is told from the transcript, whole and once", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway, gateway.proxy);
  await ask(page, "away", "words:15 pace:20");
  await until(page, "away", "delta");
  await gateway.faults({ refuse: true, reset: true });
  await heard(page, "ws-disconnected");
  const over = ({ sessions }: any) => JSON.stringify(sessions).includes('"idle"');
  await eventually(() => gateway.get<any>("hermes/state"), over, "the end of the turn");
  await gateway.faults({ refuse: false, reset: false });
  const away = await until(page, "away", "final");
  expect(away.text).toBe(away.result);
  expect(away.result!.trim().split(/\s+/)).toHaveLength(15);
  expect(await submitted(gateway)).toHaveLength(1);
});

test("a session that was reaped comes back under another runtime id, and an unprompted one is made anew", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway);
  await ask(page, "one", "words:3 pace:0");
  await until(page, "one", "final");
  const ids = () => page.evaluate(() => hermes.line.session!);
  const before = await ids();
  await control(gateway, "reap");
  expect((await request(page, "session.usage")).result).toBeDefined();
  const after = await ids();
  expect(after.token).toBe(before.token);
  expect(after.clientId).not.toBe(before.clientId);

  // A prompt that meets a session that is gone is refused, and not sent again by the line.
  await control(gateway, "reap");
  const refused = await page.evaluate(() => hermes.fate(hermes.line.request("prompt.submit", { text: "words:2" })));
  expect(refused).toMatchObject({ code: "call.remote", retryable: true, cause: { code: 4001 } });
  await ask(page, "two", "words:2 pace:0");
  await until(page, "two", "final");

  // A new one that nobody has prompted is not in the store.
  await request(page, "session.create", { title: "fresh" });
  await control(gateway, "reap", { sessionId: (await ids()).clientId });
  await control(gateway, "close", { abrupt: true });
  await heard(page, "hermes-session-lost");
  await ask(page, "three", "words:2 pace:0");
  await until(page, "three", "final");
});

test("turns that the server begins are runs, announced twice or not", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway);
  await ask(page, "one", "words:3 pace:0");
  await until(page, "one", "final");
  await control(gateway, "turn", { text: "words:4 pace:5" });
  const begun = await until(page, "begun 0", "final");
  expect(begun.text).toBe(begun.result);
  expect(await log(page, "run-started")).toEqual([{ origin: "server" }]);
});

test("a second prompt is queued behind the first, steered into it, or refused, as the server has it", async ({ launch, open }) => {
  const gateway = await launch();
  await control(gateway, "config", { busy: "queue" });
  const page = await moored(open, gateway);
  await ask(page, "first", "words:10 pace:20");
  await until(page, "first", "delta");
  await ask(page, "second", "words:4 pace:5");
  expect((await until(page, "first", "final")).result!.trim().split(/\s+/)).toHaveLength(10);
  expect((await until(page, "second", "final")).result!.trim().split(/\s+/)).toHaveLength(4);

  await control(gateway, "config", { busy: "interrupt" });
  await ask(page, "third", "hang words:2 pace:5");
  await until(page, "third", "delta");
  await ask(page, "fourth", "words:4 pace:5");
  await until(page, "third", "aborted");
  await until(page, "fourth", "final");

  await control(gateway, "config", { busy: "steer" });
  await ask(page, "fifth", "words:10 pace:20");
  await until(page, "fifth", "delta");
  await ask(page, "sixth", "words:3");
  await until(page, "fifth", "final");
  await until(page, "sixth", "final");
  expect(await log(page, "run-started")).toEqual([]);
});

for (const version of ["0.19", "0.20"])
  test(`a question survives the loss of the line and is answered (${version})`, async ({ launch, open }) => {
    const gateway = await launch();
    await control(gateway, "config", { version });
    const page = await moored(open, gateway, gateway.proxy);
    for (const [word, kind, value] of [
      ["approve", "approval", "once"],
      ["ask", "clarify", "this one"],
      ["sudo", "sudo", "hunter2"],
    ] as const) {
      const asked = (await log(page, "hermes-question")).length;
      await ask(page, kind, `${word} words:8 pace:5`);
      const all = await heard(page, "hermes-question", asked + 1);
      expect(all.at(-1).kind).toBe(kind);
      if (kind === "approval") {
        const gone = (await log(page, "ws-disconnected")).length;
        await gateway.faults({ reset: true });
        await heard(page, "ws-disconnected", gone + 1);
        await gateway.faults({ reset: false });
        await heard(page, "ws-connected", gone + 2);
      }
      const answered = await page.evaluate((value) => hermes.fate(hermes.line.questions[0]!.answer(value)), value);
      expect(answered).toHaveProperty("result");
      const { text, result } = await until(page, kind, "final");
      expect(text).toBe(result);
      expect(await page.evaluate(() => hermes.line.questions.length)).toBe(0);
    }
    // A function takes the place of the event.
    const before = (await log(page, "hermes-question")).length;
    await page.evaluate(() => void hermes.line.handle("approval", ({ command }: { command: string }) => (command ? "deny" : "once")));
    await ask(page, "handled", "approve words:8 pace:5");
    await until(page, "handled", "final");
    expect(await log(page, "hermes-question")).toHaveLength(before);

    // Nobody answers: it runs out.
    await ask(page, "expired", "secret words:8 pace:5");
    await heard(page, "hermes-question", before + 1);
    await control(gateway, "expire");
    await until(page, "expired", "final");
    expect(await page.evaluate(() => hermes.line.questions.length)).toBe(0);
  });

test("failures of a turn are errors with the server's words", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway);
  for (const word of ["fail", "crash"]) {
    await ask(page, word, `${word} words:6 pace:5`);
    const { types, error } = await until(page, word, "error");
    expect(types.at(-1)).toBe("error");
    expect(error).toBe("call.remote");
  }
  expect(await request(page, "no.such.method")).toMatchObject({ code: "call.remote", cause: { code: -32601 } });
  expect(await request(page, "session.resume", { session_id: "nobody" })).toMatchObject({ cause: { code: 4007 }, retryable: false });
});

test("a token that the server refuses ends the line with a reason, and not in a loop", async ({ launch, open }) => {
  const gateway = await launch();
  await control(gateway, "config", { token: "another" });
  const page = await open(gateway, "blank.html");
  await mooring(page, gateway.ws, { reconnect: { baseDelayMs: 20, jitter: "none" } });
  const [failed] = await heard(page, "ws-failed");
  expect(failed).toMatchObject({ cause: "unauthorized", attempts: 5 });
  // The page has another token, and connects.
  await control(gateway, "config", { token: TOKEN });
  await page.evaluate(() => hermes.line.connect());
  await heard(page, "ws-connected");
});

test("a stalled server is not a connection, and a restart is survived", async ({ launch, open }) => {
  const gateway = await launch();
  await control(gateway, "config", { readyMs: 60_000 });
  const page = await open(gateway, "blank.html");
  await mooring(page, gateway.ws, { connectTimeoutMs: 300 });
  const [gone] = await heard(page, "ws-disconnected");
  expect(gone.cause).toBe("handshake-timeout");
  expect(await log(page, "ws-connected")).toEqual([]);
  await control(gateway, "config", { readyMs: 0 });
  await heard(page, "ws-connected");
  await ask(page, "one", "words:3 pace:0");
  await until(page, "one", "final");
  const { token } = (await page.evaluate(() => hermes.line.session))!;
  await control(gateway, "restart", { downMs: 200, kill: true });
  await heard(page, "ws-connected", 2);
  await ask(page, "two", "words:3 pace:0");
  await until(page, "two", "final");
  expect((await page.evaluate(() => hermes.line.session))!.token).toBe(token);
});

test("a repeated delta after a resume does not stand twice in the end, and a queued turn that went elsewhere is had back", async ({ launch, open }) => {
  const gateway = await launch();
  await control(gateway, "config", { resumeOverlap: true, queuedBug: true, busy: "queue" });
  const page = await moored(open, gateway, gateway.proxy);
  await ask(page, "cut", "words:30 pace:40");
  await until(page, "cut", "delta");
  await ask(page, "queued", "words:20 pace:40");
  await until(page, "queued", "started");
  await gateway.faults({ reset: true });
  await heard(page, "ws-disconnected");
  await gateway.faults({ reset: false });
  const cut = await until(page, "cut", "final");
  expect(cut.text).toBe(cut.result);
  expect(cut.result!.trim().split(/\s+/)).toHaveLength(30);
  const queued = await until(page, "queued", "final");
  expect(queued.result!.trim().split(/\s+/)).toHaveLength(20);
  expect(await submitted(gateway)).toHaveLength(2);
});
