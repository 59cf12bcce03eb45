/**
 * What is measured, in which order. Clients take turns: whatever the machine does meanwhile happens to all of them, and
 * whoever is first in one round is last in another.
 */
import { CLIENTS } from "./bundles.mjs";
import { SHAPES } from "./page/frames.mjs";
import { CASES, SPEAKERS, pageOf } from "./page/protocols.mjs";

const EVERYBODY = Object.keys(CLIENTS);
/** Where listeners make no difference, moorline without DOM events is moorline. */
const SENDERS = EVERYBODY.filter((name) => !CLIENTS[name].extra);

/** Two pages with the same code differ by a few per cent from one launch to the next: what is fine is measured in several. */
const LAUNCHES = 3;

const rotated = (list, by) => list.map((_, at) => list[(at + by) % list.length]);

function put(into, ...path) {
  const value = path.pop();
  const last = path.pop();
  let at = into;
  for (const key of path) at = at[key] ??= {};
  (at[last] ??= []).push(value);
}

/** A browser with a page for each client. */
async function pages(bench, names) {
  const browser = await bench.launch();
  const open = new Map();
  for (const name of names) open.set(name, await browser.open(bench.server.address(name)));
  const renderers = await browser.renderers();
  if (renderers < names.length) throw new Error(`${names.length} clients share ${renderers} processes`);
  return { browser, open, each: (act) => Promise.all([...open.values()].map(act)) };
}

/** How many of all rounds fall to a launch, spread evenly. */
const share = (total, launch, launches) => Math.floor(((launch + 1) * total) / launches) - Math.floor((launch * total) / launches);

/** ns per frame in the page itself, with a listener that reads `detail` and with none: `{shape: {read|unheard: {client: []}}}`. */
export async function inbound(bench) {
  const { quick, rounds } = bench.options;
  const turnsARound = quick ? 1 : 4;
  const sliceMs = quick ? 25 : 40;
  const launches = quick ? 1 : Math.min(LAUNCHES, rounds);
  const found = {};
  for (let launch = 0; launch < launches; launch++) {
    const { browser, open, each } = await pages(bench, EVERYBODY);
    await each((page) => page.bench("up", "fake"));
    const turns = share(rounds, launch, launches) * turnsARound;
    // The first turn is the warm-up.
    for (let turn = 0; turn <= turns; turn++) {
      bench.say(`in the page: launch ${launch + 1} of ${launches}, turn ${turn} of ${turns}`);
      for (const listeners of ["read", "unheard"]) {
        await each((page) => page.bench(listeners === "read" ? "listen" : "deaf"));
        for (const shape of Object.keys(SHAPES)) {
          for (const name of rotated(EVERYBODY, turn)) {
            const { ns, frames, heard } = await open.get(name).bench("inbound", shape, turn === 0 ? 3 * sliceMs : sliceMs);
            if (heard !== (listeners === "read" ? frames : 0)) throw new Error(`${name}: ${heard} of ${frames} frames were heard`);
            if (turn > 0) put(found, shape, listeners, name, ns);
          }
        }
      }
      await each((page) => page.bench("deaf"));
    }
    await browser.close();
  }
  return found;
}

/** Over loopback: frames a second and µs of the page's main thread: `{shape: {perSecond|cpu: {client: []}}}`. */
export async function net(bench) {
  const { quick, rounds } = bench.options;
  const { browser, open, each } = await pages(bench, EVERYBODY);
  await each((page) => page.bench("up", "real"));
  const found = {};
  for (let round = 0; round <= rounds; round++) {
    bench.say(`over loopback: round ${round} of ${rounds}`);
    for (const shape of Object.keys(SHAPES)) {
      const count = (shape === "large" ? 500 : 6000) / (quick ? 5 : 1);
      for (const name of rotated(EVERYBODY, round)) {
        const page = open.get(name);
        const before = await page.cpu();
        const heard = page.bench("expect", shape, count);
        // The page listens once it has answered whatever is asked after that.
        await page.run("0");
        await bench.server.burst(name, shape, count);
        const ms = await heard;
        const cpu = (await page.cpu()) - before;
        if (round === 0) continue;
        put(found, shape, "perSecond", name, ((count - 1) / ms) * 1000);
        put(found, shape, "cpu", name, (cpu / count) * 1e6);
      }
    }
  }
  await browser.close();
  return found;
}

/**
 * The further protocols, each against its own hand-written floor: ns per frame in the page, and over loopback frames a second
 * and µs of the page's main thread: `{case: {ns|idle|perSecond|cpu: {speaker: []}}}`.
 */
export async function protocols(bench) {
  const found = {};
  for (const name of bench.options.cases) {
    await protocolInPage(bench, name, found);
    await protocolOverLoopback(bench, name, found);
  }
  return found;
}

/** A speaker's page by its place in `SPEAKERS`. */
const speakers = (name) => SPEAKERS.map((speaker) => pageOf(name, speaker));
const speakerOf = (page) => SPEAKERS.find((speaker) => page.endsWith(`--${speaker}`));

async function protocolInPage(bench, name, found) {
  const { quick, rounds } = bench.options;
  const sliceMs = quick ? 40 : 60;
  const launches = quick ? 1 : Math.min(LAUNCHES, rounds);
  for (let launch = 0; launch < launches; launch++) {
    const { browser, open, each } = await pages(bench, speakers(name));
    await each((page) => page.bench("up", "fake"));
    const turns = share(rounds, launch, launches) * (quick ? 1 : 4);
    for (let turn = 0; turn <= turns; turn++) {
      bench.say(`${name} in the page: launch ${launch + 1} of ${launches}, turn ${turn} of ${turns}`);
      for (const page of rotated(speakers(name), turn)) {
        const { ns, idle, frames, heard } = await open.get(page).bench("inbound", turn === 0 ? 4 * sliceMs : sliceMs);
        if (heard !== frames) throw new Error(`${page}: ${heard} of ${frames} frames were heard`);
        if (turn === 0) continue;
        put(found, name, "ns", speakerOf(page), ns);
        put(found, name, "idle", speakerOf(page), idle);
      }
    }
    await browser.close();
  }
}

async function protocolOverLoopback(bench, name, found) {
  const { quick, rounds } = bench.options;
  const { browser, open, each } = await pages(bench, speakers(name));
  await each((page) => page.bench("up", "real"));
  const { stretch, many } = CASES[name];
  const count = many ? stretch : quick ? 2000 : 6000;
  for (let round = 0; round <= rounds; round++) {
    bench.say(`${name} over loopback: round ${round} of ${rounds}`);
    for (const address of rotated(speakers(name), round)) {
      const page = open.get(address);
      await page.bench("ask", count);
      const before = await page.cpu();
      const heard = page.bench("expect", count);
      await page.run("0");
      await bench.server.flood(address, count);
      const ms = await heard;
      const cpu = (await page.cpu()) - before;
      if (round === 0) continue;
      put(found, name, "perSecond", speakerOf(address), (count / ms) * 1000);
      put(found, name, "cpu", speakerOf(address), (cpu / count) * 1e6);
    }
  }
  await browser.close();
}

/** `send()` while open: ns on a fake socket, and over loopback µs per call and messages a second: `{fake|call|perSecond: {client: []}}`. */
export async function outbound(bench) {
  const { quick, rounds } = bench.options;
  const turnsARound = quick ? 1 : 3;
  const count = quick ? 2000 : 10_000;
  const { browser, open, each } = await pages(bench, SENDERS);
  const found = {};
  await each((page) => page.bench("up", "fake"));
  for (let turn = 0; turn <= rounds * turnsARound; turn++) {
    bench.say(`sending to a fake socket: turn ${turn} of ${rounds * turnsARound}`);
    for (const name of rotated(SENDERS, turn)) {
      const ns = await open.get(name).bench("outboundFake", turn === 0 ? 200 : 60);
      if (turn > 0) put(found, "fake", name, ns);
    }
  }
  await each((page) => page.bench("up", "real"));
  for (let round = 0; round <= rounds; round++) {
    bench.say(`sending over loopback: round ${round} of ${rounds}`);
    for (const name of rotated(SENDERS, round)) {
      await bench.server.count(name);
      const { start, callMs } = await open.get(name).bench("outboundReal", count);
      const { at } = await bench.server.arrived(name, count);
      if (round === 0) continue;
      put(found, "call", name, (callMs / count) * 1000);
      put(found, "perSecond", name, (count / (at - start)) * 1000);
    }
  }
  await browser.close();
  return found;
}

/**
 * Queued before the socket opens, then flushed: ms and memory on a fake socket, ms until all is there on a real one:
 * `{messages, fill|flush|held|kept|wasm|all|blocked: {client: []}}`.
 */
export async function flush(bench) {
  const { quick, rounds } = bench.options;
  const messages = quick ? 20_000 : 100_000;
  const found = { messages };
  const names = SENDERS.filter((name) => name !== "control");
  const { browser, open } = await pages(bench, names);
  for (let round = 0; round <= rounds; round++) {
    bench.say(`flushing: round ${round} of ${rounds}`);
    const keep = (what, name, value) => round > 0 && put(found, what, name, value);
    for (const name of rotated(names, round)) await flushFake(open.get(name), messages, (what, value) => keep(what, name, value));
    for (const name of rotated(names, round)) await flushReal(bench, open.get(name), name, messages, (what, value) => keep(what, name, value));
  }
  await browser.close();
  return found;
}

async function flushFake(page, messages, keep) {
  await page.bench("up", "held");
  const before = await page.heap();
  keep("fill", ((await page.bench("fill", messages)) / messages) * 1e6);
  keep("held", (await page.heap()) - before);
  const { ms, sent } = await page.bench("flushFake", messages);
  if (sent !== messages) throw new Error(`${sent} of ${messages} messages were flushed`);
  keep("flush", ms);
  keep("kept", (await page.heap()) - before);
  keep("wasm", await page.bench("wasmBytes"));
  await page.bench("down");
}

async function flushReal(bench, page, name, messages, keep) {
  await bench.server.count(name);
  const { start } = await page.bench("flushReal", messages);
  const { at } = await bench.server.arrived(name, messages);
  keep("blocked", await page.bench("blocked"));
  keep("all", at - start);
  await page.bench("down");
}
