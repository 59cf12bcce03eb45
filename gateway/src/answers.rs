//! What the crew answers to who asks it, word by word: frames that the Nexus world does not know, for pages with routes of
//! their own. Pure; time comes in. Whether somebody is there to hear it is world.rs.

use std::collections::BTreeMap;

use axum::extract::ws::Utf8Bytes;

use crate::frames::Said;
use crate::model::{self, Answer, Outcome, Piece};
use crate::sessions::{ClientId, Time};

/// The newest question of each client, and how far its answer has come.
#[derive(Default)]
pub struct Answers {
    asked: BTreeMap<ClientId, Asked>,
}

struct Asked {
    id: String,
    answer: Answer,
    /// How many pieces were told, and how many of them were text.
    told: usize,
    texts: usize,
    text: String,
    /// When the next piece is due. None when it is over, or hangs.
    due: Option<Time>,
    /// Its last word, once that was said.
    end: Option<Utf8Bytes>,
}

/// So many clients may have asked something; of more, one is forgotten.
const MAX_ASKERS: usize = 128;
/// How many pieces without a pause are told together.
const MAX_STEPS: usize = 64;

impl Answers {
    /// A question, instead of the one before it. Gives what its asker is told.
    pub fn ask(&mut self, now: Time, client: &ClientId, id: String, prompt: &str) -> Vec<Utf8Bytes> {
        let mut words: Vec<Utf8Bytes> = self.asked.get_mut(client).and_then(Asked::stop).into_iter().collect();
        if !self.asked.contains_key(client) && self.asked.len() >= MAX_ASKERS {
            self.asked.pop_first();
        }
        let answer = model::answer(prompt);
        words.push(Said::AnswerBegun { id: &id }.text());
        let mut asked = Asked { id, answer, told: 0, texts: 0, text: String::new(), due: None, end: None };
        asked.due = asked.next(now);
        self.asked.insert(client.clone(), asked);
        words
    }

    /// Stops the answer to this question, if it goes on.
    pub fn stop(&mut self, client: &ClientId, id: &str) -> Option<Utf8Bytes> {
        self.asked.get_mut(client).filter(|asked| asked.id == id)?.stop()
    }

    /// What is said by now, and to whom.
    pub fn due(&mut self, now: Time) -> Vec<(ClientId, Utf8Bytes)> {
        let mut words = Vec::new();
        for (client, asked) in &mut self.asked {
            for _ in 0..MAX_STEPS {
                let Some(at) = asked.due.filter(|at| *at <= now) else {
                    break;
                };
                words.extend(asked.step(at).map(|word| (client.clone(), word)));
            }
        }
        words
    }

    /// When something is said next.
    pub fn next(&self) -> Option<Time> {
        self.asked.values().filter_map(|asked| asked.due).min()
    }

    /// What a client that was away has to know: all of the text so far, or the end.
    pub fn so_far(&self, client: &ClientId) -> Option<Utf8Bytes> {
        let asked = self.asked.get(client)?;
        let so_far = || Said::AnswerSoFar { id: &asked.id, n: asked.texts, text: &asked.text }.text();
        Some(asked.end.clone().unwrap_or_else(so_far))
    }
}

impl Asked {
    fn next(&self, now: Time) -> Option<Time> {
        let goes_on = self.told < self.answer.pieces.len() || self.answer.outcome != Outcome::Hanging;
        goes_on.then(|| now.plus(u64::try_from(self.answer.pace.as_millis()).unwrap_or(u64::MAX)))
    }

    fn step(&mut self, now: Time) -> Option<Utf8Bytes> {
        let Some(piece) = self.answer.pieces.get(self.told) else {
            return match self.answer.outcome {
                Outcome::Finished => Some(self.finish("finished", None)),
                Outcome::Failed { message, .. } => Some(self.finish("failed", Some(message))),
                Outcome::Hanging => None,
            };
        };
        let id = &self.id;
        let word = match piece {
            Piece::Text(text) => {
                self.texts += 1;
                self.text.push_str(text);
                Some(Said::AnswerText { id, n: self.texts, text }.text())
            }
            Piece::Thought(text) => {
                Some(Said::AnswerNote { id, kind: "thought", text, code: None, failed: false }.text())
            }
            Piece::Tool(tool) => {
                let text = format!("{} {} says", tool.name, tool.arguments);
                let code = Some(tool.result.as_str());
                Some(Said::AnswerNote { id, kind: "tool", text: &text, code, failed: tool.is_error }.text())
            }
            // The crew does not ask back.
            Piece::Question(_) => None,
        };
        self.told += 1;
        self.due = self.next(now);
        word
    }

    fn stop(&mut self) -> Option<Utf8Bytes> {
        self.end.is_none().then(|| self.finish("stopped", None))
    }

    fn finish(&mut self, outcome: &str, error: Option<&str>) -> Utf8Bytes {
        let end = Said::AnswerEnd { id: &self.id, text: &self.text, outcome, error }.text();
        self.due = None;
        self.end.insert(end).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn read(word: &Utf8Bytes) -> Value {
        serde_json::from_str(word).expect("JSON")
    }

    /// What is said until nothing is due any more.
    fn told(answers: &mut Answers) -> Vec<Value> {
        let mut words = Vec::new();
        while let Some(at) = answers.next() {
            words.extend(answers.due(at).iter().map(|(_, word)| read(word)));
        }
        words
    }

    #[test]
    fn an_answer_is_told_piece_by_piece_and_stands_whole_at_its_end() {
        let (mut answers, ann) = (Answers::default(), ClientId::from("ann"));
        let begun = answers.ask(Time(0), &ann, "q1".to_owned(), "words:5 tool");
        assert_eq!(read(&begun[0])["type"], "answer-begun");
        let words = told(&mut answers);
        let texts: String = words
            .iter()
            .filter(|word| word["type"] == "answer-text")
            .filter_map(|word| word["text"].as_str())
            .collect();
        let end = words.last().expect("an end");
        assert_eq!((&end["type"], &end["outcome"]), (&Value::from("answer-end"), &Value::from("finished")));
        assert_eq!(end["text"], texts);
        assert_eq!(words.iter().filter(|word| word["type"] == "answer-note").count(), 1);
        // Who comes back hears the end again.
        assert_eq!(read(&answers.so_far(&ann).expect("the end"))["text"], texts);
    }

    #[test]
    fn who_comes_back_hears_all_of_the_text_so_far() {
        let (mut answers, ann) = (Answers::default(), ClientId::from("ann"));
        answers.ask(Time(0), &ann, "q1".to_owned(), "hang words:3");
        told(&mut answers);
        let so_far = read(&answers.so_far(&ann).expect("a text"));
        assert_eq!((&so_far["type"], &so_far["n"]), (&Value::from("answer-so-far"), &Value::from(3)));
        assert!(answers.so_far(&ClientId::from("ben")).is_none());
    }

    #[test]
    fn a_stopped_answer_ends_once_and_so_does_one_that_gives_way() {
        let (mut answers, ann) = (Answers::default(), ClientId::from("ann"));
        answers.ask(Time(0), &ann, "q1".to_owned(), "hang");
        assert!(answers.stop(&ann, "another").is_none());
        assert_eq!(read(&answers.stop(&ann, "q1").expect("an end"))["outcome"], "stopped");
        assert!(answers.stop(&ann, "q1").is_none());
        answers.ask(Time(0), &ann, "q2".to_owned(), "hang");
        let words: Vec<Value> = answers.ask(Time(0), &ann, "q3".to_owned(), "fail").iter().map(read).collect();
        let kinds: Vec<(&str, &str)> =
            words.iter().map(|word| (word["type"].as_str().unwrap(), word["id"].as_str().unwrap())).collect();
        assert_eq!(kinds, [("answer-end", "q2"), ("answer-begun", "q3")]);
        assert_eq!(told(&mut answers).last().expect("an end")["outcome"], "failed");
    }

    #[test]
    fn askers_are_bounded() {
        let mut answers = Answers::default();
        for n in 0..MAX_ASKERS + 5 {
            answers.ask(Time(0), &ClientId::from(n.to_string().as_str()), "q".to_owned(), "hang");
        }
        assert_eq!(answers.asked.len(), MAX_ASKERS);
    }
}
