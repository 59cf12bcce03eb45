#!/usr/bin/env node
/**
 * Measures what moorline and its peers lose on a path that is dead and does not say so, in headless Chromium, and prints
 * tables. `cargo xtask bench loss` starts it. Here are the arguments and the order of things; what is measured is in phases.mjs.
 */
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";
import { Browser } from "../browser.mjs";
import { describe } from "../machine.mjs";
import { CLIENTS, bundles, versions } from "./clients.mjs";
import * as phases from "./phases.mjs";
import * as report from "./report.mjs";

const PARTS = ["loss", "reload", "notice", "throughput"];
/** All of it takes about half of this. */
const LIMIT_MS = 175_000;

const USAGE = `cargo xtask bench loss [-- flags]
  --only PART      ${PARTS.join(", ")}; may be given more than once
  --client NAME    ${Object.keys(CLIENTS).join(", ")}; may be given more than once
  --json FILE      every figure as well`;

function options() {
  const { values } = parseArgs({
    options: {
      only: { type: "string", multiple: true },
      client: { type: "string", multiple: true },
      json: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  const chosen = (flag, known) => {
    const wrong = values[flag]?.find((name) => !known.includes(name));
    if (wrong !== undefined) throw new Error(`--${flag} takes ${known.join(", ")}, not ${wrong}\n\n${USAGE}`);
    return known.filter((name) => values[flag]?.includes(name) ?? true);
  };
  return { ...values, parts: chosen("only", PARTS), names: chosen("client", Object.keys(CLIENTS)) };
}

/** What xtask tells us, or what stands where it would put it. */
function places() {
  const root = path.join(import.meta.dirname, "../../..");
  return {
    chromium: process.env.MOORLINE_CHROMIUM ?? "chromium",
    gateway: process.env.MOORLINE_GATEWAY ?? path.join(root, "target/debug/moorline-gateway"),
    pkg: process.env.MOORLINE_PKG ?? path.join(root, "pkg"),
    e2e: process.env.MOORLINE_E2E ?? path.join(root, "tests/e2e"),
  };
}

async function main(given) {
  if (given.help) return console.log(USAGE);
  const { names, parts } = given;
  const found = places();
  const bench = {
    names,
    places: found,
    scripts: await bundles(found, names),
    browser: await Browser.launch(found.chromium),
    // Progress is not part of what is printed.
    say: (text) => process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : `${text}\n`),
  };
  stopping.push(() => bench.browser.kill());
  const about = describe(await bench.browser.version(), versions(found));
  const results = {};
  const measure = async (part) => {
    if (!parts.includes(part)) return;
    bench.say(part);
    results[part] = await phases[part](bench);
  };
  // A dead path is watched for a minute, which costs nothing: the others go on beside it.
  const watched = measure("notice");
  watched.catch(() => {});
  await measure("loss");
  await measure("reload");
  await watched;
  await measure("throughput");
  bench.say("");
  await bench.browser.close();

  console.log(`# Lost\n\n${report.machine(about)}\n`);
  for (const part of parts) console.log(`${report[part](names, results[part])}\n`);
  if (given.json) await writeFile(given.json, JSON.stringify({ machine: about, names, results }));
  const wrong = report.broken(names, results);
  if (wrong.length > 0) throw new Error(wrong.join("\n"));
}

const stopping = [];

/** Leaves nothing behind: no process, no profile. Gateways end with this process. */
async function stop(code) {
  await Promise.allSettled(stopping.map((end) => end()));
  process.exit(code);
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => stop(130));
setTimeout(() => {
  console.error(`the bench was not done after ${LIMIT_MS / 1000} s`);
  stop(1);
}, LIMIT_MS);
try {
  await main(options());
  process.exit(0);
} catch (error) {
  console.error(error.message);
  await stop(1);
}
