//! Hermes' sessions with their two ids: the runtime id of what lives in this process, the stored id of what outlives it.
//! Who hears of a session, when it is let go, and how it is shown. How a turn goes is turns.rs.

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::config::Version;
use super::turns::Turn;
use super::{ConnectionId, Failure, Job, State, event, identifier};
use crate::sessions::Time;

const MAX_STORED: usize = 1_000;
const MAX_ROWS: usize = 2_000;
/// What the numbered events of one session may weigh together.
const MAX_RING_BYTES: usize = 4 * 1024 * 1024;

/// A session in this process.
pub struct Live {
    pub stored: String,
    /// The version of who came last.
    pub version: Version,
    /// Who hears of it: the last that came, and in version 0.20 all.
    pub attached: BTreeSet<ConnectionId>,
    pub turn: Option<Turn>,
    pub queue: VecDeque<Queued>,
    pub close_on_disconnect: bool,
    pub is_built: bool,
    pub titled: bool,
    pub usage: Usage,
    /// To be let go when its turn is over.
    pub doomed: bool,
    /// Counts comings and goings, so that only the last absence can end it.
    absence: u64,
    active: Time,
    started: Time,
    seq: u64,
    ring: VecDeque<(u64, Value, usize)>,
    ring_bytes: usize,
    /// The last number that can no longer be told again.
    evicted: u64,
}

pub struct Queued {
    pub text: String,
    pub by: ConnectionId,
}

/// What outlives a process.
pub struct Stored {
    pub title: String,
    pub source: String,
    pub rows: Vec<Row>,
    /// Whether there was ever a prompt: without one there is nothing to resume.
    pub prompted: bool,
    started: Time,
    active: Time,
}

#[derive(Clone)]
pub enum Row {
    User(String),
    Assistant { text: String, reasoning: Option<String> },
    Tool { name: String, context: String },
}

#[derive(Clone, Copy, Default)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    pub calls: u64,
}

impl Usage {
    pub fn shown(self) -> Value {
        let total = self.input + self.output;
        let mut usage = json!({
            "model": "scripted", "input": self.input, "output": self.output, "reasoning": 0, "prompt": self.input,
            "completion": self.output, "total": total, "calls": self.calls, "compressions": 0,
            "active_subagents": 0,
        });
        if self.calls > 0 {
            usage["context_used"] = json!(total);
            usage["context_max"] = json!(131_072);
            usage["context_percent"] = json!(total * 100 / 131_072);
        }
        usage
    }
}

impl Row {
    fn shown(&self) -> Value {
        match self {
            Self::User(text) => json!({"role": "user", "text": text}),
            Self::Assistant { text, reasoning: None } => json!({"role": "assistant", "text": text}),
            Self::Assistant { text, reasoning: Some(reasoning) } => {
                json!({"role": "assistant", "text": text, "reasoning": reasoning})
            }
            Self::Tool { name, context } => json!({"role": "tool", "name": name, "context": context}),
        }
    }
}

impl Stored {
    pub fn shown(&self) -> Vec<Value> {
        self.rows.iter().map(Row::shown).collect()
    }

    /// Rows as they are kept: a tool's call and its result are two.
    pub fn raw_count(&self) -> usize {
        self.rows.len() + self.rows.iter().filter(|row| matches!(row, Row::Tool { .. })).count()
    }

    pub fn preview(&self) -> String {
        let last = self.rows.iter().rev().find_map(|row| match row {
            Row::User(text) | Row::Assistant { text, .. } => Some(text),
            Row::Tool { .. } => None,
        });
        last.map(|text| text.chars().take(90).collect()).unwrap_or_default()
    }

    pub fn add(&mut self, now: Time, rows: impl IntoIterator<Item = Row>) {
        self.rows.extend(rows);
        self.active = now;
        let excess = self.rows.len().saturating_sub(MAX_ROWS);
        self.rows.drain(..excess);
    }

    pub fn listed(&self, id: &str) -> Value {
        json!({
            "id": id, "title": self.title, "preview": self.preview(), "started_at": seconds(self.started),
            "message_count": self.rows.len(), "source": self.source,
        })
    }

    pub fn latest(&self) -> Time {
        self.active
    }

    pub fn began(&self) -> Value {
        seconds(self.started)
    }
}

pub fn seconds(time: Time) -> Value {
    json!(time.0 as f64 / 1_000.0)
}

impl State {
    /// A new session; its agent is built behind it.
    pub fn create(&mut self, now: Time, id: ConnectionId, version: Version, params: &Value) -> Result<Value, Failure> {
        if self.live.len() >= self.config.max_sessions {
            return Err(Failure::new(4090, "too many active sessions"));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut rows = Vec::new();
        for row in params["messages"].as_array().into_iter().flatten() {
            let said = row["content"].as_str().or(row["text"].as_str()).unwrap_or_default().to_owned();
            rows.push(match row["role"].as_str() {
                Some("assistant") => Row::Assistant { text: said, reasoning: None },
                _ => Row::User(said),
            });
        }
        rows.truncate(MAX_ROWS);
        let source = params["source"].as_str().unwrap_or("tui").to_owned();
        let stored = Stored { title: text(&params["title"]), source, rows, prompted: false, started: now, active: now };
        let messages = stored.shown();
        let key = self.keep(now, stored);
        let runtime = self.revive(now, id, version, &key);
        if let Some(live) = self.live.get_mut(&runtime) {
            live.close_on_disconnect = params["close_on_disconnect"] == true;
            live.is_built = false;
        }
        self.jobs.push(Job::Built(runtime.clone()));
        Ok(json!({
            "session_id": runtime, "stored_session_id": key, "message_count": messages.len(), "messages": messages,
            "info": {
                "model": "scripted", "tools": {}, "skills": {}, "cwd": CWD, "branch": "", "project": null, "lazy": true,
                "desktop_contract": version.desktop_contract(), "profile_name": "default",
            },
        }))
    }

    /// Puts a session into the store; the one that rested longest makes room.
    fn keep(&mut self, now: Time, stored: Stored) -> String {
        if self.stored.len() >= MAX_STORED {
            let idle = self.stored.iter().filter(|(key, _)| self.runtime_of(key).is_none());
            let oldest = idle.min_by_key(|(_, stored)| stored.active).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.stored.remove(&oldest);
            }
        }
        let key = stored_id(now);
        self.stored.insert(key.clone(), stored);
        key
    }

    /// A stored session gets a life, and a runtime id, in this process.
    fn revive(&mut self, now: Time, id: ConnectionId, version: Version, key: &str) -> String {
        let runtime = identifier(4);
        let live = Live {
            stored: key.to_owned(),
            version,
            attached: BTreeSet::from([id]),
            turn: None,
            queue: VecDeque::new(),
            close_on_disconnect: false,
            is_built: true,
            titled: self.stored.get(key).is_some_and(|stored| !stored.title.is_empty()),
            usage: Usage::default(),
            doomed: false,
            absence: 0,
            active: now,
            started: now,
            seq: 0,
            ring: VecDeque::new(),
            ring_bytes: 0,
            evicted: 0,
        };
        self.live.insert(runtime.clone(), live);
        runtime
    }

    /// The agent of a new session is ready.
    pub fn built(&mut self, runtime: &str) {
        if let Some(live) = self.live.get_mut(runtime) {
            live.is_built = true;
            self.tell_info(runtime);
        }
    }

    pub fn live(&mut self, params: &Value) -> Result<(String, &mut Live), Failure> {
        let runtime = params["session_id"].as_str().unwrap_or_default();
        match self.live.get_mut(runtime) {
            Some(live) => Ok((runtime.to_owned(), live)),
            None => Err(Failure::new(4001, "session not found")),
        }
    }

    pub fn runtime_of(&self, key: &str) -> Option<String> {
        self.live.iter().find(|(_, live)| live.stored == key).map(|(runtime, _)| runtime.clone())
    }

    /// The newest name of a stored session.
    pub fn newest(&self, key: &str) -> String {
        let mut key = key;
        while let Some(next) = self.successors.get(key) {
            key = next;
        }
        key.to_owned()
    }

    /// Whoever comes last hears of the session from now on; up to 0.19 nobody else does.
    pub fn attach(&mut self, now: Time, id: ConnectionId, runtime: &str) {
        let Some(version) = self.connections.get(&id).map(|connection| connection.version) else {
            return;
        };
        if let Some(live) = self.live.get_mut(runtime) {
            if version < Version::V20 {
                live.attached.clear();
            }
            live.attached.insert(id);
            live.version = version;
            live.absence += 1;
            live.active = now;
        }
    }

    pub fn resume(&mut self, now: Time, id: ConnectionId, version: Version, params: &Value) -> Result<Value, Failure> {
        let Some(asked) = params["session_id"].as_str().filter(|key| !key.is_empty()) else {
            return Err(Failure::new(4006, "session_id required"));
        };
        let key = self.newest(asked);
        if !self.stored.get(&key).is_some_and(|stored| stored.prompted) {
            return Err(Failure::new(4007, "session not found"));
        }
        let mut shown = match self.runtime_of(&key) {
            Some(runtime) => {
                self.attach(now, id, &runtime);
                self.shown(&runtime)
            }
            None => {
                let runtime = self.revive(now, id, version, &key);
                if version == Version::V17 {
                    self.tell_info(&runtime);
                }
                let mut shown = self.shown(&runtime);
                shown["inflight"] = Value::Null;
                shown
            }
        };
        shown["resumed"] = json!(key);
        if let Some(runtime) = shown["session_id"].as_str().and_then(|runtime| self.live.get_mut(runtime)) {
            runtime.close_on_disconnect = params["close_on_disconnect"] == true;
        }
        Ok(shown)
    }

    /// A live session, as resume and activate show it.
    pub fn shown(&self, runtime: &str) -> Value {
        let Some((live, stored)) = self.live.get(runtime).and_then(|live| Some((live, self.stored.get(&live.stored)?)))
        else {
            return Value::Null;
        };
        let messages = stored.shown();
        let mut shown = json!({
            "info": self.info(runtime), "message_count": messages.len(), "messages": messages,
            "running": live.turn.is_some(), "session_id": runtime, "session_key": live.stored,
            "started_at": seconds(live.started), "status": live.status(),
        });
        if let Some(turn) = &live.turn {
            shown["inflight"] = turn.inflight();
        }
        if let Some(queued) = live.queue.front() {
            shown["queued"] = json!({"user": queued.text});
        }
        if live.version >= Version::V20 {
            shown["open_requests"] = json!(live.open_requests(runtime));
        }
        shown
    }

    /// Everything about a session's agent.
    pub fn info(&self, runtime: &str) -> Value {
        let Some(live) = self.live.get(runtime) else {
            return Value::Null;
        };
        let title = self.stored.get(&live.stored).map_or("", |stored| stored.title.as_str());
        json!({
            "model": "scripted", "provider": "moorline", "reasoning_effort": "", "service_tier": "", "fast": false,
            "yolo": false, "approval_mode": "manual", "tools": {"terminal": ["process", "terminal"]}, "skills": {},
            "cwd": CWD, "branch": "", "project": null, "personality": "", "running": live.turn.is_some(),
            "title": title, "stored_session_id": live.stored, "desktop_contract": live.version.desktop_contract(),
            "version": live.version.name(), "release_date": "2026.7.20", "update_behind": 0,
            "update_command": "", "usage": live.usage.shown(), "profile_name": "default", "mcp_servers": [],
            "system_prompt": "You keep the harbour. ".repeat(100),
        })
    }

    pub fn tell_info(&mut self, runtime: &str) {
        let info = self.info(runtime);
        self.emit(runtime, "session.info", Some(info));
    }

    /// Tells an event to whoever hears of the session. Version 0.20 numbers it and can tell it again.
    pub fn emit(&mut self, runtime: &str, kind: &str, payload: Option<Value>) {
        self.emit_from(Version::V17, runtime, kind, payload);
    }

    /// The same for those only that know the event.
    pub fn emit_from(&mut self, least: Version, runtime: &str, kind: &str, payload: Option<Value>) {
        let ring = self.config.ring;
        let Some(live) = self.live.get_mut(runtime) else {
            return;
        };
        let mut params = json!({"type": kind, "session_id": runtime});
        if let Some(payload) = payload {
            params["payload"] = payload;
        }
        let plain = event(params.clone());
        live.seq += 1;
        params["seq"] = json!(live.seq);
        let numbered = event(params.clone());
        live.remember(params, numbered.len(), ring);
        for id in live.attached.clone() {
            let Some(version) = self.connections.get(&id).map(|connection| connection.version) else {
                continue;
            };
            if version >= least {
                self.tell(id, if version >= Version::V20 { &numbered } else { &plain });
            }
        }
    }

    /// What version 0.20 tells again.
    pub fn since(&mut self, params: &Value) -> Result<Value, Failure> {
        let epoch = self.epoch.clone();
        let (runtime, live) = self.live(params)?;
        let last = params["last_seq"].as_u64().unwrap_or(0);
        let events: Vec<&Value> = live.ring.iter().filter(|(seq, ..)| *seq > last).map(|(_, event, _)| event).collect();
        Ok(json!({
            "count": events.len(), "events": events, "latest_seq": live.seq, "epoch": epoch,
            "truncated": last < live.evicted || last > live.seq, "open_requests": live.open_requests(&runtime),
        }))
    }

    /// A connection is gone.
    pub fn part(&mut self, now: Time, id: ConnectionId) {
        self.connections.remove(&id);
        let mut closed = Vec::new();
        for (runtime, live) in &mut self.live {
            if !live.attached.remove(&id) || !live.attached.is_empty() {
                continue;
            }
            live.active = now;
            live.absence += 1;
            if live.close_on_disconnect {
                closed.push(runtime.clone());
            } else if self.config.grace_ms > 0 {
                self.jobs.push(Job::Reap(runtime.clone(), live.absence));
            }
        }
        for runtime in closed {
            self.live.remove(&runtime);
        }
    }

    /// The grace of an absence is over. This is tried once: a session that runs stays, and 0.20 ends its turn first.
    pub fn reap(&mut self, runtime: &str, absence: u64) {
        let Some(live) = self.live.get_mut(runtime) else {
            return;
        };
        if live.absence != absence || !live.attached.is_empty() {
            return;
        }
        match &live.turn {
            None => {
                self.live.remove(runtime);
            }
            Some(_) if live.version >= Version::V20 => {
                live.doomed = true;
                self.interrupt(runtime);
            }
            Some(_) => {}
        }
    }

    /// A session's stored id becomes another, as after a compression; the old one leads to it.
    pub fn rename(&mut self, now: Time, runtime: &str) -> Option<String> {
        let old = self.live.get(runtime)?.stored.clone();
        let stored = self.stored.remove(&old)?;
        let key = self.keep(now, stored);
        self.successors.insert(old, key.clone());
        self.live.get_mut(runtime)?.stored.clone_from(&key);
        self.tell_info(runtime);
        Some(key)
    }

    /// A new process: nobody is known by a runtime id any more.
    pub fn forget_runtime(&mut self) {
        self.live.clear();
        self.epoch = identifier(16);
    }
}

impl Live {
    pub fn status(&self) -> &'static str {
        match &self.turn {
            None if !self.is_built => "starting",
            None => "idle",
            Some(turn) => turn.status(),
        }
    }

    pub fn listed(&self, runtime: &str, stored: &Stored, current: bool) -> Value {
        json!({
            "current": current, "id": runtime, "session_key": self.stored, "status": self.status(),
            "title": stored.title, "preview": stored.preview(), "model": "scripted",
            "message_count": stored.rows.len(), "started_at": seconds(self.started),
            "last_active": seconds(self.active),
        })
    }

    fn open_requests(&self, runtime: &str) -> Vec<Value> {
        let open = self.turn.iter().filter_map(|turn| turn.open_request(runtime));
        open.collect()
    }

    fn remember(&mut self, params: Value, bytes: usize, most: usize) {
        self.ring.push_back((self.seq, params, bytes));
        self.ring_bytes += bytes;
        while self.ring.len() > most || self.ring_bytes > MAX_RING_BYTES {
            let Some((seq, _, bytes)) = self.ring.pop_front() else {
                break;
            };
            self.ring_bytes -= bytes;
            self.evicted = seq;
        }
    }
}

const CWD: &str = "/harbour";

/// A stored id looks like the date on which it was given.
fn stored_id(now: Time) -> String {
    let (days, second) = (now.0 / 86_400_000, now.0 / 1_000 % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year}{month:02}{day:02}_{hour:02}{minute:02}{second:02}_{}", identifier(3))
}

/// The date so many days after 1 January 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let (mut year, mut left) = (1970, days);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_id_is_the_date_and_something_of_its_own() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_778), (2026, 11, 21));
        let id = stored_id(Time(20_778 * 86_400_000 + 3_661_000));
        assert!(id.starts_with("20261121_010101_") && id.len() == 22, "{id}");
        assert_ne!(id, stored_id(Time(20_778 * 86_400_000 + 3_661_000)));
    }
}
