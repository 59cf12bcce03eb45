//! The controls of the Hermes gateway: what a test or a demo may look at, set and provoke. They stand under
//! `/control/hermes/` and obey the same callers as the others.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State as Shared};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::{ConnectionId, Gateway, State, asked, event};
use crate::control::{answer, counted, done, with};
use crate::outlet::End;

type Controls = Shared<Arc<Gateway>>;

pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/state", get(state))
        .route("/received", get(received))
        .route("/config", post(config))
        .route("/send", post(send))
        .route("/event", post(tell_event))
        .route("/close", post(close))
        .route("/restart", post(restart))
        .route("/up", post(up))
        .route("/ticket", post(ticket))
        .route("/turn", post(turn))
        .route("/expire", post(expire))
        .route("/reap", post(reap))
        .route("/rename", post(rename))
        .route("/reset", post(reset))
        .with_state(gateway)
}

async fn state(Shared(gateway): Controls) -> Response {
    gateway.step(|state, _| {
        let connections: Vec<Value> = state
            .connections
            .iter()
            .map(|(id, one)| json!({"id": id, "version": one.version, "answersRequests": one.answers_requests}))
            .collect();
        let sessions: Vec<Value> = state
            .live
            .iter()
            .map(|(runtime, live)| {
                json!({
                    "sessionId": runtime, "storedId": live.stored, "attached": live.attached,
                    "status": live.status(), "queued": live.queue.len(),
                })
            })
            .collect();
        answer(&json!({
            "config": state.config, "down": state.down, "epoch": state.epoch, "connections": connections,
            "sessions": sessions, "stored": state.stored.len(),
        }))
    })
}

async fn received(Shared(gateway): Controls, RawQuery(query): RawQuery) -> Response {
    let wanted = asked(query.as_deref(), "connection");
    gateway.step(|state, _| answer(&state.journal.entries(wanted)))
}

async fn config(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |change: Map<String, Value>| {
        let config = gateway.step(|state, _| {
            state.config = state.config.changed(change)?;
            Ok::<_, String>(state.config.clone())
        })?;
        Ok(answer(&config))
    })
}

/// A frame as JSON, or a text to the letter, to one connection by its number or to all.
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
        Ok(counted(gateway.step(|state, _| {
            let ids = state.chosen(to);
            for id in &ids {
                state.tell(*id, &text);
            }
            ids.len()
        })))
    })
}

/// An event of a session, numbered as its own are, or without one of nobody's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Event {
    r#type: String,
    payload: Option<Value>,
    session_id: Option<String>,
}

async fn tell_event(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |Event { r#type, payload, session_id }| {
        gateway.step(|state, _| match session_id {
            Some(runtime) => state.emit(&runtime, &r#type, payload),
            None => {
                let mut params = json!({"type": r#type});
                if let Some(payload) = payload {
                    params["payload"] = payload;
                }
                for id in state.chosen(None) {
                    state.tell(id, &event(params.clone()));
                }
            }
        });
        Ok(done())
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Close {
    code: Option<u16>,
    abrupt: Option<bool>,
    to: Option<ConnectionId>,
}

async fn close(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |Close { code, abrupt, to }| {
        let abrupt = abrupt == Some(true);
        let code = match code {
            None if !abrupt => return Err("wants a code, or abrupt: true".to_owned()),
            code => code.unwrap_or_default(),
        };
        Ok(counted(gateway.step(|state, _| {
            let ids = state.chosen(to);
            for id in &ids {
                if let Some(connection) = state.connections.get(id) {
                    if abrupt {
                        connection.outlet.end(End::Abort);
                    } else {
                        connection.close(code);
                    }
                }
            }
            ids.len()
        })))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Restart {
    /// How long upgrades are refused.
    down_ms: Option<u64>,
    /// Without a close frame, as when the process is killed.
    kill: Option<bool>,
}

/// A new process: runtime ids are forgotten with their turns, stored sessions are not.
async fn restart(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |Restart { down_ms, kill }| {
        let number = gateway.step(|state, _| {
            state.restarts += 1;
            state.down = true;
            state.forget_runtime();
            for connection in state.connections.values() {
                if kill == Some(true) {
                    connection.outlet.end(End::Abort);
                } else {
                    connection.close(1012);
                }
            }
            state.restarts
        });
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            sleep(Duration::from_millis(down_ms.unwrap_or(1_000))).await;
            gateway.step(|state, _| state.down &= state.restarts != number);
        });
        Ok(done())
    })
}

async fn up(Shared(gateway): Controls) -> Response {
    gateway.step(|state, _| {
        state.restarts += 1;
        state.down = false;
    });
    done()
}

/// A ticket without showing the token.
async fn ticket(Shared(gateway): Controls) -> Response {
    gateway.step(|state, now| answer(&json!({"ticket": state.mint(now)})))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Session {
    session_id: Option<String>,
    text: Option<String>,
}

impl Session {
    /// The runtime id that is meant by either id; without one, the only session.
    fn find(&self, state: &State) -> Result<String, String> {
        match &self.session_id {
            Some(id) if state.live.contains_key(id) => Ok(id.clone()),
            Some(id) => state.runtime_of(&state.newest(id)).ok_or_else(|| format!("no session {id}")),
            None if state.live.len() == 1 => Ok(state.live.keys().next().cloned().unwrap_or_default()),
            None => Err(format!("wants a sessionId: there are {} sessions", state.live.len())),
        }
    }
}

/// A turn that nobody asked for.
async fn turn(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |session: Session| {
        gateway.step(|state, now| {
            let runtime = session.find(state)?;
            if state.live.get(&runtime).is_some_and(|live| live.turn.is_some()) {
                return Err("the session is busy".to_owned());
            }
            state.begin_turn(now, &runtime, session.text.as_deref().unwrap_or("the process finished"), true);
            Ok(done())
        })
    })
}

/// The open question runs out.
async fn expire(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |session: Session| {
        gateway.step(|state, _| {
            let runtime = session.find(state)?;
            Ok(counted(usize::from(state.expire(&runtime))))
        })
    })
}

/// The session is let go now, whoever hears of it.
async fn reap(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |session: Session| {
        gateway.step(|state, _| {
            let runtime = session.find(state)?;
            Ok(counted(usize::from(state.live.remove(&runtime).is_some())))
        })
    })
}

/// The stored id becomes another, as after a compression.
async fn rename(Shared(gateway): Controls, body: Bytes) -> Response {
    with(&body, |session: Session| {
        gateway.step(|state, now| {
            let runtime = session.find(state)?;
            Ok(answer(&json!({"storedId": state.rename(now, &runtime)})))
        })
    })
}

/// Everything as at the start; whoever is connected is cut off.
async fn reset(Shared(gateway): Controls) -> Response {
    gateway.step(|state, _| {
        for connection in state.connections.values() {
            connection.outlet.end(End::Abort);
        }
        let connections = std::mem::take(&mut state.connections);
        let (joined, turns, restarts) = (state.joined, state.turns, state.restarts);
        // Numbers are never used twice.
        *state = State { connections, joined, turns, restarts: restarts + 1, ..State::new() };
    });
    done()
}

impl State {
    fn chosen(&self, to: Option<ConnectionId>) -> Vec<ConnectionId> {
        let all = self.connections.keys().copied();
        all.filter(|id| to.is_none_or(|to| to == *id)).collect()
    }
}
