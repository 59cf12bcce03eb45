//! Starting, stopping, being killed, and what is remembered of it.

use std::path::PathBuf;

use serde_json::json;

use crate::harness::{Closed, Gateway, soon};

#[tokio::test]
async fn a_signal_closes_every_socket_with_1001_and_ends_well() {
    for signal in ["TERM", "INT"] {
        let mut gateway = Gateway::start("").await;
        let (mut one, ..) = gateway.newcomer().await;
        let mut two = gateway.connect_by_proxy().await;
        two.session().await;
        gateway.signal(signal).await;
        assert_eq!(one.closed().await, Closed::Code(1001));
        assert_eq!(two.closed().await, Closed::Code(1001));
        assert_eq!(gateway.exit_code().await, Some(0));
    }
}

#[tokio::test]
async fn the_code_of_the_farewell_can_be_chosen() {
    let mut gateway = Gateway::start("").await;
    let (mut client, ..) = gateway.newcomer().await;
    gateway.post("/control/config", json!({"shutdownCode": 1012})).await;
    gateway.signal("TERM").await;
    assert_eq!(client.closed().await, Closed::Code(1012));
    assert_eq!(gateway.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_client_that_does_not_answer_cannot_hold_the_gateway_up() {
    let mut gateway = Gateway::start("").await;
    let (client, ..) = gateway.newcomer().await;
    gateway.signal("TERM").await;
    let exit = tokio::time::timeout(std::time::Duration::from_secs(2), gateway.exit_code());
    assert_eq!(exit.await.expect("it ends within two seconds"), Some(0));
    drop(client);
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let mut gateway = Gateway::start("").await;
    let (client, ..) = gateway.newcomer().await;
    gateway.signal("TERM").await;
    gateway.signal("TERM").await;
    assert_eq!(gateway.exit_code().await, Some(0));
    drop(client);
}

#[tokio::test]
async fn a_killed_gateway_knows_its_clients_when_it_is_started_again() {
    let file = session_file("killed");
    let options = format!("--sessions {}", file.display());
    let mut gateway = Gateway::start(&options).await;
    let (mut client, id, token) = gateway.newcomer().await;
    client.send(json!({"type": "profile", "name": "Ada"})).await;
    let written = async {
        while !tokio::fs::read_to_string(&file).await.is_ok_and(|text| text.contains("Ada")) {
            tokio::task::yield_now().await;
        }
    };
    soon("the session file", written).await;
    gateway.signal("KILL").await;
    assert_eq!(gateway.exit_code().await, None);
    assert_eq!(client.closed().await, Closed::Unclean);

    let gateway = Gateway::start(&options).await;
    let mut client = gateway.connect().await;
    client.resume(&token).await;
    assert_eq!(client.frame("session-resumed").await["clientId"], id.as_str());
    assert_eq!(client.frame("world_state").await["players"][0]["name"], "Ada");
}

#[tokio::test]
async fn a_stopped_gateway_has_written_everything() {
    let file = session_file("stopped");
    let options = format!("--sessions {}", file.display());
    let mut gateway = Gateway::start(&options).await;
    let (mut client, _, token) = gateway.newcomer().await;
    client.send(json!({"type": "move", "x": 3, "z": 4, "ry": 1})).await;
    client.send(json!({"type": "ping"})).await;
    client.frame("pong").await;
    gateway.signal("TERM").await;
    client.closed().await;
    assert_eq!(gateway.exit_code().await, Some(0));

    let gateway = Gateway::start(&options).await;
    let mut client = gateway.connect().await;
    client.resume(&token).await;
    assert_eq!(client.frame("world_state").await["players"][0]["x"], 3.0);
}

#[tokio::test]
async fn a_corrupt_session_file_is_a_fresh_start() {
    for contents in ["", "{", "null", "{\"version\":9,\"sessions\":[]}", "\u{0}\u{1}"] {
        let file = session_file("corrupt");
        std::fs::write(&file, contents).expect("the file can be written");
        let gateway = Gateway::start(&format!("--sessions {}", file.display())).await;
        gateway.newcomer().await;
    }
}

fn session_file(name: &str) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.sessions.json"));
    // Left over from an earlier run, or not there.
    let _ = std::fs::remove_file(&file);
    file
}
