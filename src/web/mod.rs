//! The private ABI between the shim and the driver: numbers and strings, and objects only by reference. Not public API.

mod driver;
mod env;
mod events;
mod socket;
mod storage;

use crate::client::Client;
use crate::config::{Config, Options};
use crate::contract::{Input, Signal, Status};
use crate::error::{ApiMisuse, Fault};
use crate::outbox::Delivery;
use crate::protocol;
use crate::session::{Snapshot, Stored};
use crate::wire::{CloseCode, FrameId, Route, SocketId, View, push_number};
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use driver::Driver;
use env::Env;
use events::Events;
use socket::Socket;
use storage::Store;
use wasm_bindgen::prelude::*;

/// Set by the first panic, for good.
static DEAD: AtomicBool = AtomicBool::new(false);

#[wasm_bindgen]
extern "C" {
    /// Set by events.js: tells every line of this page.
    #[wasm_bindgen(js_name = moorlinePanicked)]
    fn panicked(text: &str);
    #[wasm_bindgen(js_namespace = Reflect)]
    fn get(object: &JsValue, key: &str) -> JsValue;
}

#[global_allocator]
static ALLOCATOR: lol_alloc::AssumeSingleThreaded<lol_alloc::FreeListAllocator> =
    // A page's wasm has one thread.
    unsafe { lol_alloc::AssumeSingleThreaded::new(lol_alloc::FreeListAllocator::new()) };

/// A bug of ours: said once, and nothing goes on.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    DEAD.store(true, Relaxed);
    #[cfg(feature = "panic-text")]
    panicked(&alloc::format!("{info}"));
    #[cfg(not(feature = "panic-text"))]
    {
        let mut text = String::from("a bug of moorline's, at ");
        if let Some(place) = info.location() {
            text.push_str(place.file());
            text.push(':');
            push_number(&mut text, u64::from(place.line()));
        }
        if let Some(message) = info.message().as_str() {
            text.push_str(": ");
            text.push_str(message);
        }
        panicked(&text);
    }
    core::arch::wasm32::unreachable()
}

/// A line as the shim holds it.
#[wasm_bindgen]
pub struct Handle {
    driver: Driver,
}

#[wasm_bindgen]
impl Handle {
    /// `values` are the options by their paths. Nothing where an option is malformed, which the shim has seen to.
    pub fn open(events: Events, socket: Socket, store: Store, env: Env, values: &JsValue, seed: f64) -> Option<Handle> {
        let config = Config::parse(Options { values: &Object(values), close_policy: Vec::new() }).ok()?;
        let protocol = protocol::create(&config);
        for row in protocol.routes() {
            socket.route(&row.frame_type, row.event.unwrap_or_default());
        }
        let client = Client::new(config, protocol, seed.to_bits());
        Some(Self { driver: Driver::new(client, socket, events, store, env) })
    }

    // From the page.

    /// The shim has checked both.
    pub fn disconnect(&self, code: u16, reason: String) {
        self.feed(Input::Disconnect { code: CloseCode(code), reason });
    }

    /// The next message in socket.js's array, of so many bytes. `delivery`: 0 queue, 1 drop, 2 latest (of `key`). Answers
    /// whether it was taken: 0, or 1 too large, 2 queue full.
    pub fn send(&self, bytes: u32, delivery: u32, ttl_ms: f64, key: Option<String>) -> u32 {
        let delivery = match delivery {
            0 => Delivery::Queue,
            1 => Delivery::Drop,
            _ => Delivery::Latest(key.unwrap_or_default().into()),
        };
        let ttl_ms = (!ttl_ms.is_nan()).then_some(ttl_ms);
        match self.driver.step(Input::Send { bytes, delivery, ttl_ms }) {
            Ok(()) => 0,
            Err(ApiMisuse::TooLarge) => 1,
            Err(_) => 2,
        }
    }

    /// The page's own word on the session.
    pub fn session(&self, token: Option<String>, client_id: Option<String>) {
        self.feed(Input::Session(token.map(|token| Snapshot { token, client_id })));
    }

    /// What a close code means to the page.
    pub fn policy(&self, code: u16, retry: bool) {
        self.driver.client().set_policy(CloseCode(code), retry);
    }

    pub fn retry(&self, base_ms: f64, max_ms: f64, max_attempts: f64) {
        self.driver.client().set_retry(base_ms, max_ms, max_attempts);
    }

    /// 0 idle, 1 connecting, 2 connected, 3 reconnecting, 4 closed.
    pub fn state(&self) -> u32 {
        match self.driver.client().status() {
            Status::Idle => 0,
            Status::Connecting => 1,
            Status::Connected => 2,
            Status::Reconnecting => 3,
            Status::Closed => 4,
        }
    }

    /// One of `COUNTED` in page.js; NaN where there is none.
    pub fn stat(&self, which: u32) -> f64 {
        let client = self.driver.client();
        let counters = client.counters();
        let (messages, bytes) = client.queue();
        let now = self.driver.clock.now();
        let millis = |ms: Option<u64>| ms.map_or(f64::NAN, |ms| ms as f64);
        match which {
            0 => f64::from(client.attempts()),
            1 => f64::from(messages),
            2 => bytes,
            3 => millis(client.waiting_since().map(|since| now.since(since))),
            4 => self.driver.socket.buffered().max(0.0),
            5 => counters.received,
            6 => counters.misbehaved,
            7 => f64::from(counters.sockets),
            8 => f64::from(counters.connections),
            9 => counters.rtt_ms.unwrap_or(f64::NAN),
            _ => millis(client.next_attempt().map(|at| at.since(now))),
        }
    }

    /// A line of text for each fact.
    pub fn explain(&self) -> String {
        self.driver.client().explain()
    }

    // From the JavaScript halves.

    /// The hot path: whether a frame may be delivered at once.
    pub fn admit(&self, socket: u32, route: u32) -> bool {
        self.driver.client().admit(SocketId(socket), Route(route))
    }

    /// Any other frame. Answers whether it is held back.
    pub fn received(&self, socket: u32, route: u32, key: u32, frame: &JsValue) -> bool {
        let (socket, route, frame_id) = (SocketId(socket), Route(route), FrameId(key));
        self.feed(Input::Received { socket, route, frame: frame_id, view: &Object(frame) });
        self.driver.client().holds_frames()
    }

    pub fn closed(&self, socket: u32, code: u16, clean: bool, buffered: f64, reason: String) {
        self.feed(Input::Closed { socket: SocketId(socket), code: CloseCode(code), reason, clean, buffered });
    }

    /// The url provider answered.
    pub fn resolved(&self, ticket: u32, token: Option<String>) {
        self.feed(Input::Resolved { ticket, answer: Ok(token) });
    }

    /// Something was stored.
    pub fn restored(&self, token: Option<String>, client_id: Option<String>, age_ms: Option<f64>) {
        self.feed(Input::Restored(Ok(Some(Stored { token, client_id, age_ms }))));
    }

    /// Whatever needs no more than a number: one of those in tell.js, and a socket or a ticket where one is concerned.
    pub fn tell(&self, what: u32, id: u32) {
        let socket = SocketId(id);
        self.feed(match what {
            0 => Input::Connect,
            1 => Input::Dispose,
            2 => return self.driver.ring(),
            3 => Input::Opened { socket },
            4 => Input::Garbled { socket, fault: Fault::Binary },
            5 => Input::Garbled { socket, fault: Fault::FrameTooLarge },
            6 => Input::Garbled { socket, fault: Fault::NotJson },
            7 => Input::Resolved { ticket: id, answer: Err(()) },
            8 => Input::Restored(Ok(None)),
            9 => Input::Restored(Err(Fault::StorageCorrupt)),
            10 => Input::Restored(Err(Fault::StorageDenied)),
            11 => Input::StorageDenied,
            12 => Input::Signal(Signal::Online),
            13 => Input::Signal(Signal::Offline),
            14 => Input::Signal(Signal::Visible),
            15 => Input::Signal(Signal::Restored),
            16 => Input::Signal(Signal::Resumed),
            _ => Input::Signal(Signal::PutAway),
        });
    }

    /// Breaks a promise of the core's on purpose.
    #[cfg(feature = "self-test")]
    #[wasm_bindgen(js_name = panicForTest)]
    pub fn panic_for_test(&self) {
        let _held = self.driver.client();
        panic!("a panic on purpose");
    }
}

impl Handle {
    fn feed(&self, input: Input<'_>) {
        // Only a page's command can be a misuse.
        let _ = self.driver.step(input);
    }
}

/// An object of the browser's, asked by name.
struct Object<'a>(&'a JsValue);

impl Object<'_> {
    fn get(&self, key: &str) -> JsValue {
        // Only objects are asked: what has a route has a type.
        get(self.0, key)
    }
}

impl View for Object<'_> {
    fn string(&self, key: &str) -> Option<String> {
        self.get(key).as_string()
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.get(key).as_f64()
    }

    fn boolean(&self, key: &str) -> Option<bool> {
        self.get(key).as_bool()
    }
}
