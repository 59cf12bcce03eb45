//! The server side of the Nexus world protocol: greeting, resuming, presence, relaying, rotation.
//! Pure: the time comes in with every call, what is to be done goes out as `Effect`s. Sockets, clocks and
//! queues are hub.rs and socket.rs; the words themselves are frames.rs.

use std::collections::{BTreeMap, VecDeque};

use axum::extract::ws::{Message, Utf8Bytes};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::agents::Agents;
use crate::allowance::Allowance;
use crate::answers::Answers;
use crate::config::{Change, Config, Greet};
use crate::frames::{Heard, Malformed, Player, Resume, Said, Step, hear, relayed};
use crate::journal::{Content, Journal};
use crate::memory::{self, Dirt, Fact};
use crate::numbered::unnumbered;
use crate::sessions::{ClientId, Presence, Refusal, Session, Sessions, Time};

mod controls;
pub mod delivery;
pub mod misconduct;

pub use self::controls::Target;
use self::delivery::Line;
use self::misconduct::Misconduct;

/// The number of one accepted connection; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ConnectionId(u64);

/// What the world wants done to a connection, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Send {
        to: ConnectionId,
        message: Message,
    },
    Close {
        to: ConnectionId,
        code: u16,
        reason: Utf8Bytes,
    },
    /// The TCP connection ends without a close frame.
    Abort {
        to: ConnectionId,
    },
    /// The gateway stops as if it were killed; what comes later is not done.
    Die,
}

/// What the gateway counted since its start or the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub accepted: u64,
    pub resumed: u64,
    pub refused: u64,
    pub received: u64,
    pub malformed: u64,
}

/// How many chat messages a snapshot repeats.
const REMEMBERED: usize = 32;
/// The longest that is repeated, in bytes.
const MEMORABLE: usize = 4096;

pub struct World {
    config: Config,
    initial: Config,
    sessions: Sessions,
    connections: BTreeMap<ConnectionId, Connection>,
    accepted: u64,
    agents: Agents,
    agent_at: Time,
    answers: Answers,
    /// What was said last, for those who were away.
    said: VecDeque<Box<RawValue>>,
    sayings: u64,
    availability: Availability,
    journal: Journal,
    totals: Totals,
    misconduct: Misconduct,
    effects: Vec<Effect>,
    /// What was taken and what was published, for who keeps it.
    facts: Option<Vec<Fact>>,
    rearm: bool,
}

struct Connection {
    stage: Stage,
    allowance: Allowance,
    received: u64,
    line: Line,
}

impl Connection {
    /// For whom it hears what happens.
    fn hears(&self) -> Option<&ClientId> {
        if self.line.is_fenced() { None } else { self.stage.client() }
    }
}

#[derive(Clone, Debug)]
enum Stage {
    /// Nobody yet: a resume may come until the given time.
    Waiting { until: Time },
    /// Greeted with a session made for it, of which the others hear unless a resume crosses the greeting.
    Greeted { client: ClientId, until: Time },
    /// A part of the world. `made_here` is true while the session is the one that this connection was greeted with.
    Settled { client: ClientId, made_here: bool },
    /// Told to go for flooding: what it still sends is not heard.
    Muted { client: Option<ClientId> },
}

impl Stage {
    fn client(&self) -> Option<&ClientId> {
        match self {
            Self::Waiting { .. } => None,
            Self::Greeted { client, .. } | Self::Settled { client, .. } => Some(client),
            Self::Muted { client } => client.as_ref(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Availability {
    Up,
    /// Nobody is let in; without a time, until told otherwise.
    Down {
        until: Option<Time>,
    },
}

impl World {
    pub fn new(now: Time, config: Config, sessions: Sessions) -> Self {
        Self {
            initial: config.clone(),
            agent_at: now.plus(agent_pause(&config)),
            said: VecDeque::new(),
            sayings: 0,
            config,
            sessions,
            connections: BTreeMap::new(),
            accepted: 0,
            agents: Agents::default(),
            answers: Answers::default(),
            availability: Availability::Up,
            journal: Journal::default(),
            totals: Totals::default(),
            misconduct: Misconduct::default(),
            effects: Vec::new(),
            facts: None,
            rearm: true,
        }
    }

    /// A socket is open. `None` while the gateway is down.
    pub fn accept(&mut self, now: Time) -> Option<ConnectionId> {
        if self.is_down() {
            return None;
        }
        self.accepted += 1;
        self.totals.accepted += 1;
        self.rearm = true;
        let id = ConnectionId(self.accepted);
        let until = now.plus(self.config.greet_wait_ms);
        let allowance = Allowance::new(now, self.config.rate_limit);
        let stage = Stage::Waiting { until };
        let line = Line::new(self.config.offer && self.config.delivery);
        self.connections.insert(id, Connection { stage, allowance, received: 0, line });
        if self.config.offer {
            self.offer(id);
        }
        if self.config.greet == Greet::Eager {
            let client = self.greet(now, id);
            self.enter(id, Stage::Greeted { client, until });
        }
        Some(id)
    }

    /// A client's text frame.
    pub fn received(&mut self, now: Time, id: ConnectionId, text: &str) {
        if !self.admit_frame(now, id) {
            return;
        }
        let (numbered, content) = self.unpack(now, id, text);
        if let Some(content) = content {
            self.act(now, id, &content, numbered.is_some());
        }
        if numbered.is_some() {
            self.acknowledge_enough(id);
        }
        self.journal.note_numbered(self.client_of(id), numbered, Content::Text(text));
    }

    fn act(&mut self, now: Time, id: ConnectionId, text: &str, numbered: bool) {
        let heard = match hear(text) {
            // What steers the connection has no number: this one is the page's own and only looks like it.
            Ok(Heard::Resume(_) | Heard::Open(_) | Heard::Acknowledged(_)) if numbered => Err(Malformed),
            heard => heard,
        };
        if !matches!(heard, Ok(Heard::Resume(_))) {
            self.settle_as_new(now, id);
        }
        match heard {
            Ok(Heard::Resume(resume)) => self.resume(now, id, resume),
            Ok(Heard::Open(stream)) => self.open_stream(now, id, stream),
            Ok(Heard::Acknowledged(seq)) => self.acknowledged(id, seq),
            Ok(Heard::Chat(text)) => self.chat(now, id, text),
            Ok(Heard::Move(step)) => self.step(id, step),
            Ok(Heard::Profile { name, color }) => self.profile(id, name, color),
            Ok(Heard::Ping(n)) => self.ping(id, n),
            Ok(Heard::Ask { id: question, text }) => self.ask(now, id, question, &text),
            Ok(Heard::AskStop { id: question }) => self.ask_stop(id, &question),
            Ok(Heard::Other) => self.relay(id, text),
            Err(Malformed) => self.totals.malformed += 1,
        }
    }

    /// A client's binary frame: there is none in this protocol.
    pub fn received_binary(&mut self, now: Time, id: ConnectionId, bytes: &[u8]) {
        if !self.admit_frame(now, id) {
            return;
        }
        self.settle_as_new(now, id);
        self.totals.malformed += 1;
        self.journal.note(self.client_of(id), Content::Binary(bytes));
    }

    /// The socket is gone.
    pub fn closed(&mut self, now: Time, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        self.rearm = true;
        if let Some(client) = connection.stage.client() {
            self.leave(now, client);
        }
    }

    /// Does what is due at `now`.
    pub fn timeout(&mut self, now: Time) {
        self.rearm = true;
        if matches!(self.availability, Availability::Down { until: Some(until) } if until <= now) {
            self.availability = Availability::Up;
        }
        let overdue: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| match connection.stage {
                Stage::Waiting { until } | Stage::Greeted { until, .. } => until <= now,
                Stage::Settled { .. } | Stage::Muted { .. } => false,
            })
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            self.settle_as_new(now, id);
        }
        let gone: Vec<ClientId> = self
            .sessions
            .iter()
            .filter(|session| matches!(session.presence, Presence::Leaving(at) if at <= now))
            .map(|session| session.id.clone())
            .collect();
        for client in gone {
            self.announce_left(&client);
        }
        for client in self.rotations().filter(|(at, _)| *at <= now).map(|(_, id)| id).collect::<Vec<_>>() {
            self.rotate_one(now, &client);
        }
        for (client, word) in self.answers.due(now) {
            self.send(&Target::Client(client), &Message::Text(word));
        }
        if self.config.agents && self.agent_at <= now {
            self.agent_at = now.plus(agent_pause(&self.config));
            if !self.connections.is_empty() {
                let text = self.agents.speak();
                self.publish(&Audience::Everyone, &text);
            }
        }
        self.keep_delivery_time(now);
    }

    /// When `timeout` is to be called next.
    pub fn next_timeout(&self) -> Option<Time> {
        let stages = self.connections.values().filter_map(|connection| match connection.stage {
            Stage::Waiting { until } | Stage::Greeted { until, .. } => Some(until),
            Stage::Settled { .. } | Stage::Muted { .. } => None,
        });
        let departures = self.sessions.iter().filter_map(|session| match session.presence {
            Presence::Leaving(at) => Some(at),
            Presence::Absent | Presence::Here => None,
        });
        let agents = self.config.agents.then_some(self.agent_at);
        let up = match self.availability {
            Availability::Down { until } => until,
            Availability::Up => None,
        };
        let rotations = self.rotations().map(|(at, _)| at);
        let deliveries = self.delivery_times();
        let answers = self.answers.next();
        stages.chain(departures).chain(rotations).chain(agents).chain(up).chain(answers).chain(deliveries).min()
    }

    /// What is to be done, since the last call.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// From here on it tells what is worth keeping; what was taken before its time is known again.
    pub fn remember(&mut self, journal: Journal) {
        self.journal = journal;
        self.facts = Some(Vec::new());
    }

    /// What is to be kept before an effect is performed; nothing where what was kept before is void.
    pub fn take_facts(&mut self) -> Option<Vec<Fact>> {
        let mut facts = std::mem::take(self.facts.as_mut()?);
        match self.sessions.take_dirt() {
            Dirt::None => {}
            Dirt::Some(ids) => facts.extend(memory::now(&self.sessions, &ids)),
            Dirt::All => return None,
        }
        Some(facts)
    }

    /// Whether `next_timeout` may have changed since the last call.
    pub fn take_rearm(&mut self) -> bool {
        std::mem::take(&mut self.rearm)
    }

    pub fn is_down(&self) -> bool {
        self.availability != Availability::Up
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn sessions(&mut self) -> &mut Sessions {
        &mut self.sessions
    }

    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Every connection, whose it is, and how many frames it sent.
    pub fn connections(&self) -> impl Iterator<Item = (ConnectionId, Option<&ClientId>, u64)> {
        self.connections.iter().map(|(id, connection)| (*id, connection.stage.client(), connection.received))
    }

    /// Everyone whom the others believe to be there, or who is.
    pub fn clients(&mut self) -> Vec<(ClientId, bool)> {
        self.sessions
            .iter()
            .filter(|session| session.connections > 0 || session.presence != Presence::Absent)
            .map(|session| (session.id.clone(), session.connections > 0))
            .collect()
    }

    pub fn configure(&mut self, now: Time, change: Change) {
        self.config.apply(change);
        self.agent_at = self.agent_at.min(now.plus(agent_pause(&self.config)));
        self.rearm = true;
    }

    fn admit_frame(&mut self, now: Time, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else {
            return false;
        };
        if matches!(connection.stage, Stage::Muted { .. }) {
            return false;
        }
        self.totals.received += 1;
        connection.received += 1;
        if connection.allowance.spend(now, self.config.rate_limit) {
            return true;
        }
        let client = connection.stage.client().cloned();
        connection.stage = Stage::Muted { client };
        let reason = Utf8Bytes::from_static("too many frames");
        self.effects.push(Effect::Close { to: id, code: 1008, reason });
        false
    }

    fn resume(&mut self, now: Time, id: ConnectionId, resume: Resume) {
        match self.sessions.recognise(&resume.token, now, &self.config) {
            Ok(client) => {
                self.fence(now, id, &client, resume.stream.as_ref());
                if let Some(resume) = self.unhindered(now, id, resume) {
                    self.rebind(now, id, client, resume);
                }
            }
            Err(refusal) => {
                self.refuse(now, id, refusal);
                // The new session is the line's now, under the name that it gave.
                if let Some(stream) = resume.stream {
                    self.open_stream(now, id, stream);
                }
            }
        }
    }

    fn rebind(&mut self, now: Time, id: ConnectionId, client: ClientId, resume: Resume) {
        let before = self.connections[&id].stage.clone();
        let crossed = before.client().is_some();
        if before.client() != Some(&client) {
            self.sessions.attach(&client, now);
            match before {
                Stage::Waiting { .. } | Stage::Muted { .. } => {}
                Stage::Greeted { client: greeted, .. } | Stage::Settled { client: greeted, made_here: true } => {
                    self.forget(now, &greeted)
                }
                Stage::Settled { client: earlier, made_here: false } => self.leave(now, &earlier),
            }
        }
        self.totals.resumed += 1;
        if self.config.offer {
            self.answer_resume(id, &client, &resume);
        }
        // Who shows a replaced token has missed the rotation, and would be refused next time.
        let newest = self.sessions.session(&client).and_then(|session| session.token());
        let missed_rotation = newest.is_some_and(|newest| newest.reveal() != resume.token);
        if missed_rotation || (crossed && self.config.confirm) {
            self.renew_session(now, id, &client);
        }
        self.settle(id, client, false);
    }

    fn refuse(&mut self, now: Time, id: ConnectionId, refusal: Refusal) {
        self.totals.refused += 1;
        if self.config.offer {
            self.say(id, &Said::SessionRefused { reason: refusal.as_str() });
        }
        // Said again to who was greeted already: a client that hears the refusal clears what it holds.
        match self.connections[&id].stage.client().cloned() {
            Some(client) => {
                self.begin_session(now, id, &client);
                self.settle_as_new(now, id);
            }
            None => self.settle_as_new(now, id),
        }
    }

    /// Makes a session for the connection and tells it.
    fn greet(&mut self, now: Time, id: ConnectionId) -> ClientId {
        let client = self.sessions.create(now, &self.config);
        self.sessions.attach(&client, now);
        self.begin_session(now, id, &client);
        client
    }

    /// Ends the wait for a resume, if there is one.
    fn settle_as_new(&mut self, now: Time, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if let Some((client, resume)) = connection.line.take_late_resume() {
            return self.rebind(now, id, client, resume);
        }
        let client = match &connection.stage {
            Stage::Waiting { .. } => self.greet(now, id),
            Stage::Greeted { client, .. } => client.clone(),
            Stage::Settled { .. } | Stage::Muted { .. } => return,
        };
        self.settle(id, client, true);
    }

    /// Makes the connection a part of the world: the others hear of it, and it hears of them.
    fn settle(&mut self, id: ConnectionId, client: ClientId, made_here: bool) {
        self.enter(id, Stage::Settled { client: client.clone(), made_here });
        let Some(session) = self.sessions.session_mut(&client) else {
            return;
        };
        let before = std::mem::replace(&mut session.presence, Presence::Here);
        if before == Presence::Absent {
            let joined = Said::PlayerJoined(Player::from(&*session)).text();
            self.publish(&Audience::Others(&client), &joined);
        }
        if self.config.snapshot {
            let agents = if self.config.agents { Some(self.agents.roster()) } else { None };
            let agents = agents.as_deref().unwrap_or(RawValue::NULL);
            let present = |presence| presence != Presence::Absent;
            let players = self.sessions.iter().filter(|s| present(s.presence)).map(Player::from).collect();
            let text = Said::WorldState { players, agents, chat: &self.said, you: &client }.text();
            self.effects.push(Effect::Send { to: id, message: Message::Text(text) });
        }
        if let Some(so_far) = self.answers.so_far(&client) {
            self.effects.push(Effect::Send { to: id, message: Message::Text(so_far) });
        }
    }

    /// One connection less for the client; without any, its grace period begins.
    fn leave(&mut self, now: Time, client: &ClientId) {
        self.rearm = true;
        if !self.sessions.detach(client, now) {
            return;
        }
        let at = now.plus(self.config.grace_ms);
        if let Some(session) = self.sessions.session_mut(client)
            && session.presence == Presence::Here
        {
            session.presence = Presence::Leaving(at);
        }
    }

    /// Undoes a session that was made for a connection whose resume came late.
    fn forget(&mut self, now: Time, client: &ClientId) {
        if self.sessions.detach(client, now) {
            self.announce_left(client);
            self.sessions.forget(client);
        }
    }

    fn announce_left(&mut self, client: &ClientId) {
        let Some(session) = self.sessions.session_mut(client) else {
            return;
        };
        if std::mem::replace(&mut session.presence, Presence::Absent) == Presence::Absent {
            return;
        }
        // Without a token nobody can come back to it.
        if session.token().is_none() {
            self.sessions.forget(client);
        }
        let left = Said::PlayerLeft { id: client }.text();
        self.publish(&Audience::Others(client), &left);
    }

    fn rotate_one(&mut self, now: Time, client: &ClientId) {
        self.rearm = true;
        self.sessions.issue(client, now);
        for id in self.targets(&Target::Client(client.clone())) {
            self.renew_session(now, id, client);
        }
    }

    /// Who is due for a new token, and when.
    fn rotations(&self) -> impl Iterator<Item = (Time, ClientId)> {
        let every = self.config.rotate_every_ms;
        let connected = if every == 0 { None } else { Some(self.connected()) };
        connected.into_iter().flatten().filter_map(move |client| {
            let since = self.sessions.session(client)?.token_since()?;
            Some((since.plus(every.max(SHORTEST_PAUSE_MS)), client.clone()))
        })
    }

    fn chat(&mut self, now: Time, id: ConnectionId, text: &RawValue) {
        self.sayings += 1;
        // Unlike any that was given before a restart, and still a whole number in JavaScript.
        let number = now.0 * 1000 + self.sayings % 1000;
        let Some(session) = self.session_of(id) else {
            return;
        };
        let said = Said::ChatMessage { id: number, text, sender: &session.name, sender_id: &session.id, at: now.0 };
        let (said, client) = (said.text(), session.id.clone());
        if said.len() <= MEMORABLE
            && let Ok(kept) = RawValue::from_string(said.as_str().to_owned())
        {
            if self.said.len() == REMEMBERED {
                self.said.pop_front();
            }
            self.said.push_back(kept);
        }
        let audience = if self.config.echo { Audience::Everyone } else { Audience::Others(&client) };
        self.publish(&audience, &said);
    }

    fn step(&mut self, id: ConnectionId, step: Step) {
        let Some(client) = self.client_of(id) else {
            return;
        };
        let Some(session) = self.sessions.session_mut(&client) else {
            return;
        };
        session.place = step.from(session.place);
        let moved = Said::PlayerMoved { id: &client, place: session.place }.text();
        self.tell(&Audience::Others(&client), &moved);
    }

    fn profile(&mut self, id: ConnectionId, name: Option<String>, color: Option<String>) {
        let Some(client) = self.client_of(id) else {
            return;
        };
        self.sessions.touch(&client);
        let Some(session) = self.sessions.session_mut(&client) else {
            return;
        };
        if let Some(name) = name {
            session.name = name;
        }
        if let Some(color) = color {
            session.color = color;
        }
        let updated = Said::PlayerUpdated { id: &client, name: &session.name, color: &session.color }.text();
        self.publish(&Audience::Others(&client), &updated);
    }

    fn ping(&mut self, id: ConnectionId, n: Option<&RawValue>) {
        if self.config.offer {
            self.acknowledge(id);
            self.say(id, &Said::Pong { n });
        }
    }

    fn ask(&mut self, now: Time, id: ConnectionId, question: String, text: &str) {
        let Some(client) = self.client_of(id) else {
            return;
        };
        self.rearm = true;
        for word in self.answers.ask(now, &client, question, text) {
            self.effects.push(Effect::Send { to: id, message: Message::Text(word) });
        }
    }

    fn ask_stop(&mut self, id: ConnectionId, question: &str) {
        let end = self.client_of(id).and_then(|client| self.answers.stop(&client, question));
        self.rearm = true;
        self.effects.extend(end.map(|word| Effect::Send { to: id, message: Message::Text(word) }));
    }

    fn relay(&mut self, id: ConnectionId, text: &str) {
        if let Some(client) = self.client_of(id) {
            let text = relayed(&unnumbered(text), &client);
            self.publish(&Audience::Others(&client), &text);
        }
    }

    fn say(&mut self, to: ConnectionId, said: &Said) {
        self.effects.push(Effect::Send { to, message: Message::Text(said.text()) });
    }

    fn begin_session(&mut self, now: Time, to: ConnectionId, client: &ClientId) {
        let offered = self.connections.get(&to).is_some_and(|connection| connection.line.offered());
        let newest = self.sessions.session(client).map(|session| session.delivery.feed.newest());
        self.say_session(now, to, client, newest.filter(|_| offered));
    }

    /// Says the newest token: it is the same session, and its feed goes on.
    fn renew_session(&mut self, now: Time, to: ConnectionId, client: &ClientId) {
        self.say_session(now, to, client, None);
    }

    fn say_session(&mut self, now: Time, to: ConnectionId, client: &ClientId, seq: Option<u64>) {
        let token = |sessions: &Sessions| sessions.session(client)?.token().cloned();
        let token = token(&self.sessions).or_else(|| {
            self.sessions.issue(client, now);
            token(&self.sessions)
        });
        if let Some(token) = token {
            self.say(to, &Said::SessionInit { token: token.reveal(), client_id: client, seq });
        }
    }

    /// Tells what is of the moment.
    fn tell(&mut self, audience: &Audience, text: &Utf8Bytes) {
        for (id, connection) in &self.connections {
            let hears = connection.hears().is_some_and(|client| audience.has(client));
            if hears {
                self.effects.push(Effect::Send { to: *id, message: Message::Text(text.clone()) });
            }
        }
    }

    fn enter(&mut self, id: ConnectionId, stage: Stage) {
        self.rearm = true;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stage = stage;
        }
    }

    fn connected(&self) -> impl Iterator<Item = &ClientId> {
        self.sessions.iter().filter(|session| session.connections > 0).map(|session| &session.id)
    }

    fn client_of(&self, id: ConnectionId) -> Option<ClientId> {
        self.connections.get(&id)?.stage.client().cloned()
    }

    fn session_of(&self, id: ConnectionId) -> Option<&Session> {
        self.sessions.session(self.connections.get(&id)?.stage.client()?)
    }
}

enum Audience<'a> {
    Everyone,
    Others(&'a ClientId),
    Only(&'a ClientId),
}

impl Audience<'_> {
    fn has(&self, client: &ClientId) -> bool {
        match self {
            Self::Everyone => true,
            Self::Others(than) => client != *than,
            Self::Only(one) => client == *one,
        }
    }
}

const SHORTEST_PAUSE_MS: u64 = 10;

fn agent_pause(config: &Config) -> u64 {
    config.agent_every_ms.max(SHORTEST_PAUSE_MS)
}

#[cfg(test)]
mod tests;
