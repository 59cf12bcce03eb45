//! moorline in the crowd: each member is the core's own `Client`, fed what a browser feeds it. No wait is computed here.

use super::crowd::Member;
use moorline::config::{Config, Options};
use moorline::protocol;
use moorline::time::Instant;
use moorline::wire::{CloseCode, FrameId, Route, SocketId};
use moorline::{Client, Input, Output, Status};
use serde_json::Value;

/// How a page has set up its line, and what its server says: texts of JSON.
#[derive(Clone)]
pub struct Way {
    pub options: &'static str,
    /// The frame with which the protocol is ready.
    pub greeting: &'static str,
    /// The frame that the server says before it is gone, if it says any.
    pub advice: Option<&'static str>,
    /// What the socket ends with.
    pub code: CloseCode,
}

impl Way {
    /// Whether the server says when to come back.
    pub const fn is_told(&self) -> bool {
        self.advice.is_some() || self.code.0 != CloseCode::ABNORMAL.0
    }
}

const SILENT: Way = Way {
    options: "{}",
    greeting: r#"{"type":"session-init","token":"t1","clientId":"c1"}"#,
    advice: None,
    code: CloseCode::ABNORMAL,
};

/// What is measured, and whether it is held to the bounds.
pub const WAYS: [(&str, Way, bool); 6] = [
    ("moorline, without a word", SILENT, true),
    ("moorline, told 1012 or 1013", Way { code: CloseCode(1012), ..SILENT }, true),
    (
        "moorline, told `retryAfterMs: 2000`",
        Way { advice: Some(r#"{"type":"server-advice","retryAfterMs":2000}"#), ..SILENT },
        true,
    ),
    (
        "moorline, told `spreadMs: 50000`",
        Way { advice: Some(r#"{"type":"server-advice","spreadMs":50000}"#), ..SILENT },
        true,
    ),
    // The old client's waits, for pages that replace it: its own entry says so.
    (
        "moorline/nexus, without a word",
        Way { options: r#"{"reconnect.baseDelayMs":1000,"reconnect.maxAttempts":10}"#, ..SILENT },
        false,
    ),
    // Held to be back before Rails' own client is, at the price of a denser crowd.
    (
        "moorline/action-cable, without a word",
        Way { options: r#"{"protocol":"action-cable"}"#, greeting: r#"{"type":"welcome"}"#, ..SILENT },
        false,
    ),
];

/// A way, read.
pub struct Read {
    options: Value,
    greeting: (Route, Value),
    advice: Option<(Route, Value)>,
    code: CloseCode,
}

impl From<&Way> for Read {
    fn from(way: &Way) -> Self {
        let options: Value = serde_json::from_str(way.options).expect("a text of JSON");
        let rows = client(&options, 0).routes();
        let frame = |text: &str| {
            let frame: Value = serde_json::from_str(text).expect("a text of JSON");
            let row = rows.iter().position(|row| frame["type"] == *row.frame_type).expect("a known frame");
            (Route(row as u32 + 1), frame)
        };
        Self { greeting: frame(way.greeting), advice: way.advice.map(frame), code: way.code, options }
    }
}

fn client(options: &Value, seed: u64) -> Client {
    let config = Config::parse(Options { values: options, close_policy: Vec::new() }).expect("options that are valid");
    let protocol = protocol::create(&config, options).expect("a protocol of that name");
    Client::new(config, protocol, seed)
}

pub struct Moored {
    client: Client,
    socket: SocketId,
    due: u64,
    farewell: CloseCode,
}

/// When the server is lost: the lines have been connected for long enough.
const LOST_AT_MS: u64 = 60_000;

impl Moored {
    pub fn new(way: &Read, seed: u64) -> Self {
        let client = client(&way.options, seed);
        let mut line = Self { client, socket: SocketId(0), due: 0, farewell: way.code };
        line.feed(0, Input::Connect);
        line.feed(0, Input::Opened { socket: line.socket, subprotocol: String::new() });
        line.hear(0, &way.greeting);
        assert_eq!(line.client.status(), Status::Connected);
        if let Some(frame) = &way.advice {
            line.hear(LOST_AT_MS - 1, frame);
        }
        line
    }

    fn hear(&mut self, now: u64, (route, frame): &(Route, Value)) {
        let (socket, route) = (self.socket, *route);
        self.feed(now, Input::Received { socket, route, frame: FrameId(1), view: frame });
    }

    /// What a driver does, less the page.
    fn feed(&mut self, now: u64, input: Input<'_>) {
        let at = Instant::from_millis(now);
        self.client.handle(at, input).expect("only a page can misuse");
        loop {
            let answer = match self.client.poll_output() {
                Output::Restore => Input::Restored(Ok(None)),
                Output::Resolve { ticket } => Input::Resolved { ticket, answer: Ok(None) },
                Output::Open { socket, .. } => {
                    self.socket = socket;
                    continue;
                }
                Output::Timeout(_) => return,
                _ => continue,
            };
            self.client.handle(at, answer).expect("only a page can misuse");
        }
    }

    fn closed(&mut self, at: u64, code: CloseCode) -> Option<u64> {
        let clean = code != CloseCode::ABNORMAL;
        let socket = self.socket;
        self.feed(LOST_AT_MS + at, Input::Closed { socket, code, reason: String::new(), clean, buffered: 0.0 });
        self.due = self.client.next_attempt()?.as_millis();
        Some(self.due - LOST_AT_MS)
    }
}

impl Member for Moored {
    fn lost(&mut self, at: u64) -> Option<u64> {
        self.closed(at, self.farewell)
    }

    fn refused(&mut self, at: u64) -> Option<u64> {
        let before = self.socket;
        self.feed(self.due, Input::Timeout);
        assert!(before != self.socket, "the line dials when it said it would");
        self.closed(at, CloseCode::ABNORMAL)
    }
}
