//! A virtual clock, a simulated link and a browser's end of it, between the real client and a gateway.
//!
//! A message goes from the browser's buffer (`bufferedAmount`) into the kernel's, and from there over the path. What the
//! kernel has taken is lost without a trace when the socket dies; what the browser still held is known. The path delays,
//! keeps the order, and can stall, be cut, or be half gone.

use crate::gateway::{Gateway, Greet};
use crate::line::{Ask, Browser, Line, Seen};
use moorline::Signal;
use moorline::backoff::Chance;
use moorline::error::Fault;
use moorline::outbox::{Delivery, Fate};
use moorline::session::{Snapshot, Stored};
use moorline::wire::SocketId;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How long a browser waits for the other end's close frame.
const CLOSING_MS: u64 = 30_000;

enum Happening {
    /// The other end has accepted, or has not.
    Dialled(u32),
    /// The browser writes out what it holds.
    Pump(u32),
    /// A piece of a message arrives: so many bytes, and the text with the last of them.
    Upward(u32, usize, Option<String>),
    Downward(u32, String),
    /// The browser's close frame arrives at the gateway.
    Goodbye(u32),
    /// The gateway's close frame, or the end of the path, arrives at the browser.
    Ended(u32, u16, bool),
    /// The gateway has waited long enough for a token.
    Waited(u32),
    Provided(u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Dialling,
    Open,
    Closing,
    Closed,
}

struct Piece {
    id: Option<u32>,
    text: String,
    left: usize,
}

struct Socket {
    stage: Stage,
    /// Not told to close by the client, and not closed.
    live: bool,
    /// The gateway's side is gone and nobody says so.
    half_open: bool,
    /// The gateway has begun to close: it reads on until the browser's answer, and nothing but a cut stops that.
    ending: bool,
    buffer: VecDeque<Piece>,
    kernel: usize,
    /// When the last thing sent arrives: nothing overtakes it.
    upward: u64,
    downward: u64,
}

/// What may go wrong on the way. Fields take effect at once.
pub struct Plan {
    pub latency: (u64, u64),
    /// Nothing moves in either direction.
    pub stalled: bool,
    /// No connection can be made.
    pub refuses: bool,
    /// How many bytes the kernel takes before the browser has to hold them.
    pub kernel: usize,
    /// How many more messages a socket takes before it discards what it is given.
    pub takes: Option<u32>,
    pub provider: Provider,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Provider {
    None,
    After(u64),
    Fails,
    Hangs,
}

pub enum Storage {
    Empty,
    Holds(Stored),
    Denied,
    Silent,
}

pub struct Net {
    pub plan: Plan,
    pub gateway: Gateway,
    pub storage: Storage,
    pub saved: Option<Snapshot>,
    /// What the page does on hearing an event, once each.
    pub reactions: Vec<(String, Vec<Ask>)>,
    /// Messages that the browser held when their socket ended: these may be written again.
    pub returned: BTreeSet<u32>,
    pub written: Vec<u32>,
    sockets: BTreeMap<u32, Socket>,
    happenings: BTreeMap<(u64, u64), Happening>,
    /// Arrivals that a stalled path keeps.
    held: Vec<Happening>,
    sequence: u64,
    chance: Chance,
}

/// A client, a gateway and what lies between them.
pub struct World {
    pub line: Line<Net>,
}

impl World {
    pub fn new(options: &str, gateway: Gateway) -> Self {
        Self::seeded(options, gateway, 1)
    }

    pub fn seeded(options: &str, gateway: Gateway, seed: u64) -> Self {
        let net = Net {
            plan: Plan {
                latency: (20, 20),
                stalled: false,
                refuses: false,
                kernel: 1 << 20,
                takes: None,
                provider: Provider::None,
            },
            gateway,
            storage: Storage::Empty,
            saved: None,
            reactions: Vec::new(),
            returned: BTreeSet::new(),
            written: Vec::new(),
            sockets: BTreeMap::new(),
            happenings: BTreeMap::new(),
            held: Vec::new(),
            sequence: 0,
            chance: Chance::new(seed),
        };
        Self { line: Line::new(options, seed, net) }
    }

    /// One that is connected and has been for long enough.
    pub fn moored(options: &str, gateway: Gateway) -> Self {
        let mut world = Self::new(options, gateway);
        world.connect();
        world.run(6000);
        world.hears("ws-connected");
        world
    }

    pub fn with_session(mut self, token: &str, client: &str) -> Self {
        self.net().storage = Storage::Holds(Stored {
            token: Some(token.into()),
            client_id: Some(client.into()),
            age_ms: Some(1000.0),
            cursor: None,
        });
        self
    }

    pub fn net(&mut self) -> &mut Net {
        &mut self.line.browser
    }

    pub fn now(&self) -> u64 {
        self.line.now
    }

    pub fn connect(&mut self) {
        self.line.ask(Ask::Connect).expect("connect is always legal");
    }

    pub fn disconnect(&mut self) {
        self.line.ask(Ask::Disconnect).expect("1000 is sendable");
    }

    pub fn chat(&mut self, text: &str) -> u32 {
        self.send(text, Delivery::Queue, None)
    }

    pub fn send(&mut self, text: &str, delivery: Delivery, ttl_ms: Option<f64>) -> u32 {
        let id = self.line.next_message;
        let sent = self.line.send(chat(text), delivery, ttl_ms);
        sent.expect("the queue has room");
        id
    }

    pub fn signal(&mut self, signal: Signal) {
        self.line.signal(signal);
    }

    /// The page's reaction to the next event of that name.
    pub fn when(&mut self, event: &str, asks: &[Ask]) {
        let reaction = (event.to_string(), asks.to_vec());
        self.net().reactions.push(reaction);
    }

    pub fn gateway_says(&mut self, frame: &Value) {
        let now = self.now();
        let net = self.net();
        let connections: Vec<u32> = net.open_sockets().collect();
        for socket in connections {
            net.say(now, socket, frame.to_string());
        }
    }

    /// Every connection ends with this code, after all that was sent before.
    pub fn gateway_closes(&mut self, code: u16) {
        let now = self.now();
        let net = self.net();
        let connections: Vec<u32> = net.open_sockets().collect();
        for socket in connections {
            let clean = code != 1006;
            net.sockets.entry(socket).and_modify(|socket| socket.ending = true);
            let arrival = net.arrival(now, socket, false);
            net.plan_at(arrival, Happening::Ended(socket, code, clean));
        }
    }

    /// Every connection is cut, at once: both ends know, and what is on the way is gone.
    pub fn cut(&mut self) {
        let now = self.now();
        let net = self.net();
        let all: Vec<u32> = net.sockets.keys().copied().filter(|id| net.stage(*id) == Stage::Open).collect();
        for socket in all {
            net.forget_arrivals(socket);
            net.gateway.gone(socket);
            net.plan_at(now, Happening::Ended(socket, 1006, false));
        }
    }

    /// The gateway's side of every connection is gone; the browser does not know.
    pub fn lose_the_other_end(&mut self) {
        let net = self.net();
        for (id, socket) in net.sockets.iter_mut().filter(|(_, socket)| socket.stage == Stage::Open && !socket.ending) {
            socket.half_open = true;
            net.gateway.gone(*id);
        }
    }

    pub fn stall(&mut self) {
        self.net().plan.stalled = true;
    }

    pub fn heal(&mut self) {
        let now = self.now();
        let net = self.net();
        net.plan.stalled = false;
        for happening in std::mem::take(&mut net.held) {
            net.plan_at(now, happening);
        }
        let open: Vec<u32> = net.sockets.keys().copied().collect();
        for socket in open {
            net.plan_at(now, Happening::Pump(socket));
        }
    }

    pub fn run(&mut self, millis: u64) {
        let end = self.now() + millis;
        self.run_with(end, true);
    }

    /// Lets time pass as for a page whose timers do not run: the network goes on, the page's timer rings at the end.
    pub fn run_throttled(&mut self, millis: u64) {
        let end = self.now() + millis;
        self.run_with(end, false);
        self.line.ring();
    }

    fn run_with(&mut self, end: u64, timer_runs: bool) {
        let mut same_time = 0;
        loop {
            let due = if timer_runs { self.line.due } else { None };
            let happens = self.net().happenings.keys().next().map(|key| key.0);
            let next = [due, happens].into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= end) else {
                break;
            };
            same_time = if at > self.now() { 0 } else { same_time + 1 };
            assert!(same_time < 10_000, "time stands still at {at}");
            self.line.now = at.max(self.line.now);
            if due == Some(at) {
                let before = self.line.due;
                self.line.ring();
                // A timer that is set again for the moment at which it rang would ring for ever.
                assert!(self.line.due != before || same_time < 20, "the timer makes no progress");
            } else {
                self.happen();
            }
            crate::invariants::check_step(&self.line);
        }
        self.line.now = end;
    }

    fn happen(&mut self) {
        let now = self.now();
        let Some((_, happening)) = self.net().happenings.pop_first() else {
            return;
        };
        if self.net().plan.stalled && happening.is_an_arrival() {
            self.net().held.push(happening);
            return;
        }
        match happening {
            Happening::Dialled(id) => {
                let refused = self.net().plan.refuses;
                let stage = self.net().stage(id);
                if refused || stage != Stage::Dialling {
                    self.end(id, 1006, false);
                    return;
                }
                self.net().set_stage(id, Stage::Open);
                let words = self.net().gateway.accept(id);
                if let Greet::After(wait) = self.net().gateway.greet {
                    self.net().plan_at(now + wait, Happening::Waited(id));
                }
                self.line.opened(SocketId(id));
                self.net().say_all(now, id, words);
            }
            Happening::Pump(id) => self.net().pump(now, id),
            Happening::Upward(id, bytes, text) => {
                let net = self.net();
                let Some(socket) = net.sockets.get_mut(&id) else {
                    return;
                };
                if socket.half_open {
                    // Nobody acknowledges: the kernel keeps what it has.
                    return;
                }
                socket.kernel = socket.kernel.saturating_sub(bytes);
                net.plan_at(now, Happening::Pump(id));
                if let Some(text) = text {
                    let words = net.gateway.read(id, &text);
                    net.say_all(now, id, words);
                }
            }
            Happening::Downward(id, text) => {
                if matches!(self.net().stage(id), Stage::Open | Stage::Closing) {
                    self.line.received(SocketId(id), &text);
                }
            }
            Happening::Goodbye(id) => {
                self.net().gateway.gone(id);
                if !self.net().is_half_open(id) {
                    let arrival = self.net().arrival(now, id, false);
                    self.net().plan_at(arrival, Happening::Ended(id, 1000, true));
                }
            }
            Happening::Ended(id, code, clean) => self.end(id, code, clean),
            Happening::Waited(id) => {
                let words = self.net().gateway.waited(id);
                self.net().say_all(now, id, words);
            }
            Happening::Provided(ticket) => {
                let fails = self.net().plan.provider == Provider::Fails;
                self.line.obey(moorline::Input::Resolved { ticket, answer: if fails { Err(()) } else { Ok(None) } });
            }
        }
    }

    /// The browser's `close` event.
    fn end(&mut self, id: u32, code: u16, clean: bool) {
        if self.net().stage(id) == Stage::Closed {
            return;
        }
        self.net().set_stage(id, Stage::Closed);
        self.net().give_back(id);
        self.line.closed(SocketId(id), code, "", clean);
        let net = self.net();
        if let Some(socket) = net.sockets.get_mut(&id) {
            socket.live = false;
            socket.buffer.clear();
        }
    }

    // What tests look at.

    pub fn heard(&self) -> Vec<&str> {
        self.line.events().map(|(_, name, _)| name).collect()
    }

    /// The last event of that name.
    pub fn hears(&self, name: &str) -> &Value {
        let last = self.line.events().filter(|event| event.1 == name).last();
        last.unwrap_or_else(|| panic!("no {name} among {:?}", self.heard())).2
    }

    pub fn count(&self, name: &str) -> usize {
        self.heard().iter().filter(|heard| **heard == name).count()
    }

    /// When each socket was opened.
    pub fn dials(&self) -> Vec<u64> {
        let opens = self.line.seen.iter();
        opens.filter(|(_, seen)| matches!(seen, Seen::Open(..))).map(|(at, _)| *at).collect()
    }

    pub fn fate(&self, id: u32) -> Option<Fate> {
        self.line.fates.get(&id)?.last().copied()
    }

    /// All that was seen, for people.
    pub fn recording(&self) -> String {
        let seen = self.line.seen.iter();
        seen.map(|(at, seen)| format!("{at:>7} {seen:?}\n")).collect()
    }

    /// The chat texts that the gateway has got, in order.
    pub fn arrived(&self) -> Vec<String> {
        let texts = self.line.browser.gateway.texts_received();
        let frames = texts.iter().map(|text| serde_json::from_str(text));
        frames.map(|frame: Result<Value, _>| frame.expect("JSON")["text"].as_str().unwrap_or("").into()).collect()
    }

    /// Every text that left by a socket, in order, with its socket.
    pub fn wire(&self) -> Vec<(u32, &str)> {
        let seen = self.line.seen.iter();
        seen.filter_map(|(_, seen)| match seen {
            Seen::Transmit(socket, text) | Seen::Sent(socket, _, text) => Some((*socket, text.as_str())),
            _ => None,
        })
        .collect()
    }
}

pub fn chat(text: &str) -> String {
    json!({"type": "chat", "text": text}).to_string()
}

impl Net {
    /// Sockets that were opened, not told to close by the client, and not closed.
    pub fn live_sockets(&self) -> usize {
        self.sockets.values().filter(|socket| socket.live).count()
    }

    fn open_sockets(&self) -> impl Iterator<Item = u32> {
        self.sockets.iter().filter(|(_, socket)| socket.stage == Stage::Open && !socket.half_open).map(|(id, _)| *id)
    }

    fn stage(&self, id: u32) -> Stage {
        self.sockets.get(&id).map_or(Stage::Closed, |socket| socket.stage)
    }

    fn set_stage(&mut self, id: u32, stage: Stage) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.stage = stage;
        }
    }

    fn is_half_open(&self, id: u32) -> bool {
        self.sockets.get(&id).is_none_or(|socket| socket.half_open)
    }

    fn plan_at(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        self.happenings.insert((at, self.sequence), happening);
    }

    /// When what leaves now arrives: after everything that left before it.
    fn arrival(&mut self, now: u64, id: u32, upward: bool) -> u64 {
        let (least, most) = self.plan.latency;
        let latency = least + self.chance.below((most - least + 1) as f64);
        let Some(socket) = self.sockets.get_mut(&id) else {
            return now + latency;
        };
        let last = if upward { &mut socket.upward } else { &mut socket.downward };
        *last = (now + latency).max(*last);
        *last
    }

    fn say(&mut self, now: u64, id: u32, text: String) {
        if !self.is_half_open(id) {
            let arrival = self.arrival(now, id, false);
            self.plan_at(arrival, Happening::Downward(id, text));
        }
    }

    fn say_all(&mut self, now: u64, id: u32, words: Vec<String>) {
        for text in words {
            self.say(now, id, text);
        }
    }

    fn forget_arrivals(&mut self, id: u32) {
        let of_it = |happening: &Happening| happening.is_an_arrival() && happening.socket() == Some(id);
        self.happenings.retain(|_, happening| !of_it(happening));
        self.held.retain(|happening| !of_it(happening));
    }

    /// Moves what the kernel has room for out of the browser's buffer.
    fn pump(&mut self, now: u64, id: u32) {
        let room = self.plan.kernel;
        while let Some(socket) = self.sockets.get_mut(&id) {
            if !matches!(socket.stage, Stage::Open | Stage::Closing) {
                return;
            }
            let free = room.saturating_sub(socket.kernel);
            let Some(piece) = socket.buffer.front_mut() else {
                break;
            };
            if free == 0 {
                return;
            }
            let bytes = free.min(piece.left);
            piece.left -= bytes;
            socket.kernel += bytes;
            let whole = piece.left == 0;
            let text = whole.then(|| socket.buffer.pop_front()).flatten();
            let arrival = self.arrival(now, id, true);
            self.plan_at(arrival, Happening::Upward(id, bytes, text.map(|piece| piece.text)));
        }
        if self.stage(id) == Stage::Closing {
            let arrival = self.arrival(now, id, true);
            self.plan_at(arrival, Happening::Goodbye(id));
        }
    }

    /// Notes what the browser still holds of a socket that ends.
    fn give_back(&mut self, id: u32) {
        if let Some(socket) = self.sockets.get(&id) {
            self.returned.extend(socket.buffer.iter().filter_map(|piece| piece.id));
        }
    }
}

impl Happening {
    fn is_an_arrival(&self) -> bool {
        match self {
            Self::Dialled(_) | Self::Upward(..) | Self::Downward(..) | Self::Goodbye(_) => true,
            // A reset arrives too, but who cuts a path has seen to that.
            Self::Ended(_, _, clean) => *clean,
            Self::Pump(_) | Self::Waited(_) | Self::Provided(_) => false,
        }
    }

    fn socket(&self) -> Option<u32> {
        match self {
            Self::Dialled(id)
            | Self::Pump(id)
            | Self::Upward(id, ..)
            | Self::Downward(id, _)
            | Self::Goodbye(id)
            | Self::Ended(id, ..)
            | Self::Waited(id) => Some(*id),
            Self::Provided(_) => None,
        }
    }
}

impl Browser for Net {
    fn restore(&mut self, _now: u64) -> Option<Result<Option<Stored>, Fault>> {
        match &self.storage {
            Storage::Empty => Some(Ok(None)),
            Storage::Holds(stored) => Some(Ok(Some(stored.clone()))),
            Storage::Denied => Some(Err(Fault::StorageDenied)),
            Storage::Silent => None,
        }
    }

    fn resolve(&mut self, now: u64, ticket: u32) -> Option<Result<Option<String>, ()>> {
        match self.plan.provider {
            Provider::None => return Some(Ok(None)),
            Provider::After(wait) => self.plan_at(now + wait, Happening::Provided(ticket)),
            Provider::Fails => self.plan_at(now, Happening::Provided(ticket)),
            Provider::Hangs => {}
        }
        None
    }

    fn open(&mut self, now: u64, socket: SocketId) {
        let new = Socket {
            stage: Stage::Dialling,
            live: true,
            half_open: false,
            ending: false,
            buffer: VecDeque::new(),
            kernel: 0,
            upward: 0,
            downward: 0,
        };
        self.sockets.insert(socket.0, new);
        let arrival = self.arrival(now, socket.0, false);
        self.plan_at(arrival, Happening::Dialled(socket.0));
    }

    fn write(&mut self, now: u64, id: SocketId, message: Option<u32>, text: &str) -> bool {
        if let (Some(takes), Some(_)) = (&mut self.plan.takes, message) {
            if *takes == 0 {
                return false;
            }
            *takes -= 1;
        }
        let Some(socket) = self.sockets.get_mut(&id.0) else {
            return false;
        };
        if socket.stage != Stage::Open {
            return false;
        }
        socket.buffer.push_back(Piece { id: message, text: text.into(), left: text.len() });
        self.written.extend(message);
        self.plan_at(now, Happening::Pump(id.0));
        true
    }

    fn buffered(&self, socket: SocketId) -> f64 {
        let held = self.sockets.get(&socket.0).map(|socket| &socket.buffer);
        held.map_or(0, |buffer| buffer.iter().map(|piece| piece.left).sum()) as f64
    }

    fn close(&mut self, now: u64, id: SocketId) {
        self.give_back(id.0);
        let Some(socket) = self.sockets.get_mut(&id.0) else {
            return;
        };
        socket.live = false;
        match socket.stage {
            Stage::Dialling => self.plan_at(now, Happening::Ended(id.0, 1006, false)),
            Stage::Open => {
                socket.stage = Stage::Closing;
                self.plan_at(now, Happening::Pump(id.0));
                self.plan_at(now + CLOSING_MS, Happening::Ended(id.0, 1006, false));
            }
            Stage::Closing | Stage::Closed => {}
        }
    }

    fn persist(&mut self, _now: u64, snapshot: Option<&Snapshot>) {
        self.saved = snapshot.cloned();
    }

    fn listen(&mut self, name: &str, _detail: &Value) -> Vec<Ask> {
        let known = self.reactions.iter().position(|(event, _)| event == name);
        known.map_or_else(Vec::new, |at| self.reactions.remove(at).1)
    }
}
