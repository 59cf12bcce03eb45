// What becomes of what waits (`queue.persist`) when its page is left, in every engine: the page that comes next sends it, be it
// the same one out of the back/forward cache or another.
import { eventually, expect, numbers, test, upTo } from "./test.js";

const KEEP = { queue: { persist: true }, reconnect: { baseDelayMs: 40 } };

test("a page that is come back to with nothing to keep holds a place again, and keeps", async ({ launch, app }) => {
  const gateway = await launch();
  const page = await app(gateway, KEEP);
  await page.next("ws-connected");
  await page.run(() => rig.until(() => rig.main.stats().keptMessages === 0));
  await page.tab.goto(`${gateway.url}away.html`);
  await page.tab.back();
  await page.there();
  await page.send("mark", 3);
  expect(await numbers(gateway, "mark", 3)).toEqual(upTo(3));
  await eventually(() => page.run(async () => (await navigator.locks.query()).held!.length), (held) => held === 1, "one place");
});

for (const way of ["back", "on"]) {
  test(`what waits when its page is left is sent by the page that the user goes ${way} to`, async ({ launch, app }) => {
    const gateway = await launch();
    const page = await app(gateway, KEEP);
    await page.next("ws-connected");
    await gateway.post("down", { code: 1011 });
    await page.next("ws-disconnected");
    await page.send("mark", 5);
    await page.run(() => rig.until(() => rig.main.stats().keptMessages === 5));
    await page.tab.goto(`${gateway.url}away.html`);
    await gateway.post("up");
    if (way === "back") {
      await page.tab.back();
      await page.there();
    } else {
      await page.open({ ...KEEP, connectTimeoutMs: 9999 }, undefined);
    }
    await page.run(() => rig.main.connect());
    expect(await numbers(gateway, "mark", 5)).toEqual(upTo(5));
    await page.run(() => rig.until(() => rig.main.stats().keptMessages === 0));
    expect(await page.faults()).toEqual([]);
  });
}

test("what waits goes from page to page until one of them can send it", async ({ launch, app }) => {
  const gateway = await launch();
  const page = await app(gateway, KEEP);
  await page.next("ws-connected");
  await gateway.post("down", { code: 1011 });
  await page.next("ws-disconnected");
  await page.send("mark", 5);
  await page.run(() => rig.until(() => rig.main.stats().keptMessages === 5));
  for (let n = 1; n < 6; n++) {
    await page.open({ ...KEEP, connectTimeoutMs: 9000 + n }, undefined);
    await page.run(() => rig.until(() => rig.main.stats().keptMessages === 5));
  }
  await gateway.post("up");
  await page.run(() => rig.main.connect());
  expect(await numbers(gateway, "mark", 5)).toEqual(upTo(5));
});
