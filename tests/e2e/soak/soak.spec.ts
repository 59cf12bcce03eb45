// Pages that send and listen for minutes, while a seeded plan breaks what can be broken: the path, the gateway, the pages
// themselves. In the end every count has to be right. `cargo xtask soak --minutes 10 --seed 7` runs it.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Moorline as Class } from "moorline";
import { eventually, expect, type Gateway, type Page, test } from "../support/test.js";

const MINUTES = Number(process.env["MOORLINE_SOAK_MINUTES"] ?? 1);
const SEED = Number(process.env["MOORLINE_SOAK_SEED"] ?? Date.now() % 1e6);
const SENDERS = 3;
const EVERY_MS = 50;
const FEED_EVERY_MS = 200;
/** What a page's heap may grow by, once it has warmed up. */
const GROWTH_BYTES = 1_048_576;

test.setTimeout((MINUTES + 4) * 60_000);

interface Mate {
  line: Class;
  heard: number;
  disorder: string[];
  gaps: number;
  resumed: number;
  errors: Record<string, number>;
}
declare global {
  var mate: Mate;
}

/** A small generator, so that a plan can be run again. */
function dice(seed: number) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
  return { below: (top: number) => Math.floor(next() * top), pick: <T>(of: readonly T[]): T => of[Math.floor(next() * of.length)]! };
}

/** Begins to send and to listen; goes on where the page before left off. Nothing is kept that grows. */
async function begin(page: Page, name: string, url: string): Promise<void> {
  await page.evaluate(
    async ([name, url, everyMs]) => {
      const { Moorline } = (await import("/pkg/index.js" as string)) as typeof import("moorline");
      const line = new Moorline(url, {
        target: null,
        queue: { persist: true, maxMessages: 100_000, maxBytes: 32 * 1024 * 1024 },
        reconnect: { baseDelayMs: 200, maxDelayMs: 1000 },
        connectTimeoutMs: 3000,
        heartbeat: { idleMs: 1000, probeTimeoutMs: 1000 },
      });
      const mate: Mate = { line, heard: Number(sessionStorage["heard"] ?? -1), disorder: [], gaps: 0, resumed: 0, errors: {} };
      globalThis.mate = mate;
      line.on("chat-message", ({ text }: { text: string }) => {
        const n = Number(text);
        if (!(n > mate.heard) && mate.disorder.length < 10) mate.disorder.push(`${n} after ${mate.heard}`);
        mate.heard = n;
        sessionStorage["heard"] = n;
        sessionStorage["count"] = Number(sessionStorage["count"] ?? 0) + 1;
      });
      line.on("ws-gap", () => mate.gaps++);
      line.on("ws-resumed", () => mate.resumed++);
      line.on("ws-error", ({ code }: { code: string }) => (mate.errors[code] = (mate.errors[code] ?? 0) + 1));
      line.connect();
      setInterval(() => {
        if (sessionStorage["over"]) return;
        const n = Number(sessionStorage["next"] ?? 0);
        line.send({ type: "note", who: name, n });
        sessionStorage["next"] = n + 1;
      }, everyMs);
    },
    [name, url, EVERY_MS] as const,
  );
}

async function heap(page: Page): Promise<number> {
  const session = await page.context().newCDPSession(page);
  await session.send("HeapProfiler.enable");
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize } = (await session.send("Runtime.getHeapUsage")) as { usedSize: number };
  await session.detach();
  return usedSize;
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test(`${MINUTES} minutes of faults, by seed ${SEED}: nothing is lost, doubled or out of order`, async ({ launch, browser, mishaps }) => {
  const chance = dice(SEED);
  const folder = await mkdtemp(join(tmpdir(), "moorline-soak-"));
  // The pages come from a gateway of their own, for the other one will be killed.
  const site = await launch("--csp", "off");
  // A greeting that crosses the resume tells its own session's frames, and the session that lives on has them again: the greeting
  // waits for longer than a resume takes on a path that is slow, and what crosses is not looked at here.
  const slow = ["--greet-wait-ms", "2000"];
  const gateway = await launch("--delivery", "on", "--sessions", join(folder, "sessions.json"), "--rate-limit", "0", "--delivery-keep", "100000", ...slow);
  const pages: Page[] = [];
  // The last one is never loaded anew: its heap is looked at.
  for (let at = 0; at <= SENDERS; at++) {
    const context = await browser.newContext();
    const page = await context.newPage();
    page.on("pageerror", ({ message }) => mishaps.push(message));
    await page.goto(`${site.url}blank.html`);
    await begin(page, `p${at}`, gateway.proxy);
    pages.push(page);
  }
  const steady = pages.at(-1)!;
  for (const page of pages) await expect.poll(() => page.evaluate(() => mate.line.state)).toBe("connected");

  // What is taken is read while it comes, for the gateway's log is bounded.
  const taken = new Map<string, number[]>();
  // A gateway that was killed counts its log anew; the numbers of a stream it does not.
  const last = new Map<string, number>();
  const read = async () => {
    const before = new Map<string, number>();
    for (const { stream, number, outcome, frame } of await gateway.taken()) {
      if (outcome !== "taken" || stream === undefined || number === undefined) continue;
      if (number <= (before.get(stream) ?? 0)) throw new Error(`${number} of ${stream} was taken behind ${before.get(stream)}`);
      before.set(stream, number);
      if (number <= (last.get(stream) ?? 0)) continue;
      last.set(stream, number);
      if (frame?.["type"] !== "note") continue;
      const who = frame["who"] as string;
      if (!taken.has(who)) taken.set(who, []);
      taken.get(who)!.push(frame["n"] as number);
    }
  };
  let over = false;
  let fed = 0;
  let up = true;
  const whileUp = async (act: () => Promise<unknown>) => {
    try {
      if (up) await act();
    } catch (error) {
      // It was killed meanwhile.
      if (up && !/fetch failed/.test(String(error))) throw error;
    }
  };
  const feeder = (async () => {
    for (; !over; await pause(FEED_EVERY_MS)) await whileUp(() => gateway.feedFrame({ type: "chat-message", text: `${fed++}` }));
  })();
  const reader = (async () => {
    for (let turn = 1; !over; turn++, await pause(500)) if (turn % 40 === 0) await whileUp(read);
  })();

  const done: Record<string, number> = {};
  const faults: Record<string, () => Promise<unknown>> = {
    delay: () => gateway.faults({ delayMs: chance.below(150) }),
    stall: async () => {
      await gateway.faults({ stall: true });
      await pause(500 + chance.below(3000));
      await gateway.faults({ reset: chance.below(2) === 0 });
    },
    halfOpen: () => gateway.faults({ halfOpen: true }).then(() => pause(1000 + chance.below(2000))),
    reset: () => gateway.faults({ reset: true }),
    refuse: () => gateway.faults({ refuse: true, reset: true }).then(() => pause(500 + chance.below(2500))),
    close: () => gateway.post("close", { code: chance.pick([1001, 1006, 1011, 4000]) }),
    kill: async () => {
      up = false;
      await gateway.stop("SIGKILL");
      await pause(chance.below(1500));
      await gateway.start();
      up = true;
    },
    holdAcks: () => gateway.misbehave({ holdAcks: true }).then(() => pause(500 + chance.below(1500))).then(() => gateway.misbehave()),
    cutAfterTaking: () => gateway.misbehave({ cutAfterTaking: 1 + chance.below(20) }),
    move: () => gateway.post("move", { withinMs: 500 }),
    renew: () => chance.pick(pages).evaluate(() => mate.line.renew()),
    reload: async () => {
      const at = chance.below(SENDERS);
      const page = pages[at]!;
      await page.reload();
      await begin(page, `p${at}`, gateway.proxy);
    },
    offline: async () => {
      const context = chance.pick(pages).context();
      await context.setOffline(true);
      await pause(300 + chance.below(1500));
      await context.setOffline(false);
    },
  };
  const begun = Date.now();
  const warm = Math.min(60_000, (MINUTES * 60_000) / 3);
  let before: number | undefined;
  for (let elapsed = 0; elapsed < MINUTES * 60_000; elapsed = Date.now() - begun) {
    if (before === undefined && elapsed > warm) before = await heap(steady);
    const name = chance.pick(Object.keys(faults));
    done[name] = (done[name] ?? 0) + 1;
    await faults[name]!();
    await pause(chance.below(1500));
    if (chance.below(3) === 0) await gateway.faults({});
    const { connections } = await gateway.state();
    for (const { clientId } of connections) {
      const own = connections.filter((other) => clientId !== null && other.clientId === clientId && !other.ending && !other.fenced);
      expect(own.length, `connections of ${clientId}`).toBeLessThanOrEqual(2);
    }
  }

  // Everything heals, and what is under way arrives.
  await gateway.faults({});
  await gateway.misbehave();
  await Promise.all(pages.map((page) => page.evaluate(() => (sessionStorage["over"] = "yes"))));
  const empty = (page: Page) => page.evaluate(() => [mate.line.state, mate.line.stats().queueMessages, mate.line.stats().unacknowledged]);
  for (const page of pages) await eventually(() => empty(page), (all) => `${all}` === "connected,0,0", "an empty queue", 60_000);
  const marker = fed;
  over = true;
  await Promise.all([feeder, reader]);
  await gateway.feedFrame({ type: "chat-message", text: `${fed}` });
  await read();
  const after = await heap(steady);

  const sent = [];
  for (const [at, page] of pages.entries()) {
    const count = await page.evaluate(() => Number(sessionStorage["next"]));
    sent.push(count);
    const numbers = taken.get(`p${at}`) ?? [];
    expect(numbers.length, `messages of page ${at}`).toBe(count);
    expect(numbers.findIndex((n, place) => n !== place), `the first of page ${at} out of its place`).toBe(-1);
    await eventually(() => page.evaluate(() => mate.heard), (heard) => heard >= marker, "the end of the feed");
    const mate_ = await page.evaluate(() => ({ disorder: mate.disorder, gaps: mate.gaps, errors: mate.errors }));
    expect(mate_, `page ${at}`).toMatchObject({ disorder: [], gaps: 0 });
    expect(Object.keys(mate_.errors).filter((code) => code !== "url.provider"), `errors of page ${at}`).toEqual([]);
  }
  await eventually(() => gateway.state(), ({ connections }) => connections.length === pages.length, "one connection for each page");
  const growth = after - before!;
  console.log(
    JSON.stringify({ seed: SEED, minutes: MINUTES, faults: done, sent, fed, heapBefore: before, heapAfter: after, growth }),
  );
  expect(growth, "growth of the heap").toBeLessThan(GROWTH_BYTES);
  await Promise.all(pages.map((page) => page.context().close()));
  await rm(folder, { recursive: true });
});
