// The entries of the further protocols, as strangers use them: each brings its own wasm, wherever it is bundled or served. What
// they say on the wire is tested elsewhere; here, wasm has come when a socket is open and Rust explains that it waits.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { build as bundle } from "esbuild";
import * as vite from "vite";
import { type Page, test as base, expect } from "../support/test.js";
import { APP, consumer, inNode } from "./consumer.js";

const ENTRIES = ["action-cable", "openclaw", "json-rpc", "hermes", "observation"];
const OPEN = /the page asked to connect; .*the socket is open/;
const project = consumer();

const test = base.extend<{ mute: string }>({
  /** The address of a server that takes any WebSocket, agrees to the first subprotocol that it offers, and says nothing. */
  mute: async ({}, use) => {
    const sockets = new Set<Duplex>();
    const server = createServer().on("upgrade", ({ headers }, socket: Duplex) => {
      sockets.add(socket);
      socket.on("error", () => {}).resume();
      // RFC 6455, section 4.2.2.
      const accept = createHash("sha1").update(`${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
      const offer = headers["sec-websocket-protocol"]?.split(",")[0];
      const agreed = offer === undefined ? "" : `Sec-WebSocket-Protocol: ${offer}\r\n`;
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${agreed}\r\n`);
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    await use(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    for (const socket of sockets) socket.destroy();
    server.close();
  },
});

/** Each of the entries comes to life in a page of its own. Answers which scripts each page loaded. */
async function live(page: Page, mute: string, url: string): Promise<Map<string, string[]>> {
  const errors: string[] = [];
  page.on("pageerror", ({ message }) => errors.push(message));
  let scripts: string[] = [];
  page.on("request", (request) => void scripts.push(new URL(request.url()).pathname));
  const loaded = new Map<string, string[]>();
  for (const entry of ENTRIES) {
    scripts = [];
    const target = new URL("entries.html", url);
    target.searchParams.set("entry", entry);
    target.searchParams.set("ws", mute);
    await page.goto(target.href);
    const root = page.locator("html");
    await expect(root, entry).toHaveAttribute("data-explained", OPEN);
    expect(await root.getAttribute("data-error"), entry).toBeNull();
    expect(errors, entry).toEqual([]);
    loaded.set(entry, scripts);
  }
  return loaded;
}

test("each protocol's entry lives under Vite's development server", async ({ mute, page }) => {
  const server = await vite.createServer({ root: project.home, configFile: false, logLevel: "warn", cacheDir: join(project.home, ".vite-dev"), server: { host: "127.0.0.1", port: 0 } });
  await server.listen();
  try {
    await live(page, mute, server.resolvedUrls!.local[0]!);
  } finally {
    await server.close();
  }
});

test("each protocol's entry lives in an app that Vite built", async ({ mute, page }) => {
  const build = { outDir: join(project.home, "built"), rollupOptions: { input: join(project.home, "entries.html") } };
  await vite.build({ root: project.home, configFile: false, logLevel: "warn", build });
  const server = await vite.preview({ root: project.home, configFile: false, logLevel: "warn", build, preview: { host: "127.0.0.1", port: 0 } });
  try {
    await live(page, mute, server.resolvedUrls!.local[0]!);
  } finally {
    await server.close();
  }
});

for (const format of ["esm", "iife"] as const) {
  test(`each protocol's entry lives in an esbuild bundle (${format})`, async ({ launch, mute, page }) => {
    const outdir = join(project.home, `esbuild-${format}`);
    await mkdir(outdir, { recursive: true });
    const splitting = format === "esm";
    await bundle({ absWorkingDir: project.home, entryPoints: ["entries.js"], bundle: true, format, splitting, minify: true, outdir, logLevel: "warning" });
    const script = splitting ? '<script type="module" src="entries.js"></script>' : '<script defer src="entries.js"></script>';
    await writeFile(join(outdir, "entries.html"), `<!doctype html><title>bundled</title><link rel="icon" href="data:," />${script}`);
    const gateway = await launch("--www", outdir);
    await live(page, mute, gateway.url);
  });
}

test("an unbundled page loads the wasm of the protocol that it imports and no other", async ({ launch, mute, page }) => {
  const site = join(project.home, "site");
  await mkdir(site, { recursive: true });
  const imports = Object.fromEntries(ENTRIES.map((entry) => [`moorline/${entry}`, `./moorline/${entry}.js`]));
  const map = JSON.stringify({ imports });
  await writeFile(join(site, "entries.html"), `<!doctype html><title>unbundled</title><link rel="icon" href="data:," /><script type="importmap">${map}</script><script type="module" src="entries.js"></script>`);
  await cp(join(APP, "entries.js"), join(site, "entries.js"));
  const gateway = await launch("--www", site, "--mount", `/moorline=${project.installed}`);
  const loaded = await live(page, mute, gateway.url);
  const bytes = ENTRIES.flatMap((entry) => loaded.get(entry)!.filter((path) => /\/bytes-/.test(path)));
  expect(new Set(bytes).size).toBe(ENTRIES.length);
  expect(bytes).toHaveLength(ENTRIES.length);
  for (const entry of ENTRIES) expect(loaded.get(entry)!.filter((path) => /\.wasm$|\/(index|inline)\.js$|\/ed25519-/.test(path)), entry).toEqual([]);
});

test("each protocol's entry lives in a module worker", async ({ launch, mute, page }) => {
  const site = join(project.home, "worker-site");
  await mkdir(site, { recursive: true });
  await writeFile(join(site, "index.html"), '<!doctype html><title>worker</title><link rel="icon" href="data:," />');
  await cp(join(APP, "worker.js"), join(site, "worker.js"));
  const gateway = await launch("--www", site, "--mount", `/moorline=${project.installed}`);
  await page.goto(gateway.url);
  for (const entry of ENTRIES) {
    const said = await page.evaluate(
      ([entry, ws]) =>
        new Promise<string>((resolve, reject) => {
          const worker = new Worker(`worker.js?${new URLSearchParams({ entry, ws })}`, { type: "module" });
          const deadline = performance.now() + 15_000;
          worker.onmessage = ({ data }) => {
            if (!/socket is open/.test(data as string) && performance.now() < deadline) return;
            worker.terminate();
            resolve(data as string);
          };
          worker.onerror = ({ message }) => reject(new Error(message));
        }),
      [entry, mute] as [string, string],
    );
    expect(said, entry).toMatch(OPEN);
  }
});

test("each protocol's entry is imported and its line made in Node, where there is no window", async () => {
  const made = await inNode<Record<string, string>>(
    project.home,
    `const made = {};
    for (const entry of ${JSON.stringify(ENTRIES)}) {
      const { Moorline, MoorlineError } = await import("moorline/" + entry);
      made[entry] = new Moorline("wss://gateway.example/").state + ", " + typeof MoorlineError;
    }
    console.log(JSON.stringify(made));`,
  );
  expect(made).toEqual(Object.fromEntries(ENTRIES.map((entry) => [entry, "idle, function"])));
});

test("a protocol that an entry does not have is refused by its name", async () => {
  const refused = await inNode<string[]>(
    project.home,
    `const refused = [];
    for (const entry of ${JSON.stringify(ENTRIES)}) {
      const { Moorline } = await import("moorline/" + entry);
      try { new Moorline("wss://gateway.example/", { protocol: "nexus" }); } catch ({ code, message }) { refused.push(code + ": " + message); }
    }
    console.log(JSON.stringify(refused));`,
  );
  expect(refused).toEqual(ENTRIES.map((entry) => `config.invalid: options.protocol is not one of ${entry}`));
});
