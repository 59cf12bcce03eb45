//! Defaults and names that the TypeScript side repeats, as files that its own tests read. `BLESS=1 cargo test` writes them.

use moorline::config::NUMBERS;
use moorline::error::{ApiMisuse, Cause, Fault, Rejection};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const CAUSES: [Cause; 15] = [
    Cause::AttemptsExhausted,
    Cause::Closed,
    Cause::CloseCode,
    Cause::HandshakeTimeout,
    Cause::Heartbeat,
    Cause::Lifecycle,
    Cause::Offline,
    Cause::Overloaded,
    Cause::PairingRequired,
    Cause::ProtocolUnsupported,
    Cause::Refused,
    Cause::ServerRestart,
    Cause::Transport,
    Cause::Unauthorized,
    Cause::UrlProvider,
];

/// Stops compiling when a cause is added, so that nobody forgets the list above.
const fn place(cause: Cause) -> usize {
    match cause {
        Cause::AttemptsExhausted => 0,
        Cause::Closed => 1,
        Cause::CloseCode => 2,
        Cause::HandshakeTimeout => 3,
        Cause::Heartbeat => 4,
        Cause::Lifecycle => 5,
        Cause::Offline => 6,
        Cause::Overloaded => 7,
        Cause::PairingRequired => 8,
        Cause::ProtocolUnsupported => 9,
        Cause::Refused => 10,
        Cause::ServerRestart => 11,
        Cause::Transport => 12,
        Cause::Unauthorized => 13,
        Cause::UrlProvider => 14,
    }
}

fn misuses() -> [ApiMisuse; 5] {
    [
        ApiMisuse::Config { option: "connectTimeoutMs", why: "is out of range" },
        ApiMisuse::CloseCode { code: 1001 },
        ApiMisuse::CloseReason,
        ApiMisuse::TooLarge,
        ApiMisuse::QueueFull,
    ]
}

/// JSON knows neither infinity nor the absence of a number.
fn number(value: f64) -> Value {
    if value.is_nan() {
        Value::Null
    } else if value.is_infinite() {
        json!("Infinity")
    } else {
        json!(value as i64)
    }
}

fn compare(name: &str, found: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = serde_json::to_string_pretty(found).expect("JSON") + "\n";
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, text).expect("a writable folder");
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "tests/golden/{name} differs; BLESS=1 cargo test writes it");
}

#[test]
fn the_numeric_options_are_those_of_the_golden_file() {
    for row in NUMBERS {
        for value in [row.least, row.most, row.default] {
            assert!(!value.is_finite() || value.fract() == 0.0, "{}: a whole number", row.option);
        }
    }
    let rows: Vec<Value> = NUMBERS
        .iter()
        .map(|row| {
            json!({"option": row.option, "least": number(row.least), "most": number(row.most),
                   "default": number(row.default)})
        })
        .collect();
    compare("options.json", &Value::Array(rows));
}

#[test]
fn the_names_of_causes_and_errors_are_those_of_the_golden_file() {
    for (index, cause) in CAUSES.iter().enumerate() {
        assert_eq!(place(*cause), index);
    }
    let causes: Vec<&str> = CAUSES.iter().map(|cause| cause.name()).collect();
    let faults: Vec<&str> = Fault::ALL.iter().map(|fault| fault.code()).collect();
    let misuses: Vec<&str> = misuses().iter().map(ApiMisuse::code).collect();
    let rejections: Vec<&str> = Rejection::ALL.iter().map(|rejection| rejection.code()).collect();
    compare("events.json", &json!({"causes": causes, "faults": faults, "misuses": misuses, "rejections": rejections}));
}
