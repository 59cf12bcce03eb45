//! What becomes of messages: order, bounds, time to live, and the sockets that die under them.

use crate::gateway::{Gateway, Greet};
use crate::invariants::check_run;
use crate::line::{Ask, Browser, Seen};
use crate::world::{World, chat};
use moorline::Signal;
use moorline::error::ApiMisuse;
use moorline::outbox::{Delivery, Fate};
use moorline::wire::SocketId;
use serde_json::json;

fn names(ids: std::ops::Range<u32>) -> Vec<String> {
    ids.map(|id| format!("m{id}")).collect()
}

fn send(text: &str) -> Ask {
    Ask::Send { text: chat(text), delivery: Delivery::Queue, ttl_ms: None }
}

fn latest(key: &str) -> Delivery {
    Delivery::Latest(key.into())
}

/// One whose connection has just been cut and cannot be made again until `comes_back`.
fn away(options: &str) -> World {
    let mut world = World::moored(options, Gateway::default());
    world.net().plan.refuses = true;
    world.cut();
    world.run(1);
    world
}

fn comes_back(world: &mut World) {
    world.net().plan.refuses = false;
    world.connect();
    world.run(6000);
}

#[test]
fn what_is_sent_while_away_waits_and_arrives_once_and_in_order() {
    let mut world = away("{}");
    for id in 0..20 {
        world.chat(&format!("m{id}"));
        world.run(500);
    }
    assert_eq!(world.line.client.queue().0, 20);
    comes_back(&mut world);
    assert_eq!(world.arrived(), names(0..20));
    check_run(&world);
}

#[test]
fn a_message_goes_out_at_once_while_connected() {
    let mut world = World::moored("{}", Gateway::default());
    world.chat("m0");
    assert_eq!(world.wire().last().map(|(_, text)| *text), Some(chat("m0").as_str()));
    assert_eq!(world.fate(0), None);
    world.run(50);
    assert_eq!(world.fate(0), Some(Fate::Sent));
}

#[test]
fn a_hand_over_that_is_taken_in_part_is_completed_by_the_next_socket() {
    let mut world = away("{}");
    for id in 0..6 {
        world.chat(&format!("m{id}"));
    }
    world.net().plan.takes = Some(2);
    comes_back(&mut world);
    assert_eq!(world.arrived(), names(0..2));
    assert_eq!(world.line.client.queue().0, 4);
    world.net().plan.takes = None;
    world.cut();
    world.run(10_000);
    assert_eq!(world.arrived(), names(0..6));
    check_run(&world);
}

#[test]
fn what_the_browser_still_held_is_sent_again_and_the_rest_is_of_unknown_fate() {
    let mut world = World::moored("{}", Gateway::default());
    // Room for two and a half messages: the kernel takes those, the browser holds the others.
    let room = chat("m0").len() * 5 / 2;
    world.net().plan.kernel = room;
    world.stall();
    for id in 0..6 {
        world.chat(&format!("m{id}"));
    }
    world.run(200);
    world.cut();
    world.heal();
    world.net().plan.kernel = 1 << 20;
    world.run(10_000);
    assert_eq!(world.fate(0), Some(Fate::Unknown));
    assert_eq!(world.fate(1), Some(Fate::Unknown));
    assert_eq!(world.arrived(), names(2..6));
    assert_eq!(world.hears("ws-error"), &json!({"code": "send.unknown", "count": 2}));
    check_run(&world);
}

#[test]
fn a_probe_in_the_browsers_buffer_does_not_count_as_a_message() {
    let mut world = World::moored(r#"{"heartbeat":{"idleMs":3000,"probeTimeoutMs":400}}"#, Gateway::default());
    world.net().plan.kernel = chat("m0").len();
    world.stall();
    world.chat("m0");
    world.run(5000);
    world.heal();
    world.net().plan.kernel = 1 << 20;
    world.run(10_000);
    assert_eq!(world.fate(0), Some(Fate::Unknown), "it had left the browser, whatever lay behind it");
    check_run(&world);
}

#[test]
fn a_message_behind_which_a_probe_waits_has_left_the_browser_all_the_same() {
    let mut world = World::moored("{}", Gateway::default());
    world.net().plan.kernel = 0;
    world.chat("m0");
    world.signal(Signal::Visible);
    world.run(60);
    // The kernel takes the message, and not the probe behind it.
    world.net().plan.kernel = chat("m0").len();
    world.heal();
    world.run(1);
    world.stall();
    world.run(100);
    assert_eq!(world.line.browser.buffered(SocketId(1)), 21.0, "the probe waits");
    world.cut();
    world.heal();
    world.run(10_000);
    assert_eq!(world.fate(0), Some(Fate::Unknown));
    assert_eq!(world.wire().iter().filter(|(_, text)| *text == chat("m0")).count(), 1);
    check_run(&world);
}

#[test]
fn a_message_that_is_replaced_behind_the_resume_does_not_confuse_what_the_browser_holds() {
    let mut world = World::new("{}", Gateway::plain().knowing("kept", "c0")).with_session("kept", "c0");
    world.send("m0", latest("pose"), None);
    world.connect();
    world.run(25);
    world.send("m1", latest("pose"), None);
    world.chat("m2");
    world.run(1000);
    world.net().plan.kernel = 0;
    world.run(600);
    assert_eq!(world.count("ws-connected"), 1);
    world.cut();
    world.net().plan.kernel = 1 << 20;
    world.run(10_000);
    assert_eq!(world.arrived(), ["m1", "m2"]);
    assert_eq!(world.count("ws-error"), 0);
    check_run(&world);
}

#[test]
fn a_clean_restart_of_the_gateway_loses_none_and_doubles_none() {
    for (code, latency) in [(1001, (20, 20)), (1012, (20, 20)), (1001, (0, 250))] {
        let mut world = World::moored("{}", Gateway::default());
        world.net().plan.latency = latency;
        for id in 0..150 {
            if id == 47 {
                world.gateway_says(&json!({"type": "gateway-closing"}));
            }
            if id == 60 {
                world.gateway_closes(code);
                world.net().plan.refuses = true;
            }
            if id == 120 {
                world.net().plan.refuses = false;
            }
            world.chat(&format!("m{id}"));
            world.run(50);
        }
        world.run(60_000);
        assert_eq!(world.arrived(), names(0..150), "{code}");
        assert_eq!(world.count("ws-error"), 0);
        check_run(&world);
    }
}

#[test]
fn after_a_black_hole_and_a_reset_every_loss_has_a_receipt_that_says_so() {
    let mut world = World::moored("{}", Gateway::default());
    for id in 0..150 {
        match id {
            40 => world.stall(),
            100 => {
                world.cut();
                world.heal();
            }
            _ => {}
        }
        world.chat(&format!("m{id}"));
        world.run(50);
    }
    world.run(60_000);
    let arrived = world.arrived();
    let lost: Vec<u32> = (0..150).filter(|id| !arrived.contains(&format!("m{id}"))).collect();
    assert!(!lost.is_empty() && lost.len() < 100, "{lost:?}");
    assert!(lost.iter().all(|id| world.fate(*id) == Some(Fate::Unknown)), "{lost:?}");
    check_run(&world);
}

#[test]
fn an_answered_probe_proves_what_was_sent_before_it() {
    let mut world = World::moored("{}", Gateway::default());
    world.chat("m0");
    world.run(16_000);
    world.chat("m1");
    world.run(100);
    world.cut();
    world.run(100);
    assert_eq!(world.fate(0), Some(Fate::Sent));
    assert_eq!(world.fate(1), Some(Fate::Unknown));
}

#[test]
fn an_answer_to_another_question_proves_nothing() {
    let mut world = World::moored("{}", Gateway::default());
    world.net().gateway.answers_probes = false;
    world.chat("m0");
    world.run(60);
    world.signal(Signal::Visible);
    world.gateway_says(&json!({"type": "pong", "n": 99}));
    world.run(100);
    world.cut();
    world.run(0);
    assert_eq!(world.fate(0), Some(Fate::Unknown));
}

#[test]
fn a_message_that_has_been_gone_for_a_minute_is_believed_to_have_arrived() {
    let mut world = World::moored("{}", Gateway::plain());
    world.chat("m0");
    world.run(60_100);
    world.chat("m1");
    world.run(100);
    world.cut();
    world.run(0);
    assert_eq!((world.fate(0), world.fate(1)), (Some(Fate::Sent), Some(Fate::Unknown)));
}

#[test]
fn a_message_expires_while_it_waits_and_not_once_it_has_been_sent() {
    let mut world = away("{}");
    let mortal = |world: &mut World, text| world.send(text, Delivery::Queue, Some(3000.0));
    mortal(&mut world, "m0");
    world.chat("m1");
    world.run(2999);
    assert_eq!(world.fate(0), None);
    world.run(1);
    assert_eq!(world.fate(0), Some(Fate::Expired));
    assert_eq!(world.hears("ws-error"), &json!({"code": "send.expired", "count": 1}));
    comes_back(&mut world);
    mortal(&mut world, "m2");
    world.run(10_000);
    assert_eq!(world.arrived(), ["m1", "m2"]);
    assert_eq!(world.fate(2), Some(Fate::Sent));
    check_run(&world);
}

#[test]
fn what_expired_or_was_replaced_long_ago_is_not_of_unknown_fate_as_well() {
    let mut world = away("{}");
    world.chat("m0");
    world.send("m1", Delivery::Queue, Some(1.0));
    world.send("m2", latest("pose"), None);
    world.send("m3", latest("pose"), None);
    world.chat("m4");
    comes_back(&mut world);
    assert_eq!(world.arrived(), ["m0", "m3", "m4"]);
    world.cut();
    world.run(100);
    assert_eq!(world.fate(1), Some(Fate::Expired));
    assert_eq!(world.fate(2), Some(Fate::Evicted));
    comes_back(&mut world);
    check_run(&world);
}

#[test]
fn of_messages_with_the_same_key_only_the_newest_waits() {
    let mut world = away("{}");
    for (id, key) in [(0, "pose"), (1, "mood"), (2, "pose"), (3, "pose")] {
        world.send(&format!("m{id}"), latest(key), None);
    }
    assert_eq!(world.line.client.queue().0, 2);
    assert_eq!((world.fate(0), world.fate(2)), (Some(Fate::Evicted), Some(Fate::Evicted)));
    comes_back(&mut world);
    assert_eq!(world.arrived(), ["m1", "m3"]);
    assert_eq!(world.count("ws-error"), 0, "the page chose so: no event tells of it");
    world.send("m4", latest("pose"), None);
    world.send("m5", latest("pose"), None);
    world.run(100);
    assert_eq!(world.arrived()[2..], ["m4", "m5"], "what has gone out is not called back");
    check_run(&world);
}

#[test]
fn a_message_that_wants_to_be_sent_now_or_never_is_not_kept() {
    let mut world = away("{}");
    world.send("m0", Delivery::Drop, None);
    assert_eq!(world.fate(0), Some(Fate::Rejected));
    assert_eq!(world.count("ws-error"), 0);
    comes_back(&mut world);
    world.send("m1", Delivery::Drop, None);
    world.run(100);
    assert_eq!(world.arrived(), ["m1"]);
    check_run(&world);
}

#[test]
fn a_full_queue_refuses_at_the_callers_line_and_is_not_harmed() {
    let mut world = away(r#"{"queue":{"maxMessages":2,"maxBytes":100}}"#);
    world.chat("m0");
    let refused = |world: &mut World, text: &str| world.line.send(chat(text), Delivery::Queue, None);
    assert_eq!(refused(&mut world, &"x".repeat(200)), Err(ApiMisuse::TooLarge));
    world.chat("m1");
    assert_eq!(refused(&mut world, "m2"), Err(ApiMisuse::QueueFull));
    comes_back(&mut world);
    assert_eq!(world.arrived(), ["m0", "m1"]);
    assert_eq!(world.count("ws-error"), 0);
    world.chat("m2");
    world.run(100);
    check_run(&world);
}

#[test]
fn an_overflowing_queue_gives_up_the_end_that_was_asked_for_and_says_so() {
    for (overflow, fate, code, arrive) in [
        ("drop-oldest", Fate::Evicted, "send.evicted", ["m2", "m3"]),
        ("drop-newest", Fate::Rejected, "send.rejected", ["m0", "m1"]),
    ] {
        let options = json!({"queue": {"maxMessages": 2, "overflow": overflow}});
        let mut world = away(&options.to_string());
        for id in 0..4 {
            world.chat(&format!("m{id}"));
        }
        let gone = (0..4).filter(|id| world.fate(*id) == Some(fate)).count();
        assert_eq!(gone, 2, "{overflow}");
        assert_eq!(world.hears("ws-error"), &json!({"code": code, "count": 1}));
        comes_back(&mut world);
        assert_eq!(world.arrived(), arrive);
        check_run(&world);
    }
}

#[test]
fn a_newer_message_that_finds_no_room_does_not_take_the_older_one_with_it() {
    for overflow in ["reject", "drop-newest"] {
        let options = json!({"queue": {"maxBytes": 100, "overflow": overflow}});
        let mut world = away(&options.to_string());
        world.send("m0", latest("pose"), None);
        world.chat(&format!("m1 {}", "x".repeat(30)));
        let long = chat(&format!("m2 {}", "x".repeat(40)));
        let refused = world.line.send(long, latest("pose"), None);
        assert_eq!(refused.is_err(), overflow == "reject");
        comes_back(&mut world);
        assert_eq!(world.arrived()[0], "m0");
        assert_eq!(world.arrived().len(), 2);
    }
}

#[test]
fn a_listener_that_sends_keeps_the_order() {
    let mut world = away("{}");
    world.chat("m0");
    world.when("ws-connected", &[send("m1"), send("m2")]);
    comes_back(&mut world);
    world.when("chat-message", &[send("m3")]);
    world.gateway_says(&json!({"type": "chat", "text": "go on"}));
    world.run(100);
    assert_eq!(world.arrived(), names(0..4));
    check_run(&world);
}

/// The first listener sends, which offers the message to the socket; before the offer is taken up, the second one is
/// called with a frame that had to wait for the connection, and does `what`.
fn between_offer_and_hand_over(what: &[Ask]) -> World {
    let mut world = World::new("{}", Gateway { greet: Greet::After(0), snapshots: true, ..Gateway::plain() });
    world.when("ws-connected", &[send("m0"), send("m1")]);
    world.when("session-init", what);
    world.connect();
    world.run(2000);
    world
}

#[test]
fn a_listener_that_ends_the_line_while_a_message_is_offered_neither_loses_nor_doubles_it() {
    for again in [&[Ask::Disconnect][..], &[Ask::Disconnect, Ask::Connect], &[Ask::Disconnect, send("m2")]] {
        let mut world = between_offer_and_hand_over(again);
        comes_back(&mut world);
        let sent = world.line.next_message;
        assert_eq!(world.arrived(), names(0..sent));
        check_run(&world);
    }
}

#[test]
fn a_listener_that_disposes_while_a_message_is_offered_leaves_no_message_without_a_fate() {
    let world = between_offer_and_hand_over(&[Ask::Dispose]);
    assert_eq!(world.fate(0), Some(Fate::Rejected));
    check_run(&world);
}

#[test]
fn a_listener_that_replaces_an_offered_message_does_not_send_both() {
    let mut world = World::new("{}", Gateway { greet: Greet::After(0), ..Gateway::plain() });
    let pose = |text: &str| Ask::Send { text: chat(text), delivery: latest("pose"), ttl_ms: None };
    world.when("ws-connected", &[pose("m0"), send("m1")]);
    world.when("session-init", &[pose("m2"), send("m3")]);
    world.connect();
    world.run(2000);
    assert_eq!(world.fate(0), Some(Fate::Evicted));
    assert_eq!(world.arrived(), names(1..4));
    check_run(&world);
}

#[test]
fn frames_that_come_before_ready_wait_for_ws_connected_and_keep_their_order() {
    let gateway = Gateway { greet: Greet::Never, ..Gateway::plain() }.knowing("kept", "c0");
    let mut world = World::new("{}", gateway).with_session("kept", "c0");
    world.connect();
    world.run(25);
    for n in 0..100 {
        world.gateway_says(&json!({"type": "player-joined", "id": n}));
    }
    world.run(200);
    assert_eq!(world.heard().len(), 0);
    world.run(200);
    assert_eq!(world.heard()[0], "ws-connected");
    let ids: Vec<_> = world.line.events().skip(1).map(|(_, _, detail)| detail["id"].clone()).collect();
    assert_eq!(ids, (0..100).map(|n| json!(n)).collect::<Vec<_>>());
}

#[test]
fn a_server_that_sends_hundreds_of_frames_before_ready_cannot_make_the_line_keep_them_all() {
    let gateway = Gateway { greet: Greet::Never, ..Gateway::plain() }.knowing("kept", "c0");
    let mut world = World::new("{}", gateway).with_session("kept", "c0");
    world.connect();
    world.run(25);
    for n in 0..600 {
        world.gateway_says(&json!({"type": "player-joined", "id": n}));
    }
    world.run(100);
    assert!(world.count("player-joined") >= 600 - 256);
    world.run(400);
    assert_eq!(world.count("player-joined"), 600);
}

#[test]
fn frames_that_came_before_a_connection_failed_are_told_before_its_end() {
    let gateway = Gateway { greet: Greet::Never, ..Gateway::plain() }.knowing("kept", "c0");
    let mut world = World::new("{}", gateway).with_session("kept", "c0");
    world.connect();
    world.run(25);
    world.gateway_says(&json!({"type": "chat", "text": "farewell"}));
    world.gateway_closes(1011);
    world.run(100);
    assert_eq!(world.heard(), ["chat-message", "ws-disconnected", "ws-reconnecting"]);
}

#[test]
fn disposing_rejects_what_waits_and_is_the_end() {
    let mut world = away("{}");
    world.chat("m0");
    world.chat("m1");
    world.line.ask(Ask::Dispose).expect("always legal");
    assert_eq!((world.fate(0), world.fate(1)), (Some(Fate::Rejected), Some(Fate::Rejected)));
    let events = world.heard().len();
    world.net().plan.refuses = false;
    world.run(600_000);
    assert_eq!(world.heard().len(), events);
    assert_eq!(world.line.due, None, "no timer runs");
    check_run(&world);
}

#[test]
fn what_is_sent_before_connect_and_after_disconnect_waits_for_the_next_connection() {
    let mut world = World::new("{}", Gateway::default());
    world.chat("m0");
    world.connect();
    world.run(1000);
    world.disconnect();
    world.chat("m1");
    world.run(60_000);
    assert_eq!(world.arrived(), ["m0"]);
    world.connect();
    world.run(1000);
    assert_eq!(world.arrived(), ["m0", "m1"]);
    check_run(&world);
}

#[test]
fn what_was_sent_right_before_disconnect_arrives() {
    let mut world = World::moored("{}", Gateway::default());
    world.net().plan.kernel = 7;
    for id in 0..5 {
        world.chat(&format!("m{id}"));
    }
    world.disconnect();
    world.run(2900);
    assert_eq!(world.arrived(), names(0..5));
    world.connect();
    world.run(2000);
    check_run(&world);
}

#[test]
fn a_socket_that_does_not_get_to_say_goodbye_is_given_three_seconds() {
    let mut world = World::moored("{}", Gateway::default());
    world.net().plan.kernel = chat("m0").len();
    world.stall();
    world.chat("m0");
    world.chat("m1");
    world.run(1);
    world.disconnect();
    world.run(2998);
    assert_eq!((world.fate(0), world.line.client.queue().0), (None, 0));
    world.run(2);
    assert_eq!(world.fate(0), Some(Fate::Unknown));
    assert_eq!(world.line.client.queue().0, 1, "what the browser still held waits for the next connection");
    assert_eq!(world.line.due, None);
    world.cut();
    world.heal();
    comes_back(&mut world);
    assert!(world.arrived().contains(&"m1".to_string()));
    check_run(&world);
}

#[test]
fn no_receipt_is_settled_by_a_socket_that_never_took_the_message() {
    let mut world = away("{}");
    world.chat("m0");
    world.run(60_000);
    let settled = world.line.seen.iter().any(|(_, seen)| matches!(seen, Seen::Settled { .. }));
    assert!(!settled);
    assert_eq!(world.line.client.queue().0, 1);
}
