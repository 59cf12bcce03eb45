//! The controls of the OpenClaw gateway: what a test or a demo may look at, set and provoke. They stand under
//! `/control/openclaw/` and obey the same callers as the others.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::Message;
use axum::extract::{RawQuery, State as Shared};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::history::canonical;
use super::{Connection, ConnectionId, Gateway, Phase, Stage, State, uuid};
use crate::control::{answer, counted, done, with};
use crate::outlet::End;

type Controls = Shared<Arc<Gateway>>;

/// How long runs may hold up a restart.
const PATIENCE: Duration = Duration::from_secs(315);
const LOOK: Duration = Duration::from_millis(10);

pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/state", get(state))
        .route("/received", get(received))
        .route("/config", post(config))
        .route("/gap", post(gap))
        .route("/event", post(event))
        .route("/send", post(send))
        .route("/close", post(close))
        .route("/restart", post(restart))
        .route("/up", post(up))
        .route("/rotate", post(rotate))
        .route("/revoke", post(revoke))
        .route("/approve", post(approve))
        .route("/reject", post(reject))
        .route("/inject", post(inject))
        .route("/run", post(run))
        .route("/reset", post(reset))
        .with_state(gateway)
}

async fn state(Shared(gateway): Controls) -> Response {
    gateway.step(|state, _| answer(&state.report()))
}

impl State {
    fn report(&self) -> Value {
        let connections: Vec<Value> = self.connections.iter().map(|(id, connection)| connection.report(*id)).collect();
        json!({
            "config": self.config, "phase": format!("{:?}", self.phase).to_lowercase(), "bootId": self.boot,
            "connections": connections, "sessions": self.listed(), "activeRuns": self.active_runs(None),
            "devices": self.registry.device_count(), "pairing": self.registry.waiting(),
        })
    }
}

impl Connection {
    fn report(&self, id: ConnectionId) -> Value {
        json!({
            "id": id, "ready": matches!(self.stage, Stage::Ready), "protocol": self.version.protocol(),
            "version": self.version.name(), "seq": self.seq, "scopes": self.scopes, "caps": self.caps,
            "deviceId": self.device, "subscriptions": self.subscriptions, "origin": self.origin,
        })
    }
}

async fn received(Shared(gateway): Controls, RawQuery(query): RawQuery) -> Response {
    let wanted = query.as_deref().and_then(|query| query.split('&').find_map(|part| part.strip_prefix("connection=")));
    gateway.step(|state, _| answer(&state.journal.entries(wanted)))
}

async fn config(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |change: Map<String, Value>| {
        let config = gateway.step(|state, _| {
            state.config = state.config.changed(change)?;
            Ok::<_, String>(state.config.clone())
        })?;
        gateway.rearm.notify_one();
        Ok(answer(&config))
    })
}

/// One connection by its number, or all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gap {
    count: Option<u64>,
    to: Option<ConnectionId>,
}

async fn gap(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |Gap { count, to }| Ok(counted(gateway.each(to, |connection| connection.seq += count.unwrap_or(1)))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    event: String,
    payload: Option<Value>,
    to: Option<ConnectionId>,
}

async fn event(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |Event { event, payload, to }| {
        let payload = payload.unwrap_or_else(|| json!({}));
        Ok(counted(gateway.each(to, |connection| connection.event(&event, &payload))))
    })
}

/// A frame as JSON, or a text to the letter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Send {
    frame: Option<Value>,
    text: Option<String>,
    to: Option<ConnectionId>,
}

async fn send(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |Send { frame, text, to }| {
        let text = match (frame, text) {
            (Some(frame), None) => frame.to_string(),
            (None, Some(text)) => text,
            _ => return Err("wants one of frame and text".to_owned()),
        };
        Ok(counted(gateway.each(to, |connection| {
            connection.outlet.push(Message::text(text.as_str()));
        })))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Close {
    code: Option<u16>,
    reason: Option<String>,
    abrupt: Option<bool>,
    to: Option<ConnectionId>,
}

async fn close(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |Close { code, reason, abrupt, to }| {
        let reason = reason.unwrap_or_default();
        match code {
            _ if abrupt == Some(true) => Ok(counted(gateway.each(to, |connection| connection.outlet.end(End::Abort)))),
            Some(code) => Ok(counted(gateway.each(to, |connection| connection.close(code, &reason)))),
            None => Err("wants a code, or abrupt: true".to_owned()),
        }
    })
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Restart {
    /// How long upgrades are refused, and `connect` after that.
    down_ms: Option<u64>,
    starting_ms: Option<u64>,
    /// Whether runs may end first.
    finish_runs: Option<bool>,
    /// Without a word, as when the process is killed.
    kill: Option<bool>,
}

async fn restart(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |restart: Restart| {
        let number = gateway.step(|state, _| {
            state.restarts += 1;
            state.restarts
        });
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move { gateway.restart(number, restart).await });
        Ok(done())
    })
}

impl Gateway {
    /// Does something to one connection that is through its handshake, or to all; tells to how many.
    fn each(self: &Arc<Self>, to: Option<ConnectionId>, mut act: impl FnMut(&mut Connection)) -> usize {
        self.step(|state, _| {
            let mut count = 0;
            for (id, connection) in &mut state.connections {
                if to.map_or(matches!(connection.stage, Stage::Ready), |to| to == *id) {
                    act(connection);
                    count += 1;
                }
            }
            count
        })
    }

    /// Goes down and comes back, as long as no other restart or `up` overtakes it.
    async fn restart(self: Arc<Self>, number: u64, restart: Restart) {
        let (down, starting) = (restart.down_ms.unwrap_or(1_000), restart.starting_ms.unwrap_or(500));
        if restart.finish_runs == Some(true) {
            self.turn(number, Phase::Draining);
            let finished = async {
                while self.step(|state, _| state.restarts == number && !state.active_runs(None).is_empty()) {
                    sleep(LOOK).await;
                }
            };
            // Whoever takes too long is cut off.
            let _ = tokio::time::timeout(PATIENCE, finished).await;
        }
        self.step(|state, _| {
            if state.restarts != number {
                return;
            }
            if restart.kill == Some(true) {
                for connection in state.connections.values() {
                    connection.outlet.end(End::Abort);
                }
            } else {
                state.shut_down("gateway restarting", Some(down + starting));
            }
            state.lose_runs();
            state.boot = uuid();
        });
        for (phase, ms) in [(Phase::Down, down), (Phase::Starting, starting), (Phase::Up, 0)] {
            self.turn(number, phase);
            sleep(Duration::from_millis(ms)).await;
        }
    }

    fn turn(self: &Arc<Self>, number: u64, phase: Phase) {
        self.step(|state, now| {
            if state.restarts == number {
                state.phase = phase;
                if phase == Phase::Up {
                    state.started = now;
                }
            }
        });
    }
}

impl State {
    /// What a new process does not know: runs. Their keys are claimed for good.
    fn lose_runs(&mut self) {
        /// Enough for any test; the oldest are unknown again.
        const MAX_CLAIMED: usize = 10_000;
        for (id, _) in std::mem::take(&mut self.runs) {
            if self.claimed.len() >= MAX_CLAIMED {
                self.claimed.pop_first();
            }
            self.claimed.insert(id);
        }
        for session in self.sessions.values_mut() {
            session.active = None;
            session.queue.clear();
        }
    }
}

async fn up(Shared(gateway): Controls) -> Response {
    gateway.step(|state, _| {
        state.restarts += 1;
        state.phase = Phase::Up;
    });
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    token: Option<String>,
}

/// The shared token is another one: everybody has to go, and device tokens are dead.
async fn rotate(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |Rotate { token }| {
        gateway.step(|state, _| {
            if let Some(token) = token {
                state.config.token = token;
            }
            state.registry.forget_tokens();
        });
        Ok(counted(gateway.each(None, |connection| connection.close(4001, "gateway auth changed"))))
    })
}

/// All devices are strangers again.
async fn revoke(Shared(gateway): Controls) -> Response {
    gateway.step(|state, _| state.registry.forget_devices());
    let mut count = 0;
    gateway.each(None, |connection| {
        if connection.device.is_some() {
            connection.close(4001, "device removed");
            count += 1;
        }
    });
    counted(count)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    request_id: Option<String>,
}

async fn approve(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |Request { request_id }| {
        Ok(counted(gateway.step(|state, _| state.registry.approve(request_id.as_deref()))))
    })
}

async fn reject(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |Request { request_id }| {
        Ok(counted(gateway.step(|state, _| state.registry.reject(request_id.as_deref()))))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Inject {
    session_key: String,
    message: String,
    label: Option<String>,
}

async fn inject(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |Inject { session_key, message, label }| {
        let key = canonical(&session_key);
        let injected = gateway.step(|state, now| state.inject(now, &key, &message, label.as_deref()));
        injected.map(|injected| answer(&injected)).map_err(|refusal| refusal.message)
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Run {
    session_key: String,
    message: String,
}

/// A run that no client asked for.
async fn run(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |Run { session_key, message }| {
        let key = canonical(&session_key);
        let run = uuid();
        gateway.step(|state, now| {
            if state.session(&key).active.is_some() {
                return Err("the session is busy".to_owned());
            }
            state.start(now, &run, &key, &message);
            Ok(())
        })?;
        Ok(answer(&json!({"runId": run})))
    })
}

/// Everything as at the start; whoever is connected is cut off.
async fn reset(Shared(gateway): Controls) -> Response {
    gateway.step(|state, now| {
        for connection in state.connections.values() {
            connection.outlet.end(End::Abort);
        }
        let connections = std::mem::take(&mut state.connections);
        let (joined, restarts) = (state.joined, state.restarts);
        // Kept until their tasks part: a number is never used twice.
        *state = State { connections, joined, restarts: restarts + 1, ..State::new(now) };
    });
    gateway.rearm.notify_one();
    done()
}
