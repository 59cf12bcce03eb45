//! `cargo xtask model` and `cargo xtask fuzz`: the reference model for longer than `cargo test` runs it, and the fuzz targets
//! over the same stage. What has to hold is in tests/sim, the targets in tests/fuzz.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use crate::project::Project;
use crate::run::{Stop, about, answer, say};
use crate::setup;

/// The bins of tests/fuzz.
pub const TARGETS: [&str; 3] = ["model", "frames", "snapshot"];
/// Inputs beyond this length find nothing that shorter ones do not.
const LONGEST_INPUT: &str = "-max_len=600";

/// `[--steps 1000000]`, or `[--seed N]` for one run and what is seen of it.
pub fn model(project: &Project, words: &[OsString]) -> Result<(), Stop> {
    let wrong = || Stop("model takes `--steps` with a number, or `--seed` with one.".to_owned());
    let mut test = project.cargo();
    test.args(["test", "--release", "--test", "sim", "model"]);
    match words {
        [] => test.env("MOORLINE_STEPS", "1000000"),
        [word, value] => {
            let value = number(value).ok_or_else(wrong)?.to_string();
            match word.to_str() {
                Some("--steps") => test.env("MOORLINE_STEPS", value),
                Some("--seed") => test.env("MOORLINE_SEED", value).env("MOORLINE_TRACE", "1"),
                _ => return Err(wrong()),
            }
        }
        _ => return Err(wrong()),
    };
    finish(test, "The failing seed stands above: `cargo xtask model --seed N` runs it alone and prints what was seen.")
}

/// `<target> [--seconds 600]`.
pub fn fuzz(project: &Project, words: &[OsString]) -> Result<(), Stop> {
    let wrong = || Stop(format!("fuzz takes one of {}, and `--seconds` with a number.", TARGETS.join(", ")));
    let (target, rest) = words.split_first().ok_or_else(wrong)?;
    let target = TARGETS.into_iter().find(|known| target == known).ok_or_else(wrong)?;
    let seconds = match rest {
        [] => 600,
        [word, value] if word == "--seconds" => number(value).ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    if answer(Command::new("cargo").args(["+nightly", "--version"])).is_none() {
        return Err(Stop("cargo fuzz needs a nightly compiler. Type `rustup toolchain install nightly`.".to_owned()));
    }
    let tool = setup::cargo_fuzz(project)?;
    // What is new goes into a folder of its own: the committed corpus is small because somebody chose it.
    let found = project.target.join("fuzz-corpus").join(target);
    about(&found, fs::create_dir_all(&found))?;
    let mut run = Command::new("cargo");
    setup::with_path(&mut run, &[tool]);
    run.current_dir(&project.root).env("CARGO_TARGET_DIR", project.target.join("fuzz"));
    run.args(["+nightly", "fuzz", "run", "--fuzz-dir", "tests/fuzz", target]).arg(&found);
    run.arg(format!("tests/fuzz/corpus/{target}"));
    run.args(["--", LONGEST_INPUT]).arg(format!("-max_total_time={seconds}"));
    say(format_args!("· {target}, {seconds} s; what is found besides failures goes to {}", found.display()));
    finish(run, "The input that fails is named above; put it into tests/fuzz/corpus, where `cargo test` runs it.")
}

fn number(word: &OsString) -> Option<u64> {
    word.to_str()?.parse().ok()
}

fn finish(mut command: Command, hint: &str) -> Result<(), Stop> {
    let status = command.status().map_err(|error| Stop(format!("cargo could not be started: {error}.")))?;
    if status.success() { Ok(()) } else { Err(Stop(format!("It ended with {status}. {hint}"))) }
}
