//! The table of calls: what a page has asked of the server and has not heard the end of. For protocols that have calls.
//!
//! Every call that is taken in ends exactly once. What one looks like on the wire, when it may be sent and whether it may
//! be sent again is its protocol's to say.

use super::{Command, Context, Verb, Word};
use crate::config::{CALL_TIMEOUT_MS, Config};
use crate::error::Rejection;
use crate::time::Instant;
use crate::wire::{FrameId, Handle};
use alloc::collections::VecDeque;
use alloc::string::String;

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub handle: Handle,
    pub verb: Verb,
    pub method: String,
    /// JSON; empty where the page gave none.
    pub params: String,
    /// The idempotency key.
    pub key: Option<String>,
    /// A socket has it.
    pub sent: bool,
    /// The server has accepted it: only runs go on from here.
    pub started: bool,
    deadline: Option<Instant>,
}

/// What becomes of a call whose socket is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterLoss {
    /// It may have been carried out or not. `safe`: the page may ask again without fear of a second time.
    Lost { safe: bool },
    /// It is sent again, as it is.
    Again,
    /// It lives on at the server.
    Kept,
}

#[derive(Debug)]
pub struct Calls {
    /// Answers come for the first of them, mostly.
    open: VecDeque<Call>,
    /// No deadline is before this one: calls that end do not move it, so that the timer is not set anew for each.
    due: Option<Instant>,
    bytes: f64,
    max_calls: f64,
    max_bytes: f64,
    highest: u32,
}

impl Calls {
    pub fn new(config: &Config) -> Self {
        let limits = config.limits;
        Self {
            open: VecDeque::new(),
            due: None,
            bytes: 0.0,
            max_calls: limits.max_messages,
            max_bytes: limits.max_bytes,
            highest: 0,
        }
    }

    /// Takes in a `Request`, `Run` or `Notify`, unless there is no room.
    pub fn take_in(&mut self, cx: &mut Context<'_>, command: Command) {
        let Command { verb, handle, texts: [method, params, key], number } = command;
        self.highest = self.highest.max(handle.0);
        let call = Call {
            handle,
            verb,
            method: method.unwrap_or_default(),
            params: params.unwrap_or_default(),
            key,
            sent: false,
            started: false,
            deadline: match number.unwrap_or(CALL_TIMEOUT_MS) {
                forever if forever == f64::INFINITY => None,
                millis => Some(cx.now.after(millis as u64)),
            },
        };
        if self.bytes + call.bytes() > self.max_bytes || self.open.len() as f64 >= self.max_calls {
            // No wait makes room for what is larger than all of it.
            let never = call.bytes() > self.max_bytes;
            cx.reject(handle, if never { Rejection::TooLarge } else { Rejection::QueueFull });
            return;
        }
        self.bytes += call.bytes();
        self.due = self.due.into_iter().chain(call.deadline).min();
        self.open.push_back(call);
    }

    /// Sends what has not been sent, in order: `compose` gives the frame, or nothing where this call has to wait.
    pub fn send_waiting(&mut self, cx: &mut Context<'_>, mut compose: impl FnMut(&Call) -> Option<String>) {
        let mut at = 0;
        while let Some(call) = self.open.get_mut(at) {
            at += 1;
            if call.sent {
                continue;
            }
            let Some(text) = compose(call) else {
                continue;
            };
            cx.send_now(text);
            call.sent = true;
            if call.verb == Verb::Notify {
                let handle = call.handle;
                self.end(cx, handle, Word::Sent, FrameId::NONE);
                at -= 1;
            }
        }
    }

    pub fn find(&mut self, handle: Handle) -> Option<&mut Call> {
        let at = self.place(handle)?;
        self.open.get_mut(at)
    }

    /// Pages count their handles up, so that calls are in order.
    fn place(&self, handle: Handle) -> Option<usize> {
        let (mut from, mut to) = (0, self.open.len());
        while from < to {
            let middle = usize::midpoint(from, to);
            match self.open.get(middle)?.handle {
                found if found == handle => return Some(middle),
                found if found < handle => from = middle + 1,
                _ => to = middle,
            }
        }
        None
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Call> {
        self.open.iter()
    }

    /// Whether there ever was such a call: an answer to one that has ended is late, to any other nonsense.
    pub const fn was_asked(&self, handle: Handle) -> bool {
        handle.0 <= self.highest && handle.0 != 0
    }

    /// The server has accepted a run: from here on it may take its time.
    pub fn started(&mut self, cx: &mut Context<'_>, handle: Handle, frame: FrameId) {
        if let Some(call) = self.find(handle)
            && !call.started
        {
            call.started = true;
            call.deadline = None;
            cx.tell(handle, Word::Started, frame);
        }
    }

    /// Ends a call; answers it, if it was open.
    pub fn end(&mut self, cx: &mut Context<'_>, handle: Handle, word: Word, frame: FrameId) -> Option<Call> {
        self.end_more(cx, handle, word, frame, 0.0)
    }

    pub fn end_more(
        &mut self,
        cx: &mut Context<'_>,
        handle: Handle,
        word: Word,
        frame: FrameId,
        number: f64,
    ) -> Option<Call> {
        let call = self.take(handle)?;
        cx.tell_more(handle, word, frame, number, String::new());
        Some(call)
    }

    /// Ends a call that has not been sent.
    pub fn reject(&mut self, cx: &mut Context<'_>, handle: Handle, why: Rejection) {
        if self.take(handle).is_some() {
            cx.reject(handle, why);
        }
    }

    fn take(&mut self, handle: Handle) -> Option<Call> {
        let at = self.place(handle)?;
        let call = self.open.remove(at)?;
        self.bytes -= call.bytes();
        Some(call)
    }

    /// Ends the call that has been answered, without a word: whoever has the answer tells of it. `false`: it is not open.
    pub fn close(&mut self, handle: Handle) -> bool {
        self.find(handle).is_some_and(|call| call.sent) && self.take(handle).is_some()
    }

    /// The socket is gone: `judge` says what becomes of each call that it had.
    pub fn lost(&mut self, cx: &mut Context<'_>, mut judge: impl FnMut(&Call) -> AfterLoss) {
        let mut at = 0;
        while let Some(call) = self.open.get_mut(at) {
            at += 1;
            if !call.sent {
                continue;
            }
            match judge(call) {
                AfterLoss::Kept => {}
                AfterLoss::Again => call.sent = false,
                AfterLoss::Lost { safe } => {
                    let handle = call.handle;
                    self.end_more(cx, handle, Word::Lost, FrameId::NONE, f64::from(u8::from(safe)));
                    at -= 1;
                }
            }
        }
    }

    /// The server will have none of what waits: `frame` says why.
    pub fn refuse_waiting(&mut self, cx: &mut Context<'_>, frame: FrameId) {
        while let Some(handle) = self.open.iter().find(|call| !call.sent).map(|call| call.handle) {
            self.end(cx, handle, Word::Refused, frame);
        }
    }

    /// Ends all of them: nothing will come any more. What was never sent may be asked again.
    pub fn lose_all(&mut self, cx: &mut Context<'_>) {
        while let Some(call) = self.open.front() {
            let (handle, safe) = (call.handle, !call.sent);
            self.end_more(cx, handle, Word::Lost, FrameId::NONE, f64::from(u8::from(safe)));
        }
    }

    /// Ends the next one whose answer is overdue, and answers it.
    pub fn expire(&mut self, cx: &mut Context<'_>) -> Option<Call> {
        let now = cx.now;
        if let Some(call) = self.open.iter().find(|call| call.deadline.is_some_and(|at| at <= now)) {
            let (handle, safe) = (call.handle, f64::from(u8::from(!call.sent)));
            return self.end_more(cx, handle, Word::TimedOut, FrameId::NONE, safe);
        }
        self.due = self.open.iter().filter_map(|call| call.deadline).min();
        None
    }

    /// When to look for what is overdue, at the latest. There may be nothing then.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.due.filter(|_| !self.open.is_empty())
    }
}

impl Call {
    pub const fn bytes(&self) -> f64 {
        (self.method.len() + self.params.len()) as f64
    }
}
