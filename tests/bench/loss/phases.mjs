/** What is measured. The clients stand beside each other, each on its own stand, and meet the same faults at the same times. */
import { CLIENTS } from "./clients.mjs";
import { Stand, sleep, until, wait } from "./stand.mjs";

export const EVERY_MS = 50;
/** Counted from the first message: when the path falls, when it heals, when the last message is sent. */
export const FALL_MS = 1000;
export const HEAL_MS = 4000;
export const END_MS = 8000;
/** In the middle of the black hole: nothing of what the page gave to its client lately has arrived, and it cannot know. */
export const RELOAD_MS = 2500;
/** How long a client may take after the last message to bring everything across. */
export const SETTLE_MS = 20_000;
/** For so long nothing more has to come before it is believed that nothing will. */
const QUIET_MS = 2500;
/** What a client may say of a message that did not arrive. */
const TOLD = new Set(["unknown", "expired", "evicted", "rejected"]);
/** How long a dead path is watched. */
export const NOTICE_MS = 60_000;
/** For how long the user looks elsewhere. */
const HIDDEN_MS = 3000;
/** How long the browser may take to show another tab. */
const SWITCH_MS = 20_000;
export const DELAY_MS = 50;
export const PUMP_MS = 3000;

/** The scenario, for all clients at once. Answers what came of it, by client. */
export const loss = (bench) => beside(bench, bench.names, (stand) => scenario(stand, false));

/** The same with a reload of the page in its middle. */
export const reload = (bench) => beside(bench, bench.names, (stand) => scenario(stand, true));

async function scenario(stand, reloads) {
  const { page, path, end } = stand;
  const begun = await page.bench("start", EVERY_MS);
  await until(begun + FALL_MS);
  path.fall();
  // However long a reload takes.
  const healed = until(begun + HEAL_MS).then(() => path.heal());
  let backMs;
  if (reloads) {
    await until(begun + RELOAD_MS);
    await page.reload();
    await stand.connect();
    backMs = (await page.bench("start", EVERY_MS)) - begun;
  }
  await healed;
  await until(begun + END_MS);
  await page.bench("stop");
  const stopped = Date.now();
  const settled = await wait(SETTLE_MS, async () => {
    const idle = (await page.bench("ready")) && (await page.bench("waiting")) === 0;
    return idle && Date.now() - Math.max(end.arrivals.last, stopped) > QUIET_MS;
  });
  return { settled, backMs, ...(await counts(stand)) };
}

async function counts({ page, end: { arrivals }, client }) {
  const sent = await page.bench("sent");
  const missing = Array.from({ length: sent }, (_, n) => n).filter((n) => !arrivals.has(n));
  let highest = -1;
  let disordered = 0;
  const seen = new Set();
  for (const n of arrivals.numbers) {
    if (!seen.has(n) && n < highest) disordered += 1;
    seen.add(n);
    highest = Math.max(highest, n);
  }
  const fates = client.tells ? await page.bench("fates", missing) : [];
  return {
    sent,
    received: arrivals.different,
    lost: missing.length,
    doubled: arrivals.numbers.length - arrivals.different,
    disordered,
    missing, fates,
    told: client.tells ? fates.filter((fate) => TOLD.has(fate)).length : undefined,
  };
}

/**
 * How long it takes to notice that a path is dead that stays so, in ms, or `undefined`, while the page sends nothing: from its
 * death on, and from the moment on in which the user looks at the page again.
 */
export async function notice(bench) {
  const names = WATCHED.flatMap(() => bench.names);
  const all = await beside(bench, names, (stand, at) => WATCHED[Math.floor(at / bench.names.length)](stand));
  return bench.names.map((_, row) => WATCHED.map((_, kind) => all[kind * bench.names.length + row]));
}

const WATCHED = [
  async (stand) => {
    stand.path.fall();
    return noticed(stand.page, Date.now());
  },
  async (stand) => {
    const show = await stand.page.hide();
    if (!(await wait(SWITCH_MS, () => stand.page.run("document.hidden")))) throw new Error("the page could not be hidden");
    stand.path.fall();
    await sleep(HIDDEN_MS);
    await show();
    if (!(await wait(SWITCH_MS, () => stand.page.run("!document.hidden")))) throw new Error("the page could not be shown again");
    return noticed(stand.page, await stand.page.bench("shown"));
  },
];

async function noticed(page, from) {
  let first;
  await wait(NOTICE_MS, async () => (first = (await page.bench("downs")).find((down) => down >= from)) !== undefined);
  return first && first - from;
}

/** Messages a second over a path on which a byte takes `DELAY_MS` each way: one client after the other. */
export async function throughput(bench) {
  const found = [];
  for (const name of bench.names) {
    bench.say(`throughput: ${CLIENTS[name].title}`);
    found.push(...(await beside(bench, [name], pumped, DELAY_MS)));
  }
  return found;
}

async function pumped({ page, end: { arrivals } }) {
  const before = arrivals.different;
  const { from, to, acknowledged } = await page.bench("pump", PUMP_MS);
  const count = acknowledged ?? arrivals.different - before;
  return { acknowledged: acknowledged !== undefined, perSecond: (count / (to - from)) * 1000 };
}

/** Measures when all of them are connected, and leaves nothing standing. */
async function beside(bench, names, measure, delayMs = 0) {
  const raised = await Promise.allSettled(names.map((name) => Stand.up(bench, name, CLIENTS[name], delayMs)));
  try {
    const failed = raised.find(({ status }) => status === "rejected");
    if (failed) throw failed.reason;
    return await Promise.all(raised.map(({ value }, at) => measure(value, at)));
  } finally {
    await Promise.all(raised.map(({ value }) => value?.down()));
  }
}
