//! Hermes beyond its page: errors by method and code, bounds, order, what a server may get wrong, and what an older or a
//! newer one does otherwise.

use crate::line::{Line, Seen};
use crate::notation::{Stage, input};
use moorline::protocol::Word;
use moorline::session::Stored;
use serde_json::{Value, json};

const SERVER: u32 = 1 << 31;

fn line() -> Line<Stage> {
    let stored = Stored { token: Some("k1".into()), client_id: Some("r1".into()), age_ms: Some(1.0), cursor: None };
    Line::new(r#"{"protocol":"hermes","reconnect":{"jitter":"none"}}"#, 1, Stage::storing(Some(stored)))
}

/// A line whose session stands.
fn standing() -> Line<Stage> {
    let mut line = line();
    play(&mut line, &["connect", "opened #1"]);
    says(&mut line, 1, &ready());
    says(&mut line, 1, &json!({"id": "m1", "result": {"session_id": "r1", "session_key": "k1"}}));
    line
}

/// The next socket of a line that lost its last, up to the resume.
fn again(line: &mut Line<Stage>, socket: u32) {
    line.now = line.due.expect("a wait");
    line.ring();
    play(line, &[&format!("opened #{socket}")]);
    says(line, socket, &ready());
}

fn ready() -> Value {
    event("gateway.ready", None, json!({}))
}

fn event(kind: &str, session: Option<&str>, payload: Value) -> Value {
    let mut params = json!({"type": kind, "payload": payload});
    if let Some(session) = session {
        params["session_id"] = session.into();
    }
    json!({"jsonrpc": "2.0", "method": "event", "params": params})
}

fn play(line: &mut Line<Stage>, lines: &[&str]) {
    for text in lines {
        input(line, text).unwrap_or_else(|why| panic!("{text}: {why}")).expect("no misuse");
    }
}

fn says(line: &mut Line<Stage>, socket: u32, frame: &Value) {
    line.received(moorline::wire::SocketId(socket), &frame.to_string());
}

fn ring_until(line: &mut Line<Stage>, at: u64) {
    while let Some(due) = line.due.filter(|due| *due <= at) {
        line.now = due.max(line.now);
        line.ring();
    }
    line.now = at;
}

fn words(line: &Line<Stage>, handle: u32) -> Vec<Word> {
    let told = line.seen.iter().filter_map(|(_, seen)| match seen {
        Seen::Told { handle: told, word, .. } if told.0 == handle => Some(*word),
        _ => None,
    });
    told.collect()
}

/// The latest word to a handle, with its number.
fn last(line: &Line<Stage>, handle: u32) -> Option<(Word, f64)> {
    line.seen.iter().rev().find_map(|(_, seen)| match seen {
        Seen::Told { handle: told, word, number, .. } if told.0 == handle => Some((*word, *number)),
        _ => None,
    })
}

/// The methods that went out, in order, less the probes.
fn sent(line: &Line<Stage>) -> Vec<String> {
    let texts = line.seen.iter().filter_map(|(_, seen)| match seen {
        Seen::Transmit(_, text) => serde_json::from_str::<Value>(text).ok(),
        _ => None,
    });
    let methods = texts.filter(|frame| !frame["id"].as_str().unwrap_or_default().starts_with('p'));
    methods.map(|frame| frame["method"].as_str().unwrap_or_default().to_owned()).collect()
}

fn events(line: &Line<Stage>, name: &str) -> usize {
    line.events().filter(|(_, event, _)| *event == name).count()
}

#[test]
fn a_socket_that_never_says_ready_is_given_up_at_the_deadline() {
    let mut line = line();
    play(&mut line, &["connect", "opened #1"]);
    says(&mut line, 1, &event("status.update", Some("r1"), json!({})));
    ring_until(&mut line, 10_000);
    assert!(line.seen.contains(&(10_000, Seen::Close(1, 4000, "handshake-timeout".into()))));
    assert_eq!(events(&line, "ws-connected"), 0);
}

#[test]
fn each_error_of_the_envelope_ends_its_call_with_code_and_message() {
    for (code, message) in [
        (-32700, "parse error"),
        (-32600, "invalid request: method must be a non-empty string"),
        (-32602, "invalid params: expected an object"),
        (-32601, "unknown method: x"),
        (-32000, "handler error: boom"),
        (-32603, "internal error"),
        (5032, "agent init timed out"),
    ] {
        let mut line = standing();
        play(&mut line, &["request 1 x {}"]);
        says(&mut line, 1, &json!({"error": {"code": code, "message": message}, "id": 1, "jsonrpc": "2.0"}));
        let told = line.seen.iter().rev().find_map(|(_, seen)| match seen {
            Seen::Told { handle, word: Word::Refused, frame: Some(frame), .. } if handle.0 == 1 => Some(frame.clone()),
            _ => None,
        });
        assert_eq!(told.expect("refused")["error"], json!({"code": code, "message": message}));
    }
}

#[test]
fn whether_to_ask_again_depends_on_the_method_and_the_code() {
    for (method, code, again) in [
        ("session.undo", 4009, true),
        ("session.compress", 4009, true),
        ("prompt.submit", 4009, true),
        ("clarify.respond", 4009, false),
        ("terminal.read.respond", 4009, false),
        ("session.delete", 4001, true),
        ("session.steer", 4002, false),
        ("session.resume", 4006, false),
        ("session.resume", 4007, false),
        ("session.branch", 4008, false),
        ("prompt.submit", 4018, false),
        ("session.create", 4090, false),
        ("shell.exec", 5002, false),
    ] {
        let mut line = standing();
        play(&mut line, &[&format!(r#"request 1 {method} {{"session_id":"elsewhere"}}"#)]);
        says(&mut line, 1, &json!({"id": 1, "error": {"code": code, "message": "no"}}));
        assert_eq!(last(&line, 1), Some((Word::Refused, f64::from(u8::from(again)))), "{method} {code}");
    }
}

#[test]
fn an_error_of_the_transport_before_accept_is_tried_again_with_backoff() {
    let mut line = line();
    play(&mut line, &["connect"]);
    let mut waits = Vec::new();
    for socket in 1..5 {
        play(&mut line, &[&format!("closed #{socket} 1006")]);
        waits.push(line.due.expect("a wait") - line.now);
        line.now = line.due.expect("a wait");
        line.ring();
    }
    assert_eq!(waits, [4000, 8000, 16_000, 30_000]);
    assert_eq!(events(&line, "ws-failed"), 0);
}

#[test]
fn the_servers_close_codes_lead_where_they_should() {
    for (code, fatal) in [(1000, false), (1001, false), (1009, true), (1012, false), (4401, true), (4403, true)] {
        let mut line = standing();
        play(&mut line, &[&format!("closed #1 {code} clean")]);
        assert_eq!(events(&line, "ws-failed") == 1, fatal, "{code}");
    }
}

#[test]
fn several_lines_in_a_message_are_several_frames_and_a_garbled_one_takes_no_other_along() {
    let mut line = standing();
    let one = event("skin.changed", None, json!({}));
    line.received(moorline::wire::SocketId(1), &format!("{one}\n\n  \n{{\"jsonrpc\":\n{one}\n"));
    assert_eq!(events(&line, "hermes-skin.changed"), 2);
    assert_eq!(events(&line, "ws-error"), 1);
    let before = line.seen.len();
    line.received(moorline::wire::SocketId(1), " \n ");
    assert_eq!(line.seen.len(), before);
}

#[test]
fn answers_to_nothing_we_asked_are_reported_and_late_ones_are_not() {
    let mut line = standing();
    play(&mut line, &["request 1 session.list timeout:5"]);
    ring_until(&mut line, 5);
    assert_eq!(words(&line, 1), [Word::TimedOut]);
    for id in [json!(1), json!("m0"), json!("p77"), json!("i0"), json!("c0")] {
        says(&mut line, 1, &json!({"id": id, "result": {}}));
    }
    assert_eq!(events(&line, "ws-error"), 0);
    for id in [json!(7), json!("x1"), json!(""), json!({"a": 1}), json!(-1), json!(true)] {
        says(&mut line, 1, &json!({"id": id, "result": {}}));
    }
    assert_eq!((events(&line, "ws-error"), events(&line, "ws-unhandled")), (6, 6));
}

#[test]
fn a_prompt_is_never_sent_twice_whatever_happens() {
    let mut line = standing();
    play(&mut line, &[r#"run 1 prompt.submit key:p {"text":"p"}"#, "closed #1 1006"]);
    again(&mut line, 2);
    says(&mut line, 2, &json!({"id": "m2", "error": {"code": 4007, "message": "session not found"}}));
    says(&mut line, 2, &json!({"id": "m3", "error": {"code": 4001, "message": "session not found"}}));
    says(&mut line, 2, &json!({"id": "m4", "result": {"session_id": "r2", "stored_session_id": "k2"}}));
    play(&mut line, &[r#"run 2 prompt.submit key:q {"text":"q"}"#]);
    says(&mut line, 2, &json!({"id": 2, "error": {"code": 4001, "message": "session not found"}}));
    says(&mut line, 2, &json!({"id": "m5", "result": {"session_id": "r3", "session_key": "k2"}}));
    let prompts: Vec<_> = sent(&line).into_iter().filter(|method| method == "prompt.submit").collect();
    assert_eq!(prompts.len(), 2);
    assert_eq!(last(&line, 1), Some((Word::Lost, 0.0)));
    assert_eq!(last(&line, 2), Some((Word::Refused, 1.0)));
}

#[test]
fn the_same_prompt_twice_is_not_taken_for_answered_when_only_the_first_was() {
    let mut line = standing();
    play(&mut line, &[r#"run 1 prompt.submit key:yes {"text":"yes"}"#]);
    says(&mut line, 1, &event("message.start", Some("r1"), json!({})));
    says(&mut line, 1, &event("message.complete", Some("r1"), json!({"text": "a", "status": "complete"})));
    says(&mut line, 1, &event("session.info", Some("r1"), json!({})));
    play(&mut line, &[r#"run 2 prompt.submit key:yes {"text":"yes"}"#, "closed #1 1006"]);
    again(&mut line, 2);
    let rows = json!([{"role": "user", "text": "yes"}, {"role": "assistant", "text": "a"}]);
    let result = json!({"session_id": "r1", "session_key": "k1", "message_count": 2, "messages": rows});
    says(&mut line, 2, &json!({"id": "m2", "result": result}));
    assert_eq!(last(&line, 2), Some((Word::Lost, 0.0)));
}

#[test]
fn a_prompt_that_arrived_and_has_no_answer_is_not_safe_to_ask_again() {
    let mut line = standing();
    play(&mut line, &[r#"run 1 prompt.submit key:p {"text":"p"}"#, "closed #1 1006"]);
    again(&mut line, 2);
    let result = json!({"session_id": "r1", "session_key": "k1", "message_count": 1, "messages": [{"role": "user", "text": "p"}]});
    says(&mut line, 2, &json!({"id": "m2", "result": result}));
    assert_eq!(last(&line, 1), Some((Word::Lost, 0.0)));
}

#[test]
fn a_transcript_with_fewer_rows_than_it_counts_is_read_all_the_same() {
    let mut line = standing();
    play(&mut line, &[r#"run 1 prompt.submit key:p {"text":"p"}"#]);
    says(&mut line, 1, &event("message.start", Some("r1"), json!({})));
    play(&mut line, &["closed #1 1006"]);
    again(&mut line, 2);
    let rows = json!([{"role": "user", "text": "o"}, {"role": "assistant", "text": "x"}, {"role": "user", "text": "p"},
        {"role": "tool", "name": "t", "context": "c"}, {"role": "assistant", "text": "done"}]);
    let result = json!({"session_id": "r1", "session_key": "k1", "message_count": 21, "messages": rows});
    says(&mut line, 2, &json!({"id": "m2", "result": result}));
    assert_eq!(last(&line, 1), Some((Word::Final, 3.0)));
}

#[test]
fn a_turn_of_another_that_begins_before_our_answer_is_given_back() {
    let mut line = standing();
    play(&mut line, &[r#"run 1 prompt.submit key:p {"text":"p"}"#]);
    says(&mut line, 1, &event("message.start", Some("r1"), json!({})));
    says(&mut line, 1, &event("message.delta", Some("r1"), json!({"text": "not ours"})));
    says(&mut line, 1, &json!({"id": 1, "result": {"status": "queued"}}));
    assert_eq!(words(&line, 1), [Word::Started, Word::Delta, Word::Restarted]);
    assert_eq!(words(&line, 1 | SERVER), [Word::Began]);
    says(&mut line, 1, &event("message.complete", Some("r1"), json!({"text": "not ours", "status": "complete"})));
    assert_eq!(last(&line, 1 | SERVER), Some((Word::Final, 0.0)));
    says(&mut line, 1, &event("message.start", Some("r1"), json!({})));
    says(&mut line, 1, &event("message.complete", Some("r1"), json!({"text": "ours", "status": "complete"})));
    assert_eq!(last(&line, 1), Some((Word::Final, 0.0)));
}

#[test]
fn what_a_failed_turn_says_is_an_error_and_what_comes_late_is_nobodys() {
    for (kind, payload, word) in [
        ("message.complete", json!({"text": "API error 500", "status": "error"}), Word::Failed),
        ("message.complete", json!({"text": null, "status": "interrupted"}), Word::Stopped),
        ("message.complete", json!({"text": "x", "status": "of tomorrow"}), Word::Final),
        ("message.complete", json!({"text": "x"}), Word::Final),
        ("error", json!({"message": "agent init failed"}), Word::Failed),
    ] {
        let mut line = standing();
        play(&mut line, &[r#"run 1 prompt.submit key:p {"text":"p"}"#]);
        says(&mut line, 1, &event("message.start", Some("r1"), json!({})));
        says(&mut line, 1, &event(kind, Some("r1"), payload.clone()));
        says(&mut line, 1, &event(kind, Some("r1"), payload));
        assert_eq!(words(&line, 1), [Word::Started, word], "{kind}");
    }
}

#[test]
fn a_turn_that_is_not_stopped_in_time_goes_on_without_its_run() {
    let mut line = standing();
    play(&mut line, &[r#"run 1 prompt.submit key:p {"text":"p"}"#]);
    says(&mut line, 1, &event("message.start", Some("r1"), json!({})));
    play(&mut line, &["cancel 1", "cancel 1"]);
    let now = line.now;
    for quiet in 1..=10 {
        says(&mut line, 1, &event("thinking.delta", Some("r1"), json!({"text": ""})));
        ring_until(&mut line, now + quiet * 1000);
    }
    assert_eq!(last(&line, 1), Some((Word::Cancelled, 0.0)));
    says(&mut line, 1, &event("message.delta", Some("r1"), json!({"text": "late"})));
    says(&mut line, 1, &event("message.complete", Some("r1"), json!({"text": "late", "status": "complete"})));
    assert_eq!(words(&line, 1), [Word::Started, Word::Cancelled]);
    assert_eq!(words(&line, 1 | SERVER), []);
}

#[test]
fn runs_that_the_server_begins_are_bounded() {
    let mut line = standing();
    for number in 0..1000 {
        says(&mut line, 1, &event("message.start", Some(&format!("x{number}")), json!({})));
    }
    let began = line.seen.iter().filter(|(_, seen)| matches!(seen, Seen::Told { word: Word::Began, .. })).count();
    let lost = line.seen.iter().filter(|(_, seen)| matches!(seen, Seen::Told { word: Word::Lost, .. })).count();
    assert_eq!((began, began - lost), (1000, 64));
}

#[test]
fn events_that_are_kept_back_are_bounded_and_in_order() {
    let mut line = line();
    play(&mut line, &["connect", "opened #1"]);
    says(&mut line, 1, &ready());
    for number in 0..300 {
        says(&mut line, 1, &event("status.update", Some("r9"), json!({"n": number})));
    }
    assert_eq!(events(&line, "hermes-status.update"), 44);
    says(&mut line, 1, &json!({"id": "m1", "result": {"session_id": "r9", "session_key": "k1"}}));
    let order: Vec<_> = line.events().filter(|(_, name, _)| *name == "hermes-status.update").collect();
    let numbers: Vec<_> = order.iter().map(|(.., detail)| detail["params"]["payload"]["n"].as_u64()).collect();
    assert_eq!(numbers, (0..300).map(Some).collect::<Vec<_>>());
}

#[test]
fn what_was_kept_back_is_told_when_the_line_is_lost_meanwhile() {
    let mut line = line();
    play(&mut line, &["connect", "opened #1"]);
    says(&mut line, 1, &ready());
    says(&mut line, 1, &event("status.update", Some("r9"), json!({})));
    play(&mut line, &["closed #1 1006"]);
    assert_eq!(events(&line, "hermes-status.update"), 1);
}

#[test]
fn questions_are_bounded_and_the_oldest_gives_way() {
    let mut line = standing();
    for number in 0..200 {
        says(&mut line, 1, &event("clarify.request", Some("r1"), json!({"request_id": format!("q{number}")})));
        says(&mut line, 1, &event("clarify.request", Some("r1"), json!({"request_id": format!("q{number}")})));
    }
    let count = |word| {
        line.seen.iter().filter(|(_, seen)| matches!(seen, Seen::Told { word: told, .. } if *told == word)).count()
    };
    assert_eq!((count(Word::Called), count(Word::Withdrawn)), (200, 136));
    let mut line = standing();
    for number in 0..65 {
        says(&mut line, 1, &json!({"id": format!("srq-{number}"), "method": "sudo", "params": {"session_id": "r1"}}));
    }
    let Some((_, Seen::Transmit(_, refused))) = line.seen.last() else { panic!("{:?}", line.seen.last()) };
    assert!(refused.contains("-32000") && refused.contains("srq-64"), "{refused}");
}

#[test]
fn an_answer_to_a_question_that_was_under_way_is_lost_and_not_sent_again() {
    let mut line = standing();
    says(&mut line, 1, &event("approval.request", Some("r1"), json!({"command": "rm"})));
    play(&mut line, &[r#"reply s1 {"choice":"once"}"#, "closed #1 1006"]);
    assert_eq!(words(&line, 1 | SERVER), [Word::Called, Word::Lost]);
    again(&mut line, 2);
    says(&mut line, 2, &json!({"id": "m2", "result": {"session_id": "r1", "session_key": "k1"}}));
    assert_eq!(sent(&line).iter().filter(|method| *method == "approval.respond").count(), 1);
}

#[test]
fn a_question_of_a_turn_that_has_ended_is_nobodys_any_more() {
    let mut line = standing();
    says(&mut line, 1, &event("message.start", Some("r1"), json!({})));
    says(&mut line, 1, &event("approval.request", Some("r1"), json!({"command": "rm"})));
    says(&mut line, 1, &event("message.complete", Some("r1"), json!({"text": null, "status": "interrupted"})));
    assert_eq!(words(&line, 2 | SERVER), [Word::Called, Word::Withdrawn]);
}

#[test]
fn a_call_of_the_servers_without_a_usable_id_or_method_is_reported() {
    let mut line = standing();
    for frame in
        [json!({"id": 1e300, "method": "sudo"}), json!({"id": 1, "method": 7}), json!({"id": true, "method": "x"})]
    {
        says(&mut line, 1, &frame);
    }
    assert_eq!((events(&line, "ws-error"), events(&line, "ws-unhandled")), (3, 3));
}

#[test]
fn one_silent_probe_is_forgiven_while_a_turn_runs_and_a_second_is_not() {
    let mut line = standing();
    says(&mut line, 1, &json!({"id": "p1", "result": {"sessions": []}}));
    says(&mut line, 1, &event("message.start", Some("r1"), json!({})));
    ring_until(&mut line, 9000 + 5000 + 4999);
    assert_eq!(events(&line, "ws-disconnected"), 0);
    ring_until(&mut line, 19_000);
    assert_eq!(events(&line, "ws-disconnected"), 1);
}

#[test]
fn a_resume_without_an_answer_ends_the_socket() {
    let mut line = line();
    play(&mut line, &["connect", "opened #1"]);
    says(&mut line, 1, &ready());
    let mut pings = 0;
    while line.now < 30_000 {
        pings += 1;
        says(&mut line, 1, &json!({"id": format!("p{pings}"), "result": {}}));
        let next = line.due.expect("a timer");
        ring_until(&mut line, next);
    }
    assert_eq!(events(&line, "ws-disconnected"), 1);
}

#[test]
fn a_session_without_its_ids_is_a_malformed_answer() {
    for result in [json!({}), json!({"session_id": 7}), json!({"session_id": "r2"})] {
        let mut line = line();
        play(&mut line, &["connect", "opened #1"]);
        says(&mut line, 1, &ready());
        says(&mut line, 1, &json!({"id": "m1", "result": result}));
        assert_eq!(events(&line, "ws-error"), 1, "{result}");
    }
}

#[test]
fn a_submission_right_behind_the_end_of_a_turn_waits_until_the_session_is_idle() {
    let mut line = standing();
    play(&mut line, &[r#"run 1 prompt.submit key:p {"text":"p"}"#]);
    says(&mut line, 1, &event("message.start", Some("r1"), json!({})));
    says(&mut line, 1, &event("message.complete", Some("r1"), json!({"text": "a", "status": "complete"})));
    play(&mut line, &[r#"run 2 prompt.submit key:q {"text":"q"}"#]);
    let count = |line: &Line<Stage>| sent(line).iter().filter(|method| *method == "prompt.submit").count();
    assert_eq!(count(&line), 1);
    let idle = line.now + 500;
    ring_until(&mut line, idle);
    assert_eq!(count(&line), 2);
}

#[test]
fn another_epoch_forgets_the_mark_and_takes_the_snapshot() {
    let mut line = line();
    let offer = |epoch: &str| event("gateway.ready", None, json!({"replay_epoch": epoch}));
    let stands = json!({"session_id": "r1", "session_key": "k1"});
    play(&mut line, &["connect", "opened #1"]);
    says(&mut line, 1, &offer("e1"));
    says(&mut line, 1, &json!({"id": "m1", "result": stands}));
    let mut numbered = event("message.start", Some("r1"), json!({}));
    numbered["params"]["seq"] = 97.into();
    says(&mut line, 1, &numbered);
    play(&mut line, &["closed #1 1012"]);
    line.now = line.due.expect("a wait");
    line.ring();
    play(&mut line, &["opened #2"]);
    says(&mut line, 2, &offer("e2"));
    says(&mut line, 2, &json!({"id": "m2", "result": stands}));
    assert!(!sent(&line).contains(&"session.events.since".to_owned()));
    // The numbers begin anew.
    numbered["params"]["seq"] = 1.into();
    says(&mut line, 2, &numbered);
    assert_eq!(events(&line, "hermes-message.start"), 2);
}

#[test]
fn a_second_session_on_the_line_keeps_its_own_turns_and_loses_them_with_the_socket() {
    let mut line = standing();
    play(&mut line, &[r#"run 1 prompt.submit key:p {"session_id":"r7","text":"p"}"#]);
    says(&mut line, 1, &event("message.start", Some("r7"), json!({})));
    says(&mut line, 1, &event("message.start", Some("r1"), json!({})));
    says(&mut line, 1, &event("message.delta", Some("r7"), json!({"text": "x"})));
    assert_eq!(words(&line, 1), [Word::Started, Word::Delta]);
    assert_eq!(words(&line, 1 | SERVER), [Word::Began]);
    play(&mut line, &["closed #1 1006"]);
    assert_eq!(last(&line, 1), Some((Word::Lost, 0.0)));
    assert_eq!(last(&line, 1 | SERVER), Some((Word::Began, 0.0)));
}

#[test]
fn each_numbered_delta_is_told_once_and_those_of_another_session_are_counted_by_nobody() {
    let mut line = standing();
    let numbered = |kind: &str, session: &str, seq: u32| {
        let mut frame = event(kind, Some(session), json!({"text": "x"}));
        frame["params"]["seq"] = seq.into();
        frame
    };
    let (ours, other) = (1 | SERVER, 2 | SERVER);
    says(&mut line, 1, &numbered("message.start", "r1", 97));
    // What comes again was heard, whichever way it came first.
    for seq in [98, 98, 99, 97, 101] {
        says(&mut line, 1, &numbered("message.delta", "r1", seq));
    }
    assert_eq!(words(&line, ours), [Word::Began, Word::Delta, Word::Delta, Word::Delta]);
    // While another session has a turn as well, a delta may be of either.
    for (kind, seq) in [("message.start", 1), ("message.delta", 2), ("message.delta", 500)] {
        says(&mut line, 1, &numbered(kind, "r7", seq));
    }
    for seq in [101, 102] {
        says(&mut line, 1, &numbered("message.delta", "r1", seq));
    }
    assert_eq!(words(&line, other), [Word::Began, Word::Delta, Word::Delta]);
    assert_eq!(words(&line, ours)[4..], [Word::Delta]);
}

#[test]
fn everything_that_waits_ends_when_the_page_ends_the_line() {
    let mut line = standing();
    play(&mut line, &[r#"run 1 prompt.submit key:p {"text":"p"}"#, "request 2 session.list"]);
    says(&mut line, 1, &event("message.start", Some("r1"), json!({})));
    says(&mut line, 1, &event("clarify.request", Some("r1"), json!({"request_id": "q"})));
    play(&mut line, &["disconnect"]);
    assert_eq!(last(&line, 1).map(|(word, _)| word), Some(Word::Lost));
    assert_eq!(last(&line, 2).map(|(word, _)| word), Some(Word::Lost));
    assert_eq!(words(&line, 1 | SERVER), [Word::Called, Word::Withdrawn]);
}
