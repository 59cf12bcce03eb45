//! What the JavaScript half of a protocol (src/web/) reads from a frame by itself, said once more: its type, its topic, what
//! it is counted by. A browser test compares the two on the same frames.

use serde_json::{Value, json};

pub struct Dialect {
    /// The frames of one message; `None` where it is not the protocol's JSON.
    pub parse: fn(&str) -> Option<Vec<Value>>,
    pub frame_type: fn(&Value) -> Option<&str>,
    pub topic: fn(&Value) -> Option<&str>,
    pub order: fn(&Value) -> f64,
    /// Deltas have no topic: they are results, and their number is the handle.
    pub results: bool,
    /// The prefix of the events that frames without a route become.
    pub wildcard: Option<&'static str>,
}

impl Dialect {
    pub fn of(protocol: &str) -> Self {
        match protocol {
            "nexus" => Self {
                parse: one,
                frame_type: |frame| frame.get("type")?.as_str(),
                topic: |_| None,
                order: |_| f64::NAN,
                results: false,
                wildcard: None,
            },
            "action-cable" => Self {
                parse: one,
                // What has no type and brings a message is data.
                frame_type: |frame| match frame.get("type").unwrap_or(&Value::Null) {
                    Value::Null | Value::Bool(false) => frame.get("message").map(|_| ""),
                    Value::Number(zero) if zero.as_f64() == Some(0.0) => frame.get("message").map(|_| ""),
                    Value::String(empty) if empty.is_empty() => frame.get("message").map(|_| ""),
                    other => other.as_str(),
                },
                topic: |frame| frame.get("identifier")?.as_str(),
                order: |_| f64::NAN,
                results: false,
                wildcard: None,
            },
            "observation" => Self {
                parse: one,
                frame_type: |frame| frame.get("kind")?.as_str(),
                topic: |frame| frame.pointer("/envelope/worker_id")?.as_str(),
                order: |frame| {
                    let digits = frame.pointer("/envelope/cursor").and_then(Value::as_str).unwrap_or_default();
                    let digits = digits.strip_prefix("bo_").filter(|digits| digits.len() == 16).unwrap_or_default();
                    u64::from_str_radix(digits, 16).map_or(f64::NAN, |number| number as f64)
                },
                results: false,
                wildcard: None,
            },
            "json-rpc" => Self {
                parse: |text| Some(rpc_frames(text)),
                frame_type: |frame| {
                    let said = MARKS.into_iter().find(|mark| frame.get(mark).is_some());
                    said.map_or_else(|| rpc_type(frame), |mark| Some(&mark[1..]))
                },
                topic: |_| None,
                order: |frame| {
                    frame.get("result").and_then(|_| frame.get("id")).and_then(Value::as_f64).unwrap_or(f64::NAN)
                },
                results: true,
                wildcard: Some("rpc-"),
            },
            "openclaw" => Self {
                parse: one,
                frame_type: openclaw_type,
                topic: |frame| frame.pointer("/payload/runId")?.as_str(),
                order: |frame| frame.get("seq").and_then(Value::as_f64).unwrap_or(f64::NAN),
                results: false,
                wildcard: Some("openclaw-"),
            },
            "hermes" => Self {
                parse: |text| Some(hermes_frames(text)),
                frame_type: |frame| {
                    let mark = frame.get(MARKS[1]).is_some().then_some(&MARKS[1][1..]);
                    mark.or_else(|| hermes_type(frame))
                },
                topic: |frame| frame.pointer("/params/session_id")?.as_str(),
                order: |frame| frame.pointer("/params/seq").and_then(Value::as_f64).unwrap_or(f64::NAN),
                results: false,
                wildcard: Some("hermes-"),
            },
            _ => panic!("{protocol} has no dialect here"),
        }
    }
}

fn one(text: &str) -> Option<Vec<Value>> {
    Some(vec![serde_json::from_str(text).ok()?])
}

/// What the page's half says of a message by objects of its own; in JSON nothing of ours is safe from a server.
const MARKS: [&str; 2] = ["\0rpc.batch", "\0rpc.garbled"];

fn rpc_frames(text: &str) -> Vec<Value> {
    let Ok(message) = serde_json::from_str(text) else {
        return vec![json!({ MARKS[1]: true })];
    };
    let Value::Array(frames) = message else {
        return vec![message];
    };
    if frames.is_empty() {
        return vec![Value::Array(frames)];
    }
    let count = frames.iter().filter(|frame| rpc_type(frame) == Some("rpc.call")).count();
    let mark = (count > 0).then(|| json!({ MARKS[0]: true, "count": count }));
    mark.into_iter().chain(frames).collect()
}

fn rpc_type(frame: &Value) -> Option<&str> {
    let (id, params) = (frame.get("id"), frame.get("params"));
    let method = frame.get("method");
    let said = frame.get("result").is_some() || frame.get("error").is_some();
    let fits = matches!(params, None | Some(Value::Object(_) | Value::Array(_) | Value::Null));
    Some(match method.and_then(Value::as_str) {
        Some(method) if frame["jsonrpc"] == "2.0" && id.is_none() && fits && !method.starts_with("rpc.") => method,
        None if method.is_none() && frame.get("error").is_some() && id.is_none_or(Value::is_null) => "rpc.error",
        None if method.is_none() && frame.get("error").is_none() && said && id.is_some_and(Value::is_number) => {
            "rpc.result"
        }
        None if method.is_none() && said => "rpc.answer",
        _ => "rpc.call",
    })
}

fn openclaw_type(frame: &Value) -> Option<&str> {
    match frame.get("type")?.as_str()? {
        "res" => Some("res"),
        "event" => Some(match frame.get("event")?.as_str()? {
            "chat" if frame.pointer("/payload/state").is_some_and(|state| state == "delta") => "chat:delta",
            "agent" if frame.pointer("/payload/stream").is_none_or(|stream| stream != "assistant") => "agent:note",
            name => name,
        }),
        _ => None,
    }
}

/// A message has one frame, or one a line; what an answer brings of events and of open questions stands before it.
fn hermes_frames(text: &str) -> Vec<Value> {
    let messages: Vec<Value> = match serde_json::from_str(text) {
        Ok(message) => vec![message],
        Err(_) => {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!({ MARKS[1]: true }))).collect()
        }
    };
    let mut frames = Vec::new();
    for message in messages {
        let result = &message["result"];
        let list = |name: &str| result[name].as_array().cloned().unwrap_or_default();
        if result["truncated"] == false {
            let events = list("events").into_iter();
            frames.extend(events.map(|params| json!({"method": "event", "params": params, "replayed": true})));
        }
        frames.extend(list("open_requests"));
        frames.push(message);
    }
    frames
}

fn hermes_type(frame: &Value) -> Option<&str> {
    let id = frame.get("id").filter(|id| !id.is_null());
    match frame.get("method") {
        Some(method) if method == "event" && id.is_none() => {
            frame.pointer("/params/type")?.as_str().filter(|named| !named.starts_with("rpc."))
        }
        Some(_) => id.map(|_| "rpc.call"),
        None if frame.get("error").is_some() && id.is_none() => Some("rpc.error"),
        None => (frame.get("result").or_else(|| frame.get("error"))).map(|_| "rpc.answer"),
    }
}

#[test]
fn what_is_read_from_a_frame_is_what_the_golden_file_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/dialects.json");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON");
    for (protocol, messages) in golden.as_object().expect("protocols") {
        let dialect = Dialect::of(protocol);
        for message in messages.as_array().expect("messages") {
            let frames = (dialect.parse)(message["text"].as_str().expect("a text")).map(|frames| {
                let read = |frame: &Value| {
                    let order = (dialect.order)(frame);
                    let order = if order.is_nan() { Value::Null } else { serde_json::json!(order as i64) };
                    serde_json::json!({"type": (dialect.frame_type)(frame), "topic": (dialect.topic)(frame), "order": order})
                };
                frames.iter().map(read).collect::<Value>()
            });
            assert_eq!(frames.unwrap_or_default(), message["frames"], "{protocol}: {}", message["text"]);
        }
    }
}
