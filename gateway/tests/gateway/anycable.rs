//! AnyCable's extension of Action Cable: sessions that are restored, histories, presence.

use serde_json::{Value, json};

use crate::action_cable::{Cable, confirmation};
use crate::harness::{Closed, Gateway, soon};

const EXT: &str = "actioncable-v1-ext-json, actioncable-v1-json";
const ECHO: &str = r#"{"channel":"EchoChannel"}"#;
const ROOM: &str = r#"{"channel":"RoomChannel","room":"pier"}"#;

/// Connects, and waits for the welcome.
async fn welcomed(gateway: &Gateway, query: &str) -> (Cable, Value) {
    let mut cable = Cable::connect(gateway, query, EXT).await;
    let welcome = cable.next().await;
    assert_eq!(welcome["type"], "welcome");
    (cable, welcome)
}

fn sid(welcome: &Value) -> &str {
    welcome["sid"].as_str().expect("a session id")
}

/// Drops the connection as a lost line does, and waits until the server knows.
async fn drop_line(gateway: &Gateway, mut cable: Cable) {
    gateway.post("/control/cable/kill", json!({})).await;
    assert_eq!(cable.client.closed().await, Closed::Unclean);
    gateway.until("the loss", "/control/cable/state", |state| state["connections"] == json!([])).await;
}

async fn broadcast(gateway: &Gateway, message: Value) {
    gateway.post("/control/cable/broadcast", json!({"stream": "echo_lobby", "message": message})).await;
}

fn position(frame: &Value) -> Value {
    json!({"echo_lobby": {"epoch": frame["epoch"], "offset": frame["offset"]}})
}

#[tokio::test]
async fn a_lost_connection_is_restored_with_what_it_missed() {
    let gateway = Gateway::start("").await;
    let (mut cable, welcome) = welcomed(&gateway, "").await;
    cable.subscribed(ECHO).await;
    broadcast(&gateway, json!(1)).await;
    let first = cable.next().await;
    assert_eq!(
        (&first["message"], &first["offset"], &first["stream_id"]),
        (&json!(1), &json!(1), &json!("echo_lobby"))
    );
    drop_line(&gateway, cable).await;
    broadcast(&gateway, json!(2)).await;
    broadcast(&gateway, json!(null)).await;

    let (mut cable, again) = welcomed(&gateway, &format!("sid={}", sid(&welcome))).await;
    assert_eq!((&again["restored"], &again["restored_ids"]), (&json!(true), &json!([ECHO])));
    assert_ne!(sid(&again), sid(&welcome));
    let history = json!({"since": 1, "streams": position(&first)});
    cable.client.send(json!({"command": "history", "identifier": ECHO, "history": history})).await;
    for (offset, message) in [(2, json!(2)), (3, json!(null))] {
        let frame = cable.next().await;
        assert_eq!((&frame["offset"], &frame["message"]), (&json!(offset), &message));
    }
    assert_eq!(cable.next().await, json!({"type": "confirm_history", "identifier": ECHO}));
    broadcast(&gateway, json!(4)).await;
    assert_eq!(cable.next().await["offset"], 4);
    let (_, spent) = welcomed(&gateway, &format!("sid={}", sid(&welcome))).await;
    assert_eq!(spent.get("restored"), None);
}

#[tokio::test]
async fn a_session_that_nobody_knows_to_be_lost_can_be_taken_over() {
    let gateway = Gateway::start("").await;
    let (mut frozen, welcome) = welcomed(&gateway, "").await;
    frozen.subscribed(ECHO).await;
    let (_, again) = welcomed(&gateway, &format!("sid={}", sid(&welcome))).await;
    assert_eq!(again["restored_ids"], json!([ECHO]));
}

#[tokio::test]
async fn a_forgotten_session_is_an_ordinary_welcome_and_history_comes_with_the_subscribe() {
    let gateway = Gateway::start("").await;
    let (mut cable, welcome) = welcomed(&gateway, "").await;
    cable.subscribed(ECHO).await;
    broadcast(&gateway, json!("a")).await;
    let first = cable.next().await;
    drop_line(&gateway, cable).await;
    broadcast(&gateway, json!("b")).await;
    gateway.post("/control/cable/forget", json!({"sessions": true})).await;

    let (mut cable, again) = welcomed(&gateway, &format!("sid={}", sid(&welcome))).await;
    assert_eq!(again.get("restored"), None);
    let history = json!({"streams": position(&first)});
    cable.client.send(json!({"command": "subscribe", "identifier": ECHO, "history": history})).await;
    assert_eq!(cable.next().await, confirmation(ECHO));
    assert_eq!(cable.next().await["message"], "b");
    assert_eq!(cable.next().await["type"], "confirm_history");
}

#[tokio::test]
async fn a_history_that_is_gone_is_rejected() {
    let gateway = Gateway::start("").await;
    let (mut cable, _) = welcomed(&gateway, "").await;
    cable.subscribed(ECHO).await;
    for forget in [json!({"history": true}), json!({"epoch": true})] {
        broadcast(&gateway, json!("a")).await;
        let history = json!({"streams": position(&cable.next().await)});
        gateway.post("/control/cable/forget", forget).await;
        cable.client.send(json!({"command": "history", "identifier": ECHO, "history": history})).await;
        assert_eq!(cable.next().await, json!({"type": "reject_history", "identifier": ECHO}));
    }
}

#[tokio::test]
async fn transmissions_and_plain_clients_have_no_positions_unless_asked() {
    let gateway = Gateway::start("").await;
    let (mut cable, _) = welcomed(&gateway, "").await;
    cable.subscribed(ECHO).await;
    cable.perform(ECHO, json!({"action": "value", "value": 1})).await;
    assert_eq!(cable.next().await, json!({"identifier": ECHO, "message": 1}));
    let mut plain = Cable::welcomed(&gateway, "").await;
    plain.subscribed(ECHO).await;
    broadcast(&gateway, json!(2)).await;
    assert_eq!(plain.next().await, json!({"identifier": ECHO, "message": 2}));
    gateway.post("/control/cable/config", json!({"broker": "all"})).await;
    broadcast(&gateway, json!(3)).await;
    assert_eq!(plain.next().await["offset"], 2);
    gateway.post("/control/cable/config", json!({"broker": "off", "extension": false})).await;
    let mut fallen = Cable::connect(&gateway, "", EXT).await;
    assert_eq!(fallen.next().await, json!({"type": "welcome"}));
}

#[tokio::test]
async fn broadcasts_swap_and_repeat_with_their_positions() {
    let gateway = Gateway::start("").await;
    let (mut cable, _) = welcomed(&gateway, "broadcasts=swap&repeat=true&holdMs=60000").await;
    cable.subscribed(ECHO).await;
    cable.perform(ECHO, json!({"action": "fan_out", "n": 2})).await;
    let mut offsets = Vec::new();
    for _ in 0..4 {
        offsets.push(cable.next().await["offset"].clone());
    }
    assert_eq!(offsets, [json!(1), json!(2), json!(2), json!(1)]);
}

#[tokio::test]
async fn whispers_reach_the_others_only() {
    let gateway = Gateway::start("").await;
    let (mut one, _) = welcomed(&gateway, "").await;
    let (mut two, _) = welcomed(&gateway, "").await;
    for cable in [&mut one, &mut two] {
        cable.subscribed(ROOM).await;
        cable.subscribed(ECHO).await;
    }
    one.client.send(json!({"command": "whisper", "identifier": ROOM, "data": {"typing": true}})).await;
    assert_eq!(two.next().await, json!({"identifier": ROOM, "message": {"typing": true}}));
    one.client.send(json!({"command": "whisper", "identifier": ROOM, "data": null})).await;
    assert_eq!(two.next().await, json!({"identifier": ROOM, "message": null}));
    one.client.send(json!({"command": "whisper", "identifier": ECHO, "data": 1})).await;
    one.heard_nothing().await;
    two.heard_nothing().await;
}

#[tokio::test]
async fn presence_is_told_and_outlives_a_moment_of_absence() {
    let gateway = Gateway::start("").await;
    let (mut watcher, _) = welcomed(&gateway, "").await;
    watcher.subscribed(ROOM).await;
    let presence = |message: Value| json!({"type": "presence", "identifier": ROOM, "message": message});
    let (mut guest, welcome) = welcomed(&gateway, "client=guest").await;
    let ada = json!({"id": "ada", "info": {"name": "Ada"}});
    guest.client.send(json!({"command": "subscribe", "identifier": ROOM, "presence": ada})).await;
    assert_eq!(guest.next().await, confirmation(ROOM));
    let joined = presence(json!({"type": "join", "id": "ada", "info": {"name": "Ada"}}));
    assert_eq!(watcher.next().await, joined);
    watcher.command("presence", ROOM).await;
    assert_eq!(watcher.next().await, presence(json!({"type": "info", "total": 1, "records": [ada]})));

    gateway.post("/control/cable/kill", json!({"client": "guest"})).await;
    guest.client.closed().await;
    gateway.until("the loss", "/control/cable/state", |state| state["parked"] == 1).await;
    let (mut guest, again) = welcomed(&gateway, &format!("client=guest&sid={}", sid(&welcome))).await;
    assert_eq!(again["restored"], true);
    watcher.command("presence", ROOM).await;
    assert_eq!(watcher.next().await["message"]["total"], 1);
    guest.command("leave", ROOM).await;
    assert_eq!(watcher.next().await, presence(json!({"type": "leave", "id": "ada"})));

    guest.client.send(json!({"command": "join", "identifier": ROOM, "presence": {"id": "bo"}})).await;
    assert_eq!(watcher.next().await["message"], json!({"type": "join", "id": "bo", "info": null}));
    gateway.post("/control/cable/config", json!({"presenceMs": 0})).await;
    gateway.post("/control/cable/kill", json!({"client": "guest"})).await;
    assert_eq!(watcher.next().await["message"], json!({"type": "leave", "id": "bo"}));
    watcher.command("presence", ECHO).await;
    let expected = json!({"type": "presence", "identifier": ECHO, "message": {"type": "error"}});
    assert_eq!(watcher.next().await, expected);
}

#[tokio::test]
async fn pings_are_a_connections_own_and_may_count_in_nanoseconds() {
    let gateway = Gateway::start("").await;
    gateway.post("/control/cable/config", json!({"pingMs": 20})).await;
    let (mut cable, _) = welcomed(&gateway, "ptp=ns").await;
    let ping = cable.client.frame("ping").await;
    assert!(ping["message"].as_u64().is_some_and(|nanoseconds| nanoseconds > 1 << 53), "{ping}");
    cable.client.send(json!({"command": "ping"})).await;
    assert_eq!(cable.next().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn who_answers_no_ping_is_disconnected() {
    let gateway = Gateway::start("").await;
    gateway.post("/control/cable/config", json!({"pingMs": 20, "pongTimeoutMs": 10})).await;
    let (mut cable, _) = welcomed(&gateway, "").await;
    assert_eq!(cable.next().await, json!({"type": "disconnect", "reason": "no_pong", "reconnect": true}));
    assert_eq!(cable.client.closed().await, Closed::Code(1000));
}

#[tokio::test]
async fn a_text_that_is_not_json_makes_the_connection_deaf() {
    let gateway = Gateway::start("").await;
    gateway.post("/control/cable/config", json!({"pingMs": 20})).await;
    let (mut cable, _) = welcomed(&gateway, "").await;
    cable.client.send_text("not json").await;
    cable.command("subscribe", ECHO).await;
    let both = |state: &Value| state["connections"][0]["received"] == 2;
    let state = gateway.until("both texts", "/control/cable/state", both).await;
    assert_eq!(state["connections"][0]["subscriptions"], json!([]));
    cable.client.frame("ping").await;
}

#[tokio::test]
async fn frames_above_64_kib_are_refused_in_the_extension_only() {
    let gateway = Gateway::start("").await;
    let large = "x".repeat(70 * 1024);
    let (mut cable, _) = welcomed(&gateway, "").await;
    cable.client.send_text(&large).await;
    assert_eq!(cable.client.closed().await, Closed::Code(1009));
    let mut plain = Cable::welcomed(&gateway, "").await;
    plain.subscribed(ECHO).await;
    plain.perform(ECHO, json!({"action": "value", "value": large})).await;
    assert_eq!(plain.message().await, json!(large));
}

#[tokio::test]
async fn a_restart_closes_with_1001_and_forgets_its_sessions() {
    let gateway = Gateway::start("").await;
    let (mut cable, welcome) = welcomed(&gateway, "").await;
    gateway.post("/control/cable/restart", json!({})).await;
    assert_eq!(cable.next().await["reason"], "server_restart");
    assert_eq!(soon("the end", cable.client.closed()).await, Closed::Code(1001));
    drop(cable);
    gateway.until("nobody", "/control/cable/state", |state| state["connections"] == json!([])).await;
    let (_, again) = welcomed(&gateway, &format!("sid={}", sid(&welcome))).await;
    assert_eq!(again.get("restored"), None);
}
