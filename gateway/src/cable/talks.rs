//! Agent sessions: their messages, and the answers that are being given. Pure; time comes in.
//! To whom a message is broadcast is the server's.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::model::{self, Answer, Outcome, Piece};
use crate::sessions::Time;

/// Every agent session, at most `MAX_TALKS`.
#[derive(Default)]
pub struct Talks {
    known: BTreeMap<u64, Talk>,
    newest: u64,
    runs: BTreeMap<u64, Run>,
    runs_begun: u64,
}

struct Talk {
    created: Time,
    messages: VecDeque<Box<RawValue>>,
}

/// An answer that is being given.
struct Run {
    session: u64,
    answer: Answer,
    /// How many pieces were told.
    told: usize,
    /// How many of them were text, and that text.
    deltas: u64,
    text: String,
}

/// What is broadcast, or transmitted, of a talk.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Word<'a> {
    UserMessage {
        content: &'a str,
    },
    /// The whole answer. With a run it is that run's end, whatever else came of it.
    AgentMessage {
        content: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        outcome: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
    },
    AgentStart {
        run: u64,
    },
    /// A piece of the text; `seq` counts the pieces of a run from 1.
    AgentDelta {
        run: u64,
        seq: u64,
        content: &'a str,
    },
    /// What a newcomer missed of a run: the text of its first `seq` pieces.
    AgentPartial {
        run: u64,
        seq: u64,
        content: &'a str,
    },
    AgentThinking {
        run: u64,
        content: &'a str,
    },
    ToolCall {
        run: u64,
        id: &'a str,
        name: &'a str,
        arguments: &'a serde_json::Value,
    },
    ToolResult {
        run: u64,
        id: &'a str,
        content: &'a str,
        is_error: bool,
    },
    SessionChanged {
        session_id: u64,
    },
    SessionsList {
        sessions: Vec<Summary>,
    },
    Error {
        message: &'a str,
    },
    Raw {
        data: &'a RawValue,
    },
}

impl Word<'_> {
    pub fn json(&self) -> Box<RawValue> {
        to_raw_value(self).expect("strings and numbers can be written")
    }
}

#[derive(Serialize)]
pub struct Summary {
    id: u64,
    message_count: usize,
    created_at: String,
}

/// What the next step of a run says, and to whom.
pub struct Step {
    pub session: u64,
    /// For those who watch the answer grow.
    pub live: Vec<Box<RawValue>>,
    /// For everyone in the session: the end.
    pub end: Option<Box<RawValue>>,
}

const MAX_TALKS: usize = 256;
const MAX_MESSAGES: usize = 500;
const MAX_RUNS: usize = 64;
const MAX_LISTED: usize = 100;

impl Talks {
    /// Whether there is such a session, or may be one.
    pub fn open(&mut self, session: u64, now: Time) {
        if !self.known.contains_key(&session) {
            self.newest = self.newest.max(session);
            self.known.insert(session, Talk { created: now, messages: VecDeque::new() });
            while self.known.len() > MAX_TALKS {
                self.known.pop_first();
            }
        }
    }

    pub fn create(&mut self, now: Time) -> u64 {
        let session = self.newest.saturating_add(1);
        self.open(session, now);
        session
    }

    pub fn exists(&self, session: u64) -> bool {
        self.known.contains_key(&session)
    }

    /// The newest first.
    pub fn list(&self, limit: Option<u64>) -> Vec<Summary> {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_LISTED).min(MAX_LISTED);
        let summary = |(id, talk): (&u64, &Talk)| Summary {
            id: *id,
            message_count: talk.messages.len(),
            created_at: written(talk.created),
        };
        self.known.iter().rev().take(limit).map(summary).collect()
    }

    /// What was said in a session, as far back as it is kept.
    pub fn history(&self, session: u64) -> Vec<Box<RawValue>> {
        self.known.get(&session).map(|talk| talk.messages.iter().cloned().collect()).unwrap_or_default()
    }

    pub fn note(&mut self, session: u64, message: Box<RawValue>) {
        if let Some(talk) = self.known.get_mut(&session) {
            talk.messages.push_back(message);
            if talk.messages.len() > MAX_MESSAGES {
                talk.messages.pop_front();
            }
        }
    }

    /// Begins an answer. None when too many are being given.
    pub fn begin(&mut self, session: u64, prompt: &str) -> Option<u64> {
        if self.runs.len() >= MAX_RUNS {
            return None;
        }
        self.runs_begun += 1;
        let run = Run { session, answer: model::answer(prompt), told: 0, deltas: 0, text: String::new() };
        self.runs.insert(self.runs_begun, run);
        Some(self.runs_begun)
    }

    /// How long the next step of a run waits; none when it is over, or hangs.
    pub fn pause(&self, run: u64) -> Option<u64> {
        let run = self.runs.get(&run)?;
        let waits = run.told < run.answer.pieces.len() || run.answer.outcome != Outcome::Hanging;
        waits.then(|| u64::try_from(run.answer.pace.as_millis()).unwrap_or(u64::MAX))
    }

    pub fn step(&mut self, id: u64) -> Option<Step> {
        let run = self.runs.get_mut(&id)?;
        let session = run.session;
        let Some(piece) = run.answer.pieces.get(run.told) else {
            let end = match run.answer.outcome {
                Outcome::Finished => self.end(id, None, None),
                Outcome::Failed { message, .. } => self.end(id, Some("failed"), Some(message)),
                Outcome::Hanging => None,
            };
            return Some(Step { session, live: Vec::new(), end });
        };
        run.told += 1;
        let live = match piece {
            Piece::Text(text) => {
                run.deltas += 1;
                run.text.push_str(text);
                vec![Word::AgentDelta { run: id, seq: run.deltas, content: text }.json()]
            }
            Piece::Thought(text) => vec![Word::AgentThinking { run: id, content: text }.json()],
            Piece::Tool(tool) => vec![
                Word::ToolCall { run: id, id: &tool.id, name: tool.name, arguments: &tool.arguments }.json(),
                Word::ToolResult { run: id, id: &tool.id, content: &tool.result, is_error: tool.is_error }.json(),
            ],
            // There is nobody to ask on a cable.
            Piece::Question(_) => Vec::new(),
        };
        Some(Step { session, live, end: None })
    }

    /// Stops every answer of a session; gives their last words.
    pub fn cancel(&mut self, session: u64) -> Vec<Box<RawValue>> {
        let running: Vec<u64> = self.runs.iter().filter(|(_, run)| run.session == session).map(|(id, _)| *id).collect();
        running.into_iter().filter_map(|id| self.end(id, Some("cancelled"), None)).collect()
    }

    /// What a newcomer has to know of the answers that are being given.
    pub fn partials(&self, session: u64) -> Vec<Box<RawValue>> {
        let running = self.runs.iter().filter(|(_, run)| run.session == session);
        running.map(|(id, run)| Word::AgentPartial { run: *id, seq: run.deltas, content: &run.text }.json()).collect()
    }

    fn end(&mut self, id: u64, outcome: Option<&str>, error: Option<&str>) -> Option<Box<RawValue>> {
        let run = self.runs.remove(&id)?;
        let message = Word::AgentMessage { content: &run.text, run: Some(id), outcome, error }.json();
        self.note(run.session, message.clone());
        Some(message)
    }
}

/// A time as Rails writes it in JSON.
fn written(time: Time) -> String {
    let (days, ms) = (time.0 / 86_400_000, time.0 % 86_400_000);
    let (year, month, day) = date(days);
    let (hour, minute, second, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The date so many days after the first of 1970.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // Whole cycles of the calendar at once, so that a far time takes no longer.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn told(talks: &mut Talks, run: u64) -> Vec<Value> {
        let mut words = Vec::new();
        while talks.pause(run).is_some() {
            let step = talks.step(run).expect("a step");
            let all = step.live.into_iter().chain(step.end);
            words.extend(all.map(|word| serde_json::from_str::<Value>(word.get()).expect("JSON")));
        }
        words
    }

    #[test]
    fn an_answer_grows_and_stands_whole_at_its_end() {
        let mut talks = Talks::default();
        talks.open(1, Time(0));
        let run = talks.begin(1, "words:5 tool").expect("a run");
        let words = told(&mut talks, run);
        let deltas: String = words.iter().filter(|word| word["type"] == "agent_delta").map(content).collect();
        let last = words.last().expect("an end");
        assert_eq!(last["type"], "agent_message");
        assert_eq!(content(last), deltas);
        assert_eq!(talks.history(1).len(), 1);
        assert_eq!(words.iter().filter(|word| word["type"] == "tool_result").count(), 1);
    }

    fn content(word: &Value) -> &str {
        word["content"].as_str().expect("a text")
    }

    #[test]
    fn a_cancelled_answer_ends_with_what_was_told() {
        let mut talks = Talks::default();
        talks.open(1, Time(0));
        let run = talks.begin(1, "hang words:2").expect("a run");
        told(&mut talks, run);
        let partial: Value = serde_json::from_str(talks.partials(1)[0].get()).expect("JSON");
        assert_eq!(partial["seq"], 2);
        let last: Value = serde_json::from_str(talks.cancel(1)[0].get()).expect("JSON");
        assert_eq!((&last["outcome"], &last["content"]), (&Value::from("cancelled"), &partial["content"]));
        assert!(talks.partials(1).is_empty());
        assert!(talks.step(run).is_none());
    }

    #[test]
    fn times_are_written_as_rails_writes_them() {
        assert_eq!(written(Time(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(written(Time(951_782_400_000)), "2000-02-29T00:00:00.000Z");
        assert_eq!(written(Time(1_795_219_370_296)), "2026-11-21T00:02:50.296Z");
    }

    #[test]
    fn talks_and_runs_are_bounded() {
        let mut talks = Talks::default();
        for session in 1..=MAX_TALKS as u64 + 5 {
            talks.open(session, Time(0));
        }
        assert_eq!(talks.known.len(), MAX_TALKS);
        talks.open(u64::MAX, Time(0));
        assert_eq!(talks.create(Time(0)), u64::MAX);
        for _ in 0..MAX_RUNS {
            assert!(talks.begin(1, "x").is_some());
        }
        assert!(talks.begin(1, "x").is_none());
    }
}
