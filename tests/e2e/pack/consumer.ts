/** A project of somebody else's that has the tarball installed by npm. */
import { execFile } from "node:child_process";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { wanted } from "../support/gateway.js";
import { test } from "../support/test.js";

export const APP = fileURLToPath(new URL("./app", import.meta.url));
export const run = promisify(execFile);

/** Where it is, for the tests of one file. */
export function consumer(): { readonly home: string; readonly installed: string } {
  let home = "";
  test.beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), "moorline-pack-"));
    await cp(APP, home, { recursive: true });
    const npm = process.platform === "win32" ? "npm.cmd" : "npm";
    const flags = ["--no-save", "--no-package-lock", "--offline", "--ignore-scripts", "--no-audit", "--no-fund"];
    await run(npm, ["install", ...flags, wanted("MOORLINE_TARBALL")], { cwd: home });
  });
  test.afterAll(() => rm(home, { recursive: true, force: true }));
  return {
    get home() {
      return home;
    },
    get installed() {
      return join(home, "node_modules/moorline");
    },
  };
}

/** Runs a module in Node, in that project, and answers with the JSON that it prints. */
export async function inNode<T>(home: string, script: string): Promise<T> {
  const { stdout, stderr } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd: home, timeout: 15_000 });
  if (stderr !== "") throw new Error(stderr);
  return JSON.parse(stdout) as T;
}
