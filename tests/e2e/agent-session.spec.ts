/**
 * The session layer over a channel that says what a test wants: what may be shown, and in which order. No browser, no line, and a
 * clock that the test moves; save at the end, where a gateway loses what follows a switch.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "@playwright/test";
import { build } from "esbuild";
import type { AgentSession, AgentSessionOptions, Said } from "moorline/agent-session";
import { eventually, test as inChromium } from "./support/test.js";

type Told = (detail: any) => void;

/** A subscription without a line. A perform settles at once, unless it is held. */
class Channel {
  identifier: unknown;
  performed: { action: string; data: any }[] = [];
  readonly #told = new Map<string, Told[]>();
  held = false;
  #settle: ((error?: Error) => void)[] = [];

  on(type: string, told: Told): void {
    this.#told.set(type, [...(this.#told.get(type) ?? []), told]);
  }
  tell(type: string, detail?: unknown): void {
    for (const told of this.#told.get(type) ?? []) told(detail);
  }
  /** Messages of the server's. */
  say(...messages: unknown[]): void {
    for (const message of messages) this.tell("message", message);
  }
  perform(action: string, data: object): Promise<void> {
    this.performed.push({ action, data });
    if (!this.held) return Promise.resolve();
    return new Promise((resolve, reject) => this.#settle.push((error) => (error ? reject(error) : resolve())));
  }
  settle(error?: Error): void {
    for (const settle of this.#settle.splice(0)) settle(error);
  }
  unsubscribe(): void {}
}

/** The layer's timers. */
class Clock {
  #now = 0;
  #due: { at: number; act: () => void }[] = [];

  readonly setTimeout = (act: () => void, ms: number) => {
    const one = { at: this.#now + ms, act };
    this.#due.push(one);
    return one;
  };
  readonly clearTimeout = (one: unknown) => {
    this.#due = this.#due.filter((other) => other !== one);
  };
  pass(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const [next] = this.#due.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.#now = next.at;
      this.clearTimeout(next);
      next.act();
    }
    this.#now = end;
  }
  readonly now = () => this.#now;
  get idle(): boolean {
    return this.#due.length === 0;
  }
}

let clock: Clock;
test.beforeEach(() => void Object.assign(globalThis, { layerClock: (clock = new Clock()) }));

let Layer: typeof AgentSession;
test.beforeAll(async () => {
  const entry = fileURLToPath(new URL("../../src/ts/agent-session.ts", import.meta.url));
  const define = { setTimeout: "layerClock.setTimeout", clearTimeout: "layerClock.clearTimeout", "performance.now": "layerClock.now" };
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: "esm", write: false, define });
  const module = await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0]!.contents).toString("base64")}`);
  Layer = module.AgentSession;
});

function begun(options: AgentSessionOptions = { sessionId: 1 }): { agent: AgentSession; channel: Channel; heard: [string, any][] } {
  const channel = new Channel();
  const line = { subscribe: (identifier: unknown) => Object.assign(channel, { identifier }) };
  const agent = new Layer(line as never, options);
  const heard: [string, any][] = [];
  for (const type of ["session", "sessions", "refused", "note", "unrepeated"] as const) agent.addEventListener(type, ({ detail }) => heard.push([type, detail]));
  return { agent, channel, heard };
}

function live(options?: AgentSessionOptions) {
  const all = begun(options);
  all.channel.tell("confirmed", { reconnected: false });
  return all;
}

const user = (content: string, more = {}) => ({ type: "user_message", content, ...more });
const answer = (content: string, more = {}) => ({ type: "agent_message", content, ...more });
const delta = (run: number, seq: number, content: string) => ({ type: "agent_delta", run, seq, content });
const changed = (id: number) => ({ type: "session_changed", session_id: id });
const acts = (channel: Channel) => channel.performed.map(({ action, data }) => [action, data.content ?? data.session_id].join(" ").trim());
const shown = (messages: readonly Said[]) => messages.map(({ role, content, pending, streaming }) => `${role}${pending ? "?" : ""}${streaming ? "…" : ""} ${content}`);

test("what is spoken is shown at once, and stands once whichever broadcast comes first", async () => {
  for (const order of [
    [user("hi"), answer("echo: hi")],
    [answer("echo: hi"), user("hi")],
  ]) {
    const { agent, channel } = live();
    await agent.speak("hi");
    expect(shown(agent.messages)).toEqual(["user? hi"]);
    channel.say(...order);
    expect(shown(agent.messages)).toEqual(["user hi", "assistant echo: hi"]);
  }
});

test("what somebody else speaks is put before its answer, if that has overtaken it", () => {
  const { agent, channel } = live();
  channel.say(answer("echo: one"), user("one"), user("two"), answer("echo: two"), answer("echo: three"), user("three"));
  expect(shown(agent.messages)).toEqual(["user one", "assistant echo: one", "user two", "assistant echo: two", "user three", "assistant echo: three"]);
});

test("the same words twice are two messages", async () => {
  const { agent, channel } = live();
  await agent.speak("hi");
  await agent.speak("hi");
  channel.say(user("hi"), answer("a"), user("hi"), answer("b"));
  expect(shown(agent.messages)).toEqual(["user hi", "user hi", "assistant a", "assistant b"]);
});

test("what no socket took is shown no more, and the caller hears why", async () => {
  const { agent, channel } = live();
  channel.held = true;
  const spoken = agent.speak("lost");
  expect(shown(agent.messages)).toEqual(["user? lost"]);
  channel.settle(new Error("no socket"));
  await expect(spoken).rejects.toThrow("no socket");
  expect(agent.messages).toEqual([]);
});

test("a recorded session: created, spoken in, listed, left; the identifier stays", () => {
  const path = fileURLToPath(new URL("../transcripts/action-cable/session_protocol.txt", import.meta.url));
  const messages = readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line) => /^> received #1 (.*)$/.exec(line)?.[1] ?? [])
    .map((text) => JSON.parse(text) as { message?: unknown })
    .filter((frame) => "identifier" in frame && "message" in frame);
  const { agent, channel, heard } = live();
  expect(channel.identifier).toEqual({ channel: "SessionChannel", session_id: 1 });
  const states = messages.map(({ message }) => {
    channel.say(message);
    return [agent.sessionId, ...shown(agent.messages)].join(" | ");
  });
  expect(states).toEqual([
    "1 | assistant echo: in session one",
    "1 | user in session one | assistant echo: in session one",
    "2",
    "2 | assistant echo: in session two",
    "2 | assistant echo: in session two | user in session two",
    "2 | assistant echo: in session two | user in session two",
    "1",
    "1 | user in session one",
    "1 | user in session one | assistant echo: in session one",
    "1 | user in session one | assistant echo: in session one",
  ]);
  expect(heard.map(([type]) => type)).toEqual(["session", "sessions", "session", "refused"]);
});

test("a switch begins with nothing; what is repeated late belongs to the session that was left", async () => {
  const { agent, channel, heard } = live();
  await agent.speak("in one");
  await agent.switchSession(2);
  channel.say({ type: "session_changed", session_id: 2 }, user("old"), answer("older"), delta(9, 1, "new"));
  channel.say(user("in one"));
  expect(shown(agent.messages)).toEqual(["user old", "assistant older", "assistant… new"]);
  expect(heard).toEqual([["session", { id: 2 }]]);
  expect(channel.performed.map(({ action, data }) => [action, data.session_id])).toEqual([
    ["speak", undefined],
    ["switch_session", 2],
  ]);
});

test("a message that names another session is not of this one", () => {
  const { agent, channel } = live();
  channel.say({ type: "session_changed", session_id: 2 }, user("mine", { session_id: 2 }), user("not mine", { session_id: 1 }));
  expect(shown(agent.messages)).toEqual(["user mine"]);
});

test("after a reconnect the history takes the place of what was shown, and what was spoken meanwhile stays behind it", async () => {
  const { agent, channel } = live();
  channel.say(user("one"), answer("echo: one"));
  channel.tell("away", { willReturn: true });
  channel.held = true;
  const spoken = agent.speak("two");
  channel.say(user("one"), answer("echo: one"), user("missed"), answer("echo: missed"));
  channel.tell("confirmed", { reconnected: true });
  channel.tell("gap", { reason: "no-history" });
  channel.settle();
  await spoken;
  channel.say(answer("echo: two"), user("two"));
  expect(shown(agent.messages)).toEqual(["user one", "assistant echo: one", "user missed", "assistant echo: missed", "user two", "assistant echo: two"]);
});

test("without a history what was shown stays, and goes on", () => {
  const { agent, channel } = live();
  channel.say(user("one"), answer("echo: one"));
  channel.tell("away", { willReturn: true });
  channel.tell("confirmed", { reconnected: true });
  channel.say(user("missed"), answer("echo: missed"));
  channel.tell("resumed");
  expect(shown(agent.messages)).toEqual(["user one", "assistant echo: one", "user missed", "assistant echo: missed"]);
});

test("a history that comes twice, from the channel and from AnyCable, stands once", () => {
  const { agent, channel } = live();
  channel.say(user("one"));
  channel.tell("away", { willReturn: true });
  channel.say(user("one"), user("missed"));
  channel.tell("confirmed", { reconnected: true });
  channel.say(user("missed"));
  channel.tell("resumed");
  channel.say(user("missed"));
  expect(shown(agent.messages)).toEqual(["user one", "user missed", "user missed"]);
});

test("a reconnect falls back to the identifier's session: the layer goes back first, and speaks then", async () => {
  const { agent, channel, heard } = live();
  channel.say({ type: "session_changed", session_id: 2 }, user("in two"));
  channel.tell("away", { willReturn: true });
  const spoken = agent.speak("again");
  channel.say(user("in one"), answer("of one"));
  channel.tell("confirmed", { reconnected: true });
  expect(shown(agent.messages)).toEqual(["user in two", "user? again"]);
  expect(channel.performed.map(({ action }) => action)).toEqual(["switch_session"]);
  channel.say({ type: "session_changed", session_id: 2 });
  await spoken;
  expect(channel.performed.map(({ action }) => action)).toEqual(["switch_session", "speak"]);
  channel.say(user("in two"), answer("of two"), answer("echo: again"), user("again"));
  expect(shown(agent.messages)).toEqual(["user in two", "assistant of two", "user again", "assistant echo: again"]);
  expect(heard).toEqual([["session", { id: 2 }]]);
});

test("a session that is gone when the line is back: what was meant for it is refused, and the page is told where it is", async () => {
  const { agent, channel, heard } = live();
  channel.say({ type: "session_changed", session_id: 2 }, user("in two"));
  channel.tell("away", { willReturn: true });
  const spoken = agent.speak("for two");
  channel.tell("confirmed", { reconnected: true });
  channel.say({ type: "error", message: "Session not found" });
  await expect(spoken).rejects.toThrow("gone");
  channel.say({ type: "session_changed", session_id: 1 }, user("in one"));
  expect(shown(agent.messages)).toEqual(["user in one"]);
  expect(heard.map(([type, detail]) => [type, detail.id ?? detail.message])).toEqual([
    ["session", 2],
    ["refused", "Session not found"],
    ["session", 1],
  ]);
});

test("what waits to go back ends with the subscription", async () => {
  const { agent, channel } = live();
  channel.say({ type: "session_changed", session_id: 2 });
  channel.tell("away", { willReturn: true });
  const spoken = agent.speak("never");
  channel.tell("rejected", new Error("no"));
  await expect(spoken).rejects.toThrow("gone");
  expect(agent.messages).toEqual([]);
});

test("an answer grows by the numbers of its pieces, whatever order they come in", () => {
  const { agent, channel } = live();
  channel.say(user("tell me"), { type: "agent_start", run: 3 }, delta(3, 2, " b"), delta(3, 1, "a"), delta(3, 2, " b"), delta(3, 4, " d"));
  expect(shown(agent.messages)).toEqual(["user tell me", "assistant… a b"]);
  channel.say(delta(3, 3, " c"));
  expect(shown(agent.messages)).toEqual(["user tell me", "assistant… a b c d"]);
  channel.say(answer("a b c d e", { run: 3 }), delta(3, 5, " e"));
  expect(shown(agent.messages)).toEqual(["user tell me", "assistant a b c d e"]);
});

test("an answer that a newcomer finds half-told, one that is cancelled, one that lost a piece", () => {
  const { agent, channel } = begun();
  channel.say({ type: "agent_partial", run: 4, seq: 3, content: "one two three" }, delta(4, 3, " three"));
  channel.tell("confirmed", { reconnected: false });
  channel.say(delta(4, 4, " four"), { type: "agent_partial", run: 4, seq: 2, content: "one two" });
  expect(shown(agent.messages)).toEqual(["assistant… one two three four"]);
  channel.say(answer("one two three four", { run: 4, outcome: "cancelled" }));
  expect(agent.messages[0]).toMatchObject({ outcome: "cancelled" });
  channel.say(delta(5, 2, "lost its first"), answer("lost and found", { run: 5 }));
  expect(shown(agent.messages)).toEqual(["assistant one two three four", "assistant lost and found"]);
});

test("a history with the ends of answers that were seen already shows each once", () => {
  const { agent, channel } = live();
  channel.say(user("q"), delta(6, 1, "a"), answer("a", { run: 6 }));
  channel.tell("away", { willReturn: true });
  channel.say(user("q"), answer("a", { run: 6 }), user("q2"), { type: "agent_partial", run: 7, seq: 1, content: "b" });
  channel.tell("confirmed", { reconnected: true });
  channel.say(delta(7, 2, "c"), delta(6, 1, "a"));
  expect(shown(agent.messages)).toEqual(["user q", "assistant a", "user q2", "assistant… bc"]);
});

test("numbers of the server's, where it has any, decide the order", () => {
  const { agent, channel } = live({ sessionId: 1, order: (message) => message.n });
  for (const n of [2, 4, 1, 3]) channel.say(user(`u${n}`, { n }));
  expect(agent.messages.map(({ content }) => content)).toEqual(["u1", "u2", "u3", "u4"]);
});

test("messages, answers that grow and pieces that came too early are bounded; other words are passed on", () => {
  const { agent, channel, heard } = live({ limit: 10 });
  for (let n = 0; n < 1000; n += 1) channel.say(user(`${n}`), delta(n, 7, "x"), delta(1, n + 7, "y"));
  expect(agent.messages.length).toBe(10);
  channel.say({ type: "tool_call", run: 1 }, null, 0, "text", [], { no: "type" });
  expect(heard.map(([type]) => type)).toEqual(Array(6).fill("note"));
});

test("what nobody repeats makes the layer ask for the history, which settles it; it is not said again", async () => {
  const { agent, channel, heard } = live();
  channel.say(user("one"), answer("echo: one"));
  await agent.speak("lost");
  clock.pass(2999);
  expect(acts(channel)).toEqual(["speak lost"]);
  clock.pass(1);
  expect(acts(channel)).toEqual(["speak lost", "switch_session 1"]);
  channel.say(changed(1));
  expect(shown(agent.messages)).toEqual(["user one", "assistant echo: one", "user? lost"]);
  channel.say(user("one"), answer("echo: one"), user("lost"), answer("echo: lost"));
  expect(shown(agent.messages)).toEqual(["user one", "assistant echo: one", "user lost", "assistant echo: lost"]);
  clock.pass(100_000);
  expect(clock.idle).toBe(true);
  expect(acts(channel)).toEqual(["speak lost", "switch_session 1"]);
  expect(heard).toEqual([]);
});

test("what is spoken while something else waits to be repeated has its own three seconds", async () => {
  const { agent, channel } = live();
  for (let n = 0; n < 10; n++) {
    await agent.speak(`${n}`);
    clock.pass(700);
    channel.say(user(`${n}`));
  }
  await agent.speak("lost");
  clock.pass(2999);
  expect(acts(channel).filter((act) => act.startsWith("switch"))).toEqual([]);
  clock.pass(1);
  expect(acts(channel).at(-1)).toBe("switch_session 1");
});

test("what is repeated in time is not asked for", async () => {
  const { agent, channel } = live();
  await agent.speak("hi");
  channel.say(user("hi"), answer("echo: hi"));
  clock.pass(100_000);
  expect(acts(channel)).toEqual(["speak hi"]);
  expect(clock.idle).toBe(true);
});

test("three histories without it: that is said, it stays pending, and nobody is asked again", async () => {
  const { agent, channel, heard } = live();
  await agent.speak("unheard");
  const asked: number[] = [];
  for (let second = 1; second <= 100; second++) {
    const before = channel.performed.length;
    clock.pass(1000);
    if (channel.performed.length === before) continue;
    asked.push(second);
    channel.say(changed(1), user("other"));
  }
  expect(asked).toEqual([3, 9, 21]);
  expect(acts(channel)).toEqual(["speak unheard", ...Array(3).fill("switch_session 1")]);
  expect(shown(agent.messages)).toEqual(["user other", "user? unheard"]);
  expect(heard).toEqual([["unrepeated", [expect.objectContaining({ content: "unheard", pending: true })]]]);
  expect(clock.idle).toBe(true);
  channel.say(user("unheard"));
  expect(shown(agent.messages)).toEqual(["user other", "user unheard"]);
});

test("where the session is not known nothing can be asked for, and that is said", async () => {
  const { agent, channel, heard } = live({});
  await agent.speak("into the dark");
  clock.pass(100_000);
  expect(acts(channel)).toEqual(["speak into the dark"]);
  expect(heard.map(([type]) => type)).toEqual(["unrepeated"]);
  expect(shown(agent.messages)).toEqual(["user? into the dark"]);
});

const [ONE, LOST] = [
  [user("one"), answer("re: one")],
  [user("lost"), answer("re: lost")],
] as const;
for (const [how, told] of Object.entries({
  "not at all": [...ONE, ...LOST],
  "before it": [...LOST, ...ONE, ...LOST],
  "before it, swapped": [LOST[1], LOST[0], ...ONE, ...LOST],
  "within it": [ONE[0], ...LOST, ONE[1], ...LOST],
  "within it, swapped": [ONE[0], LOST[1], ONE[1], ...LOST, LOST[0]],
  "behind it": [...ONE, ...LOST, ...LOST],
  "behind it, swapped": [...ONE, ...LOST, LOST[1], LOST[0]],
}))
  test(`a history that is told once more repeats nothing: the broadcasts of what it tells come ${how}`, async () => {
    const { agent, channel } = live();
    channel.say(...ONE);
    await agent.speak("lost");
    clock.pass(3000);
    channel.say(changed(1), ...told);
    expect(shown(agent.messages)).toEqual(["user one", "assistant re: one", "user lost", "assistant re: lost"]);
    clock.pass(100_000);
    await agent.speak("lost");
    channel.say(...LOST);
    expect(shown(agent.messages).slice(4)).toEqual(["user lost", "assistant re: lost"]);
  });

test("the same words are counted: a history with them once does not settle what was spoken a second time", async () => {
  const { agent, channel } = live();
  await agent.speak("hi");
  channel.say(user("hi"), answer("yes"));
  await agent.speak("hi");
  clock.pass(3000);
  channel.say(changed(1), user("hi"), answer("yes"));
  expect(shown(agent.messages)).toEqual(["user hi", "assistant yes", "user? hi"]);
  clock.pass(6000);
  channel.say(changed(1), user("hi"), answer("yes"), user("hi"), answer("yes"));
  expect(shown(agent.messages)).toEqual(["user hi", "assistant yes", "user hi", "assistant yes"]);
});

test("a history that is told once more puts what was missed in its place, and an answer grows on through it", async () => {
  const { agent, channel } = live();
  channel.say(user("one"), answer("a", { run: 1 }), user("two"), delta(2, 1, "b"));
  await agent.speak("lost");
  channel.say(delta(2, 2, "c"));
  clock.pass(3000);
  channel.say(changed(1), user("one"), answer("a", { run: 1 }), user("missed"), user("two"), delta(2, 3, "d"));
  channel.say(user("lost"), { type: "agent_partial", run: 2, seq: 3, content: "bcd" }, delta(2, 4, "e"));
  expect(shown(agent.messages)).toEqual(["user one", "assistant a", "user missed", "user two", "assistant… bcde", "user lost"]);
  channel.say(answer("bcdef", { run: 2 }), answer("bcdef", { run: 2 }), answer("re: lost"));
  expect(shown(agent.messages).slice(4)).toEqual(["assistant bcdef", "user lost", "assistant re: lost"]);
});

test("a history that does not come takes nothing away", async () => {
  const { agent, channel } = live();
  channel.say(user("one"), answer("echo: one"));
  await agent.speak("lost");
  clock.pass(3000);
  channel.say(changed(1));
  channel.say(answer("of its own accord"), user("lost"));
  expect(shown(agent.messages)).toEqual(["user one", "assistant echo: one", "assistant of its own accord", "user lost"]);
});

test("what is wanted while the history is asked for waits until it begins, for it could fall into the gap or be undone", async () => {
  const { agent, channel, heard } = live();
  await agent.speak("lost");
  clock.pass(3000);
  const wanted = [agent.speak("next"), agent.createSession()];
  expect(acts(channel)).toEqual(["speak lost", "switch_session 1"]);
  channel.say(changed(1), user("lost"), answer("echo: lost"));
  await Promise.all(wanted);
  expect(acts(channel)).toEqual(["speak lost", "switch_session 1", "speak next", "create_session"]);
  channel.say(user("next"), answer("echo: lost"));
  expect(shown(agent.messages)).toEqual(["user lost", "assistant echo: lost", "user next", "assistant echo: lost"]);
  channel.say(changed(2));
  expect(heard).toEqual([["session", { id: 2 }]]);
});

test("a server that does not answer holds up nothing for good", async () => {
  const { agent, channel } = live();
  await agent.speak("lost");
  clock.pass(3000);
  const next = agent.speak("next");
  clock.pass(6000);
  await next;
  expect(acts(channel)).toEqual(["speak lost", "switch_session 1", "speak next", "switch_session 1"]);
});

test("a move of the page's is not undone by asking, and what was left behind is not asked for", async () => {
  const { agent, channel } = live();
  await agent.speak("lost");
  await agent.switchSession(2);
  clock.pass(5999);
  expect(acts(channel)).toEqual(["speak lost", "switch_session 2"]);
  channel.say(changed(2));
  clock.pass(100_000);
  expect(acts(channel)).toEqual(["speak lost", "switch_session 2"]);
  expect(clock.idle).toBe(true);
});

test("nobody is asked while the line is away, nor after the end", async () => {
  const { agent, channel } = live();
  await agent.speak("lost");
  channel.tell("away", { willReturn: true });
  clock.pass(100_000);
  expect(acts(channel)).toEqual(["speak lost"]);
  channel.tell("confirmed", { reconnected: true });
  clock.pass(3000);
  const next = agent.speak("next");
  expect(acts(channel)).toEqual(["speak lost", "switch_session 1"]);
  channel.tell("away", { willReturn: true });
  await next;
  expect(acts(channel)).toEqual(["speak lost", "switch_session 1", "speak next"]);
  channel.tell("confirmed", { reconnected: true });
  agent.end();
  expect(clock.idle).toBe(true);
  expect(shown(agent.messages)).toEqual(["user? lost", "user? next"]);
});

inChromium("what was broadcast before the new stream was in force is shown all the same, and was said once", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  const wire = new URL("/cable", gateway.ws).href;
  await page.evaluate(async (wire) => {
    const { Moorline } = (await import("/pkg/action-cable.js" as string)) as typeof import("moorline/action-cable");
    const { AgentSession } = (await import("/pkg/agent-session.js" as string)) as typeof import("moorline/agent-session");
    const line = new Moorline(wire, { target: null });
    const agent = new AgentSession(line, { sessionId: 7 });
    Object.assign(globalThis, { agent });
    const confirmed = new Promise<void>((resolve) => void agent.subscription.on("confirmed", () => resolve()));
    line.connect();
    await confirmed;
  }, wire);
  // Until it is told otherwise, a channel that has moved on hears nothing.
  await gateway.post("cable/config", { switchGapMs: 3_600_000 });
  await page.evaluate(async () => {
    const { agent } = globalThis as unknown as { agent: AgentSession };
    const moved = new Promise((resolve) => agent.addEventListener("session", resolve, { once: true }));
    await agent.createSession();
    await moved;
    await agent.speak("into the gap");
  });
  const spoken = async () => {
    const entries = await gateway.get<{ frame?: { data?: string } }[]>("cable/received");
    return entries.flatMap(({ frame }) => (frame?.data?.includes('"speak"') ? [frame.data] : []));
  };
  await eventually(spoken, ({ length }) => length === 1, "what is spoken");
  await gateway.post("cable/config", { switchGapMs: 0 });
  const messages = () => page.evaluate(() => (globalThis as unknown as { agent: AgentSession }).agent.messages as Said[]);
  const all = await eventually(messages, (all) => all.length === 2 && all.every(({ pending }) => !pending), "the repetition", 30_000);
  expect(shown(all)).toEqual(["user into the gap", "assistant echo: into the gap"]);
  expect((await spoken()).length).toBe(1);
});
