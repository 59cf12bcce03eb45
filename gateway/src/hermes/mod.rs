//! The Hermes agent gateway, server side: who is let in, the JSON-RPC envelope, and the one lock under which every step is
//! taken. What a method does is methods.rs, what a session is session.rs, how a turn goes turns.rs, what a test may
//! provoke control.rs.

mod config;
mod control;
mod methods;
mod session;
mod turns;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocketUpgrade};
use axum::extract::{RawQuery, State as Shared};
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tungstenite::Error as Fault;

use self::config::{Config, Version};
use self::session::{Live, Stored};
use crate::hub::{Clock, MAX_CONNECTIONS};
use crate::journal::{Content, Journal};
use crate::outlet::{End, Outlet};
use crate::sessions::{ClientId, Time, hex};
use crate::socket::{self, Member};

pub const PATH: &str = "/api/ws";

const MAX_FRAME: usize = 16 * 1024 * 1024;
/// Messages that may wait for a server that stalls.
const MAX_EARLY: usize = 64;
const MAX_TICKETS: usize = 1_000;
/// Another way than the query to show the token, for HTTP.
const TOKEN_HEADER: &str = "x-hermes-session-token";

/// A Hermes gateway that remembers as long as its process lives.
pub struct Gateway {
    state: Mutex<State>,
    clock: Clock,
    slots: Arc<Semaphore>,
}

type ConnectionId = u64;

struct State {
    config: Config,
    /// Whether upgrades are refused, as while a server restarts.
    down: bool,
    /// Which numbering the events have; a restart begins another.
    epoch: String,
    joined: ConnectionId,
    connections: BTreeMap<ConnectionId, Connection>,
    /// By runtime id.
    live: BTreeMap<String, Live>,
    /// By stored id.
    stored: BTreeMap<String, Stored>,
    /// Which stored id took over from which.
    successors: BTreeMap<String, String>,
    /// Tickets, and until when they are good.
    tickets: BTreeMap<String, Time>,
    turns: u64,
    journal: Journal,
    jobs: Vec<Job>,
    /// Counts restarts, so that an overtaken one does nothing more.
    restarts: u64,
}

/// What has to happen later, on a task of its own.
enum Job {
    /// A session's turn, by its number.
    Turn(String, u64),
    /// A session's agent is ready.
    Built(String),
    /// Nobody came back to a session.
    Reap(String, u64),
    /// An answer that the pool takes its time for.
    Answer(ConnectionId, String),
}

struct Connection {
    outlet: Arc<Outlet>,
    version: Version,
    /// Whether it said that it answers requests.
    answers_requests: bool,
    /// What came before `gateway.ready`; a server that stalls reads nothing.
    early: Option<Vec<String>>,
}

/// An error object.
struct Failure {
    code: i64,
    message: String,
}

impl Failure {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl Gateway {
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::new()), clock, slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)) })
    }

    /// The socket, what is asked over HTTP, and the controls.
    pub fn router(self: &Arc<Self>) -> Router {
        let unauthorized = || async { StatusCode::UNAUTHORIZED };
        Router::new()
            .route(PATH, any(upgrade))
            .route("/api/status", get(status).options(unauthorized))
            .route("/api/auth/ws-ticket", post(ticket).options(unauthorized))
            .with_state(Arc::clone(self))
            .nest("/control/hermes", crate::control::guarded(control::router(Arc::clone(self))))
    }

    /// Says goodbye to everyone.
    pub fn farewell(&self) {
        let mut state = self.state();
        state.down = true;
        for connection in state.connections.values() {
            connection.close(1012);
        }
    }

    /// How many sockets have not parted yet.
    pub fn open(&self) -> usize {
        self.state().connections.len()
    }

    fn step<T>(self: &Arc<Self>, act: impl FnOnce(&mut State, Time) -> T) -> T {
        let mut state = self.state();
        let result = act(&mut state, self.clock.now());
        let jobs = std::mem::take(&mut state.jobs);
        let (agent, grace, pooled) = (state.config.agent_ms, state.config.grace_ms, state.config.pooled_ms);
        drop(state);
        for job in jobs {
            self.begin(job, agent, grace, pooled);
        }
        result
    }

    fn begin(self: &Arc<Self>, job: Job, agent: u64, grace: u64, pooled: u64) {
        let gateway = Arc::clone(self);
        let pause = match &job {
            Job::Turn(..) => 0,
            Job::Built(_) => agent,
            Job::Reap(..) => grace,
            Job::Answer(..) => pooled,
        };
        tokio::spawn(async move {
            sleep(Duration::from_millis(pause)).await;
            match job {
                Job::Turn(session, number) => turns::perform(gateway, session, number).await,
                Job::Built(session) => gateway.step(|state, _| state.built(&session)),
                Job::Reap(session, absence) => gateway.step(|state, _| state.reap(&session, absence)),
                Job::Answer(connection, text) => gateway.step(|state, _| state.tell(connection, &text)),
            }
        });
    }

    fn join(self: &Arc<Self>, version: Option<Version>) -> (Arc<Outlet>, Client) {
        let (id, outlet, ready, pause) = self.step(|state, _| state.join(version));
        if pause == 0 {
            self.step(|state, now| state.greet(now, id, &ready));
        } else {
            let gateway = Arc::clone(self);
            tokio::spawn(async move {
                sleep(Duration::from_millis(pause)).await;
                gateway.step(|state, now| state.greet(now, id, &ready));
            });
        }
        (outlet, Client { gateway: Arc::clone(self), id })
    }

    fn reserve(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a query, as it was written: tokens and versions need no escaping.
fn asked<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

/// Whether it is this gateway that is meant, and a page that may ask.
fn may_enter(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(crate::control::is_address) && crate::control::may_join(headers)
}

async fn upgrade(
    Shared(gateway): Shared<Arc<Gateway>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let query = query.as_deref();
    let refused = || StatusCode::FORBIDDEN.into_response();
    if !may_enter(&headers) {
        return refused();
    }
    let version = match asked(query, "version").map(Version::asked) {
        None => None,
        Some(Some(version)) => Some(version),
        Some(None) => return refused(),
    };
    let (down, admitted) = gateway.step(|state, now| (state.down, state.admits(now, query)));
    if down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let Some(slot) = gateway.reserve().filter(|_| admitted) else {
        return refused();
    };
    upgrade.max_message_size(MAX_FRAME).max_frame_size(MAX_FRAME).on_upgrade(async move |socket| {
        let (outlet, client) = gateway.join(version);
        socket::converse(socket, &outlet, client).await;
        drop(slot);
    })
}

async fn status(Shared(gateway): Shared<Arc<Gateway>>, headers: HeaderMap) -> Response {
    if gateway.step(|state, _| state.down) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let answer = gateway.step(|state, _| {
        let version = state.config.version.name();
        json!({"version": version, "auth_required": state.config.gated, "gateway_running": true})
    });
    let mut response = ([(CONTENT_TYPE, "application/json")], answer.to_string()).into_response();
    let near = |origin: &&axum::http::HeaderValue| {
        let host = origin.to_str().ok().and_then(crate::control::host_of);
        host.is_some_and(crate::control::is_loopback)
    };
    if let Some(origin) = headers.get(ORIGIN).filter(near) {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        response.headers_mut().insert(VARY, axum::http::HeaderValue::from_static("origin"));
    }
    response
}

/// A ticket for one upgrade, for whoever shows the token.
async fn ticket(Shared(gateway): Shared<Arc<Gateway>>, headers: HeaderMap) -> Response {
    if !may_enter(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let shown = text(TOKEN_HEADER).or(text(AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer ")));
    let ticket = gateway.step(|state, now| {
        (shown == Some(state.config.token.as_str())).then(|| (state.mint(now), state.config.ticket_ms / 1_000))
    });
    match ticket {
        Some((ticket, seconds)) => {
            let answer = json!({"ticket": ticket, "ttl_seconds": seconds}).to_string();
            ([(CONTENT_TYPE, "application/json")], answer).into_response()
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// One connection's end of its socket; parts even when its task is dropped midway.
struct Client {
    gateway: Arc<Gateway>,
    id: ConnectionId,
}

impl Member for Client {
    fn text(&mut self, text: &Utf8Bytes) {
        self.gateway.step(|state, now| state.received(now, self.id, text));
    }

    fn binary(&mut self, _: &Bytes) {
        self.gateway.step(|state, _| {
            if let Some(connection) = state.connections.get(&self.id) {
                connection.close(1000);
            }
        });
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

impl Drop for Client {
    fn drop(&mut self) {
        self.gateway.step(|state, now| state.part(now, self.id));
    }
}

impl State {
    fn new() -> Self {
        Self {
            config: Config::default(),
            down: false,
            epoch: identifier(16),
            joined: 0,
            connections: BTreeMap::new(),
            live: BTreeMap::new(),
            stored: BTreeMap::new(),
            successors: BTreeMap::new(),
            tickets: BTreeMap::new(),
            turns: 0,
            journal: Journal::default(),
            jobs: Vec::new(),
            restarts: 0,
        }
    }

    /// Whether the address shows what it takes. A ticket is good once.
    fn admits(&mut self, now: Time, query: Option<&str>) -> bool {
        if let Some(ticket) = asked(query, "ticket") {
            return self.tickets.remove(ticket).is_some_and(|until| now < until);
        }
        !self.config.gated && asked(query, "token") == Some(self.config.token.as_str())
    }

    fn mint(&mut self, now: Time) -> String {
        self.tickets.retain(|_, until| now < *until);
        while self.tickets.len() >= MAX_TICKETS {
            self.tickets.pop_first();
        }
        let ticket = identifier(16);
        self.tickets.insert(ticket.clone(), now.plus(self.config.ticket_ms));
        ticket
    }

    fn join(&mut self, version: Option<Version>) -> (ConnectionId, Arc<Outlet>, String, u64) {
        self.joined += 1;
        let version = version.unwrap_or(self.config.version);
        let outlet = Arc::new(Outlet::default());
        let early = Some(Vec::new());
        let connection = Connection { outlet: Arc::clone(&outlet), version, answers_requests: false, early };
        self.connections.insert(self.joined, connection);
        let mut payload = json!({"skin": {
            "name": "default", "colors": {"ui_accent": "#FFBF00", "prompt": "#FFF8DC"},
            "branding": {"agent_name": "Hermes Agent", "prompt_symbol": "❯"},
            "banner_logo": "", "banner_hero": "", "tool_prefix": "┊", "help_header": "Available Commands",
        }});
        if version >= Version::V20 {
            payload["change_events"] = json!(true);
            payload["replay_epoch"] = json!(self.epoch);
            payload["shared_session"] = json!({"version": 1, "socket_id": format!("s{}", self.joined)});
            if self.config.heartbeat {
                payload["heartbeat"] = json!(true);
            }
        }
        let ready = event(json!({"type": "gateway.ready", "payload": payload}));
        (self.joined, outlet, ready, self.config.ready_ms)
    }

    /// Says `gateway.ready`, and hears what came before.
    fn greet(&mut self, now: Time, id: ConnectionId, ready: &str) {
        self.tell(id, ready);
        let early = self.connections.get_mut(&id).and_then(|connection| connection.early.take());
        for text in early.into_iter().flatten() {
            self.received(now, id, &text);
        }
    }

    fn received(&mut self, now: Time, id: ConnectionId, text: &str) {
        let text = text.trim();
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let version = connection.version;
        if let Some(early) = &mut connection.early {
            if early.len() < MAX_EARLY {
                early.push(text.to_owned());
            } else {
                connection.outlet.end(End::Abort);
            }
            return;
        }
        if text.is_empty() {
            return;
        }
        self.journal.note(Some(ClientId::from(id.to_string().as_str())), Content::Text(text));
        let request = match Request::read(text) {
            Ok(request) => request,
            Err(failure) => return self.tell(id, &failed("null", &failure)),
        };
        if version >= Version::V20 && request.is_response() {
            return self.answered(&request);
        }
        let answer = match request.call() {
            Ok((method, params)) => match self.call(now, id, version, &method, &params) {
                Ok(result) => format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{result}}}", request.id()),
                Err(failure) => failed(request.id(), &failure),
            },
            Err(failure) => failed(request.id(), &failure),
        };
        let pooled = self.config.pooled_ms > 0 && request.call().is_ok_and(|(method, _)| methods::is_pooled(&method));
        if pooled {
            self.jobs.push(Job::Answer(id, answer));
        } else {
            self.tell(id, &answer);
        }
        if self.config.resume_overlap {
            self.repeat_delta(id, &request);
        }
    }

    /// The client's response to one of the gateway's own requests.
    fn answered(&mut self, request: &Request) {
        let value =
            |name: &str| request.members.get(name).and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
        if let Some(Value::String(question)) = value("id") {
            let answer = value("result").filter(|_| !request.members.contains_key("error"));
            self.answer_request(&question, answer);
        }
    }

    /// One message to one connection.
    fn tell(&mut self, id: ConnectionId, text: &str) {
        if let Some(connection) = self.connections.get(&id)
            && !connection.outlet.push(Message::text(text))
        {
            connection.outlet.end(End::Abort);
        }
    }
}

impl Connection {
    fn close(&self, code: u16) {
        self.outlet.end(End::Close(CloseFrame { code, reason: "".into() }));
    }
}

/// A message from a client, member by member, so that its id comes back to the letter.
struct Request {
    members: BTreeMap<String, Box<RawValue>>,
}

impl Request {
    fn read(text: &str) -> Result<Self, Failure> {
        if serde_json::from_str::<&RawValue>(text).is_err() {
            return Err(Failure::new(-32700, "parse error"));
        }
        let members = serde_json::from_str(text);
        let members = members.map_err(|_| Failure::new(-32600, "invalid request: expected an object"))?;
        Ok(Self { members })
    }

    fn id(&self) -> &str {
        self.members.get("id").map_or("null", |id| id.get())
    }

    fn is_response(&self) -> bool {
        let has = |name| self.members.contains_key(name);
        !has("method") && has("id") && (has("result") || has("error"))
    }

    fn call(&self) -> Result<(String, Value), Failure> {
        let member = |name: &str| self.members.get(name).map(|raw| serde_json::from_str::<Value>(raw.get()));
        let Some(Ok(Value::String(method))) = member("method") else {
            return Err(Failure::new(-32600, "invalid request: method must be a non-empty string"));
        };
        if method.is_empty() {
            return Err(Failure::new(-32600, "invalid request: method must be a non-empty string"));
        }
        match member("params") {
            None | Some(Ok(Value::Null)) => Ok((method, json!({}))),
            Some(Ok(params)) if params.is_object() => Ok((method, params)),
            Some(_) => Err(Failure::new(-32602, "invalid params: expected an object")),
        }
    }
}

fn failed(id: &str, Failure { code, message }: &Failure) -> String {
    let error = json!({"code": code, "message": message});
    format!("{{\"jsonrpc\":\"2.0\",\"error\":{error},\"id\":{id}}}")
}

fn event(params: Value) -> String {
    json!({"jsonrpc": "2.0", "method": "event", "params": params}).to_string()
}

/// So many random bytes, in hexadecimal.
fn identifier(bytes: usize) -> String {
    hex(&crate::entropy()[..bytes.min(16)])
}
