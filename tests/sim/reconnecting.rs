//! When the line tries again, when it does not, and what it says about it.

use crate::gateway::{Gateway, Greet};
use crate::invariants::check_run;
use crate::line::Seen;
use crate::world::{Provider, World};
use moorline::error::ApiMisuse;
use moorline::wire::SocketId;
use moorline::{Signal, Status};
use serde_json::json;

const PLAIN_WAITS: &str = r#"{"reconnect":{"jitter":"none"}}"#;

/// One that is cut off and waits for its next attempt.
fn waiting(options: &str, seed: u64) -> World {
    let mut world = World::seeded(options, Gateway::default(), seed);
    world.connect();
    world.run(6000);
    world.cut();
    world.run(0);
    assert_eq!(world.line.client.status(), Status::Reconnecting);
    world
}

/// One whose gateway has closed with this code.
fn closed_with(code: u16, options: &str, seed: u64) -> World {
    let mut world = World::seeded(options, Gateway::plain(), seed);
    world.connect();
    world.run(500);
    // Without a token, so that its refusal is final.
    world.line.obey(moorline::Input::Session(None));
    world.gateway_closes(code);
    world.run(20);
    world
}

fn wait_of(world: &World) -> u64 {
    world.hears("ws-reconnecting")["delayMs"].as_u64().expect("a wait")
}

#[test]
fn an_error_and_a_close_of_one_socket_are_followed_by_one_retry() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::default());
    world.cut();
    world.run(1);
    world.line.closed(SocketId(1), 1006, "", false);
    world.line.closed(SocketId(1), 1000, "", true);
    world.run(3998);
    assert_eq!(world.dials().len(), 1);
    world.run(60_000);
    assert_eq!(world.dials().len(), 2);
    assert_eq!(world.count("ws-disconnected"), 1);
}

#[test]
fn late_events_of_an_old_socket_change_nothing() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::default());
    world.cut();
    world.run(10_000);
    let seen = world.line.seen.len();
    let before = (world.line.client.status(), world.line.due);
    world.line.opened(SocketId(1));
    world.line.received(SocketId(1), r#"{"type":"session-init","token":"evil","clientId":"evil"}"#);
    world.line.received(SocketId(1), "no JSON");
    world.line.closed(SocketId(1), 4403, "", true);
    for socket in [0, 7] {
        world.line.closed(SocketId(socket), 1008, "", true);
    }
    assert_eq!(world.line.seen.len(), seen);
    assert_eq!((world.line.client.status(), world.line.due), before);
}

#[test]
fn a_gateway_that_accepts_and_drops_is_dialled_ever_more_slowly() {
    let mut world = World::new(PLAIN_WAITS, Gateway::plain());
    world.connect();
    for _ in 0..6 {
        world.run(170);
        world.cut();
        let due = world.line.client.next_attempt();
        world.run(0);
        let due = world.line.client.next_attempt().or(due).expect("another attempt");
        let wait = due.as_millis() - world.now();
        world.run(wait);
    }
    let dials = world.dials();
    let waits: Vec<u64> = dials.windows(2).map(|pair| pair[1] - pair[0] - 170).collect();
    assert_eq!(waits, [4000, 8000, 16_000, 30_000, 30_000, 30_000]);
}

#[test]
fn failures_are_forgiven_after_a_stable_connection_and_not_before() {
    for (stays, attempt) in [(4900, 2), (5100, 1)] {
        let mut world = waiting(PLAIN_WAITS, 1);
        world.run(4000 + 40 + stays);
        world.cut();
        world.run(0);
        assert_eq!(world.hears("ws-reconnecting")["attempt"], attempt, "after {stays} ms");
    }
}

#[test]
fn after_the_last_attempt_there_is_one_failure_and_then_silence_until_connect() {
    let options = r#"{"reconnect":{"jitter":"none","maxAttempts":3}}"#;
    let mut world = World::moored(options, Gateway::default());
    world.net().plan.refuses = true;
    world.cut();
    world.run(86_400_000);
    assert_eq!(world.count("ws-failed"), 1);
    assert_eq!(world.hears("ws-failed"), &json!({"cause": "attempts-exhausted", "code": 1006, "attempts": 3}));
    assert_eq!(world.dials().len(), 4);
    assert_eq!(world.line.client.status(), Status::Closed);
    for signal in [Signal::Online, Signal::Visible, Signal::Restored] {
        world.signal(signal);
    }
    world.run(86_400_000);
    assert_eq!(world.dials().len(), 4);
    world.net().plan.refuses = false;
    world.connect();
    world.run(1000);
    assert_eq!(world.hears("ws-connected")["attempt"], 0);
    check_run(&world);
}

#[test]
fn with_no_attempts_allowed_the_first_end_is_the_last() {
    let mut world = World::moored(r#"{"reconnect":{"maxAttempts":0}}"#, Gateway::default());
    world.cut();
    world.run(60_000);
    assert_eq!(world.hears("ws-disconnected")["willReconnect"], false);
    assert_eq!(world.hears("ws-failed")["attempts"], 0);
    assert_eq!(world.count("ws-reconnecting"), 0);
}

#[test]
fn connect_while_waiting_tries_at_once_and_while_connected_does_nothing() {
    let mut world = waiting(PLAIN_WAITS, 1);
    world.run(100);
    world.connect();
    world.connect();
    assert_eq!(world.dials().last(), Some(&world.now()));
    world.run(1000);
    world.connect();
    world.run(60_000);
    assert_eq!(world.dials().len(), 2);
}

#[test]
fn a_signal_shortens_a_wait_by_half_a_second_for_a_person_and_by_the_first_wait_for_a_network() {
    for (signal, within) in [(Signal::Online, 4000), (Signal::Visible, 500), (Signal::Resumed, 500)] {
        let mut waits = Vec::new();
        for seed in 0..100 {
            let mut world = waiting(PLAIN_WAITS, seed);
            world.net().plan.refuses = true;
            world.run(4000 + 8000 + 60);
            assert_eq!(wait_of(&world), 16_000);
            world.signal(signal);
            let asked = world.now();
            world.run(within);
            let dial = *world.dials().last().expect("a dial");
            assert!(dial >= asked && dial < asked + within, "{dial} after {asked}");
            waits.push((dial - asked) * 5 / within);
        }
        assert!((0..5).all(|fifth| waits.iter().filter(|wait| **wait == fifth).count() > 8), "{waits:?}");
    }
}

#[test]
fn what_the_server_asked_for_is_hurried_by_nothing_but_the_page() {
    for seed in 0..20 {
        let mut world = closed_with(1012, PLAIN_WAITS, seed);
        let due = world.line.client.next_attempt();
        for signal in [Signal::Offline, Signal::Online, Signal::Visible, Signal::Resumed, Signal::Restored] {
            world.signal(signal);
            world.run(100);
        }
        assert_eq!(world.line.client.next_attempt(), due);
        world.connect();
        assert_eq!(world.dials().last(), Some(&world.now()));
    }
}

#[test]
fn until_a_connection_a_crowd_that_was_spread_stays_spread() {
    for seed in 0..20 {
        let mut world = closed_with(1012, "{}", seed);
        world.net().plan.refuses = true;
        world.run(5000 + 55_000 * 3);
        let dials = world.dials();
        assert!(dials.len() >= 4, "{dials:?}");
        let apart = |pair: &[u64]| (50_000..55_100).contains(&(pair[1] - pair[0]));
        assert!(dials[1..].windows(2).all(apart), "{dials:?}");
        world.net().plan.refuses = false;
        world.run(60_000);
        assert_eq!(world.line.client.status(), Status::Connected);
        world.cut();
        world.run(0);
        assert!(wait_of(&world) < 30_000, "forgotten once there was a connection");
    }
}

#[test]
fn a_server_that_turns_everybody_away_gets_no_denser_a_crowd() {
    let mut world = closed_with(1013, PLAIN_WAITS, 3);
    world.net().plan.refuses = true;
    for turn in 0..5 {
        let wait = world.line.client.next_attempt().expect("a wait").as_millis() - world.now();
        world.run(wait);
        let socket = world.dials().len() as u32;
        world.end(socket, 1013, true);
        assert!((50_000..55_000).contains(&wait_of(&world)), "turn {turn}: {}", wait_of(&world));
    }
}

#[test]
fn a_signal_never_puts_an_attempt_off() {
    let mut world = waiting(PLAIN_WAITS, 1);
    world.run(3999);
    for _ in 0..20 {
        world.signal(Signal::Visible);
        world.signal(Signal::Offline);
    }
    world.run(1);
    assert_eq!(world.dials().len(), 2);
}

#[test]
fn a_restart_and_an_overload_are_waited_out_for_5_to_55_seconds_spread() {
    for (code, cause) in [(1012, "server-restart"), (1013, "overloaded"), (4408, "overloaded"), (4429, "overloaded")] {
        let mut waits = Vec::new();
        for seed in 0..60 {
            let world = closed_with(code, PLAIN_WAITS, seed);
            assert_eq!(world.hears("ws-reconnecting")["cause"], cause);
            waits.push(wait_of(&world));
        }
        assert!(waits.iter().all(|wait| (5000..55_000).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait < 10_000) && waits.iter().any(|wait| *wait > 50_000));
    }
}

#[test]
fn a_gateways_advice_is_obeyed_spread_and_forgotten_afterwards() {
    let mut waits = Vec::new();
    for seed in 0..60 {
        let mut world = World::seeded(PLAIN_WAITS, Gateway::default(), seed);
        world.connect();
        world.run(6000);
        world.gateway_says(&json!({"type": "server-advice", "retryAfterMs": 7000, "spreadMs": 2000}));
        world.gateway_closes(1012);
        world.net().plan.refuses = true;
        world.run(20);
        waits.push(wait_of(&world));
        world.signal(Signal::Visible);
        world.run(6999);
        assert_eq!(world.dials().len(), 1, "nothing hurries it");
        world.run(2100);
        assert_eq!(world.dials().len(), 2);
        assert_eq!(wait_of(&world), 8000, "the next wait is our own again");
    }
    assert!(waits.iter().all(|wait| (7000..9000).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait < 7500) && waits.iter().any(|wait| *wait > 8500));
}

#[test]
fn advice_that_names_no_spread_is_spread_all_the_same() {
    let mut waits = Vec::new();
    for seed in 0..60 {
        let mut world = World::seeded(PLAIN_WAITS, Gateway::default(), seed);
        world.connect();
        world.run(6000);
        world.gateway_says(&json!({"type": "server-advice", "retryAfterMs": 2000}));
        world.run(30);
        world.cut();
        world.run(0);
        waits.push(wait_of(&world));
    }
    assert!(waits.iter().all(|wait| (2000..52_000).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait < 7000) && waits.iter().any(|wait| *wait > 47_000));
}

#[test]
fn a_gateway_of_few_clients_may_have_them_back_at_a_moment_of_its_own() {
    for (advice, wait) in [
        (json!({"type": "server-advice", "retryAfterMs": 700, "spreadMs": 0}), 700),
        (json!({"type": "server-advice", "spreadMs": 0}), 0),
    ] {
        let mut world = World::moored(PLAIN_WAITS, Gateway::default());
        world.gateway_says(&advice);
        world.gateway_closes(1012);
        world.net().plan.refuses = true;
        world.run(20);
        assert_eq!(wait_of(&world), wait, "{advice}");
        world.run(wait + 40);
        assert_eq!(wait_of(&world), 8000, "and then it is backoff");
    }
}

#[test]
fn advice_without_sense_is_bounded_or_refused() {
    for (after, spread, least, most) in [
        (json!(1e300), json!(0), 86_400_000, 86_400_000),
        (json!(1e300), json!(-7), 86_400_000, 86_450_000),
        (json!(0), json!(1e300), 0, 86_400_000),
        (json!(-5), json!(-7), 4000, 4000),
        (json!("soon"), json!(2000), 4000, 4000),
        (json!(null), json!(null), 4000, 4000),
    ] {
        let mut world = World::moored(PLAIN_WAITS, Gateway::default());
        world.gateway_says(&json!({"type": "server-advice", "retryAfterMs": after, "spreadMs": spread}));
        world.run(30);
        world.cut();
        world.run(0);
        assert!((least..=most).contains(&wait_of(&world)), "{after} {spread}: {}", wait_of(&world));
        assert_eq!(world.count("ws-error"), usize::from(least == 4000), "{after} {spread}");
    }
}

#[test]
fn every_close_code_has_one_answer() {
    for code in 1000..=4999 {
        let mut world = closed_with(code, PLAIN_WAITS, 1);
        let end = world.hears("ws-disconnected").clone();
        assert_eq!(end["code"], code);
        let fatal = matches!(code, 1002 | 1003 | 1007..=1010 | 1015 | 4401 | 4403);
        assert_eq!(end["willReconnect"], !fatal, "{code}");
        assert_eq!(world.count("ws-disconnected"), 1);
        assert_eq!(world.count("ws-failed"), usize::from(fatal), "{code}");
        assert_eq!(world.count("ws-reconnecting"), usize::from(!fatal), "{code}");
        let later = matches!(code, 1012 | 1013 | 4408 | 4429);
        assert!(fatal || later || wait_of(&world) == 4000, "{code}");
        world.run(55_000);
        assert_eq!(world.dials().len(), if fatal { 1 } else { 2 }, "{code}");
    }
}

#[test]
fn the_pages_close_policy_overrules_the_table() {
    let options = r#"{"reconnect":{"jitter":"none"},"closePolicy":[[1008,true],[1006,false],[4401,true],[1013,true]]}"#;
    for (code, retries, wait) in [(1008, true, 4000), (1006, false, 0), (4401, true, 4000), (1002, false, 0)] {
        let world = closed_with(code, options, 1);
        assert_eq!(world.hears("ws-disconnected")["willReconnect"], retries, "{code}");
        assert!(!retries || wait_of(&world) == wait, "{code}");
    }
    assert!(wait_of(&closed_with(1013, options, 1)) >= 5000, "leave to retry is not leave to hurry");
}

#[test]
fn unauthorized_clears_the_token_and_tries_again_once_and_without_a_token_is_final() {
    for code in [4401, 4403] {
        let mut world = World::moored(PLAIN_WAITS, Gateway { greet: Greet::After(500), ..Gateway::default() });
        world.gateway_closes(code);
        world.run(20);
        assert_eq!(world.net().saved, None);
        assert_eq!(world.hears("ws-disconnected")["willReconnect"], true);
        world.run(4000 + 20 + 20);
        world.gateway_closes(code);
        world.run(20);
        assert_eq!(world.hears("ws-failed")["cause"], "unauthorized");
        world.run(600_000);
        assert_eq!(world.dials().len(), 2);
        let resumes = world.wire().iter().filter(|(_, text)| text.contains("resume")).count();
        assert_eq!(resumes, 0);
    }
}

#[test]
fn disconnect_is_final_silent_and_one_event_wherever_the_line_stands() {
    // Connecting, dialling, handshaking, connected, waiting.
    for (provider, wait, cut) in [
        (Provider::Hangs, 10, false),
        (Provider::None, 10, false),
        (Provider::None, 50, false),
        (Provider::None, 1000, false),
        (Provider::None, 1000, true),
    ] {
        let mut world = World::new("{}", Gateway::default());
        world.net().plan.provider = provider;
        world.connect();
        world.run(wait);
        if cut {
            world.cut();
            world.run(1);
        }
        let before = world.heard().len();
        world.disconnect();
        world.disconnect();
        world.run(600_000);
        world.signal(Signal::Online);
        world.run(600_000);
        assert_eq!(world.heard()[before..], ["ws-disconnected"], "{wait} {cut}");
        assert_eq!(world.hears("ws-disconnected")["cause"], "closed");
        assert_eq!(world.line.client.status(), Status::Closed);
        assert_eq!(world.net().live_sockets(), 0);
        world.net().plan.provider = Provider::None;
        world.connect();
        world.run(1000);
        assert_eq!(world.line.client.status(), Status::Connected);
        world.cut();
        world.run(60_000);
        assert_eq!(world.line.client.status(), Status::Connected, "and it reconnects as before");
    }
}

#[test]
fn disconnect_before_connect_says_nothing() {
    let mut world = World::new("{}", Gateway::default());
    world.disconnect();
    world.run(1000);
    assert_eq!(world.line.seen, []);
    assert_eq!(world.line.client.status(), Status::Idle);
}

#[test]
fn a_code_or_reason_that_no_browser_would_send_is_refused_and_changes_nothing() {
    let mut world = World::moored("{}", Gateway::default());
    let long = "é".repeat(62);
    assert_eq!(world.line.disconnect(1001, ""), Err(ApiMisuse::CloseCode { code: 1001 }));
    assert_eq!(world.line.disconnect(4000, &long), Err(ApiMisuse::CloseReason));
    assert_eq!(world.line.client.status(), Status::Connected);
    world.line.disconnect(4321, &long[..122]).expect("123 bytes are allowed");
    assert!(
        world.line.seen.iter().any(|(_, seen)| matches!(seen, Seen::Close(1, 4321, reason) if reason.len() == 122))
    );
}

#[test]
fn a_socket_that_opens_and_says_nothing_is_replaced_at_the_deadline() {
    for provider in [Provider::None, Provider::After(3000)] {
        let mut world = World::new(PLAIN_WAITS, Gateway { greet: Greet::Never, ..Gateway::plain() });
        world.net().plan.provider = provider;
        world.connect();
        world.run(9999);
        assert_eq!(world.heard().len(), 0);
        world.run(1);
        assert_eq!(world.heard(), ["ws-disconnected", "ws-reconnecting"]);
        assert_eq!(world.hears("ws-disconnected")["cause"], "handshake-timeout");
        world.net().gateway.greet = Greet::AtOnce;
        world.run(9000);
        assert_eq!(world.count("ws-connected"), 1);
        assert_eq!(world.dials().len(), 2);
        check_run(&world);
    }
}

#[test]
fn a_url_provider_that_hangs_or_fails_is_a_failed_attempt_and_no_more() {
    for (provider, cause, waited) in
        [(Provider::Hangs, "handshake-timeout", 10_000), (Provider::Fails, "url-provider", 0)]
    {
        let mut world = World::new(PLAIN_WAITS, Gateway::default());
        world.net().plan.provider = provider;
        world.connect();
        world.run(waited);
        assert_eq!(world.hears("ws-reconnecting")["cause"], cause);
        assert_eq!(world.count("ws-disconnected"), 0, "no socket, no end of one");
        assert_eq!(world.count("ws-error"), usize::from(provider == Provider::Fails));
        world.net().plan.provider = Provider::None;
        world.run(5000);
        assert_eq!(world.count("ws-connected"), 1);
    }
}

#[test]
fn the_answer_to_an_abandoned_question_opens_nothing() {
    let mut world = World::new(PLAIN_WAITS, Gateway::default());
    world.net().plan.provider = Provider::After(11_000);
    world.connect();
    world.run(13_999);
    assert_eq!(world.dials().len(), 0);
}

#[test]
fn while_the_browser_is_offline_the_cause_is_called_so() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::plain());
    world.signal(Signal::Offline);
    assert_eq!(world.count("ws-disconnected"), 0, "a hint is no verdict");
    world.signal(Signal::Visible);
    world.cut();
    world.net().plan.refuses = true;
    world.run(0);
    assert_eq!(world.hears("ws-disconnected")["cause"], "offline");
    world.signal(Signal::Online);
    world.run(4000);
    assert_eq!(world.hears("ws-disconnected")["cause"], "transport");
}

#[test]
fn a_page_out_of_the_cache_replaces_its_socket_without_a_wait() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::default());
    world.signal(Signal::Restored);
    world.run(40 + 150);
    assert_eq!(world.hears("ws-disconnected")["cause"], "lifecycle");
    assert_eq!(world.line.client.status(), Status::Connected);
}

#[test]
fn a_crowd_that_lost_its_gateway_together_does_not_come_back_together() {
    let mut tenths = vec![0; 40];
    for seed in 0..400 {
        let world = waiting("{}", seed);
        tenths[wait_of(&world) as usize / 100] += 1;
    }
    assert!(tenths.iter().all(|crowd| (1..=24).contains(crowd)), "{tenths:?}");
}

#[test]
fn the_page_can_change_the_waits_from_the_next_failure_on() {
    let mut world = waiting(PLAIN_WAITS, 1);
    world.line.client.set_retry(100.0, 150.0, 2.0);
    world.net().plan.refuses = true;
    world.run(4040);
    assert_eq!(wait_of(&world), 150);
    world.run(1000);
    assert_eq!(world.hears("ws-failed")["attempts"], 2);
}

#[test]
fn the_log_tells_in_order_why_the_line_closed_why_it_waits_and_what_waits_with_it() {
    let mut world = World::moored(PLAIN_WAITS, Gateway::default());
    world.gateway_says(&json!({"type": "server-advice", "retryAfterMs": 700, "spreadMs": 0}));
    world.gateway_closes(1012);
    world.net().plan.refuses = true;
    world.run(25);
    world.chat("m0");
    world.run(800);
    world.signal(Signal::Visible);
    let log = world.line.client.explain();
    let mut rest = log.as_str();
    for word in [
        "asked to connect",
        "open",
        "ready",
        "stable",
        "1012",
        "server-restart",
        "700",
        "advised",
        "dialling",
        "1006",
        "transport",
        "8000",
        "queue: 1",
        "visible",
    ] {
        let at = rest.find(word);
        let at = at.unwrap_or_else(|| panic!("{word:?} is missing, or not in its place:\n{log}"));
        rest = &rest[at..];
    }
    assert!(!log.contains("m0") && !log.contains("t1"), "no payload and no token enters it:\n{log}");
}

#[test]
fn the_log_keeps_a_bounded_number_of_lines() {
    let mut world = waiting(PLAIN_WAITS, 1);
    world.net().plan.refuses = true;
    world.run(86_400_000);
    assert!(world.line.client.explain().lines().count() <= 64);
}
