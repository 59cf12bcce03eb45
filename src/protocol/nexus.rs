//! The Nexus world (docs/protocols/nexus-world.md): typed JSON frames that become events, and a session that a first
//! frame resumes.
//!
//! It does not decide what is sent when: `ready` lets the client's queue go.

use super::{Becomes, Context, Inbound, Protocol, RouteRow};
use crate::config::{Config, NexusConfig};
use crate::error::{Cause, Fault};
use crate::session::{MAX_TOKEN_BYTES, Snapshot};
use crate::time::Instant;
use crate::wire::{CloseCode, Disposition, Route, push_json_string, push_number};
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

/// The types behind the session's own, and the events that they become: those that the protocol understands as well come
/// first, as numbered above.
const TYPES: [(&str, Becomes); 12] = [
    ("session-resumed", Becomes::Nothing),
    ("session-refused", Becomes::Nothing),
    ("gateway-offer", Becomes::Nothing),
    ("pong", Becomes::Nothing),
    ("server-advice", Becomes::Nothing),
    ("gateway-closing", Becomes::Nothing),
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
}

impl Nexus {
    pub fn new(config: &Config) -> Self {
        let nexus = NexusConfig {
            init_type: config.nexus.init_type.clone(),
            resume_type: config.nexus.resume_type.clone(),
            token_field: config.nexus.token_field.clone(),
            ..config.nexus
        };
        Self { config: nexus, session: None, asked_for: None, phase: Phase::Greeting, probe: 0 }
    }

    fn become_ready(&mut self, cx: &mut Context<'_>, recovered: bool) {
        self.phase = Phase::Ready;
        cx.stop_timer();
        cx.ready(recovered);
    }

    fn init(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let client_id = inbound.view.string("clientId");
        let token = inbound.view.string(&self.config.token_field);
        let asked_for = self.asked_for.as_ref().and_then(|session| session.client_id.as_ref());
        let ours = client_id.is_some() && client_id.as_ref() == asked_for;
        if token.as_ref().is_some_and(|token| token.is_empty() || token.len() > MAX_TOKEN_BYTES) {
            cx.fault(Fault::Malformed);
        } else if let Some(token) = token {
            self.session = Some(Snapshot { token, client_id });
            cx.persist();
        }
        match self.phase {
            Phase::Resuming { .. } if !ours => self.wait_for_the_answer(cx, true),
            Phase::Greeting | Phase::Resuming { .. } => self.become_ready(cx, ours),
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

    fn control(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        match inbound.route {
            RESUMED => {
                if let Phase::Resuming { greeted, .. } = self.phase {
                    // A greeting that crossed our token was for nobody: the session that lives on is the one we asked for.
                    if greeted {
                        self.session = self.asked_for.clone();
                        cx.persist();
                    }
                    self.become_ready(cx, true);
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
            OFFER if inbound.view.boolean("ping") == Some(true) => cx.offer_probe(),
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
        CLOSING.0
    }

    fn opened(&mut self, cx: &mut Context<'_>, _subprotocol: &str) {
        self.asked_for = None;
        self.phase = Phase::Greeting;
        if let Some(session) = &self.session {
            let mut frame = String::from("{\"type\":");
            push_json_string(&mut frame, &self.config.resume_type);
            frame.push(',');
            push_json_string(&mut frame, &self.config.token_field);
            frame.push(':');
            push_json_string(&mut frame, &session.token);
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
            RESUMED | REFUSED | OFFER | PONG | ADVICE | CLOSING => self.control(cx, inbound),
            _ => {
                match self.phase {
                    Phase::Greeting => self.become_ready(cx, false),
                    Phase::Resuming { .. } => self.wait_for_the_answer(cx, false),
                    Phase::Ready => {}
                }
                cx.emit(inbound);
            }
        }
    }

    fn timeout(&mut self, cx: &mut Context<'_>) {
        if let Phase::Resuming { greeted, .. } = self.phase {
            self.become_ready(cx, !greeted);
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
        self.phase = Phase::Greeting;
        // A token that the server will not have must not be presented for ever; without one, the refusal is final.
        if code.disposition() == Disposition::Fatal(Cause::Unauthorized) && self.session.take().is_some() {
            cx.persist();
            return Some(Disposition::Retry(Cause::Unauthorized));
        }
        None
    }

    fn save(&self) -> Option<Snapshot> {
        self.session.clone()
    }

    fn restore(&mut self, snapshot: Option<Snapshot>) {
        self.session = snapshot;
    }
}
