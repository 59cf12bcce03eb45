//! What waits to be written to one client, bounded. Who fills it is hub.rs, or another protocol's module; who empties it
//! is socket.rs.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::extract::ws::{CloseFrame, Message};
use tokio::sync::Notify;

/// A queue with two ends in different tasks, and at most one end of its own.
#[derive(Default)]
pub struct Outlet {
    state: Mutex<State>,
    changed: Notify,
    ended: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Message>,
    bytes: usize,
    /// What was taken and, as far as the queue knows, is not written yet.
    taken: usize,
    end: Option<End>,
}

/// How far a client is behind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    pub bytes: usize,
    /// Whether the connection was told to end.
    pub ending: bool,
}

/// How a connection is to end.
#[derive(Clone, Debug)]
pub enum End {
    /// What waits is written, then the close frame.
    Close(CloseFrame),
    /// What waits is dropped; the close frame is tried for a moment, behind whatever blocks.
    Overrun(CloseFrame),
    /// What waits is written, then the TCP connection goes without a close frame.
    HangUp,
    /// The TCP connection goes, and nothing is said.
    Abort,
}

/// The bounds of one client's queue; a single larger message passes when nothing else waits.
const MAX_BYTES: usize = 16 * 1024 * 1024;
const MAX_MESSAGES: usize = 131_072;

impl Outlet {
    /// False when the queue is full and the message was not taken. After an end everything is taken and dropped.
    pub fn push(&self, message: Message) -> bool {
        let mut state = self.state();
        if state.end.is_some() {
            return true;
        }
        let bytes = weight(&message);
        let full = state.bytes + bytes > MAX_BYTES || state.waiting.len() >= MAX_MESSAGES;
        if full && !state.waiting.is_empty() {
            return false;
        }
        state.bytes += bytes;
        state.waiting.push_back(message);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// The first close wins; an abort wins over any close.
    pub fn end(&self, end: End) {
        let mut state = self.state();
        if state.end.is_some() && !matches!(end, End::Abort) {
            return;
        }
        if matches!(end, End::Overrun(_) | End::Abort) {
            state.waiting.clear();
            state.bytes = 0;
        }
        state.end = Some(end);
        drop(state);
        self.changed.notify_one();
        self.ended.notify_one();
    }

    /// Waits for something to write, or for the end. What was given before counts as written.
    pub async fn next(&self) -> (Vec<Message>, Option<End>) {
        self.state().taken = 0;
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state();
                if !state.waiting.is_empty() || state.end.is_some() {
                    state.taken = std::mem::take(&mut state.bytes);
                    return (state.waiting.drain(..).collect(), state.end.clone());
                }
            }
            changed.await;
        }
    }

    /// Waits for an end.
    pub async fn ended(&self) -> End {
        loop {
            let ended = self.ended.notified();
            if let Some(end) = self.state().end.clone() {
                return end;
            }
            ended.await;
        }
    }

    /// Waits for an abort, the only end that can follow another.
    pub async fn aborted(&self) {
        loop {
            let ended = self.ended.notified();
            if matches!(self.state().end, Some(End::Abort)) {
                return;
            }
            ended.await;
        }
    }

    pub fn backlog(&self) -> Backlog {
        let state = self.state();
        Backlog { bytes: state.bytes + state.taken, ending: state.end.is_some() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn weight(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Close(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: usize) -> Message {
        Message::text("x".repeat(bytes))
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let outlet = Outlet::default();
        assert!(outlet.push(text(MAX_BYTES - 1)));
        assert!(outlet.push(text(1)));
        assert!(!outlet.push(text(1)));
        let outlet = Outlet::default();
        for _ in 0..MAX_MESSAGES {
            assert!(outlet.push(text(0)));
        }
        assert!(!outlet.push(text(0)));
    }

    #[test]
    fn one_message_above_the_bound_passes_alone() {
        let outlet = Outlet::default();
        assert!(outlet.push(text(MAX_BYTES + 1)));
        assert!(!outlet.push(text(1)));
    }

    #[tokio::test]
    async fn the_first_close_stands_and_an_abort_beats_it() {
        let outlet = Outlet::default();
        outlet.end(End::Close(CloseFrame { code: 1001, reason: "first".into() }));
        outlet.end(End::Close(CloseFrame { code: 1012, reason: "second".into() }));
        assert!(matches!(outlet.ended().await, End::Close(frame) if frame.code == 1001));
        outlet.end(End::Abort);
        outlet.aborted().await;
    }
}
