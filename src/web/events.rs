//! `Event` → `CustomEvent` on the page's target. The page's code runs in here: no borrow may be held by a caller.

use crate::protocol::Event;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// The class of that name in events.js.
    pub type Events;

    #[wasm_bindgen(method)]
    fn frame(this: &Events, route: u32, key: u32);
    #[wasm_bindgen(method)]
    fn unhandled(this: &Events, key: u32);
    #[wasm_bindgen(method)]
    fn connected(this: &Events, attempt: u32, recovered: bool);
    #[wasm_bindgen(method)]
    fn disconnected(this: &Events, code: u16, reason: &str, clean: bool, will_reconnect: bool, cause: &str);
    #[wasm_bindgen(method)]
    fn reconnecting(this: &Events, attempt: u32, delay_ms: f64, cause: &str);
    #[wasm_bindgen(method)]
    fn failed(this: &Events, cause: &str, code: u16, attempts: u32, key: u32);
    #[wasm_bindgen(method)]
    fn fault(this: &Events, code: &str, count: u32);
    #[cfg(feature = "delivery")]
    #[wasm_bindgen(method)]
    fn resumed(this: &Events, from: f64, to: f64);
    #[cfg(feature = "delivery")]
    #[wasm_bindgen(method)]
    fn gap(this: &Events, from: f64, to: f64, reason: &str);
    /// Tells a handle.
    #[cfg(feature = "handles")]
    #[wasm_bindgen(method)]
    pub fn told(this: &Events, handle: u32, word: u32, key: u32, number: f64, text: &str);
}

impl Events {
    pub fn tell(&self, event: Event) {
        match event {
            Event::Frame { route, frame } => self.frame(route.0, frame.0),
            Event::Unhandled { frame } => self.unhandled(frame.0),
            Event::Connected { attempt, recovered } => self.connected(attempt, recovered),
            Event::Disconnected { code, reason, clean, will_reconnect, cause } => {
                self.disconnected(code.0, &reason, clean, will_reconnect, cause.name());
            }
            Event::Reconnecting { attempt, delay_ms, cause } => {
                self.reconnecting(attempt, delay_ms as f64, cause.name());
            }
            Event::Failed { cause, code, attempts, frame } => self.failed(cause.name(), code.0, attempts, frame.0),
            #[cfg(feature = "delivery")]
            Event::Resumed { from, to } => self.resumed(from, to),
            #[cfg(feature = "delivery")]
            Event::Gap { from, to, reason } => self.gap(from, to, &reason),
            Event::Fault { fault, count } => self.fault(fault.code(), count),
        }
    }
}
