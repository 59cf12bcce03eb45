//! What passes between a client and a socket: ids, close codes and their one table, and the narrow view of a frame.
//!
//! No payload lives here: a frame stays the browser's object, and is asked through `View`.

use crate::error::Cause;
use alloc::string::String;

/// Generation number of one browser socket. Events of any other than the current one change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketId(pub u32);

/// Where the driver keeps the frame that is being handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameId(pub u32);

impl FrameId {
    /// No frame.
    pub const NONE: Self = Self(0);
}

/// Index of a frame type in the protocol's route table; `Route::NONE` where the table has no row for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route(pub u32);

impl Route {
    pub const NONE: Self = Self(0);
}

/// What a call, a run, a subscription or an observation goes by. The page numbers its own from 1; those that the server
/// began have the highest bit set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle(pub u32);

impl Handle {
    /// The one that the server began as its `count`th.
    pub const fn of_server(count: u32) -> Self {
        Self(count | 1 << 31)
    }
}

/// What a protocol may ask of a frame, by a path of names and places with `/` between them (`payload/runId`). Absent, and
/// of another type than asked, are the same answer.
pub trait View {
    fn string(&self, path: &str) -> Option<String>;
    fn number(&self, path: &str) -> Option<f64>;
    fn boolean(&self, path: &str) -> Option<bool>;
    /// Whether there is anything at all, be it `null`.
    fn has(&self, path: &str) -> bool;
}

#[cfg(not(target_arch = "wasm32"))]
fn at<'a>(value: &'a serde_json::Value, path: &str) -> Option<&'a serde_json::Value> {
    path.split('/').try_fold(value, |value, step| match value {
        serde_json::Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    })
}

#[cfg(not(target_arch = "wasm32"))]
impl View for serde_json::Value {
    fn string(&self, path: &str) -> Option<String> {
        at(self, path)?.as_str().map(Into::into)
    }

    fn number(&self, path: &str) -> Option<f64> {
        at(self, path)?.as_f64()
    }

    fn boolean(&self, path: &str) -> Option<bool> {
        at(self, path)?.as_bool()
    }

    fn has(&self, path: &str) -> bool {
        at(self, path).is_some()
    }
}

/// What follows from a close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Try again, with backoff.
    Retry(Cause),
    /// Try again, but not soon: after 5 to 55 s, spread, unless the server says when.
    RetryLater(Cause),
    /// Do not try again until the page calls `connect`.
    Fatal(Cause),
}

impl Disposition {
    pub const fn cause(self) -> Cause {
        match self {
            Self::Retry(cause) | Self::RetryLater(cause) | Self::Fatal(cause) => cause,
        }
    }
}

/// A close code (RFC 6455, section 7.4, and the IANA WebSocket registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    pub const NORMAL: Self = Self(1000);
    /// What a browser reports for a socket that ended without a close frame.
    pub const ABNORMAL: Self = Self(1006);
    /// What we send to a socket that we give up.
    pub const GIVEN_UP: Self = Self(4000);

    /// The one table. 4xxx belong to applications: those that look like HTTP's are read as HTTP's.
    pub const fn disposition(self) -> Disposition {
        match self.0 {
            1001 => Disposition::Retry(Cause::ServerRestart),
            1012 => Disposition::RetryLater(Cause::ServerRestart),
            1013 | 4408 | 4429 => Disposition::RetryLater(Cause::Overloaded),
            1002 | 1003 | 1007 | 1008 | 1009 | 1010 | 1015 => Disposition::Fatal(Cause::CloseCode),
            4401 | 4403 => Disposition::Fatal(Cause::Unauthorized),
            _ => Disposition::Retry(Cause::Transport),
        }
    }

    /// Whether a page may send it (the WebSocket standard, `close()`).
    pub const fn is_sendable(self) -> bool {
        self.0 == 1000 || (self.0 >= 3000 && self.0 <= 4999)
    }
}

/// Writes `text` as a JSON string. The page's JSON cannot be used from here without a crossing, and serde_json in the
/// wasm weighs as much as the whole client.
pub fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{0}'..='\u{1f}' => {
                const HEX: [char; 16] =
                    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
                out.push_str("\\u00");
                out.push(if c < '\u{10}' { '0' } else { '1' });
                out.push(HEX.get(c as usize % 16).copied().unwrap_or('0'));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// Writes `number` in decimal. `core::fmt` would do the same for ten times the bytes.
pub fn push_number(out: &mut String, number: u64) {
    if number > 9 {
        push_number(out, number / 10);
    }
    out.push(char::from(b'0' + (number % 10) as u8));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_follow_the_table() {
        for code in [1000, 1005, 1006, 1011, 1014, 3000, 4000, 4999] {
            assert_eq!(CloseCode(code).disposition(), Disposition::Retry(Cause::Transport), "{code}");
        }
        assert_eq!(CloseCode(1001).disposition(), Disposition::Retry(Cause::ServerRestart));
        assert_eq!(CloseCode(1012).disposition(), Disposition::RetryLater(Cause::ServerRestart));
        for code in [1013, 4408, 4429] {
            assert_eq!(CloseCode(code).disposition(), Disposition::RetryLater(Cause::Overloaded));
        }
        for code in [1002, 1003, 1007, 1008, 1009, 1010, 1015] {
            assert_eq!(CloseCode(code).disposition(), Disposition::Fatal(Cause::CloseCode), "{code}");
        }
        for code in [4401, 4403] {
            assert_eq!(CloseCode(code).disposition(), Disposition::Fatal(Cause::Unauthorized));
        }
    }

    #[test]
    fn only_the_codes_that_a_browser_accepts_may_be_sent() {
        for code in [1000, 3000, 4000, 4999] {
            assert!(CloseCode(code).is_sendable());
        }
        for code in [0, 999, 1001, 1005, 1006, 2999, 5000, u16::MAX] {
            assert!(!CloseCode(code).is_sendable(), "{code}");
        }
    }

    #[test]
    fn a_number_is_written_in_decimal() {
        for number in [0, 7, 10, 4000, u64::MAX] {
            let mut out = String::new();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string());
        }
    }

    #[test]
    fn a_token_with_every_awkward_character_survives_as_json() {
        let mut awkward: String = (0u8..=0x7f).map(char::from).collect();
        awkward.push_str("é\u{2028}😀");
        let mut out = String::new();
        push_json_string(&mut out, &awkward);
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), awkward);
    }
}
