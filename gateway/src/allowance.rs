//! How many frames a client may send: a bucket that fills at the allowed rate. What happens when it is
//! empty is world.rs.

use crate::sessions::Time;

/// Only a flood that lasts is a flood: what was queued while a client was away may come at once.
const BURST_SECONDS: u64 = 10;

/// A bucket of frames. A rate of 0 is no limit.
pub struct Allowance {
    frames: u64,
    at: Time,
}

impl Allowance {
    pub fn new(now: Time, rate: u64) -> Self {
        Self { frames: rate.saturating_mul(BURST_SECONDS), at: now }
    }

    /// Takes one frame out; false when there is none.
    pub fn spend(&mut self, now: Time, rate: u64) -> bool {
        if rate == 0 {
            return true;
        }
        let earned = now.0.saturating_sub(self.at.0).saturating_mul(rate) / 1_000;
        if earned > 0 {
            let full = rate.saturating_mul(BURST_SECONDS);
            self.frames = self.frames.saturating_add(earned).min(full);
            self.at = now;
        }
        match self.frames.checked_sub(1) {
            Some(left) => {
                self.frames = left;
                true
            }
            None => false,
        }
    }
}
