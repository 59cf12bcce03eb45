//! What the controls do to the cable's server, and what they show of it. How a request is read is cable.rs.

use axum::extract::ws::{CloseFrame, Message};
use serde::Serialize;

use super::{Connection, ConnectionId, Phase, Server, Subscription, short};
use crate::cable::broker::Broker;
use crate::cable::conduct::Conduct;
use crate::cable::talks::Talks;
use crate::cable::wire::Dialect;
use crate::journal::Journal;
use crate::outlet::End;
use crate::sessions::ClientId;

impl Server {
    /// Disconnects these clients. Without a code it is the one that goes with the reason.
    pub fn dismiss(&mut self, client: Option<&str>, farewell: &Farewell) -> usize {
        let ids = self.chosen(client);
        for id in &ids {
            let ext = self.connections.get(id).is_some_and(|connection| connection.dialect == Dialect::Ext);
            let restart = farewell.reason.as_deref() == Some("server_restart");
            let code = farewell.code.unwrap_or(if ext && restart { 1001 } else { 1000 });
            if farewell.frame {
                self.disconnect(*id, farewell.reason.as_deref(), farewell.reconnect, code);
            } else if let Some(connection) = self.connections.get_mut(id) {
                connection.phase = Phase::Leaving;
                connection.outlet.end(End::Close(CloseFrame { code, reason: "".into() }));
            }
        }
        ids.len()
    }

    /// The sockets of these clients end, and nothing is said.
    pub fn kill(&mut self, client: Option<&str>) -> usize {
        let ids = self.chosen(client);
        for connection in ids.iter().filter_map(|id| self.connections.get(id)) {
            connection.outlet.end(End::Abort);
        }
        ids.len()
    }

    /// Lets nobody in any more, for a time or until `up`.
    pub fn go_down(&mut self, ms: Option<u64>) {
        self.downs += 1;
        self.down = Some(self.downs);
        self.due.extend(ms.map(|ms| (ms, super::Job::Up(self.downs))));
    }

    pub fn up(&mut self) {
        self.down = None;
    }

    /// Forgets what could be resumed: the sessions so far, what was broadcast, or the whole broker.
    pub fn forget(&mut self, sessions: bool, history: bool, epoch: bool) {
        if sessions {
            self.parked.clear();
            self.connections.values_mut().for_each(|connection| connection.resumable = false);
        }
        if history {
            self.broker.forget();
        }
        if epoch {
            self.broker = Broker::new(short(&mut self.entropy));
        }
    }

    /// A frame to the letter.
    pub fn send(&self, client: Option<&str>, message: &Message) -> usize {
        let ids = self.chosen(client);
        ids.iter().for_each(|id| self.push(*id, message.clone()));
        ids.len()
    }

    /// As at the start; whoever is connected is cut off.
    pub fn reset(&mut self) {
        self.kill(None);
        self.forget(true, true, true);
        self.conduct = Conduct::default();
        self.talks = Talks::default();
        self.journal = Journal::default();
        self.down = None;
        self.time_pings();
    }

    pub fn report(&self) -> Report<'_> {
        let connections = self.connections.iter().map(|(id, connection)| ConnectionReport {
            id: *id,
            client: &connection.client,
            extended: connection.dialect == Dialect::Ext,
            welcomed: matches!(connection.phase, Phase::Open),
            sid: connection.sid.as_deref(),
            received: connection.heard,
            subscriptions: connection.subscriptions.iter().map(SubscriptionReport::of).collect(),
        });
        Report {
            connections: connections.collect(),
            opened: self.opened,
            parked: self.parked.len(),
            epoch: self.broker.epoch(),
            down: self.is_down(),
            conduct: &self.conduct,
        }
    }

    fn chosen(&self, client: Option<&str>) -> Vec<ConnectionId> {
        let wanted = |connection: &Connection| client.is_none_or(|client| &*connection.client == client);
        self.connections.iter().filter(|(_, connection)| wanted(connection)).map(|(id, _)| *id).collect()
    }
}

/// How clients are disconnected.
pub struct Farewell {
    /// Whether it is announced by a `disconnect` frame.
    pub frame: bool,
    pub reason: Option<String>,
    pub reconnect: Option<bool>,
    pub code: Option<u16>,
}

#[derive(Serialize)]
pub struct Report<'a> {
    connections: Vec<ConnectionReport<'a>>,
    /// How many there ever were.
    opened: u64,
    parked: usize,
    epoch: &'a str,
    down: bool,
    conduct: &'a Conduct,
}

#[derive(Serialize)]
struct ConnectionReport<'a> {
    id: ConnectionId,
    client: &'a ClientId,
    extended: bool,
    welcomed: bool,
    sid: Option<&'a str>,
    received: u64,
    subscriptions: Vec<SubscriptionReport<'a>>,
}

#[derive(Serialize)]
struct SubscriptionReport<'a> {
    identifier: &'a str,
    streams: &'a [String],
    confirmed: bool,
}

impl<'a> SubscriptionReport<'a> {
    fn of(subscription: &'a Subscription) -> Self {
        let Subscription { identifier, streams, confirmed, .. } = subscription;
        Self { identifier, streams, confirmed: *confirmed }
    }
}
