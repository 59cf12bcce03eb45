// Observing a yoi worker in Chromium, against the development gateway: one stream, whole and once, whatever the line does.
import type { ObservationEvent } from "moorline/observation";
import { eventually, expect, type Gateway, type Page, test } from "./support/test.js";

const WORKER = "api/runtimes/runtime-a/workers/worker-00000001/";

interface Yoi {
  seen: ObservationEvent[];
  line: import("moorline/observation").Moorline;
  observation: import("moorline/observation").Observation;
  ended: string | undefined;
}
declare global {
  var yoi: Yoi;
}

/** A page that observes, and does what every page would: it appends deltas, and begins anew when it is told to. */
async function observing(open: (gateway: Gateway, path?: string) => Promise<Page>, gateway: Gateway, cursor?: string, worker = WORKER) {
  const page = await open(gateway, "blank.html");
  await observe(page, gateway, cursor, worker);
  // What is done before is in the snapshot alone.
  await until(page, "snapshot");
  return page;
}

function observe(page: Page, gateway: Gateway, cursor?: string, worker = WORKER): Promise<void> {
  return page.evaluate(
    async ([url, cursor]) => {
      const { Moorline } = (await import("/pkg/observation.js" as string)) as typeof import("moorline/observation");
      const line = new Moorline(url!, { reconnect: { baseDelayMs: 60, jitter: "none" } });
      line.connect();
      const observation = line.observe(undefined, { cursor });
      const own: Yoi = (globalThis.yoi = { seen: [], line, observation, ended: undefined });
      void (async () => {
        try {
          for await (const event of observation) own.seen.push(event);
          own.ended = "closed";
        } catch (error) {
          own.ended = (error as { code: string }).code;
        }
      })();
    },
    [new URL(`/${worker}`, gateway.ws).href, cursor] as const,
  );
}

/** What stands on the page. */
const text = (page: Page) =>
  page.evaluate(() => {
    let text = "";
    for (const event of yoi.seen) {
      if (event.type === "restarted") text = "";
      if (event.type === "event" && event.event === "text_delta") text += event.data.text;
    }
    return text;
  });
const kinds = (page: Page) => page.evaluate(() => yoi.seen.map((event) => (event.type === "event" ? event.event : event.type)));
const until = (page: Page, kind: string, count = 1) =>
  eventually(() => kinds(page), (found) => found.filter((one) => one === kind).length >= count, `${count} × ${kind}`);

/** The text as the worker's own last word has it. */
const whole = (page: Page) =>
  page.evaluate(() => {
    const done = yoi.seen.filter((event) => event.type === "event" && event.event === "text_done");
    return done.map((event) => (event as { data: { text: string } }).data.text).join("");
  });

test("a worker is observed, given a task, and its answer streams in", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await observing(open, gateway);
  const answer = await page.evaluate(() => yoi.line.input("hello words:12 pace:5"));
  expect(answer).toMatchObject({ state: "accepted" });
  await until(page, "run_end");
  expect((await kinds(page)).slice(0, 2)).toEqual(["confirmed", "snapshot"]);
  expect(await text(page)).toBe(await whole(page));
  expect((await text(page)).split(/\s+/).length).toBeGreaterThan(5);
  const items = await page.evaluate(async () => {
    const found = [];
    for await (const item of yoi.line.transcript()) found.push(item);
    return found;
  });
  expect(items).toEqual([expect.objectContaining({ role: "user", content: "hello words:12 pace:5" })]);
});

test("a worker is stopped in the middle of its answer", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await observing(open, gateway);
  await page.evaluate(() => yoi.line.input("long words:400 pace:15"));
  await until(page, "text_delta", 3);
  expect(await page.evaluate(() => yoi.line.cancel("enough"))).toMatchObject({ state: "accepted" });
  await until(page, "run_end");
  const last = await page.evaluate(() => yoi.seen.filter((event) => event.type === "event" && event.event === "run_end").at(-1));
  expect(last).toMatchObject({ data: { result: "paused" } });
});

test("the line drops in the middle of an answer, comes back, and the text is whole and stands once", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await observing(open, gateway);
  await page.evaluate(() => yoi.line.input("long words:60 pace:20"));
  await until(page, "text_delta", 5);
  await gateway.post("observation/drop");
  await until(page, "away");
  await until(page, "resumed");
  await until(page, "run_end");
  expect(await text(page)).toBe(await whole(page));
  expect(await kinds(page)).not.toContain("gap");
});

test("a server that comes back after it could not be reached is heard from its beginning, and the text stands once", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await observing(open, gateway);
  await page.evaluate(() => yoi.line.input("long words:80 pace:20"));
  await until(page, "text_delta", 3);
  await gateway.post("observation/down", { downMs: 400 });
  await until(page, "restarted");
  await until(page, "run_end");
  expect(await text(page)).toBe(await whole(page));
});

test("a cursor that has expired is a gap, then the beginning, and never a loop", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await observing(open, gateway, "bo_00000000000fffff");
  await until(page, "restarted");
  await page.evaluate(() => yoi.line.input("hi words:6 pace:5"));
  await until(page, "run_end");
  expect((await kinds(page)).slice(0, 2)).toEqual(["gap", "restarted"]);
  expect(await page.evaluate(() => yoi.line.stats().sockets)).toBe(2);
  expect(await text(page)).toBe(await whole(page));
});

test("a restart that nobody announces is a gap and a new beginning", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await observing(open, gateway);
  await page.evaluate(() => yoi.line.input("hi words:8 pace:5"));
  await until(page, "run_end");
  await gateway.post("observation/restart");
  await until(page, "restarted");
  expect(await kinds(page)).toEqual(expect.arrayContaining(["away", "gap", "restarted"]));
  await page.evaluate(() => yoi.line.input("again words:8 pace:5"));
  await until(page, "run_end", 2);
});

test("a page that was reloaded goes on behind the cursor that it kept", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await observing(open, gateway);
  await page.evaluate(() => yoi.line.input("long words:60 pace:20"));
  await until(page, "text_delta", 5);
  await page.evaluate(() => yoi.line.dispose());
  const before = await text(page);
  const cursor = await page.evaluate(() => yoi.observation.cursor);
  await page.reload();
  await observe(page, gateway, cursor);
  await until(page, "run_end");
  expect((await kinds(page))[0]).toBe("resumed");
  expect(before + (await text(page))).toBe(await whole(page));
});

test("a worker that nobody knows ends the line with the server's word", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  await page.evaluate(() => {
    globalThis.addEventListener("ws-failed", (event) => Object.assign(globalThis, { failed: event.detail }));
  });
  await observe(page, gateway, undefined, WORKER.replace("worker-00000001", "nobody"));
  const code = await eventually(() => page.evaluate(() => yoi.ended), (code) => code !== undefined, "the end");
  expect(code).toBe("call.remote");
  const failed = await page.evaluate(() => (globalThis as unknown as { failed: object }).failed);
  expect(failed).toMatchObject({ cause: "refused", frame: { diagnostic: { code: "backend.worker_not_found" } } });
  expect(await page.evaluate(() => yoi.line.state)).toBe("closed");
});

test("what the server refuses by HTTP rejects with its word, whatever form it has", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await observing(open, gateway);
  const refused = (what: string, given: unknown) =>
    page.evaluate(
      async ([what, given]) => {
        try {
          return await (yoi.line as any)[what!](given);
        } catch (error) {
          const { code, message, cause } = error as { code: string; message: string; cause: unknown };
          return { code, message, cause };
        }
      },
      [what, given] as const,
    );
  expect(await refused("input", "")).toMatchObject({ code: "call.remote", cause: { state: "rejected" } });
  expect(await refused("input", 7)).toMatchObject({ code: "call.remote", message: expect.stringMatching(/^422/) });
  await gateway.post("observation/config", { httpStatus: 502 });
  expect(await refused("cancel", "why")).toMatchObject({ code: "call.remote", message: expect.stringMatching(/^502/) });
  expect(await refused("send", {})).toMatchObject({ code: "send.unsupported" });
});
