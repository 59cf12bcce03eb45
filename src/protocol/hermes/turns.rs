//! Turns as runs. A turn has no id: it is the interval from `message.start` to its end on one runtime id, and whose it is
//! follows from the order of things. What frames mean is said in hermes.rs.

use crate::protocol::calls::Calls;
use crate::protocol::hermes::methods::find;
use crate::protocol::{Context, Word};
use crate::time::Instant;
use crate::wire::{FrameId, Handle, View};
use alloc::string::String;
use alloc::vec::Vec;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A socket has its prompt.
    Submitted,
    /// The server has taken it.
    Accepted,
    /// Its turn comes after another.
    Queued,
    /// It went into a turn that is not its own.
    Steered,
    Live,
}

#[derive(Debug)]
struct Run {
    handle: Handle,
    session: String,
    /// What a turn of it is known by again; empty for the server's own.
    prompt: String,
    phase: Phase,
    /// There was a turn when it was submitted.
    behind: bool,
    /// Nobody hears of it any more.
    muted: bool,
    /// The page wants it stopped, and waits no longer than this.
    stop_at: Option<Instant>,
}

/// How long an interrupted turn may take to end.
const STOP_MS: u64 = 10_000;
/// So many runs may be there without the page having asked for them.
const MOST_BEGUN: usize = 64;
/// So far back a turn that has ended meanwhile is looked for.
const MOST_ROWS: usize = 400;

impl Run {
    fn heard(&self) -> Option<Handle> {
        (!self.muted).then_some(self.handle)
    }
}

#[derive(Debug, Default)]
pub struct Turns {
    runs: Vec<Run>,
    /// The prompt of the turn that ended last: where the next is the same, a transcript cannot tell them apart.
    latest: String,
}

impl Turns {
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub fn live(&self) -> bool {
        self.find(&|run| run.phase == Phase::Live).is_some()
    }

    fn find(&self, fits: &dyn Fn(&Run) -> bool) -> Option<usize> {
        self.runs.iter().position(fits)
    }

    /// Whether every live turn is of this session.
    pub fn live_only_in(&self, session: &str) -> bool {
        self.runs.iter().all(|run| run.phase != Phase::Live || run.session == session)
    }

    fn live_in(&self, session: &str) -> Option<usize> {
        self.find(&|run| run.phase == Phase::Live && run.session == session)
    }

    fn of(&self, handle: Handle) -> Option<usize> {
        self.find(&|run| run.handle == handle)
    }

    pub fn submitted(&mut self, handle: Handle, session: &str, prompt: String) {
        let behind = self.live_in(session).is_some();
        self.push(handle, session, prompt, Phase::Submitted, behind);
    }

    fn push(&mut self, handle: Handle, session: &str, prompt: String, phase: Phase, behind: bool) {
        let session = session.into();
        self.runs.push(Run { handle, session, prompt, phase, behind, muted: false, stop_at: None });
    }

    /// A run that the page did not ask for. The oldest of too many is nobody's any more.
    fn began(&mut self, cx: &mut Context<'_>, session: &str, frame: FrameId, count: &mut u32, origin: &str) {
        let mut begun = self.runs.iter().enumerate().filter(|(_, run)| is_begun(run.handle));
        if let Some((at, _)) = begun.next()
            && begun.count() + 1 >= MOST_BEGUN
        {
            let run = self.runs.remove(at);
            cx.bind(run.session, None);
            cx.tell(run.handle, Word::Lost, FrameId::NONE);
        }
        *count = count.wrapping_add(1);
        let handle = Handle::of_server(*count);
        self.push(handle, session, String::new(), Phase::Live, false);
        cx.tell_more(handle, Word::Began, frame, 0.0, origin.into());
        cx.bind(session.into(), Some(handle));
    }

    /// Answers whether the turn is to be interrupted, for the page does not want it.
    pub fn starts(
        &mut self,
        cx: &mut Context<'_>,
        calls: &mut Calls,
        session: &str,
        frame: FrameId,
        count: &mut u32,
    ) -> bool {
        // Turns that the server begins by itself are announced twice.
        if self.live_in(session).is_some() {
            return false;
        }
        let waiting = self.runs.iter_mut().find(|run| run.session == session && run.phase != Phase::Steered);
        let Some(run) = waiting else {
            self.began(cx, session, frame, count, "server");
            return false;
        };
        run.phase = Phase::Live;
        cx.bind(session.into(), run.heard());
        calls.started(cx, run.handle, frame);
        run.muted
    }

    /// The server has answered a submission.
    pub fn accepted(
        &mut self,
        cx: &mut Context<'_>,
        calls: &mut Calls,
        handle: Handle,
        frame: FrameId,
        status: &str,
        count: &mut u32,
    ) {
        let Some(at) = self.of(handle) else { return };
        let Some(run) = self.runs.get_mut(at) else { return };
        let session = run.session.clone();
        match status {
            "queued" | "steered" | "redirected" => {
                let premature = run.phase == Phase::Live && !run.behind;
                if run.phase != Phase::Live || premature {
                    run.phase = if status == "queued" { Phase::Queued } else { Phase::Steered };
                }
                if premature {
                    // The turn that began before the answer came is another's.
                    cx.tell(handle, Word::Restarted, FrameId::NONE);
                    self.began(cx, &session, frame, count, "server");
                }
            }
            _ if run.phase == Phase::Submitted => run.phase = Phase::Accepted,
            _ => {}
        }
        calls.started(cx, handle, frame);
    }

    /// The server has refused it, or its time is over.
    pub fn forget(&mut self, cx: &mut Context<'_>, handle: Handle) {
        if let Some(at) = self.of(handle) {
            let run = self.runs.remove(at);
            if run.phase == Phase::Live {
                cx.bind(run.session, None);
            }
        }
    }

    pub fn delta(&mut self, cx: &mut Context<'_>, session: &str, frame: FrameId, count: &mut u32) {
        if self.live_in(session).is_none() {
            self.began(cx, session, frame, count, "server");
        }
        self.tell(cx, session, Word::Delta, frame);
    }

    pub fn note(&mut self, cx: &mut Context<'_>, session: &str, frame: FrameId) {
        self.tell(cx, session, Word::Note, frame);
    }

    fn tell(&self, cx: &mut Context<'_>, session: &str, word: Word, frame: FrameId) {
        if let Some(run) = self.live_in(session).and_then(|at| self.runs.get(at))
            && !run.muted
        {
            cx.tell(run.handle, word, frame);
        }
    }

    /// A turn is over; one that failed may not even have begun.
    pub fn ends(&mut self, cx: &mut Context<'_>, calls: &mut Calls, session: &str, word: Word, frame: FrameId) {
        let early = |run: &Run| {
            word == Word::Failed && run.session == session && matches!(run.phase, Phase::Submitted | Phase::Accepted)
        };
        let Some(at) = self.live_in(session).or_else(|| self.find(&early)) else { return };
        self.end(cx, calls, at, word, frame, 0.0);
        self.end_steered(cx, calls, session, word, frame, 0.0);
    }

    fn end_steered(
        &mut self,
        cx: &mut Context<'_>,
        calls: &mut Calls,
        session: &str,
        word: Word,
        frame: FrameId,
        number: f64,
    ) {
        let steered = |run: &Run| run.phase == Phase::Steered && run.session == session;
        while let Some(at) = self.find(&steered) {
            self.end(cx, calls, at, word, frame, number);
        }
    }

    fn end(&mut self, cx: &mut Context<'_>, calls: &mut Calls, at: usize, word: Word, frame: FrameId, number: f64) {
        let run = self.runs.remove(at);
        if run.phase == Phase::Live {
            cx.bind(run.session, None);
            self.latest = run.prompt;
        }
        if is_begun(run.handle) {
            cx.tell_more(run.handle, word, frame, number, String::new());
        } else {
            calls.end_more(cx, run.handle, word, frame, number);
        }
    }

    /// The page does not want it any more. Answers the session that is to be interrupted.
    pub fn stop(&mut self, cx: &mut Context<'_>, calls: &mut Calls, handle: Handle) -> Option<String> {
        let at = self.of(handle)?;
        let run = self.runs.get_mut(at)?;
        match run.phase {
            Phase::Submitted | Phase::Accepted | Phase::Live => {
                run.stop_at = run.stop_at.or(Some(cx.now.after(STOP_MS)));
                Some(run.session.clone())
            }
            // An interrupt would stop the turn before it as well: it is stopped when it begins.
            Phase::Queued => {
                run.muted = true;
                calls.end(cx, handle, Word::Cancelled, FrameId::NONE);
                None
            }
            Phase::Steered => {
                self.end(cx, calls, at, Word::Cancelled, FrameId::NONE, 0.0);
                None
            }
        }
    }

    /// The server did not stop it in time: nobody hears of it any more.
    pub fn expire(&mut self, cx: &mut Context<'_>, calls: &mut Calls) {
        for run in &mut self.runs {
            if run.stop_at.is_some_and(|at| at <= cx.now) {
                run.stop_at = None;
                run.muted = true;
                cx.bind(run.session.clone(), None);
                if is_begun(run.handle) {
                    cx.tell(run.handle, Word::Cancelled, FrameId::NONE);
                } else {
                    calls.end(cx, run.handle, Word::Cancelled, FrameId::NONE);
                }
            }
        }
    }

    pub fn next_stop(&self) -> Option<Instant> {
        self.runs.iter().filter_map(|run| run.stop_at).min()
    }

    /// Whether a run may be found again on another socket.
    pub fn is_kept(&self, handle: Handle, session: &str) -> bool {
        self.find(&|run| run.handle == handle && run.session == session).is_some()
    }

    /// Those of other sessions, or all where `session` is empty, are lost with the socket.
    pub fn lost(&mut self, cx: &mut Context<'_>, calls: &mut Calls, session: &str) {
        while let Some(at) = self.find(&|run| session.is_empty() || run.session != session) {
            self.end(cx, calls, at, Word::Lost, FrameId::NONE, 0.0);
        }
    }

    /// The session has another runtime id.
    pub fn rename(&mut self, cx: &mut Context<'_>, from: &str, to: &str) {
        for run in self.runs.iter_mut().filter(|run| run.session == from) {
            if run.phase == Phase::Live && from != to {
                cx.bind(from.into(), None);
            }
            run.session = to.into();
        }
    }

    /// The session stands as it did; what was missed will follow.
    pub fn go_on(&self, cx: &mut Context<'_>, session: &str) {
        if let Some(run) = self.live_in(session).and_then(|at| self.runs.get(at)) {
            cx.bind(session.into(), run.heard());
            self.tell(cx, session, Word::Resumed, FrameId::NONE);
        }
    }

    /// Whether there is a run that has not begun.
    pub fn waits(&self) -> bool {
        self.find(&|run| run.phase != Phase::Live).is_some()
    }

    pub fn has(&self, handle: Handle) -> bool {
        self.of(handle).is_some()
    }

    /// The server has said how the session stands: what of it was in flight, what waits, what has ended. Answers whether
    /// a turn is to be interrupted. `exact`: the text of a live turn is whole already.
    #[expect(clippy::too_many_arguments)]
    pub fn recover(
        &mut self,
        cx: &mut Context<'_>,
        calls: &mut Calls,
        view: &dyn View,
        frame: FrameId,
        session: &str,
        exact: bool,
        count: &mut u32,
    ) -> bool {
        let text = |path| view.string(path).unwrap_or_default();
        let live =
            view.boolean("result/running") == Some(true) || view.boolean("result/inflight/streaming") == Some(true);
        let (user, queued) = (text("result/inflight/user"), text("result/queued/user"));
        let is_it = |run: &Run| {
            let merged = run.phase == Phase::Queued && find(&user, &run.prompt).is_some();
            (run.prompt.is_empty() && run.phase == Phase::Live)
                || (!run.prompt.is_empty() && (user == run.prompt || merged))
        };
        let mut stop = false;
        let mut adopted = false;
        let mut at = 0;
        while let Some(run) = self.runs.get_mut(at) {
            if run.session != session || (exact && run.phase == Phase::Live) {
                adopted |= run.session == session;
                at += 1;
            } else if live && !adopted && is_it(run) {
                adopted = true;
                run.phase = Phase::Live;
                stop = run.muted || run.stop_at.is_some();
                if let Some(handle) = run.heard() {
                    calls.started(cx, handle, FrameId::NONE);
                    cx.tell(handle, Word::Resumed, frame);
                }
                at += 1;
            } else if live && run.phase == Phase::Steered {
                at += 1;
            } else if !run.prompt.is_empty() && find(&queued, &run.prompt).is_some() {
                run.phase = Phase::Queued;
                let handle = run.handle;
                calls.started(cx, handle, FrameId::NONE);
                at += 1;
            } else {
                let asked = run.phase == Phase::Submitted;
                // Of what nobody has answered, only the last row can be the prompt, if the one before was another; and of two
                // prompts that are the same, a transcript does not tell whose answer it has.
                let repeated = !run.prompt.is_empty() && run.prompt == self.latest;
                let found = last_row(view, &run.prompt, asked);
                let safe = asked && found.is_none() && !repeated && !run.prompt.is_empty();
                match found.filter(|(_, answered)| *answered && !repeated) {
                    Some((row, _)) => self.end(cx, calls, at, Word::Final, frame, row as f64 + 1.0),
                    None => self.end(cx, calls, at, Word::Lost, FrameId::NONE, f64::from(u8::from(safe))),
                }
            }
        }
        // What ended above may have had the topic.
        if let Some(run) = self.live_in(session).and_then(|at| self.runs.get(at)) {
            cx.bind(session.into(), run.heard());
        }
        if live && !adopted {
            self.began(cx, session, frame, count, "resumed");
            self.tell(cx, session, Word::Resumed, frame);
        }
        stop
    }
}

/// Whether the server began it.
const fn is_begun(handle: Handle) -> bool {
    handle.0 >> 31 != 0
}

/// The row of a prompt, and whether an answer follows. `latest`: it is the last prompt or none; an empty one is the last,
/// whatever it is.
fn last_row(view: &dyn View, prompt: &str, latest: bool) -> Option<(usize, bool)> {
    let at = |row: usize, field: &str| {
        let mut path = String::from("result/messages/");
        crate::wire::push_number(&mut path, row as u64);
        path.push_str(field);
        path
    };
    let mut row = (view.number("result/message_count").unwrap_or_default() as usize).min(100_000);
    while row > 0 && !view.has(&at(row - 1, "")) {
        row -= 1;
    }
    let last = row.saturating_sub(MOST_ROWS);
    let mut answered = false;
    while row > last {
        row -= 1;
        let role = view.string(&at(row, "/role")).unwrap_or_default();
        answered |= role == "assistant";
        if role == "user" {
            let it = prompt.is_empty() || view.string(&at(row, "/text")).unwrap_or_default().trim_ascii() == prompt;
            if it || latest {
                return it.then_some((row, answered));
            }
            answered = false;
        }
    }
    None
}
