//! The server's end: a Nexus gateway reduced to what a client can notice. It is written from the protocol pages and shares
//! nothing with the client. It knows no time and no link: what it says is left in `words`, for the link to carry.
//!
//! Where the client breaks a promise of the pages, it panics: that is a finding.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// When a connection that has not presented a token hears who it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Greet {
    AtOnce,
    /// It gives the client so many milliseconds to present a token.
    After(u64),
    /// It never says a word of its own accord.
    Never,
}

/// When messages that were taken are acknowledged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Acks {
    /// After so many milliseconds, or a quarter of the window.
    Within(u64),
    /// At once, each for itself.
    Each,
    /// Only when asked by a probe or a resume.
    WhenAsked,
}

/// How it speaks the acknowledgement extension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    pub window: u32,
    /// How many frames of a feed it keeps.
    pub keeps: usize,
    pub acks: Acks,
}

/// What it does of its own accord, left for whoever carries it. The number is the connection's.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    Say(u32, String),
    /// It closes the connection, after all that it has said, in so many milliseconds.
    Close(u32, u16, u64),
    /// The connection ends at once, and what is on its way with it.
    Cut(u32),
    /// It wants `waited` to be called after so many milliseconds.
    Wake(u32, u64),
}

#[derive(Clone, Debug)]
pub struct Gateway {
    pub greet: Greet,
    /// It makes the optional announcements.
    pub offers: bool,
    /// After a greeting that crossed a resume, it names the kept session by another `session-init`.
    pub confirms: bool,
    pub answers_probes: bool,
    pub echoes: bool,
    /// Sends `world_state` once the session is settled.
    pub snapshots: bool,
    pub delivery: Option<Terms>,
    /// Terms that it does not offer at present.
    pub withheld: Option<Terms>,
    /// The next so many messages are taken, and their connection is cut before it hears of it.
    pub kills: u32,
    /// Its memory of numbers has this name.
    pub epoch: u32,
    /// Token → the client that it stands for.
    pub sessions: BTreeMap<String, String>,
    /// Every application frame that came, with the client it came from, in order.
    pub received: Vec<(String, String)>,
    /// Who is on the line.
    pub connections: BTreeMap<u32, Connection>,
    /// How many sessions it has begun.
    pub issued: u32,
    pub words: Vec<Word>,
    /// How often it has taken a message, by the first word of its text.
    pub taken: BTreeMap<String, u32>,
    pub doubled: BTreeSet<String>,
    /// By client and the stream's name: the newest number that was taken.
    pub streams: BTreeMap<(String, String), u64>,
    pub feeds: BTreeMap<String, Feed>,
    /// What was told of the numbers of a stream, over all that it forgets: text by number.
    pub numbers: BTreeMap<(String, u64), String>,
}

#[derive(Clone, Debug, Default)]
pub struct Connection {
    client: Option<String>,
    token: Option<String>,
    stream: Option<String>,
    /// It was named by `delivery-open`.
    by_opening: bool,
    /// Another connection has its stream.
    fenced: bool,
    /// Taken and not acknowledged.
    unacknowledged: u32,
    awake: bool,
    /// The newest of the feed that it was sent, and the newest that it has acknowledged.
    fed: u64,
    heard: u64,
    /// The newest number that it has acknowledged to the client.
    acknowledged: u64,
    ended: bool,
}

/// The numbered frames of a session.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    newest: u64,
    kept: Vec<(u64, String)>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            greet: Greet::After(150),
            offers: true,
            confirms: true,
            answers_probes: true,
            echoes: false,
            snapshots: false,
            delivery: None,
            withheld: None,
            kills: 0,
            epoch: 1,
            sessions: BTreeMap::new(),
            received: Vec::new(),
            connections: BTreeMap::new(),
            issued: 0,
            words: Vec::new(),
            taken: BTreeMap::new(),
            doubled: BTreeSet::new(),
            streams: BTreeMap::new(),
            feeds: BTreeMap::new(),
            numbers: BTreeMap::new(),
        }
    }
}

impl Gateway {
    /// One without the optional announcements.
    pub fn plain() -> Self {
        Self { offers: false, ..Self::default() }
    }

    pub fn knowing(mut self, token: &str, client: &str) -> Self {
        self.sessions.insert(token.into(), client.into());
        self
    }

    pub fn accept(&mut self, connection: u32) {
        self.connections.insert(connection, Connection::default());
        if let Some(terms) = self.delivery {
            let delivery = json!({"epoch": self.epoch_name(), "window": terms.window});
            self.say(connection, &json!({"type": "gateway-offer", "ping": true, "delivery": delivery}));
        } else if self.offers {
            self.say(connection, &json!({"type": "gateway-offer", "ping": true}));
        }
        match self.greet {
            Greet::AtOnce => self.enrol(connection),
            Greet::After(wait) => self.words.push(Word::Wake(connection, wait)),
            Greet::Never => {}
        }
    }

    /// The wait for a token, or for more to acknowledge, is over.
    pub fn waited(&mut self, connection: u32) {
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        known.awake = false;
        if known.client.is_none() && self.greet != Greet::Never {
            self.enrol(connection);
        }
        if self.delivery.is_some_and(|terms| terms.acks != Acks::WhenAsked) {
            self.acknowledge(connection);
        }
    }

    pub fn read(&mut self, connection: u32, text: &str) {
        let frame: Value = serde_json::from_str(text).expect("a client sends JSON");
        if self.connections.get(&connection).is_none_or(|known| known.ended) {
            return;
        }
        match frame["type"].as_str() {
            Some("session-resume") => self.resume(connection, &frame),
            Some("ping") if self.answers_probes => {
                self.acknowledge(connection);
                self.say(connection, &json!({"type": "pong", "n": frame["n"]}));
            }
            Some("ping") => {}
            Some("delivery-open") => self.open(connection, &frame),
            Some("delivery-ack") => self.hear_acknowledgement(connection, &frame),
            _ => self.message(connection, &frame, text),
        }
    }

    pub fn gone(&mut self, connection: u32) {
        self.connections.remove(&connection);
    }

    pub fn forget_all_tokens(&mut self) {
        self.sessions.clear();
    }

    pub fn texts_received(&self) -> Vec<&str> {
        self.received.iter().map(|(_, text)| text.as_str()).collect()
    }

    // What it can be told to do.

    /// A frame that must not be missed, to each session that somebody is on the line for: numbered where it can be, and
    /// with a mark by which a test knows it.
    pub fn feed(&mut self) {
        let clients: BTreeSet<String> = self.connections.values().filter_map(|known| known.client.clone()).collect();
        for client in clients {
            let epoch = self.epoch_name();
            let numbered = self.delivery.is_some();
            let feed = self.feeds.entry(client.clone()).or_default();
            let mut frame = json!({"type": "player-joined", "of": client, "epoch": epoch});
            if numbered {
                feed.newest += 1;
                frame["mark"] = json!(feed.newest);
                frame["$seq"] = json!(feed.newest);
                feed.kept.push((feed.newest, frame.to_string()));
                let most = self.delivery.map_or(0, |terms| terms.keeps);
                feed.kept.drain(..feed.kept.len().saturating_sub(most));
            }
            let newest = feed.newest;
            for connection in self.of_client(&client) {
                self.say(connection, &frame);
                self.connections.entry(connection).and_modify(|known| known.fed = newest);
            }
        }
    }

    /// Says the newest frames of the feed once more.
    pub fn repeat_feed(&mut self, count: usize) {
        let mut again = Vec::new();
        for (connection, known) in &self.connections {
            if let Some(feed) = known.client.as_ref().and_then(|client| self.feeds.get(client))
                && !known.fenced
            {
                let from = feed.kept.len().saturating_sub(count);
                // Only what it has said already is a repetition.
                let kept = feed.kept.get(from..).unwrap_or_default();
                again.extend(kept.iter().filter(|row| row.0 <= known.fed).map(|row| (*connection, row.1.clone())));
            }
        }
        self.words.extend(again.into_iter().map(|(connection, text)| Word::Say(connection, text)));
    }

    /// Leaves out numbers of the feed that nobody will ever hear.
    pub fn skip_feed(&mut self, count: u64) {
        if self.delivery.is_some() {
            self.feeds.values_mut().for_each(|feed| feed.newest += count);
        }
    }

    pub fn trim_feed(&mut self) {
        self.feeds.values_mut().for_each(|feed| feed.kept.clear());
    }

    /// It forgets the streams that nobody on the line has.
    pub fn forget_streams(&mut self) {
        let held: BTreeSet<(String, String)> = self
            .connections
            .values()
            .filter(|known| !known.fenced)
            .filter_map(|known| Some((known.client.clone()?, known.stream.clone()?)))
            .collect();
        self.streams.retain(|key, _| held.contains(key));
    }

    /// All connections end, and it comes back with its memory, or without one of what was numbered.
    pub fn restart(&mut self, remembers: bool) {
        let all: Vec<u32> = self.connections.keys().copied().collect();
        self.words.extend(all.into_iter().map(Word::Cut));
        if !remembers {
            self.epoch += 1;
            self.streams.clear();
            self.feeds.clear();
        }
    }

    /// Acknowledges what was never handed over.
    pub fn acknowledge_ahead(&mut self) {
        for connection in self.opened() {
            self.say(connection, &json!({"type": "delivery-ack", "seq": 4_000_000_000_u32}));
        }
    }

    /// Acknowledges less than it has before.
    pub fn acknowledge_behind(&mut self) {
        for connection in self.opened() {
            let before = self.connections.get(&connection).map_or(0, |known| known.acknowledged / 2);
            self.say(connection, &json!({"type": "delivery-ack", "seq": before}));
        }
    }

    /// From the next connection on it speaks the extension, if it ever did, or does not.
    pub fn speak_of_delivery(&mut self, speaks: bool) {
        self.withheld = self.delivery.or(self.withheld);
        self.delivery = self.withheld.filter(|_| speaks);
    }

    pub fn announce_move(&mut self, within_ms: u64) {
        for connection in self.opened() {
            self.say(connection, &json!({"type": "gateway-moving", "withinMs": within_ms}));
            self.words.push(Word::Close(connection, 1012, within_ms));
        }
    }

    /// The newest number of the feed of the session that a client is in.
    pub fn newest_of(&self, client: &str) -> u64 {
        self.feeds.get(client).map_or(0, |feed| feed.newest)
    }

    // How it answers.

    fn epoch_name(&self) -> String {
        format!("e{}", self.epoch)
    }

    fn say(&mut self, connection: u32, frame: &Value) {
        self.words.push(Word::Say(connection, frame.to_string()));
    }

    fn of_client(&self, client: &str) -> Vec<u32> {
        let of_it =
            self.connections.iter().filter(|(_, known)| known.client.as_deref() == Some(client) && !known.fenced);
        of_it.map(|(connection, _)| *connection).collect()
    }

    /// Connections with a stream.
    fn opened(&self) -> Vec<u32> {
        let opened = self.connections.iter().filter(|(_, known)| known.stream.is_some() && !known.fenced);
        opened.map(|(connection, _)| *connection).collect()
    }

    fn message(&mut self, connection: u32, frame: &Value, text: &str) {
        let Some(known) = self.connections.get(&connection) else {
            return;
        };
        let sender = known.client.clone().unwrap_or_else(|| "nobody".into());
        // A client that has not heard the offer in time speaks as to a plain gateway.
        let plain = known.stream.is_none() || !known.by_opening && frame.get("$seq").is_none();
        let Some(stream) = known.stream.clone().filter(|_| !plain) else {
            assert!(frame.get("$seq").is_none(), "a number before its stream was opened: {text}");
            self.take(&sender, frame, text, connection);
            return;
        };
        let number = frame["$seq"].as_u64().filter(|number| *number >= 1);
        let number = number.unwrap_or_else(|| panic!("a message of an open stream without a number: {text}"));
        let told = self.numbers.entry((stream.clone(), number)).or_insert_with(|| text.into());
        assert_eq!(told, text, "number {number} of stream {stream} stands for two messages");
        if known.fenced {
            return;
        }
        let newest = self.streams.entry((sender.clone(), stream)).or_insert(0);
        let is_new = number > *newest;
        *newest = number.max(*newest);
        if is_new {
            self.take(&sender, frame, text, connection);
        }
        let Some(terms) = self.delivery else {
            return;
        };
        if self.kills > 0 && is_new {
            self.kills -= 1;
            self.words.push(Word::Cut(connection));
            return;
        }
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        known.unacknowledged += 1;
        match terms.acks {
            Acks::Each => self.acknowledge(connection),
            Acks::Within(_) if known.unacknowledged * 4 >= terms.window => self.acknowledge(connection),
            Acks::Within(wait) if !known.awake => {
                known.awake = true;
                self.words.push(Word::Wake(connection, wait));
            }
            Acks::Within(_) => {}
            Acks::WhenAsked => {
                // A full window that nobody acknowledges would stand still for ever.
                if known.unacknowledged >= terms.window {
                    self.acknowledge(connection);
                }
            }
        }
    }

    fn take(&mut self, sender: &str, frame: &Value, text: &str, connection: u32) {
        if self.echoes {
            let said = if frame["text"].is_null() { &frame["$data"] } else { &frame["text"] };
            self.say(connection, &json!({"type": "chat-message", "text": said, "senderId": sender}));
        }
        self.received.push((sender.into(), text.into()));
        let said = frame["text"].as_str().unwrap_or_default();
        let name = said.split(' ').next().unwrap_or_default();
        let times = self.taken.entry(name.into()).or_insert(0);
        *times += 1;
        if *times > 1 {
            self.doubled.insert(name.into());
        }
    }

    fn acknowledge(&mut self, connection: u32) {
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        let (Some(client), Some(stream), false) = (&known.client, &known.stream, known.fenced) else {
            return;
        };
        if known.unacknowledged == 0 {
            return;
        }
        known.unacknowledged = 0;
        let taken = self.streams.get(&(client.clone(), stream.clone())).copied().unwrap_or(0);
        known.acknowledged = taken;
        self.say(connection, &json!({"type": "delivery-ack", "seq": taken}));
    }

    fn open(&mut self, connection: u32, frame: &Value) {
        assert!(self.delivery.is_some(), "a stream was opened that nobody offered");
        self.adopt(connection, stream_of(frame).expect("delivery-open names a stream"));
        self.connections.entry(connection).and_modify(|known| known.by_opening = true);
    }

    fn adopt(&mut self, connection: u32, stream: String) {
        // Something else was its first word: who it is for is said now.
        if self.connections.get(&connection).is_some_and(|known| known.client.is_none()) {
            self.enrol(connection);
        }
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        let client = known.client.clone().unwrap_or_default();
        assert!(known.stream.is_none(), "a second stream was opened on a connection");
        known.stream = Some(stream.clone());
        self.streams.entry((client.clone(), stream.clone())).or_insert(0);
        self.fence(connection, &client, &stream);
    }

    /// From now on nobody else speaks for this stream.
    fn fence(&mut self, connection: u32, client: &str, stream: &str) {
        for (other, known) in &mut self.connections {
            let same = known.client.as_deref() == Some(client) && known.stream.as_deref() == Some(stream);
            if *other != connection && same && !known.fenced {
                known.fenced = true;
                self.words.push(Word::Close(*other, 1000, 0));
            }
        }
    }

    fn hear_acknowledgement(&mut self, connection: u32, frame: &Value) {
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        assert!(self.delivery.is_some(), "an acknowledgement that nobody offered to read");
        let number = frame["seq"].as_u64().expect("an acknowledgement has a number");
        if known.fenced {
            return;
        }
        assert!(number <= known.fed, "frame {number} was acknowledged, {} was the newest sent", known.fed);
        assert!(number >= known.heard, "frame {number} was acknowledged after {}", known.heard);
        known.heard = number;
    }

    fn resume(&mut self, connection: u32, frame: &Value) {
        let token = frame["token"].as_str().expect("a resume carries a token");
        let Some(kept) = self.sessions.get(token).cloned() else {
            if self.offers || self.delivery.is_some() {
                self.say(connection, &json!({"type": "session-refused", "reason": "unknown"}));
            }
            self.enrol(connection);
            // It has named its stream, whatever became of the session that it was for.
            if let Some(stream) = stream_of(frame).filter(|_| self.delivery.is_some()) {
                self.adopt(connection, stream);
            }
            return;
        };
        let greeted = self.connections.get(&connection).and_then(|known| known.token.clone());
        if let Some(eager) = &greeted {
            self.sessions.remove(eager);
        }
        if greeted.is_some() && self.confirms && self.delivery.is_none() {
            self.say(connection, &json!({"type": "session-init", "token": token, "clientId": kept}));
        }
        let mut now = Connection { client: Some(kept.clone()), token: Some(token.into()), ..Connection::default() };
        if self.delivery.is_some() {
            now.stream = stream_of(frame);
            self.connections.insert(connection, now);
            self.resume_numbers(connection, &kept, frame);
        } else {
            self.connections.insert(connection, now);
            if self.offers {
                self.say(connection, &json!({"type": "session-resumed", "clientId": kept}));
            }
        }
        if self.snapshots {
            self.say(connection, &json!({"type": "world_state", "you": kept}));
        }
    }

    fn resume_numbers(&mut self, connection: u32, client: &str, frame: &Value) {
        let mut delivery = json!({"epoch": self.epoch_name()});
        if let Some(stream) = stream_of(frame) {
            let key = (client.to_string(), stream.clone());
            if let Some(taken) = self.streams.get(&key) {
                delivery["taken"] = json!(taken);
            }
            // A resume alone makes no stream: its answer may be lost, and the next has to be the same.
            let taken = self.streams.get(&key).copied().unwrap_or(0);
            self.connections.entry(connection).and_modify(|known| known.acknowledged = taken);
            self.fence(connection, client, &stream);
        }
        let feed = self.feeds.entry(client.into()).or_default().clone();
        let mut replay = Vec::new();
        let seen = frame["seen"].as_u64();
        match (frame["epoch"].as_str(), seen) {
            (Some(epoch), Some(seen)) if epoch == self.epoch_name() && seen <= feed.newest => {
                replay = feed.kept.iter().filter(|(number, _)| *number > seen).cloned().collect();
                let first = replay.first().map_or(feed.newest + 1, |(number, _)| *number);
                // Numbers that were left out between kept ones are found by the client.
                let recovered = first == seen + 1;
                delivery["recovered"] = json!(recovered);
                if !recovered {
                    delivery["gap"] = json!({"from": seen + 1, "to": first - 1, "reason": "trimmed"});
                }
                delivery["from"] = json!(first);
                delivery["to"] = json!(feed.newest);
            }
            (Some(_), Some(seen)) => {
                delivery["recovered"] = json!(false);
                delivery["gap"] = json!({"from": seen.saturating_add(1), "to": null, "reason": "epoch"});
                delivery["to"] = json!(feed.newest);
            }
            _ => {
                assert!(frame.get("seen").is_none() && frame.get("epoch").is_none(), "half a cursor: {frame}");
                delivery["recovered"] = json!(false);
                delivery["to"] = json!(feed.newest);
            }
        }
        self.say(connection, &json!({"type": "session-resumed", "clientId": client, "delivery": delivery}));
        self.words.extend(replay.into_iter().map(|(_, text)| Word::Say(connection, text)));
        self.connections.entry(connection).and_modify(|known| known.fed = feed.newest);
    }

    fn enrol(&mut self, connection: u32) {
        self.issued += 1;
        let (token, client) = (format!("t{}", self.issued), format!("c{}", self.issued));
        let mut greeting = json!({"type": "session-init", "token": token, "clientId": client});
        if self.delivery.is_some() {
            greeting["seq"] = json!(self.newest_of(&client));
        }
        self.say(connection, &greeting);
        if self.snapshots {
            self.say(connection, &json!({"type": "world_state", "you": client}));
        }
        self.sessions.insert(token.clone(), client.clone());
        let now = Connection { client: Some(client), token: Some(token), ..Connection::default() };
        self.connections.insert(connection, now);
    }
}

fn stream_of(frame: &Value) -> Option<String> {
    let name = frame.get("stream")?.as_str().expect("a stream has a name");
    assert!(!name.is_empty() && name.len() <= 64, "a stream called {name:?}");
    Some(name.into())
}
