//! The observation backend: runtimes and their workers, the events that were stored under cursors, and who observes
//! whom. Every step is taken under one lock. HTTP and sockets are observation.rs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message};
use serde::Serialize;
use serde_json::value::RawValue;

use super::worker::{Item, Logged, Refusal, Role, Status, Worker};
use crate::outlet::{End, Outlet};

pub type ObserverId = u64;

pub const RUNTIME: &str = "runtime-a";
pub const WORKER: &str = "worker-00000001";
/// Known, but without workers: it is asked before the upgrade.
const EMBEDDED: &str = "embedded-worker-runtime";

/// A worker by name, in its runtime.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub runtime: String,
    pub worker: String,
}

/// Something to do after so many milliseconds.
#[derive(Clone, Debug)]
pub enum Job {
    Run(Key, u64),
    Up(u64),
}

pub struct Backend {
    runtimes: BTreeMap<String, Runtime>,
    /// What this process stored. A restart forgets it; the runtimes live on.
    stored: BTreeMap<Key, VecDeque<Stored>>,
    next_sequence: u64,
    limit: usize,
    observers: BTreeMap<ObserverId, Observer>,
    opened: ObserverId,
    /// A status that every command is answered with.
    pub http_status: Option<u16>,
    down: Option<u64>,
    downs: u64,
    due: Vec<(u64, Job)>,
}

struct Runtime {
    workers: BTreeMap<String, Worker>,
    available: bool,
    embedded: bool,
}

struct Stored {
    sequence: u64,
    /// Where the event stands in the runtime's own count.
    number: u64,
    payload: Arc<RawValue>,
}

/// A socket, with its own connection to the runtime.
struct Observer {
    key: Key,
    outlet: Arc<Outlet>,
}

/// Why an observer is sent away. Always the last that it hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    RuntimeUnavailable,
    WorkerNotFound,
    CursorMalformed,
    CursorUnknownOrExpired,
    UpstreamDisconnect,
    ObservationOnly,
}

impl Code {
    fn name(self) -> &'static str {
        match self {
            Self::RuntimeUnavailable => "backend.runtime_unavailable",
            Self::WorkerNotFound => "backend.worker_not_found",
            Self::CursorMalformed => "backend.cursor_malformed",
            Self::CursorUnknownOrExpired => "backend.cursor_unknown_or_expired",
            Self::UpstreamDisconnect => "backend.upstream_disconnect",
            Self::ObservationOnly => "backend.observation_only",
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Frame<'a> {
    Event { envelope: Envelope<'a> },
    Diagnostic { diagnostic: Diagnostic<'a> },
}

#[derive(Serialize)]
struct Envelope<'a> {
    cursor: &'a str,
    event_id: &'a str,
    runtime_id: &'a str,
    worker_id: &'a str,
    payload: &'a RawValue,
}

#[derive(Serialize)]
struct Diagnostic<'a> {
    code: &'a str,
    message: &'a str,
}

impl Frame<'_> {
    fn message(&self) -> Message {
        Message::text(serde_json::to_string(self).expect("strings and raw JSON can be written"))
    }
}

const LIMIT: usize = 1_024;
const MAX_WORKERS: usize = 64;
const MAX_ID: usize = 256;

impl Backend {
    pub fn new() -> Self {
        let runtime = |workers: &[&str], embedded: bool| Runtime {
            workers: workers.iter().map(|name| ((*name).to_owned(), Worker::default())).collect(),
            available: true,
            embedded,
        };
        Self {
            runtimes: BTreeMap::from([
                (RUNTIME.to_owned(), runtime(&[WORKER, "worker-00000002"], false)),
                (EMBEDDED.to_owned(), runtime(&[], true)),
            ]),
            stored: BTreeMap::new(),
            next_sequence: 1,
            limit: LIMIT,
            observers: BTreeMap::new(),
            opened: 0,
            http_status: None,
            down: None,
            downs: 0,
            due: Vec::new(),
        }
    }

    pub fn take_due(&mut self) -> Vec<(u64, Job)> {
        std::mem::take(&mut self.due)
    }

    pub fn is_down(&self) -> bool {
        self.down.is_some()
    }

    pub fn run(&mut self, job: Job) {
        match job {
            Job::Run(key, run) => {
                // A timer of a run that was cancelled changes nothing, and is not wound up again.
                let Some(worker) = self.worker(&key).filter(|worker| worker.run() == run) else {
                    return;
                };
                let events = worker.step();
                self.tell(&key, &events);
                self.time_run(&key);
            }
            Job::Up(down) => {
                if self.down == Some(down) {
                    self.down = None;
                }
            }
        }
    }

    /// Whether there is such a runtime and, where that is asked beforehand, such a worker.
    pub fn check_upgrade(&self, key: &Key) -> Result<(), Missing> {
        let runtime = self.runtimes.get(&key.runtime).ok_or(Missing::Runtime)?;
        let missing = runtime.embedded && !runtime.workers.contains_key(&key.worker);
        if missing { Err(Missing::Worker) } else { Ok(()) }
    }

    pub fn check(&self, key: &Key) -> Result<(), Missing> {
        let runtime = self.runtimes.get(&key.runtime).ok_or(Missing::Runtime)?;
        match runtime.workers.contains_key(&key.worker) {
            _ if !runtime.available => Err(Missing::Available),
            true => Ok(()),
            false => Err(Missing::Worker),
        }
    }

    /// An open socket begins to observe: what is stored after its cursor, then a snapshot, then what the worker did
    /// since the last stored event, then what it does.
    pub fn joined(&mut self, key: Key, cursor: Option<&str>) -> (ObserverId, Arc<Outlet>) {
        self.opened += 1;
        let id = self.opened;
        let outlet = Arc::new(Outlet::default());
        match self.replay(&key, cursor) {
            Ok((frames, number)) => {
                frames.into_iter().for_each(|frame| push(&outlet, frame));
                if let Err((code, message)) = self.connect_upstream(&key, &outlet, number) {
                    dismiss(&outlet, code.name(), &message);
                }
            }
            Err((code, message)) => dismiss(&outlet, code.name(), &message),
        }
        self.observers.insert(id, Observer { key, outlet: Arc::clone(&outlet) });
        (id, outlet)
    }

    pub fn parted(&mut self, id: ObserverId) {
        self.observers.remove(&id);
    }

    /// Whoever observes may not speak.
    pub fn spoke(&mut self, id: ObserverId) {
        if let Some(observer) = self.observers.get(&id) {
            dismiss(
                &observer.outlet,
                Code::ObservationOnly.name(),
                "backend worker event WebSocket is observation-only",
            );
        }
    }

    pub fn input(&mut self, key: &Key, role: Role, content: String) -> Result<Item, Refusal> {
        let Some(worker) = self.worker(key) else {
            return Err(Refusal::Stopped);
        };
        let (item, events) = worker.input(role, content)?;
        self.tell(key, &events);
        // What has to wait makes no event, and the run that goes on has its timer.
        if role == Role::User && !events.is_empty() {
            self.time_run(key);
        }
        Ok(item)
    }

    pub fn cancel(&mut self, key: &Key) {
        let events = self.worker(key).map(Worker::cancel).unwrap_or_default();
        self.tell(key, &events);
    }

    pub fn stop(&mut self, key: &Key) {
        let events = self.worker(key).map(Worker::stop).unwrap_or_default();
        self.tell(key, &events);
    }

    /// A part of the transcript, and how long the whole is.
    pub fn transcript(&self, key: &Key, start: usize, limit: usize) -> (&[Item], usize) {
        let runtime = self.runtimes.get(&key.runtime);
        let items = runtime.and_then(|runtime| runtime.workers.get(&key.worker)).map(|worker| &*worker.transcript);
        let items = items.unwrap_or_default();
        let from = start.min(items.len());
        (&items[from..from.saturating_add(limit).min(items.len())], items.len())
    }

    /// The frames that are stored after a cursor, and how far the runtime's events are among them or before.
    fn replay(&self, key: &Key, cursor: Option<&str>) -> Result<(Vec<Message>, Option<u64>), (Code, String)> {
        let after = match cursor {
            None => 0,
            Some(raw) => sequence(raw)
                .ok_or_else(|| (Code::CursorMalformed, format!("malformed backend observation cursor: {raw}")))?,
        };
        let stored = self.stored.get(key);
        let events = || stored.into_iter().flatten();
        if after != 0 && !events().any(|event| event.sequence == after) {
            let (cursor, Key { runtime, worker }) = (written(after), key);
            let message = format!(
                "backend observation cursor {cursor} is unknown or expired for runtime {runtime} worker {worker}"
            );
            return Err((Code::CursorUnknownOrExpired, message));
        }
        let frames = events().filter(|event| event.sequence > after).map(|event| event.frame(key)).collect();
        let number = events().last().map(|event| event.number);
        Ok((frames, number))
    }

    /// A connection to the runtime, for this observer alone. Without a number it begins now.
    fn connect_upstream(&mut self, key: &Key, outlet: &Outlet, number: Option<u64>) -> Result<(), (Code, String)> {
        let unavailable = || {
            let message = "failed to connect runtime WebSocket: connection refused";
            (Code::RuntimeUnavailable, message.to_owned())
        };
        let runtime = self.runtimes.get(&key.runtime).filter(|runtime| runtime.available).ok_or_else(unavailable)?;
        let worker = runtime.workers.get(&key.worker).ok_or_else(|| {
            (Code::WorkerNotFound, "runtime worker observation endpoint returned 404 not found".to_owned())
        })?;
        let number = number.unwrap_or_else(|| worker.newest());
        let snapshot = Logged { number, payload: worker.snapshot(&key.worker) };
        let missed = worker.after(number);
        push(outlet, self.store(key, &snapshot));
        let Some(missed) = missed else {
            let message = "the runtime no longer holds what came after the last stored event";
            return Err((Code::CursorUnknownOrExpired, message.to_owned()));
        };
        for event in &missed {
            push(outlet, self.store(key, event));
        }
        Ok(())
    }

    /// Each observer hears an event on its own connection, and stores it anew.
    fn tell(&mut self, key: &Key, events: &[Logged]) {
        let outlets: Vec<Arc<Outlet>> = self.observing(Some(key)).map(|one| Arc::clone(&one.outlet)).collect();
        for event in events {
            for outlet in &outlets {
                let frame = self.store(key, event);
                push(outlet, frame);
            }
        }
    }

    fn store(&mut self, key: &Key, event: &Logged) -> Message {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.saturating_add(1);
        let stored = Stored { sequence, number: event.number, payload: Arc::clone(&event.payload) };
        let frame = stored.frame(key);
        let history = self.stored.entry(key.clone()).or_default();
        history.push_back(stored);
        while history.len() > self.limit {
            history.pop_front();
        }
        frame
    }

    fn time_run(&mut self, key: &Key) {
        if let Some((run, pause_ms)) = self.worker(key).and_then(|worker| worker.pause()) {
            self.due.push((pause_ms, Job::Run(key.clone(), run)));
        }
    }

    fn worker(&mut self, key: &Key) -> Option<&mut Worker> {
        self.runtimes.get_mut(&key.runtime)?.workers.get_mut(&key.worker)
    }

    fn observing<'a>(&'a self, key: Option<&'a Key>) -> impl Iterator<Item = &'a Observer> {
        self.observers.values().filter(move |observer| key.is_none_or(|key| observer.key == *key))
    }
}

/// What the controls do.
impl Backend {
    /// How many events are stored for each worker.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.clamp(1, LIMIT);
        for history in self.stored.values_mut() {
            while history.len() > self.limit {
                history.pop_front();
            }
        }
    }

    /// Leaves out numbers, as when other workers are busy. Never goes back.
    pub fn skip_to(&mut self, sequence: u64) {
        self.next_sequence = self.next_sequence.max(sequence);
    }

    /// The process begins anew: every socket ends, and the sequence starts at 1.
    pub fn restart(&mut self, down_ms: Option<u64>) -> usize {
        self.stored.clear();
        self.next_sequence = 1;
        if down_ms.is_some() {
            self.go_down(down_ms);
        }
        self.drop_observers(None)
    }

    pub fn go_down(&mut self, ms: Option<u64>) {
        self.downs += 1;
        self.down = Some(self.downs);
        self.due.extend(ms.map(|ms| (ms, Job::Up(self.downs))));
    }

    pub fn up(&mut self) {
        self.down = None;
    }

    /// These sockets end, and nothing is said.
    pub fn drop_observers(&self, key: Option<&Key>) -> usize {
        self.observing(key).map(|observer| observer.outlet.end(End::Abort)).count()
    }

    /// A diagnostic of any code, and the end.
    pub fn diagnose(&self, key: Option<&Key>, code: &str, message: &str) -> usize {
        self.observing(key).map(|observer| dismiss(&observer.outlet, code, message)).count()
    }

    /// Forgets the oldest stored events but for so many.
    pub fn expire(&mut self, key: &Key, keep: usize) {
        if let Some(history) = self.stored.get_mut(key) {
            while history.len() > keep {
                history.pop_front();
            }
        }
    }

    pub fn emit(&mut self, key: &Key, payload: &RawValue, times: usize) -> Result<usize, String> {
        let worker = self.worker(key).ok_or_else(|| format!("there is no worker {}", key.worker))?;
        let events: Vec<Logged> = (0..times).map(|_| worker.emit(payload)).collect();
        self.tell(key, &events);
        Ok(self.observing(Some(key)).count())
    }

    pub fn send(&self, key: Option<&Key>, message: &Message) -> usize {
        self.observing(key).map(|observer| push(&observer.outlet, message.clone())).count()
    }

    pub fn add_worker(&mut self, key: Key) -> Result<(), String> {
        let runtime = self.runtimes.get_mut(&key.runtime).ok_or("there is no such runtime")?;
        if runtime.workers.len() >= MAX_WORKERS || key.worker.len() > MAX_ID || key.worker.is_empty() {
            return Err(format!("at most {MAX_WORKERS} workers, with names of 1 to {MAX_ID} bytes"));
        }
        runtime.workers.entry(key.worker).or_default();
        Ok(())
    }

    /// A runtime that is away refuses newcomers; those who observe hear that it went.
    pub fn set_available(&mut self, name: &str, available: bool) -> Result<(), String> {
        let runtime = self.runtimes.get_mut(name).ok_or("there is no such runtime")?;
        runtime.available = available;
        if !available {
            for observer in self.observers.values().filter(|observer| observer.key.runtime == name) {
                dismiss(&observer.outlet, Code::UpstreamDisconnect.name(), "runtime WebSocket closed");
            }
        }
        Ok(())
    }

    /// As at the start; whoever observes is cut off.
    pub fn reset(&mut self) {
        self.drop_observers(None);
        let Self { opened, downs, observers, .. } = std::mem::replace(self, Self::new());
        (self.opened, self.downs, self.observers) = (opened, downs, observers);
    }

    pub fn report(&self) -> Report<'_> {
        let workers = self.runtimes.iter().flat_map(|(name, runtime)| {
            runtime.workers.iter().map(|(worker_name, worker)| {
                let key = Key { runtime: name.clone(), worker: worker_name.clone() };
                let stored = self.stored.get(&key);
                WorkerReport {
                    runtime: name,
                    worker: worker_name,
                    status: worker.status(),
                    produced: worker.newest(),
                    stored: stored.map_or(0, VecDeque::len),
                    oldest: stored.and_then(|history| history.front()).map(|event| written(event.sequence)),
                    newest: stored.and_then(|history| history.back()).map(|event| written(event.sequence)),
                    observers: self.observing(Some(&key)).count(),
                }
            })
        });
        Report {
            workers: workers.collect(),
            next_sequence: self.next_sequence,
            limit: self.limit,
            observers: self.observers.len(),
            opened: self.opened,
            down: self.is_down(),
            http_status: self.http_status,
        }
    }
}

/// What a path names that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Runtime,
    Worker,
    Available,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report<'a> {
    workers: Vec<WorkerReport<'a>>,
    next_sequence: u64,
    limit: usize,
    observers: usize,
    /// How many there ever were.
    opened: u64,
    down: bool,
    http_status: Option<u16>,
}

#[derive(Serialize)]
struct WorkerReport<'a> {
    runtime: &'a str,
    worker: &'a str,
    status: Status,
    /// How many events the runtime counted, observed or not.
    produced: u64,
    stored: usize,
    oldest: Option<String>,
    newest: Option<String>,
    observers: usize,
}

impl Stored {
    fn frame(&self, key: &Key) -> Message {
        let cursor = &written(self.sequence);
        let (runtime_id, worker_id) = (&*key.runtime, &*key.worker);
        let payload = &self.payload;
        Frame::Event { envelope: Envelope { cursor, event_id: cursor, runtime_id, worker_id, payload } }.message()
    }
}

fn push(outlet: &Outlet, message: Message) {
    if !outlet.push(message) {
        let reason = "too slow a reader".into();
        outlet.end(End::Overrun(CloseFrame { code: 1013, reason }));
    }
}

/// The last word to an observer. There is no close frame behind it.
fn dismiss(outlet: &Outlet, code: &str, message: &str) {
    push(outlet, Frame::Diagnostic { diagnostic: Diagnostic { code, message } }.message());
    outlet.end(End::HangUp);
}

fn written(sequence: u64) -> String {
    format!("bo_{sequence:016x}")
}

/// The sequence in a cursor. Capital digits and a leading plus pass.
fn sequence(cursor: &str) -> Option<u64> {
    let digits = cursor.strip_prefix("bo_").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_leniently_and_written_in_one_way() {
        assert_eq!(sequence("bo_000000000000001a"), Some(26));
        assert_eq!(sequence("bo_000000000000001A"), Some(26));
        assert_eq!(sequence("bo_+00000000000001a"), Some(26));
        assert_eq!(sequence(&written(u64::MAX)), Some(u64::MAX));
        for malformed in ["", "bo_", "bo_1", "BO_000000000000001a", "bo_000000000000001g", "bo_00000000000000001a"] {
            assert_eq!(sequence(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn what_is_stored_is_bounded_for_each_worker() {
        let mut backend = Backend::new();
        let key = Key { runtime: RUNTIME.to_owned(), worker: WORKER.to_owned() };
        let payload: Arc<RawValue> = RawValue::from_string("1".to_owned()).expect("JSON").into();
        for number in 1..=LIMIT as u64 + 5 {
            backend.store(&key, &Logged { number, payload: Arc::clone(&payload) });
        }
        assert_eq!(backend.stored[&key].len(), LIMIT);
        assert!(backend.replay(&key, Some(&written(5))).is_err());
        assert!(backend.replay(&key, Some(&written(6))).is_ok());
        backend.set_limit(0);
        assert_eq!(backend.stored[&key].len(), 1);
    }
}
