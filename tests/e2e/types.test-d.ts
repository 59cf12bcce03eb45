// What must compile, and what must not. Nothing here is run: tsc reads it.
import { Moorline, MoorlineError, type Cause, type ErrorCode, type LineEventMap, type Options, type Receipt, type ReceiptStatus, type Session, type State, type Stats } from "moorline";
import { Moorline as Inline } from "moorline/inline";
import { WebSocketClient, wsClient } from "moorline/nexus";
import { MoorLineElement } from "moorline/element";
import { Moorline as Hermes, type HermesOptions } from "moorline/hermes";
import { Moorline as JsonRpc, type JsonRpcOptions } from "moorline/json-rpc";
import { Moorline as Observer, type ObservationOptions } from "moorline/observation";
import { Moorline as Claw, type OpenclawOptions, type Run, type RunEvent, type RunStarted } from "moorline/openclaw";
import { type ActionCableOptions, type CableSubscription, createConsumer, Moorline as Cable, Subscription } from "moorline/action-cable";
import { AgentSession, type Said } from "moorline/agent-session";
import { quotaExceeded, runScenario, type Scenario, type ScenarioClient, type ScenarioOutcome, type TestFrame, testGateway, virtualClock } from "moorline/testing";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(answer: Same<A, B>): void => void answer;

// Making a line.
const line = new Moorline("wss://gateway.example/api/world/ws");
new Moorline(new URL("wss://gateway.example/"));
new Moorline(() => "wss://gateway.example/");
new Moorline(() => ({ url: "wss://gateway.example/", protocols: ["a"], token: "t" }));
new Moorline(async () => new URL("wss://gateway.example/"));
new Moorline(async () => ({ url: new URL("wss://gateway.example/"), protocols: "a" }));
// @ts-expect-error A URL is not optional.
new Moorline();
// @ts-expect-error Nor a number.
new Moorline(5);
// @ts-expect-error A provider answers with something to dial.
new Moorline(() => 5);
// @ts-expect-error A token is text.
new Moorline(() => ({ url: "wss://x", token: 5 }));

// Options.
const every: Required<Omit<Options, "target">> = {
  protocol: "nexus",
  routes: { bark: "dog-barked", chat: null, "*": "server-" },
  reconnect: { baseDelayMs: 1, maxDelayMs: 2, factor: 2, jitter: "full", maxAttempts: Infinity, stableMs: 3 },
  connectTimeoutMs: 1,
  hidden: "park",
  hiddenAfterMs: 1,
  heartbeat: { idleMs: 1, probeTimeoutMs: 1 },
  queue: { maxMessages: 1, maxBytes: 1, overflow: "drop-oldest" },
  session: { key: "k", storage: "session", maxAgeMs: 1 },
  maxFrameBytes: 1,
  closePolicy: { 4000: "fatal", 1000: "retry" },
  nexus: { initType: "a", resumeType: "b", tokenField: "c", readyOn: "open", settleMs: 1 },
  log: "silent",
  getState: async ({ from, to, reason }) => `${from} ${to} ${reason}`,
};
new Moorline("wss://x", every);
new Moorline("wss://x", { target: null });
new Moorline("wss://x", { target: document.body });
new Moorline("wss://x", { session: { storage: localStorage } });
new Moorline("wss://x", { session: { storage: { getItem: async () => null, setItem: async () => {}, removeItem: () => {} } } });
// @ts-expect-error A misspelt option is not taken in silence.
new Moorline("wss://x", { reconect: {} });
// @ts-expect-error Nor one in a group.
new Moorline("wss://x", { reconnect: { baseDelay: 1 } });
// @ts-expect-error One of its words.
new Moorline("wss://x", { hidden: "sleep" });
// @ts-expect-error Times are numbers.
new Moorline("wss://x", { connectTimeoutMs: "1s" });
// @ts-expect-error Words come from their list.
new Moorline("wss://x", { reconnect: { jitter: "some" } });
// @ts-expect-error So do protocols, and each of the further ones is an entry.
new Moorline("wss://x", { protocol: "openclaw" });
// @ts-expect-error And storages.
new Moorline("wss://x", { session: { storage: "cloud" } });
// @ts-expect-error And verdicts.
new Moorline("wss://x", { closePolicy: { 4000: "maybe" } });
// @ts-expect-error An option that is undefined was forgotten: leave it out.
new Moorline("wss://x", { connectTimeoutMs: undefined });
new Moorline("wss://x", { queue: { persist: true } }).clearQueue();
// @ts-expect-error It is yes or no.
new Moorline("wss://x", { queue: { persist: "local" } });

// Calls.
same<ReturnType<typeof line.send>, Receipt>(true);
line.send({ type: "chat", text: "hello" });
line.send({ any: ["thing"] }, { delivery: "latest", key: "pose", ttlMs: 100 });
// @ts-expect-error A frame is not optional.
line.send();
// @ts-expect-error Deliveries come from their list.
line.send({}, { delivery: "pigeon" });
// @ts-expect-error A key is text.
line.send({}, { key: 5 });
const receipt = line.send({});
same<typeof receipt.status, ReceiptStatus>(true);
same<typeof receipt.sent, Promise<void>>(true);
same<typeof receipt.acked, Promise<void>>(true);
// @ts-expect-error A status is read.
receipt.status = "sent";
line.connect();
line.disconnect();
line.disconnect(4000, "enough");
// @ts-expect-error A code is a number.
line.disconnect("4000");
line.dispose();
line[Symbol.dispose]();
{
  using scoped = new Moorline("wss://x");
  scoped.connect();
}
same<typeof line.state, State>(true);
// @ts-expect-error The state is one source of truth, and not the page's.
line.state = "connected";
same<ReturnType<typeof line.stats>, Stats>(true);
same<ReturnType<typeof line.explain>, string[]>(true);
same<typeof line.session, Session | null>(true);
same<ReturnType<typeof line.loadSession>, Promise<Session | null>>(true);
line.saveSession({ token: "t", anything: 1 });
// @ts-expect-error A session is an object.
line.saveSession("t");
line.clearSession();
// @ts-expect-error The inner half is nobody's to reach.
line.waiting;
// @ts-expect-error The base class has no loader of its own.
line.load();

// Events, on the line, directly, and on the window.
line.addEventListener("ws-reconnecting", ({ detail }) => {
  same<typeof detail.retryAt, number>(true);
  same<typeof detail.cause, Cause>(true);
  // @ts-expect-error It has no such field.
  detail.retryIn;
});
line.addEventListener("of-my-own", (event) => same<typeof event, Event>(true));
const off: () => void = line.on("chat-message", (frame) => {
  same<typeof frame.text, string>(true);
  same<typeof frame.sender, string | undefined>(true);
});
off();
line.on("of-my-own", () => {});
// @ts-expect-error A listener is a function.
line.on("chat-message", "listener");
window.addEventListener("session-init", ({ detail }) => same<typeof detail.token, string | undefined>(true));
window.addEventListener("ws-connected", ({ detail }) => same<typeof detail.recovered, boolean>(true));
window.addEventListener("ws-disconnected", ({ detail }) => same<typeof detail.willReconnect, boolean>(true));
window.addEventListener("ws-failed", ({ detail }) => same<typeof detail.attempts, number>(true));
window.addEventListener("ws-unhandled", ({ detail }) => same<typeof detail.frame, unknown>(true));
window.addEventListener("ws-error", ({ detail }) => {
  same<typeof detail.code, ErrorCode>(true);
  // @ts-expect-error Codes come from their list.
  detail.code === "made.up";
});
window.addEventListener("player-joined", ({ detail }) => same<typeof detail.id, string>(true));
// @ts-expect-error A click has no detail of ours.
window.addEventListener("click", ({ detail }) => detail.clientId);
same<keyof LineEventMap & `ws-${string}`, "ws-connected" | "ws-disconnected" | "ws-reconnecting" | "ws-failed" | "ws-resumed" | "ws-gap" | "ws-unhandled" | "ws-error">(true);

// Errors.
const error: unknown = null;
if (error instanceof MoorlineError) {
  same<typeof error.code, ErrorCode>(true);
  same<typeof error.retryable, boolean>(true);
  // @ts-expect-error A code is read.
  error.code = "internal";
}

// The other entries.
const inline: Inline = new Inline("wss://x", every);
inline.connect();
const client = new WebSocketClient();
new WebSocketClient("/api/world/ws", { reconnect: { maxAttempts: 3 } });
client.connect();
client.send({ type: "chat", text: "hello" });
client.maxReconnectAttempts = 5;
client.reconnectBaseDelay = 500;
client.maxReconnectDelay = 1000;
same<typeof client.connected, boolean>(true);
same<typeof client.messageQueue, unknown[]>(true);
same<typeof client.reconnectAttempts, number>(true);
same<typeof client.session, Session | null>(true);
// @ts-expect-error It is told, not set.
client.connected = true;
wsClient.disconnect();
same<typeof wsClient, WebSocketClient>(true);
const element: HTMLElement = new MoorLineElement();
element.setAttribute("url", "wss://x");

// Action Cable.
const cable = new Cable("wss://x/cable", { protocol: "action-cable", actionCable: { anycable: true, sortKeys: true } });
// @ts-expect-error It speaks one protocol.
new Cable("wss://x/cable", { protocol: "nexus" });
const chat = cable.subscribe<{ text: string }>({ channel: "ChatChannel", room: 7 }, { since: new Date(0) });
same<typeof chat, CableSubscription<{ text: string }>>(true);
cable.subscribe("ChatChannel");
// @ts-expect-error Parameters name a channel.
cable.subscribe({ room: 7 });
same<ReturnType<typeof chat.perform>, Promise<void>>(true);
void chat.perform("speak", { text: "hello" }, { timeoutMs: 500, signal: new AbortController().signal });
chat.addEventListener("message", ({ detail }) => same<typeof detail, { text: string }>(true));
chat.addEventListener("confirmed", ({ detail }) => same<typeof detail, { reconnected: boolean }>(true));
chat.on("rejected", (reason) => same<typeof reason.code, ErrorCode>(true));
// @ts-expect-error There is no such event.
chat.on("connected", () => {});
void (async () => {
  for await (const { text } of chat) same<typeof text, string>(true);
});
const consumer = createConsumer("/cable");
createConsumer(() => new URL("wss://x/cable"));
const mixed = consumer.subscriptions.create(
  { channel: "ChatChannel", room: 7 },
  {
    label: "mine",
    connected({ reconnected }) {
      same<typeof reconnected, boolean>(true);
      this.perform("appear", { label: this.label });
    },
    received(message) {
      void message;
    },
  },
);
same<typeof mixed.label, string>(true);
const plain: Subscription = mixed;
same<ReturnType<typeof plain.perform>, boolean>(true);
const agent = new AgentSession(cable, { channel: "SessionChannel", sessionId: 1, order: ({ n }) => n });
agent.addEventListener("change", ({ detail }) => same<typeof detail, readonly Said[]>(true));
// @ts-expect-error What was said is read.
agent.messages[0]!.content = "else";

// The entries of the further protocols: their options are what all have, but for the Nexus' own, and theirs.
const { protocol: _protocol, nexus: _nexus, ...shared } = every;
new Cable("wss://x/cable", { ...shared, protocol: "action-cable", actionCable: { anycable: true, sortKeys: true } } satisfies Required<Omit<ActionCableOptions, "target">>);
const claw = new Claw("wss://x", { ...shared, protocol: "openclaw", openclaw: { token: "t", password: "p", scopes: ["operator.read"], sessionKey: "main", caps: [] } } satisfies Required<Omit<OpenclawOptions, "target">>);
const hermes = new Hermes("wss://x", { ...shared, protocol: "hermes" } satisfies Required<Omit<HermesOptions, "target">>);
const rpc = new JsonRpc("wss://x", { ...shared, protocol: "json-rpc" } satisfies Required<Omit<JsonRpcOptions, "target">>);
const observer = new Observer("wss://x", { ...shared, protocol: "observation" } satisfies Required<Omit<ObservationOptions, "target">>);
for (const Entry of [Cable, Claw, Hermes, JsonRpc, Observer]) new Entry(async () => ({ url: "wss://x", token: "t" }), { target: null, reconnect: { maxAttempts: 3 } });
// @ts-expect-error An entry speaks its own protocol.
new Claw("wss://x", { protocol: "nexus" });
// @ts-expect-error The Nexus' names are the Nexus'.
new Hermes("wss://x", { nexus: { initType: "a" } });
// @ts-expect-error An entry's options are its own.
new Moorline("wss://x", { actionCable: {} });
// @ts-expect-error So are OpenClaw's.
new JsonRpc("wss://x", { openclaw: { token: "t" } });
// @ts-expect-error A misspelt one is not taken in silence.
new Claw("wss://x", { openclaw: { tokn: "t" } });
// @ts-expect-error An option that is undefined was forgotten: leave it out.
new Cable("wss://x", { actionCable: { anycable: undefined } });

// Calls.
same<ReturnType<typeof rpc.request>, Promise<unknown>>(true);
const sum: Promise<number> = rpc.request<number>("sum", [1, 2], { timeoutMs: 5, signal: AbortSignal.timeout(5), idempotencyKey: "k" });
sum.then((value) => same<typeof value, number>(true));
// @ts-expect-error What an answer is, its reader says.
rpc.request("sum").then((value) => value.toFixed());
// @ts-expect-error A method is a text.
rpc.request(5);
// @ts-expect-error Times are numbers.
rpc.request("sum", [], { timeoutMs: "1s" });
// @ts-expect-error A signal that is undefined was forgotten: leave it out.
rpc.request("sum", [], { signal: undefined });
same<ReturnType<typeof hermes.notify>, Promise<void>>(true);
// @ts-expect-error What has no answer is not asked for twice.
hermes.notify("seen", {}, { idempotencyKey: "k" });
const unhandle: () => void = hermes.handle("clarify", async (params, { signal, frame }) => {
  same<typeof signal, AbortSignal>(true);
  same<typeof frame, unknown>(true);
  return params.question;
});
unhandle();
// @ts-expect-error A handler is a function.
rpc.handle("ask", "yes");
const both: [number, string] = rpc.batch(() => [1, "a"]);
void both;
// @ts-expect-error Only JSON-RPC has batches.
claw.batch(() => {});

// Runs.
const run = claw.run("chat.send", { message: "hello" }, { signal: AbortSignal.timeout(5) });
same<typeof run, Run>(true);
same<typeof run.result, Promise<string>>(true);
same<typeof run.text, string>(true);
run.cancel();
// @ts-expect-error The text is told, not set.
run.text = "";
// @ts-expect-error The inner half is nobody's to reach.
run.told(1, {}, 0, "");
// @ts-expect-error JSON-RPC has no runs.
rpc.run("chat.send");
// @ts-expect-error Nor has the Nexus.
line.run("chat.send");
void (async () => {
  for await (const event of run) {
    same<typeof event, RunEvent>(true);
    if (event.type === "delta") same<typeof event.replace, true | undefined>(true);
    if (event.type === "final" || event.type === "aborted" || event.type === "resumed") same<typeof event.text, string>(true);
    if (event.type === "error") same<typeof event.error, MoorlineError>(true);
    if (event.type === "gap") same<typeof event.reason, string>(true);
    // @ts-expect-error Not every event has a text.
    event.text;
    // @ts-expect-error Kinds come from their list.
    if (event.type === "done") return;
  }
})();
claw.on("run-started", (started) => same<typeof started, RunStarted>(true));
hermes.addEventListener("run-started", ({ detail }) => same<typeof detail.run, Run>(true));
claw.on("openclaw-gap", ({ missed }) => same<typeof missed, number>(true));

// Observing.
const observation = observer.observe("events/ws", { cursor: undefined });
same<typeof observation.cursor, string | undefined>(true);
observation.close();
void (async () => {
  for await (const event of observation) {
    if (event.type === "event") same<typeof event.cursor, string>(true);
    // @ts-expect-error Only events have data.
    event.data;
  }
})();
// @ts-expect-error Nothing can be sent on an observed stream, and nobody is promised a receipt.
observer.send({}).status;
// @ts-expect-error The inner half is nobody's to reach.
observation.told(1, {}, 0, "");
// @ts-expect-error Cables have no calls.
cable.request("sum");

// The test kit.
const harbour = testGateway({ delivery: true, window: 8 }).install();
same<typeof harbour.taken, TestFrame[]>(true);
harbour.restart({ forget: "feed", downMs: 1, code: null });
same<ReturnType<typeof harbour.on>, () => void>(true);
new Moorline("wss://x", { session: { storage: quotaExceeded(1000) } });
void virtualClock().until(() => harbour.connections[0]?.clientId).then((clientId) => same<typeof clientId, string | undefined>(true));
// What an import of a scenario's file has for a type.
const file: { name: string; about: string; steps: { do: string; args?: (number | { after: number })[]; after?: number }[]; expect: { messages: { lost: number } } } = { name: "", about: "", steps: [], expect: { messages: { lost: 0 } } };
const scenario: Scenario = file;
// A receipt is what the runner asks in the end.
const tested: ScenarioClient = { connect: () => line.connect(), send: (frame) => line.send(frame), onFrame: () => {}, close: () => line.dispose() };
same<ReturnType<typeof runScenario>, Promise<ScenarioOutcome>>(true);
void runScenario(scenario, tested);
// @ts-expect-error A misspelt option is not taken in silence.
testGateway({ delivry: true });
// @ts-expect-error Nor is a fault.
harbour.blackhole();
// @ts-expect-error A scenario has an expectation.
void runScenario({ name: "", about: "", steps: [] }, tested);
