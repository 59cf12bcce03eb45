//! What time and the surroundings bring, and what a client makes of it: timers that are due, the page's and the network's
//! signals, probes, and a buffer that does not empty. Whether to reconnect is not decided here.

use super::{Client, Probing, State};
use crate::config::{DRAIN_MS, HURRY_MS, STALL_MS};
use crate::contract::Signal;
use crate::error::{Cause, Fault};
use crate::heartbeat::Verdict;
use crate::journal::Fact;
use crate::time::{Instant, Timer};
use crate::wire::{CloseCode, Disposition};

impl Client {
    pub(super) fn timeouts(&mut self, now: Instant) {
        while let Some((timer, due)) = self.timers.take_due(now) {
            match timer {
                Timer::Attempt => match self.state {
                    State::Restoring => self.restored(now, Err(Fault::StorageDenied)),
                    State::Resolving { .. } => {
                        self.decide(now, CloseCode::ABNORMAL, Disposition::Retry(Cause::HandshakeTimeout), None);
                    }
                    State::Opening { .. } | State::Handshaking { .. } => {
                        self.abandon(now, Cause::HandshakeTimeout);
                    }
                    State::Idle | State::Ready { .. } | State::Waiting { .. } | State::Closed => {}
                },
                Timer::Protocol => {
                    self.ask(now, |protocol, cx| protocol.timeout(cx));
                }
                Timer::Retry => self.attempt(now),
                Timer::Move => self.move_over(now),
                Timer::Stable => {
                    self.failures = 0;
                    self.journal.note(now, Fact::Stable);
                }
                Timer::Beat => {
                    let verdict = self.heartbeat.beat(now, due);
                    self.act_on(now, verdict);
                }
                Timer::Probe => {
                    let verdict = self.heartbeat.answer_due(now, due);
                    self.act_on(now, verdict);
                }
                // The driver has fed `Buffered` before this timeout.
                Timer::Drain => {
                    if self.buffered > 0.0 {
                        if now.since(self.stalled_since) >= STALL_MS {
                            self.abandon(now, Cause::Heartbeat);
                        } else {
                            self.timers.set(Timer::Drain, now.after(DRAIN_MS));
                        }
                    }
                    self.flush();
                }
                Timer::Hold => self.flush(),
                Timer::Doubt => self.outbox.believe(now, due),
                Timer::Expiry => self.outbox.expire(now),
                Timer::Leave => self.settle_leaving(now, self.buffered, false),
            }
        }
    }

    pub(super) fn act_on(&mut self, now: Instant, verdict: Verdict) {
        match verdict {
            Verdict::Alive => self.arm_beat(now),
            Verdict::Probe => self.probe(now),
            Verdict::Dead => self.abandon(now, Cause::Heartbeat),
        }
    }

    pub(super) fn signal(&mut self, now: Instant, signal: Signal) {
        let name = match signal {
            Signal::Offline => "the browser is offline",
            Signal::Online => "the browser is online",
            Signal::Visible => "the page is visible",
            Signal::Restored => "the page is back from the cache",
            Signal::Resumed => "the page was resumed",
            Signal::PutAway => {
                self.journal.note(now, Fact::PutAway);
                self.ask(now, |protocol, cx| protocol.put_away(cx));
                return;
            }
        };
        self.offline = signal == Signal::Offline || (self.offline && signal != Signal::Online);
        match self.state {
            State::Waiting { asked: false } if signal != Signal::Offline => {
                // A person looks at one page; a network that is back wakes as many as its loss had cut off.
                let crowd = signal == Signal::Online;
                let within = if crowd { self.config.backoff.ceiling_ms(1) } else { HURRY_MS };
                let soon = now.after(self.chance.below(within));
                if self.timers.get(Timer::Retry).is_some_and(|at| at > soon) {
                    self.timers.set(Timer::Retry, soon);
                    self.journal.note(now, Fact::Hurried { signal: name });
                }
            }
            State::Opening { .. } | State::Handshaking { .. } | State::Ready { .. } if signal == Signal::Restored => {
                self.abandon(now, Cause::Lifecycle);
            }
            State::Ready { .. } if self.heartbeat.can_probe() => self.probe(now),
            State::Idle
            | State::Closed
            | State::Waiting { .. }
            | State::Restoring
            | State::Resolving { .. }
            | State::Opening { .. }
            | State::Handshaking { .. }
            | State::Ready { .. } => {}
        }
    }

    pub(super) fn probe(&mut self, now: Instant) {
        self.timers.stop(Timer::Beat);
        let due = self.heartbeat.probing(now);
        self.timers.set(Timer::Probe, due);
        self.probing = Some(Probing { since: now, covers: self.outbox.handed_over_before() });
        self.journal.note(now, Fact::Probing);
        self.ask(now, |protocol, cx| protocol.probe(cx));
    }

    pub(super) fn probe_answered(&mut self, now: Instant) {
        if let Some(probing) = self.probing.take() {
            let sample = now.since(probing.since) as f64;
            let smooth = self.counters.rtt_ms.map_or(sample, |rtt| rtt * 0.75 + sample * 0.25);
            self.counters.rtt_ms = Some(smooth);
            self.outbox.proven_before(probing.covers);
            self.timers.stop(Timer::Probe);
            self.arm_beat(now);
        }
    }

    pub(super) fn arm_beat(&mut self, now: Instant) {
        match self.heartbeat.next_beat(now) {
            Some(at) => self.timers.set(Timer::Beat, at),
            None => self.timers.stop(Timer::Beat),
        }
    }

    pub(super) fn arm_expiry(&mut self) {
        match self.outbox.next_expiry() {
            Some(at) => self.timers.set(Timer::Expiry, at),
            None => self.timers.stop(Timer::Expiry),
        }
        match self.outbox.next_belief() {
            Some(at) => self.timers.set(Timer::Doubt, at),
            None => self.timers.stop(Timer::Doubt),
        }
    }

    pub(super) fn watch_buffer(&mut self, now: Instant, buffered: f64) {
        // A steady sender's buffer may grow although bytes leave it.
        let written = self.outbox.drained(now, buffered);
        if written || buffered < self.buffered || self.buffered <= 0.0 {
            self.stalled_since = now;
        }
        self.buffered = buffered;
        if buffered > 0.0 {
            if self.timers.get(Timer::Drain).is_none() {
                self.timers.set(Timer::Drain, now.after(DRAIN_MS));
            }
        } else {
            self.timers.stop(Timer::Drain);
        }
    }
}
