//! The connection state machine: the only writer of `State`, and the one place that decides to reconnect.
//!
//! It performs nothing. Inputs go in with the time; outputs are polled until `Output::Timeout`. It names no concrete
//! protocol and knows no browser.

mod handover;
mod questions;
mod watch;

use crate::backoff::Chance;
use crate::config::{
    ADVICE_MOST_MS, ADVICE_SPREAD_MS, Config, HELD_FRAMES, HIGH_WATER, HOLD_MS, LATER_LEAST_MS, LEAVE_MS,
};
use crate::contract::{Counters, Input, Output};
use crate::error::{ApiMisuse, Cause, Fault};
use crate::heartbeat::Heartbeat;
use crate::journal::{Fact, Journal};
use crate::outbox::{End, Numbering, Outbox};
use crate::protocol::{Context, Effect, Event, Inbound, Protocol};
use crate::session::{Restored, Stored};
use crate::time::{Instant, Timer, TimerTable};
use crate::wire::{CloseCode, Disposition, FrameId, Route, SocketId};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

enum State {
    Idle,
    Restoring,
    Resolving {
        ticket: u32,
    },
    Opening {
        socket: SocketId,
    },
    Handshaking {
        socket: SocketId,
    },
    Ready {
        socket: SocketId,
    },
    /// `asked`: as long as the server wanted, and nothing of the surroundings shortens it.
    Waiting {
        asked: bool,
    },
    /// Nobody sees the page, and the page wants no connection meanwhile.
    Parked,
    Closed,
}

struct Probing {
    since: Instant,
    /// Handed over before the question: its answer proves them.
    covers: u32,
}

pub struct Client {
    config: Config,
    protocol: Box<dyn Protocol>,
    control_routes: u32,
    state: State,
    outbox: Outbox,
    heartbeat: Heartbeat,
    chance: Chance,
    timers: TimerTable,
    outputs: VecDeque<Output>,
    effects: Vec<Effect>,
    held: Vec<Event>,
    journal: Journal,
    counters: Counters,
    /// Failures in a row; forgiven after a stable connection.
    failures: u32,
    tickets: u32,
    restored: bool,
    advice: Option<(f64, f64)>,
    /// Since the server's word, until a connection: attempts of one client stay so far apart, as those of the crowd do.
    stagger_ms: f64,
    /// The frame in which the server said that it will not.
    verdict: FrameId,
    probing: Option<Probing>,
    /// A socket that was told to close, while the fate of what it took is open.
    leaving: Option<SocketId>,
    buffered: f64,
    stalled_since: Instant,
    /// Since when there has been something in the queue.
    waiting_since: Option<Instant>,
    released: u32,
    /// What the protocol has said for the connection that is about to be ready.
    numbering: Option<Numbering>,
    /// A handover: the old socket, for as long as it is of use, and whether there is one at all.
    trailing: Option<SocketId>,
    moving: bool,
    could_probe: bool,
    /// The browser's hint, not a verdict: it only names the cause of what happens anyway.
    offline: bool,
    presence: watch::Presence,
}

/// Gives the messages of this page a stream of their own.
#[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
fn named(mut protocol: Box<dyn Protocol>, seed: u64) -> Box<dyn Protocol> {
    let mut chance = Chance::new(!seed);
    let mut name = String::new();
    for _ in 0..16 {
        let digit = chance.below(16.0) as u8;
        name.push(char::from(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
    }
    protocol.name_stream(name, false);
    protocol
}

impl Client {
    pub fn new(config: Config, protocol: Box<dyn Protocol>, seed: u64) -> Self {
        #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
        let protocol = named(protocol, seed);
        Self {
            control_routes: protocol.control_routes(),
            outbox: Outbox::new(config.limits),
            heartbeat: Heartbeat::new(config.heartbeat),
            config,
            protocol,
            state: State::Idle,
            chance: Chance::new(seed),
            timers: TimerTable::default(),
            outputs: VecDeque::new(),
            effects: Vec::new(),
            held: Vec::new(),
            journal: Journal::default(),
            counters: Counters::default(),
            failures: 0,
            tickets: 0,
            restored: false,
            advice: None,
            stagger_ms: 0.0,
            verdict: FrameId::NONE,
            probing: None,
            leaving: None,
            buffered: 0.0,
            stalled_since: Instant::default(),
            waiting_since: None,
            released: 0,
            numbering: None,
            trailing: None,
            moving: false,
            could_probe: false,
            offline: false,
            presence: watch::Presence::default(),
        }
    }

    /// Takes an input. Only a caller's mistake is an error, and changes nothing.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) -> Result<(), ApiMisuse> {
        match input {
            Input::Connect => self.connect(now),
            Input::Disconnect { code, reason } => self.disconnect(now, code, reason)?,
            Input::Send { bytes, delivery, ttl_ms } => {
                let expires = ttl_ms.map(|ttl| now.after(ttl as u64));
                let connected = matches!(self.state, State::Ready { .. });
                self.outbox.push(bytes, delivery, expires, connected)?;
                self.waiting_since = self.waiting_since.or(Some(now));
                self.flush();
            }
            #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
            Input::Command(command) => self.ask(now, |protocol, cx| protocol.command(cx, command)),
            #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
            Input::Answered { ticket, texts } => self.ask(now, |protocol, cx| protocol.answered(cx, ticket, texts)),
            #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
            Input::Adopt { stream, base, tried } => {
                self.outbox.adopt(base, tried);
                self.protocol.name_stream(stream, true);
            }
            #[cfg(not(any(feature = "delivery", not(target_arch = "wasm32"))))]
            Input::Adopt { base, tried, .. } => self.outbox.adopt(base, tried),
            Input::Kept { bytes, ttl_ms, key } => {
                self.outbox.keep(bytes, ttl_ms.map(|ttl| now.after(ttl as u64)), key);
                self.waiting_since = self.waiting_since.or(Some(now));
            }
            Input::Skipped { count } => self.outbox.skip(count),
            Input::Renew => self.renew(now),
            Input::Clear => self.outbox.clear(),
            Input::Session(snapshot) => self.protocol.restore(snapshot),
            Input::Dispose => self.dispose(now),
            Input::Restored(found) => self.restored(now, found),
            Input::Resolved { ticket, answer } => self.resolved(now, ticket, answer),
            Input::Opened { socket, subprotocol } => self.opened(now, socket, &subprotocol),
            Input::Received { socket, route, frame, view } => {
                if self.is_open(socket) {
                    self.heard();
                    let inbound = Inbound { route, frame, view };
                    self.ask(now, |protocol, cx| protocol.received(cx, inbound));
                } else if handover::HERE && self.trailing == Some(socket) {
                    self.hear_trailing(now, Inbound { route, frame, view });
                }
            }
            Input::Garbled { socket, fault } => {
                if self.is_open(socket) {
                    self.heard();
                    self.tell(Event::Fault { fault, count: 0 });
                }
            }
            Input::HandedOver { socket, count, buffered } => {
                if self.is_open(socket) {
                    self.outbox.handed_over(count);
                    self.watch_buffer(now, buffered);
                    if count > 0 && buffered < HIGH_WATER {
                        self.flush();
                    }
                } else if self.leaving == Some(socket) {
                    self.outbox.handed_over(count);
                    self.buffered = buffered;
                }
            }
            Input::Buffered { socket, buffered } => {
                if self.is_open(socket) {
                    self.watch_buffer(now, buffered);
                    self.flush();
                } else if self.leaving == Some(socket) {
                    self.buffered = buffered;
                }
            }
            Input::Closed { socket, code, reason, clean, buffered } => {
                self.closed(now, socket, code, reason, clean, buffered);
            }
            Input::StorageDenied => self.tell(Event::Fault { fault: Fault::StorageDenied, count: 0 }),
            Input::Signal(signal) => self.signal(now, signal),
            Input::Timeout => self.timeouts(now),
        }
        self.tell_fates();
        if self.outbox.waiting() == 0 {
            self.waiting_since = None;
        }
        self.arm_expiry();
        Ok(())
    }

    /// The next thing to do. Ends with `Output::Timeout`; call it until then after every input.
    pub fn poll_output(&mut self) -> Output {
        while let Some(output) = self.outputs.pop_front() {
            match output {
                // A listener that was called since may have replaced messages, or ended the line.
                Output::HandOver { socket, limit, .. } => {
                    if (self.socket() == Some(socket) || self.leaving == Some(socket))
                        && let Some((from, count)) = self.outbox.next_run()
                    {
                        return Output::HandOver { socket, from, count, limit };
                    }
                }
                Output::Transmit { socket, ref text } if self.voice() == Some(socket) => {
                    self.outbox.passed_by(text.len() as u32);
                    return output;
                }
                _ => return output,
            }
        }
        Output::Timeout(self.timers.next())
    }

    /// The hot path: whether a frame may go to the page at once, because no part of the core wants to see it. Counts it
    /// as a sign of life. `false` says nothing but "ask `handle`".
    pub fn admit(&mut self, socket: SocketId, route: Route, order: f64) -> bool {
        let plain = route.0 > self.control_routes
            && self.outputs.is_empty()
            && matches!(self.state, State::Ready { socket: current } if current == socket)
            && self.protocol.admits(route, order);
        if plain {
            self.heard();
        }
        plain
    }

    /// Overrules the close code table for one code.
    pub fn set_policy(&mut self, code: CloseCode, retry: bool) {
        self.config.close_policy.push((code, retry));
    }

    /// Changes how often and how fast to try again, from the next failure on.
    pub fn set_retry(&mut self, base_ms: f64, max_ms: f64, max_attempts: f64) {
        self.config.backoff.base_ms = base_ms;
        self.config.backoff.max_ms = max_ms;
        self.config.max_attempts = max_attempts;
    }

    // What the page asks.

    fn connect(&mut self, now: Instant) {
        match self.state {
            State::Idle | State::Closed => {
                self.failures = 0;
                self.stagger_ms = 0.0;
                self.wait_hidden(now);
                self.journal.note(now, Fact::ConnectAsked);
                self.settle_leaving(now, self.buffered, false);
                if self.restored {
                    self.attempt(now);
                } else {
                    self.state = State::Restoring;
                    self.timers.set(Timer::Attempt, now.after(self.config.connect_timeout_ms));
                    self.outputs.push_back(Output::Restore);
                }
            }
            State::Waiting { .. } => {
                self.journal.note(now, Fact::ConnectAsked);
                self.wait_hidden(now);
                self.attempt(now);
            }
            State::Parked => {
                self.journal.note(now, Fact::ConnectAsked);
                self.unpark(now);
            }
            State::Restoring
            | State::Resolving { .. }
            | State::Opening { .. }
            | State::Handshaking { .. }
            | State::Ready { .. } => {}
        }
    }

    fn disconnect(&mut self, now: Instant, code: CloseCode, reason: String) -> Result<(), ApiMisuse> {
        if !code.is_sendable() {
            return Err(ApiMisuse::CloseCode { code: code.0 });
        }
        if reason.len() > 123 {
            return Err(ApiMisuse::CloseReason);
        }
        if matches!(self.state, State::Idle | State::Closed) {
            return Ok(());
        }
        self.journal.note(now, Fact::DisconnectAsked);
        self.turn_back();
        if let Some(socket) = self.socket() {
            self.outputs.push_back(Output::Close { socket, code, reason: reason.clone(), awaited: true });
            self.leaving = Some(socket);
        }
        // Our own code says nothing about the server's will.
        self.leave_socket(now, CloseCode::NORMAL);
        self.state = State::Closed;
        if self.leaving.is_some() {
            self.timers.set(Timer::Leave, now.after(LEAVE_MS));
        }
        self.journal.note(now, Fact::Ended { code: code.0, cause: Cause::Closed });
        self.tell(Event::Disconnected { code, reason, clean: true, will_reconnect: false, cause: Cause::Closed });
        self.ask(now, |protocol, cx| protocol.ended(cx));
        Ok(())
    }

    fn dispose(&mut self, now: Instant) {
        // Legal in every state: the code and the empty reason are sendable.
        let _ = self.disconnect(now, CloseCode::NORMAL, String::new());
        self.settle_leaving(now, self.buffered, false);
        self.outbox.end();
        self.ask(now, |protocol, cx| protocol.ended(cx));
        self.timers = TimerTable::default();
        self.state = State::Closed;
    }

    // One attempt, step by step.

    fn attempt(&mut self, now: Instant) {
        self.here_again();
        self.timers.stop(Timer::Retry);
        self.advice = None;
        self.tickets = self.tickets.wrapping_add(1);
        self.state = State::Resolving { ticket: self.tickets };
        self.timers.set(Timer::Attempt, now.after(self.config.connect_timeout_ms));
        self.journal.note(now, Fact::Dialling { attempt: self.failures });
        self.outputs.push_back(Output::Resolve { ticket: self.tickets });
    }

    fn restored(&mut self, now: Instant, found: Result<Option<Stored>, Fault>) {
        if self.restored {
            return;
        }
        self.restored = true;
        match found {
            Ok(None) => {}
            Ok(Some(stored)) => match stored.judge(self.config.max_age_ms) {
                Restored::Nothing => {}
                Restored::Usable(snapshot) => self.protocol.restore(Some(snapshot)),
                Restored::Expired => self.outputs.push_back(Output::Persist(None)),
                Restored::Foreign => {
                    self.tell(Event::Fault { fault: Fault::StorageCorrupt, count: 0 });
                }
            },
            Err(fault) => self.tell(Event::Fault { fault, count: 0 }),
        }
        if let State::Restoring = self.state {
            self.attempt(now);
        }
    }

    fn resolved(&mut self, now: Instant, ticket: u32, answer: Result<Option<String>, ()>) {
        if !matches!(self.state, State::Resolving { ticket: current } if current == ticket) {
            return;
        }
        match answer {
            Ok(token) => {
                if let Some(token) = token {
                    self.protocol.credential(token);
                }
                self.counters.sockets = self.counters.sockets.wrapping_add(1);
                let socket = SocketId(self.counters.sockets);
                self.state = State::Opening { socket };
                self.heartbeat.restart();
                self.buffered = 0.0;
                let beside = self.trailing.is_some();
                self.outputs.push_back(Output::Open { socket, address: self.protocol.address(), beside });
            }
            Err(()) => {
                self.journal.note(now, Fact::UrlProviderFailed);
                self.tell(Event::Fault { fault: Fault::UrlProvider, count: 0 });
                self.decide(now, CloseCode::ABNORMAL, Disposition::Retry(Cause::UrlProvider), None);
            }
        }
    }

    fn opened(&mut self, now: Instant, socket: SocketId, subprotocol: &str) {
        if !matches!(self.state, State::Opening { socket: current } if current == socket) {
            return;
        }
        self.turn_to_the_next(now);
        self.state = State::Handshaking { socket };
        self.journal.note(now, Fact::Opened);
        self.ask(now, |protocol, cx| protocol.opened(cx, subprotocol));
    }

    fn ready(&mut self, now: Instant, recovered: bool) {
        let State::Handshaking { socket } = self.state else {
            return;
        };
        self.state = State::Ready { socket };
        self.excuse_again();
        self.counters.connections = self.counters.connections.wrapping_add(1);
        self.stagger_ms = 0.0;
        self.timers.stop(Timer::Attempt);
        self.timers.set(Timer::Stable, now.after(self.config.stable_ms));
        self.journal.note(now, Fact::Ready { recovered });
        self.number();
        if self.heartbeat.can_probe() {
            self.probe(now);
        } else {
            self.arm_beat(now);
        }
        self.flush();
        let told = self.arrive();
        if !told && !recovered {
            let (code, cause) = (CloseCode::NORMAL, Cause::ServerRestart);
            self.tell(Event::Disconnected { code, reason: String::new(), clean: true, will_reconnect: true, cause });
        }
        if told || !recovered {
            self.tell(Event::Connected { attempt: self.failures, recovered });
        }
        self.release_held();
    }

    /// What an earlier connection left open is settled before anything new goes out.
    fn number(&mut self) {
        let numbering = self.numbering.take();
        #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
        let before = self.outbox.is_numbered();
        if let Some(fault) = self.outbox.begin(numbering) {
            self.tell(Event::Fault { fault, count: 0 });
        }
        #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
        if self.outbox.is_numbered() != before {
            self.outputs.push_back(Output::Numbered(!before));
        }
        self.tell_fates();
    }

    fn closed(&mut self, now: Instant, socket: SocketId, code: CloseCode, reason: String, clean: bool, buffered: f64) {
        if self.leaving == Some(socket) {
            self.settle_leaving(now, buffered, clean);
        } else if handover::HERE && self.trailing == Some(socket) && matches!(self.state, State::Handshaking { .. }) {
            // The server has turned to the next one.
            self.trailing = None;
        } else if self.socket() == Some(socket) || (handover::HERE && self.trailing == Some(socket) && self.turn_back())
        {
            self.buffered = buffered;
            self.lost(now, code, reason, clean, None);
        }
    }

    /// The current socket is of no use any more, whatever the browser thinks of it.
    fn abandon(&mut self, now: Instant, cause: Cause) {
        if cause == Cause::Lifecycle {
            // The browser took every socket there was.
            self.turn_back();
        }
        self.give_up(now, Disposition::Retry(cause));
    }

    fn give_up(&mut self, now: Instant, disposition: Disposition) {
        if let Some(socket) = self.socket() {
            let (code, reason) = (CloseCode::GIVEN_UP, disposition.cause().name().into());
            self.outputs.push_back(Output::Close { socket, code, reason, awaited: false });
            self.lost(now, CloseCode::ABNORMAL, String::new(), false, Some(disposition));
        }
    }

    /// A socket, or an attempt without one, has ended.
    fn lost(&mut self, now: Instant, code: CloseCode, reason: String, clean: bool, own: Option<Disposition>) {
        if handover::HERE && self.moving && self.turn_back() {
            self.stay(now);
            return;
        }
        let had_socket = self.socket().is_some();
        #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
        self.protocol.told_why(&reason);
        let of_protocol = self.leave_socket(now, code);
        // A socket that we give up writes out what it holds all the same, if it can: only the server can tell.
        let held = if own.is_some() && self.outbox.is_numbered() { 0.0 } else { self.buffered };
        self.outbox.socket_lost(now, held, if clean { End::Theirs } else { End::Abrupt });
        self.tell_fates();
        let disposition = own.unwrap_or_else(|| self.disposition(code, of_protocol));
        let told = had_socket.then_some((reason, clean));
        self.decide(now, code, disposition, told);
    }

    /// Whether to reconnect, and when: here and nowhere else.
    fn decide(&mut self, now: Instant, code: CloseCode, disposition: Disposition, socket: Option<(String, bool)>) {
        self.timers.stop(Timer::Attempt);
        if handover::HERE && self.moving && self.turn_back() {
            self.stay(now);
            return;
        }
        let cause = match disposition.cause() {
            Cause::Transport if self.was_away(now) => Cause::Lifecycle,
            Cause::Transport if self.offline => Cause::Offline,
            cause => cause,
        };
        let fatal = matches!(disposition, Disposition::Fatal(_));
        // What the page's absence has cost is no failure.
        let failed = cause != Cause::Lifecycle;
        let exhausted = failed && f64::from(self.failures) >= self.config.max_attempts;
        if let Some((reason, clean)) = socket {
            self.journal.note(now, Fact::Ended { code: code.0, cause });
            self.tell(Event::Disconnected { code, reason, clean, will_reconnect: !fatal && !exhausted, cause });
        }
        if fatal || exhausted {
            self.state = State::Closed;
            self.journal.note(now, Fact::GaveUp { attempts: self.failures });
            self.ask(now, |protocol, cx| protocol.ended(cx));
            let frame = core::mem::replace(&mut self.verdict, FrameId::NONE);
            let cause = if fatal { cause } else { Cause::AttemptsExhausted };
            self.tell(Event::Failed { cause, code, attempts: self.failures, frame });
            return;
        }
        if failed {
            self.failures = self.failures.saturating_add(1);
            self.excuse_again();
        }
        let advice = self.advice.take();
        let word = match (advice, disposition) {
            // Said again before there was a connection, it changes nothing: the crowd is spread already.
            (None, Disposition::RetryLater(_)) if self.stagger_ms < ADVICE_SPREAD_MS => {
                Some((LATER_LEAST_MS, ADVICE_SPREAD_MS))
            }
            (advice, _) => advice,
        };
        let (delay_ms, asked) = match word {
            Some((after, spread)) => {
                self.stagger_ms = spread.min(ADVICE_SPREAD_MS);
                ((after as u64).saturating_add(self.chance.below(spread)), true)
            }
            // The browser took the socket, the path is as good as ever: nothing to wait for.
            None if !failed => (0, false),
            None => {
                let (early, least, spread) = self.protocol.early_tries();
                let own = if self.failures <= early {
                    (least + self.chance.below(spread)).min(self.config.backoff.max_ms as u64)
                } else if let Some(within) = self.hurry(now, cause) {
                    self.chance.below(within)
                } else {
                    let own = self.config.backoff.delay_ms(self.failures - early, &mut self.chance);
                    own.saturating_mul(self.heartbeat.pace())
                };
                let turn = self.stagger_ms as u64 + self.chance.below(self.stagger_ms / 10.0);
                (own.max(turn), turn > own)
            }
        };
        let parked = self.is_to_be_parked(now);
        self.state = if parked { State::Parked } else { State::Waiting { asked } };
        #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
        self.ask(now, |protocol, cx| protocol.retrying(cx));
        if parked {
            self.journal.note(now, Fact::Parked);
            return;
        }
        self.timers.set(Timer::Retry, now.after(delay_ms));
        let attempt = self.failures;
        self.journal.note(now, Fact::Waiting { attempt, delay_ms, advised: advice.is_some() });
        if self.outbox.waiting() > 0 {
            self.journal.note(now, Fact::Unsent { count: self.outbox.waiting() });
        }
        self.tell(Event::Reconnecting { attempt, delay_ms, cause });
    }

    fn disposition(&self, code: CloseCode, own: Option<Disposition>) -> Disposition {
        let table = own.unwrap_or_else(|| code.disposition());
        match self.config.close_policy.iter().find(|(given, _)| *given == code) {
            Some((_, false)) => Disposition::Fatal(match table {
                Disposition::Fatal(cause) => cause,
                Disposition::Retry(_) | Disposition::RetryLater(_) => Cause::CloseCode,
            }),
            Some((_, true)) if matches!(table, Disposition::Fatal(_)) => Disposition::Retry(table.cause()),
            Some((_, true)) | None => table,
        }
    }

    /// Everything that belonged to the current socket ends with it.
    fn leave_socket(&mut self, now: Instant, code: CloseCode) -> Option<Disposition> {
        self.timers.stop_all_but(&[Timer::Expiry, Timer::Leave, Timer::Hide]);
        self.probing = None;
        self.numbering = None;
        self.release_held();
        self.ask(now, |protocol, cx| protocol.disconnected(cx, code))
    }

    fn settle_leaving(&mut self, now: Instant, buffered: f64, clean: bool) {
        if self.leaving.take().is_some() {
            self.timers.stop(Timer::Leave);
            self.outbox.socket_lost(now, buffered, if clean { End::Ours } else { End::Abrupt });
        }
    }

    /// Offers what waits to the socket, if it may take it.
    fn flush(&mut self) {
        let State::Ready { socket } = self.state else {
            return;
        };
        // One offer at a time: its answer offers the rest. What is in it is decided when it is taken up.
        let offered = self.outputs.iter().any(|output| matches!(output, Output::HandOver { .. }));
        let held = self.timers.get(Timer::Hold).is_some();
        if self.outbox.waiting() > 0 && self.buffered < HIGH_WATER && !offered && !held {
            self.outputs.push_back(Output::HandOver { socket, from: 0, count: 0, limit: HIGH_WATER });
        }
    }

    fn heard(&mut self) {
        self.heartbeat.heard();
        self.counters.received += 1.0;
    }

    fn socket(&self) -> Option<SocketId> {
        match self.state {
            State::Opening { socket } | State::Handshaking { socket } | State::Ready { socket } => Some(socket),
            State::Idle
            | State::Restoring
            | State::Resolving { .. }
            | State::Waiting { .. }
            | State::Parked
            | State::Closed => None,
        }
    }

    /// Whether `socket` is the current one and has opened.
    fn is_open(&self, socket: SocketId) -> bool {
        self.socket() == Some(socket) && !matches!(self.state, State::Opening { .. })
    }

    /// Lets the protocol speak, and does what it says.
    fn ask<T>(&mut self, now: Instant, speak: impl FnOnce(&mut dyn Protocol, &mut Context<'_>) -> T) -> T {
        let mut effects = core::mem::take(&mut self.effects);
        let mut cx = Context { now, effects: &mut effects };
        let answer = speak(&mut *self.protocol, &mut cx);
        for effect in effects.drain(..) {
            self.apply(now, effect);
        }
        self.effects = effects;
        answer
    }

    fn apply(&mut self, now: Instant, effect: Effect) {
        match effect {
            Effect::Ready { recovered } => self.ready(now, recovered),
            Effect::SendNow(text) => {
                if let Some(socket) = self.voice() {
                    self.outputs.push_back(Output::Transmit { socket, text });
                }
            }
            Effect::Emit(event) => self.tell_frame(event),
            Effect::SetTimer(millis) => self.timers.set(Timer::Protocol, now.after(millis)),
            Effect::StopTimer | Effect::WakeAt(None) => self.timers.stop(Timer::Protocol),
            Effect::WakeAt(Some(at)) => self.timers.set(Timer::Protocol, at),
            Effect::Act(act) => self.outputs.push_back(Output::Act(act)),
            #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
            Effect::Patience(within_ms, probes) => self.heartbeat.patience(within_ms, probes),
            Effect::Expect(within_ms) => {
                self.heartbeat.expect(within_ms);
                if matches!(self.state, State::Ready { .. }) {
                    self.arm_beat(now);
                }
            }
            Effect::Drop(cause) => self.give_up(now, Disposition::Retry(cause)),
            Effect::Fail(cause, frame) => {
                if self.socket().is_some() {
                    self.verdict = frame;
                    self.give_up(now, Disposition::Fatal(cause));
                }
            }
            Effect::Persist => {
                let snapshot = self.protocol.save();
                self.outputs.push_back(Output::Persist(snapshot));
            }
            Effect::OfferProbe => {
                let first = !self.heartbeat.can_probe();
                self.heartbeat.offer();
                if first && matches!(self.state, State::Ready { .. }) {
                    self.probe(now);
                }
            }
            Effect::Hold => {
                self.timers.set(Timer::Hold, now.after(HOLD_MS));
                if self.heartbeat.can_probe() {
                    self.probe(now);
                }
            }
            Effect::ProbeAnswered => self.probe_answered(now),
            #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
            Effect::Number(numbering) => self.numbering = Some(numbering),
            #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
            Effect::Acked(number) => {
                if let Err(fault) = self.outbox.acked(number) {
                    self.tell(Event::Fault { fault, count: 0 });
                }
                self.flush();
            }
            #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
            Effect::Move(within_ms) => self.move_within(now, within_ms),
            #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
            Effect::Repeated => self.counters.repeated += 1.0,
            Effect::Advice { retry_after_ms, spread_ms } => {
                let bounded = |ms: f64| {
                    if ms > 0.0 { ms.min(ADVICE_MOST_MS) } else { 0.0 }
                };
                self.advice = Some((bounded(retry_after_ms), bounded(spread_ms.unwrap_or(ADVICE_SPREAD_MS))));
            }
        }
    }

    // What the page hears.

    fn tell(&mut self, event: Event) {
        if let Event::Fault { fault, .. } = event
            && fault.is_the_peers()
        {
            self.counters.misbehaved += 1.0;
        }
        self.outputs.push_back(Output::Event(event));
    }

    /// A frame that comes before the handshake has ended waits for `ws-connected`, which comes first.
    fn tell_frame(&mut self, event: Event) {
        let is_frame = matches!(event, Event::Frame { .. } | Event::Unhandled { .. });
        if !is_frame || !matches!(self.state, State::Handshaking { .. }) {
            self.tell(event);
            return;
        }
        self.held.push(event);
        if self.held.len() > HELD_FRAMES {
            self.release_held();
        }
    }

    fn release_held(&mut self) {
        for event in core::mem::take(&mut self.held) {
            self.tell(event);
        }
    }

    fn tell_fates(&mut self) {
        for settled in self.outbox.take_settled() {
            self.outputs.push_back(Output::Settle(settled));
            if let Some(fault) = settled.fate.fault()
                && !settled.by_choice
            {
                self.tell(Event::Fault { fault, count: settled.count });
            }
        }
        let before = self.outbox.first_open();
        if before != self.released {
            self.released = before;
            self.outputs.push_back(Output::Release { before });
        }
    }
}
