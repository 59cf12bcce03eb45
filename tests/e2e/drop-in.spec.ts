// A page that imports moorline/nexus in place of ws-client.js hears the same for the same frames, without the nine defects.
import type { WebSocketClient } from "moorline/nexus";
import { arrivals, details, eventually, expect, type Gateway, next, type Page, sockets, test, types } from "./support/test.js";

type Client = WebSocketClient;
declare global {
  var client: Client;
}

/** A drop-in in the page, with short waits unless told otherwise, connected. */
async function dropIn(page: Page, options: object = {}, url = "/api/world/ws"): Promise<void> {
  await page.evaluate(
    async ([options, url]) => {
      const path = "/pkg/nexus.js";
      const { WebSocketClient } = (await import(path)) as typeof import("moorline/nexus");
      globalThis.client = new WebSocketClient(url, { reconnect: { baseDelayMs: 50, jitter: "none" }, ...options });
      rig.main = client.line as never;
      client.connect();
    },
    [options, url] as const,
  );
  await next(page, "ws-connected");
}

async function reference(page: Page, gateway: Gateway): Promise<void> {
  await page.evaluate(async (url) => {
    const path = "/reference.js";
    const { ReferenceClient } = (await import(path)) as { ReferenceClient: new (url: string) => Client };
    globalThis.client = new ReferenceClient(url);
    client.connect();
  }, gateway.ws);
  await next(page, "ws-connected");
}

const FRAMES = [
  { type: "session-init", token: "t-1", clientId: "c-1", more: [1] },
  { type: "session-init", clientId: "c-2" },
  { type: "session-init", token: "t-3", clientId: "c-3" },
  { type: "chat", text: "hello", sender: "ann", senderId: "c-9" },
  { type: "chat-message", text: "hello again" },
  { type: "chat-message", text: "" },
  { type: "status-update", agent: "scout", status: "idle", nested: { deep: [{ a: null }] } },
  { type: "pr-notification", action: "opened", pr: { number: 7, title: "Fix", author: "ben" } },
  { type: "player-joined", id: "p", name: "pat" },
  { type: "player-left", id: "p" },
  { type: "world_state", players: [] },
  { type: "bark" },
];

test("every frame of the table becomes the same event with the same detail, in the same order", async ({ launch, open, browser }) => {
  const gateway = await launch("--offer", "off");
  const context = await browser.newContext();
  const old = await context.newPage();
  await old.goto(gateway.url);
  await old.waitForFunction(() => "rig" in globalThis);
  const page = await open(gateway);
  await reference(old, gateway);
  await dropIn(page);
  for (const one of [old, page]) {
    await next(one, "session-init");
    await one.evaluate(() => rig.clear());
  }
  for (const frame of FRAMES) await gateway.sendFrame(frame);
  await gateway.post("send", { text: "not json" });
  await gateway.sendFrame({ type: "player-left", id: "the last" });
  const heard = async (one: Page) => {
    await one.evaluate(() => rig.until(() => rig.log.some(({ detail }) => detail.id === "the last")));
    return one.evaluate(() => rig.log.filter(({ type }) => !type.startsWith("ws-")).map(({ type, detail }) => ({ type, detail })));
  };
  const [expected, actual] = [await heard(old), await heard(page)];
  expect(expected.map(({ type }) => type)).toEqual([
    ...["session-init", "session-init", "session-init", "chat-message", "chat-message", "chat-message", "status-update"],
    ...["pr-notification", "player-joined", "player-left", "player-left"],
  ]);
  expect(actual).toEqual(expected);
  // What the original dropped without a word is an event of its own.
  expect((await details(page, "ws-unhandled")).map(({ type }) => type)).toEqual(["world_state", "bark"]);
  expect((await details(page, "ws-error")).map(({ code }) => code)).toEqual(["frame.not-json"]);
  const kept = (one: Page) =>
    one.evaluate(() => {
      const { savedAt, ...session } = JSON.parse(localStorage.getItem("hermes-session")!);
      return { session, saved: typeof savedAt };
    });
  expect(await kept(page)).toEqual(await kept(old));
  await context.close();
});

test("the lifecycle events come in the original's order and carry the original's fields", async ({ launch, open, browser }) => {
  const gateway = await launch("--offer", "off");
  const context = await browser.newContext();
  const old = await context.newPage();
  await old.goto(gateway.url);
  await old.waitForFunction(() => "rig" in globalThis);
  const page = await open(gateway);
  await reference(old, gateway);
  await old.evaluate(() => (client.reconnectBaseDelay = 50));
  await dropIn(page, {}, gateway.ws);
  for (const one of [old, page]) await next(one, "session-init");
  await gateway.post("close", { code: 4321 });
  for (const one of [old, page]) await next(one, "ws-connected");
  const lifecycle = (one: Page) =>
    one.evaluate(() => rig.log.filter(({ type }) => ["ws-connected", "ws-disconnected", "session-init"].includes(type)).slice(0, 4));
  const [expected, actual] = [await lifecycle(old), await lifecycle(page)];
  expect(actual.map(({ type }) => type)).toEqual(expected.map(({ type }) => type));
  expected.forEach(({ type, detail }, at) => {
    if (type !== "session-init") expect(actual[at]!.detail).toMatchObject(detail);
  });
  await context.close();
});

test("the names, defaults and fields of the original are there", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  const fields = await page.evaluate(async () => {
    const path = "/pkg/nexus.js";
    const { WebSocketClient, wsClient } = (await import(path)) as typeof import("moorline/nexus");
    const fresh = new WebSocketClient("/api/world/ws");
    const { url, connected, session, messageQueue, reconnectAttempts, maxReconnectAttempts, reconnectBaseDelay, maxReconnectDelay } = fresh;
    fresh.send({ type: "waits", n: 1 });
    fresh.saveSession({ token: "t", clientId: "c" });
    const loaded = fresh.loadSession() as Record<string, unknown>;
    fresh.clearSession();
    const cleared = fresh.loadSession();
    const queued = fresh.messageQueue;
    wsClient.connect();
    await rig.next("ws-connected");
    const own = [wsClient instanceof WebSocketClient, wsClient.connected, wsClient.session?.clientId !== undefined, wsClient.messageQueue.length];
    const defaults = { url, connected, session, messageQueue, reconnectAttempts, maxReconnectAttempts, reconnectBaseDelay, maxReconnectDelay };
    return { defaults, loaded, cleared, queued, own };
  });
  expect(fields.defaults).toEqual({
    url: "/api/world/ws",
    connected: false,
    session: null,
    messageQueue: [],
    reconnectAttempts: 0,
    maxReconnectAttempts: 10,
    reconnectBaseDelay: 1000,
    maxReconnectDelay: 30_000,
  });
  expect(fields.loaded).toEqual({ token: "t", clientId: "c", savedAt: expect.any(Number) });
  expect(fields.cleared).toBeNull();
  expect(fields.queued).toEqual([{ type: "waits", n: 1 }]);
  expect(fields.own).toEqual([true, true, true, 0]);
});

test("changing the fields that steer reconnecting has effect from the next failure on", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await dropIn(page);
  await page.evaluate(() => {
    client.reconnectBaseDelay = 30;
    client.maxReconnectDelay = 40;
    client.maxReconnectAttempts = 2;
  });
  await gateway.post("down", { code: 1011 });
  expect(await next(page, "ws-reconnecting")).toMatchObject({ delayMs: 30, maxAttempts: 2 });
  expect(await next(page, "ws-reconnecting")).toMatchObject({ delayMs: 40 });
  expect(await next(page, "ws-failed")).toMatchObject({ attempts: 2 });
});

test("defect 1: after a disconnect, connect reconnects as before, and no failure was told", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await dropIn(page);
  await page.evaluate(() => client.disconnect());
  expect(await next(page, "ws-disconnected")).toMatchObject({ code: 1000 });
  expect(await page.evaluate(() => [client.maxReconnectAttempts, client.connected])).toEqual([10, false]);
  await page.evaluate(() => client.connect());
  await next(page, "ws-connected");
  await gateway.post("close", { abrupt: true });
  await next(page, "ws-connected");
  expect(await types(page)).not.toContain("ws-failed");
});

test("defect 2: the late close of an old socket neither ends a newer one nor opens a third", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await gateway.faults({ delayMs: 40 });
  await dropIn(page, {}, gateway.proxy);
  const seen = sockets(page);
  await page.evaluate(() => {
    client.disconnect();
    client.connect();
  });
  await next(page, "ws-connected");
  await eventually(() => gateway.state(), ({ connections }) => connections.length === 1, "the end of the old socket");
  await page.evaluate(() => client.send({ type: "chat", text: "still here" }));
  await next(page, "chat-message");
  // Longer than the wait before an attempt that the old socket could have set off.
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 200)));
  expect(await page.evaluate(() => client.connected)).toBe(true);
  expect(seen).toHaveLength(1);
  expect((await gateway.state()).totals.accepted).toBe(2);
  expect(await details(page, "ws-disconnected")).toHaveLength(1);
});

test("defect 3: connected does not stay true on a half-open path", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await dropIn(page, { heartbeat: { idleMs: 100, probeTimeoutMs: 150 } }, gateway.proxy);
  await gateway.faults({ halfOpen: true, refuse: true });
  expect(await next(page, "ws-disconnected", 3000)).toMatchObject({ cause: "heartbeat" });
  expect(await page.evaluate(() => client.connected)).toBe(false);
});

test("defect 4: a send that throws in the middle of the flush loses nothing, and the queue is bounded", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await dropIn(page, { queue: { maxMessages: 10 } });
  await gateway.post("down", { code: 1011 });
  await next(page, "ws-disconnected");
  const thrown = await page.evaluate(() => {
    for (let n = 0; n < 10; n++) client.send({ type: "note", n });
    const { send } = WebSocket.prototype;
    WebSocket.prototype.send = function (data) {
      if (String(data).includes('"n":4')) {
        WebSocket.prototype.send = send;
        this.close();
        throw new DOMException("no", "InvalidStateError");
      }
      send.call(this, data);
    };
    return rig.thrown(() => client.send({ type: "note", n: 10 }));
  });
  expect(thrown).toMatchObject({ code: "send.queue-full" });
  await gateway.post("up");
  expect((await arrivals(gateway, "note", 10)).map((frame) => frame["n"])).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("defect 5: a server that accepts and drops is dialled more and more seldom", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await dropIn(page, { reconnect: { baseDelayMs: 20, jitter: "none" } });
  for (const attempt of [1, 2, 3, 4]) {
    await gateway.post("close", { abrupt: true });
    expect(await next(page, "ws-reconnecting")).toMatchObject({ attempt, delayMs: 20 * 2 ** (attempt - 1) });
    await next(page, "ws-connected");
    expect(await page.evaluate(() => client.reconnectAttempts)).toBe(attempt);
  }
});

test("defect 6: a frame that is null is told and the next one is handled", async ({ launch, open, mishaps }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await dropIn(page);
  await gateway.post("send", { text: "null" });
  await gateway.sendFrame({ type: "chat", text: "next" });
  expect(await next(page, "chat-message")).toMatchObject({ text: "next" });
  expect(await details(page, "ws-unhandled")).toEqual([{ reason: "not-an-object", frame: null }]);
  expect(mishaps).toEqual([]);
});

test("defect 7: a refused token is not presented again", async ({ launch, open }) => {
  const gateway = await launch("--offer", "off");
  const page = await open(gateway);
  const seen = sockets(page);
  await page.evaluate(() => localStorage.setItem("hermes-session", JSON.stringify({ token: "stale", clientId: "gone", savedAt: Date.now() })));
  await dropIn(page, { nexus: { settleMs: 50 } });
  await gateway.post("close", { abrupt: true });
  await next(page, "ws-connected");
  const tokens = seen.map(({ sent }) => JSON.parse(sent[0]!).token);
  expect(tokens).toEqual(["stale", await page.evaluate(() => client.session?.token)]);
});

test("defect 8: the queue waits until the server has answered the resume", async ({ launch, open }) => {
  const gateway = await launch("--offer", "on");
  const page = await open(gateway);
  await dropIn(page, {}, gateway.proxy);
  await next(page, "session-init");
  await gateway.post("close", { code: 1011 });
  await next(page, "ws-disconnected");
  const frames: string[] = [];
  page.on("websocket", (socket) => {
    socket.on("framesent", ({ payload }) => frames.push(`> ${JSON.parse(String(payload)).type}`));
    socket.on("framereceived", ({ payload }) => frames.push(`< ${JSON.parse(String(payload)).type}`));
  });
  await gateway.faults({ delayMs: 50 });
  await page.evaluate(() => void client.send({ type: "waited" }));
  await arrivals(gateway, "waited", 1);
  const order = frames.filter((frame) => ["> session-resume", "< session-resumed", "> waited"].includes(frame));
  expect(order).toEqual(["> session-resume", "< session-resumed", "> waited"]);
});

test("defect 9: thirty clients that lost their server together do not come back together", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await page.evaluate(async () => {
    const path = "/pkg/nexus.js";
    const { WebSocketClient } = (await import(path)) as typeof import("moorline/nexus");
    for (let n = 0; n < 30; n++) new WebSocketClient("/api/world/ws", { session: { storage: "memory" } }).connect();
    await rig.until(() => rig.log.filter(({ type }) => type === "ws-connected").length === 30);
  });
  await gateway.post("down", { code: 1011 });
  await page.evaluate(() => rig.until(() => rig.log.filter(({ type }) => type === "ws-reconnecting").length >= 30));
  const waits = (await details(page, "ws-reconnecting")).filter(({ attempt }) => attempt === 1).map(({ delayMs }) => delayMs as number);
  expect(waits).toHaveLength(30);
  expect(Math.max(...waits)).toBeLessThanOrEqual(1000);
  expect(Math.max(...waits) - Math.min(...waits)).toBeGreaterThan(400);
  for (let start = 0; start < 1000; start += 100) {
    const together = waits.filter((wait) => wait >= start && wait < start + 100).length;
    expect(together, `within 100 ms of ${start}`).toBeLessThan(15);
  }
});
