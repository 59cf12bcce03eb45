/** The fixtures of the lifecycle scenarios: an engine for the whole worker, gateways and pages for each test. */
import { fileURLToPath } from "node:url";
import type { Options } from "moorline";
import { Gateway, eventually, expect, test as base } from "../support/test.js";
import type { Heard } from "../support/rig.js";
import { type Engine, type Name, type Tab, lacking, start } from "./engine.js";

export { Gateway, eventually, expect, type Engine };

const PAGE = fileURLToPath(new URL("./page", import.meta.url));
const RIG = fileURLToPath(new URL("../support/page", import.meta.url));

/** A page with a line, which is there from the page's start. */
export class App {
  readonly tab: Tab;
  readonly #gateway: Gateway;

  constructor(tab: Tab, gateway: Gateway) {
    this.tab = tab;
    this.#gateway = gateway;
  }

  async open(options: Options, url: string | undefined): Promise<void> {
    await this.tab.goto(`${this.#gateway.url}app.html?${encodeURIComponent(JSON.stringify({ options, url }))}`);
    await this.there();
  }

  /** Waits for the page's own script. */
  async there(): Promise<void> {
    await eventually(() => this.run(() => globalThis.rig?.main !== undefined), Boolean, "the page's script", 30_000);
  }

  run<T>(act: () => T | Promise<T>): Promise<T>;
  run<T, A>(act: (given: A) => T | Promise<T>, given: A): Promise<T>;
  run<T, A>(act: (given: A) => T | Promise<T>, given?: A): Promise<T> {
    return this.tab.run(act, given as A);
  }

  /** The detail of the next event of this type that no earlier call has answered with. */
  next(type: string, deadlineMs = 30_000): Promise<any> {
    return this.run(([type, deadlineMs]) => rig.next(type, deadlineMs), [type, deadlineMs] as const);
  }

  heard(): Promise<Heard[]> {
    return this.run(() => rig.log);
  }

  async details(type: string): Promise<any[]> {
    return (await this.heard()).flatMap((heard) => (heard.type === type ? [heard.detail] : []));
  }

  /** What was told as a fault. */
  async faults(): Promise<unknown[]> {
    return [...(await this.details("ws-error")), ...(await this.details("ws-failed"))];
  }

  state(): Promise<string> {
    return this.run(() => rig.main.state);
  }

  /** Sends frames of a type, numbered from `from` on. */
  send(type: string, count: number, from = 0): Promise<void> {
    return this.run(
      ([type, count, from]) => {
        for (let n = from; n < from + count; n++) rig.main.send({ type, n });
      },
      [type, count, from] as const,
    );
  }

  /** Goes to another page of the gateway's. */
  async leave(): Promise<void> {
    await this.tab.goto(`${this.#gateway.url}away.html`);
  }

  /** Comes back, and tells whether the page is the one that was left, or was loaded anew. */
  async comeBack(born: number): Promise<{ kept: boolean }> {
    await this.tab.back();
    await this.there();
    return { kept: (await this.born()) === born };
  }

  born(): Promise<number> {
    return this.run(() => (rig as unknown as { born: number }).born);
  }
}

interface Fixtures {
  /** Opens a page of the gateway's whose line goes to it, or to `url`. */
  app: (gateway: Gateway, options?: Options, url?: string) => Promise<App>;
}
interface WorkerFixtures {
  engineName: Name;
  engine: Engine;
}

export const test = base.extend<Fixtures, WorkerFixtures>({
  engineName: ["chromium", { scope: "worker", option: true }],
  engine: [
    async ({ engineName }, use) => {
      const engine = await start(engineName);
      await use(engine);
      await engine.stop();
    },
    { scope: "worker", timeout: 120_000 },
  ],
  launch: async ({ launch }, use) => {
    await use((...flags) => launch("--www", PAGE, "--mount", `/rig=${RIG}`, "--delivery", "on", ...flags));
  },
  app: async ({ engine }, use) => {
    const open: App[] = [];
    await use(async (gateway, options = {}, url) => {
      const app = new App(await engine.tab(), gateway);
      open.push(app);
      await app.open(options, url);
      return app;
    });
    for (const app of open) {
      const uncaught = await app.details("uncaught").catch(() => []);
      await app.tab.close().catch(() => {});
      expect(uncaught, "errors that nobody caught").toEqual([]);
    }
  },
});

test.beforeEach(({ engineName }) => {
  const reason = lacking(engineName);
  test.skip(reason !== undefined, reason);
});

/** The gateway serves this client, beside whom it may have greeted before it heard who came. */
export async function serves(gateway: Gateway, clientId: string): Promise<void> {
  const { clients } = await gateway.state();
  expect(clients.filter((client) => client.clientId === clientId || client.connected)).toMatchObject([{ clientId, connected: true }]);
}

/** The one connection that the gateway has, once it has no other. */
export async function oneConnection(gateway: Gateway): Promise<void> {
  await eventually(() => gateway.state(), ({ connections }) => connections.length === 1, "one connection", 30_000);
}

/** Waits until frames of a type, numbered from 0 on, have arrived, and answers with their numbers. */
export async function numbers(gateway: Gateway, type: string, count: number): Promise<unknown[]> {
  const frames = await eventually(() => gateway.received(type), (frames) => frames.length >= count, `${count} frames of type ${type}`, 40_000);
  return frames.map(({ n }) => n);
}

export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n);
}
