//! Connecting, resuming, the crossing of a greeting and a token, tokens that are refused, storage that does not work.

use crate::gateway::{Gateway, Greet};
use crate::invariants::check_run;
use crate::world::{Provider, Storage, World, chat};
use moorline::Input;
use moorline::session::{Snapshot, Stored};
use serde_json::json;

fn saved(world: &mut World) -> Option<(String, Option<String>)> {
    let saved = world.net().saved.clone();
    saved.map(|snapshot| (snapshot.token, snapshot.client_id))
}

fn session(token: &str, client: &str) -> Option<(String, Option<String>)> {
    Some((token.into(), Some(client.into())))
}

fn resumes(world: &World) -> Vec<&str> {
    let wire = world.wire().into_iter();
    wire.map(|(_, text)| text).filter(|text| text.contains("session-resume")).collect()
}

#[test]
fn a_new_client_is_greeted_connected_and_its_session_saved() {
    for greet in [Greet::AtOnce, Greet::After(150)] {
        let mut world = World::new("{}", Gateway { greet, ..Gateway::plain() });
        world.connect();
        world.run(1000);
        assert_eq!(world.heard(), ["ws-connected", "session-init"]);
        assert_eq!(world.hears("ws-connected")["recovered"], false);
        assert_eq!(saved(&mut world), session("t1", "c1"));
        assert_eq!(resumes(&world).len(), 0);
    }
}

#[test]
fn a_reload_resumes_as_the_same_client_before_anything_else_is_sent() {
    for offers in [true, false] {
        let gateway = Gateway { offers, snapshots: true, ..Gateway::default() }.knowing("kept", "c0");
        let mut world = World::new("{}", gateway).with_session("kept", "c0");
        world.connect();
        world.chat("m0");
        world.run(3000);
        assert_eq!(world.hears("ws-connected")["recovered"], true);
        assert_eq!(world.wire()[0].1, r#"{"type":"session-resume","token":"kept"}"#);
        assert_eq!(world.net().gateway.received, [("c0".to_string(), chat("m0"))]);
        check_run(&world);
    }
}

#[test]
fn a_drop_resumes_as_the_same_client() {
    let mut world = World::moored("{}", Gateway::default());
    world.cut();
    world.run(10_000);
    assert_eq!(world.count("ws-connected"), 2);
    assert_eq!(world.hears("ws-connected")["recovered"], true);
    assert_eq!(saved(&mut world), session("t1", "c1"));
    world.chat("m0");
    world.run(100);
    assert_eq!(world.net().gateway.received[0].0, "c1");
}

#[test]
fn an_eager_greeting_that_crosses_the_token_does_not_change_who_the_client_is() {
    // Confirmed by another greeting, by the announcement, by both.
    for (confirms, offers) in [(true, false), (false, true), (true, true)] {
        let gateway = Gateway { greet: Greet::AtOnce, confirms, offers, ..Gateway::default() };
        let mut world = World::new("{}", gateway.knowing("kept", "c0")).with_session("kept", "c0");
        world.net().plan.latency = (40, 120);
        world.connect();
        world.chat("m0");
        world.run(2000);
        assert_eq!(world.hears("ws-connected")["recovered"], true, "{confirms} {offers}");
        assert_eq!(saved(&mut world), session("kept", "c0"), "{confirms} {offers}");
        assert_eq!(world.net().gateway.received[0].0, "c0");
        world.cut();
        world.run(10_000);
        assert_eq!(world.hears("ws-connected")["recovered"], true);
        assert!(resumes(&world).iter().all(|resume| resume.contains("kept")));
    }
}

#[test]
fn without_a_confirmation_the_newest_greeting_wins() {
    let gateway = Gateway { greet: Greet::AtOnce, confirms: false, ..Gateway::plain() };
    let mut world = World::new("{}", gateway.knowing("kept", "c0")).with_session("kept", "c0");
    world.connect();
    world.run(2000);
    assert_eq!(world.hears("ws-connected")["recovered"], false);
    assert_eq!(saved(&mut world), session("t1", "c1"));
}

#[test]
fn a_refused_token_is_replaced_and_never_presented_again() {
    for offers in [true, false] {
        for greet in [Greet::AtOnce, Greet::After(150)] {
            let gateway = Gateway { offers, greet, ..Gateway::default() };
            let mut world = World::new("{}", gateway).with_session("forgotten", "c0");
            world.connect();
            world.chat("m0");
            world.run(3000);
            assert_eq!(world.hears("ws-connected")["recovered"], false);
            world.cut();
            world.run(20_000);
            assert_eq!(world.count("ws-connected"), 2);
            let presented = resumes(&world).iter().filter(|resume| resume.contains("forgotten")).count();
            assert_eq!(presented, 1, "{offers} {greet:?}");
            assert_eq!(world.arrived(), ["m0"]);
        }
    }
}

#[test]
fn a_refusal_without_a_new_session_is_not_ready_and_ends_at_the_deadline() {
    let mut world = World::new("{}", Gateway { greet: Greet::Never, ..Gateway::plain() }.knowing("kept", "c0"))
        .with_session("kept", "c0");
    world.connect();
    world.run(45);
    world.gateway_says(&json!({"type": "session-refused", "reason": "expired"}));
    world.run(9000);
    assert_eq!(world.count("ws-connected"), 0);
    assert_eq!(saved(&mut world), None);
    world.run(1000);
    assert_eq!(world.hears("ws-disconnected")["cause"], "handshake-timeout");
}

#[test]
fn a_rotated_token_is_the_one_that_is_presented() {
    let mut world = World::moored("{}", Gateway::default());
    world.net().gateway.sessions.insert("fresh".into(), "c1".into());
    world.gateway_says(&json!({"type": "session-init", "token": "fresh", "clientId": "c1"}));
    world.run(100);
    assert_eq!(saved(&mut world), session("fresh", "c1"));
    world.cut();
    world.run(10_000);
    assert_eq!(resumes(&world), [r#"{"type":"session-resume","token":"fresh"}"#]);
    assert_eq!(world.hears("ws-connected")["recovered"], true);
}

#[test]
fn a_token_beyond_its_age_is_removed_and_the_client_is_new() {
    let mut world = World::new(r#"{"session":{"maxAgeMs":999}}"#, Gateway::default().knowing("kept", "c0"))
        .with_session("kept", "c0");
    world.net().saved = Some(Snapshot { token: "kept".into(), client_id: None, cursor: None });
    world.connect();
    assert_eq!(saved(&mut world), None);
    world.run(2000);
    assert_eq!(resumes(&world).len(), 0);
    assert_eq!(world.hears("ws-connected")["recovered"], false);
}

#[test]
fn silence_after_a_resume_is_consent() {
    let gateway = Gateway { greet: Greet::After(150), ..Gateway::plain() }.knowing("kept", "c0");
    let mut world = World::new("{}", gateway).with_session("kept", "c0");
    world.connect();
    world.run(1519);
    assert_eq!(world.count("ws-connected"), 0);
    world.run(1);
    assert_eq!(world.hears("ws-connected")["recovered"], true);
}

#[test]
fn a_storage_that_refuses_is_one_error_and_the_session_lives_on_in_memory() {
    let mut world = World::new("{}", Gateway::default());
    world.net().storage = Storage::Denied;
    world.connect();
    world.run(2000);
    assert_eq!(world.heard(), ["ws-error", "ws-connected", "session-init"]);
    assert_eq!(world.hears("ws-error")["code"], "storage.denied");
    world.cut();
    world.run(10_000);
    assert_eq!(world.hears("ws-connected")["recovered"], true);
    assert_eq!(world.count("ws-error"), 1);
}

#[test]
fn a_storage_that_never_answers_costs_one_deadline_and_no_more() {
    let mut world = World::new("{}", Gateway::default());
    world.net().storage = Storage::Silent;
    world.connect();
    world.run(9999);
    assert_eq!(world.dials().len(), 0);
    world.run(500);
    assert_eq!(world.heard(), ["ws-error", "ws-connected", "session-init"]);
    // Its answer comes late: by then it is history.
    let found = Stored { token: Some("kept".into()), client_id: None, age_ms: None, cursor: None };
    world.line.obey(Input::Restored(Ok(Some(found))));
    world.cut();
    world.run(10_000);
    assert_eq!(resumes(&world), [r#"{"type":"session-resume","token":"t1"}"#]);
}

#[test]
fn what_lies_in_the_storage_and_is_no_session_is_told_and_left_alone() {
    let mut world = World::new("{}", Gateway::default());
    world.net().storage = Storage::Holds(Stored::default());
    world.connect();
    world.run(1000);
    assert_eq!(world.heard(), ["ws-error", "ws-connected", "session-init"]);
    assert_eq!(world.hears("ws-error")["code"], "storage.corrupt");
}

#[test]
fn a_token_from_the_url_provider_is_presented_on_that_connection() {
    let mut world = World::new("{}", Gateway::default().knowing("ticket", "c0"));
    world.net().plan.provider = Provider::Hangs;
    world.connect();
    let ticket = world.line.latest_ticket();
    world.line.obey(Input::Resolved { ticket, answer: Ok(Some("ticket".into())) });
    world.run(1000);
    assert_eq!(resumes(&world), [r#"{"type":"session-resume","token":"ticket"}"#]);
    assert_eq!(world.hears("ws-connected")["recovered"], true);
}

#[test]
fn a_fresh_ticket_for_the_same_client_is_a_recovery() {
    let gateway = Gateway { greet: Greet::Never, ..Gateway::plain() };
    let mut world = World::new("{}", gateway).with_session("old", "c0");
    world.net().plan.provider = Provider::Hangs;
    world.connect();
    let ticket = world.line.latest_ticket();
    world.line.obey(Input::Resolved { ticket, answer: Ok(Some("ticket".into())) });
    world.run(25);
    world.gateway_says(&json!({"type": "session-init", "token": "next", "clientId": "c0"}));
    world.run(25);
    assert_eq!(world.hears("ws-connected")["recovered"], true);
}

#[test]
fn the_page_can_set_and_forget_the_session_itself() {
    let mut world = World::moored("{}", Gateway::default());
    let own = Snapshot { token: "own".into(), client_id: None, cursor: None };
    world.line.obey(Input::Session(Some(own)));
    world.cut();
    world.run(10_000);
    assert_eq!(resumes(&world), [r#"{"type":"session-resume","token":"own"}"#]);
    world.line.obey(Input::Session(None));
    world.cut();
    world.run(20_000);
    assert_eq!(resumes(&world).len(), 1);
    assert_eq!(world.count("ws-connected"), 3);
}
