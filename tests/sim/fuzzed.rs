//! What a fuzzer feeds to the core beside the model's runs: frames of any kind to every protocol, and whatever may lie in a
//! storage. The targets are in tests/fuzz, and what they have found worth keeping is run here.

use crate::gateway::{Acks, Gateway, Terms};
use crate::invariants::check_step;
use crate::line::{Ask, Browser, Line};
use crate::world::{Storage, World, chat};
use moorline::error::Fault;
use moorline::session::{Cursor, Snapshot, Stored};
use moorline::wire::SocketId;
use moorline::{Signal, Status};
use serde_json::Value;

const PROTOCOLS: [(&str, &str); 6] = [
    ("nexus", ""),
    ("action-cable", "actioncable-v1-ext-json"),
    ("openclaw", ""),
    ("json-rpc", ""),
    ("hermes", ""),
    ("observation", ""),
];
/// A journal has 64 facts, each of them a line.
const JOURNAL: usize = 80;
/// So many effects may one frame have, and so many more for each of its bytes.
const EFFECTS: usize = 2000;

/// A browser that takes everything and says nothing.
struct Silent;

impl Browser for Silent {
    fn restore(&mut self, _now: u64) -> Option<Result<Option<Stored>, Fault>> {
        Some(Ok(None))
    }

    fn resolve(&mut self, _now: u64, _ticket: u32) -> Option<Result<Option<String>, ()>> {
        Some(Ok(None))
    }

    fn open(&mut self, _now: u64, _socket: SocketId) {}

    fn write(&mut self, _now: u64, _socket: SocketId, _id: Option<u32>, _text: &str) -> bool {
        true
    }

    fn buffered(&self, _socket: SocketId) -> f64 {
        0.0
    }

    fn close(&mut self, _now: u64, _socket: SocketId) {}

    fn persist(&mut self, _now: u64, _snapshot: Option<&Snapshot>) {}

    fn listen(&mut self, _name: &str, _detail: &Value) -> Vec<Ask> {
        Vec::new()
    }
}

/// Any frames, to any protocol: no panic, and nothing that grows without bound.
///
/// The first byte is the protocol; then each piece up to a zero byte is what happens: a control byte, or else a frame's text.
pub fn frames(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let (protocol, subprotocol) = PROTOCOLS[usize::from(*first) % PROTOCOLS.len()];
    let mut line = Line::new(&format!("{{\"protocol\":\"{protocol}\"}}"), 1, Silent);
    line.ask(Ask::Connect).expect("connect is always legal");
    let mut socket = line.client.counters().sockets;
    line.opened_with(SocketId(socket), subprotocol);
    for piece in rest.split(|byte| *byte == 0) {
        match piece {
            [1, ..] => {
                let sent = line.send(chat("m"), moorline::outbox::Delivery::Queue, None);
                // A full queue may refuse.
                let _ = sent;
            }
            [2, ..] => line.closed(SocketId(socket), 1006, "", false),
            [3, ..] => {
                if let Some(due) = line.due {
                    line.now = due.max(line.now);
                    line.ring();
                }
            }
            [4, ..] => line.signal(Signal::Restored),
            _ => {
                let before = line.seen.len();
                line.received(SocketId(socket), &String::from_utf8_lossy(piece));
                let effects = line.seen.len() - before;
                assert!(effects <= EFFECTS + piece.len(), "{effects} effects of {} bytes", piece.len());
            }
        }
        let newest = line.client.counters().sockets;
        if newest != socket {
            socket = newest;
            line.opened_with(SocketId(socket), subprotocol);
        }
        assert!(line.client.explain().lines().count() <= JOURNAL);
    }
    line.ask(Ask::Dispose).expect("always legal");
    let seen = line.seen.len();
    line.received(SocketId(socket), "{\"type\":\"chat\"}");
    line.ring();
    assert_eq!((line.seen.len(), line.due), (seen, None), "a line that was disposed of");
}

/// Whatever lies in a storage: the line comes to be connected, and keeps to the rules on the way.
pub fn snapshot(bytes: &[u8]) {
    let mut bytes = bytes.iter().copied();
    let mut byte = || bytes.next().unwrap_or(0);
    let flags = byte();
    let number = f64::from_bits(u64::from_be_bytes(std::array::from_fn(|_| byte())));
    let (base, tried, count, hole) = (u32::from(byte()) << 16, u32::from(byte()), byte() % 16, u32::from(byte()));
    let length = usize::from(byte());
    let text: Vec<u8> = (0..length).map(|_| byte()).collect();
    let text = String::from_utf8_lossy(&text).into_owned();
    let named = |bit: u8, name: &str| if flags & bit == 0 { text.clone() } else { name.into() };
    let terms = Terms { window: 4, keeps: 3, acks: Acks::Within(50) };
    let gateway = Gateway { delivery: (flags & 1 == 0).then_some(terms), ..Gateway::default() };
    let mut world = World::new("{}", gateway.knowing("kept", "c0"));
    world.net().storage = Storage::Holds(Stored {
        token: (flags & 2 == 0).then(|| named(4, "kept")),
        client_id: (flags & 8 == 0).then(|| named(16, "c0")),
        cursor: (flags & 32 == 0).then(|| Cursor { epoch: named(64, "e1"), seen: number }),
        age_ms: (flags & 128 == 0).then_some(number),
    });
    if count > 0 {
        let kept: Vec<(u32, String)> =
            (0..u32::from(count)).map(|at| (base + at * (hole + 1), chat(&format!("k{at}")))).collect();
        let end = base + 16 * (hole + 1);
        let tried = base + tried;
        world.net().ledger.adopts(base, tried, &kept, end);
        world.line.adopt("00000000000000ab", base, tried);
        for (id, text) in kept {
            world.line.skip(id - world.line.next_message);
            world.line.keep(text, None);
        }
        world.line.skip(end - world.line.next_message);
    }
    world.connect();
    world.run(60_000);
    check_step(&mut world.line);
    assert_eq!(world.line.client.status(), Status::Connected);
    assert_eq!(world.line.client.queue().0, 0, "everything went out");
}

/// Runs what is kept of a target's corpus.
#[cfg(test)]
fn corpus(target: &str, run: fn(&[u8])) {
    use std::panic::catch_unwind;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("the corpus is a part of the tree") {
        let path = file.expect("a file").path();
        let bytes = std::fs::read(&path).expect("a file of the corpus");
        assert!(catch_unwind(|| run(&bytes)).is_ok(), "{}", path.display());
        count += 1;
    }
    assert!(count > 0, "the corpus of {target} is empty");
}

#[test]
fn every_run_of_the_corpus_holds() {
    corpus("model", crate::model::run);
}

#[test]
fn every_frame_of_the_corpus_is_survived() {
    corpus("frames", frames);
}

#[test]
fn every_storage_of_the_corpus_leads_to_a_connection() {
    corpus("snapshot", snapshot);
}
