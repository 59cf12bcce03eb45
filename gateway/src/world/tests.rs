//! The world on virtual time: whole conversations, without a socket or a clock.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

/// The acknowledgement extension.
mod delivery;

/// A world, its time, and what each connection was told since it was last asked.
struct Play {
    world: World,
    now: Time,
    told: BTreeMap<ConnectionId, Vec<Value>>,
    closed: Vec<(ConnectionId, u16)>,
}

impl Play {
    fn new(config: Config) -> Self {
        let mut count = 0_u128;
        let entropy = move || {
            count += 1;
            count.to_le_bytes()
        };
        let sessions = Sessions::new(Box::new(entropy), Vec::new());
        let now = Time(1_000_000);
        let world = World::new(now, config, sessions);
        Self { world, now, told: BTreeMap::new(), closed: Vec::new() }
    }

    fn connect(&mut self) -> ConnectionId {
        let id = self.world.accept(self.now).expect("the world is up");
        self.collect();
        id
    }

    /// Connects a client that holds nothing, and waits until it is greeted; gives its id and token.
    fn newcomer(&mut self) -> (ConnectionId, String, String) {
        let id = self.connect();
        self.pass(200);
        let init = self.told(id).into_iter().find(|frame| frame["type"] == "session-init");
        let init = init.expect("a newcomer is greeted");
        (id, text(&init["clientId"]), text(&init["token"]))
    }

    fn say(&mut self, id: ConnectionId, frame: &Value) {
        self.world.received(self.now, id, &frame.to_string());
        self.collect();
    }

    fn resume(&mut self, id: ConnectionId, token: &str) {
        self.say(id, &json!({"type": "session-resume", "token": token}));
    }

    fn hang_up(&mut self, id: ConnectionId) {
        self.world.closed(self.now, id);
        self.collect();
    }

    /// Lets time pass, calling the world exactly when it asked to be called.
    fn pass(&mut self, ms: u64) {
        let end = self.now.plus(ms);
        let mut calls = 0;
        while let Some(at) = self.world.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.world.timeout(self.now);
            self.collect();
            calls += 1;
            assert!(calls < 10_000, "a timeout on time makes no progress");
        }
        self.now = end;
    }

    fn told(&mut self, id: ConnectionId) -> Vec<Value> {
        self.told.remove(&id).unwrap_or_default()
    }

    fn kinds(&mut self, id: ConnectionId) -> Vec<String> {
        self.told(id).iter().map(|frame| text(&frame["type"])).collect()
    }

    fn collect(&mut self) {
        for effect in self.world.take_effects() {
            match effect {
                Effect::Send { to, message: Message::Text(text) } => {
                    self.told.entry(to).or_default().push(serde_json::from_str(&text).unwrap());
                }
                Effect::Send { message, .. } => panic!("the world said {message:?}"),
                Effect::Close { to, code, .. } => self.closed.push((to, code)),
                Effect::Die => panic!("the world was not to be killed"),
                Effect::Abort { to } => self.closed.push((to, 1006)),
            }
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn quiet() -> Config {
    Config { agents: false, delivery: false, ..Config::default() }
}

fn plain() -> Config {
    Config { offer: false, snapshot: false, ..quiet() }
}

#[test]
fn a_newcomer_is_offered_greeted_and_shown_the_world_in_this_order() {
    let mut play = Play::new(quiet());
    let id = play.connect();
    assert_eq!(play.told(id), [json!({"type": "gateway-offer", "ping": true})]);
    play.pass(149);
    assert!(play.kinds(id).is_empty());
    play.pass(1);
    let told = play.told(id);
    assert_eq!(told[0]["type"], "session-init");
    assert_eq!(told[1]["type"], "world_state");
    assert_eq!(told[1]["you"], told[0]["clientId"]);
    assert_eq!(told[1]["players"][0]["id"], told[0]["clientId"]);
}

#[test]
fn a_first_frame_that_is_no_resume_ends_the_wait_and_is_not_lost() {
    let mut play = Play::new(Config { echo: true, ..plain() });
    let id = play.connect();
    play.say(id, &json!({"type": "chat", "text": "early"}));
    assert_eq!(play.kinds(id), ["session-init", "chat-message"]);
}

#[test]
fn a_resume_keeps_the_client_and_needs_no_new_session() {
    let mut play = Play::new(quiet());
    let (first, client, token) = play.newcomer();
    play.hang_up(first);
    let second = play.connect();
    play.resume(second, &token);
    let told = play.told(second);
    assert_eq!(told[1], json!({"type": "session-resumed", "clientId": client}));
    assert_eq!(told[2]["type"], "world_state");
    assert_eq!(told[2]["you"], client.as_str());
    assert_eq!(told.len(), 3);
}

#[test]
fn a_plain_gateway_answers_a_resume_with_silence() {
    let mut play = Play::new(plain());
    let (first, _, token) = play.newcomer();
    play.hang_up(first);
    let second = play.connect();
    play.resume(second, &token);
    play.pass(1_000);
    assert!(play.kinds(second).is_empty());
    assert_eq!(play.world.totals().resumed, 1);
}

#[test]
fn an_unknown_token_is_refused_and_followed_by_a_fresh_session() {
    for (config, expected) in [
        (quiet(), vec!["gateway-offer", "session-refused", "session-init", "world_state"]),
        (plain(), vec!["session-init"]),
    ] {
        let mut play = Play::new(config);
        let id = play.connect();
        play.resume(id, "made up");
        assert_eq!(play.kinds(id), expected);
        assert_eq!(play.world.totals().refused, 1);
    }
}

#[test]
fn a_resume_without_a_token_is_refused_like_any_other() {
    let mut play = Play::new(plain());
    let id = play.connect();
    play.say(id, &json!({"type": "session-resume", "token": 7}));
    assert_eq!(play.kinds(id), ["session-init"]);
    assert_eq!(play.world.totals().refused, 1);
}

#[test]
fn a_token_is_refused_once_its_life_is_over() {
    let mut play = Play::new(Config { session_life_ms: 1_000, ..quiet() });
    let (first, client, token) = play.newcomer();
    play.hang_up(first);
    play.pass(1_000);
    let second = play.connect();
    play.resume(second, &token);
    let told = play.told(second);
    assert_eq!(told[1], json!({"type": "session-refused", "reason": "expired"}));
    assert_eq!(told[2]["type"], "session-init");
    assert_ne!(told[2]["clientId"], client.as_str());
}

#[test]
fn an_eager_greeting_that_crosses_a_resume_gives_way_to_the_kept_session() {
    for confirm in [true, false] {
        let eager = Config { greet: Greet::Eager, confirm, ..quiet() };
        let mut play = Play::new(eager);
        let (watcher, ..) = play.newcomer();
        let (first, client, token) = play.newcomer();
        play.hang_up(first);
        play.told(watcher);

        let second = play.connect();
        let told = play.told(second);
        assert_eq!(told[1]["type"], "session-init");
        let (crossed, spent) = (text(&told[1]["clientId"]), text(&told[1]["token"]));
        assert_ne!(crossed, client);

        play.resume(second, &token);
        let told = play.told(second);
        assert_eq!(told[0], json!({"type": "session-resumed", "clientId": client}));
        let confirmation = json!({"type": "session-init", "token": token, "clientId": client});
        assert_eq!(told.contains(&confirmation), confirm);
        assert_eq!(told.last().unwrap()["you"], client.as_str());

        play.pass(60_000);
        assert!(play.kinds(watcher).is_empty(), "the others hear of neither");
        let third = play.connect();
        play.resume(third, &spent);
        assert!(play.kinds(third).contains(&"session-refused".to_owned()), "it is forgotten");
    }
}

#[test]
fn a_resume_that_comes_after_the_wait_still_rebinds() {
    let mut play = Play::new(quiet());
    let (watcher, ..) = play.newcomer();
    let (first, client, token) = play.newcomer();
    play.hang_up(first);
    let (second, crossed, _) = play.newcomer();
    play.told(watcher);
    play.resume(second, &token);
    let kinds = play.kinds(second);
    assert_eq!(kinds, ["session-resumed", "session-init", "world_state"]);
    assert_eq!(play.told(watcher), [json!({"type": "player-left", "id": crossed})]);
    play.say(second, &json!({"type": "chat", "text": "me again"}));
    assert_eq!(play.told(watcher)[0]["senderId"], client.as_str());
}

#[test]
fn an_eagerly_greeted_client_whose_token_is_refused_is_told_its_session_again() {
    let mut play = Play::new(Config { greet: Greet::Eager, ..quiet() });
    let id = play.connect();
    let greeting = play.told(id)[1].clone();
    play.resume(id, "made up");
    let told = play.told(id);
    assert_eq!(told[0]["type"], "session-refused");
    assert_eq!(told[1], greeting);
    assert_eq!(told[2]["type"], "world_state");
}

#[test]
fn the_others_hear_of_a_newcomer_and_of_its_leaving_after_the_grace_period() {
    let mut play = Play::new(Config { grace_ms: 5_000, ..quiet() });
    let (watcher, ..) = play.newcomer();
    let (visitor, client, _) = play.newcomer();
    let told = play.told(watcher);
    assert_eq!(told[0]["type"], "player-joined");
    assert_eq!(told[0]["id"], client.as_str());
    assert!(told[0]["name"].is_string() && told[0]["color"].is_string());
    play.hang_up(visitor);
    play.pass(4_999);
    assert!(play.kinds(watcher).is_empty());
    play.pass(1);
    assert_eq!(play.told(watcher), [json!({"type": "player-left", "id": client})]);
}

#[test]
fn a_resume_within_the_grace_period_does_not_flap() {
    let mut play = Play::new(quiet());
    let (watcher, ..) = play.newcomer();
    let (mut visitor, _, token) = play.newcomer();
    play.told(watcher);
    for _ in 0..5 {
        play.hang_up(visitor);
        play.pass(4_000);
        visitor = play.connect();
        play.resume(visitor, &token);
    }
    play.pass(60_000);
    assert!(play.kinds(watcher).is_empty());
}

#[test]
fn the_late_close_of_a_replaced_connection_does_not_make_its_client_leave() {
    let mut play = Play::new(quiet());
    let (watcher, ..) = play.newcomer();
    let (dead, _, token) = play.newcomer();
    let alive = play.connect();
    play.resume(alive, &token);
    play.told(watcher);
    play.hang_up(dead);
    play.pass(60_000);
    assert!(play.kinds(watcher).is_empty());
}

#[test]
fn a_client_that_returns_after_the_grace_period_joins_again_at_its_old_place() {
    let mut play = Play::new(quiet());
    let (watcher, ..) = play.newcomer();
    let (first, client, token) = play.newcomer();
    play.say(first, &json!({"type": "profile", "name": "Ada", "color": "teal"}));
    play.say(first, &json!({"type": "move", "x": 1.5, "z": -2.0, "ry": 0.5}));
    play.hang_up(first);
    play.pass(5_000);
    play.told(watcher);
    let second = play.connect();
    play.resume(second, &token);
    assert_eq!(
        play.told(watcher),
        [json!({
            "type": "player-joined", "id": client, "name": "Ada", "color": "teal",
            "x": 1.5, "z": -2.0, "ry": 0.5
        })]
    );
}

#[test]
fn chat_goes_to_the_others_and_to_its_sender_only_with_echo() {
    for echo in [true, false] {
        let mut play = Play::new(Config { echo, ..quiet() });
        let (sender, client, _) = play.newcomer();
        let (listener, ..) = play.newcomer();
        play.told(sender);
        play.say(sender, &json!({"type": "chat", "text": "ahoy"}));
        let heard = play.told(listener);
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[0]["type"], "chat-message");
        assert_eq!(heard[0]["text"], "ahoy");
        assert_eq!(heard[0]["senderId"], client.as_str());
        assert!(heard[0]["sender"].is_string() && heard[0]["at"].is_u64());
        assert_eq!(play.told(sender).len(), usize::from(echo));
    }
}

#[test]
fn moves_profiles_and_foreign_types_reach_only_the_others() {
    let mut play = Play::new(quiet());
    let (sender, client, _) = play.newcomer();
    let (listener, ..) = play.newcomer();
    play.told(sender);
    play.say(sender, &json!({"type": "move", "x": 1, "z": 2, "ry": 3}));
    play.say(sender, &json!({"type": "profile", "name": "Ada"}));
    play.say(sender, &json!({"type": "visitor_entered", "door": 4}));
    let told = play.told(listener);
    assert_eq!(told[0], json!({"type": "player-moved", "id": client, "x": 1.0, "z": 2.0, "ry": 3.0}));
    assert_eq!(told[1]["type"], "player-updated");
    assert_eq!(told[1]["name"], "Ada");
    assert_eq!(told[2], json!({"type": "visitor_entered", "door": 4, "senderId": client}));
    assert!(play.kinds(sender).is_empty());
}

#[test]
fn a_ping_is_answered_only_where_it_was_offered_and_never_relayed() {
    for (config, expected) in [(quiet(), vec![json!({"type": "pong", "n": 7})]), (plain(), Vec::new())] {
        let mut play = Play::new(config);
        let (sender, ..) = play.newcomer();
        let (listener, ..) = play.newcomer();
        play.told(sender);
        play.say(sender, &json!({"type": "ping", "n": 7}));
        assert_eq!(play.told(sender), expected);
        assert!(play.kinds(listener).is_empty());
    }
}

#[test]
fn malformed_frames_are_counted_and_change_nothing() {
    let mut play = Play::new(quiet());
    let (sender, ..) = play.newcomer();
    let (listener, ..) = play.newcomer();
    play.told(sender);
    for frame in ["", "null", "[]", "{", "{\"type\":1}", "{\"type\":\"move\",\"x\":\"1\"}"] {
        play.world.received(play.now, sender, frame);
    }
    play.world.received_binary(play.now, sender, &[0, 1]);
    play.say(sender, &json!({"type": "session-init", "token": "t", "clientId": "c"}));
    assert_eq!(play.world.totals().malformed, 8);
    assert!(play.kinds(listener).is_empty());
    assert!(play.kinds(sender).is_empty());
    assert!(play.closed.is_empty());
}

#[test]
fn a_rotated_token_takes_over_and_the_old_one_lasts_a_grace_period() {
    let mut play = Play::new(Config { rotate_every_ms: 10_000, ..quiet() });
    let (first, client, old) = play.newcomer();
    play.pass(10_000);
    let told = play.told(first);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["type"], "session-init");
    assert_eq!(told[0]["clientId"], client.as_str());
    let new = text(&told[0]["token"]);
    assert_ne!(new, old);

    play.hang_up(first);
    let second = play.connect();
    play.resume(second, &old);
    let told = play.told(second);
    assert_eq!(told[1]["type"], "session-resumed");
    assert_eq!(told[2], json!({"type": "session-init", "token": new, "clientId": client}));

    play.hang_up(second);
    play.pass(5_000);
    let third = play.connect();
    play.resume(third, &old);
    assert_eq!(play.told(third)[1]["reason"], "expired");
}

#[test]
fn after_expire_every_token_is_unknown_and_who_is_connected_stays() {
    let mut play = Play::new(quiet());
    let (first, client, token) = play.newcomer();
    let (listener, ..) = play.newcomer();
    play.world.expire();
    play.say(first, &json!({"type": "chat", "text": "still here"}));
    assert_eq!(play.told(listener)[0]["senderId"], client.as_str());
    let second = play.connect();
    play.resume(second, &token);
    assert_eq!(play.told(second)[1]["reason"], "unknown");
}

#[test]
fn down_closes_everyone_and_lets_nobody_in_until_its_time_is_over() {
    let mut play = Play::new(quiet());
    let (id, ..) = play.newcomer();
    play.world.down(play.now, Some(500), 1012);
    play.collect();
    assert_eq!(play.closed, [(id, 1012)]);
    assert!(play.world.accept(play.now).is_none());
    play.pass(500);
    assert!(play.world.accept(play.now).is_some());
    play.world.down(play.now, None, 1012);
    play.pass(60_000);
    assert!(play.world.accept(play.now).is_none());
    play.world.up();
    assert!(play.world.accept(play.now).is_some());
}

#[test]
fn a_burst_is_no_flood_but_a_flood_is_closed_and_heard_no_more() {
    let mut play = Play::new(Config { rate_limit: 100, ..plain() });
    let (id, ..) = play.newcomer();
    let chat = json!({"type": "chat", "text": "x"});
    for _ in 0..1_000 {
        play.say(id, &chat);
    }
    assert!(play.closed.is_empty());
    play.say(id, &chat);
    play.say(id, &chat);
    assert_eq!(play.closed, [(id, 1008)]);
    assert_eq!(play.world.totals().received, 1_001);
}

#[test]
fn a_client_at_the_allowed_rate_is_never_closed() {
    let mut play = Play::new(Config { rate_limit: 100, ..plain() });
    let (id, ..) = play.newcomer();
    for _ in 0..5_000 {
        play.say(id, &json!({"type": "chat", "text": "x"}));
        play.pass(10);
    }
    assert!(play.closed.is_empty());
}

#[test]
fn agents_speak_on_time_while_somebody_listens() {
    let mut play = Play::new(Config { agent_every_ms: 1_000, ..Config::default() });
    play.pass(10_000);
    let (id, ..) = play.newcomer();
    play.pass(4_000);
    let kinds = play.kinds(id);
    assert_eq!(kinds, ["status-update", "status-update", "status-update", "pr-notification"]);
}

#[test]
fn a_reset_forgets_everyone_and_everything() {
    let mut play = Play::new(quiet());
    let (id, _, token) = play.newcomer();
    play.world.configure(play.now, serde_json::from_str(r#"{"echo":"off","graceMs":1}"#).unwrap());
    play.world.reset(play.now);
    play.collect();
    assert_eq!(play.closed, [(id, 1012)]);
    assert_eq!(play.world.config(), &quiet());
    assert_eq!(play.world.totals(), Totals::default());
    assert!(play.world.clients().is_empty());
    assert!(play.world.journal().entries(None).is_empty());
    let again = play.connect();
    play.resume(again, &token);
    assert_eq!(play.told(again)[1]["reason"], "unknown");
}

#[test]
fn the_journal_holds_every_frame_under_the_client_that_it_turned_out_to_be() {
    let mut play = Play::new(quiet());
    let (first, client, token) = play.newcomer();
    play.hang_up(first);
    let second = play.connect();
    play.resume(second, &token);
    play.say(second, &json!({"type": "chat", "text": "one"}));
    let entries = serde_json::to_value(play.world.journal().entries(Some(&client))).unwrap();
    assert_eq!(entries[0]["frame"]["type"], "session-resume");
    assert_eq!(entries[1]["frame"]["text"], "one");
    assert_eq!(entries.as_array().unwrap().len(), 2);
}

#[test]
fn an_answer_goes_on_while_its_asker_is_away_and_is_his_alone() {
    let mut play = Play::new(Config::default());
    let (ann, _, token) = play.newcomer();
    let (ben, ..) = play.newcomer();
    play.told(ben);
    play.say(ann, &json!({"type": "ask", "id": "q1", "text": "words:20 pace:100"}));
    play.pass(550);
    let texts = |words: &[Value]| words.iter().filter_map(|word| word["text"].as_str()).collect::<String>();
    let before = texts(&play.told(ann));
    play.hang_up(ann);
    play.pass(1_000);
    let again = play.connect();
    play.resume(again, &token);
    let so_far = play.told(again).into_iter().find(|frame| frame["type"] == "answer-so-far").expect("what was missed");
    assert_eq!(so_far["n"], 15);
    assert!(text(&so_far["text"]).starts_with(&before));
    play.pass(1_000);
    let rest = play.told(again);
    let (end, rest) = rest.split_last().expect("an end");
    assert_eq!((&end["type"], &end["outcome"]), (&Value::from("answer-end"), &Value::from("finished")));
    assert_eq!(text(&end["text"]), text(&so_far["text"]) + &texts(rest));
    assert!(!play.kinds(ben).iter().any(|kind| kind.starts_with("answer")));
}
