// A line against a gateway that answers, goes away and comes back: what the page hears, and what it says by then.
import { arrivals, details, eventually, expect, explained, moored, next, ready, sockets, test, types } from "./support/test.js";

test("a page connects, is given a session, and hears of both", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  const connected = await moored(page);
  expect(connected).toEqual({ url: gateway.ws, attempt: 0, recovered: false });
  const init = await next(page, "session-init");
  expect(init).toMatchObject({ type: "session-init", clientId: expect.any(String), token: expect.any(String) });
  expect(await page.evaluate(() => rig.main.state)).toBe("connected");
  expect((await gateway.state()).clients.map(({ clientId }) => clientId)).toEqual([init.clientId]);
  expect((await types(page)).slice(0, 2)).toEqual(["ws-connected", "session-init"]);
});

test("chat passes both ways between two pages", async ({ launch, open }) => {
  const gateway = await launch("--echo", "off");
  const ann = await open(gateway);
  const ben = await open(gateway);
  // Two tabs share localStorage: each keeps its session for itself, to be somebody of its own.
  await moored(ann, { session: { storage: "memory" } });
  await moored(ben, { session: { storage: "memory" } });
  await ann.evaluate(() => void rig.main.send({ type: "chat", text: "hello, ben" }));
  expect(await next(ben, "chat-message")).toMatchObject({ type: "chat-message", text: "hello, ben", senderId: expect.any(String) });
  await ben.evaluate(() => void rig.main.send({ type: "chat", text: "hello, ann" }));
  expect(await next(ann, "chat-message")).toMatchObject({ text: "hello, ann" });
  expect(await details(ann, "chat-message")).toHaveLength(1);
});

test("a sender hears its own chat only where the gateway echoes", async ({ launch, open }) => {
  const gateway = await launch("--echo", "on");
  const page = await open(gateway);
  await moored(page);
  await page.evaluate(() => void rig.main.send({ type: "chat", text: "anybody?" }));
  expect(await next(page, "chat-message")).toMatchObject({ text: "anybody?" });
});

test("what is called before wasm has arrived is done in the order of the calls", async ({ launch, page: held }) => {
  const gateway = await launch();
  let release = () => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  await held.route("**/moorline_bg.wasm", async (route) => {
    await gate;
    await route.continue();
  });
  await held.goto(gateway.url);
  await ready(held);
  const before = await held.evaluate(() => {
    const line = rig.line({}, undefined, false);
    line.send({ type: "note", n: 1 });
    line.connect();
    for (let n = 2; n <= 20; n++) line.send({ type: "note", n });
    return { state: line.state, queued: line.stats().queueMessages, explained: line.explain() };
  });
  expect(before).toEqual({ state: "idle", queued: 20, explained: [] });
  release();
  await next(held, "ws-connected");
  const frames = await arrivals(gateway, "note", 20);
  expect(frames.map((frame) => frame["n"])).toEqual(Array.from({ length: 20 }, (_, n) => n + 1));
});

for (const [name, body, cause] of [
  ["closed by the gateway", { code: 1011, reason: "out of luck" }, "transport"],
  ["closed because the gateway goes away", { code: 1001 }, "server-restart"],
  ["cut without a word", { abrupt: true }, "transport"],
] as const) {
  test(`a line that was ${name} comes back as the same client`, async ({ launch, open }) => {
    const gateway = await launch();
    const page = await open(gateway);
    await moored(page);
    const { clientId } = await next(page, "session-init");
    await gateway.post("close", body);
    expect(await next(page, "ws-disconnected")).toMatchObject({ willReconnect: true, cause, wasClean: "code" in body });
    expect(await next(page, "ws-reconnecting")).toMatchObject({ attempt: 1, delayMs: 60, cause });
    expect(await next(page, "ws-connected")).toMatchObject({ attempt: 1, recovered: true });
    expect(await page.evaluate(() => rig.main.session?.clientId)).toBe(clientId);
    const { clients } = await gateway.state();
    expect(clients).toMatchObject([{ clientId, connected: true }]);
    expect(await details(page, "ws-error")).toEqual([]);
    const order = (await types(page)).filter((type) => type.startsWith("ws-"));
    expect(order).toEqual(["ws-connected", "ws-disconnected", "ws-reconnecting", "ws-connected"]);
  });
}

test("a gateway that refuses every connection is dialled until it accepts one", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await gateway.faults({ refuse: true });
  await page.evaluate((proxy) => void rig.line({}, proxy), gateway.proxy);
  for (let attempt = 1; attempt <= 3; attempt++) {
    expect(await next(page, "ws-disconnected")).toMatchObject({ code: 1006, wasClean: false, willReconnect: true, cause: "transport" });
    expect(await next(page, "ws-reconnecting")).toMatchObject({ attempt, delayMs: 60 * 2 ** (attempt - 1) });
  }
  await gateway.faults({});
  expect(await next(page, "ws-connected")).toMatchObject({ recovered: false });
});

test("a gateway that is down answers 503, and is found again when it is up", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page);
  await gateway.post("down", { code: 1011 });
  await next(page, "ws-disconnected");
  expect(await next(page, "ws-disconnected")).toMatchObject({ code: 1006 });
  expect(await page.evaluate(() => rig.main.state)).toBe("reconnecting");
  await gateway.post("up");
  expect(await next(page, "ws-connected")).toMatchObject({ url: gateway.ws, recovered: true });
});

test("each wait doubles up to its cap, with the documented default for what the page leaves open", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await gateway.faults({ refuse: true });
  await page.evaluate((proxy) => void rig.line({ reconnect: { baseDelayMs: 20, maxDelayMs: 70, jitter: "none" } }, proxy), gateway.proxy);
  const delays: number[] = [];
  for (let attempt = 1; attempt <= 5; attempt++) delays.push((await next(page, "ws-reconnecting")).delayMs);
  expect(delays).toEqual([20, 40, 70, 70, 70]);
  const plain = await page.evaluate(async (proxy) => {
    rig.main.dispose();
    rig.clear();
    const line = new rig.Moorline(proxy);
    line.connect();
    const found = await rig.next("ws-reconnecting");
    line.dispose();
    return found;
  }, gateway.proxy);
  expect(plain.delayMs).toBeLessThan(4000);
  expect(plain.maxAttempts).toBe(Infinity);
});

test("failures are forgiven after a stable connection, and not by one that merely opened", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page, { reconnect: { stableMs: 4000, baseDelayMs: 10 } });
  for (const attempt of [1, 2, 3]) {
    await gateway.post("close", { abrupt: true });
    expect(await next(page, "ws-reconnecting")).toMatchObject({ attempt });
    await next(page, "ws-connected");
  }
  await page.evaluate(() => rig.until(() => rig.main.stats().attempts === 0));
  await gateway.post("close", { abrupt: true });
  expect(await next(page, "ws-reconnecting")).toMatchObject({ attempt: 1 });
});

test("connecting twice opens one socket", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await page.evaluate(() => {
    const line = rig.line();
    line.connect();
    line.connect();
  });
  await next(page, "ws-connected");
  await page.evaluate(() => rig.main.connect());
  await page.evaluate(() => void rig.main.send({ type: "mark" }));
  await arrivals(gateway, "mark", 1);
  expect((await gateway.state()).totals.accepted).toBe(1);
});

test("disconnect is final, silent about failure, and told once", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page);
  await page.evaluate(() => {
    rig.main.disconnect(4001, "enough");
    rig.main.disconnect();
  });
  await eventually(() => gateway.state(), ({ connections }) => connections.length === 0, "the end of the connection");
  expect(await details(page, "ws-disconnected")).toEqual([
    { code: 4001, reason: "enough", wasClean: true, willReconnect: false, cause: "closed" },
  ]);
  expect(await page.evaluate(() => rig.main.state)).toBe("closed");
  expect(await types(page)).not.toContain("ws-failed");
  expect(await types(page)).not.toContain("ws-reconnecting");
  await page.evaluate(() => rig.main.connect());
  expect(await next(page, "ws-connected")).toMatchObject({ recovered: true, attempt: 0 });
  // A line that was closed and opened again reconnects as before.
  await gateway.post("close", { abrupt: true });
  await next(page, "ws-reconnecting");
  await next(page, "ws-connected");
});

test("dispose leaves no socket and no listener, and later calls throw", async ({ launch, open, context }) => {
  const gateway = await launch();
  const page = await open(gateway);
  const cdp = await context.newCDPSession(page);
  const listeners = async () => {
    const counts: Record<string, number> = {};
    for (const expression of ["window", "document"]) {
      const { result } = await cdp.send("Runtime.evaluate", { expression });
      const found = await cdp.send("DOMDebugger.getEventListeners", { objectId: result.objectId! });
      for (const { type } of found.listeners) counts[`${expression} ${type}`] = (counts[`${expression} ${type}`] ?? 0) + 1;
    }
    return counts;
  };
  const before = await listeners();
  await moored(page);
  expect(await listeners()).toMatchObject({ "window online": 1, "window offline": 1, "document visibilitychange": 1, "window focus": 1, "window pagehide": 1 });
  const codes = await page.evaluate(() => {
    const line = rig.main;
    line.dispose();
    line.dispose();
    return [
      () => line.connect(),
      () => line.disconnect(),
      () => line.send({ type: "late" }),
      () => line.saveSession({}),
      () => line.clearSession(),
      () => line.on("chat-message", () => {}),
    ].map((act) => rig.thrown(act)?.code);
  });
  expect(codes).toEqual(Array(6).fill("disposed"));
  expect(await page.evaluate(() => rig.main.loadSession().catch((error) => error.code))).toBe("disposed");
  expect(await page.evaluate(() => [rig.main.state, rig.main.stats().sockets ?? 0])).toEqual(["closed", 0]);
  expect(await listeners()).toEqual(before);
  await eventually(() => gateway.state(), ({ connections }) => connections.length === 0, "the end of the connection");
  expect(await details(page, "ws-disconnected")).toHaveLength(1);
});

test("a line that is disposed of before wasm has arrived never dials", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  const seen = sockets(page);
  const fate = await page.evaluate(async () => {
    const line = rig.line();
    const receipt = line.send({ type: "never" });
    line.dispose();
    const fate = await rig.fate(receipt);
    const other = rig.line();
    await rig.next("ws-connected");
    other.dispose();
    return fate;
  });
  expect(fate).toEqual({ status: "rejected", code: "disposed", mine: true });
  expect(seen).toHaveLength(1);
});

test("a listener added by on() hears details until it is taken off, and several do not disturb each other", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page);
  await page.evaluate(() => {
    const heard: string[] = [];
    Object.assign(globalThis, { heard });
    const off = rig.main.on("chat-message", ({ text }) => {
      heard.push(`first ${text}`);
      off();
    });
    rig.main.on("chat-message", ({ text }) => void heard.push(`second ${text}`));
    rig.main.addEventListener("chat-message", ({ detail }) => void heard.push(`line ${detail.text}`));
  });
  for (const text of ["one", "two"]) await gateway.sendFrame({ type: "chat", text });
  await next(page, "chat-message");
  await next(page, "chat-message");
  const heard = await page.evaluate(() => (globalThis as unknown as { heard: string[] }).heard);
  expect(heard).toEqual(["line one", "first one", "second one", "line two", "second two"]);
});

test("explain tells in order why the line closed, why it waits and when it tries next", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page);
  await gateway.post("down", { code: 1011 });
  await next(page, "ws-disconnected");
  await page.evaluate(() => void rig.main.send({ type: "waits" }));
  await next(page, "ws-disconnected");
  const text = await explained(page);
  const order = [/asked to connect/, /dialling/, /open/, /ready/, /ended with 1011: transport/, /waiting.*attempt 1/, /dialling/, /ended with 1006/, /waiting.*attempt 2/];
  let rest = text;
  for (const part of order) {
    const at = rest.search(part);
    expect(at, `${part} in its place in\n${text}`).toBeGreaterThanOrEqual(0);
    rest = rest.slice(at + 1);
  }
  expect(text).toMatch(/attempt 1.*60 ms|60 ms.*attempt 1/);
  expect(rest).toMatch(/1 messages? wait|in the queue: 1/);
  const token = await page.evaluate(() => rig.main.session?.token);
  expect(text).not.toContain(token);
});

test("stats count what was received, what waits, sockets, connections and the round trip", async ({ launch, open }) => {
  const gateway = await launch("--offer", "on", "--snapshot", "off");
  const page = await open(gateway);
  await moored(page, { reconnect: { baseDelayMs: 20_000 } });
  await page.evaluate(() => rig.until(() => rig.main.stats().rttMs !== undefined));
  const up = await page.evaluate(() => rig.main.stats());
  expect(up).toMatchObject({ state: "connected", sockets: 1, connections: 1, queueMessages: 0, misbehaved: 0, bufferedBytes: 0 });
  expect(up.received).toBeGreaterThanOrEqual(2);
  expect(up.rttMs).toBeLessThan(1000);
  await gateway.post("down", { code: 1011 });
  await next(page, "ws-reconnecting");
  await page.evaluate(() => void rig.main.send({ type: "waits", text: "ä" }));
  const away = await page.evaluate(() => rig.main.stats());
  expect(away).toMatchObject({ state: "reconnecting", attempts: 1, queueMessages: 1, queueBytes: 28 });
  expect(away.nextAttemptInMs).toBeGreaterThan(15_000);
  expect(away.oldestWaitsMs).toBeGreaterThanOrEqual(0);
});

test("the page's own routes are laid over the table: renamed, taken away, and all the rest under a prefix", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await page.evaluate(() => rig.listen("dog-barked", "player-came", "server-bark", "server-chat", "server-"));
  await moored(page, { routes: { bark: "dog-barked", "player-joined": "player-came", chat: null, world_state: "" } });
  await page.evaluate(() => rig.clear());
  const frames = [{ type: "bark" }, { type: "player-joined", id: "p" }, { type: "chat", text: "unheard" }, { type: "meow" }, { type: "player-left", id: "p" }];
  for (const frame of frames) await gateway.sendFrame(frame);
  expect(await next(page, "player-left")).toEqual({ type: "player-left", id: "p" });
  expect(await types(page)).toEqual(["dog-barked", "player-came", "ws-unhandled", "player-left"]);
  expect((await details(page, "ws-unhandled"))[0]).toMatchObject({ type: "meow", reason: "no-route" });
  await page.evaluate(() => rig.main.dispose());
  await moored(page, { routes: { "*": "server-" }, session: { storage: "memory" } });
  await page.evaluate(() => rig.clear());
  for (const frame of [...frames, { type: "" }]) await gateway.sendFrame(frame);
  expect(await next(page, "server-")).toEqual({ type: "" });
  expect(await types(page)).toEqual(["server-bark", "player-joined", "chat-message", "player-left", "server-"]);
});
