//! Options as a page gives them → `Config` as the core uses it. Every default, unit and limit stands here, once.
//!
//! The shim refuses a malformed option at the caller's line by a copy of this table (src/ts/options.ts); a test compares
//! the two.

use crate::backoff::Backoff;
use crate::error::ApiMisuse;
use crate::heartbeat::Policy;
use crate::outbox::{Limits, Overflow};
use crate::wire::{CloseCode, View};
use alloc::string::String;
use alloc::vec::Vec;

/// One numeric option: its name, what it may be, and what it is where the page says nothing (NaN: no value).
#[derive(Clone, Copy, Debug)]
pub struct Number {
    pub option: &'static str,
    pub least: f64,
    pub most: f64,
    pub default: f64,
}

const fn number(option: &'static str, least: f64, most: f64, default: f64) -> Number {
    Number { option, least, most, default }
}

const DAY_MS: f64 = 86_400_000.0;
const INF: f64 = f64::INFINITY;

/// Waits are in milliseconds, sizes in bytes of UTF-8.
pub const NUMBERS: [Number; 13] = [
    // Full jitter makes the first wait half of it on average; a smaller base lets a crowd that lost its server
    // together arrive in one wave.
    number("reconnect.baseDelayMs", 1.0, DAY_MS, 4000.0),
    number("reconnect.maxDelayMs", 1.0, DAY_MS, 30_000.0),
    number("reconnect.factor", 1.0, 10.0, 2.0),
    // A limit of attempts loses users for good: a server may be away for longer than any number suggests.
    number("reconnect.maxAttempts", 0.0, INF, INF),
    // A server that accepts and then drops must not be dialled every second for ever.
    number("reconnect.stableMs", 0.0, DAY_MS, 5000.0),
    number("connectTimeoutMs", 1.0, DAY_MS, 10_000.0),
    number("heartbeat.idleMs", 1.0, DAY_MS, f64::NAN),
    number("heartbeat.probeTimeoutMs", 1.0, DAY_MS, 2000.0),
    // Where browsers begin to throttle a hidden page in earnest.
    number("hiddenAfterMs", 0.0, DAY_MS, 300_000.0),
    number("queue.maxMessages", 0.0, 16_777_216.0, 1000.0),
    number("queue.maxBytes", 0.0, 1_073_741_824.0, 1_048_576.0),
    number("session.maxAgeMs", 0.0, INF, INF),
    number("nexus.settleMs", 0.0, DAY_MS, 300.0),
];

/// Options as given: what has one value by its path (`"reconnect.baseDelayMs"`), the tables beside it. serde would read
/// them as well, and costs more bytes in the wasm than all the rest of the core.
pub struct Options<'a> {
    pub values: &'a dyn View,
    /// Close code and whether to retry.
    pub close_policy: Vec<(CloseCode, bool)>,
}

/// Options as valid.
#[derive(Debug)]
pub struct Config {
    pub backoff: Backoff,
    pub max_attempts: f64,
    pub stable_ms: u64,
    pub connect_timeout_ms: u64,
    pub heartbeat: Policy,
    pub hidden: Hidden,
    pub hidden_after_ms: u64,
    pub limits: Limits,
    pub max_age_ms: f64,
    pub close_policy: Vec<(CloseCode, bool)>,
    pub nexus: NexusConfig,
}

/// What becomes of the line while nobody sees the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    Keep,
    /// Heartbeats and attempts are `SLOW_TIMES` rarer.
    Slow,
    /// No socket, until somebody does.
    Park,
}

#[derive(Debug)]
pub struct NexusConfig {
    pub init_type: String,
    pub resume_type: String,
    pub token_field: String,
    pub ready_on_open: bool,
    /// After the first frame that follows a resume, how long its answer may take.
    pub settle_ms: u64,
    /// After the resume itself, when silence is consent.
    pub consent_ms: u64,
}

/// At most so much silence after a resume is consent; less where the attempt's own deadline is near.
const CONSENT_MS: u64 = 1500;

impl Config {
    pub fn parse(options: Options<'_>) -> Result<Self, ApiMisuse> {
        let values = options.values;
        let mut numbers = NUMBERS.map(|row| row.default);
        for (number, row) in numbers.iter_mut().zip(&NUMBERS) {
            if let Some(given) = values.number(row.option) {
                if given.is_nan() || given < row.least {
                    return Err(misuse(row.option, "is out of range"));
                }
                *number = given.min(row.most);
            }
        }
        let [base_ms, max_ms, factor, max_attempts, stable_ms, connect_timeout_ms, idle_ms, rest @ ..] = numbers;
        let [probe_timeout_ms, hidden_after_ms, max_messages, max_bytes, max_age_ms, settle_ms] = rest;
        // A match, for a list asked by its place brings the formatting machinery along.
        let overflow = match word(values, "queue.overflow", OVERFLOW)? {
            0 => Overflow::Reject,
            1 => Overflow::DropOldest,
            _ => Overflow::DropNewest,
        };
        let hidden = match word(values, "hidden", HIDDEN)? {
            0 => Hidden::Keep,
            1 => Hidden::Slow,
            _ => Hidden::Park,
        };
        let named = |path, default: &str| values.string(path).unwrap_or_else(|| default.into());
        Ok(Self {
            backoff: Backoff { base_ms, max_ms, factor, jitter: word(values, "reconnect.jitter", JITTER)? == 0 },
            max_attempts,
            stable_ms: stable_ms as u64,
            connect_timeout_ms: connect_timeout_ms as u64,
            heartbeat: Policy {
                idle_ms: (!idle_ms.is_nan()).then_some(idle_ms as u64),
                probe_timeout_ms: probe_timeout_ms as u64,
            },
            hidden,
            hidden_after_ms: hidden_after_ms as u64,
            limits: Limits { max_messages, max_bytes, overflow },
            max_age_ms,
            close_policy: options.close_policy,
            nexus: NexusConfig {
                init_type: named("nexus.initType", "session-init"),
                resume_type: named("nexus.resumeType", "session-resume"),
                token_field: named("nexus.tokenField", "token"),
                ready_on_open: word(values, "nexus.readyOn", READY_ON)? == 1,
                settle_ms: settle_ms as u64,
                consent_ms: CONSENT_MS.min(connect_timeout_ms as u64 / 2),
            },
        })
    }
}

/// What a word option may be; the first is its default.
const JITTER: [&str; 2] = ["full", "none"];
const OVERFLOW: [&str; 3] = ["reject", "drop-oldest", "drop-newest"];
const HIDDEN: [&str; 3] = ["keep", "slow", "park"];
const READY_ON: [&str; 2] = ["frame", "open"];

fn misuse(option: &'static str, why: &'static str) -> ApiMisuse {
    ApiMisuse::Config { option, why }
}

/// Which of its words is given; the first where none is.
fn word<const N: usize>(values: &dyn View, option: &'static str, words: [&str; N]) -> Result<usize, ApiMisuse> {
    let Some(given) = values.string(option) else {
        return Ok(0);
    };
    words.iter().position(|word| *word == given).ok_or_else(|| misuse(option, "is not one of its words"))
}

// What no page may set: the core's own measures.

/// Above so many bytes held by the browser the queue waits.
pub const HIGH_WATER: f64 = 1_048_576.0;
/// How often to look at what the browser still holds.
pub const DRAIN_MS: u64 = 50;
/// A browser that has been unable to write a single byte for so long has a dead path.
pub const STALL_MS: u64 = 10_000;
/// How long the queue waits for a close that was announced.
pub const HOLD_MS: u64 = 2000;
/// How long a socket that was told to close may take to say so.
pub const LEAVE_MS: u64 = 3000;
/// Becoming visible tries within this time; coming online within the first wait, for a whole city comes online at once.
pub const HURRY_MS: f64 = 500.0;
/// So soon after a sign that the page is back, what ends without having been heard from is taken for what its absence cost;
/// and an attempt that was under way for longer than this gets as much again.
pub const WAKE_MS: u64 = 2000;
/// An attempt whose deadline rings later than this was kept waiting with the page.
pub const HELD_UP_MS: u64 = 1000;
/// How much rarer a slow page does everything: a heartbeat every 48 s is within the minute after which proxies let go.
pub const SLOW_TIMES: u64 = 4;
/// A line that is to be parked and has something under way is looked at again after so long.
pub const PARK_AGAIN_MS: u64 = 5000;
/// A server that says 1012 or 1013 and no more is left alone for so long (the registry's words for 1012: "a randomized
/// delay of 5 - 30 seconds").
pub const LATER_LEAST_MS: f64 = 5000.0;
/// The spread of a server that names none: at most 0.25 % of a crowd in any 100 ms, which the registry's 25 s exceed.
pub const ADVICE_SPREAD_MS: f64 = 50_000.0;
/// Frames held back until the handshake ends; one more, and they are delivered at once.
pub const HELD_FRAMES: usize = 256;
/// How long an answer to a call may take, where the page does not say.
pub const CALL_TIMEOUT_MS: f64 = 30_000.0;
/// The longest advice that is obeyed.
pub const ADVICE_MOST_MS: f64 = 86_400_000.0;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(values: serde_json::Value) -> Result<Config, ApiMisuse> {
        Config::parse(Options { values: &values, close_policy: Vec::new() })
    }

    #[test]
    fn nothing_given_is_the_documented_default() {
        let config = parse(json!({})).unwrap();
        assert_eq!(config.backoff.base_ms, 4000.0);
        assert!(config.backoff.jitter);
        assert_eq!(config.max_attempts, f64::INFINITY);
        assert_eq!(config.connect_timeout_ms, 10_000);
        assert_eq!(config.heartbeat.idle_ms, None);
        assert_eq!(config.limits.max_messages, 1000.0);
        assert_eq!(config.limits.max_bytes, 1_048_576.0);
        assert_eq!(config.limits.overflow, Overflow::Reject);
    }

    #[test]
    fn every_number_is_held_to_its_own_limits() {
        for row in NUMBERS {
            let within = row.default.is_nan() || (row.default >= row.least && row.default <= row.most);
            assert!(within, "{}", row.option);
            assert!(parse(json!({ row.option: row.least })).is_ok(), "{}", row.option);
            assert_eq!(
                parse(json!({ row.option: row.least - 1.0 })).unwrap_err(),
                misuse(row.option, "is out of range")
            );
        }
    }

    #[test]
    fn a_word_that_is_not_in_the_list_is_refused() {
        for option in ["reconnect.jitter", "hidden", "queue.overflow", "nexus.readyOn"] {
            assert_eq!(parse(json!({ option: "some" })).unwrap_err(), misuse(option, "is not one of its words"));
        }
        assert!(!parse(json!({ "reconnect.jitter": "none" })).unwrap().backoff.jitter);
    }
}
