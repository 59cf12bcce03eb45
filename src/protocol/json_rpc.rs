//! JSON-RPC 2.0 (docs/protocols/json-rpc.md): calls in both directions, notifications, batches.
//!
//! The envelope and the table of the server's calls live here as well, for protocols that stand on JSON-RPC. Which frame
//! is what the page's half has seen (src/web/json-rpc.js); texts of results and parameters pass through unread.

use super::calls::{AfterLoss, Calls};
use super::{Becomes, Command, Context, Inbound, Protocol, RouteRow, Verb, Word};
use crate::config::Config;
use crate::error::{Fault, Rejection};
use crate::session::Snapshot;
use crate::wire::{CloseCode, Disposition, FrameId, Handle, Route, View, push_json_string, push_number};
use alloc::string::String;
use alloc::vec::Vec;

/// Names that begin with `rpc.` belong to the specification, so no method of the server's is called like one of these.
const BATCH: Route = Route(1);
const CALL: Route = Route(2);
const ANSWER: Route = Route(3);
const GARBLED: Route = Route(4);
const RESULT: Route = Route(5);
const TYPES: [(&str, Becomes); 6] = [
    ("rpc.batch", Becomes::Nothing),
    ("rpc.call", Becomes::Nothing),
    ("rpc.answer", Becomes::Nothing),
    ("rpc.garbled", Becomes::Nothing),
    // Nothing else can be wrong with it than that nobody waits for it.
    ("rpc.result", Becomes::Delta),
    ("rpc.error", Becomes::Event("rpc-error")),
];

const PARSE_ERROR: &str = r#"{"code":-32700,"message":"Parse error"}"#;
const INVALID_REQUEST: &str = r#"{"code":-32600,"message":"Invalid Request"}"#;
/// A code of the range that the specification leaves to servers.
pub const TOO_MANY: &str = r#"{"code":-32000,"message":"Too many calls wait"}"#;

/// So many of the server's calls may wait for the page.
const MOST_SERVED: usize = 256;

pub struct JsonRpc {
    calls: Calls,
    served: Served,
    ready: bool,
    /// Calls behind this handle are gathered for one batch.
    gathering: Option<Handle>,
    /// Batches that have not been sent: the handles on either side of their calls.
    batches: Vec<(Handle, Handle)>,
    /// So many of the calls that come next belong to the batch that came last.
    coming: u32,
    /// The server's batches that are not answered, each with its number, how many answers it waits for, and those it has.
    answering: Vec<(u32, u32, String)>,
    latest_batch: u32,
}

impl JsonRpc {
    pub fn new(config: &Config) -> Self {
        Self {
            calls: Calls::new(config),
            served: Served::default(),
            ready: false,
            gathering: None,
            batches: Vec::new(),
            coming: 0,
            answering: Vec::new(),
            latest_batch: 0,
        }
    }

    fn send_waiting(&mut self, cx: &mut Context<'_>) {
        if self.ready && self.gathering.is_none() {
            // What has not been sent stands behind what has.
            let unsent = self.calls.iter().rev().take_while(|call| !call.sent);
            let mut waiting: Vec<Handle> = unsent.map(|call| call.handle).collect();
            waiting.reverse();
            let mut gathered = String::new();
            let mut last = None;
            for handle in waiting {
                let batch = self.batches.iter().find(|(before, behind)| *before < handle && handle < *behind).copied();
                if batch != last {
                    send_batch(cx, &mut gathered);
                    last = batch;
                }
                let Some(call) = self.calls.find(handle) else { continue };
                call.sent = true;
                let one_way = call.verb == Verb::Notify;
                let mut id = String::new();
                if !one_way {
                    push_number(&mut id, u64::from(handle.0));
                }
                let text = request(&id, &call.method, &call.params);
                if batch.is_some() {
                    gathered.push(if gathered.is_empty() { '[' } else { ',' });
                    gathered.push_str(&text);
                } else {
                    cx.send_now(text);
                }
                if one_way {
                    self.calls.end(cx, handle, Word::Sent, FrameId::NONE);
                }
            }
            send_batch(cx, &mut gathered);
        }
        let calls = &self.calls;
        self.batches.retain(|(before, behind)| {
            calls.iter().any(|call| !call.sent && *before < call.handle && call.handle < *behind)
        });
        cx.wake_at(calls.next_deadline());
    }

    fn called(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let view = inbound.view;
        let mut batch = 0;
        if self.coming > 0 {
            self.coming -= 1;
            batch = self.latest_batch;
        }
        let scalar =
            view.string("params").is_some() || view.number("params").is_some() || view.boolean("params").is_some();
        let sound = view.string("jsonrpc").as_deref() == Some("2.0") && view.string("method").is_some() && !scalar;
        match id(view) {
            // A notification whose name only the specification may use.
            None if sound && !view.has("id") => cx.show(Route::NONE, inbound.frame),
            Some(id) if sound => {
                if !self.served.called(cx, id.clone(), batch, inbound.frame) {
                    self.answer(cx, batch, &answer("error", TOO_MANY, &id));
                }
            }
            _ => {
                cx.fault(Fault::Malformed);
                cx.show(Route::NONE, inbound.frame);
                self.answer(cx, batch, &answer("error", INVALID_REQUEST, "null"));
            }
        }
    }

    /// Sends an answer, or keeps it until its batch has all of them.
    fn answer(&mut self, cx: &mut Context<'_>, batch: u32, text: &str) {
        let Some(at) = self.answering.iter().position(|(number, ..)| *number == batch) else {
            cx.send_now(text.into());
            return;
        };
        if let Some((_, left, texts)) = self.answering.get_mut(at) {
            texts.push(if texts.is_empty() { '[' } else { ',' });
            texts.push_str(text);
            *left -= 1;
            if *left == 0 {
                let (_, _, mut texts) = self.answering.swap_remove(at);
                send_batch(cx, &mut texts);
            }
        }
    }

    fn forget_the_socket(&mut self, cx: &mut Context<'_>) {
        self.ready = false;
        self.coming = 0;
        self.answering.clear();
        self.served.lost(cx);
    }
}

impl Protocol for JsonRpc {
    fn subprotocols(&self) -> &'static [&'static str] {
        &[]
    }

    fn routes(&self) -> Vec<RouteRow> {
        TYPES.iter().map(|(frame_type, event)| RouteRow { frame_type: (*frame_type).into(), event: *event }).collect()
    }

    fn control_routes(&self) -> u32 {
        GARBLED.0
    }

    fn opened(&mut self, cx: &mut Context<'_>, _subprotocol: &str) {
        self.ready = true;
        cx.ready(false);
        self.send_waiting(cx);
    }

    /// A result is counted by its id, which is the handle of its call.
    fn admits(&mut self, route: Route, order: f64) -> bool {
        let handle = Handle(order as u32);
        route != RESULT || (f64::from(handle.0) == order && self.calls.close(handle))
    }

    fn received(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        match inbound.route {
            BATCH => {
                self.coming = inbound.view.number("count").unwrap_or_default() as u32;
                if self.coming > 0 {
                    self.latest_batch = self.latest_batch.wrapping_add(1).max(1);
                    self.answering.push((self.latest_batch, self.coming, String::new()));
                }
            }
            CALL => self.called(cx, inbound),
            ANSWER | RESULT => {
                answered(cx, &mut self.calls, inbound);
                cx.wake_at(self.calls.next_deadline());
            }
            GARBLED => {
                cx.fault(Fault::NotJson);
                cx.send_now(answer("error", PARSE_ERROR, "null"));
            }
            _ => cx.emit(inbound),
        }
    }

    fn timeout(&mut self, cx: &mut Context<'_>) {
        while self.calls.expire(cx).is_some() {}
        cx.wake_at(self.calls.next_deadline());
    }

    fn probe(&mut self, _cx: &mut Context<'_>) {}

    fn is_busy(&self) -> bool {
        !self.calls.is_empty() || !self.served.is_empty()
    }

    fn disconnected(&mut self, cx: &mut Context<'_>, _code: CloseCode) -> Option<Disposition> {
        self.forget_the_socket(cx);
        self.calls.lost(cx, |_| AfterLoss::Lost { safe: false });
        cx.wake_at(self.calls.next_deadline());
        None
    }

    fn ended(&mut self, cx: &mut Context<'_>) {
        self.forget_the_socket(cx);
        self.calls.lose_all(cx);
        self.batches.clear();
        cx.stop_timer();
    }

    fn command(&mut self, cx: &mut Context<'_>, command: Command) {
        let handle = command.handle;
        match command.verb {
            Verb::Request | Verb::Notify if fits(&command) => {
                self.calls.take_in(cx, command);
                self.send_waiting(cx);
            }
            Verb::Batch if command.number == Some(1.0) => self.gathering = Some(handle),
            Verb::Batch => {
                if let Some(before) = self.gathering.take() {
                    self.batches.push((before, handle));
                    self.send_waiting(cx);
                }
            }
            Verb::Cancel => {
                self.calls.end(cx, handle, Word::Cancelled, FrameId::NONE);
                cx.wake_at(self.calls.next_deadline());
            }
            Verb::Reply | Verb::Refuse => {
                if let Some((batch, text)) = self.served.answered(cx, command) {
                    self.answer(cx, batch, &text);
                }
            }
            Verb::Request | Verb::Notify | Verb::Run | Verb::Subscribe | Verb::Perform | Verb::Observe => {
                cx.reject(handle, Rejection::Unsupported);
            }
        }
    }

    fn save(&self) -> Option<Snapshot> {
        None
    }

    fn restore(&mut self, _snapshot: Option<Snapshot>) {}
}

fn send_batch(cx: &mut Context<'_>, gathered: &mut String) {
    if !gathered.is_empty() {
        gathered.push(']');
        cx.send_now(core::mem::take(gathered));
    }
}

/// Parameters are an object or an array, if there are any (section 4.2).
pub fn fits(command: &Command) -> bool {
    let [_, params, _] = &command.texts;
    params.as_deref().is_none_or(|params| matches!(params.as_bytes().first(), Some(b'{' | b'[')))
}

/// A call whose id is this JSON, or a notification where it is empty.
pub fn request(id: &str, method: &str, params: &str) -> String {
    let mut text = String::from(r#"{"jsonrpc":"2.0","#);
    if !id.is_empty() {
        text.push_str(r#""id":"#);
        text.push_str(id);
        text.push(',');
    }
    text.push_str(r#""method":"#);
    push_json_string(&mut text, method);
    if !params.is_empty() {
        text.push_str(r#","params":"#);
        text.push_str(params);
    }
    text.push('}');
    text
}

/// `what` is `result` or `error`, `id` is JSON.
pub fn answer(what: &str, json: &str, id: &str) -> String {
    let mut text = String::from(r#"{"jsonrpc":"2.0","#);
    push_json_string(&mut text, what);
    text.push(':');
    text.push_str(json);
    text.push_str(r#","id":"#);
    text.push_str(id);
    text.push('}');
    text
}

/// The handle of the call that a frame answers, if it ever was one.
pub fn asked(calls: &Calls, view: &dyn View) -> Option<Handle> {
    let id = view.number("id")?;
    let handle = Handle(id as u32);
    (f64::from(handle.0) == id && calls.was_asked(handle)).then_some(handle)
}

/// Ends the call that a frame answers. An answer that comes late is nobody's; one to what was never asked is nonsense.
pub fn answered(cx: &mut Context<'_>, calls: &mut Calls, inbound: Inbound<'_>) {
    let view = inbound.view;
    let result = view.has("result");
    // Both or neither is not an answer, and no better one will come.
    let sound = result != view.has("error") || (result && !view.has("error/code"));
    let handle = asked(calls, view);
    if !sound || handle.is_none() {
        cx.fault(Fault::Malformed);
    }
    match handle {
        Some(handle) => {
            let word = if sound && result { Word::Result } else { Word::Refused };
            calls.end(cx, handle, word, inbound.frame);
        }
        None => cx.show(Route::NONE, inbound.frame),
    }
}

/// The id of the server's call as JSON, to be said back; `None` where there is none that can be.
pub fn id(view: &dyn View) -> Option<String> {
    let mut text = String::new();
    if let Some(id) = view.string("id") {
        push_json_string(&mut text, &id);
    } else if let Some(id) = view.number("id") {
        push_decimal(&mut text, id)?;
    } else if view.has("id") && view.boolean("id").is_none() {
        text.push_str("null");
    } else {
        return None;
    }
    Some(text)
}

/// `None` for a number that takes more than twelve places behind the point, or is beyond what JSON can count.
fn push_decimal(text: &mut String, number: f64) -> Option<()> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let (mut whole, mut scale) = (number.abs(), 1.0);
    while whole as u64 as f64 != whole {
        scale *= 10.0;
        whole = number.abs() * scale;
        if scale > 1e12 {
            return None;
        }
    }
    if whole > EXACT {
        return None;
    }
    if number < 0.0 {
        text.push('-');
    }
    let (digits, scale) = (whole as u64, scale as u64);
    push_number(text, digits / scale);
    let mut rest = digits % scale;
    if scale > 1 {
        text.push('.');
        let mut place = scale / 10;
        while place > 0 {
            push_number(text, rest / place);
            rest %= place;
            place /= 10;
        }
    }
    Some(())
}

/// The server's calls of us that are not answered.
#[derive(Debug, Default)]
pub struct Served {
    /// Handle, id as JSON, batch.
    open: Vec<(Handle, String, u32)>,
    count: u32,
}

impl Served {
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Tells the page of one. `false`: there are too many.
    pub fn called(&mut self, cx: &mut Context<'_>, id: String, batch: u32, frame: FrameId) -> bool {
        if self.open.len() >= MOST_SERVED {
            return false;
        }
        self.count = self.count.wrapping_add(1);
        let handle = Handle::of_server(self.count);
        self.open.push((handle, id, batch));
        cx.tell(handle, Word::Called, frame);
        true
    }

    /// The page has answered one: its batch, and what to send. `None` where nobody waits for it any more.
    pub fn answered(&mut self, cx: &mut Context<'_>, command: Command) -> Option<(u32, String)> {
        let at = self.open.iter().position(|(handle, ..)| *handle == command.handle)?;
        let (handle, id, batch) = self.open.remove(at);
        cx.tell(handle, Word::Sent, FrameId::NONE);
        let [json, ..] = command.texts;
        let what = if command.verb == Verb::Reply { "result" } else { "error" };
        Some((batch, answer(what, json.as_deref().unwrap_or("null"), &id)))
    }

    /// Nobody waits for the answers any more.
    pub fn lost(&mut self, cx: &mut Context<'_>) {
        for (handle, ..) in self.open.drain(..) {
            cx.tell(handle, Word::Withdrawn, FrameId::NONE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn an_id_is_said_back_as_it_came_or_not_at_all() {
        for given in [
            json!(0),
            json!(7),
            json!(-1),
            json!(9_007_199_254_740_991_u64),
            json!(1.5),
            json!(-0.25),
            json!("a\"b"),
            json!(null),
            json!(12.0625),
        ] {
            let said = id(&json!({"id": given})).expect("it can be said");
            let back: Value = serde_json::from_str(&said).expect("JSON");
            assert_eq!(back.as_f64(), given.as_f64(), "{said}");
            assert_eq!(back.as_str(), given.as_str(), "{said}");
        }
        for given in [json!(1e300), json!(0.123_456_789_012_345_6), json!(true)] {
            assert_eq!(id(&json!({"id": given})), None, "{given}");
        }
        assert_eq!(id(&json!({})), None);
    }
}
