/** Scenarios as plain data, and what runs one over any client. */
import { VirtualClock, virtualClock } from "./testing-clock.js";
import { quotaExceeded, type TestFrame, type TestGatewayOptions, testGateway, type TestStorage } from "./testing-gateway.js";

/** What a test has to know of a client. */
export interface ScenarioClient {
  /** Connects, and from then on keeps connected by itself. What it stores, if anything, it stores there. */
  connect(url: string, storage: TestStorage): void;
  /** What it answers is asked in the end: a status that is none of `"sent"` and `"acked"` tells of a loss, and so does a throw. */
  send(frame: TestFrame): { readonly status?: string } | void;
  /** Called once, before `connect`: where to tell of every frame that is the page's business. */
  onFrame(hear: (frame: TestFrame) => void): void;
  /** Which things it has told: `"gap"`, that frames were missed; `"resumed"`; `"storage"`, that the storage refuses. Called in the end. */
  told?(): Iterable<string>;
  close(): void;
}

export interface ScenarioStep {
  /** Milliseconds since the scenario began; or `after` the step before. */
  at?: number;
  after?: number;
  /** A deed of the table in docs/testing.md. */
  do: string;
  args?: unknown[];
}

export interface Tally {
  count: number;
  /** Never arrived. */
  lost: number;
  /** Of those, how many nobody has told of. */
  silent: number;
  /** Arrived once more. */
  doubled: number;
  /** Arrived behind a younger one. */
  disordered: number;
}

export interface Scenario {
  name: string;
  about: string;
  gateway?: TestGatewayOptions;
  steps: ScenarioStep[];
  /** What holds in the end for a client that loses nothing in silence. What is not named may be anything. */
  expect: { messages?: Partial<Tally>; frames?: Partial<Tally>; told?: string[] };
}

export interface ScenarioOutcome {
  name: string;
  /** From the page to the gateway. */
  messages: Tally;
  /** Of the feed, from the gateway to the page. */
  frames: Tally;
  told: string[];
  /** What was expected and is not so, a sentence each. */
  unmet: string[];
}

export interface ScenarioOptions {
  /** Over the scenario's own. */
  gateway?: TestGatewayOptions;
  /** One that is installed already. Default: one of its own. */
  clock?: VirtualClock;
}

const MESSAGE = "scenario-message";
const FRAME = "scenario-frame";

/**
 * Runs a scenario in this page, on virtual time, with `WebSocket` replaced until it is over. A client that does worse than expected
 * is an outcome; a scenario that cannot be run throws.
 */
export async function runScenario(scenario: Scenario, client: ScenarioClient, options: ScenarioOptions = {}): Promise<ScenarioOutcome> {
  const clock = options.clock ?? virtualClock();
  const gateway = testGateway({ ...scenario.gateway, ...options.gateway }).install();
  const storage = quotaExceeded(Infinity);
  const sent: ({ readonly status?: string } | void)[] = [];
  const heard: number[] = [];
  let fed = 0;
  const each = async (count: unknown, everyMs: unknown, act: () => void) => {
    for (let n = 0; n < Number(count ?? 1); n++) {
      if (n > 0 && Number(everyMs) > 0) await clock.advance(Number(everyMs));
      act();
    }
  };
  const send = () => {
    const n = sent.push(undefined) - 1;
    try {
      sent[n] = client.send({ type: MESSAGE, n });
    } catch {
      sent[n] = { status: "refused" };
    }
  };
  const deeds: Record<string, (...args: never[]) => unknown> = {
    wait: () => {},
    connect: () => client.connect("wss://gateway.test/", storage),
    connected: () => clock.until(() => gateway.connections.length > 0),
    send: (count?: number, everyMs?: number) => each(count, everyMs, send),
    feed: (count?: number, everyMs?: number) => each(count, everyMs, () => gateway.feed({ type: FRAME, n: fed++ })),
    quotaExceeded: () => (storage.maxBytes = 0),
    sleep: (ms: number) => clock.sleep(ms),
    freeze: (ms: number) => clock.freeze(ms),
  };
  for (const name of ["say", "replay", "close", "blackHole", "halfOpen", "slow", "reset", "refuse", "reorder", "duplicate", "dropAcks", "slowAcks", "restart", "heal"] as const)
    deeds[name] = (...args: never[]) => (gateway[name] as (...args: never[]) => void)(...args);
  client.onFrame(({ type, n }) => void (type === FRAME && heard.push(n as number)));
  try {
    const unknown = scenario.steps.find((step) => !Object.hasOwn(deeds, step.do));
    if (unknown) throw new Error(`${scenario.name}: there is no deed ${JSON.stringify(unknown.do)}`);
    const began = clock.now;
    for (const { at, after, do: name, args = [] } of scenario.steps) {
      const waitMs = at === undefined ? (after ?? 0) : began + at - clock.now;
      if (waitMs > 0) await clock.advance(waitMs);
      await deeds[name]!(...(args as never[]));
    }
    await clock.advance(0);
    const told = [...new Set(client.told?.() ?? [])];
    const arrived = gateway.taken.filter(({ type }) => type === MESSAGE).map(({ n }) => n as number);
    const isTold = (n: number) => !["sent", "acked", undefined].includes(sent[n]?.status);
    const messages = tally(sent.length, arrived, isTold);
    const frames = tally(fed, heard, () => told.includes("gap"));
    return { name: scenario.name, messages, frames, told, unmet: unmet(scenario.expect, { messages, frames, told }) };
  } finally {
    try {
      client.close();
    } finally {
      gateway.uninstall();
      if (!options.clock) clock.uninstall();
    }
  }
}

function tally(count: number, arrived: number[], isTold: (n: number) => boolean): Tally {
  const seen = new Set<number>();
  const made: Tally = { count, lost: 0, silent: 0, doubled: 0, disordered: 0 };
  let newest = -1;
  for (const n of arrived) {
    if (seen.has(n)) made.doubled++;
    else if (n < newest) made.disordered++;
    seen.add(n);
    newest = Math.max(newest, n);
  }
  for (let n = 0; n < count; n++) {
    if (seen.has(n)) continue;
    made.lost++;
    if (!isTold(n)) made.silent++;
  }
  return made;
}

function unmet(expect: Scenario["expect"], { messages, frames, told }: Pick<ScenarioOutcome, "messages" | "frames" | "told">): string[] {
  const found: string[] = [];
  for (const [name, due, is] of [["messages", expect.messages, messages], ["frames", expect.frames, frames]] as const)
    for (const [what, number] of Object.entries(due ?? {}) as [keyof Tally, number][])
      if (is[what] !== number) found.push(`${name}: ${what} is ${is[what]}, not ${number}`);
  for (const word of expect.told ?? []) if (!told.includes(word)) found.push(`it does not tell ${JSON.stringify(word)}`);
  return found;
}
