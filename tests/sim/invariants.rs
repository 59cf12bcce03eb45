//! What must hold after every step, whatever happens, and what must hold when a run is over.

use crate::line::{Browser, Line, Seen};
use crate::world::{Net, World};
use moorline::outbox::Fate;
use std::collections::{BTreeMap, BTreeSet};

/// Cheap enough to look at after every step.
pub fn check_step(line: &Line<Net>) {
    let live = line.browser.live_sockets();
    assert!(live <= 1, "{live} live sockets at {}", line.now);
    let (waiting, bytes) = line.client.queue();
    assert!(bytes >= 0.0, "the queue holds {bytes} bytes");
    assert_eq!(waiting == 0, bytes == 0.0, "{waiting} messages of {bytes} bytes wait");
}

/// Everything that can be said at the end, from what was seen.
pub fn check_run(world: &World) {
    let line = &world.line;
    sockets_come_one_by_one(line);
    endings_are_followed_up(line);
    order_is_kept(line);
    nothing_is_sent_twice(line);
    fates_are_final(line);
    arrivals_match_the_fates(world);
}

fn sockets_come_one_by_one<B: Browser>(line: &Line<B>) {
    let mut last = 0;
    let mut closed_for_good = true;
    for (at, seen) in &line.seen {
        match seen {
            Seen::Open(socket, _) => {
                assert_eq!(*socket, last + 1, "socket numbers leave no gap");
                assert!(!closed_for_good, "socket {socket} at {at} after the end");
                last = *socket;
            }
            Seen::Resolve(_) => {
                closed_for_good = false;
            }
            Seen::Event { name, detail } if name == "ws-failed" => {
                assert!(detail["cause"].is_string());
                closed_for_good = true;
            }
            Seen::Event { name, detail } if name == "ws-disconnected" && detail["cause"] == "closed" => {
                closed_for_good = true;
            }
            _ => {}
        }
    }
}

/// Each `ws-disconnected` is followed by what it says: a wait, an end, or nothing where the page asked for it. A line that
/// is parked says that it tries again when it does, unless the page has closed it by then.
fn endings_are_followed_up<B: Browser>(line: &Line<B>) {
    let mut lifecycle = line
        .events()
        .filter(|(_, name, _)| matches!(*name, "ws-connected" | "ws-disconnected" | "ws-reconnecting" | "ws-failed"))
        .peekable();
    let mut connected = false;
    while let Some((at, name, detail)) = lifecycle.next() {
        match name {
            "ws-connected" => {
                assert!(!connected, "connected twice at {at}");
                connected = true;
            }
            "ws-disconnected" => {
                connected = false;
                let parked = lifecycle.peek().is_some_and(|(_, _, detail)| detail["cause"] == "closed");
                let next = lifecycle.peek().map(|(_, name, _)| *name);
                let expected = match (&detail["cause"], &detail["willReconnect"]) {
                    (cause, _) if cause == "closed" => continue,
                    (cause, _) if cause == "lifecycle" && detail["code"] == 1000 && next.is_none() => continue,
                    (_, will) if *will == true && parked => "ws-disconnected",
                    (_, will) if *will == true => "ws-reconnecting",
                    _ => "ws-failed",
                };
                assert_eq!(next, Some(expected), "after the end at {at}: {detail}");
            }
            "ws-reconnecting" | "ws-failed" => assert!(!connected, "{name} while connected at {at}"),
            _ => {}
        }
    }
}

/// On a socket, and over all first hand-overs, messages leave in the order in which they were accepted.
fn order_is_kept<B: Browser>(line: &Line<B>) {
    let mut on_socket: BTreeMap<u32, u32> = BTreeMap::new();
    let mut first: Option<u32> = None;
    let mut known = BTreeSet::new();
    for (at, seen) in &line.seen {
        let Seen::Sent(socket, id, _) = seen else {
            continue;
        };
        let before = on_socket.insert(*socket, *id);
        assert!(before < Some(*id), "message {id} after {before:?} on socket {socket} at {at}");
        if known.insert(*id) {
            assert!(first < Some(*id), "message {id} went out after {first:?}");
            first = Some(*id);
        }
    }
}

/// Only what the browser still held when its socket ended is handed over again.
fn nothing_is_sent_twice(line: &Line<Net>) {
    let mut once = BTreeSet::new();
    for id in &line.browser.written {
        assert!(
            once.insert(*id) || line.browser.returned.contains(id),
            "message {id} was written twice, though it had left the browser"
        );
    }
}

/// Each message has one fate, save that a sent one may turn out to be of unknown fate.
fn fates_are_final<B: Browser>(line: &Line<B>) {
    for (id, fates) in &line.fates {
        assert!(matches!(fates.as_slice(), [_] | [Fate::Sent, Fate::Unknown]), "message {id}: {fates:?}");
    }
}

/// What is said to be sent has arrived; what is said not to be, has not; and losses that nobody chose were told.
fn arrivals_match_the_fates(world: &World) {
    let line = &world.line;
    let mut arrived: BTreeMap<String, u32> = BTreeMap::new();
    for text in world.arrived() {
        // What follows the first word is padding.
        let name = text.split(' ').next().unwrap_or_default();
        *arrived.entry(name.into()).or_default() += 1;
    }
    let mut told = 0;
    for (_, name, detail) in line.events() {
        if name == "ws-error" && detail["code"].as_str().is_some_and(|code| code.starts_with("send.")) {
            told += detail["count"].as_u64().expect("a count");
        }
    }
    let mut to_tell = 0;
    for (_, seen) in &line.seen {
        if let Seen::Settled { fate, by_choice, .. } = seen {
            to_tell += u64::from(*fate != Fate::Sent && !by_choice);
        }
    }
    assert_eq!(told, to_tell, "messages whose loss was told");
    for id in 0..line.next_message {
        let fates = line.fates.get(&id);
        let fate = fates.and_then(|fates| fates.last());
        let times = arrived.get(&format!("m{id}")).copied().unwrap_or(0);
        let again = line.browser.returned.contains(&id);
        assert!(times <= 1 || again, "message {id} arrived {times} times");
        match fate {
            Some(Fate::Sent | Fate::Acked) => {
                assert!(times >= 1 || believed(line, id), "message {id} was sent but never came");
            }
            Some(Fate::Unknown) => {}
            Some(Fate::Expired | Fate::Evicted | Fate::Rejected) => {
                assert!(times == 0 || again, "message {id} came though it was {fate:?}");
            }
            None => panic!("message {id} has no fate"),
        }
    }
}

/// Whether a message had been gone for a minute before its socket ended: by then it is believed to have arrived, for a
/// doubt cannot be kept for ever.
fn believed<B: Browser>(line: &Line<B>, id: u32) -> bool {
    let sent = line.seen.iter().find(|(_, seen)| matches!(seen, Seen::Settled { id: known, .. } if *known == id));
    let sent_at = sent.map_or(0, |(at, _)| *at);
    let mut ends = line.events().filter(|(at, name, _)| *name == "ws-disconnected" && *at >= sent_at);
    ends.next().is_none_or(|(at, _, detail)| {
        // A socket that the page closes has three seconds to end, by a timer that may ring thirty seconds late.
        let ours = detail["cause"] == "closed" || detail["cause"] == "lifecycle";
        let ended_at = if ours { at + 33_000 } else { at };
        ended_at > sent_at + 60_000
    })
}
