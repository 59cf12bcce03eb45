//! The server's end: a Nexus gateway reduced to what a client can notice. It is written from the protocol page and shares
//! nothing with the client. It knows no time and no link.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// When a connection that has not presented a token hears who it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Greet {
    AtOnce,
    /// It gives the client so many milliseconds to present a token.
    After(u64),
    /// It never says a word of its own accord.
    Never,
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
    /// Token → the client that it stands for.
    pub sessions: BTreeMap<String, String>,
    /// Every application frame that came, with the client it came from, in order.
    pub received: Vec<(String, String)>,
    /// Who is on the line.
    pub connections: BTreeMap<u32, Connection>,
    /// How many sessions it has begun.
    pub issued: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Connection {
    client: Option<String>,
    token: Option<String>,
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
            sessions: BTreeMap::new(),
            received: Vec::new(),
            connections: BTreeMap::new(),
            issued: 0,
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

    pub fn accept(&mut self, connection: u32) -> Vec<String> {
        self.connections.insert(connection, Connection::default());
        let mut words = Vec::new();
        if self.offers {
            words.push(json!({"type": "gateway-offer", "ping": true}));
        }
        if self.greet == Greet::AtOnce {
            self.enrol(connection, &mut words);
        }
        texts(&words)
    }

    /// The wait for a token is over.
    pub fn waited(&mut self, connection: u32) -> Vec<String> {
        let mut words = Vec::new();
        let settled = self.connections.get(&connection);
        if settled.is_some_and(|connection| connection.client.is_none()) {
            self.enrol(connection, &mut words);
        }
        texts(&words)
    }

    pub fn read(&mut self, connection: u32, text: &str) -> Vec<String> {
        let frame: Value = serde_json::from_str(text).expect("a client sends JSON");
        let Some(known) = self.connections.get(&connection) else {
            return Vec::new();
        };
        let client = known.client.clone();
        let mut words = Vec::new();
        match frame["type"].as_str() {
            Some("session-resume") => {
                self.resume(connection, frame["token"].as_str(), &mut words);
            }
            Some("ping") if self.answers_probes => {
                words.push(json!({"type": "pong", "n": frame["n"]}));
            }
            Some("ping") => {}
            _ => {
                let sender = client.unwrap_or_else(|| "nobody".into());
                if self.echoes {
                    words.push(json!({"type": "chat-message", "text": frame["text"], "senderId": sender}));
                }
                self.received.push((sender, text.into()));
            }
        }
        texts(&words)
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

    fn resume(&mut self, connection: u32, token: Option<&str>, words: &mut Vec<Value>) {
        let token = token.expect("a resume carries a token");
        let Some(kept) = self.sessions.get(token).cloned() else {
            if self.offers {
                words.push(json!({"type": "session-refused", "reason": "unknown"}));
            }
            self.enrol(connection, words);
            return;
        };
        let greeted = self.connections.get(&connection).and_then(|c| c.token.clone());
        if let Some(eager) = &greeted {
            self.sessions.remove(eager);
        }
        if greeted.is_some() && self.confirms {
            words.push(json!({"type": "session-init", "token": token, "clientId": kept}));
        }
        if self.offers {
            words.push(json!({"type": "session-resumed", "clientId": kept}));
        }
        if self.snapshots {
            words.push(json!({"type": "world_state", "you": kept}));
        }
        let now = Connection { client: Some(kept), token: Some(token.into()) };
        self.connections.insert(connection, now);
    }

    fn enrol(&mut self, connection: u32, words: &mut Vec<Value>) {
        self.issued += 1;
        let (token, client) = (format!("t{}", self.issued), format!("c{}", self.issued));
        words.push(json!({"type": "session-init", "token": token, "clientId": client}));
        if self.snapshots {
            words.push(json!({"type": "world_state", "you": client}));
        }
        self.sessions.insert(token.clone(), client.clone());
        let now = Connection { client: Some(client), token: Some(token) };
        self.connections.insert(connection, now);
    }
}

fn texts(words: &[Value]) -> Vec<String> {
    words.iter().map(Value::to_string).collect()
}
