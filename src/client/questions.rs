//! What may be asked of a client. Nothing here changes anything.

use super::{Client, State};
use crate::contract::{Counters, Status};
use crate::protocol::RouteRow;
use crate::time::{Instant, Timer};
use alloc::string::String;
use alloc::vec::Vec;

impl Client {
    pub fn routes(&self) -> Vec<RouteRow> {
        self.protocol.routes()
    }

    pub fn subprotocols(&self) -> &'static [&'static str] {
        self.protocol.subprotocols()
    }

    pub fn status(&self) -> Status {
        match self.state {
            State::Idle => Status::Idle,
            State::Closed => Status::Closed,
            State::Ready { .. } => Status::Connected,
            _ if self.moving => Status::Connected,
            State::Waiting { .. } | State::Parked => Status::Reconnecting,
            State::Restoring | State::Resolving { .. } | State::Opening { .. } | State::Handshaking { .. } => {
                if self.failures == 0 && self.counters.connections == 0 {
                    Status::Connecting
                } else {
                    Status::Reconnecting
                }
            }
        }
    }

    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Messages that wait, and their bytes.
    pub const fn queue(&self) -> (u32, f64) {
        (self.outbox.waiting(), self.outbox.waiting_bytes())
    }

    /// Since when something has been waiting: the oldest message has waited no longer.
    pub const fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// Messages that a socket has and the server has not acknowledged, where it does.
    pub const fn unacknowledged(&self) -> u32 {
        if self.outbox.is_numbered() { self.outbox.in_flight() } else { 0 }
    }

    /// Failures in a row.
    pub const fn attempts(&self) -> u32 {
        self.failures
    }

    /// When the next attempt starts, while waiting for it.
    pub fn next_attempt(&self) -> Option<Instant> {
        self.timers.get(Timer::Retry)
    }

    /// Whether a frame that was handed in has not come out again.
    pub fn holds_frames(&self) -> bool {
        #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
        if self.protocol.holds() {
            return true;
        }
        !self.held.is_empty() || !self.outputs.is_empty()
    }

    /// Whether a message without a time to live can be taken in at any time.
    pub fn needs_no_clock(&self) -> bool {
        matches!(self.state, State::Ready { .. }) || self.waiting_since.is_some()
    }

    /// Whether the browser held something when it was last asked: it is asked again soon.
    pub fn is_draining(&self) -> bool {
        self.buffered > 0.0
    }

    /// The causal log, a line for each fact, oldest first.
    pub fn explain(&self) -> String {
        self.journal.text()
    }
}
