//! What outlives the process: facts of sessions, streams and feeds, and what comes of them when they are read again. Pure. The file that they stand in is store.rs.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};

use crate::delivery::StreamName;
use crate::journal::Journal;
use crate::sessions::{ClientId, Session, Sessions};

/// Something worth keeping. The facts of one step are written together, and before anybody hears of them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fact {
    /// All of it as it is now, but the frames of its feed.
    Session(Box<Session>),
    Gone(ClientId),
    Taken {
        client: ClientId,
        stream: StreamName,
        number: u64,
        /// To the letter, number and all.
        frame: String,
    },
    /// A frame, and its number in each feed.
    Fed {
        to: Vec<(ClientId, u64)>,
        frame: String,
    },
}

/// What of the sessions is to be written.
#[derive(Debug, Default)]
pub enum Dirt {
    #[default]
    None,
    Some(BTreeSet<ClientId>),
    /// Everything that was written before is void.
    All,
}

/// What a file tells.
#[derive(Default)]
pub struct Memory {
    pub epoch: Option<String>,
    sessions: BTreeMap<ClientId, Session>,
    feeds: BTreeMap<ClientId, BTreeMap<u64, Utf8Bytes>>,
    journal: Journal,
}

impl Memory {
    /// Sessions from before there were epochs: nobody knows what was sent in them.
    pub fn of_old(sessions: Vec<Session>) -> Self {
        let mut memory = Self::default();
        for mut session in sessions {
            session.delivery.begin_again();
            memory.sessions.insert(session.id.clone(), session);
        }
        memory
    }

    pub fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::Session(session) => {
                self.sessions.insert(session.id.clone(), *session);
            }
            Fact::Gone(client) => {
                self.sessions.remove(&client);
            }
            Fact::Taken { client, stream, number, frame } => {
                if let Some(session) = self.sessions.get_mut(&client) {
                    session.delivery.take(&stream, number);
                }
                self.journal.recall(client, stream, number, &frame);
            }
            Fact::Fed { to, frame } => {
                let frame = Utf8Bytes::from(frame);
                for (client, number) in to {
                    self.feeds.entry(client).or_default().insert(number, frame.clone());
                }
            }
        }
    }

    /// The sessions with their feeds, of which this many frames are kept, and what was taken.
    pub fn recall(mut self, keep: usize) -> (Vec<Session>, Journal) {
        let sessions = self.sessions.into_values().map(|mut session| {
            let frames = self.feeds.remove(&session.id).unwrap_or_default();
            session.delivery.feed.refill(frames, keep);
            session
        });
        (sessions.collect(), self.journal)
    }
}

/// These sessions as they are now.
pub fn now<'a>(sessions: &Sessions, ids: impl IntoIterator<Item = &'a ClientId>) -> Vec<Fact> {
    let fact = |id: &ClientId| match sessions.session(id).filter(|session| session.token().is_some()) {
        Some(session) => Fact::Session(Box::new(session.clone())),
        None => Fact::Gone(id.clone()),
    };
    ids.into_iter().map(fact).collect()
}

/// Everything that is known, with the frames that are kept.
pub fn everything(sessions: &Sessions) -> Vec<Fact> {
    let mut facts = now(sessions, sessions.iter().map(|session| &session.id));
    // A frame of many feeds is one text, and is written once.
    let mut frames: BTreeMap<*const u8, Shared> = BTreeMap::new();
    for session in sessions.iter() {
        for (number, frame) in session.delivery.feed.since(0) {
            let shared = frames.entry(frame.as_str().as_ptr()).or_insert(Shared { frame, to: Vec::new() });
            shared.to.push((session.id.clone(), number));
        }
    }
    facts.extend(frames.into_values().map(|Shared { frame, to }| Fact::Fed { to, frame: frame.as_str().to_owned() }));
    facts
}

struct Shared<'a> {
    frame: &'a Utf8Bytes,
    to: Vec<(ClientId, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::delivery::Cursor;
    use crate::sessions::Time;

    fn sessions() -> Sessions {
        let mut count = 0_u128;
        let entropy = move || {
            count += 1;
            count.to_le_bytes()
        };
        Sessions::new(Box::new(entropy), Vec::new())
    }

    fn stream() -> StreamName {
        StreamName::parse("0011223344556677").unwrap()
    }

    /// What is read when these facts were written.
    fn read(facts: &[Fact]) -> Memory {
        let text = serde_json::to_string(facts).unwrap();
        let mut memory = Memory::default();
        serde_json::from_str::<Vec<Fact>>(&text).unwrap().into_iter().for_each(|fact| memory.apply(fact));
        memory
    }

    #[test]
    fn everything_that_is_written_is_known_again() {
        let mut known = sessions();
        let ids = [known.create(Time(0), &Config::default()), known.create(Time(0), &Config::default())];
        let shared = Utf8Bytes::from("{\"shared\":true}");
        for id in &ids {
            let delivery = &mut known.session_mut(id).unwrap().delivery;
            delivery.open(&stream(), |_| false);
            delivery.take(&stream(), 7);
            delivery.feed.append("{\"own\":true}".into(), 10);
            delivery.feed.append(shared.clone(), 10);
        }
        let facts = everything(&known);
        assert_eq!(facts.iter().filter(|fact| matches!(fact, Fact::Fed { .. })).count(), 3);
        let (kept, _) = read(&facts).recall(10);
        assert_eq!(kept.len(), 2);
        for session in kept {
            assert_eq!(session.delivery.taken(&stream()), 7);
            let frames: Vec<(u64, &str)> =
                session.delivery.feed.since(0).map(|(n, frame)| (n, frame.as_str())).collect();
            assert_eq!(frames, [(1, "{\"own\":true}"), (2, "{\"shared\":true}")]);
        }
    }

    #[test]
    fn a_session_that_is_written_again_keeps_the_frames_of_its_feed() {
        let mut known = sessions();
        let id = known.create(Time(0), &Config::default());
        let fed = |number| Fact::Fed { to: vec![(ClientId::from(&*id), number)], frame: "{}".to_owned() };
        let mut facts = vec![fed(1)];
        let feed = &mut known.session_mut(&id).unwrap().delivery.feed;
        feed.append("{}".into(), 10);
        feed.append("{}".into(), 10);
        facts.push(fed(2));
        facts.extend(now(&known, [&id]));
        let (kept, _) = read(&facts).recall(10);
        assert!(kept[0].delivery.feed.resume(Cursor::At(0)).recovered);
        assert_eq!(kept[0].delivery.feed.newest(), 2);
        let (kept, _) = read(&facts).recall(1);
        assert_eq!(kept[0].delivery.feed.resume(Cursor::At(0)).from, 2);
    }

    #[test]
    fn what_was_taken_is_known_by_number_and_by_frame() {
        let mut known = sessions();
        let id = known.create(Time(0), &Config::default());
        let mut facts = now(&known, [&id]);
        let frame = "{\"type\":\"chat\",\"text\":\"a\",\"$seq\":7}".to_owned();
        facts.push(Fact::Taken { client: id.clone(), stream: stream(), number: 7, frame });
        let (mut kept, journal) = read(&facts).recall(10);
        assert!(!kept[0].delivery.take(&stream(), 7));
        assert!(serde_json::to_string(&journal.taken()).unwrap().contains("\"text\":\"a\""));
        assert!(journal.entries(None).is_empty());
    }

    #[test]
    fn a_session_without_a_token_is_gone() {
        let mut known = sessions();
        let id = known.create(Time(0), &Config::default());
        let mut facts = now(&known, [&id]);
        known.expire_tokens();
        facts.extend(now(&known, [&id]));
        assert!(read(&facts).recall(10).0.is_empty());
    }

    #[test]
    fn a_session_of_old_does_not_say_that_a_stream_is_new() {
        let mut known = sessions();
        let id = known.create(Time(0), &Config::default());
        let memory = Memory::of_old(vec![known.session(&id).unwrap().clone()]);
        let (mut kept, _) = memory.recall(10);
        assert_eq!(kept[0].delivery.open(&stream(), |_| false), None);
    }
}
