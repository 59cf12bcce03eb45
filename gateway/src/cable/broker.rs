//! Streams: what was broadcast to each, as far back as the bounds allow, and who is present on it. Pure; time comes in.
//! Who listens to a stream is the server's.

use std::collections::{BTreeMap, VecDeque};

use serde_json::value::RawValue;

use super::wire::{Member, Place, PresenceSaid, Record, Wanted};
use crate::sessions::Time;

/// Every stream that was broadcast to, at most `MAX_STREAMS`.
pub struct Broker {
    epoch: String,
    streams: BTreeMap<String, Stream>,
}

#[derive(Default)]
struct Stream {
    newest: u64,
    log: VecDeque<Kept>,
    used: Time,
    present: Vec<Present>,
}

/// A message that was broadcast.
#[derive(Clone, Debug)]
pub struct Kept {
    pub offset: u64,
    pub message: Box<RawValue>,
    at: Time,
}

struct Present {
    member: Member,
    /// Whose word it is that the member is here: a connection's, by its session.
    by: String,
    /// When it leaves, unless its connection comes back.
    leaves: Option<Time>,
}

/// How far back a stream can be read.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    pub ms: u64,
    pub messages: usize,
}

const MAX_STREAMS: usize = 4_096;
const MAX_PRESENT: usize = 1_024;

impl Broker {
    pub fn new(epoch: String) -> Self {
        Self { epoch, streams: BTreeMap::new() }
    }

    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Keeps a message; gives its offset.
    pub fn publish(&mut self, stream: &str, message: &RawValue, now: Time, reach: Reach) -> u64 {
        let stream = self.stream(stream, now);
        stream.newest += 1;
        stream.log.push_back(Kept { offset: stream.newest, message: message.to_owned(), at: now });
        stream.trim(now, reach);
        stream.newest
    }

    /// What was missed on these streams, in order; none when a single one of them cannot tell.
    pub fn missed(
        &mut self,
        streams: impl Iterator<Item = String>,
        wanted: &Wanted,
        now: Time,
        reach: Reach,
    ) -> Option<Vec<(String, Kept)>> {
        let mut missed = Vec::new();
        for name in streams {
            let stream = self.streams.get_mut(&name);
            let log = stream.map(|stream| {
                stream.trim(now, reach);
                &stream.log
            });
            let from = match (wanted.streams.get(&name), wanted.since_seconds()) {
                (Some(position), _) => {
                    let known = log.is_some_and(|log| log.iter().any(|kept| kept.offset == position.offset));
                    if position.epoch != self.epoch || !known {
                        return None;
                    }
                    From::Offset(position.offset)
                }
                (None, Some(since)) => From::Second(since),
                (None, None) => continue,
            };
            let after = log.into_iter().flatten().filter(|kept| from.is_before(kept));
            missed.extend(after.map(|kept| (name.clone(), kept.clone())));
        }
        Some(missed)
    }

    /// Forgets what was broadcast; positions go on.
    pub fn forget(&mut self) {
        for stream in self.streams.values_mut() {
            stream.log.clear();
        }
    }

    pub fn place<'a>(&'a self, stream: &'a str, offset: u64) -> Place<'a> {
        Place { stream_id: stream, epoch: &self.epoch, offset }
    }

    /// True when this is news to the others.
    pub fn join(&mut self, stream: &str, by: &str, member: Member, now: Time) -> bool {
        let present = &mut self.stream(stream, now).present;
        let known = present.iter().any(|other| other.member.id == member.id);
        if let Some(own) = present.iter_mut().find(|other| other.by == by && other.member.id == member.id) {
            own.leaves = None;
            return false;
        }
        if present.len() >= MAX_PRESENT {
            return false;
        }
        present.push(Present { member, by: by.to_owned(), leaves: None });
        !known
    }

    /// Takes away what this connection said of this stream; gives the members that are now gone.
    pub fn leave(&mut self, stream: &str, by: &str) -> Vec<String> {
        self.streams.get_mut(stream).map(|stream| stream.remove(|present| present.by == by)).unwrap_or_default()
    }

    /// A connection is lost: those whom it spoke for leave at this time.
    pub fn lose(&mut self, by: &str, leaves: Time) {
        for present in self.present_by(by) {
            present.leaves = Some(leaves);
        }
    }

    /// A connection is back under another name.
    pub fn regain(&mut self, before: &str, by: &str) {
        for present in self.present_by(before) {
            present.leaves = None;
            present.by = by.to_owned();
        }
    }

    fn present_by(&mut self, by: &str) -> impl Iterator<Item = &mut Present> {
        self.streams.values_mut().flat_map(|stream| &mut stream.present).filter(move |present| present.by == by)
    }

    /// Those whose time to leave has come, by stream.
    pub fn gone(&mut self, now: Time) -> Vec<(String, Vec<String>)> {
        let due = |present: &Present| present.leaves.is_some_and(|leaves| leaves <= now);
        self.streams.iter_mut().map(|(name, stream)| (name.clone(), stream.remove(due))).collect()
    }

    pub fn info(&self, stream: &str) -> PresenceSaid<'_> {
        let mut records: Vec<Record> = Vec::new();
        for present in self.streams.get(stream).into_iter().flat_map(|stream| &stream.present) {
            if !records.iter().any(|record| record.id == present.member.id) {
                records.push(Record { id: &present.member.id, info: &present.member.info });
            }
        }
        PresenceSaid::Info { total: records.len(), records }
    }

    fn stream(&mut self, name: &str, now: Time) -> &mut Stream {
        if !self.streams.contains_key(name) && self.streams.len() >= MAX_STREAMS {
            let oldest = self.streams.iter().min_by_key(|(_, stream)| stream.used).map(|(name, _)| name.clone());
            self.streams.remove(&oldest.unwrap_or_default());
        }
        let stream = self.streams.entry(name.to_owned()).or_default();
        stream.used = now;
        stream
    }
}

impl Stream {
    fn trim(&mut self, now: Time, reach: Reach) {
        while self.log.len() > reach.messages || self.log.front().is_some_and(|kept| kept.at.plus(reach.ms) < now) {
            self.log.pop_front();
        }
    }

    /// Removes presences; gives the ids that nobody vouches for any more.
    fn remove(&mut self, which: impl Fn(&Present) -> bool) -> Vec<String> {
        let mut gone: Vec<String> = Vec::new();
        self.present.retain(|present| {
            let goes = which(present);
            if goes && !gone.contains(&present.member.id) {
                gone.push(present.member.id.clone());
            }
            !goes
        });
        gone.retain(|id| !self.present.iter().any(|present| present.member.id == *id));
        gone
    }
}

enum From {
    Offset(u64),
    /// Unix seconds; a message of that very second is wanted too.
    Second(u64),
}

impl From {
    fn is_before(&self, kept: &Kept) -> bool {
        match self {
            Self::Offset(offset) => kept.offset > *offset,
            Self::Second(second) => kept.at.0 / 1_000 >= *second,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REACH: Reach = Reach { ms: 300_000, messages: 3 };

    fn json(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).expect("JSON")
    }

    fn wanted(text: &str) -> Wanted {
        serde_json::from_str(text).expect("a wish")
    }

    fn broker() -> Broker {
        let mut broker = Broker::new("e1".to_owned());
        for n in 1..=4_u64 {
            assert_eq!(broker.publish("s", &json(&n.to_string()), Time(n * 1_000), REACH), n);
        }
        broker
    }

    fn offsets(broker: &mut Broker, wish: &str, now: Time) -> Option<Vec<u64>> {
        let missed = broker.missed(["s".to_owned()].into_iter(), &wanted(wish), now, REACH)?;
        Some(missed.iter().map(|(_, kept)| kept.offset).collect())
    }

    #[test]
    fn a_position_gets_what_came_after_it() {
        let mut broker = broker();
        let now = Time(5_000);
        let at = |offset: u64| format!(r#"{{"since":4,"streams":{{"s":{{"epoch":"e1","offset":{offset}}}}}}}"#);
        assert_eq!(offsets(&mut broker, &at(2), now), Some(vec![3, 4]));
        assert_eq!(offsets(&mut broker, &at(4), now), Some(vec![]));
        assert_eq!(offsets(&mut broker, r#"{"since":3}"#, now), Some(vec![3, 4]));
        assert_eq!(offsets(&mut broker, "{}", now), Some(vec![]));
    }

    #[test]
    fn a_position_that_is_gone_rejects_the_whole_request() {
        let mut broker = broker();
        let now = Time(5_000);
        for wish in [
            r#"{"streams":{"s":{"epoch":"e1","offset":1}}}"#,
            r#"{"streams":{"s":{"epoch":"e1","offset":5}}}"#,
            r#"{"streams":{"s":{"epoch":"e0","offset":4}}}"#,
        ] {
            assert_eq!(offsets(&mut broker, wish, now), None, "{wish}");
        }
        let newest = r#"{"streams":{"s":{"epoch":"e1","offset":4}}}"#;
        assert_eq!(offsets(&mut broker, newest, Time(304_001)), None);
        let unknown = wanted(r#"{"streams":{"t":{"epoch":"e1","offset":1}}}"#);
        assert!(broker.missed(["t".to_owned()].into_iter(), &unknown, now, REACH).is_none());
    }

    #[test]
    fn a_member_leaves_when_the_last_connection_that_names_it_is_gone() {
        let mut broker = broker();
        let member = || Member { id: "u1".to_owned(), info: json("{}") };
        assert!(broker.join("s", "a", member(), Time(1)));
        assert!(!broker.join("s", "b", member(), Time(1)));
        assert_eq!(broker.leave("s", "a"), Vec::<String>::new());
        broker.lose("b", Time(10));
        broker.regain("b", "c");
        assert!(broker.gone(Time(20)).iter().all(|(_, ids)| ids.is_empty()));
        broker.lose("c", Time(30));
        assert_eq!(broker.gone(Time(30)), [("s".to_owned(), vec!["u1".to_owned()])]);
    }
}
