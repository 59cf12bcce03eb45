//! Hermes as its clients meet it: who is let in, the envelope to the letter, both session ids, turns and questions in
//! each version, and each trap by its control or its word.

use serde_json::{Value, json};

use crate::harness::{Client, Closed, Gateway, soon};

const TOKEN: &str = "moorline-hermes";

impl Gateway {
    /// A socket that has heard `gateway.ready`, and what that said.
    async fn hermes(&self, version: &str) -> (Client, Value) {
        let address = format!("ws://{}/api/ws?token={TOKEN}&version={version}", self.address);
        let mut client = Client::connect(&address).await.expect("the token is right");
        let ready = soon("the first frame", client.next()).await.unwrap();
        assert_eq!((&ready["method"], &ready["params"]["type"]), (&json!("event"), &json!("gateway.ready")));
        (client, ready["params"]["payload"].clone())
    }

    async fn conduct(&self, change: Value) {
        self.post("/control/hermes/config", change).await;
    }

    /// A session whose agent is built: a socket, the runtime id and the stored one.
    async fn berth(&self, version: &str) -> (Client, String, String) {
        self.conduct(json!({"agentMs": 0})).await;
        let (mut client, _) = self.hermes(version).await;
        let created = client.rpc("session.create", json!({"cols": 80})).await.unwrap();
        client.told("session.info").await;
        let id = |name: &str| created[name].as_str().unwrap().to_owned();
        (client, id("session_id"), id("stored_session_id"))
    }
}

impl Client {
    /// Calls, passes over events, and gives the result or the error.
    async fn rpc(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = format!("t-{method}");
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        let reading = async {
            loop {
                let frame = self.next().await.unwrap_or_else(|closed| panic!("{closed:?}"));
                if frame["id"] == json!(id) && frame.get("method").is_none() {
                    return frame;
                }
            }
        };
        let answer = soon(method, reading).await;
        answer.get("result").cloned().ok_or_else(|| answer["error"].clone())
    }

    /// The params of the next event of this type.
    async fn told(&mut self, kind: &str) -> Value {
        let reading = async {
            loop {
                let frame = self.next().await.unwrap_or_else(|closed| panic!("{closed:?}"));
                if frame["method"] == "event" && frame["params"]["type"] == kind {
                    return frame["params"].clone();
                }
            }
        };
        soon(kind, reading).await
    }

    /// The next request of the gateway's.
    async fn asked(&mut self) -> Value {
        let reading = async {
            loop {
                let frame = self.next().await.unwrap_or_else(|closed| panic!("{closed:?}"));
                if frame["method"] != "event" && frame.get("method").is_some() && frame.get("id").is_some() {
                    return frame;
                }
            }
        };
        soon("a request", reading).await
    }

    /// The events up to and with the first of this type.
    async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let frame = soon(kind, self.next()).await.expect("the connection lasts");
            if frame["method"] == "event" {
                events.push(frame["params"].clone());
                if frame["params"]["type"] == kind {
                    return events;
                }
            }
        }
    }

    async fn prompt(&mut self, session: &str, text: &str) -> Result<Value, Value> {
        self.rpc("prompt.submit", json!({"session_id": session, "text": text})).await
    }

    async fn completed(&mut self) -> Value {
        self.told("message.complete").await["payload"].clone()
    }
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    kinds.dedup();
    kinds
}

fn deltas(events: &[Value]) -> String {
    let deltas = events.iter().filter(|event| event["type"] == "message.delta");
    deltas.map(|delta| delta["payload"]["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn who_does_not_show_the_token_or_comes_from_elsewhere_is_refused_before_the_socket_opens() {
    let gateway = Gateway::start("").await;
    let address = |query: &str| format!("ws://{}/api/ws{query}", gateway.address);
    for query in ["", "?token=wrong", "?ticket=wrong", &format!("?token={TOKEN}&version=9"), "?token="] {
        let refused = Client::connect(&address(query)).await.err().expect("no way in");
        assert!(refused.to_string().contains("403"), "{query}: {refused}");
    }
    let good = address(&format!("?token={TOKEN}"));
    let refused = Client::connect_from(&good, Some("https://elsewhere.example")).await.err().expect("no way in");
    assert!(refused.to_string().contains("403"), "{refused}");
    let rebound = "host: rebound.example\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let reply = gateway.http("GET", &format!("/api/ws?token={TOKEN}"), rebound, "").await;
    assert_eq!(reply.status, 403);
    for origin in ["http://localhost:1", "http://127.0.0.1:5173", "null"] {
        Client::connect_from(&good, Some(origin)).await.expect("pages of this machine may join");
    }
}

#[tokio::test]
async fn a_ticket_opens_one_socket_and_a_gated_server_takes_nothing_else() {
    let gateway = Gateway::start("").await;
    gateway.conduct(json!({"gated": true})).await;
    let status = gateway.http("GET", "/api/status", "origin: http://localhost:5173\r\n", "").await;
    let told: Value = serde_json::from_str(&status.body).unwrap();
    assert_eq!(told["auth_required"], true);
    assert!(status.head.contains("access-control-allow-origin: http://localhost:5173"));
    let foreign = gateway.http("GET", "/api/status", "origin: https://elsewhere.example\r\n", "").await;
    assert!(!foreign.head.contains("access-control"));
    assert_eq!(gateway.http("POST", "/api/auth/ws-ticket", "", "").await.status, 401);
    assert_eq!(gateway.http("OPTIONS", "/api/auth/ws-ticket", "", "").await.status, 401);
    let header = format!("x-hermes-session-token: {TOKEN}\r\n");
    let minted = gateway.http("POST", "/api/auth/ws-ticket", &header, "").await;
    let minted: Value = serde_json::from_str(&minted.body).unwrap();
    let address = |query: &str| format!("ws://{}/api/ws{query}", gateway.address);
    let by_token = address(&format!("?token={TOKEN}"));
    assert!(Client::connect(&by_token).await.is_err());
    let by_ticket = address(&format!("?ticket={}", minted["ticket"].as_str().unwrap()));
    Client::connect(&by_ticket).await.expect("a fresh ticket");
    assert!(Client::connect(&by_ticket).await.is_err());
    gateway.conduct(json!({"ticketMs": 0})).await;
    let stale = gateway.post("/control/hermes/ticket", json!({})).await;
    assert!(Client::connect(&address(&format!("?ticket={}", stale["ticket"].as_str().unwrap()))).await.is_err());
}

#[tokio::test]
async fn the_envelope_is_answered_to_the_letter() {
    let gateway = Gateway::start("").await;
    let (mut client, _) = gateway.hermes("0.19").await;
    let parse = json!({"code": -32700, "message": "parse error"});
    let object = json!({"code": -32600, "message": "invalid request: expected an object"});
    let method = json!({"code": -32600, "message": "invalid request: method must be a non-empty string"});
    let params = json!({"code": -32602, "message": "invalid params: expected an object"});
    client.send_text("").await;
    client.send_text("   \n").await;
    for (text, id, error) in [
        ("this is not json", Value::Null, &parse),
        ("{\"jsonrpc\":\"2.0\",", Value::Null, &parse),
        ("{\"id\":1,\"method\":\"a\"}\n{\"id\":2,\"method\":\"a\"}", Value::Null, &parse),
        ("[]", Value::Null, &object),
        ("42", Value::Null, &object),
        ("null", Value::Null, &object),
        ("\"text\"", Value::Null, &object),
        ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"session.list\"}]", Value::Null, &object),
        ("{\"jsonrpc\":\"2.0\",\"id\":7}", json!(7), &method),
        ("{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"\"}", json!(8), &method),
        ("{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":12}", json!(9), &method),
        ("{\"jsonrpc\":\"2.0\",\"id\":16,\"result\":{}}", json!(16), &method),
        ("{\"jsonrpc\":\"2.0\",\"id\":10,\"method\":\"session.most_recent\",\"params\":[1]}", json!(10), &params),
    ] {
        client.send_text(text).await;
        let answer = soon(text, client.next()).await.unwrap();
        assert_eq!(answer, json!({"jsonrpc": "2.0", "id": id, "error": error}), "{text}");
    }
    for (text, id) in [
        ("{\"id\":12,\"method\":\"setup.status\"}", json!(12)),
        ("{\"jsonrpc\":\"2.0\",\"method\":\"setup.status\",\"params\":null}\n", Value::Null),
        ("{\"id\":{\"a\":1},\"method\":\"setup.status\"}", json!({"a": 1})),
        ("{\"id\":1.50,\"method\":\"setup.status\"}", json!(1.5)),
        ("{\"id\":true,\"method\":\"setup.status\"}", json!(true)),
    ] {
        client.send_text(text).await;
        let answer = soon(text, client.next()).await.unwrap();
        assert_eq!(answer, json!({"jsonrpc": "2.0", "id": id, "result": {"provider_configured": true}}));
    }
    client.push(tokio_tungstenite::tungstenite::Message::binary(vec![1, 2])).await.unwrap();
    assert_eq!(client.closed().await, Closed::Code(1000));
}

#[tokio::test]
async fn what_is_not_there_has_its_own_code() {
    let gateway = Gateway::start("").await;
    let (mut client, _) = gateway.hermes("0.19").await;
    let gone = json!({"session_id": "deadbeef"});
    for (method, params, code) in [
        ("no.such.method", json!({}), -32601),
        ("gateway.ping", json!({}), -32601),
        ("session.events.since", gone.clone(), -32601),
        ("prompt.submit", gone.clone(), 4001),
        ("session.activate", gone.clone(), 4001),
        ("session.interrupt", gone.clone(), 4001),
        ("session.history", gone.clone(), 4001),
        ("process.list", gone.clone(), 4001),
        ("approval.respond", gone.clone(), 4001),
        ("session.resume", json!({}), 4006),
        ("session.resume", gone.clone(), 4007),
        ("clarify.respond", json!({"request_id": "deadbeef", "answer": "x"}), 4009),
    ] {
        assert_eq!(client.rpc(method, params).await.unwrap_err()["code"], code, "{method}");
    }
    for method in ["sudo.respond", "secret.respond"] {
        assert_eq!(client.rpc(method, json!({"request_id": "x"})).await.unwrap(), json!({"status": "expired"}));
    }
    assert_eq!(client.rpc("session.close", gone).await.unwrap(), json!({"closed": false}));
}

#[tokio::test]
async fn a_turn_tells_its_events_in_order_and_starts_before_it_is_acknowledged() {
    let gateway = Gateway::start("").await;
    let (mut client, session, stored) = gateway.berth("0.19").await;
    let submit = json!({"session_id": session, "text": "hello words:4 pace:0 think"});
    client.send(json!({"jsonrpc": "2.0", "id": "p", "method": "prompt.submit", "params": submit})).await;
    let start = soon("the start", client.next()).await.unwrap();
    assert_eq!(start["params"], json!({"type": "message.start", "session_id": session}));
    let answer = soon("the answer", client.next()).await.unwrap();
    assert_eq!(answer["result"], json!({"status": "streaming"}));
    let events = client.until("session.title").await;
    let order = [
        "thinking.delta",
        "reasoning.delta",
        "message.delta",
        "thinking.delta",
        "reasoning.available",
        "message.complete",
        "session.info",
        "session.title",
    ];
    assert_eq!(kinds(&events), order);
    let complete = events.iter().find(|event| event["type"] == "message.complete").unwrap();
    assert_eq!(
        (&complete["payload"]["status"], &complete["payload"]["text"]),
        (&json!("complete"), &json!(deltas(&events)))
    );
    assert_eq!(events.last().unwrap()["payload"]["session_id"], stored);
    client.prompt(&session, "again words:1 pace:0").await.unwrap();
    let events = client.until("session.info").await;
    assert!(!kinds(&events).contains(&"session.title"));
    let history = client.rpc("session.history", json!({"session_id": session})).await.unwrap();
    assert_eq!(history["count"], 4);
    assert_eq!(history["messages"][0], json!({"role": "user", "text": "hello words:4 pace:0 think"}));
    assert!(history["messages"][1]["reasoning"].is_string());
}

#[tokio::test]
async fn a_tool_ends_a_segment_and_the_end_has_only_the_last() {
    let gateway = Gateway::start("").await;
    let (mut client, session, _) = gateway.berth("0.19").await;
    client.prompt(&session, "tool words:4 pace:0").await.unwrap();
    let events = client.until("message.complete").await;
    let seen = kinds(&events);
    let place = |kind: &str| seen.iter().position(|one| *one == kind).unwrap();
    assert!(place("tool.generating") < place("message.interim") && place("message.interim") < place("tool.start"));
    assert!(place("tool.start") < place("tool.complete"));
    let complete = &events.last().unwrap()["payload"];
    let (first, last) = deltas(&events).split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(complete["text"], last);
    let interim = events.iter().find(|event| event["type"] == "message.interim").unwrap();
    assert_eq!(interim["payload"], json!({"text": first.trim(), "already_streamed": true}));
    let history = client.rpc("session.history", json!({"session_id": session})).await.unwrap();
    assert_eq!((history["messages"].as_array().unwrap().len(), &history["count"]), (4, &json!(5)));
    let (mut old, session, _) = gateway.berth("0.17").await;
    old.prompt(&session, "tool words:4 pace:0").await.unwrap();
    assert!(!kinds(&old.until("message.complete").await).contains(&"message.interim"));
}

#[tokio::test]
async fn a_failure_completes_as_an_error_and_a_crash_does_not_complete() {
    let gateway = Gateway::start("").await;
    let (mut client, session, _) = gateway.berth("0.19").await;
    client.prompt(&session, "fail pace:0").await.unwrap();
    let complete = client.completed().await;
    assert_eq!(complete["status"], "error");
    assert!(complete["text"].as_str().unwrap().contains("tide tables"));
    client.prompt(&session, "crash pace:0").await.unwrap();
    let events = client.until("session.info").await;
    assert!(kinds(&events).contains(&"error") && !kinds(&events).contains(&"message.complete"), "{:?}", kinds(&events));
    client.prompt(&session, "words:1").await.unwrap();
    assert_eq!(client.completed().await["status"], "complete");
}

#[tokio::test]
async fn an_interrupt_is_always_answered_and_ends_the_turn_with_what_there_is() {
    let gateway = Gateway::start("").await;
    let (mut client, session, _) = gateway.berth("0.19").await;
    let interrupted = json!({"status": "interrupted"});
    let here = json!({"session_id": session});
    assert_eq!(client.rpc("session.interrupt", here.clone()).await.unwrap(), interrupted);
    client.prompt(&session, "hang words:2 pace:0").await.unwrap();
    client.told("message.delta").await;
    client.told("message.delta").await;
    assert_eq!(client.rpc("session.interrupt", here.clone()).await.unwrap(), interrupted);
    let complete = client.completed().await;
    assert_eq!((&complete["status"], &complete["text"]), (&json!("interrupted"), &json!("You said:")));
    client.prompt(&session, "approve pace:0 words:0").await.unwrap();
    client.told("approval.request").await;
    client.rpc("session.interrupt", here).await.unwrap();
    assert_eq!(client.completed().await["text"], Value::Null);
}

#[tokio::test]
async fn a_busy_session_refuses_queues_or_is_steered() {
    let gateway = Gateway::start("").await;
    let (mut old, session, _) = gateway.berth("0.17").await;
    old.prompt(&session, "hang").await.unwrap();
    let busy = old.prompt(&session, "more").await.unwrap_err();
    assert_eq!(busy, json!({"code": 4009, "message": "session busy"}));

    let (mut client, session, _) = gateway.berth("0.19").await;
    client.prompt(&session, "hang words:2 pace:0").await.unwrap();
    client.told("message.delta").await;
    assert_eq!(client.rpc("session.undo", json!({"session_id": session})).await.unwrap_err()["code"], 4009);
    assert_eq!(client.prompt(&session, "second words:1 pace:0").await.unwrap(), json!({"status": "queued"}));
    let events = client.until("message.start").await;
    let interrupted = events.iter().find(|event| event["type"] == "message.complete").unwrap();
    assert_eq!(interrupted["payload"]["status"], "interrupted");
    assert_eq!(client.completed().await["text"], "You");

    gateway.conduct(json!({"busy": "steer"})).await;
    client.prompt(&session, "hang words:2 pace:0").await.unwrap();
    client.told("message.delta").await;
    assert_eq!(client.prompt(&session, "aside words:2 pace:0").await.unwrap(), json!({"status": "steered"}));
    let events = client.until("message.complete").await;
    assert!(!kinds(&events).contains(&"message.start"));
    assert_eq!(events.last().unwrap()["payload"]["status"], "complete");

    gateway.conduct(json!({"busy": "queue"})).await;
    client.prompt(&session, "words:30 pace:1").await.unwrap();
    client.prompt(&session, "words:1 pace:0").await.unwrap();
    assert_eq!(client.completed().await["status"], "complete");
    assert_eq!(client.completed().await["text"], "You");
}

#[tokio::test]
async fn a_session_without_a_prompt_is_only_found_by_its_runtime_id() {
    let gateway = Gateway::start("").await;
    let (mut client, session, stored) = gateway.berth("0.19").await;
    assert_eq!(client.rpc("session.resume", json!({"session_id": stored})).await.unwrap_err()["code"], 4007);
    let shown = client.rpc("session.activate", json!({"session_id": session})).await.unwrap();
    assert_eq!((&shown["session_key"], &shown["status"]), (&json!(stored), &json!("idle")));
    client.prompt(&session, "words:1 pace:0").await.unwrap();
    client.completed().await;
    let shown = client.rpc("session.resume", json!({"session_id": stored})).await.unwrap();
    assert_eq!((&shown["session_id"], &shown["resumed"]), (&json!(session), &json!(stored)));
    assert_eq!(client.rpc("session.resume", json!({"session_id": session})).await.unwrap_err()["code"], 4007);
    let recent = client.rpc("session.most_recent", json!({})).await.unwrap();
    assert_eq!(recent["session_id"], stored);
}

#[tokio::test]
async fn a_turn_goes_on_without_its_client_and_is_adopted_with_what_was_said() {
    let gateway = Gateway::start("").await;
    let (mut client, session, stored) = gateway.berth("0.19").await;
    client.prompt(&session, "words:3 pace:0 hang").await.unwrap();
    for _ in 0..3 {
        client.told("message.delta").await;
    }
    drop(client);
    let (mut client, _) = gateway.hermes("0.19").await;
    let shown = client.rpc("session.resume", json!({"session_id": stored})).await.unwrap();
    assert_eq!((&shown["running"], &shown["status"]), (&json!(true), &json!("working")));
    let inflight = json!({"user": "words:3 pace:0 hang", "assistant": "You said: words:3", "streaming": true});
    assert_eq!(shown["inflight"], inflight);
    assert_eq!(shown["messages"], json!([]));
    client.rpc("session.interrupt", json!({"session_id": session})).await.unwrap();
    assert_eq!(client.completed().await["text"], "You said: words:3");
}

#[tokio::test]
async fn a_session_is_reaped_after_its_grace_unless_it_runs_and_comes_back_under_a_new_id() {
    let gateway = Gateway::start("").await;
    gateway.conduct(json!({"graceMs": 10})).await;
    let (mut idle, session, stored) = gateway.berth("0.19").await;
    idle.prompt(&session, "words:1 pace:0").await.unwrap();
    idle.completed().await;
    let (mut busy, running, _) = gateway.berth("0.19").await;
    busy.prompt(&running, "hang").await.unwrap();
    drop((idle, busy));
    let only = |state: &Value| state["sessions"].as_array().unwrap().len() == 1;
    let state = gateway.until("the reaping", "/control/hermes/state", only).await;
    assert_eq!(state["sessions"][0]["sessionId"], running);
    let (mut client, _) = gateway.hermes("0.17").await;
    assert_eq!(client.rpc("session.activate", json!({"session_id": session})).await.unwrap_err()["code"], 4001);
    client.send(json!({"id": 1, "method": "session.resume", "params": {"session_id": stored}})).await;
    let info = soon("session.info", client.next()).await.unwrap();
    let shown = soon("the answer", client.next()).await.unwrap()["result"].clone();
    assert_eq!(info["params"]["session_id"], shown["session_id"]);
    assert_ne!(shown["session_id"], session);
    assert_eq!((&shown["inflight"], &shown["message_count"]), (&Value::Null, &json!(2)));
}

#[tokio::test]
async fn the_last_socket_steals_the_events_and_only_0_20_shares_them() {
    let gateway = Gateway::start("").await;
    let (mut one, session, stored) = gateway.berth("0.19").await;
    one.prompt(&session, "words:1 pace:0").await.unwrap();
    one.completed().await;
    let (mut two, _) = gateway.hermes("0.19").await;
    two.rpc("session.resume", json!({"session_id": stored})).await.unwrap();
    two.prompt(&session, "words:1 pace:0").await.unwrap();
    two.told("session.info").await;
    one.send(json!({"id": "still", "method": "setup.status"})).await;
    let next = soon("the answer", async {
        loop {
            let frame = one.next().await.unwrap();
            // What came before the other socket took over.
            if frame["params"]["type"] != "session.info" && frame["params"]["type"] != "session.title" {
                return frame;
            }
        }
    });
    assert_eq!(next.await["id"], "still");
    one.prompt(&session, "words:1 pace:0").await.unwrap();
    one.completed().await;

    let (mut one, session, _) = gateway.berth("0.20").await;
    let (mut two, _) = gateway.hermes("0.20").await;
    two.rpc("session.activate", json!({"session_id": session})).await.unwrap();
    two.prompt(&session, "words:1 pace:0").await.unwrap();
    let (first, second) = (one.told("message.complete").await, two.told("message.complete").await);
    assert_eq!(first, second);
    assert!(first["seq"].is_u64());
}

#[tokio::test]
async fn questions_are_asked_and_answered_once() {
    let gateway = Gateway::start("").await;
    let (mut client, session, _) = gateway.berth("0.19").await;
    client.prompt(&session, "approve words:2 pace:0").await.unwrap();
    let asked = client.told("approval.request").await["payload"].clone();
    assert_eq!(asked["choices"], json!(["once", "session", "always", "deny"]));
    assert!(asked.get("request_id").is_none());
    let active = client.rpc("session.active_list", json!({})).await.unwrap();
    assert_eq!(active["sessions"][0]["status"], "working");
    let allow = json!({"session_id": session, "choice": "once"});
    assert_eq!(client.rpc("approval.respond", allow.clone()).await.unwrap(), json!({"resolved": 1}));
    assert!(client.completed().await["text"].as_str().unwrap().contains("[once]"));
    assert_eq!(client.rpc("approval.respond", allow).await.unwrap(), json!({"resolved": 0}));

    client.prompt(&session, "ask words:2 pace:0").await.unwrap();
    let question = client.told("clarify.request").await["payload"]["request_id"].clone();
    let active = client.rpc("session.active_list", json!({})).await.unwrap();
    assert_eq!(active["sessions"][0]["status"], "waiting");
    let answer = json!({"request_id": question, "answer": "aye"});
    assert_eq!(client.rpc("clarify.respond", answer).await.unwrap(), json!({"status": "ok"}));
    assert!(client.completed().await["text"].as_str().unwrap().contains("[aye]"));

    client.prompt(&session, "sudo words:2 pace:0").await.unwrap();
    let question = client.told("sudo.request").await["payload"]["request_id"].clone();
    gateway.post("/control/hermes/expire", json!({"sessionId": session})).await;
    assert_eq!(client.told("sudo.expire").await["payload"]["request_id"], question);
    let late = json!({"request_id": question, "password": "x"});
    assert_eq!(client.rpc("sudo.respond", late).await.unwrap(), json!({"status": "expired"}));

    client.prompt(&session, "secret words:2 pace:0").await.unwrap();
    let question = client.told("secret.request").await["payload"]["request_id"].clone();
    client.rpc("secret.respond", json!({"request_id": question, "value": "hunter2"})).await.unwrap();
    let complete = client.completed().await;
    assert!(!complete.to_string().contains("hunter2"));
}

#[tokio::test]
async fn a_question_is_not_asked_again_on_resume_but_may_still_be_answered() {
    let gateway = Gateway::start("").await;
    let (mut client, session, stored) = gateway.berth("0.19").await;
    client.prompt(&session, "ask words:2 pace:0").await.unwrap();
    let question = client.told("clarify.request").await["payload"]["request_id"].clone();
    drop(client);
    let (mut client, _) = gateway.hermes("0.19").await;
    let shown = client.rpc("session.resume", json!({"session_id": stored})).await.unwrap();
    assert_eq!(shown["status"], "waiting");
    assert!(shown.get("open_requests").is_none());
    client.rpc("clarify.respond", json!({"request_id": question, "answer": "aye"})).await.unwrap();
    let events = client.until("message.complete").await;
    assert!(!kinds(&events).contains(&"clarify.request"));
}

#[tokio::test]
async fn newer_gateways_ask_by_requests_that_outlive_a_connection() {
    let gateway = Gateway::start("").await;
    let (mut client, session, stored) = gateway.berth("0.20").await;
    client.prompt(&session, "approve words:2 pace:0").await.unwrap();
    assert!(client.completed().await["text"].as_str().unwrap().contains("[denied]"));
    let able = json!({"server_requests": true});
    client.rpc("client.capabilities", able.clone()).await.unwrap();
    client.prompt(&session, "approve words:2 pace:0").await.unwrap();
    let request = client.asked().await;
    assert!(request["id"].as_str().unwrap().starts_with("srq-"));
    assert_eq!((&request["method"], &request["params"]["session_id"]), (&json!("approval"), &json!(session)));
    drop(client);
    let (mut client, _) = gateway.hermes("0.20").await;
    client.rpc("client.capabilities", able).await.unwrap();
    let shown = client.rpc("session.resume", json!({"session_id": stored})).await.unwrap();
    assert_eq!(shown["open_requests"][0]["id"], request["id"]);
    client.send(json!({"jsonrpc": "2.0", "id": "srq-unknown", "result": {}})).await;
    client.send(json!({"jsonrpc": "2.0", "id": request["id"], "result": {"choice": "session"}})).await;
    assert!(client.completed().await["text"].as_str().unwrap().contains("[session]"));

    client.prompt(&session, "ask words:2 pace:0").await.unwrap();
    let request = client.asked().await;
    assert_eq!(request["method"], "clarify");
    let qid = request["params"]["questions"][0]["qid"].as_str().unwrap();
    client.send(json!({"jsonrpc": "2.0", "id": request["id"], "result": {"answers": {qid: "aye"}}})).await;
    assert!(client.completed().await["text"].as_str().unwrap().contains("[aye]"));

    client.prompt(&session, "secret words:2 pace:0").await.unwrap();
    let request = client.asked().await;
    client.rpc("session.interrupt", json!({"session_id": session})).await.unwrap();
    let (mut late, _) = gateway.hermes("0.20").await;
    let since = json!({"session_id": session, "last_seq": 0});
    let told = late.rpc("session.events.since", since).await.unwrap();
    let withdrawn = told["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["type"] == "request.cancel" && event["payload"]["id"] == request["id"]);
    assert_eq!(withdrawn.unwrap()["payload"]["reason"], "interrupted");
    assert_eq!(told["open_requests"], json!([]));
}

#[tokio::test]
async fn newer_gateways_number_their_events_and_tell_them_again_within_an_epoch() {
    let gateway = Gateway::start("").await;
    let (mut client, session, _) = gateway.berth("0.20").await;
    let (_, ready) = gateway.hermes("0.20").await;
    assert_eq!(ready["heartbeat"], true);
    assert_eq!(client.rpc("gateway.ping", json!({})).await.unwrap(), json!({"pong": true}));
    client.prompt(&session, "words:3 pace:0").await.unwrap();
    let last = client.told("message.complete").await["seq"].as_u64().unwrap();
    let since = |seq: u64| json!({"session_id": session, "last_seq": seq});
    let told = client.rpc("session.events.since", since(1)).await.unwrap();
    let seqs: Vec<u64> = told["events"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1) && seqs[0] == 2 && seqs.contains(&last));
    assert_eq!((&told["epoch"], &told["truncated"]), (&ready["replay_epoch"], &json!(false)));
    assert_eq!(client.rpc("session.events.since", since(9_999)).await.unwrap()["truncated"], true);
    gateway.conduct(json!({"ring": 2})).await;
    client.prompt(&session, "words:3 pace:0").await.unwrap();
    client.completed().await;
    assert_eq!(client.rpc("session.events.since", since(1)).await.unwrap()["truncated"], true);
    gateway.post("/control/hermes/restart", json!({"downMs": 0})).await;
    assert_eq!(client.closed().await, Closed::Code(1012));
    gateway.until("the server", "/control/hermes/state", |state| state["down"] == false).await;
    let (_, again) = gateway.hermes("0.20").await;
    assert_ne!(again["replay_epoch"], ready["replay_epoch"]);
}

#[tokio::test]
async fn a_restart_forgets_runtime_ids_and_keeps_stored_ones() {
    let gateway = Gateway::start("").await;
    let (mut client, session, stored) = gateway.berth("0.19").await;
    client.prompt(&session, "words:1 pace:0").await.unwrap();
    client.completed().await;
    gateway.post("/control/hermes/restart", json!({"downMs": 60_000, "kill": true})).await;
    assert_eq!(client.closed().await, Closed::Unclean);
    let address = format!("ws://{}/api/ws?token={TOKEN}", gateway.address);
    let refused = Client::connect(&address).await.err().expect("it is down");
    assert!(refused.to_string().contains("503"), "{refused}");
    gateway.post("/control/hermes/up", json!({})).await;
    let (mut client, _) = gateway.hermes("0.19").await;
    assert_eq!(client.rpc("session.activate", json!({"session_id": session})).await.unwrap_err()["code"], 4001);
    let shown = client.rpc("session.resume", json!({"session_id": stored})).await.unwrap();
    assert_ne!(shown["session_id"], session);
    assert_eq!(shown["message_count"], 2);
}

#[tokio::test]
async fn a_turn_of_the_servers_own_starts_twice() {
    let gateway = Gateway::start("").await;
    let (mut client, session, _) = gateway.berth("0.19").await;
    gateway.post("/control/hermes/turn", json!({"sessionId": session, "text": "words:1 pace:0"})).await;
    let events = client.until("message.complete").await;
    assert_eq!(events.iter().filter(|event| event["type"] == "message.start").count(), 2);
}

#[tokio::test]
async fn a_queued_prompts_turn_can_be_lost_with_its_socket_until_the_session_is_activated() {
    let gateway = Gateway::start("").await;
    gateway.conduct(json!({"queuedBug": true, "busy": "queue"})).await;
    let (mut one, session, stored) = gateway.berth("0.19").await;
    one.prompt(&session, "hang words:1 pace:0").await.unwrap();
    one.prompt(&session, "hang words:2 pace:0").await.unwrap();
    drop(one);
    let gone = |state: &Value| state["sessions"][0]["attached"] == json!([]);
    gateway.until("the absence", "/control/hermes/state", gone).await;
    let (mut two, _) = gateway.hermes("0.19").await;
    let shown = two.rpc("session.resume", json!({"session_id": stored})).await.unwrap();
    assert_eq!(shown["queued"], json!({"user": "hang words:2 pace:0"}));
    gateway.post("/control/hermes/event", json!({"type": "brand.new", "sessionId": session})).await;
    two.told("brand.new").await;
    // The turn ends by itself: an interrupt would empty the queue.
    two.send(json!({"id": "s", "method": "session.steer", "params": {"session_id": session, "text": "words:1"}})).await;
    assert_eq!(two.completed().await["status"], "complete");
    let drained = |state: &Value| state["sessions"][0]["queued"] == 0;
    let state = gateway.until("the next turn", "/control/hermes/state", drained).await;
    assert_ne!(state["sessions"][0]["attached"], json!([2]));
    let shown = two.rpc("session.activate", json!({"session_id": session})).await.unwrap();
    assert_eq!(shown["inflight"]["user"], "hang words:2 pace:0");
    two.rpc("session.interrupt", json!({"session_id": session})).await.unwrap();
    assert_eq!(two.completed().await["status"], "interrupted");
}

#[tokio::test]
async fn a_renamed_session_is_found_under_its_old_name() {
    let gateway = Gateway::start("").await;
    let (mut client, session, stored) = gateway.berth("0.19").await;
    client.prompt(&session, "words:1 pace:0").await.unwrap();
    client.told("session.title").await;
    let renamed = gateway.post("/control/hermes/rename", json!({"sessionId": stored})).await["storedId"].clone();
    assert_eq!(client.told("session.info").await["payload"]["stored_session_id"], renamed);
    let shown = client.rpc("session.resume", json!({"session_id": stored})).await.unwrap();
    assert_eq!((&shown["resumed"], &shown["session_id"]), (&renamed, &json!(session)));
}

#[tokio::test]
async fn answers_of_the_pool_come_late_and_events_before_them() {
    let gateway = Gateway::start("").await;
    let (mut client, session, stored) = gateway.berth("0.19").await;
    client.prompt(&session, "hang words:2 pace:0").await.unwrap();
    client.told("message.delta").await;
    client.told("message.delta").await;
    drop(client);
    gateway.conduct(json!({"pooledMs": 200})).await;
    let (mut client, _) = gateway.hermes("0.19").await;
    client.send(json!({"id": "slow", "method": "session.resume", "params": {"session_id": stored}})).await;
    let aside = json!({"session_id": session, "text": "words:2 pace:0"});
    client.send(json!({"id": "quick", "method": "session.steer", "params": aside})).await;
    let (mut shown, mut told, mut quick, mut complete) = (Value::Null, String::new(), false, false);
    while shown.is_null() || !complete {
        let frame = soon("the answer", client.next()).await.unwrap();
        complete |= frame["params"]["type"] == "message.complete";
        if frame["id"] == "quick" {
            assert!(shown.is_null());
            quick = true;
        }
        if frame["params"]["type"] == "message.delta" {
            told.push_str(frame["params"]["payload"]["text"].as_str().unwrap());
        }
        if frame["id"] == "slow" {
            shown = frame["result"].clone();
        }
    }
    assert!(quick);
    assert_eq!((&shown["inflight"]["assistant"], told.as_str()), (&json!("You said:"), "\n\nYou said:"));
}

#[tokio::test]
async fn a_stalled_server_opens_the_socket_and_answers_nothing_before_it_is_ready() {
    let gateway = Gateway::start("").await;
    gateway.conduct(json!({"readyMs": 50})).await;
    let address = format!("ws://{}/api/ws?token={TOKEN}", gateway.address);
    let mut client = Client::connect(&address).await.unwrap();
    client.send(json!({"id": 1, "method": "setup.status"})).await;
    assert_eq!(soon("the first frame", client.next()).await.unwrap()["params"]["type"], "gateway.ready");
    assert_eq!(soon("the answer", client.next()).await.unwrap()["id"], 1);
}

#[tokio::test]
async fn a_resume_may_repeat_the_last_delta_of_its_snapshot() {
    let gateway = Gateway::start("").await;
    gateway.conduct(json!({"resumeOverlap": true})).await;
    let (mut client, session, stored) = gateway.berth("0.19").await;
    client.prompt(&session, "hang words:2 pace:0").await.unwrap();
    client.told("message.delta").await;
    client.told("message.delta").await;
    let shown = client.rpc("session.resume", json!({"session_id": stored})).await.unwrap();
    assert_eq!(shown["inflight"]["assistant"], "You said:");
    assert_eq!(client.told("message.delta").await["payload"]["text"], " said:");
}

#[tokio::test]
async fn sessions_are_limited_closed_with_their_socket_and_deleted_only_at_rest() {
    let gateway = Gateway::start("").await;
    gateway.conduct(json!({"maxSessions": 2})).await;
    let (mut client, session, stored) = gateway.berth("0.19").await;
    let (mut other, _) = gateway.hermes("0.19").await;
    other.rpc("session.create", json!({"close_on_disconnect": true})).await.unwrap();
    assert_eq!(client.rpc("session.create", json!({})).await.unwrap_err()["code"], 4090);
    drop(other);
    let one = |state: &Value| state["sessions"].as_array().unwrap().len() == 1;
    gateway.until("the close", "/control/hermes/state", one).await;
    client.prompt(&session, "words:1 pace:0").await.unwrap();
    client.completed().await;
    let titled = json!({"session_id": session, "title": "Mooring"});
    client.rpc("session.title", titled).await.unwrap();
    let listed = client.rpc("session.list", json!({})).await.unwrap();
    assert_eq!((&listed["sessions"][0]["id"], &listed["sessions"][0]["title"]), (&json!(stored), &json!("Mooring")));
    let here = json!({"session_id": stored});
    assert_eq!(client.rpc("session.delete", here.clone()).await.unwrap_err()["code"], 4023);
    assert_eq!(client.rpc("session.close", json!({"session_id": session})).await.unwrap(), json!({"closed": true}));
    client.rpc("session.delete", here.clone()).await.unwrap();
    assert_eq!(client.rpc("session.resume", here).await.unwrap_err()["code"], 4007);
}

#[tokio::test]
async fn a_prompt_may_take_the_place_of_an_earlier_one() {
    let gateway = Gateway::start("").await;
    let (mut client, session, _) = gateway.berth("0.19").await;
    for text in ["one words:1", "two words:1"] {
        client.prompt(&session, text).await.unwrap();
        client.completed().await;
    }
    let again = |ordinal: Value| json!({"session_id": session, "text": "new", "truncate_before_user_ordinal": ordinal});
    assert_eq!(client.rpc("prompt.submit", again(json!("x"))).await.unwrap_err()["code"], 4004);
    assert_eq!(client.rpc("prompt.submit", again(json!(2))).await.unwrap_err()["code"], 4018);
    client.rpc("prompt.submit", again(json!(1))).await.unwrap();
    client.completed().await;
    let history = client.rpc("session.history", json!({"session_id": session})).await.unwrap();
    assert_eq!((&history["count"], &history["messages"][2]["text"]), (&json!(4), &json!("new")));
}
