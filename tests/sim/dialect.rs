//! What the JavaScript half of a protocol (src/web/) reads from a frame by itself, said once more: its type, its topic, what
//! it is counted by. A browser test compares the two on the same frames.

use serde_json::Value;

pub struct Dialect {
    /// The frames of one message; `None` where it is not the protocol's JSON.
    pub parse: fn(&str) -> Option<Vec<Value>>,
    pub frame_type: fn(&Value) -> Option<&str>,
    pub topic: fn(&Value) -> Option<&str>,
    pub order: fn(&Value) -> f64,
}

impl Dialect {
    pub fn of(protocol: &str) -> Self {
        match protocol {
            "nexus" => Self {
                parse: one,
                frame_type: |frame| frame.get("type")?.as_str(),
                topic: |_| None,
                order: |_| f64::NAN,
            },
            "observation" => Self {
                parse: one,
                frame_type: |frame| frame.get("kind")?.as_str(),
                topic: |frame| frame.pointer("/envelope/worker_id")?.as_str(),
                order: |frame| {
                    let digits = frame.pointer("/envelope/cursor").and_then(Value::as_str).unwrap_or_default();
                    let digits = digits.strip_prefix("bo_").unwrap_or_default();
                    u64::from_str_radix(digits, 16).map_or(f64::NAN, |number| number as f64)
                },
            },
            _ => panic!("{protocol} has no dialect here"),
        }
    }
}

fn one(text: &str) -> Option<Vec<Value>> {
    Some(vec![serde_json::from_str(text).ok()?])
}
