/** Action Cable in Chromium, against the development gateway: answers that are whole and stand once, whatever the line does. */
import type { MoorlineError } from "moorline/action-cable";
import type { AgentSession, Said } from "moorline/agent-session";
import { eventually, expect, type Gateway, type Page, test } from "./support/test.js";

type Module = typeof import("moorline/action-cable");
interface Heard {
  type: string;
  detail: any;
}
interface Cable {
  Moorline: Module["Moorline"];
  AgentSession: typeof AgentSession;
  line: InstanceType<Module["Moorline"]>;
  agent: AgentSession;
  subscription: import("moorline/action-cable").CableSubscription;
  log: Heard[];
  kept: Record<string, any>;
  note(type: string, detail: unknown): void;
}
declare global {
  var wire: Cable;
}

const LINE = ["ws-connected", "ws-disconnected", "ws-reconnecting", "ws-failed", "ws-error", "ws-unhandled"];

/** A page with a line to the cable: to the gateway itself, or through the fault proxy. */
async function moored(open: (gateway: Gateway, path?: string) => Promise<Page>, gateway: Gateway, { base = gateway.ws, query = "", anycable = false, options = {} } = {}): Promise<Page> {
  const page = await open(gateway, "blank.html");
  await page.evaluate(
    async ([url, anycable, options, types]) => {
      const { Moorline } = (await import("/pkg/action-cable.js" as string)) as Module;
      const { AgentSession } = (await import("/pkg/agent-session.js" as string)) as typeof import("moorline/agent-session");
      const line = new Moorline(url, { target: null, actionCable: { anycable }, ...options });
      const log: Heard[] = [];
      globalThis.wire = { Moorline, AgentSession, line, log, kept: {}, note: (type, detail) => void log.push({ type, detail }) } as Cable;
      for (const type of types) line.on(type, ((detail: any) => wire.note(type, type === "ws-error" ? { code: detail.code } : detail)) as (detail: never) => void);
      line.connect();
    },
    [new URL(`/cable${query}`, base).href, anycable, options, LINE] as const,
  );
  await heard(page, "ws-connected");
  return page;
}

const log = (page: Page, type: string): Promise<any[]> => page.evaluate((type) => wire.log.filter((one) => one.type === type).map(({ detail }) => detail), type);
const heard = (page: Page, type: string, count = 1) => eventually(() => log(page, type), (all) => all.length >= count, `${count} × ${type}`);

/** A talk with the agent; what is told of it is in the log. */
function talk(page: Page, session = 7, channel = "AgentChannel"): Promise<void> {
  return page.evaluate(
    ([session, channel]) => {
      const agent = (wire.agent = new wire.AgentSession(wire.line, { channel, sessionId: session }));
      for (const type of ["confirmed", "away", "gap", "resumed", "rejected"] as const)
        agent.subscription.on(type, (detail: any) => wire.note(type, type === "rejected" ? { code: detail.code, message: detail.message } : detail));
      for (const type of ["session", "sessions", "refused"] as const) agent.addEventListener(type, ({ detail }) => wire.note(type, detail));
    },
    [session, channel] as const,
  );
}

const said = (page: Page): Promise<Said[]> => page.evaluate(() => wire.agent.messages as Said[]);
const speak = (page: Page, content: string) => page.evaluate((content) => wire.agent.speak(content), content);
/** What there is to read, once no answer grows any more. */
const finished = (page: Page, count: number) =>
  eventually(() => said(page), (all) => all.length >= count && all.every(({ streaming, pending }) => !streaming && !pending), `${count} finished messages`, 30_000);
const growing = (page: Page, words: number) =>
  eventually(() => said(page), (all) => all.some(({ streaming, content }) => !!streaming && content.split(" ").length >= words), "a growing answer");
const plain = (messages: Said[]) => messages.map(({ role, content }) => ({ role, content }));

/** What the server has of a session, read by somebody who was never away. */
async function truth(open: (gateway: Gateway, path?: string) => Promise<Page>, gateway: Gateway, session = 7): Promise<{ role: string; content: string }[]> {
  const page = await moored(open, gateway);
  await talk(page, session);
  await heard(page, "confirmed");
  const all = plain(await said(page));
  await page.close();
  return all;
}

test("an answer streams in, word by word, and stands once", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway);
  await talk(page);
  await speak(page, "words:40 pace:5");
  await growing(page, 3);
  const all = await finished(page, 2);
  expect(all.map(({ role }) => role)).toEqual(["user", "assistant"]);
  expect(all[1]?.content.split(" ").length).toBe(40);
  expect(plain(all)).toEqual(await truth(open, gateway));
});

test("an answer is cancelled, and what there was of it stays", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway);
  await talk(page);
  await speak(page, "words:2000 pace:10");
  await growing(page, 5);
  await page.evaluate(() => wire.agent.cancel());
  const all = await finished(page, 2);
  expect(all[1]).toMatchObject({ role: "assistant", outcome: "cancelled" });
  expect(all[1]!.content.split(" ").length).toBeLessThan(2000);
});

for (const anycable of [false, true]) {
  test(`the line is cut in the middle of an answer; ${anycable ? "AnyCable plays again what was missed" : "the channel says what was missed"}`, async ({ launch, open }) => {
    const gateway = await launch();
    const page = await moored(open, gateway, { base: gateway.proxy, anycable });
    await talk(page);
    await heard(page, "confirmed");
    await speak(page, "words:150 pace:20");
    await growing(page, 5);
    await gateway.faults({ reset: true });
    await heard(page, "away");
    await gateway.faults({});
    await heard(page, "confirmed", 2);
    expect((await log(page, "ws-reconnecting"))[0].delayMs).toBeLessThan(2000);
    expect((await log(page, "ws-connected"))[1]).toMatchObject({ recovered: anycable });
    expect(await log(page, "confirmed")).toEqual([{ reconnected: false }, { reconnected: true }]);
    if (anycable) await heard(page, "resumed");
    else expect(await log(page, "gap")).toEqual([{ reason: "no-history" }]);
    const all = await finished(page, 2);
    expect(plain(all)).toEqual(await truth(open, gateway));
    expect(all[1]?.content.split(" ").length).toBe(150);
  });
}

test("the server restarts in the middle of an answer: back in two seconds, whole and once", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway);
  await talk(page);
  await heard(page, "confirmed");
  await speak(page, "words:100 pace:20");
  await growing(page, 5);
  await gateway.post("cable/restart");
  expect((await heard(page, "ws-disconnected"))[0]).toMatchObject({ cause: "server-restart", code: 1000, willReconnect: true });
  await heard(page, "confirmed", 2);
  expect(plain(await finished(page, 2))).toEqual(await truth(open, gateway));
});

test("AnyCable: history that is gone is a gap, and said", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway, { anycable: true });
  await page.evaluate(() => {
    const room = (wire.subscription = wire.line.subscribe({ channel: "RoomChannel", room: "r" }));
    for (const type of ["confirmed", "message", "gap", "resumed"] as const) room.on(type, (detail: unknown) => wire.note(type, detail));
  });
  await heard(page, "confirmed");
  await gateway.post("cable/broadcast", { stream: "room_r", message: "before" });
  await heard(page, "message");
  await gateway.post("cable/forget", { history: true, epoch: true });
  await gateway.post("cable/kill");
  expect(await heard(page, "gap")).toEqual([{ reason: "history-rejected" }]);
  await gateway.post("cable/broadcast", { stream: "room_r", message: "after" });
  expect(await heard(page, "message", 2)).toEqual(["before", "after"]);
});

test("AnyCable: what was sent while away comes once, and what comes twice is heard once", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway, { anycable: true, query: "?repeat=true" });
  await page.evaluate(() => {
    const room = (wire.subscription = wire.line.subscribe({ channel: "RoomChannel", room: "r" }));
    for (const type of ["confirmed", "message", "gap", "resumed", "presence"] as const) room.on(type, (detail: unknown) => wire.note(type, detail));
  });
  await heard(page, "confirmed");
  await gateway.post("cable/broadcast", { stream: "room_r", message: 1 });
  await gateway.post("cable/kill", { downMs: 300 });
  await heard(page, "ws-disconnected");
  for (const message of [2, 3]) await gateway.post("cable/broadcast", { stream: "room_r", message });
  await heard(page, "resumed");
  await gateway.post("cable/broadcast", { stream: "room_r", message: 4 });
  await heard(page, "message", 4);
  expect(await log(page, "message")).toEqual([1, 2, 3, 4]);
  expect(await log(page, "gap")).toEqual([]);
  // Presence and whispers, which only this server has.
  await page.evaluate(async () => {
    await wire.subscription.join({ id: "ada", info: { name: "Ada" } });
    await wire.subscription.whisper({ typing: true });
    await wire.subscription.presence();
  });
  const present = await eventually(() => log(page, "presence"), (all) => all.some(({ type }) => type === "info"), "who is present");
  expect(present.find(({ type }) => type === "info").records).toEqual([expect.objectContaining({ id: "ada" })]);
});

test("what only AnyCable has is refused over a plain connection, in words", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway);
  const refused = await page.evaluate(async () => {
    const room = wire.line.subscribe({ channel: "RoomChannel" });
    return room.whisper(1).catch((error: MoorlineError) => ({ code: error.code, message: error.message }));
  });
  expect(refused).toMatchObject({ code: "call.unsupported" });
});

test("swapped broadcasts, sessions that are made, left and come back to, through a reconnect", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway, { query: "?broadcasts=swap&client=swapped" });
  await talk(page, 1, "SessionChannel");
  await speak(page, "one");
  const first = await finished(page, 2);
  expect(plain(first)).toEqual([
    { role: "user", content: "one" },
    { role: "assistant", content: "echo: one" },
  ]);
  await page.evaluate(() => wire.agent.createSession());
  const [{ id }] = await heard(page, "session");
  expect(id).toBeGreaterThan(1);
  expect(await said(page)).toEqual([]);
  await speak(page, "two");
  await finished(page, 2);
  await page.evaluate(() => wire.agent.listSessions(10));
  const [sessions] = await heard(page, "sessions");
  expect(sessions.map(({ id }: { id: number }) => id).slice(0, 2)).toEqual([id, 1]);
  // The subscription still bears the first session's name, and comes back to it; the page is where it was.
  await gateway.post("cable/kill", { client: "swapped" });
  await heard(page, "away");
  const spoken = speak(page, "three");
  await heard(page, "confirmed", 2);
  await spoken;
  expect(plain(await finished(page, 4))).toEqual([
    { role: "user", content: "two" },
    { role: "assistant", content: "echo: two" },
    { role: "user", content: "three" },
    { role: "assistant", content: "echo: three" },
  ]);
  expect(await page.evaluate(() => wire.agent.sessionId)).toBe(id);
  await page.evaluate(() => wire.agent.switchSession(1));
  await heard(page, "session", 2);
  await eventually(() => said(page), (all) => all.length === 2, "the first session's messages");
  expect(plain(await said(page))).toEqual(plain(first));
  await page.evaluate(() => wire.agent.switchSession(99));
  expect(await heard(page, "refused")).toEqual([{ message: "Session not found" }]);
  expect(plain(await said(page))).toEqual(plain(first));
});

test("performs wait for the confirmation, whatever order the server takes commands in", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway, { query: "?commands=reverse&batch=4&confirmMs=200" });
  const heardBack = await page.evaluate(async () => {
    const echo = wire.line.subscribe({ channel: "EchoChannel" });
    const heard: unknown[] = [];
    echo.on("message", (message) => heard.push(message));
    await Promise.all(Array.from({ length: 10 }, (_, value) => echo.perform("value", { value })));
    while (heard.length < 10) await new Promise((resolve) => setTimeout(resolve, 20));
    return heard;
  });
  expect(heardBack.sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("left and subscribed again at once, a hundred times: always confirmed in the end, and the server knows it", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway, { query: "?client=hasty&unsubscribeMs=200" });
  const heardBack = await page.evaluate(async () => {
    let echo = wire.line.subscribe({ channel: "EchoChannel" });
    for (let round = 0; round < 100; round++) {
      if (round % 10 === 0) await echo.perform("value", { value: round });
      echo.unsubscribe();
      echo = wire.line.subscribe({ channel: "EchoChannel" });
    }
    const heard = new Promise((resolve) => echo.on("message", resolve));
    await echo.perform("value", { value: "at last" });
    return heard;
  });
  expect(heardBack).toBe("at last");
});

test("a subscription that is refused, one that nobody answers, one that was lost: each says so, or is mended", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway, { query: "?loseSubscribes=1" });
  const ends = await page.evaluate(async () => {
    const end = (channel: string) =>
      new Promise((resolve) => {
        const subscription = wire.line.subscribe(channel);
        subscription.on("rejected", ({ code, message }) => resolve({ code, message }));
        subscription.on("confirmed", () => resolve("confirmed"));
      });
    return Promise.all([end("EchoChannel"), end("RejectChannel"), end("NoSuchChannel"), end("BrokenChannel"), end("LateChannel")]);
  });
  expect(ends).toEqual([
    "confirmed",
    expect.objectContaining({ code: "subscription.rejected" }),
    { code: "subscription.unconfirmed", message: expect.stringContaining("there is no such channel") },
    { code: "subscription.unconfirmed", message: expect.stringContaining("raised an error") },
    "confirmed",
  ]);
});

test("not let in: the end, with the server's own frame; with another address it is let in", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  const failed = await page.evaluate(async (url) => {
    const { Moorline } = (await import("/pkg/action-cable.js" as string)) as Module;
    let token = "bad";
    const line = new Moorline(() => `${url}?token=${token}`, { target: null });
    const failed = new Promise((resolve) => line.on("ws-failed", resolve));
    const connected = new Promise((resolve) => line.on("ws-connected", resolve));
    line.connect();
    const detail = await failed;
    token = "good";
    line.connect();
    await connected;
    return detail;
  }, new URL("/cable", gateway.ws).href);
  expect(failed).toMatchObject({ cause: "unauthorized", frame: { type: "disconnect", reason: "unauthorized", reconnect: false } });
});

test("a loop hears every message, ends with the subscription, and says when it is too slow", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway);
  const { heard, ended, slow } = await page.evaluate(async () => {
    const echo = wire.line.subscribe<unknown>({ channel: "EchoChannel" });
    const loop = (async () => {
      const heard: unknown[] = [];
      for await (const message of echo) if (heard.push(message) === 4) echo.unsubscribe();
      return heard;
    })();
    for (const value of [0, false, null, ""]) await echo.perform("value", { value });
    const heard = await loop;
    // A body that takes one message and then thinks: what it does not take is counted.
    const many = wire.line.subscribe<number>({ channel: "EchoChannel", room: "many" });
    let taken = 0;
    const all = new Promise<void>((resolve) => many.on("message", (n) => n === 1500 && resolve()));
    const slow = (async () => {
      try {
        for await (const _ of many) {
          if (taken++ === 0) await all;
        }
        return "ended";
      } catch (error) {
        return { code: (error as MoorlineError).code, taken };
      }
    })();
    await many.perform("count", { n: 1500 });
    return { heard, ended: echo.state, slow: await slow };
  });
  expect(heard).toEqual([0, false, null, ""]);
  expect(ended).toBe("ended");
  expect(slow).toEqual({ code: "subscription.overflow", taken: 1001 });
});

test("silence, garbage and odd frames from the server are survived, and said", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway);
  await talk(page);
  await heard(page, "confirmed");
  await gateway.post("cable/send", { text: "{" });
  await gateway.post("cable/send", { binaryBase64: "AAEC" });
  await gateway.post("cable/send", { frame: { type: "confirm_subscription" } });
  await gateway.post("cable/send", { frame: { type: "tomorrow", x: 1 } });
  await gateway.post("cable/send", { frame: [1] });
  await gateway.post("cable/send", { frame: { identifier: "{}", message: 1 } });
  await heard(page, "ws-unhandled", 3);
  expect((await log(page, "ws-error")).map(({ code }) => code)).toEqual(["frame.not-json", "frame.binary", "frame.malformed"]);
  await gateway.post("cable/config", { pings: false });
  expect((await eventually(() => log(page, "ws-disconnected"), (all) => all.length > 0, "the silence", 15_000))[0]).toMatchObject({ cause: "heartbeat" });
  await gateway.post("cable/config", { pings: true });
  await heard(page, "confirmed", 2);
  await speak(page, "still here pace:0");
  await finished(page, 2);
});

test("identifiers: as the page wrote them, or sorted at every depth; one that is JSON already goes as it is", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway);
  const [plain, sorted, raw] = await page.evaluate((url) => {
    const params = { z: { y: [{ b: 1, a: 2 }], x: new Date(0) }, channel: "EchoChannel", a: undefined };
    const other = new wire.Moorline(url, { target: null, actionCable: { sortKeys: true } });
    const made = [wire.line.subscribe(params), other.subscribe(params), wire.line.subscribe('{ "channel":"EchoChannel", "id":9007199254740993 }')];
    other.dispose();
    return made.map(({ identifier }) => identifier);
  }, new URL("/cable", gateway.ws).href);
  expect(plain).toBe('{"z":{"y":[{"b":1,"a":2}],"x":"1970-01-01T00:00:00.000Z"},"channel":"EchoChannel"}');
  expect(sorted).toBe('{"channel":"EchoChannel","z":{"x":"1970-01-01T00:00:00.000Z","y":[{"a":2,"b":1}]}}');
  expect(raw).toBe('{ "channel":"EchoChannel", "id":9007199254740993 }');
});

test("what waits to be said can be taken back, runs out of time, or ends with the line: each once, with its own code", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await moored(open, gateway, { query: "?confirmMs=60000" });
  const ends = await page.evaluate(async () => {
    const code = (promise: Promise<void>) => promise.then(() => "sent", (error: MoorlineError) => error.code);
    const echo = wire.line.subscribe("EchoChannel");
    const signal = new AbortController();
    const waiting = [
      code(echo.perform("value", {}, { signal: signal.signal })),
      code(echo.perform("value", {}, { timeoutMs: 50 })),
      code(echo.perform("value", { nested: JSON.parse(`${"[".repeat(100)}${"]".repeat(100)}`) })),
      code(echo.perform("value", { cannot: () => {} })),
    ];
    signal.abort();
    waiting.push(code(echo.perform("value", {}, { signal: signal.signal })));
    const first = await Promise.all(waiting);
    const last = [code(echo.perform("value"))];
    wire.line.disconnect();
    last.push(code(echo.perform("value")));
    echo.unsubscribe();
    last.push(code(echo.perform("value")));
    const other = wire.line.subscribe("RoomChannel");
    last.push(code(other.perform("say")));
    wire.line.dispose();
    last.push(code(other.perform("say")));
    return [...first, ...(await Promise.all(last)), other.state];
  });
  expect(ends).toEqual([
    "call.aborted",
    "call.timeout",
    "call.too-large",
    "send.unsupported",
    "call.aborted",
    "call.lost",
    "subscription.ended",
    "subscription.ended",
    "disposed",
    "disposed",
    "ended",
  ]);
});
