//! How an answer comes about in an OpenClaw session: the model's script as events, with every trap that the real gateway
//! has in them. Which message starts a run is chat.rs.
//!
//! Words in the prompt, beside the model's own, choose a trap:
//!
//! | word | what happens |
//! |---|---|
//! | `replace` | in the middle the text so far is replaced: a delta with `replace` |
//! | `late` | a delta comes with a lower `seq` than the status before it |
//! | `tail` | `agent` events go on after the `final` |
//! | `lost-end` | the run ends without a word; only history knows |
//! | `empty` (the model's) | `aborted`, then `error` |
//! | `fail` (the model's) | `error` twice, the second with `seq` 1, another text and no `agentId` |

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::config::Version;
use super::{Audience, Gateway, Job, State, uuid};
use crate::model::{self, Outcome, Piece};
use crate::sessions::Time;

/// One answer under way, or one that answers for its idempotency key.
pub struct Run {
    pub id: String,
    /// The session's canonical key.
    pub key: String,
    /// What was asked, to know a second request with the same key again.
    pub message: String,
    pub state: Progress,
    /// The counter that chat and agent events share.
    seq: u64,
    text: String,
    /// How much of the text was told.
    told: usize,
    told_at: Time,
    started: Time,
    steps: VecDeque<(Duration, Step)>,
    /// Wakes the task that performs the steps.
    wake: Arc<Notify>,
    traps: Traps,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Active,
    Finished { at: Time },
    Aborted { at: Time, reason: &'static str },
    Failed { at: Time },
}

#[derive(Clone, Copy, Debug)]
struct Traps {
    replace: bool,
    late: bool,
    tail: bool,
    lost_end: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Status(&'static str),
    Agent(&'static str, Value),
    Piece(Piece),
    Late,
    Replace,
    /// Tells what was held back.
    Flush,
    Finish,
    /// The first of two errors, and the second.
    Fail(&'static str),
    FailAgain,
    Hang,
}

/// A failed run's second error comes so much later.
const SECOND_ERROR: Duration = Duration::from_millis(30);
/// Between what an `agent` still says after the end.
const AFTERWARDS: Duration = Duration::from_millis(20);
/// How often a hanging run is looked at.
const HANGING: Duration = Duration::from_secs(1);
/// Finished runs that are remembered.
const MAX_RUNS: usize = 1_000;

/// Takes a run's steps one by one until there are none.
pub async fn perform(gateway: Arc<Gateway>, id: String) {
    loop {
        let next = gateway.step(|state, _| state.runs.get(&id).and_then(Run::next));
        let Some((pause, wake)) = next else {
            return;
        };
        // Woken: the steps are others now.
        if pause > Duration::ZERO && timeout(pause, wake.notified()).await.is_ok() {
            continue;
        }
        if pause == Duration::ZERO {
            tokio::task::yield_now().await;
        }
        gateway.step(|state, now| state.advance(now, &id));
    }
}

impl Run {
    fn next(&self) -> Option<(Duration, Arc<Notify>)> {
        self.steps.front().map(|(pause, _)| (*pause, Arc::clone(&self.wake)))
    }

    /// As history tells a client that comes in the middle.
    pub fn in_flight(&self, live: usize) -> Value {
        json!({"runId": self.id, "text": tail(&self.text, live), "startedAt": self.started.0, "events": []})
    }
}

impl State {
    /// Starts a run. The task that performs it begins after this step.
    pub fn start(&mut self, now: Time, id: &str, key: &str, message: &str) {
        self.forget_runs(now);
        let has = |word: &str| message.split_whitespace().any(|one| one.eq_ignore_ascii_case(word));
        let traps = Traps { replace: has("replace"), late: has("late"), tail: has("tail"), lost_end: has("lost-end") };
        let first = Duration::from_millis(self.config.start_ms);
        let now_step = |step| (Duration::ZERO, step);
        let mut steps = VecDeque::from([
            (first, Step::Status("preparing_workspace")),
            now_step(Step::Status("preparing_context")),
            now_step(Step::Agent("lifecycle", json!({"phase": "start", "startedAt": now.0}))),
            now_step(Step::Status("starting_model")),
            now_step(Step::Agent("lifecycle", json!({"phase": "model", "provider": "moorline", "model": "scripted"}))),
        ]);
        steps.extend(script(message, "", traps));
        let run = Run {
            id: id.to_owned(),
            key: key.to_owned(),
            message: message.to_owned(),
            state: Progress::Active,
            seq: 0,
            text: String::new(),
            told: 0,
            told_at: Time(0),
            started: now,
            steps,
            wake: Arc::new(Notify::new()),
            traps,
        };
        self.runs.insert(id.to_owned(), run);
        self.session(key).active = Some(id.to_owned());
        self.jobs.push(Job::Run(id.to_owned()));
    }

    /// Lets a message into the run that is under way: its answer follows in the same run.
    pub fn steer(&mut self, id: &str, message: &str) {
        if let Some(run) = self.runs.get_mut(id) {
            run.steps.retain(|(_, step)| !matches!(step, Step::Finish | Step::Fail(_) | Step::FailAgain | Step::Hang));
            run.steps.extend(script(message, "\n\n", run.traps));
            run.wake.notify_one();
        }
    }

    /// Ends a run by somebody's wish: what was held back and `aborted` are told at once, the rest later.
    pub fn abort(&mut self, now: Time, id: &str, reason: &'static str) -> bool {
        if !self.is_active(id) {
            return false;
        }
        self.flush(now, id);
        let Some(run) = self.runs.get_mut(id) else {
            return false;
        };
        run.seq += 1;
        run.state = Progress::Aborted { at: now, reason };
        let end = json!({"phase": "end", "status": "cancelled", "aborted": true, "stopReason": reason});
        run.steps = VecDeque::from([
            (Duration::ZERO, Step::Agent("lifecycle", end)),
            (AFTERWARDS, Step::Agent("lifecycle", json!({"phase": "model", "provider": null, "model": null}))),
            (AFTERWARDS, Step::Agent("lifecycle", json!({"phase": "error", "error": "This operation was aborted"}))),
        ]);
        run.wake.notify_one();
        let (key, text) = (run.key.clone(), run.text.clone());
        let mut fields = json!({"state": "aborted", "stopReason": reason});
        if !text.is_empty() {
            fields["message"] = message(now, &text, self.config.live_chars);
            self.note_assistant(now, &key, &text, Some(id));
        }
        self.chat(id, &fields, None);
        self.ended(now, id);
        true
    }

    pub fn is_active(&self, id: &str) -> bool {
        self.runs.get(id).is_some_and(|run| run.state == Progress::Active)
    }

    /// The runs that are under way, all or a session's.
    pub fn active_runs(&self, key: Option<&str>) -> Vec<String> {
        let sessions = self.sessions.iter().filter(|(other, _)| key.is_none_or(|key| key == *other));
        sessions.filter_map(|(_, session)| session.active.clone()).collect()
    }

    fn advance(&mut self, now: Time, id: &str) {
        let Some((_, step)) = self.runs.get_mut(id).and_then(|run| run.steps.pop_front()) else {
            return;
        };
        match step {
            Step::Status(phase) => {
                self.count(id);
                self.chat(id, &json!({"state": "status", "phase": phase}), None);
                self.agent(now, id, "run_status", json!({"phase": phase}));
            }
            Step::Agent(stream, data) => {
                self.count(id);
                self.agent(now, id, stream, data);
            }
            Step::Piece(piece) => self.piece(now, id, piece),
            Step::Late => self.late(now, id),
            Step::Replace => {
                self.count(id);
                if let Some(run) = self.runs.get_mut(id) {
                    run.text = run.text.to_uppercase();
                    run.told = 0;
                }
                self.delta(now, id, true);
            }
            Step::Flush => self.flush(now, id),
            Step::Finish => self.finish(now, id),
            Step::Fail(error) => {
                self.count(id);
                let fields = json!({"state": "error", "errorMessage": error, "errorKind": "unknown"});
                self.chat(id, &fields, None);
                if let Some(run) = self.runs.get_mut(id) {
                    run.state = Progress::Failed { at: now };
                }
                self.ended(now, id);
            }
            Step::FailAgain => {
                let fields = json!({"state": "error", "errorMessage": SECOND_MESSAGE});
                self.chat(id, &fields, Some(1));
                self.count(id);
                self.agent(now, id, "lifecycle", json!({"phase": "error", "error": SECOND_MESSAGE}));
            }
            Step::Hang => {
                if let Some(run) = self.runs.get_mut(id) {
                    run.steps.push_front((HANGING, Step::Hang));
                }
            }
        }
    }

    fn piece(&mut self, now: Time, id: &str, piece: Piece) {
        self.count(id);
        match piece {
            Piece::Text(text) => {
                let Some(run) = self.runs.get_mut(id) else {
                    return;
                };
                run.text.push_str(&text);
                let protocol_3 = self.config.version == Version::V3;
                let pause = self.config.delta_ms * if protocol_3 { 2 } else { 1 };
                if run.told_at.plus(pause) <= now {
                    self.delta(now, id, false);
                }
            }
            Piece::Thought(text) => self.agent(now, id, "thinking", json!({"delta": text})),
            Piece::Tool(tool) => {
                self.flush(now, id);
                let about = json!({"toolCallId": tool.id, "name": tool.name});
                let with = |more: Value| merged(about.clone(), more);
                self.tool(now, id, with(json!({"phase": "start", "args": tool.arguments})));
                self.count(id);
                let outcome = json!({"phase": "result", "result": tool.result, "isError": tool.is_error});
                self.tool(now, id, with(outcome));
            }
            // Questions have methods of their own, which this gateway does not offer.
            Piece::Question(_) => {}
        }
    }

    /// Tells what the text gained, or with `replace` the whole, to everyone as its release has it.
    fn delta(&mut self, now: Time, id: &str, replace: bool) {
        let live = self.config.live_chars;
        let Some(run) = self.runs.get_mut(id) else {
            return;
        };
        let gained = run.text[run.told..].to_owned();
        run.told = run.text.len();
        run.told_at = now;
        let (key, run_id, seq) = (run.key.clone(), run.id.clone(), run.seq);
        let whole = message(now, &run.text, live);
        // Of a text that is longer than may be told live, only the end is left.
        let cut = run.text.chars().nth(live).is_some();
        let replace = replace || cut;
        let delta_text = if cut { tail(&run.text, live).to_owned() } else { gained.clone() };
        let about = json!({"text": tail(&run.text, live), "delta": gained, "itemId": format!("{run_id}:1")});
        self.agent(now, id, "assistant", about);
        let common = common(&run_id, &key, seq);
        self.broadcast(Audience::Readers(&key), "chat", |connection| {
            let mut payload = merged(common.clone(), json!({"state": "delta"}));
            let first = connection.followed.insert(run_id.clone());
            if connection.version != Version::V4Lean || first {
                payload["message"] = whole.clone();
            }
            if connection.version != Version::V3 {
                payload["deltaText"] = json!(delta_text);
                if replace {
                    payload["replace"] = json!(true);
                }
            }
            payload
        });
    }

    fn flush(&mut self, now: Time, id: &str) {
        if self.runs.get(id).is_some_and(|run| run.told < run.text.len()) {
            self.delta(now, id, false);
        }
    }

    /// A status first, then a delta whose number is older; whoever passes it over loses a word.
    fn late(&mut self, now: Time, id: &str) {
        self.flush(now, id);
        let Some(run) = self.runs.get_mut(id) else {
            return;
        };
        if let Some((_, Step::Piece(Piece::Text(text)))) =
            run.steps.pop_front_if(|(_, step)| matches!(step, Step::Piece(Piece::Text(_))))
        {
            run.text.push_str(&text);
        }
        run.seq += 1;
        let seq = run.seq;
        run.seq += 3;
        self.chat(id, &json!({"state": "status", "phase": "preparing_context"}), None);
        if let Some(run) = self.runs.get_mut(id) {
            run.seq = seq;
        }
        self.delta(now, id, false);
        if let Some(run) = self.runs.get_mut(id) {
            run.seq = seq + 3;
        }
    }

    fn finish(&mut self, now: Time, id: &str) {
        self.flush(now, id);
        let Some(run) = self.runs.get_mut(id) else {
            return;
        };
        run.state = Progress::Finished { at: now };
        let (key, text, traps) = (run.key.clone(), run.text.clone(), run.traps);
        if traps.tail {
            let usage = json!({"outputTokens": text.split_whitespace().count()});
            run.steps.push_back((AFTERWARDS, Step::Agent("usage", usage)));
            run.steps.push_back((AFTERWARDS, Step::Agent("lifecycle", json!({"phase": "end"}))));
        }
        if text.is_empty() {
            run.state = Progress::Failed { at: now };
            run.steps.push_back((SECOND_ERROR, Step::FailAgain));
            self.count(id);
            self.chat(id, &json!({"state": "aborted", "stopReason": "stop"}), None);
        } else {
            self.note_assistant(now, &key, &text, Some(id));
            if !traps.lost_end {
                let message = message(now, &text, self.config.live_chars);
                self.chat(id, &json!({"state": "final", "stopReason": "stop", "message": message}), None);
            }
        }
        self.ended(now, id);
    }

    /// The session is free; what waits gets its turn.
    fn ended(&mut self, now: Time, id: &str) {
        let Some(key) = self.runs.get(id).map(|run| run.key.clone()) else {
            return;
        };
        for connection in self.connections.values_mut() {
            connection.followed.remove(id);
        }
        let together = self.config.queue == super::config::Queue::Collect;
        let session = self.session(&key);
        if session.active.as_deref() != Some(id) {
            return;
        }
        session.active = None;
        let count = if together { session.queue.len() } else { session.queue.len().min(1) };
        let taken: Vec<_> = session.queue.drain(..count).collect();
        if taken.is_empty() {
            return;
        }
        for queued in &taken {
            self.note_user(now, &key, &queued.text, &queued.key);
        }
        let texts: Vec<_> = taken.into_iter().map(|queued| queued.text).collect();
        self.start(now, &uuid(), &key, &texts.join("\n\n"));
    }

    /// A run that the client knows only by history: `final` at once, and no text.
    pub fn settle_empty(&mut self, key: &str, id: &str) {
        let payload = json!({"runId": id, "sessionKey": key, "seq": 1, "state": "final"});
        self.broadcast(Audience::Readers(key), "chat", |_| payload.clone());
    }

    fn count(&mut self, id: &str) {
        if let Some(run) = self.runs.get_mut(id) {
            run.seq += 1;
        }
    }

    /// A chat event of a run. With a number of its own it does not say which agent it is from.
    fn chat(&mut self, id: &str, fields: &Value, seq: Option<u64>) {
        let Some(run) = self.runs.get(id) else {
            return;
        };
        let key = run.key.clone();
        let mut payload = merged(common(id, &key, seq.unwrap_or(run.seq)), fields.clone());
        if seq.is_some()
            && let Some(payload) = payload.as_object_mut()
        {
            payload.remove("agentId");
        }
        let is_status = fields["state"] == "status";
        for connection in self.connections.values_mut() {
            let knows = !is_status || connection.version != Version::V3;
            if knows
                && matches!(connection.stage, super::Stage::Ready)
                && connection.belongs_to(Audience::Readers(&key))
            {
                connection.event("chat", &payload);
            }
        }
    }

    fn agent(&mut self, now: Time, id: &str, stream: &str, data: Value) {
        self.agent_to(now, id, stream, data, false);
    }

    fn tool(&mut self, now: Time, id: &str, data: Value) {
        self.agent_to(now, id, "tool", data, true);
    }

    fn agent_to(&mut self, now: Time, id: &str, stream: &str, data: Value, is_tool: bool) {
        let Some(run) = self.runs.get(id) else {
            return;
        };
        let key = run.key.clone();
        let mut payload = common(id, &key, run.seq);
        payload["stream"] = json!(stream);
        payload["data"] = data;
        payload["ts"] = json!(now.0);
        let audience = if is_tool { Audience::ToolReaders(&key) } else { Audience::Readers(&key) };
        self.broadcast(audience, "agent", |_| payload.clone());
    }

    /// Lets go of what ended long ago, or is too much.
    fn forget_runs(&mut self, now: Time) {
        let life = self.config.dedupe_ms;
        let ended = |run: &Run| match run.state {
            Progress::Active => None,
            Progress::Finished { at } | Progress::Aborted { at, .. } | Progress::Failed { at } => Some(at),
        };
        self.runs.retain(|_, run| ended(run).is_none_or(|at| at.plus(life) > now));
        while self.runs.len() >= MAX_RUNS {
            let oldest = self.runs.values().filter_map(|run| Some((ended(run)?, run.id.clone()))).min();
            let Some((_, oldest)) = oldest else {
                return;
            };
            self.runs.remove(&oldest);
        }
    }
}

/// The model's answer as steps.
fn script(message: &str, before: &str, traps: Traps) -> Vec<(Duration, Step)> {
    let answer = model::answer(message);
    let mut steps: Vec<(Duration, Step)> = Vec::new();
    let half = answer.pieces.len() / 2;
    let mut before = Some(before).filter(|before| !before.is_empty());
    for (at, piece) in answer.pieces.into_iter().enumerate() {
        let piece = match (piece, before) {
            (Piece::Text(text), Some(gap)) => {
                before = None;
                Piece::Text(format!("{gap}{text}"))
            }
            (piece, _) => piece,
        };
        steps.push((answer.pace, Step::Piece(piece)));
        if at == half && traps.replace {
            steps.push((Duration::ZERO, Step::Replace));
        }
        if at == half && traps.late {
            steps.push((Duration::ZERO, Step::Late));
        }
    }
    steps.push((Duration::ZERO, Step::Flush));
    match answer.outcome {
        Outcome::Finished => steps.push((Duration::ZERO, Step::Finish)),
        Outcome::Failed { message, .. } => {
            steps.push((Duration::ZERO, Step::Fail(message)));
            steps.push((SECOND_ERROR, Step::FailAgain));
        }
        Outcome::Hanging => steps.push((HANGING, Step::Hang)),
    }
    steps
}

const SECOND_MESSAGE: &str = "⚠️ Agent couldn't generate a response. Please try again.";

fn common(id: &str, key: &str, seq: u64) -> Value {
    json!({"runId": id, "sessionKey": key, "agentId": "main", "seq": seq})
}

fn message(now: Time, text: &str, live: usize) -> Value {
    json!({"role": "assistant", "content": [{"type": "text", "text": tail(text, live)}], "timestamp": now.0})
}

/// The end of a text, in characters.
fn tail(text: &str, most: usize) -> &str {
    let count = text.chars().count();
    let skipped = text.char_indices().nth(count.saturating_sub(most)).map_or(text.len(), |(at, _)| at);
    if count <= most { text } else { &text[skipped..] }
}

fn merged(mut one: Value, other: Value) -> Value {
    if let (Some(one), Value::Object(other)) = (one.as_object_mut(), other) {
        one.extend(other);
    }
    one
}
