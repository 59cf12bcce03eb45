//! Numbered traffic over the connections of a world: streams opened and fenced, messages taken once and acknowledged,
//! the feed, resumes answered, connections moved; and all of this done wrong on request. What is remembered of it is
//! the session's: crate::delivery.

use std::borrow::Cow;

use super::misconduct::{Request, ResumeFault};
use super::*;
use crate::delivery::{Cursor, StreamName};
use crate::frames::{Offered, Resumed};
use crate::journal::{Numbered, Outcome};
use crate::numbered::{Number, Parcel, numbered};

/// How long a connection whose stream went elsewhere is left to its client to close.
const FENCED_MS: u64 = 2_000;

/// What numbers have to do with one connection.
#[derive(Debug, Default)]
pub(super) struct Line {
    offered: bool,
    stream: Option<StreamName>,
    standing: Standing,
    owed: Owed,
    /// It was told to be elsewhere by this time.
    leaves: Option<Time>,
    late_resume: Option<Box<(ClientId, Resume)>>,
}

/// Whether a connection still speaks for its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Good,
    /// Another connection has its stream: nothing that it sends is heard, and it is closed at this time.
    Fenced(Time),
    /// It was told to end.
    Fallen,
}

/// The acknowledgements that a connection waits for.
#[derive(Debug, Default)]
struct Owed {
    messages: u64,
    due: Option<Time>,
    /// The newest that it was told.
    told: u64,
    /// The most messages that ever waited at once.
    most: u64,
}

/// A connection's numbers, for the control endpoint.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LineReport {
    stream: Option<StreamName>,
    fenced: bool,
    acknowledged: u64,
    unacknowledged: u64,
    most_unacknowledged: u64,
}

impl Line {
    pub(super) fn new(offered: bool) -> Self {
        Self { offered, ..Self::default() }
    }

    pub(super) fn offered(&self) -> bool {
        self.offered
    }

    pub(super) fn is_fenced(&self) -> bool {
        self.standing != Standing::Good
    }

    pub(super) fn take_late_resume(&mut self) -> Option<(ClientId, Resume)> {
        self.late_resume.take().map(|late| *late)
    }

    fn report(&self) -> LineReport {
        LineReport {
            stream: self.stream.clone(),
            fenced: self.is_fenced(),
            acknowledged: self.owed.told,
            unacknowledged: self.owed.messages,
            most_unacknowledged: self.owed.most,
        }
    }
}

impl World {
    pub fn line_report(&self, id: ConnectionId) -> Option<LineReport> {
        self.connections.get(&id).map(|connection| connection.line.report())
    }

    pub(super) fn offer(&mut self, id: ConnectionId) {
        let offered = self.connections.get(&id).is_some_and(|connection| connection.line.offered);
        let delivery = Offered { epoch: self.sessions.epoch(), window: self.config.delivery_window };
        let text = Said::GatewayOffer { ping: true, delivery: offered.then_some(delivery) }.text();
        self.effects.push(Effect::Send { to: id, message: Message::Text(text) });
    }

    /// What of a frame is to be heard, and what became of its number.
    pub(super) fn unpack<'a>(
        &mut self,
        now: Time,
        id: ConnectionId,
        text: &'a str,
    ) -> (Option<Numbered>, Option<Cow<'a, str>>) {
        let plain = (None, Some(Cow::Borrowed(text)));
        let Some(Connection { stage, line, .. }) = self.connections.get(&id) else {
            return plain;
        };
        let (Some(stream), Some(client)) = (line.stream.clone(), stage.client().cloned()) else {
            return plain;
        };
        let Parcel { number, content } = Parcel::read(text);
        let fenced = line.is_fenced();
        let number = match number {
            Number::Absent if fenced => {
                let ping = matches!(hear(text), Ok(Heard::Ping(_)));
                return (None, ping.then_some(content));
            }
            Number::Absent => return (None, Some(content)),
            Number::Bad => {
                self.totals.malformed += 1;
                return (None, None);
            }
            Number::Is(number) => number,
        };
        let outcome = if fenced {
            Outcome::Fenced
        } else if self.sessions.session_mut(&client).is_some_and(|session| session.delivery.take(&stream, number)) {
            Outcome::Taken
        } else {
            Outcome::Repeated
        };
        match outcome {
            Outcome::Taken => {
                if let Some(facts) = &mut self.facts {
                    let frame = text.to_owned();
                    facts.push(Fact::Taken { client, stream: stream.clone(), number, frame });
                }
                self.owe(now, id);
                self.break_off(id);
            }
            Outcome::Repeated => self.owe(now, id),
            Outcome::Fenced => {}
        }
        (Some(Numbered { stream, number, outcome }), (outcome == Outcome::Taken).then_some(content))
    }

    pub(super) fn open_stream(&mut self, now: Time, id: ConnectionId, stream: StreamName) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let Some(client) = connection.hears().filter(|_| connection.line.offered).cloned() else {
            self.totals.malformed += 1;
            return;
        };
        self.fence(now, id, &client, Some(&stream));
        self.name_stream(id, &client, stream);
    }

    /// Gives the connection its stream; tells how far that was taken.
    fn name_stream(&mut self, id: ConnectionId, client: &ClientId, stream: StreamName) -> Option<u64> {
        let used: Vec<StreamName> = self
            .connections
            .values()
            .filter(|connection| connection.stage.client() == Some(client))
            .filter_map(|connection| connection.line.stream.clone())
            .collect();
        let taken = self.sessions.session_mut(client)?.delivery.open(&stream, |name| used.contains(name));
        self.sessions.touch(client);
        let line = &mut self.connections.get_mut(&id)?.line;
        let told = taken.unwrap_or(0);
        if line.stream.as_ref() != Some(&stream) {
            line.owed = Owed { told, ..Owed::default() };
        }
        line.stream = Some(stream);
        taken
    }

    /// From here on nothing of the stream is taken from another connection of the session, and none of them hears.
    pub(super) fn fence(&mut self, now: Time, id: ConnectionId, client: &ClientId, stream: Option<&StreamName>) {
        let Some(stream) = stream else {
            return;
        };
        for (other, connection) in &mut self.connections {
            let same = connection.stage.client() == Some(client) && connection.line.stream.as_ref() == Some(stream);
            if *other != id && same && !connection.line.is_fenced() {
                connection.line.standing = Standing::Fenced(now.plus(FENCED_MS));
                self.rearm = true;
            }
        }
    }

    /// A line says how far it has had the feed.
    pub(super) fn acknowledged(&mut self, id: ConnectionId, seq: u64) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (Some(client), Some(stream)) = (connection.hears().cloned(), connection.line.stream.clone()) else {
            self.totals.malformed += 1;
            return;
        };
        let lags = self.connections.values().any(|connection| {
            let line = &connection.line;
            connection.hears() == Some(&client) && line.offered && line.stream.is_none()
        });
        if let Some(session) = self.sessions.session_mut(&client)
            && !session.delivery.seen(&stream, seq, lags)
        {
            self.totals.malformed += 1;
        }
    }

    /// Gives the resume back if it is to be answered now, and well or badly.
    pub(super) fn unhindered(&mut self, now: Time, id: ConnectionId, resume: Resume) -> Option<Resume> {
        let delay = self.misconduct.resume_delay_ms;
        let connection = self.connections.get_mut(&id)?;
        if self.misconduct.resume == ResumeFault::Never && spend(&mut self.misconduct.resume_times) {
            connection.stage = Stage::Muted { client: None };
            return None;
        }
        let waits = matches!(connection.stage, Stage::Waiting { .. } | Stage::Greeted { .. });
        if delay == 0 || !waits || connection.line.late_resume.is_some() {
            return Some(resume);
        }
        let client = self.sessions.recognise(&resume.token, now, &self.config).ok()?;
        let due = now.plus(delay);
        if let Stage::Waiting { until } | Stage::Greeted { until, .. } = &mut connection.stage {
            *until = due;
        }
        connection.line.late_resume = Some(Box::new((client, resume)));
        self.rearm = true;
        None
    }

    /// The answer to a resume, and the frames that were missed.
    pub(super) fn answer_resume(&mut self, id: ConnectionId, client: &ClientId, resume: &Resume) {
        let fault = match self.misconduct.resume {
            ResumeFault::None | ResumeFault::Never => ResumeFault::None,
            fault if spend(&mut self.misconduct.resume_times) => fault,
            _ => ResumeFault::None,
        };
        let offered = self.connections.get(&id).is_some_and(|connection| connection.line.offered);
        if !offered || fault == ResumeFault::Plain {
            return self.say(id, &Said::SessionResumed { client_id: client, delivery: None });
        }
        let named = resume.stream.is_some();
        let taken = resume.stream.clone().and_then(|stream| self.name_stream(id, client, stream));
        let Some(session) = self.sessions.session(client) else {
            return;
        };
        let feed = &session.delivery.feed;
        let (epoch, taken, cursor) = match (fault, resume.seen) {
            (ResumeFault::OtherEpoch, seen) => ("elsewhere", None, seen.map_or(Cursor::None, Cursor::Elsewhere)),
            (ResumeFault::WithoutTaken, _) => (self.sessions.epoch(), None, resume.cursor(self.sessions.epoch())),
            (ResumeFault::TakenAhead, _) => {
                let ahead = named.then(|| taken.unwrap_or(0) + 1_000_000);
                (self.sessions.epoch(), ahead, resume.cursor(self.sessions.epoch()))
            }
            (ResumeFault::None | ResumeFault::Never | ResumeFault::Plain, _) => {
                (self.sessions.epoch(), taken, resume.cursor(self.sessions.epoch()))
            }
        };
        let recovery = feed.resume(cursor);
        let delivery = Some(Resumed { epoch, taken, recovery });
        let answer = Said::SessionResumed { client_id: client, delivery }.text();
        let missed = feed.since(recovery.from).map(|(number, frame)| numbered(frame, number));
        let texts = std::iter::once(answer).chain(missed);
        self.effects.extend(texts.map(|text| Effect::Send { to: id, message: Message::Text(text) }));
    }

    /// Tells what must not be missed: each session's feed gets it, and keeps it for who is away.
    pub(super) fn publish(&mut self, audience: &Audience, text: &Utf8Bytes) {
        if !self.config.delivery {
            return self.tell(audience, text);
        }
        let keep = self.config.delivery_keep;
        let hearers = self.sessions.iter_mut().filter(|session| audience.has(&session.id));
        let numbers: BTreeMap<ClientId, u64> =
            hearers.map(|session| (session.id.clone(), session.delivery.feed.append(text.clone(), keep))).collect();
        if let Some(facts) = &mut self.facts {
            let to = numbers.iter().map(|(client, number)| (client.clone(), *number)).collect();
            facts.push(Fact::Fed { to, frame: text.as_str().to_owned() });
        }
        for (id, connection) in &self.connections {
            let Some(number) = connection.hears().and_then(|client| numbers.get(client)) else {
                continue;
            };
            let text = if connection.line.offered { numbered(text, *number) } else { text.clone() };
            self.effects.push(Effect::Send { to: *id, message: Message::Text(text) });
        }
    }

    /// Publishes a control request's frame; tells to how many sessions.
    pub fn feed(&mut self, target: &Target, frame: &str) -> usize {
        let text = Utf8Bytes::from(unnumbered(frame).into_owned());
        match target {
            Target::Everyone => self.publish(&Audience::Everyone, &text),
            Target::Client(client) => self.publish(&Audience::Only(client), &text),
        }
        self.sessions.iter().filter(|session| target.means(&session.id)).count()
    }

    /// Tells connections to go elsewhere, and closes those that are still there when the time is over, which need not
    /// be told.
    pub fn relocate(&mut self, now: Time, target: &Target, within_ms: u64, told: bool) -> usize {
        self.acknowledge_all();
        let targets = self.targets(target);
        let moving = Said::GatewayMoving { within_ms: told.then_some(within_ms) }.text();
        for id in &targets {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.line.leaves = Some(now.plus(within_ms));
                if connection.line.offered {
                    self.effects.push(Effect::Send { to: *id, message: Message::Text(moving.clone()) });
                }
            }
        }
        self.rearm = true;
        targets.len()
    }

    fn owe(&mut self, now: Time, id: ConnectionId) {
        let due = now.plus(self.config.delivery_ack_ms);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let owed = &mut connection.line.owed;
        owed.messages += 1;
        owed.most = owed.most.max(owed.messages);
        if owed.due.is_none() {
            owed.due = Some(due);
            self.rearm = true;
        }
    }

    /// Says what was taken, if that is a quarter of the window or is not to wait.
    pub(super) fn acknowledge_enough(&mut self, id: ConnectionId) {
        let enough = if self.config.delivery_ack_ms == 0 { 1 } else { (self.config.delivery_window / 4).max(1) };
        if self.connections.get(&id).is_some_and(|connection| connection.line.owed.messages >= enough) {
            self.acknowledge(id);
        }
    }

    /// Says what was taken, if the connection waits for it.
    pub(super) fn acknowledge(&mut self, id: ConnectionId) {
        let Some(Connection { stage, line, .. }) = self.connections.get_mut(&id) else {
            return;
        };
        line.owed.due = None;
        let (Some(stream), Some(client)) = (&line.stream, stage.client()) else {
            return;
        };
        let Some(session) = self.sessions.session(client) else {
            return;
        };
        let taken = session.delivery.taken(stream);
        if (line.owed.messages == 0 && line.owed.told >= taken) || line.is_fenced() {
            return;
        }
        if self.misconduct.hold_acks {
            return;
        }
        line.owed.messages = 0;
        if self.misconduct.drop_acks > 0 {
            self.misconduct.drop_acks -= 1;
            return;
        }
        line.owed.told = taken;
        self.say(id, &Said::DeliveryAck { seq: taken });
    }

    pub(super) fn acknowledge_all(&mut self) {
        for id in self.targets(&Target::Everyone) {
            self.acknowledge(id);
        }
    }

    /// Does what is due: acknowledges, and closes what was fenced off or told to leave.
    pub(super) fn keep_delivery_time(&mut self, now: Time) {
        let is_due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        let mut acknowledgements = Vec::new();
        for (id, connection) in &mut self.connections {
            let line = &mut connection.line;
            if is_due(line.owed.due) {
                acknowledgements.push(*id);
            }
            let (code, reason) = match line.standing {
                Standing::Fenced(at) if at <= now => {
                    line.standing = Standing::Fallen;
                    (1000, "another connection has its stream")
                }
                _ if is_due(line.leaves) => (1012, "told to move"),
                _ => continue,
            };
            // Told once: its client has the next word.
            line.leaves = None;
            self.effects.push(Effect::Close { to: *id, code, reason: Utf8Bytes::from_static(reason) });
        }
        for id in acknowledgements {
            self.acknowledge(id);
        }
    }

    pub(super) fn delivery_times(&self) -> impl Iterator<Item = Time> {
        self.connections.values().flat_map(|connection| {
            let line = &connection.line;
            let closes = match line.standing {
                Standing::Fenced(at) => Some(at),
                Standing::Good | Standing::Fallen => None,
            };
            [line.owed.due, closes, line.leaves].into_iter().flatten()
        })
    }

    /// Cuts the connection or stops the gateway, when the plan says that it is time.
    fn break_off(&mut self, id: ConnectionId) {
        if count_down(&mut self.misconduct.cut_after_taking) {
            self.effects.push(Effect::Abort { to: id });
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.line.standing = Standing::Fallen;
            }
        }
        if count_down(&mut self.misconduct.kill_after_taking) {
            self.effects.push(Effect::Die);
        }
    }

    pub fn misconduct(&self) -> &Misconduct {
        &self.misconduct
    }

    /// Takes over the plan, and does at once what is to be done at once.
    pub fn misbehave(&mut self, now: Time, request: Request) {
        let held = std::mem::replace(&mut self.misconduct, request.plan()).hold_acks;
        let target = request.to.as_deref().map_or(Target::Everyone, |to| Target::Client(ClientId::from(to)));
        for session in self.sessions.iter_mut().filter(|session| target.means(&session.id)) {
            let delivery = &mut session.delivery;
            if request.forget_streams {
                delivery.forget_streams();
            }
            if let Some(keep) = request.trim_feed {
                delivery.feed.trim(keep);
            }
            delivery.feed.skip(request.skip_feed);
        }
        for id in self.sessions.iter().map(|session| session.id.clone()).collect::<Vec<_>>() {
            self.sessions.touch(&id);
        }
        for id in self.targets(&target) {
            self.repeat(id, request.repeat_feed);
            let told = self.connections.get(&id).map_or(0, |connection| connection.line.owed.told);
            let acks = [
                (request.ack_ahead > 0).then(|| told.saturating_add(request.ack_ahead)),
                (request.ack_behind > 0).then(|| told.saturating_sub(request.ack_behind)),
                request.ack_again.then_some(told),
            ];
            for seq in acks.into_iter().flatten() {
                self.say(id, &Said::DeliveryAck { seq });
            }
        }
        if held && !self.misconduct.hold_acks {
            self.acknowledge_all();
        }
        if request.new_epoch {
            self.sessions.begin_epoch();
            self.abort(&Target::Everyone);
        }
        self.timeout(now);
    }

    fn repeat(&mut self, id: ConnectionId, frames: u64) {
        let Some(session) =
            self.connections.get(&id).and_then(Connection::hears).and_then(|c| self.sessions.session(c))
        else {
            return;
        };
        let feed = &session.delivery.feed;
        let again = feed.since((feed.newest() + 1).saturating_sub(frames));
        let texts: Vec<Utf8Bytes> = again.map(|(number, frame)| numbered(frame, number)).collect();
        self.effects.extend(texts.into_iter().map(|text| Effect::Send { to: id, message: Message::Text(text) }));
    }
}

/// Whether a fault still has a time left, of which one is spent.
fn spend(times: &mut Option<u64>) -> bool {
    match times {
        None => true,
        Some(0) => false,
        Some(left) => {
            *left -= 1;
            true
        }
    }
}

/// Whether the count is over with this one.
fn count_down(left: &mut u64) -> bool {
    let counting = *left > 0;
    *left = left.saturating_sub(1);
    counting && *left == 0
}
