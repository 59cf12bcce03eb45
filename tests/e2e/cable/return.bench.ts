// How soon a page is back after its server was lost: from the loss to the first message received again, with Rails' own client
// and with ours, on the same server in the same run. `cargo xtask bench cable` starts it. Times are no verdict: nothing fails
// here but a client that does not come back at all.
import { expect, type Page, Rails, Site, test } from "./test.js";
import type { Client } from "./site.js";

const CLIENTS: Client[] = ["@rails/actioncable", "moorline/action-cable"];
const EACH = 8;
/** `--rounds` of the command. */
const ROUNDS = Number(process.env["MOORLINE_ROUNDS"] ?? 3);
/** A connection that lives has forgotten its former failures, and both clients have their timers anywhere. */
const SETTLE_MS = 8_000;
const TARGET = 4;

interface Loss {
  name: string;
  /** Answers when the server was lost, and when it was there again. */
  act: (rails: Rails) => Promise<{ lost: number; back: number }>;
}

const LOSSES: Loss[] = [
  {
    name: "ActionCable.server.restart",
    act: async (rails) => {
      const lost = Date.now();
      await rails.post("restart");
      return { lost, back: lost };
    },
  },
  {
    name: "process killed, started again at once",
    act: async (rails) => {
      const lost = Date.now();
      await rails.stop("SIGKILL");
      await rails.start();
      return { lost, back: Date.now() };
    },
  },
];

const median = (values: number[]) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 ? (sorted[Math.floor(middle)] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
};
const seconds = (ms: number) => (ms / 1000).toFixed(2);
const spread = (values: number[]) => `${seconds(Math.min(...values))} / **${seconds(median(values))}** / ${seconds(Math.max(...values))}`;

/** When each client of the page received its first message after this moment. */
async function first(page: Page, after: number): Promise<number[]> {
  const handle = await page.waitForFunction(
    ([after, each]) => {
      const found = Array.from({ length: each }, (_, number) => cable.log.find(({ who, what, at }) => who === `c${number}` && what === "received" && at > after)?.at);
      return found.every((at) => at !== undefined) && found;
    },
    [after, EACH] as const,
    { timeout: 90_000, polling: 50 },
  );
  return (await handle.jsonValue()) as number[];
}

test("how soon a page is back after its server was lost", async ({ browser }) => {
  const site = await new Site().start();
  const rails = new Rails();
  await rails.start();
  const { rails: version, ruby, puma } = await rails.state();
  try {
    const pages = new Map<Client, Page>();
    for (const client of CLIENTS) {
      const page = await (await browser.newContext()).newPage();
      await page.goto(site.page(client));
      await page.evaluate(
        ([url, each]) => {
          for (let number = 0; number < each; number += 1) {
            cable.consumer(`c${number}`, `${url}?user=c${number}`);
            // The first message of every subscription is there before its confirmation: nothing has to be asked for.
            cable.subscribe(`c${number}`, { channel: "HistoryChannel", count: 1 }, { on: `c${number}` });
          }
        },
        [rails.cable, EACH] as const,
      );
      await first(page, 0);
      pages.set(client, page);
    }
    const lines: string[] = [];
    for (const { name, act } of LOSSES) {
      const taken = new Map<Client, number[]>(CLIENTS.map((client) => [client, []]));
      const away: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
        const { lost, back } = await act(rails);
        away.push(back - lost);
        await Promise.all(
          CLIENTS.map(async (client) => {
            for (const at of await first(pages.get(client) as Page, lost)) taken.get(client)?.push(at - lost);
          }),
        );
      }
      const [original, ours] = CLIENTS.map((client) => taken.get(client) as number[]) as [number[], number[]];
      const ratio = median(original) / median(ours);
      lines.push(
        `| ${name} | ${seconds(median(away))} | ${spread(original)} | ${spread(ours)} | ${ratio.toFixed(1)} | ${(Math.min(...original) / Math.max(...ours)).toFixed(1)} | ${ratio >= TARGET ? "met" : "missed"} |`,
      );
      for (const client of CLIENTS) expect(taken.get(client)?.length).toBe(ROUNDS * EACH);
    }
    console.log(
      [
        "",
        "## Back after a loss",
        "",
        `Rails ${version}, Ruby ${ruby}, Puma ${puma}; Chromium ${browser.version()}, headless; ${EACH} clients of each kind, each loss ${ROUNDS} times.`,
        "Seconds from the loss of the server to the first message received again: least / **median** / most.",
        "",
        `| loss | server away, s | @rails/actioncable | moorline/action-cable | times sooner, of the medians | their soonest to our latest | target ${TARGET} |`,
        "|---|---:|---:|---:|---:|---:|---:|",
        ...lines,
        "",
      ].join("\n"),
    );
  } finally {
    await rails.stop();
    site.stop();
  }
});
