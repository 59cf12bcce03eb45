//! What a client cannot make the gateway hold or do.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, Closed, Gateway};

#[tokio::test]
async fn a_frame_of_64_kib_passes_and_one_byte_more_is_closed_with_1009() {
    let gateway = Gateway::start("").await;
    let (mut client, ..) = gateway.newcomer().await;
    let frame = json!({"type": "bark", "body": ""}).to_string();
    let padding = "x".repeat(64 * 1024 - frame.len());
    client.send(json!({"type": "bark", "body": padding})).await;
    client.send(json!({"type": "ping"})).await;
    client.frame("pong").await;
    client.send(json!({"type": "bark", "body": padding + "x"})).await;
    assert_eq!(client.closed().await, Closed::Code(1009));
}

#[tokio::test]
async fn the_reason_arrives_though_most_of_a_huge_frame_was_never_read() {
    let gateway = Gateway::start("").await;
    let (mut client, ..) = gateway.newcomer().await;
    // Whether it can be handed over to the end is the network's business.
    let _ = client.push(Message::text("x".repeat(8 * 1024 * 1024))).await;
    assert_eq!(client.closed().await, Closed::Code(1009));
}

#[tokio::test]
async fn the_257th_connection_is_refused_and_a_place_that_is_left_is_given_again() {
    let gateway = Gateway::start("").await;
    let mut clients = Vec::new();
    for _ in 0..256 {
        clients.push(gateway.connect().await);
    }
    let refused = Client::connect(&gateway.ws).await.err().expect("all places are taken");
    assert!(refused.to_string().contains("503"), "{refused}");
    clients.pop().expect("there are many").leave().await;
    let left = |state: &serde_json::Value| state["connections"].as_array().unwrap().len() == 255;
    gateway.until("the leaving", "/control/state", left).await;
    gateway.connect().await;
}

#[tokio::test]
async fn who_does_not_read_is_dropped_and_the_others_do_not_wait() {
    let gateway = Gateway::start("--rate-limit 0 --echo off").await;
    let (mut sender, ..) = gateway.newcomer().await;
    let (idle, slow, _) = gateway.newcomer().await;
    let (mut reader, ..) = gateway.newcomer().await;
    let body = "x".repeat(60 * 1024);
    let listed = |state: &serde_json::Value| {
        state["connections"].as_array().unwrap().iter().any(|c| c["clientId"] == slow.as_str())
    };
    let mut sent = 0;
    while listed(&gateway.get("/control/state").await) {
        for _ in 0..50 {
            sender.send(json!({"type": "bark", "body": body})).await;
            reader.frame("bark").await;
        }
        sent += 50;
        assert!(sent < 10_000, "the gateway holds everything");
    }
    drop(idle);
}

#[tokio::test]
async fn who_reads_again_in_time_hears_1013() {
    let gateway = Gateway::start("").await;
    let (mut client, id, _) = gateway.newcomer().await;
    let text = "x".repeat(1_500_000);
    while gateway.get("/control/state").await["connections"][0]["ending"] == false {
        gateway.post("/control/send", json!({"text": text, "to": id})).await;
    }
    assert_eq!(client.closed().await, Closed::Code(1013));
}

#[tokio::test]
async fn a_flood_is_closed_with_1008() {
    let gateway = Gateway::start("--rate-limit 10 --echo off").await;
    let (mut client, ..) = gateway.newcomer().await;
    for n in 0..200 {
        if client.push(Message::text(json!({"type": "chat", "text": n}).to_string())).await.is_err() {
            break;
        }
    }
    assert_eq!(client.closed().await, Closed::Code(1008));
}

#[tokio::test]
async fn bad_frames_leave_the_connection_alone() {
    let gateway = Gateway::start("").await;
    let (mut client, ..) = gateway.newcomer().await;
    let deep = format!("{{\"type\":\"x\",\"a\":{}", "[".repeat(60_000));
    for text in ["", "null", "7", "[]", "{\"type\":null}", "{\"type\":\"chat\"}", &deep] {
        client.send_text(text).await;
    }
    client.push(Message::binary(vec![1, 2, 3])).await.expect("the socket is open");
    client.send(json!({"type": "ping", "n": 1})).await;
    client.frame("pong").await;
    let totals = &gateway.get("/control/state").await["totals"];
    assert_eq!(totals["malformed"], 8);
}
