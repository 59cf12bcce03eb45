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
use crate::wire::{CloseCode, FrameId, Route, SocketId, View};
use driver::Driver;
use env::Env;
use events::Events;
use socket::Socket;
use std::iter;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use storage::Store;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| {
        #[cfg(feature = "console-panic")]
        console_error_panic_hook::hook(info);
        DEAD.store(true, Relaxed);
        events::panicked(&info.to_string());
    }));
}

/// After a panic nothing of the core can be trusted: what still comes from the browser is not looked at.
static DEAD: AtomicBool = AtomicBool::new(false);

/// A line as the shim holds it.
#[wasm_bindgen]
pub struct Handle {
    driver: Rc<Driver>,
}

#[wasm_bindgen]
impl Handle {
    /// `page` is what the shim knows: `{line, target, url, storage, key, wildcard, ErrorType}`; `values` the options by
    /// their paths; `routes` frame types and event names in turn; `policy` close codes, negative where they are fatal.
    #[wasm_bindgen(constructor)]
    pub fn new(
        page: &JsValue,
        values: &JsValue,
        routes: Vec<String>,
        policy: Vec<i32>,
        seed: f64,
    ) -> Result<Handle, JsValue> {
        let of = |key: &str| Object(page).get(key);
        let mut words = routes.into_iter();
        let routes = iter::from_fn(|| Some((words.next()?, words.next()?))).collect();
        let close_policy = policy.into_iter().map(|code| (CloseCode(code.unsigned_abs() as u16), code > 0)).collect();
        let config = Config::parse(Options { values: &Object(values), routes, close_policy }).map_err(thrown)?;
        let max_frame_bytes = config.max_frame_bytes;
        let max_attempts = config.max_attempts;
        let protocol = protocol::create(&config);
        let client = Client::new(config, protocol, seed.to_bits());
        let events = Events::new(&of("line"), &of("target"), &of("ErrorType"), of("wildcard"));
        let rows = client.routes();
        events.set_routes(&rows);
        let socket = Socket::new(&events, max_frame_bytes, rows.into_iter().map(|row| row.frame_type));
        let key = of("key").as_string().unwrap_or_default();
        let store = Store::new(of("storage"), &key, &events);
        let env = Env::new(of("url"), &events);
        Ok(Self { driver: Rc::new(Driver::new(client, socket, events, store, env, max_attempts)) })
    }

    /// Tells the driver what the page holds, for what calls back.
    pub fn bind(&self, handle: JsValue) {
        self.driver.env.listen(&handle);
        self.driver.bind(handle);
    }

    // From the page.

    pub fn connect(&self) {
        self.feed(Input::Connect);
    }

    pub fn disconnect(&self, code: u16, reason: String) -> Result<(), JsValue> {
        let code = CloseCode(code);
        self.driver.step(Input::Disconnect { code, reason }).map_err(thrown)
    }

    /// Keeps `text` for `receipt`. `delivery`: 0 queue, 1 drop, 2 latest (of `key`).
    pub fn send(
        &self,
        text: JsValue,
        receipt: JsValue,
        bytes: u32,
        delivery: u32,
        key: Option<String>,
        ttl_ms: Option<f64>,
    ) -> Result<(), JsValue> {
        let delivery = match (delivery, key) {
            (1, _) => Delivery::Drop,
            (2, key) => Delivery::Latest(key.unwrap_or_default().into()),
            _ => Delivery::Queue,
        };
        let hot = &self.driver.socket.hot;
        hot.keep(text, receipt);
        self.driver.step(Input::Send { bytes, delivery, ttl_ms }).map_err(|misuse| {
            hot.unkeep();
            thrown(misuse)
        })
    }

    #[wasm_bindgen(js_name = saveSession)]
    pub fn save_session(&self, data: JsValue, token: Option<String>, client_id: Option<String>) {
        self.driver.store.save(data, &self.driver.handle());
        self.feed(Input::Session(token.map(|token| Snapshot { token, client_id })));
    }

    #[wasm_bindgen(js_name = clearSession)]
    pub fn clear_session(&self) {
        self.driver.store.clear(&self.driver.handle());
        self.feed(Input::Session(None));
    }

    pub fn retry(&self, base_ms: f64, max_ms: f64, max_attempts: f64) {
        self.driver.max_attempts.set(max_attempts);
        self.driver.client.borrow_mut().set_retry(base_ms, max_ms, max_attempts);
    }

    pub fn dispose(&self) {
        self.feed(Input::Dispose);
        self.driver.socket.forget();
        self.driver.env.dispose();
        self.driver.events.dispose();
        // The page's handle and ours would hold each other for ever.
        self.driver.bind(JsValue::UNDEFINED);
    }

    /// 0 idle, 1 connecting, 2 connected, 3 reconnecting, 4 closed.
    pub fn state(&self) -> u32 {
        match self.driver.client.borrow().status() {
            Status::Idle => 0,
            Status::Connecting => 1,
            Status::Connected => 2,
            Status::Reconnecting => 3,
            Status::Closed => 4,
        }
    }

    /// What is NaN is left out.
    pub fn stats(&self) -> JsValue {
        let client = self.driver.client.borrow();
        let counters = client.counters();
        let (queue_messages, queue_bytes) = client.queue();
        let now = self.driver.clock.now();
        let millis = |ms: Option<u64>| ms.map_or(f64::NAN, |ms| ms as f64);
        let stats = js_sys::Object::new();
        for (key, value) in [
            ("attempts", f64::from(client.attempts())),
            ("queueMessages", f64::from(queue_messages)),
            ("queueBytes", queue_bytes),
            ("oldestWaitsMs", millis(client.waiting_since().map(|since| now.since(since)))),
            ("bufferedBytes", self.driver.socket.buffered().map_or(0.0, |held| held.1)),
            ("received", counters.received),
            ("misbehaved", counters.misbehaved),
            ("sockets", f64::from(counters.sockets)),
            ("connections", f64::from(counters.connections)),
            ("rttMs", counters.rtt_ms.unwrap_or(f64::NAN)),
            ("nextAttemptInMs", millis(client.next_attempt().map(|at| at.since(now)))),
        ] {
            if !value.is_nan() {
                // A fresh object takes any property.
                let _ = js_sys::Reflect::set(&stats, &key.into(), &value.into());
            }
        }
        stats.into()
    }

    pub fn explain(&self) -> Vec<String> {
        self.driver.client.borrow().explain()
    }

    /// `{events, store, socket}`: the JavaScript halves, for the shim.
    pub fn halves(&self) -> Vec<JsValue> {
        let driver = &self.driver;
        vec![driver.events.clone(), driver.store.clone(), driver.socket.hot.clone()]
    }

    // From the JavaScript halves.

    /// The hot path: whether a frame may be delivered at once.
    pub fn admit(&self, socket: u32, route: u32) -> bool {
        self.driver.client.borrow_mut().admit(SocketId(socket), Route(route))
    }

    /// Any other frame. Answers whether it is held back.
    pub fn received(&self, socket: u32, route: u32, key: u32, frame: &JsValue) -> bool {
        self.feed(Input::Received {
            socket: SocketId(socket),
            route: Route(route),
            frame: FrameId(key),
            view: &Object(frame),
        });
        self.driver.client.borrow().holds_frames()
    }

    /// `fault`: 0 binary, 1 too large, 2 not JSON.
    pub fn garbled(&self, socket: u32, fault: u32) {
        let socket = SocketId(socket);
        let fault = match fault {
            0 => Fault::Binary,
            1 => Fault::FrameTooLarge,
            _ => Fault::NotJson,
        };
        self.feed(Input::Garbled { socket, fault });
    }

    pub fn opened(&self, socket: u32) {
        let socket = SocketId(socket);
        self.feed(Input::Opened { socket });
    }

    pub fn closed(&self, socket: u32, code: u16, clean: bool, buffered: f64, reason: String) {
        self.feed(Input::Closed { socket: SocketId(socket), code: CloseCode(code), reason, clean, buffered });
    }

    pub fn resolved(&self, ticket: u32, token: Option<String>) {
        let answer = Ok(token);
        self.feed(Input::Resolved { ticket, answer });
    }

    pub fn unresolved(&self, ticket: u32) {
        let answer = Err(());
        self.feed(Input::Resolved { ticket, answer });
    }

    pub fn restored(&self, token: Option<String>, client_id: Option<String>, age_ms: Option<f64>) {
        let stored = Stored { token, client_id, age_ms };
        self.feed(Input::Restored(Ok(Some(stored))));
    }

    pub fn restored_nothing(&self) {
        self.feed(Input::Restored(Ok(None)));
    }

    pub fn restore_failed(&self, corrupt: bool) {
        self.feed(Input::Restored(Err(if corrupt { Fault::StorageCorrupt } else { Fault::StorageDenied })));
    }

    pub fn storage_denied(&self) {
        self.feed(Input::StorageDenied);
    }

    pub fn signal(&self, signal: u32) {
        self.feed(Input::Signal(match signal {
            0 => Signal::Online,
            1 => Signal::Offline,
            2 => Signal::Visible,
            3 => Signal::Restored,
            4 => Signal::Resumed,
            _ => Signal::PutAway,
        }));
    }

    /// Breaks a promise of the core's on purpose.
    #[cfg(feature = "self-test")]
    #[wasm_bindgen(js_name = panicForTest)]
    pub fn panic_for_test(&self) {
        let _held = self.driver.client.borrow_mut();
        panic!("a panic on purpose");
    }
}

impl Handle {
    fn feed(&self, input: Input<'_>) {
        if DEAD.load(Relaxed) {
            return;
        }
        // Only a page's command can be a misuse.
        let _ = self.driver.step(input);
    }
}

/// A frame of the browser's, asked by name.
struct Object<'a>(&'a JsValue);

impl Object<'_> {
    fn get(&self, key: &str) -> JsValue {
        js_sys::Reflect::get(self.0, &key.into()).unwrap_or(JsValue::UNDEFINED)
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

/// `[code, message]`: the shim makes a `MoorlineError` of it.
fn thrown(misuse: ApiMisuse) -> JsValue {
    let pair = js_sys::Array::new();
    pair.push(&misuse.code().into());
    pair.push(&misuse.message().into());
    pair.into()
}
