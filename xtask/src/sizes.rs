//! What the package weighs, and the figures it may not rise above: budgets, and a golden file that only goes down. How the
//! package is made is `package`'s; the weighing itself is weigh.mjs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::package::{self, PROTOCOLS, Variant};
use crate::project::Project;
use crate::run::{Stop, about, answer, last_lines, say};
use crate::{run, setup};

const GOLDEN: &str = "tests/golden/sizes.json";
/// What may not rise, each with what it is; all in bytes after brotli at quality 11.
const FIGURES: [(&str, &str); 12] = [
    ("eager", "what moorline loads before it is asked for anything"),
    ("default", "all that the default entry loads, wasm included"),
    ("inline", "all that moorline/inline loads"),
    ("nexus", "all that moorline/nexus loads"),
    ("element", "all that moorline/element loads"),
    ("action-cable", "all that moorline/action-cable loads"),
    ("openclaw", "all that moorline/openclaw loads where there is crypto.subtle"),
    ("ed25519", "what moorline/openclaw loads besides where there is none"),
    ("outbox", "what any of them loads besides for queue.persist"),
    ("json-rpc", "all that moorline/json-rpc loads"),
    ("hermes", "all that moorline/hermes loads"),
    ("observation", "all that moorline/observation loads"),
];
/// The most that a figure may ever be, whatever the golden file says.
/// The eager one is partysocket's whole weight: 2.4 kB.
const BUDGETS: [(&str, u64); 1] = [("eager", 2_480)];
/// What a figure is meant to be and is not yet: said each time, and held back by the golden file alone.
const AIMS: [(&str, u64); 1] = [("default", 20_400)];
/// The most that a protocol is meant to add to a page that uses it, over `moorline/inline`.
const PROTOCOL_AIM: i64 = 3_000;

/// Prints what weighs what, and answers whether every figure is within its limits. `thorough` also builds and weighs what is
/// not published: one wasm file for all protocols.
pub fn report(project: &Project, bless: bool, thorough: bool) -> Result<(), Stop> {
    let together = if thorough { Some(package::together(project)?) } else { None };
    let weights = weigh(project, together.as_deref())?;
    let weight = |name: &str| weights.iter().find(|(found, _)| found == name).map_or(0, |(_, bytes)| *bytes);
    let compiler = compiler(project)?;
    let golden = Golden::read(project);
    let mut risen = Vec::new();
    let mut fallen = Vec::new();

    say("bytes, brotli 11:");
    for (name, meaning) in FIGURES {
        let now = weight(name);
        let budget = BUDGETS.iter().find(|(found, _)| *found == name).map(|(_, bytes)| *bytes);
        let was = golden.as_ref().and_then(|golden| golden.figure(name));
        let aim = AIMS.iter().find(|(found, _)| *found == name).map(|(_, bytes)| *bytes);
        let limits = [
            was.map(|bytes| format!("golden {bytes}")),
            budget.map(|bytes| format!("budget {bytes}")),
            aim.map(|bytes| format!("aim {bytes}")),
        ];
        let limits: Vec<String> = limits.into_iter().flatten().collect();
        say(format_args!(
            "  {name:<12}{now:>8}  {meaning}{}",
            if limits.is_empty() { String::new() } else { format!(" ({})", limits.join(", ")) }
        ));
        if let Some(budget) = budget.filter(|budget| now > *budget) {
            risen.push(format!("{name} is {now} bytes: {} above its budget of {budget}", now - budget));
        }
        // Another compiler gives other bytes: then the budgets alone judge.
        let comparable = golden.as_ref().is_some_and(|golden| golden.compiler == compiler);
        if let Some(was) = was.filter(|_| comparable && !bless) {
            if now > was {
                risen.push(format!("{name} is {now} bytes: {} above the {was} of {GOLDEN}", now - was));
            } else if now * 100 < was * 99 {
                fallen.push(name);
            }
        }
    }
    adds(weight);
    if thorough {
        code(&weights);
    }
    say("what the default entry is made of:");
    for (name, bytes) in weights.iter().filter(|(name, _)| !FIGURES.iter().any(|(figure, _)| figure == name)) {
        let (kind, rest) = name.split_once(' ').unwrap_or((name, ""));
        let note = match (kind, rest) {
            ("part", part) => format!("{part}, minified"),
            ("code", _) => continue,
            ("section", section) => format!("the {section} section of the wasm file"),
            (_, "raw") => "the wasm file before compression".to_owned(),
            (_, "together") => "one wasm file with all protocols, brotli 11: not published".to_owned(),
            (_, protocol) => format!("the wasm file with {protocol}, brotli 11"),
        };
        say(format_args!("  {bytes:>20}  {note}"));
    }
    if bless {
        Golden::write(project, &compiler, weight)?;
        say(format_args!("{GOLDEN} says so from now on."));
    } else if golden.is_none() {
        say(format_args!("There is no {GOLDEN} yet. Type `cargo xtask sizes --bless` to make it."));
    } else if let Some(golden) = golden.filter(|golden| golden.compiler != compiler) {
        say(format_args!(
            "The golden figures are of rustc {}, these of rustc {compiler}: only the budgets judge.",
            golden.compiler
        ));
    }
    if !fallen.is_empty() {
        say(format_args!(
            "{} fell by more than 1 %: type `cargo xtask sizes --bless` to keep that.",
            fallen.join(", ")
        ));
    }
    if risen.is_empty() {
        return Ok(());
    }
    Err(Stop(format!(
        "{}. Make it smaller, or type `cargo xtask sizes --bless` and say in the changelog why it grew.",
        risen.join("; ")
    )))
}

/// What each protocol costs a page that uses it: the whole of its own entry, less the whole of `moorline/inline`.
fn adds(weight: impl Fn(&str) -> u64) {
    say(format_args!("what a protocol adds over moorline/inline, whose page has {}:", PROTOCOLS[0]));
    for protocol in &PROTOCOLS[1..] {
        let more = |name: &str, than: &str| weight(name).cast_signed() - weight(than).cast_signed();
        let entry = more(protocol, "inline");
        let wasm = more(&format!("wasm {protocol}"), &format!("wasm {}", PROTOCOLS[0]));
        say(format_args!("  {protocol:<12}{entry:>+8}  (aim {PROTOCOL_AIM}); its wasm file {wasm:+}"));
    }
}

/// Where each protocol's code comes from, side by side.
fn code(weights: &[(String, u64)]) {
    let found = |protocol: &str, from: &str| {
        let name = format!("code {protocol} {from}");
        weights.iter().find(|(found, _)| *found == name).map_or(0, |(_, bytes)| *bytes)
    };
    let rows: BTreeSet<&str> =
        weights.iter().filter_map(|(name, _)| Some(name.strip_prefix("code ")?.split_once(' ')?.1)).collect();
    let mut rows: Vec<&str> = rows.into_iter().collect();
    rows.sort_by_key(|from| std::cmp::Reverse(PROTOCOLS.iter().map(|protocol| found(protocol, from)).max()));
    say("where each wasm file's code comes from, bytes before wasm-opt, of ours by module:");
    say(format_args!("  {:<14}{}", "", PROTOCOLS.map(|protocol| format!("{protocol:>13}")).concat()));
    for from in rows {
        say(format_args!(
            "  {from:<14}{}",
            PROTOCOLS.map(|protocol| format!("{:>13}", found(protocol, from))).concat()
        ));
    }
}

fn weigh(project: &Project, together: Option<&Path>) -> Result<Vec<(String, u64)>, Stop> {
    let variant = Variant::default();
    let log = project.logs.join("weigh.log");
    let mut node = project.command("node");
    node.arg("xtask/src/weigh.mjs")
        .arg(variant.folder(project))
        .arg(variant.metafile(project))
        .arg(variant.named(project, "*"))
        .arg(variant.abi(project))
        .arg(together.unwrap_or(Path::new("")))
        .args(PROTOCOLS);
    run::Step::new("weigh pkg", &project.logs, &mut node)
        .log(log.clone())
        .limit(120)
        .succeed("Type `cargo xtask build`, then the command again.")?;
    let text = about(&log, fs::read_to_string(&log))?;
    let weights: Option<Vec<(String, u64)>> = text
        .lines()
        .map(|line| {
            let (name, bytes) = line.split_once('\t')?;
            Some((name.to_owned(), bytes.parse().ok()?))
        })
        .collect();
    weights.ok_or_else(|| Stop(format!("{}\nweigh.mjs printed something else than figures.", last_lines(&log, 5))))
}

/// The release of the compiler that makes the wasm file.
fn compiler(project: &Project) -> Result<String, Stop> {
    let mut rustc = project.command("rustc");
    setup::compiler(project)?.apply(&mut rustc);
    Ok(answer(rustc.arg("-V")).and_then(|text| text.split_whitespace().nth(1).map(str::to_owned)).unwrap_or_default())
}

struct Golden {
    compiler: String,
    text: String,
}

impl Golden {
    fn read(project: &Project) -> Option<Self> {
        let text = project.read(GOLDEN).ok()?;
        let compiler = text.lines().find_map(|line| line.trim().strip_prefix("\"rustc\": \"")?.strip_suffix("\","))?;
        Some(Golden { compiler: compiler.to_owned(), text })
    }

    fn figure(&self, name: &str) -> Option<u64> {
        let start = format!("\"{name}\": ");
        self.text.lines().find_map(|line| line.trim().strip_prefix(&start)?.trim_end_matches(',').parse().ok())
    }

    fn write(project: &Project, compiler: &str, weight: impl Fn(&str) -> u64) -> Result<(), Stop> {
        let figures: Vec<String> = FIGURES.iter().map(|(name, _)| format!("  \"{name}\": {}", weight(name))).collect();
        let text = format!(
            "{{\n  \"unit\": \"bytes, brotli 11\",\n  \"rustc\": \"{compiler}\",\n{}\n}}\n",
            figures.join(",\n")
        );
        let path = project.path(GOLDEN);
        if let Some(folder) = path.parent() {
            about(folder, fs::create_dir_all(folder))?;
        }
        about(&path, fs::write(&path, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_golden_figure_is_read_by_its_whole_name() {
        let golden =
            Golden { compiler: "1".to_owned(), text: "{\n  \"eager\": 12,\n  \"default\": 345\n}\n".to_owned() };
        assert_eq!(golden.figure("eager"), Some(12));
        assert_eq!(golden.figure("default"), Some(345));
        assert_eq!(golden.figure("fault"), None);
    }
}
