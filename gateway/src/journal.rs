//! What clients sent, in order of arrival, as far back as the bounds allow. Only the control endpoint reads it.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::delivery::StreamName;
use crate::sessions::ClientId;

/// A ring of frames: the oldest go when there are too many or they weigh too much.
#[derive(Default)]
pub struct Journal {
    entries: VecDeque<Entry>,
    noted: u64,
    weight: usize,
}

/// A frame as it came.
pub enum Content<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

/// A frame as the control endpoint shows it: JSON as `frame`, other text as `text`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    seq: u64,
    client_id: Option<ClientId>,
    /// Taken by an earlier process with the same memory.
    #[serde(skip)]
    recalled: bool,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    numbered: Option<Numbered>,
    #[serde(flatten)]
    kept: Kept,
}

/// What became of a numbered message.
#[derive(Clone, Debug, Serialize)]
pub struct Numbered {
    pub stream: StreamName,
    pub number: u64,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Taken,
    /// It was taken before.
    Repeated,
    /// Another connection has its stream.
    Fenced,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Kept {
    Frame(Box<RawValue>),
    Text(String),
    BinaryBase64(String),
}

const MAX_ENTRIES: usize = 50_000;
const MAX_WEIGHT: usize = 32 * 1024 * 1024;

impl Journal {
    pub fn note(&mut self, client_id: Option<ClientId>, content: Content) {
        self.note_numbered(client_id, None, content);
    }

    /// What became of a numbered frame.
    pub fn note_numbered(&mut self, client_id: Option<ClientId>, numbered: Option<Numbered>, content: Content) {
        self.keep(client_id, numbered, content, false);
    }

    /// A message that was taken before the process began.
    pub fn recall(&mut self, client_id: ClientId, stream: StreamName, number: u64, frame: &str) {
        let numbered = Numbered { stream, number, outcome: Outcome::Taken };
        self.keep(Some(client_id), Some(numbered), Content::Text(frame), true);
    }

    fn keep(&mut self, client_id: Option<ClientId>, numbered: Option<Numbered>, content: Content, recalled: bool) {
        let kept = match content {
            Content::Text(text) => match RawValue::from_string(text.to_owned()) {
                Ok(frame) => Kept::Frame(frame),
                Err(_) => Kept::Text(text.to_owned()),
            },
            Content::Binary(bytes) => Kept::BinaryBase64(STANDARD.encode(bytes)),
        };
        self.noted += 1;
        let entry = Entry { seq: self.noted, client_id, recalled, numbered, kept };
        self.weight += entry.weight();
        self.entries.push_back(entry);
        while self.entries.len() > MAX_ENTRIES || self.weight > MAX_WEIGHT {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.weight -= oldest.weight();
        }
    }

    /// The frames that this process heard of one client, or of all.
    pub fn entries(&self, client_id: Option<&str>) -> Vec<&Entry> {
        let wanted = |entry: &&Entry| client_id.is_none_or(|id| entry.client_id.as_deref() == Some(id));
        self.entries.iter().filter(|entry| !entry.recalled).filter(wanted).collect()
    }

    /// The messages that were taken, in that order, by earlier processes too.
    pub fn taken(&self) -> Vec<&Entry> {
        let taken = |entry: &&Entry| matches!(&entry.numbered, Some(n) if n.outcome == Outcome::Taken);
        self.entries.iter().filter(taken).collect()
    }
}

impl Entry {
    fn weight(&self) -> usize {
        let text = match &self.kept {
            Kept::Frame(frame) => frame.get().len(),
            Kept::Text(text) | Kept::BinaryBase64(text) => text.len(),
        };
        text + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_shown_as_a_frame_and_anything_else_as_text() {
        let mut journal = Journal::default();
        journal.note(Some(ClientId::from("c")), Content::Text("{\"type\":\"x\"}"));
        journal.note(None, Content::Text("{"));
        journal.note(None, Content::Binary(&[1, 2, 3]));
        let shown = serde_json::to_string(&journal.entries(None)).unwrap();
        assert_eq!(
            shown,
            "[{\"seq\":1,\"clientId\":\"c\",\"frame\":{\"type\":\"x\"}},\
             {\"seq\":2,\"clientId\":null,\"text\":\"{\"},\
             {\"seq\":3,\"clientId\":null,\"binaryBase64\":\"AQID\"}]"
        );
        assert_eq!(journal.entries(Some("c")).len(), 1);
    }

    #[test]
    fn the_oldest_frames_go_when_the_journal_is_full() {
        let mut journal = Journal::default();
        for _ in 0..MAX_ENTRIES + 5 {
            journal.note(None, Content::Text("1"));
        }
        assert_eq!(journal.entries(None).len(), MAX_ENTRIES);
        assert_eq!(journal.entries(None)[0].seq, 6);
        let heavy = format!("\"{}\"", "x".repeat(1024 * 1024));
        for _ in 0..40 {
            journal.note(None, Content::Text(&heavy));
        }
        assert!(journal.weight <= MAX_WEIGHT);
        assert!(journal.entries(None).len() <= 32);
    }
}
