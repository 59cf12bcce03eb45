//! What is missing on this machine and how it is had. Each part looks first and is silent when it finds what it needs, so
//! that a machine that was set up once needs no network again. What the parts are used for is decided elsewhere.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::project::{Project, fingerprint};
use crate::run::{Step, Stop, about, answer, say};
use crate::{engines, rails};

const TARGET: &str = "wasm32-unknown-unknown";
/// The name that Debian's compiler gets in rustup.
const LINK: &str = "debian-wasm";
const CARGO_FUZZ: &str = "0.13.2";
const WASM_PACK: &str = "0.15.1";
/// The oldest Node that every npm tool runs on.
const NODE: (u32, u32) = (20, 19);
const DEBIAN_RUST: [&str; 6] =
    ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "rust-web-clippy", "rustfmt-web"];
/// Whether this run has asked for Debian's list of packages.
static REFRESHED: AtomicBool = AtomicBool::new(false);
const DEBIAN_LIB: &str = "/usr/lib/rustlib/wasm32-unknown-unknown";

/// Sets everything up at once.
pub fn all(project: &Project) -> Result<(), Stop> {
    writable(project)?;
    crates(project)?;
    let compiler = compiler(project)?;
    let lint = linters(project)?;
    let bindgen = bindgen(project)?;
    let pack = wasm_pack(project)?;
    packages(project)?;
    peers(project)?;
    let browser = browser(project)?;
    let driver = driver(project)?;
    let engines = engines::find(project);
    let rails = rails::find(project);
    let shown = |mut command: Command, flag: &str| {
        answer(command.arg(flag)).and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_default()
    };
    let mut rustc = project.command("rustc");
    compiler.apply(&mut rustc);
    say(format_args!("  wasm compiler   {}", shown(rustc, "-V")));
    let mut clippy = project.cargo();
    lint.apply(&mut clippy);
    clippy.arg("clippy");
    say(format_args!("  clippy          {}", shown(clippy, "--version")));
    say(format_args!("  wasm-bindgen    {}", bindgen.join("wasm-bindgen").display()));
    say(format_args!("  wasm-pack       {}", pack.join("wasm-pack").display()));
    say(format_args!("  wasm-opt        {}", shown(project.command(project.node_bin("wasm-opt")), "--version")));
    say(format_args!("  node            {}", shown(project.command("node"), "--version")));
    say(format_args!("  browser         {}", browser.display()));
    say(format_args!("  chromedriver    {}", driver.display()));
    for engine in &engines {
        // Only the lifecycle tests want more than one, and what is missing is skipped there.
        let version = engine.version().unwrap_or_else(|| match &engine.found {
            Ok(_) => engine.name.to_owned(),
            Err(stop) => format!("no {}. {stop}", engine.name),
        });
        say(format_args!("  engine          {version}"));
    }
    say(match rails {
        Ok(rails) => format!("  rails           {}", rails.versions),
        // Only the tests against Rails want it, and they can be skipped.
        Err(stop) => format!("  rails           none. {stop}"),
    });
    say("Everything is here. Type `cargo xtask demo` to see it, `cargo xtask test` to test it.");
    Ok(())
}

/// Which compiler builds for wasm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// The one that the caller uses for everything.
    Active,
    /// Debian's, known to rustup by a name.
    Linked,
    /// Debian's, on a machine without rustup.
    System,
}

impl Compiler {
    pub fn apply(self, command: &mut Command) {
        match self {
            Compiler::Active => {}
            Compiler::Linked => {
                command.env("RUSTUP_TOOLCHAIN", LINK);
            }
            Compiler::System => with_path(command, &[PathBuf::from("/usr/bin")]),
        }
    }

    /// Can it build and link for the target?
    fn links(self, project: &Project) -> bool {
        let folder = project.target.join("xtask");
        let source = folder.join("probe.rs");
        if fs::create_dir_all(&folder).is_err()
            || fs::write(&source, "fn main() { println!(\"{:?}\", std::env::args()) }\n").is_err()
        {
            return false;
        }
        let mut rustc = project.command("rustc");
        self.apply(&mut rustc);
        rustc.args(["--target", TARGET, "--crate-name", "probe", "-o"]).arg(folder.join("probe.wasm")).arg(source);
        answer(&mut rustc).is_some()
    }
}

/// Puts folders in front of the PATH that a program will see.
pub fn with_path(command: &mut Command, folders: &[PathBuf]) {
    let set = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value.map(OsString::from));
    let rest = set.or_else(|| env::var_os("PATH")).unwrap_or_default();
    let all: Vec<PathBuf> = folders.iter().cloned().chain(env::split_paths(&rest)).collect();
    if let Ok(joined) = env::join_paths(all) {
        command.env("PATH", joined);
    }
}

/// Finds or makes a compiler for wasm.
pub fn compiler(project: &Project) -> Result<Compiler, Stop> {
    if Compiler::Active.links(project) {
        return Ok(Compiler::Active);
    }
    let rustup = answer(Command::new("rustup").arg("--version")).is_some();
    let debian = if rustup { Compiler::Linked } else { Compiler::System };
    if Path::new(DEBIAN_LIB).exists() && debian.links(project) {
        return Ok(debian);
    }
    let ways = format!(
        "Type `rustup target add {TARGET}` where rustup reaches its server, or use Debian 12 with its security archive \
         as root; then the command again."
    );
    if rustup {
        let mut add = project.command("rustup");
        add.args(["target", "add", TARGET]);
        let added = Step::new(format!("rustup target add {TARGET}"), &project.logs, &mut add).limit(180).finish();
        if added.is_ok_and(|done| done.status.success()) && Compiler::Active.links(project) {
            return Ok(Compiler::Active);
        }
        say("  rustup could not fetch it; Debian's packages are next");
    }
    debian_std(project, &ways)?;
    if rustup {
        let mut link = project.command("rustup");
        link.args(["toolchain", "link", LINK, "/usr"]);
        Step::new(format!("rustup toolchain link {LINK} /usr"), &project.logs, &mut link).limit(60).succeed(&ways)?;
    }
    if debian.links(project) {
        return Ok(debian);
    }
    Err(Stop(format!("No compiler here can link for {TARGET}. {ways}")))
}

/// Builds the standard library for wasm once from Debian's source package, which carries all that it needs.
fn debian_std(project: &Project, ways: &str) -> Result<(), Stop> {
    apt(project, &DEBIAN_RUST, ways)?;
    // The linker is a suggestion of rust-web-llvm: a symlink that may lead nowhere.
    if let Ok(linker) = fs::read_link("/usr/bin/rust-lld")
        && !Path::new("/usr/bin").join(&linker).exists()
        && let Some(name) = linker.file_name().and_then(|name| name.to_str())
    {
        apt(project, &[name], ways)?;
    }
    let stamp = answer(Command::new("/usr/bin/rustc").arg("-vV")).unwrap_or_default();
    if fs::read_to_string(format!("{DEBIAN_LIB}/.built-by")).is_ok_and(|text| text == stamp) {
        return Ok(());
    }
    let library = Path::new("/usr/lib/rustlib/src/rust/library");
    let seed = project.target.join("xtask/std");
    let _ = fs::remove_dir_all(&seed);
    about(&seed, fs::create_dir_all(seed.join("src")))?;
    about(&seed, fs::create_dir_all(seed.join(".cargo")))?;
    about(&seed, fs::write(seed.join("src/lib.rs"), ""))?;
    about(
        &seed,
        fs::write(
            seed.join("Cargo.toml"),
            "[package]\nname = \"seed\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n",
        ),
    )?;
    if library.join("vendor").is_dir() {
        let config = format!(
            "[source.crates-io]\nreplace-with = \"vendored\"\n[source.vendored]\ndirectory = \"{}/vendor\"\n",
            library.display()
        );
        about(&seed, fs::write(seed.join(".cargo/config.toml"), config))?;
    }
    let mut build = Command::new("/usr/bin/cargo");
    build
        .current_dir(&seed)
        .env_clear()
        .env("HOME", &seed)
        .env("CARGO_HOME", seed.join("home"))
        .env("PATH", "/usr/bin:/bin")
        .env("RUSTC", "/usr/bin/rustc")
        // Building std is a nightly feature; Debian's compiler allows it when told so.
        .env("RUSTC_BOOTSTRAP", "1")
        // Without bitcode inside, `lto = true` in the project fails against this std.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes")
        .args(["build", "--release", "--target", TARGET, "--target-dir", "target"])
        .arg("-Zbuild-std=std,panic_abort,panic_unwind,proc_macro,test");
    Step::new(format!("build std for {TARGET} once"), &project.logs, &mut build).limit(1800).succeed(ways)?;

    let staged = seed.join("out");
    about(&staged, fs::create_dir_all(staged.join("lib")))?;
    let built = seed.join("target").join(TARGET).join("release/deps");
    for entry in about(&built, fs::read_dir(&built))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libseed-") {
            about(&entry.path(), fs::copy(entry.path(), staged.join("lib").join(name)))?;
        }
    }
    about(&staged, fs::write(staged.join(".built-by"), stamp))?;
    let staged = staged.display().to_string();
    for args in [
        &["rm", "-rf", DEBIAN_LIB][..],
        &["cp", "-r", &staged, DEBIAN_LIB][..],
        &["chmod", "-R", "a+rX", DEBIAN_LIB][..],
    ] {
        let Some(mut command) = root(args) else {
            return Err(Stop(format!("Writing {DEBIAN_LIB} needs root. {ways}")));
        };
        Step::new(args.join(" "), &project.logs, &mut command)
            .log(project.logs.join("std-install.log"))
            .succeed(ways)?;
    }
    let _ = fs::remove_dir_all(&seed);
    Ok(())
}

/// A compiler whose cargo knows fmt and clippy.
pub fn linters(project: &Project) -> Result<Compiler, Stop> {
    let has = |compiler: Compiler| {
        ["fmt", "clippy"].iter().all(|tool| {
            let mut cargo = project.cargo();
            compiler.apply(&mut cargo);
            answer(cargo.args([tool, "--version"])).is_some()
        })
    };
    if has(Compiler::Active) {
        return Ok(Compiler::Active);
    }
    if answer(Command::new("rustup").arg("--version")).is_some() {
        let mut add = project.command("rustup");
        add.args(["component", "add", "rustfmt", "clippy"]);
        let added = Step::new("rustup component add rustfmt clippy", &project.logs, &mut add).limit(180).finish();
        if added.is_ok_and(|done| done.status.success()) && has(Compiler::Active) {
            return Ok(Compiler::Active);
        }
    }
    let wasm = compiler(project)?;
    if has(wasm) {
        return Ok(wasm);
    }
    Err(Stop(
        "cargo fmt and cargo clippy are missing. Type `rustup component add rustfmt clippy`, then the command again."
            .to_owned(),
    ))
}

/// Fetches the crates of Cargo.lock.
pub fn crates(project: &Project) -> Result<(), Stop> {
    if answer(project.cargo().args(["fetch", "--quiet", "--offline"])).is_some() {
        return Ok(());
    }
    certificates(project);
    let mut fetch = project.cargo();
    fetch.arg("fetch");
    Step::new("cargo fetch", &project.logs, &mut fetch)
        .limit(900)
        .succeed("When it was the network, type the command again once there is one.")?;
    Ok(())
}

/// The folder that holds wasm-bindgen and its test runner, of the version that Cargo.lock names.
pub fn bindgen(project: &Project) -> Result<PathBuf, Stop> {
    let version = project.locked("wasm-bindgen")?;
    tool(project, "wasm-bindgen-cli", &version, &["wasm-bindgen", "wasm-bindgen-test-runner"])
}

/// The folder that holds wasm-pack.
pub fn wasm_pack(project: &Project) -> Result<PathBuf, Stop> {
    tool(project, "wasm-pack", WASM_PACK, &["wasm-pack"])
}

/// The folder that holds cargo-fuzz.
pub fn cargo_fuzz(project: &Project) -> Result<PathBuf, Stop> {
    tool(project, "cargo-fuzz", CARGO_FUZZ, &["cargo-fuzz"])
}

/// A command line tool of an exact version: from PATH, from the cache, or built into the cache.
fn tool(project: &Project, krate: &str, version: &str, binaries: &[&str]) -> Result<PathBuf, Stop> {
    let fits = |folder: &Path| {
        binaries.iter().all(|name| {
            let binary = folder.join(name);
            answer(Command::new(binary).arg("--version"))
                .is_some_and(|text| text.split_whitespace().nth(1) == Some(version))
        })
    };
    if let Some(folder) = find(binaries[0]).and_then(|path| path.parent().map(Path::to_path_buf))
        && fits(&folder)
    {
        return Ok(folder);
    }
    let home = project.tools.join(format!("{krate}-{version}"));
    let folder = home.join("bin");
    if fits(&folder) {
        return Ok(folder);
    }
    let again = format!(
        "Type `cargo install --root {} {krate} --version ={version}` to see why, or `export MOORLINE_CACHE=a/writable/folder`.",
        home.display()
    );
    let _held = lock(&project.tools.join(format!("{krate}-{version}.lock")))?;
    if fits(&folder) {
        return Ok(folder);
    }
    certificates(project);
    let mut done = None;
    // The lock file that a tool carries may name a crate that the registry lacks: then without it.
    for locked in [true, false] {
        let mut install = Command::new("cargo");
        install
            .current_dir(&project.tools)
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("CARGO_BUILD_TARGET")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            // Half the time of a release build; each run of the tool then takes a second longer.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_PROFILE_DEV_INCREMENTAL", "false")
            .args(["install", "--debug", "--force", krate, "--version", &format!("={version}"), "--root"])
            .arg(&home);
        if locked {
            install.arg("--locked");
        }
        let label = format!(
            "build {krate} {version}, once for all checkouts{}",
            if locked { "" } else { ", without its lock file" }
        );
        let log = project.logs.join(format!("{krate}.log"));
        let step = Step::new(label, &project.logs, &mut install).log(log).limit(2400);
        if locked {
            let first = step.finish()?;
            if first.status.success() {
                done = Some(first);
                break;
            }
        } else {
            done = Some(step.append().succeed(&again)?);
        }
    }
    if done.is_some() && fits(&folder) {
        return Ok(folder);
    }
    Err(Stop(format!("{krate} was built, yet {} does not answer as version {version}. {again}", folder.display())))
}

/// Node, new enough.
pub fn node() -> Result<(), Stop> {
    let hint = format!("Install Node {}.{} or newer with npm, then type the command again.", NODE.0, NODE.1);
    let Some(version) = answer(Command::new("node").arg("--version")) else {
        return Err(Stop(format!("There is no `node` on PATH. {hint}")));
    };
    let mut numbers = version.trim().trim_start_matches('v').split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < NODE {
        return Err(Stop(format!("Node is {}: too old. {hint}", version.trim())));
    }
    if find("npm").is_none() {
        return Err(Stop(format!("There is no `npm` on PATH. {hint}")));
    }
    Ok(())
}

/// The private npm packages: compilers, bundler, test runner, what the tests compare with.
pub fn packages(project: &Project) -> Result<(), Stop> {
    npm(project, "tests/e2e")
}

/// What only a bench compares with.
pub fn peers(project: &Project) -> Result<(), Stop> {
    npm(project, "tests/bench/loss")?;
    npm(project, "tests/bench/herd")
}

/// Installs what the lock file in a folder names.
fn npm(project: &Project, place: &str) -> Result<(), Stop> {
    node()?;
    let folder = project.path(place);
    let wanted = fingerprint(&[folder.join("package-lock.json")], &[&project.root.display().to_string()]);
    let stamp = folder.join("node_modules/.moorline");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    let _held = lock(&project.target.join("xtask/npm.lock"))?;
    if fs::read_to_string(&stamp).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    let mut npm = project.command(if cfg!(windows) { "npm.cmd" } else { "npm" });
    npm.current_dir(&folder).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]);
    Step::new(format!("npm ci in {place}"), &project.logs, &mut npm)
        .limit(900)
        .succeed(&format!("Type `npm ci` in {place} to see it by yourself; it needs the npm registry once."))?;
    about(&stamp, fs::write(&stamp, wanted))
}

/// A Chromium to test in.
pub fn browser(project: &Project) -> Result<PathBuf, Stop> {
    for name in ["CHROMIUM", "CHROME"] {
        if let Some(path) = env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from) {
            return if path.exists() {
                Ok(path)
            } else {
                Err(Stop(format!(
                    "{name} is {}, which does not exist. Type `unset {name}`, or set it right.",
                    path.display()
                )))
            };
        }
    }
    if let Some(found) = installed_browser() {
        return Ok(found);
    }
    let ways = "Install Chromium or Chrome, or type `export CHROMIUM=/its/path`; then the command again.";
    if debian() && apt(project, &["chromium", "chromium-driver", "fonts-liberation"], ways).is_ok() {
        return installed_browser().ok_or_else(|| Stop(format!("chromium was installed, yet is not on PATH. {ways}")));
    }
    packages(project)?;
    let path = || {
        let mut node = project.command("node");
        node.current_dir(&project.e2e)
            .args(["-e", "console.log(require('@playwright/test').chromium.executablePath())"]);
        answer(&mut node).map(|text| PathBuf::from(text.trim())).filter(|path| path.exists())
    };
    if let Some(found) = path() {
        return Ok(found);
    }
    let mut npx = project.command(project.node_bin("playwright"));
    npx.current_dir(&project.e2e).args(["install", "--no-shell", "chromium"]);
    Step::new("playwright install chromium", &project.logs, &mut npx).limit(900).succeed(ways)?;
    path().ok_or_else(|| Stop(format!("Playwright installed no Chromium. {ways}")))
}

fn installed_browser() -> Option<PathBuf> {
    let mac = [
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
    ];
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
        .iter()
        .find_map(|name| find(name))
        .or_else(|| mac.iter().map(PathBuf::from).find(|path| path.exists()))
}

/// The program through which browser tests are driven.
pub fn driver(project: &Project) -> Result<PathBuf, Stop> {
    if let Some(path) = env::var_os("CHROMEDRIVER").map(PathBuf::from).filter(|path| path.exists()) {
        return Ok(path);
    }
    if let Some(found) = find("chromedriver") {
        return Ok(found);
    }
    let ways = "Install chromedriver of the browser's version, or type `export CHROMEDRIVER=/its/path`; then the command again.";
    if debian() {
        apt(project, &["chromium-driver"], ways)?;
    }
    find("chromedriver").ok_or_else(|| Stop(format!("There is no `chromedriver` on PATH. {ways}")))
}

/// Certificates by which a bare container can trust a registry. Where there is no need, or no way, nothing happens.
fn certificates(project: &Project) {
    if debian() && !Path::new("/etc/ssl/certs/ca-certificates.crt").exists() {
        let _ = apt(project, &["ca-certificates"], "");
    }
}

pub fn debian() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|text| text.lines().any(|line| line == "ID=debian"))
}

/// Installs what is missing of these packages. Nothing is ever removed to make room.
pub fn apt(project: &Project, packages: &[&str], ways: &str) -> Result<(), Stop> {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| {
            answer(Command::new("dpkg-query").args(["-W", "-f", "${Status}", package]))
                .is_none_or(|status| !status.ends_with(" installed"))
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    let refused = || Stop(format!("Debian's packages {names} are missing and cannot be installed from here. {ways}"));
    let wait = ["-q", "-o", "DPkg::Lock::Timeout=300"];
    let log = project.logs.join("apt.log");
    let mut update = root(&["apt-get"]).ok_or_else(refused)?;
    update.args(wait).arg("update");
    // A list that could not be refreshed may still be good enough, and once in a run is.
    if !REFRESHED.swap(true, Ordering::Relaxed) {
        Step::new("apt-get update", &project.logs, &mut update).log(log.clone()).append().limit(600).finish()?;
    }
    let mut install = root(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]).ok_or_else(refused)?;
    install.args(wait).args(["-y", "install", "--no-install-recommends", "--no-remove"]).args(&missing);
    Step::new(format!("apt-get install {names}"), &project.logs, &mut install)
        .log(log)
        .append()
        .limit(1200)
        .succeed(ways)?;
    Ok(())
}

/// A command that runs as root, when this user can.
fn root(words: &[&str]) -> Option<Command> {
    find(words[0])?;
    let mut command = if answer(Command::new("id").arg("-u"))?.trim() == "0" {
        Command::new(words[0])
    } else {
        answer(Command::new("sudo").args(["-n", "true"]))?;
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", words[0]]);
        sudo
    };
    command.args(&words[1..]);
    Some(command)
}

/// Where a program stands on PATH.
pub fn find(name: &str) -> Option<PathBuf> {
    let names = if cfg!(windows) { vec![format!("{name}.exe"), format!("{name}.cmd")] } else { vec![name.to_owned()] };
    env::split_paths(&env::var_os("PATH")?)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)).collect::<Vec<_>>())
        .find(|path| path.is_file())
}

/// Makes sure, before minutes are spent, that what they make can be kept.
pub fn writable(project: &Project) -> Result<(), Stop> {
    for folder in [&project.target, &project.tools] {
        let probe = folder.join(format!(".probe-{}", std::process::id()));
        if let Err(error) = fs::create_dir_all(folder).and_then(|()| fs::write(&probe, "")) {
            return Err(Stop(format!(
                "{} cannot be written to ({error}). Type `export MOORLINE_CACHE=a/writable/folder` for the tools; the checkout \
                 itself has to be writable too.",
                folder.display()
            )));
        }
        let _ = fs::remove_file(probe);
    }
    Ok(())
}

/// Waits for another run of these commands that is making the same thing. The lock ends with the returned file.
pub fn lock(path: &Path) -> Result<File, Stop> {
    if let Some(folder) = path.parent() {
        about(folder, fs::create_dir_all(folder))?;
    }
    let file = about(path, File::options().create(true).truncate(false).write(true).open(path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say(format_args!("· waiting for another run that holds {}", path.display()));
            about(path, file.lock())?;
        }
        // A file system without locks: two runs at once are then the user's own affair.
        Err(TryLockError::Error(_)) => {}
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_put_in_front_of_the_path_and_stay_in_order() {
        let mut command = Command::new("true");
        command.env("PATH", "/c");
        with_path(&mut command, &[PathBuf::from("/b")]);
        with_path(&mut command, &[PathBuf::from("/a")]);
        let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value).unwrap();
        assert_eq!(env::split_paths(path).collect::<Vec<_>>(), ["/a", "/b", "/c"].map(PathBuf::from));
    }

    #[test]
    fn a_program_is_found_on_path_or_not_at_all() {
        assert!(find("cargo").is_some());
        assert!(find("there-is-no-such-program-here").is_none());
    }
}
