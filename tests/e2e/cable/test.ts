/** The fixtures of the tests over a real Rails server: one server for a worker, and pages with the client under test. */
import { type Page, test as base, expect } from "@playwright/test";
import { Rails, type RailsOptions, type RailsState } from "./rails.js";
import { type Client, Site } from "./site.js";

export { expect, Rails, type RailsState, type Client, type Page, Site };

export type Callback = "initialized" | "connected" | "disconnected" | "rejected" | "received";
export interface Heard {
  who: string;
  what: Callback;
  // Whatever the callback was given first: each test knows what it looks for.
  detail: any;
  given: number;
  at: number;
}
export interface Subscription {
  identifier: string;
  perform(action: string, data?: object): boolean;
  send(data: unknown): boolean;
  unsubscribe(): Subscription;
  [more: string]: any;
}
export interface Consumer {
  url: string;
  connect(): unknown;
  disconnect(): unknown;
  send(data: object): boolean;
  connection: { isOpen(): boolean; isActive(): boolean };
  subscriptions: {
    create(params: string | object, mixin?: object): Subscription;
    remove(subscription: Subscription): Subscription;
    findAll(identifier: string): Subscription[];
  };
}
interface Cable {
  createConsumer(url?: string | (() => string)): Consumer;
  consumers: Record<string, Consumer>;
  subscriptions: Record<string, Subscription>;
  log: Heard[];
  consumer(name: string, url: string | (() => string)): Consumer;
  subscribe(name: string, params: string | object, options?: { on?: string; more?: object }): Subscription;
  next(who: string, what: Callback): Promise<any>;
}
declare global {
  var cable: Cable & Record<string, any>;
}

export interface Socket {
  url: string;
  /** The commands that the client sent, in order. */
  sent: { command: string; identifier?: string; data?: string }[];
  closed: boolean;
}

/** A page with one consumer called `main`, and every socket that the page ever asked for. */
export interface Tab {
  page: Page;
  sockets: Socket[];
}

interface Options {
  client: Client;
}
interface Fixtures {
  /** As it starts, whatever the test before did to it. */
  rails: Rails;
  /** Another server for this test alone. */
  launch: (options: RailsOptions) => Promise<Rails>;
  /** A page of the client under test, with a consumer for this address unless it is null. */
  open: (url?: string | null) => Promise<Tab>;
  /** What pages threw and nobody caught. A test that expects any takes it out. */
  mishaps: string[];
}
interface WorkerFixtures {
  server: Rails;
  site: Site;
}

export const test = base.extend<Fixtures & Options, WorkerFixtures>({
  client: ["@rails/actioncable", { option: true }],
  server: [
    async ({}, use) => {
      const server = new Rails();
      await server.start();
      await use(server);
      await server.stop();
    },
    { scope: "worker" },
  ],
  site: [
    async ({}, use) => {
      const site = await new Site().start();
      await use(site);
      site.stop();
    },
    { scope: "worker" },
  ],
  rails: async ({ server }, use) => {
    await server.mend();
    await use(server);
  },
  launch: async ({}, use) => {
    const running: Rails[] = [];
    await use(async (options) => {
      const rails = new Rails(options);
      running.push(rails);
      await rails.start();
      return rails;
    });
    await Promise.all(running.map((rails) => rails.stop()));
  },
  mishaps: async ({}, use) => {
    const mishaps: string[] = [];
    await use(mishaps);
    expect([...new Set(mishaps)].slice(0, 5), "errors that no test expected").toEqual([]);
  },
  open: async ({ context, rails, site, client, mishaps }, use) => {
    await use(async (url = rails.cable) => {
      const page = await context.newPage();
      page.on("pageerror", (error) => mishaps.push(error.message));
      const failed: string[] = [];
      page.on("response", (response) => void (response.ok() || failed.push(`${response.url()} answered ${response.status()}`)));
      const sockets: Socket[] = [];
      page.on("websocket", (socket) => {
        const entry: Socket = { url: socket.url(), sent: [], closed: false };
        sockets.push(entry);
        socket.on("framesent", ({ payload }) => entry.sent.push(JSON.parse(String(payload)) as Socket["sent"][number]));
        socket.on("close", () => (entry.closed = true));
        socket.on("socketerror", () => (entry.closed = true));
      });
      // Time goes by as ever, until a test makes it hurry.
      await page.clock.install();
      await page.goto(site.page(client));
      // Its script has run by now, or could not be loaded.
      if (!(await page.evaluate(() => "cable" in globalThis))) throw new Error(`a page could not import ${client}: ${failed.join(", ")}`);
      if (url !== null) await page.evaluate((url) => void cable.consumer("main", url), url);
      return { page, sockets };
    });
  },
});

/** What the next such callback was given, of those that no earlier call has answered with. */
export async function next(page: Page, who: string, what: Callback, limitMs = 45_000): Promise<any> {
  let late: NodeJS.Timeout | undefined;
  const deadline = new Promise<"late">((resolve) => (late = setTimeout(() => resolve("late"), limitMs)));
  const heard = page.evaluate(([who, what]) => cable.next(who, what).then((it) => ({ it })), [who, what] as const);
  const first = await Promise.race([heard, deadline]).finally(() => clearTimeout(late));
  if (first !== "late") return first.it;
  const log = await page.evaluate(() => cable.log.map(({ who, what, detail }) => `${who} ${what} ${JSON.stringify(detail)}`).join("\n"));
  throw new Error(`${what} of ${who} did not come within ${limitMs} ms; heard:\n${log}`);
}

/** Subscribes, and answers with what `connected` was given. */
export async function subscribed(page: Page, name: string, params: string | object, on = "main"): Promise<{ reconnected: boolean }> {
  await page.evaluate(([name, params, on]) => void cable.subscribe(name, params, { on }), [name, params, on] as const);
  return next(page, name, "connected");
}

/** Sends a value through a subscription to EchoChannel and waits for it: the whole way there and back works. */
export async function echoed(page: Page, name: string, value: unknown): Promise<void> {
  await page.evaluate(([name, value]) => void cable.subscriptions[name]?.perform("echo", { value }), [name, value] as const);
  expect(await next(page, name, "received")).toEqual(value);
}

/** The callbacks of a subscription that were called, in order; of its consumer's life, and not its messages, unless asked. */
export async function callbacks(page: Page, who: string, messages = false): Promise<Callback[]> {
  const all = await page.evaluate((who) => cable.log.filter((entry) => entry.who === who).map(({ what }) => what), who);
  return all.filter((what) => messages || what !== "received");
}

/** Asks until the answer is good; throws with the last answer at the deadline. */
export async function eventually<T>(ask: () => Promise<T> | T, good: (answer: T) => boolean, what: string, limitMs = 30_000): Promise<T> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (good(answer)) return answer;
    if (Date.now() > deadline) throw new Error(`${what} did not come true within ${limitMs} ms: ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/**
 * Waits until the client asks for one socket more than it had. The page's clock hurries meanwhile, for clients may wait as long
 * as they like; what else lives in the page then believes its server silent.
 */
export async function dialled({ page, sockets }: Tab, before: number): Promise<void> {
  await eventually(
    async () => {
      if (sockets.length <= before) await page.clock.fastForward(1000);
      return sockets.length;
    },
    (count) => count > before,
    `socket ${before + 1}`,
  );
}
