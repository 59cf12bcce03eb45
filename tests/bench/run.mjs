#!/usr/bin/env node
/**
 * Measures moorline against hand-written JavaScript and its peers in headless Chromium, and prints tables. `cargo xtask
 * bench` starts it. Here are the arguments and the order of things; what is measured is in phases.mjs.
 */
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";
import { Browser } from "./browser.mjs";
import { bundles, versions } from "./bundles.mjs";
import { describe } from "./machine.mjs";
import { CASES } from "./page/protocols.mjs";
import * as phases from "./phases.mjs";
import * as report from "./report.mjs";
import { serve } from "./server.mjs";

const PARTS = ["inbound", "net", "outbound", "flush", "protocols"];

const USAGE = `cargo xtask bench [-- flags]
  --rounds N     how many rounds are counted after the warm-up (default 7)
  --only PART    ${PARTS.join(", ")}; may be given more than once
  --case NAME    of the protocols: ${Object.keys(CASES).join(", ")}; may be given more than once
  --quick        a rough look: 3 short rounds, one launch, a fifth of the messages
  --json FILE    every single measurement as well`;

function options() {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string" },
      only: { type: "string", multiple: true },
      case: { type: "string", multiple: true },
      quick: { type: "boolean", default: false },
      json: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  const rounds = Number(values.rounds ?? (values.quick ? 3 : 7));
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds takes a number from 1 on, not ${values.rounds}\n\n${USAGE}`);
  for (const part of values.only ?? []) {
    if (!PARTS.includes(part)) throw new Error(`--only takes ${PARTS.join(", ")}, not ${part}\n\n${USAGE}`);
  }
  const cases = Object.keys(CASES);
  for (const name of values.case ?? []) {
    if (!cases.includes(name)) throw new Error(`--case takes ${cases.join(", ")}, not ${name}\n\n${USAGE}`);
  }
  return { ...values, rounds, only: values.only ?? PARTS, cases: values.case ?? cases };
}

/** What xtask tells us, or what stands where it would put it. */
function places() {
  const root = path.join(import.meta.dirname, "../..");
  return {
    chromium: process.env.MOORLINE_CHROMIUM ?? "chromium",
    pkg: process.env.MOORLINE_PKG ?? path.join(root, "pkg"),
    e2e: process.env.MOORLINE_E2E ?? path.join(root, "tests/e2e"),
  };
}

const browsers = new Set();

let stopped;

/** Leaves nothing behind: no process, no profile. */
const stop = () => (stopped ??= Promise.all([...browsers].map((browser) => browser.kill())));

async function main(given) {
  if (given.help) return console.log(USAGE);
  const { chromium, pkg, e2e } = places();
  const server = await serve(await bundles(e2e), pkg);
  const bench = {
    options: given,
    server,
    async launch() {
      const browser = await Browser.launch(chromium);
      browsers.add(browser);
      browser.ended.then(() => browsers.delete(browser));
      return browser;
    },
    // Progress is not part of what is printed.
    say: (text) => process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : `${text}\n`),
  };

  const first = await bench.launch();
  const about = describe(await first.version(), versions(e2e, pkg));
  await first.close();
  const results = {};
  for (const part of PARTS.filter((part) => given.only.includes(part))) results[part] = await phases[part](bench);
  bench.say("");
  await server.close();

  console.log(`# Speed\n\n${report.machine(about, given)}\n`);
  for (const part of Object.keys(results)) console.log(`${report[part](results[part])}\n`);
  console.log(report.verdict(results));
  if (given.json) await writeFile(given.json, JSON.stringify({ machine: about, rounds: given.rounds, results }));
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => stop().finally(() => process.exit(130)));
try {
  await main(options());
} catch (error) {
  console.error(error.message);
  await stop();
  process.exit(1);
}
