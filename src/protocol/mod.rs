//! The contract between the client and a protocol: verbs down (the trait), verbs up (`Context`), and the laws.
//!
//! A protocol knows frames. It knows no socket, no clock, no queue and no retry: it says *ready*, *send this*, *tell the
//! page*, and the client decides the rest.
//!
//! The laws, run over every protocol by tests/sim/laws.rs:
//!
//! 1. `received` on any frame never panics, and allocates no more than a constant times the frame.
//! 2. Every accepted call ends exactly once.
//! 3. Nothing queued is sent before `ready`; control frames may be.
//! 4. After `disconnected` and `opened`, the protocol restores what it owed without being asked.
//! 5. A cursor never moves backwards; a gap is reported.
//! 6. `restore(save(p))` behaves as `p`.
//! 7. An unknown frame type is an event, not an error; a malformed known one is a `Fault`.
//! 8. The same inputs give the same outputs, on every run.

#[cfg(any(feature = "action-cable", not(target_arch = "wasm32")))]
pub mod action_cable;
#[cfg(any(feature = "openclaw", feature = "json-rpc", feature = "hermes", not(target_arch = "wasm32")))]
pub mod calls;
#[cfg(any(feature = "hermes", not(target_arch = "wasm32")))]
pub mod hermes;
#[cfg(any(feature = "json-rpc", not(target_arch = "wasm32")))]
pub mod json_rpc;
#[cfg(any(feature = "nexus", not(target_arch = "wasm32")))]
pub mod nexus;
#[cfg(any(feature = "observation", not(target_arch = "wasm32")))]
pub mod observation;
#[cfg(any(feature = "openclaw", not(target_arch = "wasm32")))]
pub mod openclaw;

use crate::config::Config;
use crate::error::{Cause, Fault};
#[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
pub use crate::outbox::Numbering;
use crate::session::Snapshot;
use crate::time::Instant;
use crate::wire::{CloseCode, Disposition, FrameId, Handle, Route, View};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// What the application hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The protocol is ready. `recovered`: the session is the one from before.
    Connected { attempt: u32, recovered: bool },
    /// A socket ended. Exactly one for each socket.
    Disconnected { code: CloseCode, reason: String, clean: bool, will_reconnect: bool, cause: Cause },
    /// There will be another attempt.
    Reconnecting { attempt: u32, delay_ms: u64, cause: Cause },
    /// There will be none until the page asks. `frame` is the one in which the server said why, if it did.
    Failed { cause: Cause, code: CloseCode, attempts: u32, frame: FrameId },
    /// Something is wrong and the line goes on. `count` messages are concerned, where messages are.
    Fault { fault: Fault, count: u32 },
    /// Nothing was missed while away. What came meanwhile follows, from one number to the other.
    #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
    Resumed { from: f64, to: f64 },
    /// What the server numbered from one to the other will not come. `to` is NaN where it is not known.
    #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
    Gap { from: f64, to: f64, reason: Cow<'static, str> },
    /// A frame with a route.
    Frame { route: Route, frame: FrameId },
    /// A frame without one.
    Unhandled { frame: FrameId },
}

/// What only protocols with handles want done. A build without them has none of it, and carries nothing for it.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Something about a call, a run, a subscription or an observation. What `number` and `text` are, the word says.
    #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
    Tell { handle: Handle, word: Word, frame: FrameId, number: f64, text: String },
    /// Frames with this topic belong to that handle, or to none any more.
    #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
    Bind { topic: String, handle: Option<Handle> },
    /// Something that only the page can do (sign, fetch, remember) and answers with `Input::Answered`.
    #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
    Ask { ticket: u32, what: &'static str, text: String },
}

/// What a handle hears. The numbers are those of src/web/rust.js.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Ends a call: the answer is in the frame.
    Result = 0,
    /// Ends a call or a run: the server's error is in the frame.
    Refused = 1,
    /// Ends a call or a run: there was no answer in time. `number`: 1 where it was never asked.
    TimedOut = 2,
    /// Ends a call or a run: the line died while it was under way. `number`: 1 where asking again is safe.
    Lost = 3,
    /// Ends a call or a run: the page did not want it any more.
    Cancelled = 4,
    /// Ends whatever it is before it has begun: `text` is the error code.
    Rejected = 5,
    /// Ends a one-way call: a socket has it.
    Sent = 6,
    /// The server has accepted a run.
    Started = 7,
    /// More of it.
    Delta = 8,
    /// Ends a run well.
    Final = 9,
    /// Ends a run: the server says that it failed.
    Failed = 10,
    /// Ends a run: the server says that it was stopped.
    Stopped = 11,
    /// It goes on where it was; what was missed is in the frame.
    Resumed = 12,
    /// It begins anew: what was heard of it does not count.
    Restarted = 13,
    /// Something was missed for good. `text` says why.
    Gap = 14,
    /// Anything else that belongs to it.
    Note = 15,
    /// A subscription or an observation is live. `number`: 1 where it was before.
    Confirmed = 16,
    /// A subscription is not live at the moment. `number`: 1 where it will be again.
    Away = 17,
    /// The server began it; the page has not heard of it before.
    Began = 18,
    /// The server calls us; it waits for `Verb::Reply` or `Verb::Refuse`.
    Called = 19,
    /// The server does not wait for the answer any more.
    Withdrawn = 20,
}

/// What the page asks of a protocol. What the texts and the number are, the verb says.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    pub verb: Verb,
    pub handle: Handle,
    pub texts: [Option<String>; 3],
    pub number: Option<f64>,
}

/// The numbers are those of src/web/rust.js.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Texts: method, parameters as JSON, idempotency key. Number: milliseconds for the answer.
    Request = 0,
    /// As `Request`, for a call whose answer streams.
    Run = 1,
    /// Texts: method, parameters as JSON.
    Notify = 2,
    /// The page does not want it any more: a call, a run, a subscription, an observation.
    Cancel = 3,
    /// The answer to a call of the server's. Text: the result as JSON.
    Reply = 4,
    /// Text: the error as JSON.
    Refuse = 5,
    /// Text: what to.
    Subscribe = 6,
    /// Texts: what is said. Number: the subscription's handle.
    Perform = 7,
    /// Texts: path, cursor.
    Observe = 8,
    /// The calls between one with the number 1 and one without go out as one message.
    Batch = 9,
}

impl Verb {
    /// `None` for a number that stands for none.
    pub const fn numbered(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Request,
            1 => Self::Run,
            2 => Self::Notify,
            3 => Self::Cancel,
            4 => Self::Reply,
            5 => Self::Refuse,
            6 => Self::Subscribe,
            7 => Self::Perform,
            8 => Self::Observe,
            9 => Self::Batch,
            _ => return None,
        })
    }
}

/// A frame as a protocol sees it.
#[derive(Clone, Copy)]
pub struct Inbound<'a> {
    pub route: Route,
    pub frame: FrameId,
    pub view: &'a dyn View,
}

/// One row of the route table: a frame type and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteRow {
    pub frame_type: Cow<'static, str>,
    pub event: Becomes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    Nothing,
    /// An event of that name.
    Event(&'static str),
    /// The delta of the handle that its topic is bound to; the protocol is shown those of a topic that is not.
    Delta,
}

/// A plug-in. Construction is in `create`; the client sees only this.
pub trait Protocol {
    /// What to offer in `Sec-WebSocket-Protocol`.
    fn subprotocols(&self) -> &'static [&'static str];

    /// The route table; row n is `Route(n + 1)`. The first `control_routes` rows are always shown to the protocol, those
    /// behind them are delivered without asking once it is ready.
    fn routes(&self) -> Vec<RouteRow>;

    /// How many rows of the route table are control frames.
    fn control_routes(&self) -> u32;

    /// What to put into the URL of the next dial: a path, a query beginning with `?`, or both.
    fn address(&self) -> String {
        String::new()
    }

    /// A socket is open: say what has to be said first. `subprotocol` is the server's choice, empty where it made none.
    fn opened(&mut self, cx: &mut Context<'_>, subprotocol: &str);

    /// Whether a frame with a route behind the control routes may be delivered without showing it. `order` is what the
    /// page's half of the protocol counts frames by; NaN where it does not. The yes to a delta is all that Rust hears of it:
    /// whoever has its handle has been told.
    fn admits(&mut self, route: Route, order: f64) -> bool {
        let _ = (route, order);
        true
    }

    /// A frame came.
    fn received(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>);

    /// A frame came on the socket before, which ends: what comes again on this one is nobody's business there.
    fn trailing(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let _ = (cx, inbound);
    }

    /// The deadline set by `Context::set_timer` has come.
    fn timeout(&mut self, cx: &mut Context<'_>);

    /// Ask the server for a sign of life; called only after `Context::offer_probe`.
    fn probe(&mut self, cx: &mut Context<'_>);

    /// The reason of the close frame, or nothing: `disconnected` follows.
    #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
    fn told_why(&mut self, reason: &str) {
        let _ = reason;
    }

    /// The socket is gone. A protocol may overrule the close code table for the codes that are its own.
    fn disconnected(&mut self, cx: &mut Context<'_>, code: CloseCode) -> Option<Disposition>;

    /// How many tries come before the backoff, where the protocol knows of a quicker return: and for each of them the least
    /// wait, in milliseconds, and so many more at most.
    fn early_tries(&self) -> (u32, u64, f64) {
        (0, 0, 0.0)
    }

    /// After the end of a socket or an attempt, another attempt will follow.
    #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
    fn retrying(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// What the messages of this page are numbered under. `kept`: an earlier visit has begun it.
    #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
    fn name_stream(&mut self, name: String, kept: bool) {
        let _ = (name, kept);
    }

    /// The page may be gone in a moment.
    fn put_away(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// The line has ended, and only the page can begin again: what waits for an answer will get none.
    fn ended(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// The page asks for something. One that the protocol does not know is refused.
    #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
    fn command(&mut self, cx: &mut Context<'_>, command: Command) {
        cx.reject(command.handle, crate::error::Rejection::Unsupported);
    }

    /// The page's answer to `Context::ask`.
    #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
    fn answered(&mut self, cx: &mut Context<'_>, ticket: u32, texts: [Option<String>; 3]) {
        let _ = (cx, ticket, texts);
    }

    /// The url provider brought a token.
    fn credential(&mut self, token: String) {
        let (client_id, cursor) = self.save().map_or((None, None), |session| (session.client_id, session.cursor));
        self.restore(Some(Snapshot { token, client_id, cursor }));
    }

    /// Whether something that the page asked for is under way: a line that nobody sees is not parked meanwhile.
    #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
    fn is_busy(&self) -> bool {
        false
    }

    /// Whether it keeps a frame that it was shown, and will tell of it.
    #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
    fn holds(&self) -> bool {
        false
    }

    /// What has to survive a reload.
    fn save(&self) -> Option<Snapshot>;

    /// What survived one; `None` forgets.
    fn restore(&mut self, snapshot: Option<Snapshot>);
}

/// What a protocol wants done, in order.
#[derive(Debug, PartialEq)]
pub enum Effect {
    Ready {
        recovered: bool,
    },
    SendNow(String),
    Emit(Event),
    SetTimer(u64),
    StopTimer,
    WakeAt(Option<Instant>),
    Act(Act),
    #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
    Patience(u64, u32),
    Expect(u64),
    Drop(Cause),
    Fail(Cause, FrameId),
    Persist,
    OfferProbe,
    Hold,
    ProbeAnswered,
    #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
    Number(Numbering),
    #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
    Acked(u32),
    #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
    Repeated,
    #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
    Move(u64),
    Advice {
        retry_after_ms: f64,
        spread_ms: Option<f64>,
    },
}

/// The verbs that a protocol may use. They take effect in order, when the protocol returns.
#[derive(Debug)]
pub struct Context<'a> {
    pub now: Instant,
    pub effects: &'a mut Vec<Effect>,
}

impl Context<'_> {
    /// The connection may carry the queue.
    pub fn ready(&mut self, recovered: bool) {
        self.effects.push(Effect::Ready { recovered });
    }

    /// A control frame: it does not wait for `ready` and does not pass through the queue.
    pub fn send_now(&mut self, text: String) {
        self.effects.push(Effect::SendNow(text));
    }

    pub fn emit(&mut self, inbound: Inbound<'_>) {
        self.show(inbound.route, inbound.frame);
    }

    /// Emits a frame that was shown before, or under another route.
    pub fn show(&mut self, route: Route, frame: FrameId) {
        self.effects.push(Effect::Emit(if route == Route::NONE {
            Event::Unhandled { frame }
        } else {
            Event::Frame { route, frame }
        }));
    }

    pub fn fault(&mut self, fault: Fault) {
        self.effects.push(Effect::Emit(Event::Fault { fault, count: 0 }));
    }

    /// The protocol's one deadline, so many milliseconds from now. A second call replaces the first.
    pub fn set_timer(&mut self, millis: u64) {
        self.effects.push(Effect::SetTimer(millis));
    }

    pub fn stop_timer(&mut self) {
        self.effects.push(Effect::StopTimer);
    }

    /// As `set_timer`, at an instant of any time; `None` stops it.
    pub fn wake_at(&mut self, at: Option<Instant>) {
        self.effects.push(Effect::WakeAt(at));
    }

    /// So many milliseconds of silence end the socket, unless the page has said otherwise.
    pub fn expect_frames(&mut self, within_ms: u64) {
        self.effects.push(Effect::Expect(within_ms));
    }

    /// The socket is of no use any more; another attempt follows.
    pub fn drop_socket(&mut self, cause: Cause) {
        self.effects.push(Effect::Drop(cause));
    }

    /// No attempt will help until the page has changed something. `frame` is the one that says so.
    pub fn fail(&mut self, cause: Cause, frame: FrameId) {
        self.effects.push(Effect::Fail(cause, frame));
    }

    /// What `save` returns has changed.
    pub fn persist(&mut self) {
        self.effects.push(Effect::Persist);
    }

    /// The server answers probes.
    pub fn offer_probe(&mut self) {
        self.effects.push(Effect::OfferProbe);
    }

    /// The server is about to close the socket: what waits had better not cross the close.
    pub fn hold(&mut self) {
        self.effects.push(Effect::Hold);
    }

    /// It answered the last one.
    pub fn probe_answered(&mut self) {
        self.effects.push(Effect::ProbeAnswered);
    }

    /// The server's word on when to come back, should the socket end; `None` where it names no spread.
    pub fn advise(&mut self, retry_after_ms: f64, spread_ms: Option<f64>) {
        self.effects.push(Effect::Advice { retry_after_ms, spread_ms });
    }
}

/// The verbs of protocols with numbered messages.
#[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
impl Context<'_> {
    /// The server acknowledges what it is sent on this connection. Said before `ready`.
    pub fn number(&mut self, numbering: Numbering) {
        self.effects.push(Effect::Number(numbering));
    }

    /// The server has taken our messages up to this number.
    pub fn acked(&mut self, number: u32) {
        self.effects.push(Effect::Acked(number));
    }

    /// A frame that had come before: nobody hears of it.
    pub fn repeated(&mut self) {
        self.effects.push(Effect::Repeated);
    }

    /// The connection will end: the next had better stand before, within this time.
    pub fn move_within(&mut self, within_ms: u64) {
        self.effects.push(Effect::Move(within_ms));
    }

    pub fn resumed(&mut self, from: f64, to: f64) {
        self.effects.push(Effect::Emit(Event::Resumed { from, to }));
    }

    pub fn gap(&mut self, from: f64, to: f64, reason: Cow<'static, str>) {
        self.effects.push(Effect::Emit(Event::Gap { from, to, reason }));
    }
}

/// The verbs of protocols with handles.
#[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
impl Context<'_> {
    /// Tells a handle of a frame, or of nothing but the word.
    pub fn tell(&mut self, handle: Handle, word: Word, frame: FrameId) {
        self.tell_more(handle, word, frame, 0.0, String::new());
    }

    pub fn tell_more(&mut self, handle: Handle, word: Word, frame: FrameId, number: f64, text: String) {
        self.effects.push(Effect::Act(Act::Tell { handle, word, frame, number, text }));
    }

    /// Ends what has not begun.
    pub fn reject(&mut self, handle: Handle, why: crate::error::Rejection) {
        self.tell_more(handle, Word::Rejected, FrameId::NONE, 0.0, why.code().into());
    }

    /// Frames with this topic belong to the handle from now on, or to none.
    pub fn bind(&mut self, topic: String, handle: Option<Handle>) {
        self.effects.push(Effect::Act(Act::Bind { topic, handle }));
    }

    /// A probe's answer may take so many milliseconds, where the page does not give it longer, and so many probes in a row
    /// have to stay without one.
    pub fn patience(&mut self, within_ms: u64, probes: u32) {
        self.effects.push(Effect::Patience(within_ms, probes));
    }

    /// Has the page do what only it can; `Protocol::answered` gets the same ticket back.
    pub fn ask(&mut self, ticket: u32, what: &'static str, text: String) {
        self.effects.push(Effect::Act(Act::Ask { ticket, what, text }));
    }
}

/// Takes an item out of a list. `Vec::remove` would say which number was wrong, with formatting that weighs as much as a
/// protocol.
pub fn take_at<T>(list: &mut Vec<T>, at: usize) -> Option<T> {
    (at < list.len()).then(|| list.remove(at))
}

/// The protocol that the options name; `None` where this build has none of that name.
pub fn create(config: &Config, values: &dyn View) -> Option<Box<dyn Protocol>> {
    // Not every protocol looks at it.
    let _ = config;
    Some(match values.string("protocol").as_deref() {
        #[cfg(any(feature = "nexus", not(target_arch = "wasm32")))]
        None | Some("nexus") => Box::new(nexus::Nexus::new(config)),
        #[cfg(any(feature = "action-cable", not(target_arch = "wasm32")))]
        Some("action-cable") => Box::new(action_cable::ActionCable::new(config, values)),
        #[cfg(any(feature = "observation", not(target_arch = "wasm32")))]
        Some("observation") => Box::new(observation::Observation::new()),
        #[cfg(any(feature = "openclaw", not(target_arch = "wasm32")))]
        Some("openclaw") => Box::new(openclaw::OpenClaw::new(config, values)),
        #[cfg(any(feature = "hermes", not(target_arch = "wasm32")))]
        Some("hermes") => Box::new(hermes::Hermes::new(config)),
        // hermes stands on it, and is never asked for it.
        #[cfg(any(all(feature = "json-rpc", not(feature = "hermes")), not(target_arch = "wasm32")))]
        Some("json-rpc") => Box::new(json_rpc::JsonRpc::new(config)),
        _ => return None,
    })
}
