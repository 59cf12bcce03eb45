/**
 * The life of what is started here: child processes in groups of their own, which never outlive this one, and the frame of
 * a script that starts a server, prints one JSON line and ends by signal. What is started, and from where, is in the others.
 */
import { spawn } from "node:child_process";
import { createWriteStream, existsSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Something that cannot be had on this machine: a reason to skip, not a failure. */
export class Unavailable extends Error {}

/** The exit code that says "skipped". */
const SKIPPED = 77;
const groups = new Set();
process.once("exit", () => {
  for (const group of groups) signalGroup(group, "SIGKILL");
});

function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
    return true;
  } catch {
    return false;
  }
}

export const isMain = (url) => process.argv[1] !== undefined && path.resolve(process.argv[1]) === fileURLToPath(url);

/** A port that nobody listens on at the moment. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject).listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** `--name=value` and `--name`, as an object. */
export function optionsOf(args) {
  return Object.fromEntries(
    args.map((arg) => {
      const match = /^--([a-z][a-z-]*)(?:=(.*))?$/.exec(arg);
      if (!match) throw new Error(`${arg} is not of the form --name=value`);
      return [match[1], match[2] ?? true];
    }),
  );
}

/** With util-linux at hand a program is told to end when this process dies, even of SIGKILL. */
function mortal(command, args) {
  const folders = (process.env.PATH ?? "").split(path.delimiter);
  const found = process.platform === "linux" && folders.some((folder) => existsSync(path.join(folder, "setpriv")));
  return found ? ["setpriv", ["--pdeathsig", "TERM", command, ...args]] : [command, args];
}

/** Starts a program in a group of its own. What it prints goes to the file `log`, and its last lines are kept. */
export function launch(command, args, { env = process.env, cwd, log } = {}) {
  const child = spawn(...mortal(command, args), { env, cwd, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  const file = log && createWriteStream(log, { flags: "a" });
  let tail = "";
  const hear = (text) => {
    file?.write(text);
    tail = (tail + text).slice(-4000);
  };
  child.stdout.setEncoding("utf8").on("data", hear);
  child.stderr.setEncoding("utf8").on("data", hear);
  if (child.pid) groups.add(child.pid);
  const ended = new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(signal ?? code));
  }).then((how) => {
    // What the program itself started goes with it.
    if (child.pid) signalGroup(child.pid, "SIGKILL");
    groups.delete(child.pid);
    file?.end();
    return how;
  });
  const signal = (name) => child.pid !== undefined && groups.has(child.pid) && signalGroup(child.pid, name);
  return {
    pid: child.pid,
    /** Resolves when it has ended, with its exit code, its signal, or why it never began. */
    ended,
    tail: () => tail,
    signal,
    /** Asks it to end, and sees to it after `patience` milliseconds. */
    async end(patience = 5000) {
      signal("SIGCONT");
      signal("SIGTERM");
      const timer = setTimeout(() => signal("SIGKILL"), patience);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** Runs a program to its end; anything but success within `limit` milliseconds throws, with the last lines it printed. */
export async function run(command, args, { limit = 600_000, ...options } = {}) {
  const program = launch(command, args, options);
  const timer = setTimeout(() => program.signal("SIGKILL"), limit);
  const how = await program.ended;
  clearTimeout(timer);
  if (how !== 0) throw new Error(`${path.basename(command)} ${args.join(" ")} ended with ${how}:\n${program.tail().trim()}`);
  return program.tail();
}

/** Asks again and again until the answer is true, the program has ended, or the time is up. */
export async function until(ready, { program, limit, what }) {
  const deadline = Date.now() + limit;
  let over;
  program.ended.then((how) => (over = `ended with ${how}`));
  while (!over && Date.now() < deadline) {
    if (await ready().catch(() => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${what} ${over ?? `was not ready within ${limit} ms`}:\n${program.tail().trim()}`);
}

/** Whether an HTTP address answers with success. */
export const answers = async (url) => (await fetch(url, { signal: AbortSignal.timeout(2000) })).ok;

/**
 * The frame of a script. `start(options)` gives the server: `port`, `end()`, and perhaps `facts` to print and `commands`
 * that a line on stdin may call. The script ends by SIGINT or SIGTERM, and by itself after `--minutes` (default 60).
 */
export async function serveUntilSignal(start) {
  const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
  let leave;
  const left = new Promise((resolve) => (leave = resolve));
  let server;
  const stop = () => (server ? leave() : process.exit(130));
  process.on("SIGINT", stop).on("SIGTERM", stop);
  process.stdout.on("error", stop);
  try {
    const options = optionsOf(process.argv.slice(2));
    server = await start(options);
    setTimeout(leave, Number(options.minutes ?? 60) * 60_000).unref();
    say({ ready: server.port, ...server.facts });
  } catch (error) {
    say(error instanceof Unavailable ? { skipped: error.message } : { failed: error.message });
    process.exit(error instanceof Unavailable ? SKIPPED : 1);
  }
  createInterface({ input: process.stdin }).on("line", async (line) => {
    const command = server.commands?.[line.trim()];
    if (!command) return say({ unknown: line, commands: Object.keys(server.commands ?? {}) });
    await command().then(
      () => say({ done: line.trim(), ...server.facts }),
      (error) => say({ failed: error.message }),
    );
  });
  await left;
  await server.end();
  process.exit();
}

/** The frame of a check: runs it, says what held, and skips where the server cannot be had. */
export async function check(name, run) {
  const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
  process.on("SIGINT", () => process.exit(130)).on("SIGTERM", () => process.exit(143));
  const limit = setTimeout(() => {
    say({ check: name, failed: "it took more than 15 minutes" });
    process.exit(1);
  }, 900_000);
  limit.unref();
  try {
    const seen = await run(optionsOf(process.argv.slice(2)), (what, fact) => say({ check: name, held: what, ...fact }));
    say({ check: name, passed: true, ...seen });
    process.exit(0);
  } catch (error) {
    const skipped = error instanceof Unavailable;
    say({ check: name, [skipped ? "skipped" : "failed"]: skipped ? error.message : error.stack });
    process.exit(skipped ? SKIPPED : 1);
  }
}
