//! The real client inside the least of a driver: performs outputs in order, lets listeners call back in the middle, and
//! writes down all that could be seen from outside. No network lives here: that is the `Browser`'s part.

use crate::dialect::Dialect;
use moorline::config::{Config, Options};
use moorline::error::{ApiMisuse, Fault};
use moorline::outbox::{Delivery, Fate};
use moorline::protocol::{self, Act, Becomes, Event, Protocol, RouteRow, Word};
use moorline::session::{Snapshot, Stored};
use moorline::time::Instant;
use moorline::wire::{CloseCode, FrameId, Handle, Route, SocketId, View};
use moorline::{Client, Input, Output, Signal};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};

/// What a page can ask for.
#[derive(Clone, Debug)]
pub enum Ask {
    Connect,
    Disconnect,
    Dispose,
    Send { text: String, delivery: Delivery, ttl_ms: Option<f64> },
}

/// What surrounds the client in a page, less the page itself.
pub trait Browser {
    /// What the storage answers, if it answers at once.
    fn restore(&mut self, now: u64) -> Option<Result<Option<Stored>, Fault>>;
    /// What the url provider answers, if it answers at once.
    fn resolve(&mut self, now: u64, ticket: u32) -> Option<Result<Option<String>, ()>>;
    fn open(&mut self, now: u64, socket: SocketId);
    /// Whether the socket took it. `id` is that of the message; a control frame has none.
    fn write(&mut self, now: u64, socket: SocketId, id: Option<u32>, text: &str) -> bool;
    fn buffered(&self, socket: SocketId) -> f64;
    fn close(&mut self, now: u64, socket: SocketId);
    fn persist(&mut self, now: u64, snapshot: Option<&Snapshot>);
    /// What a listener of the page does on hearing an event.
    fn listen(&mut self, name: &str, detail: &Value) -> Vec<Ask>;
}

/// What could be seen from outside, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Restore,
    Resolve(u32),
    Open(u32, String),
    Transmit(u32, String),
    Sent(u32, u32, String),
    Close(u32, u16, String),
    Persist(Option<Snapshot>),
    Settled { id: u32, fate: Fate, by_choice: bool },
    Event { name: String, detail: Value },
    Told { handle: Handle, word: Word, number: f64, text: String, frame: Option<Value> },
    Bind(String, Option<Handle>),
    Ask(u32, &'static str, String),
}

pub struct Line<B> {
    pub client: Client,
    pub browser: B,
    pub now: u64,
    /// When the one timer rings.
    pub due: Option<u64>,
    pub seen: Vec<(u64, Seen)>,
    /// Every fate of every message, for ever.
    pub fates: BTreeMap<u32, Vec<Fate>>,
    /// Ids of accepted messages start at 0 and leave no gap; this is the next.
    pub next_message: u32,
    released: u32,
    texts: BTreeMap<u32, String>,
    frames: BTreeMap<u32, Value>,
    next_frame: u32,
    routes: Vec<RouteRow>,
    dialect: Dialect,
    topics: BTreeMap<String, Handle>,
    latest_socket: Option<SocketId>,
    trailing_socket: Option<SocketId>,
    latest_ticket: u32,
    numbered: bool,
    draining: bool,
}

impl<B: Browser> Line<B> {
    pub fn new(options: &str, seed: u64, browser: B) -> Self {
        let values = values(options);
        let config = config(options);
        let name = values.string("protocol").unwrap_or_else(|| "nexus".into());
        let protocol = protocol::create(&config, &values).expect("a protocol of that name");
        Self::over(config, protocol, Dialect::of(&name), seed, browser)
    }

    pub fn over(config: Config, protocol: Box<dyn Protocol>, dialect: Dialect, seed: u64, browser: B) -> Self {
        let client = Client::new(config, protocol, seed);
        Self {
            routes: client.routes(),
            dialect,
            topics: BTreeMap::new(),
            client,
            browser,
            now: 0,
            due: None,
            seen: Vec::new(),
            fates: BTreeMap::new(),
            next_message: 0,
            released: 0,
            texts: BTreeMap::new(),
            frames: BTreeMap::new(),
            next_frame: 0,
            latest_socket: None,
            trailing_socket: None,
            latest_ticket: 0,
            numbered: false,
            draining: false,
        }
    }

    pub fn feed(&mut self, input: Input<'_>) -> Result<(), ApiMisuse> {
        let now = Instant::from_millis(self.now);
        self.client.handle(now, input)?;
        self.drain();
        Ok(())
    }

    pub fn ask(&mut self, ask: Ask) -> Result<(), ApiMisuse> {
        match ask {
            Ask::Connect => {
                self.look_at_the_buffer();
                self.feed(Input::Connect)
            }
            Ask::Disconnect => self.disconnect(1000, ""),
            Ask::Dispose => {
                self.look_at_the_buffer();
                self.feed(Input::Dispose)
            }
            Ask::Send { text, delivery, ttl_ms } => self.send(text, delivery, ttl_ms),
        }
    }

    pub fn disconnect(&mut self, code: u16, reason: &str) -> Result<(), ApiMisuse> {
        self.feed(Input::Disconnect { code: CloseCode(code), reason: reason.into() })
    }

    pub fn send(&mut self, text: String, delivery: Delivery, ttl_ms: Option<f64>) -> Result<(), ApiMisuse> {
        let bytes = u32::try_from(text.len()).expect("a short text");
        let id = self.next_message;
        // Kept before the core decides on it, as in the page: it may be handed over at once.
        self.texts.insert(id, text);
        self.next_message += 1;
        let sent = self.feed(Input::Send { bytes, delivery, ttl_ms });
        if sent.is_err() {
            self.texts.remove(&id);
            self.next_message -= 1;
        }
        sent
    }

    /// What an earlier visit has kept begins here: the first id, and the first that was never handed over.
    pub fn adopt(&mut self, stream: &str, base: u32, tried: u32) {
        self.next_message = base;
        self.released = base;
        self.obey(Input::Adopt { stream: stream.into(), base, tried });
    }

    pub fn keep(&mut self, text: String, ttl_ms: Option<f64>) {
        let bytes = u32::try_from(text.len()).expect("a short text");
        self.texts.insert(self.next_message, text);
        self.next_message += 1;
        self.obey(Input::Kept { bytes, ttl_ms, key: None });
    }

    /// What has been accepted and may be needed still, by id.
    pub const fn texts(&self) -> &BTreeMap<u32, String> {
        &self.texts
    }

    pub fn skip(&mut self, count: u32) {
        self.next_message += count;
        self.obey(Input::Skipped { count });
    }

    pub fn signal(&mut self, signal: Signal) {
        self.look_at_the_buffer();
        self.obey(Input::Signal(signal));
    }

    pub fn renew(&mut self) {
        self.look_at_the_buffer();
        self.obey(Input::Renew);
    }

    /// Rings the timer.
    pub fn ring(&mut self) {
        self.look_at_the_buffer();
        self.obey(Input::Timeout);
    }

    /// Before anything on which the core may give up a socket: what the browser holds is known to it only as of the last
    /// time it was told.
    fn look_at_the_buffer(&mut self) {
        if let Some(socket) = self.latest_socket {
            let buffered = self.browser.buffered(socket);
            self.obey(Input::Buffered { socket, buffered });
        }
    }

    pub fn opened(&mut self, socket: SocketId) {
        self.opened_with(socket, "");
    }

    pub fn opened_with(&mut self, socket: SocketId, subprotocol: &str) {
        self.obey(Input::Opened { socket, subprotocol: subprotocol.into() });
    }

    pub fn closed(&mut self, socket: SocketId, code: u16, reason: &str, clean: bool) {
        self.trailing_socket.take_if(|trailing| *trailing == socket);
        if self.latest_socket == Some(socket) && self.trailing_socket.is_some() {
            self.latest_socket = self.trailing_socket.take();
        }
        let buffered = self.browser.buffered(socket);
        self.obey(Input::Closed { socket, code: CloseCode(code), reason: reason.into(), clean, buffered });
    }

    /// A text message from the server, by the way that the page takes: parse, look up the route, ask the core.
    pub fn received(&mut self, socket: SocketId, text: &str) {
        let Some(frames) = (self.dialect.parse)(text) else {
            let fault = Fault::NotJson;
            self.obey(Input::Garbled { socket, fault });
            return;
        };
        for frame in frames {
            self.sort(socket, frame);
        }
    }

    fn sort(&mut self, socket: SocketId, frame: Value) {
        let frame_type = (self.dialect.frame_type)(&frame);
        let row = frame_type.and_then(|t| self.routes.iter().position(|r| r.frame_type == t));
        let wild = self.dialect.wildcard.and(frame_type).map(|_| self.routes.len());
        let route = row.or(wild).map_or(Route::NONE, |row| Route(row as u32 + 1));
        let is_delta = row.is_some_and(|row| self.routes[row].event == Becomes::Delta);
        let order = if self.numbered { number_of(&frame) } else { (self.dialect.order)(&frame) };
        let topic = (self.dialect.topic)(&frame);
        let handle = match is_delta {
            true if self.dialect.results => Some(Handle(order as u32)),
            true => topic.and_then(|topic| self.topics.get(topic)).copied(),
            false => None,
        };
        let somebodys = !is_delta || handle.is_some();
        if route != Route::NONE && somebodys && self.client.admit(socket, route, order) {
            match handle {
                Some(handle) => self.saw(Seen::Told {
                    handle,
                    word: if self.dialect.results { Word::Result } else { Word::Delta },
                    number: 0.0,
                    text: String::new(),
                    frame: Some(frame),
                }),
                None => self.deliver(route, frame),
            }
            return;
        }
        self.next_frame += 1;
        let key = FrameId(self.next_frame);
        self.frames.insert(key.0, frame.clone());
        self.obey(Input::Received { socket, route, frame: key, view: &frame });
        if !self.client.holds_frames() {
            self.frames.clear();
        }
    }

    pub const fn latest_ticket(&self) -> u32 {
        self.latest_ticket
    }

    pub fn events(&self) -> impl Iterator<Item = (u64, &str, &Value)> {
        self.seen.iter().filter_map(|(at, seen)| match seen {
            Seen::Event { name, detail } => Some((*at, name.as_str(), detail)),
            _ => None,
        })
    }

    /// Whatever comes from elsewhere than the page cannot be a misuse.
    pub fn obey(&mut self, input: Input<'_>) {
        self.feed(input).expect("only a page can misuse");
    }

    fn drain(&mut self) {
        if self.draining {
            return;
        }
        self.draining = true;
        for round in 0.. {
            assert!(round < 100_000, "the core never stops asking for effects");
            let output = self.client.poll_output();
            if let Output::Timeout(at) = output {
                self.due = at.map(Instant::as_millis);
                break;
            }
            self.perform(output);
        }
        self.draining = false;
    }

    fn answer(&mut self, input: Input<'_>) {
        let now = Instant::from_millis(self.now);
        self.client.handle(now, input).expect("only a page can misuse");
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Restore => {
                self.saw(Seen::Restore);
                if let Some(found) = self.browser.restore(self.now) {
                    self.answer(Input::Restored(found));
                }
            }
            Output::Resolve { ticket } => {
                self.latest_ticket = ticket;
                self.saw(Seen::Resolve(ticket));
                if let Some(answer) = self.browser.resolve(self.now, ticket) {
                    self.answer(Input::Resolved { ticket, answer });
                }
            }
            Output::Open { socket, address, beside } => {
                self.saw(Seen::Open(socket.0, address));
                self.trailing_socket = self.latest_socket.filter(|_| beside);
                self.latest_socket = Some(socket);
                self.browser.open(self.now, socket);
            }
            Output::Transmit { socket, text } => {
                self.browser.write(self.now, socket, None, &text);
                self.saw(Seen::Transmit(socket.0, text));
            }
            Output::HandOver { socket, from, count, limit } => self.hand_over(socket, from, count, limit),
            Output::Close { socket, code, reason, .. } => {
                self.browser.close(self.now, socket);
                self.trailing_socket.take_if(|trailing| *trailing == socket);
                if self.latest_socket == Some(socket) && self.trailing_socket.is_some() {
                    self.latest_socket = self.trailing_socket.take();
                }
                self.saw(Seen::Close(socket.0, code.0, reason));
            }
            Output::Persist(snapshot) => {
                self.browser.persist(self.now, snapshot.as_ref());
                self.saw(Seen::Persist(snapshot));
            }
            Output::Numbered(on) => self.numbered = on,
            Output::Settle(row) => {
                for id in row.from..row.from + row.count {
                    assert!(id >= self.released, "message {id} settled after its release");
                    self.fates.entry(id).or_default().push(row.fate);
                    self.saw(Seen::Settled { id, fate: row.fate, by_choice: row.by_choice });
                }
            }
            Output::Release { before } => {
                self.released = before;
                self.texts = self.texts.split_off(&before);
            }
            Output::Event(event) => self.tell(event),
            Output::Act(Act::Tell { handle, word, frame, number, text }) => {
                let frame = self.frames.get(&frame.0).cloned();
                self.saw(Seen::Told { handle, word, number, text, frame });
            }
            Output::Act(Act::Bind { topic, handle }) => {
                match handle {
                    Some(handle) => self.topics.insert(topic.clone(), handle),
                    None => self.topics.remove(&topic),
                };
                self.saw(Seen::Bind(topic, handle));
            }
            Output::Act(Act::Ask { ticket, what, text }) => self.saw(Seen::Ask(ticket, what, text)),
            Output::Timeout(_) => unreachable!("handled by the loop"),
        }
    }

    fn hand_over(&mut self, socket: SocketId, from: u32, count: u32, limit: f64) {
        let mut taken = 0;
        for id in from..from + count {
            if self.browser.buffered(socket) >= limit {
                break;
            }
            let text = self.texts.get(&id).cloned();
            let text = text.unwrap_or_else(|| panic!("message {id} was offered but never kept"));
            let fates = self.fates.get(&id).map_or(&[][..], Vec::as_slice);
            // Where it was numbered the server has said since that it has not come.
            let again = fates == [Fate::Sent];
            assert!(fates.is_empty() || again, "message {id} was offered after it was settled");
            let text = if self.numbered { with_number(&text, id + 1) } else { text };
            if !self.browser.write(self.now, socket, Some(id), &text) {
                break;
            }
            taken += 1;
            self.saw(Seen::Sent(socket.0, id, text));
        }
        let buffered = self.browser.buffered(socket);
        self.answer(Input::HandedOver { socket, count: taken, buffered });
    }

    fn tell(&mut self, event: Event) {
        let (name, detail) = match event {
            Event::Frame { route, frame } => {
                let frame = self.take_frame(frame);
                self.deliver(route, frame);
                return;
            }
            Event::Unhandled { frame } => ("ws-unhandled", self.take_frame(frame)),
            Event::Connected { attempt, recovered } => {
                ("ws-connected", json!({"attempt": attempt, "recovered": recovered}))
            }
            Event::Disconnected { code, reason, clean, will_reconnect, cause } => (
                "ws-disconnected",
                json!({"code": code.0, "reason": reason, "wasClean": clean,
                       "willReconnect": will_reconnect, "cause": cause.name()}),
            ),
            Event::Reconnecting { attempt, delay_ms, cause } => {
                ("ws-reconnecting", json!({"attempt": attempt, "delayMs": delay_ms, "cause": cause.name()}))
            }
            Event::Failed { cause, code, attempts, frame } => {
                let mut detail = json!({"cause": cause.name(), "code": code.0, "attempts": attempts});
                if let Some(frame) = self.frames.get(&frame.0) {
                    detail["frame"] = frame.clone();
                }
                ("ws-failed", detail)
            }
            Event::Resumed { from, to } => ("ws-resumed", json!({"from": whole(from), "to": whole(to)})),
            Event::Gap { from, to, reason } => {
                ("ws-gap", json!({"from": whole(from), "to": whole(to), "reason": reason}))
            }
            Event::Fault { fault, count: 0 } => ("ws-error", json!({"code": fault.code()})),
            Event::Fault { fault, count } => ("ws-error", json!({"code": fault.code(), "count": count})),
        };
        self.hear(name.into(), detail);
    }

    fn deliver(&mut self, route: Route, frame: Value) {
        match self.routes.get(route.0 as usize - 1).map(|row| row.event) {
            Some(Becomes::Event(name)) => self.hear(name.into(), frame),
            Some(Becomes::Nothing | Becomes::Delta) => {}
            None => {
                let prefix = self.dialect.wildcard.expect("a route behind the table");
                let name = (self.dialect.frame_type)(&frame).expect("what the route came from");
                self.hear(format!("{prefix}{name}"), frame);
            }
        }
    }

    fn hear(&mut self, name: String, detail: Value) {
        let asks = self.browser.listen(&name, &detail);
        self.saw(Seen::Event { name, detail });
        let mut asks = VecDeque::from(asks);
        while let Some(ask) = asks.pop_front() {
            // A listener that sends into a full queue gets its exception; nothing else of ours may see it.
            let _ = self.ask(ask);
        }
    }

    fn take_frame(&mut self, frame: FrameId) -> Value {
        let kept = self.frames.remove(&frame.0);
        kept.unwrap_or_else(|| panic!("frame {} was delivered twice or never came", frame.0))
    }

    fn saw(&mut self, seen: Seen) {
        self.seen.push((self.now, seen));
    }
}

/// As JavaScript writes it; `null` where it is none.
fn whole(number: f64) -> Value {
    if number.is_nan() { Value::Null } else { json!(number as u64) }
}

/// As src/web/socket.js does it: in the text, last.
fn with_number(text: &str, number: u32) -> String {
    let plain = text.starts_with('{') && !text.contains("\"$seq\"") && !text.contains("\"$data\"");
    let object = if plain { text.to_string() } else { format!("{{\"$data\":{text}}}") };
    let comma = if object == "{}" { "" } else { "," };
    format!("{}{comma}\"$seq\":{number}}}", &object[..object.len() - 1])
}

fn number_of(frame: &Value) -> f64 {
    frame.get("$seq").map_or(f64::NAN, |number| number.as_f64().unwrap_or(-1.0))
}

/// Options as a page nests them; `closePolicy` is rows of two.
pub fn config(options: &str) -> Config {
    let nested: Value = serde_json::from_str(options).expect("options are JSON");
    let close_policy = nested["closePolicy"].as_array().cloned().unwrap_or_default();
    let code = |value: &Value| CloseCode(value.as_u64().expect("a number") as u16);
    Config::parse(Options {
        values: &values(options),
        close_policy: close_policy
            .iter()
            .map(|row| (code(&row[0]), row[1].as_bool().expect("true or false")))
            .collect(),
    })
    .expect("options are valid")
}

/// Options by their paths, as the page hands them on.
pub fn values(options: &str) -> Value {
    let mut values = Map::new();
    flatten("", &serde_json::from_str(options).expect("options are JSON"), &mut values);
    Value::Object(values)
}

fn flatten(path: &str, value: &Value, into: &mut Map<String, Value>) {
    let dot = if path.is_empty() { "" } else { "." };
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| flatten(&format!("{path}{dot}{key}"), value, into));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| flatten(&format!("{path}{dot}{at}"), value, into));
        }
        other => {
            into.insert(path.into(), other.clone());
        }
    }
}
