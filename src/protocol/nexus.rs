//! The Nexus world (docs/protocols/nexus-world.md): typed JSON frames that become events, and a session that a first
//! frame resumes; and with a gateway that offers it, numbered messages both ways (docs/protocols/delivery.md).
//!
//! It does not decide what is sent when: `ready` lets the client's queue go.

use super::{Becomes, Context, Inbound, Numbering, Protocol, RouteRow};
use crate::config::{ADVICE_SPREAD_MS, Config, NexusConfig};
use crate::error::{Cause, Fault};
use crate::feed::{ACK_MS, Feed, Heard};
use crate::session::{Cursor, MAX_TOKEN_BYTES, Snapshot};
use crate::time::Instant;
use crate::wire::{CloseCode, Disposition, Route, View, push_json_string, push_number};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// Frame types that the protocol itself understands. `session-init` is one of them and an event as well.
const INIT: Route = Route(1);
const RESUMED: Route = Route(2);
const REFUSED: Route = Route(3);
const OFFER: Route = Route(4);
const PONG: Route = Route(5);
const ADVICE: Route = Route(6);
const CLOSING: Route = Route(7);
const ACK: Route = Route(8);
const MOVING: Route = Route(9);

/// The types behind the session's own, and the events that they become: those that the protocol understands as well come
/// first, as numbered above.
const TYPES: [(&str, Becomes); 14] = [
    ("session-resumed", Becomes::Nothing),
    ("session-refused", Becomes::Nothing),
    ("gateway-offer", Becomes::Nothing),
    ("pong", Becomes::Nothing),
    ("server-advice", Becomes::Nothing),
    ("gateway-closing", Becomes::Nothing),
    ("delivery-ack", Becomes::Nothing),
    ("gateway-moving", Becomes::Nothing),
    ("chat", Becomes::Event("chat-message")),
    ("chat-message", Becomes::Event("chat-message")),
    ("status-update", Becomes::Event("status-update")),
    ("pr-notification", Becomes::Event("pr-notification")),
    ("player-joined", Becomes::Event("player-joined")),
    ("player-left", Becomes::Event("player-left")),
];

/// How far a socket has come. `disconnected` always leads back to `Greeting`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// No token was sent: the server's first word makes it ready.
    Greeting,
    /// A token was sent; nothing decisive has come back.
    Resuming {
        /// The server has greeted us as somebody else, which may be its answer or may have crossed our token.
        greeted: bool,
        /// There was a frame.
        spoken: bool,
        /// When silence is consent.
        consent_at: Instant,
    },
    Ready,
}

pub struct Nexus {
    config: NexusConfig,
    session: Option<Snapshot>,
    /// The session that this socket asked for.
    asked_for: Option<Snapshot>,
    phase: Phase,
    probe: u32,
    /// What this connection's gateway offers.
    offer: Option<Offer>,
    /// What our messages are numbered under, and whether this connection's gateway has been told.
    stream: String,
    /// The page has kept messages of that stream: a gateway may know of them.
    kept: bool,
    named: bool,
    feed: Feed,
    /// The frames of the session that a greeting was for, while it is open whether that is ours.
    greeting: Feed,
}

/// The widest window that is believed.
const MOST_IN_FLIGHT: f64 = 65_536.0;

/// Numbered messages both ways.
struct Offer {
    epoch: String,
    window: u32,
}

impl Nexus {
    pub fn new(config: &Config) -> Self {
        let nexus = NexusConfig {
            init_type: config.nexus.init_type.clone(),
            resume_type: config.nexus.resume_type.clone(),
            token_field: config.nexus.token_field.clone(),
            ..config.nexus
        };
        Self {
            config: nexus,
            session: None,
            asked_for: None,
            phase: Phase::Greeting,
            probe: 0,
            offer: None,
            stream: String::new(),
            kept: false,
            named: false,
            feed: Feed::default(),
            greeting: Feed::default(),
        }
    }

    /// Without an answer that says how our stream and the gateway's frames go on.
    fn become_ready(&mut self, cx: &mut Context<'_>, recovered: bool) {
        let resuming = self.phase != Phase::Greeting;
        let gap = self.begin_anew(recovered);
        self.ready(cx, recovered, None);
        if resuming && (self.offer.is_some() || gap.is_some()) {
            cx.persist();
        }
        if let Some((from, to, reason)) = gap {
            cx.gap(from, to, Cow::Borrowed(reason));
        }
    }

    /// `taken` is the gateway's word on our messages.
    fn ready(&mut self, cx: &mut Context<'_>, recovered: bool, taken: Option<u32>) {
        self.phase = Phase::Ready;
        cx.stop_timer();
        if let Some(Offer { window, .. }) = self.offer {
            if !self.named {
                let mut frame = String::from("{\"type\":\"delivery-open\",\"stream\":");
                push_json_string(&mut frame, &self.stream);
                frame.push('}');
                cx.send_now(frame);
            }
            cx.number(Numbering { window, taken });
        }
        cx.ready(recovered);
    }

    /// The numbers of the gateway's frames begin where its greeting says. Answers what may have been missed.
    fn begin_anew(&mut self, recovered: bool) -> Option<(f64, f64, &'static str)> {
        let place = self.greeting.cursor().cloned();
        self.greeting.place(None);
        let before = self.feed.cursor().cloned();
        self.feed.place(place.clone());
        let before = before.filter(|before| place.as_ref() != Some(before))?;
        // Of another session the numbers say nothing of ours.
        let same = place.filter(|place| recovered && place.epoch == before.epoch && place.seen > before.seen);
        let reason = if self.offer.is_some() { "session" } else { "unnumbered" };
        Some((before.seen + 1.0, same.map_or(f64::NAN, |place| place.seen), reason))
    }

    /// The gateway knows the session, and says how it goes on.
    fn resume(&mut self, cx: &mut Context<'_>, view: &dyn View) {
        let number = |path| view.number(path).filter(|number| *number >= 0.0);
        let Some(offer) = self.offer.as_ref().filter(|_| view.has("delivery")) else {
            return self.become_ready(cx, true);
        };
        let taken = number("delivery/taken").filter(|_| self.named).map(|number| number as u32);
        let epoch = view.string("delivery/epoch").unwrap_or_else(|| offer.epoch.clone());
        let from = number("delivery/from").unwrap_or(f64::NAN);
        let to = number("delivery/to");
        self.ready(cx, true, taken);
        let before = self.feed.cursor().cloned();
        match before {
            Some(before) if before.epoch == epoch && view.boolean("delivery/recovered") == Some(true) => {
                cx.resumed(from, to.unwrap_or(before.seen));
            }
            before => {
                let end = number("delivery/gap/to");
                let seen = end.or(to);
                if let Some(before) = before {
                    let reason = view.string("delivery/gap/reason");
                    let reason = reason.map_or(Cow::Borrowed("epoch"), Cow::Owned);
                    let from = number("delivery/gap/from").unwrap_or(before.seen + 1.0);
                    cx.gap(from, end.unwrap_or(f64::NAN), reason);
                }
                self.feed.place(seen.map(|seen| Cursor { epoch, seen }));
            }
        }
        cx.persist();
    }

    /// Whether a frame is news. One without a number is.
    fn is_news(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) -> bool {
        if self.offer.is_none() || !inbound.view.has("$seq") {
            return true;
        }
        let Some(number) = inbound.view.number("$seq").filter(|number| *number as u64 as f64 == *number) else {
            cx.fault(Fault::Malformed);
            return true;
        };
        // Before the answer, what is numbered is of the session that was greeted.
        let feed = if self.phase == Phase::Ready { &mut self.feed } else { &mut self.greeting };
        match feed.hear(number) {
            Heard::Next => {}
            Heard::Skipped(from, to) => cx.gap(from, to, Cow::Borrowed("skipped")),
            Heard::Again => {
                cx.repeated();
                return false;
            }
        }
        if self.phase != Phase::Ready {
            return true;
        }
        if self.feed.is_owed() {
            self.acknowledge(cx);
        } else if self.feed.wants_date() {
            cx.set_timer(ACK_MS);
        }
        true
    }

    fn acknowledge(&mut self, cx: &mut Context<'_>) {
        cx.stop_timer();
        if let Some(seen) = self.feed.acknowledge() {
            let mut frame = String::from("{\"type\":\"delivery-ack\",\"seq\":");
            push_number(&mut frame, seen as u64);
            frame.push('}');
            cx.send_now(frame);
            cx.persist();
        }
    }

    fn init(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let client_id = inbound.view.string("clientId");
        let token = inbound.view.string(&self.config.token_field);
        let asked_for = self.asked_for.as_ref().and_then(|session| session.client_id.as_ref());
        let ours = client_id.is_some() && client_id.as_ref() == asked_for;
        let other = self.session.as_ref().is_some_and(|session| session.client_id != client_id);
        let at = inbound.view.number("seq").filter(|number| *number >= 0.0);
        let place = self.offer.as_ref().zip(at);
        self.greeting.place(place.map(|(offer, seen)| Cursor { epoch: offer.epoch.clone(), seen }));
        if token.as_ref().is_some_and(|token| token.is_empty() || token.len() > MAX_TOKEN_BYTES) {
            cx.fault(Fault::Malformed);
        } else if let Some(token) = token {
            self.session = Some(Snapshot { token, client_id, cursor: None });
            cx.persist();
        }
        match self.phase {
            Phase::Resuming { .. } if !ours => self.wait_for_the_answer(cx, true),
            Phase::Greeting | Phase::Resuming { .. } => self.become_ready(cx, ours),
            // Another frame was the first word, or the connection is somebody else's from here on.
            Phase::Ready if self.greeting.cursor().is_some() && (other || self.feed.cursor().is_none()) => {
                if let Some((from, to, reason)) = self.begin_anew(false) {
                    cx.gap(from, to, Cow::Borrowed(reason));
                }
                cx.persist();
            }
            Phase::Ready => {}
        }
    }

    /// A frame that may have been on its way before the server read our token: the answer gets a moment.
    /// Never a longer one than silence would have got, or a chatty server could keep it waiting beyond the deadline.
    fn wait_for_the_answer(&mut self, cx: &mut Context<'_>, greeting: bool) {
        if let Phase::Resuming { greeted, spoken, consent_at } = &mut self.phase {
            *greeted |= greeting;
            if !*spoken {
                *spoken = true;
                cx.set_timer(self.config.settle_ms.min(consent_at.since(cx.now)));
            }
        }
    }

    /// Numbers go on or begin with a connection: an offer that comes later is none.
    fn offered(&mut self, cx: &mut Context<'_>, view: &dyn View) {
        if self.phase == Phase::Ready || !view.has("delivery") {
            return;
        }
        let window = view.number("delivery/window").filter(|window| *window >= 1.0 && *window <= MOST_IN_FLIGHT);
        match (window, view.string("delivery/epoch")) {
            (Some(window), Some(epoch)) => self.offer = Some(Offer { epoch, window: window as u32 }),
            _ => cx.fault(Fault::Malformed),
        }
    }

    fn control(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        match inbound.route {
            RESUMED => {
                if let Phase::Resuming { greeted, .. } = self.phase {
                    // A greeting that crossed our token was for nobody: the session that lives on is the one we asked for.
                    if greeted {
                        self.session = self.asked_for.clone();
                        cx.persist();
                    }
                    self.resume(cx, inbound.view);
                }
            }
            REFUSED => {
                // A greeting that came first has brought another token, and that one is not refused.
                if self.session == self.asked_for {
                    self.session = None;
                    cx.persist();
                }
                self.asked_for = None;
                match self.phase {
                    Phase::Resuming { greeted: true, .. } => self.become_ready(cx, false),
                    Phase::Resuming { greeted: false, .. } => {
                        self.phase = Phase::Greeting;
                        cx.stop_timer();
                    }
                    Phase::Greeting | Phase::Ready => {}
                }
            }
            CLOSING => cx.hold(),
            // Half of the time is for the handshake. Everybody is told: without a time, that of advice without a spread.
            MOVING => cx.move_within(inbound.view.number("withinMs").map_or(ADVICE_SPREAD_MS, |ms| ms / 2.0) as u64),
            OFFER => {
                if inbound.view.boolean("ping") == Some(true) {
                    cx.offer_probe();
                }
                self.offered(cx, inbound.view);
            }
            ACK => match inbound.view.number("seq").filter(|number| *number as u32 as f64 == *number) {
                Some(number) => cx.acked(number as u32),
                None => cx.fault(Fault::Malformed),
            },
            PONG if inbound.view.number("n") == Some(f64::from(self.probe)) => cx.probe_answered(),
            ADVICE => {
                let given = |name| inbound.view.number(name).filter(|ms| *ms >= 0.0);
                match (given("retryAfterMs"), given("spreadMs")) {
                    (Some(after), spread) => cx.advise(after, spread),
                    (None, Some(spread)) if !inbound.view.has("retryAfterMs") => cx.advise(0.0, Some(spread)),
                    (None, _) => cx.fault(Fault::Malformed),
                }
            }
            _ => {}
        }
    }
}

impl Protocol for Nexus {
    fn subprotocols(&self) -> &'static [&'static str] {
        &[]
    }

    fn routes(&self) -> Vec<RouteRow> {
        let mut rows = Vec::with_capacity(1 + TYPES.len());
        rows.push(RouteRow { frame_type: self.config.init_type.clone().into(), event: Becomes::Event("session-init") });
        rows.extend(
            TYPES.iter().map(|(frame_type, event)| RouteRow { frame_type: (*frame_type).into(), event: *event }),
        );
        rows
    }

    fn control_routes(&self) -> u32 {
        MOVING.0
    }

    fn opened(&mut self, cx: &mut Context<'_>, _subprotocol: &str) {
        self.asked_for = None;
        self.phase = Phase::Greeting;
        self.greeting.place(None);
        if let Some(session) = &self.session {
            let mut frame = String::from("{\"type\":");
            push_json_string(&mut frame, &self.config.resume_type);
            frame.push(',');
            push_json_string(&mut frame, &self.config.token_field);
            frame.push(':');
            push_json_string(&mut frame, &session.token);
            let cursor = self.feed.cursor();
            self.named = cursor.is_some() || self.kept;
            if self.named {
                frame.push_str(",\"stream\":");
                push_json_string(&mut frame, &self.stream);
            }
            if let Some(Cursor { epoch, seen }) = cursor {
                frame.push_str(",\"epoch\":");
                push_json_string(&mut frame, epoch);
                frame.push_str(",\"seen\":");
                push_number(&mut frame, *seen as u64);
            }
            frame.push('}');
            cx.send_now(frame);
            self.asked_for = Some(session.clone());
            let consent_at = cx.now.after(self.config.consent_ms);
            self.phase = Phase::Resuming { greeted: false, spoken: false, consent_at };
            cx.set_timer(self.config.consent_ms);
        }
        if self.config.ready_on_open {
            let resuming = self.session.is_some();
            self.become_ready(cx, resuming);
        }
    }

    fn received(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        match inbound.route {
            INIT => {
                self.init(cx, inbound);
                cx.emit(inbound);
            }
            // An offer precedes everything and answers nothing: it does not make a connection ready.
            RESUMED | REFUSED | OFFER | PONG | ADVICE | CLOSING | ACK | MOVING => self.control(cx, inbound),
            _ => {
                match self.phase {
                    Phase::Greeting => self.become_ready(cx, false),
                    Phase::Resuming { .. } => self.wait_for_the_answer(cx, false),
                    Phase::Ready => {}
                }
                if self.is_news(cx, inbound) {
                    cx.emit(inbound);
                }
            }
        }
    }

    fn trailing(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let control = inbound.route != Route::NONE && inbound.route.0 <= MOVING.0;
        if !control && !inbound.view.has("$seq") {
            cx.emit(inbound);
        }
    }

    fn admits(&mut self, _route: Route, order: f64) -> bool {
        order.is_nan() || self.feed.admits(order)
    }

    fn timeout(&mut self, cx: &mut Context<'_>) {
        match self.phase {
            // Who offers numbers answers: to take silence for consent would be to guess at what has arrived.
            Phase::Resuming { .. } if self.offer.is_some() => {}
            Phase::Resuming { greeted, .. } => self.become_ready(cx, !greeted),
            Phase::Ready => self.acknowledge(cx),
            Phase::Greeting => {}
        }
    }

    fn name_stream(&mut self, name: String, kept: bool) {
        self.stream = name;
        self.kept = kept;
    }

    fn put_away(&mut self, cx: &mut Context<'_>) {
        if self.feed.cursor().is_some() {
            cx.persist();
        }
    }

    fn probe(&mut self, cx: &mut Context<'_>) {
        self.probe = self.probe.wrapping_add(1);
        let mut frame = String::from("{\"type\":\"ping\",\"n\":");
        push_number(&mut frame, u64::from(self.probe));
        frame.push('}');
        cx.send_now(frame);
    }

    fn disconnected(&mut self, cx: &mut Context<'_>, code: CloseCode) -> Option<Disposition> {
        if let Phase::Resuming { greeted: true, .. } = self.phase {
            // Nobody has said whether the greeting crossed our token: the session that the cursor is of is asked for again.
            if self.feed.cursor().is_some() {
                self.session = self.asked_for.clone();
                cx.persist();
            } else {
                self.feed.place(self.greeting.cursor().cloned());
            }
        }
        self.phase = Phase::Greeting;
        self.offer = None;
        self.named = false;
        self.feed.restart();
        // A token that the server will not have must not be presented for ever; without one, the refusal is final.
        if code.disposition() == Disposition::Fatal(Cause::Unauthorized) && self.session.take().is_some() {
            cx.persist();
            return Some(Disposition::Retry(Cause::Unauthorized));
        }
        None
    }

    fn save(&self) -> Option<Snapshot> {
        let crossing = matches!(self.phase, Phase::Resuming { .. }) && self.session != self.asked_for;
        let feed = if crossing { &self.greeting } else { &self.feed };
        let cursor = feed.cursor().cloned();
        self.session.clone().map(|session| Snapshot { cursor, ..session })
    }

    fn restore(&mut self, snapshot: Option<Snapshot>) {
        let token = |session: &Option<Snapshot>| session.as_ref().map(|session| session.token.clone());
        let same = token(&snapshot) == token(&self.session);
        let cursor = snapshot.as_ref().and_then(|session| session.cursor.clone());
        // The page may save the token that it has been given with things of its own.
        if cursor.is_some() || !same {
            self.feed.place(cursor);
        }
        self.session = snapshot.map(|session| Snapshot { cursor: None, ..session });
    }
}
