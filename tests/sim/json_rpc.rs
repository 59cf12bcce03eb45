//! JSON-RPC beyond its page: bounds, order, batches that are cut short, and what a server may get wrong.

use crate::line::{Line, Seen};
use crate::notation::{Stage, input};
use moorline::protocol::Word;
use serde_json::{Value, json};

fn line() -> Line<Stage> {
    let mut line = Line::new(r#"{"protocol":"json-rpc","reconnect":{"jitter":"none"}}"#, 1, Stage::storing(None));
    play(&mut line, &["connect", "opened #1"]);
    line
}

fn play(line: &mut Line<Stage>, lines: &[&str]) {
    for text in lines {
        input(line, text).expect("notation").expect("no misuse");
    }
}

fn words(line: &Line<Stage>, handle: u32) -> Vec<Word> {
    let told = line.seen.iter().filter_map(|(_, seen)| match seen {
        Seen::Told { handle: told, word, .. } if told.0 == handle => Some(*word),
        _ => None,
    });
    told.collect()
}

fn sent(line: &Line<Stage>) -> Vec<Value> {
    let texts = line.seen.iter().filter_map(|(_, seen)| match seen {
        Seen::Transmit(_, text) => Some(serde_json::from_str(text).expect("JSON")),
        _ => None,
    });
    texts.collect()
}

fn events<'a>(line: &'a Line<Stage>, name: &'a str) -> impl Iterator<Item = &'a Value> {
    line.events().filter(move |(_, event, _)| *event == name).map(|(.., detail)| detail)
}

#[test]
fn answers_out_of_order_twice_and_never_end_each_call_once() {
    let mut line = line();
    play(&mut line, &["request 1 a", "request 2 b", "request 3 c timeout:50"]);
    for id in [2, 1, 2, 1] {
        line.received(moorline::wire::SocketId(1), &json!({"jsonrpc": "2.0", "result": id, "id": id}).to_string());
    }
    line.now = line.due.expect("the third call's time");
    line.ring();
    play(&mut line, &[r#"received #1 {"jsonrpc":"2.0","result":3,"id":3}"#]);
    assert_eq!(words(&line, 1), [Word::Result]);
    assert_eq!(words(&line, 2), [Word::Result]);
    assert_eq!(words(&line, 3), [Word::TimedOut]);
    assert_eq!(events(&line, "ws-error").count(), 0);
}

#[test]
fn a_timer_of_a_call_that_was_answered_ends_no_other_before_its_time() {
    let mut line = line();
    play(&mut line, &["request 1 a timeout:50", "request 2 b timeout:100", "request 3 c timeout:70"]);
    play(&mut line, &[r#"received #1 {"jsonrpc":"2.0","result":1,"id":1}"#]);
    assert_eq!(words(&line, 1), [Word::Result]);
    for (now, over) in [(50, [false, false]), (70, [false, true]), (100, [true, true])] {
        while line.due.is_some_and(|due| due <= now) {
            line.now = line.due.unwrap_or_default();
            line.ring();
        }
        let timed_out = [2, 3].map(|handle| words(&line, handle) == [Word::TimedOut]);
        assert_eq!(timed_out, over, "after {now} ms");
    }
}

#[test]
fn an_answer_with_an_id_that_is_no_handle_is_reported_and_shown() {
    for id in [json!(0), json!(-1), json!(1.5), json!(4_294_967_297_u64), json!({}), json!([1]), json!(true)] {
        let mut line = line();
        play(&mut line, &["request 1 a"]);
        let frame = json!({"jsonrpc": "2.0", "result": 1, "id": id});
        play(&mut line, &[&format!("received #1 {frame}")]);
        assert_eq!(words(&line, 1), [], "{id}");
        assert_eq!(events(&line, "ws-unhandled").collect::<Vec<_>>(), [&frame]);
        assert_eq!(line.client.counters().misbehaved, 1.0);
    }
}

#[test]
fn the_servers_calls_are_bounded_and_the_one_too_many_is_told_so() {
    let mut line = line();
    for id in 0..300 {
        play(&mut line, &[&format!(r#"received #1 {{"jsonrpc":"2.0","method":"x","id":{id}}}"#)]);
    }
    let refused = sent(&line);
    assert_eq!(refused.len(), 44);
    assert_eq!(
        refused[0],
        json!({"jsonrpc": "2.0", "error": {"code": -32000, "message": "Too many calls wait"}, "id": 256})
    );
    play(&mut line, &["reply s1 {}", r#"received #1 {"jsonrpc":"2.0","method":"x","id":"room"}"#]);
    assert_eq!(sent(&line).len(), 45);
}

#[test]
fn a_batch_of_too_many_calls_is_answered_in_full() {
    let mut line = line();
    let calls: Vec<Value> = (0..300).map(|id| json!({"jsonrpc": "2.0", "method": "x", "id": id})).collect();
    play(&mut line, &[&format!("received #1 {}", json!(calls))]);
    for handle in 1..=256 {
        assert!(sent(&line).is_empty());
        play(&mut line, &[&format!("reply s{handle} {{}}")]);
    }
    let [answer] = &sent(&line)[..] else { panic!("one array") };
    assert_eq!(answer.as_array().map(Vec::len), Some(300));
}

#[test]
fn a_batch_that_the_line_cuts_short_is_not_answered_on_the_next_socket() {
    let mut line = line();
    play(
        &mut line,
        &[
            r#"received #1 [{"jsonrpc":"2.0","method":"x","id":1},{"jsonrpc":"2.0","method":"y","id":2}]"#,
            "reply s1 {}",
            "closed #1 1006",
        ],
    );
    line.now = line.due.expect("a wait");
    line.ring();
    play(
        &mut line,
        &["opened #2", "reply s2 {}", r#"received #2 {"jsonrpc":"2.0","method":"z","id":3}"#, "reply s3 {}"],
    );
    assert_eq!(words(&line, 1 | 1 << 31), [Word::Called, Word::Sent]);
    assert_eq!(words(&line, 2 | 1 << 31), [Word::Called, Word::Withdrawn]);
    assert_eq!(sent(&line), [json!({"jsonrpc": "2.0", "result": {}, "id": 3})]);
}

#[test]
fn a_batch_waits_for_the_line_and_one_without_calls_is_none() {
    let mut line = Line::new(r#"{"protocol":"json-rpc"}"#, 1, Stage::storing(None));
    play(&mut line, &["connect", "batch 1 begins", "batch 2"]);
    play(
        &mut line,
        &["batch 3 begins", "request 4 a", "request 5 b", "batch 6", "request 7 c", "cancel 5", "opened #1"],
    );
    let ids: Vec<Value> = sent(&line);
    assert_eq!(
        ids,
        [json!([{"jsonrpc": "2.0", "id": 4, "method": "a"}]), json!({"jsonrpc": "2.0", "id": 7, "method": "c"}),]
    );
}

#[test]
fn no_more_calls_are_kept_than_the_queue_may_hold() {
    let mut line =
        Line::new(r#"{"protocol":"json-rpc","queue":{"maxMessages":2,"maxBytes":40}}"#, 1, Stage::storing(None));
    play(&mut line, &["request 1 a", "request 2 b", "request 3 c"]);
    assert_eq!(words(&line, 3), [Word::Rejected]);
    play(&mut line, &["cancel 1", "request 4 [\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"]"]);
    assert_eq!(words(&line, 4), [Word::Rejected]);
    play(&mut line, &["request 5 d"]);
    assert_eq!(words(&line, 5), []);
}

#[test]
fn a_call_that_no_wait_makes_room_for_is_too_large_and_one_more_than_fits_is_one_too_many() {
    let mut line = Line::new(r#"{"protocol":"json-rpc","queue":{"maxBytes":40}}"#, 1, Stage::storing(None));
    let (small, large) = ("x".repeat(30), "x".repeat(40));
    play(&mut line, &[&format!("request 1 {small}"), &format!("request 2 {small}"), &format!("request 3 {large}x")]);
    let why = |handle: u32| {
        line.seen.iter().find_map(|(_, seen)| match seen {
            Seen::Told { handle: told, text, .. } if told.0 == handle => Some(text.clone()),
            _ => None,
        })
    };
    assert_eq!(why(1), None);
    assert_eq!(why(2).as_deref(), Some("call.queue-full"));
    assert_eq!(why(3).as_deref(), Some("call.too-large"));
}

#[test]
fn two_peers_that_refuse_each_others_answers_do_not_talk_for_ever() {
    let mut line = line();
    play(
        &mut line,
        &[r#"received #1 {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}"#],
    );
    play(&mut line, &[r#"received #1 {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"}}"#]);
    play(
        &mut line,
        &[r#"received #1 [{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}]"#],
    );
    assert_eq!(sent(&line), [] as [Value; 0]);
    assert_eq!(events(&line, "rpc-error").count(), 3);
}

#[test]
fn a_line_that_nobody_sees_is_not_parked_while_a_call_waits_for_its_answer() {
    let options = r#"{"protocol":"json-rpc","hidden":"park","hiddenAfterMs":1000}"#;
    let mut line = Line::new(options, 1, Stage::storing(None));
    play(&mut line, &["connect", "opened #1", "request 1 a timeout:60000", "hidden"]);
    let pass = |line: &mut Line<Stage>, until: u64| {
        while let Some(due) = line.due.filter(|due| *due <= until) {
            line.now = due;
            line.ring();
        }
        line.now = until;
    };
    pass(&mut line, 50_000);
    assert_eq!(events(&line, "ws-disconnected").count(), 0);
    play(&mut line, &[r#"received #1 {"jsonrpc":"2.0","result":1,"id":1}"#]);
    pass(&mut line, 60_000);
    let told: Vec<_> = events(&line, "ws-disconnected").collect();
    assert_eq!((told.len(), &told[0]["cause"], &told[0]["code"]), (1, &json!("lifecycle"), &json!(1000)));
    // One that is asked meanwhile waits for the page, as long as it may.
    play(&mut line, &["request 2 b timeout:5000", "request 3 c"]);
    pass(&mut line, 65_000);
    assert_eq!((words(&line, 2), words(&line, 3)), (vec![Word::TimedOut], vec![]));
    play(&mut line, &["visible", "opened #2", r#"received #2 {"jsonrpc":"2.0","result":1,"id":3}"#]);
    assert_eq!(words(&line, 3), [Word::Result]);
}
