// The README's examples, word for word: each compiles in a strict project, and each runs in Chromium and does what it says there.
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";
import { wanted } from "./support/gateway.js";
import { eventually, expect, type Gateway, type Page, test } from "./support/test.js";

const README = fileURLToPath(new URL("../../README.md", import.meta.url));
const TSC = fileURLToPath(new URL("./node_modules/typescript/bin/tsc", import.meta.url));

interface Example {
  /** The heading above it. */
  under: string;
  code: string;
}

async function examples(): Promise<Example[]> {
  const found: Example[] = [];
  let under = "";
  let code: string[] | undefined;
  for (const line of (await readFile(README, "utf8")).split("\n")) {
    if (code) {
      if (line !== "```") code.push(line);
      else {
        found.push({ under, code: code.join("\n") });
        code = undefined;
      }
    } else if (line === "```ts") code = [];
    else if (line.startsWith("#")) under = line.replace(/^#+ /, "");
  }
  return found;
}

/** The one that imports this, under this heading. */
async function example(under: string, from: string): Promise<Example> {
  const one = (await examples()).find((example) => example.under === under && example.code.includes(`from "${from}"`));
  if (!one) throw new Error(`the README has no example of ${from} under ${JSON.stringify(under)}`);
  return one;
}

/** What runs of the examples hear: everything that they write to the console. */
const said: string[] = [];

/** Runs the example in a page of this gateway's: its addresses are the gateway's, and its imports the package's. */
async function run({ code }: Example, gateway: Gateway, page: Page, address = gateway.ws): Promise<void> {
  const script = code
    .replaceAll(/(from )"moorline(?:\/([\w-]+))?"/g, (_, from: string, entry = "index") => `${from}"/pkg/${entry}.js"`)
    .replaceAll("wss://gateway.example/rpc", address)
    .replaceAll("wss://gateway.example/", new URL("/", address).href);
  const { code: plain } = await transform(script, { loader: "ts", format: "esm", target: "es2022" });
  page.on("console", async (message) => said.push((await Promise.all(message.args().map((arg) => arg.jsonValue()))).map((value) => (typeof value === "string" ? value : JSON.stringify(value))).join(" ")));
  await page.route("**/example.js", (route) => route.fulfill({ contentType: "text/javascript", body: plain }));
  await page.route("**/api/ticket", (route) => route.fulfill({ json: { ticket: "" } }));
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.type = "module";
    script.src = "example.js";
    document.head.append(script);
  });
}

const heard = (what: RegExp) => eventually(async () => said.join("\n"), (text) => what.test(text), `${what} on the console`);

test.beforeEach(() => void said.splice(0));

test("every example compiles in a strict project", async () => {
  const home = await mkdtemp(join(tmpdir(), "moorline-readme-"));
  try {
    await mkdir(join(home, "node_modules"));
    await symlink(wanted("MOORLINE_PKG"), join(home, "node_modules/moorline"), "junction");
    const names: string[] = [];
    for (const [at, { code }] of (await examples()).entries()) {
      names.push(join(home, `example-${at + 1}.mts`));
      // A module of its own, whatever it imports.
      await writeFile(names.at(-1)!, `${code}\nexport {};\n`);
    }
    expect(names.length).toBeGreaterThan(12);
    const flags = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom,dom.iterable", "--types", "", "--module", "nodenext", "--moduleResolution", "nodenext"];
    const outcome = await new Promise<string>((resolve) => execFile(process.execPath, [TSC, ...flags, ...names], { cwd: home }, (_error, stdout) => resolve(stdout)));
    expect(outcome).toBe("");
  } finally {
    await rm(home, { recursive: true, force: true });
  }
});

test("every example has its run below", async () => {
  const file = await readFile(fileURLToPath(import.meta.url), "utf8");
  for (const { under, code } of await examples()) {
    const [, from] = /import [^;]*from "(moorline[^"]*)"(?![\s\S]*from "moorline)/.exec(code) ?? [];
    expect(file, `the example under ${under}`).toContain(`example(${JSON.stringify(under)}, ${JSON.stringify(from)})`);
  }
});

test("a page in ten lines", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  await run(await example("A page in ten lines", "moorline"), gateway, page);
  await heard(/^hello$/m);
});

test("in place of ws-client.js", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  await run(await example("A page in ten lines", "moorline/nexus"), gateway, page);
  await heard(/^false 1 0$/m);
  await eventually(() => gateway.received("chat"), (chats) => chats.length === 1, "the message that waited");
});

test("once, and across reloads", async ({ launch, open }) => {
  const gateway = await launch("--delivery", "on");
  const page = await open(gateway, "blank.html");
  await run(await example("Once, and across reloads", "moorline"), gateway, page);
  await heard(/^acked$/m);
});

test("subscriptions of Action Cable", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  await run(await example("Action Cable", "moorline/action-cable"), gateway, page);
  await heard(/^hello$/m);
});

test("in place of @rails/actioncable", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  const swapped = (await examples()).find(({ code }) => code.includes("createConsumer("));
  await run(swapped!, gateway, page);
  await heard(/^hello$/m);
});

test("an agent's session over Action Cable", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  await run(await example("Action Cable", "moorline/agent-session"), gateway, page);
  await heard(/^user hello$/m);
  await heard(/^assistant echo: hello$/m);
});

test("a run of OpenClaw's", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  await run(await example("OpenClaw", "moorline/openclaw"), gateway, page);
  await heard(/"messages":\[/);
  const [history, whole, last, before] = [...said].reverse();
  expect(history).toContain(JSON.stringify(whole).slice(1, -1));
  expect(last).toBe(`final ${whole}`);
  expect(before).toMatch(/^(delta|note) You said: hello/);
});

test("a turn of Hermes'", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  await run(await example("Hermes", "moorline/hermes"), gateway, page);
  const ends = async () => [said.at(-2), `final ${said.at(-1)}`];
  await eventually(ends, ([last, whole]) => last === whole && /^final You said: hello/.test(whole!), "all of the text behind its last word");
});

test("calls of JSON-RPC", async ({ launch, open }) => {
  // A server by others: it asks as well as it answers.
  const { startJsonRpc } = (await import("../live/json-rpc.mjs" as string)) as { startJsonRpc(options: object): Promise<{ facts: { url: string }; end(): Promise<void> }> };
  const server = await startJsonRpc({ server: "json-rpc-2.0" });
  try {
    const gateway = await launch("--csp", "off");
    const page = await open(gateway, "blank.html");
    await run(await example("JSON-RPC 2.0", "moorline/json-rpc"), gateway, page, server.facts.url);
    await heard(/^19\n\[3,7\]$/m);
  } finally {
    await server.end();
  }
});

test("an observed stream", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  await run(await example("An observed stream", "moorline/observation"), gateway, page);
  await eventually(async () => said.length, (count) => count > 5, "text that grows");
  said.slice(1).forEach((text, at) => expect(text.startsWith(said[at]!)).toBe(true));
});

test("a receipt", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  await run(await example("Messages and receipts", "moorline"), gateway, page);
  await heard(/^sent$/m);
});

test("deliveries", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  const deliveries = (await examples()).find(({ code }) => code.includes('delivery: "latest"'));
  await run(deliveries!, gateway, page);
  await eventually(async () => (await gateway.received()).map(({ type }) => type), (types) => types.includes("move") && types.includes("chat") && !types.includes("wave"), "what may wait, and not what may not");
});

test("a ticket for each attempt", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway, "blank.html");
  await run(await example("Members", "moorline"), gateway, page);
  // Asked before wasm is there, as every example on this page.
  await heard(/^idle 0 \[\]$/m);
});

test("routes of a page's own", async ({ launch, open }) => {
  const gateway = await launch("--snapshot", "on");
  const page = await open(gateway, "blank.html");
  await run(await example("Events", "moorline"), gateway, page);
  await heard(/"type":"world_state"/);
});
