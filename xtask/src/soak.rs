//! `cargo xtask soak`: browsers against the fault proxy, for as long as it is told. What breaks when is drawn from a seed,
//! and what has to hold is in tests/e2e/soak.

use std::ffi::OsString;

use crate::layers;
use crate::package::{self, Variant};
use crate::project::Project;
use crate::run::{Stop, say};
use crate::setup;

#[derive(Debug, PartialEq)]
struct Plan {
    minutes: u16,
    /// Without one, the run chooses and prints it.
    seed: Option<u32>,
}

pub fn soak(project: &Project, words: &[OsString]) -> Result<(), Stop> {
    let Plan { minutes, seed } = plan(words)?;
    package::build(project, Variant::default())?;
    setup::packages(project)?;
    layers::gateway(project)?;
    let mut runner = project.command(project.node_bin("playwright"));
    runner.current_dir(&project.e2e);
    layers::environment(project, &mut runner)?;
    runner.env("MOORLINE_SOAK_MINUTES", minutes.to_string());
    if let Some(seed) = seed {
        runner.env("MOORLINE_SOAK_SEED", seed.to_string());
    }
    runner.args(["test", "--project=soak", "--reporter=line"]);
    say(format_args!("· {minutes} minutes, and a few to begin and to end"));
    let status = runner.status().map_err(|error| Stop(format!("playwright could not be started: {error}.")))?;
    if status.success() {
        return Ok(());
    }
    Err(Stop(format!(
        "The soak ended with {status}. `cargo xtask soak --minutes {minutes} --seed N`, with the seed above, plans the same again."
    )))
}

/// `[--minutes 10] [--seed N]`.
fn plan(words: &[OsString]) -> Result<Plan, Stop> {
    let mut plan = Plan { minutes: 10, seed: None };
    for pair in words.chunks(2) {
        let number = pair.get(1).and_then(|word| word.to_str()).and_then(|text| text.parse::<u32>().ok());
        match (pair[0].to_str(), number) {
            (Some("--minutes"), Some(minutes @ 1..=1440)) => plan.minutes = minutes as u16,
            (Some("--seed"), Some(seed)) => plan.seed = Some(seed),
            _ => {
                return Err(Stop(
                    "soak takes `--minutes` with a number from 1 to 1440, and `--seed` with a number.".to_owned(),
                ));
            }
        }
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_and_a_seed_are_read_and_nothing_else_is() {
        let words = |text: &str| text.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(plan(&[]).unwrap(), Plan { minutes: 10, seed: None });
        assert_eq!(plan(&words("--seed 7 --minutes 1")).unwrap(), Plan { minutes: 1, seed: Some(7) });
        for wrong in ["--minutes", "--minutes 0", "--minutes 2000", "--seed x", "7", "--minutes 1 --quick"] {
            assert!(plan(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
