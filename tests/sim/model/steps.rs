//! Bytes → what a run is about and what is done in it. Any bytes are a valid run: a byte that is missing is 0, and one that
//! is out of range is taken round. Nothing is performed here.

use crate::gateway::{Acks, Gateway, Greet, Terms};
use crate::world::Provider;
use moorline::Signal;
use moorline::outbox::Delivery;
use serde_json::json;

/// A run has no more steps than this.
const MOST_STEPS: usize = 400;

/// Everything that can be done to a line, its page, its network and its gateway.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    // The page.
    Send {
        count: u8,
        bytes: u8,
        delivery: Delivery,
        ttl_ms: Option<u16>,
    },
    Connect,
    Disconnect,
    Renew,
    /// What it does on hearing an event.
    When(&'static str, Reaction),
    Signal(Signal),
    Reload,
    Crash,
    /// It is disposed of, and time goes on before another takes its place.
    Dispose,
    // Time.
    Wait(u16),
    /// Its timers do not run for so long.
    Doze(u16),
    Jump(u32),
    // The network.
    Stall,
    StallOld,
    Heal,
    Cut,
    LoseTheOtherEnd,
    Refuse(bool),
    Kernel(usize),
    Takes(Option<u32>),
    Provider(Provider),
    /// Something comes that no gateway of ours says.
    Garble(&'static str),
    // The gateway.
    Close(u16),
    Advise(u16, Option<u16>),
    AnnounceEnd,
    AnnounceMove(u16),
    Say,
    Feed(u8),
    RepeatFeed(u8),
    SkipFeed(u8),
    TrimFeed,
    ForgetTokens,
    ForgetStreams,
    AnswerProbes(bool),
    Restart {
        remembers: bool,
        delivery: bool,
    },
    /// It takes the next messages, and their connection ends before it says so.
    KillAfterTaking(u8),
    Acknowledge(Acks),
    AcknowledgeAhead,
    AcknowledgeBehind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    Connect,
    Disconnect,
    Send,
}

/// What a run is about.
#[derive(Clone, Debug)]
pub struct Setup {
    pub options: String,
    pub gateway: Gateway,
    pub latency: (u64, u64),
    pub storage: Kept,
    pub pages: usize,
    /// Its pages keep their messages across a reload.
    pub keeps: bool,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Nothing,
    Session,
    Denied,
    Silent,
}

struct Bytes<'a>(std::slice::Iter<'a, u8>);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()].clone()
    }

    fn one_in(&mut self, count: u8) -> bool {
        self.byte() % count == count - 1
    }
}

pub fn decode(bytes: &[u8]) -> (Setup, Vec<Step>) {
    let mut bytes = Bytes(bytes.iter());
    let setup = setup(&mut bytes);
    let mut steps = Vec::new();
    while !bytes.0.as_slice().is_empty() && steps.len() < MOST_STEPS {
        steps.push(step(&mut bytes));
    }
    (setup, steps)
}

fn setup(bytes: &mut Bytes<'_>) -> Setup {
    let delivery = bytes.one_in(2).then(|| Terms {
        window: bytes.pick(&[256, 1, 2, 8, 65_536]),
        keeps: bytes.pick(&[1000, 0, 3, 20]),
        acks: acks(bytes),
    });
    let gateway = Gateway {
        greet: bytes.pick(&[Greet::After(150), Greet::AtOnce, Greet::After(0), Greet::After(400)]),
        offers: bytes.one_in(2),
        confirms: bytes.one_in(2),
        answers_probes: !bytes.one_in(8),
        echoes: bytes.one_in(2),
        snapshots: bytes.one_in(2),
        delivery,
        ..Gateway::default()
    };
    let mut options = json!({
        "reconnect": {"baseDelayMs": bytes.pick(&[200, 1, 4000]), "stableMs": bytes.pick(&[5000, 0, 1000])},
        "queue": {
            "maxMessages": bytes.pick(&[1000, 4, 30]),
            "maxBytes": bytes.pick(&[1_000_000, 300]),
            "overflow": bytes.pick(&["reject", "drop-oldest", "drop-newest"]),
        },
    });
    // Against a gateway that says nothing and cannot be asked, this would mean what it says: the silence is the end.
    if gateway.offers && bytes.one_in(2) {
        options["heartbeat"]["idleMs"] = json!(bytes.pick(&[3000, 500]));
    }
    if bytes.one_in(3) {
        options["connectTimeoutMs"] = json!(bytes.pick(&[900, 100]));
    }
    if bytes.one_in(3) {
        options["hidden"] = json!(bytes.pick(&["park", "slow"]));
        options["hiddenAfterMs"] = json!(bytes.pick(&[400, 0, 3000]));
    }
    if bytes.one_in(8) {
        options["reconnect"]["maxAttempts"] = json!(bytes.pick(&[3, 0, 1]));
    }
    Setup {
        options: options.to_string(),
        gateway,
        latency: bytes.pick(&[(20, 20), (0, 0), (5, 400)]),
        storage: bytes.pick(&[Kept::Nothing, Kept::Session, Kept::Denied, Kept::Silent]),
        pages: if bytes.one_in(4) { 2 } else { 1 },
        keeps: bytes.one_in(2),
        seed: u64::from(bytes.byte()) << 8 | u64::from(bytes.byte()),
    }
}

fn acks(bytes: &mut Bytes<'_>) -> Acks {
    bytes.pick(&[Acks::Within(50), Acks::Each, Acks::Within(2000), Acks::WhenAsked])
}

fn step(bytes: &mut Bytes<'_>) -> Step {
    match bytes.byte() % 100 {
        0..=25 => Step::Send {
            count: bytes.pick(&[1, 1, 2, 3, 5, 40]),
            bytes: bytes.byte() % 64,
            delivery: match bytes.byte() % 8 {
                5 => Delivery::Drop,
                6 => Delivery::Latest("a".into()),
                7 => Delivery::Latest("b".into()),
                _ => Delivery::Queue,
            },
            ttl_ms: match bytes.byte() % 4 {
                3 => Some(bytes.pick(&[1000, 0, 30, 5000])),
                _ => None,
            },
        },
        26..=28 => Step::Connect,
        29 => Step::Disconnect,
        30..=32 => Step::When(
            bytes.pick(&[
                "ws-connected",
                "ws-disconnected",
                "session-init",
                "ws-reconnecting",
                "ws-error",
                "chat-message",
            ]),
            bytes.pick(&[Reaction::Send, Reaction::Connect, Reaction::Disconnect]),
        ),
        33..=37 => Step::Signal(bytes.pick(&[
            Signal::Visible,
            Signal::Online,
            Signal::Offline,
            Signal::Restored,
            Signal::Resumed,
            Signal::PutAway,
            Signal::Hidden,
            Signal::Woke,
        ])),
        38 => Step::Reload,
        39 => Step::Crash,
        40 => Step::Dispose,
        41..=56 => Step::Wait(bytes.pick(&[0, 1, 30, 200, 1500, 6000, 20_000])),
        57..=58 => Step::Doze(bytes.pick(&[1500, 30, 6000, 40_000])),
        59 => Step::Jump(bytes.pick(&[3_600_000, 5000, 100_000])),
        60 => Step::Stall,
        61 => Step::StallOld,
        62..=64 => Step::Heal,
        65..=66 => Step::Cut,
        67 => Step::LoseTheOtherEnd,
        68 => Step::Refuse(bytes.one_in(2)),
        69 => Step::Kernel(bytes.pick(&[1 << 20, 16, 40, 200])),
        70 => Step::Takes(bytes.pick(&[None, Some(0), Some(2)])),
        71 => Step::Provider(bytes.pick(&[Provider::None, Provider::After(30), Provider::Fails, Provider::Hangs])),
        72 => Step::Garble(bytes.pick(&GARBAGE)),
        73..=74 => Step::Close(bytes.pick(&[1006, 1000, 1001, 1011, 1012, 1013, 4000, 4401, 4408, 4429, 1008])),
        75 => Step::Advise(bytes.pick(&[100, 0, 3000]), bytes.pick(&[Some(1000), None, Some(0)])),
        76 => Step::AnnounceEnd,
        77 => Step::Say,
        78..=82 => Step::Feed(bytes.pick(&[1, 3, 30, 100])),
        83 => Step::RepeatFeed(bytes.pick(&[1, 5, 50])),
        84 => Step::SkipFeed(bytes.pick(&[1, 3])),
        85 => Step::TrimFeed,
        86 => Step::ForgetTokens,
        87 => Step::ForgetStreams,
        88 => Step::AnswerProbes(!bytes.one_in(3)),
        89..=90 => Step::Restart { remembers: !bytes.one_in(3), delivery: !bytes.one_in(4) },
        91..=92 => Step::KillAfterTaking(bytes.pick(&[1, 2, 5])),
        93 => Step::Acknowledge(acks(bytes)),
        94 => Step::AcknowledgeAhead,
        95..=96 => Step::Renew,
        97..=98 => Step::AnnounceMove(bytes.pick(&[2000, 0, 100, 10_000])),
        _ => Step::AcknowledgeBehind,
    }
}

/// Texts that are no frame, or frames of known types that lack what the type needs.
pub const GARBAGE: [&str; 12] = [
    "{\"type\":",
    "",
    "null",
    "[]",
    "{}",
    "{\"type\":7}",
    "{\"type\":\"ws-connected\"}",
    "{\"type\":\"session-init\",\"token\":\"\",\"clientId\":\"c\"}",
    "{\"type\":\"server-advice\",\"retryAfterMs\":-5}",
    "{\"type\":\"pong\",\"n\":99999}",
    "{\"type\":\"delivery-ack\",\"seq\":-1}",
    "{\"type\":\"delivery-ack\",\"seq\":\"7\"}",
];
