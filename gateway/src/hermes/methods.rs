//! What a Hermes client may call, and what it is answered. What a session is stands in session.rs, how a turn goes in
//! turns.rs.

use serde_json::{Value, json};

use super::config::Version;
use super::session::{Row, Stored};
use super::turns::{Kind, Submitted};
use super::{ConnectionId, Failure, State};
use crate::sessions::Time;

const PAGE: usize = 200;

/// The methods that a pool answers, out of order with the others.
const POOLED: [&str; 6] =
    ["session.list", "session.resume", "session.active_list", "session.usage", "process.list", "setup.status"];

pub fn is_pooled(method: &str) -> bool {
    POOLED.contains(&method)
}

type Answer = Result<Value, Failure>;

impl State {
    pub fn call(&mut self, now: Time, id: ConnectionId, version: Version, method: &str, params: &Value) -> Answer {
        match method {
            "session.create" => self.create(now, id, version, params),
            "session.resume" => self.resume(now, id, version, params),
            "session.activate" => {
                let (runtime, _) = self.live(params)?;
                self.attach(now, id, &runtime);
                Ok(self.shown(&runtime))
            }
            "session.close" => {
                let runtime = params["session_id"].as_str().unwrap_or_default();
                Ok(json!({"closed": self.live.remove(runtime).is_some()}))
            }
            "session.list" => Ok(self.list(params)),
            "session.most_recent" => Ok(self.most_recent()),
            "session.active_list" => Ok(self.active_list(id)),
            "session.history" => {
                let key = self.live(params)?.1.stored.clone();
                let stored = self.kept(&key)?;
                Ok(json!({"count": stored.raw_count(), "messages": stored.shown()}))
            }
            "session.title" => self.title(params),
            "session.usage" => Ok(self.live(params)?.1.usage.shown()),
            "session.status" => {
                let status = self.live(params)?.1.status();
                Ok(json!({"output": format!("the session is {status}")}))
            }
            "session.interrupt" => {
                let (runtime, live) = self.live(params)?;
                live.queue.clear();
                self.interrupt(&runtime);
                Ok(json!({"status": "interrupted"}))
            }
            "session.steer" => self.steered(params),
            "session.undo" => self.undo(params),
            "session.cwd.set" => match self.live(params)?.1.turn {
                Some(_) => Err(busy("")),
                None => Ok(json!({"cwd": params["cwd"]})),
            },
            "session.delete" => self.delete(params),
            "prompt.submit" => self.prompt(now, id, version, params),
            "approval.respond" => {
                let (runtime, _) = self.live(params)?;
                let choice = params["choice"].as_str().unwrap_or("deny");
                Ok(json!({"resolved": self.respond_approval(&runtime, choice)}))
            }
            "clarify.respond" => {
                if self.respond(Kind::Clarify, text(params, "request_id"), text(params, "answer")) {
                    Ok(json!({"status": "ok"}))
                } else {
                    Err(Failure::new(4009, "no pending answer request"))
                }
            }
            "sudo.respond" => Ok(self.secret(Kind::Sudo, params, "password")),
            "secret.respond" => Ok(self.secret(Kind::Secret, params, "value")),
            "process.list" => self.live(params).map(|_| json!({"processes": []})),
            "process.kill" => self.kill(params),
            "terminal.resize" => self.live(params).map(|_| json!({"cols": params["cols"]})),
            "setup.status" => Ok(json!({"provider_configured": true})),
            _ if version >= Version::V20 => self.call_newer(id, method, params),
            _ => Err(unknown(method)),
        }
    }

    /// What only version 0.20 knows.
    fn call_newer(&mut self, id: ConnectionId, method: &str, params: &Value) -> Answer {
        match method {
            "ping" | "gateway.ping" => Ok(json!({"pong": true})),
            "client.capabilities" => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.answers_requests = params["server_requests"] == true;
                }
                Ok(json!({"server_requests": ["approval", "clarify", "sudo", "secret"], "declines_not_shown": false}))
            }
            "session.events.since" => self.since(params),
            "session.events.stats" => Ok(json!({"sessions": self.live.len()})),
            _ => Err(unknown(method)),
        }
    }

    fn prompt(&mut self, now: Time, id: ConnectionId, version: Version, params: &Value) -> Answer {
        let (runtime, live) = self.live(params)?;
        let (key, running) = (live.stored.clone(), live.turn.is_some());
        if let Some(ordinal) = params.get("truncate_before_user_ordinal").filter(|ordinal| !ordinal.is_null()) {
            let Some(ordinal) = ordinal.as_u64() else {
                return Err(Failure::new(4004, "truncate_before_user_ordinal must be a whole number"));
            };
            if running {
                return Err(busy(""));
            }
            self.truncate(&key, ordinal)?;
        }
        self.attach(now, id, &runtime);
        match self.submit(now, &runtime, id, version, text(params, "text")) {
            Submitted::As(status) => Ok(json!({"status": status})),
            Submitted::Busy => Err(busy("")),
        }
    }

    fn truncate(&mut self, key: &str, ordinal: u64) -> Result<(), Failure> {
        let gone = || Failure::new(4018, "the target message is gone");
        let stored = self.stored.get_mut(key).ok_or_else(gone)?;
        let users = stored.rows.iter().enumerate().filter(|(_, row)| matches!(row, Row::User(_)));
        let place = users.map(|(at, _)| at).nth(usize::try_from(ordinal).unwrap_or(usize::MAX)).ok_or_else(gone)?;
        stored.rows.truncate(place);
        Ok(())
    }

    fn list(&self, params: &Value) -> Value {
        let limit = params["limit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE);
        let mut all: Vec<(&String, &Stored)> = self.stored.iter().filter(|(_, stored)| stored.prompted).collect();
        all.sort_by_key(|(_, stored)| std::cmp::Reverse(stored.latest()));
        let sessions: Vec<Value> = all.into_iter().take(limit).map(|(id, stored)| stored.listed(id)).collect();
        json!({"sessions": sessions})
    }

    fn most_recent(&self) -> Value {
        let prompted = self.stored.iter().filter(|(_, stored)| stored.prompted);
        match prompted.max_by_key(|(_, stored)| stored.latest()) {
            Some((id, stored)) => {
                json!({"session_id": id, "title": stored.title, "started_at": stored.began(), "source": stored.source})
            }
            None => json!({"session_id": null, "title": "", "started_at": 0, "source": ""}),
        }
    }

    fn active_list(&self, id: ConnectionId) -> Value {
        let mut sessions = Vec::new();
        for (runtime, live) in &self.live {
            if let Some(stored) = self.stored.get(&live.stored) {
                sessions.push(live.listed(runtime, stored, live.attached.contains(&id)));
            }
        }
        json!({"sessions": sessions})
    }

    fn title(&mut self, params: &Value) -> Answer {
        let (runtime, live) = self.live(params)?;
        let key = live.stored.clone();
        let Some(title) = params["title"].as_str() else {
            return Ok(json!({"title": self.kept(&key)?.title, "session_key": key}));
        };
        if title.trim().is_empty() {
            return Err(Failure::new(4021, "title required"));
        }
        if let Some(stored) = self.stored.get_mut(&key) {
            title.clone_into(&mut stored.title);
        }
        if let Some(live) = self.live.get_mut(&runtime) {
            live.titled = true;
        }
        Ok(json!({"pending": false, "title": title}))
    }

    fn steered(&mut self, params: &Value) -> Answer {
        let said = text(params, "text");
        let (runtime, live) = self.live(params)?;
        if said.trim().is_empty() {
            return Err(Failure::new(4002, "text required"));
        }
        if live.turn.is_some() {
            self.steer(&runtime, said);
        }
        Ok(json!({"status": "queued", "text": said}))
    }

    fn undo(&mut self, params: &Value) -> Answer {
        let (_, live) = self.live(params)?;
        if live.turn.is_some() {
            return Err(busy(" — /interrupt the current turn before /undo"));
        }
        let key = live.stored.clone();
        let Some(stored) = self.stored.get_mut(&key) else {
            return Err(Failure::new(4001, "session not found"));
        };
        let before = stored.rows.len();
        let last = stored.rows.iter().rposition(|row| matches!(row, Row::User(_))).unwrap_or(before);
        stored.rows.truncate(last);
        Ok(json!({"removed": before - last}))
    }

    fn delete(&mut self, params: &Value) -> Answer {
        let key = self.newest(text(params, "session_id"));
        if self.runtime_of(&key).is_some() {
            return Err(Failure::new(4023, "cannot delete an active session"));
        }
        match self.stored.remove(&key) {
            Some(_) => Ok(json!({"deleted": key})),
            None => Err(Failure::new(4007, "session not found")),
        }
    }

    fn secret(&mut self, kind: Kind, params: &Value, name: &str) -> Value {
        let settled = self.respond(kind, text(params, "request_id"), text(params, name));
        json!({"status": if settled { "ok" } else { "expired" }})
    }

    fn kill(&mut self, params: &Value) -> Answer {
        self.live(params)?;
        match text(params, "process_id") {
            "" => Err(Failure::new(4012, "process_id required")),
            process => Err(Failure::new(4044, format!("no such process: {process}"))),
        }
    }

    fn kept(&self, key: &str) -> Result<&Stored, Failure> {
        self.stored.get(key).ok_or_else(|| Failure::new(4001, "session not found"))
    }
}

fn text<'a>(params: &'a Value, name: &str) -> &'a str {
    params[name].as_str().unwrap_or_default()
}

fn busy(advice: &str) -> Failure {
    Failure::new(4009, format!("session busy{advice}"))
}

fn unknown(method: &str) -> Failure {
    Failure::new(-32601, format!("unknown method: {method}"))
}
