/** Who is measured: a row each, with the page that runs it and the server that it speaks with. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { gateway, plain, socketIo } from "./ends.mjs";

const here = import.meta.dirname;

/** What is promised of a scenario. A page that is gone is told nothing, and what only it had is gone with it. */
const SINGLE = ["settled", "undoubled", "ordered"];
const LOSSLESS = [...SINGLE, "lossless"];

/** `promises` are checked; `tells`: it says of each message what it knows. */
export const CLIENTS = {
  "moorline-kept": {
    title: "moorline, `queue: { persist: true }`",
    page: ["moorline", "kept"],
    end: (places) => gateway(places, ["--delivery", "on"]),
    promises: { loss: LOSSLESS, reload: LOSSLESS },
    tells: true,
  },
  moorline: {
    title: "moorline",
    page: ["moorline", "acknowledged"],
    end: (places) => gateway(places, ["--delivery", "on"]),
    promises: { loss: LOSSLESS, reload: SINGLE },
    tells: true,
  },
  "moorline-plain": {
    title: "moorline, a gateway without acknowledgements",
    page: ["moorline", "plain"],
    end: (places) => gateway(places, ["--offer", "off", "--delivery", "off"]),
    promises: { loss: [...SINGLE, "told"], reload: SINGLE },
    tells: true,
  },
  reconnecting: { title: "reconnecting-websocket", npm: "reconnecting-websocket", page: ["sockets", "reconnecting"], end: plain },
  partysocket: { title: "partysocket", npm: "partysocket", page: ["sockets", "party"], end: plain },
  "websocket-ts": { title: "websocket-ts", npm: "websocket-ts", page: ["sockets", "builder"], end: plain },
  "socket-io": { title: "socket.io-client", npm: "socket.io-client", page: ["socket-io", "byDefault"], end: socketIo },
  "socket-io-retries": { title: "socket.io-client, `retries: Infinity, ackTimeout: 1000`", page: ["socket-io", "retrying"], end: socketIo },
};

/** The scripts of the pages, by client: bundled as an application would, moorline excepted, which is loaded as published. */
export async function bundles({ e2e }, names) {
  const { build } = createRequire(path.join(e2e, "package.json"))("esbuild");
  const scripts = new Map();
  for (const name of names) {
    const [module, client] = CLIENTS[name].page;
    const { outputFiles } = await build({
      stdin: {
        contents: `import { install } from "./app.mjs"; import { ${client} } from "./clients/${module}.mjs"; install(${client});`,
        resolveDir: path.join(here, "page"),
      },
      nodePaths: [path.join(here, "node_modules"), path.join(e2e, "node_modules")],
      bundle: true,
      write: false,
      format: "esm",
      target: "es2022",
      external: ["/pkg/*"],
    });
    scripts.set(name, outputFiles[0].text);
  }
  return scripts;
}

/** The versions that are measured. */
export function versions({ e2e, pkg }) {
  const version = (folder) => JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")).version;
  const found = { moorline: version(pkg) };
  for (const { npm } of Object.values(CLIENTS)) {
    if (!npm) continue;
    const home = [here, e2e].map((root) => path.join(root, "node_modules", npm));
    for (const folder of home) {
      try {
        found[npm] ??= version(folder);
      } catch {
        // It is in the other one.
      }
    }
  }
  return found;
}
