//! The OpenClaw gateway, server side: its connections, what they are sent, and the one lock under which every step is
//! taken. Who may connect is access.rs, what a request does chat.rs and history.rs, how an answer comes about runs.rs,
//! what a test may provoke control.rs.

mod access;
mod chat;
mod config;
mod control;
mod history;
mod proof;
mod runs;
mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocketUpgrade};
use axum::extract::{RawQuery, State as Shared};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::{Value, json};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tungstenite::Error as Fault;

use self::access::Registry;
use self::config::{Config, Version};
use self::history::Session;
use self::runs::Run;
use crate::hub::{Clock, MAX_CONNECTIONS};
use crate::journal::{Content, Journal};
use crate::outlet::{End, Outlet};
use crate::sessions::{ClientId, Time};
use crate::socket::{self, Member};

pub const PATH: &str = "/openclaw";

/// Before `hello-ok`.
const MAX_EARLY_FRAME: usize = 64 * 1024;
const MAX_EARLY_FRAMES: usize = 15;
/// After so many calls without the right, the connection is closed.
const MAX_FORBIDDEN: usize = 10;
/// A close frame's reason has no more bytes.
const MAX_REASON: usize = 123;

/// An OpenClaw gateway that remembers as long as its process lives.
pub struct Gateway {
    state: Mutex<State>,
    clock: Clock,
    slots: Arc<Semaphore>,
    rearm: Notify,
}

type ConnectionId = u64;

struct State {
    config: Config,
    phase: Phase,
    /// Which start of the gateway this is, as `hello-ok` tells it.
    boot: String,
    started: Time,
    joined: ConnectionId,
    connections: BTreeMap<ConnectionId, Connection>,
    registry: Registry,
    sessions: BTreeMap<String, Session>,
    runs: BTreeMap<String, Run>,
    /// Keys of runs from before a restart: they are not run again.
    claimed: BTreeSet<String>,
    journal: Journal,
    jobs: Vec<Job>,
    /// Counts restarts, so that an overtaken one does nothing more.
    restarts: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Up,
    /// Runs are waited for; upgrades get 503 and new work is refused.
    Draining,
    /// Upgrades get 503.
    Down,
    /// Upgrades are taken, `connect` is not.
    Starting,
}

/// What has to happen later, on a task of its own.
enum Job {
    Run(String),
    Hello(ConnectionId),
}

struct Connection {
    outlet: Arc<Outlet>,
    version: Version,
    origin: Option<String>,
    host: Option<String>,
    stage: Stage,
    /// The last frame number that was used.
    seq: u64,
    scopes: BTreeSet<String>,
    caps: BTreeSet<String>,
    device: Option<String>,
    /// Canonical keys.
    subscriptions: BTreeSet<String>,
    /// Runs whose whole text this socket was told once.
    followed: BTreeSet<String>,
    forbidden: usize,
}

#[derive(Debug)]
enum Stage {
    Challenged { nonce: String },
    Greeting { answer: Box<Value>, early: Vec<String> },
    Ready,
}

/// Who an event is for.
#[derive(Clone, Copy)]
enum Audience<'a> {
    Everyone,
    /// Who may read, and did not choose other sessions.
    Readers(&'a str),
    /// Who asked for this session's messages.
    Subscribers(&'a str),
    /// Readers that asked to hear of tools.
    ToolReaders(&'a str),
}

/// Why a request is refused.
pub struct Refusal {
    code: &'static str,
    message: String,
    details: Option<Value>,
    retry_after_ms: Option<u64>,
    payload: Option<Value>,
}

impl Refusal {
    fn invalid(message: impl Into<String>) -> Self {
        Self { code: "INVALID_REQUEST", message: message.into(), details: None, retry_after_ms: None, payload: None }
    }

    fn detailed(message: impl Into<String>, details: Value) -> Self {
        Self { details: Some(details), ..Self::invalid(message) }
    }

    fn unavailable(message: &str, reason: &str) -> Self {
        Self { code: "UNAVAILABLE", retry_after_ms: Some(500), ..Self::detailed(message, json!({"reason": reason})) }
    }

    fn frame(&self, id: &str) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(details) = &self.details {
            error["details"] = details.clone();
        }
        if let Some(ms) = self.retry_after_ms {
            error["retryable"] = json!(true);
            error["retryAfterMs"] = json!(ms);
        }
        let mut frame = json!({"type": "res", "id": id, "ok": false, "error": error});
        if let Some(payload) = &self.payload {
            frame["payload"] = payload.clone();
        }
        frame
    }
}

impl Gateway {
    pub fn new(clock: Clock) -> Arc<Self> {
        let gateway = Arc::new(Self {
            state: Mutex::new(State::new(clock.now())),
            clock,
            slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            rearm: Notify::new(),
        });
        tokio::spawn({
            let gateway = Arc::clone(&gateway);
            async move { gateway.keep_ticking().await }
        });
        gateway
    }

    /// The socket's path and the controls.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route(PATH, any(upgrade))
            .with_state(Arc::clone(self))
            .nest("/control/openclaw", crate::control::guarded(control::router(Arc::clone(self))))
    }

    /// Says goodbye to everyone.
    pub fn farewell(self: &Arc<Self>) {
        self.step(|state, _| state.shut_down("gateway stopping", None));
    }

    /// How many sockets have not parted yet.
    pub fn open(&self) -> usize {
        self.state().connections.len()
    }

    async fn keep_ticking(&self) {
        loop {
            let pause = Duration::from_millis(self.state().config.tick_ms);
            if timeout(pause, self.rearm.notified()).await.is_err() {
                let now = self.clock.now();
                self.state().broadcast(Audience::Everyone, "tick", |_| json!({"ts": now.0}));
            }
        }
    }

    fn step<T>(self: &Arc<Self>, act: impl FnOnce(&mut State, Time) -> T) -> T {
        let mut state = self.state();
        let result = act(&mut state, self.clock.now());
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        for job in jobs {
            self.begin(job);
        }
        result
    }

    fn begin(self: &Arc<Self>, job: Job) {
        let gateway = Arc::clone(self);
        match job {
            Job::Run(id) => tokio::spawn(runs::perform(gateway, id)),
            Job::Hello(id) => tokio::spawn(async move {
                let pause = gateway.state().config.hello_ms;
                sleep(Duration::from_millis(pause)).await;
                gateway.step(|state, now| state.greet(now, id));
            }),
        };
    }

    fn join(self: &Arc<Self>, visitor: Visitor) -> (Arc<Outlet>, Operator) {
        let (id, outlet, challenge, handshake) = self.step(|state, now| state.join(now, visitor));
        let gateway = Arc::clone(self);
        tokio::spawn(async move {
            let limit = Duration::from_millis(handshake);
            let pause = Duration::from_millis(challenge.pause);
            // A challenge later than the handshake's end is none at all.
            if timeout(limit, sleep(pause)).await.is_ok() {
                gateway.step(|state, _| state.tell(id, &challenge.frame));
                sleep(limit.saturating_sub(pause)).await;
            }
            gateway.step(|state, _| state.give_up(id));
        });
        (outlet, Operator { gateway: Arc::clone(self), id })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a connection comes from, and what it asked for by its address.
struct Visitor {
    version: Option<Version>,
    origin: Option<String>,
    host: Option<String>,
}

struct Challenge {
    frame: Value,
    pause: u64,
}

async fn upgrade(
    Shared(gateway): Shared<Arc<Gateway>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Some(slot) = gateway.reserve() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "restarting, or full\n").into_response();
    };
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let visitor = Visitor { version: Version::asked(query.as_deref()), origin: text(ORIGIN), host: text(HOST) };
    let limit = config::MAX_PAYLOAD;
    upgrade.max_message_size(limit).max_frame_size(limit).on_upgrade(async move |socket| {
        let (outlet, operator) = gateway.join(visitor);
        socket::converse(socket, &outlet, operator).await;
        drop(slot);
    })
}

impl Gateway {
    fn reserve(&self) -> Option<OwnedSemaphorePermit> {
        match self.state().phase {
            Phase::Up | Phase::Starting => Arc::clone(&self.slots).try_acquire_owned().ok(),
            Phase::Draining | Phase::Down => None,
        }
    }
}

/// One connection's end of its socket; parts even when its task is dropped midway.
struct Operator {
    gateway: Arc<Gateway>,
    id: ConnectionId,
}

impl Member for Operator {
    fn text(&mut self, text: &Utf8Bytes) {
        self.gateway.step(|state, now| state.received(now, self.id, text));
    }

    fn binary(&mut self, bytes: &Bytes) {
        // A binary frame is read as if it were text.
        self.gateway.step(|state, now| state.received(now, self.id, &String::from_utf8_lossy(bytes)));
    }

    fn farewell(&self, fault: &Fault) -> Option<CloseFrame> {
        let code = match fault {
            Fault::Capacity(_) => 1009,
            Fault::Utf8(_) => 1007,
            Fault::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => return None,
            Fault::Protocol(_) => 1002,
            _ => return None,
        };
        Some(CloseFrame { code, reason: "".into() })
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.gateway.step(|state, _| state.connections.remove(&self.id));
    }
}

impl State {
    fn new(now: Time) -> Self {
        Self {
            config: Config::default(),
            phase: Phase::Up,
            boot: uuid(),
            started: now,
            joined: 0,
            connections: BTreeMap::new(),
            registry: Registry::default(),
            sessions: BTreeMap::new(),
            runs: BTreeMap::new(),
            claimed: BTreeSet::new(),
            journal: Journal::default(),
            jobs: Vec::new(),
            restarts: 0,
        }
    }

    fn join(&mut self, now: Time, visitor: Visitor) -> (ConnectionId, Arc<Outlet>, Challenge, u64) {
        self.joined += 1;
        let id = self.joined;
        let nonce = uuid();
        let ts = self.told_time(now);
        let version = visitor.version.unwrap_or(self.config.version);
        let mut payload = json!({"nonce": nonce, "ts": ts});
        if version.protocol() >= 4 {
            payload["capabilities"] = json!(["model-catalog-snapshot"]);
        }
        let frame = json!({"type": "event", "event": "connect.challenge", "payload": payload});
        let outlet = Arc::new(Outlet::default());
        let connection = Connection {
            outlet: Arc::clone(&outlet),
            version,
            origin: visitor.origin,
            host: visitor.host,
            stage: Stage::Challenged { nonce },
            seq: 0,
            scopes: BTreeSet::new(),
            caps: BTreeSet::new(),
            device: None,
            subscriptions: BTreeSet::new(),
            followed: BTreeSet::new(),
            forbidden: 0,
        };
        self.connections.insert(id, connection);
        (id, outlet, Challenge { frame, pause: self.config.challenge_ms }, self.config.handshake_ms)
    }

    /// The gateway's own clock, in milliseconds since 1970.
    fn told_time(&self, now: Time) -> i64 {
        i64::try_from(now.0).unwrap_or(i64::MAX).saturating_add(self.config.skew_ms)
    }

    /// The time for `connect` is over.
    fn give_up(&mut self, id: ConnectionId) {
        if self.connections.get(&id).is_some_and(|connection| matches!(connection.stage, Stage::Challenged { .. })) {
            self.close(id, 1000, "");
        }
    }

    fn received(&mut self, now: Time, id: ConnectionId, text: &str) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.outlet.backlog().ending {
            return;
        }
        self.journal.note(Some(ClientId::from(id.to_string().as_str())), Content::Text(text));
        match &mut connection.stage {
            Stage::Ready if text.len() > self.config.max_payload => self.close(id, 1009, ""),
            Stage::Ready => self.requested(now, id, text),
            _ if text.len() > MAX_EARLY_FRAME => self.close(id, 1009, ""),
            Stage::Challenged { .. } => self.introduced(now, id, text),
            Stage::Greeting { early, .. } if early.len() >= MAX_EARLY_FRAMES => {
                self.close(id, 1008, "too many pending handshake frames");
            }
            Stage::Greeting { early, .. } => early.push(text.to_owned()),
        }
    }

    /// The first frame, which has to be `connect`.
    fn introduced(&mut self, now: Time, id: ConnectionId, text: &str) {
        let Ok(frame) = serde_json::from_str::<Value>(text) else {
            self.close(id, 1000, "");
            return;
        };
        if shape::check(&frame, REQUEST).is_err() {
            self.close(id, 1008, "invalid request frame");
            return;
        }
        let request = frame["id"].as_str().unwrap_or_default();
        let outcome = match frame["method"].as_str() {
            Some("connect") => self.connect(now, id, &frame["params"]),
            _ => {
                let first = "invalid handshake: first request must be connect";
                Err(access::Denied::because(Refusal::invalid(first), 1008, first))
            }
        };
        match outcome {
            Ok(hello) => {
                let answer = Box::new(json!({"type": "res", "id": request, "ok": true, "payload": hello}));
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.stage = Stage::Greeting { answer, early: Vec::new() };
                }
                match self.config.hello_ms {
                    0 => self.greet(now, id),
                    _ => self.jobs.push(Job::Hello(id)),
                }
            }
            Err(denied) => {
                self.tell(id, &denied.refusal.frame(request));
                self.close(id, denied.code, &denied.reason);
            }
        }
    }

    /// Sends `hello-ok`, and hears what came meanwhile.
    fn greet(&mut self, now: Time, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let Stage::Greeting { answer, early } = std::mem::replace(&mut connection.stage, Stage::Ready) else {
            return;
        };
        self.tell(id, &answer);
        self.announce_presence(now);
        for text in early {
            self.requested(now, id, &text);
        }
    }

    /// A frame after `hello-ok`.
    fn requested(&mut self, now: Time, id: ConnectionId, text: &str) {
        // What is not JSON is not answered.
        let Ok(frame) = serde_json::from_str::<Value>(text) else {
            return;
        };
        let request = frame["id"].as_str().unwrap_or("invalid").to_owned();
        if let Err(error) = shape::check(&frame, REQUEST) {
            self.tell(id, &Refusal::invalid(format!("invalid request frame: {error}")).frame(&request));
            return;
        }
        let method = frame["method"].as_str().unwrap_or_default();
        let params = frame.get("params").cloned().unwrap_or_else(|| json!({}));
        let outcome = self.permitted(id, method).and_then(|()| self.call(now, id, &request, method, &params));
        match outcome {
            Ok(Some(payload)) => self.answer(id, &request, &payload),
            Ok(None) => {}
            Err(refusal) => {
                let forbidden = refusal.code == "FORBIDDEN";
                self.tell(id, &refusal.frame(&request));
                if let Some(connection) = self.connections.get_mut(&id).filter(|_| forbidden) {
                    connection.forbidden += 1;
                    if connection.forbidden > MAX_FORBIDDEN {
                        self.close(id, 1008, "repeated unauthorized calls");
                    }
                }
            }
        }
    }

    fn permitted(&self, id: ConnectionId, method: &str) -> Result<(), Refusal> {
        let Some(connection) = self.connections.get(&id) else {
            return Ok(());
        };
        let Some(scope) = chat::scope(method) else {
            return Ok(());
        };
        if connection.scopes.contains(scope) {
            return Ok(());
        }
        let message = format!("missing scope: {scope}");
        if connection.version == Version::V3 {
            return Err(Refusal::invalid(message));
        }
        let details = json!({"code": "MISSING_SCOPE", "missingScope": scope, "requiredScopes": [scope]});
        Err(Refusal { code: "FORBIDDEN", ..Refusal::detailed(message, details) })
    }

    fn answer(&mut self, id: ConnectionId, request: &str, payload: &Value) {
        self.tell(id, &json!({"type": "res", "id": request, "ok": true, "payload": payload}));
    }

    /// Sends an event to its audience, each with its own frame number. The payload may differ from socket to socket.
    fn broadcast(&mut self, audience: Audience, event: &str, payload: impl Fn(&mut Connection) -> Value) {
        for connection in self.connections.values_mut() {
            if matches!(connection.stage, Stage::Ready) && connection.belongs_to(audience) {
                let payload = payload(connection);
                connection.event(event, &payload);
            }
        }
    }

    fn announce_presence(&mut self, now: Time) {
        let present: Vec<Value> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.device.is_some())
            .map(|(id, connection)| {
                json!({"deviceId": connection.device, "mode": "webchat", "instanceId": id.to_string(), "ts": now.0})
            })
            .collect();
        if !present.is_empty() {
            self.broadcast(Audience::Everyone, "presence", |_| json!({"presence": present}));
        }
    }

    /// One frame to one connection, without a number.
    fn tell(&mut self, id: ConnectionId, frame: &Value) {
        if let Some(connection) = self.connections.get(&id) {
            connection.push(frame);
        }
    }

    fn close(&mut self, id: ConnectionId, code: u16, reason: &str) {
        if let Some(connection) = self.connections.get(&id) {
            connection.close(code, reason);
        }
    }

    /// Announces the end to everyone, and closes.
    fn shut_down(&mut self, reason: &str, restart_expected_ms: Option<u64>) {
        let mut payload = json!({"reason": reason});
        if let Some(ms) = restart_expected_ms {
            payload["restartExpectedMs"] = json!(ms);
        }
        self.broadcast(Audience::Everyone, "shutdown", |_| payload.clone());
        for connection in self.connections.values() {
            connection.close(1012, "service restart");
        }
        self.phase = Phase::Down;
    }
}

impl Connection {
    fn belongs_to(&self, audience: Audience) -> bool {
        let reads = || self.scopes.contains("operator.read");
        let scoped = || self.version.protocol() >= 4 && self.caps.contains("session-scoped-events");
        match audience {
            Audience::Everyone => true,
            Audience::Readers(key) => reads() && (!scoped() || self.subscriptions.contains(key)),
            Audience::ToolReaders(key) => self.caps.contains("tool-events") && self.belongs_to(Audience::Readers(key)),
            Audience::Subscribers(key) => reads() && self.subscriptions.contains(key),
        }
    }

    fn event(&mut self, event: &str, payload: &Value) {
        self.seq += 1;
        self.push(&json!({"type": "event", "event": event, "payload": payload, "seq": self.seq}));
    }

    fn push(&self, frame: &Value) {
        if !self.outlet.push(Message::text(frame.to_string())) {
            self.outlet.end(End::Overrun(CloseFrame { code: 1008, reason: "slow consumer".into() }));
        }
    }

    fn close(&self, code: u16, reason: &str) {
        let mut end = reason.len().min(MAX_REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        self.outlet.end(End::Close(CloseFrame { code, reason: reason[..end].into() }));
    }
}

const REQUEST: &[shape::Field] = {
    use shape::{Kind, Need};
    &[
        ("type", Kind::OneOf(&["req"]), Need::Must),
        ("id", shape::FILLED, Need::Must),
        ("method", shape::FILLED, Need::Must),
        ("params", Kind::Any, Need::May),
        ("traceparent", Kind::Text(0, 128), Need::May),
        ("expectedProfileId", shape::TEXT, Need::May),
    ]
};

/// A random identifier in the usual form.
fn uuid() -> String {
    let mut bytes = crate::entropy();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = crate::sessions::hex(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
