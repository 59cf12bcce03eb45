//! Our clock and our deadlines: `Instant`, and one table that holds every timer of a client.
//!
//! Nothing here can ask what time it is: time comes in with each input, so that a run can be repeated exactly.

use core::fmt;
use core::num::NonZeroU64;

/// Milliseconds since the driver's epoch. It has no `now()`: the driver stamps inputs.
///
/// One is added inside: an absent deadline then needs no room of its own, in the timers or in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(NonZeroU64);

impl Default for Instant {
    fn default() -> Self {
        Self(NonZeroU64::MIN)
    }
}

impl Instant {
    pub const fn from_millis(millis: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(millis))
    }

    pub const fn as_millis(self) -> u64 {
        self.0.get() - 1
    }

    /// The instant `millis` later; the end of time where that would overflow.
    pub const fn after(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds since `earlier`; 0 where `earlier` is later, so that a clock that jumps back harms nothing.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.get().saturating_sub(earlier.0.get())
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.as_millis();
        write!(f, "+{}.{:03}s", millis / 1000, millis % 1000)
    }
}

/// Everything that a client may be waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The attempt under way has to be *ready* by then, whatever it is waiting for.
    Attempt,
    /// The protocol's own deadline.
    Protocol,
    /// The next attempt starts.
    Retry,
    /// The connection has been ready for long enough to forgive the failures before it.
    Stable,
    /// The next heartbeat.
    Beat,
    /// The answer to a probe is due.
    Probe,
    /// Look at what the browser still holds unsent.
    Drain,
    /// A close that was announced should have come.
    Hold,
    /// The earliest time to live in the queue ends.
    Expiry,
    /// What left the browser long ago is in doubt no more.
    Doubt,
    /// The next socket is dialled beside this one.
    Move,
    /// A socket that was told to close has had its time.
    Leave,
    /// Nobody has seen the page for so long that the page's own policy comes into force.
    Hide,
}

impl Timer {
    const ALL: [Self; 13] = [
        Self::Attempt,
        Self::Protocol,
        Self::Retry,
        Self::Stable,
        Self::Beat,
        Self::Probe,
        Self::Drain,
        Self::Hold,
        Self::Expiry,
        Self::Doubt,
        Self::Move,
        Self::Leave,
        Self::Hide,
    ];
}

/// All deadlines of a client, at most one per `Timer`.
#[derive(Debug, Default)]
pub struct TimerTable {
    deadlines: [Option<Instant>; Timer::ALL.len()],
}

impl TimerTable {
    pub fn set(&mut self, timer: Timer, at: Instant) {
        self.write(timer, Some(at));
    }

    pub fn stop(&mut self, timer: Timer) {
        self.write(timer, None);
    }

    pub fn stop_all_but(&mut self, kept: &[Timer]) {
        for timer in Timer::ALL {
            if !kept.contains(&timer) {
                self.stop(timer);
            }
        }
    }

    pub fn get(&self, timer: Timer) -> Option<Instant> {
        self.deadlines.get(timer as usize).copied().flatten()
    }

    /// The earliest deadline of all: what the driver's one timer is armed with.
    pub fn next(&self) -> Option<Instant> {
        self.deadlines.iter().flatten().min().copied()
    }

    /// Takes a timer that is due, with the deadline it had, in the order of `Timer`.
    pub fn take_due(&mut self, now: Instant) -> Option<(Timer, Instant)> {
        for timer in Timer::ALL {
            if let Some(at) = self.get(timer)
                && at <= now
            {
                self.stop(timer);
                return Some((timer, at));
            }
        }
        None
    }

    #[inline(never)]
    fn write(&mut self, timer: Timer, at: Option<Instant>) {
        if let Some(slot) = self.deadlines.get_mut(timer as usize) {
            *slot = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_the_earliest_deadline_and_forgets_what_it_gave() {
        let mut table = TimerTable::default();
        assert_eq!(table.next(), None);
        table.set(Timer::Retry, Instant::from_millis(30));
        table.set(Timer::Beat, Instant::from_millis(10));
        assert_eq!(table.next(), Some(Instant::from_millis(10)));
        assert_eq!(table.take_due(Instant::from_millis(9)), None);
        assert_eq!(table.take_due(Instant::from_millis(40)).map(|due| due.0), Some(Timer::Retry));
        assert_eq!(table.take_due(Instant::from_millis(40)).map(|due| due.0), Some(Timer::Beat));
        assert_eq!(table.take_due(Instant::from_millis(40)), None);
    }

    #[test]
    fn an_instant_reads_as_seconds_and_never_runs_backwards() {
        assert_eq!(Instant::from_millis(12_345).to_string(), "+12.345s");
        assert_eq!(Instant::from_millis(5).since(Instant::from_millis(9)), 0);
        assert_eq!(Instant::from_millis(u64::MAX).after(1), Instant::from_millis(u64::MAX));
    }
}
