//! What time and the surroundings bring, and what a client makes of it: timers that are due, the page's and the network's
//! signals, probes, and a buffer that does not empty. Whether to reconnect is not decided here.

use super::{Client, Probing, State};
use crate::config::{DRAIN_MS, HELD_UP_MS, HURRY_MS, Hidden, LEAVE_MS, PARK_AGAIN_MS, SLOW_TIMES, STALL_MS, WAKE_MS};
use crate::contract::{Output, Signal};
use crate::error::{Cause, Fault};
use crate::heartbeat::Verdict;
use crate::journal::Fact;
use crate::protocol::Event;
use crate::time::{Instant, Timer};
use crate::wire::{CloseCode, Disposition};
use alloc::string::String;

/// What is known of the page's absence, and what its return excuses.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// Since when nobody sees the page.
    hidden_since: Option<Instant>,
    /// The browser has put the page away, and nothing has shown yet that it is back.
    away: bool,
    /// Something has, before the event that says so.
    returned: bool,
    /// The last sign that it is, until the next attempt.
    back: Option<Back>,
    /// When a wait was last cut short.
    hurried: Option<Instant>,
    /// An attempt was begun anew without counting as failed: the next one counts.
    excused: bool,
}

#[derive(Clone, Copy, Debug)]
struct Back {
    at: Instant,
    /// Frames by then: one more, and the socket has survived.
    heard: u32,
    from: From,
}

/// The one behind says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum From {
    /// There is a network again, for this page and for all that it was cut off with.
    Offline,
    /// A person turns to the page.
    Elsewhere,
    /// The page was frozen or cached, or the machine asleep: whatever it had may be gone.
    Away,
}

impl Client {
    pub(super) fn timeouts(&mut self, now: Instant) {
        while let Some((timer, due)) = self.timers.take_due(now) {
            match timer {
                Timer::Attempt => self.attempt_overdue(now, due),
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
                Timer::Hide => self.hidden_for_long(now),
            }
        }
    }

    /// A page that was put away, or whose return has cut its attempt short, has not failed: it begins anew, once.
    fn attempt_overdue(&mut self, now: Instant, due: Instant) {
        let held_up = self.presence.away || self.presence.back.is_some() || now.since(due) > HELD_UP_MS;
        // A handover that fails has the socket before it.
        let excused = held_up && !self.presence.excused && !self.moving;
        self.presence.excused |= excused;
        let cause = if excused { Cause::Lifecycle } else { Cause::HandshakeTimeout };
        match self.state {
            State::Restoring if excused => self.timers.set(Timer::Attempt, now.after(self.config.connect_timeout_ms)),
            State::Restoring => self.restored(now, Err(Fault::StorageDenied)),
            State::Resolving { .. } => self.decide(now, CloseCode::ABNORMAL, Disposition::Retry(cause), None),
            State::Opening { .. } | State::Handshaking { .. } => self.abandon(now, cause),
            State::Idle | State::Ready { .. } | State::Waiting { .. } | State::Parked | State::Closed => {}
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
        let (name, from) = match signal {
            Signal::Offline => ("the browser is offline", None),
            Signal::Online => ("the browser is online", Some(From::Offline)),
            Signal::Visible => ("the page is visible", Some(From::Elsewhere)),
            Signal::Restored => ("the page is back from the cache", Some(From::Away)),
            Signal::Resumed => ("the page was resumed", Some(From::Away)),
            Signal::Woke => ("the machine slept", Some(From::Away)),
            Signal::Hidden => return self.hide(now),
            Signal::PutAway => return self.put_away(now),
        };
        self.offline = signal == Signal::Offline || (self.offline && signal != Signal::Online);
        if signal == Signal::Visible {
            self.show(now);
        }
        let again = self.unheard();
        // A socket from before reads as open and is dead: its end is still to be told (docs/engines.md).
        let gone = from.is_some() && self.presence.away || signal == Signal::Restored && !self.presence.returned;
        self.presence.returned = signal != Signal::Restored && (gone || self.presence.returned);
        if let Some(from) = from {
            self.came_back(now, from);
        }
        match self.state {
            State::Waiting { asked: false } if from.is_some() => {
                let within = self.hurry_ms(signal == Signal::Online);
                let soon = now.after(self.chance.below(within));
                if self.timers.get(Timer::Retry).is_some_and(|at| at > soon) && self.may_hurry(now) {
                    self.timers.set(Timer::Retry, soon);
                    self.journal.note(now, Fact::Hurried { signal: name });
                }
            }
            State::Opening { .. } | State::Handshaking { .. } | State::Ready { .. } if gone => {
                self.abandon(now, Cause::Lifecycle);
            }
            // What the provider was waiting for may have been taken away with the page.
            State::Resolving { .. } if gone => self.attempt(now),
            State::Resolving { .. } | State::Opening { .. } | State::Handshaking { .. } if from.is_some() => {
                self.hasten(now);
            }
            State::Ready { .. } => self.look(now, again, from.is_some()),
            State::Parked if signal == Signal::Visible => self.unpark(now),
            State::Idle
            | State::Closed
            | State::Waiting { .. }
            | State::Parked
            | State::Restoring
            | State::Resolving { .. }
            | State::Opening { .. }
            | State::Handshaking { .. } => {}
        }
    }

    fn put_away(&mut self, now: Instant) {
        // A page that goes into the cache is told so twice.
        if !core::mem::replace(&mut self.presence.away, true) {
            self.presence.returned = false;
            self.journal.note(now, Fact::PutAway);
            self.ask(now, |protocol, cx| protocol.put_away(cx));
        }
    }

    fn came_back(&mut self, now: Instant, from: From) {
        let heard = self.heartbeat.heard_so_far();
        let from = match self.presence.back {
            _ if core::mem::take(&mut self.presence.away) => From::Away,
            Some(before) if before.heard == heard => before.from.max(from),
            _ => from,
        };
        self.presence.back = Some(Back { at: now, heard, from });
    }

    /// Whether nothing has been heard since the page came back.
    fn unheard(&self) -> bool {
        self.presence.back.is_some_and(|back| back.heard == self.heartbeat.heard_so_far())
    }

    /// An attempt begins: what came before is behind it.
    pub(super) const fn here_again(&mut self) {
        self.presence.away = false;
        self.presence.back = None;
    }

    /// A connection, or an attempt that failed while the page was there.
    pub(super) const fn excuse_again(&mut self) {
        self.presence.excused = false;
    }

    /// Whether a socket that has just ended was lost to the page's absence.
    pub(super) fn was_away(&self, now: Instant) -> bool {
        let lately = |back: Back| back.from == From::Away && now.since(back.at) <= WAKE_MS;
        self.presence.away || (self.unheard() && self.presence.back.is_some_and(lately))
    }

    /// Within how many milliseconds to dial where a path was found dead because the page came back.
    pub(super) fn hurry(&mut self, now: Instant, cause: Cause) -> Option<f64> {
        let back = self.presence.back.filter(|_| self.unheard())?;
        let lately = now.since(back.at) <= WAKE_MS;
        let soon = cause == Cause::Heartbeat || (matches!(cause, Cause::Transport | Cause::Offline) && lately);
        (soon && self.may_hurry(now)).then(|| self.hurry_ms(back.from == From::Offline))
    }

    /// A person looks at one page; a network that is back wakes as many as its loss had cut off.
    fn hurry_ms(&self, crowd: bool) -> f64 {
        if crowd { self.config.backoff.ceiling_ms(1) } else { HURRY_MS }
    }

    /// Who turns to a page again and again makes no attempt each time.
    fn may_hurry(&mut self, now: Instant) -> bool {
        let may = self.presence.hurried.is_none_or(|before| now.since(before) >= WAKE_MS);
        if may {
            self.presence.hurried = Some(now);
        }
        may
    }

    /// An attempt from before the page came back may be waiting for a path that is gone.
    fn hasten(&mut self, now: Instant) {
        if let Some(due) = self.timers.get(Timer::Attempt) {
            let soon = now.after(WAKE_MS);
            let under_way = self.config.connect_timeout_ms.saturating_sub(due.since(now));
            if under_way > WAKE_MS && soon < due && !self.presence.excused {
                self.timers.set(Timer::Attempt, soon);
            }
        }
    }

    /// Is the other end still there? Not asked twice at a time: that would put off the verdict.
    fn look(&mut self, now: Instant, again: bool, back: bool) {
        if self.heartbeat.can_probe() {
            if self.timers.get(Timer::Probe).is_none_or(|due| due <= now) {
                self.probe_for(now, back);
            }
        } else if back
            && !again
            && let Some(due) = self.heartbeat.awaken(now)
        {
            self.timers.set(Timer::Beat, due);
        }
    }

    // A page that nobody sees.

    fn hide(&mut self, now: Instant) {
        if self.presence.hidden_since.is_none() {
            self.presence.hidden_since = Some(now);
            self.wait_hidden(now);
            // A phone ends a hidden page without another word.
            self.ask(now, |protocol, cx| protocol.put_away(cx));
        }
    }

    /// Counts the time anew, for a page that is hidden and asks for a connection all the same.
    pub(super) fn wait_hidden(&mut self, now: Instant) {
        if self.presence.hidden_since.is_some() && self.config.hidden != Hidden::Keep {
            self.presence.hidden_since = Some(now);
            self.timers.set(Timer::Hide, now.after(self.config.hidden_after_ms));
        }
    }

    fn hidden_for_long(&mut self, now: Instant) {
        match self.config.hidden {
            Hidden::Keep => {}
            Hidden::Slow => self.set_pace(now, SLOW_TIMES),
            Hidden::Park if self.is_busy() => self.timers.set(Timer::Hide, now.after(PARK_AGAIN_MS)),
            Hidden::Park => self.park(now),
        }
    }

    fn show(&mut self, now: Instant) {
        self.timers.stop(Timer::Hide);
        self.presence.hidden_since = None;
        self.set_pace(now, 1);
    }

    fn set_pace(&mut self, now: Instant, pace: u64) {
        // Else who turns to the page again and again would put off the verdict.
        if self.heartbeat.pace() != pace {
            self.heartbeat.set_pace(pace);
            if self.timers.get(Timer::Beat).is_some() {
                self.arm_beat(now);
            }
        }
    }

    /// Whether the line has nothing to do until somebody sees the page.
    pub(super) fn is_to_be_parked(&self, now: Instant) -> bool {
        let long = |since| now.since(since) >= self.config.hidden_after_ms;
        self.config.hidden == Hidden::Park && self.presence.hidden_since.is_some_and(long) && !self.is_busy()
    }

    /// Nothing that is under way is cut off by the page's absence.
    fn is_busy(&self) -> bool {
        #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
        if self.protocol.is_busy() {
            return true;
        }
        self.moving || self.outbox.waiting() > 0 || self.outbox.in_flight() > 0 || self.buffered > 0.0
    }

    fn park(&mut self, now: Instant) {
        match self.state {
            State::Idle | State::Restoring | State::Parked | State::Closed => {}
            State::Resolving { .. } | State::Waiting { .. } => {
                self.timers.stop(Timer::Attempt);
                self.timers.stop(Timer::Retry);
                self.state = State::Parked;
                self.journal.note(now, Fact::Parked);
            }
            State::Opening { .. } | State::Handshaking { .. } | State::Ready { .. } => self.leave_for_now(now),
        }
    }

    /// Ends the socket as the page would, and means to come back.
    fn leave_for_now(&mut self, now: Instant) {
        if let Some(socket) = self.socket() {
            let code = CloseCode::NORMAL;
            self.outputs.push_back(Output::Close { socket, code, reason: String::new(), awaited: true });
            self.leaving = Some(socket);
            self.leave_socket(now, code);
            self.timers.set(Timer::Leave, now.after(LEAVE_MS));
            self.decide(now, code, Disposition::Retry(Cause::Lifecycle), Some((String::new(), true)));
        }
    }

    pub(super) fn unpark(&mut self, now: Instant) {
        self.wait_hidden(now);
        self.settle_leaving(now, self.buffered, false);
        let attempt = self.failures;
        self.tell(Event::Reconnecting { attempt, delay_ms: 0, cause: Cause::Lifecycle });
        self.attempt(now);
    }

    pub(super) fn probe(&mut self, now: Instant) {
        self.probe_for(now, false);
    }

    fn probe_for(&mut self, now: Instant, back: bool) {
        self.timers.stop(Timer::Beat);
        let due = self.heartbeat.probing(now, back);
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
