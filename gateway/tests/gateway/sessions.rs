//! Sessions over real sockets: a few conversations from end to end.

use serde_json::json;

use crate::harness::{Gateway, soon};

#[tokio::test]
async fn a_session_survives_its_socket() {
    let gateway = Gateway::start("").await;
    let (client, id, token) = gateway.newcomer().await;
    client.leave().await;
    let mut client = gateway.connect().await;
    client.resume(&token).await;
    assert_eq!(client.frame("session-resumed").await["clientId"], id.as_str());
    assert_eq!(client.frame("world_state").await["you"], id.as_str());
}

#[tokio::test]
async fn a_refused_token_is_answered_and_replaced() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.connect().await;
    client.resume("made up").await;
    assert_eq!(client.kinds_before("session-init").await, ["gateway-offer", "session-refused"]);
}

#[tokio::test]
async fn a_plain_gateway_says_none_of_the_extension() {
    let gateway = Gateway::start("--offer off --snapshot off --echo on").await;
    let mut client = gateway.connect().await;
    client.resume("made up").await;
    assert!(client.kinds_before("session-init").await.is_empty());
    client.send(json!({"type": "ping", "n": 1})).await;
    client.send(json!({"type": "chat", "text": "hello"})).await;
    assert!(client.kinds_before("chat-message").await.is_empty());
}

#[tokio::test]
async fn an_eager_greeting_can_cross_a_resume_with_and_without_confirmation() {
    for confirm in ["on", "off"] {
        let options = format!("--greet eager --confirm {confirm} --greet-wait-ms 60000");
        let gateway = Gateway::start(&options).await;
        let (client, id, token) = gateway.newcomer().await;
        client.leave().await;
        let mut client = gateway.connect().await;
        let (crossed, _) = client.session().await;
        assert_ne!(crossed, id);
        client.resume(&token).await;
        let kinds = client.kinds_before("world_state").await;
        let expected: &[&str] =
            if confirm == "on" { &["session-resumed", "session-init"] } else { &["session-resumed"] };
        assert_eq!(kinds, expected);
        let state = gateway.get("/control/state").await;
        assert_eq!(state["clients"].as_array().unwrap().len(), 1);
        assert_eq!(state["clients"][0]["clientId"], id.as_str());
    }
}

#[tokio::test]
async fn a_rotated_token_opens_the_same_session() {
    let gateway = Gateway::start("--grace-ms 0").await;
    let (mut client, id, old) = gateway.newcomer().await;
    gateway.post("/control/rotate", json!({})).await;
    let (same, new) = client.session().await;
    assert_eq!(same, id);
    assert_ne!(new, old);
    client.leave().await;
    let mut client = gateway.connect().await;
    client.resume(&old).await;
    assert_eq!(client.frame("session-refused").await["reason"], "expired");
    let mut client = gateway.connect().await;
    client.resume(&new).await;
    assert_eq!(client.frame("session-resumed").await["clientId"], id.as_str());
}

#[tokio::test]
async fn the_clock_rotates_tokens_and_ends_the_grace_period() {
    let gateway = Gateway::start("--rotate-every-ms 50 --grace-ms 50").await;
    let (mut watcher, _, first) = gateway.newcomer().await;
    let (_, second) = watcher.session().await;
    assert_ne!(first, second);
    let (client, id, _) = gateway.newcomer().await;
    client.leave().await;
    assert_eq!(watcher.frame("player-left").await["id"], id.as_str());
}

#[tokio::test]
async fn a_quick_return_does_not_flap() {
    let gateway = Gateway::start("--grace-ms 60000 --echo off").await;
    let (mut watcher, ..) = gateway.newcomer().await;
    let (client, id, token) = gateway.newcomer().await;
    watcher.frame("player-joined").await;
    client.leave().await;
    let mut client = gateway.connect().await;
    client.resume(&token).await;
    client.frame("session-resumed").await;
    client.send(json!({"type": "chat", "text": "back"})).await;
    let next = soon("the chat", watcher.next()).await.expect("the connection lasts");
    assert_eq!((next["type"].as_str(), next["senderId"].as_str()), (Some("chat-message"), Some(&*id)));
}

#[tokio::test]
async fn two_clients_talk_in_order() {
    let gateway = Gateway::start("--echo on").await;
    let (mut one, ..) = gateway.newcomer().await;
    let (mut two, ..) = gateway.newcomer().await;
    for n in 0..200 {
        one.send(json!({"type": "chat", "text": n.to_string()})).await;
    }
    for n in 0..200 {
        assert_eq!(two.frame("chat-message").await["text"], n.to_string());
        assert_eq!(one.frame("chat-message").await["text"], n.to_string());
    }
}
