//! The Hermes agent gateway (docs/protocols/hermes.md), on JSON-RPC: the session that a line keeps, and what events mean.
//!
//! Whose a turn is lives in hermes/turns.rs, what becomes of a question in hermes/questions.rs, what a method's name says in
//! hermes/methods.rs.

mod methods;
mod questions;
mod turns;

use super::calls::{AfterLoss, Calls};
use super::json_rpc::{asked, fits, id, request};
use super::{Becomes, Command, Context, Inbound, Protocol, RouteRow, Verb, Word};
use crate::config::Config;
use crate::error::{Cause, Fault, Rejection};
use crate::session::{MAX_TOKEN_BYTES, Snapshot};
use crate::time::Instant;
use crate::wire::{CloseCode, Disposition, FrameId, Handle, Route, View, push_number};
use alloc::string::String;
use alloc::vec::Vec;
use methods::{about, in_query, lives_in, only_reads, opens, own_id, session_of, within};
use questions::{Questions, Send};
use turns::Turns;

const READY: Route = Route(1);
const START: Route = Route(2);
const COMPLETE: Route = Route(3);
const FAILED: Route = Route(4);
const INFO: Route = Route(5);
const APPROVAL: Route = Route(6);
const CLARIFY: Route = Route(7);
const SUDO: Route = Route(8);
const SECRET: Route = Route(9);
const TERMINAL: Route = Route(10);
const SUDO_OVER: Route = Route(11);
const SECRET_OVER: Route = Route(12);
const WITHDRAWN: Route = Route(13);
const ANSWER: Route = Route(14);
const CALL: Route = Route(15);
const GARBLED: Route = Route(16);
const DELTA: Route = Route(17);
const THINKING: Route = Route(18);
const SESSION: Route = Route(20);
const SESSION_LOST: Route = Route(21);

const TYPES: [(&str, Becomes); 21] = [
    ("gateway.ready", Becomes::Event("hermes-gateway.ready")),
    ("message.start", Becomes::Event("hermes-message.start")),
    ("message.complete", Becomes::Event("hermes-message.complete")),
    ("error", Becomes::Event("hermes-error")),
    ("session.info", Becomes::Event("hermes-session.info")),
    ("approval.request", Becomes::Event("hermes-approval.request")),
    ("clarify.request", Becomes::Event("hermes-clarify.request")),
    ("sudo.request", Becomes::Event("hermes-sudo.request")),
    ("secret.request", Becomes::Event("hermes-secret.request")),
    ("terminal.read.request", Becomes::Event("hermes-terminal.read.request")),
    ("sudo.expire", Becomes::Event("hermes-sudo.expire")),
    ("secret.expire", Becomes::Event("hermes-secret.expire")),
    ("request.cancel", Becomes::Event("hermes-request.cancel")),
    ("rpc.answer", Becomes::Nothing),
    ("rpc.call", Becomes::Nothing),
    ("rpc.garbled", Becomes::Nothing),
    ("message.delta", Becomes::Delta),
    ("thinking.delta", Becomes::Event("hermes-thinking.delta")),
    ("rpc.error", Becomes::Event("rpc-error")),
    ("rpc.session", Becomes::Event("hermes-session")),
    ("rpc.session-lost", Becomes::Event("hermes-session-lost")),
];

/// Events that are kept back; one more, and the oldest is told.
const MOST_HELD: usize = 256;
/// The event loop of a gateway may stall, and a session may take its time to come up.
const TASK_MS: u64 = 30_000;
const PROBE_MS: u64 = 5000;
/// After the end of a turn, when the queued one has begun, and how often that is looked for.
const RETAKE_MS: u64 = 250;
const MOST_RETAKES: u32 = 8;
/// After the end of a turn, how long the session may take to say that it is idle; until then 0.17 is busy.
const IDLE_MS: u64 = 500;
/// So many sockets in a row may be refused by a server that lives.
const MOST_REFUSALS: u32 = 6;
/// What a session was created with is kept to create it again.
const MOST_KEPT: usize = 65_536;

/// What the line itself asks of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Resume,
    Activate,
    Create,
    /// The session's events go to another socket: have them back.
    Retake,
    /// The events that were missed.
    Replay,
}

/// An event, as far as Rust reads it.
struct Heard {
    route: Route,
    frame: FrameId,
    session: String,
    /// Whatever else the route makes us read.
    detail: String,
    order: f64,
}

pub struct Hermes {
    calls: Calls,
    turns: Turns,
    questions: Questions,
    /// Runs and questions of the server's are counted together.
    count: u32,
    /// For the URL.
    token: Option<String>,
    /// The stored id as token, the runtime id as client id.
    session: Option<Snapshot>,
    /// What the session was created with.
    created_with: String,
    /// The socket has opened; how many in a row have not; and whether the server lives all the same.
    opened: bool,
    refusals: u32,
    alive: bool,
    ready: bool,
    /// The runtime id is good on this socket.
    attached: bool,
    task: Option<Task>,
    ticket: u32,
    due: Option<Instant>,
    /// A prompt waits in the server behind a turn, for a socket that is gone.
    retakes: u32,
    retake_at: Option<Instant>,
    /// A turn has just ended.
    idle_at: Option<Instant>,
    held: Vec<Heard>,
    /// Calls that were asked again after a resume.
    again: Vec<Handle>,
    ping: &'static str,
    pings: u32,
    epoch: String,
    /// The number of the session's latest event, where they are numbered.
    latest: f64,
    /// The text of the live turn is whole: a snapshot has nothing to add.
    exact: bool,
}

impl Hermes {
    pub fn new(config: &Config) -> Self {
        Self {
            calls: Calls::new(config),
            turns: Turns::default(),
            questions: Questions::default(),
            count: 0,
            token: None,
            session: None,
            created_with: String::new(),
            opened: false,
            refusals: 0,
            alive: false,
            ready: false,
            attached: false,
            task: None,
            ticket: 0,
            due: None,
            retakes: 0,
            retake_at: None,
            idle_at: None,
            held: Vec::new(),
            again: Vec::new(),
            ping: "",
            pings: 0,
            epoch: String::new(),
            latest: 0.0,
            exact: false,
        }
    }

    fn runtime(&self) -> String {
        self.session.as_ref().and_then(|session| session.client_id.clone()).unwrap_or_default()
    }

    /// Whether an id may come up whose session we do not know yet.
    fn is_opening(&self) -> bool {
        self.task.is_some_and(|task| task != Task::Retake)
            || self.calls.iter().any(|call| call.sent && opens(&call.method))
    }

    // What the line asks for itself.

    fn begin(&mut self, cx: &mut Context<'_>, task: Task) {
        let runtime = self.runtime();
        let (method, params) = match (task, &self.session) {
            (Task::Resume, Some(session)) => ("session.resume", about(&session.token, "")),
            (Task::Activate | Task::Retake, _) => ("session.activate", about(&runtime, "")),
            (Task::Replay, _) => {
                let mut mark = String::from(",\"last_seen\":");
                push_number(&mut mark, self.latest as u64);
                ("session.events.since", about(&runtime, &mark))
            }
            (Task::Create | Task::Resume, _) => {
                let with = if self.created_with.is_empty() { "{}" } else { &self.created_with };
                ("session.create", with.into())
            }
        };
        self.ticket = self.ticket.wrapping_add(1);
        self.task = Some(task);
        self.due = Some(cx.now.after(TASK_MS));
        cx.send_now(request(&own_id('m', self.ticket), method, &params));
    }

    fn done(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let Inbound { view, frame, .. } = inbound;
        let Some(task) = self.task.take() else { return };
        self.due = None;
        let gone = view.number("error/code");
        match task {
            Task::Replay => self.replayed(cx, view),
            _ if view.has("result") && gone.is_none() => {
                let before = self.runtime();
                self.adopt(cx, view, task != Task::Create);
                if task == Task::Resume && self.latest > 0.0 && before == self.runtime() {
                    // Events are numbered, and numbered as before: those that were missed say it better than a snapshot.
                    self.turns.go_on(cx, &before);
                    self.begin(cx, Task::Replay);
                } else if task != Task::Create {
                    self.stands(cx, view, frame, task == Task::Retake);
                }
                // The page gets the frame last: who reads it before would find it gone.
                cx.show(SESSION, frame);
            }
            Task::Resume if gone == Some(4007.0) && !self.runtime().is_empty() => self.begin(cx, Task::Activate),
            Task::Resume if gone == Some(4007.0) => self.renew(cx, frame),
            Task::Activate if gone == Some(4001.0) => self.renew(cx, frame),
            Task::Retake => {}
            Task::Resume | Task::Activate | Task::Create => self.stuck(cx, frame),
        }
        self.release(cx);
        self.send_waiting(cx);
    }

    /// The session is gone for good, and so is what belonged to it.
    fn renew(&mut self, cx: &mut Context<'_>, frame: FrameId) {
        self.turns.lost(cx, &mut self.calls, "");
        self.questions.end(cx);
        cx.show(SESSION_LOST, frame);
        self.session = None;
        cx.persist();
        self.begin(cx, Task::Create);
    }

    /// The session cannot be had now: who waits for it is told why. The next call tries again.
    fn stuck(&mut self, cx: &mut Context<'_>, frame: FrameId) {
        loop {
            let waiting = self.calls.iter().find(|call| !call.sent && lives_in(call)).map(|call| call.handle);
            let Some(handle) = waiting else { return };
            self.calls.end_more(cx, handle, Word::Refused, frame, 1.0);
        }
    }

    /// The answer names a session: it is ours from now on.
    fn adopt(&mut self, cx: &mut Context<'_>, view: &dyn View, own: bool) {
        let Some(runtime) = view.string("result/session_id") else {
            cx.fault(Fault::Malformed);
            return;
        };
        let names = ["result/session_key", "result/resumed", "result/stored_session_id"];
        let stored = names.into_iter().find_map(|path| view.string(path)).unwrap_or_default();
        let before = self.runtime();
        // Compression gives a session another stored id; that of another session is another as well.
        let same = own || self.session.as_ref().is_some_and(|session| session.token == stored);
        if before != runtime {
            self.latest = 0.0;
            if same {
                self.turns.rename(cx, &before, &runtime);
            }
        }
        self.questions.resumed(cx, if same { &before } else { &runtime }, &runtime);
        self.attached = true;
        self.keep(cx, stored, runtime);
    }

    fn keep(&mut self, cx: &mut Context<'_>, stored: String, runtime: String) {
        if stored.is_empty() || stored.len() > MAX_TOKEN_BYTES {
            cx.fault(Fault::Malformed);
            return;
        }
        let session = Some(Snapshot { token: stored, client_id: Some(runtime), cursor: None });
        if session != self.session {
            self.session = session;
            cx.persist();
        }
    }

    /// How the session stands, by the server's own account.
    fn stands(&mut self, cx: &mut Context<'_>, view: &dyn View, frame: FrameId, retaken: bool) {
        let runtime = self.runtime();
        let exact = core::mem::take(&mut self.exact);
        if self.turns.recover(cx, &mut self.calls, view, frame, &runtime, exact, &mut self.count) {
            interrupt(cx, &runtime);
        }
        self.retakes = match view.has("result/queued/user") {
            true if retaken => self.retakes.saturating_sub(1),
            true => MOST_RETAKES,
            false => 0,
        };
        self.retake_at = (self.retakes > 0 && !self.turns.live()).then(|| cx.now.after(RETAKE_MS));
        self.be_patient(cx);
    }

    /// The missed events have come before this answer, one by one, unless the server has not kept them all.
    fn replayed(&mut self, cx: &mut Context<'_>, view: &dyn View) {
        let whole = view.boolean("result/truncated") == Some(false)
            && view.string("result/epoch").is_none_or(|epoch| epoch == self.epoch);
        if !whole {
            self.latest = view.number("result/latest_seq").unwrap_or_default();
        }
        self.exact = whole;
        if !whole || self.turns.waits() {
            self.begin(cx, Task::Activate);
        }
    }

    // What comes.

    fn gateway_ready(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        cx.show(READY, inbound.frame);
        if self.ready {
            return;
        }
        self.ready = true;
        cx.ready(false);
        let view = inbound.view;
        let epoch = view.string("params/payload/replay_epoch");
        let beats = view.has("params/payload/heartbeat") && view.boolean("params/payload/heartbeat") != Some(false);
        self.ping = if beats { "gateway.ping" } else { "session.active_list" };
        self.be_patient(cx);
        cx.offer_probe();
        if epoch.is_some() {
            cx.send_now(request(&own_id('c', 0), "client.capabilities", r#"{"server_requests":true}"#));
        }
        let epoch = epoch.unwrap_or_default();
        if epoch != self.epoch {
            self.latest = 0.0;
            self.epoch = epoch;
        }
        if self.session.is_some() {
            self.begin(cx, Task::Resume);
        }
        self.send_waiting(cx);
    }

    fn event(&mut self, cx: &mut Context<'_>, heard: Heard) {
        let Heard { route, frame, session, detail, order } = heard;
        if !order.is_nan() && session == self.runtime() {
            if order <= self.latest {
                return;
            }
            self.latest = order;
        }
        let nobodys = session.is_empty();
        match route {
            START | COMPLETE | DELTA if nobodys => cx.fault(Fault::Malformed),
            START => {
                self.retakes = 0;
                self.retake_at = None;
                self.idle_at = None;
                if self.turns.starts(cx, &mut self.calls, &session, frame, &mut self.count) {
                    interrupt(cx, &session);
                }
                self.be_patient(cx);
            }
            COMPLETE | FAILED if !nobodys => {
                let word = match detail.as_str() {
                    _ if route == FAILED => Word::Failed,
                    "interrupted" => Word::Stopped,
                    "error" => Word::Failed,
                    _ => Word::Final,
                };
                self.turns.ends(cx, &mut self.calls, &session, word, frame);
                self.questions.turn_ended(cx, &session);
                if session == self.runtime() {
                    self.idle_at = Some(cx.now.after(IDLE_MS));
                }
                if self.retakes > 0 {
                    self.retake_at = Some(cx.now.after(RETAKE_MS));
                }
                self.be_patient(cx);
            }
            DELTA => {
                self.turns.delta(cx, &session, frame, &mut self.count);
                return;
            }
            INFO if session == self.runtime() => {
                self.idle_at = None;
                if !detail.is_empty() {
                    self.keep(cx, detail, session);
                }
            }
            SUDO_OVER | SECRET_OVER | WITHDRAWN if !detail.is_empty() => self.questions.withdrawn(cx, &detail),
            _ => {
                if let Some(method) = answers(route) {
                    self.questions.event(cx, method, detail, &session, frame, &mut self.count);
                }
                if route != THINKING {
                    self.turns.note(cx, &session, frame);
                }
            }
        }
        cx.show(if nobodys && route == DELTA { Route::NONE } else { route }, frame);
    }

    fn answered(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let Inbound { view, frame, .. } = inbound;
        let failed = !view.has("result") || view.has("error/code");
        if let Some(own) = view.string("id") {
            let (kind, digits) = own.as_bytes().split_first().unwrap_or((&b' ', &[]));
            let digit = |byte: &u8| u32::from(byte.wrapping_sub(b'0'));
            let number = digits.iter().fold(0u32, |all, byte| all.wrapping_mul(10).wrapping_add(digit(byte)));
            match kind {
                b'm' if number == self.ticket => self.done(cx, inbound),
                b'p' if number == self.pings => cx.probe_answered(),
                b'q' => {
                    let word = if failed { Word::Refused } else { Word::Result };
                    self.questions.settled(cx, Handle::of_server(number), word, frame);
                }
                b'm' | b'p' | b'c' | b'i' => {}
                _ => nonsense(cx, frame),
            }
            return;
        }
        let Some(handle) = asked(&self.calls, view) else {
            nonsense(cx, frame);
            return;
        };
        let runtime = self.runtime();
        let Some(call) = self.calls.find(handle) else { return };
        let (verb, method) = (call.verb, call.method.clone());
        let ours = lives_in(call) || session_of(&call.params) == Some(&runtime);
        if !failed && verb == Verb::Run {
            let status = view.string("result/status").unwrap_or_default();
            self.turns.accepted(cx, &mut self.calls, handle, frame, &status, &mut self.count);
        } else if !failed {
            self.calls.end(cx, handle, Word::Result, frame);
            if opens(&method) {
                self.adopt(cx, view, false);
                if method != "session.create" {
                    self.stands(cx, view, frame, false);
                }
                cx.show(SESSION, frame);
                self.release(cx);
            } else if method == "session.close" && ours && view.boolean("result/closed") == Some(true) {
                self.session = None;
                cx.persist();
            }
        } else {
            let code = view.number("error/code").unwrap_or_default();
            let gone = code == 4001.0 && ours && self.session.is_some();
            if gone {
                self.attached = false;
            }
            // A prompt is never sent twice, not even one that was refused.
            if gone && verb == Verb::Request && method != "prompt.submit" && !self.again.contains(&handle) {
                call.sent = false;
                self.again.push(handle);
            } else {
                self.turns.forget(cx, handle);
                let again = code == 4001.0 || (code == 4009.0 && !method.ends_with(".respond"));
                self.calls.end_more(cx, handle, Word::Refused, frame, f64::from(u8::from(again)));
            }
            if gone && self.task.is_none() {
                self.begin(cx, Task::Resume);
            }
            self.release(cx);
        }
        self.send_waiting(cx);
    }

    fn called(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let Inbound { view, frame, .. } = inbound;
        let session = view.string("params/session_id").unwrap_or_default();
        match id(view) {
            Some(id) if view.string("method").is_some() => {
                if let Some(text) = self.questions.called(cx, id, &session, frame, &mut self.count) {
                    cx.send_now(text);
                }
            }
            _ => nonsense(cx, frame),
        }
    }

    /// What was kept back comes in its order, once it is known whose it is.
    fn release(&mut self, cx: &mut Context<'_>) {
        if !self.is_opening() {
            for heard in core::mem::take(&mut self.held) {
                self.event(cx, heard);
            }
        }
    }

    fn send_waiting(&mut self, cx: &mut Context<'_>) {
        if self.ready {
            let runtime = self.runtime();
            let mut opening = self.is_opening();
            let attached = self.attached && self.session.is_some();
            let mut wanted = false;
            let busy = self.idle_at.is_some();
            let mut submitted = Vec::new();
            self.calls.send_waiting(cx, |call| {
                let inside = lives_in(call);
                if inside && (opening || !attached) {
                    wanted = true;
                    return None;
                }
                if busy && call.method == "prompt.submit" {
                    return None;
                }
                opening |= opens(&call.method);
                let mut id = String::new();
                push_number(&mut id, u64::from(call.handle.0));
                let params = if inside { within(&runtime, &call.params) } else { call.params.clone() };
                if call.verb == Verb::Run {
                    let session = session_of(&params).unwrap_or_default().into();
                    submitted.push((call.handle, session, call.key.clone().unwrap_or_default()));
                }
                Some(request(&id, &call.method, &params))
            });
            for (handle, session, prompt) in submitted {
                let session: String = session;
                self.turns.submitted(handle, &session, prompt);
            }
            if wanted && !opening {
                self.begin(cx, if self.session.is_some() { Task::Resume } else { Task::Create });
            }
            while self.attached
                && let Some(send) = self.questions.waiting()
            {
                self.send_answer(cx, send);
            }
        }
        self.arm(cx);
    }

    fn send_answer(&mut self, cx: &mut Context<'_>, send: Send) {
        cx.send_now(match send {
            Send::Answer(text) => text,
            Send::Call(handle, method, params) => {
                let in_session = method == "approval.respond" && session_of(&params).is_none();
                let params = if in_session { within(&self.runtime(), &params) } else { params };
                request(&own_id('q', handle.0 & !(1 << 31)), method, &params)
            }
        });
    }

    /// While a turn runs, a gateway that does not answer may be busy with it.
    fn be_patient(&self, cx: &mut Context<'_>) {
        cx.patience(PROBE_MS, 1 + u32::from(self.turns.live()));
    }

    fn arm(&mut self, cx: &mut Context<'_>) {
        let calls = &mut self.calls;
        self.again.retain(|handle| calls.find(*handle).is_some());
        let next = [self.calls.next_deadline(), self.due, self.retake_at, self.idle_at, self.turns.next_stop()];
        cx.wake_at(next.into_iter().flatten().min());
    }
}

impl Protocol for Hermes {
    fn subprotocols(&self) -> &'static [&'static str] {
        &[]
    }

    fn routes(&self) -> Vec<RouteRow> {
        TYPES.iter().map(|(frame_type, event)| RouteRow { frame_type: (*frame_type).into(), event: *event }).collect()
    }

    fn control_routes(&self) -> u32 {
        GARBLED.0
    }

    fn address(&self) -> String {
        self.token.as_deref().map(in_query).unwrap_or_default()
    }

    fn opened(&mut self, _cx: &mut Context<'_>, _subprotocol: &str) {
        self.opened = true;
        self.refusals = 0;
    }

    fn answered(&mut self, _cx: &mut Context<'_>, ticket: u32, texts: [Option<String>; 3]) {
        self.alive = ticket == self.refusals && texts[0].is_some();
    }

    fn admits(&mut self, route: Route, order: f64) -> bool {
        // Events of a turn are noted, and what may be of an unknown session waits.
        if self.is_opening() {
            return false;
        }
        if order.is_nan() {
            return route == DELTA || route == THINKING || !self.turns.live();
        }
        // Numbered events are counted, those of the line's session: a delta has a reader, and its topic is a live turn's.
        let session = self.session.as_ref().and_then(|session| session.client_id.as_deref());
        let next =
            route == DELTA && order > self.latest && session.is_some_and(|session| self.turns.live_only_in(session));
        if next {
            self.latest = order;
        }
        next
    }

    fn received(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let Inbound { route, frame, view } = inbound;
        match route {
            READY => self.gateway_ready(cx, inbound),
            ANSWER => self.answered(cx, inbound),
            CALL => self.called(cx, inbound),
            GARBLED => cx.fault(Fault::NotJson),
            Route::NONE => cx.emit(inbound),
            _ => {
                let text = |path| view.string(path).unwrap_or_default();
                let detail = match route {
                    COMPLETE => text("params/payload/status"),
                    INFO => text("params/payload/stored_session_id"),
                    WITHDRAWN => text("params/payload/id"),
                    CLARIFY | SUDO | SECRET | TERMINAL | SUDO_OVER | SECRET_OVER => text("params/payload/request_id"),
                    _ => String::new(),
                };
                let order = view.number("params/seq").unwrap_or(f64::NAN);
                let heard = Heard { route, frame, session: text("params/session_id"), detail, order };
                if heard.session.is_empty() || view.has("replayed") || !self.is_opening() {
                    let waits = self.idle_at.is_some();
                    self.event(cx, heard);
                    if waits && self.idle_at.is_none() {
                        self.send_waiting(cx);
                    }
                    self.arm(cx);
                    return;
                }
                self.held.push(heard);
                if self.held.len() > MOST_HELD {
                    let oldest = self.held.remove(0);
                    self.event(cx, oldest);
                }
            }
        }
    }

    fn timeout(&mut self, cx: &mut Context<'_>) {
        while let Some(call) = self.calls.expire(cx) {
            self.turns.forget(cx, call.handle);
        }
        self.turns.expire(cx, &mut self.calls);
        self.idle_at = self.idle_at.filter(|at| *at > cx.now);
        if self.due.is_some_and(|at| at <= cx.now) {
            self.due = None;
            self.task = None;
            cx.drop_socket(Cause::Heartbeat);
        } else if self.retake_at.is_some_and(|at| at <= cx.now) {
            self.retake_at = None;
            if self.attached && self.task.is_none() {
                self.begin(cx, Task::Retake);
            }
        }
        self.release(cx);
        self.send_waiting(cx);
    }

    fn probe(&mut self, cx: &mut Context<'_>) {
        self.pings = self.pings.wrapping_add(1);
        cx.send_now(request(&own_id('p', self.pings), self.ping, "{}"));
    }

    fn is_busy(&self) -> bool {
        !self.calls.is_empty() || !self.turns.is_empty()
    }

    fn disconnected(&mut self, cx: &mut Context<'_>, code: CloseCode) -> Option<Disposition> {
        let lives = core::mem::take(&mut self.alive);
        if !core::mem::take(&mut self.opened) && code == CloseCode::ABNORMAL {
            self.refusals = self.refusals.saturating_add(1);
            // What it is refused for, a browser is not told; whether anybody is there can be asked.
            if self.refusals >= MOST_REFUSALS / 2 {
                cx.ask(self.refusals, "status", String::new());
            }
        }
        self.ready = false;
        self.attached = false;
        self.task = None;
        self.due = None;
        self.retake_at = None;
        self.idle_at = None;
        self.exact = false;
        for heard in core::mem::take(&mut self.held) {
            cx.show(heard.route, heard.frame);
        }
        self.questions.socket_lost(cx);
        let runtime = self.runtime();
        let turns = &self.turns;
        self.calls.lost(cx, |call| {
            if call.verb == Verb::Run && !runtime.is_empty() && turns.is_kept(call.handle, &runtime) {
                AfterLoss::Kept
            } else {
                AfterLoss::Lost { safe: only_reads(&call.method) }
            }
        });
        self.turns.lost(cx, &mut self.calls, &runtime);
        self.arm(cx);
        (lives && self.refusals >= MOST_REFUSALS).then_some(Disposition::Fatal(Cause::Unauthorized))
    }

    fn ended(&mut self, cx: &mut Context<'_>) {
        self.refusals = 0;
        self.turns.lost(cx, &mut self.calls, "");
        self.questions.end(cx);
        self.calls.lose_all(cx);
        cx.stop_timer();
    }

    fn command(&mut self, cx: &mut Context<'_>, command: Command) {
        let handle = command.handle;
        match command.verb {
            Verb::Request | Verb::Run | Verb::Notify if fits(&command) => {
                let [method, params, _] = &command.texts;
                if method.as_deref() == Some("session.create") {
                    let small = params.as_ref().filter(|params| params.len() <= MOST_KEPT);
                    self.created_with = small.cloned().unwrap_or_default();
                }
                self.calls.take_in(cx, command);
                self.send_waiting(cx);
            }
            Verb::Cancel => {
                let waits = self.calls.find(handle).is_some_and(|call| !call.sent);
                if waits {
                    self.calls.end(cx, handle, Word::Cancelled, FrameId::NONE);
                } else if self.turns.has(handle) {
                    if let Some(session) = self.turns.stop(cx, &mut self.calls, handle)
                        && self.ready
                    {
                        interrupt(cx, &session);
                    }
                } else {
                    self.calls.end(cx, handle, Word::Cancelled, FrameId::NONE);
                }
                self.arm(cx);
            }
            Verb::Reply | Verb::Refuse => {
                if let Some(send) = self.questions.answered(cx, command, self.attached) {
                    self.send_answer(cx, send);
                }
            }
            Verb::Batch => {}
            Verb::Request | Verb::Run | Verb::Notify | Verb::Subscribe | Verb::Perform | Verb::Observe => {
                cx.reject(handle, Rejection::Unsupported);
            }
        }
    }

    fn credential(&mut self, token: String) {
        self.token = Some(token);
    }

    fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    fn save(&self) -> Option<Snapshot> {
        self.session.clone()
    }

    fn restore(&mut self, snapshot: Option<Snapshot>) {
        self.session = snapshot;
        self.attached = false;
    }
}

fn nonsense(cx: &mut Context<'_>, frame: FrameId) {
    cx.fault(Fault::Malformed);
    cx.show(Route::NONE, frame);
}

fn interrupt(cx: &mut Context<'_>, session: &str) {
    cx.send_now(request(&own_id('i', 0), "session.interrupt", &about(session, "")));
}

/// The method that answers a question which comes as an event.
const fn answers(route: Route) -> Option<&'static str> {
    match route {
        APPROVAL => Some("approval.respond"),
        CLARIFY => Some("clarify.respond"),
        SUDO => Some("sudo.respond"),
        SECRET => Some("secret.respond"),
        TERMINAL => Some("terminal.read.respond"),
        _ => None,
    }
}
