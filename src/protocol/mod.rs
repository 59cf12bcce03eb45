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

pub mod nexus;

use crate::config::Config;
use crate::error::{Cause, Fault};
use crate::session::Snapshot;
use crate::time::Instant;
use crate::wire::{CloseCode, Disposition, FrameId, Route, View};
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
    /// There will be none until the page asks.
    Failed { cause: Cause, code: CloseCode, attempts: u32 },
    /// Something is wrong and the line goes on. `count` messages are concerned, where messages are.
    Fault { fault: Fault, count: u32 },
    /// A frame with a route.
    Frame { route: Route, frame: FrameId },
    /// A frame without one.
    Unhandled { frame: FrameId },
}

/// A frame as a protocol sees it.
#[derive(Clone, Copy)]
pub struct Inbound<'a> {
    pub route: Route,
    pub frame: FrameId,
    pub view: &'a dyn View,
}

/// One row of the route table: a frame type and the event that it becomes, if any.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteRow {
    pub frame_type: Cow<'static, str>,
    pub event: Option<&'static str>,
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

    /// A socket is open: say what has to be said first.
    fn opened(&mut self, cx: &mut Context<'_>);

    /// A frame came.
    fn received(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>);

    /// The deadline set by `Context::set_timer` has come.
    fn timeout(&mut self, cx: &mut Context<'_>);

    /// Ask the server for a sign of life; called only after `Context::offer_probe`.
    fn probe(&mut self, cx: &mut Context<'_>);

    /// The socket is gone. A protocol may overrule the close code table for the codes that are its own.
    fn disconnected(&mut self, cx: &mut Context<'_>, code: CloseCode) -> Option<Disposition>;

    /// What has to survive a reload.
    fn save(&self) -> Option<Snapshot>;

    /// What survived one; `None` forgets.
    fn restore(&mut self, snapshot: Option<Snapshot>);
}

/// What a protocol wants done, in order.
#[derive(Debug, PartialEq)]
pub enum Effect {
    Ready { recovered: bool },
    SendNow(String),
    Emit(Event),
    SetTimer(u64),
    StopTimer,
    Persist,
    OfferProbe,
    Hold,
    ProbeAnswered,
    Advice { retry_after_ms: f64, spread_ms: f64 },
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
        let Inbound { route, frame, .. } = inbound;
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

    /// The server's word on when to come back, should the socket end.
    pub fn advise(&mut self, retry_after_ms: f64, spread_ms: f64) {
        self.effects.push(Effect::Advice { retry_after_ms, spread_ms });
    }
}

/// The protocol that a configuration names.
pub fn create(config: &Config) -> Box<dyn Protocol> {
    Box::new(nexus::Nexus::new(config))
}
