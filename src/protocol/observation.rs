//! A stream of events that is observed and resumed by a cursor (docs/protocols/yoi-observation.md): replay, gap, restart.
//!
//! What is particular to the yoi backend is the table at the top; the rest is "cursor, sequence, expired". Its HTTP side is
//! src/ts/observation.ts; no text of an event is read here.

use super::{Becomes, Command, Context, Inbound, Protocol, RouteRow, Verb, Word};
use crate::error::{Cause, Fault, Rejection};
use crate::session::Snapshot;
use crate::wire::{CloseCode, Disposition, FrameId, Handle, Route};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// What comes before the sixteen digits of a cursor.
const PREFIX: &str = "bo_";
const DIAGNOSTIC: Route = Route(1);
const EVENT: Route = Route(2);

/// What a diagnostic means. Each is the last frame of its socket; one that is not here is a dropped upstream.
const DIAGNOSTICS: [(&str, Diagnosis); 4] = [
    ("backend.cursor_unknown_or_expired", Diagnosis::Expired),
    ("backend.cursor_malformed", Diagnosis::Expired),
    ("backend.worker_not_found", Diagnosis::Final),
    ("backend.observation_only", Diagnosis::Final),
];

#[derive(Clone, Copy, PartialEq)]
enum Diagnosis {
    /// The cursor is of no use: begin without one.
    Expired,
    /// It would say so again.
    Final,
}

/// Between the end of one life of the stream and the dial that begins without a cursor: enough to keep a crowd apart.
const AGAIN_SPREAD_MS: f64 = 500.0;

#[derive(Debug)]
struct Observed {
    handle: Handle,
    path: String,
    /// Whose events these are; learnt from the first where the page did not say.
    target: Option<String>,
    bound: bool,
    /// Something of it has been delivered.
    begun: bool,
}

#[derive(Debug, Default)]
pub struct Observation {
    observed: Option<Observed>,
    /// The newest sequence that was delivered, while it can be asked for.
    last: Option<u64>,
    /// What this socket was asked to begin behind.
    asked: Option<u64>,
    /// The first event has come.
    ready: bool,
    /// A dial failed since: a server that came back may count from 1 again, and would take an old cursor for a new one.
    dial_failed: bool,
    opened: bool,
}

impl Observation {
    pub fn new() -> Self {
        Self::default()
    }

    fn observe(&mut self, cx: &mut Context<'_>, command: Command) {
        let Command { handle, texts: [path, cursor, target], .. } = command;
        if self.observed.is_some() {
            cx.reject(handle, Rejection::Busy);
            return;
        }
        // What is no cursor is not sent: the server would say so, and the stream begins at its beginning either way.
        self.last = cursor.as_deref().and_then(sequence);
        if cursor.is_some() && self.last.is_none() {
            cx.tell_more(handle, Word::Gap, FrameId::NONE, 0.0, "cursor-malformed".into());
        }
        let begun = self.last.is_some();
        self.observed = Some(Observed { handle, path: path.unwrap_or_default(), target, bound: false, begun });
    }

    /// The stream of before cannot be continued.
    fn forget(&mut self, cx: &mut Context<'_>, why: &str) {
        self.last = None;
        if let Some(Observed { handle, begun: true, .. }) = self.observed {
            cx.tell_more(handle, Word::Gap, FrameId::NONE, 0.0, why.into());
        }
    }

    fn begin_without_cursor(&mut self, cx: &mut Context<'_>, why: &str) {
        self.forget(cx, why);
        cx.advise(0.0, Some(AGAIN_SPREAD_MS));
        cx.drop_socket(Cause::ServerRestart);
    }

    fn event(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let view = inbound.view;
        let number = view.string("envelope/cursor").as_deref().and_then(sequence);
        let worker = view.string("envelope/worker_id");
        let (Some(observed), Some(number), Some(worker)) = (&mut self.observed, number, worker) else {
            cx.fault(Fault::Malformed);
            cx.emit(Inbound { route: Route::NONE, ..inbound });
            return;
        };
        if *observed.target.get_or_insert_with(|| worker.clone()) != worker {
            cx.fault(Fault::Malformed);
            cx.emit(Inbound { route: Route::NONE, ..inbound });
            return;
        }
        let handle = observed.handle;
        if !self.ready {
            // Behind a cursor there can be nothing at it or before it: these are numbers of another life.
            if self.asked.is_some_and(|asked| number <= asked) {
                self.begin_without_cursor(cx, "restarted");
                return;
            }
            self.ready = true;
            self.dial_failed = false;
            let resumed = self.asked.is_some();
            cx.ready(resumed);
            let word = match observed.begun {
                false => Word::Confirmed,
                true if resumed => Word::Resumed,
                true => Word::Restarted,
            };
            observed.begun = true;
            cx.tell(handle, word, FrameId::NONE);
            if !observed.bound {
                observed.bound = true;
                cx.bind(worker, Some(handle));
            }
        } else if self.last.is_some_and(|last| number <= last) {
            // Twice is once.
            return;
        }
        self.last = Some(number);
        cx.tell(handle, Word::Delta, inbound.frame);
    }

    fn diagnostic(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let code = inbound.view.string("diagnostic/code").unwrap_or_default();
        let found = DIAGNOSTICS.iter().find(|(known, _)| *known == code).map(|(_, diagnosis)| *diagnosis);
        match (found, &self.observed) {
            (Some(Diagnosis::Expired), _) if self.asked.is_some() => self.begin_without_cursor(cx, "cursor-expired"),
            (Some(Diagnosis::Final), Some(observed)) => {
                cx.tell(observed.handle, Word::Refused, inbound.frame);
                self.end(cx);
                cx.fail(Cause::Refused, inbound.frame);
            }
            (_, Some(observed)) => {
                cx.tell(observed.handle, Word::Note, inbound.frame);
                cx.drop_socket(Cause::Transport);
            }
            (_, None) => cx.drop_socket(Cause::Transport),
        }
    }

    fn end(&mut self, cx: &mut Context<'_>) {
        if let Some(Observed { target: Some(target), bound: true, .. }) = self.observed.take() {
            cx.bind(target, None);
        }
    }
}

impl Protocol for Observation {
    fn subprotocols(&self) -> &'static [&'static str] {
        &[]
    }

    fn routes(&self) -> Vec<RouteRow> {
        vec![
            RouteRow { frame_type: "diagnostic".into(), event: Becomes::Nothing },
            RouteRow { frame_type: "event".into(), event: Becomes::Delta },
        ]
    }

    fn control_routes(&self) -> u32 {
        DIAGNOSTIC.0
    }

    fn address(&self) -> String {
        let mut address = self.observed.as_ref().map(|observed| observed.path.clone()).unwrap_or_default();
        if let Some(last) = self.last.filter(|_| !self.dial_failed) {
            address.push_str("?cursor=");
            address.push_str(&cursor(last));
        }
        address
    }

    fn opened(&mut self, _cx: &mut Context<'_>, _subprotocol: &str) {
        self.opened = true;
        self.ready = false;
        if self.dial_failed {
            self.last = None;
        }
        self.asked = self.last;
    }

    fn admits(&mut self, _route: Route, order: f64) -> bool {
        // Above 2^53 a number of the page's is not exact: those are looked at.
        let next = self.last.is_some_and(|last| order > last as f64) && order < 9_007_199_254_740_992.0;
        if next {
            self.last = Some(order as u64);
        }
        next
    }

    fn received(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        match inbound.route {
            EVENT => self.event(cx, inbound),
            DIAGNOSTIC => self.diagnostic(cx, inbound),
            _ => cx.emit(inbound),
        }
    }

    fn timeout(&mut self, _cx: &mut Context<'_>) {}

    fn probe(&mut self, _cx: &mut Context<'_>) {}

    fn disconnected(&mut self, cx: &mut Context<'_>, _code: CloseCode) -> Option<Disposition> {
        self.dial_failed |= !self.opened;
        self.opened = false;
        if core::mem::take(&mut self.ready)
            && let Some(observed) = &self.observed
        {
            cx.tell_more(observed.handle, Word::Away, FrameId::NONE, 1.0, String::new());
        }
        None
    }

    fn ended(&mut self, cx: &mut Context<'_>) {
        if let Some(observed) = &self.observed {
            cx.tell(observed.handle, Word::Away, FrameId::NONE);
        }
    }

    fn command(&mut self, cx: &mut Context<'_>, command: Command) {
        match (command.verb, &self.observed) {
            (Verb::Observe, _) => self.observe(cx, command),
            (Verb::Cancel, Some(observed)) if observed.handle == command.handle => {
                cx.tell(command.handle, Word::Cancelled, FrameId::NONE);
                self.last = None;
                self.end(cx);
            }
            (Verb::Cancel, _) => {}
            _ => cx.reject(command.handle, Rejection::Unsupported),
        }
    }

    fn save(&self) -> Option<Snapshot> {
        None
    }

    fn restore(&mut self, _snapshot: Option<Snapshot>) {}

    fn credential(&mut self, _token: String) {}
}

/// The number in a cursor. Both sides read it by Rust's rule: capital digits and a leading plus pass.
fn sequence(cursor: &str) -> Option<u64> {
    let digits = cursor.strip_prefix(PREFIX)?;
    if digits.len() != 16 {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

fn cursor(sequence: u64) -> String {
    let mut text = String::from(PREFIX);
    for digit in (0..16).rev() {
        text.push(char::from_digit((sequence >> (digit * 4)) as u32 & 15, 16).unwrap_or('0'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_leniently_and_written_in_one_way() {
        for (text, number) in [
            ("bo_0000000000000001", Some(1)),
            ("bo_00000000000000FF", Some(255)),
            ("bo_+00000000000000a", Some(10)),
            ("bo_ffffffffffffffff", Some(u64::MAX)),
            ("BO_0000000000000001", None),
            ("bo_1", None),
            ("bo_00000000000000011", None),
            ("bo_000000000000000g", None),
            ("bo_é00000000000000", None),
            ("", None),
        ] {
            assert_eq!(sequence(text), number, "{text}");
        }
        assert_eq!(cursor(255), "bo_00000000000000ff");
        assert_eq!(sequence(&cursor(u64::MAX)), Some(u64::MAX));
    }
}
