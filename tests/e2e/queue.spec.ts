// What becomes of messages: order, bounds, receipts, and the honest account of what a dead path took with it.
import { once } from "node:events";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mkdtemp, rm } from "node:fs/promises";
import { arrivals, details, eventually, expect, type Gateway, moored, next, type Page, test } from "./support/test.js";

const numbers = (frames: Record<string, unknown>[]) => frames.map((frame) => frame["n"] as number);
const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

/** A line that is away: connected once, then cut off for as long as the gateway is down. */
async function away(page: Page, gateway: Gateway, options: object = {}): Promise<void> {
  await moored(page, { reconnect: { baseDelayMs: 40, maxDelayMs: 80 }, ...options });
  await gateway.post("down", { code: 1011 });
  await next(page, "ws-disconnected");
}

/** Starts to send `count` numbered messages, one each `everyMs`; `fates` settles when each has one. */
async function sending(page: Page, count: number, everyMs: number): Promise<void> {
  await page.evaluate(
    ([count, everyMs]) => {
      const receipts: unknown[] = [];
      Object.assign(globalThis, { receipts });
      const timer = setInterval(() => {
        receipts.push(rig.main.send({ type: "note", n: receipts.length }));
        if (receipts.length === count) {
          clearInterval(timer);
          rig.note("all-sent", count);
        }
      }, everyMs);
    },
    [count, everyMs] as const,
  );
}

const statuses = (page: Page) =>
  page.evaluate(() => (globalThis as unknown as { receipts: { status: string }[] }).receipts.map(({ status }) => status));

/** Sends numbered messages in one go, whose fates are looked at later. */
async function burst(page: Page, from: number, to: number): Promise<void> {
  await page.evaluate(
    ([from, to]) => {
      const all = globalThis as unknown as { receipts?: unknown[] };
      all.receipts ??= [];
      for (let n = from; n < to; n++) all.receipts.push(rig.main.send({ type: "note", n }));
    },
    [from, to] as const,
  );
}

/** What the gateway has of the notes, once a message behind them all has arrived; nothing of it lost in silence, doubled or swapped. */
async function accounted(page: Page, gateway: Gateway, count: number): Promise<number[]> {
  await page.evaluate(() => void rig.main.send({ type: "last" }));
  await arrivals(gateway, "last", 1);
  await eventually(() => gateway.state(), ({ connections }) => connections.length === 1, "the earlier connections to part");
  const logged = numbers(await gateway.received("note"));
  const fates = await statuses(page);
  expect(fates.length).toBe(count);
  expect(upTo(count).filter((n) => !logged.includes(n) && fates[n] !== "unknown"), "lost, and the receipt did not say so").toEqual([]);
  expect(new Set(logged).size, "nothing arrived twice").toBe(logged.length);
  const sure = logged.filter((n) => fates[n] !== "unknown");
  expect(sure, "in order").toEqual([...sure].sort((a, b) => a - b));
  return logged;
}

test("what is sent while away arrives once and in order, whatever happens between", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await away(page, gateway);
  await burst(page, 0, 50);
  await page.evaluate(() => rig.main.disconnect());
  await next(page, "ws-disconnected");
  await burst(page, 50, 60);
  expect(await page.evaluate(() => rig.main.stats().queueMessages)).toBe(60);
  await gateway.post("up");
  await page.evaluate(() => rig.main.connect());
  await next(page, "ws-connected");
  expect(numbers(await arrivals(gateway, "note", 60))).toEqual(upTo(60));
  // Nobody announces this close: until the page hears of it, a browser takes messages and throws them away.
  await gateway.post("close", { code: 1011 });
  await burst(page, 60, 70);
  await next(page, "ws-disconnected");
  await next(page, "ws-connected");
  await gateway.post("down", { code: 1011 });
  await next(page, "ws-disconnected");
  await burst(page, 70, 80);
  await gateway.post("up");
  const logged = await accounted(page, gateway, 80);
  expect(logged.slice(0, 60)).toEqual(upTo(60));
  expect(logged.filter((n) => n >= 70), "sent while away").toEqual(upTo(80).slice(70));
});

test("what a busy page sends behind a close that it has not heard of arrives, or says unknown", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page, { reconnect: { baseDelayMs: 40, maxDelayMs: 80 } });
  await page.evaluate(() => {
    const ask = (what: string, body?: object) => {
      const request = new XMLHttpRequest();
      request.open(body ? "POST" : "GET", `/control/${what}`, false);
      request.setRequestHeader("x-moorline-control", "1");
      request.send(body && JSON.stringify(body));
      return JSON.parse(request.responseText);
    };
    // The browser has answered the close once the gateway's end of the socket is gone; the page's events wait for this task.
    for (ask("close", { code: 1011 }); ask("state").connections.length > 0; );
    Object.assign(globalThis, { receipts: [0, 1, 2].map((n) => rig.main.send({ type: "note", n })) });
  });
  await next(page, "ws-connected");
  await accounted(page, gateway, 3);
});

test("a hundred thousand messages are queued and flushed in order", async ({ launch, open }) => {
  const gateway = await launch("--rate-limit", "0");
  const page = await open(gateway);
  await away(page, gateway, { queue: { maxMessages: 100_000, maxBytes: 64 * 1024 * 1024 } });
  await page.evaluate(() => {
    for (let n = 0; n < 100_000; n++) rig.main.send({ type: "note", n });
  });
  await gateway.post("up");
  await page.evaluate(() => rig.until(() => rig.main.stats().queueMessages === 0 && rig.main.stats().bufferedBytes === 0, "the flush", 30_000));
  // The gateway's log keeps the last 50,000.
  const frames = await eventually(() => gateway.received("note"), (all) => all.at(-1)?.["n"] === 99_999, "the last message", 20_000);
  const kept = numbers(frames);
  expect(kept).toEqual(Array.from({ length: kept.length }, (_, at) => 100_000 - kept.length + at));
  // All of them, a resume, and a handful of probes.
  const { received } = (await gateway.state()).totals;
  expect(received).toBeGreaterThan(100_000);
  expect(received).toBeLessThan(100_010);
});

test("a full queue throws send.queue-full, takes nothing in, and has room again later", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await away(page, gateway, { queue: { maxMessages: 3 } });
  const [full, waiting] = await page.evaluate(() => {
    for (let n = 0; n < 3; n++) rig.main.send({ type: "note", n });
    return [rig.thrown(() => rig.main.send({ type: "note", n: 3 })), rig.main.stats().queueMessages] as const;
  });
  expect(full).toMatchObject({ mine: true, code: "send.queue-full", retryable: true });
  expect(waiting).toBe(3);
  await gateway.post("up");
  await arrivals(gateway, "note", 3);
  await page.evaluate(() => void rig.main.send({ type: "note", n: 4 }));
  expect(numbers(await arrivals(gateway, "note", 4))).toEqual([0, 1, 2, 4]);
  expect(await details(page, "ws-error")).toEqual([]);
});

test("the queue is bounded before wasm has arrived as well", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  const codes = await page.evaluate(() => {
    const line = rig.line({ queue: { maxMessages: 2, maxBytes: 100 } });
    const thrown = [1, 2, 3].map((n) => rig.thrown(() => line.send({ type: "note", n }))?.code);
    return [...thrown, rig.thrown(() => line.send("x".repeat(99)))?.code];
  });
  expect(codes).toEqual([undefined, undefined, "send.queue-full", "send.too-large"]);
  await next(page, "ws-connected");
  expect(numbers(await arrivals(gateway, "note", 2))).toEqual([1, 2]);
});

for (const [overflow, kept, fates, code] of [
  ["drop-oldest", [2, 3, 4], ["evicted", "evicted", "sent", "sent", "sent"], "send.evicted"],
  ["drop-newest", [0, 1, 2], ["sent", "sent", "sent", "rejected", "rejected"], "send.rejected"],
] as const) {
  test(`overflow "${overflow}" gives way at its end, and says how many were lost`, async ({ launch, open }) => {
    const gateway = await launch();
    const page = await open(gateway);
    await away(page, gateway, { queue: { maxMessages: 3, overflow } });
    await page.evaluate(() => {
      Object.assign(globalThis, { receipts: [0, 1, 2, 3, 4].map((n) => rig.main.send({ type: "note", n })) });
    });
    const errors = await details(page, "ws-error");
    expect(errors.map((error) => error.code)).toEqual(Array(errors.length).fill(code));
    expect(errors.reduce((sum, { count }) => sum + count, 0)).toBe(2);
    await gateway.post("up");
    expect(numbers(await arrivals(gateway, "note", 3))).toEqual(kept);
    await page.evaluate(() => rig.until(() => rig.main.stats().bufferedBytes === 0 && rig.main.stats().queueMessages === 0));
    await eventually(() => statuses(page), (all) => !all.includes("queued"), "a fate for each");
    expect(await statuses(page)).toEqual(fates);
  });
}

test("a message whose time to live ends in the queue is not sent, and those around it are", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await away(page, gateway);
  const fate = await page.evaluate(async () => {
    rig.main.send({ type: "note", n: 0 });
    const mortal = rig.main.send({ type: "note", n: 1 }, { ttlMs: 60 });
    rig.main.send({ type: "note", n: 2 }, { ttlMs: 60_000 });
    rig.main.send({ type: "note", n: 3 }, { ttlMs: Infinity });
    return rig.fate(mortal);
  });
  expect(fate).toEqual({ status: "expired", code: "send.expired", mine: true });
  expect(await details(page, "ws-error")).toMatchObject([{ code: "send.expired", count: 1 }]);
  await gateway.post("up");
  expect(numbers(await arrivals(gateway, "note", 3))).toEqual([0, 2, 3]);
});

test('"drop" is sent now or not at all, and tells its receipt alone', async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await away(page, gateway);
  const fate = await page.evaluate(() => rig.fate(rig.main.send({ type: "note", n: 0 }, { delivery: "drop" })));
  expect(fate).toEqual({ status: "rejected", code: "send.rejected", mine: true });
  expect(await details(page, "ws-error")).toEqual([]);
  await gateway.post("up");
  await next(page, "ws-connected");
  const later = await page.evaluate(() => rig.fate(rig.main.send({ type: "note", n: 1 }, { delivery: "drop" })));
  expect(later).toEqual({ status: "sent" });
  expect(numbers(await arrivals(gateway, "note", 1))).toEqual([1]);
});

test('of "latest" only the newest of each key waits', async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await away(page, gateway);
  const fates = await page.evaluate(async () => {
    const send = (n: number, key?: string) => rig.main.send({ type: "note", n }, { delivery: "latest", ...(key && { key }) });
    const old = [send(0, "pose"), send(1, "look"), send(2)];
    send(3, "pose");
    send(4);
    return Promise.all([old[0]!, old[2]!].map(rig.fate));
  });
  expect(fates).toEqual(Array(2).fill({ status: "evicted", code: "send.evicted", mine: true }));
  expect(await details(page, "ws-error")).toEqual([]);
  await gateway.post("up");
  expect(numbers(await arrivals(gateway, "note", 3))).toEqual([1, 3, 4]);
});

test("a frame is turned into text when it is sent, so changing it later changes nothing", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await away(page, gateway);
  await page.evaluate(() => {
    const frame = { type: "note", n: 1 };
    rig.main.send(frame);
    frame.n = 2;
  });
  await gateway.post("up");
  expect(numbers(await arrivals(gateway, "note", 1))).toEqual([1]);
});

test("a receipt is queued, then sent, and says that this gateway does not acknowledge", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await away(page, gateway);
  await page.evaluate(() => {
    const receipt = rig.main.send({ type: "note", n: 0 });
    Object.assign(globalThis, { receipts: [receipt] });
    receipt.sent.then(() => rig.note("sent", receipt.status));
    receipt.acked.catch((error) => rig.note("unacknowledged", error));
  });
  expect(await statuses(page)).toEqual(["queued"]);
  await gateway.post("up");
  expect(await next(page, "sent")).toBe("sent");
  expect(await next(page, "unacknowledged")).toMatchObject({ code: "send.unacknowledged" });
});

test("what waits when the line is disposed of is rejected", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await away(page, gateway);
  const fate = await page.evaluate(() => {
    const receipt = rig.main.send({ type: "note", n: 0 });
    rig.main.dispose();
    return rig.fate(receipt);
  });
  expect(fate).toMatchObject({ status: "rejected", code: "send.rejected" });
});

test("what the browser still held when the path died was not sent: it is sent again, once", async ({ launch, open }) => {
  test.slow();
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page, { queue: { maxMessages: 1000, maxBytes: 64 * 1024 * 1024 }, heartbeat: { idleMs: 60_000 } }, gateway.proxy);
  await gateway.faults({ stall: true });
  await page.evaluate(() => {
    const filler = "x".repeat(60_000);
    Object.assign(globalThis, { receipts: Array.from({ length: 300 }, (_, n) => rig.main.send({ type: "note", n, filler })) });
  });
  const held = await page.evaluate(() =>
    rig.until(() => {
      const { bufferedBytes = 0, queueMessages } = rig.main.stats();
      return bufferedBytes > 0 && queueMessages > 0 && { bufferedBytes, queueMessages };
    }, "a browser that holds what it cannot write"),
  );
  expect(held).toBeTruthy();
  await gateway.faults({ reset: true });
  expect(await next(page, "ws-connected")).toMatchObject({ recovered: true });
  await eventually(() => statuses(page), (all) => all.every((status) => status === "sent" || status === "unknown"), "a fate for each", 20_000);
  await page.evaluate(() => rig.main.send({ type: "last" }).sent);
  await arrivals(gateway, "last", 1);
  const logged = numbers(await gateway.received("note"));
  expect(new Set(logged).size).toBe(logged.length);
  expect(logged).toEqual([...logged].sort((a, b) => a - b));
  const fates = await statuses(page);
  const lost = upTo(300).filter((n) => !logged.includes(n));
  expect(lost.filter((n) => fates[n] !== "unknown")).toEqual([]);
  expect(logged).toContain(299);
  expect((await details(page, "ws-error")).map(({ code }) => code)).toEqual(["send.unknown"]);
});

for (const offer of ["on", "off"]) {
  test(`of 150 messages through a black hole of three seconds, every one that did not arrive says unknown (offer ${offer})`, async ({ launch, open }, info) => {
    test.slow();
    const gateway = await launch("--offer", offer);
    const page = await open(gateway);
    await moored(page, { reconnect: { baseDelayMs: 200 }, connectTimeoutMs: 2000 }, gateway.proxy);
    await sending(page, 150, 50);
    await arrivals(gateway, "note", 40);
    await gateway.faults({ stall: true });
    await new Promise((resolve) => setTimeout(resolve, 3000));
    await gateway.faults({ reset: true });
    await next(page, "all-sent", 20_000);
    await eventually(() => statuses(page), (all) => !all.includes("queued"), "a fate for each");
    await page.evaluate(() => void rig.main.send({ type: "last" }));
    await arrivals(gateway, "last", 1);
    const logged = numbers(await gateway.received("note"));
    const fates = await statuses(page);
    const lost = upTo(150).filter((n) => !logged.includes(n));
    const count = (status: string) => fates.filter((fate) => fate === status).length;
    const figures = { offer, sent: count("sent"), unknown: count("unknown"), arrived: logged.length, lost: lost.length };
    console.log(`loss table: ${JSON.stringify(figures)}`);
    await info.attach("loss-table.json", { body: JSON.stringify(figures), contentType: "application/json" });
    expect(lost.filter((n) => fates[n] !== "unknown"), "lost, and the receipt did not say so").toEqual([]);
    expect(lost.length, "the black hole took something").toBeGreaterThan(0);
    expect(new Set(logged).size, "nothing arrived twice").toBe(logged.length);
    expect(logged, "in order").toEqual([...logged].sort((a, b) => a - b));
    expect(figures.sent + figures.unknown).toBe(150);
    const told = (await details(page, "ws-error")).filter(({ code }) => code === "send.unknown");
    expect(told.reduce((sum, error) => sum + error.count, 0)).toBe(figures.unknown);
  });
}

test("a message that crosses the gateway's close is never lost in silence", async ({ launch, open }) => {
  const gateway = await launch("--rate-limit", "0");
  const page = await open(gateway);
  await moored(page, { reconnect: { baseDelayMs: 1, maxDelayMs: 5 } });
  await page.evaluate(() => {
    const receipts: unknown[] = [];
    Object.assign(globalThis, { receipts });
    // Two messages a millisecond: each close meets some of them between the page and the wire.
    const timer = setInterval(() => {
      for (let twice = 0; twice < 2; twice++) receipts.push(rig.main.send({ type: "note", n: receipts.length }));
    }, 1);
    Object.assign(globalThis, { stop: () => clearInterval(timer) });
  });
  for (let round = 0; round < 30; round++) {
    await gateway.post("close", { code: 1001 });
    await next(page, "ws-connected");
  }
  await page.evaluate(() => {
    (globalThis as unknown as { stop: () => void }).stop();
    rig.main.send({ type: "last" });
  });
  await arrivals(gateway, "last", 1);
  const logged = new Set(numbers(await gateway.received("note")));
  const fates = await statuses(page);
  const silent = upTo(fates.length).filter((n) => !logged.has(n) && fates[n] !== "unknown");
  expect(silent, `of ${fates.length} messages, lost and the receipt did not say so`).toEqual([]);
});

/** A client that never answers a close frame: a gateway that stops waits for it, and can be asked meanwhile. */
async function slowToLeave(gateway: Gateway): Promise<() => void> {
  const { hostname, port, pathname } = new URL(gateway.ws);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  const key = "dGhlIHNhbXBsZSBub25jZQ==";
  socket.write(`GET ${pathname} HTTP/1.1\r\nhost: ${hostname}:${port}\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${key}\r\n\r\n`);
  await once(socket, "data");
  return () => socket.destroy();
}

test("a clean restart of the gateway loses none of 150 messages and doubles none", async ({ launch, open }) => {
  test.slow();
  const folder = await mkdtemp(join(tmpdir(), "moorline-sessions-"));
  const gateway = await launch("--sessions", join(folder, "sessions.json"));
  const page = await open(gateway);
  await moored(page, { reconnect: { baseDelayMs: 100, maxDelayMs: 200 } });
  const { clientId } = await next(page, "session-init");
  const dawdler = await slowToLeave(gateway);
  await sending(page, 150, 20);
  await arrivals(gateway, "note", 30);
  const stopping = gateway.stop("SIGTERM");
  const ended = await next(page, "ws-disconnected");
  expect(ended).toMatchObject({ code: 1001, wasClean: true, cause: "server-restart" });
  const own = (id: string | null) => id === clientId;
  await eventually(() => gateway.state(), ({ connections }) => !connections.some((one) => own(one.clientId)), "the page's connection to end");
  const before = numbers(await gateway.received("note"));
  expect(await stopping).toBe(0);
  dawdler();
  await gateway.start();
  expect(await next(page, "ws-connected")).toMatchObject({ recovered: true });
  await next(page, "all-sent");
  const after = numbers(await arrivals(gateway, "note", 150 - before.length));
  expect([...before, ...after]).toEqual(upTo(150));
  expect(after.length).toBeGreaterThan(0);
  expect((await gateway.state()).clients).toMatchObject([{ clientId, connected: true }]);
  await eventually(() => statuses(page), (all) => all.every((status) => status === "sent"), "sent, all of them");
  expect(await details(page, "ws-error")).toEqual([]);
  await rm(folder, { recursive: true });
});
