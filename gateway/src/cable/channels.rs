//! The channels: what each does when it is subscribed to and when an action is performed. Commands come from the server,
//! which also carries out what a channel wants.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::talks::{Talks, Word};
use super::wire::{given, rendered};
use crate::sessions::Time;

/// What stands behind a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// `SessionChannel` and, with `live`, `AgentChannel`: a talk with an agent.
    Talk { session: u64, live: bool },
    /// `EchoChannel`: gives back what it is performed with.
    Echo { room: String },
    /// `RoomChannel`: whispers and presence, and what is said in the room.
    Room { room: String },
    /// `HistoryChannel`: so many lines are transmitted before the confirmation.
    History { lines: u64 },
    /// `RejectChannel`: says no.
    Reject,
    /// `BrokenChannel`: raises when subscribed to; neither confirmed nor rejected, and yet there.
    Broken,
    /// `LateChannel`: confirmed so many milliseconds late.
    Late { ms: u64 },
    /// `$pubsub`: a stream by its name. The extension's.
    Stream { name: String },
}

/// What a channel wants to happen.
#[derive(Debug)]
pub enum Wish {
    Transmit(Box<RawValue>),
    Broadcast {
        stream: String,
        message: Box<RawValue>,
    },
    /// From now on these streams and no others.
    Streams(Vec<String>),
    /// The connection is closed by the application.
    Close {
        reason: Option<String>,
        reconnect: bool,
    },
    /// Later performs are refused in silence.
    Refuse,
    /// The answer's first step is due.
    Run(u64),
}

/// How a subscription begins.
#[derive(Debug, PartialEq, Eq)]
pub enum Beginning {
    Confirmed {
        late_ms: u64,
    },
    Rejected,
    /// Neither the one nor the other.
    Raised,
}

/// The most that one action transmits.
const MAX_COUNT: u64 = 10_000;
const MAX_NAME: usize = 256;

impl Channel {
    /// The channel that an identifier names. None when there is no such one.
    pub fn named(identifier: &str, extended: bool) -> Option<Self> {
        let params: Map<String, Value> = serde_json::from_str(identifier).ok()?;
        let text = |name: &str| params.get(name).and_then(Value::as_str).filter(|text| text.len() <= MAX_NAME);
        let number = |name: &str, default: u64| params.get(name).and_then(Value::as_u64).unwrap_or(default);
        let room = || text("room").unwrap_or("lobby").to_owned();
        let talk = |live: bool| match params.get("session_id") {
            None => Self::Talk { session: 1, live },
            Some(session) => match session.as_u64() {
                Some(session @ 1..) => Self::Talk { session, live },
                _ => Self::Reject,
            },
        };
        Some(match params.get("channel")?.as_str()? {
            "SessionChannel" => talk(false),
            "AgentChannel" => talk(true),
            "EchoChannel" => Self::Echo { room: room() },
            "RoomChannel" => Self::Room { room: room() },
            "HistoryChannel" => Self::History { lines: number("lines", 3).min(MAX_COUNT) },
            "RejectChannel" => Self::Reject,
            "BrokenChannel" => Self::Broken,
            "LateChannel" => Self::Late { ms: number("ms", 1_000) },
            "$pubsub" if extended => {
                Self::Stream { name: text("stream_name").or_else(|| text("signed_stream_name"))?.to_owned() }
            }
            _ => return None,
        })
    }

    /// The stream on which whispers go and members are present.
    pub fn shared_stream(&self) -> Option<String> {
        match self {
            Self::Room { room } => Some(format!("room_{room}")),
            Self::Stream { name } => Some(name.clone()),
            Self::Talk { .. }
            | Self::Echo { .. }
            | Self::History { .. }
            | Self::Reject
            | Self::Broken
            | Self::Late { .. } => None,
        }
    }

    pub fn subscribed(&self, talks: &mut Talks, now: Time) -> (Beginning, Vec<Wish>) {
        let mut wishes = Vec::new();
        let mut late_ms = 0;
        match self {
            Self::Talk { session, live } => {
                talks.open(*session, now);
                wishes.push(Wish::Streams(talk_streams(*session, *live)));
                wishes.extend(caught_up(talks, *session, *live));
            }
            Self::Echo { room } => wishes.push(Wish::Streams(vec![format!("echo_{room}")])),
            Self::Room { room } => wishes.push(Wish::Streams(vec![format!("room_{room}")])),
            Self::History { lines } => {
                wishes.push(Wish::Streams(vec!["history".to_owned()]));
                wishes.extend((1..=*lines).map(|line| Wish::Transmit(number(line))));
            }
            Self::Reject => return (Beginning::Rejected, wishes),
            Self::Broken => return (Beginning::Raised, wishes),
            Self::Late { ms } => late_ms = *ms,
            Self::Stream { name } => wishes.push(Wish::Streams(vec![name.clone()])),
        }
        (Beginning::Confirmed { late_ms }, wishes)
    }

    /// Performs an action. What it does not know, or cannot make sense of, is passed over in silence.
    pub fn perform(&mut self, data: &str, talks: &mut Talks, now: Time) -> Vec<Wish> {
        self.try_perform(data, talks, now).unwrap_or_default()
    }

    fn try_perform(&mut self, data: &str, talks: &mut Talks, now: Time) -> Option<Vec<Wish>> {
        // An object, not a list that could pass for one.
        let raw = rendered(data).filter(|raw| raw.get().starts_with('{'))?;
        let call: Call = serde_json::from_str(raw.get()).ok()?;
        let action = match call.action {
            None => String::new(),
            Some(action) => serde_json::from_str(action.get()).ok()?,
        };
        if action.is_empty() {
            return Some(vec![Wish::Transmit(Word::Raw { data: &raw }.json())]);
        }
        match self {
            Self::Talk { session, live } => talk(session, *live, &action, &call, talks, now),
            Self::Echo { room } => echo(room, &action, &call, &raw),
            Self::Room { room } => match action.as_str() {
                "say" => {
                    let message = call.content?.to_owned();
                    Some(vec![Wish::Broadcast { stream: format!("room_{room}"), message }])
                }
                _ => None,
            },
            Self::History { .. } => match action.as_str() {
                "add" => Some(vec![Wish::Broadcast { stream: "history".to_owned(), message: call.value?.to_owned() }]),
                _ => None,
            },
            Self::Broken | Self::Late { .. } => match action.as_str() {
                "value" => Some(vec![Wish::Transmit(call.value?.to_owned())]),
                _ => None,
            },
            Self::Reject | Self::Stream { .. } => None,
        }
    }
}

/// What an action is called with.
#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    content: Option<&'a RawValue>,
    #[serde(default)]
    session_id: Value,
    #[serde(default)]
    limit: Value,
    #[serde(default)]
    n: Value,
    #[serde(default)]
    reason: Value,
    #[serde(default)]
    reconnect: Value,
}

fn talk(session: &mut u64, live: bool, action: &str, call: &Call, talks: &mut Talks, now: Time) -> Option<Vec<Wish>> {
    match action {
        "speak" => {
            let content: String = serde_json::from_str(call.content?.get()).ok()?;
            let stream = talk_stream(*session);
            let said = Word::UserMessage { content: &content }.json();
            talks.note(*session, said.clone());
            let mut wishes = vec![Wish::Broadcast { stream: stream.clone(), message: said }];
            if !live {
                let message = answered(&content);
                talks.note(*session, message.clone());
                wishes.push(Wish::Broadcast { stream, message });
                return Some(wishes);
            }
            match talks.begin(*session, &content) {
                Some(run) => {
                    let message = Word::AgentStart { run }.json();
                    wishes.push(Wish::Broadcast { stream: live_stream(*session), message });
                    wishes.push(Wish::Run(run));
                }
                None => wishes.push(failure("Too many answers are being given")),
            }
            Some(wishes)
        }
        "cancel" if live => {
            let stream = talk_stream(*session);
            let ends = talks.cancel(*session).into_iter();
            Some(ends.map(|message| Wish::Broadcast { stream: stream.clone(), message }).collect())
        }
        "catch_up" => Some(caught_up(talks, *session, live)),
        "create_session" => {
            let created = talks.create(now);
            Some(switched(session, created, live, talks))
        }
        "switch_session" => match call.session_id.as_u64().filter(|id| talks.exists(*id)) {
            Some(chosen) => Some(switched(session, chosen, live, talks)),
            None => Some(vec![failure("Session not found")]),
        },
        "list_sessions" => {
            let sessions = talks.list(call.limit.as_u64());
            Some(vec![Wish::Transmit(Word::SessionsList { sessions }.json())])
        }
        _ => None,
    }
}

fn answered(content: &str) -> Box<RawValue> {
    let content = format!("echo: {content}");
    Word::AgentMessage { content: &content, run: None, outcome: None, error: None }.json()
}

fn failure(message: &str) -> Wish {
    Wish::Transmit(Word::Error { message }.json())
}

fn switched(session: &mut u64, to: u64, live: bool, talks: &Talks) -> Vec<Wish> {
    *session = to;
    let changed = Wish::Transmit(Word::SessionChanged { session_id: to }.json());
    let mut wishes = vec![changed, Wish::Streams(talk_streams(to, live))];
    wishes.extend(caught_up(talks, to, live));
    wishes
}

fn caught_up(talks: &Talks, session: u64, live: bool) -> Vec<Wish> {
    let partials = if live { talks.partials(session) } else { Vec::new() };
    talks.history(session).into_iter().chain(partials).map(Wish::Transmit).collect()
}

fn echo(room: &str, action: &str, call: &Call, whole: &RawValue) -> Option<Vec<Wish>> {
    let count = call.n.as_u64().unwrap_or(1).min(MAX_COUNT);
    let stream = || format!("echo_{room}");
    Some(match action {
        "echo" => vec![Wish::Transmit(whole.to_owned())],
        "value" => vec![Wish::Transmit(call.value?.to_owned())],
        "broadcast" => vec![Wish::Broadcast { stream: stream(), message: call.value?.to_owned() }],
        "count" => (1..=count).map(|n| Wish::Transmit(number(n))).collect(),
        "fan_out" => (1..=count).map(|n| Wish::Broadcast { stream: stream(), message: number(n) }).collect(),
        "refuse" => vec![Wish::Refuse],
        "close" => {
            let reason = call.reason.as_str().map(str::to_owned);
            vec![Wish::Close { reason, reconnect: call.reconnect.as_bool().unwrap_or(true) }]
        }
        _ => return None,
    })
}

fn number(n: u64) -> Box<RawValue> {
    to_raw_value(&n).expect("a number can be written")
}

fn talk_stream(session: u64) -> String {
    format!("session_{session}")
}

fn live_stream(session: u64) -> String {
    format!("session_{session}_live")
}

fn talk_streams(session: u64, live: bool) -> Vec<String> {
    let mut streams = vec![talk_stream(session)];
    if live {
        streams.push(live_stream(session));
    }
    streams
}

/// The streams on which a step of an answer is told: the live one, and everyone's.
pub fn streams_of(session: u64) -> (String, String) {
    (live_stream(session), talk_stream(session))
}

/// The identifier of a subscription; equal ones are the same text.
pub type Identifier = Arc<str>;
