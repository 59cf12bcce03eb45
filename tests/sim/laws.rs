//! The laws of src/protocol/mod.rs, run over every protocol and a fake one that is as difficult as the contract allows.

use crate::dialect::Dialect;
use crate::line::{Ask, Browser, Line, Seen, config, values};
use crate::notation::input;
use moorline::Input;
use moorline::backoff::Chance;
use moorline::error::Fault;
use moorline::outbox::Delivery;
use moorline::protocol::{self, Becomes, Context, Inbound, Protocol, RouteRow, Word};
use moorline::session::{Snapshot, Stored};
use moorline::time::Instant;
use moorline::wire::{CloseCode, Disposition, FrameId, Handle, Route, SocketId};
use serde_json::{Value, json};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what a thread allocates, so that a law about it can be checked.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; the counter itself allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|total| total.set(total.get() + layout.size()));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Resumes by a row of frames, is ready only after a nod, and asks for everything that the contract offers.
#[derive(Default)]
struct Fake {
    token: Option<String>,
    greeted: u32,
    owed: Vec<String>,
}

impl Protocol for Fake {
    fn subprotocols(&self) -> &'static [&'static str] {
        &["fake.v1"]
    }

    fn routes(&self) -> Vec<RouteRow> {
        let row = |frame_type: &'static str, event: Becomes| RouteRow { frame_type: frame_type.into(), event };
        vec![row("nod", Becomes::Nothing), row("token", Becomes::Nothing), row("news", Becomes::Event("news"))]
    }

    fn control_routes(&self) -> u32 {
        2
    }

    fn opened(&mut self, cx: &mut Context<'_>, _subprotocol: &str) {
        self.greeted = 0;
        cx.send_now(json!({"hello": self.token}).to_string());
        for owed in &self.owed {
            cx.send_now(json!({"again": owed}).to_string());
        }
        cx.set_timer(500);
    }

    fn received(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        match inbound.route {
            Route(1) => {
                self.greeted += 1;
                if self.greeted == 2 {
                    cx.stop_timer();
                    cx.ready(self.token.is_some());
                    cx.offer_probe();
                }
            }
            Route(2) => match inbound.view.string("token") {
                Some(token) => {
                    self.owed.push(token.clone());
                    self.token = Some(token);
                    cx.persist();
                }
                None => cx.fault(Fault::Malformed),
            },
            _ => cx.emit(inbound),
        }
    }

    fn timeout(&mut self, cx: &mut Context<'_>) {
        cx.send_now("{\"still\":\"here\"}".into());
        cx.set_timer(500);
    }

    fn probe(&mut self, cx: &mut Context<'_>) {
        cx.send_now("{\"well\":true}".into());
    }

    fn disconnected(&mut self, _cx: &mut Context<'_>, _code: CloseCode) -> Option<Disposition> {
        None
    }

    fn save(&self) -> Option<Snapshot> {
        self.token.clone().map(|token| Snapshot { token, client_id: None, cursor: None })
    }

    fn restore(&mut self, snapshot: Option<Snapshot>) {
        self.token = snapshot.map(|snapshot| snapshot.token);
        self.owed = self.token.clone().into_iter().collect();
    }
}

/// A protocol under the laws. Lines are of the notation's inputs; `#_` is the socket of the moment.
struct Subject {
    name: &'static str,
    /// Which dialect its frames are read by.
    dialect: &'static str,
    make: fn() -> Box<dyn Protocol>,
    /// What the page asks for before anything comes.
    before: &'static [&'static str],
    /// What makes a socket that has opened ready.
    welcome: &'static [&'static str],
    /// A frame of a known type that lacks what the type needs.
    malformed: &'static str,
    /// A frame of a type that nobody has heard of, and the event that it becomes.
    unknown: (&'static str, &'static str),
    /// A line that leaves something to be restored on the next socket, and words of what is said there or where it is dialled.
    owed: Option<(&'static str, &'static str)>,
    /// A call with handle 9, and a line that ends it.
    call: Option<(&'static str, &'static str)>,
    /// Numbered frames in order, as the handle that hears of them hears them.
    numbered: Option<(u32, &'static [&'static str])>,
}

fn of_options(options: &str) -> Box<dyn Protocol> {
    protocol::create(&config(options), &values(options)).expect("a protocol of that name")
}

fn subjects() -> Vec<Subject> {
    vec![
        Subject {
            name: "nexus",
            dialect: "nexus",
            make: || of_options("{}"),
            before: &[],
            welcome: &[r#"received #_ {"type":"session-init","token":"t1","clientId":"c1"}"#],
            malformed: r#"{"type":"server-advice","retryAfterMs":"soon"}"#,
            unknown: (r#"{"type":"never-heard-of","x":1}"#, "ws-unhandled"),
            owed: Some((r#"received #_ {"type":"session-init","token":"t2","clientId":"c1"}"#, "t2")),
            call: None,
            numbered: None,
        },
        Subject {
            name: "fake",
            dialect: "nexus",
            make: || Box::<Fake>::default(),
            before: &[],
            welcome: &[r#"received #_ {"type":"nod"}"#, r#"received #_ {"type":"nod"}"#],
            malformed: r#"{"type":"token","token":7}"#,
            unknown: (r#"{"type":"never-heard-of","x":1}"#, "ws-unhandled"),
            owed: Some((r#"received #_ {"type":"token","token":"t2"}"#, "t2")),
            call: None,
            numbered: None,
        },
        Subject {
            name: "hermes",
            dialect: "hermes",
            make: || of_options(r#"{"protocol":"hermes"}"#),
            before: &[r#"session {"token":"k1","clientId":"r1"}"#],
            welcome: &[
                r#"received #_ {"jsonrpc":"2.0","method":"event","params":{"type":"gateway.ready","payload":{"replay_epoch":"e"}}}"#,
            ],
            malformed: r#"{"jsonrpc":"2.0","method":"event","params":{"type":"message.start"}}"#,
            unknown: (
                r#"{"jsonrpc":"2.0","method":"event","params":{"type":"never.heard.of"}}"#,
                "hermes-never.heard.of",
            ),
            owed: Some((r#"session {"token":"k2","clientId":"r1"}"#, "k2")),
            call: Some(("request 9 session.list", r#"received #_ {"jsonrpc":"2.0","result":{},"id":9}"#)),
            numbered: Some((
                1 | 1 << 31,
                &[
                    "received #_ {\"jsonrpc\":\"2.0\",\"id\":\"m1\",\"result\":{\"session_id\":\"r1\",\"session_key\":\"k1\"}}\n{\"method\":\"event\",\"params\":{\"type\":\"message.start\",\"session_id\":\"r1\",\"seq\":1}}",
                    r#"received #_ {"method":"event","params":{"type":"message.delta","session_id":"r1","seq":5,"payload":{"text":"a"}}}"#,
                ],
            )),
        },
        Subject {
            name: "action-cable",
            dialect: "action-cable",
            make: || of_options(r#"{"protocol":"action-cable"}"#),
            before: &[r#"subscribe 1 {"channel":"C"}"#],
            welcome: &[r#"received #_ {"type":"welcome"}"#],
            malformed: r#"{"type":"confirm_subscription","identifier":7}"#,
            unknown: (r#"{"type":"never-heard-of","x":1}"#, "ws-unhandled"),
            owed: Some((r#"subscribe 3 {"channel":"owed"}"#, "owed")),
            call: Some((
                r#"perform 9 to:1 {"action":"speak"}"#,
                r#"received #_ {"identifier":"{\"channel\":\"C\"}","type":"confirm_subscription"}"#,
            )),
            numbered: None,
        },
        Subject {
            name: "openclaw",
            dialect: "openclaw",
            make: || of_options(r#"{"protocol":"openclaw"}"#),
            before: &[],
            welcome: &[
                "answer _",
                r#"received #_ {"type":"event","event":"connect.challenge","payload":{"nonce":"n","ts":1}}"#,
                r#"received #_ {"type":"res","id":"c","ok":true,"payload":{"protocol":4,"auth":{"scopes":["operator.read","operator.write"]}}}"#,
            ],
            malformed: r#"{"type":"event","event":"chat","payload":{"state":"final"}}"#,
            unknown: (r#"{"type":"event","event":"never-heard-of","x":1}"#, "openclaw-never-heard-of"),
            owed: Some((r#"run 3 chat.send key:k3 {"sessionKey":"owed","message":"m"}"#, r#"{"key":"owed"}"#)),
            call: Some(("request 9 sessions.list {}", r#"received #_ {"type":"res","id":"9","ok":true,"payload":{}}"#)),
            numbered: None,
        },
        Subject {
            name: "json-rpc",
            dialect: "json-rpc",
            make: || of_options(r#"{"protocol":"json-rpc"}"#),
            before: &[],
            welcome: &[],
            malformed: r#"{"jsonrpc":"2.0","result":1,"error":{"code":1},"id":1}"#,
            unknown: (r#"{"jsonrpc":"2.0","method":"never-heard-of"}"#, "rpc-never-heard-of"),
            owed: None,
            call: Some(("request 9 x", r#"received #_ {"jsonrpc":"2.0","result":1,"id":9}"#)),
            numbered: None,
        },
        Subject {
            name: "observation",
            dialect: "observation",
            make: || of_options(r#"{"protocol":"observation"}"#),
            before: &["observe 1 events/ws"],
            welcome: &[
                r#"received #_ {"kind":"event","envelope":{"cursor":"bo_00000000000000a1","worker_id":"w","payload":{"event":"snapshot"}}}"#,
            ],
            malformed: r#"{"kind":"event","envelope":{"worker_id":"w"}}"#,
            unknown: (r#"{"kind":"never-heard-of","x":1}"#, "ws-unhandled"),
            owed: Some((
                r#"received #_ {"kind":"event","envelope":{"cursor":"bo_00000000000000b2","worker_id":"w","payload":{"event":"x"}}}"#,
                "00b2",
            )),
            call: Some(("observe 9 elsewhere", "cancel 9")),
            numbered: Some((
                1,
                &[
                    r#"received #_ {"kind":"event","envelope":{"cursor":"bo_00000000000000a2","worker_id":"w","payload":{"event":"x"}}}"#,
                    r#"received #_ {"kind":"event","envelope":{"cursor":"bo_00000000000000a5","worker_id":"w","payload":{"event":"y"}}}"#,
                ],
            )),
        },
    ]
}

/// A browser that takes everything and keeps silent.
pub struct Quiet;

impl Browser for Quiet {
    fn restore(&mut self, _now: u64) -> Option<Result<Option<Stored>, Fault>> {
        Some(Ok(None))
    }

    fn resolve(&mut self, _now: u64, _ticket: u32) -> Option<Result<Option<String>, ()>> {
        Some(Ok(None))
    }

    fn open(&mut self, _now: u64, _socket: SocketId) {}

    fn write(&mut self, _now: u64, _socket: SocketId, _id: Option<u32>, _text: &str) -> bool {
        true
    }

    fn buffered(&self, _socket: SocketId) -> f64 {
        0.0
    }

    fn close(&mut self, _now: u64, _socket: SocketId) {}

    fn persist(&mut self, _now: u64, _snapshot: Option<&Snapshot>) {}

    fn listen(&mut self, _name: &str, _detail: &Value) -> Vec<Ask> {
        Vec::new()
    }
}

fn line_of(subject: &Subject) -> Line<Quiet> {
    let config = config(r#"{"reconnect":{"jitter":"none","baseDelayMs":1000}}"#);
    let mut line = Line::over(config, (subject.make)(), Dialect::of(subject.dialect), 1, Quiet);
    play(&mut line, subject.before, 0);
    line.ask(Ask::Connect).expect("always legal");
    line
}

fn play(line: &mut Line<Quiet>, lines: &[&str], socket: u32) {
    for text in lines {
        // Each socket of OpenClaw asks the page once.
        let text = text.replace("#_", &format!("#{socket}")).replace("answer _", &format!("answer {socket}"));
        let done = input(line, &text).unwrap_or_else(|why| panic!("{text}: {why}"));
        done.expect("the page does nothing wrong");
    }
}

/// Opens the socket that the line dials, and makes it ready.
fn welcome(line: &mut Line<Quiet>, subject: &Subject, socket: u32) {
    line.opened(SocketId(socket));
    play(line, subject.welcome, socket);
}

fn send(line: &mut Line<Quiet>, text: &str) {
    let sent = line.send(text.into(), Delivery::Queue, None);
    sent.expect("there is room");
}

/// Frames that no server should send, from bytes that nobody chose.
fn strange_frame(chance: &mut Chance, depth: u32) -> Value {
    const KEYS: [&str; 28] = [
        "type",
        "token",
        "clientId",
        "n",
        "ping",
        "retryAfterMs",
        "spreadMs",
        "__proto__",
        "constructor",
        "kind",
        "envelope",
        "cursor",
        "worker_id",
        "payload",
        "event",
        "id",
        "ok",
        "error",
        "result",
        "method",
        "params",
        "identifier",
        "message",
        "session_id",
        "runId",
        "state",
        "seq",
        "sessionKey",
    ];
    const WORDS: [&str; 19] = [
        "event",
        "diagnostic",
        "final",
        "delta",
        "bo_00000000000000a1",
        "res",
        "session-init",
        "session-resumed",
        "session-refused",
        "gateway-offer",
        "pong",
        "server-advice",
        "chat",
        "nod",
        "token",
        "news",
        "ws-connected",
        "",
        "\u{0}\u{2028}\u{fffd}",
    ];
    let pick = |chance: &mut Chance, count: usize| chance.below(count as f64) as usize;
    match pick(chance, if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(chance.below(9e15) as f64 - 4e15),
        3 => json!(-1e308),
        4 => json!("x".repeat(pick(chance, 20_000))),
        5 => json!(WORDS[pick(chance, WORDS.len())]),
        6 => Value::Array((0..pick(chance, 5)).map(|_| strange_frame(chance, depth - 1)).collect()),
        _ => {
            let mut object = json!({"type": WORDS[pick(chance, WORDS.len())]});
            for _ in 0..pick(chance, 6) {
                object[KEYS[pick(chance, KEYS.len())]] = strange_frame(chance, depth - 1);
            }
            object
        }
    }
}

#[test]
fn law_1_no_frame_makes_a_protocol_panic_or_allocate_beyond_its_size() {
    for subject in subjects() {
        let mut chance = Chance::new(1);
        let mut protocol = (subject.make)();
        let rows = protocol.routes().len() as f64;
        for turn in 0..4000 {
            let frame = strange_frame(&mut chance, 3);
            let size = frame.to_string().len();
            let mut effects = Vec::new();
            if turn % 50 == 0 {
                let (now, effects) = (Instant::from_millis(turn), &mut Vec::new());
                protocol.disconnected(&mut Context { now, effects }, CloseCode::ABNORMAL);
                protocol.opened(&mut Context { now, effects }, "");
            }
            let inbound = Inbound {
                // Any route with any frame: a view may disagree with its route.
                route: Route(chance.below(rows + 2.0) as u32),
                frame: FrameId(1),
                view: &frame,
            };
            let before = ALLOCATED.with(Cell::get);
            let now = Instant::from_millis(turn);
            protocol.received(&mut Context { now, effects: &mut effects }, inbound);
            let allocated = ALLOCATED.with(Cell::get) - before;
            assert!(allocated <= 4 * size + 4096, "{}: {allocated} bytes for a frame of {size}", subject.name);
            assert!(effects.len() <= 8, "{}: {effects:?}", subject.name);
        }
    }
}

#[test]
fn law_1_no_sequence_of_inputs_makes_the_client_panic() {
    for subject in subjects() {
        for seed in 0..40 {
            let mut chance = Chance::new(seed);
            let mut line = line_of(&subject);
            for _ in 0..200 {
                let socket = SocketId(chance.below(6.0) as u32);
                line.now += chance.below(4000.0);
                match chance.below(9.0) {
                    0 => line.opened(socket),
                    1 => line.closed(socket, 1000 + chance.below(4000.0) as u16, "why", seed % 2 == 0),
                    2 => line.ring(),
                    3 => line.obey(Input::Buffered { socket, buffered: chance.below(3e6) as f64 }),
                    4 => line.obey(Input::Restored(Err(Fault::StorageDenied))),
                    5 => line.obey(Input::Resolved { ticket: chance.below(6.0) as u32, answer: Ok(Some("t".into())) }),
                    6 => send(&mut line, "{}"),
                    7 => line.ask(Ask::Connect).expect("always legal"),
                    _ => line.received(socket, &strange_frame(&mut chance, 2).to_string()),
                }
            }
        }
    }
}

#[test]
fn law_2_every_call_ends_exactly_once_whatever_ends_it() {
    for subject in subjects() {
        let Some((call, answer)) = subject.call else {
            continue;
        };
        // Answered; never answered; the line lost for good; cancelled; after all of it once more.
        for last in [&[answer][..], &[], &["disconnect"], &["dispose"], &["cancel 9"], &["cancel 9", answer, "dispose"]]
        {
            for first in [&["connect"][..], &[call]] {
                let mut line = line_of(&subject);
                play(&mut line, first, 1);
                welcome(&mut line, &subject, 1);
                if first != [call] {
                    play(&mut line, &[call], 1);
                }
                play(&mut line, last, 1);
                line.now += 60_000;
                line.ring();
                play(&mut line, &["dispose"], 1);
                let ends = line
                    .seen
                    .iter()
                    .filter(|(_, seen)| matches!(seen, Seen::Told { handle: Handle(9), word, .. } if is_an_end(*word)));
                assert_eq!(ends.count(), 1, "{}: {last:?} {:?}", subject.name, line.seen);
            }
        }
    }
}

const fn is_an_end(word: Word) -> bool {
    match word {
        Word::Result
        | Word::Refused
        | Word::TimedOut
        | Word::Lost
        | Word::Cancelled
        | Word::Rejected
        | Word::Sent
        | Word::Final
        | Word::Failed
        | Word::Stopped => true,
        Word::Started
        | Word::Delta
        | Word::Resumed
        | Word::Restarted
        | Word::Gap
        | Word::Note
        | Word::Confirmed
        | Word::Away
        | Word::Began
        | Word::Called
        | Word::Withdrawn => false,
    }
}

#[test]
fn law_3_nothing_queued_is_sent_before_ready() {
    for subject in subjects() {
        let mut line = line_of(&subject);
        send(&mut line, r#"{"a":1}"#);
        line.opened(SocketId(1));
        for (index, one) in subject.welcome.iter().enumerate() {
            let sent = line.seen.iter().any(|(_, seen)| matches!(seen, Seen::Sent(..)));
            assert!(!sent, "{}: sent before welcome {index}", subject.name);
            play(&mut line, &[one], 1);
        }
        let sent = line.seen.iter().position(|(_, seen)| matches!(seen, Seen::Sent(..)));
        let told =
            line.seen.iter().position(|(_, seen)| matches!(seen, Seen::Event { name, .. } if name == "ws-connected"));
        assert!(sent.is_some() && sent < told, "{}: {:?}", subject.name, line.seen);
    }
}

/// What is said on a socket and where it was dialled, from the `from`th fact on.
fn words(line: &Line<Quiet>, from: usize) -> String {
    let said = line.seen[from..].iter().filter_map(|(_, seen)| match seen {
        Seen::Transmit(_, text) | Seen::Open(_, text) => Some(text.as_str()),
        _ => None,
    });
    said.collect::<Vec<_>>().join("\n")
}

#[test]
fn law_4_a_new_socket_is_told_what_the_last_one_owed() {
    for subject in subjects() {
        let Some((cause, owed)) = subject.owed else {
            continue;
        };
        let mut line = line_of(&subject);
        welcome(&mut line, &subject, 1);
        play(&mut line, &[cause], 1);
        let from = line.seen.len();
        line.closed(SocketId(1), 1006, "", false);
        line.now += 40_000;
        line.ring();
        welcome(&mut line, &subject, 2);
        assert!(words(&line, from).contains(owed), "{}: {}", subject.name, words(&line, from));
    }
}

#[test]
fn law_5_a_cursor_never_moves_backwards_and_nothing_is_heard_twice() {
    for subject in subjects() {
        let Some((hearer, frames)) = subject.numbered else {
            continue;
        };
        let mut line = line_of(&subject);
        welcome(&mut line, &subject, 1);
        let from = line.seen.len();
        let heard = |line: &Line<Quiet>| {
            let told = line.seen[from..].iter();
            told.filter(|(_, seen)| matches!(seen, Seen::Told { handle, .. } if handle.0 == hearer)).count()
        };
        play(&mut line, frames, 1);
        assert_eq!(heard(&line), frames.len(), "{}", subject.name);
        // Once more, and in the wrong order.
        play(&mut line, frames, 1);
        frames.iter().rev().for_each(|frame| play(&mut line, &[frame], 1));
        assert_eq!(heard(&line), frames.len(), "{}: {:?}", subject.name, line.seen);
    }
}

#[test]
fn law_6_a_restored_protocol_behaves_as_the_one_that_was_saved() {
    for subject in subjects() {
        let mut line = line_of(&subject);
        welcome(&mut line, &subject, 1);
        if let Some((cause, _)) = subject.owed {
            play(&mut line, &[cause], 1);
        }
        let kept = line.seen.iter().rev().find_map(|(_, seen)| match seen {
            Seen::Persist(snapshot) => Some(snapshot.clone()),
            _ => None,
        });
        // What keeps nothing has nothing to restore.
        let Some(Some(snapshot)) = kept else {
            continue;
        };
        let (mut saved, mut restored) = ((subject.make)(), (subject.make)());
        saved.restore(Some(snapshot.clone()));
        assert_eq!(saved.save(), Some(snapshot), "{}", subject.name);
        restored.restore(saved.save());
        let first_words = |protocol: &mut dyn Protocol| {
            let mut effects = Vec::new();
            let address = protocol.address();
            protocol.opened(&mut Context { now: Instant::from_millis(0), effects: &mut effects }, "");
            (address, effects)
        };
        assert_eq!(first_words(&mut *restored), first_words(&mut *saved), "{}", subject.name);
        restored.restore(None);
        assert_eq!(restored.save(), None, "{}", subject.name);
    }
}

#[test]
fn law_7_an_unknown_type_is_an_event_and_a_malformed_known_one_a_fault() {
    for subject in subjects() {
        let mut line = line_of(&subject);
        welcome(&mut line, &subject, 1);
        let (frame, event) = subject.unknown;
        line.received(SocketId(1), frame);
        line.received(SocketId(1), subject.malformed);
        let heard: Vec<_> = line.events().map(|(_, name, detail)| (name, detail.clone())).collect();
        let unknown: Value = serde_json::from_str(frame).expect("JSON");
        assert!(heard.contains(&(event, unknown)), "{}: {heard:?}", subject.name);
        assert!(heard.contains(&("ws-error", json!({"code": "frame.malformed"}))), "{}: {heard:?}", subject.name);
        assert_eq!(line.client.counters().misbehaved, 1.0);
    }
}

#[test]
fn law_8_the_same_inputs_give_the_same_outputs() {
    let run = |subject: &Subject| {
        let mut line = line_of(subject);
        let mut chance = Chance::new(5);
        for socket in 1..8 {
            line.opened(SocketId(socket));
            for one in subject.welcome {
                play(&mut line, &[one], socket);
                send(&mut line, r#"{"a":1}"#);
            }
            line.received(SocketId(socket), &strange_frame(&mut chance, 2).to_string());
            line.closed(SocketId(socket), 1012, "", true);
            line.now += 31_000;
            line.ring();
        }
        line.seen
    };
    for subject in subjects() {
        assert_eq!(run(&subject), run(&subject), "{}", subject.name);
    }
}

#[test]
fn a_protocol_that_is_never_ready_is_replaced_at_the_deadline_whatever_it_does_with_its_own_timer() {
    let subjects = subjects();
    let fake = subjects.iter().find(|subject| subject.name == "fake").expect("the fake one");
    let mut line = line_of(fake);
    line.opened(SocketId(1));
    while line.now < 10_000 {
        line.now = line.due.expect("the deadline at least");
        line.ring();
    }
    assert!(line.seen.contains(&(10_000, Seen::Close(1, 4000, "handshake-timeout".into()))));
}
