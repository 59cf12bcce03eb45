//! Sessions and their tokens: who is known, and for how long. Pure; time is a number that comes in.
//! Who hears of a session's coming and going is world.rs; what outlives the process is memory.rs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::delivery::Delivery;
use crate::memory::Dirt;

/// Milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// A client's name towards the others; it outlives sockets and tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(Arc<str>);

impl From<&str> for ClientId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl Deref for ClientId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client shows to be known again. It is written to its owner and to the session file, nowhere else.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(Arc<str>);

impl Token {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where a client stands in the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub x: f64,
    pub z: f64,
    pub ry: f64,
}

/// One client, with or without a connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    pub id: ClientId,
    pub name: String,
    pub color: String,
    pub place: Place,
    #[serde(default)]
    pub delivery: Delivery,
    /// The newest last.
    tokens: Vec<Issued>,
    seen: Time,
    /// How many connections speak for it: more than one while a dead socket is not yet known to be dead.
    #[serde(skip)]
    pub connections: usize,
    #[serde(skip)]
    pub presence: Presence,
}

/// What the others believe about a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    #[default]
    Absent,
    Here,
    /// Without a connection; the others are told at the given time, unless it comes back.
    Leaving(Time),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Issued {
    token: Token,
    at: Time,
    /// When a newer token took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retired: Option<Time>,
}

impl Issued {
    fn ends(&self, config: &Config) -> Time {
        let life = self.at.plus(config.session_life_ms);
        match self.retired {
            Some(retired) => life.min(retired.plus(config.grace_ms)),
            None => life,
        }
    }
}

impl Session {
    /// The token that a client should hold; none when all were declared unknown.
    pub fn token(&self) -> Option<&Token> {
        self.tokens.last().map(|issued| &issued.token)
    }

    /// When its token was given out.
    pub fn token_since(&self) -> Option<Time> {
        self.tokens.last().map(|issued| issued.at)
    }
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Unknown,
    Expired,
}

impl Refusal {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Expired => "expired",
        }
    }
}

/// Where random bytes come from: the system's source in earnest, a counter in tests.
pub type Entropy = Box<dyn FnMut() -> [u8; 16] + Send>;

/// Every session that the gateway knows, at most `MAX_SESSIONS`.
pub struct Sessions {
    /// What names this memory: under another name nothing of it is known.
    epoch: String,
    known: BTreeMap<ClientId, Session>,
    tokens: HashMap<Token, ClientId>,
    entropy: Entropy,
    dirt: Dirt,
}

pub const MAX_SESSIONS: usize = 4_096;
const MAX_TOKENS_EACH: usize = 8;

impl Sessions {
    pub fn new(mut entropy: Entropy, kept: Vec<Session>) -> Self {
        let epoch = hex(&entropy()[..8]);
        let mut sessions = Self { epoch, known: BTreeMap::new(), tokens: HashMap::new(), entropy, dirt: Dirt::None };
        for session in kept.into_iter().take(MAX_SESSIONS) {
            for issued in &session.tokens {
                sessions.tokens.insert(issued.token.clone(), session.id.clone());
            }
            sessions.known.insert(session.id.clone(), session);
        }
        sessions
    }

    /// The same under a name that was given before.
    pub fn in_epoch(mut self, epoch: Option<String>) -> Self {
        self.epoch = epoch.unwrap_or(self.epoch);
        self
    }

    /// A session for a client that nobody knows. The one longest unseen makes room for it.
    pub fn create(&mut self, now: Time, config: &Config) -> ClientId {
        self.make_room(now, config);
        let number = hex(&(self.entropy)()[..6]);
        let id = ClientId(format!("c-{number}").into());
        let hue = number.bytes().fold(0_u32, |sum, byte| (sum * 31 + u32::from(byte)) % 360);
        let session = Session {
            id: id.clone(),
            name: format!("visitor-{}", &number[..4]),
            color: format!("hsl({hue} 70% 55%)"),
            place: Place::default(),
            delivery: Delivery::default(),
            tokens: Vec::new(),
            seen: now,
            connections: 0,
            presence: Presence::Absent,
        };
        self.known.insert(id.clone(), session);
        self.issue(&id, now);
        id
    }

    /// Gives the session a new token; the one before stays good for a grace period.
    pub fn issue(&mut self, id: &ClientId, now: Time) {
        let token = Token(hex(&(self.entropy)()).into());
        let Some(session) = self.known.get_mut(id) else {
            return;
        };
        if let Some(before) = session.tokens.last_mut() {
            before.retired = Some(now);
        }
        session.tokens.push(Issued { token: token.clone(), at: now, retired: None });
        // Those that ended stay a while, to be refused as expired and not as unknown.
        let overdue = session.tokens.len().saturating_sub(MAX_TOKENS_EACH);
        for issued in session.tokens.drain(..overdue) {
            self.tokens.remove(&issued.token);
        }
        self.tokens.insert(token, id.clone());
        self.touch(id);
    }

    /// Whose token this is, if it is still good.
    pub fn recognise(&self, token: &str, now: Time, config: &Config) -> Result<ClientId, Refusal> {
        let token = Token(token.into());
        let Some(session) = self.tokens.get(&token).and_then(|id| self.known.get(id)) else {
            return Err(Refusal::Unknown);
        };
        match session.tokens.iter().find(|issued| issued.token == token) {
            Some(issued) if now < issued.ends(config) => Ok(session.id.clone()),
            _ => Err(Refusal::Expired),
        }
    }

    /// Declares every token unknown. Who is connected stays who they are.
    pub fn expire_tokens(&mut self) {
        self.tokens.clear();
        for session in self.known.values_mut() {
            session.tokens.clear();
        }
        self.dirt = Dirt::All;
    }

    pub fn forget(&mut self, id: &ClientId) {
        if let Some(session) = self.known.remove(id) {
            for issued in &session.tokens {
                self.tokens.remove(&issued.token);
            }
            self.touch(id);
        }
    }

    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Every session is known, and nothing of what was sent in it.
    pub fn begin_epoch(&mut self) {
        self.epoch = hex(&(self.entropy)()[..8]);
        for session in self.known.values_mut() {
            session.delivery.begin_again();
        }
        self.dirt = Dirt::All;
    }

    pub fn clear(&mut self) {
        self.known.clear();
        self.tokens.clear();
        self.begin_epoch();
    }

    /// One more connection speaks for the session.
    pub fn attach(&mut self, id: &ClientId, now: Time) {
        if let Some(session) = self.known.get_mut(id) {
            session.connections += 1;
            session.seen = now;
        }
    }

    /// One connection less; tells whether it was the last.
    pub fn detach(&mut self, id: &ClientId, now: Time) -> bool {
        let Some(session) = self.known.get_mut(id) else {
            return false;
        };
        session.connections = session.connections.saturating_sub(1);
        session.seen = now;
        session.connections == 0
    }

    pub fn session(&self, id: &ClientId) -> Option<&Session> {
        self.known.get(id)
    }

    pub fn session_mut(&mut self, id: &ClientId) -> Option<&mut Session> {
        self.known.get_mut(id)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.known.values_mut()
    }

    /// In the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.known.values()
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Notes a change that is worth keeping.
    pub fn touch(&mut self, id: &ClientId) {
        match &mut self.dirt {
            Dirt::None => self.dirt = Dirt::Some(BTreeSet::from([id.clone()])),
            Dirt::Some(ids) => {
                ids.insert(id.clone());
            }
            Dirt::All => {}
        }
    }

    /// What changed and is worth keeping, since the last question.
    pub fn take_dirt(&mut self) -> Dirt {
        std::mem::take(&mut self.dirt)
    }

    fn make_room(&mut self, now: Time, config: &Config) {
        if self.known.len() < MAX_SESSIONS {
            return;
        }
        let idle = |session: &&Session| session.connections == 0 && session.presence == Presence::Absent;
        let spent = |session: &&Session| session.tokens.iter().all(|issued| issued.ends(config) <= now);
        let mut leaving: Vec<ClientId> =
            self.known.values().filter(idle).filter(spent).map(|session| session.id.clone()).collect();
        if leaving.is_empty() {
            let oldest = self.known.values().filter(idle).min_by_key(|session| session.seen);
            leaving.extend(oldest.map(|session| session.id.clone()));
        }
        for id in leaving {
            self.forget(&id);
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Sessions {
        let mut count = 0_u128;
        let entropy = move || {
            count += 1;
            count.to_le_bytes()
        };
        Sessions::new(Box::new(entropy), Vec::new())
    }

    fn token(sessions: &Sessions, id: &ClientId) -> String {
        sessions.session(id).unwrap().token().unwrap().reveal().to_owned()
    }

    #[test]
    fn a_token_ends_when_its_life_is_over() {
        let config = Config { session_life_ms: 100, ..Config::default() };
        let mut sessions = sessions();
        let id = sessions.create(Time(1_000), &config);
        let token = token(&sessions, &id);
        assert_eq!(sessions.recognise(&token, Time(1_099), &config), Ok(id));
        assert_eq!(sessions.recognise(&token, Time(1_100), &config), Err(Refusal::Expired));
        assert_eq!(sessions.recognise("", Time(0), &config), Err(Refusal::Unknown));
    }

    #[test]
    fn a_replaced_token_is_good_for_one_grace_period() {
        let config = Config { grace_ms: 50, ..Config::default() };
        let mut sessions = sessions();
        let id = sessions.create(Time(0), &config);
        let first = token(&sessions, &id);
        sessions.issue(&id, Time(10));
        let second = token(&sessions, &id);
        assert_ne!(first, second);
        assert_eq!(sessions.recognise(&first, Time(59), &config), Ok(id.clone()));
        assert_eq!(sessions.recognise(&first, Time(60), &config), Err(Refusal::Expired));
        assert_eq!(sessions.recognise(&second, Time(60), &config), Ok(id));
    }

    #[test]
    fn tokens_do_not_pile_up_under_constant_rotation() {
        let config = Config::default();
        let mut sessions = sessions();
        let id = sessions.create(Time(0), &config);
        for at in 1..1_000 {
            sessions.issue(&id, Time(at));
        }
        assert!(sessions.tokens.len() <= MAX_TOKENS_EACH);
    }

    #[test]
    fn the_session_longest_unseen_makes_room_and_a_connected_one_never_does() {
        let config = Config::default();
        let mut sessions = sessions();
        let connected = sessions.create(Time(0), &config);
        sessions.attach(&connected, Time(0));
        let oldest = sessions.create(Time(1), &config);
        for at in 2..=MAX_SESSIONS as u64 {
            sessions.create(Time(at), &config);
        }
        assert_eq!(sessions.len(), MAX_SESSIONS);
        assert!(sessions.session(&connected).is_some());
        assert!(sessions.session(&oldest).is_none());
    }

    #[test]
    fn a_kept_session_is_known_again_with_its_place_and_without_its_presence() {
        let config = Config::default();
        let mut before = sessions();
        let id = before.create(Time(0), &config);
        before.attach(&id, Time(0));
        let session = before.session_mut(&id).unwrap();
        session.presence = Presence::Here;
        session.place.x = 4.5;
        let text = serde_json::to_string(&before.session(&id)).unwrap();
        let after = Sessions::new(Box::new(|| [0; 16]), vec![serde_json::from_str(&text).unwrap()]);
        assert_eq!(after.recognise(&token(&before, &id), Time(1), &config), Ok(id.clone()));
        let session = after.session(&id).unwrap();
        assert_eq!((session.place.x, session.presence), (4.5, Presence::Absent));
    }

    #[test]
    fn a_token_does_not_show_in_debug_output() {
        let config = Config::default();
        let mut sessions = sessions();
        let id = sessions.create(Time(0), &config);
        let shown = format!("{:?}", sessions.session(&id).unwrap());
        assert!(!shown.contains(&token(&sessions, &id)));
    }
}
