//! The words of Action Cable and of AnyCable's extension: frames as they are written, commands as they are read.
//! Who hears what, and when, is the server's.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::extract::ws::{Message, Utf8Bytes};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

pub const PLAIN: &str = "actioncable-v1-json";
pub const UNSUPPORTED: &str = "actioncable-unsupported";
pub const EXT: &str = "actioncable-v1-ext-json";

/// What the two sides agreed to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Plain,
    Ext,
}

/// The first of the offered names that is known, and the dialect. Without a known one the plain dialect is spoken, and
/// no name is given back.
pub fn agreed<'a>(offers: impl Iterator<Item = &'a str>, extended: bool) -> (Option<&'static str>, Dialect) {
    for offer in offers {
        match offer {
            PLAIN => return (Some(PLAIN), Dialect::Plain),
            UNSUPPORTED => return (Some(UNSUPPORTED), Dialect::Plain),
            EXT if extended => return (Some(EXT), Dialect::Ext),
            _ => {}
        }
    }
    (None, Dialect::Plain)
}

/// A frame that the server writes, but for data.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Said<'a> {
    Welcome {
        #[serde(skip_serializing_if = "Option::is_none")]
        sid: Option<&'a str>,
        #[serde(flatten)]
        restored: Option<Restored<'a>>,
    },
    Disconnect {
        reason: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reconnect: Option<bool>,
    },
    Ping {
        message: u64,
    },
    Pong,
    ConfirmSubscription {
        identifier: &'a str,
    },
    RejectSubscription {
        identifier: &'a str,
    },
    ConfirmHistory {
        identifier: &'a str,
    },
    RejectHistory {
        identifier: &'a str,
    },
    Presence {
        identifier: &'a str,
        message: PresenceSaid<'a>,
    },
}

#[derive(Serialize)]
pub struct Restored<'a> {
    pub restored: bool,
    pub restored_ids: Vec<&'a str>,
}

#[derive(Clone, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum PresenceSaid<'a> {
    Join { id: &'a str, info: &'a RawValue },
    Leave { id: &'a str },
    Info { total: usize, records: Vec<Record<'a>> },
    Error,
}

#[derive(Clone, Serialize)]
pub struct Record<'a> {
    pub id: &'a str,
    pub info: &'a RawValue,
}

/// Where a message stands in its stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place<'a> {
    pub stream_id: &'a str,
    pub epoch: &'a str,
    pub offset: u64,
}

#[derive(Serialize)]
struct Data<'a> {
    identifier: &'a str,
    message: &'a RawValue,
    #[serde(flatten)]
    place: Option<Place<'a>>,
}

impl Said<'_> {
    pub fn message(&self) -> Message {
        Message::Text(written(self))
    }
}

/// A data frame. The message is JSON that came through `rendered`, or was written here.
pub fn data(identifier: &str, message: &RawValue, place: Option<Place>) -> Message {
    Message::Text(written(&Data { identifier, message, place }))
}

/// JSON as Rails writes it: what could end a script element is escaped, in every string.
fn written(frame: &impl Serialize) -> Utf8Bytes {
    let text = serde_json::to_string(frame).expect("strings, numbers and raw JSON can be written");
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    escaped.into()
}

/// What a client asks for.
#[derive(Debug)]
pub enum Command {
    Subscribe { identifier: String, history: Option<Wanted>, presence: Option<Member> },
    Unsubscribe { identifier: String },
    Perform { identifier: String, data: String },
    History { identifier: String, history: Wanted },
    Whisper { identifier: String, data: Box<RawValue> },
    Join { identifier: String, presence: Member },
    Leave { identifier: String },
    Presence { identifier: String },
    Ping,
    Pong,
}

/// From where on a client wants what it missed.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wanted {
    /// Unix seconds, for streams of which no position is known.
    since: Option<f64>,
    #[serde(default)]
    pub streams: BTreeMap<String, Position>,
}

impl Wanted {
    pub fn since_seconds(&self) -> Option<u64> {
        // A cast of a float saturates; what is no number becomes 0.
        self.since.map(|seconds| seconds as u64)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Position {
    pub epoch: String,
    pub offset: u64,
}

/// Somebody who is present.
#[derive(Clone, Debug, Deserialize)]
pub struct Member {
    pub id: String,
    #[serde(default = "nothing")]
    pub info: Box<RawValue>,
}

fn nothing() -> Box<RawValue> {
    RawValue::from_string("null".to_owned()).expect("null is JSON")
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    command: Option<&'a RawValue>,
    #[serde(borrow)]
    identifier: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    history: Option<&'a RawValue>,
    #[serde(borrow)]
    presence: Option<&'a RawValue>,
}

/// A value that is there, though it be `null`.
pub fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// What a text is, to a server.
#[derive(Debug)]
pub enum Read {
    Command(Command),
    /// JSON, but nothing that is served.
    Nothing,
    NotJson,
}

/// Reads a command. What is not understood is not answered, whatever is wrong with it.
pub fn read(text: &str, dialect: Dialect) -> Read {
    // A list of the right length would be taken for a frame.
    let object = text.trim_start().starts_with('{');
    if object && let Ok(frame) = serde_json::from_str::<Frame>(text) {
        return frame.command(dialect).map_or(Read::Nothing, Read::Command);
    }
    let json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if json { Read::Nothing } else { Read::NotJson }
}

impl Frame<'_> {
    fn command(&self, dialect: Dialect) -> Option<Command> {
        let name = string(self.command?)?;
        let identifier = || string(self.identifier?);
        let extended = dialect == Dialect::Ext;
        let history = || {
            let wanted = self.history.filter(|_| extended)?;
            serde_json::from_str(wanted.get()).ok()
        };
        let presence = || {
            let member = self.presence.filter(|_| extended)?;
            serde_json::from_str(member.get()).ok()
        };
        Some(match name.as_ref() {
            "subscribe" => Command::Subscribe { identifier: identifier()?, history: history(), presence: presence() },
            "unsubscribe" => Command::Unsubscribe { identifier: identifier()? },
            "message" => Command::Perform { identifier: identifier()?, data: string(self.data?)? },
            "history" => Command::History { identifier: identifier()?, history: history()? },
            "whisper" if extended => Command::Whisper { identifier: identifier()?, data: rendered(self.data?.get())? },
            "join" => Command::Join { identifier: identifier()?, presence: presence()? },
            "leave" if extended => Command::Leave { identifier: identifier()? },
            "presence" if extended => Command::Presence { identifier: identifier()? },
            "ping" if extended => Command::Ping,
            "pong" if extended => Command::Pong,
            _ => return None,
        })
    }
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str::<Cow<str>>(raw.get()).ok().map(Cow::into_owned)
}

/// How deep data may be nested.
const MAX_DEPTH: usize = 100;

/// JSON as a Ruby server gives it back: without spaces, whole numbers digit by digit, and `null` for what is too large
/// for a float. None when it is nested too deeply to be taken in.
pub fn rendered(json: &str) -> Option<Box<RawValue>> {
    let mut out = String::with_capacity(json.len());
    let mut depth = 0_usize;
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '-' | '0'..='9' => {
                let length = rest.find(|c: char| !"+-.eE0123456789".contains(c)).unwrap_or(rest.len());
                out.push_str(&number(&rest[..length]));
                rest = &rest[length..];
                continue;
            }
            '{' | '[' => {
                depth += 1;
                1
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                1
            }
            ' ' | '\t' | '\r' | '\n' => {
                rest = &rest[1..];
                continue;
            }
            other => other.len_utf8(),
        };
        if depth > MAX_DEPTH {
            return None;
        }
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    RawValue::from_string(out).ok()
}

/// How long the string is that the text begins with.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn number(text: &str) -> Cow<'_, str> {
    if !text.contains(['.', 'e', 'E']) {
        return text.into();
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => serde_json::to_string(&number).map_or(text.into(), Cow::from),
        _ => "null".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_protocol_is_taken() {
        let choice = |offers: &[&'static str]| agreed(offers.iter().copied(), true);
        assert_eq!(choice(&[PLAIN, UNSUPPORTED]), (Some(PLAIN), Dialect::Plain));
        assert_eq!(choice(&[UNSUPPORTED, PLAIN]), (Some(UNSUPPORTED), Dialect::Plain));
        assert_eq!(choice(&["graphql-ws", EXT, PLAIN]), (Some(EXT), Dialect::Ext));
        assert_eq!(choice(&["graphql-ws"]), (None, Dialect::Plain));
        assert_eq!(choice(&[]), (None, Dialect::Plain));
        assert_eq!(agreed([EXT, PLAIN].into_iter(), false), (Some(PLAIN), Dialect::Plain));
    }

    #[test]
    fn values_come_back_as_ruby_writes_them() {
        for (given, back) in [
            ("9007199254740993", "9007199254740993"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("1e400", "null"),
            ("1.10", "1.1"),
            ("-0", "-0"),
            (" [ 1 , { \"a b\" : \"c\\\" 1e400 \" } ] ", "[1,{\"a b\":\"c\\\" 1e400 \"}]"),
            ("\"\"", "\"\""),
            ("false", "false"),
        ] {
            assert_eq!(rendered(given).expect("JSON stays JSON").get(), back, "{given}");
        }
    }

    #[test]
    fn data_that_is_nested_too_deeply_is_dropped() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(rendered(&nested(100)).is_some());
        assert!(rendered(&nested(101)).is_none());
        assert!(rendered(&format!("\"{}\"", "[".repeat(200))).is_some());
    }

    #[test]
    fn what_could_end_a_script_is_escaped_in_every_string() {
        let frame = Said::ConfirmSubscription { identifier: "{\"a\":\"</b>&\u{2028}\u{2029}é\"}" }.message();
        let expected =
            r#"{"type":"confirm_subscription","identifier":"{\"a\":\"\u003c/b\u003e\u0026\u2028\u2029é\"}"}"#;
        assert_eq!(frame.to_text().expect("a text"), expected);
    }

    #[test]
    fn a_malformed_command_is_no_command() {
        for text in [
            "[]",
            "\"x\"",
            "null",
            "42",
            "{}",
            r#"{"command":"nope"}"#,
            r#"{"command":"subscribe"}"#,
            r#"{"command":"subscribe","identifier":{"channel":"EchoChannel"}}"#,
            r#"{"command":"message","identifier":"{}"}"#,
            r#"{"command":"message","identifier":"{}","data":{"action":"speak"}}"#,
            r#"{"command":"whisper","identifier":"{}","data":1}"#,
            r#"{"type":"ping"}"#,
        ] {
            assert!(matches!(read(text, Dialect::Plain), Read::Nothing), "{text}");
        }
        for text in ["not json", "", "{", "{\"command\":"] {
            assert!(matches!(read(text, Dialect::Plain), Read::NotJson), "{text}");
        }
    }

    #[test]
    fn positions_stand_in_the_frame_all_three_or_none() {
        let message = RawValue::from_string("0".to_owned()).expect("JSON");
        assert_eq!(data("I", &message, None).to_text().expect("a text"), r#"{"identifier":"I","message":0}"#);
        let place = Place { stream_id: "s", epoch: "e", offset: 1 };
        assert_eq!(
            data("I", &message, Some(place)).to_text().expect("a text"),
            r#"{"identifier":"I","message":0,"stream_id":"s","epoch":"e","offset":1}"#
        );
    }
}
