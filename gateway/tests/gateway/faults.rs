//! The fault proxy: each fault, as a client feels it.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Client, Closed, Gateway, soon};

#[tokio::test]
async fn without_a_plan_it_only_counts() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.connect_by_proxy().await;
    client.session().await;
    client.send(json!({"type": "ping", "n": 1})).await;
    client.frame("pong").await;
    let report = gateway.get("/control/faults").await;
    assert_eq!((report["connections"].as_u64(), report["open"].as_u64()), (Some(1), Some(1)));
    assert!(report["bytesUp"].as_u64() > Some(100) && report["bytesDown"].as_u64() > Some(100));
    client.leave().await;
    gateway.until("the end", "/control/faults", |report| report["open"] == 0).await;
}

#[tokio::test]
async fn a_delay_holds_bytes_back_in_each_direction() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.connect_by_proxy().await;
    client.session().await;
    gateway.post("/control/faults", json!({"delayMs": 60})).await;
    let start = measured();
    for n in 0..3 {
        client.send(json!({"type": "ping", "n": n})).await;
    }
    for n in 0..3 {
        assert_eq!(client.frame("pong").await["n"], n);
    }
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(120), "{elapsed:?}");
}

#[tokio::test]
async fn a_stall_holds_everything_and_its_end_delivers_it() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.connect_by_proxy().await;
    let (id, _) = client.session().await;
    gateway.post("/control/faults", json!({"stall": true})).await;
    let before = gateway.get("/control/faults").await;
    client.send(json!({"type": "chat", "text": "held"})).await;
    gateway.post("/control/send", json!({"frame": {"type": "bark"}, "to": id})).await;
    let after = gateway.get("/control/faults").await;
    assert_eq!(before, after);
    let path = format!("/control/received?clientId={id}");
    assert_eq!(gateway.get(&path).await, json!([]));
    gateway.post("/control/faults", json!({"stall": false})).await;
    client.frame("bark").await;
    gateway.until("the chat", &path, |all| all[0]["frame"]["text"] == "held").await;
}

#[tokio::test]
async fn a_reset_after_a_stall_loses_what_was_held() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.connect_by_proxy().await;
    let (id, _) = client.session().await;
    gateway.post("/control/faults", json!({"stall": true})).await;
    client.send(json!({"type": "chat", "text": "held"})).await;
    gateway.post("/control/faults", json!({"reset": true})).await;
    assert_eq!(client.closed().await, Closed::Unclean);
    gateway.until("the close", "/control/state", |state| state["connections"] == json!([])).await;
    let received = gateway.get(&format!("/control/received?clientId={id}")).await;
    assert_eq!(received, json!([]));
    gateway.connect_by_proxy().await.session().await;
}

#[tokio::test]
async fn refuse_lets_nobody_in_and_leaves_who_is_there() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.connect_by_proxy().await;
    client.session().await;
    gateway.post("/control/faults", json!({"refuse": true})).await;
    assert!(Client::connect(&gateway.proxy).await.is_err());
    client.send(json!({"type": "ping", "n": 1})).await;
    client.frame("pong").await;
    gateway.post("/control/faults", json!({})).await;
    gateway.connect_by_proxy().await.session().await;
}

#[tokio::test]
async fn half_open_is_silent_to_the_client_and_gone_for_the_gateway() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.connect_by_proxy().await;
    client.session().await;
    gateway.post("/control/faults", json!({"halfOpen": true})).await;
    gateway.until("the loss", "/control/state", |state| state["connections"] == json!([])).await;
    for n in 0..100 {
        client.send(json!({"type": "ping", "n": n})).await;
    }
    assert_eq!(gateway.get("/control/faults").await["open"], 1);
    gateway.post("/control/faults", json!({"reset": true})).await;
    assert_eq!(client.closed().await, Closed::Unclean);
}

#[tokio::test]
async fn exactly_as_many_bytes_arrive_as_the_plan_lets_through() {
    let gateway = Gateway::start("").await;
    gateway.post("/control/faults", json!({"dropAfterBytes": 40})).await;
    let address = gateway.proxy.trim_start_matches("ws://").split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    let ended = soon("the reset", stream.read_to_end(&mut bytes)).await;
    assert!(ended.is_err(), "the connection was reset, not closed");
    assert_eq!(bytes.len(), 40);
    assert_eq!(gateway.get("/control/faults").await["bytesDown"], 40);
}

#[tokio::test]
async fn any_close_code_can_be_written_even_one_that_is_not_allowed() {
    let gateway = Gateway::start("").await;
    for code in [1000, 1005, 1006, 1015, 4999, 7] {
        let address = gateway.proxy.trim_start_matches("ws://").split('/').next().unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "GET /api/world/ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
                       upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = vec![0; 12];
        soon("the reply", stream.read_exact(&mut bytes)).await.unwrap();
        assert_eq!(bytes, b"HTTP/1.1 101");
        gateway.post("/control/faults", json!({"closeCode": code})).await;
        bytes.clear();
        soon("the end", stream.read_to_end(&mut bytes)).await.expect("the end is clean");
        let [high, low] = u16::to_be_bytes(code);
        assert!(bytes.ends_with(&[0x88, 2, high, low]), "{code}");
    }
}

#[tokio::test]
async fn a_close_frame_never_lands_inside_another_frame() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.connect_by_proxy().await;
    let (id, _) = client.session().await;
    let large = json!({"frame": {"type": "bark", "body": "x".repeat(1024 * 1024)}, "to": id});
    for _ in 0..2 {
        gateway.post("/control/send", large.clone()).await;
    }
    let counted = gateway.get("/control/faults").await["bytesDown"].as_u64().unwrap();
    gateway.post("/control/faults", json!({"closeCode": 4321})).await;
    assert_eq!(client.closed().await, Closed::Code(4321), "after {counted} bytes");
}

#[expect(clippy::disallowed_methods, reason = "a delay is measured on the wall's clock")]
fn measured() -> Instant {
    Instant::now()
}
