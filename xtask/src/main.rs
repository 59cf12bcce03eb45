//! The project's commands: `cargo xtask help` lists them. This file reads what was typed; each command sets up by itself the
//! part of the machine that it needs.
#![allow(clippy::disallowed_methods, reason = "a tool may read the clock; the core may not")]

mod engines;
mod layers;
mod names;
mod package;
mod project;
mod prove;
mod rails;
mod run;
mod serve;
mod setup;
mod sizes;
mod soak;
#[cfg(test)]
mod tidy;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

use package::Variant;
use project::Project;
use run::{Stop, say};

const HELP: &str = "\
cargo xtask <command>

  demo [--port 8787] [-- flags]   build, start the gateway and serve the 3D world; flags go to the gateway
  test [lint|native|browser|e2e|engines|cable|pack|all]
                                  run the tests, all of them unless told; sets up what is missing, browsers too
  build [--dev] [--self-test]     build the package into pkg/ and say what it weighs
  sizes [--bless]                 weigh the package against its budgets and tests/golden/sizes.json; --bless rewrites it
  bench [arguments]               measure moorline against its peers in headless Chromium; arguments go to the bench
  bench cable [--rounds 3]        measure how soon Action Cable is back after a loss of the server, with Rails' client and ours
  bench herd [--clients 1000000] [--seeds 1] [--readme README.md]
                                  simulate a million clients that lose their server at once: ours and the peers', by their own code
  bench loss [arguments]          measure what moorline and its peers lose, double and notice on a dead path, in headless Chromium
  model [--steps 1000000 | --seed N]
                                  run the reference model for so many steps, or one seed of it with all that is seen
  fuzz <model|frames|snapshot> [--seconds 600]
                                  feed the core what a fuzzer makes up; needs a nightly compiler
  soak [--minutes 10] [--seed N]  pages that send and listen while a seeded plan breaks paths, gateways and pages; counts everything
  pack                            make the npm tarball in target/
  setup                           set up all that any command needs, so that later ones need no network
  help                            this

`cargo test` alone, with no network and no browser, is the quick loop.
CHROMIUM, CHROMEDRIVER and FIREFOX name browsers and a driver, MOORLINE_CACHE the folder where tools are kept.";

fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    let started = Instant::now();
    match command(&words) {
        Ok(Ending::Silent) => ExitCode::SUCCESS,
        Ok(Ending::Failed) => ExitCode::FAILURE,
        Ok(Ending::Timed) => {
            say(format_args!("done in {:.1} s", started.elapsed().as_secs_f64()));
            ExitCode::SUCCESS
        }
        Err(stop) => {
            eprintln!("{stop}");
            ExitCode::FAILURE
        }
    }
}

/// How a command ends that ran to its end.
enum Ending {
    Silent,
    Timed,
    /// What is wrong has been said.
    Failed,
}

fn command(words: &[OsString]) -> Result<Ending, Stop> {
    let name = words.first().and_then(|word| word.to_str()).unwrap_or("help");
    let rest = words.get(1..).unwrap_or_default();
    match name {
        "help" | "-h" | "--help" => {
            say(HELP);
            Ok(Ending::Silent)
        }
        "setup" => {
            flags(name, rest, &[])?;
            setup::all(&Project::find()?)?;
            Ok(Ending::Timed)
        }
        "build" => {
            let given = flags(name, rest, &["--dev", "--self-test"])?;
            let project = Project::find()?;
            let variant = Variant { dev: given[0], self_test: given[1] };
            package::build(&project, variant)?;
            package::announce(&project, variant);
            if variant == Variant::default() {
                // A build that is too heavy is still a build: only the tests fail on it.
                if let Err(stop) = sizes::report(&project, false, false) {
                    say(stop);
                }
            }
            Ok(Ending::Timed)
        }
        "sizes" => {
            let given = flags(name, rest, &["--bless"])?;
            let project = Project::find()?;
            package::build(&project, Variant::default())?;
            sizes::report(&project, given[0], true)?;
            Ok(Ending::Timed)
        }
        "test" => {
            let group = match rest {
                [] => "all",
                [group] => layers::GROUPS.into_iter().find(|known| group == known).ok_or_else(|| {
                    Stop(format!(
                        "There is no group of tests {group:?}. Type `cargo xtask test {}`.",
                        layers::GROUPS.join("|")
                    ))
                })?,
                _ => {
                    return Err(Stop(format!("Type `cargo xtask test {}`, one of them.", layers::GROUPS.join("|"))));
                }
            };
            Ok(if layers::run(&Project::find()?, group)? { Ending::Silent } else { Ending::Failed })
        }
        "demo" => {
            let (port, more) = port(rest)?;
            serve::demo(&Project::find()?, port, more)?;
            Ok(Ending::Silent)
        }
        "bench" => {
            let more = if rest.first().is_some_and(|word| word == "--") { &rest[1..] } else { rest };
            match more.split_first() {
                Some((word, more)) if word == "cable" => rails::bench(&Project::find()?, more)?,
                Some((word, more)) if word == "loss" => serve::loss(&Project::find()?, more)?,
                Some((word, more)) if word == "herd" => serve::herd(&Project::find()?, more)?,
                _ => serve::bench(&Project::find()?, more)?,
            }
            Ok(Ending::Silent)
        }
        "model" => {
            prove::model(&Project::find()?, rest)?;
            Ok(Ending::Timed)
        }
        "fuzz" => {
            prove::fuzz(&Project::find()?, rest)?;
            Ok(Ending::Timed)
        }
        "soak" => {
            soak::soak(&Project::find()?, rest)?;
            Ok(Ending::Timed)
        }
        "pack" => {
            flags(name, rest, &[])?;
            let project = Project::find()?;
            package::build(&project, Variant::default())?;
            say(package::pack(&project)?.display());
            Ok(Ending::Silent)
        }
        other => Err(Stop(format!("There is no command {other:?}. Type `cargo xtask help`."))),
    }
}

/// Which of the known flags were given. Anything else is an error.
fn flags(name: &str, words: &[OsString], known: &[&str]) -> Result<Vec<bool>, Stop> {
    if let Some(word) = words.iter().find(|word| !known.iter().any(|flag| word == flag)) {
        let takes = if known.is_empty() { "no arguments".to_owned() } else { known.join(" and ") };
        return Err(Stop(format!("{name} takes {takes}, not {word:?}. Type `cargo xtask help`.")));
    }
    Ok(known.iter().map(|flag| words.iter().any(|word| word == flag)).collect())
}

/// `[--port N] [-- more]`.
fn port(words: &[OsString]) -> Result<(u16, &[OsString]), Stop> {
    let wrong = |word: &OsString| {
        Stop(format!("demo does not take {word:?}. Type `cargo xtask demo --port 8787 -- --echo off`, say."))
    };
    let mut port = 8787;
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if word == "--" {
            return Ok((port, after));
        }
        if word != "--port" {
            return Err(wrong(word));
        }
        let (value, after) = after.split_first().ok_or_else(|| wrong(word))?;
        port = value.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| wrong(value))?;
        rest = after;
    }
    Ok((port, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn the_port_and_the_gateways_flags_are_told_apart() {
        assert_eq!(port(&[]).unwrap().0, 8787);
        let typed = words("--port 9000 -- --echo off --port 1");
        let (port, more) = port(&typed).unwrap();
        assert_eq!(port, 9000);
        assert_eq!(more, words("--echo off --port 1"));
    }

    #[test]
    fn what_is_not_understood_is_an_error_and_not_ignored() {
        assert!(port(&words("--port")).is_err());
        assert!(port(&words("--port many")).is_err());
        assert!(port(&words("--echo off")).is_err());
        assert!(flags("build", &words("--release"), &["--dev"]).is_err());
        assert!(command(&words("biuld")).is_err());
    }

    #[test]
    fn the_help_names_every_group_of_tests() {
        for group in layers::GROUPS {
            assert!(HELP.contains(group));
        }
    }
}
