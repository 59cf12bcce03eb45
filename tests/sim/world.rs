//! A virtual clock, a simulated link and a browser's end of it, between the real client and a gateway.
//!
//! A message goes from the browser's buffer (`bufferedAmount`) into the kernel's, and from there over the path. What the
//! kernel has taken is lost without a trace when the socket dies; what the browser still held is known. The path delays,
//! keeps the order, and can stall, be cut, or be half gone.

mod browser;

use crate::gateway::{Gateway, Word};
use crate::invariants::{Ledger, check_stale, check_step};
use crate::line::{Ask, Line, Seen};
use moorline::Signal;
use moorline::backoff::Chance;
use moorline::outbox::{Delivery, Fate};
use moorline::session::{Snapshot, Stored};
use moorline::wire::SocketId;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How long a browser waits for the other end's close frame.
const CLOSING_MS: u64 = 30_000;
/// So many numbers a page that keeps its messages has written down ahead.
const RESERVED: u32 = 64;
/// No page opens more.
const SOCKETS_OF_A_PAGE: u32 = 1_000_000;

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
    /// The gateway has waited long enough: for a token, or for more to acknowledge.
    Waited(u32),
    Provided(u32),
    /// The gateway closes a connection that it has said it would.
    Closes(u32, u16),
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
    /// Nothing moves on the sockets up to this one.
    stalled_to: u32,
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
    /// Which of the pages that share a gateway this is.
    pub page: u32,
    /// The stream of a page that keeps its messages.
    stream: Option<String>,
    /// What must hold, and what it is judged by.
    pub ledger: Ledger,
    /// So many sockets were those of pages that are gone: the client's own numbers begin behind them.
    gone: u32,
    /// A timer that was set before the clock jumped, and when it rings.
    late: Option<(u64, u64)>,
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
        let net = Net::new(options, gateway, seed);
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
        check_step(&mut self.line);
        self.net().ledger.page_connects();
        self.line.ask(Ask::Connect).expect("connect is always legal");
        check_step(&mut self.line);
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

    /// The page wants another connection in place of the one there is.
    pub fn renew(&mut self) {
        check_step(&mut self.line);
        self.net().ledger.page_connects();
        self.line.renew();
        check_step(&mut self.line);
    }

    pub fn signal(&mut self, signal: Signal) {
        check_step(&mut self.line);
        self.net().ledger.hurry();
        if signal != Signal::Offline {
            self.net().ledger.page_was_away();
        }
        self.line.signal(signal);
        check_step(&mut self.line);
    }

    /// The page's reaction to the next event of that name.
    pub fn when(&mut self, event: &str, asks: &[Ask]) {
        let reaction = (event.to_string(), asks.to_vec());
        self.net().reactions.push(reaction);
    }

    pub fn gateway_says(&mut self, frame: &Value) {
        self.gateway_says_text(&frame.to_string());
    }

    pub fn gateway_says_text(&mut self, text: &str) {
        let now = self.now();
        let net = self.net();
        let connections: Vec<u32> = net.open_sockets().collect();
        for socket in connections {
            net.say(now, socket, text.into());
        }
    }

    /// Every connection ends with this code, after all that was sent before.
    pub fn gateway_closes(&mut self, code: u16) {
        let now = self.now();
        let net = self.net();
        let connections: Vec<u32> = net.open_sockets().collect();
        for socket in connections {
            net.gateway_ends(now, socket, code);
        }
    }

    /// Every connection is cut, at once: both ends know, and what is on the way is gone.
    pub fn cut(&mut self) {
        let now = self.now();
        let net = self.net();
        let all: Vec<u32> = net.sockets.keys().copied().filter(|id| net.stage(*id) == Stage::Open).collect();
        for socket in all {
            net.cut(now, socket);
        }
    }

    /// The gateway's side of every connection is gone; the browser does not know.
    pub fn lose_the_other_end(&mut self) {
        let net = self.net();
        let page = net.page;
        for (id, socket) in net.sockets.iter_mut().filter(|(_, socket)| socket.stage == Stage::Open && !socket.ending) {
            socket.half_open = true;
            net.gateway.gone(page * SOCKETS_OF_A_PAGE + id);
        }
    }

    pub fn stall(&mut self) {
        self.net().plan.stalled = true;
    }

    /// As `stall`, for the sockets that there are: the next one finds another way.
    pub fn stall_old(&mut self) {
        let newest = self.net().sockets.keys().next_back().copied();
        self.net().plan.stalled_to = newest.unwrap_or(0);
    }

    pub fn heal(&mut self) {
        let now = self.now();
        let net = self.net();
        net.plan.stalled = false;
        net.plan.stalled_to = 0;
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

    /// When the page's timer rings: where it was set before the clock jumped, later than the client wanted.
    fn rings_at(&mut self) -> Option<u64> {
        let due = self.line.due?;
        match self.net().late {
            Some((set_for, rings)) if set_for == due => Some(rings),
            _ => Some(due),
        }
    }

    /// The clock jumps ahead, and nothing else does.
    pub fn jump(&mut self, millis: u64) {
        let due = self.line.due;
        let net = self.net();
        net.ledger.timers_stand_still(millis);
        net.late = due.map(|due| (due, due.saturating_add(millis)));
        let happenings = std::mem::take(&mut net.happenings);
        net.happenings = happenings.into_iter().map(|((at, order), what)| ((at + millis, order), what)).collect();
        for socket in net.sockets.values_mut() {
            socket.upward += millis;
            socket.downward += millis;
        }
        self.line.now += millis;
    }

    /// The page goes away, and with it all that only it knew; another takes its place. What is on its way goes on. After a
    /// crash nobody tells the gateway.
    /// `keeps`: it keeps its messages under that name, or under the one that they have.
    pub fn turn_page(&mut self, options: &str, seed: u64, crash: bool, keeps: Option<String>) {
        check_step(&mut self.line);
        let now = self.now();
        let ledger = &self.line.browser.ledger;
        let texts = self.line.texts().iter().filter(|(id, _)| ledger.is_open(**id));
        let texts: Vec<(u32, String)> = texts.map(|(id, text)| (*id, text.clone())).collect();
        let (tried, end) = (ledger.tried(), self.line.next_message + RESERVED);
        let mut net = std::mem::replace(self.net(), Net::new(options, Gateway::default(), seed));
        let page_bound = |happening: &Happening| {
            matches!(
                happening,
                Happening::Dialled(_) | Happening::Downward(..) | Happening::Ended(..) | Happening::Provided(_)
            )
        };
        net.happenings.retain(|_, happening| !page_bound(happening));
        net.held.retain(|happening| !page_bound(happening));
        let ids: Vec<u32> = net.sockets.keys().copied().collect();
        for id in ids {
            if matches!(net.stage(id), Stage::Open | Stage::Closing) && !crash {
                let arrival = net.arrival(now, id, true);
                net.plan_at(arrival, Happening::Goodbye(id));
            }
            net.gone = id;
            if let Some(socket) = net.sockets.get_mut(&id) {
                socket.stage = Stage::Closed;
                socket.live = false;
                socket.buffer.clear();
            }
        }
        net.storage = match net.saved.clone() {
            Some(Snapshot { token, client_id, cursor }) => {
                Storage::Holds(Stored { token: Some(token), client_id, age_ms: Some(1.0), cursor })
            }
            None => Storage::Empty,
        };
        net.ledger = Ledger::new(options);
        // These have been judged, by what the page that is gone knew.
        net.gateway.doubled.clear();
        net.reactions.clear();
        net.returned.clear();
        net.written.clear();
        net.late = None;
        self.line = Line::new(options, seed, net);
        self.line.now = now;
        let Some(name) = keeps else {
            return;
        };
        let Some((base, _)) = texts.first() else {
            self.keep_messages(&name);
            return;
        };
        let stream = self.net().stream.clone().unwrap_or(name);
        let tried = tried.max(*base);
        self.net().ledger.adopts(*base, tried, &texts, end);
        self.line.adopt(&stream, *base, tried);
        for (id, text) in texts {
            self.line.skip(id - self.line.next_message);
            self.line.keep(text, None);
        }
        self.line.skip(end - self.line.next_message);
    }

    /// The page keeps its messages, from the first, in a stream of that name.
    pub fn keep_messages(&mut self, stream: &str) {
        self.net().stream = Some(stream.into());
        self.line.adopt(stream, 0, 0);
    }

    /// Lets time pass as for a page whose timers do not run: the network goes on, the page's timer rings at the end.
    pub fn run_throttled(&mut self, millis: u64) {
        let end = self.now() + millis;
        self.net().ledger.timers_stand_still(millis);
        self.run_with(end, false);
        self.line.ring();
        check_step(&mut self.line);
    }

    fn run_with(&mut self, end: u64, timer_runs: bool) {
        let mut same_time = 0;
        loop {
            let due = if timer_runs { self.rings_at() } else { None };
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
                self.net().late = None;
                self.line.ring();
                // A timer that is set again for the moment at which it rang would ring for ever.
                assert!(self.line.due != before || same_time < 20, "the timer makes no progress");
            } else {
                self.happen();
            }
            check_step(&mut self.line);
        }
        self.line.now = end;
    }

    /// A socket speaks. One that counts no more must not change anything, and one of a page that is gone has no listener.
    fn socket_says(&mut self, id: u32, tell: impl FnOnce(&mut Line<Net>, SocketId)) {
        check_step(&mut self.line);
        let Some(id) = id.checked_sub(self.net().gone).filter(|id| *id > 0) else {
            return;
        };
        if self.net().ledger.is_stale(id) {
            check_stale(&mut self.line, |line| tell(line, SocketId(id)));
        } else {
            tell(&mut self.line, SocketId(id));
        }
    }

    fn happen(&mut self) {
        let now = self.now();
        let Some((_, happening)) = self.net().happenings.pop_first() else {
            return;
        };
        let plan = &self.net().plan;
        let old = happening.socket().is_some_and(|socket| socket <= plan.stalled_to);
        if (plan.stalled || old) && happening.is_an_arrival() {
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
                let connection = self.net().connection(id);
                self.net().gateway.accept(connection);
                self.socket_says(id, |line, id| {
                    line.browser.ledger.opens(id.0);
                    line.opened(id);
                });
                self.net().carry(now);
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
                    let connection = net.connection(id);
                    net.gateway.read(connection, &text);
                    net.carry(now);
                }
            }
            Happening::Downward(id, text) => {
                if matches!(self.net().stage(id), Stage::Open | Stage::Closing) {
                    self.socket_says(id, |line, id| {
                        line.browser.ledger.arrives(id.0, &text);
                        line.received(id, &text);
                    });
                }
            }
            Happening::Goodbye(id) => {
                let connection = self.net().connection(id);
                self.net().gateway.gone(connection);
                if !self.net().is_half_open(id) {
                    let arrival = self.net().arrival(now, id, false);
                    self.net().plan_at(arrival, Happening::Ended(id, 1000, true));
                }
            }
            Happening::Ended(id, code, clean) => self.end(id, code, clean),
            Happening::Closes(id, code) => {
                if self.net().stage(id) == Stage::Open && !self.net().is_half_open(id) {
                    self.net().gateway_ends(now, id, code);
                }
            }
            Happening::Waited(id) => {
                let connection = self.net().connection(id);
                self.net().gateway.waited(connection);
                self.net().carry(now);
            }
            Happening::Provided(ticket) => {
                check_step(&mut self.line);
                let fails = self.net().plan.provider == Provider::Fails;
                self.line.obey(moorline::Input::Resolved { ticket, answer: if fails { Err(()) } else { Ok(None) } });
            }
        }
    }

    /// The browser's `close` event.
    pub fn end(&mut self, id: u32, code: u16, clean: bool) {
        if self.net().stage(id) == Stage::Closed {
            return;
        }
        self.net().set_stage(id, Stage::Closed);
        self.net().give_back(id);
        self.socket_says(id, |line, id| {
            line.browser.ledger.ends(id.0);
            line.closed(id, code, "", clean);
        });
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
    fn new(options: &str, gateway: Gateway, seed: u64) -> Self {
        Self {
            plan: Plan {
                latency: (20, 20),
                stalled: false,
                stalled_to: 0,
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
            page: 0,
            stream: None,
            gone: 0,
            late: None,
            ledger: Ledger::new(options),
            sockets: BTreeMap::new(),
            happenings: BTreeMap::new(),
            held: Vec::new(),
            sequence: 0,
            chance: Chance::new(seed),
        }
    }

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

    /// The gateway's name for a connection: several pages may be on its line.
    const fn connection(&self, socket: u32) -> u32 {
        self.page * SOCKETS_OF_A_PAGE + socket
    }

    /// Carries what the gateway has to say to this page; the rest is for others to carry.
    pub fn carry(&mut self, now: u64) {
        for word in std::mem::take(&mut self.gateway.words) {
            let (Word::Say(to, _) | Word::Close(to, ..) | Word::Cut(to) | Word::Wake(to, _)) = word;
            if to / SOCKETS_OF_A_PAGE != self.page {
                self.gateway.words.push(word);
                continue;
            }
            let id = to % SOCKETS_OF_A_PAGE;
            match word {
                Word::Say(_, text) => self.say(now, id, text),
                Word::Close(_, code, 0) => self.gateway_ends(now, id, code),
                Word::Close(_, code, wait) => self.plan_at(now + wait, Happening::Closes(id, code)),
                Word::Cut(_) => self.cut(now, id),
                Word::Wake(_, wait) => self.plan_at(now + wait, Happening::Waited(id)),
            }
        }
    }

    /// The gateway closes a connection, after all that was sent before.
    fn gateway_ends(&mut self, now: u64, id: u32, code: u16) {
        self.sockets.entry(id).and_modify(|socket| socket.ending = true);
        let arrival = self.arrival(now, id, false);
        self.plan_at(arrival, Happening::Ended(id, code, code != 1006));
    }

    /// A connection is cut: both ends know, and what is on the way is gone.
    fn cut(&mut self, now: u64, id: u32) {
        self.forget_arrivals(id);
        let connection = self.connection(id);
        self.gateway.gone(connection);
        self.plan_at(now, Happening::Ended(id, 1006, false));
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
            Self::Pump(_) | Self::Waited(_) | Self::Provided(_) | Self::Closes(..) => false,
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
            | Self::Closes(id, _)
            | Self::Waited(id) => Some(*id),
            Self::Provided(_) => None,
        }
    }
}
