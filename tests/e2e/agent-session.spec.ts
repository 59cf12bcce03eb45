/** The session layer over a channel that says what a test wants: what may be shown, and in which order. No browser, no line. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "@playwright/test";
import { build } from "esbuild";
import type { AgentSession, AgentSessionOptions, Said } from "moorline/agent-session";

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

let Layer: typeof AgentSession;
test.beforeAll(async () => {
  const entry = fileURLToPath(new URL("../../src/ts/agent-session.ts", import.meta.url));
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: "esm", write: false });
  const module = await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0]!.contents).toString("base64")}`);
  Layer = module.AgentSession;
});

function begun(options: AgentSessionOptions = { sessionId: 1 }): { agent: AgentSession; channel: Channel; heard: [string, any][] } {
  const channel = new Channel();
  const line = { subscribe: (identifier: unknown) => Object.assign(channel, { identifier }) };
  const agent = new Layer(line as never, options);
  const heard: [string, any][] = [];
  for (const type of ["session", "sessions", "refused", "note"] as const) agent.addEventListener(type, ({ detail }) => heard.push([type, detail]));
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
