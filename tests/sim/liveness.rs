//! Silence, probes, timers that ring late, and buffers that do not empty.

use crate::gateway::{Gateway, Greet};
use crate::invariants::check_run;
use crate::world::{World, chat};
use moorline::outbox::Delivery;
use moorline::{Signal, Status};
use serde_json::json;

const PLAIN_WAITS: &str = r#"{"reconnect":{"jitter":"none"}}"#;

fn pings(world: &World) -> usize {
    world.wire().iter().filter(|(_, text)| text.contains("ping")).count()
}

#[test]
fn a_half_open_link_is_noticed_by_an_unanswered_probe() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::default());
    let connected = world.now();
    world.lose_the_other_end();
    world.run(15_000);
    let (at, _, end) = world.line.events().find(|event| event.1 == "ws-disconnected").expect("it is noticed");
    assert_eq!(end["cause"], "heartbeat");
    assert!(at <= connected + 15_000);
    world.run(5000);
    assert_eq!(world.line.client.status(), Status::Connected);
    assert_eq!(world.hears("ws-connected")["recovered"], true);
    check_run(&world);
}

#[test]
fn becoming_visible_or_online_asks_at_once() {
    for signal in [Signal::Visible, Signal::Online, Signal::Resumed] {
        let mut world = World::moored(PLAIN_WAITS, Gateway::default());
        world.lose_the_other_end();
        let before = pings(&world);
        world.signal(signal);
        assert_eq!(pings(&world), before + 1);
        world.run(2000);
        assert_eq!(world.hears("ws-disconnected")["cause"], "heartbeat");
    }
}

#[test]
fn a_gateway_that_answers_is_asked_now_and_then_and_stays() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::default());
    world.run(600_000);
    assert_eq!(world.heard(), ["ws-connected", "session-init"]);
    assert!((49..=52).contains(&pings(&world)), "{}", pings(&world));
    assert_eq!(world.line.client.counters().rtt_ms, Some(40.0));
}

#[test]
fn any_frame_is_a_sign_of_life() {
    let mut world = World::moored(PLAIN_WAITS, Gateway { answers_probes: false, ..Gateway::default() });
    // It promised to answer and does not, but it talks.
    for _ in 0..100 {
        world.gateway_says(&json!({"type": "player-joined", "id": "p"}));
        world.run(1500);
    }
    assert_eq!(world.count("ws-disconnected"), 1, "the first probe met silence");
    assert_eq!(world.count("ws-connected"), 2);
    world.run(20_000);
    assert_eq!(world.hears("ws-disconnected")["cause"], "heartbeat");
}

#[test]
fn a_late_timer_asks_again_before_it_judges_and_forgives_once() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::default());
    // The machine sleeps: the question that is due goes out late, and its answer is awaited as ever.
    world.run_throttled(3_600_000);
    world.run(1000);
    assert_eq!(world.count("ws-disconnected"), 0);
    // It sleeps in the middle of a question; what came meanwhile has not been delivered yet.
    world.stall();
    world.run(12_500);
    let asked = pings(&world);
    world.run_throttled(3_600_000);
    assert_eq!(world.count("ws-disconnected"), 0, "a late timer proves nothing");
    assert_eq!(pings(&world), asked + 1, "so it asks again");
    world.run_throttled(3_600_000);
    assert_eq!(world.hears("ws-disconnected")["cause"], "heartbeat", "once");
}

#[test]
fn a_timer_that_is_a_little_late_judges_all_the_same() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::default());
    world.stall();
    world.signal(Signal::Visible);
    world.run_throttled(1700);
    assert_eq!(world.hears("ws-disconnected")["cause"], "heartbeat");
}

#[test]
fn without_an_offer_nobody_is_asked_and_silence_is_no_evidence() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::plain());
    assert_eq!(world.line.due, None, "and no timer runs");
    world.signal(Signal::Visible);
    world.run(86_400_000);
    assert_eq!(world.heard(), ["ws-connected", "session-init"]);
    assert_eq!(pings(&world), 0);
}

#[test]
fn without_an_offer_silence_counts_where_the_page_says_how_much() {
    let mut world = World::moored(r#"{"heartbeat":{"idleMs":20000}}"#, Gateway::plain());
    for _ in 0..20 {
        world.gateway_says(&json!({"type": "chat"}));
        world.run(19_000);
    }
    assert_eq!(world.count("ws-disconnected"), 0);
    world.lose_the_other_end();
    world.run(40_000);
    assert_eq!(world.hears("ws-disconnected")["cause"], "heartbeat");
}

#[test]
fn an_offer_that_comes_late_is_taken_and_one_from_the_last_socket_forgotten() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::plain());
    world.gateway_says(&json!({"type": "gateway-offer", "ping": true}));
    world.run(1000);
    assert_eq!(pings(&world), 1);
    world.net().gateway.answers_probes = false;
    world.cut();
    world.run(120_000);
    assert_eq!(pings(&world), 1, "this one has not offered");
    assert_eq!(world.count("ws-disconnected"), 1);
}

#[test]
fn a_full_buffer_holds_the_queue_back_and_an_empty_one_lets_it_go() {
    // It empties little by little, and all at once.
    for kernel in [100_000, 1 << 30] {
        full_buffer(kernel);
    }
}

fn full_buffer(kernel: usize) {
    let options = r#"{"queue":{"maxMessages":1000,"maxBytes":10000000},"heartbeat":{"idleMs":600000}}"#;
    let mut world = World::moored(options, Gateway::default());
    world.net().plan.kernel = kernel;
    let padding = "x".repeat(65_000);
    for id in 0..64 {
        world.send(&format!("m{id} {padding}"), Delivery::Queue, None);
    }
    let held = world.line.client.queue().0;
    assert!(held >= 64 - 18, "above a mebibyte in the browser the queue waits: {held}");
    world.run(3000);
    assert_eq!(world.line.client.queue().0, 0);
    let arrived: Vec<String> =
        world.arrived().iter().map(|text| text.split(' ').next().unwrap_or_default().to_string()).collect();
    assert_eq!(arrived, (0..64).map(|id| format!("m{id}")).collect::<Vec<_>>());
    check_run(&world);
}

#[test]
fn a_browser_that_cannot_write_a_byte_for_ten_seconds_has_a_dead_path() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::plain());
    world.net().plan.kernel = 10;
    world.stall();
    world.chat("m0");
    world.run(9000);
    assert_eq!(world.count("ws-disconnected"), 0);
    world.run(1200);
    assert_eq!(world.hears("ws-disconnected")["cause"], "heartbeat");
    world.heal();
    world.net().plan.kernel = 1 << 20;
    world.run(10_000);
    assert!(world.arrived().contains(&"m0".to_string()), "and what it held is sent again");
    check_run(&world);
}

#[test]
fn a_slow_path_that_moves_is_not_a_dead_one() {
    let mut world = World::moored(r#"{"heartbeat":{"idleMs":600000}}"#, Gateway::plain());
    // Eight bytes every two seconds.
    world.net().plan.kernel = 8;
    world.net().plan.latency = (2000, 2000);
    for id in 0..5 {
        world.chat(&format!("m{id}"));
    }
    world.run(60_000);
    assert_eq!(world.count("ws-disconnected"), 0);
    assert_eq!(world.arrived().len(), 5);
}

#[test]
fn a_timer_that_rings_early_or_twice_changes_nothing() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::default());
    world.cut();
    world.run(1);
    let (seen, due) = (world.line.seen.len(), world.line.due);
    for _ in 0..10 {
        world.line.ring();
    }
    assert_eq!((world.line.seen.len(), world.line.due), (seen, due));
}

#[test]
fn a_clock_that_jumps_back_harms_nothing() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::default());
    world.line.now = 0;
    world.line.ring();
    world.chat("m0");
    world.signal(Signal::Visible);
    world.run(100_000);
    assert_eq!(world.arrived(), ["m0"]);
    assert_eq!(world.line.client.status(), Status::Connected);
}

#[test]
fn the_server_cannot_harm_the_line_by_what_it_sends() {
    let mut world = World::moored(PLAIN_WAITS, Gateway { greet: Greet::After(0), ..Gateway::default() });
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    for text in ["", "null", "7", "[]", "{}", "\"x\"", "{\"type\":[]}", "{\"__proto__\":{\"a\":1}}", "nope", &deep] {
        world.line.received(moorline::wire::SocketId(1), text);
    }
    assert_eq!(world.count("ws-error"), 2, "the empty one and the one that is no JSON");
    assert_eq!(world.count("ws-unhandled"), 8);
    assert_eq!(world.line.client.counters().misbehaved, 2.0);
    world.line.received(moorline::wire::SocketId(1), &chat("still here"));
    assert_eq!(world.count("chat-message"), 1);
    assert_eq!(world.line.client.status(), Status::Connected);
}
