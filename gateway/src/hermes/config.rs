//! How the Hermes gateway behaves: which version it plays, whom it lets in, and how long it waits.
//! What a version does differently is done elsewhere.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The token that every client of a development gateway may use.
pub const TOKEN: &str = "moorline-hermes";

/// Every duration is in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// What a connection gets that asks for no version of its own.
    pub version: Version,
    pub token: String,
    /// Whether only tickets are good, as on a public address.
    pub gated: bool,
    pub ticket_ms: u64,
    /// How long `gateway.ready` lets wait.
    pub ready_ms: u64,
    /// How long a new session's agent is built.
    pub agent_ms: u64,
    /// How much later the methods of the pool are answered than the others.
    pub pooled_ms: u64,
    /// How long a session without a client lives; 0 is for ever.
    pub grace_ms: u64,
    /// What becomes of a prompt that comes while a turn runs. Version 0.17 always refuses it.
    pub busy: Busy,
    /// Whether a queued prompt's turn goes to the connection that queued it, though it may be gone.
    pub queued_bug: bool,
    /// Whether a resume in the middle of a turn repeats the last delta that its snapshot holds.
    pub resume_overlap: bool,
    /// How long a question stays open; 0 is as long as each kind of question has it.
    pub question_ms: u64,
    /// Whether version 0.20 offers a heartbeat.
    pub heartbeat: bool,
    /// How many events of a session version 0.20 can tell again.
    pub ring: usize,
    pub max_sessions: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Version {
    #[serde(rename = "0.17")]
    V17,
    #[serde(rename = "0.19")]
    V19,
    #[serde(rename = "0.20")]
    V20,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Busy {
    /// It ends the turn and comes next.
    Interrupt,
    /// It comes next.
    Queue,
    /// It goes into the turn.
    Steer,
    /// As `Interrupt`, under version 0.20's other name.
    Redirect,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: Version::V19,
            token: TOKEN.to_owned(),
            gated: false,
            ticket_ms: 30_000,
            ready_ms: 0,
            agent_ms: 150,
            pooled_ms: 0,
            grace_ms: 20_000,
            busy: Busy::Interrupt,
            queued_bug: false,
            resume_overlap: false,
            question_ms: 0,
            heartbeat: true,
            ring: 512,
            max_sessions: 64,
        }
    }
}

impl Config {
    /// The same with what the change names; an error names what it cannot be.
    pub fn changed(&self, change: Map<String, Value>) -> Result<Self, String> {
        let mut all = serde_json::to_value(self).map_err(|error| error.to_string())?;
        for (name, value) in change {
            all[name] = value;
        }
        serde_json::from_value(all).map_err(|error| error.to_string())
    }
}

impl Version {
    /// What a connection's address asks for: `version=0.17`.
    pub fn asked(value: &str) -> Option<Self> {
        match value {
            "0.17" => Some(Self::V17),
            "0.18" | "0.19" => Some(Self::V19),
            "0.20" | "0.21" => Some(Self::V20),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::V17 => "0.17.0",
            Self::V19 => "0.19.0",
            Self::V20 => "0.20.0",
        }
    }

    pub fn desktop_contract(self) -> u64 {
        match self {
            Self::V17 => 2,
            Self::V19 | Self::V20 => 4,
        }
    }
}
