//! OpenClaw's runs: whose an event is, how a run ends once, and how one is found again after the line was away.
//!
//! A run's text is read in the page. Here it is known whether the page can have all of it: after a gap or on a new socket it
//! cannot, until a frame has brought the whole.

use super::{OpenClaw, Own, Phase, member, quoted};
use crate::error::Fault;
use crate::protocol::calls::AfterLoss;
use crate::protocol::{Command, Context, Inbound, Verb, Word, take_at};
use crate::time::Instant;
use crate::wire::{FrameId, Handle, View, push_json_string, push_number};
use alloc::string::String;
use alloc::vec::Vec;

/// Runs that the server began; of more, the oldest is given up.
const MOST_BEGUN: usize = 32;
/// Late events of so many ended runs are known to be late.
const MOST_ENDED: usize = 256;
/// Stops that could not be sent; of more, the oldest is forgotten.
const MOST_ABORTS: usize = 32;
/// How often the history is asked for an answer that nothing points to.
const TRIES: u32 = 3;
/// How long without a word of a run until the history is asked again.
const LOOK_MS: u64 = 15_000;
/// How long the gateway may take to stop a run.
const ABORT_MS: u64 = 10_000;
/// Messages of a history that are asked for.
const ROWS: u64 = 50;

const OTHER: &str = "other";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Need {
    /// It is bound: its deltas go to the page at once.
    Nothing,
    /// A frame with the whole text. `shown`: the history has brought one since, and what came behind it is not in it.
    Whole { shown: bool },
    /// It has ended, and the answer is in the history, or will be.
    Answer,
}

#[derive(Debug)]
struct Run {
    handle: Handle,
    id: String,
    session: String,
    need: Need,
    tries: u32,
    /// When to look again.
    until: Option<Instant>,
    aborting: bool,
    /// On this connection the gateway was asked what became of it.
    asked: bool,
    /// And it said that nothing more will come.
    over: bool,
    /// A gateway that had forgotten it took its key once more: it answers such a one with nothing.
    restarted: bool,
    /// Its connection was lost, and this one has not heard what became of it.
    away: bool,
}

impl Run {
    /// It does not hear its deltas by itself any more.
    fn unbind(&mut self, cx: &mut Context<'_>, need: Need) {
        if self.need == Need::Nothing {
            cx.bind(self.id.clone(), None);
        }
        self.need = need;
    }

    /// Whether the gateway began it.
    const fn is_begun(&self) -> bool {
        self.handle.0 >> 31 == 1
    }
}

#[derive(Debug, Default)]
pub struct Runs {
    open: Vec<Run>,
    ended: Vec<String>,
    begun: u32,
    /// Session and run of what was cancelled while there was no line.
    aborts: Vec<(String, String)>,
}

impl Runs {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The sessions of the page's runs from before a handle that nobody knows the state of.
    pub(super) fn undecided(&self, before: Handle) -> impl Iterator<Item = &str> {
        let open = self.open.iter().filter(move |run| run.handle < before);
        open.filter(|run| run.away && run.need == Need::Whole { shown: false }).map(|run| run.session.as_str())
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.open.iter().filter_map(|run| run.until).min()
    }

    fn find(&mut self, id: &str) -> Option<&mut Run> {
        self.open.iter_mut().rfind(|run| run.id == id)
    }

    fn by(&mut self, handle: Handle) -> Option<&mut Run> {
        self.open.iter_mut().find(|run| run.handle == handle)
    }
}

impl OpenClaw {
    // What the page asks.

    pub(super) fn take_in(&mut self, cx: &mut Context<'_>, command: Command) {
        let (handle, verb) = (command.handle, command.verb);
        let [method, params, key] = &command.texts;
        let params = params.as_deref().unwrap_or_default();
        let session = member(params, "sessionKey").map(String::from);
        let id = key.clone().unwrap_or_default();
        let sends = method.as_deref() == Some("chat.send");
        self.calls.take_in(cx, command);
        if self.calls.find(handle).is_none() {
            return;
        }
        if let Some(key) = session.as_ref().filter(|_| sends) {
            let at = self.session(key);
            let asked = self.own.iter().any(|(_, own)| matches!(own, Own::Subscribe(asked) if asked == key));
            if !asked && self.sessions.get(at).is_some_and(|session| !session.settled) {
                self.subscribe(cx, at);
            }
        }
        if verb == Verb::Run {
            self.runs.open.push(Run {
                handle,
                id,
                session: session.unwrap_or_default(),
                need: Need::Whole { shown: false },
                tries: 0,
                until: None,
                aborting: false,
                asked: false,
                over: false,
                restarted: false,
                away: false,
            });
        }
    }

    pub(super) fn cancel(&mut self, cx: &mut Context<'_>, handle: Handle) {
        let sent = self.calls.find(handle).is_none_or(|call| call.sent);
        let Some(run) = self.runs.by(handle) else {
            self.calls.end(cx, handle, Word::Cancelled, FrameId::NONE);
            return;
        };
        if sent && !run.aborting && !run.id.is_empty() && !run.session.is_empty() {
            let (session, id) = (run.session.clone(), run.id.clone());
            if self.phase == Phase::Ready {
                // The end is the gateway's to tell: it comes with the text that there was.
                run.aborting = true;
                run.until = Some(cx.now.after(ABORT_MS));
                self.abort(cx, handle, &session, &id);
                return;
            }
            self.owe_abort(session, id);
        }
        self.end_run(cx, handle, Word::Cancelled, FrameId::NONE, 0.0);
    }

    fn abort(&mut self, cx: &mut Context<'_>, handle: Handle, session: &str, id: &str) {
        let mut params = String::from("\"sessionKey\":");
        params.push_str(session);
        params.push_str(",\"runId\":");
        push_json_string(&mut params, id);
        self.ask_own(cx, Own::Abort(handle), "chat.abort", &params);
    }

    fn owe_abort(&mut self, session: String, id: String) {
        let aborts = &mut self.runs.aborts;
        if aborts.len() >= MOST_ABORTS {
            take_at(aborts, 0);
        }
        aborts.push((session, id));
    }

    // What the gateway says.

    /// The answer to what began a run, or to what asked for it again.
    pub(super) fn answer_run(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>, handle: Handle, ok: bool) {
        let view = inbound.view;
        let (status, id) = (view.string("payload/status").unwrap_or_default(), view.string("payload/runId"));
        let again = self.calls.find(handle).is_some_and(|call| call.started);
        let Some(run) = self.runs.by(handle) else {
            return;
        };
        match (ok, id) {
            (false, _) if again && status.is_empty() => {
                let session = run.session.clone();
                self.no_history(cx, &session, view.number("error/retryAfterMs"));
            }
            (false, _) => {
                let word = if status == "error" { Word::Failed } else { Word::Refused };
                self.end_run(cx, handle, word, inbound.frame, 0.0);
            }
            // It was no prompt, and is done.
            (true, None) => self.end_run(cx, handle, Word::Final, inbound.frame, 0.0),
            (true, Some(id)) => {
                if run.id != id && run.need == Need::Nothing {
                    run.unbind(cx, Need::Whole { shown: false });
                }
                run.id = id;
                run.away = false;
                run.tries = 0;
                run.over = again && status != "in_flight";
                match status.as_str() {
                    "ok" => run.unbind(cx, Need::Answer),
                    "timeout" => return self.end_run(cx, handle, Word::Stopped, inbound.frame, 0.0),
                    "error" => return self.end_run(cx, handle, Word::Failed, inbound.frame, 0.0),
                    "in_flight" => {}
                    _ => {
                        if again {
                            run.restarted = true;
                            cx.tell(handle, Word::Restarted, inbound.frame);
                        }
                        self.make_live(cx, handle);
                    }
                }
                self.calls.started(cx, handle, inbound.frame);
                self.look(cx, handle);
            }
        }
    }

    /// A run says something else than that there is more text.
    pub(super) fn chat(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let view = inbound.view;
        let (Some(id), Some(state)) = (view.string("payload/runId"), view.string("payload/state")) else {
            cx.fault(Fault::Malformed);
            return;
        };
        let session = quoted(&view.string("payload/sessionKey").unwrap_or_default());
        let last = state == "final";
        let whole = view.has("payload/message");
        let Some((own, key)) = self.runs.find(&id).map(|run| (!run.is_begun(), run.session.clone())) else {
            if self.runs.ended.contains(&id) {
                // Late. Only the text of an end that had none is news.
                if last && whole {
                    cx.emit(inbound);
                }
            } else if last && !whole {
                // Somebody else's prompt that was put into a queue.
                cx.emit(inbound);
            } else {
                let origin = self.origin(&id, &session);
                self.begin(cx, inbound, &id, session, origin);
                self.chat(cx, inbound);
            }
            return;
        };
        if own && let Some(found) = self.sessions.iter_mut().find(|session| session.key == key) {
            found.canonical.get_or_insert_with(|| session.clone());
        }
        let word = match state.as_str() {
            "final" if whole || !own => Word::Final,
            "aborted" => Word::Stopped,
            "error" => Word::Failed,
            _ => {
                for run in self.runs.open.iter_mut().filter(|run| run.id == id) {
                    cx.tell(run.handle, Word::Note, inbound.frame);
                    if last {
                        run.unbind(cx, Need::Answer);
                        run.tries = 0;
                    }
                }
                if last {
                    self.look_in(cx, &session);
                }
                return;
            }
        };
        while let Some(run) = self.runs.find(&id) {
            let handle = run.handle;
            self.end_run(cx, handle, word, inbound.frame, 0.0);
        }
        self.look_in(cx, &session);
    }

    /// More text of a run whose deltas do not go to the page at once.
    pub(super) fn delta(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let view = inbound.view;
        let Some(id) = view.string("payload/runId") else {
            cx.fault(Fault::Malformed);
            return;
        };
        let Some(run) = self.runs.find(&id) else {
            if !self.runs.ended.contains(&id) {
                let session = quoted(&view.string("payload/sessionKey").unwrap_or_default());
                let origin = self.origin(&id, &session);
                self.begin(cx, inbound, &id, session, origin);
                self.delta(cx, inbound);
            }
            return;
        };
        let (handle, need) = (run.handle, run.need);
        let whole = view.has("payload/message") || view.boolean("payload/replace") == Some(true);
        match need {
            Need::Whole { .. } if !whole => self.look(cx, handle),
            Need::Whole { shown: false } => {
                self.make_live(cx, handle);
                cx.tell(handle, Word::Resumed, inbound.frame);
            }
            _ => {
                self.make_live(cx, handle);
                cx.tell(handle, Word::Delta, inbound.frame);
            }
        }
    }

    pub(super) fn note(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let view = inbound.view;
        let Some(run) = view.string("payload/runId").and_then(|id| self.runs.find(&id)) else {
            return;
        };
        cx.tell(run.handle, Word::Note, inbound.frame);
        // An older gateway says no more than this of the failure of a run that a queue began.
        let phase = view.string("payload/data/phase").unwrap_or_default();
        if !self.v4 && run.is_begun() && (phase == "error" || phase == "end") {
            run.until = Some(cx.now.after(ABORT_MS));
        }
    }

    /// Whose a run is that begins now.
    fn origin(&self, id: &str, session: &str) -> &'static str {
        let waits = |run: &Run| !run.is_begun() && run.need == Need::Answer && self.same_session(&run.session, session);
        match () {
            () if id.starts_with("inject-") => "inject",
            () if self.runs.open.iter().any(waits) => "queued",
            () => OTHER,
        }
    }

    /// A run that the page has not asked for.
    fn begin(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>, id: &str, session: String, origin: &str) {
        if self.runs.open.iter().filter(|run| run.is_begun()).count() >= MOST_BEGUN
            && let Some(oldest) = self.runs.open.iter().find(|run| run.is_begun()).map(|run| run.handle)
        {
            self.give_up(cx, oldest);
        }
        self.runs.begun += 1;
        let handle = Handle::of_server(self.runs.begun);
        cx.tell_more(handle, Word::Began, inbound.frame, 0.0, origin.into());
        self.runs.open.push(Run {
            handle,
            id: id.into(),
            session,
            need: Need::Nothing,
            tries: 0,
            until: None,
            aborting: false,
            asked: false,
            over: false,
            restarted: false,
            away: false,
        });
        cx.bind(id.into(), Some(handle));
    }

    fn make_live(&mut self, cx: &mut Context<'_>, handle: Handle) {
        if let Some(run) = self.runs.by(handle) {
            run.need = Need::Nothing;
            run.tries = 0;
            if !run.aborting {
                run.until = None;
            }
            cx.bind(run.id.clone(), Some(handle));
        }
    }

    /// Ends a run, for good.
    pub(super) fn end_run(&mut self, cx: &mut Context<'_>, handle: Handle, word: Word, frame: FrameId, number: f64) {
        let Some(id) = self.drop_run(cx, handle) else {
            return;
        };
        if handle.0 >> 31 == 1 {
            cx.tell_more(handle, word, frame, number, String::new());
        } else {
            self.calls.end_more(cx, handle, word, frame, number);
        }
        let open = self.runs.find(&id).is_some();
        let ended = &mut self.runs.ended;
        // A run that is refused may be somebody else's.
        if !open && word != Word::Refused && !id.is_empty() && !ended.contains(&id) {
            if ended.len() >= MOST_ENDED {
                take_at(ended, 0);
            }
            ended.push(id);
        }
    }

    /// Forgets a run whose end the page has been told.
    pub(super) fn drop_run(&mut self, cx: &mut Context<'_>, handle: Handle) -> Option<String> {
        let at = self.runs.open.iter().position(|run| run.handle == handle)?;
        let run = take_at(&mut self.runs.open, at)?;
        if run.need == Need::Nothing {
            let heir = self.runs.find(&run.id).filter(|other| other.need == Need::Nothing).map(|other| other.handle);
            cx.bind(run.id.clone(), heir);
        }
        Some(run.id)
    }

    /// Nothing points to what became of it.
    fn give_up(&mut self, cx: &mut Context<'_>, handle: Handle) {
        let Some((need, over, restarted)) = self.runs.by(handle).map(|run| (run.need, run.over, run.restarted)) else {
            return;
        };
        cx.tell_more(handle, Word::Gap, FrameId::NONE, 0.0, "not-found".into());
        let ended = need == Need::Answer && !restarted && (self.v4 || !over);
        if ended {
            self.end_run(cx, handle, Word::Final, FrameId::NONE, 0.0);
        } else {
            // The same key is the same deed.
            let safe = !restarted && self.calls.find(handle).is_some_and(|call| call.key.is_some());
            self.end_run(cx, handle, Word::Lost, FrameId::NONE, f64::from(u8::from(safe)));
        }
    }

    // The line goes, and comes back.

    /// Events were left out: of every run some text may be among them.
    pub(super) fn tear_runs(&mut self, cx: &mut Context<'_>) {
        let torn = self.runs.open.iter_mut().filter(|run| run.need == Need::Nothing);
        let mut handles = Vec::new();
        for run in torn {
            run.unbind(cx, Need::Whole { shown: false });
            cx.tell_more(run.handle, Word::Gap, FrameId::NONE, 0.0, "seq".into());
            handles.push(run.handle);
        }
        handles.into_iter().for_each(|handle| self.look(cx, handle));
    }

    /// The socket is gone. `resend`: what was not acknowledged may be sent again under its key.
    pub(super) fn lose_runs(&mut self, cx: &mut Context<'_>, resend: bool) {
        while let Some(run) = self.runs.open.iter().find(|run| run.aborting) {
            let (handle, session, id) = (run.handle, run.session.clone(), run.id.clone());
            self.owe_abort(session, id);
            self.end_run(cx, handle, Word::Cancelled, FrameId::NONE, 0.0);
        }
        self.calls.lost(cx, |call| match call.method.as_str() {
            _ if call.started => AfterLoss::Kept,
            "chat.send" if resend && call.key.is_some() => AfterLoss::Again,
            method => AfterLoss::Lost { safe: READS.contains(&method) },
        });
        let calls = &mut self.calls;
        for run in &mut self.runs.open {
            if run.need != Need::Answer {
                run.unbind(cx, Need::Whole { shown: false });
            }
            run.until = None;
            run.tries = 0;
            run.asked = false;
            run.over = false;
            run.away = true;
        }
        self.runs.open.retain(|run| run.is_begun() || calls.find(run.handle).is_some());
    }

    /// There is a line again: the sessions' histories will say more.
    pub(super) fn restore_runs(&mut self, cx: &mut Context<'_>) {
        for (session, id) in core::mem::take(&mut self.runs.aborts) {
            self.abort(cx, Handle(0), &session, &id);
        }
        let handles: Vec<Handle> = self.runs.open.iter().map(|run| run.handle).collect();
        for handle in handles {
            let started = handle.0 >> 31 == 1 || self.calls.find(handle).is_some_and(|call| call.started);
            let Some(run) = self.runs.by(handle).filter(|_| started) else {
                continue;
            };
            run.until = Some(cx.now.after(LOOK_MS));
            if !self.has_keys {
                // Asked again it would be carried out again.
                run.need = Need::Answer;
                run.over = true;
                self.look(cx, handle);
            } else if !self.v4 {
                // Its history names no runs, but it knows its keys.
                self.ask_again(handle);
            } else {
                let session = run.session.clone();
                if !self.sessions.iter().any(|known| self.same_session(&known.key, &session)) {
                    self.history(cx, &session);
                }
            }
        }
    }

    /// Asks the gateway what became of a run, by what began it: the same key is the same run.
    fn ask_again(&mut self, handle: Handle) -> bool {
        let (Some(run), Some(call)) = (self.runs.by(handle), self.calls.find(handle)) else {
            return false;
        };
        let may = !run.asked && call.key.is_some() && call.method == "chat.send";
        if may {
            run.asked = true;
            call.sent = false;
        }
        may
    }

    /// The line has ended.
    pub(super) fn end_runs(&mut self, cx: &mut Context<'_>) {
        self.calls
            .lost(cx, |call| AfterLoss::Lost { safe: call.key.is_some() || READS.contains(&call.method.as_str()) });
        self.calls.lose_all(cx);
        while let Some(run) = self.runs.open.first() {
            let handle = run.handle;
            self.end_run(cx, handle, Word::Lost, FrameId::NONE, 0.0);
        }
        self.runs.aborts.clear();
    }

    pub(super) fn look_after_runs(&mut self, cx: &mut Context<'_>) {
        while let Some(run) = self.runs.open.iter_mut().find(|run| run.until.is_some_and(|at| at <= cx.now)) {
            let handle = run.handle;
            run.tries += 1;
            run.until = None;
            if run.aborting {
                self.end_run(cx, handle, Word::Cancelled, FrameId::NONE, 0.0);
            } else if run.tries > TRIES || run.need == Need::Nothing {
                self.give_up(cx, handle);
            } else {
                // A history that has not come by now will not.
                let session = run.session.clone();
                for again in [false, true] {
                    self.forget_own(&Own::History { session: session.clone(), again });
                }
                self.look(cx, handle);
            }
        }
    }

    // The history.

    /// Asks for what a run needs, if it needs anything.
    fn look(&mut self, cx: &mut Context<'_>, handle: Handle) {
        let now = cx.now;
        let ready = self.phase == Phase::Ready;
        if let Some(run) = self.runs.by(handle).filter(|run| ready && run.need != Need::Nothing) {
            run.until = run.until.or(Some(now.after(LOOK_MS)));
            if !self.v4 && run.need != Need::Answer {
                // Its history says nothing of what is under way; its next delta has all of the text.
                run.until = run.until.filter(|_| run.is_begun());
                return;
            }
            let session = run.session.clone();
            self.history(cx, &session);
        }
    }

    /// Something has ended in a session: the answers that are waited for may be there.
    fn look_in(&mut self, cx: &mut Context<'_>, session: &str) {
        let waits = |run: &&Run| run.need == Need::Answer && self.same_session(&run.session, session);
        if let Some(handle) = self.runs.open.iter().find(waits).map(|run| run.handle) {
            self.look(cx, handle);
        }
    }

    /// The runs of a session that need something.
    fn needy(&self, session: &str) -> Vec<Handle> {
        let needy = |run: &&Run| run.need != Need::Nothing && self.same_session(&run.session, session);
        let runs = self.runs.open.iter().filter(needy).map(|run| run.handle);
        // What has not been accepted is told by its own answer.
        runs.filter(|handle| {
            handle.0 >> 31 == 1 || self.calls.iter().any(|call| call.handle == *handle && call.started)
        })
        .collect()
    }

    pub(super) fn wants_history(&self, session: &str) -> bool {
        !self.needy(session).is_empty()
    }

    /// Asks for a session's history, once at a time.
    pub(super) fn history(&mut self, cx: &mut Context<'_>, session: &str) {
        for (_, own) in &mut self.own {
            if let Own::History { session: asked, again } = own
                && asked == session
            {
                *again = true;
                return;
            }
        }
        let mut params = String::from("\"sessionKey\":");
        params.push_str(session);
        params.push_str(",\"limit\":");
        push_number(&mut params, ROWS);
        let queued = self.runs.open.iter().filter(|run| run.need == Need::Answer && run.session == session);
        let ids: Vec<String> = queued.take(ROWS as usize).map(|run| run.id.clone()).collect();
        if self.v4 && !ids.is_empty() {
            params.push_str(",\"inputRunIds\":[");
            super::push_list(&mut params, &ids);
            params.push(']');
        }
        let own = Own::History { session: session.into(), again: false };
        self.ask_own(cx, own, "chat.history", &params);
    }

    /// The gateway will not give it: later, perhaps, and not for ever.
    pub(super) fn no_history(&mut self, cx: &Context<'_>, session: &str, after: Option<f64>) {
        for handle in self.needy(session) {
            if let Some(run) = self.runs.by(handle) {
                let wait = after.filter(|after| *after > 0.0).map_or(1000, |after| after as u64);
                run.until = Some(cx.now.after(wait << run.tries.min(8)));
            }
        }
    }

    pub(super) fn read_history(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>, session: &str) {
        let rows = Rows::of(inbound.view);
        for handle in self.needy(session) {
            self.read_for(cx, inbound, &rows, handle);
        }
        if let Some(id) = rows.in_flight
            && self.runs.find(&id).is_none()
            && !self.runs.ended.contains(&id)
        {
            // While prompts of ours wait, what is under way is not their answer.
            let origin = if rows.pending { OTHER } else { self.origin(&id, session) };
            self.begin(cx, inbound, &id, session.into(), origin);
            self.show(cx, inbound, &id);
        }
        self.send_waiting(cx);
    }

    /// The history has the text so far. What comes next may overlap with it, unless it brings the whole.
    fn show(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>, id: &str) {
        if let Some(run) = self.runs.find(id) {
            run.unbind(cx, Need::Whole { shown: true });
            run.until = None;
            run.tries = 0;
            cx.tell(run.handle, Word::Resumed, inbound.frame);
        }
    }

    fn read_for(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>, rows: &Rows, handle: Handle) {
        let Some(run) = self.runs.by(handle) else {
            return;
        };
        let (id, need, begun) = (run.id.clone(), run.need, run.is_begun());
        if rows.in_flight.as_ref() == Some(&id) {
            self.show(cx, inbound, &id);
            return;
        }
        let theirs = |other: &str| self.runs.open.iter().any(|run| run.id == other && run.handle != handle);
        let mut answer = rows.answer_of(&id, theirs);
        // While a run that nobody asked for is under way here, its text may become the answer.
        let session = self.runs.by(handle).map(|run| run.session.clone()).unwrap_or_default();
        let others = |run: &Run| run.is_begun() && run.handle != handle && self.same_session(&run.session, &session);
        let busy = self.runs.open.iter().any(others);
        if !self.v4 && !busy && need == Need::Answer {
            let prompt = self.calls.find(handle).and_then(|call| member(&call.params, "message"));
            answer = prompt.and_then(|prompt| rows.answer_to(prompt));
            if answer.is_some() {
                // It stands behind our words; nothing names the run.
                cx.tell_more(handle, Word::Gap, FrameId::NONE, 0.0, "unnamed".into());
            }
        }
        if let Some(at) = answer {
            let word = rows.list.get(at).map_or(Word::Final, |row| row.end);
            self.end_run(cx, handle, word, inbound.frame, at as f64 + 1.0);
            return;
        }
        let waits = need == Need::Answer && (rows.pending || busy || rows.in_flight.is_some());
        let (asked, over) = self.runs.by(handle).map_or((true, true), |run| (run.asked, run.over));
        // Neither under way nor in the history. What the gateway has begun again and then ends without a word is gone.
        let gone = if need == Need::Answer { over } else { begun || (!asked && !self.ask_again(handle)) };
        if !waits && gone {
            self.give_up(cx, handle);
            return;
        }
        if let Some(run) = self.runs.by(handle) {
            if waits {
                run.tries = 0;
            }
            let wait = if waits { LOOK_MS } else { 1000 << run.tries.min(8) };
            run.until = Some(cx.now.after(wait));
        }
    }
}

/// Whether a JSON string, quotes included, is that of a text: there are two ways to write a line break.
fn is_json_of(json: &str, text: &str) -> bool {
    let own = quoted(text);
    let (mut given, mut own) = (json.chars(), own.chars());
    loop {
        let (one, other) = (given.next(), own.next());
        if one != other {
            return false;
        }
        match one {
            None => return true,
            Some('\\') => {
                let code = match given.next() {
                    Some('b') => "u0008",
                    Some('t') => "u0009",
                    Some('n') => "u000a",
                    Some('f') => "u000c",
                    Some('r') => "u000d",
                    short if short == own.next() => continue,
                    _ => return false,
                };
                if !code.chars().all(|one| own.next() == Some(one)) {
                    return false;
                }
            }
            Some(_) => {}
        }
    }
}

/// What changes nothing may be asked again.
const READS: [&str; 7] = [
    "chat.abort",
    "chat.history",
    "chat.message.get",
    "health",
    "sessions.list",
    "sessions.messages.subscribe",
    "sessions.messages.unsubscribe",
];

/// A message in a history, as far as runs are concerned.
struct Row {
    answers: bool,
    /// How its run ended.
    end: Word,
    run: Option<String>,
    key: Option<String>,
    text: Option<String>,
}

struct Rows {
    list: Vec<Row>,
    in_flight: Option<String>,
    /// Something waits to be taken up.
    pending: bool,
}

impl Rows {
    fn of(view: &dyn View) -> Self {
        let mut list = Vec::new();
        while (list.len() as u64) < ROWS * 4 {
            let mut path = String::from("payload/messages/");
            push_number(&mut path, list.len() as u64);
            if !view.has(&path) {
                break;
            }
            let at = |name: &str| {
                let mut path = path.clone();
                path.push_str(name);
                view.string(&path)
            };
            list.push(Row {
                answers: at("/role").as_deref() == Some("assistant"),
                end: match at("/stopReason").as_deref() {
                    Some("aborted") => Word::Stopped,
                    Some("error") => Word::Failed,
                    _ => Word::Final,
                },
                run: at("/__openclaw/runId"),
                key: at("/idempotencyKey").or_else(|| at("/__openclaw/idempotencyKey")),
                text: at("/content").or_else(|| at("/content/0/text")),
            });
        }
        Self {
            list,
            in_flight: view.string("payload/inFlightRun/runId"),
            pending: view.string("payload/inputReceipts/0/state").as_deref() == Some("pending")
                || view.number("payload/pendingInputs/total").is_some_and(|total| total > 0.0),
        }
    }

    /// The place of the message behind the last one with these words, a JSON string.
    fn answer_to(&self, prompt: &str) -> Option<usize> {
        let words = |row: &Row| !row.answers && row.text.as_ref().is_some_and(|text| is_json_of(prompt, text));
        let asked = self.list.iter().rposition(words)?;
        self.list.iter().skip(asked).position(|row| row.answers).map(|behind| asked + behind)
    }

    /// The place of the message that answers a run: under its own id, or under that of the run that took it up, unless that
    /// one is `open`.
    fn answer_of(&self, id: &str, open: impl Fn(&str) -> bool) -> Option<usize> {
        let by = |run: &str| self.list.iter().rposition(|row| row.answers && row.run.as_deref() == Some(run));
        by(id).or_else(|| {
            let asked = self.list.iter().position(|row| {
                row.key.as_deref().and_then(|key| key.strip_suffix(":user")).is_some_and(|key| key == id)
            })?;
            let answers = self.list.iter().skip(asked).filter(|row| row.answers);
            let taker = answers.filter_map(|row| row.run.as_deref()).next()?;
            if open(taker) || self.in_flight.as_deref() == Some(taker) { None } else { by(taker) }
        })
    }
}
