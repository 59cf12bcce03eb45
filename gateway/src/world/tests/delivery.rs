//! The acknowledgement extension on virtual time: streams, acknowledgements, feeds and resumes, well done and badly.

use super::*;
use crate::world::misconduct::Request;

const STREAM: &str = "00112233aabbccdd";
const OTHER: &str = "ffeeddccbbaa9988";

fn delivering() -> Config {
    Config { delivery: true, snapshot: false, ..quiet() }
}

impl Play {
    /// A client whose stream is open; gives its connection, id and token.
    fn line(&mut self, stream: &str) -> (ConnectionId, String, String) {
        let (id, client, token) = self.newcomer();
        self.open(id, stream);
        (id, client, token)
    }

    fn open(&mut self, id: ConnectionId, stream: &str) {
        self.say(id, &json!({"type": "delivery-open", "stream": stream}));
    }

    fn chat(&mut self, id: ConnectionId, number: u64) {
        self.say(id, &json!({"type": "chat", "text": number.to_string(), "$seq": number}));
    }

    /// Comes back on a connection of its own, and gives the answer and what follows it.
    fn back(&mut self, token: &str, extra: Value) -> (ConnectionId, Value, Vec<Value>) {
        let id = self.connect();
        let mut resume = json!({"type": "session-resume", "token": token});
        resume.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.say(id, &resume);
        let mut told = self.told(id);
        assert_eq!(told.remove(0)["type"], "gateway-offer");
        let answer = told.remove(0);
        assert_eq!(answer["type"], "session-resumed");
        (id, answer["delivery"].clone(), told)
    }

    fn epoch(&mut self) -> String {
        self.world.sessions().epoch().to_owned()
    }

    fn misbehave(&mut self, request: Value) {
        let request: Request = serde_json::from_value(request).unwrap();
        self.world.misbehave(self.now, request);
        self.collect();
    }

    fn taken(&self) -> Vec<u64> {
        let entries = serde_json::to_value(self.world.journal().taken()).unwrap();
        entries.as_array().unwrap().iter().map(|entry| entry["number"].as_u64().unwrap()).collect()
    }

    fn acks(&mut self, id: ConnectionId) -> Vec<u64> {
        let told = self.told(id).into_iter().filter(|frame| frame["type"] == "delivery-ack");
        told.map(|frame| frame["seq"].as_u64().unwrap()).collect()
    }
}

fn numbers(frames: &[Value]) -> Vec<u64> {
    frames.iter().filter_map(|frame| frame["$seq"].as_u64()).collect()
}

#[test]
fn the_offer_names_the_epoch_and_the_window_and_the_greeting_says_where_the_feed_stands() {
    let mut play = Play::new(Config { delivery_window: 7, ..delivering() });
    let epoch = play.epoch();
    let id = play.connect();
    play.pass(200);
    let told = play.told(id);
    assert_eq!(told[0], json!({"type": "gateway-offer", "ping": true, "delivery": {"epoch": epoch, "window": 7}}));
    assert_eq!((&told[1]["type"], &told[1]["seq"]), (&json!("session-init"), &json!(0)));
}

#[test]
fn without_the_offer_nothing_is_numbered_and_the_extensions_words_are_malformed() {
    for config in [quiet(), Config { offer: false, ..delivering() }] {
        let mut play = Play::new(Config { snapshot: false, ..config });
        let (speaker, ..) = play.newcomer();
        let (listener, ..) = play.newcomer();
        play.told(speaker);
        play.open(speaker, STREAM);
        play.say(speaker, &json!({"type": "delivery-ack", "seq": 0}));
        assert_eq!(play.world.totals().malformed, 2);
        play.say(speaker, &json!({"type": "chat", "text": "a", "$seq": 1}));
        play.say(speaker, &json!({"type": "chat", "text": "a", "$seq": 1}));
        play.pass(1_000);
        let told = play.told(listener);
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|frame| frame.get("$seq").is_none()));
        assert!(play.acks(speaker).is_empty());
    }
}

#[test]
fn a_message_is_taken_once_however_often_it_comes_and_acknowledged_each_time() {
    let mut play = Play::new(delivering());
    let (speaker, ..) = play.line(STREAM);
    let (listener, ..) = play.newcomer();
    play.told(listener);
    for number in [1, 2, 2, 1, 5] {
        play.chat(speaker, number);
        play.pass(50);
    }
    assert_eq!(play.acks(speaker), [1, 2, 2, 2, 5]);
    let heard: Vec<Value> = play.told(listener).iter().map(|frame| frame["text"].clone()).collect();
    assert_eq!(heard, ["1", "2", "5"]);
    assert_eq!(play.taken(), [1, 2, 5]);
}

#[test]
fn an_acknowledgement_waits_for_a_quarter_of_the_window_or_its_time_or_a_ping() {
    let mut play = Play::new(Config { delivery_window: 16, ..delivering() });
    let (id, ..) = play.line(STREAM);
    play.told(id);
    (1..=3).for_each(|number| play.chat(id, number));
    assert!(play.acks(id).is_empty());
    play.chat(id, 4);
    assert_eq!(play.acks(id), [4]);
    play.chat(id, 5);
    play.pass(49);
    assert!(play.acks(id).is_empty());
    play.pass(1);
    assert_eq!(play.acks(id), [5]);
    play.chat(id, 6);
    play.told(id);
    play.say(id, &json!({"type": "ping", "n": 1}));
    assert_eq!(play.kinds(id), ["delivery-ack", "pong"]);
    play.pass(1_000);
    assert!(play.acks(id).is_empty());
}

#[test]
fn a_message_that_means_nothing_is_taken_all_the_same() {
    let mut play = Play::new(delivering());
    let (id, ..) = play.line(STREAM);
    play.told(id);
    let meaningless = [
        json!({"$data": [1, 2], "$seq": 1}),
        json!({"type": "chat", "$seq": 2}),
        json!({"type": "session-resume", "token": "x", "$seq": 3}),
        json!({"type": "delivery-open", "stream": OTHER, "$seq": 4}),
    ];
    for frame in meaningless {
        play.say(id, &frame);
    }
    play.pass(50);
    assert_eq!(play.told(id), [json!({"type": "delivery-ack", "seq": 4})]);
    assert_eq!(play.world.totals().malformed, 4);
}

#[test]
fn a_number_that_cannot_be_is_malformed_and_takes_nothing() {
    let mut play = Play::new(delivering());
    let (id, ..) = play.line(STREAM);
    let (listener, ..) = play.newcomer();
    play.told(listener);
    for number in [json!(0), json!(-1), json!(1.5), json!("1"), json!(null)] {
        play.say(id, &json!({"type": "chat", "text": "a", "$seq": number}));
    }
    assert!(play.told(listener).is_empty());
    assert_eq!(play.world.totals().malformed, 5);
    play.chat(id, 1);
    assert_eq!(play.told(listener).len(), 1);
}

#[test]
fn a_senders_number_never_reaches_the_others() {
    let mut play = Play::new(delivering());
    let (id, ..) = play.line(STREAM);
    let (listener, ..) = play.newcomer();
    play.told(listener);
    play.say(id, &json!({"type": "bark", "$seq": 900, "loud": true}));
    let unopened = play.newcomer().0;
    play.told(listener);
    play.say(unopened, &json!({"type": "bark", "$seq": 900}));
    assert_eq!(numbers(&play.told(listener)), [3]);
}

#[test]
fn what_must_not_be_missed_is_numbered_without_a_hole_and_what_is_of_the_moment_is_not() {
    let mut play = Play::new(delivering());
    let (listener, ..) = play.newcomer();
    play.told(listener);
    let (speaker, ..) = play.newcomer();
    play.say(speaker, &json!({"type": "chat", "text": "a"}));
    play.say(speaker, &json!({"type": "move", "x": 1}));
    play.say(speaker, &json!({"type": "profile", "name": "Ada"}));
    play.say(speaker, &json!({"type": "bark"}));
    play.hang_up(speaker);
    play.pass(10_000);
    let told = play.told(listener);
    let kinds: Vec<(String, Option<u64>)> =
        told.iter().map(|frame| (text(&frame["type"]), frame["$seq"].as_u64())).collect();
    let expected = [
        ("player-joined", Some(1)),
        ("chat-message", Some(2)),
        ("player-moved", None),
        ("player-updated", Some(3)),
        ("bark", Some(4)),
        ("player-left", Some(5)),
    ];
    assert_eq!(kinds, expected.map(|(kind, number)| (kind.to_owned(), number)));
}

#[test]
fn a_line_that_comes_back_is_told_what_was_taken_and_gets_what_it_missed_before_anything_live() {
    let mut play = Play::new(Config { snapshot: true, ..delivering() });
    let (speaker, ..) = play.line(OTHER);
    let (listener, _, token) = play.line(STREAM);
    play.chat(listener, 17);
    (1..=5).for_each(|number| play.chat(speaker, number));
    let seen = numbers(&play.told(listener)).last().copied().unwrap() - 2;
    play.hang_up(listener);
    play.chat(speaker, 6);
    let epoch = play.epoch();
    let (_, answer, told) = play.back(&token, json!({"stream": STREAM, "epoch": epoch, "seen": seen}));
    let (from, to) = (seen + 1, seen + 3);
    assert_eq!(answer, json!({"epoch": epoch, "taken": 17, "recovered": true, "from": from, "to": to}));
    assert_eq!(numbers(&told), [seen + 1, seen + 2, seen + 3]);
    let kinds: Vec<&Value> = told.iter().map(|frame| &frame["type"]).collect();
    assert_eq!(kinds, ["chat-message", "chat-message", "chat-message", "world_state"]);
}

#[test]
fn what_is_kept_no_more_is_a_gap_and_the_rest_is_repeated() {
    let mut play = Play::new(Config { delivery_keep: 2, ..delivering() });
    let (speaker, ..) = play.line(OTHER);
    let (listener, _, token) = play.line(STREAM);
    play.hang_up(listener);
    (1..=5).for_each(|number| play.chat(speaker, number));
    let epoch = play.epoch();
    let (_, answer, told) = play.back(&token, json!({"stream": STREAM, "epoch": epoch, "seen": 0}));
    let gap = json!({"from": 1, "to": 3, "reason": "trimmed"});
    let expected = json!({"epoch": epoch, "taken": 0, "recovered": false, "gap": gap, "from": 4, "to": 5});
    assert_eq!(answer, expected);
    assert_eq!(numbers(&told), [4, 5]);
}

#[test]
fn a_cursor_of_another_epoch_is_a_gap_without_an_end() {
    let mut play = Play::new(delivering());
    let (listener, _, token) = play.line(STREAM);
    play.hang_up(listener);
    let epoch = play.epoch();
    let (_, answer, told) = play.back(&token, json!({"stream": STREAM, "epoch": "before", "seen": 41}));
    let gap = json!({"from": 42, "to": null, "reason": "epoch"});
    let expected = json!({"epoch": epoch, "taken": 0, "recovered": false, "gap": gap, "from": 1, "to": 0});
    assert_eq!(answer, expected);
    assert!(told.is_empty());
}

#[test]
fn a_resume_without_a_cursor_is_told_where_the_feed_stands_and_nothing_is_repeated() {
    let mut play = Play::new(delivering());
    let (speaker, ..) = play.line(OTHER);
    let (listener, _, token) = play.newcomer();
    play.chat(speaker, 1);
    play.hang_up(listener);
    for half in [json!({}), json!({"seen": 1}), json!({"epoch": "e"}), json!({"stream": 7, "seen": "x", "epoch": {}})] {
        let (id, answer, told) = play.back(&token, half);
        let epoch = play.epoch();
        assert_eq!(answer, json!({"epoch": epoch, "recovered": false, "from": 2, "to": 1}));
        assert!(told.is_empty());
        play.hang_up(id);
    }
}

#[test]
fn a_session_that_forgot_a_stream_does_not_say_what_was_taken_of_it() {
    let mut play = Play::new(delivering());
    let (id, _, token) = play.line(STREAM);
    play.chat(id, 3);
    play.hang_up(id);
    play.misbehave(json!({"forgetStreams": true}));
    let epoch = play.epoch();
    let (_, answer, _) = play.back(&token, json!({"stream": STREAM, "epoch": epoch, "seen": 0}));
    assert_eq!(answer.get("taken"), None);
}

#[test]
fn a_new_epoch_knows_the_session_and_nothing_that_was_sent_in_it() {
    let mut play = Play::new(delivering());
    let (id, _, token) = play.line(STREAM);
    play.chat(id, 3);
    let before = play.epoch();
    play.misbehave(json!({"newEpoch": true}));
    assert_eq!(play.closed, [(id, 1006)]);
    play.hang_up(id);
    let (_, answer, _) = play.back(&token, json!({"stream": STREAM, "epoch": before, "seen": 1}));
    let epoch = play.epoch();
    assert_ne!(epoch, before);
    let gap = json!({"from": 2, "to": null, "reason": "epoch"});
    assert_eq!(answer, json!({"epoch": epoch, "recovered": false, "gap": gap, "from": 1, "to": 0}));
}

#[test]
fn from_the_resume_on_nothing_is_taken_from_the_connection_before() {
    let mut play = Play::new(Config { echo: true, ..delivering() });
    let (first, _, token) = play.line(STREAM);
    let (listener, ..) = play.newcomer();
    play.chat(first, 1);
    play.told(listener);
    let epoch = play.epoch();
    let (second, answer, _) = play.back(&token, json!({"stream": STREAM, "epoch": epoch, "seen": 0}));
    assert_eq!(answer["taken"], 1);
    play.told(first);
    play.chat(first, 2);
    play.say(first, &json!({"type": "chat", "text": "unnumbered"}));
    assert!(play.told(listener).is_empty());
    play.chat(second, 2);
    assert_eq!(play.told(listener).len(), 1);
    assert_eq!(numbers(&play.told(second)).len(), 1);
    assert!(play.told(first).is_empty());
    assert_eq!(play.taken(), [1, 2]);
    play.say(first, &json!({"type": "ping", "n": 1}));
    assert_eq!(play.kinds(first), ["pong"]);
    play.pass(1_999);
    assert!(play.closed.is_empty());
    play.pass(1);
    assert_eq!(play.closed, [(first, 1000)]);
}

#[test]
fn opening_a_stream_on_another_connection_fences_as_a_resume_does() {
    let mut play = Play::new(delivering());
    let (first, _, token) = play.line(STREAM);
    let second = play.connect();
    play.resume(second, &token);
    play.open(second, STREAM);
    play.chat(first, 1);
    assert!(play.taken().is_empty());
    play.chat(second, 1);
    assert_eq!(play.taken(), [1]);
}

#[test]
fn the_tabs_of_a_session_each_have_their_stream_and_all_hear_the_feed() {
    let mut play = Play::new(Config { echo: true, ..delivering() });
    let (first, _, token) = play.line(STREAM);
    let second = play.connect();
    play.resume(second, &token);
    play.open(second, OTHER);
    play.told(first);
    play.told(second);
    play.chat(first, 1);
    play.chat(second, 1);
    assert_eq!(play.taken(), [1, 1]);
    assert_eq!((numbers(&play.told(first)), numbers(&play.told(second))), (vec![1, 2], vec![1, 2]));
    play.pass(5_000);
    assert!(play.closed.is_empty());
}

#[test]
fn a_refused_line_has_its_stream_in_the_new_session_where_nothing_was_taken() {
    let mut play = Play::new(delivering());
    let id = play.connect();
    play.say(id, &json!({"type": "session-resume", "token": "made up", "stream": STREAM, "epoch": "e", "seen": 4}));
    assert_eq!(play.kinds(id), ["gateway-offer", "session-refused", "session-init"]);
    play.chat(id, 9);
    play.pass(50);
    assert_eq!(play.acks(id), [9]);
}

#[test]
fn a_renewed_token_leaves_the_cursor_alone() {
    let mut play = Play::new(delivering());
    let (id, ..) = play.line(STREAM);
    play.told(id);
    play.world.rotate(play.now);
    play.collect();
    let told = play.told(id);
    assert_eq!(told[0]["type"], "session-init");
    assert_eq!(told[0].get("seq"), None);
}

#[test]
fn what_a_line_has_had_is_forgotten_and_more_than_there_is_it_cannot_have_had() {
    let mut play = Play::new(delivering());
    let (speaker, ..) = play.line(OTHER);
    let (listener, _, token) = play.line(STREAM);
    (1..=5).for_each(|number| play.chat(speaker, number));
    play.say(listener, &json!({"type": "delivery-ack", "seq": 4}));
    play.say(listener, &json!({"type": "delivery-ack", "seq": 99}));
    assert_eq!(play.world.totals().malformed, 1);
    play.hang_up(listener);
    let epoch = play.epoch();
    let (_, answer, _) = play.back(&token, json!({"stream": STREAM, "epoch": epoch, "seen": 3}));
    assert_eq!(answer["gap"], json!({"from": 4, "to": 4, "reason": "trimmed"}));
}

#[test]
fn a_connection_that_is_told_to_move_is_acknowledged_first_and_closed_at_the_latest_when_its_time_is_over() {
    let mut play = Play::new(delivering());
    let (id, _, token) = play.line(STREAM);
    play.chat(id, 1);
    play.told(id);
    play.world.relocate(play.now, &Target::Everyone, 3_000, true);
    play.collect();
    let told = play.told(id);
    let moving = json!({"type": "gateway-moving", "withinMs": 3_000});
    assert_eq!(told, [json!({"type": "delivery-ack", "seq": 1}), moving]);
    let (next, ..) = play.back(&token, json!({}));
    play.pass(2_999);
    assert!(play.closed.is_empty());
    play.pass(10_000);
    assert_eq!(play.closed, [(id, 1012)]);
    assert!(play.kinds(next).is_empty());
}

#[test]
fn the_time_by_which_to_move_may_stay_untold() {
    let mut play = Play::new(delivering());
    let (id, ..) = play.newcomer();
    play.world.relocate(play.now, &Target::Everyone, 3_000, false);
    play.collect();
    assert_eq!(play.told(id), [json!({"type": "gateway-moving"})]);
    play.pass(3_000);
    assert_eq!(play.closed, [(id, 1012)]);
}

#[test]
fn what_was_taken_is_acknowledged_before_the_gateway_goes_down() {
    let mut play = Play::new(delivering());
    let (id, ..) = play.line(STREAM);
    play.told(id);
    play.chat(id, 1);
    play.world.announce_closing();
    play.collect();
    assert_eq!(play.kinds(id), ["chat-message", "delivery-ack", "gateway-closing"]);
    play.chat(id, 2);
    play.world.down(play.now, None, 1012);
    play.collect();
    assert_eq!(play.acks(id), [2]);
}

#[test]
fn acknowledgements_are_held_until_the_next_plan() {
    let mut play = Play::new(delivering());
    let (id, ..) = play.line(STREAM);
    play.told(id);
    play.misbehave(json!({"holdAcks": true}));
    play.chat(id, 1);
    play.say(id, &json!({"type": "ping"}));
    play.chat(id, 2);
    play.pass(10_000);
    assert!(play.acks(id).is_empty());
    play.misbehave(json!({}));
    assert_eq!(play.acks(id), [2]);
}

#[test]
fn acknowledgements_are_lost_ahead_behind_and_repeated_on_request() {
    let mut play = Play::new(delivering());
    let (id, ..) = play.line(STREAM);
    play.told(id);
    play.misbehave(json!({"dropAcks": 1}));
    play.chat(id, 1);
    play.pass(50);
    assert!(play.acks(id).is_empty());
    play.chat(id, 2);
    play.pass(50);
    assert_eq!(play.acks(id), [2]);
    play.misbehave(json!({"ackAhead": 5, "ackBehind": 1, "ackAgain": true}));
    assert_eq!(play.acks(id), [7, 1, 2]);
}

#[test]
fn a_resume_is_answered_never_late_or_wrong_on_request_and_so_often_as_wanted() {
    let mut play = Play::new(delivering());
    let (first, _, token) = play.line(STREAM);
    play.chat(first, 3);
    let epoch = play.epoch();
    let cursor = json!({"stream": STREAM, "epoch": epoch, "seen": 0});
    play.misbehave(json!({"resume": "withoutTaken", "resumeTimes": 1}));
    assert_eq!(play.back(&token, cursor.clone()).1.get("taken"), None);
    assert_eq!(play.back(&token, cursor.clone()).1["taken"], 3);
    play.misbehave(json!({"resume": "otherEpoch"}));
    let (_, answer, _) = play.back(&token, cursor.clone());
    assert_ne!(answer["epoch"], epoch.as_str());
    assert_eq!(answer["gap"]["reason"], "epoch");
    play.misbehave(json!({"resume": "takenAhead"}));
    assert_eq!(play.back(&token, cursor.clone()).1["taken"], 1_000_003);
    play.misbehave(json!({"resume": "plain"}));
    assert_eq!(play.back(&token, cursor.clone()).1, Value::Null);
    play.misbehave(json!({"resume": "never"}));
    let id = play.connect();
    play.say(id, &json!({"type": "session-resume", "token": token, "stream": STREAM}));
    play.say(id, &json!({"type": "ping"}));
    play.pass(60_000);
    assert_eq!(play.kinds(id), ["gateway-offer"]);
    play.misbehave(json!({"resumeDelayMs": 700}));
    let id = play.connect();
    play.resume(id, &token);
    play.pass(699);
    assert_eq!(play.kinds(id), ["gateway-offer"]);
    play.pass(1);
    assert_eq!(play.kinds(id), ["session-resumed"]);
}

#[test]
fn a_late_answer_fences_from_the_resume_on() {
    let mut play = Play::new(delivering());
    let (first, _, token) = play.line(STREAM);
    play.misbehave(json!({"resumeDelayMs": 700}));
    let second = play.connect();
    play.say(second, &json!({"type": "session-resume", "token": token, "stream": STREAM}));
    play.chat(first, 1);
    assert!(play.taken().is_empty());
}

#[test]
fn the_feed_is_trimmed_skipped_and_repeated_on_request() {
    let mut play = Play::new(delivering());
    let (speaker, ..) = play.line(OTHER);
    let (listener, ..) = play.line(STREAM);
    (1..=3).for_each(|number| play.chat(speaker, number));
    play.told(listener);
    play.misbehave(json!({"repeatFeed": 2}));
    assert_eq!(numbers(&play.told(listener)), [2, 3]);
    play.misbehave(json!({"skipFeed": 4, "trimFeed": 1}));
    play.chat(speaker, 4);
    assert_eq!(numbers(&play.told(listener)), [8]);
    play.misbehave(json!({"repeatFeed": 99}));
    assert_eq!(numbers(&play.told(listener)), [3, 8]);
}

#[test]
fn a_connection_is_cut_after_a_message_was_taken_and_before_it_is_acknowledged() {
    let mut play = Play::new(delivering());
    let (id, _, token) = play.line(STREAM);
    let (listener, ..) = play.newcomer();
    play.told(listener);
    play.misbehave(json!({"cutAfterTaking": 2}));
    (1..=3).for_each(|number| play.chat(id, number));
    assert_eq!(play.closed, [(id, 1006)]);
    play.pass(50);
    assert!(play.acks(id).is_empty());
    assert_eq!(play.told(listener).len(), 2);
    play.hang_up(id);
    let (_, answer, _) = play.back(&token, json!({"stream": STREAM}));
    assert_eq!(answer["taken"], 2);
}

#[test]
fn a_frame_of_the_controls_reaches_the_feed_of_who_is_away() {
    let mut play = Play::new(delivering());
    let (id, client, token) = play.line(STREAM);
    play.hang_up(id);
    let target = Target::Client(ClientId::from(client.as_str()));
    assert_eq!(play.world.feed(&target, "{\"type\":\"chat\",\"text\":\"a\",\"$seq\":9}"), 1);
    let epoch = play.epoch();
    let (_, _, told) = play.back(&token, json!({"stream": STREAM, "epoch": epoch, "seen": 0}));
    assert_eq!(told, [json!({"type": "chat", "text": "a", "$seq": 1})]);
}
