// What becomes of a line whose page is hidden, frozen, left and come back to, or without a network, in every engine.
import { type App, type Engine, type Gateway, eventually, expect, numbers, oneConnection, serves, test, upTo } from "./test.js";

/** What is true of every way back: no fault is told, one socket is left, what is sent arrives once. */
async function isBack(page: App, gateway: Gateway): Promise<void> {
  await oneConnection(gateway);
  await page.send("back", 5);
  expect(await numbers(gateway, "back", 5)).toEqual(upTo(5));
  expect(await page.faults()).toEqual([]);
  expect(await page.state()).toBe("connected");
}

/** What the page was told by chat, once there is so much of it. */
async function said(page: App, count: number): Promise<string[]> {
  const texts = async () => (await page.details("chat-message")).map(({ text }) => text as string);
  return eventually(texts, ({ length }) => length >= count, `${count} messages`, 30_000);
}

const WAKES: Record<string, (page: App, engine: Engine) => Promise<void>> = {
  "being shown again": async (page) => {
    await page.tab.hide();
    await eventually(() => page.run(() => document.visibilityState), (seen) => seen === "hidden", "a hidden page");
    await page.tab.show();
  },
  // Where the engine has no such switch, the event alone is given to the page.
  "coming online": async (page, engine) => {
    if (!engine.can.offline) return page.run(() => void globalThis.dispatchEvent(new Event("online")));
    await page.tab.offline(true);
    await eventually(() => page.details("offline"), ({ length }) => length > 0, "the browser to be offline");
    await page.tab.offline(false);
  },
  "the focus": (page) => page.run(() => void globalThis.dispatchEvent(new Event("focus"))),
};
for (const [name, wake] of Object.entries(WAKES)) {
  test(`a path that died without a word is noticed after ${name}`, async ({ launch, app, engine }) => {
    const gateway = await launch("--offer", "on");
    // Silence alone is noticed after the test's time.
    const page = await app(gateway, { heartbeat: { idleMs: 600_000 } }, gateway.proxy);
    await page.next("ws-connected");
    await page.send("mark", 3);
    await numbers(gateway, "mark", 3);
    await gateway.faults({ halfOpen: true });
    await page.send("mark", 3, 3);
    await wake(page, engine);
    expect(await page.next("ws-disconnected")).toMatchObject({ willReconnect: true, wasClean: false });
    expect(await page.next("ws-connected")).toMatchObject({ recovered: true });
    expect(await numbers(gateway, "mark", 6)).toEqual(upTo(6));
    await isBack(page, gateway);
  });
}

test("a hidden page hears what it is sent, and nothing happens when it is shown", async ({ launch, app }) => {
  const gateway = await launch();
  const page = await app(gateway);
  await page.next("ws-connected");
  await page.tab.hide();
  await eventually(() => page.run(() => document.visibilityState), (seen) => seen === "hidden", "a hidden page");
  await gateway.sendFrame({ type: "chat-message", text: "in the dark" });
  expect(await page.next("chat-message")).toMatchObject({ text: "in the dark" });
  await page.tab.show();
  await eventually(() => page.run(() => document.visibilityState), (seen) => seen === "visible", "a page that is seen");
  await isBack(page, gateway);
  expect(await page.details("ws-disconnected")).toEqual([]);
});

test("a frozen page connects anew at once when it is thawed, and tells no fault", async ({ launch, app, engine }) => {
  test.skip(!engine.can.freeze, `${engine.name} freezes no page that stays where it is`);
  const gateway = await launch();
  // Nothing but an immediate attempt comes within the test's time.
  const page = await app(gateway, { reconnect: { baseDelayMs: 60_000, maxAttempts: 0 } });
  await page.next("ws-connected");
  await page.tab.hide();
  await eventually(() => page.run(() => document.visibilityState), (seen) => seen === "hidden", "a hidden page");
  await page.tab.freeze(true);
  for (const n of [0, 1, 2]) await gateway.feedFrame({ type: "chat-message", text: `${n}` });
  await page.tab.freeze(false);
  await page.tab.show();
  expect(await page.next("ws-disconnected")).toMatchObject({ cause: "lifecycle", willReconnect: true });
  expect(await page.next("ws-reconnecting")).toMatchObject({ delayMs: 0 });
  expect(await page.next("ws-connected")).toMatchObject({ attempt: 0, recovered: true });
  expect(await said(page, 3)).toEqual(["0", "1", "2"]);
  await isBack(page, gateway);
});

test("a page that is come back to connects anew at once, as the same client, and tells no fault", async ({ launch, app, engine }) => {
  const gateway = await launch();
  // Nothing but an immediate attempt comes within the test's time.
  const page = await app(gateway, { reconnect: { baseDelayMs: 60_000 } });
  await page.next("ws-connected");
  const { clientId } = await page.next("session-init");
  const born = await page.born();
  await page.leave();
  const { kept } = await page.comeBack(born);
  if (engine.name !== "firefox") expect(kept, "kept by the browser, with its line").toBe(true);
  if (kept) {
    expect(await page.next("ws-disconnected")).toMatchObject({ cause: "lifecycle", willReconnect: true });
    expect(await page.next("ws-reconnecting")).toMatchObject({ delayMs: 0 });
  }
  expect(await page.next("ws-connected")).toMatchObject({ recovered: true });
  await isBack(page, gateway);
  await serves(gateway, clientId);
});

test("what the gateway says to a page that is away arrives once it is back, once and in order", async ({ launch, app }) => {
  const gateway = await launch();
  const page = await app(gateway);
  await page.next("ws-connected");
  await gateway.feedFrame({ type: "chat-message", text: "before" });
  expect(await said(page, 1)).toEqual(["before"]);
  const born = await page.born();
  await page.leave();
  for (const n of [0, 1, 2, 3]) await gateway.feedFrame({ type: "chat-message", text: `${n}` });
  const { kept } = await page.comeBack(born);
  await gateway.feedFrame({ type: "chat-message", text: "after" });
  const missed = ["0", "1", "2", "3", "after"];
  // A page that was loaded anew has not heard what the one before it was told.
  const wanted = kept ? ["before", ...missed] : missed;
  expect(await said(page, wanted.length)).toEqual(wanted);
  await isBack(page, gateway);
});

test("a page that is left and come back to again and again has one socket, and one end for each", async ({ launch, app }) => {
  const gateway = await launch();
  const page = await app(gateway, { reconnect: { baseDelayMs: 60_000 } });
  await page.next("ws-connected");
  const born = await page.born();
  await page.leave();
  let { kept } = await page.comeBack(born);
  for (let round = 0; round < 3; round++) {
    await page.next("ws-connected");
    const again = await page.born();
    await page.tab.forward();
    await eventually(() => page.run(() => "rig" in globalThis), (there) => !there, "the other page");
    ({ kept } = await page.comeBack(again));
  }
  await page.next("ws-connected");
  await isBack(page, gateway);
  const ended = await page.details("ws-disconnected");
  expect(ended.map(({ cause }) => cause)).toEqual(kept ? Array<string>(4).fill("lifecycle") : []);
});

test("a page that is left while it connects, and come back to, connects", async ({ launch, app }) => {
  const gateway = await launch();
  await gateway.faults({ stall: true });
  const page = await app(gateway, { reconnect: { baseDelayMs: 60_000 } }, gateway.proxy);
  const tried = () => gateway.get<{ connections: number }>("faults");
  await eventually(tried, ({ connections }) => connections === 1, "the first handshake");
  const born = await page.born();
  await page.leave();
  await gateway.faults({});
  await page.comeBack(born);
  await page.next("ws-connected");
  await isBack(page, gateway);
});

test("without a network attempts fail, and the line is back when the network is", async ({ launch, app, engine }) => {
  test.skip(!engine.can.offline, `${engine.name} has no switch for the network`);
  const gateway = await launch();
  const page = await app(gateway, { reconnect: { maxDelayMs: 2000 } });
  await page.next("ws-connected");
  await page.tab.offline(true);
  await eventually(() => page.details("offline"), ({ length }) => length > 0, "the browser to be offline");
  await gateway.post("close", { abrupt: true });
  expect(await page.next("ws-disconnected")).toMatchObject({ willReconnect: true });
  await page.send("mark", 10);
  await page.tab.offline(false);
  expect(await page.next("ws-connected")).toMatchObject({ recovered: true });
  expect(await numbers(gateway, "mark", 10)).toEqual(upTo(10));
  await isBack(page, gateway);
});
