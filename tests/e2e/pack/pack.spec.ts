// The tarball, as strangers use it: installed by npm, then bundled by Vite and esbuild, or served as it lies there.
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build as bundle } from "esbuild";
import * as vite from "vite";
import { wanted } from "../support/gateway.js";
import { expect, type Gateway, type Page, test } from "../support/test.js";
import { APP, consumer, inNode, run } from "./consumer.js";

const TSC = fileURLToPath(new URL("../node_modules/typescript/bin/tsc", import.meta.url));
const project = consumer();

/** The page at `url` has a session and hears itself. */
async function works(page: Page, gateway: Gateway, url: string): Promise<void> {
  const errors: string[] = [];
  page.on("pageerror", ({ message }) => errors.push(message));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  const target = new URL(url);
  target.searchParams.set("ws", gateway.ws);
  await page.goto(target.href);
  const root = page.locator("html");
  await expect(root).toHaveAttribute("data-client", /^c-/);
  await expect(root).toHaveAttribute("data-echo", "out of the box");
  expect(await root.getAttribute("data-error")).toBeNull();
  expect(errors).toEqual([]);
  expect(await gateway.received("chat")).toHaveLength(1);
  await page.reload();
  await expect(root).toHaveAttribute("data-echo", "out of the box");
  expect((await gateway.state()).totals.resumed).toBe(1);
}

test("a fresh Vite app connects under the development server", async ({ launch, page }) => {
  const gateway = await launch();
  const server = await vite.createServer({ root: project.home, configFile: false, logLevel: "warn", cacheDir: join(project.home, ".vite-dev"), server: { host: "127.0.0.1", port: 0 } });
  await server.listen();
  try {
    await works(page, gateway, server.resolvedUrls!.local[0]!);
  } finally {
    await server.close();
  }
});

test("a fresh Vite app connects when it is built and served", async ({ launch, page }) => {
  const gateway = await launch();
  const outDir = join(project.home, "built");
  await vite.build({ root: project.home, configFile: false, logLevel: "warn", build: { outDir } });
  const server = await vite.preview({ root: project.home, configFile: false, logLevel: "warn", build: { outDir }, preview: { host: "127.0.0.1", port: 0 } });
  try {
    await works(page, gateway, server.resolvedUrls!.local[0]!);
  } finally {
    await server.close();
  }
});

test("a Vite app that asks for the wasm file by URL connects when it is built", async ({ launch, page }) => {
  const gateway = await launch();
  const root = join(project.home, "by-url");
  await cp(APP, root, { recursive: true });
  const outDir = join(root, "built");
  const alias = { moorline: "moorline/url" };
  const built = await vite.build({ root, configFile: false, logLevel: "warn", resolve: { alias }, build: { outDir, assetsInlineLimit: 0 } });
  const { output } = built as { output: { fileName: string }[] };
  expect(output.filter(({ fileName }) => fileName.endsWith(".wasm"))).toHaveLength(1);
  const server = await vite.preview({ root, configFile: false, logLevel: "warn", build: { outDir }, preview: { host: "127.0.0.1", port: 0 } });
  try {
    await works(page, gateway, server.resolvedUrls!.local[0]!);
  } finally {
    await server.close();
  }
});

for (const format of ["esm", "iife"] as const) {
  test(`an esbuild bundle connects (${format})`, async ({ launch, page }) => {
    const outdir = join(project.home, `esbuild-${format}`);
    await mkdir(outdir, { recursive: true });
    const splitting = format === "esm";
    await bundle({ absWorkingDir: project.home, entryPoints: ["main.js"], bundle: true, format, splitting, minify: true, outdir, logLevel: "warning" });
    const script = splitting ? '<script type="module" src="main.js"></script>' : '<script defer src="main.js"></script>';
    await writeFile(join(outdir, "index.html"), `<!doctype html><title>bundled</title><link rel="icon" href="data:," />${script}`);
    // The gateway's own strict policy goes with it: no bundle needs more than 'wasm-unsafe-eval'.
    const gateway = await launch("--www", outdir);
    await works(page, gateway, gateway.url);
  });
}

test("an unbundled page connects by a relative import from the unpacked package", async ({ launch, page }) => {
  const site = join(project.home, "site");
  await mkdir(site, { recursive: true });
  const map = JSON.stringify({ imports: { moorline: "./moorline/index.js" } });
  const html = `<!doctype html><title>unbundled</title><link rel="icon" href="data:," /><script type="importmap">${map}</script><script type="module" src="main.js"></script>`;
  await writeFile(join(site, "index.html"), html);
  await cp(join(APP, "main.js"), join(site, "main.js"));
  const gateway = await launch("--www", site, "--mount", `/moorline=${project.installed}`);
  await works(page, gateway, gateway.url);
});

test("an unbundled page needs one tag for an element that connects", async ({ launch, page }) => {
  const site = join(project.home, "element-site");
  await mkdir(site, { recursive: true });
  await writeFile(join(site, "index.html"), '<!doctype html><title>element</title><script type="module" src="./moorline/element.js"></script><moor-line></moor-line>');
  const gateway = await launch("--www", site, "--mount", `/moorline=${project.installed}`);
  await page.goto(gateway.url);
  await expect(page.locator("moor-line")).toHaveAttribute("state", "connected");
});

test("every export of the manifest resolves in Node, and none of them needs a window", async () => {
  const script = `
    const names = {};
    for (const entry of ["", "/inline", "/nexus", "/element", "/url", "/testing"]) names[entry] = Object.keys(await import("moorline" + entry)).sort().join();
    const files = ["moorline/moorline.wasm", "moorline/package.json", "moorline/scenarios/half-open.json"].map((name) => import.meta.resolve(name).split("/").at(-1));
    console.log(JSON.stringify({ names, files }));`;
  const line = "Moorline,MoorlineError";
  expect(await inNode(project.home, script)).toEqual({
    names: { "": line, "/inline": line, "/url": line, "/nexus": "MoorlineError,WebSocketClient,wsClient", "/element": "MoorLineElement", "/testing": "TestGateway,VirtualClock,quotaExceeded,runScenario,testGateway,virtualClock" },
    files: ["moorline_bg.wasm", "package.json", "half-open.json"],
  });
});

for (const [module, resolution] of [
  ["esnext", "bundler"],
  ["nodenext", "nodenext"],
]) {
  test(`the types are found by a strict TypeScript project (${resolution})`, async () => {
    const flags = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--types", "", "--module", module!, "--moduleResolution", resolution!];
    const outcome = await run(process.execPath, [TSC, ...flags, "check.mts"], { cwd: project.home }).catch((error: { stdout: string }) => error);
    expect(outcome.stdout).toBe("");
  });
}

test("the tarball carries the licences, the pages and nothing that is not for publishing", async () => {
  const { stdout } = await run("tar", ["-tzf", wanted("MOORLINE_TARBALL")]);
  const files = stdout.trim().split("\n").map((name) => name.replace(/^package\//, ""));
  for (const name of ["package.json", "README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "THIRD-PARTY-NOTICES.md", "index.js", "index.d.ts", "moorline_bg.wasm", "protocols/nexus-world.md", "scenarios/half-open.json"])
    expect.soft(files, name).toContain(name);
  const strange = files.filter((name) => !/^(package\.json|README\.md|CHANGELOG\.md|LICENSE-[A-Z]+|THIRD-PARTY-NOTICES\.md|[\w-]+\.js|[\w-]+\.d\.ts|moorline_bg\.wasm|protocols\/[\w-]+\.md|scenarios\/[\w-]+\.json)$/.test(name));
  expect(strange).toEqual([]);
});
