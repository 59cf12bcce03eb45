//! The yoi backend: commands by HTTP, and what is observed behind a cursor.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, Closed, Gateway, Reply, soon};

const BASE: &str = "/api/runtimes/runtime-a/workers/worker-00000001";
const JSON: &str = "content-type: application/json\r\n";

async fn observe(gateway: &Gateway, query: &str) -> Client {
    observe_at(gateway, &format!("{BASE}/events/ws{query}")).await
}

async fn observe_at(gateway: &Gateway, path: &str) -> Client {
    Client::connect(&format!("ws://{}{path}", gateway.address)).await.expect("the backend accepts")
}

/// Observes, and waits for the snapshot.
async fn observing(gateway: &Gateway) -> (Client, Value) {
    let mut client = observe(gateway, "").await;
    let snapshot = event(&mut client).await;
    assert_eq!(snapshot["payload"]["event"], "snapshot");
    (client, snapshot)
}

/// The envelope of the next event.
async fn event(client: &mut Client) -> Value {
    let mut frame = soon("an event", client.next()).await.expect("the connection lasts");
    assert_eq!(frame["kind"], "event", "{frame}");
    frame["envelope"].take()
}

/// The envelopes up to and with the first of this event.
async fn events_until(client: &mut Client, name: &str) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        events.push(event(client).await);
        if events.last().is_some_and(|event| event["payload"]["event"] == name) {
            return events;
        }
    }
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["payload"]["event"].as_str().expect("a name")).collect()
}

fn text(events: &[Value]) -> String {
    let deltas = events.iter().filter(|event| event["payload"]["event"] == "text_delta");
    deltas.map(|event| event["payload"]["data"]["text"].as_str().expect("a text")).collect()
}

fn cursor(event: &Value) -> &str {
    event["cursor"].as_str().expect("a cursor")
}

/// The code of the diagnostic, which is the last frame; the end has no close frame.
async fn last_word(client: &mut Client) -> Value {
    let mut frame = soon("a diagnostic", client.next()).await.expect("the connection lasts");
    assert_eq!(frame["kind"], "diagnostic", "{frame}");
    assert_eq!(soon("the end", client.next()).await, Err(Closed::Unclean));
    frame["diagnostic"]["code"].take()
}

async fn command(gateway: &Gateway, path: &str, body: &str) -> Reply {
    gateway.http("POST", path, JSON, body).await
}

async fn input(gateway: &Gateway, content: &str) -> Value {
    let reply = command(gateway, &format!("{BASE}/input"), &json!({"content": content}).to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    body(&reply)
}

fn body(reply: &Reply) -> Value {
    serde_json::from_str(&reply.body).expect("JSON")
}

async fn emit(gateway: &Gateway, text: &str) {
    let payload = json!({"event": "text_delta", "data": {"text": text}});
    gateway.post("/control/observation/emit", json!({"payload": payload})).await;
}

#[tokio::test]
async fn commands_are_answered_as_by_the_real_backend() {
    let gateway = Gateway::start("").await;
    assert_eq!(
        input(&gateway, "hello words:1 pace:0").await,
        json!({"state": "accepted", "runtime_id": "runtime-a", "worker_id": "worker-00000001",
               "transcript_sequence": 1, "event_id": 4, "diagnostics": []})
    );
    let rejected = input(&gateway, "").await;
    assert_eq!((&rejected["state"], &rejected["diagnostics"][0]["severity"]), (&json!("rejected"), &json!("warning")));
    for (path, sent, status, said) in [
        ("/input", r#"{"kind":"robot","content":"x"}"#, 422, "unknown variant `robot`"),
        ("/input", "{", 400, "Failed to parse the request body as JSON: EOF"),
        ("/input", "{}", 422, "missing field `content`"),
        ("/cancel", "", 400, "EOF while parsing a value"),
        ("/cancel", r#"{"reason":null}"#, 200, "accepted"),
        ("/cancel", r#"{"reason":"twice"}"#, 200, "accepted"),
    ] {
        let reply = command(&gateway, &format!("{BASE}{path}"), sent).await;
        assert_eq!(reply.status, status, "{path} {sent}");
        assert!(reply.body.contains(said), "{}", reply.body);
    }
    assert_eq!(gateway.http("POST", &format!("{BASE}/cancel"), "", "{}").await.status, 415);
    for (path, status, said) in [
        ("/api/runtimes/nope/workers/x/transcript", 404, "unknown runtime `nope`"),
        ("/api/runtimes/runtime-a/workers/nope/transcript", 404, "unknown worker `nope` in runtime `runtime-a`"),
        ("/api/runtimes/runtime%2Fa/workers/x/transcript", 400, "invalid runtime runtime_id `runtime/a`"),
    ] {
        let reply = gateway.http("GET", path, "", "").await;
        assert_eq!((reply.status, body(&reply)["message"].as_str()), (status, Some(said)), "{path}");
    }
    let elsewhere = format!("{JSON}origin: https://elsewhere.example\r\n");
    let reply = gateway.http("POST", &format!("{BASE}/input"), &elsewhere, r#"{"content":"x"}"#).await;
    assert_eq!(reply.status, 403);
}

#[tokio::test]
async fn a_worker_that_was_stopped_takes_no_more_input() {
    let gateway = Gateway::start("").await;
    let (mut client, _) = observing(&gateway).await;
    for _ in 0..2 {
        let reply = command(&gateway, &format!("{BASE}/stop"), r#"{"reason":null}"#).await;
        assert_eq!(body(&reply)["state"], "accepted");
    }
    assert_eq!(event(&mut client).await["payload"], json!({"event": "shutdown"}));
    assert_eq!(input(&gateway, "x").await["state"], "rejected");
}

#[tokio::test]
async fn the_transcript_comes_in_pages_of_at_most_200() {
    let gateway = Gateway::start("").await;
    for n in 0..203 {
        let sent = json!({"kind": "system", "content": n.to_string()}).to_string();
        assert_eq!(command(&gateway, &format!("{BASE}/input"), &sent).await.status, 200);
    }
    let page = async |query: &str| {
        let reply = gateway.http("GET", &format!("{BASE}/transcript{query}"), "", "").await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        body(&reply)
    };
    let first = page("?start=0&limit=512").await;
    assert_eq!((&first["limit"], &first["next_start"], &first["total_items"]), (&json!(200), &json!(200), &json!(203)));
    assert_eq!(first["items"][0], json!({"sequence": 1, "role": "system", "content": "0", "event_id": 4}));
    let rest = page("?start=200").await;
    assert_eq!((rest["items"].as_array().map(Vec::len), rest.get("next_start")), (Some(3), None));
    assert_eq!(page("?start=99999").await["items"], json!([]));
    let reply = gateway.http("GET", &format!("{BASE}/transcript?start=-1"), "", "").await;
    assert_eq!(reply.status, 400);
    assert!(reply.body.starts_with("Failed to deserialize query string: start:"), "{}", reply.body);
}

#[tokio::test]
async fn an_answer_is_observed_from_its_beginning_to_its_end() {
    let gateway = Gateway::start("").await;
    let (mut client, snapshot) = observing(&gateway).await;
    assert_eq!(cursor(&snapshot), "bo_0000000000000001");
    assert_eq!(snapshot["event_id"], snapshot["cursor"]);
    assert_eq!(snapshot["payload"]["data"]["status"], "idle");
    input(&gateway, "think tool words:6 pace:1").await;
    let events = events_until(&mut client, "run_end").await;
    let done: String = events
        .iter()
        .filter(|event| event["payload"]["event"] == "text_done")
        .map(|event| event["payload"]["data"]["text"].as_str().expect("a text"))
        .collect();
    assert_eq!(text(&events), done);
    assert!(done.starts_with("You said: think"), "{done}");
    for name in ["thinking_start", "thinking_done", "tool_call_args_delta", "tool_result", "usage", "turn_end"] {
        assert!(names(&events).contains(&name), "{name}");
    }
    let sequences: Vec<&str> = events.iter().map(cursor).collect();
    assert!(sequences.is_sorted(), "{sequences:?}");
    assert_eq!(event(&mut client).await["payload"]["data"]["status"], "idle");
}

#[tokio::test]
async fn a_cancelled_answer_ends_at_once() {
    let gateway = Gateway::start("").await;
    let (mut client, _) = observing(&gateway).await;
    input(&gateway, "hang words:2 pace:0").await;
    events_until(&mut client, "text_delta").await;
    command(&gateway, &format!("{BASE}/cancel"), r#"{"reason":"enough"}"#).await;
    let events = events_until(&mut client, "run_end").await;
    assert_eq!(events.last().map(|end| &end["payload"]["data"]["result"]), Some(&json!("paused")));
    input(&gateway, "words:1 pace:0").await;
    let events = events_until(&mut client, "run_end").await;
    assert_eq!(events.last().map(|end| &end["payload"]["data"]["result"]), Some(&json!("finished")));
}

#[tokio::test]
async fn behind_a_cursor_come_what_is_stored_a_snapshot_and_what_nobody_observed() {
    let gateway = Gateway::start("").await;
    let (mut client, _) = observing(&gateway).await;
    emit(&gateway, "a").await;
    let seen = event(&mut client).await;
    emit(&gateway, "stored").await;
    events_until(&mut client, "text_delta").await;
    drop(client);
    gateway.until("nobody", "/control/observation/state", |state| state["observers"] == 0).await;
    emit(&gateway, "missed b").await;
    emit(&gateway, "missed c").await;

    let mut client = observe(&gateway, &format!("?cursor={}", cursor(&seen))).await;
    let mut told = Vec::new();
    while told.len() < 4 {
        told.push(event(&mut client).await);
    }
    assert_eq!(names(&told), ["text_delta", "snapshot", "text_delta", "text_delta"]);
    assert_eq!(text(&told), "storedmissed bmissed c");
    emit(&gateway, "live").await;
    let live = event(&mut client).await;
    assert_eq!(live["payload"]["data"]["text"], "live");
    drop(client);

    let newest = format!("?cursor={}", cursor(&live).replace("bo_0", "bo_%2B"));
    let mut client = observe(&gateway, &newest).await;
    assert_eq!(event(&mut client).await["payload"]["event"], "snapshot");
    let mut all = observe(&gateway, "?cursor=bo_0000000000000000").await;
    assert_eq!(cursor(&event(&mut all).await), "bo_0000000000000001");
}

#[tokio::test]
async fn a_line_dropped_in_the_middle_of_an_answer_misses_nothing() {
    let gateway = Gateway::start("").await;
    let (mut client, _) = observing(&gateway).await;
    input(&gateway, "long pace:2").await;
    let mut events = events_until(&mut client, "text_delta").await;
    for _ in 0..20 {
        events.push(event(&mut client).await);
    }
    gateway.post("/control/observation/drop", json!({})).await;
    assert_eq!(client.closed().await, Closed::Unclean);
    let last = cursor(events.last().expect("events")).to_owned();
    let mut client = observe(&gateway, &format!("?cursor={last}")).await;
    events.extend(events_until(&mut client, "text_done").await);
    let done = events.last().expect("an end")["payload"]["data"]["text"].clone();
    assert_eq!(text(&events), done);
}

#[tokio::test]
async fn two_observers_store_each_event_twice() {
    let gateway = Gateway::start("").await;
    let (mut one, first) = observing(&gateway).await;
    let mut two = observe(&gateway, "").await;
    assert_eq!(event(&mut two).await["cursor"], first["cursor"]);
    event(&mut two).await;
    emit(&gateway, "once").await;
    let (heard_by_one, heard_by_two) = (event(&mut one).await, event(&mut two).await);
    assert_ne!(cursor(&heard_by_one), cursor(&heard_by_two));
    let mut again = observe(&gateway, &format!("?cursor={}", cursor(&first))).await;
    let told = [event(&mut again).await, event(&mut again).await, event(&mut again).await];
    assert_eq!(names(&told), ["snapshot", "text_delta", "text_delta"]);
}

#[tokio::test]
async fn sequences_are_shared_by_all_workers() {
    let gateway = Gateway::start("").await;
    gateway.post("/control/observation/worker", json!({"worker": "a b ü"})).await;
    let (_one, first) = observing(&gateway).await;
    let mut two = observe_at(&gateway, "/api/runtimes/runtime-a/workers/a%20b%20%C3%BC/events/ws").await;
    let second = event(&mut two).await;
    assert_eq!(second["worker_id"], "a b ü");
    assert_eq!((cursor(&first), cursor(&second)), ("bo_0000000000000001", "bo_0000000000000002"));
    assert_eq!(last_word(&mut observe(&gateway, "?cursor=bo_0000000000000002").await).await, UNKNOWN);
}

const UNKNOWN: &str = "backend.cursor_unknown_or_expired";

#[tokio::test]
async fn every_diagnostic_is_the_last_word() {
    let gateway = Gateway::start("").await;
    for cursor in ["bo_1", "BO_0000000000000001", "bo_000000000000000g", "", "nonsense"] {
        let mut client = observe(&gateway, &format!("?cursor={cursor}")).await;
        assert_eq!(last_word(&mut client).await, "backend.cursor_malformed", "{cursor}");
    }
    assert_eq!(last_word(&mut observe(&gateway, "?cursor=bo_0000000000000009").await).await, UNKNOWN);
    let mut unknown = observe_at(&gateway, "/api/runtimes/runtime-a/workers/nope/events/ws").await;
    assert_eq!(last_word(&mut unknown).await, "backend.worker_not_found");
    for (path, said) in [("nope/workers/nope", "404"), ("embedded-worker-runtime/workers/nope", "404")] {
        let url = format!("ws://{}/api/runtimes/{path}/events/ws", gateway.address);
        let refused = Client::connect(&url).await.err().expect("unknown");
        assert!(refused.to_string().contains(said), "{refused}");
    }
    for message in [Message::text("{}"), Message::binary(&b"x"[..])] {
        let (mut client, _) = observing(&gateway).await;
        client.push(message).await.expect("the socket is open");
        let mut heard = Vec::new();
        while let Ok(frame) = soon("a frame", client.next()).await {
            heard.push(frame);
        }
        // What was stored for others may come first.
        let last = heard.last().expect("a last word");
        assert_eq!(last["diagnostic"]["code"], "backend.observation_only");
    }
}

#[tokio::test]
async fn not_even_a_clients_close_is_answered() {
    let gateway = Gateway::start("").await;
    let (mut client, _) = observing(&gateway).await;
    client.push(Message::Ping(b"p"[..].into())).await.expect("the socket is open");
    client.push(Message::Close(None)).await.expect("the socket is open");
    assert_eq!(client.closed().await, Closed::Unclean);
}

#[tokio::test]
async fn a_runtime_that_goes_away_is_told_to_all() {
    let gateway = Gateway::start("").await;
    let (mut client, _) = observing(&gateway).await;
    gateway.post("/control/observation/runtime", json!({"available": false})).await;
    assert_eq!(last_word(&mut client).await, "backend.upstream_disconnect");
    let mut client = observe(&gateway, "?cursor=bo_0000000000000001").await;
    assert_eq!(last_word(&mut client).await, "backend.runtime_unavailable");
    assert_eq!(command(&gateway, &format!("{BASE}/input"), r#"{"content":"x"}"#).await.status, 502);
    gateway.post("/control/observation/runtime", json!({"available": true})).await;
    gateway.post("/control/observation/config", json!({"httpStatus": 504})).await;
    let reply = command(&gateway, &format!("{BASE}/input"), r#"{"content":"x"}"#).await;
    assert_eq!((reply.status, &body(&reply)["error"]), (504, &json!("Gateway Timeout")));
    let (mut client, _) = observing_after(&gateway).await;
    gateway.post("/control/observation/diagnose", json!({"code": "backend.malformed_frame"})).await;
    assert_eq!(last_word(&mut client).await, "backend.malformed_frame");
}

/// Observes what has a past, and waits for the fresh snapshot.
async fn observing_after(gateway: &Gateway) -> (Client, Value) {
    let newest = gateway.get("/control/observation/state").await["workers"]
        .as_array()
        .and_then(|workers| workers.iter().find(|one| one["worker"] == "worker-00000001"))
        .map(|worker| worker["newest"].as_str().expect("a cursor").to_owned());
    let mut client = observe(gateway, &format!("?cursor={}", newest.expect("a worker"))).await;
    let snapshot = event(&mut client).await;
    (client, snapshot)
}

#[tokio::test]
async fn old_events_expire_and_a_smaller_bound_can_be_set() {
    let gateway = Gateway::start("").await;
    let (mut client, first) = observing(&gateway).await;
    let payload = json!({"event": "text_delta", "data": {"text": "x"}});
    gateway.post("/control/observation/emit", json!({"payload": payload, "times": 1100})).await;
    for _ in 0..1100 {
        event(&mut client).await;
    }
    assert_eq!(last_word(&mut observe(&gateway, &format!("?cursor={}", cursor(&first))).await).await, UNKNOWN);
    gateway.post("/control/observation/config", json!({"limit": 3})).await;
    let mut all = observe(&gateway, "").await;
    let told = [event(&mut all).await, event(&mut all).await, event(&mut all).await, event(&mut all).await];
    assert_eq!(names(&told), ["text_delta", "text_delta", "text_delta", "snapshot"]);
    gateway.post("/control/observation/expire", json!({})).await;
    let mut fresh = observe(&gateway, "").await;
    assert_eq!(event(&mut fresh).await["payload"]["event"], "snapshot");
}

#[tokio::test]
async fn a_restart_begins_at_1_again_and_old_cursors_come_true() {
    let gateway = Gateway::start("").await;
    let (mut client, _) = observing(&gateway).await;
    input(&gateway, "hang words:3 pace:0").await;
    let before = events_until(&mut client, "text_delta").await;
    let old = cursor(&before[1]).to_owned();
    gateway.post("/control/observation/restart", json!({})).await;
    assert_eq!(client.closed().await, Closed::Unclean);
    assert_eq!(last_word(&mut observe(&gateway, &format!("?cursor={old}")).await).await, UNKNOWN);
    let (mut client, snapshot) = observing(&gateway).await;
    assert_eq!(cursor(&snapshot), "bo_0000000000000001");
    assert_eq!(snapshot["payload"]["data"]["status"], "running");
    assert_eq!(snapshot["payload"]["data"]["in_flight"]["blocks"][0]["text"], "You said: hang");
    for text in ["p", "q", "r"] {
        emit(&gateway, text).await;
        event(&mut client).await;
    }
    let mut deceived = observe(&gateway, &format!("?cursor={old}")).await;
    assert_eq!(text(&[event(&mut deceived).await]), "r");
}

#[tokio::test]
async fn a_backend_that_is_down_refuses_until_it_is_up() {
    let gateway = Gateway::start("").await;
    let (mut client, _) = observing(&gateway).await;
    gateway.post("/control/observation/down", json!({})).await;
    assert_eq!(client.closed().await, Closed::Unclean);
    let url = format!("ws://{}{BASE}/events/ws", gateway.address);
    assert!(Client::connect(&url).await.is_err());
    assert_eq!(gateway.http("GET", &format!("{BASE}/transcript"), "", "").await.status, 503);
    gateway.post("/control/observation/up", json!({})).await;
    observing_after(&gateway).await;
    gateway.post("/control/observation/restart", json!({"downMs": 10})).await;
    gateway.until("the end of it", "/control/observation/state", |state| state["down"] == false).await;
    observing(&gateway).await;
    gateway.post("/control/observation/reset", json!({})).await;
}

#[tokio::test]
async fn the_controls_of_observation_say_what_they_want() {
    let gateway = Gateway::start("").await;
    assert_eq!(gateway.http("GET", "/control/observation/state", "", "").await.status, 403);
    for (path, body, reason) in [
        ("config", r#"{"httpStatus":200}"#, "from 400 to 599"),
        ("diagnose", "{}", "wants a code"),
        ("emit", "{}", "wants a payload"),
        ("emit", r#"{"worker":"nope","payload":{}}"#, "no worker nope"),
        ("send", "{}", "wants a text"),
        ("runtime", "{}", "wants available"),
        ("worker", r#"{"runtime":"nope","worker":"w"}"#, "no such runtime"),
    ] {
        let path = format!("/control/observation/{path}");
        let reply = gateway.http("POST", &path, "x-moorline-control: 1\r\n", body).await;
        assert_eq!(reply.status, 400, "{path}");
        assert!(reply.body.contains(reason), "{}", reply.body);
    }
    let (mut client, _) = observing(&gateway).await;
    gateway.post("/control/observation/send", json!({"text": "{not json"})).await;
    assert_eq!(soon("the text", client.next()).await, Ok(json!("{not json")));
    gateway.post("/control/observation/config", json!({"sequence": 9_007_199_254_740_993_u64})).await;
    emit(&gateway, "far").await;
    assert_eq!(cursor(&event(&mut client).await), "bo_0020000000000001");
}
