//! What an OpenClaw client may call, with which right, and what it is answered. How an answer of the model comes about is
//! runs.rs, what is remembered of it history.rs.

use serde_json::{Value, json};

use super::config::{Queue, Version};
use super::history::{Queued, canonical};
use super::runs::Progress;
use super::shape::{self, FILLED, Field, Kind, Need, TEXT};
use super::{Audience, ConnectionId, Phase, Refusal, State};
use crate::sessions::Time;

/// How many messages may wait in one session.
const MAX_WAITING: usize = 256;

struct Method {
    name: &'static str,
    scope: Option<&'static str>,
    fields: &'static [Field],
    /// What protocol 3 knows of it; `None` when it does not know the method.
    fields_3: Option<&'static [Field]>,
}

pub fn scope(method: &str) -> Option<&'static str> {
    METHODS.iter().find(|known| known.name == method).and_then(|known| known.scope)
}

/// The methods of a release, for `hello-ok`.
pub fn methods(version: Version) -> Vec<&'static str> {
    let known = METHODS.iter().filter(|method| version != Version::V3 || method.fields_3.is_some());
    known.map(|method| method.name).collect()
}

impl State {
    /// Does what a request wants. `None` when it has been answered already, because events had to follow.
    pub fn call(
        &mut self,
        now: Time,
        id: ConnectionId,
        request: &str,
        method: &str,
        params: &Value,
    ) -> Result<Option<Value>, Refusal> {
        if method == "connect" {
            return Err(Refusal::invalid("connect is only valid as the first request"));
        }
        let Some(version) = self.connections.get(&id).map(|connection| connection.version) else {
            return Ok(None);
        };
        let known = METHODS.iter().find(|known| known.name == method);
        let fields = known.and_then(|known| if version == Version::V3 { known.fields_3 } else { Some(known.fields) });
        let Some(fields) = fields else {
            return Err(Refusal::invalid(format!("unknown method: {method}")));
        };
        shape::check(params, fields).map_err(|error| Refusal::invalid(format!("invalid {method} params: {error}")))?;
        let text = |name: &str| params[name].as_str().unwrap_or_default();
        match method {
            "chat.send" => self.send(now, id, request, version, params),
            "chat.abort" | "sessions.abort" => {
                let key = params["sessionKey"].as_str().or(params["key"].as_str()).map(canonical);
                if params["clearQueued"] == true
                    && let Some(session) = key.as_ref().and_then(|key| self.sessions.get_mut(key))
                {
                    session.queue.clear();
                }
                Ok(Some(self.abort_all(now, key.as_deref(), params["runId"].as_str(), "rpc")))
            }
            "chat.history" => self.history(version, params).map(Some),
            "chat.message.get" => self.message(version, params).map(Some),
            "chat.inject" => {
                let key = canonical(text("sessionKey"));
                let label = params["label"].as_str();
                self.inject(now, &key, text("message"), label).map(Some)
            }
            "sessions.messages.subscribe" | "sessions.messages.unsubscribe" => {
                let key = canonical(text("key"));
                let subscribes = method == "sessions.messages.subscribe";
                if let Some(connection) = self.connections.get_mut(&id) {
                    if !subscribes {
                        connection.subscriptions.remove(&key);
                    } else if connection.subscriptions.len() < 1_000 {
                        connection.subscriptions.insert(key.clone());
                    }
                }
                Ok(Some(json!({"subscribed": subscribes, "key": key})))
            }
            "sessions.subscribe" => Ok(Some(json!({"subscribed": true, "list": {"sessions": self.listed()}}))),
            "sessions.list" => Ok(Some(json!({"sessions": self.listed()}))),
            _ => Ok(Some(json!({"ok": true, "ts": now.0}))),
        }
    }

    fn send(
        &mut self,
        now: Time,
        id: ConnectionId,
        request: &str,
        version: Version,
        params: &Value,
    ) -> Result<Option<Value>, Refusal> {
        let text = |name: &str| params[name].as_str().unwrap_or_default();
        let (message, run, key) = (text("message"), text("idempotencyKey"), canonical(text("sessionKey")));
        let attached = params["attachments"].as_array().is_some_and(|all| !all.is_empty());
        if message.trim().is_empty() && !attached {
            return Err(Refusal::invalid("message or attachment required"));
        }
        if message.trim() == "/stop" && params["suppressCommandInterpretation"] != true {
            return Ok(Some(self.abort_all(now, Some(&key), None, "stop")));
        }
        if let Some(known) = self.known(version, run, &key, message)? {
            return Ok(Some(known));
        }
        if self.phase == Phase::Draining {
            return Err(Refusal::unavailable("gateway restarting; retry shortly", "gateway-restarting"));
        }
        let mut ack = json!({"runId": run, "status": "started"});
        if self.claimed.contains(run) {
            self.answer(id, request, &ack);
            self.settle_empty(&key, run);
            return Ok(None);
        }
        let queue = match params["queueMode"].as_str() {
            Some("steer") => Queue::Steer,
            Some("followup") => Queue::Followup,
            Some("collect") => Queue::Collect,
            Some("interrupt") => Queue::Interrupt,
            _ => self.config.queue,
        };
        let Some(active) = self.session(&key).active.clone() else {
            self.answer(id, request, &ack);
            self.note_user(now, &key, message, run);
            self.start(now, run, &key, message);
            return Ok(None);
        };
        match queue {
            Queue::Interrupt => {
                self.abort(now, &active, "aborted");
                ack["interruptedActiveRun"] = json!(true);
                self.answer(id, request, &ack);
                self.note_user(now, &key, message, run);
                self.start(now, run, &key, message);
            }
            Queue::Steer => {
                self.answer(id, request, &ack);
                self.note_user(now, &key, message, run);
                self.steer(&active, message);
                self.settle_empty(&key, run);
            }
            Queue::Followup | Queue::Collect => {
                let waiting = &mut self.session(&key).queue;
                if waiting.iter().any(|queued| queued.key == run) {
                    return Ok(Some(json!({"runId": run, "status": "in_flight"})));
                }
                if waiting.len() >= MAX_WAITING {
                    return Err(Refusal::unavailable("too many messages wait", "queue-full"));
                }
                waiting.push_back(Queued { key: run.to_owned(), text: message.to_owned() });
                self.answer(id, request, &ack);
                self.settle_empty(&key, run);
            }
        }
        Ok(None)
    }

    /// What a key gets that was used before. Protocol 3 never compares, and starts an aborted run anew.
    fn known(&self, version: Version, id: &str, key: &str, message: &str) -> Result<Option<Value>, Refusal> {
        let Some(run) = self.runs.get(id) else {
            return Ok(None);
        };
        if version != Version::V3 && (run.key != key || run.message != message) {
            let text = "This message ID was already used for different input. Check the conversation history and use \
                        a new message ID to send again.";
            return Err(Refusal::detailed(text, json!({"reason": "chat-request-conflict"})));
        }
        match &run.state {
            Progress::Active => Ok(Some(json!({"runId": id, "status": "in_flight"}))),
            Progress::Finished { .. } => Ok(Some(json!({"runId": id, "status": "ok"}))),
            Progress::Aborted { .. } if version == Version::V3 => Ok(None),
            Progress::Aborted { at, reason } => {
                let ended = json!({
                    "runId": id, "status": "timeout", "summary": "aborted", "stopReason": reason, "endedAt": at.0,
                });
                Ok(Some(ended))
            }
            Progress::Failed { .. } => Err(Refusal {
                code: "UNAVAILABLE",
                payload: Some(json!({"runId": id, "status": "error", "summary": "the run failed"})),
                ..Refusal::invalid("the run failed")
            }),
        }
    }

    fn abort_all(&mut self, now: Time, key: Option<&str>, run: Option<&str>, reason: &'static str) -> Value {
        let active = if key.is_some() || run.is_some() { self.active_runs(key) } else { Vec::new() };
        let wanted = active.into_iter().filter(|id| run.is_none_or(|run| run == id));
        let ended: Vec<String> =
            wanted.collect::<Vec<_>>().into_iter().filter(|id| self.abort(now, id, reason)).collect();
        json!({"ok": true, "aborted": !ended.is_empty(), "runIds": ended})
    }

    /// Puts a message into a session, which all its readers hear of unasked.
    pub fn inject(&mut self, now: Time, key: &str, message: &str, label: Option<&str>) -> Result<Value, Refusal> {
        if !self.sessions.contains_key(key) {
            return Err(Refusal::invalid("session not found"));
        }
        let text = label.map_or_else(|| message.to_owned(), |label| format!("[{label}]\n\n{message}"));
        let row = self.note_assistant(now, key, &text, None);
        let message = json!({
            "role": "assistant", "content": [{"type": "text", "text": text}], "timestamp": now.0, "stopReason": "stop",
        });
        let payload = json!({
            "runId": format!("inject-{row}"), "sessionKey": key, "agentId": "main", "seq": 0, "state": "final",
            "message": message,
        });
        self.broadcast(Audience::Readers(key), "chat", |_| payload.clone());
        Ok(json!({"ok": true, "messageId": row}))
    }
}

const READ: Option<&str> = Some("operator.read");
const WRITE: Option<&str> = Some("operator.write");
const KEY: Kind = Kind::Text(1, 512);

const METHODS: &[Method] = &[
    Method { name: "health", scope: None, fields: PROBE, fields_3: Some(PROBE) },
    Method { name: "chat.send", scope: WRITE, fields: SEND, fields_3: Some(SEND_3) },
    Method { name: "chat.abort", scope: WRITE, fields: ABORT, fields_3: Some(ABORT_3) },
    Method { name: "chat.history", scope: READ, fields: HISTORY, fields_3: Some(HISTORY_3) },
    Method { name: "chat.inject", scope: Some("operator.admin"), fields: INJECT, fields_3: Some(INJECT) },
    Method { name: "chat.message.get", scope: READ, fields: MESSAGE, fields_3: None },
    Method { name: "sessions.list", scope: READ, fields: LIST, fields_3: Some(LIST) },
    Method { name: "sessions.subscribe", scope: READ, fields: LIST, fields_3: Some(LIST) },
    Method { name: "sessions.messages.subscribe", scope: READ, fields: FOLLOW, fields_3: Some(FOLLOW) },
    Method { name: "sessions.messages.unsubscribe", scope: READ, fields: FOLLOW, fields_3: Some(FOLLOW) },
    Method { name: "sessions.abort", scope: WRITE, fields: SESSION_ABORT, fields_3: None },
];

const PROBE: &[Field] = &[("probe", Kind::Flag, Need::May)];

const SEND: &[Field] = &[
    ("sessionKey", KEY, Need::Must),
    ("message", TEXT, Need::Must),
    ("idempotencyKey", FILLED, Need::Must),
    ("agentId", FILLED, Need::May),
    ("sessionId", FILLED, Need::May),
    ("thinking", TEXT, Need::May),
    ("fastMode", Kind::Any, Need::May),
    ("queueMode", Kind::OneOf(&["steer", "followup", "collect", "interrupt"]), Need::May),
    ("deliver", Kind::Flag, Need::May),
    ("replyToId", TEXT, Need::May),
    ("attachments", Kind::List, Need::May),
    ("timeoutMs", Kind::Whole(0, i64::MAX), Need::May),
    ("expectedLeafEntryId", Kind::Any, Need::May),
    ("suppressCommandInterpretation", Kind::Flag, Need::May),
];

const SEND_3: &[Field] = &[
    ("sessionKey", KEY, Need::Must),
    ("message", TEXT, Need::Must),
    ("idempotencyKey", FILLED, Need::Must),
    ("thinking", TEXT, Need::May),
    ("deliver", Kind::Flag, Need::May),
    ("attachments", Kind::List, Need::May),
    ("timeoutMs", Kind::Whole(0, i64::MAX), Need::May),
];

const ABORT: &[Field] = &[
    ("sessionKey", KEY, Need::Must),
    ("runId", FILLED, Need::May),
    ("agentId", FILLED, Need::May),
    ("preserveSideRuns", Kind::Flag, Need::May),
];

const ABORT_3: &[Field] = &[("sessionKey", KEY, Need::Must), ("runId", FILLED, Need::May)];

const HISTORY: &[Field] = &[
    ("sessionKey", KEY, Need::Must),
    ("limit", Kind::Whole(1, 1_000), Need::May),
    ("offset", Kind::Whole(0, i64::MAX), Need::May),
    ("maxChars", Kind::Whole(1, i64::MAX), Need::May),
    ("cursor", FILLED, Need::May),
    ("messageId", FILLED, Need::May),
    ("sessionId", FILLED, Need::May),
    ("inputRunIds", Kind::Texts(50), Need::May),
    ("pendingBefore", Kind::Any, Need::May),
];

const HISTORY_3: &[Field] = &[
    ("sessionKey", KEY, Need::Must),
    ("limit", Kind::Whole(1, 1_000), Need::May),
    ("maxChars", Kind::Whole(1, i64::MAX), Need::May),
];

const INJECT: &[Field] =
    &[("sessionKey", KEY, Need::Must), ("message", FILLED, Need::Must), ("label", Kind::Text(0, 100), Need::May)];

const MESSAGE: &[Field] = &[
    ("sessionKey", KEY, Need::Must),
    ("messageId", FILLED, Need::Must),
    ("maxChars", Kind::Whole(1, i64::MAX), Need::May),
];

const LIST: &[Field] = &[("limit", Kind::Whole(1, 10_000), Need::May), ("agentId", FILLED, Need::May)];

const FOLLOW: &[Field] = &[("key", KEY, Need::Must)];

const SESSION_ABORT: &[Field] =
    &[("key", KEY, Need::May), ("runId", FILLED, Need::May), ("clearQueued", Kind::Flag, Need::May)];
