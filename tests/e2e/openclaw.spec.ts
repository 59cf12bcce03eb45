// OpenClaw in Chromium, against the development gateway: the device, a run whole and once whatever the line does, and the
// ladder of refusals.
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { Run, RunEvent } from "moorline/openclaw";
import { eventually, expect, type Gateway, type Page, test } from "./support/test.js";

const TOKEN = "moorline-openclaw";

interface Heard {
  type: string;
  detail: any;
}
interface Claw {
  line: import("moorline/openclaw").Moorline;
  log: Heard[];
  runs: Record<string, { run: Run; events: RunEvent[]; result?: string; error?: string }>;
  follow(name: string, run: Run): void;
}
declare global {
  var claw: Claw;
}

const LIFECYCLE = ["ws-connected", "ws-disconnected", "ws-reconnecting", "ws-failed", "ws-error", "ws-unhandled", "run-started", "openclaw-gap", "openclaw-hello", "openclaw-cron"];

/** A line in this page, to the gateway's own address or through the fault proxy. */
function mooring(page: Page, base: string, options: object = { token: TOKEN, sessionKey: "main" }, query = ""): Promise<void> {
  return page.evaluate(
    async ([url, openclaw, types]) => {
      const { Moorline } = (await import("/pkg/openclaw.js" as string)) as typeof import("moorline/openclaw");
      const line = new Moorline(url, { openclaw, reconnect: { baseDelayMs: 60, jitter: "none" } });
      const own: Claw = {
        line,
        log: [],
        runs: {},
        follow(name, run) {
          const kept: Claw["runs"][string] = (own.runs[name] = { run, events: [] });
          run.result.then((text) => (kept.result = text)).catch((error: { code: string }) => (kept.error = error.code));
          void (async () => {
            for await (const event of run) kept.events.push({ ...event });
          })();
        },
      };
      let begun = 0;
      for (const type of types as any[])
        line.on(type, ((detail: any) => {
          own.log.push({ type, detail: type === "ws-error" ? { code: detail.code, message: detail.message, cause: detail.cause } : type === "run-started" ? { origin: detail.origin } : detail });
          if (type === "run-started") own.follow(`begun ${begun++}`, detail.run);
        }) as (detail: never) => void);
      globalThis.claw = own;
      line.connect();
    },
    [new URL(`/openclaw${query}`, base).href, options, LIFECYCLE] as const,
  );
}

async function moored(open: (gateway: Gateway, path?: string) => Promise<Page>, gateway: Gateway, base = gateway.ws, options?: object, query?: string): Promise<Page> {
  const page = await open(gateway, "blank.html");
  await mooring(page, base, options, query);
  await heard(page, "ws-connected");
  return page;
}

const log = (page: Page, type: string): Promise<any[]> =>
  page.evaluate((type) => claw.log.filter((one) => one.type === type).map(({ detail }) => detail), type);
const heard = (page: Page, type: string, count = 1) => eventually(() => log(page, type), (all) => all.length >= count, `${count} × ${type}`);

function ask(page: Page, name: string, message: string, more: object = {}): Promise<void> {
  return page.evaluate(
    ([name, message, more]) => claw.follow(name, claw.line.run("chat.send", { sessionKey: "main", message, ...more })),
    [name, message, more] as const,
  );
}
const told = (page: Page, name: string) =>
  page.evaluate((name) => {
    const { run, events, result, error } = claw.runs[name] ?? { run: undefined, events: [] as RunEvent[] };
    // What a reader has, who does what the events say.
    let text = "";
    for (const event of events) {
      if (event.type === "restarted") text = "";
      if (event.type === "delta") text = event.replace ? event.text : text + event.text;
      if (event.type === "resumed" || event.type === "final") text = event.text;
    }
    return { text, result, error, whole: run?.text, types: events.map(({ type }) => type) };
  }, name);
const until = (page: Page, name: string, type: RunEvent["type"], limitMs?: number) =>
  eventually(() => told(page, name), ({ types }) => types.includes(type), `${type} of ${name}`, limitMs);

const control = <T = any>(gateway: Gateway, what: string, body: object = {}) => gateway.post<T>(`openclaw/${what}`, body);

test("a device is made once, granted its scopes, and known again without the token", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway);
  const [hello] = await log(page, "openclaw-hello");
  expect(hello.payload.auth.scopes).toEqual(["operator.read", "operator.write"]);
  expect(await log(page, "ws-error")).toEqual([]);
  const devices = () => gateway.get<any>("openclaw/state").then(({ devices }) => devices);
  expect(await devices()).toBe(1);

  // Another load of the page, which has no token any more.
  await page.reload();
  await mooring(page, gateway.ws, { sessionKey: "main" });
  await heard(page, "ws-connected");
  const [again] = await log(page, "openclaw-hello");
  expect(again.payload.auth.method).toBe("device-token");
  expect(await devices()).toBe(1);
  // Nothing of it is in a URL.
  expect(await page.evaluate(() => JSON.stringify(claw.line.explain()) + claw.log.map(({ detail }) => detail.url ?? "").join())).not.toContain(TOKEN);
});

test("where there is no crypto.subtle, a library signs and the device is the same after a reload", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  const without = () => Object.defineProperty(crypto, "subtle", { value: undefined, configurable: true });
  await page.evaluate(without);
  await mooring(page, gateway.ws);
  await heard(page, "ws-connected");
  expect((await log(page, "openclaw-hello"))[0].payload.auth.scopes).toEqual(["operator.read", "operator.write"]);
  await page.reload();
  await page.evaluate(without);
  await mooring(page, gateway.ws, {});
  await heard(page, "ws-connected");
  expect((await log(page, "openclaw-hello"))[0].payload.auth.method).toBe("device-token");
  expect((await gateway.get<any>("openclaw/state")).devices).toBe(1);
});

for (const query of ["", "?version=2026.9.7", "?protocol=3"]) {
  const name = query || "2026.9.6";
  test(`a run streams, is stopped, and survives the loss of its line (${name})`, async ({ launch, open }) => {
    const gateway = await launch();
    const page = await moored(open, gateway, gateway.proxy, undefined, query);

    await ask(page, "first", "hello words:12 pace:20");
    const first = await until(page, "first", "final");
    expect(first.types[0]).toBe("started");
    expect(first.types.filter((type) => type === "final")).toHaveLength(1);
    expect(first.text).toBe(first.result);
    expect(first.result!.split(" ").length).toBeGreaterThanOrEqual(12);

    await ask(page, "stopped", "hang words:3 pace:20");
    await until(page, "stopped", "delta");
    await page.evaluate(() => claw.runs["stopped"]!.run.cancel());
    const stopped = await until(page, "stopped", "aborted");
    expect(stopped.error).toBe("call.aborted");
    expect(stopped.types.at(-1)).toBe("aborted");

    await ask(page, "cut", "long words:80 pace:30");
    await until(page, "cut", "delta");
    await gateway.faults({ reset: true });
    await heard(page, "ws-disconnected");
    await gateway.faults({});
    await heard(page, "ws-connected", 2);
    const cut = await until(page, "cut", "final", 20_000);
    expect(cut.types).toContain("resumed");
    expect(cut.types.filter((type) => type === "final")).toHaveLength(1);
    expect(cut.text).toBe(cut.result);
    expect(cut.whole).toBe(cut.result);
    // The same prompt on a line that nothing happens to.
    await ask(page, "whole", "long words:80 pace:30");
    expect((await until(page, "whole", "final")).result).toBe(cut.result);
    expect(await log(page, "ws-unhandled")).toEqual([]);
  });
}

test("a run that ends while the line is away has its end from the history", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway, gateway.proxy);
  await ask(page, "cut", "long words:30 pace:30");
  await until(page, "cut", "delta");
  await gateway.faults({ refuse: true, reset: true });
  await heard(page, "ws-disconnected");
  await eventually(() => gateway.get<any>("openclaw/state"), ({ activeRuns }) => activeRuns.length === 0, "the run's end");
  await gateway.faults({});
  const cut = await until(page, "cut", "final");
  expect(cut.text).toBe(cut.result);
  expect(cut.result!.split(" ").length).toBeGreaterThanOrEqual(30);
});

test("a page that was loaded anew finds its run by its key", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway, gateway.ws, { token: TOKEN });
  await ask(page, "run", "long words:60 pace:40", { idempotencyKey: "kept-over-the-reload" });
  await until(page, "run", "delta");
  await page.reload();
  await mooring(page, gateway.ws, {});
  await ask(page, "run", "long words:60 pace:40", { idempotencyKey: "kept-over-the-reload" });
  const run = await until(page, "run", "final");
  expect(run.types).toContain("resumed");
  expect(run.text).toBe(run.result);
  expect(run.result!.split(" ").length).toBeGreaterThanOrEqual(60);
});

test("a queued prompt gets its answer, and what others begin is told", async ({ launch, open }) => {
  const gateway = await launch();
  await control(gateway, "config", { queue: "followup" });
  const page = await moored(open, gateway);
  await ask(page, "busy", "long words:30 pace:30");
  await until(page, "busy", "delta");
  await ask(page, "queued", "hello words:5 pace:10");
  const queued = await until(page, "queued", "final", 20_000);
  expect(queued.types).toContain("note");
  expect(queued.result).not.toBe("");
  expect(queued.types).not.toContain("gap");
  expect((await log(page, "run-started")).map(({ origin }) => origin)).toEqual(["queued"]);

  await control(gateway, "inject", { sessionKey: "main", message: "read this", label: "note" });
  await heard(page, "run-started", 2);
  expect((await told(page, "begun 1")).result).toContain("read this");
  await control(gateway, "run", { sessionKey: "main", message: "hello words:4 pace:10" });
  await heard(page, "run-started", 3);
  await until(page, "begun 2", "final");
  expect((await log(page, "run-started")).map(({ origin }) => origin)).toEqual(["queued", "inject", "other"]);
});

test("two terminals are one, late events are nobody's, and a replaced text is replaced", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway);
  await ask(page, "failed", "fail");
  const failed = await until(page, "failed", "error");
  expect(failed.error).toBe("call.remote");
  await ask(page, "replaced", "hello replace words:8 pace:20");
  const replaced = await until(page, "replaced", "final");
  expect(replaced.text).toBe(replaced.result);
  expect(replaced.result).toMatch(/^YOU SAID/);
  await ask(page, "late", "hello late words:8 pace:20");
  expect((await until(page, "late", "final")).result).toBeTruthy();
  expect((await told(page, "failed")).types.filter((type) => type === "error")).toHaveLength(1);
  expect(await log(page, "run-started")).toEqual([]);
});

test("a gap between events is said, and healed", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway, gateway.ws, undefined, "?version=2026.9.7");
  await ask(page, "run", "long words:60 pace:30");
  await until(page, "run", "delta");
  await control(gateway, "gap", { count: 3 });
  await heard(page, "openclaw-gap");
  const run = await until(page, "run", "final");
  expect(run.types).toContain("gap");
  expect(run.text).toBe(run.result);
});

test("a restart is come back from in seconds, and a run that died in it does not hang", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway);
  await ask(page, "run", "long words:200 pace:50");
  await until(page, "run", "delta");
  await control(gateway, "restart", { downMs: 300, startingMs: 300 });
  expect((await heard(page, "ws-disconnected"))[0]).toMatchObject({ code: 1012, cause: "server-restart", willReconnect: true });
  await heard(page, "ws-connected", 2);
  const run = await eventually(() => told(page, "run"), ({ types }) => ["final", "error", "aborted"].includes(types.at(-1)!), "an end", 45_000);
  expect(run.types.some((type) => type === "restarted" || type === "gap" || type === "resumed")).toBe(true);
});

test("a refused token ends the line with a reason, and not in a loop", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  await mooring(page, gateway.ws, { token: "wrong" });
  const [failed] = await heard(page, "ws-failed");
  expect(failed).toMatchObject({ cause: "unauthorized", frame: { error: { details: { code: "AUTH_TOKEN_MISMATCH" } } } });
  expect(await log(page, "ws-disconnected")).toHaveLength(1);
});

test("a rotated token ends the line after one try, and pairing is asked for in words", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway);
  await control(gateway, "rotate", { token: "new" });
  const [failed] = await heard(page, "ws-failed");
  expect(failed.cause).toBe("unauthorized");
  expect((await log(page, "ws-disconnected"))[0]).toMatchObject({ code: 4001 });

  await control(gateway, "reset");
  await control(gateway, "config", { pairing: "ask" });
  const other = await open(gateway, "blank.html");
  await mooring(other, gateway.ws);
  const [waits] = await heard(other, "ws-failed");
  expect(waits).toMatchObject({ cause: "pairing-required", frame: { error: { details: { code: "PAIRING_REQUIRED" } } } });
  expect(waits.frame.error.details.requestId).toBeTruthy();
  await control(gateway, "approve");
  await other.evaluate(() => claw.line.connect());
  await heard(other, "ws-connected");
});

test("scopes that are not granted are named, and an unknown event keeps its name", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  // No key can be kept or made: the gateway connects a client that it does not know, without rights.
  await page.evaluate(() => {
    Object.defineProperty(crypto, "subtle", { value: undefined });
    Object.defineProperty(crypto, "getRandomValues", { value: undefined });
  });
  await mooring(page, gateway.ws, { token: TOKEN });
  const errors = await heard(page, "ws-error");
  expect(errors[0]).toMatchObject({ code: "auth.scopes", cause: { missing: ["operator.read", "operator.write"] } });
  expect(errors[0].message).toContain("operator.write");
  const refused = await page.evaluate(() => claw.line.request("chat.history", { sessionKey: "main" }).catch((error) => ({ code: error.code, cause: error.cause })));
  expect(refused).toMatchObject({ code: "call.remote", cause: { details: { code: "MISSING_SCOPE" } } });
  await control(gateway, "event", { event: "cron", payload: { at: 7 } });
  expect((await heard(page, "openclaw-cron"))[0]).toMatchObject({ event: "cron", payload: { at: 7 } });
});

/** src/web/device.js as a script that a page can evaluate. */
async function deviceScript(): Promise<string> {
  const path = (from: string) => fileURLToPath(new URL(from, import.meta.url));
  const { outputFiles } = await build({
    entryPoints: [path("../../src/web/device.js")],
    bundle: true,
    format: "iife",
    globalName: "half",
    write: false,
    nodePaths: [path("./node_modules")],
  });
  return outputFiles[0]!.text;
}

// RFC 8032, section 7.1, test 1.
const SECRET = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const VECTOR = {
  publicKey: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  id: "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9",
  text: "v3|21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9|webchat-ui|webchat|operator|operator.read,operator.write|1737264000000|test-token|00000000-0000-4000-8000-000000000000|web|",
  signature: "VZJ49G_cKHBKws4bhkjOOE-SlA7OX1l_Y3OmBLSseH8E_GIgxlz5olnzmVEhFuUQtDLzAyG6--1XI64jADnbBQ",
};

for (const subtle of [true, false])
  test(`the test vector's key signs the test vector's text, ${subtle ? "by crypto.subtle" : "by the library"}`, async ({ launch, open }) => {
    const page = await open(await launch(), "blank.html");
    const script = await deviceScript();
    await page.evaluate(
      async ([secret, publicKey, subtle]) => {
        const raw = (text: string) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
        if (subtle) {
          const head = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
          const pair = {
            privateKey: await crypto.subtle.importKey("pkcs8", new Uint8Array([...head, ...raw(secret)]), "Ed25519", false, ["sign"]),
            publicKey: await crypto.subtle.importKey("raw", raw(publicKey), "Ed25519", true, ["verify"]),
          };
          await new Promise((done) => {
            const opening = indexedDB.open("moorline-openclaw");
            opening.onupgradeneeded = () => opening.result.createObjectStore("device");
            opening.onsuccess = () => (opening.result.transaction("device", "readwrite").objectStore("device").put(pair, "key").onsuccess = done);
          });
        } else {
          localStorage.setItem("moorline-openclaw key", secret);
          Object.defineProperty(crypto, "subtle", { value: undefined });
        }
      },
      [SECRET, VECTOR.publicKey, subtle] as const,
    );
    const sign = `half.device().then(async ({ publicKey, id, sign }) => ({ publicKey, id, text: "${VECTOR.text}", signature: await sign("${VECTOR.text}") }))`;
    const signed = await page.evaluate(`${script}; ${sign}`);
    expect(signed).toEqual(VECTOR);
  });

test("a server's event cannot pass for one of the line's own", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway);
  for (const event of ["gap", "hello", "cron"]) await gateway.post("openclaw/event", { event, payload: { forged: true } });
  await heard(page, "openclaw-cron");
  const unhandled = await log(page, "ws-unhandled");
  expect(unhandled.map(({ type }) => type)).toEqual(["gap", "hello"]);
  expect(await log(page, "openclaw-gap")).toEqual([]);
  expect(await log(page, "openclaw-hello")).toHaveLength(1);
});
