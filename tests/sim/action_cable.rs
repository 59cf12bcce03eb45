//! Action Cable where its page does not say it in a transcript: bounds, odd servers, and what must not happen. The races and
//! recordings are in tests/transcripts/action-cable.

use crate::line::{Line, Seen};
use crate::notation::{Stage, input};
use moorline::protocol::Word;
use moorline::wire::Handle;
use serde_json::{Value, json};

/// A line with a server that has welcomed it.
fn welcomed(options: &str) -> Line<Stage> {
    let mut line = made(options);
    say(&mut line, &["connect", "opened #1 actioncable-v1-json", r#"received #1 {"type":"welcome"}"#]);
    line
}

fn extended(options: &str) -> Line<Stage> {
    let mut line = made(options);
    say(&mut line, &["connect", "opened #1 actioncable-v1-ext-json", r#"received #1 {"type":"welcome","sid":"s1"}"#]);
    line
}

fn made(options: &str) -> Line<Stage> {
    let mut options: Value = serde_json::from_str(options).expect("JSON");
    options["protocol"] = json!("action-cable");
    Line::new(&options.to_string(), 1, Stage::storing(None))
}

fn say(line: &mut Line<Stage>, inputs: &[&str]) {
    for one in inputs {
        input(line, one).expect("a line of the notation").expect("no misuse");
    }
}

/// Lets time pass, ringing whatever is due.
fn pass(line: &mut Line<Stage>, millis: u64) {
    let end = line.now + millis;
    while let Some(due) = line.due.filter(|due| *due <= end) {
        line.now = due.max(line.now);
        line.ring();
    }
    line.now = end;
}

fn transmitted(line: &Line<Stage>) -> Vec<Value> {
    let sent = line.seen.iter().filter_map(|(_, seen)| match seen {
        Seen::Transmit(_, text) => Some(serde_json::from_str(text).expect("JSON")),
        _ => None,
    });
    sent.collect()
}

fn commands(line: &Line<Stage>) -> Vec<String> {
    transmitted(line).iter().map(|frame| frame["command"].as_str().expect("a command").to_owned()).collect()
}

fn told(line: &Line<Stage>, number: u32) -> Vec<(Word, String)> {
    let told = line.seen.iter().filter_map(|(_, seen)| match seen {
        Seen::Told { handle, word, text, .. } if *handle == Handle(number) => Some((*word, text.clone())),
        _ => None,
    });
    told.collect()
}

fn events(line: &Line<Stage>) -> Vec<String> {
    line.events().map(|(_, name, _)| name.to_owned()).collect()
}

fn frame(kind: &str, channel: &str) -> String {
    json!({"identifier": json!({"channel": channel}).to_string(), "type": kind}).to_string()
}

fn data(channel: &str, message: &Value) -> String {
    json!({"identifier": json!({"channel": channel}).to_string(), "message": message}).to_string()
}

fn numbered(offset: u64, epoch: &str, stream: &str) -> String {
    json!({"identifier": r#"{"channel":"C"}"#, "message": offset, "stream_id": stream, "epoch": epoch, "offset": offset})
        .to_string()
}

fn live(line: &mut Line<Stage>, channel: &str, handle: u32) {
    say(
        line,
        &[
            &format!("subscribe {handle} {}", json!({"channel": channel})),
            &format!("received #1 {}", frame("confirm_subscription", channel)),
        ],
    );
}

#[test]
fn every_value_of_json_is_a_message() {
    let mut line = welcomed("{}");
    live(&mut line, "C", 1);
    let values = [
        json!("string"),
        json!(""),
        json!(0),
        json!(-0.5),
        json!(false),
        json!(true),
        Value::Null,
        json!([]),
        json!({}),
        json!({"type": "ping"}),
        json!({"type": "confirm_subscription", "identifier": r#"{"channel":"C"}"#}),
    ];
    for value in &values {
        say(&mut line, &[&format!("received #1 {}", data("C", value))]);
    }
    let heard: Vec<Value> = line
        .seen
        .iter()
        .filter_map(|(_, seen)| match seen {
            Seen::Told { word: Word::Delta, frame: Some(frame), .. } => Some(frame["message"].clone()),
            _ => None,
        })
        .collect();
    assert_eq!(heard, values);
}

#[test]
fn a_frame_without_what_its_type_needs_is_a_fault_and_the_subscription_goes_on() {
    let mut line = welcomed("{}");
    live(&mut line, "C", 1);
    let kinds = ["confirm_subscription", "reject_subscription", "confirm_history", "reject_history", "presence"];
    for kind in kinds {
        for identifier in [Value::Null, json!(7), json!({"channel": "C"}), json!(["C"])] {
            say(&mut line, &[&format!("received #1 {}", json!({"type": kind, "identifier": identifier}))]);
        }
    }
    let faults = line.events().filter(|(_, name, detail)| *name == "ws-error" && detail["code"] == "frame.malformed");
    assert_eq!(faults.count(), kinds.len() * 4);
    say(&mut line, &[&format!("received #1 {}", data("C", &json!("still here")))]);
    assert_eq!(told(&line, 1).last().expect("told").0, Word::Delta);
}

#[test]
fn a_hundred_subscriptions_of_one_identifier_are_one_to_the_server() {
    let mut line = welcomed("{}");
    for handle in 1..=100 {
        say(&mut line, &[&format!(r#"subscribe {handle} {{"channel":"C"}}"#)]);
    }
    say(&mut line, &[&format!("received #1 {}", frame("confirm_subscription", "C"))]);
    say(&mut line, &[&format!("received #1 {}", data("C", &json!("all")))]);
    for handle in 1..=100 {
        let words: Vec<Word> = told(&line, handle).into_iter().map(|(word, _)| word).collect();
        assert_eq!(words, [Word::Confirmed, Word::Delta], "{handle}");
    }
    for handle in 1..=99 {
        say(&mut line, &[&format!("cancel {handle}")]);
    }
    assert_eq!(commands(&line), ["subscribe"]);
    say(&mut line, &["cancel 100"]);
    assert_eq!(commands(&line), ["subscribe", "unsubscribe"]);
}

#[test]
fn subscribing_and_leaving_in_a_hurry_never_puts_both_under_way_at_once() {
    let mut line = welcomed("{}");
    let mut under_way: Option<(String, u64)> = None;
    for round in 1..=40_u32 {
        say(&mut line, &[&format!(r#"subscribe {round} {{"channel":"C"}}"#), &format!("cancel {round}")]);
        if round % 3 == 0 {
            say(&mut line, &[&format!("received #1 {}", frame("confirm_subscription", "C"))]);
        }
        pass(&mut line, u64::from(round) * 7 % 200);
    }
    for (at, seen) in &line.seen {
        let Seen::Transmit(_, text) = seen else {
            continue;
        };
        let command = serde_json::from_str::<Value>(text).expect("JSON")["command"].as_str().expect("one").to_owned();
        if let Some((before, since)) = &under_way
            && before == "unsubscribe"
        {
            assert!(at - since >= 375, "{command} {} ms after an unsubscribe", at - since);
        }
        under_way = Some((command, *at));
    }
}

#[test]
fn an_identifier_that_was_left_is_forgotten_and_nothing_is_owed_to_it() {
    let mut line = welcomed("{}");
    live(&mut line, "C", 1);
    say(&mut line, &["cancel 1"]);
    pass(&mut line, 375);
    say(&mut line, &["closed #1 1006"]);
    pass(&mut line, 2000);
    say(&mut line, &["opened #2 actioncable-v1-json", r#"received #2 {"type":"welcome"}"#]);
    assert_eq!(commands(&line), ["subscribe", "unsubscribe"]);
}

#[test]
fn left_while_the_line_is_away_it_is_not_subscribed_again() {
    let mut line = welcomed("{}");
    live(&mut line, "C", 1);
    live(&mut line, "D", 2);
    say(&mut line, &["closed #1 1006", "cancel 1"]);
    pass(&mut line, 2000);
    say(&mut line, &["opened #2 actioncable-v1-json", r#"received #2 {"type":"welcome"}"#]);
    let again = transmitted(&line).pop().expect("one");
    assert_eq!(again["identifier"], r#"{"channel":"D"}"#);
    assert_eq!(commands(&line), ["subscribe", "subscribe", "subscribe"]);
}

#[test]
fn an_unanswered_subscribe_is_asked_for_anew_on_the_next_connection() {
    let mut line = welcomed("{}");
    say(&mut line, &[r#"subscribe 1 {"channel":"C"}"#]);
    pass(&mut line, 3000);
    assert_eq!(commands(&line).len(), 3);
    say(&mut line, &["closed #1 1006"]);
    pass(&mut line, 2000);
    say(&mut line, &["opened #2 actioncable-v1-json", r#"received #2 {"type":"welcome"}"#]);
    // The patience begins anew as well.
    for second in 0..14 {
        pass(&mut line, 1000);
        say(&mut line, &[&format!(r#"received #2 {{"type":"ping","message":{second}}}"#)]);
    }
    let words: Vec<Word> = told(&line, 1).into_iter().map(|(word, _)| word).collect();
    assert_eq!(words, [Word::Away]);
    pass(&mut line, 1000);
    assert_eq!(told(&line, 1).last().expect("told").1, "subscription.unconfirmed");
}

#[test]
fn whoever_gave_up_may_subscribe_again_after_the_pause() {
    let mut line = welcomed("{}");
    say(&mut line, &[r#"subscribe 1 {"channel":"C"}"#]);
    for second in 0..15 {
        pass(&mut line, 1000);
        say(&mut line, &[&format!(r#"received #1 {{"type":"ping","message":{second}}}"#)]);
    }
    say(&mut line, &[r#"subscribe 2 {"channel":"C"}"#]);
    assert_eq!(commands(&line).last().expect("one"), "unsubscribe");
    pass(&mut line, 375);
    assert_eq!(commands(&line).last().expect("one"), "subscribe");
    // What the first four bring at last belongs to the fifth: the server knows one subscription.
    say(&mut line, &[&format!("received #1 {}", frame("confirm_subscription", "C"))]);
    assert_eq!(told(&line, 2), [(Word::Confirmed, String::new())]);
}

#[test]
fn no_close_code_ends_the_line() {
    for code in (1000..1016).chain([3000, 4000, 4001, 4401, 4403, 4999]) {
        let mut line = welcomed("{}");
        say(&mut line, &[&format!("closed #1 {code}")]);
        assert!(events(&line).contains(&"ws-reconnecting".to_owned()), "{code}");
        assert!(!events(&line).contains(&"ws-failed".to_owned()), "{code}");
    }
}

#[test]
fn the_page_may_say_that_a_close_code_is_final() {
    let mut line = welcomed(r#"{"closePolicy":[[4001,false]]}"#);
    live(&mut line, "C", 1);
    say(&mut line, &["closed #1 4001"]);
    assert_eq!(events(&line).last().expect("one"), "ws-failed");
    let (word, _) = told(&line, 1).pop().expect("told");
    assert_eq!(word, Word::Away);
}

#[test]
fn every_reason_without_a_reconnect_is_final_and_with_one_is_not() {
    for reason in ["unauthorized", "token_expired", "invalid_request", "server_restart", "remote", "idle_timeout", "?"]
    {
        for (reconnect, final_) in [(json!(false), true), (json!(true), false)] {
            let mut line = welcomed("{}");
            let goodbye = json!({"type": "disconnect", "reason": reason, "reconnect": reconnect});
            say(&mut line, &[&format!("received #1 {goodbye}"), "closed #1 1000 clean"]);
            assert_eq!(events(&line).contains(&"ws-failed".to_owned()), final_, "{reason} {reconnect}");
        }
    }
}

#[test]
fn a_goodbye_with_a_word_that_is_no_boolean_is_one_without_the_word() {
    for reconnect in [Value::Null, json!("false"), json!(0), json!([])] {
        for (reason, fails) in [("unauthorized", true), ("server_restart", false)] {
            let mut line = welcomed("{}");
            let goodbye = json!({"type": "disconnect", "reason": reason, "reconnect": reconnect});
            say(&mut line, &[&format!("received #1 {goodbye}"), "closed #1 1000 clean"]);
            assert_eq!(events(&line).contains(&"ws-failed".to_owned()), fails, "{goodbye}");
        }
    }
}

#[test]
fn after_a_goodbye_nothing_more_is_sent_and_what_comes_is_still_heard() {
    let mut line = welcomed("{}");
    live(&mut line, "C", 1);
    say(
        &mut line,
        &[
            r#"received #1 {"type":"disconnect","reason":"server_restart","reconnect":true}"#,
            r#"perform 2 to:1 {"action":"kept"}"#,
            r#"subscribe 3 {"channel":"D"}"#,
            "cancel 3",
            r#"subscribe 4 {"channel":"E"}"#,
            &format!("received #1 {}", data("C", &json!("the last"))),
            r#"received #1 {"type":"welcome"}"#,
        ],
    );
    assert_eq!(commands(&line), ["subscribe"]);
    assert_eq!(told(&line, 1).last().expect("told").0, Word::Delta);
    say(&mut line, &["closed #1 1000 clean"]);
    pass(&mut line, 2000);
    say(&mut line, &["opened #2 actioncable-v1-json", r#"received #2 {"type":"welcome"}"#]);
    assert_eq!(commands(&line), ["subscribe", "subscribe", "subscribe"]);
}

#[test]
fn a_server_that_welcomes_and_drops_is_not_dialled_faster_than_the_backoff_allows() {
    let mut line = made(r#"{"reconnect":{"jitter":"none"}}"#);
    say(&mut line, &["connect"]);
    for socket in 1..=9 {
        say(
            &mut line,
            &[
                &format!("opened #{socket} actioncable-v1-json"),
                &format!(r#"received #{socket} {{"type":"welcome"}}"#),
                &format!("closed #{socket} 1006"),
            ],
        );
        line.now = line.due.expect("a retry");
        line.ring();
    }
    let waits: Vec<u64> = line
        .events()
        .filter(|(_, name, _)| *name == "ws-reconnecting")
        .map(|(_, _, detail)| detail["delayMs"].as_u64().expect("a wait"))
        .collect();
    assert!(waits[..4].iter().all(|wait| (500..2000).contains(wait)), "{waits:?}");
    assert_eq!(&waits[4..], [4000, 8000, 16_000, 30_000, 30_000]);
}

#[test]
fn the_first_waits_are_spread_over_their_second_and_a_half() {
    let mut waits: Vec<u64> = (0..200)
        .map(|seed| {
            let mut line = Line::new(r#"{"protocol":"action-cable"}"#, seed, Stage::storing(None));
            say(&mut line, &["connect", "closed #1 1006"]);
            let (_, _, detail) = line.events().last().expect("one");
            detail["delayMs"].as_u64().expect("a wait")
        })
        .collect();
    waits.sort_unstable();
    assert!(waits[0] >= 500 && waits[199] < 2000, "{waits:?}");
    assert!(waits[50] < 1100 && waits[150] > 1400, "{waits:?}");
}

#[test]
fn a_shorter_longest_wait_of_the_pages_holds_for_the_first_as_well() {
    let mut line = made(r#"{"reconnect":{"maxDelayMs":100}}"#);
    say(&mut line, &["connect", "closed #1 1006"]);
    let (_, _, detail) = line.events().last().expect("one");
    assert_eq!(detail["delayMs"], 100);
}

#[test]
fn what_waits_for_the_server_is_bounded_in_bytes() {
    let mut line = made(r#"{"queue":{"maxBytes":200}}"#);
    say(&mut line, &[r#"subscribe 1 {"channel":"C"}"#]);
    let long = "x".repeat(90);
    for handle in 2..=4 {
        say(&mut line, &[&format!(r#"perform {handle} to:1 {{"action":"{long}"}}"#)]);
    }
    assert!(told(&line, 2).is_empty());
    assert_eq!(told(&line, 3), [(Word::Rejected, "call.queue-full".into())]);
    say(&mut line, &[&format!(r#"subscribe 5 {{"channel":"{long}"}}"#)]);
    assert_eq!(told(&line, 5), [(Word::Rejected, "call.queue-full".into())]);
    // What was refused has left nothing behind: there is room again when something has gone.
    say(&mut line, &["cancel 2", &format!(r#"perform 6 to:1 {{"action":"{long}"}}"#)]);
    assert!(told(&line, 6).is_empty());
}

#[test]
fn left_identifiers_do_not_pile_up_faster_than_they_are_forgotten() {
    let mut line = made(r#"{"queue":{"maxMessages":50}}"#);
    say(&mut line, &["connect", "opened #1 actioncable-v1-json", r#"received #1 {"type":"welcome"}"#]);
    let mut refused = 0;
    for handle in 1..=500 {
        live(&mut line, &format!("C{handle}"), handle);
        say(&mut line, &[&format!("cancel {handle}")]);
        refused += told(&line, handle).iter().filter(|(word, _)| *word == Word::Rejected).count();
    }
    assert_eq!(refused, 450);
    pass(&mut line, 375);
    live(&mut line, "again", 501);
    assert_eq!(told(&line, 501), [(Word::Confirmed, String::new())]);
}

#[test]
fn a_command_longer_than_the_server_takes_is_refused_and_not_sent() {
    let mut line = extended(r#"{"actionCable":{"anycable":true}}"#);
    live(&mut line, "C", 1);
    let long = "x".repeat(65_536);
    say(&mut line, &[&format!(r#"perform 2 to:1 {{"action":"{long}"}}"#)]);
    assert_eq!(told(&line, 2), [(Word::Rejected, "call.too-large".into())]);
    let mut line = welcomed("{}");
    live(&mut line, "C", 1);
    say(&mut line, &[&format!(r#"perform 2 to:1 {{"action":"{long}"}}"#)]);
    assert_eq!(told(&line, 2), [(Word::Sent, String::new())]);
}

#[test]
fn nesting_is_counted_as_the_server_counts_it() {
    let mut line = welcomed("{}");
    live(&mut line, "C", 1);
    let nested = |levels: usize| format!(r#"{{"deep":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    say(&mut line, &[&format!("perform 2 to:1 {}", nested(99)), &format!("perform 3 to:1 {}", nested(100))]);
    assert_eq!(told(&line, 2), [(Word::Sent, String::new())]);
    assert_eq!(told(&line, 3), [(Word::Rejected, "call.too-large".into())]);
    // Brackets in strings are text, whatever is escaped before them.
    let text = json!({"action": "[".repeat(200), "quoted": "\\\"[[[".repeat(50)}).to_string();
    say(&mut line, &[&format!("perform 4 to:1 {text}")]);
    assert_eq!(told(&line, 4), [(Word::Sent, String::new())]);
}

#[test]
fn a_verb_that_the_protocol_does_not_have_is_refused() {
    let mut line = welcomed("{}");
    say(&mut line, &["request 1 x", "run 2 x", "notify 3 x", "observe 4 x"]);
    for handle in 1..=4 {
        assert_eq!(told(&line, handle), [(Word::Rejected, "call.unsupported".into())]);
    }
}

#[test]
fn a_sid_of_a_server_that_does_not_speak_the_extension_is_not_presented() {
    let mut line = made(r#"{"actionCable":{"anycable":true}}"#);
    say(
        &mut line,
        &["connect", "opened #1 actioncable-v1-json", r#"received #1 {"type":"welcome","sid":"s1"}"#, "closed #1 1006"],
    );
    pass(&mut line, 2000);
    assert!(line.seen.iter().any(|(_, seen)| *seen == Seen::Open(2, String::new())), "{:?}", line.seen);
}

#[test]
fn a_sid_goes_into_a_query_whatever_it_is_made_of() {
    let mut line = made(r#"{"actionCable":{"anycable":true}}"#);
    let welcome = json!({"type": "welcome", "sid": "a&b=c#d?e%é"});
    say(
        &mut line,
        &["connect", "opened #1 actioncable-v1-ext-json", &format!("received #1 {welcome}"), "closed #1 1006"],
    );
    pass(&mut line, 2000);
    let open = Seen::Open(2, "?sid=a%26b%3Dc%23d%3Fe%25%C3%A9".into());
    assert!(line.seen.iter().any(|(_, seen)| *seen == open), "{:?}", line.seen);
}

#[test]
fn positions_and_what_is_remembered_of_them_are_bounded() {
    let mut line = extended(r#"{"actionCable":{"anycable":true}}"#);
    live(&mut line, "C", 1);
    for stream in 0..40 {
        say(&mut line, &[&format!("received #1 {}", numbered(7, "e", &format!("stream{stream}")))]);
    }
    let long = "x".repeat(2000);
    say(&mut line, &[&format!("received #1 {}", numbered(7, "e", &long))]);
    let heard = told(&line, 1).iter().filter(|(word, _)| *word == Word::Delta).count();
    assert_eq!(heard, 41);
    say(&mut line, &["closed #1 1006"]);
    pass(&mut line, 2000);
    say(&mut line, &["opened #2 actioncable-v1-ext-json", r#"received #2 {"type":"welcome","sid":"s2"}"#]);
    let asked = transmitted(&line).pop().expect("one");
    let streams = asked["history"]["streams"].as_object().expect("streams");
    assert_eq!(streams.len(), 32);
    assert!(streams.contains_key("stream39") && !streams.contains_key("stream0"));
    // Live messages while history is on its way: all are delivered once, and beyond the bound rather twice than never.
    say(&mut line, &[&format!("received #2 {}", frame("confirm_subscription", "C"))]);
    let before = told(&line, 1).len();
    for offset in 1000..1300 {
        say(&mut line, &[&format!("received #2 {}", numbered(offset, "e", "stream39"))]);
    }
    assert_eq!(told(&line, 1).len() - before, 300);
    for offset in 1000..1300 {
        say(&mut line, &[&format!("received #2 {}", numbered(offset, "e", "stream39"))]);
    }
    assert_eq!(told(&line, 1).len() - before, 300 + 44);
}

#[test]
fn a_position_never_moves_backwards() {
    let mut line = extended(r#"{"actionCable":{"anycable":true}}"#);
    live(&mut line, "C", 1);
    for offset in [5, 3, 6, 6, 1, 9, 8] {
        say(&mut line, &[&format!("received #1 {}", numbered(offset, "e", "s"))]);
    }
    let heard = told(&line, 1).iter().filter(|(word, _)| *word == Word::Delta).count();
    assert_eq!(heard, 3);
    say(&mut line, &["closed #1 1006"]);
    pass(&mut line, 2000);
    say(&mut line, &["opened #2 actioncable-v1-ext-json", r#"received #2 {"type":"welcome","sid":"s2"}"#]);
    let asked = transmitted(&line).pop().expect("one");
    assert_eq!(asked["history"]["streams"]["s"], json!({"epoch": "e", "offset": 9}));
}

#[test]
fn a_loss_while_history_is_on_its_way_asks_from_where_the_first_loss_was() {
    let mut line = extended(r#"{"actionCable":{"anycable":true}}"#);
    live(&mut line, "C", 1);
    say(
        &mut line,
        &[
            &format!("received #1 {}", numbered(4, "e", "s")),
            r#"received #1 {"type":"ping","message":1000}"#,
            "closed #1 1006",
        ],
    );
    pass(&mut line, 2000);
    say(
        &mut line,
        &[
            "opened #2 actioncable-v1-ext-json",
            r#"received #2 {"type":"welcome","sid":"s2"}"#,
            &format!("received #2 {}", frame("confirm_subscription", "C")),
            &format!("received #2 {}", numbered(9, "e", "s")),
            r#"received #2 {"type":"ping","message":2000}"#,
            "closed #2 1006",
        ],
    );
    pass(&mut line, 8000);
    say(&mut line, &["opened #3 actioncable-v1-ext-json", r#"received #3 {"type":"welcome","sid":"s3"}"#]);
    let asked = transmitted(&line).pop().expect("one");
    assert_eq!(asked["history"], json!({"since": 1000, "streams": {"s": {"epoch": "e", "offset": 4}}}));
}

#[test]
fn the_servers_clock_is_read_in_whatever_it_counts() {
    for (message, since) in [
        (json!(1_795_219_381), Some(1_795_219_381)),
        (json!(1_795_219_381_123_u64), Some(1_795_219_381)),
        (json!(1_795_219_381_123_456_789_u64), Some(1_795_219_381)),
        (json!("soon"), None),
        (json!(-5), None),
        (json!(0), None),
        (json!(1e308), None),
    ] {
        let mut line = extended(r#"{"actionCable":{"anycable":true}}"#);
        live(&mut line, "C", 1);
        say(&mut line, &[&format!("received #1 {}", json!({"type": "ping", "message": message})), "closed #1 1006"]);
        pass(&mut line, 2000);
        say(&mut line, &["opened #2 actioncable-v1-ext-json", r#"received #2 {"type":"welcome"}"#]);
        let asked = transmitted(&line).pop().expect("one");
        match since {
            Some(since) => assert_eq!(asked["history"]["since"], since, "{message}"),
            None if message == json!(1e308) => {}
            None => assert_eq!(asked["history"], Value::Null, "{message}"),
        }
    }
}

#[test]
fn restored_ids_of_any_shape_harm_nothing() {
    for ids in [json!("x"), json!({"0": "x"}), json!([7, "x"]), json!([]), Value::Null, json!(["{}", "{}", "{}"])] {
        let mut line = extended(r#"{"actionCable":{"anycable":true}}"#);
        live(&mut line, "C", 1);
        say(&mut line, &["closed #1 1006"]);
        pass(&mut line, 2000);
        let welcome = json!({"type": "welcome", "sid": "s2", "restored": true, "restored_ids": ids});
        say(&mut line, &["opened #2 actioncable-v1-ext-json", &format!("received #2 {welcome}")]);
        let subscribed = transmitted(&line);
        let again = subscribed.iter().filter(|frame| frame["command"] == "subscribe").count();
        assert_eq!(again, 2, "{ids}: {subscribed:?}");
    }
}

#[test]
fn an_identifier_that_is_restored_twice_and_wanted_by_nobody_is_left_once_and_free_again() {
    let mut line = extended(r#"{"actionCable":{"anycable":true}}"#);
    say(&mut line, &["closed #1 1006"]);
    pass(&mut line, 2000);
    let ids = [r#"{"channel":"C"}"#; 3];
    let welcome = json!({"type": "welcome", "sid": "s2", "restored": true, "restored_ids": ids});
    say(&mut line, &["opened #2 actioncable-v1-ext-json", &format!("received #2 {welcome}")]);
    assert_eq!(commands(&line), ["unsubscribe"]);
    pass(&mut line, 375);
    say(&mut line, &[r#"subscribe 1 {"channel":"C"}"#]);
    assert_eq!(commands(&line), ["unsubscribe", "subscribe"]);
}

#[test]
fn a_line_without_an_end_tells_each_perform_once_that_it_is_over() {
    let mut line = made("{}");
    say(
        &mut line,
        &[r#"subscribe 1 {"channel":"C"}"#, r#"perform 2 to:1 {"action":"x"}"#, "connect", "dispose", "dispose"],
    );
    pass(&mut line, 100_000);
    assert_eq!(told(&line, 2), [(Word::Lost, String::new())]);
}
