//! The private ABI between the shim and the driver: numbers and strings, and objects only by reference. Not public API.

mod driver;
mod env;
mod events;
mod socket;
mod storage;

use crate::client::Client;
use crate::config::{Config, Options};
use crate::contract::{Input, Signal};
use crate::error::Fault;
use crate::outbox::Delivery;
use crate::protocol::{self, Becomes};
use crate::session::{Cursor, Snapshot, Stored};
use crate::wire::{CloseCode, FrameId, Route, SocketId, View};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
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
    /// Set by events.js: what stands there in an object.
    #[wasm_bindgen(js_name = moorlineAt)]
    fn at(object: &JsValue, path: &str) -> JsValue;
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
            crate::wire::push_number(&mut text, u64::from(place.line()));
        }
        if let Some(message) = info.message().as_str() {
            text.push_str(": ");
            text.push_str(message);
        }
        panicked(&text);
    }
    core::arch::wasm32::unreachable()
}

/// The lines of this page, by number. A number and a free function cost a page less than a class with a destructor.
static LINES: Single<Vec<Option<Box<Driver>>>> = Single(UnsafeCell::new(Vec::new()));

/// Texts on their way in.
static TEXTS: Single<[Option<String>; 3]> = Single(UnsafeCell::new([None, None, None]));

struct Single<T>(UnsafeCell<T>);

// A page's wasm has one thread.
unsafe impl<T> Sync for Single<T> {}

/// `None` where the line was closed for good: whatever still calls has nobody to call.
#[inline(never)]
fn driver(line: u32) -> Option<&'static Driver> {
    // The box keeps its place while lines come; it goes by `free` alone, which the shim calls from an empty stack.
    let lines = unsafe { &*LINES.0.get() };
    lines.get(line as usize)?.as_deref()
}

/// Makes a line and answers its number. `values` are the options by their paths; negative where one of them is malformed,
/// which the shim has seen to.
#[wasm_bindgen]
pub fn open(events: Events, socket: Socket, store: Store, env: Env, values: &JsValue, seed: f64) -> i32 {
    let Ok(config) = Config::parse(Options { values: &Object(values), close_policy: Vec::new() }) else {
        return -1;
    };
    let Some(protocol) = protocol::create(&config, &Object(values)) else {
        return -1;
    };
    for row in protocol.routes() {
        let event = if let Becomes::Event(name) = row.event { name } else { "" };
        socket.route(&row.frame_type, event, row.event == Becomes::Delta);
    }
    for subprotocol in protocol.subprotocols() {
        socket.offer(subprotocol);
    }
    let client = Client::new(config, protocol, seed.to_bits());
    let driver = Box::new(Driver::new(client, socket, events, store, env));
    let lines = unsafe { &mut *LINES.0.get() };
    lines.push(Some(driver));
    lines.len() as i32 - 1
}

/// Any frame that is not admitted. Answers whether it is held back.
#[wasm_bindgen]
pub fn received(line: u32, socket: u32, route: u32, key: u32, frame: &JsValue) -> bool {
    let Some(driver) = driver(line) else {
        return false;
    };
    let (socket, route, frame_id) = (SocketId(socket), Route(route), FrameId(key));
    let input = Input::Received { socket, route, frame: frame_id, view: &Object(frame) };
    let _ = driver.step(input);
    driver.client().holds_frames()
}

/// A line of text for each fact.
#[wasm_bindgen]
pub fn explain(line: u32) -> String {
    driver(line).map(|driver| driver.client().explain()).unwrap_or_default()
}

/// Puts a text where the next `tell` looks for it.
#[wasm_bindgen]
pub fn text(place: usize, text: Option<String>) {
    let texts = unsafe { &mut *TEXTS.0.get() };
    if let Some(slot) = texts.get_mut(place) {
        *slot = text;
    }
}

// What follows crosses with numbers alone, and wasm-bindgen's wrapping would cost more than it does.

/// The hot path: whether a frame may be delivered at once.
#[unsafe(no_mangle)]
pub extern "C" fn admit(line: u32, socket: u32, route: u32, order: f64) -> bool {
    driver(line).is_some_and(|driver| driver.client().admit(SocketId(socket), Route(route), order))
}

/// Everything else: `what` is one of those in rust.js, which says what the numbers are. Answers 1 for a message that was
/// not taken.
#[unsafe(no_mangle)]
pub extern "C" fn tell(line: u32, what: u32, a: u32, b: u32, x: f64) -> u32 {
    let Some(driver) = driver(line) else {
        return 1;
    };
    let [first, second, third] = core::mem::take(unsafe { &mut *TEXTS.0.get() });
    let socket = SocketId(a);
    let input = match what {
        0 => Input::Connect,
        1 => Input::Dispose,
        2 => {
            driver.ring();
            return 0;
        }
        3 => Input::Opened { socket, subprotocol: first.unwrap_or_default() },
        4 => Input::Garbled { socket, fault: Fault::Binary },
        5 => Input::Garbled { socket, fault: Fault::FrameTooLarge },
        6 => Input::Garbled { socket, fault: Fault::NotJson },
        7 => Input::Resolved { ticket: a, answer: Err(()) },
        8 => Input::Restored(Ok(None)),
        9 => Input::Restored(Err(Fault::StorageCorrupt)),
        10 => Input::Restored(Err(Fault::StorageDenied)),
        11 => Input::StorageDenied,
        12 => Input::Signal(Signal::Online),
        13 => Input::Signal(Signal::Offline),
        14 => Input::Signal(if a == 0 { Signal::Visible } else { Signal::Hidden }),
        15 => Input::Signal(Signal::Restored),
        16 => Input::Signal(Signal::Resumed),
        17 => Input::Signal(Signal::PutAway),
        18 => Input::Send {
            bytes: a,
            delivery: match b {
                0 => Delivery::Queue,
                1 => Delivery::Drop,
                _ => Delivery::Latest(first.unwrap_or_default().into()),
            },
            ttl_ms: given(x),
        },
        19 => Input::Closed {
            socket,
            code: CloseCode(b as u16),
            reason: first.unwrap_or_default(),
            clean: b > 0xffff,
            buffered: x,
        },
        20 => Input::Disconnect { code: CloseCode(a as u16), reason: first.unwrap_or_default() },
        21 => Input::Resolved { ticket: a, answer: Ok(first) },
        22 => {
            let seen = f64::from(a) + f64::from(b) * 4_294_967_296.0;
            let cursor = third.map(|epoch| Cursor { epoch, seen });
            Input::Restored(Ok(Some(Stored { token: first, client_id: second, cursor, age_ms: given(x) })))
        }
        23 => Input::Session(first.map(|token| Snapshot { token, client_id: second, cursor: None })),
        24 => {
            driver.client().set_policy(CloseCode(a as u16), b != 0);
            return 0;
        }
        #[cfg(feature = "handles")]
        26 => {
            let Some(verb) = protocol::Verb::numbered(b) else {
                return 1;
            };
            let texts = [first, second, third];
            Input::Command(protocol::Command { verb, handle: crate::wire::Handle(a), texts, number: given(x) })
        }
        #[cfg(feature = "handles")]
        27 => Input::Answered { ticket: a, texts: [first, second, third] },
        28 => Input::Adopt { stream: first.unwrap_or_default(), base: a, tried: b },
        29 => Input::Skipped { count: a },
        30 => Input::Kept { bytes: a, ttl_ms: given(x), key: first },
        31 => Input::Clear,
        32 => Input::Renew,
        _ => {
            driver.client().set_retry(f64::from(a), f64::from(b), x);
            return 0;
        }
    };
    let done = match input {
        Input::Connect | Input::Dispose | Input::Disconnect { .. } | Input::Signal(_) => {
            driver.step_after_a_look(input)
        }
        _ => driver.step(input),
    };
    u32::from(done.is_err())
}

/// One of `COUNTED` in page.js; NaN where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn stat(line: u32, which: u32) -> f64 {
    let Some(driver) = driver(line) else {
        return f64::NAN;
    };
    let client = driver.client();
    let counters = client.counters();
    let (messages, bytes) = client.queue();
    let now = driver.clock.now();
    let millis = |ms: Option<u64>| ms.map_or(f64::NAN, |ms| ms as f64);
    match which {
        0 => f64::from(client.attempts()),
        1 => f64::from(messages),
        2 => bytes,
        3 => millis(client.waiting_since().map(|since| now.since(since))),
        4 => driver.socket.buffered().max(0.0),
        5 => counters.received,
        6 => counters.misbehaved,
        7 => f64::from(counters.sockets),
        8 => f64::from(counters.connections),
        9 => counters.rtt_ms.unwrap_or(f64::NAN),
        10 => counters.repeated,
        11 => f64::from(client.unacknowledged()),
        12 => millis(client.next_attempt().map(|at| at.since(now))),
        // 0 idle, 1 connecting, 2 connected, 3 reconnecting, 4 closed.
        _ => f64::from(client.status() as u8),
    }
}

/// Frees what a line holds. Nothing of it may be on the stack.
#[unsafe(no_mangle)]
pub extern "C" fn free(line: u32) {
    let lines = unsafe { &mut *LINES.0.get() };
    if let Some(driver) = lines.get_mut(line as usize) {
        *driver = None;
    }
}

/// Breaks a promise of the core's on purpose.
#[cfg(feature = "self-test")]
#[unsafe(no_mangle)]
pub extern "C" fn panic_for_test(line: u32) {
    let _held = driver(line).map(Driver::client);
    panic!("a panic on purpose");
}

fn given(x: f64) -> Option<f64> {
    (!x.is_nan()).then_some(x)
}

/// An object of the browser's, asked by name.
struct Object<'a>(&'a JsValue);

impl View for Object<'_> {
    fn string(&self, path: &str) -> Option<String> {
        at(self.0, path).as_string()
    }

    fn number(&self, path: &str) -> Option<f64> {
        at(self.0, path).as_f64()
    }

    fn boolean(&self, path: &str) -> Option<bool> {
        at(self.0, path).as_bool()
    }

    fn has(&self, path: &str) -> bool {
        !at(self.0, path).is_undefined()
    }
}
