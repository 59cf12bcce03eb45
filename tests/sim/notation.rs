//! The notation of transcripts, one line per fact: `>` goes into the client, `<` comes out of it, `+` lets time pass; any
//! other line sets the stage. docs/protocols/nexus-world.md explains it to readers. No file is read here.

use crate::line::{Ask, Browser, Line, Seen};
use moorline::error::{ApiMisuse, Fault};
use moorline::outbox::{Delivery, Fate};
use moorline::protocol::{Command, Verb, Word};
use moorline::session::{Cursor, Snapshot, Stored};
use moorline::wire::{Handle, SocketId};
use moorline::{Input, Signal};
use serde_json::Value;

/// A transcript: the lines of a block with the number of each in its file.
pub struct Transcript {
    pub file: String,
    /// Which one is spoken, where the options do not say.
    pub protocol: &'static str,
    pub lines: Vec<(usize, String)>,
}

/// The stage that a transcript sets: a browser of which everything is said by the lines.
pub struct Stage {
    stored: Option<Result<Option<Stored>, Fault>>,
    provider_by_hand: bool,
    takes: Option<u32>,
    holds: f64,
}

impl Stage {
    /// One with the sessions' storage as told, where nothing else is out of the ordinary.
    pub fn storing(stored: Option<Stored>) -> Self {
        Self { stored: Some(Ok(stored)), provider_by_hand: false, takes: None, holds: 0.0 }
    }
}

impl Browser for Stage {
    fn restore(&mut self, _now: u64) -> Option<Result<Option<Stored>, Fault>> {
        self.stored.clone()
    }

    fn resolve(&mut self, _now: u64, _ticket: u32) -> Option<Result<Option<String>, ()>> {
        (!self.provider_by_hand).then_some(Ok(None))
    }

    fn open(&mut self, _now: u64, _socket: SocketId) {
        self.holds = 0.0;
    }

    fn write(&mut self, _now: u64, _socket: SocketId, id: Option<u32>, _text: &str) -> bool {
        match &mut self.takes {
            Some(0) if id.is_some() => return false,
            Some(takes) if id.is_some() => *takes -= 1,
            _ => {}
        }
        true
    }

    fn buffered(&self, _socket: SocketId) -> f64 {
        self.holds
    }

    fn close(&mut self, _now: u64, _socket: SocketId) {}

    fn persist(&mut self, _now: u64, _snapshot: Option<&Snapshot>) {}

    fn listen(&mut self, _name: &str, _detail: &Value) -> Vec<Ask> {
        Vec::new()
    }
}

struct Run<'a> {
    transcript: &'a Transcript,
    options: String,
    line: Option<Line<Stage>>,
    stage: Stage,
    /// What has come out and has not been named yet.
    out: Vec<String>,
    shown: usize,
}

impl Transcript {
    /// Runs it. The error is a sentence with the file, the line, what the page says and what the client did.
    pub fn run(&self) -> Result<(), String> {
        let mut run = Run {
            transcript: self,
            options: with_defaults("{}", self.protocol)?,
            line: None,
            stage: Stage::storing(None),
            out: Vec::new(),
            shown: 0,
        };
        let mut last = 0;
        for (number, text) in &self.lines {
            let text = without_comment(text);
            if text.is_empty() {
                continue;
            }
            if let Some(expected) = text.strip_prefix('<') {
                run.expect(*number, expected.trim())?;
            } else {
                run.nothing_left(*number)?;
                run.act(text).map_err(|why| format!("{}:{number}: {why}\n  {text}", self.file))?;
            }
            last = *number;
        }
        run.nothing_left(last + 1)
    }
}

impl Run<'_> {
    fn expect(&mut self, number: usize, expected: &str) -> Result<(), String> {
        let file = &self.transcript.file;
        if self.out.is_empty() {
            return Err(format!("{file}:{number}: nothing more came out\n  page:   < {expected}"));
        }
        if !agrees(expected, &self.out[0]) {
            let came: Vec<_> = self.out.iter().map(|line| format!("  client: < {line}\n")).collect();
            return Err(format!(
                "{file}:{number}: the client did something else\n  page:   < {expected}\n{}",
                came.concat()
            ));
        }
        self.out.remove(0);
        Ok(())
    }

    fn nothing_left(&self, number: usize) -> Result<(), String> {
        if self.out.is_empty() {
            return Ok(());
        }
        let came: Vec<_> = self.out.iter().map(|line| format!("\n  client: < {line}")).collect();
        Err(format!(
            "{}:{number}: before this line something came out that the page does not name{}",
            self.transcript.file,
            came.concat()
        ))
    }

    fn act(&mut self, text: &str) -> Result<(), String> {
        if let Some(step) = text.strip_prefix('+') {
            return self.pass(step);
        }
        if let Some(input) = text.strip_prefix('>') {
            self.input(input.trim())?;
            self.collect();
            return Ok(());
        }
        let (word, rest) = split(text);
        match word {
            "options" if self.line.is_none() => self.options = with_defaults(rest, self.transcript.protocol)?,
            "stored" if self.line.is_none() => self.stage.stored = stored(rest)?,
            "provider" if rest == "by hand" => self.stage().provider_by_hand = true,
            "socket" => match split(rest) {
                ("takes", count) => self.stage().takes = Some(parse(count)?),
                ("holds", bytes) => self.stage().holds = parse(bytes)?,
                _ => return Err("a socket `takes` or `holds`".into()),
            },
            _ => return Err("not a line of the notation, or not in this place".into()),
        }
        Ok(())
    }

    fn stage(&mut self) -> &mut Stage {
        match &mut self.line {
            Some(line) => &mut line.browser,
            None => &mut self.stage,
        }
    }

    fn line(&mut self) -> &mut Line<Stage> {
        let stage = &mut self.stage;
        self.line.get_or_insert_with(|| {
            let taken =
                std::mem::replace(stage, Stage { stored: None, provider_by_hand: false, takes: None, holds: 0.0 });
            Line::new(&self.options, 1, taken)
        })
    }

    fn input(&mut self, text: &str) -> Result<(), String> {
        if let Err(misuse) = input(self.line(), text)? {
            self.out.push(format!("throws {}", misuse.code()));
        }
        Ok(())
    }

    /// Lets time pass. What comes out has to come out at the end of it, so that a page cannot be vague about when.
    fn pass(&mut self, step: &str) -> Result<(), String> {
        let line = self.line();
        let end = match step.trim().strip_suffix("ms") {
            Some(millis) => line.now + parse::<u64>(millis.trim())?,
            None if step.trim() == "next" => line.due.ok_or("no timer is running")?,
            None => return Err("time is `+740ms` or `+next`".into()),
        };
        loop {
            let line = self.line();
            let Some(due) = line.due.filter(|due| *due <= end) else {
                break;
            };
            line.now = due.max(line.now);
            line.ring();
            self.collect();
            if !self.out.is_empty() && due < end {
                return Err(format!("{} ms earlier: {}", end - due, self.out.join("\n  client: < ")));
            }
        }
        self.line().now = end;
        Ok(())
    }

    fn collect(&mut self) {
        let from = self.shown;
        let line = self.line();
        let by_hand = line.browser.provider_by_hand;
        let silent = line.browser.stored.is_none();
        let seen = line.seen[from..].iter();
        let mut out: Vec<String> = seen.filter_map(|(_, seen)| show(seen, by_hand, silent)).collect();
        self.shown = line.seen.len();
        self.out.append(&mut out);
    }
}

/// Does what a line behind `>` says. The outer error is about the line, the inner one is what the page gets thrown.
pub fn input<B: Browser>(line: &mut Line<B>, text: &str) -> Result<Result<(), ApiMisuse>, String> {
    let (word, rest) = split(text);
    let done = match word {
        "connect" => line.ask(Ask::Connect),
        "dispose" => line.ask(Ask::Dispose),
        "disconnect" if rest.is_empty() => line.ask(Ask::Disconnect),
        "disconnect" => {
            let (code, reason) = split(rest);
            line.disconnect(parse(code)?, reason)
        }
        "send" => {
            let (how, frame) = rest.split_at(rest.find('{').ok_or("a frame is an object")?);
            let (delivery, ttl_ms) = delivery(how.trim())?;
            line.send(frame.into(), delivery, ttl_ms)
        }
        "adopt" => {
            let (stream, numbers) = split(rest);
            let (base, tried) = split(numbers);
            line.adopt(stream, parse(base)?, parse(tried)?);
            Ok(())
        }
        "kept" => {
            let (how, frame) = rest.split_at(rest.find('{').ok_or("a frame is an object")?);
            line.keep(frame.into(), delivery(how.trim())?.1);
            Ok(())
        }
        "skipped" => {
            line.skip(parse(rest)?);
            Ok(())
        }
        "clear" => line.feed(Input::Clear),
        "renew" => line.feed(Input::Renew),
        "away" => line.feed(Input::Signal(Signal::PutAway)),
        "session" => line.feed(Input::Session(snapshot(rest)?)),
        "stored" => match stored(rest)? {
            Some(found) => line.feed(Input::Restored(found)),
            None => return Err("silence is no answer".into()),
        },
        "resolved" => line.feed(Input::Resolved {
            ticket: line.latest_ticket(),
            answer: Ok((!rest.is_empty()).then(|| rest.into())),
        }),
        "unresolved" => line.feed(Input::Resolved { ticket: line.latest_ticket(), answer: Err(()) }),
        "online" => line.feed(Input::Signal(Signal::Online)),
        "offline" => line.feed(Input::Signal(Signal::Offline)),
        "visible" => line.feed(Input::Signal(Signal::Visible)),
        "hidden" => line.feed(Input::Signal(Signal::Hidden)),
        "back" => line.feed(Input::Signal(Signal::Restored)),
        "resumed" => line.feed(Input::Signal(Signal::Resumed)),
        "slept" => line.feed(Input::Signal(Signal::Woke)),
        "opened" => {
            let (id, subprotocol) = split(rest);
            line.opened_with(socket(id)?, subprotocol);
            Ok(())
        }
        "answer" => {
            let (ticket, texts) = split(rest);
            line.feed(Input::Answered { ticket: parse(ticket)?, texts: texts_of(texts)? })
        }
        "received" => {
            let (id, frame) = split(rest);
            line.received(socket(id)?, frame);
            Ok(())
        }
        "binary" => line.feed(Input::Garbled { socket: socket(rest)?, fault: Fault::Binary }),
        "closed" => {
            let (id, rest) = split(rest);
            let (code, rest) = split(rest);
            let (clean, reason) = match split(rest) {
                ("clean", reason) => (true, reason),
                _ => (false, rest),
            };
            line.closed(socket(id)?, parse(code)?, reason, clean);
            Ok(())
        }
        _ => match verb(word) {
            Some(verb) => line.feed(Input::Command(command(verb, rest)?)),
            None => return Err("not an input".into()),
        },
    };
    Ok(done)
}

/// A line for a fact; none for what the stage answers by itself, and for what merely went well.
fn show(seen: &Seen, by_hand: bool, silent: bool) -> Option<String> {
    Some(match seen {
        Seen::Restore if silent => "restore".into(),
        Seen::Resolve(_) if by_hand => "resolve".into(),
        Seen::Restore | Seen::Resolve(_) => return None,
        Seen::Open(socket, address) => format!("open #{socket} {address}").trim_end().into(),
        Seen::Transmit(socket, text) => format!("transmit #{socket} {text}"),
        Seen::Sent(socket, _, text) => format!("send #{socket} {text}"),
        Seen::Close(socket, code, reason) => format!("close #{socket} {code} {reason}").trim_end().into(),
        Seen::Persist(None) => "persist nothing".into(),
        Seen::Persist(Some(snapshot)) => {
            let mut kept = serde_json::json!({"token": snapshot.token});
            if let Some(id) = &snapshot.client_id {
                kept["clientId"] = id.as_str().into();
            }
            if let Some(cursor) = &snapshot.cursor {
                kept["epoch"] = cursor.epoch.as_str().into();
                kept["seen"] = (cursor.seen as u64).into();
            }
            format!("persist {kept}")
        }
        Seen::Settled { fate: Fate::Sent, .. } => return None,
        Seen::Settled { id, fate, .. } => format!("receipt {id} {}", fate_name(*fate)),
        Seen::Event { name, detail } => format!("event {name} {detail}"),
        Seen::Told { handle, word, number, text, frame } => {
            let mut line = format!("told {} {}", handle_name(*handle), word_name(*word));
            if *number != 0.0 {
                line.push_str(&format!(" {number}"));
            }
            if !text.is_empty() {
                line.push_str(&format!(" {text}"));
            }
            if let Some(frame) = frame {
                line.push_str(&format!(" {frame}"));
            }
            line
        }
        Seen::Bind(topic, Some(handle)) => format!("bind {} {topic}", handle_name(*handle)),
        Seen::Bind(topic, None) => format!("unbind {topic}"),
        Seen::Ask(ticket, what, text) => format!("ask {ticket} {what} {text}").trim_end().into(),
    })
}

/// The page's handles go by their number, the server's by `s1`, `s2`.
fn handle_name(handle: Handle) -> String {
    match handle.0 & !(1 << 31) {
        number if number == handle.0 => number.to_string(),
        number => format!("s{number}"),
    }
}

fn handle(text: &str) -> Result<Handle, String> {
    match text.strip_prefix('s') {
        Some(number) => Ok(Handle::of_server(parse(number)?)),
        None => Ok(Handle(parse(text)?)),
    }
}

const fn word_name(word: Word) -> &'static str {
    match word {
        Word::Result => "result",
        Word::Refused => "refused",
        Word::TimedOut => "timed-out",
        Word::Lost => "lost",
        Word::Cancelled => "cancelled",
        Word::Rejected => "rejected",
        Word::Sent => "sent",
        Word::Started => "started",
        Word::Delta => "delta",
        Word::Final => "final",
        Word::Failed => "failed",
        Word::Stopped => "stopped",
        Word::Resumed => "resumed",
        Word::Restarted => "restarted",
        Word::Gap => "gap",
        Word::Note => "note",
        Word::Confirmed => "confirmed",
        Word::Away => "away",
        Word::Began => "began",
        Word::Called => "called",
        Word::Withdrawn => "withdrawn",
    }
}

fn verb(word: &str) -> Option<Verb> {
    Some(match word {
        "request" => Verb::Request,
        "run" => Verb::Run,
        "notify" => Verb::Notify,
        "cancel" => Verb::Cancel,
        "reply" => Verb::Reply,
        "refuse" => Verb::Refuse,
        "subscribe" => Verb::Subscribe,
        "perform" => Verb::Perform,
        "observe" => Verb::Observe,
        "batch" => Verb::Batch,
        _ => return None,
    })
}

/// `request 1 method timeout:500 key:k {...}`: handle, then plain words, then JSON, which goes as the text behind the words.
fn command(verb: Verb, rest: &str) -> Result<Command, String> {
    let (id, rest) = split(rest);
    let mut made = Command { verb, handle: handle(id)?, texts: [None, None, None], number: None };
    let mut texts = Vec::new();
    let mut rest = rest;
    while !rest.is_empty() {
        if rest.starts_with(['{', '[', '"']) {
            texts.push(rest.to_owned());
            break;
        }
        if let Some(key) = rest.strip_prefix("key:").filter(|key| key.starts_with('"')) {
            let mut keys = serde_json::Deserializer::from_str(key).into_iter::<String>();
            made.texts[2] = keys.next().and_then(Result::ok);
            rest = key[keys.byte_offset()..].trim();
            continue;
        }
        let (word, behind) = split(rest);
        rest = behind;
        match word.split_once(':') {
            None if word == "begins" => made.number = Some(1.0),
            Some(("timeout", millis)) if verb == Verb::Perform => made.texts[2] = Some(millis.into()),
            Some(("timeout" | "since", number)) => made.number = Some(parse(number)?),
            Some(("as", kind)) => made.texts[1] = Some(kind.into()),
            Some(("to", of)) => made.number = Some(f64::from(handle(of)?.0)),
            Some(("key", key)) => made.texts[2] = Some(key.into()),
            _ => texts.push(word.to_owned()),
        }
    }
    for (slot, text) in made.texts.iter_mut().zip(texts) {
        *slot = Some(text);
    }
    Ok(made)
}

/// JSON strings in a row, each a text; `null` is none.
fn texts_of(text: &str) -> Result<[Option<String>; 3], String> {
    let mut texts = [None, None, None];
    let given = serde_json::Deserializer::from_str(text).into_iter::<Option<String>>();
    for (slot, text) in texts.iter_mut().zip(given) {
        *slot = text.map_err(|why| format!("{text:?}: {why}", text = why.to_string()))?;
    }
    Ok(texts)
}

const fn fate_name(fate: Fate) -> &'static str {
    match fate {
        Fate::Sent => "sent",
        Fate::Acked => "acked",
        Fate::Expired => "expired",
        Fate::Evicted => "evicted",
        Fate::Rejected => "rejected",
        Fate::Unknown => "unknown",
    }
}

/// Whether what came out is what the page says. Of a `ws-` event the page may name the fields it cares for; everything
/// else is said in full. A number may be given as a range: `"5000..30000"`.
fn agrees(expected: &str, came: &str) -> bool {
    let (expected_words, expected_json) = words_and_json(expected);
    let (came_words, came_json) = words_and_json(came);
    if expected_words != came_words {
        return false;
    }
    let of_the_line =
        (came_words.starts_with("event ws-") && came_words != "event ws-unhandled") || came_words.starts_with("told ");
    match (expected_json, came_json) {
        (None, None) => true,
        (None, Some(_)) => of_the_line,
        (Some(_), None) => false,
        (Some(Value::Object(expected)), Some(Value::Object(came))) if of_the_line => {
            expected.iter().all(|(key, value)| came.get(key).is_some_and(|came| value_agrees(value, came)))
        }
        (Some(expected), Some(came)) if expected.get(REST).is_some() => value_agrees(&expected, &came),
        (Some(expected), Some(came)) => expected == came,
    }
}

/// An object with this name in it says only some of what is there.
const REST: &str = "...";

fn value_agrees(expected: &Value, came: &Value) -> bool {
    if let (Value::Object(expected), Value::Object(came)) = (expected, came)
        && expected.contains_key(REST)
    {
        let mut named = expected.iter().filter(|(key, _)| *key != REST);
        return named.all(|(key, value)| came.get(key).is_some_and(|came| value_agrees(value, came)));
    }
    let range = expected.as_str().and_then(|text| text.split_once(".."));
    match (range, came.as_f64()) {
        (Some((least, most)), Some(came)) => match (least.parse::<f64>(), most.parse::<f64>()) {
            (Ok(least), Ok(most)) => (least..=most).contains(&came),
            _ => false,
        },
        _ => expected == came,
    }
}

fn words_and_json(text: &str) -> (&str, Option<Value>) {
    // The third word may be any JSON: a frame need not be an object.
    let first = text.match_indices(' ').nth(1).map(|(at, _)| at + 1);
    for at in [first, text.find('{')].into_iter().flatten() {
        let (words, json) = text.split_at(at);
        let numeric = json.starts_with(|c: char| c.is_ascii_digit());
        if let (Ok(value), false) = (serde_json::from_str(json), numeric) {
            return (words.trim_end(), Some(value));
        }
    }
    (text, None)
}

fn without_comment(text: &str) -> &str {
    let text = text.trim();
    if text.starts_with('#') {
        return "";
    }
    // Two spaces before it tell a comment from a socket's number.
    text.find("  # ").map_or(text, |at| &text[..at]).trim()
}

fn split(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (word, rest.trim())
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|why| format!("{text:?}: {why}"))
}

fn socket(text: &str) -> Result<SocketId, String> {
    let number = text.strip_prefix('#').ok_or("a socket is written #1")?;
    Ok(SocketId(parse(number)?))
}

fn delivery(text: &str) -> Result<(Delivery, Option<f64>), String> {
    let (mut how, mut ttl_ms) = (Delivery::Queue, None);
    for word in text.split_whitespace() {
        match word.split_once(':') {
            Some(("latest", key)) => how = Delivery::Latest(key.into()),
            Some(("ttl", millis)) => ttl_ms = Some(parse(millis)?),
            _ if word == "drop" => how = Delivery::Drop,
            _ => return Err(format!("{word:?}: a send is plain, `drop`, `latest:key` or `ttl:500`")),
        }
    }
    Ok((how, ttl_ms))
}

fn snapshot(text: &str) -> Result<Option<Snapshot>, String> {
    if text == "nothing" {
        return Ok(None);
    }
    let found = json(text)?;
    Ok(Some(Snapshot {
        token: found["token"].as_str().ok_or("a session has a token")?.into(),
        client_id: found["clientId"].as_str().map(Into::into),
        cursor: cursor(&found),
    }))
}

fn cursor(found: &Value) -> Option<Cursor> {
    Some(Cursor { epoch: found["epoch"].as_str()?.into(), seen: found["seen"].as_f64()? })
}

fn stored(text: &str) -> Result<Option<Result<Option<Stored>, Fault>>, String> {
    Ok(Some(match text {
        "nothing" => Ok(None),
        "denied" => Err(Fault::StorageDenied),
        "corrupt" => Err(Fault::StorageCorrupt),
        "silent" => return Ok(None),
        _ => {
            let found = json(text)?;
            Ok(Some(Stored {
                token: found["token"].as_str().map(Into::into),
                client_id: found["clientId"].as_str().map(Into::into),
                cursor: cursor(&found),
                age_ms: found["ageMs"].as_f64(),
            }))
        }
    }))
}

/// A page can hardly write down a random wait: jitter is off unless the options say otherwise.
fn with_defaults(text: &str, protocol: &str) -> Result<String, String> {
    let mut options = json(text)?;
    if options["protocol"].is_null() {
        options["protocol"] = protocol.into();
    }
    if options["reconnect"]["jitter"].is_null() {
        options["reconnect"]["jitter"] = "none".into();
    }
    Ok(options.to_string())
}
