//! How the OpenClaw gateway behaves: which release it plays, what it asks of a client, and how fast it is.
//! What a release does differently is asked here; doing it is elsewhere.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The token that every client of a development gateway may use.
pub const TOKEN: &str = "moorline-openclaw";

/// Every duration is in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// What a connection gets that asks for no release of its own.
    pub version: Version,
    /// The shared secret, good as token or (protocol 4) as password.
    pub token: String,
    /// Whether a device that is new, or asks for more, is approved at once.
    pub pairing: Pairing,
    /// What becomes of a message that comes while its session is busy.
    pub queue: Queue,
    /// How long the challenge, and the answer to `connect`, let wait.
    pub challenge_ms: u64,
    pub hello_ms: u64,
    /// How long a connection may take to send `connect`.
    pub handshake_ms: u64,
    pub tick_ms: u64,
    /// The least time between two deltas of a run; twice as much in protocol 3.
    pub delta_ms: u64,
    /// How long a run takes before its first event.
    pub start_ms: u64,
    /// How far the gateway's clock is ahead of the machine's; it may be negative.
    pub skew_ms: i64,
    /// So many wrong tokens a minute from one origin, then none is looked at for a while.
    pub bad_tokens: usize,
    pub rate_limit_ms: u64,
    /// Origins that are let in beside those of this machine; `*` is any.
    pub allowed_origins: Vec<String>,
    /// How much of a long answer's end is told live.
    pub live_chars: usize,
    pub max_payload: usize,
    /// How long a finished run answers for its idempotency key.
    pub dedupe_ms: u64,
}

/// A release whose wire is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// The last that speaks protocol 3.
    #[serde(rename = "2026.5.7")]
    V3,
    /// Protocol 4; every delta carries the whole text beside its own.
    #[serde(rename = "2026.9.6")]
    V4,
    /// Protocol 4; only a socket's first delta of a run carries the whole text.
    #[serde(rename = "2026.9.7")]
    V4Lean,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pairing {
    Silent,
    Ask,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Queue {
    /// It goes into the run that is under way.
    Steer,
    /// It gets a run of its own afterwards.
    Followup,
    /// All that wait get one run together afterwards.
    Collect,
    /// It ends the run that is under way.
    Interrupt,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: Version::V4,
            token: TOKEN.to_owned(),
            pairing: Pairing::Silent,
            queue: Queue::Steer,
            challenge_ms: 0,
            hello_ms: 0,
            handshake_ms: 15_000,
            tick_ms: 30_000,
            delta_ms: 75,
            start_ms: 0,
            skew_ms: 0,
            bad_tokens: 10,
            rate_limit_ms: 300_000,
            allowed_origins: Vec::new(),
            live_chars: 500_000,
            max_payload: MAX_PAYLOAD,
            dedupe_ms: 300_000,
        }
    }
}

/// The largest frame that is ever read.
pub const MAX_PAYLOAD: usize = 26_214_400;

impl Config {
    /// The same with what the change names; an error names what it cannot be.
    pub fn changed(&self, change: Map<String, Value>) -> Result<Self, String> {
        let mut all = serde_json::to_value(self).map_err(|error| error.to_string())?;
        for (name, value) in change {
            all[name] = value;
        }
        let changed: Self = serde_json::from_value(all).map_err(|error| error.to_string())?;
        if changed.tick_ms == 0 || changed.live_chars == 0 {
            return Err("tickMs and liveChars are at least 1".to_owned());
        }
        Ok(changed)
    }
}

impl Version {
    /// What a connection's address asks for: `?protocol=3`, or a release as `?version=2026.9.7`.
    pub fn asked(query: Option<&str>) -> Option<Self> {
        query?.split('&').find_map(|part| match part.split_once('=')? {
            ("protocol", "3") | ("version", "2026.5.7") => Some(Self::V3),
            ("protocol", "4") | ("version", "2026.9.6") => Some(Self::V4),
            ("version", "2026.9.7") => Some(Self::V4Lean),
            _ => None,
        })
    }

    pub fn protocol(self) -> u64 {
        match self {
            Self::V3 => 3,
            Self::V4 | Self::V4Lean => 4,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::V3 => "2026.5.7",
            Self::V4 => "2026.9.6",
            Self::V4Lean => "2026.9.7",
        }
    }
}
