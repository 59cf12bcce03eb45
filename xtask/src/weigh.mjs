// Weighs the package for `cargo xtask sizes`: brotli 11 of each file, summed over what an entry point loads.
// argv: the package's folder, the bundler's metafile. Prints `name<TAB>bytes` lines.
import { brotliCompressSync, constants } from "node:zlib";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";

const [folder, metafile] = process.argv.slice(2);
const { outputs } = JSON.parse(readFileSync(metafile, "utf8"));
const chunks = new Map(Object.entries(outputs).map(([path, output]) => [basename(path), output]));

const weights = new Map();
function brotli(file) {
  if (!weights.has(file)) {
    const bytes = readFileSync(join(folder, file));
    const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
    weights.set(file, brotliCompressSync(bytes, { params }).length);
  }
  return weights.get(file);
}

function reach(entry, kinds) {
  const seen = new Set();
  const visit = (file) => {
    if (seen.has(file) || !chunks.has(file)) return;
    seen.add(file);
    for (const found of chunks.get(file).imports) if (kinds.includes(found.kind)) visit(basename(found.path));
  };
  visit(entry);
  return [...seen];
}

const wasm = "moorline_bg.wasm";
const sum = (files) => files.reduce((total, file) => total + brotli(file), 0);
const carriesBytes = (files) =>
  files.some((file) => Object.keys(chunks.get(file).inputs).some((input) => /(^|\/)bytes\.js$/.test(input)));
const total = (entry) => {
  const files = reach(entry, ["import-statement", "dynamic-import"]);
  return sum(files) + (carriesBytes(files) ? 0 : brotli(wasm));
};

const print = (name, bytes) => console.log(`${name}\t${bytes}`);
print("eager", sum(reach("index.js", ["import-statement"])));
print("default", total("index.js"));
print("inline", total("inline.js"));
print("nexus", total("nexus.js"));
print("element", total("element.js"));
print("wasm", brotli(wasm));
print("wasm raw", readFileSync(join(folder, wasm)).length);

// What each source weighs in the script that the default entry loads, minified, before compression.
const parts = new Map();
for (const file of reach("index.js", ["import-statement", "dynamic-import"])) {
  for (const [input, { bytesInOutput }] of Object.entries(chunks.get(file).inputs)) {
    const name = input.replace(/^.*target\/abi[^/]*\//, "abi/").replace(/^.*src\/ts\//, "src/ts/");
    parts.set(name, (parts.get(name) ?? 0) + bytesInOutput);
  }
}
for (const [name, bytes] of [...parts].sort((a, b) => b[1] - a[1])) print(`part ${name}`, bytes);

// What the sections of the wasm file weigh.
const bytes = readFileSync(join(folder, wasm));
const names = ["custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code", "data"];
let at = 8;
const number = () => {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    value += (byte & 127) * 2 ** shift;
    if (byte < 128) return value;
  }
};
while (at < bytes.length) {
  const id = bytes[at++];
  const size = number();
  if (size > 200) print(`section ${names[id] ?? id}`, size);
  at += size;
}
