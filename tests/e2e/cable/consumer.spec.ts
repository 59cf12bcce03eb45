// What a page of Rails' own client relies on, against a real Rails server. The script is written once and runs twice: over
// `createConsumer` of @rails/actioncable, and over the one of moorline/action-cable. What only ours does is in moorline.spec.ts.
import { callbacks, dialled, echoed, eventually, expect, next, subscribed, test } from "./test.js";

const SESSION = { channel: "SessionChannel", session_id: 1 };
const VALUES = [0, false, null, "", [], {}, "text", "</script>\u2028", 1.5, -1, ["nested", { a: null }], { type: "ping" }, { deep: { deeper: [true] } }];

test("subscribe: initialized within create, connected when the server says so", async ({ open, rails }) => {
  const { page } = await open(`${rails.cable}?user=ann`);
  const made = await page.evaluate((params) => {
    const subscription = cable.subscribe("session", params);
    const { consumers, log } = cable;
    const found = consumers["main"]?.subscriptions.findAll(subscription.identifier);
    return { identifier: subscription.identifier, found: found?.length, same: found?.[0] === subscription, heard: log.map(({ what }) => what) };
  }, SESSION);
  expect(made).toEqual({ identifier: JSON.stringify(SESSION), found: 1, same: true, heard: ["initialized"] });
  expect(await next(page, "session", "connected")).toEqual({ reconnected: false });
  expect(await page.evaluate(() => cable.consumers["main"]?.connection.isOpen())).toBe(true);
  const { connections } = await rails.state();
  expect(connections).toEqual([{ user: "ann", subscriptions: [JSON.stringify(SESSION)] }]);
});

test("nothing is dialled before the first subscription", async ({ open, rails }) => {
  const before = (await rails.state()).asked;
  const tab = await open();
  expect(await tab.page.evaluate(() => cable.consumers["main"]?.connection.isOpen())).toBe(false);
  expect(tab.sockets).toEqual([]);
  await subscribed(tab.page, "echo", "EchoChannel");
  expect(tab.sockets.length).toBe(1);
  expect((await rails.state()).asked).toBe(before + 1);
});

test("a channel may be named or described, and what is mixed in is the subscription's own", async ({ open }) => {
  const { page } = await open();
  const identifiers = await page.evaluate(() => {
    const more = {
      label: "mine",
      shout(this: any, text: string) {
        this.perform("echo", { value: text.toUpperCase() });
      },
      received(this: any, message: unknown) {
        this.seen = [this.label, message];
      },
    };
    const named = cable.subscribe("named", "EchoChannel", { more });
    const described = cable.subscribe("described", { room: 7, channel: "EchoChannel", more: { tags: ["a"] } });
    return [named.identifier, described.identifier];
  });
  expect(identifiers).toEqual(['{"channel":"EchoChannel"}', '{"room":7,"channel":"EchoChannel","more":{"tags":["a"]}}']);
  await next(page, "named", "connected");
  await next(page, "described", "connected");
  await page.evaluate(() => cable.subscriptions["named"]?.["shout"]("hello"));
  expect(await next(page, "named", "received")).toBe("HELLO");
  expect(await page.evaluate(() => cable.subscriptions["named"]?.["seen"])).toEqual(["mine", "HELLO"]);
});

test("perform and received: the agent hears what is said, and both are told", async ({ open }) => {
  const { page } = await open();
  await subscribed(page, "session", SESSION);
  const said = await page.evaluate(() => {
    const data: Record<string, unknown> = { content: "hello <there> & \u2028 möwe" };
    const answer = cable.subscriptions["session"]?.perform("speak", data);
    return { answer, data };
  });
  expect(said).toEqual({ answer: true, data: { content: "hello <there> & \u2028 möwe", action: "speak" } });
  // Two broadcasts: with Rails' own adapter their order is anybody's.
  const heard = [await next(page, "session", "received"), await next(page, "session", "received")];
  expect(heard.sort((a, b) => b.type.localeCompare(a.type))).toEqual([
    { type: "user_message", content: "hello <there> & \u2028 möwe" },
    { type: "agent_message", content: "echo: hello <there> & \u2028 möwe" },
  ]);
});

test("with one worker and the inline adapter nothing changes its place", async ({ open, launch }) => {
  const strict = await launch({ adapter: "inline", workers: 1 });
  const { page } = await open(strict.cable);
  await subscribed(page, "session", SESSION);
  const texts = Array.from({ length: 30 }, (_, number) => `line ${number}`);
  await page.evaluate((texts) => {
    for (const content of texts) cable.subscriptions["session"]?.perform("speak", { content });
  }, texts);
  const heard: string[] = [];
  while (heard.length < 2 * texts.length) heard.push((await next(page, "session", "received")).content);
  expect(heard).toEqual(texts.flatMap((text) => [text, `echo: ${text}`]));
});

test("sessions: created, switched, listed; the subscription keeps its name", async ({ open }) => {
  const { page } = await open();
  await subscribed(page, "session", SESSION);
  const perform = (action: string, data: object = {}) =>
    page.evaluate(([action, data]) => void cable.subscriptions["session"]?.perform(action, data), [action, data] as const);
  await perform("speak", { content: "in one" });
  await next(page, "session", "received");
  await next(page, "session", "received");
  await perform("create_session");
  expect(await next(page, "session", "received")).toEqual({ type: "session_changed", session_id: 2 });
  await perform("list_sessions", { limit: 10 });
  const list = await next(page, "session", "received");
  expect(list.sessions.map(({ id, message_count }: { id: number; message_count: number }) => [id, message_count])).toEqual([[2, 0], [1, 2]]);
  await perform("switch_session", { session_id: 99 });
  expect(await next(page, "session", "received")).toEqual({ type: "error", message: "Session not found" });
  await perform("switch_session", { session_id: 1 });
  expect(await next(page, "session", "received")).toEqual({ type: "session_changed", session_id: 1 });
  const history = [await next(page, "session", "received"), await next(page, "session", "received")];
  expect(history.map(({ type }) => type).sort()).toEqual(["agent_message", "user_message"]);
  expect(await page.evaluate(() => cable.subscriptions["session"]?.identifier)).toBe(JSON.stringify(SESSION));
});

test("every JSON value is received, the falsy ones too", async ({ open }) => {
  const { page } = await open();
  await subscribed(page, "echo", "EchoChannel");
  await page.evaluate((values) => void cable.subscriptions["echo"]?.perform("all", { values }), VALUES);
  const heard: unknown[] = [];
  while (heard.length < VALUES.length) heard.push(await next(page, "echo", "received"));
  expect(heard).toEqual(VALUES);
  const entries = await page.evaluate(() => cable.log.filter(({ what }) => what === "received").map(({ given }) => given));
  expect(entries).toEqual(VALUES.map(() => 1));
});

test("send without an action reaches the channel's receive", async ({ open }) => {
  const { page } = await open();
  await subscribed(page, "echo", "EchoChannel");
  expect(await page.evaluate(() => cable.subscriptions["echo"]?.send({ plain: [1] }))).toBe(true);
  expect(await next(page, "echo", "received")).toEqual({ received: { plain: [1] } });
});

test("messages before the confirmation are received before connected", async ({ open }) => {
  const { page } = await open();
  await subscribed(page, "history", { channel: "HistoryChannel", count: 4 });
  expect(await callbacks(page, "history", true)).toEqual(["initialized", "received", "received", "received", "received", "connected"]);
  const numbers = await page.evaluate(() => cable.log.filter(({ what }) => what === "received").map(({ detail }) => detail.number));
  expect(numbers).toEqual([1, 2, 3, 4]);
});

test("rejected: told once, forgotten before it is told, the connection goes on, and it may be tried again", async ({ open, rails }) => {
  const { page } = await open(`${rails.cable}?user=ann`);
  await subscribed(page, "echo", "EchoChannel");
  const reject = (name: string) =>
    page.evaluate((name) => {
      const found = { found: -1 };
      const rejected = () => (found.found = cable.consumers["main"]?.subscriptions.findAll('{"channel":"RejectingChannel"}').length ?? -1);
      cable.subscribe(name, "RejectingChannel", { more: { rejected } });
      return cable.next(name, "rejected").then(() => found.found);
    }, name);
  expect(await reject("refused")).toBe(0);
  expect(await callbacks(page, "refused")).toEqual(["initialized", "rejected"]);
  await echoed(page, "echo", "still here");
  expect(await reject("again")).toBe(0);
  expect(await callbacks(page, "refused")).toEqual(["initialized", "rejected"]);
  // The class of one that is rejected for its parameters serves others.
  await page.evaluate(() => void cable.subscribe("nobody", { channel: "SessionChannel", session_id: -1 }));
  await next(page, "nobody", "rejected");
  await subscribed(page, "session", { channel: "SessionChannel", session_id: 3 });
});

test("a rejected subscription is not asked for again after a reconnect", async ({ open, rails }) => {
  const tab = await open(`${rails.cable}?user=ann`);
  await rejected(tab.page);
  await subscribed(tab.page, "echo", "EchoChannel");
  await rails.post("restart");
  await next(tab.page, "echo", "disconnected");
  await dialled(tab, 1);
  await next(tab.page, "echo", "connected");
  await echoed(tab.page, "echo", "back");
  expect(await callbacks(tab.page, "refused")).toEqual(["initialized", "rejected"]);

  async function rejected(page: typeof tab.page): Promise<void> {
    await page.evaluate(() => void cable.subscribe("refused", "RejectingChannel"));
    await next(page, "refused", "rejected");
  }
});

test("unauthorized: disconnected for good, and connect() tries again with the address of that moment", async ({ open, rails }) => {
  const tab = await open(null);
  const { page, sockets } = tab;
  const before = (await rails.state()).asked;
  await page.evaluate((url) => {
    cable["address"] = `${url}?user=ann&refuse=1`;
    cable.consumer("main", () => cable["address"]);
    cable.subscribe("echo", "EchoChannel");
  }, rails.cable);
  expect(await next(page, "echo", "disconnected")).toEqual({ willAttemptReconnect: false });
  expect(await callbacks(page, "echo")).toEqual(["initialized", "disconnected"]);
  expect(await page.evaluate(() => cable.consumers["main"]?.connection.isActive())).toBe(false);
  // However long it takes: no second attempt.
  for (let minute = 0; minute < 10; minute += 1) await page.clock.fastForward(60_000);
  await page.evaluate((url) => void cable.consumer("witness", `${url}?user=witness`), rails.cable);
  await subscribed(page, "seen", "EchoChannel", "witness");
  await echoed(page, "seen", 1);
  expect(sockets.length).toBe(2);
  expect((await rails.state()).asked).toBe(before + 2);
  await page.evaluate((url) => {
    cable["address"] = `${url}?user=ann`;
    cable.consumers["main"]?.connect();
  }, rails.cable);
  expect(await next(page, "echo", "connected")).toEqual({ reconnected: false });
  await echoed(page, "echo", "let in");
});

test("unsubscribe: the server lets go, no callback comes any more, others go on, and it may be subscribed again", async ({ open, rails }) => {
  const { page, sockets } = await open(`${rails.cable}?user=ann`);
  await subscribed(page, "feed", { channel: "FeedChannel", name: "news" });
  await subscribed(page, "other", { channel: "FeedChannel", name: "sport" });
  await rails.post("broadcast", { stream: "news", messages: ["heard"] });
  expect(await next(page, "feed", "received")).toBe("heard");
  const after = await page.evaluate(() => {
    const feed = cable.subscriptions["feed"];
    const answer = feed?.unsubscribe();
    return { same: answer === feed, left: cable.consumers["main"]?.subscriptions.findAll(feed?.identifier ?? "").length };
  });
  expect(after).toEqual({ same: true, left: 0 });
  const held = () => rails.state().then(({ connections }) => connections.find(({ user }) => user === "ann")?.subscriptions ?? []);
  await eventually(held, (subscriptions) => subscriptions.length === 1, "one subscription left on the server");
  await rails.post("broadcast", { stream: "news", messages: ["unheard"] });
  await rails.post("broadcast", { stream: "sport", messages: ["goal"] });
  expect(await next(page, "other", "received")).toBe("goal");
  expect(await callbacks(page, "feed", true)).toEqual(["initialized", "connected", "received"]);
  await subscribed(page, "feed again", { channel: "FeedChannel", name: "news" });
  await rails.post("broadcast", { stream: "news", messages: ["anew"] });
  expect(await next(page, "feed again", "received")).toBe("anew");
  expect(await callbacks(page, "feed", true)).toEqual(["initialized", "connected", "received"]);
  expect(sockets.length).toBe(1);
});

test("unsubscribe and subscribe of one identifier back to back: the last word holds, every time", async ({ open, rails }) => {
  const { page } = await open();
  const identifier = { channel: "FeedChannel", name: "news" };
  await subscribed(page, "feed 0", identifier);
  for (let number = 1; number <= 30; number += 1) {
    await page.evaluate(
      ([number, identifier]) => {
        cable.subscriptions[`feed ${number - 1}`]?.unsubscribe();
        cable.subscribe(`feed ${number}`, identifier);
      },
      [number, identifier] as const,
    );
    await next(page, `feed ${number}`, "connected");
    await rails.post("broadcast", { stream: "news", messages: [number] });
    expect(await next(page, `feed ${number}`, "received")).toBe(number);
  }
});

test("subscriptions of one consumer share a socket; two of one identifier share what is received", async ({ open, rails }) => {
  const { page, sockets } = await open(`${rails.cable}?user=ann`);
  await subscribed(page, "first", { channel: "FeedChannel", name: "news" });
  await page.evaluate(() => void cable.subscribe("second", { channel: "FeedChannel", name: "news" }));
  await subscribed(page, "echo", "EchoChannel");
  await rails.post("broadcast", { stream: "news", messages: ["for both"] });
  expect(await next(page, "first", "received")).toBe("for both");
  expect(await next(page, "second", "received")).toBe("for both");
  // One of the two goes: the server is not told, and the other hears on.
  await page.evaluate(() => {
    const first = cable.subscriptions["first"];
    if (first) cable.consumers["main"]?.subscriptions.remove(first);
  });
  await echoed(page, "echo", "the server has read what came before");
  await rails.post("broadcast", { stream: "news", messages: ["for one"] });
  expect(await next(page, "second", "received")).toBe("for one");
  expect((await callbacks(page, "first", true)).filter((what) => what === "received").length).toBe(1);
  expect(sockets.length).toBe(1);
  expect((await rails.state()).connections.length).toBe(1);
});

test("two consumers are two connections", async ({ open, rails }) => {
  const { page } = await open(`${rails.cable}?user=ann`);
  await page.evaluate((url) => void cable.consumer("second", `${url}?user=ben`), rails.cable);
  await subscribed(page, "a", { channel: "EchoChannel", n: 1 });
  await subscribed(page, "b", { channel: "EchoChannel", n: 1 }, "second");
  const { connections } = await rails.state();
  expect(connections.map(({ user }) => user).sort()).toEqual(["ann", "ben"]);
  await echoed(page, "a", "to ann");
  await echoed(page, "b", "to ben");
});

test("disconnect() is final until connect(), which brings every subscription back", async ({ open, rails }) => {
  const { page, sockets } = await open(`${rails.cable}?user=ann`);
  await subscribed(page, "echo", "EchoChannel");
  await subscribed(page, "history", { channel: "HistoryChannel", count: 1 });
  await page.evaluate(() => void cable.consumers["main"]?.disconnect());
  expect(await next(page, "echo", "disconnected")).toEqual({ willAttemptReconnect: false });
  expect(await next(page, "history", "disconnected")).toEqual({ willAttemptReconnect: false });
  expect(await page.evaluate(() => cable.consumers["main"]?.connection.isOpen())).toBe(false);
  await eventually(() => rails.state(), ({ connections }) => connections.length === 0, "the server's end of the connection");
  for (let minute = 0; minute < 10; minute += 1) await page.clock.fastForward(60_000);
  expect(sockets.length).toBe(1);
  await page.evaluate(() => void cable.consumers["main"]?.connect());
  await next(page, "echo", "connected");
  await next(page, "history", "connected");
  await echoed(page, "echo", "back");
  expect(sockets.length).toBe(2);
});

test("the address may be relative, of HTTP, a function, or the page's meta tag", async ({ open, site }) => {
  const { page } = await open(null);
  const urls = await page.evaluate(() => {
    const meta = document.createElement("meta");
    meta.name = "action-cable-url";
    meta.content = "wss://meta.example/cable";
    const bare = cable.createConsumer().url;
    document.head.append(meta);
    let token = 0;
    const fresh = cable.createConsumer(() => `ws://gateway.example/cable?token=${(token += 1)}`);
    return {
      bare,
      meta: cable.createConsumer().url,
      relative: cable.createConsumer("/deep/cable?a=1").url,
      http: cable.createConsumer("https://gateway.example/cable").url,
      fresh: [fresh.url, fresh.url],
    };
  });
  const host = site.origin.replace("http", "ws");
  expect(urls).toEqual({
    bare: `${host}/cable`,
    meta: "wss://meta.example/cable",
    relative: `${host}/deep/cable?a=1`,
    http: "wss://gateway.example/cable",
    fresh: ["ws://gateway.example/cable?token=1", "ws://gateway.example/cable?token=2"],
  });
});

test("restart by ActionCable.server.restart: told of the loss, back, subscribed again", async ({ open, rails }) => {
  const tab = await open(`${rails.cable}?user=ann`);
  const { page } = tab;
  await subscribed(page, "history", { channel: "HistoryChannel", count: 1 });
  await rails.post("restart");
  expect(await next(page, "history", "disconnected")).toEqual({ willAttemptReconnect: true });
  await dialled(tab, 1);
  expect(await next(page, "history", "connected")).toEqual({ reconnected: true });
  expect(await callbacks(page, "history", true)).toEqual(["initialized", "received", "connected", "disconnected", "received", "connected"]);
  await page.evaluate(() => void cable.subscriptions["history"]?.perform("echo", { value: "back" }));
  await next(page, "history", "received");
  await next(page, "history", "received");
  expect(await next(page, "history", "received")).toBe("back");
  const { connections } = await rails.state();
  expect(connections).toEqual([{ user: "ann", subscriptions: ['{"channel":"HistoryChannel","count":1}'] }]);
});

for (const signal of ["SIGKILL", "SIGTERM"] as const) {
  test(`the process ended by ${signal} and started again: told of the loss, back, subscribed again`, async ({ open, rails }) => {
    const tab = await open(`${rails.cable}?user=ann`);
    const { page } = tab;
    await subscribed(page, "echo", "EchoChannel");
    await rails.stop(signal);
    expect(await next(page, "echo", "disconnected")).toEqual({ willAttemptReconnect: true });
    // An attempt that is refused tells nobody.
    await dialled(tab, 1);
    await eventually(() => tab.sockets.every(({ closed }) => closed), Boolean, "every socket's end");
    expect(await callbacks(page, "echo")).toEqual(["initialized", "connected", "disconnected"]);
    await rails.start();
    await dialled(tab, tab.sockets.length);
    expect(await next(page, "echo", "connected")).toEqual({ reconnected: true });
    await echoed(page, "echo", "back");
    expect(await callbacks(page, "echo")).toEqual(["initialized", "connected", "disconnected", "connected"]);
  });
}

test("half-open: a suspended server is noticed, and served again when it runs again", async ({ open, rails }) => {
  const tab = await open(`${rails.cable}?user=ann`);
  const { page } = tab;
  await subscribed(page, "echo", "EchoChannel");
  rails.suspend();
  await dialled(tab, 1);
  rails.resume();
  expect(await next(page, "echo", "connected")).toEqual({ reconnected: true });
  await echoed(page, "echo", "back");
  await eventually(() => rails.state(), ({ connections }) => connections.length === 1, "the old connection's end");
});

test("silence is noticed: without pings and data the connection is made anew", async ({ open, rails }) => {
  const { page } = await open(`${rails.cable}?user=ann`);
  await subscribed(page, "echo", "EchoChannel");
  await rails.post("mute");
  // No hurry here: the server still answers, and a closing handshake takes its time.
  expect(await next(page, "echo", "disconnected")).toEqual({ willAttemptReconnect: true });
  await rails.post("mute", { on: false });
  expect(await next(page, "echo", "connected")).toEqual({ reconnected: true });
  await echoed(page, "echo", "back");
});

test("data is as good as a ping: without pings a connection lives as long as something comes", async ({ open, rails }) => {
  const { page, sockets } = await open(`${rails.cable}?user=ann`);
  await subscribed(page, "feed", { channel: "FeedChannel", name: "news" });
  await rails.post("mute");
  for (let number = 0; number < 20; number += 1) {
    await rails.post("broadcast", { stream: "news", messages: [number] });
    expect(await next(page, "feed", "received")).toBe(number);
    await page.clock.fastForward(2500);
  }
  expect(sockets.length).toBe(1);
  expect(await callbacks(page, "feed")).toEqual(["initialized", "connected"]);
});

test("strict origin: the page's own is let in", async ({ open, rails, site }) => {
  await rails.post("origin", { allowed: [site.origin] });
  const { page, sockets } = await open();
  await subscribed(page, "echo", "EchoChannel");
  await echoed(page, "echo", "let in");
  expect(sockets.length).toBe(1);
});

test("strict origin: a foreign page hears nothing, tries on, and is let in when the server changes its mind", async ({ open, rails }) => {
  await rails.post("origin", { allowed: ["https://elsewhere.example"] });
  const tab = await open();
  const { page, sockets } = tab;
  await page.evaluate(() => void cable.subscribe("echo", "EchoChannel"));
  await eventually(() => sockets, (all) => all[0]?.closed === true, "the refusal");
  await dialled(tab, 1);
  await eventually(() => sockets, (all) => all[1]?.closed === true, "the second refusal");
  expect(await callbacks(page, "echo")).toEqual(["initialized"]);
  await rails.post("origin", { strict: false });
  await dialled(tab, sockets.length);
  await next(page, "echo", "connected");
  await echoed(page, "echo", "let in");
  expect(await callbacks(page, "echo")).toEqual(["initialized", "connected"]);
});

test("the application closes: with reconnect it is back, without it stays away", async ({ open, rails }) => {
  const tab = await open(`${rails.cable}?user=ann`);
  const { page, sockets } = tab;
  await subscribed(page, "echo", "EchoChannel");
  await rails.post("close", { reason: "moving house", reconnect: true });
  expect(await next(page, "echo", "disconnected")).toEqual({ willAttemptReconnect: true });
  await dialled(tab, 1);
  await next(page, "echo", "connected");
  await rails.post("close", { reason: "thrown out", reconnect: false });
  expect(await next(page, "echo", "disconnected")).toEqual({ willAttemptReconnect: false });
  const before = sockets.length;
  for (let minute = 0; minute < 10; minute += 1) await page.clock.fastForward(60_000);
  await page.evaluate((url) => void cable.consumer("witness", `${url}?user=witness`), rails.cable);
  await subscribed(page, "seen", "EchoChannel", "witness");
  expect(sockets.length).toBe(before + 1);
});

test("the remote disconnect of one user is a loss like any other, to that user alone", async ({ open, rails }) => {
  const tab = await open(`${rails.cable}?user=ann`);
  const { page } = tab;
  await page.evaluate((url) => void cable.consumer("ben", `${url}?user=ben`), rails.cable);
  await subscribed(page, "echo", "EchoChannel");
  await subscribed(page, "bens", "EchoChannel", "ben");
  await rails.post("disconnect", { user: "ann" });
  expect(await next(page, "echo", "disconnected")).toEqual({ willAttemptReconnect: true });
  await echoed(page, "bens", "never gone");
  expect(await callbacks(page, "bens")).toEqual(["initialized", "connected"]);
  await dialled(tab, 2);
  await next(page, "echo", "connected");
});
