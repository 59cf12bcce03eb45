//! One subscription as the server knows it: how far it has come on this connection, who in the page has it, and up to where
//! its streams were received. When it is asked for, and what comes in, is action_cable.rs.

use crate::protocol::{Context, Word, take_at};
use crate::time::Instant;
use crate::wire::{FrameId, Handle, View, push_json_string, push_number};
use alloc::string::String;
use alloc::vec::Vec;

/// An unconfirmed subscribe is said again after each of these, and given up after the last.
pub const PATIENCE_MS: [u64; 4] = [1000, 2000, 4000, 8000];
/// An unsubscribe has no answer, and the server's threads may carry it out after what is sent behind it.
const LEAVING_MS: u64 = 375;
/// How long the answer to a request for history may take.
pub const HISTORY_MS: u64 = 10_000;
/// Streams of one subscription whose positions are kept, and the longest names that they may have.
const MOST_STREAMS: usize = 32;
const LONGEST_NAME: usize = 1024;
/// Live messages remembered while the history that they may be part of is on its way.
const MOST_SEEN: usize = 256;

/// One subscription of the page's.
pub struct Member {
    pub handle: Handle,
    /// It has been confirmed.
    pub known: bool,
    /// It may have missed something.
    pub owed: bool,
}

/// How far an identifier has come on this connection. Between a subscribe and its answer, and for a while after an
/// unsubscribe, nothing else is said about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stage {
    Away,
    Asked { tries: usize, history: bool, until: Instant },
    Live { history_until: Option<Instant> },
    Leaving { until: Instant },
}

/// Up to where a stream has been received.
struct Position {
    stream: String,
    epoch: String,
    offset: f64,
    /// Offsets above it that came while history was on its way.
    seen: Vec<f64>,
}

/// What the server knows as one subscription, however many the page has of it.
pub struct Channel {
    pub identifier: String,
    pub members: Vec<Member>,
    pub stage: Stage,
    bound: Option<Handle>,
    positions: Vec<Position>,
    /// From when on something may have been missed, in the server's seconds; 0 where that is not known.
    pub since: f64,
    pub presence: String,
}

impl Channel {
    pub const fn new(identifier: String) -> Self {
        Self {
            identifier,
            members: Vec::new(),
            stage: Stage::Away,
            bound: None,
            positions: Vec::new(),
            since: 0.0,
            presence: String::new(),
        }
    }

    pub fn has(&self, handle: Handle) -> bool {
        self.members.iter().any(|member| member.handle == handle)
    }

    pub fn tell(&self, cx: &mut Context<'_>, word: Word, frame: FrameId) {
        for member in &self.members {
            cx.tell(member.handle, word, frame);
        }
    }

    /// Messages go past us where one subscription of the page's is all there is.
    pub fn rebind(&mut self, cx: &mut Context<'_>) {
        let wanted = match (self.members.as_slice(), self.stage) {
            (_, Stage::Leaving { .. }) => None,
            ([only], _) => Some(only.handle),
            _ => None,
        };
        if wanted != self.bound {
            self.bound = wanted;
            cx.bind(self.identifier.clone(), wanted);
        }
    }

    /// Subscribes, for the first time on this connection or once more.
    pub fn ask(&mut self, cx: &mut Context<'_>, tries: usize, extended: bool) {
        let mut frame = command("subscribe", &self.identifier);
        let history = extended && self.members.iter().any(|member| member.owed) && self.push_history(&mut frame);
        if extended && !self.presence.is_empty() {
            frame.push_str(",\"presence\":");
            frame.push_str(&self.presence);
        }
        frame.push('}');
        cx.send_now(frame);
        let wait = PATIENCE_MS.get(tries).copied().unwrap_or_default();
        self.stage = Stage::Asked { tries, history, until: cx.now.after(wait) };
        self.rebind(cx);
    }

    pub fn leave(&mut self, cx: &mut Context<'_>) {
        let mut frame = command("unsubscribe", &self.identifier);
        frame.push('}');
        cx.send_now(frame);
        self.stage = Stage::Leaving { until: cx.now.after(LEAVING_MS) };
        self.positions.clear();
        self.since = 0.0;
        self.presence.clear();
    }

    /// The connection is no more.
    pub fn lost(&mut self, server_seconds: f64) {
        if let Stage::Live { history_until } = self.stage {
            // Where history was still on its way, the older time stands.
            if history_until.is_none() {
                self.since = server_seconds;
            }
            for member in &mut self.members {
                member.owed |= member.known;
            }
        }
        self.stage = Stage::Away;
    }

    /// The session was resumed, and this subscription with it.
    pub fn restored(&mut self, cx: &mut Context<'_>) {
        let mut frame = command("history", &self.identifier);
        let asked = self.push_history(&mut frame);
        if asked {
            frame.push('}');
            cx.send_now(frame);
        }
        self.stage = Stage::Live { history_until: asked.then(|| cx.now.after(HISTORY_MS)) };
    }

    pub fn confirmed(&mut self, cx: &mut Context<'_>, frame: FrameId) {
        for member in &mut self.members {
            let before = f64::from(u8::from(member.known));
            cx.tell_more(member.handle, Word::Confirmed, frame, before, String::new());
            member.known = true;
        }
        if let Stage::Live { history_until: None } = self.stage {
            self.make_up(cx, Some("no-history"), FrameId::NONE);
        }
    }

    /// What was missed has been sent, or never will be.
    pub fn make_up(&mut self, cx: &mut Context<'_>, gap: Option<&str>, frame: FrameId) {
        self.stage = Stage::Live { history_until: None };
        self.since = 0.0;
        self.positions.retain_mut(|position| {
            let current = gap.is_none() || !position.seen.is_empty();
            for offset in core::mem::take(&mut position.seen) {
                position.offset = position.offset.max(offset);
            }
            current
        });
        for member in self.members.iter_mut().filter(|member| member.owed) {
            member.owed = false;
            match gap {
                None => cx.tell(member.handle, Word::Resumed, frame),
                Some(why) => cx.tell_more(member.handle, Word::Gap, frame, 0.0, why.into()),
            }
        }
    }

    /// Writes what history is to bring, if anything is known of where it begins.
    fn push_history(&self, frame: &mut String) -> bool {
        if self.positions.is_empty() && self.since < 1.0 {
            return false;
        }
        frame.push_str(",\"history\":{");
        if self.since >= 1.0 {
            frame.push_str("\"since\":");
            push_number(frame, self.since as u64);
            frame.push(',');
        }
        frame.push_str("\"streams\":{");
        for (at, position) in self.positions.iter().enumerate() {
            if at > 0 {
                frame.push(',');
            }
            push_json_string(frame, &position.stream);
            frame.push_str(":{\"epoch\":");
            push_json_string(frame, &position.epoch);
            frame.push_str(",\"offset\":");
            push_number(frame, position.offset as u64);
            frame.push('}');
        }
        frame.push_str("}}");
        true
    }

    /// Whether a message was here before; it is remembered if it was not. A live message may overtake the history that
    /// belongs before it, so what is above the position proves nothing until the history is there.
    pub fn has_seen(&mut self, view: &dyn View) -> bool {
        let (Some(stream), Some(epoch)) = (view.string("stream_id"), view.string("epoch")) else {
            return false;
        };
        let Some(offset) = view.number("offset").filter(|_| stream.len() + epoch.len() <= LONGEST_NAME) else {
            return false;
        };
        let pending = matches!(self.stage, Stage::Asked { history: true, .. } | Stage::Live { history_until: Some(_) });
        if !self.positions.iter().any(|position| position.stream == stream) {
            if self.positions.len() >= MOST_STREAMS {
                take_at(&mut self.positions, 0);
            }
            self.positions.push(Position {
                stream: stream.clone(),
                epoch: String::new(),
                offset: 0.0,
                seen: Vec::new(),
            });
        }
        let Some(position) = self.positions.iter_mut().find(|position| position.stream == stream) else {
            return false;
        };
        if position.epoch != epoch {
            position.epoch = epoch;
            position.offset = 0.0;
            position.seen.clear();
        }
        if offset <= position.offset || position.seen.contains(&offset) {
            return true;
        }
        if !pending {
            position.offset = offset;
        } else if position.seen.len() < MOST_SEEN {
            position.seen.push(offset);
        }
        false
    }
}

impl Stage {
    pub const fn until(self) -> Option<Instant> {
        match self {
            Self::Away => None,
            Self::Asked { until, .. } | Self::Leaving { until } => Some(until),
            Self::Live { history_until } => history_until,
        }
    }
}

/// A command as far as its identifier; it lacks its closing brace.
pub fn command(name: &str, identifier: &str) -> String {
    let mut frame = String::from("{\"command\":\"");
    frame.push_str(name);
    frame.push_str("\",\"identifier\":");
    push_json_string(&mut frame, identifier);
    frame
}
