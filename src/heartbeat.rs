//! Liveness: when to look, when silence means dead, and why a late timer proves nothing.
//!
//! Any frame counts as a sign of life. Frames are counted, not stamped: reading a clock for each would cost more than
//! all the rest of the core.

use crate::time::Instant;

/// What to do when a heartbeat or a probe is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There was a frame, or nothing can be concluded: look again later.
    Alive,
    /// Ask the server for a sign of life.
    Probe,
    /// The path is dead.
    Dead,
}

#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Milliseconds between heartbeats, and the silence after which a server that cannot be asked is given up. Without
    /// it, a server that can be asked is asked in time to notice its end, and the silence of one that cannot is no evidence.
    pub idle_ms: Option<u64>,
    /// Milliseconds that an answer may take.
    pub probe_timeout_ms: u64,
}

/// From a server's last word until its silence is noticed, the time for an answer included. With a second for a timer that is
/// late, that is 15 s.
const NOTICED_MS: u64 = 14_000;
/// However long an answer may take, a server is not asked more often.
const LEAST_IDLE_MS: u64 = 9000;
/// Silence that the protocol does not expect is looked for so many times as often as it takes.
const ROUNDS: u64 = 3;
/// A timer that is later than this was kept waiting, and so may frames have been.
const LATE_MS: u64 = 250;

#[derive(Debug)]
pub struct Heartbeat {
    policy: Policy,
    can_probe: bool,
    /// Within so many milliseconds the server speaks of itself, by its protocol.
    expected_ms: Option<u64>,
    quiet_rounds: u64,
    /// How many times rarer than usual to look.
    pace: u64,
    heard: u32,
    heard_before: u32,
    /// A late timer was forgiven once; a second one in a row is not.
    forgiven: bool,
    /// How long an answer may take, and how many in a row have to be missing.
    #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
    patience: (u64, u32),
    #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
    missing: u32,
}

impl Heartbeat {
    pub const fn new(policy: Policy) -> Self {
        Self {
            policy,
            can_probe: false,
            expected_ms: None,
            quiet_rounds: 0,
            pace: 1,
            heard: 0,
            heard_before: 0,
            forgiven: false,
            #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
            patience: (0, 1),
            #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
            missing: 0,
        }
    }

    /// From now on an answer may take so long, and so many in a row have to be missing before the path is dead.
    #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
    pub const fn patience(&mut self, within_ms: u64, probes: u32) {
        self.patience = (within_ms, probes);
    }

    /// A new socket: what the last server offered is forgotten.
    pub fn restart(&mut self) {
        self.can_probe = false;
        self.expected_ms = None;
        self.quiet_rounds = 0;
        self.forgiven = false;
        self.heard_before = self.heard;
        #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
        {
            self.patience = (0, 1);
            self.missing = 0;
        }
    }

    pub fn heard(&mut self) {
        self.heard = self.heard.wrapping_add(1);
    }

    /// Frames so far.
    pub const fn heard_so_far(&self) -> u32 {
        self.heard
    }

    pub const fn pace(&self) -> u64 {
        self.pace
    }

    pub const fn set_pace(&mut self, pace: u64) {
        self.pace = pace;
    }

    /// The server offers to answer probes.
    pub fn offer(&mut self) {
        self.can_probe = true;
    }

    /// The server speaks at least so often.
    pub fn expect(&mut self, within_ms: u64) {
        self.expected_ms = Some(within_ms);
    }

    pub const fn can_probe(&self) -> bool {
        self.can_probe
    }

    /// When to look next; `None` where there is nothing to look for.
    pub fn next_beat(&self, now: Instant) -> Option<Instant> {
        let idle_ms = match self.policy.idle_ms {
            Some(idle) => idle,
            None if self.can_probe => {
                let own = NOTICED_MS.saturating_sub(self.answer_ms()).max(LEAST_IDLE_MS);
                self.expected_ms.unwrap_or(own)
            }
            None => self.expected_ms? / ROUNDS,
        };
        Some(now.after(idle_ms.saturating_mul(self.pace)))
    }

    /// The page is back, and the server cannot be asked: by when a word of it has to have come, if it speaks of itself. One
    /// that it says within half of that time, as protocols have it, may just have been missed.
    pub fn awaken(&mut self, now: Instant) -> Option<Instant> {
        let within_ms = self.expected_ms.filter(|_| self.policy.idle_ms.is_none())?;
        self.heard_before = self.heard;
        self.quiet_rounds = ROUNDS - 1;
        Some(now.after(within_ms / ROUNDS * 2))
    }

    /// A probe goes out: when its answer is due. One for a page that is back leaves time for the next dial.
    pub fn probing(&mut self, now: Instant, back: bool) -> Instant {
        self.heard_before = self.heard;
        let within_ms = self.answer_ms();
        let patient = within_ms > self.policy.probe_timeout_ms;
        now.after(if back && !patient { within_ms - within_ms / 4 } else { within_ms })
    }

    fn answer_ms(&self) -> u64 {
        let within_ms = self.policy.probe_timeout_ms;
        #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
        let within_ms = within_ms.max(self.patience.0);
        within_ms
    }

    /// The heartbeat that was due at `due`.
    pub fn beat(&mut self, now: Instant, due: Instant) -> Verdict {
        if self.can_probe {
            return Verdict::Probe;
        }
        self.judge(now, due, Verdict::Alive)
    }

    /// The answer that was due at `due`.
    pub fn answer_due(&mut self, now: Instant, due: Instant) -> Verdict {
        self.judge(now, due, Verdict::Probe)
    }

    fn judge(&mut self, now: Instant, due: Instant, if_late: Verdict) -> Verdict {
        let quiet = self.heard == self.heard_before;
        self.heard_before = self.heard;
        self.quiet_rounds = if quiet { self.quiet_rounds + 1 } else { 0 };
        let of_protocol = self.policy.idle_ms.is_none() && !self.can_probe;
        if !quiet || (of_protocol && self.quiet_rounds < ROUNDS) {
            self.forgiven = false;
            #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
            {
                self.missing = 0;
            }
            return Verdict::Alive;
        }
        // A busy page, a throttled tab or a sleeping machine runs its timers late, and frames that came meanwhile may not
        // have been delivered yet: ask again before judging, once.
        if now.since(due) > LATE_MS && !self.forgiven {
            self.forgiven = true;
            return if_late;
        }
        #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
        if self.can_probe {
            self.missing += 1;
            if self.missing < self.patience.1 {
                return Verdict::Probe;
            }
        }
        Verdict::Dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn heartbeat(idle_ms: Option<u64>) -> Heartbeat {
        Heartbeat::new(Policy { idle_ms, probe_timeout_ms: 2000 })
    }

    #[test]
    fn a_server_that_answers_is_alive_and_one_that_does_not_is_dead() {
        let mut beat = heartbeat(None);
        beat.offer();
        assert_eq!(beat.beat(at(15_000), at(15_000)), Verdict::Probe);
        let due = beat.probing(at(15_000), false);
        beat.heard();
        assert_eq!(beat.answer_due(due, due), Verdict::Alive);
        let due = beat.probing(at(30_000), false);
        assert_eq!(beat.answer_due(due, due), Verdict::Dead);
    }

    #[test]
    fn a_protocol_may_ask_for_patience_and_for_a_second_probe() {
        let mut beat = heartbeat(None);
        beat.offer();
        beat.patience(5000, 2);
        assert_eq!(beat.next_beat(at(0)), Some(at(9000)), "noticed as soon as elsewhere");
        assert_eq!(beat.probing(at(0), true), at(5000), "whoever asks");
        assert_eq!(beat.answer_due(at(5000), at(5000)), Verdict::Probe);
        beat.heard();
        assert_eq!(beat.answer_due(at(10_000), at(10_000)), Verdict::Alive);
        beat.probing(at(20_000), false);
        assert_eq!(beat.answer_due(at(25_000), at(25_000)), Verdict::Probe);
        beat.probing(at(25_000), false);
        assert_eq!(beat.answer_due(at(30_000), at(30_000)), Verdict::Dead);
    }

    #[test]
    fn silence_that_the_protocol_does_not_expect_is_noticed_soon() {
        let mut beat = heartbeat(None);
        beat.expect(6000);
        assert_eq!(beat.next_beat(at(0)), Some(at(2000)));
        beat.heard();
        for quiet_until in [2000, 4000, 6000] {
            assert_eq!(beat.beat(at(quiet_until), at(quiet_until)), Verdict::Alive);
        }
        assert_eq!(beat.beat(at(8000), at(8000)), Verdict::Dead);
        beat.restart();
        assert_eq!(beat.next_beat(at(8000)), None);
    }

    #[test]
    fn a_page_that_is_back_waits_for_no_more_than_a_word_that_is_overdue() {
        let mut beat = heartbeat(None);
        assert_eq!(beat.awaken(at(0)), None, "nothing is known of a server that cannot be asked");
        beat.expect(6000);
        assert_eq!(beat.awaken(at(0)), Some(at(4000)));
        assert_eq!(beat.beat(at(4000), at(4000)), Verdict::Dead);
        beat.awaken(at(0));
        beat.heard();
        assert_eq!(beat.beat(at(4000), at(4000)), Verdict::Alive);
        assert_eq!(heartbeat(Some(20_000)).awaken(at(0)), None, "nor where the page has said what silence means");
        beat.offer();
        assert_eq!((beat.probing(at(0), false), beat.probing(at(0), true)), (at(2000), at(1500)));
    }

    #[test]
    fn a_slow_page_looks_a_quarter_as_often() {
        let mut beat = heartbeat(None);
        beat.offer();
        beat.set_pace(4);
        assert_eq!(beat.next_beat(at(0)), Some(at(48_000)));
        beat.restart();
        beat.offer();
        assert_eq!(beat.next_beat(at(0)), Some(at(48_000)), "on the next socket too");
    }

    #[test]
    fn a_late_timer_asks_again_before_it_judges() {
        let mut beat = heartbeat(None);
        beat.offer();
        let due = beat.probing(at(0), false);
        assert_eq!(beat.answer_due(at(600_000), due), Verdict::Probe);
        let due = beat.probing(at(600_000), false);
        assert_eq!(beat.answer_due(due, due), Verdict::Dead);
    }

    #[test]
    fn without_an_offer_silence_counts_only_where_the_page_says_how_much() {
        assert_eq!(heartbeat(None).next_beat(at(0)), None);
        let mut beat = heartbeat(Some(1000));
        assert_eq!(beat.next_beat(at(0)), Some(at(1000)));
        beat.heard();
        assert_eq!(beat.beat(at(1000), at(1000)), Verdict::Alive);
        assert_eq!(beat.beat(at(2000), at(2000)), Verdict::Dead);
    }
}
