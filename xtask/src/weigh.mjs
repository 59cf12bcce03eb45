// Weighs the package for `cargo xtask sizes`: brotli 11 of each file, summed over what an entry point loads.
// argv: the package's folder, the bundler's metafile, where each protocol's wasm file with its names is ("*" for the protocol),
// the folder of each protocol's wasm, a file with all of them or "", and the protocols. Prints `name<TAB>bytes` lines.
import { brotliCompressSync, constants } from "node:zlib";
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

const [folder, metafile, named, abi, together, ...protocols] = process.argv.slice(2);
const { outputs } = JSON.parse(readFileSync(metafile, "utf8"));
const chunks = new Map(Object.entries(outputs).map(([path, output]) => [basename(path), output]));

const weights = new Map();
function brotli(path) {
  if (!weights.has(path)) {
    const bytes = readFileSync(path);
    const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
    weights.set(path, brotliCompressSync(bytes, { params }).length);
  }
  return weights.get(path);
}

function reach(entry, kinds, without = []) {
  const seen = new Set(without);
  const visit = (file) => {
    if (seen.has(file) || !chunks.has(file)) return;
    seen.add(file);
    for (const found of chunks.get(file).imports) if (kinds.includes(found.kind)) visit(basename(found.path));
  };
  visit(entry);
  return [...seen].filter((file) => !without.includes(file));
}

const ALL = ["import-statement", "dynamic-import"];
const wasm = join(folder, "moorline_bg.wasm");
const sum = (files) => files.reduce((total, file) => total + brotli(join(folder, file)), 0);
const holds = (file, source) => Object.keys(chunks.get(file).inputs).some((input) => source.test(input));
// What only some pages load: those without crypto.subtle, and those that ask for `queue.persist`.
const lone = (source) => [...chunks.keys()].find((file) => source.test(chunks.get(file).entryPoint ?? ""));
const rare = lone(/(^|\/)ed25519\.ts$/);
const outbox = lone(/(^|\/)outbox\.js$/);
const common = (entry) => reach(entry, ALL, [rare, outbox]);
const total = (entry) => {
  const files = common(entry);
  return sum(files) + (files.some((file) => holds(file, /(^|\/)bytes\.js$/)) ? 0 : brotli(wasm));
};

const print = (name, bytes) => console.log(`${name}\t${bytes}`);
print("eager", sum(reach("index.js", ["import-statement"])));
print("default", total("index.js"));
for (const entry of ["inline", "element", ...protocols]) print(entry, total(`${entry}.js`));
if (rare) print("ed25519", sum(reach(rare, ALL, common("openclaw.js"))));
if (outbox) print("outbox", sum(reach(outbox, ALL, common("index.js"))));
print("wasm raw", readFileSync(wasm).length);
for (const protocol of protocols) print(`wasm ${protocol}`, brotli(join(abi, protocol, "moorline_bg.wasm")));
if (together) print("wasm together", brotli(together));

// What each source weighs in the script that the default entry loads, minified, before compression.
const parts = new Map();
for (const file of common("index.js")) {
  for (const [input, { bytesInOutput }] of Object.entries(chunks.get(file).inputs)) {
    const name = input.replace(/^.*target\/abi[^/]*\/[^/]*\//, "abi/").replace(/^.*src\/ts\//, "src/ts/");
    parts.set(name, (parts.get(name) ?? 0) + bytesInOutput);
  }
}
for (const [name, bytes] of [...parts].sort((a, b) => b[1] - a[1])) print(`part ${name}`, bytes);

// A reader of the wasm format, as far as sizes and names go.
const SECTIONS = ["custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code", "data"];
function* sections(bytes) {
  const reader = { at: 8 };
  const number = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[reader.at++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  const text = () => {
    const length = number();
    reader.at += length;
    return bytes.toString("utf8", reader.at - length, reader.at);
  };
  while (reader.at < bytes.length) {
    const name = SECTIONS[bytes[reader.at++]] ?? "unknown";
    const size = number();
    const end = reader.at + size;
    yield { name, size, end, reader, number, text };
    reader.at = end;
  }
}

for (const { name, size } of sections(readFileSync(wasm))) if (size > 200) print(`section ${name}`, size);

// Where each protocol's code came from, told by the names that the compiler's own file still has: of ours the module, of others
// the crate. Descriptions for wasm-bindgen are left out: it takes them away. The optimiser comes later, so the figures are
// larger than the code section, and show proportions.
const CRATES = [
  ["lol_alloc", /lol_alloc/],
  ["wasm_bindgen", /wasm_bindgen|__wbindgen|__wbg|externref/],
  ["core::fmt", /4core3fmt|core\.\.fmt/],
  ["core::num", /4core3num|core\.\.num/],
  ["core::str", /4core3str|core\.\.str/],
  ["alloc", /5alloc|alloc\.\./],
  ["core", /4core|core\.\./],
];
function origin(name) {
  // Mangled names carry each part's length in front of it; within the name of a trait's implementation, dots stand between.
  const [, length, rest, dotted] = /8moorline(\d+)(.*)|moorline\.\.(\w+)/.exec(name) ?? [];
  if (length) return rest.slice(0, Number(length));
  if (dotted) return dotted;
  return CRATES.find(([, pattern]) => pattern.test(name))?.[0] ?? "other";
}
for (const protocol of protocols) {
  const file = named.replace("*", protocol);
  if (!existsSync(file)) continue;
  for (const [from, size] of origins(readFileSync(file))) print(`code ${protocol} ${from}`, size);
}
function origins(bytes) {
  const names = new Map();
  const bodies = [];
  let imported = 0;
  for (const { name, end, reader, number, text } of sections(bytes)) {
    if (name === "import") {
      for (let left = number(); left > 0; left--) {
        text();
        text();
        const kind = bytes[reader.at++];
        const limits = () => {
          if (number() & 1) number();
          number();
        };
        if (kind === 0) {
          number();
          imported++;
        } else if (kind === 1) {
          reader.at++;
          limits();
        } else if (kind === 2) limits();
        else reader.at += 2;
      }
    } else if (name === "code") {
      for (let left = number(); left > 0; left--) {
        const size = number();
        bodies.push(size);
        reader.at += size;
      }
    } else if (name === "custom" && text() === "name") {
      while (reader.at < end) {
        const kind = bytes[reader.at++];
        const stop = number() + reader.at;
        if (kind === 1) for (let left = number(); left > 0; left--) names.set(number(), text());
        reader.at = stop;
      }
    }
  }
  const sizes = new Map();
  bodies.forEach((size, index) => {
    const name = names.get(index + imported) ?? "";
    if (/describe/i.test(name)) return;
    const from = origin(name);
    sizes.set(from, (sizes.get(from) ?? 0) + size);
  });
  return [...sizes].sort((a, b) => b[1] - a[1]);
}
