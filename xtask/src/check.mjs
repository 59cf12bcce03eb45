// Checks an assembled package: argv is its folder, the bundler's metafile, the checkout's root, "published" or "self-test", "release" or "dev".
// Everything that is wrong is named, one line each; the exit status tells whether anything was.
import { readdirSync, readFileSync, existsSync } from "node:fs";
import { homedir } from "node:os";
import { basename, join, relative } from "node:path";

const [folder, metafile, root, kind, profile] = process.argv.slice(2);
const wrong = [];
const files = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)).replaceAll("\\", "/"));

// Every path that the manifest promises is there.
const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
const promised = (value, at) => {
  if (typeof value === "string") {
    if (kind === "self-test" && value.endsWith(".d.ts")) return;
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
for (const [path, { imports }] of Object.entries(JSON.parse(readFileSync(metafile, "utf8")).outputs)) {
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
  if (readFileSync(join(folder, file), "utf8").includes("#abi")) wrong.push(`${file}: names #abi, which only exists in the sources`);
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

// The wasm file compiles, and asks for nothing that its own glue does not give.
const module = new WebAssembly.Module(readFileSync(join(folder, "moorline_bg.wasm")));
for (const { module: from, name } of WebAssembly.Module.imports(module)) {
  if (!from.startsWith("./") && !from.startsWith("__wbindgen")) wrong.push(`moorline_bg.wasm: imports ${name} from ${from}`);
}

for (const line of wrong) console.log(line);
process.exitCode = wrong.length === 0 ? 0 : 1;
