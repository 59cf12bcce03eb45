// When the next attempt comes, and when none does: providers, close codes, advice, deadlines, signals of the browser.
import { type Gateway, details, eventually, expect, explained, moored, next, sockets, test, types } from "./support/test.js";

test("the url function is called before every dial, and a new token in its answer is the one presented", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  const seen = sockets(page);
  await page.evaluate((ws) => {
    let calls = 0;
    rig.line({}, () => {
      calls++;
      return calls === 1 ? `${ws}?ticket=1` : Promise.resolve({ url: new URL(`${ws}?ticket=${calls}`), token: `ticket-${calls}` });
    });
  }, gateway.ws);
  // What stands in a query may be a secret, and details are logged.
  expect(await next(page, "ws-connected")).toMatchObject({ url: gateway.ws });
  await gateway.post("close", { abrupt: true });
  await next(page, "ws-connected");
  expect(seen.map(({ url }) => url)).toEqual([`${gateway.ws}?ticket=1`, `${gateway.ws}?ticket=2`]);
  expect(JSON.parse(seen[1]!.sent[0]!)).toEqual({ type: "session-resume", token: "ticket-2" });
});

const FAILING: Record<string, string> = {
  throws: "() => { throw new Error('no ticket') }",
  rejects: "() => Promise.reject(new Error('no ticket'))",
  "answers with nothing": "() => undefined",
  "answers with an http URL": "() => 'http://127.0.0.1/'",
  "answers with a promise of a number": "() => Promise.resolve(7)",
};
for (const [what, source] of Object.entries(FAILING)) {
  test(`a url function that ${what} is a failed attempt, and the next one may succeed`, async ({ launch, open }) => {
    const gateway = await launch();
    const page = await open(gateway);
    await page.evaluate(
      ([source, ws]) => {
        const failing = (0, eval)(source) as () => string;
        let calls = 0;
        rig.line({}, () => (++calls < 3 ? failing() : ws));
      },
      [source, gateway.ws] as const,
    );
    for (const attempt of [1, 2]) {
      expect(await next(page, "ws-error")).toMatchObject({ name: "MoorlineError", code: "url.provider", retryable: true });
      expect(await next(page, "ws-reconnecting")).toMatchObject({ attempt, cause: "url-provider" });
    }
    await next(page, "ws-connected");
    // Without a socket there is none that could have ended.
    expect(await details(page, "ws-disconnected")).toEqual([]);
  });
}

test("a url function that never answers is given up at the deadline, and its late answer changes nothing", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await page.evaluate((ws) => {
    let calls = 0;
    const never = new Promise<string>((answer) => Object.assign(globalThis, { answer }));
    rig.line({ connectTimeoutMs: 800 }, () => (++calls === 1 ? never : ws));
  }, gateway.ws);
  expect(await next(page, "ws-reconnecting")).toMatchObject({ cause: "handshake-timeout" });
  await next(page, "ws-connected");
  await page.evaluate((ws) => (globalThis as unknown as { answer: (url: string) => void }).answer(ws), gateway.ws);
  await page.evaluate(() => void rig.main.send({ type: "mark" }));
  await eventually(() => gateway.received("mark"), ({ length }) => length === 1, "the mark");
  expect((await gateway.state()).totals.accepted).toBe(1);
});

test("connect while waiting tries at once", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page, { reconnect: { baseDelayMs: 30_000 } });
  await gateway.post("close", { abrupt: true });
  expect((await next(page, "ws-reconnecting")).delayMs).toBe(30_000);
  await page.evaluate(() => rig.main.connect());
  expect(await next(page, "ws-connected", 3000)).toMatchObject({ recovered: true });
});

test("after maxAttempts there is one ws-failed, and then silence until connect", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await gateway.faults({ refuse: true });
  await page.evaluate((proxy) => void rig.line({ reconnect: { maxAttempts: 2, baseDelayMs: 20 } }, proxy), gateway.proxy);
  expect(await next(page, "ws-failed")).toMatchObject({ cause: "attempts-exhausted", code: 1006, attempts: 2 });
  const ended = await details(page, "ws-disconnected");
  expect(ended.map(({ willReconnect }) => willReconnect)).toEqual([true, true, false]);
  expect(await page.evaluate(() => rig.main.state)).toBe("closed");
  const { connections } = await gateway.get<{ connections: number }>("faults");
  expect(connections).toBe(3);
  // Neither a signal of the browser's nor time wakes a line that has given up.
  await page.evaluate(() => {
    globalThis.dispatchEvent(new Event("online"));
    document.dispatchEvent(new Event("visibilitychange"));
    return new Promise((resolve) => setTimeout(resolve, 700));
  });
  expect((await gateway.get<{ connections: number }>("faults")).connections).toBe(3);
  expect(await details(page, "ws-failed")).toHaveLength(1);
  await gateway.faults({});
  await page.evaluate(() => rig.main.connect());
  expect(await next(page, "ws-connected")).toMatchObject({ attempt: 0 });
});

for (const code of [1002, 1003, 1007, 1008, 1009]) {
  test(`close code ${code} is fatal`, async ({ launch, open }) => {
    const gateway = await launch();
    const page = await open(gateway);
    await moored(page);
    await gateway.post("close", { code, reason: "no" });
    expect(await next(page, "ws-disconnected")).toMatchObject({ code, reason: "no", willReconnect: false, cause: "close-code" });
    expect(await next(page, "ws-failed")).toMatchObject({ code, cause: "close-code" });
    expect(await types(page)).not.toContain("ws-reconnecting");
    expect(await page.evaluate(() => rig.main.state)).toBe("closed");
  });
}

for (const [code, cause] of [
  [1012, "server-restart"],
  [1013, "overloaded"],
  [4408, "overloaded"],
  [4429, "overloaded"],
] as const) {
  test(`close code ${code} waits 5 to 55 seconds`, async ({ launch, open }) => {
    const gateway = await launch();
    const page = await open(gateway);
    await moored(page);
    await gateway.post("close", { code });
    const { delayMs, retryAt, cause: told } = await next(page, "ws-reconnecting");
    expect(told).toBe(cause);
    expect(delayMs).toBeGreaterThanOrEqual(5000);
    expect(delayMs).toBeLessThanOrEqual(55_000);
    expect(Math.abs(retryAt - Date.now() - delayMs)).toBeLessThan(1500);
  });
}

test("closePolicy is written over the table", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page, { closePolicy: { 1008: "retry", 4100: "fatal" } });
  await gateway.post("close", { code: 1008 });
  expect(await next(page, "ws-disconnected")).toMatchObject({ code: 1008, willReconnect: true });
  await next(page, "ws-connected");
  await gateway.post("close", { code: 4100 });
  expect(await next(page, "ws-failed")).toMatchObject({ code: 4100, cause: "close-code" });
});

test("the gateway's advice on when to come back is obeyed", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page, { reconnect: { baseDelayMs: 20 } });
  await gateway.post("advise", { retryAfterMs: 400, spreadMs: 100 });
  await page.evaluate(() => rig.until(() => (rig.main.stats().received ?? 0) >= 3));
  await gateway.post("close", { code: 1012 });
  const { delayMs } = await next(page, "ws-reconnecting");
  expect(delayMs).toBeGreaterThanOrEqual(400);
  expect(delayMs).toBeLessThan(500);
  // Coming online does not push an advised wait aside: the gateway knows better.
  await page.evaluate(() => void globalThis.dispatchEvent(new Event("online")));
  await next(page, "ws-connected");
  expect(await explained(page)).toMatch(/gateway.*advi[cs]e/);
  const [closed, back] = await page.evaluate(() =>
    ["ws-disconnected", "ws-connected"].map((type) => rig.log.filter((heard) => heard.type === type).at(-1)!.at),
  );
  expect(back! - closed!).toBeGreaterThanOrEqual(395);
  await gateway.post("close", { abrupt: true });
  expect((await next(page, "ws-reconnecting")).delayMs).toBeLessThanOrEqual(60);
});

test("a socket that opens and says nothing is replaced at the deadline", async ({ launch, open }) => {
  const gateway = await launch("--greet-wait-ms", "60000", "--offer", "off");
  const page = await open(gateway);
  const seen = sockets(page);
  await page.evaluate(() => void rig.line({ connectTimeoutMs: 2000 }));
  expect(await next(page, "ws-disconnected")).toMatchObject({ cause: "handshake-timeout", willReconnect: true });
  await gateway.post("config", { greetWaitMs: 10 });
  expect(await next(page, "ws-connected")).toMatchObject({ attempt: 1 });
  expect(seen).toHaveLength(2);
  await eventually(async () => seen[0]!.closed, Boolean, "the end of the mute socket");
});

test("a path that swallows the handshake is given up at the deadline", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await gateway.faults({ stall: true });
  await page.evaluate((proxy) => void rig.line({ connectTimeoutMs: 250 }, proxy), gateway.proxy);
  expect(await next(page, "ws-disconnected")).toMatchObject({ cause: "handshake-timeout", code: 1006 });
  await gateway.faults({});
  await next(page, "ws-connected");
  // The socket that was given up opens late, and is nobody's business any more.
  await eventually(() => gateway.state(), ({ connections }) => connections.length === 1, "one connection");
  expect(await details(page, "ws-connected")).toHaveLength(1);
});

for (const fault of [{ stall: true }, { halfOpen: true }]) {
  test(`a path that went dead without a word (${Object.keys(fault)[0]}) is noticed by a probe`, async ({ launch, open }) => {
    const gateway = await launch("--offer", "on");
    const page = await open(gateway);
    await moored(page, { heartbeat: { idleMs: 150, probeTimeoutMs: 200 } }, gateway.proxy);
    await page.evaluate(() => rig.until(() => rig.main.stats().rttMs !== undefined));
    await gateway.faults(fault);
    expect(await next(page, "ws-disconnected", 3000)).toMatchObject({ cause: "heartbeat", willReconnect: true, wasClean: false });
    expect(await page.evaluate(() => rig.main.state)).toBe("reconnecting");
    await gateway.faults({});
    expect(await next(page, "ws-connected")).toMatchObject({ recovered: true });
  });
}

test("a gateway that cannot be asked is given up after the silence that the page allows", async ({ launch, open }) => {
  const gateway = await launch("--offer", "off");
  const page = await open(gateway);
  await moored(page, { heartbeat: { idleMs: 300 } });
  expect(await next(page, "ws-disconnected", 3000)).toMatchObject({ cause: "heartbeat" });
});

test("a gateway that is merely slow is not taken for dead", async ({ launch, open }) => {
  const gateway = await launch("--offer", "on");
  const page = await open(gateway);
  await gateway.faults({ delayMs: 60 });
  await moored(page, { heartbeat: { idleMs: 100, probeTimeoutMs: 800 } }, gateway.proxy);
  await eventually(() => gateway.received("ping"), ({ length }) => length >= 4, "four probes");
  expect(await types(page)).not.toContain("ws-disconnected");
  expect(await page.evaluate(() => rig.main.stats().rttMs)).toBeGreaterThanOrEqual(100);
});

for (const [name, signal] of [
  ["becoming visible", "document.dispatchEvent(new Event('visibilitychange'))"],
  ["being resumed", "document.dispatchEvent(new Event('resume'))"],
] as const) {
  test(`${name} tries within half a second`, async ({ launch, open }) => {
    const gateway = await launch();
    const page = await open(gateway);
    await moored(page, { reconnect: { baseDelayMs: 30_000 } });
    await gateway.post("close", { abrupt: true });
    await next(page, "ws-reconnecting");
    const took = await page.evaluate(async (signal) => {
      const start = performance.now();
      (0, eval)(signal);
      await rig.next("ws-connected", 3000);
      return performance.now() - start;
    }, signal);
    expect(took).toBeLessThan(1500);
    expect(await explained(page)).toContain("trying sooner");
  });
}

test("coming online tries within the first wait, for it wakes a crowd", async ({ launch, open }) => {
  const gateway = await launch("--greet-wait-ms", "60000", "--offer", "off");
  const page = await open(gateway);
  // One failure by deadline, so that the second wait is the long one.
  await page.evaluate(() => void rig.line({ connectTimeoutMs: 250, reconnect: { baseDelayMs: 300, factor: 10, maxDelayMs: 3000 } }));
  await next(page, "ws-reconnecting");
  expect(await next(page, "ws-reconnecting")).toMatchObject({ attempt: 2, delayMs: 3000 });
  await page.evaluate(() => void globalThis.dispatchEvent(new Event("online")));
  expect(await next(page, "ws-reconnecting")).toMatchObject({ attempt: 3 });
  expect(await explained(page)).toContain("trying sooner: the browser is online");
});

test("pages that share a seeded Math.random do not share their waits", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  const reconnect = { baseDelayMs: 1_000_000, maxDelayMs: 1_000_000, jitter: "full" } as const;
  await page.evaluate(() => void (Math.random = () => 0.5));
  await moored(page, { reconnect });
  await moored(page, { reconnect });
  await gateway.post("close", { abrupt: true });
  const [one, other] = [await next(page, "ws-reconnecting"), await next(page, "ws-reconnecting")];
  expect(one.delayMs).not.toBe(other.delayMs);
});

/** The gateway under a name that does not say where it is. */
const elsewhere = (gateway: Gateway) => gateway.ws.replace("127.0.0.1", "elsewhere.test");

test("going offline says nothing of what runs on this machine", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page);
  await page.evaluate(() => void globalThis.dispatchEvent(new Event("offline")));
  await gateway.post("close", { abrupt: true });
  expect(await next(page, "ws-disconnected")).toMatchObject({ cause: "transport" });
});

test("going offline is no verdict, but names the cause of what follows", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page, { reconnect: { baseDelayMs: 2000 } }, elsewhere(gateway));
  await page.evaluate(() => void globalThis.dispatchEvent(new Event("offline")));
  expect(await page.evaluate(() => rig.main.state)).toBe("connected");
  await gateway.post("close", { abrupt: true });
  expect(await next(page, "ws-disconnected")).toMatchObject({ cause: "offline" });
  await page.evaluate(() => void globalThis.dispatchEvent(new Event("online")));
  expect(await next(page, "ws-connected", 5000)).toMatchObject({ recovered: true });
});

test("a browser without a network fails its attempts as offline, and is back when the network is", async ({ launch, open, context }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page, { heartbeat: { probeTimeoutMs: 200 }, reconnect: { baseDelayMs: 50, maxDelayMs: 8000, factor: 10 } }, elsewhere(gateway));
  await context.setOffline(true);
  await next(page, "ws-disconnected");
  expect(await next(page, "ws-disconnected")).toMatchObject({ cause: "offline", code: 1006 });
  await page.evaluate(() => rig.until(() => (rig.main.stats().nextAttemptInMs ?? 0) > 2000));
  await context.setOffline(false);
  expect(await next(page, "ws-connected", 1500)).toMatchObject({ recovered: true });
});

test("a page that came back out of the cache opens a new socket at once", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page, { reconnect: { baseDelayMs: 30_000 } });
  await page.evaluate(() => {
    globalThis.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
    globalThis.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
  });
  expect(await next(page, "ws-disconnected")).toMatchObject({ cause: "lifecycle", willReconnect: true });
  expect(await next(page, "ws-reconnecting")).toMatchObject({ delayMs: 0 });
  expect(await next(page, "ws-connected", 3000)).toMatchObject({ recovered: true });
});
