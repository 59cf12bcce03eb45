//! What an OpenClaw session remembers: its rows, what waits to be taken up, and how a page or what is new since a cursor
//! is shown. Who writes rows is runs.rs and chat.rs.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::config::Version;
use super::{Audience, Refusal, State, uuid};
use crate::sessions::Time;

const MAX_SESSIONS: usize = 200;
const MAX_ROWS: usize = 2_000;
const PAGE: usize = 200;

/// A conversation under its canonical key.
pub struct Session {
    pub id: String,
    rows: VecDeque<Row>,
    noted: u64,
    /// The run that is under way.
    pub active: Option<String>,
    /// Messages that came meanwhile.
    pub queue: VecDeque<Queued>,
    last_run: Option<String>,
    updated: Option<Time>,
}

/// A message that waits for a run of its own.
pub struct Queued {
    pub key: String,
    pub text: String,
}

struct Row {
    id: String,
    seq: u64,
    role: &'static str,
    text: String,
    at: Time,
    run: Option<String>,
    idempotency_key: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Cursor {
    session_id: String,
    last_seq: u64,
}

impl Session {
    fn new() -> Self {
        Self {
            id: uuid(),
            rows: VecDeque::new(),
            noted: 0,
            active: None,
            queue: VecDeque::new(),
            last_run: None,
            updated: None,
        }
    }
}

impl Row {
    /// As history shows it. Protocol 3 knows nothing of runs in it.
    fn shown(&self, version: Version, most: usize) -> Value {
        let short: String;
        let cut = self.text.chars().nth(most).is_some();
        let text = if cut {
            short = self.text.chars().take(most).collect();
            &short
        } else {
            &self.text
        };
        let content = match self.role {
            "user" => json!(text),
            _ => json!([{"type": "text", "text": text}]),
        };
        let mut about = json!({"id": self.id, "seq": self.seq, "recordTimestampMs": self.at.0});
        if cut {
            about["truncated"] = json!(true);
        }
        let mut row = json!({"role": self.role, "content": content, "timestamp": self.at.0});
        if version.protocol() >= 4 {
            if let Some(run) = &self.run {
                about["runId"] = json!(run);
            }
            if let Some(key) = &self.idempotency_key {
                about["idempotencyKey"] = json!(key);
                row["idempotencyKey"] = json!(key);
            }
        }
        if self.role == "assistant" {
            row["stopReason"] = json!("stop");
        }
        row["__openclaw"] = about;
        row
    }
}

/// The name under which a session is known to all.
pub fn canonical(key: &str) -> String {
    if key.starts_with("agent:") { key.to_owned() } else { format!("agent:main:{key}") }
}

impl State {
    /// The session of this canonical key, new if need be. The one that rested longest makes room.
    pub fn session(&mut self, key: &str) -> &mut Session {
        if !self.sessions.contains_key(key) && self.sessions.len() >= MAX_SESSIONS {
            let idle = self.sessions.iter().filter(|(_, session)| session.active.is_none());
            let oldest = idle.min_by_key(|(_, session)| session.updated).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.sessions.remove(&oldest);
            }
        }
        self.sessions.entry(key.to_owned()).or_insert_with(Session::new)
    }

    /// Writes down what a user said.
    pub fn note_user(&mut self, now: Time, key: &str, text: &str, idempotency_key: &str) {
        let kept = Some(format!("{idempotency_key}:user"));
        self.note(now, key, Row { role: "user", idempotency_key: kept, ..Row::new(now, text) });
    }

    /// Writes down what was answered; tells the row's id.
    pub fn note_assistant(&mut self, now: Time, key: &str, text: &str, run: Option<&str>) -> String {
        self.note(now, key, Row { run: run.map(str::to_owned), ..Row::new(now, text) })
    }

    fn note(&mut self, now: Time, key: &str, mut row: Row) -> String {
        let session = self.session(key);
        session.noted += 1;
        row.seq = session.noted;
        session.updated = Some(now);
        if let Some(run) = &row.run {
            session.last_run = Some(run.clone());
        }
        let id = row.id.clone();
        let message = |version| told(key, &row, version);
        let (three, four) = (message(Version::V3), message(Version::V4));
        session.rows.push_back(row);
        if session.rows.len() > MAX_ROWS {
            session.rows.pop_front();
        }
        self.broadcast(Audience::Subscribers(key), "session.message", |connection| match connection.version {
            Version::V3 => three.clone(),
            Version::V4 | Version::V4Lean => four.clone(),
        });
        id
    }

    pub fn history(&self, version: Version, params: &Value) -> Result<Value, Refusal> {
        let raw = params["sessionKey"].as_str().unwrap_or_default();
        let key = canonical(raw);
        let session = self.sessions.get(&key);
        if let Some(cursor) = params["cursor"].as_str() {
            return Ok(self.since(version, &key, cursor));
        }
        let whole = |name: &str| params[name].as_u64().and_then(|number| usize::try_from(number).ok());
        let (limit, offset) = (whole("limit").unwrap_or(PAGE), whole("offset").unwrap_or(0));
        let most = whole("maxChars").unwrap_or(usize::MAX);
        let total = session.map_or(0, |session| session.rows.len());
        let end = total.saturating_sub(offset);
        let start = end.saturating_sub(limit);
        let messages: Vec<Value> = session
            .map(|session| session.rows.range(start..end).map(|row| row.shown(version, most)).collect())
            .unwrap_or_default();
        let mut page = json!({"sessionKey": raw, "messages": messages});
        if let Some(session) = session {
            page["sessionId"] = json!(session.id);
        }
        if version == Version::V3 {
            page["thinkingLevel"] = json!("off");
            return Ok(page);
        }
        page["hasMore"] = json!(start > 0);
        if start > 0 {
            page["nextOffset"] = json!(total - start);
        }
        page["totalMessages"] = json!(total);
        page["defaults"] = json!({"model": "scripted", "provider": "moorline"});
        if let Some(session) = session.filter(|_| offset == 0 && total > 0) {
            page["deltaCursor"] = json!(cursor(session));
        }
        self.add_state(&mut page, &key);
        if let Some(asked) = params["inputRunIds"].as_array() {
            page["inputReceipts"] = self.receipts(&key, asked);
        }
        Ok(page)
    }

    /// What is new since the cursor, or that it cannot be told.
    fn since(&self, version: Version, key: &str, cursor: &str) -> Value {
        let read = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| serde_json::from_slice::<Cursor>(&bytes).ok());
        let Some((session, Cursor { last_seq, .. })) = self.sessions.get(key).zip(read).filter(|(session, cursor)| {
            let oldest = session.rows.front().map_or(1, |row| row.seq);
            session.id == cursor.session_id && cursor.last_seq <= session.noted && cursor.last_seq + 1 >= oldest
        }) else {
            return json!({"kind": "reset"});
        };
        let newer = session.rows.iter().filter(|row| row.seq > last_seq);
        let messages: Vec<Value> = newer.map(|row| told(key, row, version)).collect();
        let mut page = json!({"kind": "delta", "messages": messages, "deltaCursor": self::cursor(session)});
        self.add_state(&mut page, key);
        page
    }

    /// What a session is doing.
    fn add_state(&self, page: &mut Value, key: &str) {
        let session = self.sessions.get(key);
        let active = session.and_then(|session| session.active.as_ref());
        let waiting: Vec<Value> = session
            .map(|session| session.queue.iter().map(|q| json!({"runId": q.key, "text": q.text})).collect())
            .unwrap_or_default();
        page["pendingInputs"] = json!({"total": waiting.len(), "items": waiting});
        let mut info = json!({
            "key": key, "agentId": "main", "hasActiveRun": active.is_some(),
            "activeRunIds": active.iter().collect::<Vec<_>>(),
            "updatedAt": session.and_then(|session| session.updated).map(|at| at.0),
        });
        if let Some(session) = session {
            info["sessionId"] = json!(session.id);
            info["lastRunId"] = json!(session.last_run);
        }
        page["sessionInfo"] = info;
        if let Some(run) = active.and_then(|id| self.runs.get(id)) {
            page["inFlightRun"] = run.in_flight(self.config.live_chars);
        }
    }

    /// What became of messages by their keys: only what still waits is told.
    fn receipts(&self, key: &str, asked: &[Value]) -> Value {
        let waits = |run: &str| {
            self.sessions.get(key).is_some_and(|session| session.queue.iter().any(|queued| queued.key == run))
        };
        let pending = asked.iter().filter_map(Value::as_str).filter(|run| waits(run));
        Value::from_iter(pending.map(|run| json!({"runId": run, "state": "pending"})))
    }

    /// One row, whole.
    pub fn message(&self, version: Version, params: &Value) -> Result<Value, Refusal> {
        let text = |name: &str| params[name].as_str().unwrap_or_default();
        let most = params["maxChars"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        let session = self.sessions.get(&canonical(text("sessionKey")));
        let row = session.and_then(|session| session.rows.iter().find(|row| row.id == text("messageId")));
        row.map(|row| json!({"ok": true, "message": row.shown(version, most)}))
            .ok_or_else(|| Refusal::invalid("message not found"))
    }

    /// The sessions, for a list.
    pub fn listed(&self) -> Vec<Value> {
        let shown = |(key, session): (&String, &Session)| {
            json!({
                "key": key, "sessionId": session.id, "hasActiveRun": session.active.is_some(),
                "totalMessages": session.rows.len(), "updatedAt": session.updated.map(|at| at.0),
            })
        };
        self.sessions.iter().map(shown).collect()
    }
}

impl Row {
    fn new(now: Time, text: &str) -> Self {
        Self { id: uuid(), seq: 0, role: "assistant", text: text.to_owned(), at: now, run: None, idempotency_key: None }
    }
}

fn told(key: &str, row: &Row, version: Version) -> Value {
    let message = row.shown(version, usize::MAX);
    json!({"sessionKey": key, "message": message, "messageId": row.id, "messageSeq": row.seq})
}

fn cursor(session: &Session) -> String {
    let cursor = Cursor { session_id: session.id.clone(), last_seq: session.noted };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).expect("a string and a number can be written"))
}
