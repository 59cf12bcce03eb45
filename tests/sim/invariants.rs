//! What must hold after every step, whatever happens, and what must hold when a run is over.
//!
//! `Ledger` is the reference: from what could be seen it keeps its own account of sockets, messages, frames and failures,
//! in the plainest way, and compares it with the client's after each step.

mod feed;

use crate::line::{Line, Seen};
use crate::world::{Net, World};
use feed::FeedLedger;
use moorline::Status;
use moorline::outbox::Fate;
use moorline::session::Snapshot;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How far a server that names no spread spreads its clients, and the longest wait that it may cause by that.
const SPREAD_MS: f64 = 50_000.0;
const LATER_MOST_MS: u64 = 55_001;
/// No advice is obeyed for longer.
const DAY_MS: f64 = 86_400_000.0;
/// A page's event is behind the frames that were held for it by so many at most.
const HELD_MOST: usize = 300;
/// Frames that the protocol keeps to itself.
const CONTROL: [&str; 6] =
    ["session-resumed", "session-refused", "gateway-offer", "pong", "server-advice", "gateway-closing"];
/// Frames that it keeps to itself where the extension is spoken.
const PERHAPS: [&str; 2] = ["delivery-ack", "gateway-moving"];

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Course {
    #[default]
    Before,
    Connected,
    /// `ws-disconnected` was told, and what follows was not.
    Between,
    Waiting,
    Ended,
}

/// What was announced of the next attempt.
#[derive(Clone, Copy, Debug)]
struct Wait {
    until: u64,
    /// Something has happened on which it may begin sooner.
    hurried: bool,
}

#[derive(Debug, Default)]
pub struct Ledger {
    max_messages: f64,
    max_bytes: f64,
    stable_ms: u64,
    max_delay_ms: u64,
    /// A page that nobody sees may try so many times more seldom.
    slowness: u64,
    /// How much of what was seen has been read, and of what was written.
    read: usize,
    written: usize,
    /// The socket that counts, and the newest there was.
    current: Option<u32>,
    /// Make before break: one that is dialled beside it; one that was before it and is not closed yet; it was closed in this
    /// step.
    next: Option<u32>,
    trailing: Option<u32>,
    moved: bool,
    /// The next one is open, and not ready.
    settling: bool,
    newest_socket: u32,
    course: Course,
    /// Failures in a row; whether the connection before was stable, and since when there has been one.
    failures: u64,
    stable: bool,
    connected_at: u64,
    /// The page may have been away, which excuses failures.
    away: bool,
    wait: Option<Wait>,
    advice: Option<(f64, f64)>,
    /// How often the page has asked for a connection in this step, and nothing has come of it.
    asked: u32,
    /// The page has asked for the end.
    disposing: bool,
    disposed: bool,
    /// Messages that a socket has and the browser has not written out.
    held: BTreeMap<u32, u32>,
    /// More than the bound may wait where a socket has given some back.
    given_back: u32,
    last_on_socket: BTreeMap<u32, u32>,
    last_first: Option<u32>,
    /// Handed over at some time, and whether with a number the last time.
    sent: BTreeMap<u32, bool>,
    /// Written by a browser, and whether with a number.
    once: BTreeMap<u32, bool>,
    fates: BTreeMap<u32, Fate>,
    /// Told to be sent, with a number: these may go out again.
    may_return: BTreeSet<u32>,
    /// Ids that stand for no message.
    skipped: u32,
    /// The first id of this page's own.
    begins_at: u32,
    /// What arrived on the current socket by which nobody can know what became of messages; whether it made the offer.
    excuse: bool,
    offered: bool,
    told: u64,
    to_tell: u64,
    /// For how long, all in all, the page's timers did not run.
    late_ms: u64,
    /// What the messages that were handed over are called: the first word of their text.
    names: BTreeMap<u32, String>,
    /// What all messages of this page are called, and the number of the next.
    page: String,
    next_name: u32,
    /// Frames that the client was given on its socket and the page has not heard.
    unheard: VecDeque<(Value, bool)>,
    saved: Option<Snapshot>,
    feed: FeedLedger,
}

impl Ledger {
    pub fn new(options: &str) -> Self {
        let options: Value = serde_json::from_str(options).expect("options are JSON");
        let number = |area: &str, name: &str, default: f64| options[area][name].as_f64().unwrap_or(default);
        Self {
            max_messages: number("queue", "maxMessages", 1000.0),
            max_bytes: number("queue", "maxBytes", 1_048_576.0),
            stable_ms: number("reconnect", "stableMs", 5000.0) as u64,
            max_delay_ms: number("reconnect", "maxDelayMs", 30_000.0) as u64,
            slowness: if options["hidden"] == "slow" { 4 } else { 1 },
            ..Self::default()
        }
    }

    // What the stage knows and nobody sees.

    pub fn name_messages(&mut self, page: &str) {
        self.page = page.into();
    }

    /// A name that no other message of any page has.
    pub fn next_name(&mut self) -> String {
        self.next_name += 1;
        format!("{}.{}", self.page, self.next_name)
    }

    pub const fn page_connects(&mut self) {
        self.asked += 1;
        self.hurry();
    }

    pub const fn timers_stand_still(&mut self, millis: u64) {
        self.late_ms += millis;
        self.away = true;
    }

    pub const fn page_disposes(&mut self) {
        self.disposing = true;
    }

    pub const fn page_was_away(&mut self) {
        self.away = true;
    }

    pub const fn hurry(&mut self) {
        if let Some(wait) = &mut self.wait {
            wait.hurried = true;
        }
    }

    /// Messages that an earlier page has kept, by id, and how far the ids go that stand for none.
    pub fn adopts(&mut self, base: u32, tried: u32, kept: &[(u32, String)], end: u32) {
        self.skipped = end - kept.len() as u32;
        self.begins_at = end;
        self.given_back = kept.len() as u32;
        self.last_first = tried.checked_sub(1).filter(|_| tried > base);
        for (id, text) in kept {
            self.names.insert(*id, name_of(text));
            if *id < tried {
                self.sent.insert(*id, true);
                self.may_return.insert(*id);
            }
        }
    }

    /// Whether a page that keeps its messages keeps this one, and the first that was never handed over.
    pub fn is_open(&self, id: u32) -> bool {
        // Of one that went out without a number the next connection's `taken` says nothing.
        let plain = self.sent.get(&id) == Some(&false);
        !plain && (!self.fates.contains_key(&id) || self.may_return.contains(&id))
    }

    pub fn tried(&self) -> u32 {
        self.last_first.map_or(0, |last| last + 1)
    }

    /// A text arrives at a socket.
    pub fn arrives(&mut self, socket: u32, text: &str) {
        let Ok(frame) = serde_json::from_str::<Value>(text) else {
            return;
        };
        let kind = frame["type"].as_str().unwrap_or_default();
        if self.trailing == Some(socket) && !frame["mark"].is_number() && !CONTROL.contains(&kind) {
            self.unheard.push_back((frame, false));
            return;
        }
        if self.current != Some(socket) {
            return;
        }
        // An offer that comes after the connection is ready is none.
        let late = kind == "gateway-offer" && self.course == Course::Connected && !self.settling;
        if late {
            return;
        }
        self.feed.control(&frame);
        match kind {
            "server-advice" => {
                let after = frame["retryAfterMs"].as_f64().filter(|after| *after >= 0.0);
                let spread = frame["spreadMs"].as_f64().filter(|spread| *spread >= 0.0).unwrap_or(SPREAD_MS);
                let bounded = |ms: f64| ms.min(DAY_MS);
                self.advice = after.map_or(self.advice, |after| Some((bounded(after), bounded(spread))));
            }
            "gateway-offer" => self.offered |= !frame["delivery"].is_null(),
            // Who answers like that does not say what was taken.
            "session-init" => self.excuse = true,
            "session-resumed" => match frame["delivery"]["taken"].as_u64() {
                // What is not taken by now never will be: it may be written again.
                Some(taken) => self.once.retain(|id, _| u64::from(*id) < taken),
                None => self.excuse = true,
            },
            _ => {}
        }
        if CONTROL.contains(&kind) {
            return;
        }
        let (must, may) = self.feed.arrives(&frame);
        if may {
            let must = must && !PERHAPS.contains(&kind);
            self.unheard.push_back((frame, must));
        }
    }

    pub fn is_stale(&self, socket: u32) -> bool {
        ![self.current, self.next, self.trailing].contains(&Some(socket))
    }

    /// A socket opens. One that was dialled beside the current one takes its place.
    pub fn opens(&mut self, socket: u32) {
        if self.next == Some(socket) {
            self.trailing = self.current.replace(socket);
            self.next = None;
            self.settling = true;
            self.begin_socket();
        }
    }

    /// A socket has ended, and the client is about to hear of it. Whether that is a loss it says itself.
    pub fn ends(&mut self, socket: u32) {
        for known in [&mut self.next, &mut self.trailing] {
            known.take_if(|known| *known == socket);
        }
    }

    fn begin_socket(&mut self) {
        self.excuse = false;
        self.offered = false;
        self.feed.new_socket();
    }

    /// Reads on in what was seen.
    fn read(&mut self, line: &Line<Net>) {
        for (at, seen) in line.seen.iter().skip(self.read) {
            assert!(!self.disposed, "{seen:?} at {at}, after the line was disposed of");
            self.note(*at, seen, line);
        }
        self.read = line.seen.len();
        for id in line.browser.written.iter().skip(self.written) {
            let numbered = self.sent.get(id) == Some(&true);
            let before = self.once.insert(*id, numbered);
            // A gateway that acknowledges knows a repetition by its number.
            assert!(
                before.is_none() || before == Some(true) && numbered || line.browser.returned.contains(id),
                "message {id} was written twice, though it had left the browser"
            );
        }
        self.written = line.browser.written.len();
        for name in &line.browser.gateway.doubled {
            let id = self.names.iter().find(|(_, known)| *known == name).map(|(id, _)| id);
            // A browser that is told to close may still write out what it has given back.
            assert!(id.is_none_or(|id| line.browser.returned.contains(id)), "message {name} was taken twice");
        }
    }

    fn note(&mut self, at: u64, seen: &Seen, line: &Line<Net>) {
        match seen {
            Seen::Restore => self.begins(at),
            Seen::Resolve(_) => {
                self.begins(at);
                if let Some(wait) = self.wait.take()
                    && at < wait.until
                    && !wait.hurried
                {
                    assert!(self.asked > 0, "tried again at {at}, announced for {}", wait.until);
                    self.asked -= 1;
                }
                self.advice = None;
            }
            Seen::Open(socket, _) => {
                assert_eq!(*socket, self.newest_socket + 1, "socket numbers leave no gap");
                assert_ne!(self.course, Course::Ended, "socket {socket} at {at} after the end");
                self.newest_socket = *socket;
                if self.current.is_some() {
                    let moves = self.course == Course::Connected && self.offered && self.next.is_none();
                    assert!(moves && self.trailing.is_none(), "socket {socket} was opened beside another at {at}");
                    self.next = Some(*socket);
                } else {
                    self.current = Some(*socket);
                    self.begin_socket();
                }
            }
            Seen::Transmit(socket, text) => {
                assert_eq!(self.current, Some(*socket), "{text} at {at}, on a socket that is not the current one");
                let frame: Value = serde_json::from_str(text).expect("a client sends JSON");
                if frame["type"] == "session-resume" {
                    self.feed.presents(at, &frame);
                }
            }
            Seen::Sent(socket, id, text) => {
                self.names.entry(*id).or_insert_with(|| name_of(text));
                self.handed_over(at, *socket, *id, text.contains("\"$seq\":"));
            }
            Seen::Close(socket, ..) => self.leave(*socket),
            Seen::Settled { id, fate, by_choice } => self.settled(at, *id, *fate, *by_choice, line),
            Seen::Event { name, detail } => self.heard(at, name, detail),
            Seen::Persist(kept) => self.saved.clone_from(kept),
            Seen::Told { .. } | Seen::Bind(..) | Seen::Ask(..) => {}
        }
    }

    /// An attempt, which after the end only the page can ask for.
    fn begins(&mut self, at: u64) {
        if matches!(self.course, Course::Ended | Course::Before) {
            assert!(self.asked > 0, "an attempt at {at} that nobody asked for");
            self.asked -= 1;
            self.failures = 0;
            self.course = Course::Waiting;
        }
    }

    fn handed_over(&mut self, at: u64, socket: u32, id: u32, numbered: bool) {
        assert_eq!(self.current, Some(socket), "message {id} at {at} on a socket that is not the current one");
        assert!(self.next.is_none(), "message {id} was handed over at {at}, while the next socket was dialled");
        assert!(!numbered || self.offered, "message {id} has a number at {at}, and nobody offered to read it");
        let before = self.last_on_socket.insert(socket, id);
        assert!(before < Some(id), "message {id} after {before:?} on socket {socket} at {at}");
        if self.sent.insert(id, numbered).is_none() {
            assert!(self.last_first < Some(id), "message {id} went out after {:?}", self.last_first);
            self.last_first = Some(id);
        }
        let again = self.may_return.contains(&id);
        assert!(again || !self.fates.contains_key(&id), "message {id} was handed over at {at} after it was settled");
        self.held.insert(id, socket);
    }

    /// A socket does not count any more.
    fn leave(&mut self, socket: u32) {
        self.moved |= self.trailing == Some(socket);
        for known in [&mut self.current, &mut self.next, &mut self.trailing] {
            known.take_if(|known| *known == socket);
        }
    }

    fn settled(&mut self, at: u64, id: u32, fate: Fate, by_choice: bool, line: &Line<Net>) {
        let before = self.fates.insert(id, fate);
        let may_return = self.may_return.remove(&id);
        let in_order = match (before, fate) {
            (None, _) | (Some(Fate::Sent), Fate::Unknown) => true,
            (Some(Fate::Sent), _) => may_return && fate != Fate::Sent,
            (Some(_), _) => false,
        };
        assert!(in_order, "message {id} became {fate:?} at {at} after {before:?}");
        let numbered = self.sent.get(&id).copied();
        let taken = self.names.get(&id).is_some_and(|name| line.browser.gateway.taken.contains_key(name));
        match fate {
            Fate::Sent => {
                assert!(numbered.is_some(), "message {id} is sent at {at} and was never handed over");
                if numbered == Some(true) {
                    self.may_return.insert(id);
                }
            }
            Fate::Acked => assert!(taken, "message {id} is acknowledged at {at} and was never taken"),
            Fate::Unknown => {
                // What a page has kept another one may send.
                assert!(
                    numbered.is_some() || by_choice,
                    "message {id} is of unknown fate at {at} and was never handed over"
                );
                let nobody_knows = self.excuse || !self.offered || self.disposing;
                assert!(
                    numbered == Some(false) || nobody_knows,
                    "message {id} is of unknown fate at {at}: the gateway knows"
                );
            }
            Fate::Expired | Fate::Evicted | Fate::Rejected => {
                // What a browser has given back it may still write out, where it was the page that closed the socket.
                let again = line.browser.returned.contains(&id);
                assert!(numbered != Some(true) || !taken || again, "message {id} is {fate:?} at {at} and was taken");
            }
        }
        if fate != Fate::Sent || numbered == Some(false) {
            self.held.remove(&id);
        }
        self.to_tell += u64::from(!matches!(fate, Fate::Sent | Fate::Acked) && !by_choice);
    }

    fn heard(&mut self, at: u64, name: &str, detail: &Value) {
        let settling = self.settling;
        self.settling &= !matches!(name, "ws-connected" | "ws-disconnected" | "ws-resumed" | "ws-gap");
        match name {
            "ws-connected" => {
                assert_ne!(self.course, Course::Connected, "connected twice at {at}");
                assert!(self.current.is_some(), "connected at {at} without a socket");
                self.course = Course::Connected;
                self.connected_at = at;
                let attempt = detail["attempt"].as_u64().expect("a number");
                let forgiven = std::mem::take(&mut self.stable) && attempt == 0;
                let excused = self.away && attempt < self.failures;
                assert!(
                    attempt == self.failures || forgiven || excused,
                    "{attempt} attempts at {at}, not {}",
                    self.failures
                );
                self.failures = attempt;
            }
            "ws-disconnected" => {
                let closed = detail["cause"] == "closed" && detail["willReconnect"] == false;
                self.stable = self.course == Course::Connected && at - self.connected_at >= self.stable_ms;
                self.course = if closed { Course::Ended } else { Course::Between };
                // A next socket that does not go on in the session is a loss and a return.
                if !self.moved && !settling {
                    self.current = None;
                }
                self.wait = None;
            }
            "ws-reconnecting" => {
                assert_ne!(self.course, Course::Connected, "a wait while connected, at {at}");
                assert_ne!(self.course, Course::Ended, "a wait after the end, at {at}");
                self.current = None;
                self.failures += 1;
                // After a stable connection the failures before it count no more, unless the timer that says so was late.
                if self.stable && detail["attempt"] == 1 {
                    self.failures = 1;
                }
                self.stable = false;
                let attempt = detail["attempt"].as_u64().expect("a number");
                let excused = self.away && attempt < self.failures;
                assert!(
                    attempt == self.failures || excused,
                    "failure {attempt} in a row at {at}, not {}",
                    self.failures
                );
                self.failures = attempt;
                let delay = detail["delayMs"].as_u64().expect("a wait");
                // A page that was parked comes back at once, whatever it had been told.
                let back = self.away && detail["cause"] == "lifecycle" && delay == 0;
                match self.advice.take().filter(|_| !back) {
                    Some((after, spread)) => {
                        let most = (after + spread) * self.slowness as f64;
                        assert!(
                            delay as f64 >= after.floor() && delay as f64 <= most,
                            "{delay} ms, not {after}..{most}"
                        );
                    }
                    None => {
                        let most = self.max_delay_ms.max(LATER_MOST_MS) * self.slowness;
                        assert!(delay <= most, "a wait of {delay} ms at {at}, the longest is {most}");
                    }
                }
                self.course = Course::Waiting;
                self.wait = Some(Wait { until: at + delay, hurried: false });
            }
            "ws-failed" => {
                assert_ne!(self.course, Course::Connected, "failed while connected, at {at}");
                assert!(detail["cause"].is_string());
                self.course = Course::Ended;
                self.current = None;
                self.wait = None;
            }
            "ws-error" => {
                if detail["code"].as_str().is_some_and(|code| code.starts_with("send.")) {
                    self.told += detail["count"].as_u64().expect("a count");
                }
            }
            "ws-resumed" | "ws-gap" => self.feed.told(at, name, detail),
            _ => {
                let mut expected = self.unheard.pop_front();
                while expected.as_ref().is_some_and(|(frame, must)| !must && frame != detail) {
                    expected = self.unheard.pop_front();
                }
                let expected = expected.map(|(frame, _)| frame);
                assert_eq!(expected.as_ref(), Some(detail), "what the page heard as {name} at {at}");
                self.feed.heard(at, detail);
            }
        }
    }

    fn compare(&mut self, line: &Line<Net>) {
        let status = line.client.status();
        let expected: &[Status] = match self.course {
            Course::Before => &[Status::Idle],
            Course::Connected => &[Status::Connected],
            Course::Waiting => &[Status::Connecting, Status::Reconnecting],
            Course::Ended => &[Status::Closed],
            // A line that is parked says that it tries again when it does.
            Course::Between => &[Status::Reconnecting],
        };
        assert!(expected.contains(&status), "the client is {status:?}, by its events {:?}", self.course);
        assert_eq!(self.told, self.to_tell, "messages whose loss was told");
        if let Some(Snapshot { client_id, cursor: Some(cursor), .. }) = &self.saved {
            self.feed.saved(client_id.as_ref(), &cursor.epoch, cursor.seen);
        }
        if matches!(status, Status::Connected) && !self.settling || self.current.is_none() {
            assert!(!self.unheard.iter().any(|(_, must)| *must), "the page never heard {:?}", self.unheard);
            self.unheard.clear();
        }
        assert!(self.unheard.len() <= HELD_MOST, "{} frames are held", self.unheard.len());
        let (waiting, bytes) = line.client.queue();
        assert!(bytes >= 0.0, "the queue holds {bytes} bytes");
        assert_eq!(waiting == 0, bytes == 0.0, "{waiting} messages of {bytes} bytes wait");
        // A message that is told to be sent has a fate, and may wait again where the gateway acknowledges.
        let adopted = self.may_return.iter().filter(|id| !self.fates.contains_key(id)).count();
        let settled = self.fates.len() + adopted - self.may_return.len();
        let open = line.next_message - self.skipped - settled as u32;
        let held = self.held.len() as u32;
        assert!(waiting <= open, "{waiting} messages wait, {open} are not settled");
        assert!(waiting + held >= open, "{open} messages are not settled, {waiting} wait and {held} are in a browser");
        self.given_back = self.given_back.max(held);
        let most = self.max_messages + f64::from(self.given_back);
        assert!(f64::from(waiting) <= most, "{waiting} messages wait, {most} may");
        let most = self.max_bytes + moorline::config::HIGH_WATER * 2.0;
        assert!(bytes <= most, "{bytes} bytes wait, {most} may");
    }
}

/// Cheap enough to look at after every step.
pub fn check_step(line: &mut Line<Net>) {
    let mut ledger = std::mem::take(&mut line.browser.ledger);
    ledger.read(line);
    ledger.compare(line);
    let live = line.browser.live_sockets();
    let may_live = [ledger.current, ledger.next, ledger.trailing].into_iter().flatten().count();
    assert!(live <= may_live, "{live} live sockets at {}, {may_live} may be", line.now);
    ledger.moved = false;
    ledger.asked = 0;
    ledger.disposed |= ledger.disposing;
    line.browser.ledger = ledger;
}

/// What an old socket still says changes nothing, save that the fate of what it took becomes known.
pub fn check_stale(line: &mut Line<Net>, tell: impl FnOnce(&mut Line<Net>)) {
    let picture = |line: &Line<Net>| {
        let counters = line.client.counters();
        (
            line.client.status(),
            line.client.explain(),
            counters.received,
            counters.misbehaved,
            line.client.next_attempt(),
        )
    };
    let (before, seen, reactions) = (picture(line), line.seen.len(), line.browser.reactions.len());
    tell(line);
    if line.browser.reactions.len() != reactions {
        // The page has heard what became of a message, and has done something of its own.
        return;
    }
    assert_eq!(before, picture(line), "an old socket changed something");
    for (at, seen) in line.seen.iter().skip(seen) {
        let fate = match seen {
            Seen::Settled { .. } => true,
            Seen::Event { name, detail } => name == "ws-error" && detail["code"] == "send.unknown",
            _ => false,
        };
        assert!(fate, "{seen:?} at {at} because of an old socket");
    }
}

/// Everything that can be said at the end, from what was seen.
pub fn check_run(world: &World) {
    endings_are_followed_up(&world.line);
    arrivals_match_the_fates(world, true);
    let journal = world.line.client.explain().lines().count();
    assert!(journal <= 80, "a journal of {journal} lines");
}

/// As `check_run`, for a page that goes in the middle of things.
pub fn check_life(world: &World) {
    endings_are_followed_up(&world.line);
    arrivals_match_the_fates(world, false);
}

/// At rest, all that the gateway has fed has been heard, or told to be missing.
pub fn check_feed(world: &World) {
    let net = &world.line.browser;
    if let Some((client, covered)) = net.ledger.feed.position().filter(|_| net.gateway.delivery.is_some()) {
        assert_eq!(covered, net.gateway.newest_of(client), "how far the page has heard the feed of {client}");
    }
}

/// Each `ws-disconnected` is followed by what it says: a wait, an end, or nothing where the page asked for it.
fn endings_are_followed_up(line: &Line<Net>) {
    let mut lifecycle = line
        .events()
        .filter(|(_, name, _)| matches!(*name, "ws-connected" | "ws-disconnected" | "ws-reconnecting" | "ws-failed"))
        .peekable();
    while let Some((at, name, detail)) = lifecycle.next() {
        if name == "ws-disconnected" && detail["cause"] != "closed" {
            let next = lifecycle.peek().map(|(_, name, _)| *name);
            // A line that is parked says that it tries again when it does.
            let parked = line.browser.ledger.away;
            let closed = lifecycle.peek().is_some_and(|(_, _, detail)| detail["cause"] == "closed");
            if closed || parked && next.is_none() {
                continue;
            }
            let expected: &[_] = match &detail["willReconnect"] {
                Value::Bool(false) => &["ws-failed"],
                // Where a next socket is ready already, it has brought another session.
                _ => &["ws-reconnecting", "ws-connected"],
            };
            assert!(next.is_some_and(|next| expected.contains(&next)), "{next:?} after the end at {at}: {detail}");
        }
    }
}

/// What is said to be sent has arrived; what is said not to be, has not. Only of a page that is gone may the fate of a
/// message be open.
fn arrivals_match_the_fates(world: &World, over: bool) {
    let line = &world.line;
    let ledger = &line.browser.ledger;
    let mut arrived: BTreeMap<String, u32> = BTreeMap::new();
    for (_, text) in &line.browser.gateway.received {
        *arrived.entry(name_of(text)).or_default() += 1;
    }
    for id in 0..line.next_message {
        if id < ledger.begins_at && !ledger.names.contains_key(&id) {
            continue;
        }
        let fate = line.fates.get(&id).and_then(|fates| fates.last()).copied();
        let times = ledger.names.get(&id).and_then(|name| arrived.get(name)).copied().unwrap_or(0);
        // Of an earlier page's messages it was that page that knew what was given back.
        let again = line.browser.returned.contains(&id) || id < ledger.begins_at;
        assert!(times <= 1 || again, "message {id} arrived {times} times");
        match fate {
            Some(Fate::Acked) => assert!(times >= 1, "message {id} was acknowledged and never taken"),
            Some(Fate::Sent) => {
                let to_come = ledger.may_return.contains(&id) && ledger.sent.get(&id) == Some(&true);
                assert!(!over || !to_come, "message {id} was sent, and nobody says what became of it");
                assert!(times >= 1 || !over || believed(line, id), "message {id} was sent but never came");
            }
            Some(Fate::Unknown) => {}
            Some(Fate::Expired | Fate::Evicted | Fate::Rejected) => {
                assert!(times == 0 || again, "message {id} came though it was {fate:?}");
            }
            None => assert!(!over, "message {id} has no fate"),
        }
    }
}

/// What a message is called: what follows the first word of its text is padding.
fn name_of(text: &str) -> String {
    let frame: Value = serde_json::from_str(text).expect("a page sends JSON");
    let text = frame["text"].as_str().unwrap_or_default();
    text.split(' ').next().unwrap_or_default().into()
}

/// Whether a message had been gone for a minute before its socket ended: by then it is believed to have arrived, for a
/// doubt cannot be kept for ever.
fn believed(line: &Line<Net>, id: u32) -> bool {
    let sent = line.seen.iter().find(|(_, seen)| matches!(seen, Seen::Settled { id: known, .. } if *known == id));
    let sent_at = sent.map_or(0, |(at, _)| *at);
    let mut ends = line.events().filter(|(at, name, _)| *name == "ws-disconnected" && *at >= sent_at);
    ends.next().is_none_or(|(at, _, detail)| {
        // A socket that the page closes has three seconds to end, by a timer that may ring late.
        let ours = detail["cause"] == "closed" || detail["cause"] == "lifecycle";
        let ended_at = if ours { at + 3000 + line.browser.ledger.late_ms } else { at };
        ended_at > sent_at + 60_000
    })
}
