// Bundles src/ts into the package's scripts: node bundle.mjs FOLDER METAFILE ABI dev|release PROTOCOL…
//
// ABI holds a folder for each protocol: its wasm and glue, `#abi` in the sources. Several entries share the first protocol's.
// Each of the others has one entry of its own, by its name, which shares no code with any: what is imported is all that is
// paid for. The default entry is bundled by itself as well: in one run with others, what they share would become files of
// their own, and a page without a bundler would wait for each.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const { buildSync } = createRequire(resolve("tests/e2e/package.json"))("esbuild");
const [folder, metafile, abi, profile, first, ...others] = process.argv.slice(2);
const meta = { inputs: {}, outputs: {} };
// What stands on a protocol's entry and needs no wasm of its own is bundled by itself too.
const runs = [[first, ["index"]], [first, ["inline", "nexus", "element"]], [first, ["agent-session"]], [first, ["testing"]], ...others.map((protocol) => [protocol, [protocol]])];
for (const [protocol, entries] of runs) {
  const made = buildSync({
    entryPoints: entries.map((name) => `src/ts/${name}.ts`),
    outdir: folder,
    bundle: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    // A licence that asks to stay with the code stays at the end of the file that has it.
    legalComments: "eof",
    chunkNames: "[name]-[hash]",
    tsconfig: "tests/e2e/tsconfig.pkg.json",
    alias: { "#abi": resolve(abi, protocol) },
    minify: profile === "release",
    sourcemap: profile === "release" ? false : "inline",
    metafile: true,
    logLevel: "warning",
  });
  Object.assign(meta.inputs, made.metafile.inputs);
  Object.assign(meta.outputs, made.metafile.outputs);
}
writeFileSync(metafile, JSON.stringify(meta));

// Whose code went in besides ours, and on what terms.
const carried = new Map();
for (const { inputs } of Object.values(meta.outputs)) {
  for (const [input, { bytesInOutput }] of Object.entries(inputs)) {
    const [, home, name] = /^(.*node_modules\/((?:@[^/]+\/)?[^/]+))\//.exec(input) ?? [];
    if (name && bytesInOutput > 0) carried.set(name, home);
  }
}
if (carried.size > 0) {
  const notices = [...carried].sort().map(([name, home]) => {
    const { version, license } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
    return `## ${name} ${version} (${license})\n\n${readFileSync(join(home, "LICENSE"), "utf8").trim()}\n`;
  });
  const head = "# Third-party notices\n\nSome scripts of this package contain code of others, under these licences.\n";
  writeFileSync(join(folder, "THIRD-PARTY-NOTICES.md"), [head, ...notices].join("\n"));
}
