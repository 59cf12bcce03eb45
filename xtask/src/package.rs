//! From sources to `pkg/`, the folder that is published: wasm, glue, bundle, types, manifest, and the checks that it holds
//! together. What it weighs is `sizes`'.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::project::{Project, fingerprint, walk};
use crate::run::{Step, Stop, about, answer, say};
use crate::setup::{self, Compiler, with_path};

const MANIFEST_HEAD: &str = "\"name\": \"moorline\",";

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

    fn abi(self, project: &Project) -> PathBuf {
        project.target.join(self.name())
    }

    pub fn folder(self, project: &Project) -> PathBuf {
        if self.self_test { project.target.join("pkg-self-test") } else { project.path("pkg") }
    }

    pub fn metafile(self, project: &Project) -> PathBuf {
        project.target.join("xtask").join(format!("{}-meta.json", self.name()))
    }

    /// The wasm file as the compiler made it, its functions' names in it.
    pub fn named(self, project: &Project) -> PathBuf {
        project.target.join("xtask").join(format!("{}-named.wasm", self.name()))
    }
}

/// Builds the package, or finds that nothing changed since it was built.
pub fn build(project: &Project, variant: Variant) -> Result<(), Stop> {
    setup::writable(project)?;
    setup::crates(project)?;
    let compiler = setup::compiler(project)?;
    let tools = [setup::bindgen(project)?, setup::wasm_pack(project)?];
    setup::packages(project)?;
    let _held = setup::lock(&project.target.join("xtask/build.lock"))?;

    let mut rustc = project.command("rustc");
    compiler.apply(&mut rustc);
    let rustc = answer(rustc.arg("-vV")).unwrap_or_default();
    wasm(project, variant, compiler, &tools, &rustc)?;
    assemble(project, variant, &rustc)
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

fn wasm(project: &Project, variant: Variant, compiler: Compiler, tools: &[PathBuf], rustc: &str) -> Result<(), Stop> {
    let abi = variant.abi(project);
    let mut sources: Vec<PathBuf> =
        walk(&project.path("src")).into_iter().filter(|path| !path.starts_with(project.path("src/ts"))).collect();
    sources.extend(
        ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "tests/e2e/package-lock.json"]
            .map(|name| project.path(name)),
    );
    sources.push(project.path("xtask/src/package.rs"));
    let inputs = fingerprint(&sources, &[rustc, &format!("{variant:?}"), env!("CARGO_PKG_VERSION")]);
    let stamp = Stamp::new(project, variant.name(), inputs, abi.clone());
    if stamp.holds() {
        return Ok(());
    }
    if abi.exists() {
        about(&abi, fs::remove_dir_all(&abi))?;
    }
    let mut pack = project.command(tools[1].join("wasm-pack"));
    compiler.apply(&mut pack);
    with_path(&mut pack, tools);
    with_path(&mut pack, &[project.e2e.join("node_modules/.bin")]);
    own_flags(&mut pack);
    pack.args(["build", "--target", "web", "--no-pack", "--no-gitignore", "--mode", "no-install"])
        .args(["--out-dir", &format!("target/{}", variant.name()), "--out-name", "moorline"])
        .arg(if variant.dev { "--dev" } else { "--release" })
        .args([".", "--", "--config"])
        .arg(remap(project));
    if variant.self_test {
        pack.args(["--features", "self-test"]);
    }
    let label = format!(
        "wasm-pack build{}{}",
        if variant.dev { ", dev" } else { "" },
        if variant.self_test { ", self-test" } else { "" }
    );
    Step::new(label, &project.logs, &mut pack)
        .limit(1800)
        .succeed("Mend what the compiler says, then type the command again.")?;

    let file = abi.join("moorline_bg.wasm");
    let bytes = about(&file, fs::read(&file))?;
    about(&abi, fs::write(abi.join("bytes.js"), format!("export default \"{}\";\n", base64(&bytes))))?;
    about(&abi, fs::write(abi.join("bytes.d.ts"), "declare const bytes: string;\nexport default bytes;\n"))?;
    let profile = if variant.dev { "debug" } else { "release" };
    copy(&project.target.join("wasm32-unknown-unknown").join(profile).join("moorline.wasm"), &variant.named(project))?;
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
    let mut sources = vec![abi.clone()];
    sources.extend(
        [
            "src/ts",
            "docs/protocols",
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
    bundle(project, variant, &folder, &abi)?;
    // The door of the self-test is not part of the types, so that package has none.
    if !variant.self_test {
        types(project, &folder)?;
    }
    copy(&abi.join("moorline_bg.wasm"), &folder.join("moorline_bg.wasm"))?;
    for name in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        if project.path(name).is_file() {
            copy(&project.path(name), &folder.join(name))?;
        }
    }
    let pages = folder.join("protocols");
    about(&pages, fs::create_dir_all(&pages))?;
    for page in walk(&project.path("docs/protocols")) {
        if let Some(name) = page.file_name().filter(|_| page.extension().is_some_and(|end| end == "md")) {
            copy(&page, &pages.join(name))?;
        }
    }
    manifest(project, &folder)?;
    check(project, variant, &folder)?;
    stamp.keep()
}

fn bundle(project: &Project, variant: Variant, folder: &Path, abi: &Path) -> Result<(), Stop> {
    let mut esbuild = project.command("node");
    esbuild.arg("xtask/src/bundle.mjs").arg(folder).arg(variant.metafile(project)).arg(abi);
    esbuild.arg(if variant.dev { "dev" } else { "release" });
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
    node.arg(if variant.self_test { "self-test" } else { "published" });
    node.arg(if variant.dev { "dev" } else { "release" });
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

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            if place <= group.len() {
                text.push(char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_standard_one_with_padding() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }
}
