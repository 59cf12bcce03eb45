//! The words of the Nexus world protocol: what the gateway says, and how a client's frame is read.
//! Who hears what, and when, is world.rs.

use std::borrow::Cow;
use std::collections::VecDeque;

use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::delivery::{Cursor, Recovery, StreamName};
use crate::sessions::{ClientId, Place, Session};

/// A frame that the gateway writes.
#[derive(Serialize)]
#[serde(tag = "type")]
pub enum Said<'a> {
    #[serde(rename = "gateway-offer")]
    GatewayOffer {
        ping: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        delivery: Option<Offered<'a>>,
    },
    #[serde(rename = "session-init", rename_all = "camelCase")]
    SessionInit {
        token: &'a str,
        client_id: &'a str,
        /// Where a new session's feed stands.
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
    #[serde(rename = "session-resumed", rename_all = "camelCase")]
    SessionResumed {
        client_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        delivery: Option<Resumed<'a>>,
    },
    #[serde(rename = "delivery-ack")]
    DeliveryAck { seq: u64 },
    #[serde(rename = "session-refused")]
    SessionRefused { reason: &'a str },
    #[serde(rename = "pong")]
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        n: Option<&'a RawValue>,
    },
    #[serde(rename = "server-advice", rename_all = "camelCase")]
    ServerAdvice {
        retry_after_ms: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        spread_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    #[serde(rename = "gateway-closing")]
    GatewayClosing,
    #[serde(rename = "gateway-moving", rename_all = "camelCase")]
    GatewayMoving {
        #[serde(skip_serializing_if = "Option::is_none")]
        within_ms: Option<u64>,
    },
    #[serde(rename = "world_state")]
    WorldState { players: Vec<Player<'a>>, agents: &'a RawValue, chat: &'a VecDeque<Box<RawValue>>, you: &'a str },
    #[serde(rename = "player-joined")]
    PlayerJoined(Player<'a>),
    #[serde(rename = "player-left")]
    PlayerLeft { id: &'a str },
    #[serde(rename = "player-moved")]
    PlayerMoved {
        id: &'a str,
        #[serde(flatten)]
        place: Place,
    },
    #[serde(rename = "player-updated")]
    PlayerUpdated { id: &'a str, name: &'a str, color: &'a str },
    #[serde(rename = "chat-message", rename_all = "camelCase")]
    ChatMessage { id: u64, text: &'a RawValue, sender: &'a str, sender_id: &'a str, at: u64 },
    #[serde(rename = "answer-begun")]
    AnswerBegun { id: &'a str },
    #[serde(rename = "answer-text")]
    AnswerText { id: &'a str, n: usize, text: &'a str },
    #[serde(rename = "answer-note")]
    AnswerNote {
        id: &'a str,
        kind: &'a str,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'a str>,
        failed: bool,
    },
    #[serde(rename = "answer-so-far")]
    AnswerSoFar { id: &'a str, n: usize, text: &'a str },
    #[serde(rename = "answer-end")]
    AnswerEnd {
        id: &'a str,
        text: &'a str,
        outcome: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
    },
}

impl Said<'_> {
    /// The frame as it goes on the wire.
    pub fn text(&self) -> Utf8Bytes {
        serde_json::to_string(self).expect("strings, numbers and raw JSON can be written").into()
    }
}

/// The acknowledgement extension, as it is offered.
#[derive(Serialize)]
pub struct Offered<'a> {
    pub epoch: &'a str,
    pub window: u64,
}

/// What became of a line's messages, and of the frames that it missed.
#[derive(Serialize)]
pub struct Resumed<'a> {
    pub epoch: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<u64>,
    #[serde(flatten)]
    pub recovery: Recovery,
}

/// What the others are told about a client.
#[derive(Serialize)]
pub struct Player<'a> {
    id: &'a str,
    name: &'a str,
    color: &'a str,
    #[serde(flatten)]
    place: Place,
}

impl<'a> From<&'a Session> for Player<'a> {
    fn from(session: &'a Session) -> Self {
        Self { id: &session.id, name: &session.name, color: &session.color, place: session.place }
    }
}

/// A client's frame, as far as the gateway understands it.
#[derive(Debug)]
pub enum Heard<'a> {
    Resume(Resume),
    /// A line names its stream.
    Open(StreamName),
    /// How far a line has had the feed.
    Acknowledged(u64),
    /// The text is kept as it was written: it may hold what only JavaScript's strings can hold.
    Chat(&'a RawValue),
    Move(Step),
    Profile {
        name: Option<String>,
        color: Option<String>,
    },
    Ping(Option<&'a RawValue>),
    /// A question to the crew, and that its answer is wanted no more.
    Ask {
        id: String,
        text: String,
    },
    AskStop {
        id: String,
    },
    /// Of a type that the gateway does not know: for the others.
    Other,
}

/// What a client that comes back says of itself. What is malformed in it counts as not said.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    pub token: String,
    pub stream: Option<StreamName>,
    pub epoch: Option<String>,
    pub seen: Option<u64>,
}

impl Resume {
    fn read(text: &str) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Given {
            token: Value,
            stream: Value,
            epoch: Value,
            seen: Value,
        }
        let given: Given = read(text).unwrap_or_default();
        Self {
            token: given.token.as_str().unwrap_or_default().to_owned(),
            stream: given.stream.as_str().and_then(StreamName::parse),
            epoch: given.epoch.as_str().map(str::to_owned),
            seen: given.seen.as_u64(),
        }
    }

    /// How far it has had the feed, seen from this epoch. Half a cursor is none.
    pub fn cursor(&self, epoch: &str) -> Cursor {
        match (&self.epoch, self.seen) {
            (Some(given), Some(seen)) if given == epoch => Cursor::At(seen),
            (Some(_), Some(seen)) => Cursor::Elsewhere(seen),
            (None, _) | (_, None) => Cursor::None,
        }
    }
}

/// A frame that follows no rule of the protocol.
#[derive(Debug)]
pub struct Malformed;

/// Some of a place: what is missing stays as it was.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Step {
    x: Option<f64>,
    z: Option<f64>,
    ry: Option<f64>,
}

impl Step {
    pub fn from(self, place: Place) -> Place {
        Place { x: self.x.unwrap_or(place.x), z: self.z.unwrap_or(place.z), ry: self.ry.unwrap_or(place.ry) }
    }
}

/// Reads a client's frame. Nesting, size and foreign fields cost nothing beyond one pass over the text.
pub fn hear(text: &str) -> Result<Heard<'_>, Malformed> {
    match kind(text)?.as_ref() {
        "session-resume" => Ok(Heard::Resume(Resume::read(text))),
        "delivery-open" => {
            let Open { stream } = read(text)?;
            StreamName::parse(&stream).map(Heard::Open).ok_or(Malformed)
        }
        "delivery-ack" => read(text).map(|Ack { seq }| Heard::Acknowledged(seq)),
        "chat" => {
            let Chat { text } = read(text)?;
            if text.get().starts_with('"') { Ok(Heard::Chat(text)) } else { Err(Malformed) }
        }
        "move" => {
            let step: Step = read(text)?;
            if [step.x, step.z, step.ry] == [None; 3] {
                return Err(Malformed);
            }
            Ok(Heard::Move(step))
        }
        "profile" => {
            let Profile { name, color } = read(text)?;
            if name.is_none() && color.is_none() {
                return Err(Malformed);
            }
            let name = name.map(|name| shortened(&name, MAX_NAME));
            let color = color.map(|color| shortened(&color, MAX_COLOR));
            Ok(Heard::Profile { name, color })
        }
        "ping" => {
            let Ping { n } = read(text)?;
            if n.is_some_and(|n| n.get().len() > MAX_PING) {
                return Err(Malformed);
            }
            Ok(Heard::Ping(n))
        }
        "ask" => {
            let Ask { id, text } = read(text)?;
            if id.len() > MAX_QUESTION_ID { Err(Malformed) } else { Ok(Heard::Ask { id, text }) }
        }
        "ask-stop" => read(text).map(|AskStop { id }| Heard::AskStop { id }),
        kind if GATEWAYS_OWN.contains(&kind) => Err(Malformed),
        _ => Ok(Heard::Other),
    }
}

/// The frame as the others get it: to the letter, and with who sent it, which the sender cannot forge.
///
/// `text` must have been heard as a frame before.
pub fn relayed(text: &str, sender: &ClientId) -> Utf8Bytes {
    let object = text.trim_end();
    let open = object.strip_suffix('}').unwrap_or(object);
    format!("{open},\"senderId\":\"{sender}\"}}").into()
}

const MAX_NAME: usize = 40;
const MAX_COLOR: usize = 32;
const MAX_PING: usize = 64;
const MAX_QUESTION_ID: usize = 64;

/// Types that only the gateway may say: relayed from a client they would let it act as the gateway,
/// down to replacing another client's session.
const GATEWAYS_OWN: [&str; 18] = [
    "gateway-offer",
    "session-init",
    "session-resumed",
    "session-refused",
    "pong",
    "server-advice",
    "gateway-closing",
    "gateway-moving",
    "world_state",
    "player-joined",
    "player-left",
    "player-moved",
    "player-updated",
    "answer-begun",
    "answer-text",
    "answer-note",
    "answer-so-far",
    "answer-end",
];

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Open<'a> {
    #[serde(borrow)]
    stream: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Ack {
    seq: u64,
}

#[derive(Deserialize)]
struct Ask {
    id: String,
    text: String,
}

#[derive(Deserialize)]
struct AskStop {
    id: String,
}

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(borrow)]
    text: &'a RawValue,
}

#[derive(Deserialize)]
struct Profile {
    name: Option<String>,
    color: Option<String>,
}

#[derive(Deserialize)]
struct Ping<'a> {
    #[serde(borrow)]
    n: Option<&'a RawValue>,
}

fn kind(text: &str) -> Result<Cow<'_, str>, Malformed> {
    // A derived struct would be read from an array as well.
    if !text.trim_start().starts_with('{') {
        return Err(Malformed);
    }
    read::<Envelope>(text).map(|envelope| envelope.r#type)
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Malformed> {
    serde_json::from_str(text).map_err(|_| Malformed)
}

fn shortened(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_an_object_with_a_string_type_is_malformed() {
        for text in ["", "null", "7", "[\"chat\"]", "{}", "{\"type\":7}", "{\"type\":null}", "{\"type\":\"x\""] {
            assert!(hear(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_frame_nested_100_000_deep_is_read_without_a_word() {
        let text = format!("{{\"type\":\"x\",\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(hear(&text), Ok(Heard::Other)));
    }

    #[test]
    fn a_lone_surrogate_in_a_chat_survives() {
        let Ok(Heard::Chat(text)) = hear("{\"type\":\"chat\",\"text\":\"\\ud800\"}") else {
            panic!("not heard as a chat");
        };
        assert_eq!(text.get(), "\"\\ud800\"");
    }

    #[test]
    fn a_client_cannot_speak_as_the_gateway() {
        for kind in GATEWAYS_OWN {
            assert!(hear(&format!("{{\"type\":\"{kind}\"}}")).is_err(), "{kind}");
        }
        assert!(hear("{\"type\":\"session\\u002dinit\"}").is_err());
    }

    #[test]
    fn a_relayed_frame_keeps_its_letters_and_gains_a_sender() {
        let sender = ClientId::from("c1");
        let text = "{\"type\":\"bark\", \"b\":1e2,\"a\":\"\\ud800\",\"senderId\":\"forged\"} ";
        let relayed = relayed(text, &sender);
        assert_eq!(
            relayed.as_str(),
            "{\"type\":\"bark\", \"b\":1e2,\"a\":\"\\ud800\",\"senderId\":\"forged\",\"senderId\":\"c1\"}"
        );
    }
}
