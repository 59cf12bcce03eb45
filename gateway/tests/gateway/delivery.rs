//! The acknowledgement extension over real sockets, rule by rule. The client's part is played by a few lines, and is
//! deliberately plain: it sends, remembers what is not acknowledged, and sends that again.

use std::collections::VecDeque;
use std::path::PathBuf;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, Closed, Gateway, soon};

const STREAM: &str = "00112233aabbccdd";
const OTHER: &str = "ffeeddccbbaa9988";
/// A resume is never late, however slow the machine is; a newcomer says a word to be greeted.
const QUIET: &str = "--snapshot off --greet-wait-ms 3600000";

/// One line of a client: what it keeps over its connections.
struct Line {
    client: Client,
    stream: &'static str,
    token: String,
    epoch: String,
    seen: u64,
    numbered: u64,
    unacknowledged: VecDeque<Value>,
    /// The texts of the chats that it heard, each as often as its number was new.
    heard: Vec<String>,
}

impl Line {
    /// A new session, and its stream.
    async fn open(url: &str, stream: &'static str) -> Self {
        let mut client = Client::connect(url).await.expect("the gateway accepts");
        let offer = client.frame("gateway-offer").await;
        let init = greeted(&mut client).await;
        client.send(json!({"type": "delivery-open", "stream": stream})).await;
        Self {
            client,
            stream,
            token: text(&init["token"]),
            epoch: text(&offer["delivery"]["epoch"]),
            seen: init["seq"].as_u64().expect("a number"),
            numbered: 0,
            unacknowledged: VecDeque::new(),
            heard: Vec::new(),
        }
    }

    async fn say(&mut self, words: &str) -> Result<(), Closed> {
        self.numbered += 1;
        let frame = json!({"type": "chat", "text": words, "$seq": self.numbered});
        self.unacknowledged.push_back(frame.clone());
        let sent = self.client.push(Message::text(frame.to_string())).await;
        sent.map_err(|_| Closed::Unclean)
    }

    /// Takes in the next frame, whatever it is.
    async fn hear(&mut self) -> Result<Value, Closed> {
        let frame = soon("a frame", self.client.next()).await?;
        if let Some(number) = frame["$seq"].as_u64()
            && number > self.seen
        {
            assert_eq!(number, self.seen + 1, "the feed has a hole");
            self.seen = number;
            self.heard.extend(frame["text"].as_str().map(str::to_owned));
        }
        if frame["type"] == "delivery-ack" {
            self.acknowledge(frame["seq"].as_u64().expect("a number"));
        }
        Ok(frame)
    }

    /// Hears until everything is acknowledged.
    async fn settled(&mut self) -> Result<(), Closed> {
        while !self.unacknowledged.is_empty() {
            self.hear().await?;
        }
        Ok(())
    }

    fn acknowledge(&mut self, number: u64) {
        assert!(number <= self.numbered, "an acknowledgement of what was never sent");
        self.unacknowledged.retain(|frame| frame["$seq"].as_u64() > Some(number));
    }

    /// Comes back, sends again what was not taken, and gives the answer.
    async fn back(&mut self, url: &str) -> Value {
        let mut client = Client::connect(url).await.expect("the gateway accepts");
        let resume = json!({
            "type": "session-resume", "token": self.token, "stream": self.stream, "epoch": self.epoch, "seen": self.seen
        });
        client.send(resume).await;
        let answer = client.frame("session-resumed").await["delivery"].clone();
        self.client = client;
        self.acknowledge(answer["taken"].as_u64().expect("the stream is known"));
        for frame in self.unacknowledged.clone() {
            self.client.send(frame).await;
        }
        answer
    }
}

/// The greeting of a client that holds nothing.
async fn greeted(client: &mut Client) -> Value {
    client.send(json!({"type": "ping"})).await;
    let init = client.frame("session-init").await;
    client.frame("pong").await;
    init
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn words(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|number| number.to_string()).collect()
}

/// What the gateway took of a stream, in its order.
async fn taken(gateway: &Gateway, stream: &str) -> Vec<String> {
    let entries = gateway.get("/control/taken").await;
    let entries = entries.as_array().expect("a list").iter().filter(|entry| entry["stream"] == stream);
    entries.map(|entry| text(&entry["frame"]["text"])).collect()
}

fn session_file(name: &str) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("delivery-{name}.sessions.json"));
    // Left over from an earlier run, or not there.
    let _ = std::fs::remove_file(&file);
    file
}

#[tokio::test]
async fn rule_1_the_offer_is_the_first_frame_and_says_epoch_and_window() {
    let gateway = Gateway::start("--delivery-window 9").await;
    let first = gateway.connect().await.next().await.expect("the connection lasts");
    let again = gateway.connect().await.next().await.expect("the connection lasts");
    assert_eq!((&first["type"], &first["delivery"]["window"]), (&json!("gateway-offer"), &json!(9)));
    assert!(!text(&first["delivery"]["epoch"]).is_empty());
    assert_eq!(first, again);
    let plain = Gateway::start("--delivery off").await;
    let offer = plain.connect().await.next().await.expect("the connection lasts");
    assert_eq!(offer, json!({"type": "gateway-offer", "ping": true}));
}

#[tokio::test]
async fn rule_2_the_cursor_is_valid_from_the_greeting_on() {
    let gateway = Gateway::start(QUIET).await;
    let mut speaker = Line::open(&gateway.ws, STREAM).await;
    let mut client = gateway.connect().await;
    let init = greeted(&mut client).await;
    assert_eq!(init["seq"], 0);
    speaker.say("a").await.expect("the connection lasts");
    assert_eq!(client.frame("chat-message").await["$seq"], 1);
    client.leave().await;
    speaker.say("b").await.expect("the connection lasts");
    speaker.settled().await.expect("the connection lasts");
    let mut client = gateway.connect().await;
    let epoch = &speaker.epoch;
    client.send(json!({"type": "session-resume", "token": init["token"], "epoch": epoch, "seen": 0})).await;
    let answer = client.frame("session-resumed").await["delivery"].clone();
    assert_eq!(answer, json!({"epoch": epoch, "recovered": true, "from": 1, "to": 2}));
    for (number, said) in [(1, "a"), (2, "b")] {
        let frame = client.next().await.expect("the connection lasts");
        assert_eq!((frame["$seq"].as_u64(), frame["text"].as_str()), (Some(number), Some(said)));
    }
}

#[tokio::test]
async fn rule_3_without_a_stream_a_number_means_nothing() {
    let gateway = Gateway::start(QUIET).await;
    let mut client = gateway.connect().await;
    greeted(&mut client).await;
    for _ in 0..2 {
        client.send(json!({"type": "chat", "text": "a", "$seq": 1})).await;
        client.frame("chat-message").await;
    }
    client.send(json!({"type": "ping", "n": 1})).await;
    assert!(!client.kinds_before("pong").await.contains(&"delivery-ack".to_owned()));
    assert_eq!(gateway.get("/control/taken").await, json!([]));
}

#[tokio::test]
async fn rule_4_a_repetition_is_acknowledged_and_has_no_other_effect() {
    let gateway = Gateway::start(QUIET).await;
    let mut line = Line::open(&gateway.ws, STREAM).await;
    for words in ["1", "2", "3"] {
        line.say(words).await.expect("the connection lasts");
    }
    line.settled().await.expect("the connection lasts");
    line.client.send(json!({"type": "chat", "text": "2", "$seq": 2})).await;
    assert_eq!(line.client.frame("delivery-ack").await["seq"], 3);
    line.client.send(json!({"$data": "no object", "$seq": 9})).await;
    assert_eq!(line.client.frame("delivery-ack").await["seq"], 9);
    assert_eq!(line.heard, ["1", "2", "3"]);
    let received = gateway.get("/control/received").await;
    let outcomes: Vec<&Value> = received.as_array().unwrap().iter().map(|entry| &entry["outcome"]).skip(2).collect();
    assert_eq!(outcomes, ["taken", "taken", "taken", "repeated", "taken"]);
}

#[tokio::test]
async fn rule_5_an_acknowledgement_comes_by_itself_and_at_once_where_a_quarter_of_the_window_waits_or_a_ping_asks() {
    let gateway = Gateway::start(QUIET).await;
    let mut line = Line::open(&gateway.ws, STREAM).await;
    line.say("a").await.expect("the connection lasts");
    line.settled().await.expect("the connection lasts");

    let gateway = Gateway::start(&format!("{QUIET} --delivery-ack-ms 3600000 --delivery-window 8")).await;
    let mut line = Line::open(&gateway.ws, STREAM).await;
    line.say("a").await.expect("the connection lasts");
    line.say("b").await.expect("the connection lasts");
    line.settled().await.expect("the connection lasts");
    line.say("c").await.expect("the connection lasts");
    line.client.send(json!({"type": "ping", "n": 1})).await;
    let kinds = line.client.kinds_before("pong").await;
    assert_eq!(kinds.last().map(String::as_str), Some("delivery-ack"));
}

#[tokio::test]
async fn rule_6_every_tab_of_a_session_hears_the_same_numbers_and_a_pose_has_none() {
    let gateway = Gateway::start(QUIET).await;
    let mut first = Line::open(&gateway.ws, STREAM).await;
    let mut second = gateway.connect().await;
    second.resume(&first.token).await;
    second.frame("session-resumed").await;
    second.send(json!({"type": "delivery-open", "stream": OTHER})).await;
    let mut walker = gateway.connect().await;
    greeted(&mut walker).await;
    walker.send(json!({"type": "move", "x": 1})).await;
    walker.send(json!({"type": "ping"})).await;
    walker.frame("pong").await;
    first.say("a").await.expect("the connection lasts");
    let joined = second.frame("player-joined").await;
    let moved = second.frame("player-moved").await;
    let chat = second.frame("chat-message").await;
    assert_eq!((&joined["$seq"], moved.get("$seq"), &chat["$seq"]), (&json!(1), None, &json!(2)));
    first.settled().await.expect("the connection lasts");
    assert_eq!((first.seen, first.heard), (2, vec!["a".to_owned()]));
}

#[tokio::test]
async fn rule_7_what_every_line_has_had_is_forgotten() {
    let gateway = Gateway::start(QUIET).await;
    let mut line = Line::open(&gateway.ws, STREAM).await;
    for number in 1..=5 {
        line.say(&number.to_string()).await.expect("the connection lasts");
    }
    line.settled().await.expect("the connection lasts");
    line.client.send(json!({"type": "delivery-ack", "seq": 4})).await;
    gateway.until("the frames are gone", "/control/state", |state| state["clients"][0]["feed"]["kept"] == 1).await;
    line.seen = 2;
    let answer = line.back(&gateway.ws).await;
    assert_eq!(answer["gap"], json!({"from": 3, "to": 4, "reason": "trimmed"}));
    assert_eq!((&answer["from"], &answer["to"], &answer["recovered"]), (&json!(5), &json!(5), &json!(false)));
}

#[tokio::test]
async fn rule_8_the_answer_comes_first_then_what_was_missed_then_what_is_live() {
    let gateway = Gateway::start(QUIET).await;
    let mut speaker = Line::open(&gateway.ws, OTHER).await;
    let mut line = Line::open(&gateway.ws, STREAM).await;
    line.say("mine").await.expect("the connection lasts");
    line.settled().await.expect("the connection lasts");
    gateway.post("/control/close", json!({"abrupt": true, "to": line_client(&gateway, STREAM).await})).await;
    for number in 1..=100 {
        speaker.say(&number.to_string()).await.expect("the connection lasts");
    }
    speaker.settled().await.expect("the connection lasts");
    let answer = line.back(&gateway.ws).await;
    let seen = line.seen;
    let expected = json!({"epoch": line.epoch, "taken": 1, "recovered": true, "from": seen + 1, "to": seen + 100});
    assert_eq!(answer, expected);
    speaker.say("live").await.expect("the connection lasts");
    while line.heard.last().map(String::as_str) != Some("live") {
        line.hear().await.expect("the connection lasts");
    }
    let expected: Vec<String> =
        ["mine".to_owned()].into_iter().chain(words(1..=100)).chain(["live".to_owned()]).collect();
    assert_eq!(line.heard, expected);
}

/// The client whose stream this is.
async fn line_client(gateway: &Gateway, stream: &str) -> String {
    let state = gateway.get("/control/state").await;
    let own = state["connections"].as_array().unwrap().iter().find(|connection| connection["stream"] == stream);
    text(&own.expect("a connection has the stream")["clientId"])
}

#[tokio::test]
async fn rule_8_what_is_taken_after_a_resume_comes_from_the_new_connection_alone_and_the_old_one_is_closed() {
    let gateway = Gateway::start(QUIET).await;
    let mut line = Line::open(&gateway.ws, STREAM).await;
    line.say("1").await.expect("the connection lasts");
    line.settled().await.expect("the connection lasts");
    let mut old = gateway.connect().await;
    std::mem::swap(&mut old, &mut line.client);
    line.back(&gateway.ws).await;
    let late = json!({"type": "chat", "text": "late", "$seq": 2}).to_string();
    // On a slow machine the close may come first.
    let _ = old.push(Message::text(late)).await;
    assert_eq!(old.closed().await, Closed::Code(1000));
    line.say("2").await.expect("the connection lasts");
    line.settled().await.expect("the connection lasts");
    assert_eq!(taken(&gateway, STREAM).await, ["1", "2"]);
}

#[tokio::test]
async fn rule_9_a_refused_session_takes_its_streams_along() {
    let gateway = Gateway::start(QUIET).await;
    let mut line = Line::open(&gateway.ws, STREAM).await;
    line.say("1").await.expect("the connection lasts");
    line.settled().await.expect("the connection lasts");
    gateway.post("/control/expire", json!({})).await;
    let mut client = gateway.connect().await;
    client.send(json!({"type": "session-resume", "token": line.token, "stream": STREAM})).await;
    assert_eq!(client.kinds_before("session-init").await, ["gateway-offer", "session-refused"]);
    client.send(json!({"type": "delivery-open", "stream": STREAM})).await;
    client.send(json!({"type": "chat", "text": "again", "$seq": 1})).await;
    assert_eq!(client.frame("delivery-ack").await["seq"], 1);
    assert_eq!(taken(&gateway, STREAM).await, ["1", "again"]);
}

#[tokio::test]
async fn rule_10_a_line_that_is_told_to_move_loses_and_doubles_nothing() {
    let gateway = Gateway::start(&format!("{QUIET} --delivery-ack-ms 3600000")).await;
    let mut line = Line::open(&gateway.ws, STREAM).await;
    line.say("1").await.expect("the connection lasts");
    assert_eq!(line.hear().await.expect("the connection lasts")["text"], "1");
    gateway.post("/control/move", json!({"withinMs": 1_500})).await;
    assert_eq!(line.hear().await.expect("the connection lasts")["seq"], 1);
    assert_eq!(line.hear().await, Ok(json!({"type": "gateway-moving", "withinMs": 1_500})));
    // Should the time be over on a slow machine, it goes out again on the next connection.
    let _ = line.say("2").await;
    let mut old = gateway.connect().await;
    std::mem::swap(&mut old, &mut line.client);
    line.back(&gateway.ws).await;
    line.say("3").await.expect("the connection lasts");
    line.client.send(json!({"type": "ping"})).await;
    line.settled().await.expect("the connection lasts");
    assert_eq!(old.closed().await, Closed::Code(1012));
    assert_eq!(taken(&gateway, STREAM).await, ["1", "2", "3"]);
    assert_eq!(line.heard, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_gateway_that_is_killed_between_taking_and_acknowledging_takes_nothing_twice() {
    let file = session_file("acid");
    let options = format!("{QUIET} --sessions {}", file.display());
    let mut gateway = Gateway::start(&options).await;
    let mut line = Line::open(&gateway.ws, STREAM).await;
    let mut listener = Line::open(&gateway.ws, OTHER).await;
    for round in 1..=4_u64 {
        gateway.post("/control/delivery", json!({"killAfterTaking": 3})).await;
        for number in 1..=5 {
            // Written into the void from some message on: that is what acknowledgements are for.
            let _ = line.say(&(round * 10 + number).to_string()).await;
        }
        while line.hear().await.is_ok() {}
        while listener.hear().await.is_ok() {}
        assert_eq!(gateway.exit_code().await, Some(137));
        gateway = Gateway::start(&options).await;
        let answer = line.back(&gateway.ws).await;
        assert_eq!((&answer["recovered"], &answer["epoch"]), (&json!(true), &json!(line.epoch)));
        assert_eq!(answer["taken"], (round - 1) * 5 + 3);
        assert_eq!(listener.back(&gateway.ws).await["recovered"], true);
        line.settled().await.expect("the connection lasts");
    }
    let expected: Vec<String> = (1..=4).flat_map(|round| words(round * 10 + 1..=round * 10 + 5)).collect();
    while listener.heard.len() < expected.len() {
        listener.hear().await.expect("the connection lasts");
    }
    assert_eq!(taken(&gateway, STREAM).await, expected);
    assert_eq!(listener.heard, expected);
}

#[tokio::test]
async fn a_gateway_that_is_killed_at_any_time_takes_everything_once() {
    let file = session_file("killed");
    let options = format!("{QUIET} --sessions {}", file.display());
    let mut gateway = Gateway::start(&options).await;
    let mut line = Line::open(&gateway.ws, STREAM).await;
    for round in 0..4_u64 {
        for number in 1..=50 {
            line.say(&(round * 50 + number).to_string()).await.expect("the connection lasts");
            if number == 20 + round * 7 {
                gateway.signal("KILL").await;
                break;
            }
        }
        while line.hear().await.is_ok() {}
        gateway.exit_code().await;
        for number in 20 + round * 7 + 1..=50 {
            let _ = line.say(&(round * 50 + number).to_string()).await;
        }
        gateway = Gateway::start(&options).await;
        line.back(&gateway.ws).await;
        line.settled().await.expect("the connection lasts");
    }
    assert_eq!(taken(&gateway, STREAM).await, words(1..=200));
    while line.heard.len() < 200 {
        line.hear().await.expect("the connection lasts");
    }
    assert_eq!(line.heard, words(1..=200));
}

#[tokio::test]
async fn a_path_that_is_dead_in_one_direction_loses_and_doubles_nothing() {
    for way in ["up", "down"] {
        let gateway = Gateway::start(QUIET).await;
        let mut line = Line::open(&gateway.proxy, STREAM).await;
        line.say("1").await.expect("the connection lasts");
        line.settled().await.expect("the connection lasts");
        gateway.post("/control/faults", json!({"stall": way})).await;
        for words in ["2", "3"] {
            line.say(words).await.expect("the connection lasts");
        }
        if way == "down" {
            gateway.until("both are taken", "/control/taken", |taken| taken.as_array().unwrap().len() == 3).await;
        }
        assert_eq!(gateway.get("/control/faults").await["stall"], way);
        gateway.post("/control/faults", json!({"reset": true})).await;
        assert_eq!(line.hear().await, Err(Closed::Unclean), "{way}");
        let answer = line.back(&gateway.proxy).await;
        assert_eq!(answer["taken"], if way == "up" { 1 } else { 3 });
        line.settled().await.expect("the connection lasts");
        assert_eq!(taken(&gateway, STREAM).await, ["1", "2", "3"]);
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_before_the_acknowledgement_says_on_return_what_was_taken() {
    let gateway = Gateway::start(QUIET).await;
    let mut line = Line::open(&gateway.ws, STREAM).await;
    gateway.post("/control/delivery", json!({"cutAfterTaking": 2})).await;
    for words in ["1", "2", "3"] {
        let _ = line.say(words).await;
    }
    while line.hear().await.is_ok() {}
    assert_eq!(line.back(&gateway.ws).await["taken"], 2);
    line.settled().await.expect("the connection lasts");
    assert_eq!(taken(&gateway, STREAM).await, ["1", "2", "3"]);
}

#[tokio::test]
async fn without_a_file_a_restart_is_another_epoch_and_knows_no_token() {
    let gateway = Gateway::start(QUIET).await;
    let line = Line::open(&gateway.ws, STREAM).await;
    drop(gateway);
    let gateway = Gateway::start(QUIET).await;
    let mut client = gateway.connect().await;
    assert_ne!(client.frame("gateway-offer").await["delivery"]["epoch"], json!(line.epoch));
    client.resume(&line.token).await;
    assert_eq!(client.frame("session-refused").await["reason"], "unknown");
}

#[tokio::test]
async fn a_step_that_was_half_written_is_as_if_it_had_not_been() {
    let file = session_file("torn");
    let options = format!("{QUIET} --sessions {}", file.display());
    let mut gateway = Gateway::start(&options).await;
    let mut line = Line::open(&gateway.ws, STREAM).await;
    line.say("1").await.expect("the connection lasts");
    line.settled().await.expect("the connection lasts");
    gateway.signal("KILL").await;
    gateway.exit_code().await;
    let mut text = std::fs::read_to_string(&file).expect("the file is there");
    let whole = text.len();
    text.push_str("[{\"taken\":{\"client\":\"c-");
    std::fs::write(&file, &text).expect("the file can be written");
    let gateway = Gateway::start(&options).await;
    assert_eq!(std::fs::read_to_string(&file).expect("the file is there").len(), whole);
    assert_eq!(line.back(&gateway.ws).await["taken"], 1);
    line.say("2").await.expect("the connection lasts");
    line.settled().await.expect("the connection lasts");
    drop(gateway);
    let gateway = Gateway::start(&options).await;
    assert_eq!(taken(&gateway, STREAM).await, ["1", "2"]);
}

#[tokio::test]
async fn the_controls_of_the_extension_say_what_they_do_not_understand() {
    let gateway = Gateway::start(QUIET).await;
    for (path, body, reason) in [
        ("/control/delivery", "{\"holdAck\":true}", "holdAck"),
        ("/control/delivery", "{\"resume\":\"maybe\"}", "maybe"),
        ("/control/move", "{\"within\":1}", "within"),
        ("/control/send", "{\"frame\":7,\"feed\":true}", "an object"),
        ("/control/faults", "{\"stall\":\"sideways\"}", "stall wants true"),
    ] {
        let reply = gateway.http("POST", path, "x-moorline-control: 1\r\n", body).await;
        assert_eq!(reply.status, 400, "{path} {body}");
        assert!(reply.body.contains(reason), "{}", reply.body);
    }
}
