//! From sources to `pkg/`, the folder that is published: wasm, glue, bundle, types, manifest, and the checks that it holds
//! together. What it weighs is `sizes`'.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::names;
use crate::project::{Project, fingerprint, walk};
use crate::run::{Step, Stop, about, answer, say};
use crate::setup::{self, Compiler, with_path};

const MANIFEST_HEAD: &str = "\"name\": \"moorline\",";
const TARGET: &str = "wasm32-unknown-unknown";

/// The protocols. Each is a feature of the root crate, which makes a wasm file, and an entry of the package: `src/ts/NAME.ts`,
/// bundled by itself around that file, so that a page pays for the protocol that it imports and for no other. The first one's
/// wasm file is also the one that is published as a file, and that several entries share.
pub const PROTOCOLS: [&str; 6] = ["nexus", "action-cable", "openclaw", "json-rpc", "hermes", "observation"];

/// Which package is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Quick to build, large, with names to debug by.
    pub dev: bool,
    /// With the door through which end-to-end tests make the core panic. It lands in a folder of its own.
    pub self_test: bool,
}

impl Variant {
    fn name(self) -> &'static str {
        if self.self_test { "abi-self-test" } else { "abi" }
    }

    /// Which protocols it has: the tests that need the door speak the first one.
    fn protocols(self) -> &'static [&'static str] {
        if self.self_test { &PROTOCOLS[..1] } else { &PROTOCOLS }
    }

    /// Where each protocol's wasm file and glue are, in folders named after it.
    pub fn abi(self, project: &Project) -> PathBuf {
        project.target.join(self.name())
    }

    pub fn folder(self, project: &Project) -> PathBuf {
        if self.self_test { project.target.join("pkg-self-test") } else { project.path("pkg") }
    }

    pub fn metafile(self, project: &Project) -> PathBuf {
        project.target.join("xtask").join(format!("{}-meta.json", self.name()))
    }

    /// A protocol's wasm file as the compiler made it, its functions' names in it.
    pub fn named(self, project: &Project, protocol: &str) -> PathBuf {
        project.target.join("xtask").join(format!("{}-{protocol}-named.wasm", self.name()))
    }
}

/// Builds the package, or finds that nothing changed since it was built.
pub fn build(project: &Project, variant: Variant) -> Result<(), Stop> {
    setup::writable(project)?;
    let tools = Tools::find(project)?;
    setup::packages(project)?;
    let _held = setup::lock(&project.target.join("xtask/build.lock"))?;
    wasm(project, variant, &tools)?;
    assemble(project, variant, &tools.rustc)
}

/// Builds one wasm file that has all protocols, which nobody publishes, and answers where it is: for the weighing.
pub fn together(project: &Project) -> Result<PathBuf, Stop> {
    let tools = Tools::find(project)?;
    let _held = setup::lock(&project.target.join("xtask/build.lock"))?;
    let variant = Variant::default();
    glue(project, variant, &tools, "together", &PROTOCOLS.join(","))?;
    Ok(variant.abi(project).join("together/moorline_bg.wasm"))
}

/// What makes a wasm file.
struct Tools {
    compiler: Compiler,
    rustc: String,
    bindgen: PathBuf,
    wasm_pack: PathBuf,
}

impl Tools {
    fn find(project: &Project) -> Result<Self, Stop> {
        setup::crates(project)?;
        let compiler = setup::compiler(project)?;
        let mut rustc = project.command("rustc");
        compiler.apply(&mut rustc);
        let rustc = answer(rustc.arg("-vV")).unwrap_or_default();
        Ok(Tools { compiler, rustc, bindgen: setup::bindgen(project)?, wasm_pack: setup::wasm_pack(project)? })
    }
}

/// A step is left out when what goes in and what came out are both as they were.
struct Stamp {
    file: PathBuf,
    inputs: String,
    output: PathBuf,
}

impl Stamp {
    fn new(project: &Project, name: &str, inputs: String, output: PathBuf) -> Self {
        Stamp { file: project.target.join("xtask").join(format!("{name}.stamp")), inputs, output }
    }

    fn text(&self) -> String {
        format!("{} {}", self.inputs, fingerprint(std::slice::from_ref(&self.output), &[]))
    }

    fn holds(&self) -> bool {
        self.output.is_dir() && fs::read_to_string(&self.file).is_ok_and(|text| text == self.text())
    }

    fn keep(&self) -> Result<(), Stop> {
        if let Some(folder) = self.file.parent() {
            about(folder, fs::create_dir_all(folder))?;
        }
        about(&self.file, fs::write(&self.file, self.text()))
    }
}

fn wasm(project: &Project, variant: Variant, tools: &Tools) -> Result<(), Stop> {
    let abi = variant.abi(project);
    let mut sources: Vec<PathBuf> =
        walk(&project.path("src")).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")).collect();
    sources.extend(["Cargo.toml", "Cargo.lock", ".cargo/config.toml"].map(|name| project.path(name)));
    sources.extend(makers(project));
    let inputs = fingerprint(&sources, &[&tools.rustc, &format!("{variant:?}"), env!("CARGO_PKG_VERSION")]);
    let stamps: Vec<Stamp> = variant
        .protocols()
        .iter()
        .map(|protocol| {
            let name = format!("{}-{protocol}-sources", variant.name());
            Stamp::new(project, &name, inputs.clone(), abi.join(protocol))
        })
        .collect();
    for (protocol, stamp) in variant.protocols().iter().zip(&stamps) {
        if !stamp.holds() {
            glue(project, variant, tools, protocol, protocol)?;
            stamp.keep()?;
        }
    }
    Ok(())
}

/// What a wasm file is made by, besides the compiler: this file, and what fixes the optimiser's version.
fn makers(project: &Project) -> [PathBuf; 3] {
    ["xtask/src/package.rs", "xtask/src/names.rs", "tests/e2e/package-lock.json"].map(|name| project.path(name))
}

/// One wasm file and its glue. A change in one protocol leaves the others' code as it was: cargo knows, and then the optimiser
/// is spared.
fn glue(project: &Project, variant: Variant, tools: &Tools, name: &str, features: &str) -> Result<(), Stop> {
    let abi = variant.abi(project).join(name);
    let features = if variant.self_test { format!("{features},self-test") } else { features.to_owned() };
    let own = ["--no-default-features", "--features", &features, "--config", &remap(project)];
    let label = format!(
        "{name}{}{}",
        if variant.dev { ", dev" } else { "" },
        if variant.self_test { ", self-test" } else { "" }
    );

    let mut cargo = project.cargo();
    tools.compiler.apply(&mut cargo);
    own_flags(&mut cargo);
    cargo.args(["build", "--lib", "--target", TARGET]).args(own);
    if !variant.dev {
        cargo.arg("--release");
    }
    Step::new(format!("cargo build {label}"), &project.logs, &mut cargo)
        .succeed("Mend what the compiler says, then type the command again.")?;
    let profile = if variant.dev { "debug" } else { "release" };
    let named = variant.named(project, name);
    copy(&project.target.join(TARGET).join(profile).join("moorline.wasm"), &named)?;
    let mut sources = vec![named, project.path("Cargo.toml"), project.path("Cargo.lock")];
    sources.extend(makers(project));
    let inputs = fingerprint(&sources, &[&format!("{variant:?}")]);
    let stamp = Stamp::new(project, &format!("{}-{name}", variant.name()), inputs, abi.clone());
    if stamp.holds() {
        return Ok(());
    }

    if abi.exists() {
        about(&abi, fs::remove_dir_all(&abi))?;
    }
    let mut pack = project.command(tools.wasm_pack.join("wasm-pack"));
    tools.compiler.apply(&mut pack);
    with_path(&mut pack, &[tools.bindgen.clone(), tools.wasm_pack.clone()]);
    with_path(&mut pack, &[project.e2e.join("node_modules/.bin")]);
    own_flags(&mut pack);
    pack.args(["build", "--target", "web", "--no-pack", "--no-gitignore", "--mode", "no-install"])
        .args(["--out-dir", &format!("target/{}/{name}", variant.name()), "--out-name", "moorline"])
        .arg(if variant.dev { "--dev" } else { "--release" })
        .args([".", "--"])
        .args(own);
    Step::new(format!("wasm-pack build {label}"), &project.logs, &mut pack)
        .succeed("Mend what it says, then type the command again.")?;

    let file = abi.join("moorline_bg.wasm");
    let mut bytes = about(&file, fs::read(&file))?;
    if !variant.dev {
        let script = abi.join("moorline.js");
        let text = about(&script, fs::read_to_string(&script))?;
        let (shorter, text) = names::shorten(&bytes, &text).map_err(Stop)?;
        bytes = shorter;
        about(&file, fs::write(&file, &bytes))?;
        about(&script, fs::write(&script, text))?;
    }
    about(&abi, fs::write(abi.join("bytes.js"), format!("export default \"{}\";\n", letters(&bytes))))?;
    about(&abi, fs::write(abi.join("bytes.d.ts"), "declare const bytes: string;\nexport default bytes;\n"))?;
    stamp.keep()
}

/// Flags from the caller's environment would replace the project's own from `.cargo/config.toml`.
pub fn own_flags(command: &mut Command) {
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
}

/// A cargo setting that keeps this machine's paths out of the wasm file, so that it is the same wherever it is built.
fn remap(project: &Project) -> String {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
        .unwrap_or_default();
    let mut pairs = Vec::new();
    if let Some(home) = env::var_os("HOME") {
        pairs.push((PathBuf::from(home), "home"));
    }
    pairs.push((home.clone(), "cargo"));
    pairs.push((home.join("registry/src"), "crates"));
    for entry in fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten() {
        pairs.push((entry.path(), "crates"));
    }
    pairs.push((PathBuf::from("/usr/lib/rustlib/src/rust/library"), "std"));
    pairs.push((project.root.clone(), "moorline"));
    // The last prefix that fits wins, so the general ones come first.
    let flags: Vec<String> = pairs
        .iter()
        .filter(|(from, _)| !from.as_os_str().is_empty())
        .map(|(from, to)| {
            let from = from.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"--remap-path-prefix={from}={to}\"")
        })
        .collect();
    format!("target.wasm32-unknown-unknown.rustflags=[{}]", flags.join(","))
}

fn assemble(project: &Project, variant: Variant, rustc: &str) -> Result<(), Stop> {
    let folder = variant.folder(project);
    let abi = variant.abi(project);
    let mut sources: Vec<PathBuf> = variant.protocols().iter().map(|protocol| abi.join(protocol)).collect();
    sources.extend(
        walk(&project.path("src/web")).into_iter().filter(|path| path.extension().is_none_or(|end| end != "rs")),
    );
    sources.extend(
        [
            "src/ts",
            "docs/protocols",
            "docs/scenarios",
            "Cargo.toml",
            "pkg.json",
            "README.md",
            "CHANGELOG.md",
            "LICENSE-MIT",
            "LICENSE-APACHE",
        ]
        .map(|name| project.path(name)),
    );
    sources.extend(["package-lock.json", "tsconfig.base.json", "tsconfig.pkg.json"].map(|name| project.e2e.join(name)));
    sources.extend(["package.rs", "bundle.mjs", "check.mjs"].map(|name| project.path("xtask/src").join(name)));
    let inputs = fingerprint(&sources, &[rustc, &format!("{variant:?}")]);
    let stamp = Stamp::new(project, &format!("{}-pkg", variant.name()), inputs, folder.clone());
    if stamp.holds() && variant.metafile(project).is_file() {
        return Ok(());
    }
    // Half a package must never be taken for one: the old one goes first.
    let _ = fs::remove_file(&stamp.file);
    if folder.exists() {
        about(&folder, fs::remove_dir_all(&folder))?;
    }
    about(&folder, fs::create_dir_all(&folder))?;
    bundle(project, variant, &folder)?;
    // The door of the self-test is not part of the types, so that package has none.
    if !variant.self_test {
        types(project, &folder)?;
    }
    copy(&abi.join(PROTOCOLS[0]).join("moorline_bg.wasm"), &folder.join("moorline_bg.wasm"))?;
    for name in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        if project.path(name).is_file() {
            copy(&project.path(name), &folder.join(name))?;
        }
    }
    for (what, kind) in [("protocols", "md"), ("scenarios", "json")] {
        let pages = folder.join(what);
        about(&pages, fs::create_dir_all(&pages))?;
        for page in walk(&project.path("docs").join(what)) {
            if let Some(name) = page.file_name().filter(|_| page.extension().is_some_and(|end| end == kind)) {
                copy(&page, &pages.join(name))?;
            }
        }
    }
    manifest(project, &folder)?;
    check(project, variant, &folder)?;
    stamp.keep()
}

fn bundle(project: &Project, variant: Variant, folder: &Path) -> Result<(), Stop> {
    let mut esbuild = project.command("node");
    esbuild.arg("xtask/src/bundle.mjs").arg(folder).arg(variant.metafile(project)).arg(variant.abi(project));
    esbuild.arg(if variant.dev { "dev" } else { "release" }).args(variant.protocols());
    let label = if variant.self_test { "esbuild src/ts, self-test" } else { "esbuild src/ts" };
    Step::new(label, &project.logs, &mut esbuild)
        .limit(120)
        .succeed("Mend what esbuild says, then type the command again.")?;
    Ok(())
}

fn types(project: &Project, folder: &Path) -> Result<(), Stop> {
    let mut tsc = project.command(project.node_bin("tsc"));
    tsc.args(["-p", "tests/e2e/tsconfig.pkg.json", "--outDir"]).arg(folder);
    Step::new("tsc src/ts", &project.logs, &mut tsc)
        .limit(120)
        .succeed("Mend what tsc says, then type the command again.")?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), Stop> {
    about(from, fs::copy(from, to)).map(drop)
}

/// The manifest as published: the template with the version that everything carries.
fn manifest(project: &Project, folder: &Path) -> Result<(), Stop> {
    let template = project.read("pkg.json")?;
    if template.matches(MANIFEST_HEAD).count() != 1 || template.contains("\"version\"") {
        return Err(Stop(format!(
            "pkg.json has to carry {MANIFEST_HEAD} once and no version: that comes from Cargo.toml."
        )));
    }
    let stamped =
        template.replace(MANIFEST_HEAD, &format!("{MANIFEST_HEAD}\n  \"version\": \"{}\",", project.version()?));
    about(folder, fs::write(folder.join("package.json"), stamped))
}

/// The package holds together: see check.mjs for what that means.
fn check(project: &Project, variant: Variant, folder: &Path) -> Result<(), Stop> {
    let mut node = project.command("node");
    node.arg("xtask/src/check.mjs").arg(folder).arg(variant.metafile(project)).arg(&project.root);
    node.arg(variant.abi(project));
    node.arg(if variant.self_test { "self-test" } else { "published" });
    node.arg(if variant.dev { "dev" } else { "release" }).args(variant.protocols());
    Step::new(
        format!("check {}", folder.strip_prefix(&project.root).unwrap_or(folder).display()),
        &project.logs,
        &mut node,
    )
    .limit(60)
    .succeed("Mend what it says, then type `cargo xtask build`.")?;
    Ok(())
}

/// Packs the published package and answers where the tarball is.
pub fn pack(project: &Project) -> Result<PathBuf, Stop> {
    let folder = Variant::default().folder(project);
    let mut npm = project.command(if cfg!(windows) { "npm.cmd" } else { "npm" });
    npm.current_dir(&folder).args(["pack", "--ignore-scripts", "--offline", "--pack-destination"]).arg(&project.target);
    let done = Step::new("npm pack", &project.logs, &mut npm)
        .limit(120)
        .succeed("Type `npm pack` in pkg to see it by yourself.")?;
    let tarball = project.target.join(format!("moorline-{}.tgz", project.version()?));
    if !tarball.is_file() {
        return Err(Stop(format!("npm pack made no {}. Its output is in {}.", tarball.display(), done.log.display())));
    }
    Ok(tarball)
}

pub fn announce(project: &Project, variant: Variant) {
    let folder = variant.folder(project);
    let files = walk(&folder);
    let bytes: u64 = files.iter().filter_map(|path| fs::metadata(path).ok()).map(|meta| meta.len()).sum();
    say(format_args!(
        "{}: {} files, {} kB{}",
        folder.strip_prefix(&project.root).unwrap_or(&folder).display(),
        files.len(),
        bytes / 1000,
        if variant.dev { ", a development build" } else { "" }
    ));
}

/// Bytes as text that stands in quotes as it is: a letter for each of the lower 91, the same letters behind `!` for the next
/// and behind a space for the rest. Compressors see the bytes' own patterns in it, which base64 hides from them.
fn letters(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 5 / 4);
    for byte in bytes {
        match byte / 91 {
            0 => {}
            1 => text.push('!'),
            _ => text.push(' '),
        }
        // From `#` on, without the backslash; what lies below would end the quotes or is a sign of its own.
        let letter = b'#' + byte % 91;
        text.push(char::from(if letter < b'\\' { letter } else { letter + 1 }));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_is_a_feature_and_every_feature_of_a_protocol_is_built() {
        let manifest = Project::find().unwrap().read("Cargo.toml").unwrap();
        let (_, table) = manifest.split_once("[features]\n").unwrap();
        let features: Vec<&str> = table
            .lines()
            .take_while(|line| !line.starts_with('['))
            .filter_map(|line| Some(line.split_once(" = ")?.0))
            .filter(|name| !["default", "delivery", "handles", "panic-text", "self-test"].contains(name))
            .collect();
        assert_eq!(features, PROTOCOLS);
        assert!(table.contains(&format!("default = [\"{}\"]", PROTOCOLS[0])));
    }

    #[test]
    fn every_byte_is_a_letter_or_two_that_need_no_escape() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = letters(&bytes);
        assert!(text.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b'"' && c != b'\\'), "{text}");
        // As src/ts/bytes.ts reads it.
        let mut more = 0;
        let mut read = Vec::new();
        for c in text.bytes().map(u32::from) {
            if c < 34 {
                more = (34 - c) * 91;
            } else {
                read.push(more + c - if c > 92 { 36 } else { 35 });
                more = 0;
            }
        }
        assert_eq!(read, (0..=255).collect::<Vec<u32>>());
    }
}
