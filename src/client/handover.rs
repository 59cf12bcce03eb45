//! Make before break: the next socket is ready, and has resumed, before the old one closes. Only where messages are
//! numbered, for there the server knows what was said on either; elsewhere a change of sockets is a loss and a return.
//!
//! While it lasts, the old socket trails: it is heard until the next one has presented the session, and takes over again
//! where that one fails before.

use super::{Client, State};
use crate::contract::Output;
use crate::error::Cause;
use crate::journal::Fact;
use crate::outbox::End;
use crate::protocol::Inbound;
use crate::time::{Instant, Timer};
use crate::wire::{CloseCode, SocketId};
use alloc::string::String;

/// A build without numbered messages has none of it, and carries nothing for it.
pub(super) const HERE: bool = cfg!(any(feature = "delivery", not(target_arch = "wasm32")));

impl Client {
    /// Moves to another socket, within a time that is drawn: others are told as well.
    #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
    pub(super) fn move_within(&mut self, now: Instant, within_ms: u64) {
        if matches!(self.state, State::Ready { .. }) && self.outbox.is_numbered() {
            let wait_ms = self.chance.below(within_ms as f64);
            self.timers.set(Timer::Move, now.after(wait_ms));
        }
    }

    /// The page wants another connection: its credentials are new, say.
    pub(super) fn renew(&mut self, now: Instant) {
        match self.state {
            State::Ready { .. } if self.outbox.is_numbered() => self.move_over(now),
            State::Ready { .. } => {
                self.abandon(now, Cause::Closed);
                self.connect(now);
            }
            State::Waiting { .. } | State::Parked => self.connect(now),
            State::Idle
            | State::Restoring
            | State::Resolving { .. }
            | State::Opening { .. }
            | State::Handshaking { .. }
            | State::Closed => {}
        }
    }

    pub(super) fn move_over(&mut self, now: Instant) {
        if let State::Ready { socket } = self.state {
            for timer in [Timer::Beat, Timer::Probe, Timer::Hold, Timer::Drain, Timer::Move] {
                self.timers.stop(timer);
            }
            self.probing = None;
            self.trailing = Some(socket);
            self.moving = true;
            self.could_probe = self.heartbeat.can_probe();
            self.journal.note(now, Fact::Moving);
            self.attempt(now);
        }
    }

    /// Where the next socket is not open yet, the old one speaks.
    pub(super) fn voice(&self) -> Option<SocketId> {
        match self.state {
            State::Handshaking { .. } | State::Ready { .. } => self.socket(),
            _ => self.trailing.or(self.socket()),
        }
    }

    pub(super) fn hear_trailing(&mut self, now: Instant, inbound: Inbound<'_>) {
        if matches!(self.state, State::Handshaking { .. }) {
            // What is numbered comes again on the next socket.
            self.ask(now, |protocol, cx| protocol.trailing(cx, inbound));
        } else {
            self.ask(now, |protocol, cx| protocol.received(cx, inbound));
        }
    }

    /// The next socket is open. From here on the old one's word does not count, nor what it has taken.
    pub(super) fn turn_to_the_next(&mut self, now: Instant) {
        if HERE && self.trailing.is_some() {
            self.timers.stop(Timer::Protocol);
            self.outbox.socket_lost(now, 0.0, End::Abrupt);
            self.ask(now, |protocol, cx| protocol.disconnected(cx, CloseCode::NORMAL));
        }
    }

    /// The next socket is ready. Answers whether the page has to hear of it: not where everything goes on as it was.
    pub(super) fn arrive(&mut self) -> bool {
        if HERE && let Some(socket) = self.trailing.take() {
            self.close_unheard(socket, CloseCode::NORMAL);
        }
        !HERE || !core::mem::take(&mut self.moving)
    }

    /// The end of a handover that has not succeeded. Answers whether the old socket is the current one again.
    pub(super) fn turn_back(&mut self) -> bool {
        if !HERE {
            return false;
        }
        self.moving = false;
        let Some(old) = self.trailing.take() else {
            return false;
        };
        if matches!(self.state, State::Handshaking { .. }) {
            // The server may have turned to the next one for good.
            self.close_unheard(old, CloseCode::GIVEN_UP);
            return false;
        }
        if let Some(next) = self.socket() {
            self.close_unheard(next, CloseCode::GIVEN_UP);
        }
        self.timers.stop(Timer::Attempt);
        self.state = State::Ready { socket: old };
        true
    }

    /// Goes on with the old socket, if it lives.
    pub(super) fn stay(&mut self, now: Instant) {
        if self.could_probe {
            self.heartbeat.offer();
            self.probe(now);
        } else {
            self.arm_beat(now);
        }
        self.flush();
    }

    fn close_unheard(&mut self, socket: SocketId, code: CloseCode) {
        self.outputs.push_back(Output::Close { socket, code, reason: String::new(), awaited: false });
    }
}
