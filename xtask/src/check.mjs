// Checks an assembled package: argv is its folder, the bundler's metafile, the checkout's root, the folder of each protocol's
// wasm, "published" or "self-test", "release" or "dev", and the protocols.
// Everything that is wrong is named, one line each; the exit status tells whether anything was.
import { readdirSync, readFileSync, existsSync } from "node:fs";
import { homedir } from "node:os";
import { basename, join, relative } from "node:path";

const [folder, metafile, root, abi, kind, profile, ...protocols] = process.argv.slice(2);
const wrong = [];
const files = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)).replaceAll("\\", "/"));

// Every path that the manifest promises is there.
const { outputs } = JSON.parse(readFileSync(metafile, "utf8"));
const entries = new Map(
  Object.entries(outputs)
    .filter(([path, { entryPoint }]) => entryPoint && basename(entryPoint, ".ts") === basename(path, ".js"))
    .map(([path, { entryPoint }]) => [basename(entryPoint, ".ts"), path]),
);
const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
const promised = (value, at) => {
  if (typeof value === "string") {
    // The self-test's package has no types, and not every protocol.
    if (kind === "self-test" && (value.endsWith(".d.ts") || !entries.has(basename(value, ".js")))) return;
    // Of a pattern, the folder is promised.
    if (!existsSync(join(folder, value.split("*")[0]))) wrong.push(`package.json: ${at} promises ${value}, which is not in the package`);
  } else {
    for (const [key, inner] of Object.entries(value)) promised(inner, `${at} ${key}`);
  }
};
promised(manifest.exports, "exports");
if (manifest.dependencies) wrong.push("package.json: the package has no dependencies, yet the manifest names some");
for (const path of Array.isArray(manifest.sideEffects) ? manifest.sideEffects : []) promised(path, "sideEffects");

// What a script imports is there, and nothing else is: no bare name, no absolute path.
for (const [path, { imports }] of Object.entries(outputs)) {
  for (const { path: name, external } of imports) {
    if (external || !existsSync(join(folder, basename(name)))) wrong.push(`${basename(path)}: imports ${name}, which is not in the package`);
  }
}

// One `new URL("…wasm", import.meta.url)`, in what the URL entry loads: a bundler copies the file for each that it sees.
const loaders = files.filter((name) => name.endsWith(".js") && /new URL\(\s*["'`][^"'`]*\.wasm/.test(readFileSync(join(folder, name), "utf8")));
if (loaders.length !== 1) {
  wrong.push(
    `the wasm file is named by new URL(…) in ${loaders.length} scripts (${loaders.join(", ")}), not in one: Cargo.toml needs ` +
      '`omit-default-module-path = true` under [package.metadata.wasm-pack.profile.release.wasm-bindgen] and …profile.dev…',
  );
}

// The types stand on their own.
for (const file of files.filter((name) => name.endsWith(".d.ts"))) {
  for (const [, name] of readFileSync(join(folder, file), "utf8").matchAll(/(?:from|import\()\s*["']([^"']+)["']/g)) {
    if (!existsSync(join(folder, name.replace(/\.js$/, ".d.ts")))) wrong.push(`${file}: imports ${name}, whose types are not in the package`);
  }
}

// No path of this machine, in any file. A development build keeps its debug information, and so its paths.
if (profile === "release") {
  for (const file of files) {
    const text = readFileSync(join(folder, file), "latin1");
    for (const path of [root, homedir()]) {
      if (path.length > 1 && text.includes(`${path}/`)) wrong.push(`${file}: contains ${path}`);
    }
  }
}

// Each wasm file compiles, asks for nothing that its own glue does not give, and answers to whatever the one shim calls.
const wasm = new Map(protocols.map((protocol) => [protocol, readFileSync(join(abi, protocol, "moorline_bg.wasm"))]));
const calls = (bytes) => WebAssembly.Module.exports(new WebAssembly.Module(bytes)).map(({ name }) => name).filter((name) => !name.startsWith("__"));
const called = calls(wasm.get(protocols[0]));
for (const [protocol, bytes] of wasm) {
  for (const { module: from, name } of WebAssembly.Module.imports(new WebAssembly.Module(bytes))) {
    if (!from.startsWith("./") && !from.startsWith("__wbindgen")) wrong.push(`${protocol}'s wasm file: imports ${name} from ${from}`);
  }
  for (const name of called) if (!calls(bytes).includes(name)) wrong.push(`${protocol}'s wasm file: has no ${name}, which ${protocols[0]}'s has`);
}
if (!wasm.get(protocols[0]).equals(readFileSync(join(folder, "moorline_bg.wasm")))) wrong.push(`moorline_bg.wasm: is not ${protocols[0]}'s wasm file`);

// An entry carries the wasm of its own protocol and of no other; the one that fetches the file, what stands on another entry,
// and what is for tests carry none.
for (const [name, path] of entries) {
  const reached = new Set([path]);
  for (const file of reached) for (const { path } of outputs[file]?.imports ?? []) reached.add(path);
  const sources = [...reached].flatMap((file) => Object.keys(outputs[file]?.inputs ?? {}));
  const due = ["index", "agent-session", "testing"].includes(name) ? "" : protocols.includes(name) ? name : protocols[0];
  const carried = protocols.filter((protocol) => sources.some((source) => source.endsWith(`/${protocol}/bytes.js`)));
  // While two protocols' wasm is the same to the byte, either is both.
  const same = carried.every((protocol) => due && wasm.get(protocol).equals(wasm.get(due)));
  if (!same || carried.includes(due) !== (due !== "")) wrong.push(`${name}.js: carries the wasm of ${carried.join(", ") || "none"}, not of ${due || "none"}`);
}

// Code of others stands in the package with its licence.
const notices = existsSync(join(folder, "THIRD-PARTY-NOTICES.md")) ? readFileSync(join(folder, "THIRD-PARTY-NOTICES.md"), "utf8") : "";
for (const { inputs } of Object.values(outputs)) {
  for (const [input, { bytesInOutput }] of Object.entries(inputs)) {
    const name = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1];
    if (name && bytesInOutput > 0 && !notices.includes(`## ${name} `)) wrong.push(`THIRD-PARTY-NOTICES.md: says nothing of ${name}`);
  }
}

for (const line of wrong) console.log(line);
process.exitCode = wrong.length === 0 ? 0 : 1;
