//! A million clients lose their server at once: `cargo xtask bench herd`. This file reads the arguments, shares the work out and
//! prints; the model is `crowd.rs`, the clients are `ours.rs` and `peers.rs`. No clock of the machine's is read: the same seeds
//! give the same table anywhere.

mod crowd;
mod ours;
mod peers;

use crowd::{IDEAL_MS, Outcome, disperse};
use ours::{Moored, Read};
use peers::Traces;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

const OUTAGES_S: [u64; 3] = [0, 30, 300];
const ENOUGH: u32 = 1_000_000;
/// What the defaults are held to: shares of the crowd in 100 ms, times the ideal, milliseconds.
const PEAK: f64 = 0.04;
const PEAK_TOLD: f64 = 0.0025;
const BACK: f64 = 1.25;
const LONE_MS: u64 = 2000;
/// A median of as many draws as there are clients is off by so much.
const LONE_NOISE_MS: u64 = 10;

struct Given {
    clients: u32,
    seeds: u64,
    peers: Option<PathBuf>,
    readme: Option<PathBuf>,
}

enum Kind {
    Ours(Read),
    Peer(Traces),
}

struct Row {
    title: String,
    kind: Kind,
    /// The bound of its peak, and whether it is held to the others too.
    held: Option<(f64, bool)>,
}

fn main() -> ExitCode {
    match given(std::env::args().skip(1).collect()).and_then(|given| bench(&given)) {
        Ok(missed) if missed.is_empty() => ExitCode::SUCCESS,
        Ok(missed) => {
            eprintln!("{}", missed.join("\n"));
            ExitCode::FAILURE
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn given(words: Vec<String>) -> Result<Given, String> {
    let mut given = Given { clients: ENOUGH, seeds: 1, peers: None, readme: None };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value."));
        let number = |text: String, least: u64, most: u64| {
            let number = text.parse().ok().filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| format!("{word} takes a number from {least} to {most}, not {text:?}."))
        };
        match word.as_str() {
            "--clients" => given.clients = number(value()?, 1000, 10_000_000)? as u32,
            "--seeds" => given.seeds = number(value()?, 1, 100)?,
            "--peers" => given.peers = Some(value()?.into()),
            "--readme" => given.readme = Some(value()?.into()),
            // cargo says so to every bench.
            "--bench" => {}
            _ => {
                return Err(format!(
                    "bench herd takes `--clients`, `--seeds`, `--peers` and `--readme`, each with a value, not {word:?}."
                ));
            }
        }
    }
    Ok(given)
}

/// Prints the table, and answers with what ours has missed.
fn bench(given: &Given) -> Result<Vec<String>, String> {
    let mut rows: Vec<Row> = ours::WAYS
        .iter()
        .map(|(title, way, bound)| {
            let held = bound.then(|| if way.is_told() { (PEAK_TOLD, false) } else { (PEAK, true) });
            Row { title: (*title).to_owned(), kind: Kind::Ours(way.into()), held }
        })
        .collect();
    if let Some(folder) = &given.peers {
        for traces in peers(folder)? {
            rows.push(Row { title: traces.title.clone(), kind: Kind::Peer(traces), held: None });
        }
    }
    let found = work_through(given, &rows);
    let table = table(given, &rows, &found);
    println!("{table}");
    if let Some(readme) = &given.readme {
        put_between(readme, "herd", &table)?;
    }
    // Fewer are noisier than the bounds allow for.
    let judged = given.clients >= ENOUGH;
    Ok(rows.iter().zip(&found).filter(|_| judged).flat_map(|(row, outcomes)| missed(row, outcomes)).collect())
}

fn peers(folder: &Path) -> Result<Vec<Traces>, String> {
    let about = |why: String| format!("{}: {why}", folder.display());
    let entries = fs::read_dir(folder).map_err(|error| about(error.to_string()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).map_err(|error| about(error.to_string()))?;
        Traces::parse(&text).ok_or_else(|| about("holds something else than waits.".to_owned()))
    };
    files.iter().map(read).collect()
}

/// The worst of the seeds, for each row and outage. Of ours one crowd at a time: a million clients are up to four gigabytes.
fn work_through(given: &Given, rows: &[Row]) -> Vec<[Outcome; 3]> {
    let jobs: Vec<(usize, usize, u64)> = (0..rows.len())
        .flat_map(|row| {
            (0..OUTAGES_S.len()).flat_map(move |outage| (1..=given.seeds).map(move |seed| (row, outage, seed)))
        })
        .collect();
    let found = Mutex::new(vec![[Outcome::default(); 3]; rows.len()]);
    let work = |ours: bool| {
        for (row, outage, seed) in &jobs {
            let outage_ms = OUTAGES_S[*outage] * 1000;
            let outcome = match &rows[*row].kind {
                Kind::Ours(way) if ours => disperse(given.clients, outage_ms, *seed, |seed| Moored::new(way, seed)),
                Kind::Peer(traces) if !ours => disperse(given.clients, outage_ms, *seed, |seed| traces.member(seed)),
                Kind::Ours(_) | Kind::Peer(_) => continue,
            };
            let mut found = found.lock().expect("no thread has panicked");
            let worst = &mut found[*row][*outage];
            *worst = if *seed == 1 { outcome } else { worse_of(*worst, outcome) };
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| work(false));
        work(true);
    });
    found.into_inner().expect("no thread has panicked")
}

/// Figure by figure.
fn worse_of(one: Outcome, other: Outcome) -> Outcome {
    Outcome {
        lone_ms: one.lone_ms.max(other.lone_ms),
        peak: one.peak.max(other.peak),
        back_ms: one.back_ms.zip(other.back_ms).map(|(one, other)| one.max(other)),
        refused: one.refused.max(other.refused),
        gave_up: one.gave_up.max(other.gave_up),
    }
}

fn table(given: &Given, rows: &[Row], found: &[[Outcome; 3]]) -> String {
    let mut lines = vec![
        format!(
            "{} clients lose their server at once and notice it within 200 ms; round trips take 20 to 200 ms. Back after 0, 30 or \
             300 s, the server takes all of them in 50 s, from a backlog for 0.4 % of them, and refuses the rest: 99 % can be back \
             {:.1} s after it. {}",
            thousands(given.clients),
            IDEAL_MS / 1000.0,
            if given.seeds > 1 { format!("The worst of {} seeds.", given.seeds) } else { "One seed.".to_owned() },
        ),
        String::new(),
        "| | a client alone waits, s (median) | most that dial within any 100 ms | 99 % are back after, s: gone 0, 30, 300 s | times the \
         ideal | refused attempts of each | gave up |"
            .to_owned(),
        "|---|---:|---:|---:|---:|---:|---:|".to_owned(),
    ];
    for (row, outcomes) in rows.iter().zip(found) {
        let three = |show: &dyn Fn(&Outcome) -> String| outcomes.each_ref().map(show).join(" · ");
        let back = |outcome: &Outcome, unit: f64, digits| {
            outcome.back_ms.map_or("never".to_owned(), |ms| format!("{:.*}", digits, ms as f64 / unit))
        };
        let peak = outcomes.iter().map(|outcome| outcome.peak).fold(0.0, f64::max) * 100.0;
        let gave_up = |outcome: &Outcome| match outcome.gave_up * 100.0 {
            0.0 => "0".to_owned(),
            share => format!("{share:.1} %"),
        };
        let title = if matches!(row.kind, Kind::Ours(_)) { format!("**{}**", row.title) } else { row.title.clone() };
        lines.push(format!(
            "| {title} | {:.2} | {peak:.*} % | {} | {} | {} | {} |",
            outcomes[0].lone_ms as f64 / 1000.0,
            if peak < 1.0 { 2 } else { 1 },
            three(&|outcome| back(outcome, 1000.0, 1)),
            three(&|outcome| back(outcome, IDEAL_MS, 2)),
            three(&|outcome| format!("{:.1}", outcome.refused)),
            three(&gave_up),
        ));
    }
    lines.join("\n")
}

fn missed(row: &Row, outcomes: &[Outcome; 3]) -> Vec<String> {
    let Some((peak, all)) = row.held else {
        return Vec::new();
    };
    let mut missed = Vec::new();
    for (outcome, gone) in outcomes.iter().zip(OUTAGES_S) {
        let mut bound = |what: &str, is: f64, most: f64| {
            if is > most {
                missed.push(format!("{}, server gone for {gone} s: {what} is {is:.4}, above {most}.", row.title));
            }
        };
        bound("the most within 100 ms, of 1,", outcome.peak, peak);
        bound("who gave up, of 1,", outcome.gave_up, 0.0);
        if all {
            let back = outcome.back_ms.map_or(f64::INFINITY, |ms| ms as f64 / IDEAL_MS);
            bound("the return of 99 %, times the ideal,", back, BACK);
            bound("the median wait, in ms,", outcome.lone_ms as f64, (LONE_MS + LONE_NOISE_MS) as f64);
        }
    }
    missed
}

fn thousands(number: u32) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or("")).collect();
    groups.join(",")
}

/// Puts a text between `<!-- name -->` and `<!-- /name -->`.
fn put_between(file: &Path, name: &str, text: &str) -> Result<(), String> {
    let about = |why: String| format!("{}: {why}", file.display());
    let old = fs::read_to_string(file).map_err(|error| about(error.to_string()))?;
    let (open, close) = (format!("<!-- {name} -->\n"), format!("\n<!-- /{name} -->"));
    let parts = old.split_once(&open).and_then(|(head, rest)| Some((head, rest.split_once(&close)?.1)));
    let (head, tail) = parts.ok_or_else(|| about(format!("has no `<!-- {name} -->` and `<!-- /{name} -->`.")))?;
    fs::write(file, format!("{head}{open}{text}{close}{tail}")).map_err(|error| about(error.to_string()))
}
