/** The fixtures of every end-to-end test: gateways and pages of its own, and no page error that nobody expected. */
import { type CDPSession, type Page, test as base, expect } from "@playwright/test";
import type { Options } from "moorline";
import { Gateway, type Faults, type GatewayState, eventually } from "./gateway.js";
import type { Heard, Rig } from "./rig.js";

export { expect, eventually, Gateway, type Faults, type GatewayState, type Heard, type Rig, type Page, type CDPSession };

interface Fixtures {
  /** Starts a gateway with these flags; it ends with the test. */
  launch: (...flags: string[]) => Promise<Gateway>;
  /** Opens a page of the gateway's; pages of one test share their storage. */
  open: (gateway: Gateway, path?: string) => Promise<Page>;
  /** What pages threw and nobody caught. A test that expects any takes it out. */
  mishaps: string[];
}

export const test = base.extend<Fixtures>({
  launch: async ({}, use) => {
    const running: Gateway[] = [];
    await use(async (...flags) => {
      const gateway = new Gateway(flags);
      await gateway.start();
      running.push(gateway);
      return gateway;
    });
    await Promise.all(running.map((gateway) => gateway.stop()));
  },
  mishaps: async ({}, use) => {
    const mishaps: string[] = [];
    await use(mishaps);
    expect([...new Set(mishaps)].slice(0, 5), "errors that no test expected").toEqual([]);
  },
  open: async ({ context, mishaps }, use) => {
    await use(async (gateway, path = "") => {
      const page = await context.newPage();
      page.on("pageerror", (error) => mishaps.push(error.message));
      await page.goto(gateway.url + path);
      if (!path.startsWith("blank")) await ready(page);
      return page;
    });
  },
});

/** The page's rig is there. */
export async function ready(page: Page): Promise<void> {
  await page.waitForFunction(() => "rig" in globalThis);
}

/** The detail of the next event of this type that no earlier call has answered with. */
export function next(page: Page, type: string, deadlineMs?: number): Promise<any> {
  return page.evaluate(([type, deadlineMs]) => rig.next(type, deadlineMs), [type, deadlineMs] as const);
}

/** Makes a line with short waits, connects it, and answers with the first `ws-connected`. */
export async function moored(page: Page, options: Options = {}, url?: string): Promise<{ url: string; attempt: number; recovered: boolean }> {
  return page.evaluate(
    ([options, url]) => {
      rig.line(options, url);
      return rig.next("ws-connected");
    },
    [options, url] as const,
  );
}

/** The types of what was heard, in order. */
export function types(page: Page): Promise<string[]> {
  return page.evaluate(() => rig.log.map(({ type }) => type));
}

/** The details of what was heard of one type, in order. */
export function details(page: Page, type: string): Promise<any[]> {
  return page.evaluate((type) => rig.log.filter((heard) => heard.type === type).map(({ detail }) => detail), type);
}

export function explained(page: Page): Promise<string> {
  return page.evaluate(() => rig.main.explain().join("\n"));
}

/** Asks the gateway until `frames` of the type have arrived, and answers with all of them. */
export function arrivals(gateway: Gateway, type: string, count: number): Promise<Record<string, unknown>[]> {
  return eventually(() => gateway.received(type), (frames) => frames.length >= count, `${count} frames of type ${type}`);
}

/** Every frame that each socket of the page sent, in order; watched from here on. */
export function sockets(page: Page): { url: string; sent: string[]; closed: boolean }[] {
  const seen: { url: string; sent: string[]; closed: boolean }[] = [];
  page.on("websocket", (socket) => {
    const entry = { url: socket.url(), sent: [] as string[], closed: false };
    seen.push(entry);
    socket.on("framesent", ({ payload }) => entry.sent.push(String(payload)));
    socket.on("close", () => (entry.closed = true));
  });
  return seen;
}
