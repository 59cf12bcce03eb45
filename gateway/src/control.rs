//! The control endpoint: HTTP and JSON through which tests and the curious drive the gateway and its faults.
//! What a request does is world.rs and faults.rs; here it is only let in, read and answered. The controls of the other
//! protocols are beside them, behind the same guard.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::Message;
use axum::extract::{ConnectInfo, DefaultBodyLimit, RawQuery, Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::config::{Change, Config};
use crate::delivery::Stream;
use crate::faults::{self, Faults};
use crate::hub::Hub;
use crate::listener::Peer;
use crate::numbered::is_object;
use crate::sessions::ClientId;
use crate::world::delivery::LineReport;
use crate::world::misconduct;
use crate::world::{ConnectionId, Target, Totals};

/// What a page on another site cannot send along without asking first, and would be refused.
pub const HEADER: &str = "x-moorline-control";

/// Enough for a frame above any client's limit.
const MAX_BODY: usize = 40 * 1024 * 1024;

/// How long a connection may stay that is told to move, unless the request says.
const NOTICE_MS: u64 = 5_000;

#[derive(Clone)]
struct Controls {
    hub: Arc<Hub>,
    faults: Arc<Faults>,
}

pub fn router(hub: Arc<Hub>, faults: Arc<Faults>) -> Router {
    let routes = Router::new()
        .route("/state", get(state))
        .route("/received", get(received))
        .route("/taken", get(taken))
        .route("/delivery", get(show_misconduct).post(set_misconduct))
        .route("/move", post(relocate))
        .route("/config", post(config))
        .route("/send", post(send))
        .route("/advise", post(advise))
        .route("/close", post(close))
        .route("/down", post(down))
        .route("/up", post(up))
        .route("/rotate", post(rotate))
        .route("/expire", post(expire))
        .route("/reset", post(reset))
        .route("/faults", get(show_faults).post(set_faults))
        .with_state(Controls { hub, faults });
    guarded(routes)
}

/// The same routes, for those whom the controls obey.
pub fn guarded(routes: Router) -> Router {
    routes.layer(DefaultBodyLimit::max(MAX_BODY)).layer(middleware::from_fn(guard))
}

/// Lets in who sits at this machine, says the header, and is not a page of elsewhere.
async fn guard(ConnectInfo(Peer(peer)): ConnectInfo<Peer>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let said = headers.get(HEADER).is_some_and(|value| value == "1");
    let host = headers.get(HOST).is_some_and(|host| host.to_str().is_ok_and(is_address));
    let origin = headers
        .get(ORIGIN)
        .is_none_or(|origin| origin.to_str().is_ok_and(|origin| host_of(origin).is_some_and(is_loopback)));
    if said && host && origin && peer.ip().to_canonical().is_loopback() {
        return next.run(request).await;
    }
    let advice = format!("control wants the header {HEADER}: 1, from this machine");
    refusal(StatusCode::FORBIDDEN, &advice)
}

/// Whether a page of this origin may open a world: one from this machine, or from this gateway.
/// Without an origin, or with an opaque one, it is no page that could be told apart.
pub fn may_join(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    let Some(from) = host_of(origin) else {
        return origin == "null";
    };
    let own = headers.get(HOST).and_then(|host| host.to_str().ok());
    is_loopback(from) || own == Some(from)
}

pub fn host_of(origin: &str) -> Option<&str> {
    origin.split_once("://").map(|(_, host)| host)
}

/// Whether a host, with or without a port, is this machine by name or number.
pub fn is_loopback(host: &str) -> bool {
    let name = without_port(host);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a host can only have been typed as a number, or is localhost: no foreign name that was
/// made to point here.
pub fn is_address(host: &str) -> bool {
    is_loopback(host) || without_port(host).parse::<IpAddr>().is_ok()
}

fn without_port(host: &str) -> &str {
    if let Some(inside) = host.strip_prefix('[') {
        return inside.split_once(']').map_or(inside, |(address, _)| address);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    clients: Vec<ClientReport>,
    sessions: usize,
    connections: Vec<ConnectionReport>,
    totals: Totals,
    down: bool,
    epoch: String,
    config: Config,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientReport {
    client_id: ClientId,
    connected: bool,
    buffered_out: usize,
    streams: Vec<Stream>,
    feed: FeedReport,
}

#[derive(Default, Serialize)]
struct FeedReport {
    newest: u64,
    kept: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionReport {
    id: ConnectionId,
    client_id: Option<ClientId>,
    received: u64,
    buffered_out: usize,
    /// Told to end, and not gone yet.
    ending: bool,
    #[serde(flatten)]
    line: Option<LineReport>,
}

async fn state(State(Controls { hub, .. }): State<Controls>) -> Response {
    let backlogs = hub.backlogs();
    let report = hub.step(|world, _| {
        let connections: Vec<ConnectionReport> = world
            .connections()
            .map(|(id, client, received)| {
                let backlog = backlogs.get(&id).copied().unwrap_or_default();
                ConnectionReport {
                    id,
                    client_id: client.cloned(),
                    received,
                    buffered_out: backlog.bytes,
                    ending: backlog.ending,
                    line: world.line_report(id),
                }
            })
            .collect();
        let buffered = |client: &ClientId| {
            let own = connections.iter().filter(|c| c.client_id.as_ref() == Some(client));
            own.map(|connection| connection.buffered_out).sum()
        };
        let clients = world
            .clients()
            .into_iter()
            .map(|(client_id, connected)| {
                let buffered_out = buffered(&client_id);
                let delivery = world.sessions().session(&client_id).map(|session| &session.delivery);
                let streams = delivery.map(|delivery| delivery.streams().to_vec()).unwrap_or_default();
                let feed = delivery.map(|delivery| &delivery.feed);
                let feed = feed.map(|feed| FeedReport { newest: feed.newest(), kept: feed.kept() }).unwrap_or_default();
                ClientReport { client_id, connected, buffered_out, streams, feed }
            })
            .collect();
        Report {
            clients,
            sessions: world.sessions().len(),
            totals: world.totals(),
            down: world.is_down(),
            epoch: world.sessions().epoch().to_owned(),
            config: world.config().clone(),
            connections,
        }
    });
    answer(&report)
}

async fn received(State(Controls { hub, .. }): State<Controls>, RawQuery(query): RawQuery) -> Response {
    // Client ids need no escaping.
    let client = query.as_deref().and_then(|query| query.split('&').find_map(|part| part.strip_prefix("clientId=")));
    hub.step(|world, _| answer(&world.journal().entries(client)))
}

async fn taken(State(Controls { hub, .. }): State<Controls>) -> Response {
    hub.step(|world, _| answer(&world.journal().taken()))
}

async fn show_misconduct(State(Controls { hub, .. }): State<Controls>) -> Response {
    hub.step(|world, _| answer(world.misconduct()))
}

async fn set_misconduct(State(Controls { hub, .. }): State<Controls>, body: Bytes) -> Response {
    with(&body, |request: misconduct::Request| {
        hub.step(|world, now| world.misbehave(now, request));
        Ok(done())
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Move {
    within_ms: Option<u64>,
    to: Option<String>,
    /// Whether everybody gets a new token first.
    #[serde(default)]
    rotate: bool,
    /// Whether the time stays the gateway's secret.
    #[serde(default)]
    untold: bool,
}

async fn relocate(State(Controls { hub, .. }): State<Controls>, body: Bytes) -> Response {
    with(&body, |Move { within_ms, to, rotate, untold }| {
        let moved = hub.step(|world, now| {
            if rotate {
                world.rotate(now);
            }
            world.relocate(now, &target(to.as_deref()), within_ms.unwrap_or(NOTICE_MS), !untold)
        });
        Ok(counted(moved))
    })
}

async fn config(State(Controls { hub, .. }): State<Controls>, body: Bytes) -> Response {
    with(&body, |change: Change| {
        let config = hub.step(|world, now| {
            world.configure(now, change);
            world.config().clone()
        });
        Ok(answer(&config))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Send<'a> {
    #[serde(borrow)]
    frame: Option<&'a RawValue>,
    text: Option<String>,
    binary_base64: Option<String>,
    to: Option<String>,
    /// Whether the frame goes into the feed, that of absent sessions too.
    #[serde(default)]
    feed: bool,
}

async fn send(State(Controls { hub, .. }): State<Controls>, body: Bytes) -> Response {
    with(&body, |request: Send| {
        if request.feed {
            let frame = request.frame.map(RawValue::get).filter(|frame| is_object(frame));
            let frame = frame.ok_or("the feed wants a frame that is an object")?;
            return Ok(counted(hub.step(|world, _| world.feed(&target(request.to.as_deref()), frame))));
        }
        let message = match (request.frame, request.text, request.binary_base64) {
            (Some(frame), None, None) => Message::text(frame.get()),
            (None, Some(text), None) => Message::text(text),
            (None, None, Some(code)) => match STANDARD.decode(&code) {
                Ok(bytes) => Message::binary(bytes),
                Err(error) => return Err(format!("binaryBase64: {error}")),
            },
            _ => return Err("wants one of frame, text and binaryBase64".to_owned()),
        };
        let sent = hub.step(|world, _| world.send(&target(request.to.as_deref()), &message));
        Ok(counted(sent))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Advise {
    retry_after_ms: u64,
    spread_ms: Option<u64>,
    reason: Option<String>,
}

async fn advise(State(Controls { hub, .. }): State<Controls>, body: Bytes) -> Response {
    with(&body, |Advise { retry_after_ms, spread_ms, reason }| {
        Ok(counted(hub.step(|world, _| world.advise(retry_after_ms, spread_ms, reason.as_deref()))))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Close {
    code: Option<u16>,
    reason: Option<String>,
    to: Option<String>,
    abrupt: Option<bool>,
}

async fn close(State(Controls { hub, .. }): State<Controls>, body: Bytes) -> Response {
    with(&body, |Close { code, reason, to, abrupt }| {
        let target = target(to.as_deref());
        let reason = reason.unwrap_or_default();
        match code {
            _ if abrupt == Some(true) => Ok(counted(hub.step(|world, _| world.abort(&target)))),
            None => Err("wants a code, or abrupt: true".to_owned()),
            // A control frame holds 125 bytes, two of them the code.
            Some(_) if reason.len() > 123 => Err("the reason is longer than 123 bytes".to_owned()),
            Some(code) => Ok(counted(hub.step(|world, _| world.close(&target, code, &reason)))),
        }
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Down {
    ms: Option<u64>,
    code: Option<u16>,
}

async fn down(State(Controls { hub, .. }): State<Controls>, body: Bytes) -> Response {
    let mut order = None;
    let answer = with(&body, |Down { ms, code }| {
        order = Some((ms, code));
        Ok(done())
    });
    if let Some((ms, code)) = order {
        hub.go_down(ms, Some(code.unwrap_or(1012))).await;
    }
    answer
}

async fn up(State(Controls { hub, .. }): State<Controls>) -> Response {
    hub.step(|world, _| world.up());
    done()
}

async fn rotate(State(Controls { hub, .. }): State<Controls>) -> Response {
    counted(hub.step(|world, now| world.rotate(now)))
}

async fn expire(State(Controls { hub, .. }): State<Controls>) -> Response {
    hub.step(|world, _| world.expire());
    done()
}

async fn reset(State(Controls { hub, faults }): State<Controls>) -> Response {
    hub.step(|world, now| world.reset(now));
    faults.reset();
    done()
}

async fn show_faults(State(Controls { faults, .. }): State<Controls>) -> Response {
    answer(&faults.report())
}

async fn set_faults(State(Controls { faults, .. }): State<Controls>, body: Bytes) -> Response {
    with(&body, |request: faults::Request| {
        faults.apply(&request);
        Ok(answer(&faults.report()))
    })
}

fn target(to: Option<&str>) -> Target {
    to.map_or(Target::Everyone, |to| Target::Client(ClientId::from(to)))
}

/// Reads the body, an empty one as `{}`, and answers 400 to what cannot be understood.
pub fn with<'a, T: Deserialize<'a>>(body: &'a [u8], act: impl FnOnce(T) -> Result<Response, String>) -> Response {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let request = serde_json::from_slice(body).map_err(|error| error.to_string());
    request.and_then(act).unwrap_or_else(|error| refusal(StatusCode::BAD_REQUEST, &error))
}

#[derive(Serialize)]
struct Done {
    ok: bool,
}

#[derive(Serialize)]
struct Counted {
    count: usize,
}

#[derive(Serialize)]
struct Refused<'a> {
    error: &'a str,
}

pub fn done() -> Response {
    answer(&Done { ok: true })
}

/// To how many connections, or clients, it was done.
pub fn counted(count: usize) -> Response {
    answer(&Counted { count })
}

pub fn refusal(status: StatusCode, error: &str) -> Response {
    (status, answer(&Refused { error })).into_response()
}

pub fn answer(value: &impl Serialize) -> Response {
    let text = serde_json::to_string(value).expect("strings, numbers and raw JSON can be written");
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
