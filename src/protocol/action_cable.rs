//! Action Cable (docs/protocols/action-cable.md): subscriptions that outlive sockets, and what is said to them. AnyCable's
//! extension, which continues where a socket broke off, is spoken where the page asks for it and the server knows it.
//!
//! Who hears of a message is decided in the page for the plain case: a topic is bound to a handle, and its messages pass
//! without being shown here. What a message says is never looked at.

mod channel;

use super::{Becomes, Command, Context, Inbound, Protocol, RouteRow, Verb, Word, take_at};
use crate::config::{CALL_TIMEOUT_MS, Config};
use crate::error::{Cause, Fault, Rejection};
use crate::session::{MAX_TOKEN_BYTES, Snapshot};
use crate::time::Instant;
use crate::wire::{CloseCode, Disposition, FrameId, Handle, Route, View, push_json_string, push_number};
use alloc::string::String;
use alloc::vec::Vec;
use channel::{Channel, HISTORY_MS, Member, PATIENCE_MS, Stage, command};

const PLAIN: &str = "actioncable-v1-json";
const EXTENDED: &str = "actioncable-v1-ext-json";
/// A server that knows none of ours chooses this one; without it, a browser would not tell such a server from a dead one.
const UNSUPPORTED: &str = "actioncable-unsupported";

const WELCOME: Route = Route(1);
const DISCONNECT: Route = Route(2);
const CONFIRM: Route = Route(3);
const REJECT: Route = Route(4);
const CONFIRM_HISTORY: Route = Route(5);
const REJECT_HISTORY: Route = Route(6);
const PRESENCE: Route = Route(7);
const PING: Route = Route(8);
const DATA: Route = Route(9);

/// Data frames have no type: the page's half sorts them by the presence of `message`, under a type that none can have.
const TYPES: [(&str, Becomes); 10] = [
    ("welcome", Becomes::Nothing),
    ("disconnect", Becomes::Nothing),
    ("confirm_subscription", Becomes::Nothing),
    ("reject_subscription", Becomes::Nothing),
    ("confirm_history", Becomes::Nothing),
    ("reject_history", Becomes::Nothing),
    ("presence", Becomes::Nothing),
    ("ping", Becomes::Nothing),
    ("", Becomes::Delta),
    ("pong", Becomes::Nothing),
];

/// The server pings every 3 s.
const STALE_MS: u64 = 6000;
/// The first tries after a loss: soon, but not everybody at once. An ordinary deployment is a process that is gone and
/// refuses for some seconds, not one that says goodbye.
const SOON_TRIES: u32 = 4;
const SOON_LEAST_MS: u64 = 500;
const SOON_SPREAD_MS: f64 = 1500.0;
/// A server that has said goodbye closes the socket itself, at once.
const GOODBYE_MS: u64 = 1000;
/// The longest frame that the server takes.
const MOST_PLAIN: usize = 67_108_863;
const MOST_EXTENDED: usize = 65_536;
/// Data nested deeper is dropped by the server without a word.
const DEEPEST: usize = 100;

/// What subscriptions were last told of the line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Up,
    Returning,
    Gone,
}

/// Something to be said to a subscription once it is live.
struct Perform {
    handle: Handle,
    subscription: Handle,
    /// `message`, or a command of the extension's.
    command: String,
    data: String,
    deadline: Option<Instant>,
}

pub struct ActionCable {
    max_messages: f64,
    max_bytes: f64,
    asks_extension: bool,
    /// The page has left the first wait to us.
    returns_soon: bool,
    /// The server speaks the extension on this connection.
    extended: bool,
    /// It has welcomed us on this connection, and not said goodbye.
    welcomed: bool,
    goodbye: Option<(Cause, Instant)>,
    told: Told,
    /// What resumes the session of the last connection; empty where nothing does.
    sid: String,
    /// The server's clock at its last ping, in seconds since 1970; 0 where it has sent none.
    server_seconds: f64,
    channels: Vec<Channel>,
    performs: Vec<Perform>,
}

impl ActionCable {
    pub fn new(config: &Config, values: &dyn View) -> Self {
        Self {
            max_messages: config.limits.max_messages,
            max_bytes: config.limits.max_bytes,
            asks_extension: values.boolean("actionCable.anycable") == Some(true),
            returns_soon: !values.has("reconnect.baseDelayMs"),
            extended: false,
            welcomed: false,
            goodbye: None,
            told: Told::Gone,
            sid: String::new(),
            server_seconds: 0.0,
            channels: Vec::new(),
            performs: Vec::new(),
        }
    }

    // What the page asks.

    fn subscribe(&mut self, cx: &mut Context<'_>, handle: Handle, identifier: String, since: f64) {
        let members: usize = self.channels.iter().map(|channel| channel.members.len()).sum();
        if members.max(self.channels.len()) as f64 >= self.max_messages || !self.has_room(identifier.len()) {
            cx.reject(handle, Rejection::QueueFull);
            return;
        }
        if self.named(&identifier).is_none() {
            self.channels.push(Channel::new(identifier.clone()));
        }
        let (welcomed, extended) = (self.welcomed, self.extended);
        let Some(channel) = self.named(&identifier) else {
            return;
        };
        let live = matches!(channel.stage, Stage::Live { .. });
        channel.members.push(Member { handle, known: live, owed: since > 0.0 && !live });
        if since > 0.0 && channel.members.len() == 1 {
            channel.since = since;
        }
        channel.rebind(cx);
        if live {
            cx.tell(handle, Word::Confirmed, FrameId::NONE);
        } else if welcomed && channel.stage == Stage::Away {
            channel.ask(cx, 0, extended);
        }
    }

    fn named(&mut self, identifier: &str) -> Option<&mut Channel> {
        self.channels.iter_mut().find(|channel| channel.identifier == identifier)
    }

    /// The one that a subscription of the page's belongs to.
    fn of(&mut self, subscription: Handle) -> Option<&mut Channel> {
        self.channels.iter_mut().find(|channel| channel.has(subscription))
    }

    /// The page wants a subscription no more, or something that was to be said.
    fn cancel(&mut self, cx: &mut Context<'_>, handle: Handle) {
        if let Some(at) = self.performs.iter().position(|perform| perform.handle == handle) {
            take_at(&mut self.performs, at);
            cx.tell(handle, Word::Cancelled, FrameId::NONE);
        }
        if let Some(channel) = self.of(handle) {
            if let Some(at) = channel.members.iter().position(|member| member.handle == handle) {
                take_at(&mut channel.members, at);
            }
            cx.tell(handle, Word::Cancelled, FrameId::NONE);
            if channel.members.is_empty() && matches!(channel.stage, Stage::Live { .. }) {
                channel.leave(cx);
            }
            channel.rebind(cx);
            self.end_orphans(cx, Some(Rejection::SubscriptionEnded), FrameId::NONE);
        }
    }

    fn perform(&mut self, cx: &mut Context<'_>, asked: Command) {
        let Command { handle, texts: [data, kind, timeout], number, .. } = asked;
        let perform = Perform {
            handle,
            subscription: Handle(number.unwrap_or(0.0) as u32),
            command: kind.unwrap_or_else(|| "message".into()),
            data: data.unwrap_or_default(),
            deadline: match timeout {
                None => Some(cx.now.after(CALL_TIMEOUT_MS as u64)),
                // What is no whole number is no limit.
                Some(millis) => millis.parse().ok().map(|millis| cx.now.after(millis)),
            },
        };
        if self.of(perform.subscription).is_none() {
            cx.reject(handle, Rejection::SubscriptionEnded);
        } else if depth(&perform.data) > DEEPEST {
            cx.reject(handle, Rejection::TooLarge);
        } else if !self.has_room(perform.data.len()) || self.performs.len() as f64 >= self.max_messages {
            cx.reject(handle, Rejection::QueueFull);
        } else {
            self.performs.push(perform);
            self.send_performs(cx);
        }
    }

    fn has_room(&self, more: usize) -> bool {
        let channels: usize = self.channels.iter().map(|channel| channel.identifier.len()).sum();
        let performs: usize = self.performs.iter().map(|perform| perform.data.len()).sum();
        (channels + performs + more) as f64 <= self.max_bytes
    }

    // What goes out.

    /// Sends what was held for subscriptions that are live. What a socket has is never sent again.
    fn send_performs(&mut self, cx: &mut Context<'_>) {
        for perform in core::mem::take(&mut self.performs) {
            let (handle, extended) = (perform.handle, self.extended);
            let live = |channel: &&mut Channel| matches!(channel.stage, Stage::Live { .. });
            let Some(channel) = self.of(perform.subscription).filter(live) else {
                self.performs.push(perform);
                continue;
            };
            let Perform { command: kind, mut data, .. } = perform;
            let plain = kind == "message";
            if !plain && !extended {
                cx.reject(handle, Rejection::Unsupported);
                continue;
            }
            if kind == "join" {
                channel.presence.clone_from(&data);
            } else if kind == "leave" {
                data = core::mem::take(&mut channel.presence);
            }
            let mut frame = command(&kind, &channel.identifier);
            if plain {
                frame.push_str(",\"data\":");
                push_json_string(&mut frame, &data);
            } else if !data.is_empty() {
                frame.push_str(if kind == "whisper" { ",\"data\":" } else { ",\"presence\":" });
                frame.push_str(&data);
            }
            frame.push('}');
            if frame.len() > if extended { MOST_EXTENDED } else { MOST_PLAIN } {
                cx.reject(handle, Rejection::TooLarge);
            } else {
                cx.send_now(frame);
                cx.tell(handle, Word::Sent, FrameId::NONE);
            }
        }
    }

    /// Ends what was to be said to subscriptions that there are no longer, and forgets what nobody needs.
    fn end_orphans(&mut self, cx: &mut Context<'_>, why: Option<Rejection>, frame: FrameId) {
        self.sweep();
        for perform in core::mem::take(&mut self.performs) {
            if self.of(perform.subscription).is_some() {
                self.performs.push(perform);
            } else {
                end(cx, perform.handle, why, frame);
            }
        }
    }

    fn sweep(&mut self) {
        self.channels.retain(|channel| !channel.members.is_empty() || channel.stage != Stage::Away);
    }

    fn tell_away(&self, cx: &mut Context<'_>, returns: f64) {
        for member in self.channels.iter().flat_map(|channel| &channel.members) {
            cx.tell_more(member.handle, Word::Away, FrameId::NONE, returns, String::new());
        }
    }

    // What comes in.

    fn welcome(&mut self, cx: &mut Context<'_>, view: &dyn View) {
        if self.welcomed || self.goodbye.is_some() {
            return;
        }
        self.welcomed = true;
        let restored = !self.sid.is_empty() && view.boolean("restored") == Some(true);
        self.sid.clear();
        if self.extended
            && let Some(sid) = view.string("sid").filter(|sid| sid.len() <= MAX_TOKEN_BYTES)
        {
            self.sid = sid;
        }
        let most = if restored { self.max_messages as u64 } else { 0 };
        for at in 0..most {
            let mut path = String::from("restored_ids/");
            push_number(&mut path, at);
            let Some(identifier) = view.string(&path) else {
                break;
            };
            if let Some(channel) = self.named(&identifier) {
                // A server that names one twice has it once.
                if channel.stage == Stage::Away {
                    channel.restored(cx);
                }
            } else {
                // The page has left it while the line was away.
                let mut channel = Channel::new(identifier);
                channel.leave(cx);
                self.channels.push(channel);
            }
        }
        for channel in &mut self.channels {
            if channel.stage == Stage::Away {
                channel.ask(cx, 0, self.extended);
            }
        }
        cx.expect_frames(STALE_MS);
        cx.ready(restored);
        for channel in &mut self.channels {
            if let Stage::Live { .. } = channel.stage {
                channel.confirmed(cx, FrameId::NONE);
            }
        }
        self.send_performs(cx);
    }

    fn goodbye(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        // A server that ends a connection has ended its session, whatever it says about coming back.
        self.sid.clear();
        let reason = inbound.view.string("reason");
        let refused = matches!(reason.as_deref(), Some("unauthorized" | "token_expired"));
        let reconnect = inbound.view.boolean("reconnect");
        // Some leave the word out: that forbids nothing, unless the answer would be the same again.
        if reconnect == Some(false) || (refused && reconnect.is_none()) {
            cx.fail(if refused { Cause::Unauthorized } else { Cause::Refused }, inbound.frame);
            return;
        }
        let restarts = reason.as_deref() == Some("server_restart");
        let cause = if restarts { Cause::ServerRestart } else { Cause::Transport };
        self.goodbye = Some((cause, cx.now.after(GOODBYE_MS)));
        self.leave_connection();
        cx.hold();
    }

    fn leave_connection(&mut self) {
        self.welcomed = false;
        for channel in &mut self.channels {
            channel.lost(self.server_seconds);
        }
        self.sweep();
    }

    fn ping(&mut self, cx: &mut Context<'_>, view: &dyn View) {
        // Seconds, or by the server's choice milliseconds or nanoseconds: told apart by their size.
        let mut seconds = view.number("message").unwrap_or(0.0);
        while seconds > 1e11 && seconds < f64::INFINITY {
            seconds /= 1000.0;
        }
        if seconds >= 1.0 {
            self.server_seconds = seconds;
        }
        if self.extended && self.welcomed {
            cx.send_now("{\"command\":\"pong\"}".into());
        }
    }

    /// A frame about a subscription.
    fn about(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let Inbound { route, frame, view } = inbound;
        let identifier = view.string("identifier");
        if identifier.is_none() && route != DATA {
            cx.fault(Fault::Malformed);
            return;
        }
        let (identifier, extended) = (identifier.unwrap_or_default(), self.extended);
        let Some(channel) = self.named(&identifier) else {
            cx.emit(Inbound { route: Route::NONE, ..inbound });
            return;
        };
        match route {
            // What is still under way after an unsubscribe is for nobody, whoever has come since.
            DATA | PRESENCE if matches!(channel.stage, Stage::Leaving { .. }) => {}
            DATA => {
                if !extended || !channel.has_seen(view) {
                    channel.tell(cx, Word::Delta, frame);
                }
            }
            PRESENCE => channel.tell(cx, Word::Note, frame),
            CONFIRM => {
                if let Stage::Asked { history, .. } = channel.stage {
                    channel.stage = Stage::Live { history_until: history.then(|| cx.now.after(HISTORY_MS)) };
                    channel.confirmed(cx, frame);
                    if channel.members.is_empty() {
                        channel.leave(cx);
                    }
                    self.send_performs(cx);
                }
            }
            REJECT => self.end(cx, &identifier, None, frame),
            _ => {
                if let Stage::Live { history_until: Some(_) } = channel.stage {
                    channel.make_up(cx, (route == REJECT_HISTORY).then_some("history-rejected"), frame);
                }
            }
        }
    }

    /// Ends what the page has of an identifier, and what was to be said to it: for a reason of ours, or for the server's.
    fn end(&mut self, cx: &mut Context<'_>, identifier: &str, why: Option<Rejection>, frame: FrameId) {
        let Some(channel) = self.named(identifier) else {
            return;
        };
        for member in core::mem::take(&mut channel.members) {
            end(cx, member.handle, why, frame);
        }
        channel.rebind(cx);
        if why.is_none() {
            channel.stage = Stage::Away;
        } else {
            // It may still be carrying out what it was asked.
            channel.leave(cx);
        }
        self.end_orphans(cx, why, frame);
    }

    // What time brings.

    fn arm(&self, cx: &mut Context<'_>) {
        let stages = self.channels.iter().filter_map(|channel| channel.stage.until());
        let performs = self.performs.iter().filter_map(|perform| perform.deadline);
        let goodbye = self.goodbye.iter().map(|(_, until)| *until);
        cx.wake_at(stages.chain(performs).chain(goodbye).min());
    }

    fn overdue(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        for perform in core::mem::take(&mut self.performs) {
            if perform.deadline.is_some_and(|due| due <= now) {
                cx.tell(perform.handle, Word::TimedOut, FrameId::NONE);
            } else {
                self.performs.push(perform);
            }
        }
        while let Some(channel) =
            self.channels.iter_mut().find(|channel| channel.stage.until().is_some_and(|due| due <= now))
        {
            match channel.stage {
                Stage::Asked { tries, .. } if tries + 1 < PATIENCE_MS.len() && !channel.members.is_empty() => {
                    channel.ask(cx, tries + 1, self.extended);
                }
                Stage::Away | Stage::Asked { .. } => {
                    let identifier = channel.identifier.clone();
                    self.end(cx, &identifier, Some(Rejection::Unconfirmed), FrameId::NONE);
                }
                Stage::Live { .. } => channel.make_up(cx, Some("no-answer"), FrameId::NONE),
                Stage::Leaving { .. } if channel.members.is_empty() => {
                    channel.stage = Stage::Away;
                    self.end_orphans(cx, None, FrameId::NONE);
                }
                Stage::Leaving { .. } => channel.ask(cx, 0, self.extended),
            }
        }
    }
}

impl Protocol for ActionCable {
    fn subprotocols(&self) -> &'static [&'static str] {
        if self.asks_extension { &[EXTENDED, PLAIN, UNSUPPORTED] } else { &[PLAIN, UNSUPPORTED] }
    }

    fn routes(&self) -> Vec<RouteRow> {
        TYPES.iter().map(|(name, event)| RouteRow { frame_type: (*name).into(), event: *event }).collect()
    }

    /// The extension numbers its messages and wants an answer to its pings.
    fn control_routes(&self) -> u32 {
        if self.asks_extension { DATA.0 } else { PRESENCE.0 }
    }

    fn address(&self) -> String {
        let mut address = String::new();
        if !self.sid.is_empty() {
            address.push_str("?sid=");
            for byte in self.sid.bytes() {
                if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
                    address.push(char::from(byte));
                } else {
                    address.push('%');
                    for digit in [byte / 16, byte % 16] {
                        address.push(char::from(digit + if digit < 10 { b'0' } else { b'A' - 10 }));
                    }
                }
            }
        }
        address
    }

    fn early_tries(&self) -> (u32, u64, f64) {
        (if self.returns_soon { SOON_TRIES } else { 0 }, SOON_LEAST_MS, SOON_SPREAD_MS)
    }

    fn opened(&mut self, cx: &mut Context<'_>, subprotocol: &str) {
        self.told = Told::Up;
        self.extended = subprotocol == EXTENDED;
        // A browser would not have opened a socket to a server that chose none: whatever did may go on.
        if !matches!(subprotocol, "" | PLAIN | EXTENDED) {
            cx.fail(Cause::ProtocolUnsupported, FrameId::NONE);
        }
    }

    fn received(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        match inbound.route {
            WELCOME => self.welcome(cx, inbound.view),
            DISCONNECT => self.goodbye(cx, inbound),
            PING => self.ping(cx, inbound.view),
            CONFIRM | REJECT | CONFIRM_HISTORY | REJECT_HISTORY | PRESENCE | DATA => self.about(cx, inbound),
            _ => cx.emit(inbound),
        }
        self.arm(cx);
    }

    fn timeout(&mut self, cx: &mut Context<'_>) {
        if let Some((cause, until)) = self.goodbye
            && until <= cx.now
        {
            cx.drop_socket(cause);
        } else {
            self.overdue(cx);
            self.arm(cx);
        }
    }

    fn probe(&mut self, _cx: &mut Context<'_>) {}

    fn is_busy(&self) -> bool {
        !self.performs.is_empty()
    }

    fn disconnected(&mut self, cx: &mut Context<'_>, code: CloseCode) -> Option<Disposition> {
        self.leave_connection();
        if self.told == Told::Gone {
            self.told = Told::Returning;
        }
        let goodbye = self.goodbye.take();
        self.arm(cx);
        // No close code says that coming back is useless: only the server's own word does.
        Some(match (goodbye, code.disposition()) {
            (Some((cause, _)), _) | (None, Disposition::Fatal(cause)) => Disposition::Retry(cause),
            (None, other) => other,
        })
    }

    fn retrying(&mut self, cx: &mut Context<'_>) {
        if self.told == Told::Up {
            self.tell_away(cx, 1.0);
        }
        self.told = Told::Returning;
    }

    fn ended(&mut self, cx: &mut Context<'_>) {
        if self.told != Told::Gone {
            self.tell_away(cx, 0.0);
        }
        self.told = Told::Gone;
        for perform in core::mem::take(&mut self.performs) {
            cx.tell_more(perform.handle, Word::Lost, FrameId::NONE, 1.0, String::new());
        }
        self.arm(cx);
    }

    fn command(&mut self, cx: &mut Context<'_>, command: Command) {
        match command.verb {
            Verb::Subscribe => {
                let Command { handle, texts: [identifier, ..], number, .. } = command;
                self.subscribe(cx, handle, identifier.unwrap_or_default(), number.unwrap_or(0.0));
            }
            Verb::Perform => self.perform(cx, command),
            Verb::Cancel => self.cancel(cx, command.handle),
            _ => cx.reject(command.handle, Rejection::Unsupported),
        }
        self.arm(cx);
    }

    fn save(&self) -> Option<Snapshot> {
        None
    }

    fn restore(&mut self, _snapshot: Option<Snapshot>) {}
}

fn end(cx: &mut Context<'_>, handle: Handle, why: Option<Rejection>, frame: FrameId) {
    match why {
        Some(why) => cx.reject(handle, why),
        None => cx.tell(handle, Word::Refused, frame),
    }
}

/// How deep JSON is nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
