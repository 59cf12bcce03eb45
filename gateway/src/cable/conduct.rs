//! How the cable behaves, faults included: one set for the server, which a connection's query may change for itself.
//! What the behaviour does is the server's.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::query::Query;

/// The cable's conduct. Every duration is in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conduct {
    pub connect: Connect,
    /// The only `?token=` that is let in; `null` lets everyone in but `bad` and `expired`.
    pub token: Option<String>,
    /// Whether a client without an Origin is refused too.
    pub strict_origin: bool,
    /// Whether the extension is spoken with those who offer it.
    pub extension: bool,
    /// How late the welcome comes.
    pub welcome_ms: u64,
    pub pings: bool,
    /// One timer for the whole server, save for connections that chose `pi` in the extension.
    pub ping_ms: u64,
    /// How soon a connection of the extension has to answer a ping; 0 is never.
    pub pong_timeout_ms: u64,
    pub commands: Order,
    /// How many commands are reordered together; fewer are when the window ends.
    pub batch: usize,
    pub window_ms: u64,
    pub broadcasts: Order,
    /// How long a broadcast waits for the one that overtakes it.
    pub hold_ms: u64,
    /// How late a confirmation comes. Performs are served meanwhile.
    pub confirm_ms: u64,
    /// So many subscribes of each connection are lost, as in a race with an unsubscribe: no confirmation, and no
    /// subscription.
    pub lose_subscribes: u64,
    /// How late an unsubscribe takes effect.
    pub unsubscribe_ms: u64,
    /// How long a channel that switched its stream hears nothing of the new one.
    pub switch_gap_ms: u64,
    pub broker: Broker,
    /// How long a lost connection of the extension can be restored.
    pub session_ms: u64,
    pub history_ms: u64,
    pub history_limit: usize,
    /// How long a member of a lost connection stays present.
    pub presence_ms: u64,
    /// Whether each broadcast with a position is delivered twice.
    pub repeat: bool,
}

/// What the application says to a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Connect {
    Accept,
    /// `unauthorized`, and the close.
    Reject,
    /// It raises: no welcome, no ping, no close, and commands are swallowed.
    Raise,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    Kept,
    /// Each pair changes places.
    Swap,
    /// The last of a batch comes first; for broadcasts the same as `swap`.
    Reverse,
}

/// Who gets positions, session ids and histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Broker {
    Off,
    /// Connections of the extension.
    Ext,
    /// Plain connections too get positions and a session id; the commands stay the extension's.
    All,
}

impl Default for Conduct {
    fn default() -> Self {
        Self {
            connect: Connect::Accept,
            token: None,
            strict_origin: false,
            extension: true,
            welcome_ms: 0,
            pings: true,
            ping_ms: 3_000,
            pong_timeout_ms: 0,
            commands: Order::Kept,
            batch: 2,
            window_ms: 50,
            broadcasts: Order::Kept,
            hold_ms: 100,
            confirm_ms: 0,
            lose_subscribes: 0,
            unsubscribe_ms: 0,
            switch_gap_ms: 0,
            broker: Broker::Ext,
            session_ms: 300_000,
            history_ms: 300_000,
            history_limit: 100,
            presence_ms: 15_000,
            repeat: false,
        }
    }
}

impl Conduct {
    /// Takes over what the change names and leaves the rest.
    pub fn apply(&mut self, change: Change) {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut self.connect, change.connect);
        set(&mut self.token, change.token);
        set(&mut self.strict_origin, change.strict_origin);
        set(&mut self.extension, change.extension);
        set(&mut self.welcome_ms, change.welcome_ms);
        set(&mut self.pings, change.pings);
        set(&mut self.ping_ms, change.ping_ms.map(|ms| ms.max(LEAST_PING_MS)));
        set(&mut self.pong_timeout_ms, change.pong_timeout_ms);
        set(&mut self.commands, change.commands);
        set(&mut self.batch, change.batch.map(|count| count.clamp(1, MAX_BATCH)));
        set(&mut self.window_ms, change.window_ms);
        set(&mut self.broadcasts, change.broadcasts);
        set(&mut self.hold_ms, change.hold_ms);
        set(&mut self.confirm_ms, change.confirm_ms);
        set(&mut self.lose_subscribes, change.lose_subscribes);
        set(&mut self.unsubscribe_ms, change.unsubscribe_ms);
        set(&mut self.switch_gap_ms, change.switch_gap_ms);
        set(&mut self.broker, change.broker);
        set(&mut self.session_ms, change.session_ms);
        set(&mut self.history_ms, change.history_ms);
        set(&mut self.history_limit, change.history_limit.map(|count| count.min(MAX_HISTORY)));
        set(&mut self.presence_ms, change.presence_ms);
        set(&mut self.repeat, change.repeat);
    }

    /// The conduct towards a connection with this query: what it names by the same words is changed for it alone.
    pub fn with_query(&self, query: &Query) -> Self {
        let mut own = self.clone();
        for (name, value) in query.pairs() {
            // A value that fits no behaviour is the application's own.
            let one = Value::Object(Map::from_iter([(name.to_owned(), guessed(value))]));
            if name != "token"
                && let Ok(change) = serde_json::from_value::<Change>(one)
            {
                own.apply(change);
            }
        }
        match (query.get("token"), &self.token) {
            (Some("boom"), _) => own.connect = Connect::Raise,
            (given, Some(token)) if given != Some(token) => own.connect = Connect::Reject,
            (Some("bad" | "expired"), None) => own.connect = Connect::Reject,
            _ => {}
        }
        own
    }
}

const LEAST_PING_MS: u64 = 10;
const MAX_BATCH: usize = 64;
const MAX_HISTORY: usize = 1_000;

/// A change of conduct, as the control endpoint takes it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Change {
    connect: Option<Connect>,
    /// `null` is a wish too: everyone is let in.
    #[serde(default, deserialize_with = "wished")]
    token: Option<Option<String>>,
    strict_origin: Option<bool>,
    extension: Option<bool>,
    welcome_ms: Option<u64>,
    pings: Option<bool>,
    ping_ms: Option<u64>,
    pong_timeout_ms: Option<u64>,
    commands: Option<Order>,
    batch: Option<usize>,
    window_ms: Option<u64>,
    broadcasts: Option<Order>,
    hold_ms: Option<u64>,
    confirm_ms: Option<u64>,
    lose_subscribes: Option<u64>,
    unsubscribe_ms: Option<u64>,
    switch_gap_ms: Option<u64>,
    broker: Option<Broker>,
    session_ms: Option<u64>,
    history_ms: Option<u64>,
    history_limit: Option<usize>,
    presence_ms: Option<u64>,
    repeat: Option<bool>,
}

fn wished<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// A query's value as JSON, where it is a number or a truth value.
fn guessed(value: &str) -> Value {
    match value {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => value.parse::<u64>().map_or_else(|_| Value::from(value), Value::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(query: &str) -> Conduct {
        Conduct::default().with_query(&Query::read(Some(query)))
    }

    #[test]
    fn a_query_changes_the_conduct_for_its_connection() {
        let conduct = own("commands=swap&welcomeMs=20&pings=false&broker=off&user=7&x");
        assert_eq!((conduct.commands, conduct.welcome_ms, conduct.pings), (Order::Swap, 20, false));
        assert_eq!(conduct.broker, Broker::Off);
        assert_eq!(own("user=7&commands=sideways&welcomeMs=soon"), Conduct::default());
    }

    #[test]
    fn tokens_are_judged_by_what_the_server_wants() {
        assert_eq!(own("token=anything").connect, Connect::Accept);
        assert_eq!(own("token=bad").connect, Connect::Reject);
        assert_eq!(own("token=boom").connect, Connect::Raise);
        let strict = Conduct { token: Some("a b".to_owned()), ..Conduct::default() };
        let connect = |query| strict.with_query(&Query::read(query)).connect;
        assert_eq!(connect(Some("token=a%20b")), Connect::Accept);
        assert_eq!(connect(Some("token=a+b")), Connect::Accept);
        assert_eq!(connect(Some("token=other")), Connect::Reject);
        assert_eq!(connect(None), Connect::Reject);
    }
}
