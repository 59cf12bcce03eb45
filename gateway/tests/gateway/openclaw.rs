//! OpenClaw as its clients meet it: the handshake with a real key, runs, and each trap by its control or its word.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{Client, Closed, Gateway, soon};

const TOKEN: &str = "moorline-openclaw";
const PAGE: &str = "http://localhost:5173";

/// A browser's device, and what it last got from the gateway.
struct Device {
    key: SigningKey,
    scopes: Vec<&'static str>,
    platform: &'static str,
    auth: Value,
}

impl Device {
    fn new(seed: u8) -> Self {
        Self {
            key: SigningKey::from_bytes(&[seed; 32]),
            scopes: vec!["operator.read", "operator.write"],
            platform: "web",
            auth: json!({"token": TOKEN}),
        }
    }

    fn connect(&self, challenge: &Value) -> Value {
        let public_key = self.key.verifying_key().to_bytes();
        let id: String = Sha256::digest(public_key).iter().map(|byte| format!("{byte:02x}")).collect();
        let (nonce, signed_at) = (challenge["nonce"].as_str().unwrap(), &challenge["ts"]);
        let auth = &self.auth;
        let token = auth["token"].as_str().or(auth["deviceToken"].as_str()).unwrap_or_default();
        let scopes = self.scopes.join(",");
        let platform = self.platform;
        let text = format!("v3|{id}|webchat-ui|webchat|operator|{scopes}|{signed_at}|{token}|{nonce}|{platform}|");
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        json!({
            "minProtocol": 3, "maxProtocol": 4, "role": "operator", "scopes": self.scopes, "auth": auth,
            "client": {"id": "webchat-ui", "mode": "webchat", "version": "0.1.0", "platform": platform},
            "device": {
                "id": id, "publicKey": URL_SAFE_NO_PAD.encode(public_key), "nonce": nonce, "signedAt": signed_at,
                "signature": URL_SAFE_NO_PAD.encode(signature),
            },
        })
    }
}

/// What a helper on the same machine says: no page, no device.
fn helper() -> Value {
    json!({
        "minProtocol": 3, "maxProtocol": 4, "auth": {"token": TOKEN},
        "scopes": ["operator.read", "operator.write", "operator.admin"],
        "client": {"id": "gateway-client", "mode": "backend", "version": "0.1.0", "platform": "web"},
    })
}

fn address(gateway: &Gateway, query: &str) -> String {
    format!("ws://{}/openclaw{query}", gateway.address)
}

impl Gateway {
    async fn claw(&self, query: &str) -> (Client, Value) {
        self.claw_from(None, query).await
    }

    /// A socket, from a page or not, and its challenge.
    async fn claw_from(&self, origin: Option<&str>, query: &str) -> (Client, Value) {
        let mut client = Client::connect_from(&address(self, query), origin).await.expect("the gateway accepts");
        let challenge = client.event("connect.challenge").await;
        (client, challenge)
    }

    async fn claw_helper(&self, query: &str) -> Client {
        let (mut client, _) = self.claw(query).await;
        client.request("hello", "connect", helper()).await.expect("helpers may connect");
        client
    }

    /// Connects a device from a page.
    async fn moor(&self, device: &Device) -> Result<(Client, Value), Value> {
        let (mut client, challenge) = self.claw_from(Some(PAGE), "").await;
        let hello = client.request("1", "connect", device.connect(&challenge)).await?;
        Ok((client, hello))
    }
}

impl Client {
    /// Calls, passes over events, and gives the payload or the whole response that refuses.
    async fn request(&mut self, id: &str, method: &str, params: Value) -> Result<Value, Value> {
        self.send(json!({"type": "req", "id": id, "method": method, "params": params})).await;
        let response = self.frame("res").await;
        assert_eq!(response["id"], id);
        if response["ok"] == true { Ok(response["payload"].clone()) } else { Err(response) }
    }

    async fn say(&mut self, key: &str, run: &str, text: &str) -> Value {
        let params = json!({"sessionKey": key, "message": text, "idempotencyKey": run});
        self.request(run, "chat.send", params).await.expect("the message is taken")
    }

    /// The payload of the next event of this name.
    async fn event(&mut self, name: &str) -> Value {
        loop {
            let event = self.frame("event").await;
            if event["event"] == name {
                return event["payload"].clone();
            }
        }
    }

    /// A run's chat events up to its first terminal.
    async fn chats(&mut self, run: &str) -> Vec<Value> {
        let mut chats = Vec::new();
        loop {
            let chat = self.event("chat").await;
            if chat["runId"] == run {
                let ended = ["final", "aborted", "error"].contains(&chat["state"].as_str().unwrap());
                chats.push(chat);
                if ended {
                    return chats;
                }
            }
        }
    }
}

fn text(message: &Value) -> &str {
    message["content"][0]["text"].as_str().unwrap_or_default()
}

fn code(response: &Value) -> &str {
    response["error"]["details"]["code"].as_str().unwrap_or_default()
}

fn states(chats: &[Value]) -> Vec<&str> {
    let mut states: Vec<&str> = chats.iter().map(|chat| chat["state"].as_str().unwrap()).collect();
    states.dedup();
    states
}

#[tokio::test]
async fn a_signed_device_keeps_its_scopes_and_comes_back_by_its_own_token() {
    let gateway = Gateway::start("").await;
    let mut device = Device::new(1);
    let (_, hello) = gateway.moor(&device).await.unwrap();
    assert_eq!(hello["type"], "hello-ok");
    assert_eq!(hello["auth"]["scopes"], json!(["operator.read", "operator.write"]));
    assert_eq!(hello["policy"]["maxPayload"], 26_214_400);
    let token = hello["auth"]["deviceToken"].clone();
    for auth in [json!({"deviceToken": token}), json!({"token": token}), json!({"token": "x", "deviceToken": token})] {
        device.auth = auth;
        let (_, hello) = gateway.moor(&device).await.unwrap();
        assert_eq!(hello["auth"]["method"], "device-token");
        assert_eq!(hello["auth"]["deviceToken"], token);
    }
    device.auth = json!({"token": "wrong"});
    let refused = gateway.moor(&device).await.err().unwrap();
    assert_eq!(code(&refused), "AUTH_TOKEN_MISMATCH");
    assert_eq!(refused["error"]["details"]["canRetryWithDeviceToken"], true);
    let mut stranger = Device::new(2);
    stranger.auth = json!({"deviceToken": token});
    assert_eq!(code(&gateway.moor(&stranger).await.err().unwrap()), "AUTH_DEVICE_TOKEN_MISMATCH");
}

#[tokio::test]
async fn more_scopes_need_the_shared_token_and_end_the_old_device_token() {
    let gateway = Gateway::start("").await;
    let mut device = Device::new(1);
    let (_, hello) = gateway.moor(&device).await.unwrap();
    let old = hello["auth"]["deviceToken"].clone();
    device.scopes.push("operator.admin");
    device.auth = json!({"deviceToken": old});
    assert_eq!(code(&gateway.moor(&device).await.err().unwrap()), "AUTH_SCOPE_MISMATCH");
    device.auth = json!({"token": TOKEN});
    let (_, hello) = gateway.moor(&device).await.unwrap();
    assert_ne!(hello["auth"]["deviceToken"], old);
    device.auth = json!({"deviceToken": old});
    assert_eq!(code(&gateway.moor(&device).await.err().unwrap()), "AUTH_DEVICE_TOKEN_MISMATCH");
}

#[tokio::test]
async fn without_a_device_a_page_has_no_rights_at_all() {
    let gateway = Gateway::start("").await;
    let (mut client, _) = gateway.claw_from(Some(PAGE), "").await;
    let mut connect = helper();
    connect["client"] = json!({"id": "webchat-ui", "mode": "webchat", "version": "0.1.0", "platform": "web"});
    let hello = client.request("1", "connect", connect).await.unwrap();
    assert_eq!(hello["auth"]["scopes"], json!([]));
    let refused = client.request("2", "chat.history", json!({"sessionKey": "a"})).await.unwrap_err();
    assert_eq!((refused["error"]["code"].as_str(), code(&refused)), (Some("FORBIDDEN"), "MISSING_SCOPE"));
    for _ in 0..10 {
        client.request("n", "chat.history", json!({"sessionKey": "a"})).await.unwrap_err();
    }
    assert_eq!(client.closed().await, Closed::Code(1008));
}

#[tokio::test]
async fn what_connect_may_not_say_is_named_and_closed() {
    let gateway = Gateway::start("").await;
    let changed = |path: &str, value: Value| {
        let mut connect = helper();
        *connect.pointer_mut(path).unwrap() = value;
        connect
    };
    let extra = |at: &str| {
        let mut connect = helper();
        connect.pointer_mut(at).unwrap()["hello"] = json!(1);
        connect
    };
    for (connect, said, close) in [
        (changed("/client/id", json!("moorline")), "at /client/id: must be equal to one of the allowed values", 1008),
        (changed("/client/mode", json!("operator")), "at /client/mode: must be equal to one of", 1008),
        (changed("/minProtocol", json!(0)), "at /minProtocol: must be >= 1", 1008),
        (extra(""), "at root: unexpected property 'hello'", 1008),
        (extra("/client"), "unexpected property 'hello'", 1008),
        (changed("/maxProtocol", json!(3)), "protocol mismatch", 1002),
        (changed("/minProtocol", json!(5)), "protocol mismatch", 1002),
        (changed("/auth/token", json!("wrong")), "gateway token mismatch", 1008),
        (changed("/auth", json!({})), "device identity required", 1008),
    ] {
        let (mut client, _) = gateway.claw("").await;
        let refused = client.request("1", "connect", connect).await.unwrap_err();
        assert!(refused["error"]["message"].as_str().unwrap().contains(said), "{refused}");
        assert_eq!(client.closed().await, Closed::Code(close));
    }
}

#[tokio::test]
async fn a_proof_that_is_not_right_is_refused_by_its_fault() {
    let gateway = Gateway::start("").await;
    let device = Device::new(3);
    for (path, value, expected) in [
        ("/device/id", json!("0".repeat(64)), "DEVICE_AUTH_DEVICE_ID_MISMATCH"),
        ("/device/nonce", json!("0"), "DEVICE_AUTH_NONCE_MISMATCH"),
        ("/device/signedAt", json!(1_737_264_000_000_u64), "DEVICE_AUTH_SIGNATURE_EXPIRED"),
        ("/device/signature", json!(URL_SAFE_NO_PAD.encode([7; 64])), "DEVICE_AUTH_SIGNATURE_INVALID"),
        ("/scopes", json!(["operator.write", "operator.read"]), "DEVICE_AUTH_SIGNATURE_INVALID"),
    ] {
        let (mut client, challenge) = gateway.claw_from(Some(PAGE), "").await;
        let mut connect = device.connect(&challenge);
        *connect.pointer_mut(path).unwrap() = value;
        let refused = client.request("1", "connect", connect).await.unwrap_err();
        assert_eq!(code(&refused), expected);
        assert_eq!(client.closed().await, Closed::Code(1008));
    }
}

#[tokio::test]
async fn pages_of_elsewhere_and_pages_without_an_origin_are_refused() {
    let gateway = Gateway::start("").await;
    let origins = [Some("https://elsewhere.example"), Some("null"), Some("http://127.0.0.1.elsewhere.example"), None];
    for origin in origins {
        let (mut client, challenge) = gateway.claw_from(origin, "").await;
        let refused = client.request("1", "connect", Device::new(1).connect(&challenge)).await.unwrap_err();
        assert_eq!(code(&refused), "CONTROL_UI_ORIGIN_NOT_ALLOWED", "{origin:?}");
        assert_eq!(client.closed().await, Closed::Code(1008));
    }
    gateway.post("/control/openclaw/config", json!({"allowedOrigins": ["https://elsewhere.example"]})).await;
    let (mut client, challenge) = gateway.claw_from(Some("https://elsewhere.example"), "").await;
    client.request("1", "connect", Device::new(1).connect(&challenge)).await.unwrap();
}

#[tokio::test]
async fn a_device_waits_for_its_approval_under_one_request_id() {
    let gateway = Gateway::start("").await;
    gateway.post("/control/openclaw/config", json!({"pairing": "ask"})).await;
    let mut device = Device::new(4);
    let first = gateway.moor(&device).await.err().unwrap();
    assert_eq!((first["error"]["code"].as_str(), code(&first)), (Some("NOT_PAIRED"), "PAIRING_REQUIRED"));
    let request = |refused: &Value| refused["error"]["details"]["requestId"].clone();
    assert_eq!(request(&gateway.moor(&device).await.err().unwrap()), request(&first));
    gateway.post("/control/openclaw/reject", json!({})).await;
    let again = gateway.moor(&device).await.err().unwrap();
    assert_ne!(request(&again), request(&first));
    let approved = gateway.post("/control/openclaw/approve", json!({"requestId": request(&again)})).await;
    assert_eq!(approved["count"], 1);
    gateway.moor(&device).await.unwrap();
    device.platform = "linux";
    let moved = gateway.moor(&device).await.err().unwrap();
    assert_eq!(moved["error"]["details"]["reason"], "metadata-upgrade");
}

#[tokio::test]
async fn wrong_tokens_from_a_page_end_in_a_pause_even_for_the_right_one() {
    let gateway = Gateway::start("").await;
    gateway.post("/control/openclaw/config", json!({"badTokens": 3, "rateLimitMs": 60_000})).await;
    let mut device = Device::new(5);
    device.auth = json!({"token": "wrong"});
    for _ in 0..3 {
        assert_eq!(code(&gateway.moor(&device).await.err().unwrap()), "AUTH_TOKEN_MISMATCH");
    }
    device.auth = json!({"token": TOKEN});
    let refused = gateway.moor(&device).await.err().unwrap();
    assert_eq!(code(&refused), "AUTH_RATE_LIMITED");
    assert_eq!(refused["error"]["retryable"], true);
    assert!(refused["error"]["retryAfterMs"].as_u64().unwrap() > 50_000);
    gateway.claw_helper("").await;
}

#[tokio::test]
async fn first_frames_that_are_no_connect_end_the_connection() {
    let gateway = Gateway::start("").await;
    for (frame, close) in [
        ("{nope", 1000),
        ("[1,2]", 1008),
        ("{\"type\":\"event\",\"event\":\"hi\"}", 1008),
        ("{\"type\":\"req\",\"id\":\"1\",\"method\":\"health\"}", 1008),
    ] {
        let (mut client, _) = gateway.claw("").await;
        client.send_text(frame).await;
        assert_eq!(client.closed().await, Closed::Code(close), "{frame}");
    }
    let (mut client, _) = gateway.claw("").await;
    client.send_text(&" ".repeat(70_000)).await;
    assert_eq!(client.closed().await, Closed::Code(1009));
    gateway.post("/control/openclaw/config", json!({"handshakeMs": 20})).await;
    let (mut client, _) = gateway.claw("").await;
    assert_eq!(client.closed().await, Closed::Code(1000));
}

#[tokio::test]
async fn malformed_frames_after_hello_are_answered_or_passed_over() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.claw_helper("").await;
    client.send_text("{nope").await;
    for (frame, id, said) in [
        (json!("a string"), "invalid", "must be object"),
        (json!({"type": "req", "id": "", "method": "health"}), "", "at /id: must not have fewer than 1 characters"),
        (json!({"type": "req", "id": "x", "method": "health", "extra": 1}), "x", "unexpected property 'extra'"),
        (json!({"type": "req", "id": "y", "method": "no.such"}), "y", "unknown method: no.such"),
        (json!({"type": "req", "id": "z", "method": "chat.history"}), "z", "must have required property 'sessionKey'"),
    ] {
        client.send(frame).await;
        let refused = client.frame("res").await;
        assert_eq!(refused["id"], id);
        assert!(refused["error"]["message"].as_str().unwrap().contains(said), "{refused}");
    }
    let limit = client.request("l", "chat.history", json!({"sessionKey": "a", "limit": 5_000})).await.unwrap_err();
    assert!(limit["error"]["message"].as_str().unwrap().contains("at /limit: must be <= 1000"));
}

#[tokio::test]
async fn a_run_streams_its_answer_under_a_canonical_key_and_contiguous_frame_numbers() {
    let gateway = Gateway::start("").await;
    gateway.post("/control/openclaw/config", json!({"deltaMs": 0})).await;
    let mut client = gateway.claw_helper("").await;
    let params = json!({"sessionKey": "probe", "message": "hello pace:0", "idempotencyKey": "r1"});
    client.send(json!({"type": "req", "id": "1", "method": "chat.send", "params": params})).await;
    let ack = soon("the ack", client.next()).await.unwrap();
    assert_eq!(ack["payload"], json!({"runId": "r1", "status": "started"}));
    let (mut seq, mut appended, mut whole) = (0, String::new(), String::new());
    loop {
        let event = soon("an event", client.next()).await.unwrap();
        seq += 1;
        assert_eq!(event["seq"], seq);
        let chat = &event["payload"];
        assert_eq!(chat["sessionKey"], "agent:main:probe");
        if event["event"] == "chat" && chat["state"] == "delta" {
            appended.push_str(chat["deltaText"].as_str().unwrap());
            whole = text(&chat["message"]).to_owned();
            assert_eq!(appended, whole);
        }
        if event["event"] == "chat" && chat["state"] == "final" {
            assert_eq!(text(&chat["message"]), whole);
            break;
        }
    }
    assert!(whole.starts_with("You said: hello pace:0 — the tide"));
}

#[tokio::test]
async fn a_lean_release_tells_the_whole_text_once_to_each_socket() {
    let gateway = Gateway::start("").await;
    gateway.post("/control/openclaw/config", json!({"deltaMs": 0})).await;
    let mut lean = gateway.claw_helper("?version=2026.9.7").await;
    lean.say("a", "r1", "words:6 pace:0 replace").await;
    let chats = lean.chats("r1").await;
    let deltas: Vec<&Value> = chats.iter().filter(|chat| chat["state"] == "delta").collect();
    assert!(deltas.len() > 2);
    assert!(deltas[0]["message"].is_object());
    assert!(deltas[1..].iter().all(|delta| delta.get("message").is_none()));
    let mut told = String::new();
    for delta in &deltas {
        if delta["replace"] == true {
            told.clear();
        }
        told.push_str(delta["deltaText"].as_str().unwrap());
    }
    assert_eq!(deltas.iter().filter(|delta| delta["replace"] == true).count(), 1);
    assert_eq!(told, text(&chats.last().unwrap()["message"]));
}

#[tokio::test]
async fn protocol_3_knows_no_status_no_delta_text_and_no_new_params() {
    let gateway = Gateway::start("").await;
    let (mut client, _) = gateway.claw("?protocol=3").await;
    let hello = client.request("1", "connect", helper()).await.unwrap();
    assert_eq!(hello["protocol"], 3);
    assert!(hello["features"].get("capabilities").is_none());
    client.say("a", "r1", "words:3 pace:0").await;
    let chats = client.chats("r1").await;
    assert_eq!(states(&chats), ["delta", "final"]);
    assert!(chats.iter().all(|chat| chat.get("deltaText").is_none()));
    let history = client.request("2", "chat.history", json!({"sessionKey": "a"})).await.unwrap();
    assert!(history.get("inFlightRun").is_none() && history.get("sessionInfo").is_none());
    client.request("3", "chat.history", json!({"sessionKey": "a", "inputRunIds": []})).await.unwrap_err();
    let (mut client, _) = gateway.claw("?protocol=3").await;
    let mut connect = helper();
    connect["minProtocol"] = json!(4);
    let refused = client.request("1", "connect", connect).await.unwrap_err();
    assert_eq!(refused["error"]["details"], json!({"expectedProtocol": 3}));
    assert_eq!(client.closed().await, Closed::Code(1002));
}

#[tokio::test]
async fn the_same_key_is_answered_from_the_first_run() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.claw_helper("").await;
    client.say("a", "r1", "hang words:2").await;
    assert_eq!(client.say("a", "r1", "hang words:2").await["status"], "in_flight");
    let other = json!({"sessionKey": "a", "message": "other", "idempotencyKey": "r1"});
    let refused = client.request("2", "chat.send", other).await.unwrap_err();
    assert_eq!(refused["error"]["details"]["reason"], "chat-request-conflict");
    let aborted = client.request("3", "chat.abort", json!({"sessionKey": "a", "runId": "r1"})).await.unwrap();
    assert_eq!(aborted, json!({"ok": true, "aborted": true, "runIds": ["r1"]}));
    let again = client.say("a", "r1", "hang words:2").await;
    assert_eq!((again["status"].as_str(), again["stopReason"].as_str()), (Some("timeout"), Some("rpc")));
    client.say("a", "r2", "words:1").await;
    client.chats("r2").await;
    assert_eq!(client.say("a", "r2", "words:1").await["status"], "ok");
    client.say("a", "r3", "fail").await;
    client.chats("r3").await;
    let failed = json!({"sessionKey": "a", "message": "fail", "idempotencyKey": "r3"});
    let refused = client.request("4", "chat.send", failed).await.unwrap_err();
    assert_eq!((&refused["error"]["code"], &refused["payload"]["status"]), (&json!("UNAVAILABLE"), &json!("error")));
}

#[tokio::test]
async fn a_stop_ends_the_run_before_it_is_answered_and_agents_go_on() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.claw_helper("").await;
    client.say("a", "r1", "hang words:2 pace:0").await;
    while text(&client.event("chat").await["message"]) != "You said:" {}
    let stop = json!({"sessionKey": "a", "message": "/stop", "idempotencyKey": "s"});
    client.send(json!({"type": "req", "id": "s", "method": "chat.send", "params": stop})).await;
    let aborted = client.chats("r1").await.pop().unwrap();
    assert_eq!((aborted["state"].as_str(), aborted["stopReason"].as_str()), (Some("aborted"), Some("stop")));
    assert_eq!(text(&aborted["message"]), "You said:");
    assert_eq!(client.frame("res").await["payload"], json!({"ok": true, "aborted": true, "runIds": ["r1"]}));
    assert_eq!(client.event("agent").await["runId"], "r1");
}

#[tokio::test]
async fn a_failed_run_ends_twice_and_an_empty_one_is_aborted_first() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.claw_helper("").await;
    client.say("a", "r1", "fail pace:0").await;
    let first = client.chats("r1").await.pop().unwrap();
    let second = client.chats("r1").await.pop().unwrap();
    assert_eq!((first["state"].as_str(), second["state"].as_str()), (Some("error"), Some("error")));
    assert_eq!(second["seq"], 1);
    assert!(first["seq"].as_u64() > Some(1) && second.get("agentId").is_none());
    assert_ne!(first["errorMessage"], second["errorMessage"]);
    client.say("a", "r2", "empty").await;
    assert_eq!(client.chats("r2").await.pop().unwrap()["state"], "aborted");
    assert_eq!(client.chats("r2").await.pop().unwrap()["state"], "error");
}

#[tokio::test]
async fn numbers_of_a_run_go_down_and_ends_are_lost_on_demand() {
    let gateway = Gateway::start("").await;
    gateway.post("/control/openclaw/config", json!({"deltaMs": 0})).await;
    let mut client = gateway.claw_helper("").await;
    client.say("a", "r1", "late pace:0 words:6").await;
    let chats = client.chats("r1").await;
    let seqs: Vec<u64> = chats.iter().map(|chat| chat["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).any(|pair| pair[1] < pair[0]), "{seqs:?}");
    assert_eq!(seqs[seqs.len() - 1], seqs[seqs.len() - 2]);
    let appended: String = chats.iter().filter_map(|chat| chat["deltaText"].as_str()).collect();
    assert_eq!(appended, text(&chats.last().unwrap()["message"]));
    let (mut highest, mut naive) = (0, String::new());
    for (chat, seq) in chats.iter().zip(seqs) {
        if seq > highest {
            highest = seq;
            naive.push_str(chat["deltaText"].as_str().unwrap_or_default());
        }
    }
    assert_ne!(naive, appended);
    client.say("a", "r2", "lost-end pace:0 words:2").await;
    let finished = |state: &Value| state["activeRuns"] == json!([]);
    gateway.until("the end of the run", "/control/openclaw/state", finished).await;
    client.say("a", "r3", "words:1").await;
    let unseen = client.event("chat").await;
    assert!(unseen["state"] != "final" || unseen["runId"] == "r3");
    let history = client.request("h", "chat.history", json!({"sessionKey": "a"})).await.unwrap();
    let rows = history["messages"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["__openclaw"]["runId"] == "r2"));
}

#[tokio::test]
async fn a_steered_message_gets_an_empty_final_and_its_answer_in_the_other_run() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.claw_helper("").await;
    client.say("a", "r1", "hang words:2 pace:0").await;
    assert_eq!(client.say("a", "r2", "words:3 pace:0 second").await["status"], "started");
    let empty = client.chats("r2").await;
    assert_eq!(empty.len(), 1);
    assert_eq!((&empty[0]["seq"], empty[0].get("message")), (&json!(1), None));
    let last = client.chats("r1").await.pop().unwrap();
    assert!(text(&last["message"]).contains("You said:\n\nYou said: words:3"), "{last}");
}

#[tokio::test]
async fn a_queued_message_is_pending_and_is_answered_under_a_foreign_run_id() {
    let gateway = Gateway::start("").await;
    gateway.post("/control/openclaw/config", json!({"queue": "followup"})).await;
    let mut client = gateway.claw_helper("").await;
    client.say("a", "r1", "hang words:2 pace:0").await;
    client.say("a", "r2", "words:3 pace:0 second").await;
    assert_eq!(client.chats("r2").await[0].get("message"), None);
    let asked = json!({"sessionKey": "a", "inputRunIds": ["r2"]});
    let page = client.request("h", "chat.history", asked.clone()).await.unwrap();
    assert_eq!(page["inputReceipts"], json!([{"runId": "r2", "state": "pending"}]));
    assert_eq!(page["pendingInputs"]["total"], 1);
    client.request("a", "chat.abort", json!({"sessionKey": "a"})).await.unwrap();
    let answered = loop {
        let chat = client.event("chat").await;
        if chat["state"] == "final" {
            break chat;
        }
    };
    assert_ne!(answered["runId"], "r2");
    let page = client.request("h", "chat.history", asked).await.unwrap();
    assert_eq!(page["inputReceipts"], json!([]));
    let rows = page["messages"].as_array().unwrap();
    let mine = rows.iter().position(|row| row["__openclaw"]["idempotencyKey"] == "r2:user").unwrap();
    assert_eq!(rows[mine + 1]["__openclaw"]["runId"], answered["runId"]);
}

#[tokio::test]
async fn a_run_goes_on_without_its_client_and_is_found_again() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.claw_helper("").await;
    client.say("a", "r1", "words:3 pace:0 hang").await;
    while text(&client.event("chat").await["message"]) != "You said: words:3" {}
    drop(client);
    let mut client = gateway.claw_helper("").await;
    let page = client.request("h", "chat.history", json!({"sessionKey": "a"})).await.unwrap();
    assert_eq!(page["inFlightRun"]["runId"], "r1");
    assert_eq!(page["inFlightRun"]["text"], "You said: words:3");
    assert_eq!(page["sessionInfo"]["activeRunIds"], json!(["r1"]));
    client.say("a", "r2", "words:1 pace:0").await;
    let last = client.chats("r1").await.pop().unwrap();
    assert_eq!(last["state"], "final");
}

#[tokio::test]
async fn a_cursor_gives_what_is_new_or_a_reset() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.claw_helper("").await;
    client.say("a", "r1", "words:1").await;
    client.chats("r1").await;
    let page = client.request("h", "chat.history", json!({"sessionKey": "a", "limit": 1})).await.unwrap();
    assert_eq!((&page["hasMore"], &page["nextOffset"], &page["totalMessages"]), (&json!(true), &json!(1), &json!(2)));
    let cursor = page["deltaCursor"].clone();
    client.say("a", "r2", "words:1").await;
    client.chats("r2").await;
    let news = client.request("h", "chat.history", json!({"sessionKey": "a", "cursor": cursor})).await.unwrap();
    assert_eq!(news["kind"], "delta");
    assert_eq!(news["messages"].as_array().unwrap().len(), 2);
    for cursor in ["zzz", "e30"] {
        let reset = client.request("h", "chat.history", json!({"sessionKey": "a", "cursor": cursor})).await.unwrap();
        assert_eq!(reset, json!({"kind": "reset"}));
    }
}

#[tokio::test]
async fn scoped_clients_hear_only_of_sessions_that_they_subscribed() {
    let gateway = Gateway::start("").await;
    let (mut scoped, _) = gateway.claw("").await;
    let mut connect = helper();
    connect["caps"] = json!(["session-scoped-events"]);
    scoped.request("1", "connect", connect).await.unwrap();
    let subscribed = scoped.request("2", "sessions.messages.subscribe", json!({"key": "mine"})).await.unwrap();
    assert_eq!(subscribed, json!({"subscribed": true, "key": "agent:main:mine"}));
    let mut other = gateway.claw_helper("").await;
    other.say("theirs", "r1", "words:1").await;
    other.chats("r1").await;
    other.say("mine", "r2", "words:1").await;
    let first = scoped.frame("event").await;
    assert_eq!(first["payload"]["sessionKey"], "agent:main:mine");
    scoped.chats("r2").await;
}

#[tokio::test]
async fn an_injected_message_comes_unasked_and_needs_a_session() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.claw_helper("").await;
    let params = json!({"sessionKey": "a", "message": "fog", "label": "note"});
    let early = client.request("1", "chat.inject", params.clone()).await.unwrap_err();
    assert_eq!(early["error"]["message"], "session not found");
    client.say("a", "r1", "words:1").await;
    client.chats("r1").await;
    client.send(json!({"type": "req", "id": "2", "method": "chat.inject", "params": params})).await;
    let injected = client.event("chat").await;
    assert_eq!((&injected["seq"], text(&injected["message"])), (&json!(0), "[note]\n\nfog"));
    let answered = client.frame("res").await;
    assert_eq!(injected["runId"], format!("inject-{}", answered["payload"]["messageId"].as_str().unwrap()));
}

#[tokio::test]
async fn gaps_ticks_and_raw_events_are_made_on_demand() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.claw_helper("").await;
    gateway.post("/control/openclaw/event", json!({"event": "brand.new", "payload": {"a": 1}})).await;
    gateway.post("/control/openclaw/gap", json!({"count": 4})).await;
    gateway.post("/control/openclaw/event", json!({"event": "brand.new"})).await;
    let first = client.frame("event").await;
    assert_eq!((&first["seq"], &first["payload"]), (&json!(1), &json!({"a": 1})));
    assert_eq!(client.frame("event").await["seq"], 6);
    gateway.post("/control/openclaw/config", json!({"tickMs": 5})).await;
    assert!(client.event("tick").await["ts"].is_u64());
}

#[tokio::test]
async fn only_the_end_of_a_long_answer_is_told_live() {
    let gateway = Gateway::start("").await;
    gateway.post("/control/openclaw/config", json!({"deltaMs": 0, "liveChars": 12})).await;
    let mut client = gateway.claw_helper("").await;
    client.say("a", "r1", "words:8 pace:0").await;
    let chats = client.chats("r1").await;
    let last = chats.last().unwrap();
    assert_eq!(text(&last["message"]).chars().count(), 12);
    let cut = chats.iter().filter(|chat| chat["replace"] == true);
    assert!(cut.clone().count() > 0 && cut.clone().all(|chat| chat["deltaText"] == text(&chat["message"])));
    let page = client.request("h", "chat.history", json!({"sessionKey": "a", "maxChars": 5})).await.unwrap();
    let row = &page["messages"][1];
    assert_eq!((text(row), &row["__openclaw"]["truncated"]), ("You s", &json!(true)));
    let whole = json!({"sessionKey": "a", "messageId": row["__openclaw"]["id"]});
    let whole = client.request("m", "chat.message.get", whole).await.unwrap();
    assert!(text(&whole["message"]).ends_with(text(&last["message"])));
}

#[tokio::test]
async fn frames_may_wait_for_a_slow_hello_but_not_any_number_nor_any_size() {
    let gateway = Gateway::start("").await;
    gateway.post("/control/openclaw/config", json!({"helloMs": 60_000, "maxPayload": 2_000})).await;
    let health = json!({"type": "req", "id": "h", "method": "health"});
    let (mut client, _) = gateway.claw("").await;
    client.send(json!({"type": "req", "id": "1", "method": "connect", "params": helper()})).await;
    for _ in 0..16 {
        client.send(health.clone()).await;
    }
    assert_eq!(client.closed().await, Closed::Code(1008));
    gateway.post("/control/openclaw/config", json!({"helloMs": 20})).await;
    let (mut client, _) = gateway.claw("").await;
    client.send(json!({"type": "req", "id": "1", "method": "connect", "params": helper()})).await;
    client.send(health).await;
    assert_eq!(client.frame("res").await["id"], "1");
    assert_eq!(client.frame("res").await["id"], "h");
    client.send_text(&" ".repeat(2_001)).await;
    assert_eq!(client.closed().await, Closed::Code(1009));
}

#[tokio::test]
async fn tools_are_told_to_those_who_asked_and_an_interrupting_message_ends_the_run() {
    let gateway = Gateway::start("").await;
    let (mut client, _) = gateway.claw("").await;
    let mut connect = helper();
    connect["caps"] = json!(["tool-events"]);
    client.request("1", "connect", connect).await.unwrap();
    let mut plain = gateway.claw_helper("").await;
    client.say("a", "r1", "tool hang words:2 pace:0").await;
    let tool = loop {
        let event = client.event("agent").await;
        if event["stream"] == "tool" {
            break event;
        }
    };
    assert_eq!((&tool["data"]["phase"], &tool["data"]["name"]), (&json!("start"), &json!("tide_table")));
    gateway.post("/control/openclaw/config", json!({"queue": "interrupt"})).await;
    let ack = client.say("a", "r2", "words:1 pace:0").await;
    assert_eq!(ack["interruptedActiveRun"], true);
    assert_eq!(client.chats("r2").await.pop().unwrap()["state"], "final");
    let ended = loop {
        let event = plain.frame("event").await;
        assert_ne!(event["payload"]["stream"], "tool");
        if event["payload"]["state"] == "aborted" {
            break event;
        }
    };
    assert_eq!(ended["payload"]["stopReason"], "aborted");
}

#[tokio::test]
async fn a_restart_is_announced_refuses_refers_to_later_and_forgets_runs() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.claw_helper("").await;
    client.say("a", "r1", "words:1").await;
    client.chats("r1").await;
    let times = json!({"downMs": 60_000, "startingMs": 60_000});
    gateway.post("/control/openclaw/restart", times).await;
    assert_eq!(client.event("shutdown").await, json!({"reason": "gateway restarting", "restartExpectedMs": 120_000}));
    assert_eq!(client.closed().await, Closed::Code(1012));
    let down = |state: &Value| state["phase"] == "down";
    gateway.until("the end of it", "/control/openclaw/state", down).await;
    let refused = Client::connect(&address(&gateway, "")).await.err().expect("it is down");
    assert!(refused.to_string().contains("503"), "{refused}");
    gateway.post("/control/openclaw/restart", json!({"downMs": 0, "startingMs": 60_000})).await;
    let starting = |state: &Value| state["phase"] == "starting";
    gateway.until("the start", "/control/openclaw/state", starting).await;
    let (mut client, _) = gateway.claw("").await;
    let refused = client.request("1", "connect", helper()).await.unwrap_err();
    assert_eq!((&refused["error"]["code"], &refused["error"]["retryAfterMs"]), (&json!("UNAVAILABLE"), &json!(500)));
    assert_eq!(refused["error"]["details"]["reason"], "startup-sidecars");
    assert_eq!(client.closed().await, Closed::Code(1013));
    gateway.post("/control/openclaw/up", json!({})).await;
    let mut client = gateway.claw_helper("").await;
    assert_eq!(client.say("a", "r1", "words:1").await["status"], "started");
    let settled = client.chats("r1").await;
    assert_eq!((settled.len(), settled[0].get("message")), (1, None));
    let page = client.request("h", "chat.history", json!({"sessionKey": "a"})).await.unwrap();
    assert_eq!(page["totalMessages"], 2);
}

#[tokio::test]
async fn a_restart_that_lets_runs_finish_takes_no_new_work() {
    let gateway = Gateway::start("").await;
    let mut client = gateway.claw_helper("").await;
    client.say("a", "r1", "hang words:1 pace:0").await;
    gateway.post("/control/openclaw/restart", json!({"finishRuns": true, "downMs": 60_000})).await;
    let draining = |state: &Value| state["phase"] == "draining";
    gateway.until("the draining", "/control/openclaw/state", draining).await;
    let more = json!({"sessionKey": "b", "message": "x", "idempotencyKey": "r2"});
    let refused = client.request("2", "chat.send", more).await.unwrap_err();
    assert_eq!(refused["error"]["details"]["reason"], "gateway-restarting");
    client.request("3", "chat.abort", json!({"sessionKey": "a"})).await.unwrap();
    client.event("shutdown").await;
    assert_eq!(client.closed().await, Closed::Code(1012));
}

#[tokio::test]
async fn a_new_shared_token_ends_every_connection_and_every_device_token() {
    let gateway = Gateway::start("").await;
    let mut device = Device::new(6);
    let (mut client, hello) = gateway.moor(&device).await.unwrap();
    gateway.post("/control/openclaw/rotate", json!({"token": "fresh"})).await;
    assert_eq!(client.closed().await, Closed::Code(4001));
    device.auth = json!({"deviceToken": hello["auth"]["deviceToken"]});
    assert_eq!(code(&gateway.moor(&device).await.err().unwrap()), "AUTH_DEVICE_TOKEN_MISMATCH");
    device.auth = json!({"token": "fresh"});
    gateway.moor(&device).await.unwrap();
}

#[tokio::test]
async fn what_clients_said_can_be_read_and_a_stopping_gateway_says_goodbye() {
    let mut gateway = Gateway::start("").await;
    let mut client = gateway.claw_helper("").await;
    client.say("a", "r1", "words:1").await;
    let received = gateway.get("/control/openclaw/received?connection=1").await;
    assert_eq!(received[1]["frame"]["method"], "chat.send");
    gateway.signal("TERM").await;
    assert_eq!(client.event("shutdown").await, json!({"reason": "gateway stopping"}));
    assert_eq!(client.closed().await, Closed::Code(1012));
    assert_eq!(gateway.exit_code().await, Some(0));
}
