//! The one outbound queue: order, bounds, time to live, and what became of every message.
//!
//! The texts stay in the page, in an array with the same order; here are their numbers. Nothing is sent from here:
//! `next_run` names what may be handed to a socket, and an entry leaves only once its hand-over has been accepted and
//! the browser has written it out; where the server acknowledges, only once it has.
//!
//! A message's number on the wire is its id and one: numbers rise within a stream, and holes are what never went out.

use crate::error::{ApiMisuse, Fault};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

/// What to do with a message that finds the queue full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The caller gets `send.queue-full`.
    Reject,
    /// The oldest waiting messages make room.
    DropOldest,
    /// The new message is not taken.
    DropNewest,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_messages: f64,
    pub max_bytes: f64,
    pub overflow: Overflow,
}

/// How a message wants to be carried.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// It waits until it can be sent.
    Queue,
    /// It is sent now or not at all.
    Drop,
    /// Of those with the same key only the newest waits.
    Latest(Box<str>),
}

/// What became of a message. Each ends in exactly one of these; `Sent` may still become `Acked`, or `Unknown` if the
/// socket that took it dies before anything shows that it got through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Sent = 1,
    Acked = 2,
    Expired = 3,
    Evicted = 4,
    Rejected = 5,
    Unknown = 6,
}

/// A row of messages with consecutive ids that share a fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    pub from: u32,
    pub count: u32,
    pub fate: Fate,
    /// The caller chose this fate (`"drop"` while away, an older `"latest"`): a receipt tells of it, no event does.
    pub by_choice: bool,
}

/// How a socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Cleanly, by our close: it stood behind every message, and was answered.
    Ours,
    /// Cleanly, by the server's close: a browser takes messages while it crosses, and throws them away.
    Theirs,
    /// Without a close that was answered.
    Abrupt,
}

/// How old a message that crossed a close from the other side may be when we hear of it: Chromium waits two seconds for the
/// server to let go of the connection before it tells, and a busy page listens later.
const CROSSING_MS: u64 = 5000;
/// How many messages that left the browser may still turn out to be of unknown fate.
const DOUBT_MESSAGES: u32 = 1000;
/// How long a message that left the browser may still turn out to be of unknown fate.
const DOUBT_MS: u64 = 60_000;
/// A timer that is later than this rang for a machine that had slept.
const SLEPT_MS: u64 = 5000;

/// What the server says of our numbers when a connection begins on which it acknowledges them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbering {
    /// How many messages may be unacknowledged.
    pub window: u32,
    /// The newest of our numbers that the server has taken; `None` where it does not know.
    pub taken: Option<u32>,
}

/// A message that went out, with its number: `,"$seq":` and the digits.
const NUMBER_BYTES: u32 = 8;

#[derive(Clone, Copy, Debug)]
struct Entry {
    bytes: u32,
    /// Already settled: it keeps its place until those before it have left, so that ids stay consecutive.
    gone: bool,
    /// Now or not at all: it does not wait for another socket.
    once: bool,
    expires: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    from: u32,
    count: u32,
    since: Instant,
}

#[derive(Debug)]
pub struct Outbox {
    limits: Limits,
    /// Id of the first entry.
    base: u32,
    entries: VecDeque<Entry>,
    /// How many entries, from the first, a socket has accepted and the browser may still hold, or the server owes an
    /// acknowledgement for.
    taken: usize,
    /// What the browser may hold.
    taken_bytes: f64,
    /// How many of those taken the browser has written out: only where the server acknowledges, else they leave at once.
    written: usize,
    /// All that is taken.
    flight: u32,
    flight_bytes: f64,
    numbering: Option<Numbering>,
    /// Ids before it have been handed to a socket at some time.
    tried: u32,
    /// Ids before it may have arrived by a socket that is gone: the next connection has to say.
    uncertain: u32,
    /// The newest acknowledgement.
    acked: u32,
    /// Ids before it have been told to be sent: they may go out again, and are not told again.
    told_sent: u32,
    /// The page keeps what waits: another page will send it.
    kept: bool,
    /// Control frames that the browser may hold: the id that each went before, and its bytes.
    controls: VecDeque<(u32, u32)>,
    waiting: u32,
    waiting_bytes: f64,
    newest: Vec<(Box<str>, u32)>,
    /// No message expires before it.
    soonest: Option<Instant>,
    doubts: VecDeque<Doubt>,
    /// The server has read all before this id.
    proven: u32,
    settled: Vec<Settled>,
}

impl Outbox {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            base: 0,
            entries: VecDeque::new(),
            taken: 0,
            taken_bytes: 0.0,
            written: 0,
            flight: 0,
            flight_bytes: 0.0,
            numbering: None,
            tried: 0,
            uncertain: 0,
            acked: 0,
            told_sent: 0,
            kept: false,
            controls: VecDeque::new(),
            waiting: 0,
            waiting_bytes: 0.0,
            newest: Vec::new(),
            soonest: None,
            doubts: VecDeque::new(),
            proven: 0,
            settled: Vec::new(),
        }
    }

    /// Accepts a message of so many bytes, or says why not. Its id is the next in order.
    pub fn push(
        &mut self,
        bytes: u32,
        delivery: Delivery,
        expires: Option<Instant>,
        connected: bool,
    ) -> Result<(), ApiMisuse> {
        if f64::from(bytes) > self.limits.max_bytes {
            return Err(ApiMisuse::TooLarge);
        }
        let older = match &delivery {
            Delivery::Latest(key) => self.waiting_under(key),
            Delivery::Queue | Delivery::Drop => None,
        };
        let unwanted = matches!(delivery, Delivery::Drop) && !connected;
        let mut taken_in = !unwanted;
        if taken_in && !self.has_room(bytes, older) {
            match self.limits.overflow {
                Overflow::Reject => return Err(ApiMisuse::QueueFull),
                Overflow::DropNewest => taken_in = false,
                Overflow::DropOldest => {
                    while !self.has_room(bytes, None) && self.evict_oldest() {}
                    taken_in = self.has_room(bytes, None);
                }
            }
        }
        if taken_in && let Some(id) = older {
            self.settle_waiting(id, Fate::Evicted, true);
        }
        let id = self.next_id();
        self.take_in(bytes, matches!(delivery, Delivery::Drop), expires);
        if !taken_in {
            self.settle_waiting(id, Fate::Rejected, unwanted);
        } else if let Delivery::Latest(key) = delivery {
            self.newest.push((key, id));
        }
        Ok(())
    }

    fn take_in(&mut self, bytes: u32, once: bool, expires: Option<Instant>) {
        self.entries.push_back(Entry { bytes, gone: false, once, expires });
        self.waiting += 1;
        self.waiting_bytes += f64::from(bytes);
        if let Some(at) = expires {
            self.soonest = earlier(self.soonest, at);
        }
    }

    /// The page has kept messages from an earlier visit: ids go on at `base`, and those before `tried` may have gone out.
    pub fn adopt(&mut self, base: u32, tried: u32) {
        // What is there already has become another page's.
        self.leave_before(self.next_id(), Fate::Unknown);
        self.base = base;
        self.told_sent = base;
        self.tried = tried;
        self.uncertain = tried;
        self.kept = true;
    }

    /// One of those that were kept, the next in order. It was accepted once, and no bound turns it away now.
    pub fn keep(&mut self, bytes: u32, expires: Option<Instant>, key: Option<String>) {
        let id = self.next_id();
        self.take_in(bytes, false, expires);
        // What may have arrived has no newer one in its place: it is for the server to say.
        if let Some(key) = key
            && !is_behind(id, self.tried)
        {
            self.newest.push((key.into(), id));
        }
    }

    /// So many ids that stand for nothing any more.
    pub fn skip(&mut self, count: u32) {
        for _ in 0..count {
            if self.entries.is_empty() {
                self.base = self.base.wrapping_add(1);
            } else {
                self.entries.push_back(Entry { bytes: 0, gone: true, once: false, expires: None });
            }
        }
    }

    /// A connection begins, on which the server acknowledges or not. What an earlier one left open is settled by what the
    /// server says of it, or else is of unknown fate.
    pub fn begin(&mut self, numbering: Option<Numbering>) -> Option<Fault> {
        self.numbering = numbering;
        let mut fault = None;
        if let Some(before) = numbering.and_then(|numbering| numbering.taken) {
            if is_behind(self.tried, before) {
                fault = Some(Fault::AckAhead);
            } else {
                fault = is_behind(before, self.acked).then_some(Fault::AckBehind);
                self.acked = before;
                self.leave_before(before, Fate::Acked);
                self.refuse_late(self.uncertain);
                self.uncertain = self.base;
            }
        } else {
            self.acked = 0;
        }
        self.leave_before(self.uncertain, Fate::Unknown);
        self.uncertain = self.base;
        self.tried = self.base;
        fault
    }

    /// The server has taken all that was numbered up to `before`, which is the id behind the newest of it.
    pub fn acked(&mut self, before: u32) -> Result<(), Fault> {
        if is_behind(before, self.acked) {
            return Err(Fault::AckBehind);
        }
        if self.numbering.is_none() || is_behind(self.id_at(self.taken), before) {
            return Err(Fault::AckAhead);
        }
        self.acked = before;
        self.leave_before(before, Fate::Acked);
        Ok(())
    }

    /// Settles the entries before an id for good, and takes them out.
    fn leave_before(&mut self, before: u32, fate: Fate) {
        while is_behind(self.base, before) {
            let weight = self.weight(0);
            let Some(entry) = self.entries.pop_front() else {
                break;
            };
            let bytes = f64::from(entry.bytes);
            if self.taken == 0 {
                if !entry.gone {
                    self.waiting -= 1;
                    self.waiting_bytes -= bytes;
                }
            } else {
                self.taken -= 1;
                if !entry.gone {
                    self.flight -= 1;
                    self.flight_bytes -= bytes;
                }
                // It has arrived, whatever the browser seemed to hold.
                if self.written == 0 {
                    self.taken_bytes -= weight;
                }
            }
            if !entry.gone {
                settle(&mut self.settled, self.base, 1, fate, false);
            }
            self.written = self.written.saturating_sub(1);
            self.base = self.base.wrapping_add(1);
        }
        self.shed();
    }

    /// What was to be sent at once or not at all, and went back into the queue, is too late.
    fn refuse_late(&mut self, before: u32) {
        let mut id = self.base;
        while is_behind(id, before) {
            let index = id.wrapping_sub(self.base) as usize;
            if self.entries.get(index).is_some_and(|entry| entry.once) {
                self.settle_waiting(id, Fate::Rejected, true);
            }
            id = id.wrapping_add(1);
        }
    }

    /// Without a taken entry before it, a settled head has nothing to wait for.
    fn shed(&mut self) {
        while self.taken == 0 && self.entries.front().is_some_and(|entry| entry.gone) {
            self.entries.pop_front();
            self.base = self.base.wrapping_add(1);
        }
    }

    /// The bytes of an entry in the browser's buffer.
    fn weight(&self, index: usize) -> f64 {
        let Some(entry) = self.entries.get(index).filter(|entry| !entry.gone) else {
            return 0.0;
        };
        let mut bytes = entry.bytes;
        if self.is_numbered() {
            bytes += NUMBER_BYTES;
            let mut number = self.id_at(index).wrapping_add(1);
            while number > 0 {
                bytes += 1;
                number /= 10;
            }
        }
        f64::from(bytes)
    }

    /// Whether messages carry their numbers, and the server acknowledges them.
    pub const fn is_numbered(&self) -> bool {
        #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
        return self.numbering.is_some();
        #[cfg(not(any(feature = "delivery", not(target_arch = "wasm32"))))]
        return false;
    }

    /// Messages that a socket has and the server has not acknowledged.
    pub const fn in_flight(&self) -> u32 {
        self.flight
    }

    /// The next messages that a socket may take: waiting, consecutive, in order.
    pub fn next_run(&mut self) -> Option<(u32, u32)> {
        while self.entries.get(self.taken)?.gone {
            self.taken += 1;
        }
        let window = self.numbering.map_or(u32::MAX, |numbering| numbering.window);
        let mut end = self.taken;
        let mut bytes = self.flight_bytes;
        let mut flight = self.flight;
        while let Some(entry) = self.entries.get(end).filter(|entry| !entry.gone && flight < window) {
            bytes += f64::from(entry.bytes);
            // A single one may be as large as the bound.
            if self.is_numbered() && flight > 0 && bytes > self.limits.max_bytes {
                break;
            }
            flight += 1;
            end += 1;
        }
        (end > self.taken).then(|| (self.id_at(self.taken), (end - self.taken) as u32))
    }

    /// The socket accepted the next `count` messages of the run.
    pub fn handed_over(&mut self, count: u32) {
        for _ in 0..count {
            let Some(entry) = self.entries.get(self.taken) else {
                break;
            };
            let bytes = f64::from(entry.bytes);
            self.waiting -= 1;
            self.waiting_bytes -= bytes;
            self.flight += 1;
            self.flight_bytes += bytes;
            self.taken_bytes += self.weight(self.taken);
            self.taken += 1;
        }
        self.tried = self.id_at(self.taken);
        if !self.newest.is_empty() {
            let first_waiting = self.id_at(self.taken);
            let base = self.base;
            self.newest.retain(|(_, id)| id.wrapping_sub(base) >= first_waiting.wrapping_sub(base));
        }
    }

    /// A control frame of so many bytes went to the socket: the browser holds it among the messages.
    pub fn passed_by(&mut self, bytes: u32) {
        self.controls.push_back((self.id_at(self.taken), bytes));
        self.taken_bytes += f64::from(bytes);
    }

    /// The browser holds `buffered` bytes: what lies before them has been written out. Answers whether something was.
    pub fn drained(&mut self, now: Instant, buffered: f64) -> bool {
        let mut written = self.written;
        loop {
            // Half of the number space away means behind: what it went before may be gone.
            let ahead = |control: &&(u32, u32)| self.id_at(written).wrapping_sub(control.0) <= u32::MAX / 2;
            let next_control = self.controls.front().filter(ahead);
            let bytes = match next_control {
                Some(control) => f64::from(control.1),
                None if written < self.taken => self.weight(written),
                None => break,
            };
            if self.taken_bytes - bytes < buffered {
                break;
            }
            self.taken_bytes -= bytes;
            if next_control.is_some() {
                self.controls.pop_front();
            } else {
                written += 1;
            }
        }
        let news = written > self.written;
        if self.is_numbered() {
            for index in self.written..written {
                let id = self.id_at(index);
                if !is_behind(id, self.told_sent) && self.entries.get(index).is_some_and(|entry| !entry.gone) {
                    settle(&mut self.settled, id, 1, Fate::Sent, false);
                    self.told_sent = id.wrapping_add(1);
                }
            }
            self.written = written;
        } else {
            self.write_out(now, written);
        }
        self.forget_the_oldest_doubts();
        news
    }

    /// Settles the first `written` entries; none of those that were settled before.
    fn write_out(&mut self, now: Instant, written: usize) {
        let mut run = self.base;
        for _ in 0..written {
            if let Some(entry) = self.entries.pop_front() {
                if entry.gone {
                    self.believe_sent(now, run);
                    run = self.base.wrapping_add(1);
                } else {
                    self.flight -= 1;
                    self.flight_bytes -= f64::from(entry.bytes);
                }
            }
            self.base = self.base.wrapping_add(1);
        }
        self.believe_sent(now, run);
        self.taken -= written;
    }

    /// Settles what lies between `run` and the first entry as sent, which may turn out otherwise.
    fn believe_sent(&mut self, now: Instant, run: u32) {
        // What a gateway that acknowledged had not taken has been told to be sent once.
        let untold = if is_behind(run, self.told_sent) { self.told_sent } else { run };
        if is_behind(untold, self.base) {
            settle(&mut self.settled, untold, self.base.wrapping_sub(untold), Fate::Sent, false);
        }
        // An answer may have proven what the browser seemed to hold still.
        let from = if is_behind(run, self.proven) { self.proven } else { run };
        if is_behind(from, self.base) {
            self.doubts.push_back(Doubt { from, count: self.base.wrapping_sub(from), since: now });
        }
    }

    /// The socket is gone. What the browser still held goes back to the head of the queue; the fate of what it had written
    /// out follows from the end.
    pub fn socket_lost(&mut self, now: Instant, buffered: f64, end: End) {
        self.drained(now, buffered);
        let held = self.id_at(self.written);
        let handed_over = self.id_at(self.taken);
        if is_behind(self.uncertain, held) && self.is_numbered() {
            self.uncertain = held;
        }
        for index in 0..self.taken {
            if let Some(entry) = self.entries.get(index)
                && !entry.gone
            {
                self.waiting += 1;
                self.waiting_bytes += f64::from(entry.bytes);
            }
        }
        self.taken = 0;
        self.taken_bytes = 0.0;
        self.written = 0;
        self.flight = 0;
        self.flight_bytes = 0.0;
        self.controls.clear();
        // Of those that the browser still held it is known.
        let mut id = held;
        while is_behind(id, handed_over) {
            let index = id.wrapping_sub(self.base) as usize;
            if self.entries.get(index).is_some_and(|entry| entry.once) {
                self.settle_waiting(id, Fate::Rejected, true);
            }
            id = id.wrapping_add(1);
        }
        while let Some(doubt) = self.doubts.pop_front() {
            let believed = match end {
                End::Ours => true,
                End::Theirs => now.since(doubt.since) > CROSSING_MS,
                End::Abrupt => false,
            };
            if !believed {
                settle(&mut self.settled, doubt.from, doubt.count, Fate::Unknown, false);
            }
        }
    }

    /// The id before which everything has been handed to a socket.
    pub fn handed_over_before(&self) -> u32 {
        self.id_at(self.taken)
    }

    /// The server has read all that was handed over before `id`: a socket keeps the order, and it answered what came later.
    pub fn proven_before(&mut self, id: u32) {
        self.proven = id;
        while let Some(oldest) = self.doubts.front_mut() {
            let ahead = id.wrapping_sub(oldest.from);
            if !is_behind(oldest.from, id) {
                break;
            }
            if ahead < oldest.count {
                oldest.from = id;
                oldest.count -= ahead;
                break;
            }
            self.doubts.pop_front();
        }
    }

    /// Settles what has waited too long.
    pub fn expire(&mut self, now: Instant) {
        if self.soonest.is_none_or(|at| at > now) {
            return;
        }
        self.soonest = None;
        let (mut id, end) = (self.first_certain(), self.next_id());
        while id != end {
            // By id, not by index: settling the head moves the indices.
            let index = id.wrapping_sub(self.base) as usize;
            if let Some(Entry { gone: false, expires: Some(at), .. }) = self.entries.get(index).copied() {
                if at <= now {
                    self.settle_waiting(id, Fate::Expired, false);
                } else {
                    self.soonest = earlier(self.soonest, at);
                }
            }
            id = id.wrapping_add(1);
        }
    }

    /// When to look for messages that have expired: not after the first that does.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.soonest
    }

    /// Rejects all that waits, save what may have arrived.
    pub fn clear(&mut self) {
        self.settle_from(self.first_certain(), Fate::Rejected);
    }

    /// The end of the line: nobody will hear of what waits, or of what may have arrived.
    pub fn end(&mut self) {
        // What the page keeps is another page's to send.
        if !self.kept {
            self.clear();
        }
        self.settle_from(self.id_at(self.taken), Fate::Unknown);
    }

    fn settle_from(&mut self, mut id: u32, fate: Fate) {
        let end = self.next_id();
        while id != end {
            self.settle_waiting(id, fate, true);
            id = id.wrapping_add(1);
        }
    }

    /// The first id that waits and can only do so.
    fn first_certain(&self) -> u32 {
        let waiting = self.id_at(self.taken);
        if is_behind(waiting, self.uncertain) { self.uncertain } else { waiting }
    }

    /// What was settled since the last call, in the order in which it happened.
    pub fn take_settled(&mut self) -> Vec<Settled> {
        core::mem::take(&mut self.settled)
    }

    /// Ids before this one are settled for good.
    pub fn first_open(&self) -> u32 {
        self.doubts.front().map_or(self.base, |doubt| doubt.from)
    }

    pub fn next_id(&self) -> u32 {
        self.id_at(self.entries.len())
    }

    pub const fn waiting(&self) -> u32 {
        self.waiting
    }

    pub const fn waiting_bytes(&self) -> f64 {
        self.waiting_bytes
    }

    fn id_at(&self, index: usize) -> u32 {
        self.base.wrapping_add(index as u32)
    }

    fn has_room(&self, bytes: u32, instead_of: Option<u32>) -> bool {
        let freed = instead_of
            .and_then(|id| self.entries.get(id.wrapping_sub(self.base) as usize))
            .map_or((0.0, 0.0), |entry| (1.0, f64::from(entry.bytes)));
        f64::from(self.waiting) - freed.0 < self.limits.max_messages
            && self.waiting_bytes - freed.1 + f64::from(bytes) <= self.limits.max_bytes
    }

    fn waiting_under(&self, key: &str) -> Option<u32> {
        let held = self.newest.iter().find(|(held, _)| **held == *key)?;
        Some(held.1)
    }

    fn evict_oldest(&mut self) -> bool {
        let mut index = self.first_certain().wrapping_sub(self.base) as usize;
        while self.entries.get(index).is_some_and(|entry| entry.gone) {
            index += 1;
        }
        let found = index < self.entries.len();
        self.settle_waiting(self.id_at(index), Fate::Evicted, false);
        found
    }

    fn settle_waiting(&mut self, id: u32, fate: Fate, by_choice: bool) {
        let index = id.wrapping_sub(self.base) as usize;
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        if entry.gone {
            return;
        }
        entry.gone = true;
        self.waiting = self.waiting.saturating_sub(1);
        self.waiting_bytes -= f64::from(entry.bytes);
        self.newest.retain(|(_, held)| *held != id);
        settle(&mut self.settled, id, 1, fate, by_choice);
        self.shed();
    }

    /// When the oldest doubt has lasted for so long that it is none.
    pub fn next_belief(&self) -> Option<Instant> {
        self.doubts.front().map(|doubt| doubt.since.after(DOUBT_MS))
    }

    /// No complaint has come for long enough, if somebody was there to hear it: who is late has slept.
    pub fn believe(&mut self, now: Instant, due: Instant) {
        let late = now.since(due);
        if late > SLEPT_MS {
            self.doubts.iter_mut().for_each(|doubt| doubt.since = doubt.since.after(late));
            return;
        }
        while self.doubts.front().is_some_and(|doubt| now.since(doubt.since) >= DOUBT_MS) {
            self.doubts.pop_front();
        }
    }

    fn forget_the_oldest_doubts(&mut self) {
        let mut in_doubt: u32 = self.doubts.iter().map(|doubt| doubt.count).sum();
        while in_doubt > DOUBT_MESSAGES
            && let Some(oldest) = self.doubts.front_mut()
        {
            let excess = (in_doubt - DOUBT_MESSAGES).min(oldest.count);
            oldest.from = oldest.from.wrapping_add(excess);
            oldest.count -= excess;
            in_doubt -= excess;
            if oldest.count == 0 {
                self.doubts.pop_front();
            }
        }
    }
}

impl Fate {
    /// The event that tells of it, where it is a loss that nobody asked for.
    pub const fn fault(self) -> Option<Fault> {
        match self {
            Self::Sent | Self::Acked => None,
            Self::Expired => Some(Fault::Expired),
            Self::Evicted => Some(Fault::Evicted),
            Self::Rejected => Some(Fault::Rejected),
            Self::Unknown => Some(Fault::Unknown),
        }
    }
}

/// Whether one id comes before another: half of the number space away means behind.
fn is_behind(one: u32, other: u32) -> bool {
    one != other && other.wrapping_sub(one) <= u32::MAX / 2
}

fn earlier(one: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(one.map_or(other, |one| one.min(other)))
}

fn settle(rows: &mut Vec<Settled>, from: u32, count: u32, fate: Fate, by_choice: bool) {
    if count == 0 {
        return;
    }
    if let Some(last) = rows.last_mut()
        && last.fate == fate
        && last.by_choice == by_choice
        && last.from.wrapping_add(last.count) == from
    {
        last.count += count;
        return;
    }
    rows.push(Settled { from, count, fate, by_choice });
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(0);

    fn outbox(max_messages: f64, max_bytes: f64, overflow: Overflow) -> Outbox {
        Outbox::new(Limits { max_messages, max_bytes, overflow })
    }

    fn fates(outbox: &mut Outbox) -> Vec<(u32, u32, Fate)> {
        let rows = outbox.take_settled();
        rows.iter().map(|row| (row.from, row.count, row.fate)).collect()
    }

    fn push(outbox: &mut Outbox, bytes: u32) {
        outbox.push(bytes, Delivery::Queue, None, false).unwrap();
    }

    #[test]
    fn a_message_leaves_only_after_the_browser_has_written_it_out() {
        let mut outbox = outbox(10.0, 1000.0, Overflow::Reject);
        (0..3).for_each(|_| push(&mut outbox, 10));
        assert_eq!(outbox.next_run(), Some((0, 3)));
        outbox.handed_over(3);
        assert_eq!(outbox.next_run(), None);
        outbox.drained(NOW, 15.0);
        assert_eq!(fates(&mut outbox), [(0, 1, Fate::Sent)]);
        outbox.drained(NOW, 0.0);
        assert_eq!(fates(&mut outbox), [(1, 2, Fate::Sent)]);
    }

    #[test]
    fn what_the_browser_still_held_when_the_socket_died_goes_back_to_the_head() {
        let mut outbox = outbox(10.0, 1000.0, Overflow::Reject);
        (0..4).for_each(|_| push(&mut outbox, 10));
        outbox.handed_over(3);
        outbox.socket_lost(NOW, 11.0, End::Abrupt);
        assert_eq!(fates(&mut outbox), [(0, 1, Fate::Sent), (0, 1, Fate::Unknown)]);
        assert_eq!(outbox.next_run(), Some((1, 3)));
        assert_eq!(outbox.waiting(), 3);
        assert_eq!(outbox.waiting_bytes(), 30.0);
    }

    #[test]
    fn our_own_end_leaves_no_doubt_and_the_servers_only_of_what_may_have_crossed_it() {
        let mut outbox = outbox(10.0, 1000.0, Overflow::Reject);
        push(&mut outbox, 10);
        outbox.handed_over(1);
        outbox.socket_lost(NOW, 0.0, End::Ours);
        assert_eq!(fates(&mut outbox), [(0, 1, Fate::Sent)]);
        outbox.socket_lost(NOW, 0.0, End::Abrupt);
        assert_eq!(fates(&mut outbox), []);
        (0..2).for_each(|_| push(&mut outbox, 10));
        outbox.handed_over(1);
        outbox.drained(NOW, 0.0);
        outbox.handed_over(1);
        outbox.socket_lost(NOW.after(CROSSING_MS + 1), 0.0, End::Theirs);
        assert_eq!(fates(&mut outbox), [(1, 2, Fate::Sent), (2, 1, Fate::Unknown)]);
    }

    #[test]
    fn an_answer_proves_what_was_handed_over_before_its_question() {
        let mut outbox = outbox(10.0, 1000.0, Overflow::Reject);
        (0..4).for_each(|_| push(&mut outbox, 10));
        outbox.handed_over(2);
        let mark = outbox.handed_over_before();
        outbox.handed_over(2);
        outbox.drained(NOW, 0.0);
        outbox.proven_before(mark);
        fates(&mut outbox);
        outbox.socket_lost(NOW, 0.0, End::Abrupt);
        assert_eq!(fates(&mut outbox), [(2, 2, Fate::Unknown)]);
    }

    #[test]
    fn an_answer_proves_what_the_browser_seems_to_hold_still() {
        let mut outbox = outbox(10.0, 1000.0, Overflow::Reject);
        (0..3).for_each(|_| push(&mut outbox, 10));
        outbox.handed_over(3);
        outbox.drained(NOW, 30.0);
        outbox.proven_before(2);
        outbox.drained(NOW, 0.0);
        outbox.socket_lost(NOW, 0.0, End::Abrupt);
        assert_eq!(fates(&mut outbox), [(0, 3, Fate::Sent), (2, 1, Fate::Unknown)]);
    }

    #[test]
    fn a_full_queue_refuses_and_changes_nothing() {
        let mut outbox = outbox(2.0, 25.0, Overflow::Reject);
        push(&mut outbox, 10);
        assert_eq!(outbox.push(26, Delivery::Queue, None, false), Err(ApiMisuse::TooLarge));
        assert_eq!(outbox.push(16, Delivery::Queue, None, false), Err(ApiMisuse::QueueFull));
        push(&mut outbox, 10);
        assert_eq!(outbox.push(1, Delivery::Queue, None, false), Err(ApiMisuse::QueueFull));
        assert_eq!(outbox.waiting(), 2);
        assert_eq!(fates(&mut outbox), []);
    }

    #[test]
    fn an_overflowing_queue_drops_from_the_end_that_was_asked_for() {
        let mut oldest = outbox(2.0, 1000.0, Overflow::DropOldest);
        (0..3).for_each(|_| push(&mut oldest, 1));
        assert_eq!(fates(&mut oldest), [(0, 1, Fate::Evicted)]);
        assert_eq!(oldest.next_run(), Some((1, 2)));
        let mut newest = outbox(2.0, 1000.0, Overflow::DropNewest);
        (0..3).for_each(|_| push(&mut newest, 1));
        assert_eq!(fates(&mut newest), [(2, 1, Fate::Rejected)]);
        assert_eq!(newest.next_run(), Some((0, 2)));
    }

    #[test]
    fn only_the_newest_of_a_key_waits_and_a_refused_one_takes_nothing_away() {
        let mut outbox = outbox(2.0, 20.0, Overflow::Reject);
        let latest = |key: &str| Delivery::Latest(key.into());
        outbox.push(10, latest("pose"), None, false).unwrap();
        push(&mut outbox, 10);
        outbox.push(10, latest("pose"), None, false).unwrap();
        assert_eq!(fates(&mut outbox), [(0, 1, Fate::Evicted)]);
        assert_eq!(outbox.next_run(), Some((1, 2)));
        assert_eq!(outbox.push(11, latest("pose"), None, false), Err(ApiMisuse::QueueFull));
        assert_eq!(outbox.waiting(), 2);
        outbox.handed_over(2);
        outbox.push(10, latest("pose"), None, true).unwrap();
        assert_eq!(fates(&mut outbox), []);
    }

    #[test]
    fn a_message_in_the_middle_may_expire_and_the_rest_keeps_its_order() {
        let mut outbox = outbox(10.0, 1000.0, Overflow::Reject);
        push(&mut outbox, 1);
        let soon = Some(Instant::from_millis(5));
        outbox.push(1, Delivery::Queue, soon, false).unwrap();
        push(&mut outbox, 1);
        assert_eq!(outbox.next_expiry(), soon);
        outbox.expire(Instant::from_millis(5));
        assert_eq!(fates(&mut outbox), [(1, 1, Fate::Expired)]);
        assert_eq!(outbox.next_expiry(), None);
        assert_eq!(outbox.next_run(), Some((0, 1)));
        outbox.handed_over(1);
        assert_eq!(outbox.next_run(), Some((2, 1)));
        outbox.handed_over(1);
        outbox.drained(NOW, 0.0);
        assert_eq!(fates(&mut outbox), [(0, 1, Fate::Sent), (2, 1, Fate::Sent)]);
    }

    #[test]
    fn a_message_that_wants_to_be_sent_now_does_not_wait() {
        let mut outbox = outbox(10.0, 1000.0, Overflow::Reject);
        outbox.push(1, Delivery::Drop, None, false).unwrap();
        let rows = outbox.take_settled();
        assert!(rows.iter().all(|row| row.fate == Fate::Rejected && row.by_choice));
        assert_eq!(rows.len(), 1);
        outbox.push(1, Delivery::Drop, None, true).unwrap();
        assert_eq!(outbox.next_run(), Some((1, 1)));
    }

    #[test]
    fn doubt_is_bounded_in_number_and_in_time() {
        let mut outbox = outbox(1e6, 1e6, Overflow::Reject);
        (0..5000).for_each(|_| push(&mut outbox, 1));
        outbox.handed_over(5000);
        outbox.drained(NOW, 0.0);
        assert_eq!(outbox.first_open(), 5000 - DOUBT_MESSAGES);
        let due = outbox.next_belief().unwrap();
        outbox.believe(due, due);
        assert_eq!(outbox.first_open(), 5000);
    }

    #[test]
    fn a_machine_that_slept_has_seen_nothing_to_believe_in() {
        let mut outbox = outbox(1e6, 1e6, Overflow::Reject);
        push(&mut outbox, 1);
        outbox.handed_over(1);
        outbox.drained(NOW, 0.0);
        fates(&mut outbox);
        let due = outbox.next_belief().unwrap();
        outbox.believe(NOW.after(DOUBT_MS * 60), due);
        outbox.socket_lost(NOW.after(DOUBT_MS * 60), 0.0, End::Abrupt);
        assert_eq!(fates(&mut outbox), [(0, 1, Fate::Unknown)]);
    }

    #[test]
    fn a_kept_message_gives_way_to_a_newer_one_of_its_key_unless_it_may_have_arrived() {
        let mut outbox = outbox(10.0, 1000.0, Overflow::Reject);
        outbox.adopt(5, 6);
        outbox.keep(1, None, Some("pose".into()));
        outbox.keep(1, None, Some("pose".into()));
        outbox.push(1, Delivery::Latest("pose".into()), None, false).expect("there is room");
        assert_eq!(fates(&mut outbox), [(6, 1, Fate::Evicted)]);
    }

    #[test]
    fn what_another_page_has_taken_over_is_of_unknown_fate_and_numbers_go_on() {
        let mut outbox = outbox(10.0, 1000.0, Overflow::Reject);
        (0..3).for_each(|_| push(&mut outbox, 1));
        outbox.adopt(3, 3);
        assert_eq!(fates(&mut outbox), [(0, 3, Fate::Unknown)]);
        push(&mut outbox, 1);
        assert_eq!((outbox.waiting(), outbox.next_run()), (1, Some((3, 1))));
    }

    #[test]
    fn clearing_rejects_each_waiting_message_once() {
        let mut outbox = outbox(10.0, 1000.0, Overflow::Reject);
        (0..3).for_each(|_| push(&mut outbox, 1));
        outbox.clear();
        assert_eq!(fates(&mut outbox), [(0, 3, Fate::Rejected)]);
        assert_eq!((outbox.waiting(), outbox.next_run()), (0, None));
    }
}
