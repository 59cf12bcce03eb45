//! Options as a page gives them → `Config` as the core uses it. Every default, unit and limit stands here, once.
//!
//! The shim refuses a malformed option at the caller's line by a copy of this table (src/ts/options.ts); a test compares
//! the two.

use crate::backoff::Backoff;
use crate::error::ApiMisuse;
use crate::heartbeat::Policy;
use crate::outbox::{Limits, Overflow};
use crate::wire::CloseCode;
use serde::Deserialize;

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
    number("queue.maxMessages", 0.0, 16_777_216.0, 1000.0),
    number("queue.maxBytes", 0.0, 1_073_741_824.0, 1_048_576.0),
    number("session.maxAgeMs", 0.0, INF, INF),
    number("maxFrameBytes", 1.0, 1_073_741_824.0, 16_777_216.0),
    number("nexus.settleMs", 0.0, DAY_MS, 300.0),
];

/// Options as given. What is absent takes its default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Options {
    pub reconnect: ReconnectOptions,
    pub connect_timeout_ms: Option<f64>,
    pub heartbeat: HeartbeatOptions,
    pub queue: QueueOptions,
    pub session: SessionOptions,
    pub max_frame_bytes: Option<f64>,
    /// Frame type and event name; an empty event name takes a route away.
    pub routes: Vec<(String, String)>,
    /// Close code and whether to retry.
    pub close_policy: Vec<(u16, bool)>,
    pub nexus: NexusOptions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReconnectOptions {
    pub base_delay_ms: Option<f64>,
    pub max_delay_ms: Option<f64>,
    pub factor: Option<f64>,
    pub max_attempts: Option<f64>,
    pub stable_ms: Option<f64>,
    /// `"full"` (the default) or `"none"`.
    pub jitter: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HeartbeatOptions {
    pub idle_ms: Option<f64>,
    pub probe_timeout_ms: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueueOptions {
    pub max_messages: Option<f64>,
    pub max_bytes: Option<f64>,
    /// `"reject"` (the default), `"drop-oldest"` or `"drop-newest"`.
    pub overflow: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SessionOptions {
    pub max_age_ms: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NexusOptions {
    /// Type of the frame that brings a session.
    pub init_type: Option<String>,
    /// Type of the frame that resumes one.
    pub resume_type: Option<String>,
    /// Name of the token's field in both.
    pub token_field: Option<String>,
    /// `"frame"` (the default): ready is the server's first word. `"open"`: for gateways that never greet.
    pub ready_on: Option<String>,
    pub settle_ms: Option<f64>,
}

/// Options as valid.
#[derive(Debug)]
pub struct Config {
    pub backoff: Backoff,
    pub max_attempts: f64,
    pub stable_ms: u64,
    pub connect_timeout_ms: u64,
    pub heartbeat: Policy,
    pub limits: Limits,
    pub max_age_ms: f64,
    pub max_frame_bytes: f64,
    pub routes: Vec<(String, String)>,
    pub close_policy: Vec<(CloseCode, bool)>,
    pub nexus: NexusConfig,
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
    pub fn parse(options: Options) -> Result<Self, ApiMisuse> {
        let connect_timeout_ms = valid("connectTimeoutMs", options.connect_timeout_ms)? as u64;
        for (_, event) in &options.routes {
            if event.starts_with("ws-") {
                return Err(misuse("routes", "may not lead to a ws- event: those are the line's own"));
            }
        }
        let reconnect = options.reconnect;
        let nexus = options.nexus;
        Ok(Self {
            backoff: Backoff {
                base_ms: valid("reconnect.baseDelayMs", reconnect.base_delay_ms)?,
                max_ms: valid("reconnect.maxDelayMs", reconnect.max_delay_ms)?,
                factor: valid("reconnect.factor", reconnect.factor)?,
                jitter: match reconnect.jitter.as_deref() {
                    None | Some("full") => true,
                    Some("none") => false,
                    Some(_) => return Err(misuse("reconnect.jitter", "is \"full\" or \"none\"")),
                },
            },
            max_attempts: valid("reconnect.maxAttempts", reconnect.max_attempts)?,
            stable_ms: valid("reconnect.stableMs", reconnect.stable_ms)? as u64,
            connect_timeout_ms,
            heartbeat: Policy {
                idle_ms: match options.heartbeat.idle_ms {
                    Some(idle) => Some(valid("heartbeat.idleMs", Some(idle))? as u64),
                    None => None,
                },
                probe_timeout_ms: valid("heartbeat.probeTimeoutMs", options.heartbeat.probe_timeout_ms)? as u64,
            },
            limits: Limits {
                max_messages: valid("queue.maxMessages", options.queue.max_messages)?,
                max_bytes: valid("queue.maxBytes", options.queue.max_bytes)?,
                overflow: match options.queue.overflow.as_deref() {
                    None | Some("reject") => Overflow::Reject,
                    Some("drop-oldest") => Overflow::DropOldest,
                    Some("drop-newest") => Overflow::DropNewest,
                    Some(_) => {
                        return Err(misuse("queue.overflow", "is \"reject\", \"drop-oldest\" or \"drop-newest\""));
                    }
                },
            },
            max_age_ms: valid("session.maxAgeMs", options.session.max_age_ms)?,
            max_frame_bytes: valid("maxFrameBytes", options.max_frame_bytes)?,
            routes: options.routes,
            close_policy: options.close_policy.into_iter().map(|(code, retry)| (CloseCode(code), retry)).collect(),
            nexus: NexusConfig {
                init_type: nexus.init_type.unwrap_or_else(|| "session-init".into()),
                resume_type: nexus.resume_type.unwrap_or_else(|| "session-resume".into()),
                token_field: nexus.token_field.unwrap_or_else(|| "token".into()),
                ready_on_open: match nexus.ready_on.as_deref() {
                    None | Some("frame") => false,
                    Some("open") => true,
                    Some(_) => return Err(misuse("nexus.readyOn", "is \"frame\" or \"open\"")),
                },
                settle_ms: valid("nexus.settleMs", nexus.settle_ms)? as u64,
                consent_ms: CONSENT_MS.min(connect_timeout_ms / 2),
            },
        })
    }
}

fn misuse(option: &'static str, why: &'static str) -> ApiMisuse {
    ApiMisuse::Config { option, why }
}

/// The given value if it is within its limits, its default if there is none.
fn valid(option: &'static str, given: Option<f64>) -> Result<f64, ApiMisuse> {
    let row = NUMBERS.iter().find(|row| row.option == option);
    match (given, row) {
        (None, Some(row)) => Ok(row.default),
        (Some(value), Some(row)) if value >= row.least && value <= row.most => Ok(value),
        _ => Err(misuse(option, "is out of range")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_given_is_the_documented_default() {
        let config = Config::parse(Options::default()).unwrap();
        assert_eq!(config.backoff.base_ms, 4000.0);
        assert_eq!(config.max_attempts, f64::INFINITY);
        assert_eq!(config.connect_timeout_ms, 10_000);
        assert_eq!(config.heartbeat.idle_ms, None);
        assert_eq!(config.limits.max_messages, 1000.0);
        assert_eq!(config.limits.max_bytes, 1_048_576.0);
    }

    #[test]
    fn every_number_has_a_default_within_its_own_limits() {
        for row in NUMBERS {
            assert!(row.default.is_nan() || (row.default >= row.least && row.default <= row.most), "{}", row.option);
            assert!(valid(row.option, Some(row.least - 1.0)).is_err(), "{}", row.option);
            assert!(valid(row.option, Some(f64::NAN)).is_err(), "{}", row.option);
        }
    }

    #[test]
    fn a_route_cannot_lead_to_an_event_of_the_lines_own() {
        let options = Options { routes: vec![("x".into(), "ws-connected".into())], ..Options::default() };
        assert_eq!(Config::parse(options).unwrap_err().code(), "config.invalid");
    }

    #[test]
    fn options_come_as_a_page_writes_them() {
        let options: Options = serde_json::from_str(
            r#"{"reconnect":{"baseDelayMs":1000,"jitter":"none"},"queue":{"overflow":"drop-oldest"},
                "closePolicy":[[4001,false]],"routes":[["a","b"]],"unknownHere":1}"#,
        )
        .unwrap();
        let config = Config::parse(options).unwrap();
        assert!(!config.backoff.jitter);
        assert_eq!(config.limits.overflow, Overflow::DropOldest);
        assert_eq!(config.close_policy, [(CloseCode(4001), false)]);
    }
}
