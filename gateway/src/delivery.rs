//! What a session's numbered traffic leaves behind: how far each stream of messages was taken, and the feed of frames
//! that can be repeated. Pure. What goes over a connection, and when, is world/delivery.rs.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};

/// The name that a line gives to its numbered messages.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// 16 hexadecimal digits.
    pub fn parse(name: &str) -> Option<Self> {
        let good = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        good.then(|| Self(name.into()))
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The two directions of one session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Delivery {
    /// The one named last is last.
    streams: Vec<Stream>,
    pub feed: Feed,
    /// Whether a stream was forgotten: of one that is not known, nobody can say that it is new.
    forgetful: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stream {
    pub name: StreamName,
    /// The number of the newest message that was taken; 0 is none.
    pub taken: u64,
    /// How far its line has had the feed, as it said itself.
    #[serde(skip)]
    pub seen: u64,
}

const MAX_STREAMS: usize = 16;

impl Delivery {
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// Notes that a line names this stream; tells how far it was taken, or `None` where that is not known. The streams
    /// longest unnamed make room, unless a connection still uses them.
    pub fn open(&mut self, name: &StreamName, in_use: impl Fn(&StreamName) -> bool) -> Option<u64> {
        if let Some(at) = self.streams.iter().position(|stream| stream.name == *name) {
            let stream = self.streams.remove(at);
            let taken = stream.taken;
            self.streams.push(stream);
            return Some(taken);
        }
        if self.streams.len() >= MAX_STREAMS
            && let Some(idle) = self.streams.iter().position(|stream| !in_use(&stream.name))
        {
            self.streams.remove(idle);
            self.forgetful = true;
        }
        let known = !self.forgetful;
        self.streams.push(Stream { name: name.clone(), taken: 0, seen: 0 });
        known.then_some(0)
    }

    pub fn taken(&self, name: &StreamName) -> u64 {
        self.streams.iter().find(|stream| stream.name == *name).map_or(0, |stream| stream.taken)
    }

    /// Takes a message by its number; false when that is a repetition.
    pub fn take(&mut self, name: &StreamName, number: u64) -> bool {
        let stream = match self.streams.iter_mut().find(|stream| stream.name == *name) {
            Some(stream) => stream,
            None => {
                self.streams.push(Stream { name: name.clone(), taken: 0, seen: 0 });
                self.streams.last_mut().expect("it was pushed")
            }
        };
        if number <= stream.taken {
            return false;
        }
        stream.taken = number;
        true
    }

    /// A line says how far it has had the feed; false when it cannot have had that much. What every stream of the
    /// session has had is forgotten, unless a line `lags` that has not named its stream yet.
    pub fn seen(&mut self, name: &StreamName, number: u64, lags: bool) -> bool {
        if number > self.feed.newest {
            return false;
        }
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.name == *name) {
            stream.seen = stream.seen.max(number);
        }
        if let Some(least) = self.streams.iter().map(|stream| stream.seen).min()
            && !lags
        {
            self.feed.forget(least);
        }
        true
    }

    pub fn forget_streams(&mut self) {
        self.streams.clear();
        self.forgetful = true;
    }

    /// As if nothing had ever been, except that something was.
    pub fn begin_again(&mut self) {
        *self = Self { forgetful: true, ..Self::default() };
    }
}

/// The numbered frames of a session, as far back as they are kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Feed {
    newest: u64,
    /// The newest frame that is kept no more.
    dropped: u64,
    #[serde(skip)]
    kept: VecDeque<(u64, Utf8Bytes)>,
    #[serde(skip)]
    bytes: usize,
}

/// The most that one session's feed may weigh.
const MAX_FEED_BYTES: usize = 4 * 1024 * 1024;

impl Feed {
    pub fn newest(&self) -> u64 {
        self.newest
    }

    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Gives the frame its number.
    pub fn append(&mut self, frame: Utf8Bytes, keep: usize) -> u64 {
        let number = self.newest + 1;
        self.restore(number, frame, keep);
        number
    }

    /// Takes over a frame that was given its number before.
    pub fn restore(&mut self, number: u64, frame: Utf8Bytes, keep: usize) {
        if number <= self.newest {
            return;
        }
        self.newest = number;
        self.bytes += frame.len();
        self.kept.push_back((number, frame));
        self.trim(keep);
    }

    /// Keeps this many frames at most.
    pub fn trim(&mut self, keep: usize) {
        while self.kept.len() > keep || self.bytes > MAX_FEED_BYTES {
            self.drop_oldest();
        }
    }

    /// The next numbers are given to nobody.
    pub fn skip(&mut self, count: u64) {
        self.newest = self.newest.saturating_add(count);
    }

    pub fn since(&self, number: u64) -> impl Iterator<Item = (u64, &Utf8Bytes)> {
        self.kept.iter().filter(move |(kept, _)| *kept >= number).map(|(kept, frame)| (*kept, frame))
    }

    /// What a line that comes back is told, given how far it has had the feed; `None` where it does not say, or where it
    /// speaks of another epoch.
    pub fn resume(&self, cursor: Cursor) -> Recovery {
        let seen = match cursor {
            Cursor::None => return Recovery { recovered: false, from: self.newest + 1, to: self.newest, gap: None },
            Cursor::At(seen) if seen <= self.newest => seen,
            // Numbers that were never given are of another life as well.
            Cursor::At(seen) | Cursor::Elsewhere(seen) => {
                let gap = Gap { from: seen.saturating_add(1), to: None, reason: "epoch" };
                return Recovery { recovered: false, from: self.newest + 1, to: self.newest, gap: Some(gap) };
            }
        };
        if seen >= self.dropped {
            return Recovery { recovered: true, from: seen + 1, to: self.newest, gap: None };
        }
        let gap = Gap { from: seen + 1, to: Some(self.dropped), reason: "trimmed" };
        Recovery { recovered: false, from: self.dropped + 1, to: self.newest, gap: Some(gap) }
    }

    /// Takes over the frames that go with its numbers, and those that are newer.
    pub fn refill(&mut self, frames: BTreeMap<u64, Utf8Bytes>, keep: usize) {
        let frames = frames.into_iter().filter(|(number, _)| *number > self.dropped);
        self.kept = frames.collect();
        self.bytes = self.kept.iter().map(|(_, frame)| frame.len()).sum();
        self.newest = self.kept.back().map_or(self.newest, |(number, _)| self.newest.max(*number));
        self.trim(keep);
    }

    fn forget(&mut self, upto: u64) {
        while self.kept.front().is_some_and(|(number, _)| *number <= upto) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((number, frame)) = self.kept.pop_front() {
            self.dropped = number;
            self.bytes -= frame.len();
        }
    }
}

/// How far a line says that it has had the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    None,
    At(u64),
    /// In another epoch.
    Elsewhere(u64),
}

/// What becomes of the frames that a line missed: those `from..=to` are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Recovery {
    pub recovered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    pub from: u64,
    pub to: u64,
}

/// Frames that are gone; without an end where nobody knows how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    pub from: u64,
    pub to: Option<u64>,
    pub reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> StreamName {
        StreamName::parse(&format!("{number:016x}")).expect("16 digits")
    }

    fn fed(frames: u64, keep: usize) -> Feed {
        let mut feed = Feed::default();
        for _ in 0..frames {
            feed.append("{}".into(), keep);
        }
        feed
    }

    #[test]
    fn only_16_hexadecimal_digits_name_a_stream() {
        for bad in ["", "ab", "00112233445566778", "001122334455667g", "0011223344556\u{e9}7"] {
            assert_eq!(StreamName::parse(bad), None, "{bad}");
        }
        assert!(StreamName::parse("0011223344556677").is_some());
    }

    #[test]
    fn numbers_rise_with_holes_and_what_does_not_rise_is_a_repetition() {
        let mut delivery = Delivery::default();
        assert_eq!(delivery.open(&name(1), |_| false), Some(0));
        let taken = [3, 3, 1, 4, 9, 8].map(|number| delivery.take(&name(1), number));
        assert_eq!(taken, [true, false, false, true, true, false]);
        assert_eq!(delivery.open(&name(1), |_| false), Some(9));
    }

    #[test]
    fn streams_do_not_share_their_numbers() {
        let mut delivery = Delivery::default();
        assert!(delivery.take(&name(1), 5));
        assert!(delivery.take(&name(2), 5));
    }

    #[test]
    fn the_stream_longest_unnamed_makes_room_and_is_not_taken_for_new_when_it_returns() {
        let mut delivery = Delivery::default();
        for number in 0..MAX_STREAMS {
            assert_eq!(delivery.open(&name(number), |_| false), Some(0));
            delivery.take(&name(number), 7);
        }
        delivery.open(&name(0), |_| false);
        delivery.open(&name(99), |stream| *stream == name(1));
        assert_eq!(delivery.streams().len(), MAX_STREAMS);
        assert_eq!(delivery.open(&name(0), |_| false), Some(7));
        assert_eq!(delivery.open(&name(1), |_| false), Some(7));
        assert_eq!(delivery.open(&name(2), |_| false), None);
    }

    #[test]
    fn what_was_missed_is_repeated_from_the_cursor_on() {
        let feed = fed(60, 1_000);
        assert_eq!(feed.resume(Cursor::At(41)), Recovery { recovered: true, gap: None, from: 42, to: 60 });
        assert_eq!(feed.since(42).map(|(number, _)| number).collect::<Vec<_>>(), (42..=60).collect::<Vec<_>>());
        assert_eq!(feed.resume(Cursor::At(60)), Recovery { recovered: true, gap: None, from: 61, to: 60 });
        assert_eq!(feed.resume(Cursor::None), Recovery { recovered: false, gap: None, from: 61, to: 60 });
    }

    #[test]
    fn what_was_trimmed_is_a_gap_with_both_ends() {
        let feed = fed(60, 5);
        let gap = Some(Gap { from: 42, to: Some(55), reason: "trimmed" });
        assert_eq!(feed.resume(Cursor::At(41)), Recovery { recovered: false, gap, from: 56, to: 60 });
        assert!(feed.resume(Cursor::At(55)).recovered);
    }

    #[test]
    fn a_feed_that_keeps_nothing_still_counts() {
        let feed = fed(60, 0);
        let gap = Some(Gap { from: 42, to: Some(60), reason: "trimmed" });
        assert_eq!(feed.resume(Cursor::At(41)), Recovery { recovered: false, gap, from: 61, to: 60 });
        assert!(feed.resume(Cursor::At(60)).recovered);
    }

    #[test]
    fn a_cursor_from_another_life_is_a_gap_of_unknown_length() {
        let feed = fed(60, 1_000);
        for (cursor, from) in [(Cursor::Elsewhere(41), 42), (Cursor::At(61), 62)] {
            let gap = Some(Gap { from, to: None, reason: "epoch" });
            assert_eq!(feed.resume(cursor), Recovery { recovered: false, gap, from: 61, to: 60 });
        }
    }

    #[test]
    fn a_frame_is_forgotten_when_every_stream_has_had_it_and_not_before() {
        let mut delivery = Delivery { feed: fed(60, 1_000), ..Delivery::default() };
        delivery.open(&name(1), |_| false);
        delivery.open(&name(2), |_| false);
        assert!(delivery.seen(&name(1), 50, false));
        assert_eq!(delivery.feed.kept(), 60);
        assert!(delivery.seen(&name(2), 40, true));
        assert_eq!(delivery.feed.kept(), 60);
        assert!(delivery.seen(&name(2), 30, false));
        assert_eq!(delivery.feed.kept(), 20);
        assert!(!delivery.seen(&name(1), 61, false));
        assert_eq!(delivery.feed.kept(), 20);
    }

    #[test]
    fn a_feed_is_bounded_in_bytes_too() {
        let mut feed = Feed::default();
        let heavy = Utf8Bytes::from("x".repeat(MAX_FEED_BYTES / 4));
        for _ in 0..9 {
            feed.append(heavy.clone(), 1_000);
        }
        assert_eq!(feed.kept(), 4);
        feed.append("x".repeat(MAX_FEED_BYTES + 1).into(), 1_000);
        assert_eq!((feed.kept(), feed.newest()), (0, 10));
    }
}
