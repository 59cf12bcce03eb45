//! OpenClaw gateways that answer what they like on a line that breaks, many seeds: what must hold whatever happens.

use crate::laws::Quiet;
use crate::line::{Ask, Line, Seen};
use crate::notation::input;
use crate::openclaw::{CHALLENGE, HELLO};
use moorline::Input;
use moorline::backoff::Chance;
use moorline::protocol::Word;
use moorline::wire::{Handle, SocketId};

/// A gateway that answers what it likes, in any order, of both protocols, on a line that breaks: every run and call of the
/// page's ends once, the server's runs too, and what is asked of the gateway stays in proportion.
#[test]
fn whatever_a_gateway_says_every_call_ends_once_and_the_line_does_not_babble() {
    for seed in 0..60 {
        let mut chance = Chance::new(seed);
        let mut line = Line::new(r#"{"protocol":"openclaw","reconnect":{"jitter":"none"}}"#, seed, Quiet);
        let mut pick = |count: u32| chance.below(f64::from(count)) as u32;
        let mut socket = 0;
        let mut handle = 0;
        let mut seq = 0;
        line.ask(Ask::Connect).expect("always legal");
        for turn in 0..400 {
            let sent = line.seen.len();
            let dialled = line.seen.iter().filter(|(_, seen)| matches!(seen, Seen::Open(..))).count() as u32;
            if dialled != socket {
                socket = dialled;
                seq = 0;
                line.opened(SocketId(socket));
                let device = line.seen.iter().rev().find_map(|(_, seen)| match seen {
                    Seen::Ask(ticket, "device", _) => Some(*ticket),
                    _ => None,
                });
                if let Some(ticket) = device {
                    line.obey(Input::Answered { ticket, texts: [None, None, None] });
                }
                line.received(SocketId(socket), CHALLENGE);
                let version = 3 + pick(2);
                line.received(SocketId(socket), &HELLO.replace(":4", &format!(":{version}")));
            }
            let run = ["k0", "k1", "k2", "q", "inject-1"][pick(5) as usize];
            let rows = [
                String::new(),
                format!(r#"{{"role":"assistant","content":"x","__openclaw":{{"runId":"{run}"}}}}"#),
                format!(
                    r#"{{"role":"user","content":"hi","idempotencyKey":"{run}:user"}},{{"role":"assistant","content":"y","__openclaw":{{"runId":"q"}}}}"#
                ),
            ];
            let history = format!(
                r#"{{"messages":[{}],"inFlightRun":{}}}"#,
                rows[pick(3) as usize],
                [String::from("null"), format!(r#"{{"runId":"{run}","text":"z"}}"#)][pick(2) as usize]
            );
            match pick(12) {
                0 | 1 => {
                    handle += 1;
                    let params = format!(r#"{{"sessionKey":"s","message":"hi","idempotencyKey":"k{}"}}"#, pick(3));
                    let key = &params[params.len() - 4..params.len() - 2];
                    let verb = ["run", "request"][pick(2) as usize];
                    let text = format!("{verb} {handle} chat.send key:{key} {params}");
                    input(&mut line, &text).expect("a command").expect("no misuse");
                }
                2 if handle > 0 => {
                    let text = format!("cancel {}", 1 + pick(handle));
                    input(&mut line, &text).expect("a command").expect("no misuse");
                }
                3 => line.closed(SocketId(socket), [1006, 1012, 1009, 1008, 1013][pick(5) as usize], "slow", true),
                4 | 5 => {
                    line.now += u64::from(pick(9000));
                    line.ring();
                }
                6 | 7 => {
                    seq += 1 + pick(8) / 7;
                    let state = ["delta", "final", "aborted", "error", "status", "odd"][pick(6) as usize];
                    let more = ["", r#","message":{"content":"w"}"#, r#","deltaText":"d""#][pick(3) as usize];
                    line.received(
                        SocketId(socket),
                        &format!(
                            r#"{{"type":"event","event":"chat","payload":{{"runId":"{run}","sessionKey":"agent:main:s","state":"{state}"{more}}},"seq":{seq}}}"#
                        ),
                    );
                }
                8 if handle > 0 => {
                    let status = ["started", "in_flight", "ok", "timeout", "error", "odd"][pick(6) as usize];
                    let ok = pick(4) > 0;
                    line.received(
                        SocketId(socket),
                        &format!(
                            r#"{{"type":"res","id":"{}","ok":{ok},"payload":{{"runId":"{run}","status":"{status}"}}}}"#,
                            1 + pick(handle)
                        ),
                    );
                }
                _ => {
                    // The newest of our own questions, or one before it.
                    let asked = line.seen.iter().rev().filter_map(|(_, seen)| match seen {
                        Seen::Transmit(_, text) => {
                            text.split_once("\"id\":\"m")?.1.split('"').next()?.parse::<u32>().ok()
                        }
                        _ => None,
                    });
                    if let Some(id) = asked.max() {
                        let id = id.saturating_sub(pick(3));
                        let ok = pick(4) > 0;
                        let answer = format!(r#"{{"type":"res","id":"m{id}","ok":{ok},"payload":{history}}}"#);
                        line.received(SocketId(socket), &answer);
                    }
                }
            }
            let said = line.seen[sent..].iter().filter(|(_, seen)| matches!(seen, Seen::Transmit(..))).count();
            assert!(said <= 16 + handle as usize, "seed {seed}, turn {turn}: {said} frames at once");
        }
        line.ask(Ask::Dispose).expect("always legal");
        let mut open = std::collections::BTreeMap::new();
        for number in 1..=handle {
            open.insert(Handle(number), 0);
        }
        for (_, seen) in &line.seen {
            match seen {
                Seen::Told { handle, word: Word::Began, .. } => {
                    assert_eq!(open.insert(*handle, 0), None, "seed {seed}")
                }
                Seen::Told { handle, word, .. } => {
                    let ends = open.get_mut(handle).expect("one that there is");
                    assert_eq!(*ends, 0, "seed {seed}: {handle:?} hears {word:?} behind its end");
                    let goes_on = matches!(
                        word,
                        Word::Started | Word::Delta | Word::Resumed | Word::Restarted | Word::Gap | Word::Note
                    );
                    *ends += u32::from(!goes_on);
                }
                _ => {}
            }
        }
        assert!(open.values().all(|ends| *ends == 1), "seed {seed}: {open:?}");
    }
}
