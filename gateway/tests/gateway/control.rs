//! The control endpoint: whom it obeys, and what it does.

use serde_json::json;

use crate::harness::{Client, Closed, Gateway, soon};

#[tokio::test]
async fn without_the_header_nothing_is_shown_or_done() {
    let gateway = Gateway::start("").await;
    for (method, path) in [
        ("GET", "/control/state"),
        ("GET", "/control/received"),
        ("GET", "/control/faults"),
        ("POST", "/control/faults"),
        ("POST", "/control/down"),
        ("POST", "/control/reset"),
    ] {
        assert_eq!(gateway.http(method, path, "", "{}").await.status, 403, "{path}");
    }
    assert_eq!(gateway.get("/control/state").await["down"], false);
}

#[tokio::test]
async fn a_page_of_elsewhere_is_refused_by_its_origin_and_its_host() {
    let gateway = Gateway::start("").await;
    for headers in ["origin: https://elsewhere.example\r\n", "origin: null\r\n", "host: rebound.example\r\n"] {
        let headers = format!("x-moorline-control: 1\r\n{headers}");
        let reply = gateway.http("GET", "/control/state", &headers, "").await;
        assert_eq!(reply.status, 403, "{headers}");
        assert!(!reply.head.contains("access-control"));
    }
    let headers = "x-moorline-control: 1\r\norigin: http://localhost:5173\r\n";
    assert_eq!(gateway.http("GET", "/control/state", headers, "").await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_understood_is_answered_with_its_reason() {
    let gateway = Gateway::start("").await;
    for (path, body, reason) in [
        ("/control/config", "{\"ecko\":true}", "ecko"),
        ("/control/config", "nonsense", "expected"),
        ("/control/send", "{}", "wants one of"),
        ("/control/send", "{\"text\":\"a\",\"frame\":{}}", "wants one of"),
        ("/control/close", "{}", "wants a code"),
        ("/control/faults", "{\"stal\":true}", "stal"),
    ] {
        let reply = gateway.http("POST", path, "x-moorline-control: 1\r\n", body).await;
        assert_eq!(reply.status, 400, "{path} {body}");
        assert!(reply.body.contains(reason), "{}", reply.body);
    }
}

#[tokio::test]
async fn a_raw_frame_arrives_to_the_letter_at_one_or_at_all() {
    let gateway = Gateway::start("").await;
    let (mut one, id, _) = gateway.newcomer().await;
    let (mut two, ..) = gateway.newcomer().await;
    one.frame("player-joined").await;
    two.frame("world_state").await;
    gateway.post("/control/send", json!({"text": "{not json", "to": id})).await;
    gateway.post("/control/send", json!({"frame": {"type": "bark", "n": 1}})).await;
    assert_eq!(soon("the text", one.next()).await, Ok(json!("{not json")));
    for client in [&mut one, &mut two] {
        assert_eq!(soon("the frame", client.next()).await, Ok(json!({"type": "bark", "n": 1})));
    }
    let large = "x".repeat(5 * 1024 * 1024);
    let sent = gateway.post("/control/send", json!({"text": large})).await;
    assert_eq!(sent["count"], 2);
    assert_eq!(soon("the large text", one.next()).await, Ok(json!(large)));
}

#[tokio::test]
async fn what_clients_sent_can_be_read_in_order() {
    let gateway = Gateway::start("").await;
    let (mut client, id, _) = gateway.newcomer().await;
    for n in 0..3 {
        client.send(json!({"type": "chat", "text": n.to_string()})).await;
    }
    client.send_text("{").await;
    let path = format!("/control/received?clientId={id}");
    let received = gateway.until("four frames", &path, |all| all.as_array().unwrap().len() == 4).await;
    for n in 0..3 {
        assert_eq!(received[n]["frame"]["text"], n.to_string());
        assert_eq!(received[n]["seq"], n + 1);
    }
    assert_eq!(received[3]["text"], "{");
    let totals = &gateway.get("/control/state").await["totals"];
    assert_eq!((totals["received"].as_u64(), totals["malformed"].as_u64()), (Some(4), Some(1)));
}

#[tokio::test]
async fn closes_are_as_asked() {
    let gateway = Gateway::start("").await;
    for (request, expected) in [
        (json!({"code": 4001, "reason": "so"}), Closed::Code(4001)),
        (json!({"code": 1012}), Closed::Code(1012)),
        (json!({"abrupt": true}), Closed::Unclean),
    ] {
        let (mut client, ..) = gateway.newcomer().await;
        assert_eq!(gateway.post("/control/close", request).await["count"], 1);
        assert_eq!(client.closed().await, expected);
        drop(client);
        gateway.until("nobody", "/control/state", |state| state["connections"] == json!([])).await;
    }
}

#[tokio::test]
async fn down_refuses_until_up() {
    let gateway = Gateway::start("").await;
    let (mut client, ..) = gateway.newcomer().await;
    gateway.post("/control/down", json!({})).await;
    assert_eq!(client.closed().await, Closed::Code(1012));
    let refused = Client::connect(&gateway.ws).await.err().expect("the gateway is down");
    assert!(refused.to_string().contains("503"), "{refused}");
    gateway.post("/control/up", json!({})).await;
    gateway.connect().await;
    gateway.post("/control/down", json!({"ms": 20, "code": 1013})).await;
    gateway.until("the end of it", "/control/state", |state| state["down"] == false).await;
    gateway.connect().await;
}

#[tokio::test]
async fn advice_reaches_who_was_offered_it() {
    let gateway = Gateway::start("").await;
    let (mut client, ..) = gateway.newcomer().await;
    gateway.post("/control/advise", json!({"retryAfterMs": 900, "reason": "tide"})).await;
    let advice = client.frame("server-advice").await;
    assert_eq!(advice, json!({"type": "server-advice", "retryAfterMs": 900, "reason": "tide"}));
    gateway.post("/control/config", json!({"offer": false})).await;
    assert_eq!(gateway.post("/control/advise", json!({"retryAfterMs": 1})).await["count"], 0);
}
