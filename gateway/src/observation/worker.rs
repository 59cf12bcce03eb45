//! A worker in its runtime: what it was told, the answer it is giving, and the events that come of it. Pure.
//! Who observes it, and under which cursors, is backend.rs.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::model::{self, Outcome, Piece};

/// One worker.
pub struct Worker {
    log: VecDeque<Logged>,
    produced: u64,
    pub transcript: Vec<Item>,
    event_ids: u64,
    status: Status,
    stopped: bool,
    waiting: VecDeque<String>,
    plan: VecDeque<Step>,
    /// Which run this is; a timer of another one changes nothing.
    run: u64,
    turn: u64,
    /// What a newcomer is shown of the past, and of the answer that is being given.
    entries: VecDeque<Value>,
    blocks: Vec<Value>,
}

/// An event as the runtime keeps it, by its own count.
#[derive(Clone)]
pub struct Logged {
    pub number: u64,
    pub payload: Arc<RawValue>,
}

/// A line of the transcript.
#[derive(Clone, Serialize)]
pub struct Item {
    pub sequence: u64,
    pub role: Role,
    pub content: String,
    pub event_id: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    #[default]
    User,
    System,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Idle,
    Running,
    Paused,
}

struct Step {
    pause_ms: u64,
    event: Event,
}

/// What a payload says.
#[derive(Clone, Serialize)]
pub struct Event {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

/// What input was refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Empty,
    TooLong,
    Stopped,
    Full,
}

const MAX_LOG: usize = 2_048;
const MAX_ITEMS: usize = 10_000;
const MAX_CONTENT: usize = 64 * 1024;
const MAX_WAITING: usize = 64;
const MAX_ENTRIES: usize = 200;

impl Default for Worker {
    fn default() -> Self {
        Self {
            log: VecDeque::new(),
            produced: 0,
            transcript: Vec::new(),
            // Its creation was three events.
            event_ids: 3,
            status: Status::Idle,
            stopped: false,
            waiting: VecDeque::new(),
            plan: VecDeque::new(),
            run: 0,
            turn: 0,
            entries: VecDeque::new(),
            blocks: Vec::new(),
        }
    }
}

impl Worker {
    pub fn status(&self) -> Status {
        self.status
    }

    /// The number of the newest event.
    pub fn newest(&self) -> u64 {
        self.produced
    }

    /// The events after this one. None when some of them are gone.
    pub fn after(&self, number: u64) -> Option<Vec<Logged>> {
        let oldest = self.log.front().map_or(self.produced + 1, |logged| logged.number);
        (number + 1 >= oldest).then(|| self.log.iter().filter(|logged| logged.number > number).cloned().collect())
    }

    /// What somebody who begins to observe is shown first.
    pub fn snapshot(&self, name: &str) -> Arc<RawValue> {
        let mut data = json!({
            "entries": self.entries,
            "greeting": {
                "worker_name": name,
                "cwd": "",
                "provider": "worker-runtime",
                "model": "scripted",
                "scope_summary": "runtime worker observation",
                "tools": ["tide_table"],
                "context_window": 0,
                "context_tokens": 0,
            },
            "status": self.status,
        });
        if !self.blocks.is_empty() {
            data["in_flight"] = json!({"blocks": self.blocks});
        }
        payload(&Event { event: "snapshot", data: Some(data) })
    }

    /// Takes in a line; gives its item and the events that it makes at once.
    pub fn input(&mut self, role: Role, content: String) -> Result<(Item, Vec<Logged>), Refusal> {
        let full = self.transcript.len() >= MAX_ITEMS || self.waiting.len() >= MAX_WAITING;
        let refusal = if content.is_empty() {
            Some(Refusal::Empty)
        } else if content.len() > MAX_CONTENT {
            Some(Refusal::TooLong)
        } else if self.stopped {
            Some(Refusal::Stopped)
        } else {
            full.then_some(Refusal::Full)
        };
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        self.event_ids += 1;
        let sequence = self.transcript.len() as u64 + 1;
        let item = Item { sequence, role, content: content.clone(), event_id: self.event_ids };
        self.transcript.push(item.clone());
        let events = match (role, self.status) {
            (Role::System, _) => vec![self.produce(Event::with("system_item", json!({"content": content})))],
            (Role::User, Status::Running) => {
                self.waiting.push_back(content);
                Vec::new()
            }
            (Role::User, Status::Idle | Status::Paused) => self.begin(&content),
        };
        Ok((item, events))
    }

    /// Which run is the newest.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Which run is going on, and how long its next step waits.
    pub fn pause(&self) -> Option<(u64, u64)> {
        self.plan.front().map(|step| (self.run, step.pause_ms))
    }

    /// Takes the next step of the run and all that follow without a pause.
    pub fn step(&mut self) -> Vec<Logged> {
        let mut events = Vec::new();
        while let Some(step) = self.plan.pop_front() {
            events.push(self.produce(step.event));
            if self.plan.front().is_none_or(|next| next.pause_ms > 0) || events.len() >= MAX_STEPS {
                break;
            }
        }
        if self.plan.is_empty()
            && self.status == Status::Idle
            && let Some(next) = self.waiting.pop_front()
        {
            events.extend(self.begin(&next));
        }
        events
    }

    /// Stops the answer that is being given, and those that wait.
    pub fn cancel(&mut self) -> Vec<Logged> {
        if self.status != Status::Running {
            return Vec::new();
        }
        self.plan.clear();
        self.waiting.clear();
        self.run += 1;
        let blocks = std::mem::take(&mut self.blocks);
        blocks.into_iter().for_each(|block| self.keep(block));
        let turn = self.turn;
        [
            Event::with("turn_end", json!({"turn": turn, "result": "paused"})),
            Event::with("run_end", json!({"result": "paused"})),
            Event::with("status", json!({"status": "paused"})),
        ]
        .map(|event| self.produce(event))
        .into()
    }

    pub fn stop(&mut self) -> Vec<Logged> {
        let mut events = self.cancel();
        if !self.stopped {
            self.stopped = true;
            events.push(self.produce(Event::alone("shutdown")));
        }
        events
    }

    /// An event of any kind, as the controls want it.
    pub fn emit(&mut self, payload: &RawValue) -> Logged {
        self.log(Arc::from(payload.to_owned()))
    }

    fn begin(&mut self, prompt: &str) -> Vec<Logged> {
        self.run += 1;
        self.turn += 1;
        self.plan = planned(prompt, self.turn);
        let segments = json!({"segments": [{"kind": "text", "content": prompt}]});
        [
            Event::with("invoke_start", json!({"kind": "user_send"})),
            Event::with("user_message", segments),
            Event::with("status", json!({"status": "running"})),
        ]
        .map(|event| self.produce(event))
        .into()
    }

    fn produce(&mut self, event: Event) -> Logged {
        self.follow(&event);
        self.log(payload(&event))
    }

    fn log(&mut self, payload: Arc<RawValue>) -> Logged {
        self.produced += 1;
        let logged = Logged { number: self.produced, payload };
        self.log.push_back(logged.clone());
        if self.log.len() > MAX_LOG {
            self.log.pop_front();
        }
        logged
    }

    /// Keeps what a snapshot shows in step with what was told.
    fn follow(&mut self, event: &Event) {
        let text = |name: &str| event.data.as_ref().and_then(|data| data[name].as_str()).unwrap_or_default();
        match event.event {
            "status" => {
                self.status = match text("status") {
                    "running" => Status::Running,
                    "paused" => Status::Paused,
                    _ => Status::Idle,
                };
            }
            "text_delta" | "thinking_delta" => {
                let kind = event.event.trim_end_matches("_delta");
                match self.blocks.last_mut().filter(|block| block["kind"] == kind) {
                    Some(block) => {
                        let so_far = block["text"].as_str().unwrap_or_default();
                        block["text"] = format!("{so_far}{}", text("text")).into();
                    }
                    None => self.blocks.push(json!({"kind": kind, "text": text("text")})),
                }
            }
            "text_done" | "thinking_done" => {
                self.blocks.clear();
                self.keep(json!({"kind": event.event.trim_end_matches("_done"), "text": text("text")}));
            }
            "user_message" | "system_item" | "tool_call_done" | "tool_result" => {
                let mut entry = event.data.clone().unwrap_or_default();
                entry["kind"] = event.event.trim_end_matches("_done").into();
                self.keep(entry);
            }
            "error" => {
                self.blocks.clear();
            }
            _ => {}
        }
    }

    fn keep(&mut self, entry: Value) {
        self.entries.push_back(entry);
        if self.entries.len() > MAX_ENTRIES {
            self.entries.pop_front();
        }
    }
}

/// How many steps without a pause are taken together.
const MAX_STEPS: usize = 256;

impl Event {
    fn with(event: &'static str, data: Value) -> Self {
        Self { event, data: Some(data) }
    }

    fn alone(event: &'static str) -> Self {
        Self { event, data: None }
    }
}

fn payload(event: &Event) -> Arc<RawValue> {
    to_raw_value(event).expect("strings and numbers can be written").into()
}

/// The events of an answer, from the turn's start to its end.
fn planned(prompt: &str, turn: u64) -> VecDeque<Step> {
    let answer = model::answer(prompt);
    let pause_ms = u64::try_from(answer.pace.as_millis()).unwrap_or(u64::MAX);
    let mut plan = VecDeque::new();
    let mut add = |pause_ms: u64, event: Event| plan.push_back(Step { pause_ms, event });
    add(0, Event::with("turn_start", json!({"turn": turn})));
    add(0, Event::with("llm_call_start", json!({"llm_call": turn})));
    let mut open: Option<(&str, String)> = None;
    let mut words = 0;
    for piece in &answer.pieces {
        let kind = match piece {
            Piece::Thought(_) => "thinking",
            Piece::Text(_) => "text",
            Piece::Tool(_) | Piece::Question(_) => "tool",
        };
        if let Some((before, _)) = &open
            && *before != kind
        {
            open.take().into_iter().for_each(|block| add(0, done(block)));
        }
        match piece {
            Piece::Thought(text) | Piece::Text(text) => {
                let first = open.is_none();
                open.get_or_insert_with(|| (kind, String::new())).1.push_str(text);
                let delta = if kind == "text" { "text_delta" } else { "thinking_delta" };
                if first && kind == "thinking" {
                    add(0, Event::alone("thinking_start"));
                }
                words += 1;
                add(pause_ms, Event::with(delta, json!({"text": text})));
            }
            Piece::Tool(tool) => {
                let arguments = tool.arguments.to_string();
                let (head, tail) = arguments.split_at(arguments.find(':').map_or(0, |at| at + 1));
                let id = &tool.id;
                add(pause_ms, Event::with("tool_call_start", json!({"id": id, "name": tool.name})));
                for part in [head, tail] {
                    add(0, Event::with("tool_call_args_delta", json!({"id": id, "json": part})));
                }
                let call = json!({"id": id, "name": tool.name, "arguments": arguments});
                add(0, Event::with("tool_call_done", call));
                let summary = if tool.is_error { "failed" } else { "ok" };
                let result = json!({"id": id, "summary": summary, "output": tool.result, "is_error": tool.is_error});
                add(pause_ms, Event::with("tool_result", result));
            }
            // Whoever observes cannot answer.
            Piece::Question(_) => {}
        }
    }
    match answer.outcome {
        Outcome::Finished => {
            open.take().into_iter().for_each(|block| add(0, done(block)));
            add(0, Event::with("usage", json!({"input_tokens": prompt.len(), "output_tokens": words})));
            add(0, Event::with("llm_call_end", json!({"llm_call": turn})));
            add(0, Event::with("turn_end", json!({"turn": turn, "result": "finished"})));
            add(0, Event::with("run_end", json!({"result": "finished"})));
            add(0, Event::with("status", json!({"status": "idle"})));
        }
        Outcome::Failed { code, message } => {
            add(pause_ms, Event::with("error", json!({"code": code, "message": message})));
            add(0, Event::with("status", json!({"status": "idle"})));
        }
        Outcome::Hanging => {}
    }
    plan
}

fn done((kind, text): (&str, String)) -> Event {
    let event = if kind == "text" { "text_done" } else { "thinking_done" };
    Event::with(event, json!({"text": text}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(worker: &mut Worker, prompt: &str) -> Vec<Value> {
        let (_, mut events) = worker.input(Role::User, prompt.to_owned()).expect("taken");
        while worker.pause().is_some() {
            events.extend(worker.step());
        }
        events.iter().map(|logged| serde_json::from_str(logged.payload.get()).expect("JSON")).collect()
    }

    fn names(events: &[Value]) -> Vec<&str> {
        events.iter().map(|event| event["event"].as_str().expect("a name")).collect()
    }

    #[test]
    fn an_answer_is_told_in_order_and_each_block_ends_whole() {
        let mut worker = Worker::default();
        let events = run(&mut worker, "words:2 pace:0 think tool");
        let expected = "invoke_start user_message status turn_start llm_call_start thinking_start thinking_delta \
             thinking_delta thinking_delta thinking_delta thinking_done text_delta text_done tool_call_start \
             tool_call_args_delta tool_call_args_delta tool_call_done tool_result text_delta text_done usage \
             llm_call_end turn_end run_end status";
        assert_eq!(names(&events).join(" "), expected);
        let arguments: String = events
            .iter()
            .filter(|event| event["event"] == "tool_call_args_delta")
            .map(|event| event["data"]["json"].as_str().expect("a text"))
            .collect();
        let call = events.iter().find(|event| event["event"] == "tool_call_done").expect("a call");
        assert_eq!(call["data"]["arguments"], arguments);
        assert!(events.iter().any(|event| event["event"] == "thinking_start" && event.get("data").is_none()));
        assert_eq!(worker.status(), Status::Idle);
    }

    #[test]
    fn a_failing_answer_has_an_error_and_no_end() {
        let mut worker = Worker::default();
        let events = run(&mut worker, "fail words:4");
        let names = names(&events);
        assert_eq!(names[names.len() - 3..], ["text_delta", "error", "status"]);
    }

    #[test]
    fn a_snapshot_shows_what_is_being_said() {
        let mut worker = Worker::default();
        run(&mut worker, "hang words:3");
        let snapshot: Value = serde_json::from_str(worker.snapshot("w").get()).expect("JSON");
        assert_eq!(snapshot["data"]["status"], "running");
        assert_eq!(snapshot["data"]["in_flight"]["blocks"], json!([{"kind": "text", "text": "You said: hang"}]));
        let ends: Vec<Value> =
            worker.cancel().iter().map(|logged| serde_json::from_str(logged.payload.get()).expect("JSON")).collect();
        assert_eq!(names(&ends), ["turn_end", "run_end", "status"]);
        assert_eq!(worker.status(), Status::Paused);
        assert!(worker.cancel().is_empty());
        let snapshot: Value = serde_json::from_str(worker.snapshot("w").get()).expect("JSON");
        assert!(snapshot["data"].get("in_flight").is_none());
        assert_eq!(snapshot["data"]["entries"][1]["text"], "You said: hang");
    }

    #[test]
    fn what_comes_while_an_answer_is_given_waits() {
        let mut worker = Worker::default();
        worker.input(Role::User, "words:1".to_owned()).expect("taken");
        let (_, events) = worker.input(Role::User, "words:2".to_owned()).expect("taken");
        assert!(events.is_empty());
        let mut told = Vec::new();
        while worker.pause().is_some() {
            told.extend(worker.step());
        }
        let ends = told.iter().filter(|logged| logged.payload.get().contains("\"run_end\"")).count();
        assert_eq!(ends, 2);
    }

    #[test]
    fn the_log_and_all_that_waits_are_bounded() {
        let mut worker = Worker::default();
        let payload = RawValue::from_string("{\"event\":\"alert\"}".to_owned()).expect("JSON");
        for _ in 0..MAX_LOG + 5 {
            worker.emit(&payload);
        }
        assert!(worker.after(4).is_none());
        assert_eq!(worker.after(5).map(|events| events.len()), Some(MAX_LOG));
        worker.input(Role::User, "hang".to_owned()).expect("taken");
        for _ in 0..MAX_WAITING {
            worker.input(Role::User, "x".to_owned()).expect("taken");
        }
        assert_eq!(worker.input(Role::User, "x".to_owned()).err(), Some(Refusal::Full));
        assert_eq!(worker.input(Role::User, String::new()).err(), Some(Refusal::Empty));
        assert_eq!(worker.input(Role::User, "x".repeat(MAX_CONTENT + 1)).err(), Some(Refusal::TooLong));
        worker.stop();
        assert_eq!(worker.input(Role::User, "x".to_owned()).err(), Some(Refusal::Stopped));
    }
}
