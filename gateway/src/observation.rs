//! The yoi observation backend under `/api/runtimes`: commands by HTTP, and events by a WebSocket with cursors. Here
//! requests are read and answered; what they do is backend.rs. Its controls are under `/control/observation`.

/// Stored events, cursors, observers.
mod backend;
/// A worker and the answer it is giving.
mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tungstenite::Error as Fault;

use self::backend::{Backend, Job, Key, Missing, ObserverId};
use self::worker::{Item, Refusal, Role};
use crate::control::{self, answer, counted, done, with};
use crate::hub::MAX_CONNECTIONS;
use crate::query::Query;
use crate::socket;

const MAX_CLIENT_FRAME: usize = 64 * 1024;
/// The most items that a page of the transcript has.
const MAX_PAGE: usize = 200;

/// The backend with its timers.
struct Observation {
    backend: Mutex<Backend>,
    slots: Arc<Semaphore>,
}

/// The backend and its controls.
pub fn router() -> Router {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let observation = Arc::new(Observation { backend: Mutex::new(Backend::new()), slots });
    let controls = Router::new()
        .route("/state", get(state))
        .route("/config", post(config))
        .route("/restart", post(restart))
        .route("/down", post(down))
        .route("/up", post(up))
        .route("/drop", post(drop_observers))
        .route("/diagnose", post(diagnose))
        .route("/expire", post(expire))
        .route("/emit", post(emit))
        .route("/send", post(send))
        .route("/runtime", post(runtime))
        .route("/worker", post(add_worker))
        .route("/reset", post(reset))
        .with_state(Arc::clone(&observation));
    let worker = Router::new()
        .route("/input", post(input))
        .route("/cancel", post(cancel))
        .route("/stop", post(stop))
        .route("/transcript", get(transcript))
        .route("/events/ws", any(upgrade))
        .with_state(observation);
    Router::new()
        .nest("/api/runtimes/{runtime}/workers/{worker}", worker)
        .nest("/control/observation", control::guarded(controls))
}

impl Observation {
    /// Takes one step, and sees to what has to be done later.
    fn step<T>(self: &Arc<Self>, act: impl FnOnce(&mut Backend) -> T) -> T {
        let mut backend = self.backend.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut backend);
        for (ms, job) in backend.take_due() {
            self.later(ms, job);
        }
        result
    }

    fn later(self: &Arc<Self>, ms: u64, job: Job) {
        let observation = Arc::clone(self);
        tokio::spawn(async move {
            sleep(Duration::from_millis(ms)).await;
            observation.step(|backend| backend.run(job));
        });
    }
}

type Named = Path<(String, String)>;

async fn upgrade(
    State(observation): State<Arc<Observation>>,
    Path(names): Named,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let key = match admitted(names, &headers) {
        Ok(key) => key,
        Err((status, message)) => return problem(status, &message),
    };
    let (down, found) = observation.step(|backend| (backend.is_down(), backend.check_upgrade(&key)));
    let slot = Arc::clone(&observation.slots).try_acquire_owned();
    let Some(slot) = slot.ok().filter(|_| !down) else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "down, or full");
    };
    if let Err(missing) = found {
        return missed(missing, &key);
    }
    let cursor = Query::read(query.as_deref()).get("cursor").map(str::to_owned);
    upgrade
        .read_buffer_size(16 * 1024)
        .max_message_size(MAX_CLIENT_FRAME)
        .max_frame_size(MAX_CLIENT_FRAME)
        .on_upgrade(move |socket| serve(socket, observation, key, cursor, slot))
}

async fn serve(
    socket: WebSocket,
    observation: Arc<Observation>,
    key: Key,
    cursor: Option<String>,
    slot: OwnedSemaphorePermit,
) {
    let (id, outlet) = observation.step(|backend| backend.joined(key, cursor.as_deref()));
    socket::converse(socket, &outlet, Observer { observation, id }).await;
    drop(slot);
}

/// A socket that observes.
struct Observer {
    observation: Arc<Observation>,
    id: ObserverId,
}

impl socket::Member for Observer {
    fn text(&mut self, _: &Utf8Bytes) {
        self.observation.step(|backend| backend.spoke(self.id));
    }

    fn binary(&mut self, _: &Bytes) {
        self.observation.step(|backend| backend.spoke(self.id));
    }

    fn farewell(&self, _: &Fault) -> Option<CloseFrame> {
        None
    }

    fn answers_close(&self) -> bool {
        false
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.observation.step(|backend| backend.parted(self.id));
    }
}

/// What a command is answered with.
#[derive(Serialize)]
struct Acknowledged<'a> {
    state: &'a str,
    runtime_id: &'a str,
    worker_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript_sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<u64>,
    diagnostics: Vec<Diagnostic<'a>>,
}

#[derive(Serialize)]
struct Diagnostic<'a> {
    code: &'a str,
    severity: &'a str,
    message: String,
}

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    kind: Role,
    content: String,
}

async fn input(
    State(observation): State<Arc<Observation>>,
    Path(names): Named,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    command(&observation, names, &headers, &body, |backend, key, Input { kind, content }| {
        let result = backend.input(key, kind, content);
        let (item, state, diagnostics) = match result {
            Ok(item) => (Some(item), "accepted", Vec::new()),
            Err(refusal) => (None, "rejected", vec![refused(refusal, key)]),
        };
        answer(&Acknowledged {
            state,
            runtime_id: &key.runtime,
            worker_id: &key.worker,
            transcript_sequence: item.as_ref().map(|item| item.sequence),
            event_id: item.as_ref().map(|item| item.event_id),
            diagnostics,
        })
    })
}

fn refused(refusal: Refusal, key: &Key) -> Diagnostic<'static> {
    let reason = match refusal {
        Refusal::Empty => "invalid_request, HTTP 400 Bad Request",
        Refusal::TooLong => "limit_too_large, HTTP 400 Bad Request",
        Refusal::Stopped => "worker_execution_rejected, HTTP 409 Conflict",
        Refusal::Full => "worker_execution_unavailable, HTTP 409 Conflict",
    };
    let runtime = &key.runtime;
    let message = format!("Remote Runtime '{runtime}' rejected request ({reason}); internal details were sanitized");
    Diagnostic { code: "remote_runtime_http_rejected", severity: "warning", message }
}

#[derive(Deserialize)]
struct Reason {
    #[serde(rename = "reason")]
    _reason: Option<String>,
}

async fn cancel(
    State(observation): State<Arc<Observation>>,
    Path(names): Named,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    command(&observation, names, &headers, &body, |backend, key, _: Reason| {
        backend.cancel(key);
        acknowledged(key)
    })
}

async fn stop(
    State(observation): State<Arc<Observation>>,
    Path(names): Named,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    command(&observation, names, &headers, &body, |backend, key, _: Reason| {
        backend.stop(key);
        acknowledged(key)
    })
}

fn acknowledged(key: &Key) -> Response {
    answer(&Acknowledged {
        state: "accepted",
        runtime_id: &key.runtime,
        worker_id: &key.worker,
        transcript_sequence: None,
        event_id: None,
        diagnostics: Vec::new(),
    })
}

/// Reads a command's body before anything else is looked at, as an extractor does.
fn command<T: for<'de> Deserialize<'de>>(
    observation: &Arc<Observation>,
    names: (String, String),
    headers: &HeaderMap,
    body: &[u8],
    act: impl FnOnce(&mut Backend, &Key, T) -> Response,
) -> Response {
    let json = |kind: &HeaderValue| kind.to_str().is_ok_and(|kind| kind.starts_with("application/json"));
    if !headers.get(CONTENT_TYPE).is_some_and(json) {
        let text = "Expected request with `Content-Type: application/json`";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    }
    let wanted = match serde_json::from_slice(body) {
        Ok(wanted) => wanted,
        Err(error) if error.classify() == Category::Data => {
            let text = format!("Failed to deserialize the JSON body into the target type: {error}");
            return (StatusCode::UNPROCESSABLE_ENTITY, text).into_response();
        }
        Err(error) => {
            let text = format!("Failed to parse the request body as JSON: {error}");
            return (StatusCode::BAD_REQUEST, text).into_response();
        }
    };
    served(observation, names, headers, |backend, key| act(backend, key, wanted))
}

#[derive(Serialize)]
struct Transcript<'a> {
    state: &'a str,
    runtime_id: &'a str,
    worker_id: &'a str,
    start: usize,
    limit: usize,
    total_items: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_start: Option<usize>,
    items: &'a [Item],
    diagnostics: [(); 0],
}

async fn transcript(
    State(observation): State<Arc<Observation>>,
    Path(names): Named,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = Query::read(query.as_deref());
    let number = |name: &str, default: usize| match query.get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|error| {
            let text = format!("Failed to deserialize query string: {name}: {error}");
            (StatusCode::BAD_REQUEST, text)
        }),
    };
    let (start, limit) = match (number("start", 0), number("limit", MAX_PAGE)) {
        (Ok(start), Ok(limit)) => (start, limit.clamp(1, MAX_PAGE)),
        (Err(refused), _) | (_, Err(refused)) => return refused.into_response(),
    };
    served(&observation, names, &headers, |backend, key| {
        let (items, total_items) = backend.transcript(key, start, limit);
        let next = start.saturating_add(items.len());
        answer(&Transcript {
            state: "accepted",
            runtime_id: &key.runtime,
            worker_id: &key.worker,
            start,
            limit,
            total_items,
            next_start: (next < total_items).then_some(next),
            items,
            diagnostics: [],
        })
    })
}

/// Does something for a worker that is there.
fn served(
    observation: &Arc<Observation>,
    names: (String, String),
    headers: &HeaderMap,
    act: impl FnOnce(&mut Backend, &Key) -> Response,
) -> Response {
    let key = match admitted(names, headers) {
        Ok(key) => key,
        Err((status, message)) => return problem(status, &message),
    };
    observation.step(|backend| {
        if backend.is_down() {
            return problem(StatusCode::SERVICE_UNAVAILABLE, "down");
        }
        let status = backend.http_status.and_then(|status| StatusCode::from_u16(status).ok());
        if let Some(status) = status {
            let runtime = &key.runtime;
            return problem(status, &format!("runtime `{runtime}` operation failed (remote_runtime_fault)"));
        }
        match backend.check(&key) {
            Ok(()) => act(backend, &key),
            Err(missing) => missed(missing, &key),
        }
    })
}

/// The worker that a path names, if the page may ask at all.
fn admitted((runtime, worker): (String, String), headers: &HeaderMap) -> Result<Key, (StatusCode, String)> {
    if !control::may_join(headers) {
        return Err((StatusCode::FORBIDDEN, "pages of other sites may not ask".to_owned()));
    }
    let invalid = |id: &str| id.is_empty() || id.contains(['/', '\\']) || id.chars().any(char::is_control);
    if invalid(&runtime) {
        return Err((StatusCode::BAD_REQUEST, format!("invalid runtime runtime_id `{runtime}`")));
    }
    if invalid(&worker) {
        return Err((StatusCode::BAD_REQUEST, format!("invalid worker worker_id `{worker}`")));
    }
    Ok(Key { runtime, worker })
}

fn missed(missing: Missing, Key { runtime, worker }: &Key) -> Response {
    let (status, message) = match missing {
        Missing::Runtime => (StatusCode::NOT_FOUND, format!("unknown runtime `{runtime}`")),
        Missing::Worker => (StatusCode::NOT_FOUND, format!("unknown worker `{worker}` in runtime `{runtime}`")),
        Missing::Available => {
            (StatusCode::BAD_GATEWAY, format!("runtime `{runtime}` operation failed (remote_runtime_unreachable)"))
        }
    };
    problem(status, &message)
}

#[derive(Serialize)]
struct Problem<'a> {
    error: &'a str,
    message: &'a str,
}

fn problem(status: StatusCode, message: &str) -> Response {
    let error = status.canonical_reason().unwrap_or("Error");
    (status, answer(&Problem { error, message })).into_response()
}

async fn state(State(observation): State<Arc<Observation>>) -> Response {
    observation.step(|backend| answer(&backend.report()))
}

/// `null` as the HTTP status is a wish too: commands are served again.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Change {
    limit: Option<usize>,
    sequence: Option<u64>,
    #[serde(default, deserialize_with = "wished")]
    http_status: Option<Option<u16>>,
}

fn wished<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Option<u16>>, D::Error> {
    Option::deserialize(value).map(Some)
}

async fn config(State(observation): State<Arc<Observation>>, body: Bytes) -> Response {
    with(&body, |Change { limit, sequence, http_status }| {
        if http_status.flatten().is_some_and(|status| !(400..600).contains(&status)) {
            return Err("httpStatus wants a number from 400 to 599, or null".to_owned());
        }
        Ok(observation.step(|backend| {
            limit.into_iter().for_each(|limit| backend.set_limit(limit));
            sequence.into_iter().for_each(|sequence| backend.skip_to(sequence));
            http_status.into_iter().for_each(|status| backend.http_status = status);
            answer(&backend.report())
        }))
    })
}

/// Which worker is meant; without a name, all or the first.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Aim<'a> {
    runtime: Option<String>,
    worker: Option<String>,
    down_ms: Option<u64>,
    keep: Option<usize>,
    code: Option<String>,
    message: Option<String>,
    available: Option<bool>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    times: Option<usize>,
    text: Option<String>,
}

const MAX_TIMES: usize = 10_000;

impl Aim<'_> {
    fn key(&self) -> Key {
        let named = |name: &Option<String>, default: &str| name.as_deref().unwrap_or(default).to_owned();
        Key { runtime: named(&self.runtime, backend::RUNTIME), worker: named(&self.worker, backend::WORKER) }
    }

    fn chosen(&self) -> Option<Key> {
        (self.runtime.is_some() || self.worker.is_some()).then(|| self.key())
    }
}

async fn restart(State(observation): State<Arc<Observation>>, body: Bytes) -> Response {
    with(&body, |aim: Aim| Ok(counted(observation.step(|backend| backend.restart(aim.down_ms)))))
}

async fn down(State(observation): State<Arc<Observation>>, body: Bytes) -> Response {
    with(&body, |aim: Aim| {
        Ok(counted(observation.step(|backend| {
            backend.go_down(aim.down_ms);
            backend.drop_observers(None)
        })))
    })
}

async fn up(State(observation): State<Arc<Observation>>) -> Response {
    observation.step(|backend| backend.up());
    done()
}

async fn drop_observers(State(observation): State<Arc<Observation>>, body: Bytes) -> Response {
    with(&body, |aim: Aim| Ok(counted(observation.step(|backend| backend.drop_observers(aim.chosen().as_ref())))))
}

async fn diagnose(State(observation): State<Arc<Observation>>, body: Bytes) -> Response {
    with(&body, |aim: Aim| {
        let code = aim.code.as_deref().ok_or("wants a code")?;
        let message = aim.message.as_deref().unwrap_or("on request");
        let key = aim.chosen();
        Ok(counted(observation.step(|backend| backend.diagnose(key.as_ref(), code, message))))
    })
}

async fn expire(State(observation): State<Arc<Observation>>, body: Bytes) -> Response {
    with(&body, |aim: Aim| {
        observation.step(|backend| backend.expire(&aim.key(), aim.keep.unwrap_or(0)));
        Ok(done())
    })
}

async fn emit(State(observation): State<Arc<Observation>>, body: Bytes) -> Response {
    with(&body, |aim: Aim| {
        let payload = aim.payload.ok_or("wants a payload")?;
        let times = aim.times.unwrap_or(1).min(MAX_TIMES);
        observation.step(|backend| backend.emit(&aim.key(), payload, times)).map(counted)
    })
}

async fn send(State(observation): State<Arc<Observation>>, body: Bytes) -> Response {
    with(&body, |aim: Aim| {
        let message = Message::text(aim.text.as_deref().ok_or("wants a text")?);
        let key = aim.chosen();
        Ok(counted(observation.step(|backend| backend.send(key.as_ref(), &message))))
    })
}

async fn runtime(State(observation): State<Arc<Observation>>, body: Bytes) -> Response {
    with(&body, |aim: Aim| {
        let available = aim.available.ok_or("wants available: true or false")?;
        observation.step(|backend| backend.set_available(&aim.key().runtime, available)).map(|()| done())
    })
}

async fn add_worker(State(observation): State<Arc<Observation>>, body: Bytes) -> Response {
    with(&body, |aim: Aim| observation.step(|backend| backend.add_worker(aim.key())).map(|()| done()))
}

async fn reset(State(observation): State<Arc<Observation>>) -> Response {
    observation.step(Backend::reset);
    done()
}
