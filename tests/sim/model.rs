//! The model: runs that are decoded from bytes, over the real client on a simulated network, with what must hold looked at
//! after every step. A seed makes the bytes here, a fuzzer makes them in tests/fuzz.
//!
//! `MOORLINE_SEED=7 cargo test model` repeats one run, and `MOORLINE_STEPS=1000000 cargo test --release model` goes on for
//! so many steps.

mod play;
mod steps;

use moorline::backoff::Chance;
use play::Play;
use std::panic::{AssertUnwindSafe, catch_unwind};
use steps::{Setup, Step, decode};

/// Of the seeds of the quick suite each of its tests has a part.
const SEEDS: u64 = 2000;
const PARTS: u64 = 4;
/// How many bytes a seed becomes.
const BYTES: f64 = 400.0;

/// Runs what the bytes say; panics where something does not hold.
pub fn run(bytes: &[u8]) {
    let (setup, steps) = decode(bytes);
    perform(setup, &steps);
}

fn perform(setup: Setup, steps: &[Step]) {
    let mut play = Play::new(setup);
    let traced = std::env::var_os("MOORLINE_TRACE").is_some();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for (number, step) in steps.iter().enumerate() {
            play.step(number, step);
        }
        play.end();
    }));
    if let Err(panic) = outcome {
        if traced {
            eprintln!("{}", play.recording());
        }
        std::panic::resume_unwind(panic);
    }
}

fn bytes_of(seed: u64) -> Vec<u8> {
    let mut chance = Chance::new(seed);
    let count = 40 + chance.below(BYTES);
    (0..count).map(|_| chance.below(256.0) as u8).collect()
}

/// A fault that is found again with fewer steps: what can be left out is left out, greedily, from large pieces to single ones.
fn shrunk(setup: &Setup, steps: Vec<Step>) -> Vec<Step> {
    let fails = |steps: &[Step]| catch_unwind(AssertUnwindSafe(|| perform(setup.clone(), steps))).is_err();
    let mut least = steps;
    let mut piece = least.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < least.len() {
            let mut fewer = least.clone();
            fewer.drain(at..(at + piece).min(least.len()));
            if fails(&fewer) {
                least = fewer;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    least
}

/// Runs seeds until `enough` says so; answers the first that fails, with what it fails by.
fn seek(seeds: impl Iterator<Item = u64>, mut enough: impl FnMut(usize) -> bool) {
    for seed in seeds {
        let (setup, steps) = decode(&bytes_of(seed));
        if catch_unwind(AssertUnwindSafe(|| perform(setup.clone(), &steps))).is_err() {
            let least = shrunk(&setup, steps);
            let count = least.len();
            eprintln!("{setup:#?}\nthe steps that it takes:");
            least.iter().for_each(|step| eprintln!("  {step:?}"));
            let repeated = catch_unwind(AssertUnwindSafe(|| perform(setup, &least)));
            let _ = repeated;
            panic!("seed {seed} fails with {count} steps: MOORLINE_SEED={seed} MOORLINE_TRACE=1 cargo test model");
        }
        if enough(steps.len()) {
            break;
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A part of the quick suite, or the one seed that was asked for; the first part does the many steps.
fn part(part: u64) {
    if let Some(seed) = number("MOORLINE_SEED") {
        if seed % PARTS == part {
            seek(seed..=seed, |_| true);
        }
        return;
    }
    let Some(most) = number("MOORLINE_STEPS") else {
        seek((0..SEEDS).filter(|seed| seed % PARTS == part), |_| false);
        return;
    };
    let mut left = most / PARTS;
    seek((0..).filter(|seed| seed % PARTS == part), |steps| {
        left = left.saturating_sub(steps as u64);
        left == 0
    });
}

#[test]
fn whatever_is_done_every_invariant_holds_after_each_step_1() {
    part(0);
}

#[test]
fn whatever_is_done_every_invariant_holds_after_each_step_2() {
    part(1);
}

#[test]
fn whatever_is_done_every_invariant_holds_after_each_step_3() {
    part(2);
}

#[test]
fn whatever_is_done_every_invariant_holds_after_each_step_4() {
    part(3);
}
