//! How long to wait before the next attempt, and the small seeded generator behind the jitter.
//!
//! Whether there is a next attempt is the client's decision.

/// How the waits between attempts grow. Exponential, and jittered over the whole of the wait ("full jitter"): a crowd
/// that lost its server together then comes back spread out.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub base_ms: f64,
    pub max_ms: f64,
    pub factor: f64,
    pub jitter: bool,
}

impl Backoff {
    /// The longest wait after so many failures in a row; the first failure has number 1.
    pub fn ceiling_ms(&self, failures: u32) -> f64 {
        let mut ceiling = self.base_ms;
        for _ in 1..failures {
            // Stops as soon as more doubling changes nothing, so that a million failures cost nothing.
            if ceiling >= self.max_ms || self.factor <= 1.0 {
                break;
            }
            ceiling *= self.factor;
        }
        ceiling.min(self.max_ms)
    }

    /// The wait after so many failures in a row, in whole milliseconds.
    pub fn delay_ms(&self, failures: u32, chance: &mut Chance) -> u64 {
        let ceiling = self.ceiling_ms(failures);
        if self.jitter { chance.below(ceiling) } else { ceiling as u64 }
    }
}

/// A seeded generator (splitmix64). Good enough to spread waits; not for secrets.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A whole number from 0 up to, but without, `top` (0 where `top` is below 1).
    pub fn below(&mut self, top: f64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // 53 bits make a double in [0, 1) without rounding up to 1.
        ((z >> 11) as f64 / (1u64 << 53) as f64 * top) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Backoff = Backoff { base_ms: 4000.0, max_ms: 30_000.0, factor: 2.0, jitter: true };

    #[test]
    fn the_ceiling_doubles_up_to_the_cap_and_stays_there() {
        let ceilings: Vec<_> = (1..=6).map(|n| DEFAULT.ceiling_ms(n)).collect();
        assert_eq!(ceilings, [4000.0, 8000.0, 16_000.0, 30_000.0, 30_000.0, 30_000.0]);
        assert_eq!(DEFAULT.ceiling_ms(u32::MAX), 30_000.0);
    }

    #[test]
    fn full_jitter_fills_the_whole_of_the_wait_and_never_leaves_it() {
        let mut chance = Chance::new(7);
        let waits: Vec<_> = (0..10_000).map(|_| DEFAULT.delay_ms(1, &mut chance)).collect();
        assert!(waits.iter().all(|wait| *wait < 4000));
        for tenth in 0..10 {
            let hits = waits.iter().filter(|wait| **wait / 400 == tenth).count();
            assert!((850..1150).contains(&hits), "tenth {tenth}: {hits}");
        }
    }

    #[test]
    fn without_jitter_the_wait_is_the_ceiling() {
        let plain = Backoff { jitter: false, ..DEFAULT };
        assert_eq!(plain.delay_ms(2, &mut Chance::new(0)), 8000);
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let (mut a, mut b) = (Chance::new(42), Chance::new(42));
        for _ in 0..100 {
            assert_eq!(a.below(1e6), b.below(1e6));
        }
        assert_eq!(Chance::new(1).below(0.0), 0);
    }
}
