//! Action Cable: what Rails' server does, its races, and how its connections end.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, Closed, Gateway, soon};

pub const PLAIN: &str = "actioncable-v1-json, actioncable-unsupported";

/// A client on the cable.
pub struct Cable {
    pub client: Client,
}

impl Cable {
    /// Connects below `/cable` and waits for the welcome.
    pub async fn welcomed(gateway: &Gateway, query: &str) -> Self {
        let mut cable = Self::connect(gateway, query, PLAIN).await;
        assert_eq!(cable.next().await, json!({"type": "welcome"}));
        cable
    }

    pub async fn connect(gateway: &Gateway, query: &str, protocols: &str) -> Self {
        let url = format!("ws://{}/cable?{query}", gateway.address);
        let client = Client::connect_with(&url, &[("sec-websocket-protocol", protocols)]).await;
        Self { client: client.expect("the cable accepts") }
    }

    pub async fn command(&mut self, command: &str, identifier: &str) {
        self.client.send(json!({"command": command, "identifier": identifier})).await;
    }

    /// Subscribes, and waits for the confirmation, which is all that comes.
    pub async fn subscribed(&mut self, identifier: &str) {
        self.command("subscribe", identifier).await;
        assert_eq!(self.next().await, confirmation(identifier));
    }

    pub async fn perform(&mut self, identifier: &str, data: Value) {
        let data = data.to_string();
        self.client.send(json!({"command": "message", "identifier": identifier, "data": data})).await;
    }

    /// The next frame that is no ping.
    pub async fn next(&mut self) -> Value {
        let reading = async {
            loop {
                let frame = self.client.next().await.expect("the connection lasts");
                if frame["type"] != "ping" {
                    return frame;
                }
            }
        };
        soon("a frame that is no ping", reading).await
    }

    /// The next message of data.
    pub async fn message(&mut self) -> Value {
        let mut frame = self.next().await;
        assert!(frame.get("message").is_some() && frame.get("type").is_none(), "{frame}");
        frame["message"].take()
    }

    /// Shows that nothing came: the next frame is the answer to a question.
    pub async fn heard_nothing(&mut self) {
        const PROBE: &str = r#"{"channel":"EchoChannel","room":"probe"}"#;
        self.subscribed(PROBE).await;
        self.command("unsubscribe", PROBE).await;
    }
}

pub fn confirmation(identifier: &str) -> Value {
    json!({"identifier": identifier, "type": "confirm_subscription"})
}

fn rejection(identifier: &str) -> Value {
    json!({"identifier": identifier, "type": "reject_subscription"})
}

const ECHO: &str = r#"{"channel":"EchoChannel"}"#;
const TALK: &str = r#"{"channel":"SessionChannel","session_id":1}"#;

#[tokio::test]
async fn a_talk_goes_as_with_a_rails_server() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "").await;
    cable.subscribed(TALK).await;
    cable.perform(TALK, json!({"content": "in session one", "action": "speak"})).await;
    assert_eq!(cable.message().await, json!({"type": "user_message", "content": "in session one"}));
    assert_eq!(cable.message().await, json!({"type": "agent_message", "content": "echo: in session one"}));
    cable.perform(TALK, json!({"action": "create_session"})).await;
    assert_eq!(cable.message().await, json!({"type": "session_changed", "session_id": 2}));
    cable.perform(TALK, json!({"action": "speak", "content": "in session two"})).await;
    assert_eq!(cable.message().await["content"], "in session two");
    assert_eq!(cable.message().await["content"], "echo: in session two");
    let rebuilt = r#"{"channel":"SessionChannel","session_id":2}"#;
    cable.perform(rebuilt, json!({"action": "speak", "content": "wrong identifier"})).await;
    cable.perform(TALK, json!({"action": "list_sessions", "limit": 10})).await;
    let list = cable.message().await;
    assert_eq!(list["type"], "sessions_list");
    let counts: Vec<_> = list["sessions"].as_array().expect("a list").iter().map(|one| &one["message_count"]).collect();
    assert_eq!((counts, &list["sessions"][0]["id"]), (vec![&json!(2), &json!(2)], &json!(2)));
    cable.perform(TALK, json!({"action": "switch_session", "session_id": 1})).await;
    assert_eq!(cable.message().await, json!({"type": "session_changed", "session_id": 1}));
    assert_eq!(cable.message().await["content"], "in session one");
    assert_eq!(cable.message().await["content"], "echo: in session one");
    cable.perform(TALK, json!({"action": "switch_session", "session_id": 99})).await;
    assert_eq!(cable.message().await, json!({"type": "error", "message": "Session not found"}));
    cable.client.leave().await;
}

#[tokio::test]
async fn every_value_comes_back_as_ruby_writes_it() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "").await;
    cable.subscribed(ECHO).await;
    for value in [json!(0), json!(false), json!(null), json!(""), json!([]), json!({}), json!("</script>&\u{2028}é🚀")]
    {
        cable.perform(ECHO, json!({"action": "value", "value": value})).await;
        assert_eq!(cable.message().await, value);
    }
    for (value, back) in [("9007199254740993", "9007199254740993"), ("1e400", "null"), ("1.10", "1.1")] {
        let data = format!(r#"{{"action":"value","value":{value}}}"#);
        cable.client.send(json!({"command": "message", "identifier": ECHO, "data": data})).await;
        assert_eq!(cable.message().await.to_string(), back);
    }
    cable.perform(ECHO, json!({"hello": 1})).await;
    assert_eq!(cable.message().await, json!({"type": "raw", "data": {"hello": 1}}));
    cable.perform(ECHO, json!({"action": "count", "n": 200})).await;
    for n in 1..=200 {
        assert_eq!(cable.message().await, n);
    }
}

#[tokio::test]
async fn identifiers_are_kept_to_the_letter() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "").await;
    for identifier in [
        "{ \"channel\" : \"EchoChannel\", \"name\":\"é<b>&\\u0041\" }",
        "{\"name\":\"x\",\"channel\":\"EchoChannel\"}",
        "{\"channel\":\"EchoChannel\",\"id\":9007199254740993}",
    ] {
        cable.subscribed(identifier).await;
        cable.perform(identifier, json!({"ok": 1, "action": "echo"})).await;
        let expected = json!({"identifier": identifier, "message": {"ok": 1, "action": "echo"}});
        assert_eq!(cable.next().await, expected);
    }
}

#[tokio::test]
async fn the_same_identifier_is_one_subscription_and_another_spelling_is_another() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "").await;
    cable.subscribed(ECHO).await;
    cable.command("subscribe", ECHO).await;
    cable.heard_nothing().await;
    let spaced = r#"{"channel": "EchoChannel"}"#;
    cable.subscribed(spaced).await;
    cable.perform(ECHO, json!({"action": "broadcast", "value": 7})).await;
    assert_eq!(cable.next().await, json!({"identifier": ECHO, "message": 7}));
    assert_eq!(cable.next().await, json!({"identifier": spaced, "message": 7}));
    cable.command("unsubscribe", spaced).await;
    cable.perform(ECHO, json!({"action": "broadcast", "value": 8})).await;
    assert_eq!(cable.next().await, json!({"identifier": ECHO, "message": 8}));
    cable.perform(spaced, json!({"action": "value", "value": 9})).await;
    cable.heard_nothing().await;
}

#[tokio::test]
async fn what_is_not_understood_gets_no_answer_and_breaks_nothing() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "").await;
    cable.subscribed(TALK).await;
    for text in [
        "not json",
        "",
        "[]",
        "\"x\"",
        "null",
        "42",
        "{}",
        r#"{"command":"nope"}"#,
        r#"{"command":"subscribe"}"#,
        r#"{"command":"subscribe","identifier":"SessionChannel"}"#,
        r#"{"command":"subscribe","identifier":"{}"}"#,
        r#"{"command":"subscribe","identifier":"{\"channel\":\"NoSuchChannel\"}"}"#,
        r#"{"command":"subscribe","identifier":"{\"channel\":\"echochannel\"}"}"#,
        r#"{"command":"subscribe","identifier":"{\"channel\":\"$pubsub\",\"stream_name\":\"s\"}"}"#,
        r#"{"command":"unsubscribe","identifier":"{\"channel\":\"SessionChannel\",\"session_id\":77}"}"#,
        r#"{"type":"ping"}"#,
        r#"{"command":"ping"}"#,
        r#"{"command":"history","identifier":"{}","history":{}}"#,
    ] {
        cable.client.send_text(text).await;
    }
    for data in
        ["not json", "[1]", "[\"speak\",1,2]", r#"{"action":"nope"}"#, r#"{"action":5}"#, r#"{"action":"speak"}"#]
    {
        cable.client.send(json!({"command": "message", "identifier": TALK, "data": data})).await;
    }
    let deep = format!(r#"{{"deep":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    cable.client.send(json!({"command": "message", "identifier": TALK, "data": deep})).await;
    cable.client.push(Message::binary(&b"{\"command\":\"subscribe\"}"[..])).await.expect("the socket is open");
    cable.heard_nothing().await;
    cable.perform(TALK, json!({"action": "speak", "content": "alive"})).await;
    assert_eq!(cable.message().await["content"], "alive");
}

#[tokio::test]
async fn a_rejection_leaves_the_connection_and_may_be_tried_again() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "").await;
    for identifier in [r#"{"channel":"SessionChannel","session_id":-1}"#, r#"{"channel":"RejectChannel"}"#] {
        for _ in 0..2 {
            cable.command("subscribe", identifier).await;
            assert_eq!(cable.next().await, rejection(identifier));
        }
        cable.perform(identifier, json!({"x": 1})).await;
    }
    cable.subscribed(ECHO).await;
    cable.perform(ECHO, json!({"action": "refuse"})).await;
    cable.perform(ECHO, json!({"action": "value", "value": 1})).await;
    cable.heard_nothing().await;
}

#[tokio::test]
async fn history_comes_before_the_confirmation() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "").await;
    let history = r#"{"channel":"HistoryChannel","lines":2}"#;
    cable.command("subscribe", history).await;
    assert_eq!(cable.message().await, 1);
    assert_eq!(cable.message().await, 2);
    assert_eq!(cable.next().await, confirmation(history));
    cable.perform(history, json!({"action": "add", "value": "three"})).await;
    assert_eq!(cable.message().await, "three");
}

#[tokio::test]
async fn a_channel_that_raises_is_there_without_a_confirmation() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "").await;
    let broken = r#"{"channel":"BrokenChannel"}"#;
    for _ in 0..2 {
        cable.command("subscribe", broken).await;
    }
    cable.perform(broken, json!({"action": "value", "value": 5})).await;
    assert_eq!(cable.message().await, 5);
}

#[tokio::test]
async fn commands_before_the_welcome_are_run_after_it() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::connect(&gateway, "welcomeMs=60000&client=early", PLAIN).await;
    cable.command("subscribe", ECHO).await;
    let state = gateway.until("the command", "/control/cable/state", |state| state["connections"][0]["received"] == 1);
    assert_eq!(state.await["connections"][0]["welcomed"], false);
    let mut cable = Cable::connect(&gateway, "welcomeMs=1", PLAIN).await;
    cable.command("subscribe", ECHO).await;
    assert_eq!(cable.next().await, json!({"type": "welcome"}));
    assert_eq!(cable.next().await, confirmation(ECHO));
}

#[tokio::test]
async fn who_may_not_connect_is_told_so_instead_of_welcomed() {
    let gateway = Gateway::start("").await;
    gateway.post("/control/cable/config", json!({"token": "good"})).await;
    for query in ["token=bad", ""] {
        let mut cable = Cable::connect(&gateway, query, PLAIN).await;
        let frame = cable.next().await;
        assert_eq!(frame, json!({"type": "disconnect", "reason": "unauthorized", "reconnect": false}));
        assert_eq!(cable.client.closed().await, Closed::Code(1000));
    }
    Cable::welcomed(&gateway, "token=good").await;
    gateway.post("/control/cable/config", json!({"token": null})).await;
    Cable::welcomed(&gateway, "").await;
}

#[tokio::test]
async fn an_application_that_raises_while_connecting_says_nothing_at_all() {
    let gateway = Gateway::start("").await;
    gateway.post("/control/cable/config", json!({"pingMs": 10})).await;
    let mut other = Cable::welcomed(&gateway, "").await;
    let mut mute = Cable::connect(&gateway, "token=boom", PLAIN).await;
    mute.command("subscribe", ECHO).await;
    for _ in 0..3 {
        other.client.frame("ping").await;
    }
    mute.client.push(Message::Close(None)).await.expect("the socket is open");
    assert_eq!(soon("the end", mute.client.next()).await, Err(Closed::Code(1005)));
}

#[tokio::test]
async fn pings_carry_seconds_and_can_be_muted_without_stopping_data() {
    let gateway = Gateway::start("").await;
    let mut muted = Cable::welcomed(&gateway, "pings=false").await;
    let mut pinged = Cable::welcomed(&gateway, "").await;
    muted.subscribed(ECHO).await;
    gateway.post("/control/cable/config", json!({"pingMs": 10})).await;
    for _ in 0..3 {
        let ping = pinged.client.frame("ping").await;
        assert!(ping["message"].as_u64().is_some_and(|seconds| seconds < 100_000_000_000), "{ping}");
    }
    muted.perform(ECHO, json!({"action": "value", "value": 1})).await;
    let next = soon("a frame", muted.client.next()).await;
    assert_eq!(next, Ok(json!({"identifier": ECHO, "message": 1})));
}

#[tokio::test]
async fn a_perform_that_overtakes_its_subscribe_is_lost() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "commands=swap&windowMs=60000").await;
    cable.command("subscribe", ECHO).await;
    cable.perform(ECHO, json!({"action": "value", "value": 1})).await;
    assert_eq!(cable.next().await, confirmation(ECHO));
    for n in 2..=5 {
        cable.perform(ECHO, json!({"action": "value", "value": n})).await;
    }
    for n in [3, 2, 5, 4] {
        assert_eq!(cable.message().await, n);
    }
}

#[tokio::test]
async fn an_unsubscribe_that_a_subscribe_overtakes_leaves_nothing() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "").await;
    cable.subscribed(ECHO).await;
    gateway.post("/control/cable/config", json!({"commands": "swap", "windowMs": 60_000})).await;
    cable.command("unsubscribe", ECHO).await;
    cable.command("subscribe", ECHO).await;
    let gone = |state: &Value| state["connections"][0]["subscriptions"] == json!([]);
    gateway.until("the race", "/control/cable/state", gone).await;
    gateway.post("/control/cable/config", json!({"commands": "kept"})).await;
    cable.subscribed(ECHO).await;
}

#[tokio::test]
async fn a_batch_that_does_not_fill_is_run_when_its_window_ends() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "commands=reverse&batch=8&windowMs=20").await;
    cable.subscribed(ECHO).await;
}

#[tokio::test]
async fn broadcasts_come_out_of_order_on_request_and_none_is_kept_back() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "broadcasts=swap&holdMs=10").await;
    cable.subscribed(TALK).await;
    cable.perform(TALK, json!({"action": "speak", "content": "x"})).await;
    assert_eq!(cable.message().await["type"], "agent_message");
    assert_eq!(cable.message().await["type"], "user_message");
    cable.subscribed(ECHO).await;
    cable.perform(ECHO, json!({"action": "fan_out", "n": 3})).await;
    for n in [2, 1, 3] {
        assert_eq!(cable.message().await, n);
    }
}

#[tokio::test]
async fn a_late_confirmation_does_not_hold_back_performs() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "").await;
    let late = r#"{"channel":"LateChannel","ms":60000}"#;
    cable.command("subscribe", late).await;
    cable.perform(late, json!({"action": "value", "value": 1})).await;
    assert_eq!(cable.message().await, 1);
    cable.subscribed(r#"{"channel":"LateChannel","ms":1}"#).await;
}

#[tokio::test]
async fn lost_subscribes_are_lost_so_often_and_no_more() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "loseSubscribes=2").await;
    for _ in 0..2 {
        cable.command("subscribe", ECHO).await;
    }
    cable.subscribed(ECHO).await;
}

#[tokio::test]
async fn a_late_unsubscribe_still_hears_and_a_switch_is_deaf_for_a_while() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "unsubscribeMs=60000&switchGapMs=60000").await;
    cable.subscribed(ECHO).await;
    cable.command("unsubscribe", ECHO).await;
    gateway.post("/control/cable/broadcast", json!({"stream": "echo_lobby", "message": 0})).await;
    assert_eq!(cable.message().await, 0);
    cable.subscribed(TALK).await;
    cable.perform(TALK, json!({"action": "create_session"})).await;
    assert_eq!(cable.message().await["type"], "session_changed");
    cable.perform(TALK, json!({"action": "speak", "content": "into the gap"})).await;
    cable.perform(TALK, json!({"action": "list_sessions"})).await;
    assert_eq!(cable.message().await["sessions"][0]["message_count"], 2);
}

#[tokio::test]
async fn connections_end_in_every_way_of_a_real_server() {
    let gateway = Gateway::start("").await;
    for (path, request, frame, end) in [
        (
            "restart",
            json!({}),
            Some(json!({"type": "disconnect", "reason": "server_restart", "reconnect": true})),
            Closed::Code(1000),
        ),
        (
            "disconnect",
            json!({"reason": "remote", "reconnect": false}),
            Some(json!({"type": "disconnect", "reason": "remote", "reconnect": false})),
            Closed::Code(1000),
        ),
        (
            "disconnect",
            json!({"reconnect": null, "code": 4000}),
            Some(json!({"type": "disconnect", "reason": null})),
            Closed::Code(4000),
        ),
        ("disconnect", json!({"frame": false}), None, Closed::Code(1000)),
        ("kill", json!({}), None, Closed::Unclean),
    ] {
        let mut cable = Cable::welcomed(&gateway, "").await;
        assert_eq!(gateway.post(&format!("/control/cable/{path}"), request).await["count"], 1, "{path}");
        if let Some(frame) = frame {
            assert_eq!(cable.next().await, frame);
        }
        assert_eq!(cable.client.closed().await, end, "{path}");
        drop(cable);
        gateway.until("nobody", "/control/cable/state", |state| state["connections"] == json!([])).await;
    }
    let mut cable = Cable::welcomed(&gateway, "").await;
    cable.subscribed(ECHO).await;
    cable.perform(ECHO, json!({"action": "close", "reason": "enough", "reconnect": false})).await;
    assert_eq!(cable.next().await["reason"], "enough");
    assert_eq!(cable.client.closed().await, Closed::Code(1000));
}

#[tokio::test]
async fn a_process_that_is_stopped_ends_its_cables_without_a_word() {
    for signal in ["TERM", "KILL"] {
        let gateway = Gateway::start("").await;
        let mut cable = Cable::welcomed(&gateway, "").await;
        gateway.signal(signal).await;
        assert_eq!(cable.client.closed().await, Closed::Unclean, "{signal}");
    }
}

#[tokio::test]
async fn a_server_that_is_down_refuses_until_it_is_up() {
    let gateway = Gateway::start("").await;
    let mut cable = Cable::welcomed(&gateway, "").await;
    gateway.post("/control/cable/down", json!({})).await;
    assert_eq!(cable.client.closed().await, Closed::Unclean);
    let url = format!("ws://{}/cable", gateway.address);
    let refused = Client::connect(&url).await.err().expect("the cable is down");
    assert!(refused.to_string().contains("503"), "{refused}");
    gateway.post("/control/cable/up", json!({})).await;
    Cable::welcomed(&gateway, "").await;
    gateway.post("/control/cable/kill", json!({"downMs": 10})).await;
    gateway.until("the end of it", "/control/cable/state", |state| state["down"] == false).await;
    Cable::welcomed(&gateway, "").await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_or_no_utf8_is_closed_with_rails_words() {
    let gateway = Gateway::start("").await;
    let connect = async || {
        let mut stream = tokio::net::TcpStream::connect(&gateway.address).await.expect("a connection");
        let request = format!(
            "GET /cable HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            gateway.address
        );
        stream.write_all(request.as_bytes()).await.expect("the gateway reads");
        stream
    };
    // A masked header that announces 64 MiB, and a masked text that is no UTF-8.
    let huge: &[u8] = &[0x81, 0xff, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0];
    let broken: &[u8] = &[0x81, 0x81, 0, 0, 0, 0, 0xff];
    for (frame, code, reason) in
        [(huge, 1009_u16, "WebSocket frame length too large"), (broken, 1007, "Could not decode a text frame as UTF-8")]
    {
        let mut stream = connect().await;
        stream.write_all(frame).await.expect("the gateway reads");
        let mut reply = Vec::new();
        soon("the end", stream.read_to_end(&mut reply)).await.expect("the gateway closes");
        let close = [&code.to_be_bytes(), reason.as_bytes()].concat();
        assert!(reply.ends_with(&close), "{:?}", String::from_utf8_lossy(&reply));
    }
}

#[tokio::test]
async fn handshakes_are_taken_and_refused_as_rails_does() {
    let gateway = Gateway::start("").await;
    let url = |path: &str| format!("ws://{}{path}", gateway.address);
    for path in ["/cable", "/cable/", "/cable/x/y"] {
        let mut client = Client::connect(&url(path)).await.expect("served without a subprotocol");
        assert_eq!(soon("the welcome", client.next()).await, Ok(json!({"type": "welcome"})), "{path}");
    }
    let unknown = [("sec-websocket-protocol", "graphql-ws")];
    let error = Client::connect_with(&url("/cable"), &unknown).await.err().expect("no protocol is chosen");
    assert!(error.to_string().contains("subprotocol"), "{error}");
    Cable::connect(&gateway, "", "actioncable-unsupported").await;
    let elsewhere = [("origin", "https://elsewhere.example")];
    let error = Client::connect_with(&url("/cable"), &elsewhere).await.err().expect("a foreign page");
    assert!(error.to_string().contains("404"), "{error}");
    let error = Client::connect(&url("/cable?strictOrigin=true")).await.err().expect("no origin");
    assert!(error.to_string().contains("404"), "{error}");
    let own = [("origin", "http://localhost:3000")];
    Client::connect_with(&url("/cable?strictOrigin=true"), &own).await.expect("a page of this machine");
    let plain = gateway.http("GET", "/cable", "", "").await;
    assert_eq!((plain.status, plain.body.as_str()), (404, "Page not found"));
    assert_eq!(gateway.http("GET", "/CABLE", "", "").await.status, 404);
}

#[tokio::test]
async fn the_controls_of_the_cable_are_guarded_and_exact() {
    let gateway = Gateway::start("").await;
    assert_eq!(gateway.http("GET", "/control/cable/state", "", "").await.status, 403);
    for (path, body, reason) in
        [("config", "{\"welcomeMz\":1}", "welcomeMz"), ("send", "{}", "wants one of"), ("broadcast", "{}", "stream")]
    {
        let path = format!("/control/cable/{path}");
        let reply = gateway.http("POST", &path, "x-moorline-control: 1\r\n", body).await;
        assert_eq!(reply.status, 400, "{path}");
        assert!(reply.body.contains(reason), "{}", reply.body);
    }
    let mut cable = Cable::welcomed(&gateway, "client=one").await;
    cable.subscribed(ECHO).await;
    gateway.post("/control/cable/send", json!({"client": "one", "text": "{not json"})).await;
    assert_eq!(cable.next().await, json!("{not json"));
    assert_eq!(gateway.post("/control/cable/send", json!({"client": "two", "text": ""})).await["count"], 0);
    let received = gateway.get("/control/cable/received?client=one").await;
    assert_eq!(received[0]["frame"]["command"], "subscribe");
    gateway.post("/control/cable/reset", json!({})).await;
    assert_eq!(cable.client.closed().await, Closed::Unclean);
}

#[tokio::test]
async fn an_answer_streams_and_stands_whole_after_the_line_dropped_in_the_middle() {
    let gateway = Gateway::start("").await;
    let agent = r#"{"channel":"AgentChannel","session_id":5}"#;
    let mut cable = Cable::welcomed(&gateway, "").await;
    cable.subscribed(agent).await;
    cable.perform(agent, json!({"action": "speak", "content": "words:120 pace:40 tool think"})).await;
    let mut text = String::new();
    let mut seen = 0;
    while seen < 20 {
        let word = cable.message().await;
        if word["type"] == "agent_delta" {
            seen = word["seq"].as_u64().expect("a number");
            text += word["content"].as_str().expect("a text");
        }
    }
    assert!(text.starts_with("You said: words"), "{text}");
    gateway.post("/control/cable/kill", json!({})).await;
    assert_eq!(cable.client.closed().await, Closed::Unclean);

    let mut cable = Cable::welcomed(&gateway, "").await;
    cable.command("subscribe", agent).await;
    assert_eq!(cable.message().await["type"], "user_message");
    let partial = cable.message().await;
    assert_eq!(partial["type"], "agent_partial");
    assert_eq!(cable.next().await, confirmation(agent));
    let (mut whole, mut last) = (partial["content"].as_str().expect("a text").to_owned(), partial["seq"].clone());
    assert!(whole.starts_with(&text), "{whole}");
    let end = loop {
        let word = cable.message().await;
        match word["type"].as_str().expect("a type") {
            "agent_delta" => {
                assert_eq!(word["seq"], last.as_u64().expect("a number") + 1);
                last = word["seq"].clone();
                whole += word["content"].as_str().expect("a text");
            }
            "agent_message" => break word,
            _ => {}
        }
    };
    assert_eq!(end["content"], whole);
    assert_eq!(last, 120);
}

#[tokio::test]
async fn an_answer_that_hangs_is_cancelled_and_one_that_fails_says_why() {
    let gateway = Gateway::start("").await;
    let agent = r#"{"channel":"AgentChannel"}"#;
    let mut cable = Cable::welcomed(&gateway, "").await;
    cable.subscribed(agent).await;
    for (prompt, outcome) in [("hang pace:0 words:3", "cancelled"), ("fail pace:0 words:6", "failed")] {
        cable.perform(agent, json!({"action": "speak", "content": prompt})).await;
        while cable.message().await["seq"] != 3 {}
        if outcome == "cancelled" {
            cable.perform(agent, json!({"action": "cancel"})).await;
        }
        let end = cable.message().await;
        assert_eq!((&end["type"], &end["outcome"]), (&json!("agent_message"), &json!(outcome)));
    }
}
