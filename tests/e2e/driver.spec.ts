// The driver: listeners that call back, throw or end the line; thousands of sockets; long waits; workers; servers without a window.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { TestGateway, VirtualClock } from "moorline/testing";
import { wanted } from "./support/gateway.js";
import { arrivals, type CDPSession, details, eventually, expect, moored, next, type Page, test, types } from "./support/test.js";

test("a listener that sends twice for each frame keeps the order", async ({ launch, open }) => {
  const gateway = await launch("--echo", "off");
  const page = await open(gateway);
  await moored(page);
  await page.evaluate(() => {
    let n = 0;
    globalThis.addEventListener("chat-message", () => {
      rig.main.send({ type: "note", n: n++ });
      rig.main.send({ type: "note", n: n++ });
    });
  });
  for (let i = 0; i < 10; i++) await gateway.sendFrame({ type: "chat", text: String(i) });
  const frames = await arrivals(gateway, "note", 20);
  expect(frames.map((frame) => frame["n"])).toEqual(Array.from({ length: 20 }, (_, n) => n));
});

test("what a listener of ws-connected sends comes behind the queue", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await page.evaluate(() => {
    globalThis.addEventListener("ws-connected", () => void rig.main.send({ type: "note", n: 3 }));
    rig.line();
    for (const n of [0, 1, 2]) rig.main.send({ type: "note", n });
  });
  const frames = await arrivals(gateway, "note", 4);
  expect(frames.map((frame) => frame["n"])).toEqual([0, 1, 2, 3]);
});

const CALLS: Record<string, [string, string]> = {
  "disconnects in ws-connected": ["ws-connected", "rig.main.disconnect()"],
  "disconnects in a frame": ["session-init", "rig.main.disconnect()"],
  "disposes in ws-connected": ["ws-connected", "rig.main.dispose()"],
  "disposes in a frame": ["session-init", "rig.main.dispose()"],
  "disconnects, connects and disconnects in a frame": ["session-init", "rig.main.disconnect(); rig.main.connect(); rig.main.disconnect()"],
  "sends and disposes in ws-connected": ["ws-connected", "rig.main.send({ type: 'x' }); rig.main.dispose()"],
};
for (const [what, [type, call]] of Object.entries(CALLS)) {
  test(`a listener that ${what} ends the line, once`, async ({ launch, open }) => {
    const gateway = await launch();
    const page = await open(gateway);
    await page.evaluate(
      ([type, call]) => {
        const act = (0, eval)(`() => { ${call} }`) as () => void;
        globalThis.addEventListener(type, act, { once: true });
        rig.line();
      },
      [type, call] as const,
    );
    await next(page, type);
    await page.evaluate(() => rig.until(() => rig.main.state === "closed"));
    await eventually(() => gateway.state(), ({ connections, totals }) => connections.length === 0 && totals.accepted > 0, "the end of the sockets");
    expect((await types(page)).filter((type) => type === "ws-failed" || type === "ws-reconnecting" || type === "ws-error")).toEqual([]);
    const ended = await details(page, "ws-disconnected");
    expect(ended.length).toBeGreaterThan(0);
    expect(ended.every(({ willReconnect }) => !willReconnect)).toBe(true);
  });
}

test("a listener may take the line down and up again from within an event", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await page.evaluate(() => {
    globalThis.addEventListener(
      "ws-connected",
      () => {
        rig.main.disconnect();
        rig.main.connect();
        rig.main.send({ type: "note", n: 1 });
      },
      { once: true },
    );
    rig.line();
  });
  await next(page, "ws-connected");
  expect(await next(page, "ws-disconnected")).toMatchObject({ cause: "closed" });
  await next(page, "ws-connected");
  await arrivals(gateway, "note", 1);
  await eventually(() => gateway.state(), ({ connections }) => connections.length === 1, "one connection");
});

test("listeners that throw are reported to the page, and stop neither the others nor the line", async ({ launch, open, mishaps }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page);
  await page.evaluate(() => {
    const fail = (where: string) => () => {
      throw new Error(`thrown in ${where}`);
    };
    globalThis.addEventListener("chat-message", fail("window"));
    rig.main.addEventListener("chat-message", fail("the line"));
    rig.main.on("chat-message", fail("on"));
    rig.main.on("chat-message", ({ text }) => rig.note("after", text));
    rig.main.addEventListener("chat-message", ({ detail }) => rig.note("after", detail.text));
  });
  for (const text of ["one", "two"]) await gateway.sendFrame({ type: "chat", text });
  for (const text of ["one", "one", "two", "two"]) expect(await next(page, "after")).toBe(text);
  expect((await details(page, "chat-message")).map(({ text }) => text)).toEqual(["one", "two"]);
  const expected = ["thrown in window", "thrown in the line", "thrown in on"];
  expect(mishaps.splice(0)).toEqual([...expected, ...expected]);
  expect(await page.evaluate(() => rig.main.state)).toBe("connected");
});

test("events of several lines go to the targets that were given", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  const heard = await page.evaluate(async () => {
    const target = new EventTarget();
    const heard: string[] = [];
    target.addEventListener("ws-connected", () => heard.push("own target"));
    const one = rig.line({ target, session: { storage: "memory" } }, undefined, false);
    const two = rig.line({ target: null, session: { storage: "memory" } }, undefined, false);
    const three = rig.line({ target: document, session: { storage: "memory" } }, undefined, false);
    document.addEventListener("ws-connected", () => heard.push("document"));
    two.addEventListener("ws-connected", () => heard.push("line"));
    for (const line of [one, two, three]) line.connect();
    await rig.until(() => heard.length === 3);
    return heard.sort();
  });
  expect(heard).toEqual(["document", "line", "own target"]);
  expect(await types(page)).toEqual([]);
});

interface Kit {
  clock: VirtualClock;
  gateway: TestGateway;
  counts: { made: number; collected: number; last: WeakRef<WebSocket> };
}

/** Puts the test kit in the place of the network and of time, and counts the sockets that are made and collected. */
async function kit(page: Page): Promise<void> {
  await page.evaluate(async () => {
    const path = "/pkg/testing.js";
    const { testGateway, virtualClock } = (await import(path)) as typeof import("moorline/testing");
    const clock = virtualClock();
    const gateway = testGateway().install();
    const counts = { made: 0, collected: 0, last: undefined as unknown as WeakRef<WebSocket> };
    const registry = new FinalizationRegistry<void>(() => counts.collected++);
    globalThis.WebSocket = class extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        super(url, protocols);
        counts.made++;
        counts.last = new WeakRef<WebSocket>(this);
        registry.register(this);
      }
    };
    Object.assign(globalThis, { kit: { clock, gateway, counts } });
  });
}

/** Of everything that nobody holds any more. */
async function collect(page: Page, cdp: CDPSession): Promise<number> {
  await cdp.send("HeapProfiler.collectGarbage");
  // What finalizers do takes a turn.
  await page.evaluate(() => (globalThis as unknown as { kit: Kit }).kit.clock.advance(1000));
  await cdp.send("HeapProfiler.collectGarbage");
  return (await cdp.send("Runtime.getHeapUsage")).usedSize;
}

test("ten thousand sockets are opened and closed without a leaked socket, closure or byte of wasm", async ({ launch, open, context }) => {
  test.slow();
  await context.addInitScript(() => {
    const { instantiateStreaming } = WebAssembly;
    WebAssembly.instantiateStreaming = async (...given) => {
      const result = await instantiateStreaming(...given);
      Object.assign(globalThis, { memory: result.instance.exports["memory"] });
      return result;
    };
  });
  const gateway = await launch();
  const page = await open(gateway);
  const cdp = await context.newCDPSession(page);
  await kit(page);
  await page.evaluate(() => void rig.line({ session: { storage: "memory" } }, "ws://127.0.0.1:1/"));
  const cycle = (rounds: number) =>
    page.evaluate(async (rounds) => {
      const { clock, gateway, counts } = (globalThis as unknown as { kit: Kit }).kit;
      for (let round = 0; round < rounds; round++) {
        await clock.until(() => rig.main.state === "connected");
        const socket = counts.last.deref()!;
        rig.main.send({ type: "note", round });
        gateway.feed({ type: "chat", text: "hello" });
        await clock.advance(1);
        gateway.reset();
        await clock.until(() => rig.main.state !== "connected");
        const handlers = [socket.onopen, socket.onmessage, socket.onclose, socket.onerror].filter(Boolean).length;
        if (handlers > 0) throw new Error(`a socket kept ${handlers} handlers`);
        const heard = rig.log.filter(({ type }) => type === "chat-message").length;
        if (heard !== 1 || gateway.taken.length !== 1) throw new Error(`round ${round}: ${heard} heard, ${gateway.taken.length} taken`);
        rig.clear();
        gateway.clear();
        rig.main.connect();
      }
    }, rounds);
  const weigh = async () => {
    const usedSize = await collect(page, cdp);
    const wasm = await page.evaluate(() => (globalThis as unknown as { memory: WebAssembly.Memory }).memory.buffer.byteLength);
    const { made, collected } = await page.evaluate(() => (globalThis as unknown as { kit: Kit }).kit.counts);
    return { usedSize, wasm, made, collected };
  };
  await cycle(1000);
  const before = await weigh();
  await cycle(9000);
  const after = await weigh();
  expect(after.made).toBeGreaterThanOrEqual(10_000);
  expect(after.made - after.collected, "sockets that somebody still holds").toBeLessThan(10);
  expect(after.wasm).toBe(before.wasm);
  expect(after.usedSize - before.usedSize, "bytes of heap for 9,000 sockets").toBeLessThan(400_000);
  expect(await page.evaluate(() => rig.main.stats().sockets)).toBeGreaterThanOrEqual(10_000);
});

test("five hundred lines made and disposed of leave nothing behind", async ({ launch, open, context }) => {
  const gateway = await launch();
  const page = await open(gateway);
  const cdp = await context.newCDPSession(page);
  await kit(page);
  const cycle = (rounds: number) =>
    page.evaluate(async (rounds) => {
      const { clock, gateway } = (globalThis as unknown as { kit: Kit }).kit;
      for (let round = 0; round < rounds; round++) {
        const line = rig.line({ session: { storage: "memory" } }, "ws://127.0.0.1:1/");
        await clock.until(() => line.state === "connected");
        line.on("chat-message", () => {});
        line.dispose();
        await clock.until(() => gateway.connections.length === 0);
        gateway.restart({ forget: true });
        await clock.advance(1000);
        rig.clear();
        gateway.clear();
      }
      rig.main = undefined as never;
    }, rounds);
  await cycle(100);
  const before = await collect(page, cdp);
  await cycle(400);
  expect((await collect(page, cdp)) - before, "bytes of heap for 400 lines").toBeLessThan(200_000);
});

test("a wait that no timer can hold does not end at once", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page);
  await gateway.post("down", { code: 1011 });
  await next(page, "ws-disconnected");
  await page.evaluate(() => {
    const ttls = [2 ** 31 - 1, 2 ** 31, 2 ** 31 + 5, 2 ** 32, 2 ** 32 + 5, 2 ** 53, Number.MAX_VALUE, Infinity];
    Object.assign(globalThis, { receipts: ttls.map((ttlMs) => rig.main.send({ type: "note" }, { ttlMs })) });
    return new Promise((resolve) => setTimeout(resolve, 100));
  });
  const statuses = await page.evaluate(() => (globalThis as unknown as { receipts: { status: string }[] }).receipts.map(({ status }) => status));
  expect(statuses).toEqual(Array(8).fill("queued"));
  expect(await details(page, "ws-error")).toEqual([]);
});

test("advice beyond every bound is bounded, and does not bring the line back at once", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page);
  await gateway.sendFrame({ type: "server-advice", retryAfterMs: 1e300, spreadMs: 1e300 });
  await page.evaluate(() => rig.until(() => (rig.main.stats().received ?? 0) >= 3));
  await gateway.post("close", { code: 1012 });
  const { delayMs } = await next(page, "ws-reconnecting");
  expect(delayMs).toBeGreaterThanOrEqual(86_400_000);
  expect(delayMs).toBeLessThanOrEqual(2 * 86_400_000);
  expect(await page.evaluate(() => rig.main.state)).toBe("reconnecting");
});

test("it works in a module worker, with the session in memory", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  const told = await page.evaluate(async () => {
    const told: { type: string; detail: any }[] = [];
    const worker = new Worker("/worker.js", { type: "module" });
    worker.onmessage = ({ data }) => void told.push(data);
    worker.postMessage({ type: "chat", text: "from a worker" });
    const deadline = performance.now() + 10_000;
    while (!told.some(({ type }) => type === "chat-message") && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
    return told;
  });
  expect(told.map(({ type }) => type)).toEqual(["ws-connected", "session-init", "chat-message"]);
  expect(told.at(-1)?.detail).toMatchObject({ text: "from a worker" });
  await gateway.post("close", { abrupt: true });
  await eventually(() => gateway.state(), ({ totals }) => totals.resumed === 1, "the worker's return");
});

for (const entry of ["index", "inline", "nexus", "element", "testing"]) {
  test(`importing ${entry} on a server does nothing harmful`, async () => {
    const url = new URL(`file://${join(wanted("MOORLINE_PKG"), `${entry}.js`)}`);
    const script = `
      const before = Object.getOwnPropertyNames(globalThis).join();
      const module = await import(${JSON.stringify(url.href)});
      const added = Object.getOwnPropertyNames(globalThis).filter((name) => !before.includes(name));
      console.log(JSON.stringify({ names: Object.keys(module).sort(), added }));`;
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { timeout: 15_000 });
    expect(stderr).toBe("");
    const { names, added } = JSON.parse(stdout) as { names: string[]; added: string[] };
    const expected = { index: "Moorline,MoorlineError", inline: "Moorline,MoorlineError", nexus: "MoorlineError,WebSocketClient,wsClient", element: "MoorLineElement", testing: "TestGateway,VirtualClock,quotaExceeded,runScenario,testGateway,virtualClock" };
    expect(names.join()).toBe(expected[entry as keyof typeof expected]);
    expect(added.filter((name) => name !== "moorlinePanicked" && name !== "moorlineAt")).toEqual([]);
  });
}

test("a line that is made on a server holds the process up no longer than asked", async () => {
  const url = new URL(`file://${join(wanted("MOORLINE_PKG"), "inline.js")}`);
  const script = `
    const { Moorline } = await import(${JSON.stringify(url.href)});
    const line = new Moorline("/api/world/ws");
    console.log(JSON.stringify([line.state, line.session, line.stats().queueMessages]));
    line.dispose();`;
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { timeout: 15_000 });
  expect([stdout.trim(), stderr]).toEqual(['["idle",null,0]', ""]);
});
