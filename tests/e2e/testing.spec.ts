// moorline/testing, the built entry in a real Chromium: its scenarios over moorline and over a plain client, its gateway's sockets beside
// the browser's own, its clock, its storage; and the example of docs/testing.md.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Scenario, ScenarioClient, ScenarioOptions, ScenarioOutcome } from "moorline/testing";
import { expect, type Page, test as base } from "./support/test.js";

const SCENARIOS = fileURLToPath(new URL("../../docs/scenarios", import.meta.url));
const scenarios: Scenario[] = [];
for (const name of (await readdir(SCENARIOS)).sort()) scenarios.push(JSON.parse(await readFile(join(SCENARIOS, name), "utf8")) as Scenario);

type Kit = typeof import("moorline/testing");
declare global {
  var kit: Kit & Record<"moorline" | "plain", () => ScenarioClient>;
}

const test = base.extend<{ kitPage: Page }>({
  /** A page with the kit in it. */
  kitPage: async ({ launch, open }, use) => {
    const page = await open(await launch(), "blank.html");
    await page.evaluate(async () => {
      const [testing, clients] = ["/pkg/testing.js", "/scenario-clients.js"];
      globalThis.kit = { ...(await import(testing)), ...(await import(clients)) };
    });
    await use(page);
  },
});

const run = (page: Page, scenario: Scenario, client: "moorline" | "plain", options: Pick<ScenarioOptions, "gateway"> = {}): Promise<ScenarioOutcome> =>
  page.evaluate(([scenario, client, options]) => kit.runScenario(scenario, kit[client](), options), [scenario, client, options] as const);


for (const scenario of scenarios) {
  test(`${scenario.name}: moorline loses nothing, and tells what nobody can know`, async ({ kitPage }) => {
    const outcome = await run(kitPage, scenario, "moorline");
    expect(outcome.unmet, JSON.stringify(outcome)).toEqual([]);
    expect(outcome.messages.count + outcome.frames.count).toBeGreaterThan(30);
    expect(await kitPage.evaluate(() => `${setTimeout}${WebSocket}${performance.now}${Date.now}`.match(/native code/g)?.length)).toBe(4);
  });
}

test("a plain client runs the same scenarios, and they show what it loses", async ({ kitPage }) => {
  const lost = new Map<string, [number, number]>();
  for (const scenario of scenarios) {
    const { messages, frames } = await run(kitPage, scenario, "plain");
    lost.set(scenario.name, [messages.silent, frames.silent]);
  }
  expect(lost.get("half-open")).toEqual([20, 20]);
  expect(lost.get("reset-mid-flush")![0]).toBeGreaterThan(60);
  expect(lost.get("gateway-restart-without-memory")![0]).toBeGreaterThanOrEqual(5);
  expect(lost.get("gateway-restart-with-memory")![1]).toBeGreaterThanOrEqual(10);
  expect(lost.get("replay-overlaps-live")![1]).toBeGreaterThanOrEqual(10);
});

test("what nobody can know is told: with no memory in the gateway, a message that was lost says unknown", async ({ kitPage }) => {
  const outcome = await run(kitPage, scenarios.find(({ name }) => name === "gateway-restart-without-memory")!, "moorline");
  expect(outcome.messages).toMatchObject({ lost: 5, silent: 0 });
});

test("a scenario shows a gateway without acknowledgement for what it is: moorline tells each message that is lost", async ({ kitPage }) => {
  const outcome = await run(kitPage, scenarios.find(({ name }) => name === "half-open")!, "moorline", { gateway: { delivery: false } });
  expect(outcome.messages.lost).toBeGreaterThan(0);
  expect(outcome.messages).toMatchObject({ silent: 0, doubled: 0, disordered: 0 });
});

test("a scenario with a deed that does not exist is refused by its name, and the page has its own back", async ({ kitPage }) => {
  const said = await kitPage.evaluate(async () => {
    const before = [WebSocket, setTimeout, Date.now];
    const said = await kit.runScenario({ name: "odd", about: "", steps: [{ do: "toString" }], expect: {} }, kit.plain()).catch((error) => String(error));
    return [said, [WebSocket, setTimeout, Date.now].every((now, at) => now === before[at])];
  });
  expect(said).toEqual(['Error: odd: there is no deed "toString"', true]);
});
