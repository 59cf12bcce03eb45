// Bundles src/ts into the package's scripts: node bundle.mjs FOLDER METAFILE ABI dev|release
//
// The default entry is bundled by itself: in one run with the others, what they share would become files of their own, and
// a page without a bundler would wait for each.
import { createRequire } from "node:module";
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";

const { buildSync } = createRequire(resolve("tests/e2e/package.json"))("esbuild");
const [folder, metafile, abi, profile] = process.argv.slice(2);
const meta = { inputs: {}, outputs: {} };
for (const entries of [["index"], ["inline", "nexus", "element"]]) {
  const made = buildSync({
    entryPoints: entries.map((name) => `src/ts/${name}.ts`),
    outdir: folder,
    bundle: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    chunkNames: "[name]-[hash]",
    tsconfig: "tests/e2e/tsconfig.pkg.json",
    alias: { "#abi": resolve(abi) },
    minify: profile === "release",
    sourcemap: profile === "release" ? false : "inline",
    metafile: true,
    logLevel: "warning",
  });
  Object.assign(meta.inputs, made.metafile.inputs);
  Object.assign(meta.outputs, made.metafile.outputs);
}
writeFileSync(metafile, JSON.stringify(meta));
