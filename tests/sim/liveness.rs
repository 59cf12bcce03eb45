//! Silence, probes, timers that ring late, and buffers that do not empty.

use crate::gateway::{Gateway, Greet};
use crate::invariants::check_run;
use crate::line::Seen;
use crate::world::{Provider, Storage, World, chat};
use moorline::outbox::Delivery;
use moorline::wire::SocketId;
use moorline::{Signal, Status};
use serde_json::{Value, json};

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
        world.line.received(SocketId(1), text);
    }
    assert_eq!(world.count("ws-error"), 2, "the empty one and the one that is no JSON");
    assert_eq!(world.count("ws-unhandled"), 8);
    assert_eq!(world.line.client.counters().misbehaved, 2.0);
    world.line.received(SocketId(1), &chat("still here"));
    assert_eq!(world.count("chat-message"), 1);
    assert_eq!(world.line.client.status(), Status::Connected);
}

// A page that goes and comes back.

const PARKS: &str = r#"{"reconnect":{"jitter":"none"},"hidden":"park","hiddenAfterMs":1000}"#;

/// A line in a state that a signal may meet it in, and has been in for three seconds where it is a state of passage.
fn in_state(state: &str) -> World {
    let mut world = match state {
        "idle" => return World::new(PARKS, Gateway::default()),
        "handshaking" => World::new(PARKS, Gateway { greet: Greet::Never, ..Gateway::plain() }),
        "restoring" | "resolving" | "opening" => World::new(PARKS, Gateway::default()),
        "live, and cannot be asked" => return World::moored(PARKS, Gateway::plain()),
        _ => World::moored(PARKS, Gateway::default()),
    };
    match state {
        "restoring" => world.net().storage = Storage::Silent,
        "resolving" => world.net().plan.provider = Provider::Hangs,
        "opening" => world.stall(),
        "handshaking" | "live" => {}
        "dead" => world.lose_the_other_end(),
        "waiting" => {
            world.net().plan.refuses = true;
            world.cut();
            world.run(60);
        }
        "parked" => {
            world.signal(Signal::Hidden);
            world.run(5000);
        }
        "closed" => world.disconnect(),
        _ => panic!("no state {state}"),
    }
    if matches!(state, "restoring" | "resolving" | "opening" | "handshaking") {
        world.connect();
        world.run(3000);
    }
    world
}

/// What becomes of it in so many milliseconds: questions asked at once, ends of sockets, attempts; and what counts as failed.
fn becomes(state: &str, signals: &[Signal]) -> String {
    let mut world = in_state(state);
    let attempts = |world: &World| world.line.seen.iter().filter(|(_, seen)| matches!(seen, Seen::Resolve(_))).count();
    let (asked, ended, tried) = (pings(&world), world.count("ws-disconnected"), attempts(&world));
    let failures = world.line.client.attempts();
    for signal in signals {
        world.signal(*signal);
    }
    let mut words = vec![];
    if pings(&world) > asked {
        words.push(format!("asks {}", pings(&world) - asked));
    }
    world.run(2550);
    if world.count("ws-disconnected") > ended {
        words.push(world.hears("ws-disconnected")["cause"].as_str().unwrap_or_default().into());
    }
    if attempts(&world) > tried {
        words.push(format!("tries {}", attempts(&world) - tried));
    }
    if world.line.client.attempts() > failures {
        words.push("failed".into());
    }
    if state == "dead" && world.count("ws-connected") > 1 {
        words.push("live".into());
    }
    check_run(&world);
    words.join(", ")
}

#[test]
fn every_signal_in_every_state() {
    use Signal::{Hidden, Offline, Online, PutAway, Restored, Resumed, Visible, Woke};
    let columns: [&[Signal]; 11] = [
        &[Online],
        &[Offline],
        &[Visible],
        &[Visible, Visible, Online],
        &[Resumed],
        &[Woke],
        &[Restored],
        &[PutAway, PutAway, Resumed, Visible, Restored],
        &[PutAway, Visible, Restored, Visible],
        &[PutAway],
        &[Hidden],
    ];
    let none = [""; 11];
    let begun = "lifecycle, tries 1";
    let table: [(&str, [&str; 11]); 11] = [
        ("idle", none),
        ("closed", none),
        // The storage has as long as an attempt.
        ("restoring", none),
        // An attempt that had its chance gets two seconds more, or none where the page was away; hidden, it is parked.
        (
            "resolving",
            ["tries 1", "", "tries 1", "tries 1", "tries 1", "tries 1", "tries 1", "tries 1", "tries 1", "", ""],
        ),
        ("opening", [begun, "", begun, begun, begun, begun, begun, begun, begun, "", "lifecycle"]),
        ("handshaking", [begun, "", begun, begun, begun, begun, begun, begun, begun, "", "lifecycle"]),
        ("live", ["asks 1", "asks 1", "asks 1", "asks 1", "asks 1", "asks 1", begun, begun, begun, "", "lifecycle"]),
        ("live, and cannot be asked", ["", "", "", "", "", "", begun, begun, begun, "", "lifecycle"]),
        (
            "dead",
            [
                // Whoever has a network again waits as the crowd does.
                "asks 1, heartbeat, failed",
                "asks 1, heartbeat, failed",
                "asks 1, heartbeat, tries 1, failed, live",
                "asks 1, heartbeat, tries 1, failed, live",
                "asks 1, heartbeat, tries 1, failed, live",
                "asks 1, heartbeat, tries 1, failed, live",
                "lifecycle, tries 1, live",
                "lifecycle, tries 1, live",
                "lifecycle, tries 1, live",
                "",
                "lifecycle",
            ],
        ),
        (
            "waiting",
            [
                "",
                "",
                "transport, tries 1, failed",
                "transport, tries 1, failed",
                "transport, tries 1, failed",
                "transport, tries 1, failed",
                "transport, tries 1, failed",
                "transport, tries 1, failed",
                "transport, tries 1, failed",
                "",
                "",
            ],
        ),
        ("parked", ["", "", "tries 1", "tries 1", "", "", "", "tries 1", "tries 1", "", ""]),
    ];
    for (state, outcomes) in table {
        for (signals, outcome) in columns.iter().zip(outcomes) {
            assert_eq!(becomes(state, signals), outcome, "{state}: {signals:?}");
        }
    }
}

#[test]
fn a_page_that_is_back_is_live_again_in_two_seconds_and_a_dial() {
    for seed in 0..200 {
        for signal in [Signal::Visible, Signal::Resumed, Signal::Woke] {
            let mut world = World::seeded("{}", Gateway::default(), seed);
            world.connect();
            world.run(6000);
            world.lose_the_other_end();
            world.signal(signal);
            world.run(2000 + 100);
            assert_eq!(world.count("ws-connected"), 2, "seed {seed}, {signal:?}: {}", world.recording());
            check_run(&world);
        }
    }
}

#[test]
fn a_network_that_is_back_is_taken_for_the_crowd_that_it_wakes_here_too() {
    let mut waits = Vec::new();
    for seed in 0..100 {
        let mut world = World::seeded("{}", Gateway::default(), seed);
        world.connect();
        world.run(6000);
        world.lose_the_other_end();
        world.signal(Signal::Online);
        world.run(1500);
        waits.push(world.hears("ws-reconnecting")["delayMs"].as_u64().expect("a wait") / 1000);
    }
    assert!((0..4).all(|second| waits.iter().filter(|wait| **wait == second).count() > 10), "{waits:?}");
}

#[test]
fn no_number_of_signals_puts_the_verdict_off() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::default());
    world.lose_the_other_end();
    let begun = world.now();
    for signal in [Signal::Visible, Signal::Online, Signal::Offline, Signal::Resumed, Signal::Visible] {
        world.signal(signal);
        world.run(350);
    }
    let (at, _, end) = world.line.events().find(|event| event.1 == "ws-disconnected").expect("it is noticed");
    assert_eq!((at - begun, &end["cause"]), (1500, &json!("heartbeat")));
    // Nor where nobody can be asked, and the page has said what silence means.
    let mut world = World::moored(r#"{"heartbeat":{"idleMs":20000}}"#, Gateway::plain());
    world.lose_the_other_end();
    for _ in 0..50 {
        world.signal(Signal::Visible);
        world.run(900);
    }
    assert_eq!(world.hears("ws-disconnected")["cause"], "heartbeat");
}

#[test]
fn who_turns_to_the_page_again_and_again_makes_no_attempt_each_time() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::default());
    world.net().plan.refuses = true;
    world.cut();
    for _ in 0..200 {
        world.signal(Signal::Visible);
        world.run(50);
    }
    assert!((5..8).contains(&world.dials().len()), "{:?}", world.dials());
}

#[test]
fn an_end_that_the_pages_absence_has_brought_is_no_failure() {
    // Before the page is put away, after that, and when it is back: nothing says in which order.
    for before in [true, false] {
        let mut world = World::moored(r#"{"reconnect":{"maxAttempts":0}}"#, Gateway::default());
        world.signal(Signal::PutAway);
        if before {
            world.cut();
            world.run(0);
        }
        world.signal(Signal::Restored);
        world.cut();
        world.run(500);
        let told = |name: &str, field: &str| -> Vec<Value> {
            world.line.events().filter(|event| event.1 == name).map(|event| event.2[field].clone()).collect()
        };
        assert!(told("ws-disconnected", "cause").iter().all(|cause| cause == "lifecycle"));
        assert!(told("ws-reconnecting", "delayMs").iter().all(|delay| *delay == 0));
        assert_eq!(told("ws-connected", "attempt"), [0, 0]);
        assert_eq!(world.count("ws-failed"), 0);
        check_run(&world);
    }
}

#[test]
fn what_survived_the_sleep_and_ends_after_that_is_an_end_as_ever() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::default());
    world.signal(Signal::Woke);
    world.cut();
    world.run(500);
    assert_eq!(world.hears("ws-disconnected")["cause"], "lifecycle", "nothing was heard since");
    world.run(10_000);
    world.signal(Signal::Woke);
    world.run(100);
    world.cut();
    world.run(0);
    assert_eq!(world.hears("ws-disconnected")["cause"], "transport", "an answer was");
    world.run(10_000);
    world.signal(Signal::Woke);
    world.net().gateway.answers_probes = false;
    world.run(10_000);
    assert_eq!(world.hears("ws-disconnected")["cause"], "heartbeat");
}

#[test]
fn an_attempt_that_the_page_slept_through_has_not_failed_but_the_next_may() {
    let mut world = World::new(PLAIN_WAITS, Gateway::default());
    world.stall();
    world.connect();
    world.run_throttled(3_600_000);
    assert_eq!(world.hears("ws-disconnected")["cause"], "lifecycle");
    assert_eq!(world.line.client.attempts(), 0);
    world.run(5);
    world.run_throttled(3_600_000);
    assert_eq!(world.hears("ws-disconnected")["cause"], "handshake-timeout");
    assert_eq!(world.line.client.attempts(), 1);
    // The same of a url provider that hangs, and of one page that is put away in the middle.
    for put_away in [true, false] {
        let mut world = World::new(PLAIN_WAITS, Gateway::default());
        world.net().plan.provider = Provider::Hangs;
        world.connect();
        world.run(500);
        if put_away {
            world.signal(Signal::PutAway);
        }
        world.net().plan.provider = Provider::None;
        world.run_throttled(20_000);
        world.run(300);
        assert_eq!(world.hears("ws-connected")["attempt"], 0);
    }
}

#[test]
fn a_path_that_takes_its_time_is_not_dialled_for_ever_because_somebody_looks() {
    let mut world = World::new(PLAIN_WAITS, Gateway::plain());
    world.net().plan.latency = (2900, 2900);
    world.connect();
    for _ in 0..40 {
        world.signal(Signal::Visible);
        world.run(500);
    }
    assert_eq!(world.line.client.status(), Status::Connected);
    assert_eq!(world.dials().len(), 2, "one attempt was cut short, and no second");
}

// A page that nobody sees.

const SLOW: &str = r#"{"reconnect":{"jitter":"none"},"hidden":"slow","hiddenAfterMs":60000}"#;

#[test]
fn by_default_a_hidden_page_is_as_any_other() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::default());
    world.signal(Signal::Hidden);
    world.run(600_000);
    assert!((49..=52).contains(&pings(&world)), "{}", pings(&world));
    assert_eq!(world.count("ws-disconnected"), 0);
}

#[test]
fn a_slow_page_asks_and_tries_a_quarter_as_often_until_somebody_sees_it() {
    let mut world = World::moored(SLOW, Gateway::default());
    world.signal(Signal::Hidden);
    world.run(59_000);
    let asked = pings(&world);
    world.run(481_000);
    assert!((9..=11).contains(&(pings(&world) - asked)), "{}", pings(&world) - asked);
    world.net().plan.refuses = true;
    world.cut();
    world.run(0);
    assert_eq!(world.hears("ws-reconnecting")["delayMs"], 16_000);
    world.run(16_000 + 32_000 + 64_000 + 150);
    assert_eq!(world.hears("ws-reconnecting")["delayMs"], 120_000);
    world.signal(Signal::Visible);
    world.run(550);
    assert_eq!(world.hears("ws-reconnecting")["delayMs"], 30_000, "and tries soon when somebody does");
    world.net().plan.refuses = false;
    world.run(31_000);
    let asked = pings(&world);
    world.run(121_000);
    assert!((9..=11).contains(&(pings(&world) - asked)), "{}", pings(&world) - asked);
}

#[test]
fn a_page_that_is_hidden_for_a_moment_is_neither_slow_nor_parked() {
    for options in [SLOW, PARKS] {
        let mut world = World::moored(options, Gateway::default());
        for _ in 0..100 {
            world.signal(Signal::Hidden);
            world.run(900);
            world.signal(Signal::Visible);
            world.run(900);
        }
        assert_eq!(world.count("ws-disconnected"), 0);
    }
}

#[test]
fn a_parked_line_dials_nothing_keeps_what_is_sent_and_is_back_when_somebody_sees_it() {
    let mut world = World::moored(PARKS, Gateway::default());
    world.signal(Signal::Hidden);
    world.run(1000);
    let told = world.hears("ws-disconnected").clone();
    assert_eq!(
        (&told["cause"], &told["code"], &told["willReconnect"]),
        (&json!("lifecycle"), &json!(1000), &json!(true))
    );
    assert_eq!(world.line.client.status(), Status::Reconnecting);
    world.chat("m0");
    world.signal(Signal::Online);
    world.run(86_400_000);
    world.chat("m1");
    assert_eq!((world.dials().len(), world.net().live_sockets()), (1, 0));
    assert_eq!(world.line.due, None, "no timer runs");
    world.signal(Signal::Visible);
    assert_eq!(world.dials().last(), Some(&world.now()));
    assert_eq!(world.hears("ws-reconnecting")["delayMs"], 0);
    world.run(500);
    assert_eq!(world.hears("ws-connected")["attempt"], 0);
    assert_eq!(world.hears("ws-connected")["recovered"], true);
    assert_eq!(world.arrived(), ["m0", "m1"]);
    check_run(&world);
}

#[test]
fn a_line_with_something_under_way_is_not_parked_until_it_is_done() {
    let mut world = World::moored(PARKS, Gateway::default());
    world.net().plan.refuses = true;
    world.cut();
    world.chat("m0");
    world.signal(Signal::Hidden);
    world.run(60_000);
    assert!(world.dials().len() > 3, "it goes on trying: {:?}", world.dials());
    world.net().plan.refuses = false;
    world.run(30_000);
    assert_eq!(world.arrived(), ["m0"]);
    world.run(10_000);
    assert_eq!(world.hears("ws-disconnected")["cause"], "lifecycle", "and is parked when it is through");
    assert_eq!(world.net().live_sockets(), 0);
    check_run(&world);
}

#[test]
fn connect_ends_the_parking_and_the_time_begins_anew() {
    let mut world = World::moored(PARKS, Gateway::default());
    world.signal(Signal::Hidden);
    world.run(5000);
    world.connect();
    world.run(900);
    assert_eq!(world.line.client.status(), Status::Connected);
    world.run(200);
    assert_eq!(world.count("ws-disconnected"), 2);
    world.disconnect();
    world.run(5000);
    assert_eq!(world.line.client.status(), Status::Closed);
    world.signal(Signal::Visible);
    world.run(5000);
    assert_eq!((world.line.client.status(), world.dials().len()), (Status::Closed, 2));
}

#[test]
fn a_page_is_put_away_once() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::default());
    for signal in [Signal::PutAway, Signal::Hidden, Signal::PutAway] {
        world.signal(signal);
    }
    assert_eq!(world.line.client.explain().matches("puts the page away").count(), 1);
    world.signal(Signal::Resumed);
    world.signal(Signal::PutAway);
    assert_eq!(world.line.client.explain().matches("puts the page away").count(), 2);
}
