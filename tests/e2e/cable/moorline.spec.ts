// What moorline/action-cable does and Rails' own client does not, against the same real server. What both do is in
// consumer.spec.ts.
import { callbacks, dialled, echoed, eventually, expect, next, subscribed, test } from "./test.js";

test("a perform before the confirmation waits for it, and keeps its place", async ({ open, launch }) => {
  const strict = await launch({ adapter: "inline", workers: 1 });
  const { page, sockets } = await open(strict.cable);
  const answers = await page.evaluate(() => {
    const subscription = cable.subscribe("echo", "EchoChannel");
    return [1, 2, 3].map((value) => subscription.perform("echo", { value }));
  });
  expect(answers).toEqual([true, true, true]);
  const heard = [await next(page, "echo", "received"), await next(page, "echo", "received"), await next(page, "echo", "received")];
  expect(heard).toEqual([1, 2, 3]);
  expect(sockets[0]?.sent.map(({ command }) => command)).toEqual(["subscribe", "message", "message", "message"]);
});

test("a perform while the server is away goes out when it is back, once", async ({ open, rails }) => {
  const tab = await open();
  const { page } = tab;
  await subscribed(page, "echo", "EchoChannel");
  await rails.stop();
  await next(page, "echo", "disconnected");
  expect(await page.evaluate(() => cable.subscriptions["echo"]?.perform("echo", { value: "waited" }))).toBe(true);
  await rails.start();
  await dialled(tab, tab.sockets.length);
  await next(page, "echo", "connected");
  expect(await next(page, "echo", "received")).toBe("waited");
  await echoed(page, "echo", "after it");
});

test("half-open: the loss is told before the return", async ({ open, rails }) => {
  const tab = await open();
  const { page } = tab;
  await subscribed(page, "echo", "EchoChannel");
  rails.suspend();
  await dialled(tab, 1);
  expect(await next(page, "echo", "disconnected")).toEqual({ willAttemptReconnect: true });
  rails.resume();
  expect(await next(page, "echo", "connected")).toEqual({ reconnected: true });
  await echoed(page, "echo", "back");
  expect(await callbacks(page, "echo")).toEqual(["initialized", "connected", "disconnected", "connected"]);
});

test("a socket that never opens is given up for another", async ({ open, rails }) => {
  const tab = await open();
  const { page } = tab;
  rails.suspend();
  await page.evaluate(() => void cable.subscribe("echo", "EchoChannel"));
  await dialled(tab, 1);
  await dialled(tab, 2);
  rails.resume();
  expect(await next(page, "echo", "connected")).toEqual({ reconnected: false });
  await echoed(page, "echo", "let in");
  expect(await callbacks(page, "echo")).toEqual(["initialized", "connected"]);
  await eventually(() => rails.state(), ({ connections }) => connections.length === 1, "the end of the sockets that were given up");
});

test("disconnect() ends a socket that is still connecting", async ({ open, rails }) => {
  const { page, sockets } = await open();
  rails.suspend();
  await page.evaluate(() => void cable.subscribe("echo", "EchoChannel"));
  await eventually(() => sockets.length, (count) => count === 1, "the first socket");
  await page.evaluate(() => void cable.consumers["main"]?.disconnect());
  await eventually(() => sockets, (all) => all[0]?.closed === true, "its end");
  expect(await page.evaluate(() => cable.consumers["main"]?.connection.isActive())).toBe(false);
  rails.resume();
  for (let minute = 0; minute < 10; minute += 1) await page.clock.fastForward(60_000);
  expect(sockets.length).toBe(1);
});

test("after a reconnect every subscription is told that it is one", async ({ open, rails }) => {
  const tab = await open();
  const { page } = tab;
  const names = ["a", "b", "c"];
  for (const name of names) await subscribed(page, name, { channel: "EchoChannel", name });
  await rails.post("restart");
  for (const name of names) await next(page, name, "disconnected");
  await dialled(tab, 1);
  for (const name of names) expect(await next(page, name, "connected")).toEqual({ reconnected: true });
});

test("a second subscription of one identifier is connected as well, and the server is asked once", async ({ open }) => {
  const { page, sockets } = await open();
  await subscribed(page, "first", "EchoChannel");
  expect(await subscribed(page, "second", "EchoChannel")).toEqual({ reconnected: false });
  await echoed(page, "first", "to both");
  expect(await next(page, "second", "received")).toBe("to both");
  expect(await callbacks(page, "first")).toEqual(["initialized", "connected"]);
  expect(sockets[0]?.sent.filter(({ command }) => command === "subscribe").length).toBe(1);
});

test("a subscription that the server never answers is asked for a few times, and others are served", async ({ open, rails }) => {
  const { page, sockets } = await open();
  await subscribed(page, "feed", { channel: "FeedChannel", name: "life" });
  await page.evaluate(() => void cable.subscribe("nobody", "NoSuchChannel"));
  // Ten minutes, in which data keeps the connection alive.
  for (let number = 0; number < 240; number += 1) {
    await rails.post("broadcast", { stream: "life", messages: [number] });
    expect(await next(page, "feed", "received")).toBe(number);
    await page.clock.fastForward(2500);
  }
  const asked = sockets.flatMap(({ sent }) => sent.filter(({ command, identifier }) => command === "subscribe" && identifier?.includes("NoSuchChannel")));
  expect(asked.length).toBeGreaterThan(1);
  expect(asked.length).toBeLessThan(12);
  expect(await callbacks(page, "feed")).toEqual(["initialized", "connected"]);
  expect((await callbacks(page, "nobody")).includes("connected")).toBe(false);
});
