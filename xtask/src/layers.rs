//! `cargo xtask test`: the layers of tests, in the order in which a failure is cheapest to hear of. What a layer needs is set
//! up by `setup` and built by `package`; this file says what runs, counts it, and goes on after a failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::package::{self, PROTOCOLS, Variant, own_flags};
use crate::project::Project;
use crate::run::{Done, Step, Stop, about, last_lines, say};
use crate::{engines, rails, setup, sizes};

pub const GROUPS: [&str; 8] = ["lint", "native", "browser", "e2e", "engines", "cable", "pack", "all"];
const TARGET: &str = "wasm32-unknown-unknown";

/// One layer: which groups ask for it, what it is called, what it needs, how it runs.
struct Layer {
    groups: &'static [&'static str],
    name: &'static str,
    needs: &'static [&'static str],
    applies: fn(&Project) -> bool,
    run: fn(&Project) -> Result<Tally, Stop>,
}

/// How many tests a layer counted. A layer that counts none is one test by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
    /// Why the whole layer was skipped: this machine lacks what only this layer needs.
    lacks: Option<String>,
    /// Which browser engines it ran in, by name and version; and which of them this machine lacks, and why.
    engines: Vec<String>,
    missing: Vec<String>,
}

impl Tally {
    const ONE: Tally =
        Tally { passed: 1, failed: 0, skipped: 0, lacks: None, engines: Vec::new(), missing: Vec::new() };

    fn skipped(lacks: String) -> Tally {
        Tally { skipped: 1, lacks: Some(lacks), ..Tally::default() }
    }
}

const LAYERS: [Layer; 14] = [
    Layer { groups: &["lint"], name: "format", needs: &[], applies: |_| true, run: format },
    Layer { groups: &["lint"], name: "clippy", needs: &[], applies: |_| true, run: clippy },
    Layer { groups: &["lint"], name: "clippy wasm32", needs: &[], applies: |_| true, run: clippy_wasm },
    Layer { groups: &["native"], name: "native", needs: &[], applies: |_| true, run: native },
    Layer { groups: &["e2e", "engines", "cable", "pack"], name: "build", needs: &[], applies: |_| true, run: build },
    Layer { groups: &["pack"], name: "sizes", needs: &["build"], applies: |_| true, run: weigh },
    Layer { groups: &["pack"], name: "types", needs: &["build"], applies: has_types, run: types },
    Layer { groups: &["browser"], name: "browser", needs: &[], applies: has_web, run: browser },
    Layer { groups: &["e2e"], name: "build self-test", needs: &["build"], applies: has_e2e, run: build_self_test },
    Layer { groups: &["e2e", "engines", "pack"], name: "gateway", needs: &[], applies: |_| true, run: gateway_layer },
    Layer {
        groups: &["e2e"],
        name: "e2e",
        needs: &["build", "build self-test", "gateway"],
        applies: has_e2e,
        run: e2e,
    },
    Layer {
        groups: &["engines"],
        name: "engines",
        needs: &["build", "gateway"],
        applies: has_lifecycle,
        run: lifecycle,
    },
    Layer { groups: &["cable"], name: "cable", needs: &["build"], applies: has_cable, run: cable },
    Layer { groups: &["pack"], name: "pack", needs: &["build", "gateway"], applies: has_pack, run: pack },
];

/// Runs every layer of the group, whatever fails, ends with the line that counts them and answers whether all is well.
pub fn run(project: &Project, group: &str) -> Result<bool, Stop> {
    setup::writable(project)?;
    let mut total = Tally::default();
    let mut failed: Vec<&str> = Vec::new();
    let mut skipped: Vec<String> = Vec::new();
    for layer in LAYERS.iter().filter(|layer| group == "all" || layer.groups.contains(&group)) {
        if !(layer.applies)(project) {
            say(format_args!("– {}: the tree has no such tests", layer.name));
            continue;
        }
        if let Some(missing) = layer.needs.iter().find(|need| failed.contains(need)) {
            say(format_args!("– {}: not run, it needs {missing}", layer.name));
            failed.push(layer.name);
            total.failed += 1;
            continue;
        }
        let started = Instant::now();
        let outcome = (layer.run)(project);
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(tally) => {
                total.passed += tally.passed;
                total.failed += tally.failed;
                total.skipped += tally.skipped;
                total.engines.extend(tally.engines.iter().cloned());
                for engine in &tally.missing {
                    say(format_args!("– {}: {engine}", layer.name));
                    skipped.push(format!("{}: {engine}", layer.name));
                }
                if let Some(lacks) = tally.lacks {
                    say(format_args!("– {}: skipped. {lacks}", layer.name));
                    skipped.push(format!("{}: {}", layer.name, lacks.lines().last().unwrap_or_default()));
                    continue;
                }
                let sign = if tally.failed == 0 { "✓" } else { "✗" };
                say(format_args!("{sign} {}: {}, {seconds:.1} s", layer.name, outcomes(&tally)));
                if tally.failed > 0 {
                    failed.push(layer.name);
                }
            }
            Err(stop) => {
                total.failed += 1;
                failed.push(layer.name);
                say(format_args!("{stop}"));
                say(format_args!("✗ {}: failed, {seconds:.1} s", layer.name));
            }
        }
    }
    if let Some(first) = failed.first() {
        let group = LAYERS.iter().find(|layer| layer.name == *first).map_or("all", |layer| layer.groups[0]);
        say(format_args!(
            "failed: {}. The logs are in {}. Mend it, then type `cargo xtask test {group}` for that part alone.",
            failed.join(", "),
            project.logs.display()
        ));
    }
    for layer in skipped {
        say(format_args!("skipped: {layer}"));
    }
    let engines = if total.engines.is_empty() { String::new() } else { format!(", in {}", total.engines.join(", ")) };
    say(format_args!("moorline: {}{engines}", outcomes(&total)));
    // Where nothing ran, nothing was shown to work.
    Ok(failed.is_empty() && total.passed > 0)
}

fn outcomes(tally: &Tally) -> String {
    let skipped = if tally.skipped > 0 { format!(", {} skipped", tally.skipped) } else { String::new() };
    format!("{} passed, {} failed{skipped}", tally.passed, tally.failed)
}

fn format(project: &Project) -> Result<Tally, Stop> {
    let mut cargo = project.cargo();
    setup::linters(project)?.apply(&mut cargo);
    cargo.args(["fmt", "--all", "--check"]);
    Step::new("cargo fmt --check", &project.logs, &mut cargo).succeed("Type `cargo fmt --all`.")?;
    Ok(Tally::ONE)
}

fn clippy(project: &Project) -> Result<Tally, Stop> {
    setup::crates(project)?;
    let mut cargo = project.cargo();
    setup::linters(project)?.apply(&mut cargo);
    cargo.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    Step::new("cargo clippy", &project.logs, &mut cargo).succeed("Mend what clippy says.")?;
    Ok(Tally::ONE)
}

fn clippy_wasm(project: &Project) -> Result<Tally, Stop> {
    setup::crates(project)?;
    let compiler = setup::compiler(project)?;
    setup::linters(project)?;
    // What one protocol needs and another does not is dead code in the other's wasm, unless it is left out there.
    let single = |protocol: &str| vec!["--no-default-features".to_owned(), format!("--features={protocol}")];
    let mut sets: Vec<Vec<String>> = PROTOCOLS.into_iter().map(single).collect();
    sets.push(vec!["--all-features".to_owned()]);
    let passed = u32::try_from(sets.len()).unwrap_or(u32::MAX);
    for features in sets {
        let mut cargo = project.cargo();
        compiler.apply(&mut cargo);
        own_flags(&mut cargo);
        cargo.args(["clippy", "-p", "moorline", "--target", TARGET, "--lib"]).args(&features);
        if has_web(project) {
            cargo.args(["--test", "web"]);
        }
        cargo.args(["--", "-D", "warnings"]);
        let label = format!("cargo clippy --target {TARGET} {}", features.join(" "));
        Step::new(label, &project.logs, &mut cargo).succeed("Mend what clippy says.")?;
    }
    Ok(Tally { passed, ..Tally::default() })
}

fn native(project: &Project) -> Result<Tally, Stop> {
    setup::crates(project)?;
    let mut cargo = project.cargo();
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    counted(Step::new("cargo test", &project.logs, &mut cargo).finish()?, "Type `cargo test` to see it by yourself.")
}

fn browser(project: &Project) -> Result<Tally, Stop> {
    setup::crates(project)?;
    let compiler = setup::compiler(project)?;
    let bindgen = setup::bindgen(project)?;
    let chromium = setup::browser(project)?;
    let driver = setup::driver(project)?;
    let mut cargo = project.cargo();
    compiler.apply(&mut cargo);
    own_flags(&mut cargo);
    cargo
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", bindgen.join("wasm-bindgen-test-runner"))
        .env("CHROMEDRIVER", driver)
        .env_remove("GECKODRIVER")
        .env_remove("SAFARIDRIVER")
        .env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", capabilities(project, &chromium)?)
        .env("WASM_BINDGEN_TEST_TIMEOUT", "300")
        .env("WASM_BINDGEN_TEST_DRIVER_TIMEOUT", "30")
        .args(["test", "-p", "moorline", "--target", TARGET, "--test", "web"]);
    let done = Step::new("browser tests in Chromium", &project.logs, &mut cargo).limit(1200).finish()?;
    counted(done, "Type `cargo xtask test browser` to run them alone.")
}

/// webdriver.json with the browser that was found: chromedriver would look for one by itself.
fn capabilities(project: &Project, chromium: &Path) -> Result<PathBuf, Stop> {
    const HEAD: &str = "\"goog:chromeOptions\": {";
    let binary = chromium.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    let text = project.read("webdriver.json")?.replace(HEAD, &format!("{HEAD}\n    \"binary\": \"{binary}\","));
    let path = project.target.join("xtask/webdriver.json");
    if let Some(folder) = path.parent() {
        about(folder, fs::create_dir_all(folder))?;
    }
    about(&path, fs::write(&path, text))?;
    Ok(path)
}

fn build(project: &Project) -> Result<Tally, Stop> {
    package::build(project, Variant::default())?;
    Ok(Tally::ONE)
}

fn build_self_test(project: &Project) -> Result<Tally, Stop> {
    package::build(project, Variant { self_test: true, ..Variant::default() })?;
    Ok(Tally::ONE)
}

fn weigh(project: &Project) -> Result<Tally, Stop> {
    sizes::report(project, false, false)?;
    Ok(Tally::ONE)
}

fn types(project: &Project) -> Result<Tally, Stop> {
    setup::packages(project)?;
    let mut tsc = project.command(project.node_bin("tsc"));
    tsc.args(["-p", "tests/e2e/tsconfig.types.json"]);
    Step::new("tsc types.test-d.ts", &project.logs, &mut tsc).limit(120).succeed("Mend what tsc says.")?;
    Ok(Tally::ONE)
}

fn gateway_layer(project: &Project) -> Result<Tally, Stop> {
    gateway(project)?;
    Ok(Tally::ONE)
}

/// Builds the gateway and answers where it is.
pub fn gateway(project: &Project) -> Result<PathBuf, Stop> {
    setup::crates(project)?;
    let mut cargo = project.cargo();
    cargo.args(["build", "-p", "moorline-gateway"]);
    Step::new("cargo build -p moorline-gateway", &project.logs, &mut cargo)
        .succeed("Mend what the compiler says, then type the command again.")?;
    Ok(project.target.join("debug").join(format!("moorline-gateway{}", std::env::consts::EXE_SUFFIX)))
}

fn e2e(project: &Project) -> Result<Tally, Stop> {
    playwright(project, "e2e", None)
}

/// One set of scenarios in three engines. One that cannot be had is said, and its scenarios are counted as skipped.
fn lifecycle(project: &Project) -> Result<Tally, Stop> {
    setup::packages(project)?;
    let found = engines::find(project);
    let mut runner = project.command(project.node_bin("playwright"));
    runner.current_dir(&project.e2e);
    environment(project, &mut runner)?;
    runner.arg("test");
    for engine in &found {
        engine.tell(&mut runner);
        runner.arg(format!("--project={}", engine.project));
    }
    let names: Vec<String> = found.iter().filter_map(engines::Engine::version).collect();
    let log = project.logs.join("playwright-engines.log");
    let label = format!("playwright lifecycle, in {}", names.join(", "));
    let done = Step::new(label, &project.logs, &mut runner).log(log).limit(1800).finish()?;
    let missing = found.iter().filter_map(|engine| {
        let reason = engine.found.as_ref().err()?;
        Some(format!("{} is missing. {}", engine.name, reason.to_string().lines().last().unwrap_or_default()))
    });
    let tally = counted(done, "Type `cargo xtask test engines` to run them alone.")?;
    Ok(Tally { missing: missing.collect(), engines: names, ..tally })
}

/// Against a real Rails server. Where there is none and none can be had, that is said and counted, and is no failure.
fn cable(project: &Project) -> Result<Tally, Stop> {
    let rails = match rails::find(project) {
        Ok(rails) => rails,
        Err(stop) => return Ok(Tally::skipped(stop.to_string())),
    };
    setup::packages(project)?;
    let mut runner = project.command(project.node_bin("playwright"));
    runner.current_dir(&project.e2e);
    environment(project, &mut runner)?;
    rails.environment(project, &mut runner);
    runner.args(["test", "--project=cable-rails", "--project=cable-moorline"]);
    let label = format!("playwright cable, against {}", rails.versions);
    let log = project.logs.join("playwright-cable.log");
    let done = Step::new(label, &project.logs, &mut runner).log(log).limit(1800).finish()?;
    counted(done, "Type `cargo xtask test cable` to run them alone.")
}

fn pack(project: &Project) -> Result<Tally, Stop> {
    let tarball = package::pack(project)?;
    playwright(project, "pack", Some(&tarball))
}

fn playwright(project: &Project, name: &str, tarball: Option<&Path>) -> Result<Tally, Stop> {
    setup::packages(project)?;
    let mut runner = project.command(project.node_bin("playwright"));
    runner.current_dir(&project.e2e);
    environment(project, &mut runner)?;
    if let Some(tarball) = tarball {
        runner.env("MOORLINE_TARBALL", tarball);
    }
    runner.args(["test", &format!("--project={name}")]);
    let done = Step::new(format!("playwright {name}"), &project.logs, &mut runner).limit(1800).finish()?;
    counted(done, &format!("Type `cargo xtask test {name}` to run them alone."))
}

/// What scripts that drive a browser are told by.
pub fn environment(project: &Project, command: &mut Command) -> Result<(), Stop> {
    let gateway = project.target.join("debug").join(format!("moorline-gateway{}", std::env::consts::EXE_SUFFIX));
    command
        .env("MOORLINE_CHROMIUM", setup::browser(project)?)
        .env("MOORLINE_GATEWAY", gateway)
        .env("MOORLINE_PKG", Variant::default().folder(project))
        .env("MOORLINE_PKG_SELF_TEST", Variant { self_test: true, ..Variant::default() }.folder(project))
        .env("MOORLINE_THREE", project.e2e.join("node_modules/three/build"))
        .env("MOORLINE_WWW", project.path("www"))
        .env("MOORLINE_E2E", &project.e2e)
        // Colours and rewritten lines are for terminals; this output goes to a log.
        .env("NO_COLOR", "1")
        .env_remove("FORCE_COLOR");
    Ok(())
}

/// Counts what a run printed. A run that failed without a failed test, such as one that did not compile, is one failure.
fn counted(done: Done, hint: &str) -> Result<Tally, Stop> {
    let text = fs::read(&done.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let tally = count(&text);
    if done.status.success() {
        if tally == Tally::default() {
            return Err(Stop(format!("Nothing was counted: no test ran. See {}.", done.log.display())));
        }
        return Ok(tally);
    }
    say(last_lines(&done.log, 80));
    say(format_args!("{hint} All of the output is in {}.", done.log.display()));
    Ok(Tally { failed: tally.failed.max(1), ..tally })
}

fn count(text: &str) -> Tally {
    let mut tally = Tally::default();
    for line in text.lines() {
        let line = line.trim();
        // The shape of cargo, and of the wasm-bindgen test runner: `test result: ok. 3 passed; 0 failed; …`.
        let list: Vec<&str> = match line.strip_prefix("test result: ") {
            Some(rest) => rest.split_once(". ").map_or(rest, |(_, counts)| counts).split("; ").collect(),
            // The shape of Playwright: `3 passed (5.2s)`, and one such line for each other outcome.
            None => vec![line],
        };
        for item in list {
            let mut words = item.split_whitespace();
            let (Some(number), Some(outcome)) = (words.next().and_then(|word| word.parse::<u32>().ok()), words.next())
            else {
                continue;
            };
            let rest: Vec<&str> = words.collect();
            let whole = rest.is_empty() || (rest.len() == 1 && rest[0].starts_with('(')) || rest == ["not", "run"];
            match outcome.trim_end_matches(';') {
                "passed" if whole => tally.passed += number,
                "failed" | "flaky" | "interrupted" | "did" if whole => tally.failed += number,
                "skipped" if whole => tally.skipped += number,
                _ => {}
            }
        }
    }
    tally
}

fn has_web(project: &Project) -> bool {
    project.path("tests/web.rs").is_file()
}

fn has_types(project: &Project) -> bool {
    project.e2e.join("types.test-d.ts").is_file()
}

fn has_e2e(project: &Project) -> bool {
    specs(&project.e2e)
}

fn has_lifecycle(project: &Project) -> bool {
    specs(&project.e2e.join("lifecycle"))
}

fn has_cable(project: &Project) -> bool {
    specs(&project.e2e.join("cable"))
}

fn has_pack(project: &Project) -> bool {
    specs(&project.e2e.join("pack"))
}

fn specs(folder: &Path) -> bool {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().ends_with(".spec.ts"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summaries_of_cargo_are_added_up() {
        let text = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                    test result: FAILED. 5 passed; 3 failed; 1 ignored; 0 measured\n";
        assert_eq!(count(text), Tally { passed: 7, failed: 3, ..Tally::default() });
    }

    #[test]
    fn the_summary_of_playwright_counts_what_did_not_run_as_failed() {
        assert_eq!(
            count("  1 failed\n    [e2e] › a.spec.ts:3:1 › it says 4 passed by\n  2 did not run\n  12 passed (5.2s)\n"),
            Tally { passed: 12, failed: 3, ..Tally::default() }
        );
    }

    #[test]
    fn what_was_skipped_is_counted_and_told_of_only_where_there_is_any() {
        let tally = count("  2 skipped\n  12 passed (5.2s)\n");
        assert_eq!(tally, Tally { passed: 12, skipped: 2, ..Tally::default() });
        assert_eq!(outcomes(&tally), "12 passed, 0 failed, 2 skipped");
        assert_eq!(outcomes(&Tally::ONE), "1 passed, 0 failed");
    }

    #[test]
    fn every_layer_belongs_to_a_group_that_can_be_asked_for_and_needs_only_earlier_ones() {
        for (place, layer) in LAYERS.iter().enumerate() {
            for group in layer.groups {
                assert!(GROUPS.contains(group));
                for need in layer.needs {
                    let found = LAYERS[..place].iter().find(|earlier| earlier.name == *need).unwrap();
                    assert!(found.groups.contains(group), "{} needs {need}, which {group} leaves out", layer.name);
                }
            }
        }
    }
}
