//! How the gateway behaves towards its clients: chosen at the start, and open to change while it runs.
//! Where it listens and what it serves is not here: options.rs.

use serde::{Deserialize, Serialize};

/// The gateway's conduct. Every duration is in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// Whether a sender hears its own chat.
    pub echo: bool,
    /// Whether a connection is greeted at once or given a moment to resume.
    pub greet: Greet,
    pub greet_wait_ms: u64,
    /// Whether a resume that crossed a greeting is confirmed by a second `session-init`.
    pub confirm: bool,
    /// Whether the optional extension (`gateway-offer` and what belongs to it) is spoken.
    pub offer: bool,
    /// Whether the acknowledgement extension is offered with it.
    pub delivery: bool,
    /// How many of its messages a client may leave unacknowledged.
    pub delivery_window: u64,
    /// How many frames of each session's feed are kept to be repeated.
    pub delivery_keep: usize,
    /// How long an acknowledgement may wait for the next.
    pub delivery_ack_ms: u64,
    /// Whether a settled connection is told who is there.
    pub snapshot: bool,
    /// Whether simulated agents speak.
    pub agents: bool,
    pub agent_every_ms: u64,
    /// How long a token is good for, counted from when it was given out.
    pub session_life_ms: u64,
    /// How often a connected client gets a new token; 0 is never.
    pub rotate_every_ms: u64,
    /// How long a client may be away before the others hear that it left.
    pub grace_ms: u64,
    /// Frames a second that a client may send on and on; 0 is without limit.
    pub rate_limit: u64,
    /// The close code that clients get when the gateway is stopped.
    pub shutdown_code: u16,
}

/// When a connection hears its first `session-init`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Greet {
    Wait,
    Eager,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            echo: true,
            greet: Greet::Wait,
            greet_wait_ms: 150,
            confirm: true,
            offer: true,
            delivery: true,
            delivery_window: 256,
            delivery_keep: 1_000,
            delivery_ack_ms: 50,
            snapshot: true,
            agents: true,
            agent_every_ms: 7_000,
            session_life_ms: 24 * 60 * 60 * 1_000,
            rotate_every_ms: 0,
            grace_ms: 5_000,
            rate_limit: 2_000,
            shutdown_code: 1001,
        }
    }
}

impl Config {
    /// Takes over what the change names and leaves the rest.
    pub fn apply(&mut self, change: Change) {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut self.echo, change.echo.map(Switch::is_on));
        set(&mut self.greet, change.greet);
        set(&mut self.greet_wait_ms, change.greet_wait_ms);
        set(&mut self.confirm, change.confirm.map(Switch::is_on));
        set(&mut self.offer, change.offer.map(Switch::is_on));
        set(&mut self.delivery, change.delivery.map(Switch::is_on));
        set(&mut self.delivery_window, change.delivery_window);
        set(&mut self.delivery_keep, change.delivery_keep);
        set(&mut self.delivery_ack_ms, change.delivery_ack_ms);
        set(&mut self.snapshot, change.snapshot.map(Switch::is_on));
        set(&mut self.agents, change.agents.map(Switch::is_on));
        set(&mut self.agent_every_ms, change.agent_every_ms);
        set(&mut self.session_life_ms, change.session_life_ms);
        set(&mut self.rotate_every_ms, change.rotate_every_ms);
        set(&mut self.grace_ms, change.grace_ms);
        set(&mut self.rate_limit, change.rate_limit);
        set(&mut self.shutdown_code, change.shutdown_code);
    }
}

/// A change of conduct, as the control endpoint takes it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Change {
    echo: Option<Switch>,
    greet: Option<Greet>,
    greet_wait_ms: Option<u64>,
    confirm: Option<Switch>,
    offer: Option<Switch>,
    delivery: Option<Switch>,
    delivery_window: Option<u64>,
    delivery_keep: Option<usize>,
    delivery_ack_ms: Option<u64>,
    snapshot: Option<Switch>,
    agents: Option<Switch>,
    agent_every_ms: Option<u64>,
    session_life_ms: Option<u64>,
    rotate_every_ms: Option<u64>,
    grace_ms: Option<u64>,
    rate_limit: Option<u64>,
    shutdown_code: Option<u16>,
}

/// On or off, said as JSON's truth values or in the command line's words.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Switch {
    Truth(bool),
    Word(Word),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    On,
    Off,
}

impl Switch {
    fn is_on(self) -> bool {
        match self {
            Self::Truth(on) => on,
            Self::Word(Word::On) => true,
            Self::Word(Word::Off) => false,
        }
    }
}
