//! The Action Cable server at `/cable`, with AnyCable's extension: here it is put together, let talk and timed. What it
//! says is server.rs; its controls are under `/control/cable`.

/// Streams, their histories, and who is present on them.
mod broker;
/// The channels.
mod channels;
/// How the cable behaves, faults included.
mod conduct;
/// Connections, subscriptions, commands.
mod server;
/// Agent sessions and their answers.
mod talks;
/// Frames and commands.
mod wire;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{RawQuery, State};
use axum::http::header::{ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tungstenite::Error as Fault;

use self::conduct::Change;
use self::server::{ConnectionId, Farewell, Job, Request, Server};
use self::wire::Dialect;
use crate::control::{self, answer, counted, done, with};
use crate::hub::{Clock, MAX_CONNECTIONS};
use crate::query::Query;
use crate::sessions::{Entropy, Time};
use crate::socket;

/// Rails takes in just less than 64 MiB.
const MAX_PLAIN: usize = 64 * 1024 * 1024 - 1;
/// AnyCable takes in 64 KiB.
const MAX_EXT: usize = 64 * 1024;

/// The server with its timers.
struct Cable {
    server: Mutex<Server>,
    clock: Clock,
    slots: Arc<Semaphore>,
}

/// The cable and its controls. Wants a runtime, for its timers.
pub fn router(clock: Clock, entropy: Entropy) -> Router {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let cable = Arc::new(Cable { server: Mutex::new(Server::new(entropy)), clock, slots });
    cable.step(|_, _| {});
    let controls = Router::new()
        .route("/state", get(state))
        .route("/received", get(received))
        .route("/config", post(config))
        .route("/disconnect", post(disconnect))
        .route("/restart", post(restart))
        .route("/kill", post(kill))
        .route("/down", post(down))
        .route("/up", post(up))
        .route("/broadcast", post(broadcast))
        .route("/send", post(send))
        .route("/forget", post(forget))
        .route("/reset", post(reset))
        .with_state(Arc::clone(&cable));
    Router::new()
        .route("/cable", any(upgrade))
        .route("/cable/", any(upgrade))
        .route("/cable/{*below}", any(upgrade))
        .with_state(cable)
        .nest("/control/cable", control::guarded(controls))
}

impl Cable {
    /// Takes one step, and sees to what has to be done later.
    fn step<T>(self: &Arc<Self>, act: impl FnOnce(&mut Server, Time) -> T) -> T {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut server, self.clock.now());
        for (ms, job) in server.take_due() {
            self.later(ms, job);
        }
        result
    }

    fn later(self: &Arc<Self>, ms: u64, job: Job) {
        let cable = Arc::clone(self);
        tokio::spawn(async move {
            sleep(Duration::from_millis(ms)).await;
            cable.step(|server, now| server.run(now, job));
        });
    }
}

async fn upgrade(
    State(cable): State<Arc<Cable>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let not_found = || (StatusCode::NOT_FOUND, "Page not found").into_response();
    let Ok(upgrade) = upgrade else {
        return not_found();
    };
    let query = Query::read(query.as_deref());
    let (down, conduct) = cable.step(|server, _| (server.is_down(), server.conduct().with_query(&query)));
    if !control::may_join(&headers) || (conduct.strict_origin && !headers.contains_key(ORIGIN)) {
        return not_found();
    }
    let slot = Arc::clone(&cable.slots).try_acquire_owned();
    let Some(slot) = slot.ok().filter(|_| !down) else {
        return (StatusCode::SERVICE_UNAVAILABLE, "down, or full\n").into_response();
    };
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|names| names.to_str().ok());
    let (name, dialect) = wire::agreed(offers.flat_map(|names| names.split(',')).map(str::trim), conduct.extension);
    let by_header = headers.get("x-anycable-restore-sid").and_then(|sid| sid.to_str().ok());
    let restore = query.get("sid").or(by_header).map(str::to_owned);
    let request = Request { dialect, query, restore };
    let limit = match dialect {
        Dialect::Plain => MAX_PLAIN,
        Dialect::Ext => MAX_EXT,
    };
    upgrade
        .protocols(name)
        .read_buffer_size(16 * 1024)
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(move |socket| serve(socket, cable, request, slot))
}

async fn serve(socket: WebSocket, cable: Arc<Cable>, request: Request, slot: OwnedSemaphorePermit) {
    if let Some((id, outlet)) = cable.step(|server, now| server.joined(now, request)) {
        socket::converse(socket, &outlet, Guest { cable, id }).await;
    }
    drop(slot);
}

/// A connection on the cable.
struct Guest {
    cable: Arc<Cable>,
    id: ConnectionId,
}

impl socket::Member for Guest {
    fn text(&mut self, text: &Utf8Bytes) {
        self.cable.step(|server, now| server.received(now, self.id, text));
    }

    fn binary(&mut self, bytes: &Bytes) {
        self.cable.step(|server, _| server.received_binary(self.id, bytes));
    }

    fn farewell(&self, fault: &Fault) -> Option<CloseFrame> {
        let (code, reason) = match fault {
            Fault::Capacity(_) => (1009, "WebSocket frame length too large"),
            Fault::Utf8(_) => (1007, "Could not decode a text frame as UTF-8"),
            Fault::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => return None,
            Fault::Protocol(_) => (1002, "the frame breaks the WebSocket protocol"),
            _ => return None,
        };
        Some(CloseFrame { code, reason: reason.into() })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.cable.step(|server, now| server.closed(now, self.id));
    }
}

async fn state(State(cable): State<Arc<Cable>>) -> Response {
    cable.step(|server, _| answer(&server.report()))
}

async fn received(State(cable): State<Arc<Cable>>, RawQuery(query): RawQuery) -> Response {
    let query = Query::read(query.as_deref());
    cable.step(|server, _| answer(&server.journal().entries(query.get("client"))))
}

async fn config(State(cable): State<Arc<Cable>>, body: Bytes) -> Response {
    with(&body, |change: Change| {
        Ok(cable.step(|server, _| {
            server.configure(change);
            answer(server.conduct())
        }))
    })
}

/// A `disconnect` frame and the close, or with `frame: false` the close alone. `reconnect: null` leaves it out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dismissal {
    client: Option<String>,
    frame: Option<bool>,
    reason: Option<String>,
    #[serde(default, deserialize_with = "given")]
    reconnect: Option<Option<bool>>,
    code: Option<u16>,
}

fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<bool>>, D::Error> {
    Option::deserialize(value).map(Some)
}

async fn disconnect(State(cable): State<Arc<Cable>>, body: Bytes) -> Response {
    with(&body, |Dismissal { client, frame, reason, reconnect, code }| {
        let reconnect = reconnect.unwrap_or(Some(true));
        let farewell = Farewell { frame: frame.unwrap_or(true), reason, reconnect, code };
        Ok(counted(cable.step(|server, _| server.dismiss(client.as_deref(), &farewell))))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Outage {
    client: Option<String>,
    down_ms: Option<u64>,
}

/// `server_restart` for everyone. The broker's memory goes with it.
async fn restart(State(cable): State<Arc<Cable>>, body: Bytes) -> Response {
    with(&body, |Outage { client, down_ms }| {
        let reason = Some("server_restart".to_owned());
        let farewell = Farewell { frame: true, reason, reconnect: Some(true), code: None };
        Ok(counted(cable.step(|server, _| {
            let count = server.dismiss(client.as_deref(), &farewell);
            if client.is_none() {
                server.forget(true, false, true);
            }
            if down_ms.is_some() {
                server.go_down(down_ms);
            }
            count
        })))
    })
}

/// The sockets end without a frame, as when the process is stopped.
async fn kill(State(cable): State<Arc<Cable>>, body: Bytes) -> Response {
    with(&body, |Outage { client, down_ms }| {
        Ok(counted(cable.step(|server, _| {
            if down_ms.is_some() {
                server.go_down(down_ms);
            }
            server.kill(client.as_deref())
        })))
    })
}

async fn down(State(cable): State<Arc<Cable>>, body: Bytes) -> Response {
    with(&body, |Outage { client, down_ms }| {
        Ok(counted(cable.step(|server, _| {
            server.go_down(down_ms);
            server.kill(client.as_deref())
        })))
    })
}

async fn up(State(cable): State<Arc<Cable>>) -> Response {
    cable.step(|server, _| server.up());
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Broadcast<'a> {
    stream: String,
    #[serde(borrow)]
    message: &'a RawValue,
}

async fn broadcast(State(cable): State<Arc<Cable>>, body: Bytes) -> Response {
    with(&body, |Broadcast { stream, message }| {
        Ok(counted(cable.step(|server, now| server.broadcast(now, &stream, message))))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Send<'a> {
    client: Option<String>,
    #[serde(borrow)]
    frame: Option<&'a RawValue>,
    text: Option<String>,
    binary_base64: Option<String>,
}

async fn send(State(cable): State<Arc<Cable>>, body: Bytes) -> Response {
    with(&body, |request: Send| {
        let message = match (request.frame, request.text, request.binary_base64) {
            (Some(frame), None, None) => Message::text(frame.get()),
            (None, Some(text), None) => Message::text(text),
            (None, None, Some(code)) => match STANDARD.decode(&code) {
                Ok(bytes) => Message::binary(bytes),
                Err(error) => return Err(format!("binaryBase64: {error}")),
            },
            _ => return Err("wants one of frame, text and binaryBase64".to_owned()),
        };
        Ok(counted(cable.step(|server, _| server.send(request.client.as_deref(), &message))))
    })
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Forget {
    sessions: bool,
    history: bool,
    epoch: bool,
}

async fn forget(State(cable): State<Arc<Cable>>, body: Bytes) -> Response {
    with(&body, |Forget { sessions, history, epoch }| {
        cable.step(|server, _| server.forget(sessions, history, epoch));
        Ok(done())
    })
}

async fn reset(State(cable): State<Arc<Cable>>) -> Response {
    cable.step(|server, _| server.reset());
    done()
}
