//! The cable's server: connections, their subscriptions, and what becomes of each command. Every step is taken under one
//! lock; what has to happen later is asked for as a job. Sockets and timers are cable.rs.

/// What the controls do to a server, and what they show of it.
mod controls;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message};
use serde_json::value::RawValue;

use super::broker::{Broker, Kept, Reach};
use super::channels::{self, Beginning, Channel, Identifier, Wish};
use super::conduct::{self, Change, Conduct, Connect, Order};
use super::talks::Talks;
use super::wire::{self, Command, Dialect, Member, PresenceSaid, Read, Restored, Said, Wanted};
use crate::journal::{Content, Journal};
use crate::outlet::{End, Outlet};
use crate::query::Query;
use crate::sessions::{ClientId, Entropy, Time};

pub use self::controls::Farewell;

pub type ConnectionId = u64;

/// Something to do after so many milliseconds.
#[derive(Clone, Debug)]
pub enum Job {
    Welcome(ConnectionId),
    /// The batch's window is over.
    Batch(ConnectionId, u64),
    Confirm(ConnectionId, u64, Option<Wanted>),
    Unsubscribe(ConnectionId, u64),
    Streams(ConnectionId, u64, Vec<String>),
    /// A broadcast that nothing overtook is let go.
    Release(ConnectionId, u64),
    /// Everyone's ping, of this round.
    PingAll(u64),
    Ping(ConnectionId, u64),
    /// The connection has said nothing since it had said so much.
    NoPong(ConnectionId, u64),
    Run(u64),
    Leave,
    Up(u64),
}

/// What came with a request for a connection.
#[derive(Debug)]
pub struct Request {
    pub dialect: Dialect,
    pub query: Query,
    /// The session that it wants to go on with.
    pub restore: Option<String>,
}

pub struct Server {
    conduct: Conduct,
    connections: BTreeMap<ConnectionId, Connection>,
    opened: u64,
    serial: u64,
    broker: Broker,
    talks: Talks,
    parked: VecDeque<Parked>,
    journal: Journal,
    entropy: Entropy,
    pings: u64,
    /// How often it went down, while it is.
    down: Option<u64>,
    downs: u64,
    due: Vec<(u64, Job)>,
}

struct Connection {
    outlet: Arc<Outlet>,
    dialect: Dialect,
    query: Query,
    conduct: Conduct,
    client: ClientId,
    sid: Option<String>,
    /// Whether the session outlives the connection.
    resumable: bool,
    restore: Option<String>,
    phase: Phase,
    /// How many texts it said.
    heard: u64,
    /// No longer read, after a text that is not JSON: the extension's servers do so.
    deaf: bool,
    batch: Vec<Command>,
    batches: u64,
    subscriptions: Vec<Subscription>,
    held: Option<(u64, Message)>,
}

enum Phase {
    /// Commands that came before the welcome, and their bytes.
    Waiting(Vec<Command>, usize),
    Open,
    /// The application raised when it was asked to connect.
    Mute,
    /// Told to go.
    Leaving,
}

#[derive(Clone)]
struct Subscription {
    serial: u64,
    identifier: Identifier,
    channel: Channel,
    streams: Vec<String>,
    confirmed: bool,
    refusing: bool,
}

/// A connection of the extension that is lost, and may be restored.
struct Parked {
    sid: String,
    subscriptions: Vec<Subscription>,
    until: Time,
}

const MAX_PARKED: usize = 1_024;
const MAX_SUBSCRIPTIONS: usize = 1_000;
const MAX_IDENTIFIER: usize = 64 * 1024;
const MAX_WAITING: usize = 4_096;
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

impl Server {
    pub fn new(mut entropy: Entropy) -> Self {
        let epoch = short(&mut entropy);
        let mut server = Self {
            conduct: Conduct::default(),
            connections: BTreeMap::new(),
            opened: 0,
            serial: 0,
            broker: Broker::new(epoch),
            talks: Talks::default(),
            parked: VecDeque::new(),
            journal: Journal::default(),
            entropy,
            pings: 0,
            down: None,
            downs: 0,
            due: Vec::new(),
        };
        server.time_pings();
        server
    }

    pub fn take_due(&mut self) -> Vec<(u64, Job)> {
        std::mem::take(&mut self.due)
    }

    pub fn is_down(&self) -> bool {
        self.down.is_some()
    }

    pub fn conduct(&self) -> &Conduct {
        &self.conduct
    }

    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    pub fn configure(&mut self, change: Change) {
        let ping_ms = self.conduct.ping_ms;
        self.conduct.apply(change);
        for connection in self.connections.values_mut() {
            connection.conduct = self.conduct.with_query(&connection.query);
        }
        if self.conduct.ping_ms != ping_ms {
            self.time_pings();
        }
    }

    /// A new socket. None when the server went down meanwhile.
    pub fn joined(&mut self, now: Time, request: Request) -> Option<(ConnectionId, Arc<Outlet>)> {
        if self.is_down() {
            return None;
        }
        self.opened += 1;
        let id = self.opened;
        let outlet = Arc::new(Outlet::default());
        let conduct = self.conduct.with_query(&request.query);
        let client = request.query.get("client").filter(|name| name.len() <= 64);
        let connect = conduct.connect;
        let welcome_ms = conduct.welcome_ms;
        let connection = Connection {
            outlet: Arc::clone(&outlet),
            dialect: request.dialect,
            client: client.map_or_else(|| ClientId::from(id.to_string().as_str()), ClientId::from),
            query: request.query,
            conduct,
            sid: None,
            resumable: request.dialect == Dialect::Ext,
            restore: request.restore.filter(|sid| !sid.is_empty()),
            phase: Phase::Waiting(Vec::new(), 0),
            heard: 0,
            deaf: false,
            batch: Vec::new(),
            batches: 0,
            subscriptions: Vec::new(),
            held: None,
        };
        self.connections.insert(id, connection);
        match connect {
            Connect::Accept if welcome_ms == 0 => self.welcome(now, id),
            Connect::Accept => self.due.push((welcome_ms, Job::Welcome(id))),
            Connect::Reject => self.disconnect(id, Some("unauthorized"), Some(false), 1000),
            Connect::Raise => self.connections.get_mut(&id)?.phase = Phase::Mute,
        }
        Some((id, outlet))
    }

    /// The socket is gone.
    pub fn closed(&mut self, now: Time, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        let Some(sid) = connection.sid else {
            return;
        };
        let Conduct { presence_ms, session_ms, .. } = connection.conduct;
        self.broker.lose(&sid, now.plus(presence_ms));
        self.due.push((presence_ms.saturating_add(1), Job::Leave));
        if connection.resumable {
            let subscriptions = connection.subscriptions.into_iter().filter(|one| one.confirmed).collect();
            self.parked.push_back(Parked { sid, subscriptions, until: now.plus(session_ms) });
            self.parked.retain(|parked| parked.until >= now);
            while self.parked.len() > MAX_PARKED {
                self.parked.pop_front();
            }
        }
    }

    pub fn received(&mut self, now: Time, id: ConnectionId, text: &str) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        self.journal.note(Some(connection.client.clone()), Content::Text(text));
        connection.heard += 1;
        if connection.deaf {
            return;
        }
        let command = match wire::read(text, connection.dialect) {
            Read::Command(command) => command,
            Read::Nothing => return,
            Read::NotJson => {
                connection.deaf = connection.dialect == Dialect::Ext;
                return;
            }
        };
        match &mut connection.phase {
            Phase::Waiting(waiting, bytes) => {
                *bytes += text.len();
                waiting.push(command);
                if waiting.len() > MAX_WAITING || *bytes > MAX_WAITING_BYTES {
                    let reason = "too many commands before the welcome".into();
                    connection.phase = Phase::Leaving;
                    connection.outlet.end(End::Close(CloseFrame { code: 1008, reason }));
                }
            }
            Phase::Open => self.queue(now, id, command),
            Phase::Mute | Phase::Leaving => {}
        }
    }

    pub fn received_binary(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some(connection) = self.connections.get(&id) {
            self.journal.note(Some(connection.client.clone()), Content::Binary(bytes));
        }
    }

    pub fn run(&mut self, now: Time, job: Job) {
        match job {
            Job::Welcome(id) => self.welcome(now, id),
            Job::Batch(id, batch) => {
                if self.connections.get(&id).is_some_and(|connection| connection.batches == batch) {
                    self.run_batch(now, id);
                }
            }
            Job::Confirm(id, serial, wanted) => self.confirm(now, id, serial, wanted.as_ref()),
            Job::Unsubscribe(id, serial) => self.unsubscribe(id, serial),
            Job::Streams(id, serial, streams) => {
                if let Some(subscription) = self.subscription(id, serial) {
                    subscription.streams = streams;
                }
            }
            Job::Release(id, held) => {
                if let Some(connection) = self.connections.get_mut(&id)
                    && let Some((_, message)) = connection.held.take_if(|(number, _)| *number == held)
                {
                    connection.push(message);
                }
            }
            Job::PingAll(round) if round == self.pings => {
                for connection in self.connections.values().filter(|connection| !connection.times_own_pings()) {
                    connection.ping(now);
                }
                self.due.push((self.conduct.ping_ms, Job::PingAll(round)));
            }
            Job::Ping(id, round) if round == self.pings => {
                if let Some(connection) = self.connections.get(&id) {
                    connection.ping(now);
                    self.due.push((connection.ping_ms(), Job::Ping(id, round)));
                    self.await_pong(id);
                }
            }
            Job::PingAll(_) | Job::Ping(..) => {}
            Job::NoPong(id, heard) => {
                if self.connections.get(&id).is_some_and(|connection| connection.heard == heard) {
                    self.disconnect(id, Some("no_pong"), Some(true), 1000);
                }
            }
            Job::Run(run) => self.answer(now, run),
            Job::Leave => {
                for (stream, ids) in self.broker.gone(now) {
                    for id in ids {
                        self.tell_presence(&stream, &PresenceSaid::Leave { id: &id });
                    }
                }
            }
            Job::Up(down) => {
                if self.down == Some(down) {
                    self.down = None;
                }
            }
        }
    }

    fn welcome(&mut self, now: Time, id: ConnectionId) {
        let sid = short(&mut self.entropy);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let Phase::Waiting(waiting, _) = &mut connection.phase else {
            return;
        };
        let waiting = std::mem::take(waiting);
        connection.phase = Phase::Open;
        let sid = connection.gets_positions().then_some(sid);
        connection.sid.clone_from(&sid);
        let ext = connection.dialect == Dialect::Ext;
        let ping_ms = connection.ping_ms();
        let before = connection.restore.take().filter(|_| ext && sid.is_some());
        let restored = before.and_then(|before| self.unpark(now, &before, sid.as_deref().unwrap_or_default()));
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let is_restored = restored.is_some();
        connection.subscriptions = restored.unwrap_or_default();
        let ids = connection.subscriptions.iter().map(|one| &*one.identifier).collect();
        let restored = is_restored.then_some(Restored { restored: true, restored_ids: ids });
        let welcome = Said::Welcome { sid: sid.as_deref(), restored }.message();
        connection.push(welcome);
        if connection.times_own_pings() {
            // Between half an interval and one and a half, another for each connection.
            let first = ping_ms / 2 + ping_ms.saturating_mul(id * 37 % 100) / 100;
            self.due.push((first, Job::Ping(id, self.pings)));
        }
        for command in waiting {
            self.queue(now, id, command);
        }
    }

    /// The subscriptions of a lost connection, or of one that nobody knows to be lost yet.
    fn unpark(&mut self, now: Time, before: &str, sid: &str) -> Option<Vec<Subscription>> {
        self.parked.retain(|parked| parked.until >= now);
        let parked = self.parked.iter().position(|parked| parked.sid == before);
        let subscriptions = match parked.and_then(|at| self.parked.remove(at)) {
            Some(parked) => parked.subscriptions,
            None => {
                let other =
                    self.connections.values_mut().find(|one| one.resumable && one.sid.as_deref() == Some(before))?;
                other.resumable = false;
                other.subscriptions.iter().filter(|one| one.confirmed).cloned().collect()
            }
        };
        self.broker.regain(before, sid);
        Some(subscriptions)
    }

    /// Runs a command, or keeps it until its batch is full and changes the order.
    fn queue(&mut self, now: Time, id: ConnectionId, command: Command) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.conduct.commands == Order::Kept && connection.batch.is_empty() {
            return self.execute(now, id, command);
        }
        connection.batch.push(command);
        if connection.batch.len() >= connection.conduct.batch {
            self.run_batch(now, id);
        } else if connection.batch.len() == 1 {
            self.due.push((connection.conduct.window_ms, Job::Batch(id, connection.batches)));
        }
    }

    fn run_batch(&mut self, now: Time, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.batches += 1;
        let mut batch = std::mem::take(&mut connection.batch);
        match connection.conduct.commands {
            Order::Kept => {}
            Order::Swap => batch.chunks_mut(2).for_each(<[Command]>::reverse),
            Order::Reverse => batch.reverse(),
        }
        for command in batch {
            self.execute(now, id, command);
        }
    }

    fn execute(&mut self, now: Time, id: ConnectionId, command: Command) {
        match command {
            Command::Subscribe { identifier, history, presence } => {
                if let Some(serial) = self.subscribe(now, id, &identifier, history)
                    && let Some(presence) = presence
                {
                    self.join(now, id, serial, presence);
                }
            }
            Command::Unsubscribe { identifier } => {
                if let Some((serial, connection)) = self.find(id, &identifier) {
                    match connection.conduct.unsubscribe_ms {
                        0 => self.unsubscribe(id, serial),
                        late => self.due.push((late, Job::Unsubscribe(id, serial))),
                    }
                }
            }
            Command::Perform { identifier, data } => self.perform(now, id, &identifier, &data),
            Command::History { identifier, history } => {
                if let Some((serial, _)) = self.find(id, &identifier) {
                    self.recount(now, id, serial, &history);
                }
            }
            Command::Whisper { identifier, data } => self.whisper(id, &identifier, &data),
            Command::Join { identifier, presence } => {
                if let Some((serial, _)) = self.find(id, &identifier) {
                    self.join(now, id, serial, presence);
                } else {
                    self.presence_error(id, &identifier);
                }
            }
            Command::Leave { identifier } => {
                let stream = self.shared_stream(id, &identifier);
                let sid = self.connections.get(&id).and_then(|connection| connection.sid.clone());
                let (Some(stream), Some(sid)) = (stream, sid) else {
                    return self.presence_error(id, &identifier);
                };
                for member in self.broker.leave(&stream, &sid) {
                    self.tell_presence(&stream, &PresenceSaid::Leave { id: &member });
                }
            }
            Command::Presence { identifier } => {
                let Some(stream) = self.shared_stream(id, &identifier) else {
                    return self.presence_error(id, &identifier);
                };
                let message = self.broker.info(&stream);
                if let Some(connection) = self.connections.get(&id) {
                    connection.push(Said::Presence { identifier: &identifier, message }.message());
                }
            }
            Command::Ping => self.push(id, Said::Pong.message()),
            Command::Pong => {}
        }
    }

    /// Begins a subscription; gives its number when there is one now.
    fn subscribe(&mut self, now: Time, id: ConnectionId, identifier: &str, wanted: Option<Wanted>) -> Option<u64> {
        let connection = self.connections.get_mut(&id)?;
        let known = connection.subscriptions.iter().any(|one| &*one.identifier == identifier);
        let full = connection.subscriptions.len() >= MAX_SUBSCRIPTIONS || identifier.len() > MAX_IDENTIFIER;
        if known || full {
            return None;
        }
        let channel = Channel::named(identifier, connection.dialect == Dialect::Ext)?;
        if connection.conduct.lose_subscribes > 0 {
            connection.conduct.lose_subscribes -= 1;
            return None;
        }
        self.serial += 1;
        let serial = self.serial;
        let (beginning, wishes) = channel.subscribed(&mut self.talks, now);
        connection.subscriptions.push(Subscription {
            serial,
            identifier: identifier.into(),
            channel,
            streams: Vec::new(),
            confirmed: false,
            refusing: false,
        });
        let confirm_ms = connection.conduct.confirm_ms;
        self.fulfil(now, id, serial, wishes);
        match beginning {
            Beginning::Confirmed { late_ms } => match confirm_ms.saturating_add(late_ms) {
                0 => self.confirm(now, id, serial, wanted.as_ref()),
                late => self.due.push((late, Job::Confirm(id, serial, wanted))),
            },
            Beginning::Rejected => {
                self.unsubscribe(id, serial);
                self.push(id, Said::RejectSubscription { identifier }.message());
                return None;
            }
            Beginning::Raised => {}
        }
        Some(serial)
    }

    fn confirm(&mut self, now: Time, id: ConnectionId, serial: u64, wanted: Option<&Wanted>) {
        let Some(subscription) = self.subscription(id, serial) else {
            return;
        };
        subscription.confirmed = true;
        let identifier = Arc::clone(&subscription.identifier);
        self.push(id, Said::ConfirmSubscription { identifier: &identifier }.message());
        if let Some(wanted) = wanted {
            self.recount(now, id, serial, wanted);
        }
    }

    /// Tells what was missed on a subscription's streams, and then that this was all; or that it cannot be told.
    fn recount(&mut self, now: Time, id: ConnectionId, serial: u64, wanted: &Wanted) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let Some(subscription) = connection.subscriptions.iter().find(|one| one.serial == serial) else {
            return;
        };
        let identifier = &subscription.identifier;
        let reach = reach(&self.conduct);
        let streams = subscription.streams.iter().cloned();
        let missed = connection.sid.as_ref().and_then(|_| self.broker.missed(streams, wanted, now, reach));
        let Some(missed) = missed else {
            return connection.push(Said::RejectHistory { identifier }.message());
        };
        for (stream, Kept { offset, message, .. }) in missed {
            connection.push(wire::data(identifier, &message, Some(self.broker.place(&stream, offset))));
        }
        connection.push(Said::ConfirmHistory { identifier }.message());
    }

    fn unsubscribe(&mut self, id: ConnectionId, serial: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let Some(at) = connection.subscriptions.iter().position(|one| one.serial == serial) else {
            return;
        };
        let subscription = connection.subscriptions.remove(at);
        if let (Some(sid), Some(stream)) = (connection.sid.clone(), subscription.channel.shared_stream()) {
            for member in self.broker.leave(&stream, &sid) {
                self.tell_presence(&stream, &PresenceSaid::Leave { id: &member });
            }
        }
    }

    fn perform(&mut self, now: Time, id: ConnectionId, identifier: &str, data: &str) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let mut subscriptions = connection.subscriptions.iter_mut();
        let Some(subscription) = subscriptions.find(|one| &*one.identifier == identifier && !one.refusing) else {
            return;
        };
        let serial = subscription.serial;
        let wishes = subscription.channel.perform(data, &mut self.talks, now);
        self.fulfil(now, id, serial, wishes);
    }

    fn fulfil(&mut self, now: Time, id: ConnectionId, serial: u64, wishes: Vec<Wish>) {
        for wish in wishes {
            match wish {
                Wish::Transmit(message) => {
                    let Some(subscription) = self.subscription(id, serial) else {
                        return;
                    };
                    let frame = wire::data(&subscription.identifier, &message, None);
                    self.push(id, frame);
                }
                Wish::Broadcast { stream, message } => {
                    self.broadcast(now, &stream, &message);
                }
                Wish::Streams(streams) => {
                    let gap = self.connections.get(&id).map_or(0, |connection| connection.conduct.switch_gap_ms);
                    let Some(subscription) = self.subscription(id, serial) else {
                        return;
                    };
                    let begun = subscription.confirmed;
                    subscription.streams = if begun && gap > 0 { Vec::new() } else { streams.clone() };
                    if begun && gap > 0 {
                        self.due.push((gap, Job::Streams(id, serial, streams)));
                    }
                }
                Wish::Close { reason, reconnect } => self.disconnect(id, reason.as_deref(), Some(reconnect), 1000),
                Wish::Refuse => {
                    if let Some(subscription) = self.subscription(id, serial) {
                        subscription.refusing = true;
                    }
                }
                Wish::Run(run) => self.time_run(run),
            }
        }
    }

    /// Tells everyone who hears this stream; gives to how many it went.
    pub fn broadcast(&mut self, now: Time, stream: &str, message: &RawValue) -> usize {
        let offset = self.broker.publish(stream, message, now, reach(&self.conduct));
        let mut count = 0;
        for (id, connection) in &mut self.connections {
            let place = connection.gets_positions().then(|| self.broker.place(stream, offset));
            let hearing = connection.subscriptions.iter().filter(|one| one.streams.iter().any(|own| own == stream));
            let frames: Vec<Message> = hearing.map(|one| wire::data(&one.identifier, message, place.clone())).collect();
            count += frames.len();
            for frame in frames {
                if connection.conduct.repeat {
                    connection.push(frame.clone());
                }
                if connection.conduct.broadcasts == Order::Kept {
                    connection.push(frame);
                    continue;
                }
                // The second of two overtakes the first.
                match connection.held.take() {
                    Some((_, before)) => {
                        connection.push(frame);
                        connection.push(before);
                    }
                    None => {
                        self.serial += 1;
                        connection.held = Some((self.serial, frame));
                        self.due.push((connection.conduct.hold_ms, Job::Release(*id, self.serial)));
                    }
                }
            }
        }
        count
    }

    fn whisper(&self, from: ConnectionId, identifier: &str, data: &RawValue) {
        let Some(stream) = self.shared_stream(from, identifier) else {
            return;
        };
        for connection in self.connections.iter().filter(|(id, _)| **id != from).map(|(_, connection)| connection) {
            for other in connection.subscriptions.iter().filter(|one| one.streams.contains(&stream)) {
                connection.push(wire::data(&other.identifier, data, None));
            }
        }
    }

    fn join(&mut self, now: Time, id: ConnectionId, serial: u64, member: Member) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let Some(subscription) = connection.subscriptions.iter().find(|one| one.serial == serial) else {
            return;
        };
        let (Some(stream), Some(sid)) = (subscription.channel.shared_stream(), &connection.sid) else {
            let identifier = Arc::clone(&subscription.identifier);
            return self.presence_error(id, &identifier);
        };
        if self.broker.join(&stream, sid, member.clone(), now) {
            self.tell_presence(&stream, &PresenceSaid::Join { id: &member.id, info: &member.info });
        }
    }

    fn presence_error(&self, id: ConnectionId, identifier: &str) {
        self.push(id, Said::Presence { identifier, message: PresenceSaid::Error }.message());
    }

    fn tell_presence(&self, stream: &str, message: &PresenceSaid) {
        for connection in self.connections.values().filter(|connection| connection.gets_positions()) {
            for one in connection.subscriptions.iter().filter(|one| one.streams.iter().any(|own| own == stream)) {
                connection.push(Said::Presence { identifier: &one.identifier, message: message.clone() }.message());
            }
        }
    }

    /// The next step of an answer.
    fn answer(&mut self, now: Time, run: u64) {
        let Some(step) = self.talks.step(run) else {
            return;
        };
        let (live, everyone) = channels::streams_of(step.session);
        for message in step.live {
            self.broadcast(now, &live, &message);
        }
        match step.end {
            Some(message) => {
                self.broadcast(now, &everyone, &message);
            }
            None => self.time_run(run),
        }
    }

    fn time_run(&mut self, run: u64) {
        if let Some(pause) = self.talks.pause(run) {
            self.due.push((pause, Job::Run(run)));
        }
    }

    /// Begins a new round of pings; timers of an older one change nothing.
    fn time_pings(&mut self) {
        self.pings += 1;
        self.due.push((self.conduct.ping_ms, Job::PingAll(self.pings)));
        for (id, connection) in self.connections.iter().filter(|(_, connection)| connection.times_own_pings()) {
            self.due.push((connection.ping_ms(), Job::Ping(*id, self.pings)));
        }
    }

    fn await_pong(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get(&id)
            && connection.dialect == Dialect::Ext
            && connection.conduct.pong_timeout_ms > 0
        {
            self.due.push((connection.conduct.pong_timeout_ms, Job::NoPong(id, connection.heard)));
        }
    }

    /// A `disconnect` frame, and the close.
    fn disconnect(&mut self, id: ConnectionId, reason: Option<&str>, reconnect: Option<bool>, code: u16) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.push(Said::Disconnect { reason, reconnect }.message());
            connection.phase = Phase::Leaving;
            connection.outlet.end(End::Close(CloseFrame { code, reason: "".into() }));
        }
    }

    fn find(&self, id: ConnectionId, identifier: &str) -> Option<(u64, &Connection)> {
        let connection = self.connections.get(&id)?;
        let subscription = connection.subscriptions.iter().find(|one| &*one.identifier == identifier)?;
        Some((subscription.serial, connection))
    }

    fn shared_stream(&self, id: ConnectionId, identifier: &str) -> Option<String> {
        let (serial, connection) = self.find(id, identifier)?;
        connection.subscriptions.iter().find(|one| one.serial == serial)?.channel.shared_stream()
    }

    fn subscription(&mut self, id: ConnectionId, serial: u64) -> Option<&mut Subscription> {
        self.connections.get_mut(&id)?.subscriptions.iter_mut().find(|one| one.serial == serial)
    }

    fn push(&self, id: ConnectionId, message: Message) {
        if let Some(connection) = self.connections.get(&id) {
            connection.push(message);
        }
    }
}

impl Connection {
    fn push(&self, message: Message) {
        if !self.outlet.push(message) {
            let reason = "too slow a reader".into();
            self.outlet.end(End::Overrun(CloseFrame { code: 1013, reason }));
        }
    }

    fn gets_positions(&self) -> bool {
        match self.conduct.broker {
            conduct::Broker::Off => false,
            conduct::Broker::Ext => self.dialect == Dialect::Ext,
            conduct::Broker::All => true,
        }
    }

    fn times_own_pings(&self) -> bool {
        self.dialect == Dialect::Ext
    }

    fn ping_ms(&self) -> u64 {
        let seconds = self.query.get("pi").and_then(|seconds| seconds.parse::<u64>().ok());
        seconds.filter(|seconds| *seconds > 0).map_or(self.conduct.ping_ms, |seconds| seconds.saturating_mul(1_000))
    }

    fn ping(&self, now: Time) {
        if matches!(self.phase, Phase::Open) && self.conduct.pings {
            let message = match self.query.get("ptp") {
                Some("ms") => now.0,
                Some("ns") => now.0.saturating_mul(1_000_000),
                _ => now.0 / 1_000,
            };
            self.push(Said::Ping { message }.message());
        }
    }
}

fn reach(conduct: &Conduct) -> Reach {
    Reach { ms: conduct.history_ms, messages: conduct.history_limit }
}

fn short(entropy: &mut Entropy) -> String {
    entropy()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
