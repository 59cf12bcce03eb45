//! OpenClaw (docs/protocols/openclaw.md): how requests, answers and events are told apart, which sessions are subscribed,
//! and what follows from a close.
//!
//! How a connection becomes ready is in `handshake`, what becomes of a run in `runs`. Signing, and keeping keys and tokens, is
//! the page's; when to dial again, the client's.

mod handshake;
mod runs;

use super::calls::Calls;
use super::{Becomes, Command, Context, Inbound, Protocol, RouteRow, Verb, Word, take_at};
use crate::config::Config;
use crate::error::{Cause, Fault, Rejection};
use crate::session::Snapshot;
use crate::time::Instant;
use crate::wire::{CloseCode, Disposition, Handle, Route, View, push_json_string, push_number};
use alloc::string::String;
use alloc::vec::Vec;
use runs::Runs;

const RES: Route = Route(1);
const CHALLENGE: Route = Route(2);
const SHUTDOWN: Route = Route(3);
const CHAT: Route = Route(4);
const AGENT: Route = Route(5);
const DELTA: Route = Route(6);

/// Frame types as the page's half names them. An answer is an event once only: as the gateway's hello.
const TYPES: [(&str, Becomes); 6] = [
    ("res", Becomes::Event("openclaw-hello")),
    ("connect.challenge", Becomes::Nothing),
    ("shutdown", Becomes::Event("openclaw-shutdown")),
    ("chat", Becomes::Event("openclaw-chat")),
    ("agent:note", Becomes::Event("openclaw-agent")),
    ("chat:delta", Becomes::Delta),
];

/// How long a gateway that said that it restarts is looked for again and again.
const HURRY_MS: u64 = 60_000;
/// An older gateway forgets its keys after five minutes.
const KEYS_MS: u64 = 240_000;
/// A second "your rights have changed" within so short a time will not be the last.
const KICK_MS: u64 = 60_000;
/// Behind the announcement of a shutdown nothing is sent any more; it closes within milliseconds.
const CLOSING_MS: u64 = 5000;
/// What the gateway asks for where it does not say how long (it counts wrong tokens for so long).
const RATE_LIMIT_MS: f64 = 300_000.0;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Away,
    /// The device is asked for and the challenge awaited, in any order.
    Greeting,
    /// The page is signing.
    Signing,
    Connecting,
    Ready,
}

/// What a connect was made with, and which of them the gateway will not have.
const GIVEN: u8 = 1;
const DEVICE: u8 = 2;

/// A token that the gateway gave to this device, and what it is good for.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    token: String,
    scopes: Vec<String>,
}

/// What we ask of the gateway ourselves, on this socket.
#[derive(Clone, Debug, PartialEq)]
enum Own {
    Subscribe(String),
    /// `again`: something has happened since it was asked.
    History {
        session: String,
        again: bool,
    },
    Abort(Handle),
    Probe,
}

/// A session that events are wanted of. Keys are JSON strings, quotes included: they are compared and sent, never read.
#[derive(Clone, Debug, PartialEq)]
struct Session {
    key: String,
    /// What the gateway calls it.
    canonical: Option<String>,
    /// It is subscribed, or the gateway will not have it.
    settled: bool,
    /// The page named it in its options: what is under way there is wanted at once.
    watched: bool,
}

/// More are forgotten, the oldest first.
const MOST_SESSIONS: usize = 64;

pub struct OpenClaw {
    token: Option<String>,
    password: Option<String>,
    scopes: Vec<String>,
    caps: Vec<String>,
    /// What the url provider or the page's session brought, over the option.
    session: Option<Snapshot>,
    credential: Option<String>,
    kept: Option<Kept>,
    forget: bool,
    /// `GIVEN`, `DEVICE`: not to be tried again until something has changed.
    refused: u8,
    used: u8,
    kicked: Option<Instant>,
    hurry: Option<Instant>,
    closing: Option<Instant>,
    /// A prompt waits for what becomes of an earlier one.
    held_back: bool,
    advised: bool,
    reason: String,
    phase: Phase,
    ticket: u32,
    /// Id and public key; the outer one: whether the page has said.
    device: Option<Option<(String, String)>>,
    challenge: Option<(String, u64)>,
    /// The number of the last event.
    seq: f64,
    v4: bool,
    max_payload: f64,
    /// There was a hello; and of which start of the gateway.
    greeted: bool,
    boot: Option<String>,
    /// Since when there is no connection.
    lost_at: Option<Instant>,
    /// The gateway still has the keys that it had when the line was lost.
    has_keys: bool,
    calls: Calls,
    own: Vec<(u32, Own)>,
    next_own: u32,
    sessions: Vec<Session>,
    runs: Runs,
}

impl OpenClaw {
    pub fn new(config: &Config, values: &dyn View) -> Self {
        let mut caps = list(values, "openclaw.caps", '.');
        // The last spares us the text of each run a second time, where the gateway is new enough to know it.
        caps.extend(["session-scoped-events", "tool-events", "chat-only-assistant-text"].map(String::from));
        let mut scopes = list(values, "openclaw.scopes", '.');
        if scopes.is_empty() {
            scopes.extend(["operator.read", "operator.write"].map(String::from));
        }
        let mut made = Self {
            token: values.string("openclaw.token"),
            password: values.string("openclaw.password"),
            scopes,
            caps,
            session: None,
            credential: None,
            kept: None,
            forget: false,
            refused: 0,
            used: 0,
            kicked: None,
            hurry: None,
            closing: None,
            held_back: false,
            advised: false,
            reason: String::new(),
            phase: Phase::Away,
            ticket: 0,
            device: None,
            challenge: None,
            seq: 0.0,
            v4: true,
            max_payload: f64::INFINITY,
            greeted: false,
            boot: None,
            lost_at: None,
            has_keys: true,
            calls: Calls::new(config),
            own: Vec::new(),
            next_own: 0,
            sessions: Vec::new(),
            runs: Runs::default(),
        };
        if let Some(key) = values.string("openclaw.sessionKey") {
            let session = Session { key: quoted(&key), canonical: None, settled: false, watched: true };
            made.sessions.push(session);
        }
        made
    }

    // Requests and answers.

    fn reject_too_large(&mut self, cx: &mut Context<'_>) {
        // Of what stands around them there are less than a hundred bytes.
        let max = self.max_payload - 100.0;
        let too_large = self.calls.iter().filter(|call| !call.sent && call.bytes() > max);
        let handles: Vec<Handle> = too_large.map(|call| call.handle).collect();
        for handle in handles {
            self.calls.reject(cx, handle, Rejection::TooLarge);
            self.drop_run(cx, handle);
        }
    }

    fn send_waiting(&mut self, cx: &mut Context<'_>) {
        if self.phase != Phase::Ready || self.closing.is_some() {
            return;
        }
        let (sessions, runs, v4) = (&self.sessions, &self.runs, self.v4);
        let mut held_back = false;
        self.calls.send_waiting(cx, |call| {
            if v4 && call.method == "chat.send" {
                let key = member(&call.params, "sessionKey").unwrap_or_default();
                let unsettled = sessions.iter().any(|session| session.key == key && !session.settled);
                // A prompt must not overtake one whose fate is not known yet: that one may have to be said again.
                let behind = runs.undecided(call.handle).any(|session| is_same(sessions, session, key));
                held_back |= behind;
                if unsettled || behind {
                    return None;
                }
            }
            let mut out = String::from("{\"type\":\"req\",\"id\":\"");
            push_number(&mut out, u64::from(call.handle.0));
            out.push_str("\",\"method\":");
            push_json_string(&mut out, &call.method);
            if !call.params.is_empty() {
                out.push_str(",\"params\":");
                out.push_str(&call.params);
            }
            out.push('}');
            Some(out)
        });
        self.held_back = held_back;
    }

    fn ask_own(&mut self, cx: &mut Context<'_>, own: Own, method: &str, params: &str) {
        self.next_own += 1;
        let mut out = String::from("{\"type\":\"req\",\"id\":\"m");
        push_number(&mut out, u64::from(self.next_own));
        out.push_str("\",\"method\":\"");
        out.push_str(method);
        out.push_str("\",\"params\":{");
        out.push_str(params);
        out.push_str("}}");
        self.own.push((self.next_own, own));
        cx.send_now(out);
    }

    fn forget_own(&mut self, unwanted: &Own) {
        while let Some(at) = self.own.iter().position(|(_, own)| own == unwanted) {
            take_at(&mut self.own, at);
        }
    }

    fn answer(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let view = inbound.view;
        let (Some(id), Some(ok)) = (view.string("id"), view.boolean("ok")) else {
            cx.fault(Fault::Malformed);
            return;
        };
        if id == "c" && self.phase == Phase::Connecting {
            if ok {
                self.hello(cx, inbound);
            } else {
                self.refused(cx, inbound);
            }
            return;
        }
        if let Some(own) = id.strip_prefix('m').and_then(|id| id.parse::<u32>().ok())
            && let Some(at) = self.own.iter().position(|(id, _)| *id == own)
            && let Some((_, own)) = take_at(&mut self.own, at)
        {
            self.answer_own(cx, inbound, own, ok);
            return;
        }
        let handle = Handle(id.parse().unwrap_or(0));
        let found = self.calls.find(handle).map(|call| (call.verb, call.sent));
        if found.is_none() && self.calls.was_asked(handle) {
            // The answer to a call that has ended is late; every other is an answer to nothing.
            return;
        }
        let (verb, sent) = found.unwrap_or((Verb::Request, false));
        if !sent {
            cx.emit(Inbound { route: Route::NONE, ..inbound });
        } else if verb == Verb::Run {
            self.answer_run(cx, inbound, handle, ok);
        } else {
            let word = if ok { Word::Result } else { Word::Refused };
            if let Some(call) = self.calls.end(cx, handle, word, inbound.frame)
                && ok
                && let Some(key) = member(&call.params, "key")
            {
                // What the page has subscribed by itself is subscribed again, too.
                match call.method.as_str() {
                    "sessions.messages.subscribe" => self.settle(key, inbound.view),
                    "sessions.messages.unsubscribe" => self.sessions.retain(|session| session.key != key),
                    _ => {}
                }
            }
        }
    }

    fn answer_own(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>, own: Own, ok: bool) {
        match own {
            Own::Subscribe(key) => {
                self.settle(&key, inbound.view);
                let watched = self.sessions.iter().any(|session| session.key == key && session.watched);
                if watched || self.wants_history(&key) {
                    self.history(cx, &key);
                }
                self.send_waiting(cx);
            }
            Own::History { session, again } => {
                if ok {
                    self.read_history(cx, inbound, &session);
                } else {
                    self.no_history(cx, &session, inbound.view.number("error/retryAfterMs"));
                }
                if again {
                    self.history(cx, &session);
                }
            }
            // Its run has heard of the end before; if not, there was none to stop.
            Own::Abort(handle) => self.end_run(cx, handle, Word::Cancelled, inbound.frame, 0.0),
            Own::Probe => cx.probe_answered(),
        }
    }

    // Sessions.

    /// The place of a session in the table.
    fn session(&mut self, key: &str) -> usize {
        self.sessions.iter().position(|session| session.key == key).unwrap_or_else(|| {
            if self.sessions.len() >= MOST_SESSIONS
                && let Some(oldest) = self.sessions.iter().position(|session| !session.watched)
            {
                take_at(&mut self.sessions, oldest);
            }
            let session = Session { key: key.into(), canonical: None, settled: false, watched: false };
            self.sessions.push(session);
            self.sessions.len() - 1
        })
    }

    fn settle(&mut self, key: &str, answer: &dyn View) {
        let at = self.session(key);
        if let Some(session) = self.sessions.get_mut(at) {
            session.settled = true;
            if let Some(canonical) = answer.string("payload/key") {
                session.canonical = Some(quoted(&canonical));
            }
        }
    }

    /// An older gateway sends everything to everybody, and is not asked.
    fn subscribe(&mut self, cx: &mut Context<'_>, at: usize) {
        if let Some(session) = self.sessions.get(at)
            && self.v4
            && self.phase == Phase::Ready
        {
            let key = session.key.clone();
            let mut params = String::from("\"key\":");
            params.push_str(&key);
            self.ask_own(cx, Own::Subscribe(key), "sessions.messages.subscribe", &params);
        }
    }

    /// Whether two keys are of one session, as far as is known.
    fn same_session(&self, one: &str, other: &str) -> bool {
        is_same(&self.sessions, one, other)
    }

    // Events.

    /// A number that is not the next means that the gateway has left some out.
    fn count(&mut self, cx: &mut Context<'_>, seq: f64) {
        let missed = seq - self.seq - 1.0;
        if self.seq > 0.0 && missed > 0.0 {
            let mut text = String::new();
            push_number(&mut text, missed as u64);
            cx.ask(0, "gap", text);
            self.tear_runs(cx);
        }
        self.seq = self.seq.max(seq);
    }

    fn shutdown(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        if let Some(after) = inbound.view.number("payload/restartExpectedMs") {
            self.hurry = Some(cx.now.after(HURRY_MS));
            self.advise(cx, after, 1000.0);
        }
        self.closing = Some(cx.now.after(CLOSING_MS));
        cx.hold();
        cx.emit(inbound);
    }

    fn rearm(&self, cx: &mut Context<'_>) {
        let calls = self.calls.next_deadline().into_iter();
        cx.wake_at(calls.chain(self.runs.next_deadline()).chain(self.closing).min());
    }
}

/// Whether two keys are of one session.
fn is_same(sessions: &[Session], one: &str, other: &str) -> bool {
    one == other
        || sessions.iter().any(|session| {
            let canonical = session.canonical.as_deref();
            (session.key == one && canonical == Some(other)) || (session.key == other && canonical == Some(one))
        })
}

impl Protocol for OpenClaw {
    fn subprotocols(&self) -> &'static [&'static str] {
        &[]
    }

    fn routes(&self) -> Vec<RouteRow> {
        TYPES.iter().map(|(name, event)| RouteRow { frame_type: (*name).into(), event: *event }).collect()
    }

    fn control_routes(&self) -> u32 {
        AGENT.0
    }

    fn opened(&mut self, cx: &mut Context<'_>, _subprotocol: &str) {
        self.phase = Phase::Greeting;
        self.device = None;
        self.challenge = None;
        self.seq = 0.0;
        self.closing = None;
        self.reason.clear();
        if core::mem::take(&mut self.forget) {
            cx.ask(0, "forget", String::new());
        }
        self.ticket += 1;
        cx.ask(self.ticket, "device", String::new());
    }

    fn admits(&mut self, _route: Route, order: f64) -> bool {
        // Those without a number are for this socket alone.
        if order > self.seq + 1.0 && self.seq > 0.0 {
            return false;
        }
        self.seq = self.seq.max(order);
        true
    }

    fn received(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        if inbound.route != RES
            && let Some(seq) = inbound.view.number("seq")
        {
            self.count(cx, seq);
        }
        match inbound.route {
            RES => self.answer(cx, inbound),
            CHALLENGE => {
                let (nonce, ts) = (inbound.view.string("payload/nonce"), inbound.view.number("payload/ts"));
                match (nonce, ts) {
                    (Some(nonce), Some(ts)) if ts >= 0.0 => {
                        if self.phase == Phase::Greeting {
                            self.challenge = Some((nonce, ts as u64));
                            self.prove(cx);
                        }
                    }
                    _ => cx.fault(Fault::Malformed),
                }
            }
            SHUTDOWN => self.shutdown(cx, inbound),
            CHAT => self.chat(cx, inbound),
            DELTA => self.delta(cx, inbound),
            AGENT => {
                self.note(cx, inbound);
                cx.emit(inbound);
            }
            _ => cx.emit(inbound),
        }
        if self.held_back {
            self.send_waiting(cx);
        }
        self.rearm(cx);
    }

    fn timeout(&mut self, cx: &mut Context<'_>) {
        while let Some(call) = self.calls.expire(cx) {
            self.drop_run(cx, call.handle);
        }
        self.look_after_runs(cx);
        if self.closing.is_some_and(|at| at <= cx.now) {
            self.closing = None;
            self.send_waiting(cx);
        }
        self.rearm(cx);
    }

    fn probe(&mut self, cx: &mut Context<'_>) {
        self.forget_own(&Own::Probe);
        self.ask_own(cx, Own::Probe, "health", "");
    }

    fn told_why(&mut self, reason: &str) {
        self.reason = reason.into();
    }

    fn is_busy(&self) -> bool {
        !self.calls.is_empty() || !self.runs.is_empty()
    }

    fn disconnected(&mut self, cx: &mut Context<'_>, code: CloseCode) -> Option<Disposition> {
        let was_ready = self.phase == Phase::Ready;
        if was_ready {
            self.lost_at = Some(cx.now);
        }
        self.phase = Phase::Away;
        self.closing = None;
        self.own.clear();
        self.sessions.iter_mut().for_each(|session| session.settled = false);
        self.lose_runs(cx, code.0 != 1009);
        let of_origin = self.reason.as_bytes().windows(6).any(|part| part == b"origin");
        let crowded = self.reason.starts_with("too many");
        let own = match code.0 {
            1002 => Some(Disposition::Fatal(Cause::ProtocolUnsupported)),
            1008 if of_origin => Some(Disposition::Fatal(Cause::Refused)),
            1008 if was_ready || crowded => Some(Disposition::Retry(Cause::Transport)),
            1009 => Some(Disposition::Retry(Cause::Transport)),
            1012 | 1013 => {
                self.hurry = self.hurry.or(Some(cx.now.after(HURRY_MS)));
                None
            }
            4001 => {
                let twice = self.kicked.is_some_and(|at| cx.now.since(at) < KICK_MS);
                self.kicked = Some(cx.now);
                let cause = Cause::Unauthorized;
                Some(if twice { Disposition::Fatal(cause) } else { Disposition::Retry(cause) })
            }
            4003 => Some(Disposition::Fatal(Cause::Refused)),
            _ => None,
        };
        if !core::mem::take(&mut self.advised) && self.hurry.is_some_and(|until| cx.now < until) {
            cx.advise(1000.0, Some(2000.0));
        }
        self.rearm(cx);
        own
    }

    fn ended(&mut self, cx: &mut Context<'_>) {
        self.refused = 0;
        self.kicked = None;
        self.hurry = None;
        self.end_runs(cx);
        cx.wake_at(None);
    }

    fn command(&mut self, cx: &mut Context<'_>, command: Command) {
        let handle = command.handle;
        match command.verb {
            Verb::Request | Verb::Run => {
                self.take_in(cx, command);
                self.reject_too_large(cx);
                self.send_waiting(cx);
            }
            Verb::Cancel => self.cancel(cx, handle),
            _ => cx.reject(handle, Rejection::Unsupported),
        }
        self.rearm(cx);
    }

    fn answered(&mut self, cx: &mut Context<'_>, ticket: u32, texts: [Option<String>; 3]) {
        if ticket != self.ticket {
            return;
        }
        let [first, second, third] = texts;
        match self.phase {
            Phase::Greeting if self.device.is_none() => {
                self.device = Some(first.zip(second));
                if let Some(text) = third {
                    let mut scopes = words(&text);
                    let token = take_at(&mut scopes, 0).unwrap_or_default();
                    self.kept = Some(Kept { token, scopes });
                }
                self.prove(cx);
            }
            Phase::Signing => self.connect(cx, first.as_deref()),
            _ => {}
        }
    }

    fn credential(&mut self, token: String) {
        if self.credential.as_ref() != Some(&token) {
            self.refused &= !GIVEN;
        }
        self.credential = Some(token);
    }

    fn save(&self) -> Option<Snapshot> {
        self.session.clone()
    }

    fn restore(&mut self, snapshot: Option<Snapshot>) {
        self.refused = 0;
        if snapshot.is_none() {
            self.forget = true;
            self.kept = None;
        }
        self.session = snapshot;
    }
}

/// The JSON text of a member of an object that `JSON.stringify` has written, if it is a string: quotes included.
fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let (mut depth, mut key, mut at) = (0, "", 0);
    let bytes = object.as_bytes();
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let from = at;
                at += 1;
                while *bytes.get(at)? != b'"' {
                    at += if *bytes.get(at)? == b'\\' { 2 } else { 1 };
                }
                let text = object.get(from..=at)?;
                if depth == 1 && bytes.get(at + 1) == Some(&b':') {
                    key = text.get(1..text.len() - 1)?;
                } else if depth == 1 && key == name {
                    return Some(text);
                }
            }
            b',' if depth == 1 => key = "",
            _ => {}
        }
        at += 1;
    }
    None
}

/// What stands between spaces and commas. std's search in texts weighs more than this.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars().chain([' ']) {
        if c != ' ' && c != ',' {
            word.push(c);
        } else if !word.is_empty() {
            words.push(core::mem::take(&mut word));
        }
    }
    words
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    push_json_string(&mut out, text);
    out
}

fn push_member(out: &mut String, name: &str, value: &str) {
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
    push_json_string(out, value);
}

fn push_list(out: &mut String, items: &[String]) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_json_string(out, item);
    }
}

fn joined<'a>(items: impl Iterator<Item = &'a String>, between: &str) -> String {
    let mut out = String::new();
    for item in items {
        if !out.is_empty() {
            out.push_str(between);
        }
        out.push_str(item);
    }
    out
}

/// The strings in a list, up to as many as anybody could mean.
fn list(values: &dyn View, path: &str, between: char) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < 64 {
        let mut at = String::from(path);
        at.push(between);
        push_number(&mut at, found.len() as u64);
        let Some(text) = values.string(&at) else {
            break;
        };
        found.push(text);
    }
    found
}
