// What a line does in every engine while its page stays: connect, lose the gateway, take what is binary or large, end.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually, expect, numbers, oneConnection, serves, test, upTo } from "./test.js";

test("a page connects and is greeted", async ({ launch, app }) => {
  const gateway = await launch();
  const page = await app(gateway);
  expect(await page.next("ws-connected")).toMatchObject({ attempt: 0, recovered: false });
  const { clientId } = await page.next("session-init");
  await serves(gateway, clientId);
  await gateway.sendFrame({ type: "chat-message", text: "ahoy" });
  expect(await page.next("chat-message")).toMatchObject({ text: "ahoy" });
  await page.send("mark", 20);
  expect(await numbers(gateway, "mark", 20)).toEqual(upTo(20));
});

for (const [how, signal] of [
  ["stops", "SIGTERM"],
  ["is killed", "SIGKILL"],
] as const) {
  test(`a gateway that ${how} and is back has its client back, and what was sent meanwhile once and in order`, async ({ launch, app }) => {
    const folder = await mkdtemp(join(tmpdir(), "moorline-lifecycle-"));
    const gateway = await launch("--sessions", join(folder, "sessions.json"));
    const page = await app(gateway);
    const { clientId } = await page.next("session-init");
    await page.next("ws-connected");
    await page.send("before", 10);
    await numbers(gateway, "before", 10);
    await gateway.stop(signal);
    await page.next("ws-disconnected");
    await page.send("mark", 50);
    await gateway.start();
    expect(await page.next("ws-connected")).toMatchObject({ recovered: true });
    expect(await numbers(gateway, "mark", 50)).toEqual(upTo(50));
    await serves(gateway, clientId);
    expect(await page.faults()).toEqual([]);
    await rm(folder, { recursive: true });
  });
}

test("a reload resumes the session", async ({ launch, app }) => {
  const gateway = await launch();
  const page = await app(gateway);
  const { clientId } = await page.next("session-init");
  await page.tab.reload();
  await page.there();
  expect(await page.next("ws-connected")).toMatchObject({ recovered: true });
  await oneConnection(gateway);
  await serves(gateway, clientId);
  await page.send("mark", 3);
  expect(await numbers(gateway, "mark", 3)).toEqual(upTo(3));
});

test("what waits when the page is reloaded arrives once and in order, before what the next page sends", async ({ launch, app }) => {
  const gateway = await launch();
  const page = await app(gateway, { queue: { persist: true }, reconnect: { maxDelayMs: 500 } });
  await page.next("ws-connected");
  await gateway.post("down");
  await page.next("ws-disconnected");
  await page.send("mark", 30);
  await page.run(() => rig.until(() => rig.main.stats().keptMessages === 30));
  await page.tab.reload();
  await page.there();
  await page.send("mark", 5, 30);
  await gateway.post("up");
  await page.next("ws-connected");
  expect(await numbers(gateway, "mark", 35)).toEqual(upTo(35));
  expect(await page.faults()).toEqual([]);
});

test("two tabs are both served, and neither repeats or takes what the other sends", async ({ launch, app }) => {
  const gateway = await launch();
  const one = await app(gateway, { session: { storage: "session" } });
  await one.next("ws-connected");
  const two = await app(gateway, { session: { storage: "session" } });
  await two.next("ws-connected");
  await Promise.all([one.send("of-one", 30), two.send("of-two", 30)]);
  expect(await numbers(gateway, "of-one", 30)).toEqual(upTo(30));
  expect(await numbers(gateway, "of-two", 30)).toEqual(upTo(30));
  await two.tab.close();
  await oneConnection(gateway);
  expect(await one.state()).toBe("connected");
  await one.send("of-one", 1, 30);
  expect(await numbers(gateway, "of-one", 31)).toEqual(upTo(31));
});

test("fifty lines that are made and disposed of leave no socket behind", async ({ launch, app }) => {
  const gateway = await launch();
  const page = await app(gateway);
  await page.next("ws-connected");
  await page.run(async () => {
    rig.main.dispose();
    for (let n = 0; n < 50; n++) {
      const line = rig.line({ session: { storage: "memory" } });
      // Some of them end while they connect, the others once they have.
      if (n % 2 === 0) await rig.until(() => line.state === "connected");
      line.dispose();
    }
  });
  await eventually(() => gateway.state(), ({ connections }) => connections.length === 0, "the end of every socket", 30_000);
  expect((await gateway.state()).totals.accepted).toBeGreaterThanOrEqual(26);
  expect(await page.faults()).toEqual([]);
});

test("a binary frame is told once, and the line goes on", async ({ launch, app }) => {
  const gateway = await launch();
  const page = await app(gateway);
  await page.next("ws-connected");
  await gateway.post("send", { binaryBase64: "AAEC" });
  expect(await page.next("ws-error")).toMatchObject({ code: "frame.binary" });
  await gateway.sendFrame({ type: "chat-message", text: "still here" });
  expect(await page.next("chat-message")).toMatchObject({ text: "still here" });
  expect(await page.state()).toBe("connected");
});

test("large frames pass whole in both directions, and in their place", async ({ launch, app }) => {
  const gateway = await launch();
  const page = await app(gateway);
  await page.next("ws-connected");
  await page.run(() => {
    rig.main.send({ type: "mark", n: 0 });
    // The gateway takes frames of up to 64 KiB.
    rig.main.send({ type: "mark", n: 1, text: "é".repeat(30_000) });
    rig.main.send({ type: "mark", n: 2 });
  });
  expect(await numbers(gateway, "mark", 3)).toEqual(upTo(3));
  expect(String((await gateway.received("mark"))[1]!["text"])).toHaveLength(30_000);
  await gateway.sendFrame({ type: "chat-message", text: "x".repeat(4_000_000) });
  await gateway.sendFrame({ type: "chat-message", text: "after" });
  const lengths = () => page.run(() => rig.log.filter(({ type }) => type === "chat-message").map(({ detail }) => detail.text.length));
  expect(await eventually(lengths, ({ length }) => length === 2, "both messages", 30_000)).toEqual([4_000_000, 5]);
});

test("of a page that is closed while it sends, what arrived is the beginning, in order, and its socket is gone", async ({ launch, app }) => {
  const gateway = await launch("--rate-limit", "0");
  const page = await app(gateway, { queue: { maxMessages: 2000, maxBytes: 4_000_000 } });
  await page.next("ws-connected");
  await page.run(() => {
    for (let n = 0; n < 2000; n++) rig.main.send({ type: "mark", n, text: "x".repeat(1000) });
  });
  await page.tab.close();
  await eventually(() => gateway.state(), ({ connections }) => connections.length === 0, "the end of the socket", 30_000);
  const arrived = (await gateway.received("mark")).map(({ n }) => n);
  expect(arrived.length).toBeGreaterThan(0);
  expect(arrived).toEqual(upTo(arrived.length));
});

test("a handshake that nobody answers is given up, and the next one is really made", async ({ launch, app }) => {
  const gateway = await launch();
  await gateway.faults({ stall: true });
  const page = await app(gateway, { connectTimeoutMs: 1000 }, gateway.proxy);
  expect(await page.next("ws-disconnected")).toMatchObject({ cause: "handshake-timeout", willReconnect: true });
  const tried = () => gateway.get<{ connections: number }>("faults");
  await eventually(tried, ({ connections }) => connections >= 2, "a second handshake", 30_000);
  await gateway.faults({});
  await page.next("ws-connected");
  await oneConnection(gateway);
});
