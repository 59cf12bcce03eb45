// The faces that protocols with calls share, driven by hand: what a page sees of requests, runs and handlers for every order of
// words that Rust may say. calls.spec.ts does it in Chromium.
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "esbuild";
import type { CallOptions, Handler, Run, RunEvent } from "moorline/hermes";
import type { ObservationEvent } from "moorline/observation";
import { expect, test } from "./support/test.js";

interface Command {
  verb: number;
  handle: number;
  texts: (string | undefined)[];
  number: number;
}
type Fault = Error & { code: string; retryable: boolean; cause?: any };
interface Hand<Event> extends AsyncIterable<Event> {
  told(word: number, frame: unknown, number: number, text: string): boolean;
}
interface FaceLine extends EventTarget {
  request(method: string, params?: unknown, options?: CallOptions): Promise<any>;
  notify(method: string, params?: unknown, options?: CallOptions): Promise<void>;
  run(method: string, params?: unknown, options?: CallOptions): Run;
  handle(method: string, handler: Handler): () => void;
  on(type: string, listener: (detail: any) => void): () => void;
  connect(): void;
  dispose(): void;
}
interface Faces {
  Run: new (dialect: object, cancel: () => void) => Run & Hand<RunEvent>;
  Observation: new (cursor: string | undefined, stop: () => void) => Hand<ObservationEvent> & { cursor: string | undefined; close(): void };
  RunLine: new (url: string, options?: object) => FaceLine;
  Page: { open(glue: object, exports: object, given: object): unknown };
  words: Record<string, number>;
}

// Rust and its glue are played by the tests.
const withoutWasm: Plugin = {
  name: "without wasm",
  setup(into) {
    into.onResolve({ filter: /\/bytes\.js$/ }, () => ({ path: "bytes", namespace: "none" }));
    into.onLoad({ filter: /.*/, namespace: "none" }, () => ({ contents: "export const instantiate = () => { throw new Error('no wasm') }" }));
  },
};
const bundled = await build({
  stdin: {
    contents: ["src/ts/run.ts", "src/web/page.js"].map((path) => `export * from "./${path}";`).join("") + `export { Observation } from "./src/ts/observation.ts"; export * as words from "./src/web/rust.js";`,
    resolveDir: fileURLToPath(new URL("../..", import.meta.url)),
  },
  bundle: true,
  format: "esm",
  write: false,
  logLevel: "error",
  plugins: [withoutWasm],
});
const faces = (await import(`data:text/javascript;base64,${Buffer.from(bundled.outputFiles[0]!.contents).toString("base64")}`)) as Faces;
const { Run: RunOf, Observation: ObservationOf, RunLine, words } = faces;
const { RESULT, REFUSED, TIMED_OUT, LOST, CANCELLED, REJECTED, SENT, STARTED, DELTA, FINAL, FAILED, STOPPED, RESUMED, RESTARTED, GAP, NOTE, BEGAN, CALLED, WITHDRAWN } = words as Record<string, number> as any;
const { REQUEST, RUN, NOTIFY, CANCEL, REPLY, REFUSE } = words as any;

/** A protocol as plain as can be: a frame says what it does to the text. */
const dialect = {
  name: "nexus",
  type: (frame: any) => frame?.type,
  result: (frame: any) => frame.result,
  error: ({ error }: any) => ({ message: error.message, retryable: error.retryable, cause: error }),
  called: (frame: any) => ({ method: frame.method, params: frame.params }),
  delta: ({ all, more }: any, before: string) => (all === undefined ? { text: before + more, appended: more } : { text: all as string }),
  note: ({ part }: any, before: string) => (part === undefined ? undefined : { text: before + part, appended: part }),
  whole: (frame: any) => frame?.whole,
};

/** What is due has happened. */
const quiet = () => new Promise<void>((resolve) => setImmediate(resolve));
const fate = (promise: Promise<unknown>) =>
  promise.then(
    (value) => ({ value }),
    (error: Fault) => ({ code: error.code, message: error.message, retryable: error.retryable, cause: error.cause }),
  );
async function all<Event>(events: AsyncIterable<Event>): Promise<Event[]> {
  const seen: Event[] = [];
  for await (const event of events) seen.push(event);
  return seen;
}
const types = (events: { type: string }[]) => events.map(({ type }) => type);
const aRun = (cancel = () => {}) => new RunOf(dialect, cancel);

/** A line whose wasm comes when the test says so, and whose Rust does what the test says. */
function moored() {
  const commands: Command[] = [];
  const told: string[] = [];
  let texts: (string | undefined)[] = [];
  let events: any;
  let bring!: (abi: object) => void;
  let refuse!: (error: Error) => void;
  const loaded = new Promise<object>((resolve, reject) => ((bring = resolve), (refuse = reject)));
  const glue = {
    open: (given: unknown) => ((events = given), 0),
    text: (place: number, text: string | undefined) => (texts[place] = text),
    explain: () => "",
  };
  const exports = {
    tell(_line: number, what: number, handle: number, verb: number, number: number) {
      if (what === words["COMMAND"]) commands.push({ handle, verb, number, texts });
      else told.push(Object.keys(words).find((name) => words[name] === what && name !== "REQUEST")!);
      texts = [];
      return 0;
    },
    stat: () => Number.NaN,
    free() {},
  };
  class Line extends RunLine {
    readonly dialect = dialect;
    load() {
      return loaded.then(() => ({ open: (given: object) => faces.Page.open(glue, exports, { ...given, dialect, began: (this as any).began.bind(this) }) }));
    }
  }
  const line: FaceLine = new Line("ws://gateway.invalid/", { target: null, log: "silent" });
  let key = 0;
  return {
    line,
    commands,
    told,
    lack: (error: Error) => refuse(error),
    async arrive() {
      line.connect();
      bring({});
      await quiet();
    },
    /** Rust tells a handle. */
    tell(handle: number, word: number, frame?: unknown, number = 0, text = "") {
      events.inbox.set(++key, frame);
      events.told(handle, word, key, number, text);
    },
    get handles(): Map<number, unknown> {
      return events.handles;
    },
  };
}
async function arrived() {
  const own = moored();
  await own.arrive();
  return own;
}
/** A signal that counts who listens to it. */
function watched() {
  const abort = new AbortController();
  const { signal } = abort;
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...given: any) => (listeners++, (addEventListener as any).apply(signal, given));
  signal.removeEventListener = (...given: any) => (listeners--, (removeEventListener as any).apply(signal, given));
  return { abort, signal, listeners: () => listeners };
}

test.describe("requests", () => {
  const ENDS: [string, any[], Record<string, unknown>][] = [
    ["a result", [RESULT, { result: { a: 1 } }], { value: { a: 1 } }],
    ["an error of the server's", [REFUSED, { error: { code: -5, message: "no", data: [1] } }], { code: "call.remote", message: "no", retryable: false, cause: { code: -5, message: "no", data: [1] } }],
    ["an error that may pass", [REFUSED, { error: { message: "busy", retryable: true } }], { code: "call.remote", retryable: true }],
    ["silence", [TIMED_OUT], { code: "call.timeout", retryable: false }],
    ["no connection in time", [TIMED_OUT, undefined, 1], { code: "call.timeout", retryable: true }],
    ["a lost line before it was sent", [LOST, undefined, 1], { code: "call.lost", retryable: true }],
    ["a lost line behind it", [LOST, undefined, 0], { code: "call.lost", retryable: false }],
    ["a full table", [REJECTED, undefined, 0, "call.queue-full"], { code: "call.queue-full", retryable: true }],
    ["a protocol without it", [REJECTED, undefined, 0, "call.unsupported"], { code: "call.unsupported", retryable: false }],
    ["a frame that cannot be read", [RESULT, null], { code: "frame.malformed", retryable: false }],
  ];
  for (const [what, [word, frame, number, text], end] of ENDS)
    test(`a request ends by ${what}, once, and lets go of its signal`, async () => {
      const { line, commands, tell, handles } = await arrived();
      const { signal, listeners } = watched();
      const call = fate(line.request("m", { p: 1 }, { signal, idempotencyKey: "k" }));
      expect(commands).toEqual([{ handle: 1, verb: REQUEST, number: 30_000, texts: ["m", '{"p":1}', "k"] }]);
      tell(1, word, frame, number, text);
      tell(1, RESULT, { result: "late" });
      expect(await call).toMatchObject(end);
      expect(listeners()).toBe(0);
      expect(handles.size).toBe(0);
    });

  test("answers come to whom they are for, in any order, and one of them never", async () => {
    const { line, tell } = await arrived();
    const [first, second, third] = [line.request("a"), line.request("b"), line.request("c")];
    tell(3, RESULT, { result: 3 });
    tell(7, RESULT, { result: "nobody's" });
    tell(1, RESULT, { result: 1 });
    expect(await Promise.all([first, third])).toEqual([1, 3]);
    line.dispose();
    expect(await fate(second!)).toMatchObject({ code: "disposed" });
  });

  test("an answer may come before the promise is there", async () => {
    const own = await arrived();
    const { push } = own.commands;
    own.commands.push = (command: Command) => (own.tell(command.handle, RESULT, { result: "at once" }), push.call(own.commands, command));
    const { signal, listeners } = watched();
    expect(await own.line.request("m", undefined, { signal })).toBe("at once");
    expect(listeners()).toBe(0);
  });

  test("a signal ends a request before, while and after, and its reason is the cause", async () => {
    const { line, commands, tell } = await arrived();
    const why = new Error("enough");
    expect(await fate(line.request("m", {}, { signal: AbortSignal.abort(why) }))).toMatchObject({ code: "call.aborted", cause: why });
    expect(commands).toEqual([]);
    const { abort, signal, listeners } = watched();
    const call = fate(line.request("m", {}, { signal }));
    abort.abort(why);
    expect(commands.map(({ verb, handle }) => [verb, handle])).toEqual([
      [REQUEST, 2],
      [CANCEL, 2],
    ]);
    tell(2, CANCELLED);
    expect(await call).toMatchObject({ code: "call.aborted", cause: why });
    expect(listeners()).toBe(0);
    const later = watched();
    const done = line.request("m", {}, { signal: later.signal });
    tell(3, RESULT, { result: 1 });
    later.abort.abort();
    expect(await done).toBe(1);
    expect(commands).toHaveLength(3);
  });

  test("a request settles while wasm has not come: by its signal, by its time, by dispose", async () => {
    const own = moored();
    const abort = new AbortController();
    const aborted = fate(own.line.request("a", {}, { signal: abort.signal }));
    const late = fate(own.line.request("b", {}, { timeoutMs: 5 }));
    abort.abort();
    expect(await aborted).toMatchObject({ code: "call.aborted" });
    expect(await late).toMatchObject({ code: "call.timeout" });
    const patient = fate(own.line.request("c", {}, { timeoutMs: Infinity }));
    const waits = own.line.request("d");
    await own.arrive();
    // What has ended is not sent any more, and what is left has so much less time.
    expect(own.commands.map(({ texts }) => texts[0])).toEqual(["c", "d"]);
    expect(own.commands[0]!.number).toBe(Infinity);
    expect(own.commands[1]!.number).toBeLessThanOrEqual(30_000);
    own.tell(own.commands[1]!.handle, RESULT, { result: 4 });
    expect(await waits).toBe(4);
    own.line.dispose();
    expect(await patient).toMatchObject({ code: "disposed" });

    const other = moored();
    const never = [other.line.request("a"), other.line.notify("b"), other.line.run("c").result].map(fate);
    other.line.dispose();
    for (const end of await Promise.all(never)) expect(end).toMatchObject({ code: "disposed" });
  });

  test("no more than a thousand calls wait for wasm", async () => {
    const own = moored();
    const calls = Array.from({ length: 1001 }, () => fate(own.line.request("m")));
    expect(await calls[1000]).toMatchObject({ code: "call.queue-full", retryable: true });
    await own.arrive();
    expect(own.commands).toHaveLength(1000);
    void own.line.request("m").catch(() => {});
    expect(own.commands).toHaveLength(1001);
    own.line.dispose();
    await Promise.all(calls);
  });

  test("wasm that cannot be loaded ends everything that waits for it with its cause", async () => {
    const own = moored();
    const run = own.line.run("c");
    const ends = [own.line.request("a"), own.line.notify("b"), run.result].map(fate);
    own.lack(new Error("no such chunk"));
    for (const end of await Promise.all(ends)) expect(end).toMatchObject({ code: "wasm.unavailable", message: expect.stringContaining("no such chunk") });
    expect(await all(run)).toEqual([{ type: "error", error: expect.objectContaining({ code: "wasm.unavailable", message: expect.stringContaining("no such chunk") }) }]);
    expect(await fate(own.line.request("d"))).toMatchObject({ code: "wasm.unavailable" });
  });

  test("what JSON cannot carry, and a time that is none, reject the call and send nothing", async () => {
    const { line, commands } = await arrived();
    expect(await fate(line.request("m", { n: 1n }))).toMatchObject({ code: "send.unsupported" });
    expect(await fate(line.notify("m", () => {}))).toMatchObject({ code: "send.unsupported" });
    expect(await fate(line.request("m", {}, { timeoutMs: Number.NaN }))).toMatchObject({ code: "config.invalid" });
    expect(await fate(line.run("m", { n: 1n }).result)).toMatchObject({ code: "send.unsupported", message: expect.stringContaining("BigInt") });
    expect(commands).toEqual([]);
  });

  test("a notification settles when a socket has it", async () => {
    const { line, commands, tell } = await arrived();
    const sent = line.notify("m", [1]);
    expect(commands).toMatchObject([{ verb: NOTIFY, texts: ["m", "[1]", undefined] }]);
    tell(1, SENT);
    expect(await sent).toBeUndefined();
  });

  test("dispose says that it was dispose, and what a listener asks for meanwhile is refused", async () => {
    const own = await arrived();
    let meanwhile: unknown;
    own.line.handle("ask", (_params, { signal }) => new Promise(() => signal.addEventListener("abort", () => (meanwhile = fate(own.line.request("late"))))));
    own.tell(2 ** 31 + 1, CALLED, { method: "ask" });
    const call = fate(own.line.request("m"));
    await quiet();
    own.line.dispose();
    expect(await call).toMatchObject({ code: "disposed" });
    expect(await meanwhile).toMatchObject({ code: "disposed" });
    expect(own.handles.size).toBe(0);
    expect(own.commands.map(({ texts }) => texts[0])).toEqual(["m"]);
  });
});

test.describe("handlers", () => {
  const called = 2 ** 31 + 1;
  const CASES: [string, Handler, number, unknown][] = [
    ["answers", (params) => ({ got: params }), REPLY, { got: { a: 1 } }],
    ["answers in time", async () => "later", REPLY, "later"],
    ["returns nothing", () => {}, REPLY, null],
    ["returns a number that JSON has not", () => 1n, REFUSE, { code: -32603, message: expect.stringContaining("BigInt") }],
    ["returns a cycle", () => { const cycle: any = {}; return (cycle.cycle = cycle); }, REFUSE, { code: -32603, message: expect.stringContaining("circular") }],
    ["throws an error", () => { throw new Error("broken"); }, REFUSE, { code: -32603, message: "broken" }],
    ["throws an error object", () => { throw { code: 7, message: "seven", data: [7] }; }, REFUSE, { code: 7, message: "seven", data: [7] }],
    ["throws data that JSON has not", () => { throw { code: 7, message: "seven", data: 7n }; }, REFUSE, { code: 7, message: "seven" }],
    ["throws a code that is no whole number", () => { throw { code: Number.NaN, message: "odd" }; }, REFUSE, { code: -32603, message: "odd" }],
    ["throws a message that is no text", () => { throw { message: { toString: 1 } }; }, REFUSE, { code: -32603, message: "the handler failed" }],
    ["throws a text", () => { throw "just so"; }, REFUSE, { code: -32603, message: "just so" }],
    ["throws nothing", () => { throw undefined; }, REFUSE, { code: -32603, message: "undefined" }],
    ["throws null", () => { throw null; }, REFUSE, { code: -32603, message: "the handler failed" }],
    ["throws what has no words", () => { throw Object.create(null); }, REFUSE, { code: -32603, message: "the handler failed" }],
    ["rejects", () => Promise.reject(Symbol("s")), REFUSE, { code: -32603, message: "Symbol(s)" }],
  ];
  for (const [what, handler, verb, answer] of CASES)
    test(`a handler that ${what} is an answer`, async () => {
      const { line, commands, tell } = await arrived();
      line.handle("ask", handler);
      tell(called, CALLED, { method: "ask", params: { a: 1 } });
      await quiet();
      expect(commands).toHaveLength(1);
      expect(commands[0]).toMatchObject({ verb, handle: called });
      expect(JSON.parse(commands[0]!.texts[0]!)).toEqual(answer);
    });

  test("a method without a handler is refused, one that was withdrawn too, and the newest is asked", async () => {
    const { line, commands, tell } = await arrived();
    const offFirst = line.handle("ask", () => "first");
    const offSecond = line.handle("ask", () => "second");
    // Who was replaced takes nobody's place away.
    offFirst();
    tell(called, CALLED, { method: "ask" });
    await quiet();
    offSecond();
    tell(called + 1, CALLED, { method: "ask" });
    tell(called + 2, CALLED, { method: "toString" });
    await quiet();
    expect(commands.map(({ texts }) => JSON.parse(texts[0]!))).toEqual(["second", { code: -32601, message: "no handler for ask" }, { code: -32601, message: "no handler for toString" }]);
  });

  test("a handler hears that nobody waits any more, and its answer to a line that has ended is nobody's", async () => {
    const own = await arrived();
    const signals: AbortSignal[] = [];
    let answer!: (value: unknown) => void;
    own.line.handle("ask", (_params, { signal }) => (signals.push(signal), new Promise((resolve) => (answer = resolve))));
    own.tell(called, CALLED, { method: "ask" });
    await quiet();
    own.tell(called, WITHDRAWN);
    expect(signals[0]!.aborted).toBe(true);
    own.tell(called + 1, CALLED, { method: "ask" });
    await quiet();
    own.line.dispose();
    expect(signals[1]!.aborted).toBe(true);
    answer("too late");
    await quiet();
    expect(own.commands).toEqual([]);
  });
});

test.describe("runs", () => {
  test("a run says what comes, ends once, and nothing comes behind the end", async () => {
    const run = aRun();
    run.told(STARTED, { s: 1 }, 0, "");
    run.told(DELTA, { more: "Hel" }, 0, "");
    run.told(NOTE, { tool: 1 }, 0, "");
    run.told(DELTA, { more: "lo" }, 0, "");
    expect(run.told(FINAL, { whole: "Hello." }, 0, "")).toBe(true);
    for (const word of [DELTA, FINAL, FAILED, STOPPED, CANCELLED, LOST, NOTE, GAP, RESUMED, RESTARTED]) expect(run.told(word, { more: "x", whole: "x", error: {} }, 0, "")).toBe(true);
    expect(await all(run)).toEqual([
      { type: "started", frame: { s: 1 } },
      { type: "delta", text: "Hel" },
      { type: "note", frame: { tool: 1 } },
      { type: "delta", text: "lo." },
      { type: "final", text: "Hello.", frame: { whole: "Hello." } },
    ]);
    expect([await run.result, run.text]).toEqual(["Hello.", "Hello."]);
    expect(await all(run)).toEqual([]);
  });

  const ENDS: [string, any[], string, Record<string, unknown>][] = [
    ["an error of the server's", [FAILED, { error: { code: 5, message: "overloaded", retryable: true } }, 0, ""], "error", { code: "call.remote", message: "overloaded", retryable: true, cause: { code: 5 } }],
    ["a refusal", [REFUSED, { error: { message: "no" } }, 0, ""], "error", { code: "call.remote", message: "no" }],
    ["silence", [TIMED_OUT, undefined, 0, ""], "error", { code: "call.timeout" }],
    ["a lost line", [LOST, undefined, 0, ""], "error", { code: "call.lost", retryable: false }],
    ["a rejection", [REJECTED, undefined, 0, "call.too-large"], "error", { code: "call.too-large" }],
    ["a stop", [STOPPED, { whole: "some more" }, 0, ""], "aborted", { code: "call.aborted" }],
    ["a cancel", [CANCELLED, undefined, 0, ""], "aborted", { code: "call.aborted" }],
  ];
  for (const [what, [word, frame, number, text], type, error] of ENDS)
    test(`a run that ends by ${what} keeps its text, and rejects its result`, async () => {
      const run = aRun();
      run.told(DELTA, { more: "some" }, 0, "");
      expect(run.told(word, frame, number, text)).toBe(true);
      const events = await all(run);
      expect(events.at(-1)!.type).toBe(type);
      expect(events.filter(({ type }) => /final|error|aborted/.test(type))).toHaveLength(1);
      expect(run.text).toBe(word === STOPPED ? "some more" : "some");
      expect(await fate(run.result)).toMatchObject(error);
    });

  test("several loops share the events, and all of them end", async () => {
    const run = aRun();
    const loops = [all(run), all(run), all(run)];
    await quiet();
    for (const more of ["a", "b", "c", "d"]) {
      run.told(DELTA, { more }, 0, "");
      await quiet();
    }
    run.told(FINAL, {}, 0, "");
    const seen = await Promise.all(loops);
    expect(seen.flat().filter(({ type }) => type === "final")).toHaveLength(1);
    expect(seen.flat().filter(({ type }) => type === "delta")).toHaveLength(4);
  });

  test("a loop that is left while it waits ends at once, and takes nothing from the next one", async () => {
    const run = aRun();
    const left = run[Symbol.asyncIterator]();
    const waiting = left.next();
    await quiet();
    expect(await left.return!()).toEqual({ done: true, value: undefined });
    expect(await waiting).toEqual({ done: true, value: undefined });
    run.told(DELTA, { more: "all of it" }, 0, "");
    run.told(FINAL, {}, 0, "");
    expect(await left.next()).toEqual({ done: true, value: undefined });
    expect(types(await all(run))).toEqual(["delta", "final"]);
  });

  test("a loop whose body throws leaves the run running", async () => {
    const run = aRun();
    run.told(DELTA, { more: "a" }, 0, "");
    const broken = (async () => {
      for await (const { type } of run) throw new Error(`cannot show a ${type}`);
    })();
    expect(await fate(broken)).toMatchObject({ message: "cannot show a delta" });
    run.told(DELTA, { more: "b" }, 0, "");
    run.told(FINAL, {}, 0, "");
    expect(await all(run)).toEqual([
      { type: "delta", text: "b" },
      { type: "final", text: "ab", frame: {} },
    ]);
  });

  test("a reader who stays away keeps the whole text and is told what it missed", async () => {
    const run = aRun();
    run.told(STARTED, {}, 0, "");
    let text = "";
    for (let n = 0; n < 10_000; n++) {
      run.told(DELTA, { more: `${n} ` }, 0, "");
      run.told(NOTE, { n }, 0, "");
      text += `${n} `;
    }
    run.told(FINAL, {}, 0, "");
    const events = await all(run);
    expect(events.length).toBeLessThanOrEqual(1003);
    expect(events[0]).toEqual({ type: "gap", reason: "slow-consumer" });
    let shown = "";
    for (const event of events) {
      if (event.type === "resumed") shown = event.text;
      if (event.type === "delta") shown += event.text;
    }
    expect(shown).toBe(text);
    expect(events.at(-1)).toMatchObject({ type: "final", text });
  });

  test("deltas without notes are one event, however many", async () => {
    const run = aRun();
    for (let n = 0; n < 5000; n++) run.told(DELTA, { more: "ab" }, 0, "");
    run.told(FINAL, {}, 0, "");
    expect(await all(run)).toEqual([
      { type: "delta", text: "ab".repeat(5000) },
      { type: "final", text: "ab".repeat(5000), frame: {} },
    ]);
  });

  test("nobody's unhandled rejection: a run that only is iterated, and one that nobody looks at", async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown) => unhandled.push(error);
    process.on("unhandledRejection", note);
    const run = aRun();
    aRun().told(TIMED_OUT, undefined, 0, "");
    run.told(TIMED_OUT, undefined, 0, "");
    await all(run);
    await quiet();
    await quiet();
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
  });

  test("cancel and the signal reach the server once, and not a run that has ended", async () => {
    const { line, commands, tell } = await arrived();
    const { abort, signal, listeners } = watched();
    const run = line.run("talk", {}, { signal, timeoutMs: 500 });
    expect(commands).toMatchObject([{ verb: RUN, handle: 1, number: 500 }]);
    tell(1, STARTED, {});
    tell(1, DELTA, { more: "so far" });
    abort.abort();
    expect(commands.slice(1)).toMatchObject([{ verb: CANCEL, handle: 1 }]);
    tell(1, STOPPED, {});
    run.cancel();
    abort.abort();
    expect(commands).toHaveLength(2);
    expect(listeners()).toBe(0);
    expect((await all(run)).at(-1)).toEqual({ type: "aborted", text: "so far", frame: {} });
    const other = line.run("talk");
    other.cancel();
    expect(commands.slice(2)).toMatchObject([{ verb: RUN, handle: 2 }, { verb: CANCEL, handle: 2 }]);
    const before = line.run("talk", {}, { signal: AbortSignal.abort() });
    expect(types(await all(before))).toEqual(["aborted"]);
    expect(commands).toHaveLength(4);
  });

  test("a run that is begun before wasm has come is cancelled without it", async () => {
    const own = moored();
    const run = own.line.run("talk");
    run.cancel();
    expect(types(await all(run))).toEqual(["aborted"]);
    await own.arrive();
    expect(own.commands).toEqual([]);
  });

  test("a frame that cannot be read costs a delta and is told; at the end it ends the run", async () => {
    const own = await arrived();
    const faults: string[] = [];
    own.line.on("ws-error", ({ code }) => faults.push(code));
    const run = own.line.run("talk");
    own.tell(1, DELTA, { more: "a" });
    own.tell(1, DELTA, null);
    own.tell(1, DELTA, { more: "b" });
    expect(run.text).toBe("ab");
    own.tell(1, FAILED, null);
    expect(faults).toEqual(["frame.malformed", "frame.malformed"]);
    expect((await all(run)).at(-1)).toMatchObject({ type: "error", error: { code: "frame.malformed" } });
    expect(own.handles.size).toBe(0);
  });

  test("a run that the server began is there for who hears of it, and ends with a line that a listener ends", async () => {
    const own = await arrived();
    const begun: { run: Run; origin: string; frame: unknown }[] = [];
    own.line.on("run-started", (detail) => begun.push(detail));
    own.tell(2 ** 31 + 1, BEGAN, { f: 1 }, 0, "other");
    own.tell(2 ** 31 + 1, DELTA, { more: "hi" });
    own.tell(2 ** 31 + 1, FINAL, {});
    expect(begun).toMatchObject([{ origin: "other", frame: { f: 1 } }]);
    expect(types(await all(begun[0]!.run))).toEqual(["delta", "final"]);
    own.line.on("run-started", () => own.line.dispose());
    own.tell(2 ** 31 + 2, BEGAN, { f: 2 }, 0, "other");
    expect((await all(begun[1]!.run)).at(-1)).toMatchObject({ type: "error", error: { code: "disposed" } });
    expect(own.handles.size).toBe(0);
  });
});

test.describe("any order of events, read in any way", () => {
  /** Numbers that are the same on every run. */
  function dice(seed: number): (sides: number) => number {
    let state = seed;
    return (sides) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * sides);
    };
  }

  for (const [what, seeds, lengths] of [
    ["short runs", 600, 60],
    ["runs longer than may wait", 16, 12_000],
  ] as const)
    test(`the text is whole and stands once: ${what}, read by none to three loops that come and go, fast and slow`, async () => {
      let slow = 0;
      for (let seed = 1; seed <= seeds; seed++)
        slow += await once(seed, lengths).catch((error) => {
          throw new Error(`seed ${seed}`, { cause: error });
        });
      expect(slow > 0).toBe(lengths > 1000);
    });

  /** One run of any words. Answers how often its readers were told that they are slow. */
  async function once(seed: number, lengths: number): Promise<number> {
    const roll = dice(seed * 7919);
    const readers = roll(4);
    const hurry = [1, 2, 8, 64][roll(4)]!;
    const length = roll(lengths);
    const run = aRun();
    const { result } = run;
    const shown = { text: "", ends: 0, notes: 0, gaps: 0, slow: 0, behind: 0 };
    const tell = { text: "", notes: 0, gaps: 0 };
    let ended = false;
    let steps = hurry > 1 ? 0 : Infinity;
    const waiting: (() => void)[] = [];

    /** What every page does with an event. */
    const show = (event: RunEvent) => {
      if (shown.ends) shown.behind++;
      if (event.type === "delta") shown.text = event.replace ? event.text : shown.text + event.text;
      if (event.type === "resumed") shown.text = event.text;
      if (event.type === "restarted") shown.text = "";
      if (event.type === "note") shown.notes++;
      if (event.type === "gap") event.reason === "slow-consumer" ? shown.slow++ : shown.gaps++;
      if (event.type === "final" || event.type === "aborted") {
        // Who appends has it before the last word says it; blanks at the end aside.
        expect(shown.text.trimEnd()).toBe(event.text.trimEnd());
        shown.text = event.text;
      }
      if (/final|error|aborted/.test(event.type)) shown.ends++;
    };
    const turn = async () => {
      while (steps <= 0) await new Promise<void>((resolve) => waiting.push(resolve));
      steps--;
    };
    const give = (count: number) => {
      steps += count;
      for (const wake of waiting.splice(0)) wake();
    };
    const loop = async (leaves: number) => {
      for (;;) {
        let left = leaves;
        let over = true;
        for await (const event of run) {
          show(event);
          await turn();
          if (--left === 0) {
            over = false;
            break;
          }
        }
        if (over) return;
      }
    };
    const loops = Array.from({ length: readers }, () => loop(roll(2) ? 1 + roll(5) : 0));

    for (let n = 0; n < length && !ended; n++) {
      const more = `${n}${roll(6) ? " " : ""}`;
      // Most of a long one is text and notes, which nothing replaces.
      switch (lengths > 1000 && roll(100) ? 6 + roll(2) : roll(14)) {
        case 0:
          run.told(STARTED, {}, 0, "");
          break;
        case 1: {
          const all = roll(2) ? `again ${n} ` : tell.text + more;
          run.told(DELTA, { all }, 0, "");
          tell.text = all;
          break;
        }
        case 2:
          run.told(NOTE, { part: more }, 0, "");
          tell.text += more;
          tell.notes++;
          break;
        case 3: {
          const whole = [undefined, tell.text, tell.text + more, `other ${n} `][roll(4)];
          run.told(RESUMED, { whole }, 0, "");
          tell.text = whole ?? tell.text;
          break;
        }
        case 4:
          run.told(RESTARTED, {}, 0, "");
          tell.text = "";
          break;
        case 5:
          run.told(GAP, {}, 0, "missed");
          tell.gaps++;
          break;
        case 6:
          run.told(NOTE, { n }, 0, "");
          tell.notes++;
          break;
        default:
          run.told(DELTA, { more }, 0, "");
          tell.text += more;
      }
      if (run.text !== tell.text) throw new Error(`${run.text} is not ${tell.text}`);
      if (roll(hurry) === 0) give(1);
      if (roll(3) === 0) await quiet();
      // Who has caught up has it all, at any time.
      if (readers && roll(hurry > 1 ? lengths / 4 : 16) === 0) {
        const before = steps;
        give(Infinity);
        await quiet();
        expect(shown.text).toBe(tell.text);
        steps = before;
      }
      ended = lengths < 100 && roll(80) === 0;
    }
    const [word, frame] = [
      [FINAL, {}],
      [FINAL, { whole: tell.text }],
      [FINAL, { whole: tell.text.trimEnd() }],
      [FINAL, { whole: `${tell.text}and more` }],
      [FINAL, { whole: "another text" }],
      [STOPPED, { whole: `${tell.text}and more` }],
      [CANCELLED, undefined],
      [FAILED, { error: { message: "no" } }],
    ][roll(8)] as [number, any];
    const text = (frame?.whole as string | undefined) ?? tell.text;
    for (let times = 0; times < 2; times++) run.told(word, frame, 0, "");
    run.told(DELTA, { more: "late" }, 0, "");
    give(Infinity);
    await Promise.all(loops);
    for await (const event of run) show(event);

    expect(shown).toMatchObject({ text, ends: 1, behind: 0 });
    expect(run.text).toBe(text);
    expect(await fate(result)).toMatchObject(word === FINAL ? { value: text } : { code: word === FAILED ? "call.remote" : "call.aborted" });
    if (shown.slow === 0) expect([shown.notes, shown.gaps]).toEqual([tell.notes, tell.gaps]);
    else expect(shown.notes).toBeLessThan(tell.notes);
    return shown.slow;
  }
});

test.describe("observations", () => {
  const event = (n: number, name = "tick", data: unknown = { n }) => ({ envelope: { cursor: `c${n}`, payload: { event: name, data } } });

  test("several loops share an observation, all end, and the cursor is that of the newest taken", async () => {
    const observation = new ObservationOf(undefined, () => {});
    const loops = [all(observation), all(observation)];
    await quiet();
    for (let n = 1; n <= 5; n++) observation.told(DELTA, event(n), 0, "");
    await quiet();
    expect(observation.cursor).toBe("c5");
    observation.told(CANCELLED, undefined, 0, "");
    expect((await Promise.all(loops)).flat()).toHaveLength(5);
  });

  test("a loop over an observation that is left while it waits ends, and the cursor stays", async () => {
    const observation = new ObservationOf("c0", () => {});
    const loop = observation[Symbol.asyncIterator]();
    const waiting = loop.next();
    await loop.return!();
    expect(await waiting).toEqual({ done: true, value: undefined });
    observation.told(DELTA, event(1), 0, "");
    expect(observation.cursor).toBe("c0");
  });

  test("what ended an observation is thrown in the loop, behind what came before it", async () => {
    const observation = new ObservationOf(undefined, () => {});
    observation.told(DELTA, event(1), 0, "");
    observation.told(REJECTED, undefined, 0, "observe.busy");
    const seen: unknown[] = [];
    const loop = (async () => {
      for await (const one of observation) seen.push(one);
    })();
    expect(await fate(loop)).toMatchObject({ code: "observe.busy", message: "a line observes one thing at a time" });
    expect(seen).toHaveLength(1);
  });

  test("a reader who stays away: text is joined, and what is too much is a gap", async () => {
    const joined = new ObservationOf(undefined, () => {});
    for (let n = 0; n < 5000; n++) joined.told(DELTA, event(n), 0, "");
    for (let n = 5000; n < 50_000; n++) joined.told(DELTA, event(n, "text_delta", { text: "a" }), 0, "");
    joined.told(CANCELLED, undefined, 0, "");
    const events = await all(joined);
    expect(events).toHaveLength(5001);
    expect(events.at(-1)).toMatchObject({ type: "event", event: "text_delta", data: { text: "a".repeat(45_000) }, cursor: "c49999" });
    expect(joined.cursor).toBe("c49999");

    const dropped = new ObservationOf(undefined, () => {});
    for (let n = 0; n < 25_000; n++) dropped.told(DELTA, event(n), 0, "");
    dropped.told(CANCELLED, undefined, 0, "");
    const left = await all(dropped);
    expect(left.length).toBeLessThanOrEqual(10_000);
    expect(left[0]).toEqual({ type: "gap", reason: "slow-consumer" });
    expect(left.at(-1)).toMatchObject({ cursor: "c24999" });
  });

  test("a diagnostic cannot pass for another event", async () => {
    const observation = new ObservationOf(undefined, () => {});
    observation.told(NOTE, { diagnostic: { type: "resumed", code: "x", message: "y" } }, 0, "");
    observation.told(CANCELLED, undefined, 0, "");
    expect(await all(observation)).toEqual([{ type: "diagnostic", code: "x", message: "y" }]);
  });
});
