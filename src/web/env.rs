//! What the surroundings offer: a clock that survives sleep, entropy, one timer, the url provider, signals.

use crate::time::Instant;
use core::cell::Cell;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// The class of that name in env.js.
    pub type Env;

    #[wasm_bindgen(method)]
    pub fn resolve(this: &Env, ticket: u32);
    /// Asks the page's half of the protocol.
    #[cfg(feature = "handles")]
    #[wasm_bindgen(method)]
    pub fn ask(this: &Env, ticket: u32, what: &str, text: &str);
    /// The one timer: replaces what was set; a negative wait sets none.
    #[wasm_bindgen(method)]
    fn arm(this: &Env, wait_ms: i32);
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
    #[wasm_bindgen(js_namespace = Date, js_name = now)]
    fn date_now() -> f64;
}

/// Milliseconds since the driver was made. `performance.now()` may stand still while a machine sleeps; what the wall
/// clock saw meanwhile is added.
pub struct Clock {
    monotonic: f64,
    /// What the wall clock has over the other, less sleep.
    ahead: Cell<f64>,
    slept: Cell<f64>,
    jumped: Cell<bool>,
    last: Cell<Instant>,
}

/// A smaller difference between the two clocks is drift, not sleep.
const SLEEP_MS: f64 = 1000.0;

impl Clock {
    pub fn start() -> Self {
        Self {
            monotonic: performance_now(),
            ahead: Cell::new(date_now() - performance_now()),
            slept: Cell::new(0.0),
            jumped: Cell::new(false),
            last: Cell::new(Instant::default()),
        }
    }

    pub fn now(&self) -> Instant {
        let monotonic = performance_now();
        let ahead = date_now() - monotonic;
        let missed = ahead - self.ahead.get();
        if missed > SLEEP_MS {
            self.slept.set(self.slept.get() + missed);
            self.jumped.set(true);
        }
        // A wall clock that is set back hides no sleep that comes after.
        if !(0.0..=SLEEP_MS).contains(&missed) {
            self.ahead.set(ahead);
        }
        let now = Instant::from_millis((monotonic - self.monotonic + self.slept.get()) as u64).max(self.last.get());
        self.last.set(now);
        now
    }

    /// Whether there was sleep, or what looks like it, since this was asked last.
    pub fn has_jumped(&self) -> bool {
        self.jumped.replace(false)
    }

    /// The last instant that was asked for: for what only needs an order.
    pub fn last(&self) -> Instant {
        self.last.get()
    }
}

/// The one timer.
#[derive(Default)]
pub struct Alarm {
    armed: Cell<Option<Instant>>,
}

/// `setTimeout` takes a longer wait for none at all.
const LONGEST_MS: u64 = i32::MAX as u64;

impl Alarm {
    pub fn arm(&self, env: &Env, now: Instant, at: Option<Instant>) {
        if self.armed.replace(at) != at {
            env.arm(at.map_or(-1, |at| at.since(now).min(LONGEST_MS) as i32));
        }
    }

    /// It rang: the next `arm` sets it, whatever for.
    pub fn rang(&self) {
        self.armed.set(None);
    }
}
