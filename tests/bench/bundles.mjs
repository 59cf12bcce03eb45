/** The clients' pages: bundled with esbuild as an application would, moorline excepted, which is loaded as published. */
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import path from "node:path";
import { CASES, SPEAKERS, pageOf } from "./page/protocols.mjs";

const here = import.meta.dirname;

/** Name → title and npm package. In this order they are printed; the floor comes first, for everybody is compared to it. */
export const CLIENTS = {
  floor: { title: "floor: hand-written JavaScript", module: "floor" },
  control: { title: "the floor once more (control)", module: "floor" },
  moorline: { title: "moorline", module: "moorline" },
  "moorline-on": { title: "moorline, `on()` in place of events", module: "moorline-on", extra: true },
  reconnecting: { title: "reconnecting-websocket", module: "reconnecting-websocket", npm: "reconnecting-websocket" },
  partysocket: { title: "partysocket", module: "partysocket", npm: "partysocket" },
};

/** The scripts, by client. */
export async function bundles(e2e) {
  const modules = path.join(e2e, "node_modules");
  const { build } = createRequire(path.join(e2e, "package.json"))("esbuild");
  const scripts = new Map();
  for (const [name, contents] of pages()) {
    const { outputFiles } = await build({
      stdin: { contents, resolveDir: path.join(here, "page") },
      nodePaths: [modules],
      bundle: true,
      write: false,
      format: "esm",
      target: "es2022",
      minify: true,
      external: ["/pkg/*"],
    });
    scripts.set(name, outputFiles[0].text);
  }
  return scripts;
}

/** What starts each client's page. Each protocol's is a page of its own: what one makes the engine expect is none of the others' business. */
function* pages() {
  for (const [name, { module }] of Object.entries(CLIENTS)) {
    yield [name, `import { install } from "./rig.mjs"; import * as client from "./clients/${module}.mjs"; install(client);`];
  }
  for (const name of Object.keys(CASES)) {
    for (const speaker of SPEAKERS) {
      const module = speaker === "moorline" ? "protocol-moorline" : "protocol-floor";
      const imports = `import { install } from "./protocol-rig.mjs"; import { CASES } from "./protocols.mjs"; import * as clients from "./clients/${module}.mjs";`;
      yield [pageOf(name, speaker), `${imports} install(CASES["${name}"], clients);`];
    }
  }
}

/** The versions that are measured, by client. */
export function versions(e2e, pkg) {
  const version = (folder) => JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")).version;
  const found = { moorline: version(pkg) };
  for (const { npm } of Object.values(CLIENTS)) {
    if (npm) found[npm] = version(path.join(e2e, "node_modules", npm));
  }
  return found;
}
