//! How a Hermes turn goes: the model's script as events, questions to the user and what their answers lead to, the end and
//! what comes after it. Which prompt begins a turn is methods.rs.
//!
//! Words in the prompt, beside the model's own:
//!
//! | word | what happens |
//! |---|---|
//! | `ask` (the model's) | a clarify question in the middle |
//! | `approve` | a command waits for approval |
//! | `sudo`, `secret` | a password, or a value, is wanted |
//! | `crash` | the turn ends with `error` and no `message.complete` |

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::config::Version;
use super::session::{Queued, Row};
use super::{ConnectionId, Gateway, Job, Request, State, event, identifier};
use crate::model::{self, Outcome, Piece, Tool};
use crate::sessions::Time;

/// A turn under way.
pub struct Turn {
    pub number: u64,
    user: String,
    /// All deltas so far, and what they said since the last tool.
    told: String,
    segment: String,
    last_delta: String,
    reasoning: String,
    /// Whether the next delta begins a segment.
    gap: bool,
    rows: Vec<Row>,
    steps: VecDeque<(Duration, Step)>,
    wake: Arc<Notify>,
    open: Option<Question>,
}

struct Question {
    kind: Kind,
    /// As the event names it, and as version 0.20's request does.
    id: String,
    request: String,
    text: String,
    tool: Tool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Approval,
    Clarify,
    Sudo,
    Secret,
}

#[derive(Clone)]
enum Step {
    Thinking(&'static str),
    Reason(String),
    Delta(String),
    ToolOpen(Tool),
    ToolClose(Tool),
    Ask(Kind, String),
    /// Nobody answered in time.
    Expire,
    Finish(End),
    Crash,
    Hang,
}

#[derive(Clone)]
enum End {
    Complete,
    Interrupted,
    Error(String),
}

/// Between a wish to interrupt and the end.
const STOPPING: Duration = Duration::from_millis(20);
/// How often a hanging turn is looked at.
const HANGING: Duration = Duration::from_secs(1);
const MAX_QUEUED: usize = 32;

/// Takes a turn's steps one by one until there are none.
pub async fn perform(gateway: Arc<Gateway>, runtime: String, number: u64) {
    loop {
        let next = gateway.step(|state, _| {
            let turn = state.live.get(&runtime)?.turn.as_ref().filter(|turn| turn.number == number)?;
            turn.steps.front().map(|(pause, _)| (*pause, Arc::clone(&turn.wake)))
        });
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
        gateway.step(|state, now| state.advance(now, &runtime, number));
    }
}

impl Kind {
    /// The name of the event that asks, before `.request`, and of the request.
    fn name(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Clarify => "clarify",
            Self::Sudo => "sudo",
            Self::Secret => "secret",
        }
    }

    fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::Approval => 60,
            Self::Sudo => 120,
            Self::Clarify | Self::Secret => 300,
        })
    }
}

impl Turn {
    pub fn inflight(&self) -> Value {
        json!({"user": self.user, "assistant": self.told, "streaming": true})
    }

    pub fn status(&self) -> &'static str {
        match &self.open {
            // An approval is no reason to say that somebody is waited for.
            Some(question) if question.kind != Kind::Approval => "waiting",
            _ => "working",
        }
    }

    /// The question that is open, as version 0.20 asks it.
    pub fn open_request(&self, runtime: &str) -> Option<Value> {
        let question = self.open.as_ref()?;
        let mut params = question.asked(Version::V20);
        params["session_id"] = json!(runtime);
        if question.kind == Kind::Clarify {
            params = json!({"session_id": runtime, "questions": [{
                "qid": question.id, "question": question.text, "choices": null, "multi_select": false,
            }]});
        }
        Some(json!({"id": question.request, "method": question.kind.name(), "params": params}))
    }
}

impl Question {
    /// What an event says of it.
    fn asked(&self, version: Version) -> Value {
        match self.kind {
            Kind::Approval => {
                let mut asked = json!({
                    "command": self.text, "pattern_key": "recursive delete", "pattern_keys": ["recursive delete"],
                    "description": "recursive delete", "allow_permanent": true,
                });
                if version >= Version::V19 {
                    asked["choices"] = json!(["once", "session", "always", "deny"]);
                }
                if version >= Version::V20 {
                    asked["request_id"] = json!(self.id);
                }
                asked
            }
            Kind::Clarify => json!({"question": self.text, "choices": null, "request_id": self.id}),
            Kind::Sudo => json!({"request_id": self.id}),
            Kind::Secret => {
                json!({"prompt": self.text, "env_var": "HARBOUR_KEY", "metadata": {}, "request_id": self.id})
            }
        }
    }
}

impl State {
    /// What a prompt leads to.
    pub fn submit(&mut self, now: Time, runtime: &str, by: ConnectionId, version: Version, text: &str) -> Submitted {
        use super::config::Busy;
        let Some(live) = self.live.get_mut(runtime) else {
            return Submitted::Busy;
        };
        if live.turn.is_none() {
            self.begin_turn(now, runtime, text, false);
            return Submitted::As("streaming");
        }
        if version == Version::V17 || live.queue.len() >= MAX_QUEUED {
            return Submitted::Busy;
        }
        let queued = Queued { text: text.to_owned(), by };
        match self.config.busy {
            Busy::Steer => {
                self.steer(runtime, text);
                return Submitted::As("steered");
            }
            Busy::Queue => live.queue.push_back(queued),
            Busy::Interrupt | Busy::Redirect => {
                live.queue.push_back(queued);
                self.interrupt(runtime);
            }
        }
        let redirects = self.config.busy == Busy::Redirect && version >= Version::V20;
        Submitted::As(if redirects { "redirected" } else { "queued" })
    }

    /// A turn, announced at once; one that the server begins by itself is announced twice.
    pub fn begin_turn(&mut self, now: Time, runtime: &str, text: &str, by_server: bool) {
        self.turns += 1;
        let number = self.turns;
        let Some(live) = self.live.get_mut(runtime) else {
            return;
        };
        live.turn = Some(Turn {
            number,
            user: text.to_owned(),
            told: String::new(),
            segment: String::new(),
            last_delta: String::new(),
            reasoning: String::new(),
            gap: false,
            rows: vec![Row::User(text.to_owned())],
            steps: opening().into_iter().chain(script(text)).collect(),
            wake: Arc::new(Notify::new()),
            open: None,
        });
        live.usage.calls += 1;
        live.usage.input += 11;
        if let Some(stored) = self.stored.get_mut(&live.stored) {
            stored.prompted = true;
            stored.add(now, []);
        }
        if by_server {
            let status = json!({"kind": "process", "text": "a background process finished"});
            self.emit(runtime, "status.update", Some(status));
            self.emit(runtime, "message.start", None);
        }
        self.emit(runtime, "message.start", None);
        self.jobs.push(Job::Turn(runtime.to_owned(), number));
    }

    /// Lets a prompt into the turn that is under way.
    pub fn steer(&mut self, runtime: &str, text: &str) {
        if let Some(turn) = self.turn(runtime) {
            turn.steps.retain(|(_, step)| !matches!(step, Step::Finish(_) | Step::Hang | Step::Crash));
            turn.rows.push(Row::User(text.to_owned()));
            turn.gap = !turn.told.is_empty();
            turn.steps.extend(script(text));
            turn.wake.notify_one();
        }
    }

    /// Ends a turn soon: open questions are answered with nothing, and one more delta may come.
    pub fn interrupt(&mut self, runtime: &str) {
        self.settle(runtime, None, "interrupted");
        if let Some(turn) = self.turn(runtime) {
            let last = turn.steps.pop_front().filter(|(_, step)| matches!(step, Step::Delta(_)));
            turn.steps = last.map(|(_, step)| (Duration::ZERO, step)).into_iter().collect();
            turn.steps.push_back((STOPPING, Step::Finish(End::Interrupted)));
            turn.wake.notify_one();
        }
    }

    fn turn(&mut self, runtime: &str) -> Option<&mut Turn> {
        self.live.get_mut(runtime)?.turn.as_mut()
    }

    fn advance(&mut self, now: Time, runtime: &str, number: u64) {
        let turn = self.turn(runtime).filter(|turn| turn.number == number);
        let Some((_, step)) = turn.and_then(|turn| turn.steps.pop_front()) else {
            return;
        };
        match step {
            Step::Thinking(text) => self.emit(runtime, "thinking.delta", Some(json!({"text": text}))),
            Step::Reason(text) => {
                if let Some(turn) = self.turn(runtime) {
                    turn.reasoning.push_str(&text);
                }
                self.emit(runtime, "reasoning.delta", Some(json!({"text": text})));
            }
            Step::Delta(text) => self.delta(runtime, &text),
            Step::ToolOpen(tool) => self.open_tool(runtime, &tool),
            Step::ToolClose(tool) => {
                let result =
                    json!({"output": tool.result, "error": if tool.is_error { Some(&tool.result) } else { None }});
                self.close_tool(runtime, &tool, result);
            }
            Step::Ask(kind, text) => self.ask(runtime, kind, text),
            Step::Expire => {
                self.settle(runtime, None, "timeout");
            }
            Step::Finish(end) => self.finish(now, runtime, end),
            Step::Crash => {
                self.emit(runtime, "error", Some(json!({"message": "the turn crashed: the mast is down"})));
                self.end_turn(now, runtime);
            }
            Step::Hang => {
                if let Some(turn) = self.turn(runtime) {
                    turn.steps.push_front((HANGING, Step::Hang));
                }
            }
        }
    }

    fn delta(&mut self, runtime: &str, text: &str) {
        let Some(turn) = self.turn(runtime) else {
            return;
        };
        let text = if std::mem::take(&mut turn.gap) { format!("\n\n{}", text.trim_start()) } else { text.to_owned() };
        turn.told.push_str(&text);
        turn.segment.push_str(&text);
        turn.last_delta.clone_from(&text);
        self.emit(runtime, "message.delta", Some(json!({"text": text})));
    }

    /// A tool's call; what was said before it is a segment of its own.
    fn open_tool(&mut self, runtime: &str, tool: &Tool) {
        self.emit(runtime, "tool.generating", Some(json!({"name": tool.name})));
        let Some(turn) = self.turn(runtime) else {
            return;
        };
        let segment = std::mem::take(&mut turn.segment).trim().to_owned();
        turn.gap = !turn.told.is_empty();
        if !segment.is_empty() {
            turn.rows.push(Row::Assistant { text: segment.clone(), reasoning: None });
            self.emit(runtime, "reasoning.available", Some(json!({"text": segment})));
            let interim = json!({"text": segment, "already_streamed": true});
            self.emit_from(Version::V19, runtime, "message.interim", Some(interim));
        }
        let context = format!("Running {}", tool.name);
        self.emit(runtime, "tool.start", Some(json!({"tool_id": tool.id, "name": tool.name, "context": context})));
        if let Some(turn) = self.turn(runtime) {
            turn.rows.push(Row::Tool { name: tool.name.to_owned(), context });
        }
    }

    fn close_tool(&mut self, runtime: &str, tool: &Tool, result: Value) {
        let complete = json!({
            "tool_id": tool.id, "name": tool.name, "args": tool.arguments, "duration_s": 0.02, "result": result,
        });
        self.emit(runtime, "tool.complete", Some(complete));
    }

    fn ask(&mut self, runtime: &str, kind: Kind, text: String) {
        let (name, arguments) = match kind {
            Kind::Approval | Kind::Sudo => ("terminal", json!({"command": text})),
            Kind::Clarify => ("clarify", json!({"question": text})),
            Kind::Secret => ("secret", json!({"env_var": "HARBOUR_KEY"})),
        };
        let id = format!("call_{}", identifier(6));
        let tool = Tool { id, name, arguments, result: String::new(), is_error: false };
        self.open_tool(runtime, &tool);
        let pause = match self.config.question_ms {
            0 => kind.patience(),
            ms => Duration::from_millis(ms),
        };
        let question = Question { kind, id: identifier(4), request: format!("srq-{}", identifier(6)), text, tool };
        let payloads = [Version::V17, Version::V19].map(|version| (version, question.asked(version)));
        let Some(live) = self.live.get_mut(runtime) else {
            return;
        };
        let Some(turn) = &mut live.turn else {
            return;
        };
        turn.open = Some(question);
        turn.steps.push_front((pause, Step::Expire));
        let request = turn.open_request(runtime);
        let mut asked = live.attached.is_empty();
        for id in live.attached.clone() {
            let Some((version, answers)) = self.connections.get(&id).map(|c| (c.version, c.answers_requests)) else {
                continue;
            };
            // Version 0.20 asks whoever said that it answers; the others hear of it by an event.
            if version >= Version::V20 {
                if let Some(request) = request.as_ref().filter(|_| answers) {
                    let mut frame = request.clone();
                    frame["jsonrpc"] = json!("2.0");
                    self.tell(id, &frame.to_string());
                    asked = true;
                }
            } else if let Some((_, payload)) = payloads.iter().find(|(other, _)| *other == version) {
                let kind = format!("{}.request", kind.name());
                self.tell(id, &event(json!({"type": kind, "session_id": runtime, "payload": payload})));
                asked = true;
            }
        }
        if !asked {
            self.settle(runtime, None, "unanswerable");
        }
    }

    /// An open question has its answer, or will never have one.
    fn settle(&mut self, runtime: &str, answer: Option<&str>, reason: &str) -> bool {
        let Some(turn) = self.turn(runtime) else {
            return false;
        };
        let Some(Question { kind, id, request, tool, .. }) = turn.open.take() else {
            return false;
        };
        turn.steps.retain(|(_, step)| !matches!(step, Step::Expire));
        let (result, said) = match (kind, answer) {
            (Kind::Approval, Some(choice)) if choice != "deny" => {
                let approval = format!("the command was approved by the user: {choice}");
                (json!({"output": "", "exit_code": 0, "error": null, "approval": approval}), choice)
            }
            (Kind::Approval, _) => {
                let blocked = "BLOCKED: the command was denied by the user";
                (json!({"output": "", "exit_code": -1, "error": blocked, "status": "blocked"}), "denied")
            }
            (Kind::Clarify, answer) => {
                (json!({"user_response": answer.unwrap_or_default()}), answer.unwrap_or("no answer"))
            }
            // What is secret is not repeated.
            (Kind::Sudo | Kind::Secret, Some(value)) if !value.is_empty() => (json!({"output": "done"}), "received"),
            (Kind::Sudo | Kind::Secret, _) => (json!({"error": "not provided"}), "not provided"),
        };
        if reason != "interrupted" {
            turn.steps.push_front((Duration::ZERO, Step::Delta(format!(" [{said}]"))));
        }
        turn.wake.notify_one();
        let asked_many = self.live.get(runtime).is_some_and(|live| live.attached.len() > 1);
        if answer.is_none() || asked_many {
            let withdrawn = json!({"id": request, "method": kind.name(), "reason": reason});
            self.emit_from(Version::V20, runtime, "request.cancel", Some(withdrawn));
        }
        if reason == "timeout" && matches!(kind, Kind::Sudo | Kind::Secret) {
            let expired = format!("{}.expire", kind.name());
            self.emit(runtime, &expired, Some(json!({"request_id": id})));
        }
        self.close_tool(runtime, &tool, result);
        true
    }

    /// An answer by the session, for approvals; tells how many it settled.
    pub fn respond_approval(&mut self, runtime: &str, choice: &str) -> usize {
        let open = self.turn(runtime).and_then(|turn| turn.open.as_ref());
        let fits = open.is_some_and(|question| question.kind == Kind::Approval);
        usize::from(fits && self.settle(runtime, Some(choice), "resolved"))
    }

    /// An answer by the question's own id, for the other kinds.
    pub fn respond(&mut self, kind: Kind, id: &str, answer: &str) -> bool {
        let is_it = |turn: &Turn| turn.open.as_ref().is_some_and(|open| open.kind == kind && open.id == id);
        let found = self.live.iter().find(|(_, live)| live.turn.as_ref().is_some_and(is_it));
        let found = found.map(|(runtime, _)| runtime.clone());
        found.is_some_and(|runtime| self.settle(&runtime, Some(answer), "resolved"))
    }

    /// A client's response to a request; `None` is a refusal.
    pub fn answer_request(&mut self, request: &str, answer: Option<Value>) {
        let is_it = |turn: &Turn| turn.open.as_ref().is_some_and(|open| open.request == request);
        let found = self.live.iter().find(|(_, live)| live.turn.as_ref().is_some_and(is_it));
        let Some(runtime) = found.map(|(runtime, _)| runtime.clone()) else {
            return;
        };
        let open = self.turn(&runtime).and_then(|turn| turn.open.as_ref());
        let Some((kind, id)) = open.map(|open| (open.kind, open.id.clone())) else {
            return;
        };
        let said = answer.map(|answer| match kind {
            Kind::Approval => answer["choice"].as_str().unwrap_or("deny").to_owned(),
            Kind::Clarify => answer["answers"][&id].as_str().unwrap_or_default().to_owned(),
            Kind::Sudo | Kind::Secret => answer["value"].as_str().unwrap_or_default().to_owned(),
        });
        self.settle(&runtime, said.as_deref(), "resolved");
    }

    /// Lets an open question run out now.
    pub fn expire(&mut self, runtime: &str) -> bool {
        self.settle(runtime, None, "timeout")
    }

    fn finish(&mut self, now: Time, runtime: &str, end: End) {
        let Some(turn) = self.turn(runtime) else {
            return;
        };
        let segment = std::mem::take(&mut turn.segment).trim().to_owned();
        let reasoning = Some(std::mem::take(&mut turn.reasoning)).filter(|reasoning| !reasoning.is_empty());
        let (text, status) = match end {
            End::Complete => (Some(segment.clone()), "complete"),
            End::Interrupted => (Some(segment.clone()).filter(|text| !text.is_empty()), "interrupted"),
            End::Error(message) => (Some(format!("⚠️ {message}")), "error"),
        };
        if let Some(text) = &text {
            turn.rows.push(Row::Assistant { text: text.clone(), reasoning: reasoning.clone() });
        }
        let words = u64::try_from(turn.told.split_whitespace().count()).unwrap_or(u64::MAX);
        if status == "complete" {
            self.emit(runtime, "thinking.delta", Some(json!({"text": ""})));
            let available = reasoning.clone().unwrap_or(segment);
            self.emit(runtime, "reasoning.available", Some(json!({"text": available})));
        }
        let Some(live) = self.live.get_mut(runtime) else {
            return;
        };
        live.usage.output += words;
        let mut complete = json!({"text": text, "usage": live.usage.shown(), "status": status});
        if let Some(reasoning) = reasoning {
            complete["reasoning"] = json!(reasoning);
        }
        self.emit(runtime, "message.complete", Some(complete));
        self.end_turn(now, runtime);
    }

    /// The turn is over: it is written down, the session is told about, and what waits gets its turn.
    fn end_turn(&mut self, now: Time, runtime: &str) {
        let Some(live) = self.live.get_mut(runtime) else {
            return;
        };
        let Some(turn) = live.turn.take() else {
            return;
        };
        let (titled, doomed) = (std::mem::replace(&mut live.titled, true), live.doomed);
        let key = live.stored.clone();
        let title: String = turn.user.chars().take(40).collect();
        if let Some(stored) = self.stored.get_mut(&key) {
            stored.add(now, turn.rows);
            if !titled {
                stored.title.clone_from(&title);
            }
        }
        self.tell_info(runtime);
        if !titled {
            self.emit(runtime, "session.title", Some(json!({"session_id": key, "title": title})));
        }
        if doomed {
            self.live.remove(runtime);
            return;
        }
        let queued_bug = self.config.queued_bug;
        let Some(live) = self.live.get_mut(runtime) else {
            return;
        };
        if let Some(Queued { text, by }) = live.queue.pop_front() {
            if queued_bug {
                live.attached = [by].into();
            }
            self.begin_turn(now, runtime, &text, false);
        }
    }

    /// After a resume in the middle of a turn: the last delta once more, as a race would have it.
    pub fn repeat_delta(&mut self, id: ConnectionId, request: &Request) {
        let Ok((method, params)) = request.call() else {
            return;
        };
        if !["session.resume", "session.activate"].contains(&method.as_str()) {
            return;
        }
        let asked = params["session_id"].as_str().unwrap_or_default();
        let key = self.newest(asked);
        let runtime = self.runtime_of(&key).unwrap_or_else(|| asked.to_owned());
        let last = self.turn(&runtime).map(|turn| turn.last_delta.clone()).filter(|delta| !delta.is_empty());
        if let Some(text) = last {
            let again = json!({"type": "message.delta", "session_id": runtime, "payload": {"text": text}});
            self.tell(id, &event(again));
        }
    }
}

/// What became of a prompt.
pub enum Submitted {
    As(&'static str),
    Busy,
}

fn opening() -> [(Duration, Step); 2] {
    [(Duration::ZERO, Step::Thinking("(◔_◔) pondering…")), (Duration::ZERO, Step::Thinking(""))]
}

/// The model's answer as steps.
fn script(prompt: &str) -> Vec<(Duration, Step)> {
    let answer = model::answer(prompt);
    let pace = answer.pace;
    let has = |word: &str| {
        let apart = |c: char| !c.is_alphanumeric();
        prompt.split(apart).any(|one| one.eq_ignore_ascii_case(word))
    };
    let mut asked = Vec::new();
    for (word, kind, text) in [
        ("approve", Kind::Approval, "rm -rf ./old-charts"),
        ("sudo", Kind::Sudo, "sudo dredge --all"),
        ("secret", Kind::Secret, "the harbour's key"),
    ] {
        if has(word) {
            asked.push((pace, Step::Ask(kind, text.to_owned())));
        }
    }
    if has("crash") {
        asked.push((pace, Step::Crash));
    }
    let half = answer.pieces.len() / 2;
    let mut steps = Vec::new();
    for (at, piece) in answer.pieces.into_iter().enumerate() {
        if at == half {
            steps.append(&mut asked);
        }
        match piece {
            Piece::Thought(text) => steps.push((pace, Step::Reason(text))),
            Piece::Text(text) => steps.push((pace, Step::Delta(text))),
            Piece::Tool(tool) => {
                steps.push((pace, Step::ToolOpen(tool.clone())));
                steps.push((pace, Step::ToolClose(tool)));
            }
            Piece::Question(text) => steps.push((pace, Step::Ask(Kind::Clarify, text))),
        }
    }
    steps.append(&mut asked);
    steps.push(match answer.outcome {
        Outcome::Finished => (Duration::ZERO, Step::Finish(End::Complete)),
        Outcome::Failed { code, message } => (Duration::ZERO, Step::Finish(End::Error(format!("{code}: {message}")))),
        Outcome::Hanging => (HANGING, Step::Hang),
    });
    steps
}
