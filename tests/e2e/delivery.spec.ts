// Acknowledged delivery, in a real browser against a gateway that speaks it: what is sent is taken once and in order, what is
// missed is told, whatever becomes of sockets and of the gateway.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Options } from "moorline";
import { details, eventually, expect, type Gateway, moored, next, type Page, test } from "./support/test.js";

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

/** Moored through the gateway's fault proxy. */
const throughProxy = (page: Page, gateway: Gateway, options: Options = {}) =>
  moored(page, { ...options, heartbeat: { idleMs: 300, probeTimeoutMs: 300 } }, gateway.proxy);

/** Sends `count` numbered messages, one each `everyMs`; answers when the last has been sent. */
const sending = (page: Page, count: number, everyMs: number) =>
  page.evaluate(
    ([count, everyMs]) =>
      new Promise<void>((resolve) => {
        const receipts: unknown[] = [];
        Object.assign(globalThis, { receipts });
        const timer = setInterval(() => {
          receipts.push(rig.main.send({ type: "note", n: receipts.length }));
          if (receipts.length < count) return;
          clearInterval(timer);
          resolve();
        }, everyMs);
      }),
    [count, everyMs] as const,
  );

const statuses = (page: Page) =>
  page.evaluate(() => (globalThis as unknown as { receipts: { status: string }[] }).receipts.map(({ status }) => status));

/** The numbers of the notes that the gateway has taken, in that order. */
const taken = async (gateway: Gateway) =>
  (await gateway.taken()).flatMap(({ frame, outcome }) => (frame?.["type"] === "note" && outcome === "taken" ? [frame["n"] as number] : []));

const allTaken = (gateway: Gateway, count: number) =>
  eventually(() => taken(gateway), (numbers) => numbers.length >= count, `${count} messages taken`, 30_000);

test("what is sent is acknowledged, and a receipt says so", async ({ launch, open }) => {
  const gateway = await launch("--delivery", "on");
  const page = await open(gateway);
  await moored(page);
  const said = await page.evaluate(async () => {
    const receipt = rig.main.send({ type: "note", n: 0 });
    await receipt.acked;
    const list = rig.main.send(["no", "object"]);
    const own = rig.main.send({ type: "note", $seq: 99 });
    await own.acked;
    const empty = rig.main.send({});
    await Promise.all([list.acked, empty.acked]);
    return [receipt.status, list.status, empty.status, rig.main.stats().unacknowledged];
  });
  expect(said).toEqual(["acked", "acked", "acked", 0]);
  const messages = await gateway.taken();
  expect(messages.map(({ number }) => number)).toEqual([1, 2, 3, 4]);
  expect(await details(page, "ws-error")).toEqual([]);
});

test("a path that goes dead in the middle loses nothing, doubles nothing and changes no order", async ({ launch, open }) => {
  const gateway = await launch("--delivery", "on");
  const page = await open(gateway);
  await throughProxy(page, gateway);
  const all = sending(page, 120, 10);
  await allTaken(gateway, 20);
  await gateway.faults({ stall: true });
  await next(page, "ws-disconnected", 20_000);
  await gateway.faults({ reset: true });
  await all;
  await allTaken(gateway, 120);
  expect(await taken(gateway)).toEqual(upTo(120));
  await expect.poll(() => statuses(page).then((all) => [...new Set(all)])).toEqual(["acked"]);
  expect((await details(page, "ws-error")).map(({ code }) => code)).toEqual([]);
});

test("what was taken and not acknowledged when the connection broke is not taken twice", async ({ launch, open }) => {
  const gateway = await launch("--delivery", "on");
  const page = await open(gateway);
  await moored(page);
  await gateway.misbehave({ cutAfterTaking: 5 });
  await sending(page, 30, 5);
  await allTaken(gateway, 30);
  expect(await taken(gateway)).toEqual(upTo(30));
  await expect.poll(() => statuses(page).then((all) => [...new Set(all)])).toEqual(["acked"]);
  expect(await details(page, "ws-disconnected")).toHaveLength(1);
});

test("a gateway that is killed in the middle and comes back knows what it has taken", async ({ launch, open }) => {
  const folder = await mkdtemp(join(tmpdir(), "moorline-delivery-"));
  const gateway = await launch("--delivery", "on", "--sessions", join(folder, "sessions.json"));
  const page = await open(gateway);
  await moored(page);
  // What it has taken is saved, and it dies before it can say so.
  await gateway.misbehave({ killAfterTaking: 10 });
  const all = sending(page, 60, 10);
  await next(page, "ws-disconnected");
  await gateway.stop();
  await gateway.start();
  await all;
  await expect.poll(() => statuses(page).then((all) => [...new Set(all)]), { timeout: 30_000 }).toEqual(["acked"]);
  expect(await taken(gateway)).toEqual(upTo(60));
  expect(await details(page, "ws-gap")).toEqual([]);
  await rm(folder, { recursive: true });
});

test("frames that came while the page was away follow in order, after ws-resumed", async ({ launch, open }) => {
  const gateway = await launch("--delivery", "on");
  const page = await open(gateway);
  await throughProxy(page, gateway);
  await page.evaluate(() => rig.listen("ws-resumed", "ws-gap"));
  await gateway.feedFrame({ type: "chat-message", text: "0" });
  await next(page, "chat-message");
  await gateway.faults({ refuse: true, reset: true });
  await next(page, "ws-disconnected");
  for (const n of [1, 2, 3]) await gateway.feedFrame({ type: "chat-message", text: `${n}` });
  await gateway.faults({});
  await next(page, "ws-resumed");
  await gateway.feedFrame({ type: "chat-message", text: "4" });
  await page.evaluate(() => rig.until(() => rig.log.some(({ detail }) => (detail as { text?: string })?.text === "4"), "the last"));
  const heard = await page.evaluate(() =>
    rig.log.flatMap(({ type, detail }) => (type === "ws-resumed" ? [type] : type === "chat-message" ? [(detail as { text: string }).text] : [])),
  );
  expect(heard).toEqual(["0", "ws-resumed", "1", "2", "3", "4"]);
  expect(await details(page, "ws-gap")).toEqual([]);
});

test("a replay that overlaps with live frames is heard once, and a number that is left out is a gap", async ({ launch, open }) => {
  const gateway = await launch("--delivery", "on");
  const page = await open(gateway);
  await moored(page);
  await page.evaluate(() => rig.listen("ws-gap"));
  for (const n of [0, 1, 2]) await gateway.feedFrame({ type: "chat-message", text: `${n}` });
  await gateway.misbehave({ repeatFeed: 2 });
  await gateway.misbehave({ skipFeed: 4 });
  await gateway.feedFrame({ type: "chat-message", text: "3" });
  const gap = await next(page, "ws-gap");
  expect(gap).toMatchObject({ reason: "skipped" });
  expect(gap.to - gap.from).toBe(3);
  await page.evaluate(() => rig.until(() => rig.log.filter(({ type }) => type === "chat-message").length === 4, "four messages"));
  expect((await details(page, "chat-message")).map(({ text }) => text)).toEqual(["0", "1", "2", "3"]);
  expect(await page.evaluate(() => rig.main.stats().repeated)).toBe(2);
});

for (const [reason, plan] of [
  ["trimmed", { trimFeed: 1 }],
  ["epoch", { resume: "otherEpoch", resumeTimes: 1 }],
] as const)
  test(`what a gateway cannot repeat is told: ${reason}`, async ({ launch, open }) => {
    const gateway = await launch("--delivery", "on");
    const page = await open(gateway);
    await throughProxy(page, gateway);
    await page.evaluate(() => rig.listen("ws-resumed", "ws-gap"));
    await gateway.faults({ refuse: true, reset: true });
    await next(page, "ws-disconnected");
    for (const n of [0, 1, 2]) await gateway.feedFrame({ type: "chat-message", text: `${n}` });
    await gateway.misbehave(plan);
    await gateway.faults({});
    const gap = await next(page, "ws-gap");
    expect(gap.reason).toBe(reason);
    expect(await details(page, "ws-resumed")).toEqual([]);
  });

test("acknowledgements that cannot be are named, and change nothing", async ({ launch, open }) => {
  const gateway = await launch("--delivery", "on");
  const page = await open(gateway);
  await moored(page);
  await sending(page, 3, 1);
  await allTaken(gateway, 3);
  await expect.poll(() => statuses(page)).toEqual(["acked", "acked", "acked"]);
  await gateway.misbehave({ ackAhead: 5 });
  expect(await next(page, "ws-error")).toMatchObject({ code: "peer.ack-ahead" });
  await gateway.misbehave({ ackBehind: 2 });
  expect(await next(page, "ws-error")).toMatchObject({ code: "peer.ack-behind" });
  await gateway.misbehave({ ackAgain: true });
  await sending(page, 2, 1);
  await allTaken(gateway, 5);
  await expect.poll(() => statuses(page)).toEqual(["acked", "acked"]);
  expect(await details(page, "ws-error")).toHaveLength(2);
});

test("a gateway that forgot the stream leaves what was out unknown, and nothing is sent twice", async ({ launch, open }) => {
  const gateway = await launch("--delivery", "on");
  const page = await open(gateway);
  await moored(page);
  await gateway.misbehave({ holdAcks: true });
  await sending(page, 3, 1);
  await allTaken(gateway, 3);
  await gateway.misbehave({ holdAcks: true, forgetStreams: true });
  await gateway.post("close", { code: 1011 });
  await next(page, "ws-disconnected");
  expect(await next(page, "ws-error")).toMatchObject({ code: "send.unknown", count: 3 });
  expect(await statuses(page)).toEqual(["unknown", "unknown", "unknown"]);
  expect(await taken(gateway)).toEqual([0, 1, 2]);
});

test("an answer to the resume that never comes ends the attempt, and the next one gets it", async ({ launch, open }) => {
  const gateway = await launch("--delivery", "on");
  const page = await open(gateway);
  await moored(page, { connectTimeoutMs: 1000 });
  await gateway.misbehave({ resume: "never", resumeTimes: 1 });
  await gateway.post("close", { code: 1011 });
  await next(page, "ws-disconnected");
  await page.evaluate(() => void rig.main.send({ type: "note", n: 0 }));
  expect(await next(page, "ws-disconnected")).toMatchObject({ cause: "handshake-timeout" });
  await allTaken(gateway, 1);
  expect(await taken(gateway)).toEqual([0]);
});

for (const [how, move] of [
  ["the gateway says so", (gateway: Gateway, _page: Page) => gateway.post("move", { withinMs: 2000 })],
  ["the page wants it", (_gateway: Gateway, page: Page) => page.evaluate(() => rig.main.renew())],
] as const)
  test(`the next socket is ready before the old one closes, when ${how}`, async ({ launch, open }) => {
    const gateway = await launch("--delivery", "on");
    const page = await open(gateway);
    await moored(page);
    await page.evaluate(() => rig.listen("ws-resumed", "ws-gap"));
    const all = sending(page, 80, 5);
    await allTaken(gateway, 5);
    await move(gateway, page);
    await next(page, "ws-resumed");
    await gateway.feedFrame({ type: "chat-message", text: "after" });
    await all;
    await allTaken(gateway, 80);
    expect(await taken(gateway)).toEqual(upTo(80));
    await next(page, "chat-message");
    expect(await details(page, "ws-disconnected")).toEqual([]);
    expect(await details(page, "ws-connected")).toHaveLength(1);
    await eventually(() => gateway.state(), ({ connections }) => connections.length === 1, "one connection is left");
    await expect.poll(() => statuses(page).then((all) => [...new Set(all)])).toEqual(["acked"]);
    expect(await page.evaluate(() => [rig.main.state, rig.main.stats().sockets])).toEqual(["connected", 2]);
  });

test("after a gap the page fetches the truth, and what comes meanwhile is told behind it", async ({ launch, open }) => {
  const gateway = await launch("--delivery", "on");
  const page = await open(gateway);
  await page.evaluate(async () => {
    rig.listen("ws-gap");
    rig.line({ getState: (gap) => new Promise((resolve) => Object.assign(globalThis, { asked: gap, fetched: resolve })) });
    await rig.next("ws-connected");
  });
  await gateway.misbehave({ skipFeed: 2 });
  for (const n of [0, 1]) await gateway.feedFrame({ type: "chat-message", text: `${n}` });
  await page.evaluate(() => rig.until(() => "asked" in globalThis && rig.main.stats().received! > 2, "the question"));
  expect(await details(page, "chat-message")).toEqual([]);
  expect(await page.evaluate(() => (globalThis as any).asked)).toMatchObject({ reason: "skipped" });
  await page.evaluate(() => (globalThis as any).fetched());
  await page.evaluate(() => rig.until(() => rig.log.filter(({ type }) => type === "chat-message").length === 2, "both"));
  expect((await details(page, "chat-message")).map(({ text }) => text)).toEqual(["0", "1"]);
});

test("a plain gateway cannot say what was missed: the page is asked after each return, and a failure is told", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await page.evaluate(async () => {
    rig.line({ getState: ({ reason }) => Promise.reject(new Error(`no state after ${reason}`)) });
    await rig.next("ws-connected");
  });
  expect(await details(page, "ws-error")).toEqual([]);
  await gateway.post("close", { code: 1011 });
  expect(await next(page, "ws-error")).toMatchObject({ code: "state.failed", cause: "Error: no state after unnumbered" });
  await gateway.sendFrame({ type: "chat-message", text: "goes on" });
  expect(await next(page, "chat-message")).toMatchObject({ text: "goes on" });
});

test("each tab of a session has a cursor of its own: a new one does not say that nothing was missed", async ({ launch, open }) => {
  const gateway = await launch("--delivery", "on");
  const page = await open(gateway);
  await moored(page);
  const heard = async (tab: Page, text: string) =>
    tab.evaluate((text) => rig.until(() => rig.log.some(({ detail }) => (detail as { text?: string })?.text === text), text), text);
  for (const n of [0, 1, 2]) await gateway.feedFrame({ type: "chat-message", text: `${n}` });
  await heard(page, "2");
  // Until it has been said to the gateway, and stored.
  await eventually(() => gateway.state(), ({ clients }) => clients.some(({ feed }) => feed.newest >= 3 && feed.kept === 0), "an acknowledgement");
  const other = await open(gateway);
  await other.evaluate(() => rig.listen("ws-resumed", "ws-gap"));
  expect(await moored(other)).toMatchObject({ recovered: true });
  await gateway.feedFrame({ type: "chat-message", text: "both" });
  await Promise.all([heard(page, "both"), heard(other, "both")]);
  expect(await details(other, "ws-resumed")).toEqual([]);
  // The first goes on where it was.
  await page.reload();
  await page.waitForFunction(() => "rig" in globalThis);
  await page.evaluate(() => rig.listen("ws-resumed", "ws-gap"));
  await moored(page);
  expect(await next(page, "ws-resumed")).toMatchObject({ from: expect.any(Number) });
});
