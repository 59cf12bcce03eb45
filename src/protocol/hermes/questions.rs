//! What the agent asks the user, and what becomes of the answers: as an event and a call of ours up to version 0.19, as a
//! call of the server's from 0.20 on. A question outlives a socket.

use crate::protocol::json_rpc::{TOO_MANY, answer};
use crate::protocol::{Command, Context, Verb, Word};
use crate::wire::{FrameId, Handle};
use alloc::string::String;
use alloc::vec::Vec;

#[derive(Debug)]
struct Question {
    handle: Handle,
    /// The `request_id` of an event, if it has one; of a call its id, as JSON.
    id: String,
    /// For an event, the method that answers; for a call, nothing.
    method: &'static str,
    session: String,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Open,
    /// A call of the server's that this socket has not repeated.
    Stale,
    /// The page has answered; no socket has the answer.
    Answered(Verb, String),
    /// The server has the answer.
    Sent,
}

const MOST: usize = 64;

#[derive(Debug, Default)]
pub struct Questions {
    open: Vec<Question>,
}

/// What has to be sent for an answer.
pub enum Send {
    /// A call of ours: the question's handle, method, parameters.
    Call(Handle, &'static str, String),
    /// As it is.
    Answer(String),
}

impl Questions {
    /// One that comes as an event; the same one once.
    pub fn event(
        &mut self,
        cx: &mut Context<'_>,
        method: &'static str,
        id: String,
        session: &str,
        frame: FrameId,
        count: &mut u32,
    ) {
        let known = |one: &Question| !id.is_empty() && one.method == method && one.id == id;
        if self.open.iter().any(known) {
            return;
        }
        if self.open.len() >= MOST {
            let oldest = self.open.remove(0);
            cx.tell(oldest.handle, Word::Withdrawn, FrameId::NONE);
        }
        self.push(cx, id, method, session, frame, count);
    }

    /// One that is a call. Answers what to send at once, if there is something.
    pub fn called(
        &mut self,
        cx: &mut Context<'_>,
        id: String,
        session: &str,
        frame: FrameId,
        count: &mut u32,
    ) -> Option<String> {
        let Some(at) = self.open.iter().position(|one| one.method.is_empty() && one.id == id) else {
            if self.open.len() >= MOST {
                return Some(answer("error", TOO_MANY, &id));
            }
            self.push(cx, id, "", session, frame, count);
            return None;
        };
        let one = self.open.get_mut(at)?;
        match core::mem::replace(&mut one.state, State::Open) {
            State::Answered(verb, json) => {
                let one = self.open.remove(at);
                cx.tell(one.handle, Word::Sent, FrameId::NONE);
                Some(said(verb, &json, &one.id))
            }
            State::Open | State::Stale | State::Sent => None,
        }
    }

    fn push(
        &mut self,
        cx: &mut Context<'_>,
        id: String,
        method: &'static str,
        session: &str,
        frame: FrameId,
        count: &mut u32,
    ) {
        *count = count.wrapping_add(1);
        let handle = Handle::of_server(*count);
        self.open.push(Question { handle, id, method, session: session.into(), state: State::Open });
        cx.tell(handle, Word::Called, frame);
    }

    /// The page has answered one.
    pub fn answered(&mut self, cx: &mut Context<'_>, command: Command, attached: bool) -> Option<Send> {
        let at = self.open.iter().position(|one| one.handle == command.handle)?;
        let one = self.open.get_mut(at)?;
        let [json, ..] = command.texts;
        let json = json.unwrap_or_default();
        // What the page will not answer stays open for another client, or runs out.
        if !one.method.is_empty() && command.verb == Verb::Refuse {
            let one = self.open.remove(at);
            cx.tell(one.handle, Word::Withdrawn, FrameId::NONE);
            return None;
        }
        match one.state {
            State::Open if attached && one.method.is_empty() => {
                let one = self.open.remove(at);
                cx.tell(one.handle, Word::Sent, FrameId::NONE);
                Some(Send::Answer(said(command.verb, &json, &one.id)))
            }
            State::Open if attached => {
                one.state = State::Sent;
                Some(Send::Call(one.handle, one.method, json))
            }
            State::Open | State::Stale | State::Answered(..) => {
                one.state = State::Answered(command.verb, json);
                None
            }
            State::Sent => None,
        }
    }

    /// An answer that waits for the session.
    pub fn waiting(&mut self) -> Option<Send> {
        let ready = |one: &&mut Question| !one.method.is_empty() && matches!(one.state, State::Answered(..));
        let one = self.open.iter_mut().find(ready)?;
        match core::mem::replace(&mut one.state, State::Sent) {
            State::Answered(_, json) => Some(Send::Call(one.handle, one.method, json)),
            State::Open | State::Stale | State::Sent => None,
        }
    }

    /// The server has said what it thinks of an answer of ours.
    pub fn settled(&mut self, cx: &mut Context<'_>, handle: Handle, word: Word, frame: FrameId) {
        self.close(cx, word, frame, &|one| one.handle == handle);
    }

    /// The server does not wait for the answer any more.
    pub fn withdrawn(&mut self, cx: &mut Context<'_>, id: &str) {
        let mut json = String::new();
        crate::wire::push_json_string(&mut json, id);
        self.close(cx, Word::Withdrawn, FrameId::NONE, &|one| one.id == if one.method.is_empty() { &json } else { id });
    }

    /// A turn has ended, and its questions with it. What is a call is withdrawn by the server.
    pub fn turn_ended(&mut self, cx: &mut Context<'_>, session: &str) {
        let over = |one: &Question| !one.method.is_empty() && one.state != State::Sent && one.session == session;
        self.close(cx, Word::Withdrawn, FrameId::NONE, &over);
    }

    /// The socket is gone. An answer that it took may have arrived or not.
    pub fn socket_lost(&mut self, cx: &mut Context<'_>) {
        self.close(cx, Word::Lost, FrameId::NONE, &|one| one.state == State::Sent);
        for one in self.open.iter_mut().filter(|one| one.method.is_empty() && one.state == State::Open) {
            one.state = State::Stale;
        }
    }

    /// The session stands again: calls that it has not repeated are over.
    pub fn resumed(&mut self, cx: &mut Context<'_>, from: &str, to: &str) {
        let over = |one: &Question| one.method.is_empty() && matches!(one.state, State::Stale | State::Answered(..));
        self.close(cx, Word::Withdrawn, FrameId::NONE, &over);
        for one in self.open.iter_mut().filter(|one| one.session == from) {
            one.session = to.into();
        }
    }

    /// Nobody will hear of any of them.
    pub fn end(&mut self, cx: &mut Context<'_>) {
        self.close(cx, Word::Withdrawn, FrameId::NONE, &|_| true);
    }

    fn close(&mut self, cx: &mut Context<'_>, word: Word, frame: FrameId, over: &dyn Fn(&Question) -> bool) {
        self.open.retain(|one| {
            let over = over(one);
            if over {
                cx.tell(one.handle, word, frame);
            }
            !over
        });
    }
}

fn said(verb: Verb, json: &str, id: &str) -> String {
    answer(if verb == Verb::Reply { "result" } else { "error" }, json, id)
}
