// A page that is hidden, left and come back to: what its line does in Chromium, and how soon it is live again.
import type { Page } from "@playwright/test";
import { details, eventually, expect, explained, moored, next, sockets, test as base, types } from "./support/test.js";

/** In a browser whose back/forward cache is on: Playwright turns it off. */
const test = base.extend({
  context: async ({ playwright, launchOptions }, use) => {
    const browser = await playwright.chromium.launch({ ...launchOptions, ignoreDefaultArgs: ["--disable-back-forward-cache"] });
    await use(await browser.newContext());
    await browser.close();
  },
});

/** The page hides as far as it can tell. */
const hide = (page: Page, hidden: boolean) =>
  page.evaluate((hidden) => {
    Object.defineProperty(document, "visibilityState", { configurable: true, value: hidden ? "hidden" : "visible" });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);

/** Milliseconds between what was heard last of one type and of another. */
const between = (page: Page, from: string, to: string) =>
  page.evaluate(([from, to]) => {
    const at = (type: string) => rig.log.filter((heard) => heard.type === type).at(-1)!.at;
    return at(to) - at(from);
  }, [from, to] as const);

for (const [name, act] of [
  ["becomes visible", (page: Page) => hide(page, true).then(() => hide(page, false))],
  ["has the focus", (page: Page) => page.evaluate(() => void globalThis.dispatchEvent(new Event("focus")))],
] as const) {
  for (const fault of [{ stall: true }, { halfOpen: true }]) {
    test(`a page that ${name} finds a dead path (${Object.keys(fault)[0]}) and is live again`, async ({ launch, open }, info) => {
      const gateway = await launch("--offer", "on");
      const page = await open(gateway);
      // With the defaults: silence alone is noticed much later than the test waits.
      await moored(page, { reconnect: { baseDelayMs: 4000, jitter: "full" } }, gateway.proxy);
      await page.evaluate(() => rig.until(() => rig.main.stats().rttMs !== undefined));
      await gateway.faults(fault);
      await page.evaluate(() => void globalThis.addEventListener("ws-disconnected", () => rig.note("noticed", null)));
      await page.evaluate(() => rig.note("back", null));
      await act(page);
      // The path is mended at once; the socket that was open stays dead.
      if ("halfOpen" in fault) await gateway.faults({});
      expect(await next(page, "ws-disconnected", 5000)).toMatchObject({ cause: "heartbeat", willReconnect: true });
      if ("stall" in fault) await gateway.faults({});
      expect(await next(page, "ws-connected", 10_000)).toMatchObject({ recovered: true });
      const figures = `noticed after ${(await between(page, "back", "noticed")).toFixed(0)} ms, live after ${(await between(page, "back", "ws-connected")).toFixed(0)} ms`;
      info.annotations.push({ type: "measured", description: figures });
      console.log(`    ${name}, ${Object.keys(fault)[0]}: ${figures}`);
    });
  }
}

test("a page that is come back to connects at once, without a failure", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  // Nothing but an immediate attempt comes within the test's time, and a failure would be the last.
  await moored(page, { reconnect: { baseDelayMs: 60_000, maxAttempts: 0 } });
  await page.evaluate(() => {
    (globalThis as unknown as { same: boolean }).same = true;
    globalThis.addEventListener("pageshow", () => rig.note("pageshow", null));
  });
  await page.goto(`${gateway.url}blank.html`);
  await page.goBack({ waitUntil: "commit" });
  expect(await page.evaluate(() => (globalThis as unknown as { same?: boolean }).same), "the page itself, out of the cache").toBe(true);
  await page.evaluate(() => rig.until(() => rig.log.filter(({ type }) => type === "ws-connected").length === 2));
  expect(await details(page, "ws-disconnected")).toMatchObject([{ cause: "lifecycle", willReconnect: true }]);
  expect(await details(page, "ws-reconnecting")).toMatchObject([{ delayMs: 0, cause: "lifecycle" }]);
  expect((await details(page, "ws-connected"))[1]).toMatchObject({ attempt: 0, recovered: true });
  expect(await types(page)).not.toContain("ws-error");
  await eventually(() => gateway.state(), ({ connections }) => connections.length === 1, "one connection");
});

test("a page that is left while its line connects is no failed attempt when it is come back to", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await gateway.faults({ stall: true });
  await page.evaluate((proxy) => void rig.line({ reconnect: { baseDelayMs: 60_000, maxAttempts: 0 } }, proxy), gateway.proxy);
  await page.evaluate(() => rig.until(() => rig.main.stats().sockets === 1));
  await page.goto(`${gateway.url}blank.html`);
  await gateway.faults({});
  await page.goBack({ waitUntil: "commit" });
  await page.evaluate(() => rig.until(() => rig.log.some(({ type }) => type === "ws-connected")));
  expect(await details(page, "ws-connected")).toMatchObject([{ attempt: 0 }]);
  expect(await types(page)).not.toContain("ws-failed");
});

test("a hidden page is parked, dials nothing, and sends what it kept when it is seen", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  const seen = sockets(page);
  await moored(page, { hidden: "park", hiddenAfterMs: 100, reconnect: { baseDelayMs: 60_000 } });
  await hide(page, true);
  expect(await next(page, "ws-disconnected")).toMatchObject({ code: 1000, wasClean: true, cause: "lifecycle", willReconnect: true });
  await eventually(() => gateway.state(), ({ connections }) => connections.length === 0, "the end of the connection");
  expect(await page.evaluate(() => rig.main.state)).toBe("reconnecting");
  await page.evaluate(() => void [1, 2, 3].map((n) => rig.main.send({ type: "mark", n })));
  await page.evaluate(() => void globalThis.dispatchEvent(new Event("online")));
  expect(await page.evaluate(() => rig.main.stats().queueMessages)).toBe(3);
  expect(await types(page)).not.toContain("ws-reconnecting");
  await hide(page, false);
  expect(await next(page, "ws-connected")).toMatchObject({ attempt: 0, recovered: true });
  const marks = await eventually(() => gateway.received("mark"), ({ length }) => length === 3, "the marks");
  expect(marks.map(({ n }) => n)).toEqual([1, 2, 3]);
  expect(seen).toHaveLength(2);
  expect(await explained(page)).toContain("parked");
});

test("a line that is made in a hidden page knows it", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await hide(page, true);
  await moored(page, { hidden: "park", hiddenAfterMs: 100 });
  expect(await next(page, "ws-disconnected")).toMatchObject({ cause: "lifecycle" });
});

test("a machine that slept asks at once, whatever shows that it did", async ({ launch, open }) => {
  const gateway = await launch("--offer", "on");
  const page = await open(gateway);
  await moored(page, { heartbeat: { idleMs: 600_000 } });
  await page.evaluate(() => rig.until(() => rig.main.stats().rttMs !== undefined));
  const asked = (await gateway.received("ping")).length;
  await page.evaluate(() => {
    const { now } = Date;
    Date.now = () => now() + 3_600_000;
    rig.main.send({ type: "mark" });
  });
  await eventually(() => gateway.received("ping"), ({ length }) => length === asked + 1, "a question");
  // A clock that is set back is no sleep, and hides none.
  await page.evaluate(() => {
    const { now } = Date;
    Date.now = () => now() - 7_200_000;
    // Reads the clock.
    rig.main.stats();
    rig.main.send({ type: "mark" });
    Date.now = () => now() - 7_200_000 + 60_000;
    rig.main.stats();
    rig.main.send({ type: "mark" });
  });
  await eventually(() => gateway.received("mark"), ({ length }) => length === 3, "the marks");
  await eventually(() => gateway.received("ping"), ({ length }) => length === asked + 2, "a question");
  expect(await types(page)).not.toContain("ws-disconnected");
});

test("what is overdue is done when a frame comes, though the timers of the page are held up", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await hide(page, true);
  // From here on timers of more than 50 ms never ring: those of a hidden page do so once a minute.
  await page.evaluate(() => {
    const { setTimeout } = globalThis;
    globalThis.setTimeout = ((act: () => void, ms = 0) => (ms > 50 ? 0 : setTimeout(act, ms))) as typeof globalThis.setTimeout;
  });
  await moored(page, { reconnect: { stableMs: 200 } });
  await page.evaluate(() => rig.until(() => rig.main.explain().length > 3));
  await eventually(
    async () => {
      await gateway.sendFrame({ type: "chat-message", text: "tick" });
      return explained(page);
    },
    (text) => text.includes("stable"),
    "a timer that was overdue",
  );
});
