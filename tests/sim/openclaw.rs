//! OpenClaw beyond its page (docs/protocols/openclaw.md): refused handshakes, close codes, malformed frames, limits, and what
//! must never be said twice. Told in the notation of the pages.

use crate::notation::Transcript;

pub const CHALLENGE: &str = r#"{"type":"event","event":"connect.challenge","payload":{"nonce":"n","ts":1}}"#;
pub const HELLO: &str = r#"{"type":"res","id":"c","ok":true,"payload":{"protocol":4,"auth":{"scopes":["operator.read","operator.write"]}}}"#;

#[track_caller]
fn play(text: &str) {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim().into())).collect();
    if let Err(why) = (Transcript { file: "tests/sim/openclaw.rs".into(), protocol: "openclaw", lines }).run() {
        let numbered = text.lines().enumerate().map(|(at, line)| format!("{:3} {}\n", at + 1, line.trim()));
        panic!("{why}\n{}", numbered.collect::<String>());
    }
}

/// From the dial to the request, without a device.
fn greeted(socket: u32) -> String {
    format!(
        "> opened #{socket}
         < ask {socket} device
         > received #{socket} {CHALLENGE}
         > answer {socket}
         < transmit #{socket} {{\"id\":\"c\",\"method\":\"connect\",\"...\":true}}\n"
    )
}

fn connecting() -> String {
    format!("> connect\n< open #1\n{}", greeted(1))
}

/// A connection, the first one, whose first own request, `m1`, is answered.
fn ready() -> String {
    format!(
        "{}> received #1 {HELLO}
         < event ws-connected {{\"recovered\":false}}
         < event openclaw-hello {{\"id\":\"c\",\"...\":true}}
         < transmit #1 {{\"id\":\"m1\",\"method\":\"health\",\"...\":true}}
         > received #1 {{\"type\":\"res\",\"id\":\"m1\",\"ok\":true}}\n",
        connecting()
    )
}

/// A prompt of the page's that the gateway has accepted, in a session that is subscribed.
fn running(handle: u32, key: &str, own: u32) -> String {
    let params = format!(r#"{{"sessionKey":"s{handle}","message":"hi","idempotencyKey":"{key}"}}"#);
    format!(
        "> run {handle} chat.send key:{key} {params}
         < transmit #1 {{\"id\":\"m{own}\",\"method\":\"sessions.messages.subscribe\",\"params\":{{\"key\":\"s{handle}\"}},\"...\":true}}
         > received #1 {{\"type\":\"res\",\"id\":\"m{own}\",\"ok\":true,\"payload\":{{\"key\":\"agent:main:s{handle}\"}}}}
         < transmit #1 {{\"type\":\"req\",\"id\":\"{handle}\",\"method\":\"chat.send\",\"params\":{params}}}
         > received #1 {{\"type\":\"res\",\"id\":\"{handle}\",\"ok\":true,\"payload\":{{\"runId\":\"{key}\",\"status\":\"started\"}}}}
         < bind {handle} {key}
         < told {handle} started\n"
    )
}

fn refusal(code: &str, details: &str, more: &str) -> String {
    format!(
        r#"{{"type":"res","id":"c","ok":false,"error":{{"code":"{code}","message":"no","details":{details}{more}}}}}"#
    )
}

#[test]
fn every_refusal_that_would_be_repeated_ends_the_line_with_its_reason() {
    let rows = [
        ("INVALID_REQUEST", r#"{"code":"AUTH_TOKEN_MISMATCH","canRetryWithDeviceToken":true}"#, "unauthorized"),
        ("INVALID_REQUEST", r#"{"code":"AUTH_TOKEN_MISSING"}"#, "unauthorized"),
        ("INVALID_REQUEST", r#"{"code":"AUTH_PASSWORD_MISSING"}"#, "unauthorized"),
        ("INVALID_REQUEST", r#"{"code":"AUTH_PASSWORD_MISMATCH"}"#, "unauthorized"),
        ("INVALID_REQUEST", r#"{"code":"AUTH_BOOTSTRAP_TOKEN_INVALID"}"#, "unauthorized"),
        ("INVALID_REQUEST", r#"{"code":"AUTH_SCOPE_MISMATCH"}"#, "unauthorized"),
        ("INVALID_REQUEST", r#"{"code":"AUTH_OF_A_LATER_VERSION"}"#, "unauthorized"),
        ("NOT_PAIRED", r#"{"code":"PAIRING_REQUIRED","reason":"not-paired","requestId":"r"}"#, "pairing-required"),
        ("NOT_PAIRED", r#"{"code":"PAIRING_REQUIRED","reason":"scope-upgrade","requestId":"r"}"#, "pairing-required"),
        ("NOT_PAIRED", r#"{"code":"PAIRING_REQUIRED","reason":"metadata-upgrade"}"#, "pairing-required"),
        ("NOT_PAIRED", "{}", "pairing-required"),
        ("INVALID_REQUEST", r#"{"code":"PROTOCOL_MISMATCH","expectedProtocol":5}"#, "protocol-unsupported"),
        // Protocol 3 has no code.
        ("INVALID_REQUEST", r#"{"expectedProtocol":3}"#, "protocol-unsupported"),
        ("INVALID_REQUEST", r#"{"code":"CONTROL_UI_ORIGIN_NOT_ALLOWED"}"#, "refused"),
        ("INVALID_REQUEST", r#"{"code":"CONTROL_UI_DEVICE_IDENTITY_REQUIRED"}"#, "refused"),
        ("INVALID_REQUEST", r#"{"code":"DEVICE_AUTH_SIGNATURE_INVALID"}"#, "refused"),
        ("INVALID_REQUEST", r#"{"code":"DEVICE_AUTH_SIGNATURE_EXPIRED"}"#, "refused"),
        ("INVALID_REQUEST", r#"{"code":"DEVICE_AUTH_NONCE_MISMATCH"}"#, "refused"),
        ("INVALID_REQUEST", r#"{"code":"DEVICE_AUTH_DEVICE_ID_MISMATCH"}"#, "refused"),
        ("INVALID_REQUEST", "{}", "refused"),
        ("SOMETHING_NEW", "null", "refused"),
    ];
    for (code, details, cause) in rows {
        play(&format!(
            "{}> received #1 {}
             < close #1 4000 {cause}
             < event ws-disconnected {{\"willReconnect\":false,\"cause\":\"{cause}\"}}
             < event ws-failed {{\"cause\":\"{cause}\"}}
             > closed #1 1008 clean refused
             +600000ms",
            connecting(),
            refusal(code, details, "")
        ));
    }
}

#[test]
fn a_refusal_that_will_pass_is_waited_for_as_long_as_the_gateway_says() {
    let rows = [
        (
            "INVALID_REQUEST",
            r#"{"code":"AUTH_RATE_LIMITED"}"#,
            r#","retryable":true,"retryAfterMs":290000"#,
            "overloaded",
            "290000..348100",
        ),
        ("INVALID_REQUEST", r#"{"code":"AUTH_RATE_LIMITED"}"#, "", "overloaded", "300000..360100"),
        (
            "UNAVAILABLE",
            r#"{"reason":"startup-sidecars"}"#,
            r#","retryable":true,"retryAfterMs":500"#,
            "server-restart",
            "500..700",
        ),
        ("UNAVAILABLE", r#"{"reason":"gateway-suspending"}"#, "", "server-restart", "4000..4000"),
        ("UNAVAILABLE", r#"{"retryAfterMs":2000}"#, "", "server-restart", "2000..2500"),
        ("BUSY", "{}", r#","retryable":true,"retryAfterMs":1000"#, "refused", "1000..1300"),
        (
            "NOT_PAIRED",
            r#"{"code":"PAIRING_REQUIRED"}"#,
            r#","retryable":true,"retryAfterMs":9000"#,
            "pairing-required",
            "9000..10900",
        ),
    ];
    for (code, details, more, cause, delay) in rows {
        play(&format!(
            "{}> received #1 {}
             < close #1 4000 {cause}
             < event ws-disconnected {{\"willReconnect\":true,\"cause\":\"{cause}\"}}
             < event ws-reconnecting {{\"delayMs\":\"{delay}\"}}
             +next
             < open #2",
            connecting(),
            refusal(code, details, more)
        ));
    }
}

#[test]
fn an_authorization_that_is_called_retryable_is_no_reason_for_a_loop() {
    let refused =
        refusal("INVALID_REQUEST", r#"{"code":"AUTH_TOKEN_MISMATCH"}"#, r#","retryable":true,"retryAfterMs":1"#);
    play(&format!(
        "{}> received #1 {refused}
         < close #1 4000 unauthorized
         < event ws-disconnected {{\"willReconnect\":false}}
         < event ws-failed {{\"cause\":\"unauthorized\"}}",
        connecting()
    ));
    let paused = refusal("NOT_PAIRED", r#"{"code":"PAIRING_REQUIRED","pauseReconnect":true}"#, r#","retryable":true"#);
    play(&format!(
        "{}> received #1 {paused}
         < close #1 4000 pairing-required
         < event ws-disconnected {{\"willReconnect\":false}}
         < event ws-failed {{\"cause\":\"pairing-required\"}}",
        connecting()
    ));
}

#[test]
fn a_device_token_that_the_gateway_does_not_know_any_more_gives_way_to_what_the_page_has() {
    let by_device = r#"< ask 2 sign v3|d|webchat-ui|webchat|operator|operator.read|1|dt|n|web|
        > answer 2 "s"
        < transmit #1 {"params":{"auth":{"deviceToken":"dt"},"scopes":["operator.read"],"...":true},"...":true}"#;
    // Nothing else is there: it is over, and the token is forgotten.
    let mismatch = refusal("INVALID_REQUEST", r#"{"code":"AUTH_DEVICE_TOKEN_MISMATCH"}"#, "");
    play(&format!(
        "> connect
         < open #1
         > opened #1
         < ask 1 device
         > received #1 {CHALLENGE}
         > answer 1 \"d\" \"p\" \"dt operator.read\"
         {by_device}
         > received #1 {mismatch}
         < ask 0 forget
         < close #1 4000 unauthorized
         < event ws-disconnected {{\"willReconnect\":false}}
         < event ws-failed {{\"cause\":\"unauthorized\"}}
         > connect
         < open #2
         > opened #2
         < ask 3 device
         > received #2 {CHALLENGE}
         > answer 3 \"d\" \"p\"
         < ask 4 sign v3|d|webchat-ui|webchat|operator|operator.read,operator.write|1||n|web|
         > answer 4 \"s\"
         < transmit #2 {{\"params\":{{\"auth\":{{}},\"...\":true}},\"...\":true}}"
    ));
}

#[test]
fn a_token_that_was_refused_is_not_presented_again_until_the_page_has_another() {
    let mismatch = refusal("INVALID_REQUEST", r#"{"code":"AUTH_TOKEN_MISMATCH"}"#, "");
    play(&format!(
        "options {{\"openclaw\":{{\"scopes\":[\"operator.read\"]}}}}
         provider by hand
         > connect
         < resolve
         > resolved old
         < open #1
         > opened #1
         < ask 1 device
         > received #1 {CHALLENGE}
         > answer 1 \"d\" \"p\" \"dt operator.read\"
         < ask 2 sign v3|d|webchat-ui|webchat|operator|operator.read|1|old|n|web|
         > answer 2 \"s\"
         < transmit #1 {{\"params\":{{\"auth\":{{\"token\":\"old\"}},\"...\":true}},\"...\":true}}
         > received #1 {mismatch}
         < close #1 4000 unauthorized
         < event ws-disconnected {{\"willReconnect\":true}}
         < event ws-reconnecting
         +next
         < resolve
         > resolved old
         < open #2
         > opened #2
         < ask 3 device
         > received #2 {CHALLENGE}
         > answer 3 \"d\" \"p\" \"dt operator.read\"
         < ask 4 sign v3|d|webchat-ui|webchat|operator|operator.read|1|dt|n|web|
         > answer 4 \"s\"
         < transmit #2 {{\"params\":{{\"auth\":{{\"deviceToken\":\"dt\"}},\"...\":true}},\"...\":true}}
         > received #2 {{\"type\":\"res\",\"id\":\"c\",\"ok\":true,\"payload\":{{\"protocol\":4,\"auth\":{{\"scopes\":[\"operator.read\"]}}}}}}
         < event ws-connected
         < event openclaw-hello {{\"...\":true}}
         < transmit #2 {{\"method\":\"health\",\"...\":true}}
         > closed #2 4001 clean gateway auth changed
         < event ws-disconnected {{\"willReconnect\":true}}
         < event ws-reconnecting
         +next
         < resolve
         > resolved new
         < open #3
         > opened #3
         < ask 5 device
         > received #3 {CHALLENGE}
         > answer 5 \"d\" \"p\" \"dt operator.read\"
         < ask 6 sign v3|d|webchat-ui|webchat|operator|operator.read|1|new|n|web|"
    ));
}

#[test]
fn close_codes_before_and_behind_the_hello_are_read_by_the_sheet() {
    let fatal = |from: &str, code: u16, reason: &str, cause: &str| {
        play(&format!(
            "{from}> closed #1 {code} clean {reason}
             < event ws-disconnected {{\"code\":{code},\"willReconnect\":false,\"cause\":\"{cause}\"}}
             < event ws-failed {{\"cause\":\"{cause}\",\"code\":{code}}}"
        ));
    };
    let again = |from: &str, code: u16, reason: &str, delay: &str| {
        play(&format!(
            "{from}> closed #1 {code} clean {reason}
             < event ws-disconnected {{\"code\":{code},\"willReconnect\":true}}
             < event ws-reconnecting {{\"delayMs\":\"{delay}\"}}
             +next
             < open #2"
        ));
    };
    let (before, behind) = (connecting(), ready());
    // No hello within 15 s, or a first frame that was no JSON.
    again(&before, 1000, "", "4000..4000");
    again(&behind, 1000, "", "4000..4000");
    fatal(&before, 1002, "protocol mismatch", "protocol-unsupported");
    again(&behind, 1006, "", "4000..4000");
    fatal(&before, 1008, "connect failed", "close-code");
    fatal(&before, 1008, "origin not allowed", "refused");
    again(&before, 1008, "too many pending handshake frames", "4000..4000");
    again(&behind, 1008, "slow consumer", "4000..4000");
    again(&behind, 1008, "repeated unauthorized calls", "4000..4000");
    fatal(&behind, 1008, "origin not allowed", "refused");
    again(&behind, 1009, "", "4000..4000");
    again(&behind, 1011, "handler failed", "4000..4000");
    again(&behind, 1012, "service restart", "1000..3000");
    again(&behind, 1013, "gateway starting", "1000..3000");
    again(&behind, 4001, "gateway auth changed", "4000..4000");
    fatal(&behind, 4003, "", "refused");
}

#[test]
fn a_shutdown_without_a_restart_is_no_reason_to_hurry_before_the_close() {
    play(&format!(
        "{}> received #1 {{\"type\":\"event\",\"event\":\"shutdown\",\"payload\":{{\"reason\":\"gateway stopping\",\"restartExpectedMs\":null}},\"seq\":1}}
         < transmit #1 {{\"method\":\"health\",\"...\":true}}
         < event openclaw-shutdown {{\"seq\":1,\"...\":true}}
         > received #1 {{\"type\":\"res\",\"id\":\"m2\",\"ok\":true}}
         > request 1 sessions.list {{}}
         # It did not close: what has waited goes out.
         +5000ms
         < transmit #1 {{\"type\":\"req\",\"id\":\"1\",\"method\":\"sessions.list\",\"params\":{{}}}}",
        ready()
    ));
}

#[test]
fn nothing_is_said_before_the_challenge_and_malformed_ones_are_not_answered() {
    play(&format!(
        "> connect
         < open #1
         > opened #1
         < ask 1 device
         > answer 1
         > received #1 {{\"type\":\"event\",\"event\":\"connect.challenge\",\"payload\":{{\"ts\":1}}}}
         < event ws-error {{\"code\":\"frame.malformed\"}}
         > received #1 {{\"type\":\"event\",\"event\":\"connect.challenge\",\"payload\":{{\"nonce\":\"n\",\"ts\":\"now\"}}}}
         < event ws-error {{\"code\":\"frame.malformed\"}}
         > received #1 {{\"type\":\"event\",\"event\":\"connect.challenge\"}}
         < event ws-error {{\"code\":\"frame.malformed\"}}
         > received #1 {CHALLENGE}
         < transmit #1 {{\"method\":\"connect\",\"...\":true}}
         # A second one changes nothing.
         > received #1 {CHALLENGE}
         > received #1 {{\"type\":\"res\",\"id\":\"c\",\"ok\":true,\"payload\":{{}}}}
         < event ws-error {{\"code\":\"frame.malformed\"}}
         < close #1 4000 handshake-timeout
         < event ws-disconnected
         < event ws-reconnecting"
    ));
    // A gateway that does not speak at all.
    play(
        "> connect
         < open #1
         > opened #1
         < ask 1 device
         +10000ms
         < close #1 4000 handshake-timeout
         < event ws-disconnected {\"cause\":\"handshake-timeout\"}
         < event ws-reconnecting",
    );
}

#[test]
fn the_page_s_late_word_on_a_device_is_not_taken_for_another_socket_s() {
    play(&format!(
        "> connect
         < open #1
         > opened #1
         < ask 1 device
         > closed #1 1006
         < event ws-disconnected
         < event ws-reconnecting
         +next
         < open #2
         > opened #2
         < ask 2 device
         > received #2 {CHALLENGE}
         > answer 1 \"d\" \"p\"
         > answer 2
         < transmit #2 {{\"method\":\"connect\",\"...\":true}}
         > answer 2 \"d\" \"p\""
    ));
}

#[test]
fn malformed_frames_change_nothing_and_answers_to_nothing_are_told() {
    play(&format!(
        "{}> received #1 {{\"type\":\"res\",\"ok\":true}}
         < event ws-error {{\"code\":\"frame.malformed\"}}
         > received #1 {{\"type\":\"res\",\"id\":7,\"ok\":true}}
         < event ws-error {{\"code\":\"frame.malformed\"}}
         > received #1 {{\"type\":\"res\",\"id\":\"1\",\"ok\":\"yes\"}}
         < event ws-error {{\"code\":\"frame.malformed\"}}
         > received #1 {{\"type\":\"event\",\"event\":\"chat\",\"payload\":{{\"runId\":\"r\"}}}}
         < event ws-error {{\"code\":\"frame.malformed\"}}
         > received #1 {{\"type\":\"event\",\"event\":\"chat\",\"payload\":{{\"state\":\"delta\",\"deltaText\":\"x\"}}}}
         < event ws-error {{\"code\":\"frame.malformed\"}}
         > received #1 {{\"type\":\"event\",\"event\":\"chat\"}}
         < event ws-error {{\"code\":\"frame.malformed\"}}
         > received #1 {{nope
         < event ws-error {{\"code\":\"frame.not-json\"}}
         > binary #1
         < event ws-error {{\"code\":\"frame.binary\"}}
         > received #1 {{\"type\":\"event\"}}
         < event ws-unhandled {{\"type\":\"event\"}}
         > received #1 [1]
         < event ws-unhandled [1]
         > received #1 {{\"type\":\"res\",\"id\":\"m99\",\"ok\":true}}
         < event ws-unhandled {{\"type\":\"res\",\"id\":\"m99\",\"ok\":true}}
         > received #1 {{\"type\":\"res\",\"id\":\"4294967297\",\"ok\":true}}
         < event ws-unhandled {{\"type\":\"res\",\"id\":\"4294967297\",\"ok\":true}}
         > received #1 {{\"type\":\"res\",\"id\":\"c\",\"ok\":true}}
         < event ws-unhandled {{\"type\":\"res\",\"id\":\"c\",\"ok\":true}}
         > request 1 sessions.list {{}}
         < transmit #1 {{\"id\":\"1\",\"...\":true}}
         > received #1 {{\"type\":\"res\",\"id\":\"1\",\"ok\":true,\"payload\":1}}
         < told 1 result
         # Twice.
         > received #1 {{\"type\":\"res\",\"id\":\"1\",\"ok\":true,\"payload\":2}}",
        ready()
    ));
}

#[test]
fn every_acknowledgement_of_the_sheet_leads_where_it_says() {
    let acknowledged = |payload: &str, told: &str| {
        let params = r#"{"sessionKey":"s","message":"hi","idempotencyKey":"k"}"#;
        play(&format!(
            "{}> run 1 chat.send key:k {params}
             < transmit #1 {{\"id\":\"m2\",\"method\":\"sessions.messages.subscribe\",\"...\":true}}
             > received #1 {{\"type\":\"res\",\"id\":\"m2\",\"ok\":false,\"error\":{{\"code\":\"INVALID_REQUEST\",\"message\":\"no\"}}}}
             < transmit #1 {{\"id\":\"1\",\"method\":\"chat.send\",\"...\":true}}
             > received #1 {{\"type\":\"res\",\"id\":\"1\",{payload}}}
             {told}",
            ready()
        ));
    };
    let history = "< transmit #1 {\"id\":\"m3\",\"method\":\"chat.history\",\"...\":true}";
    acknowledged(r#""ok":true,"payload":{"runId":"k","status":"started"}"#, "< bind 1 k\n< told 1 started");
    acknowledged(r#""ok":true,"payload":{"runId":"k","status":"in_flight"}"#, &format!("< told 1 started\n{history}"));
    acknowledged(r#""ok":true,"payload":{"runId":"k","status":"ok"}"#, &format!("< told 1 started\n{history}"));
    acknowledged(r#""ok":true,"payload":{"runId":"k","status":"timeout","summary":"aborted"}"#, "< told 1 stopped");
    acknowledged(r#""ok":true,"payload":{"ok":true,"aborted":true,"runIds":[]}"#, "< told 1 final");
    acknowledged(
        r#""ok":false,"error":{"code":"UNAVAILABLE"},"payload":{"runId":"k","status":"error"}"#,
        "< told 1 failed",
    );
    acknowledged(
        r#""ok":false,"error":{"code":"INVALID_REQUEST","details":{"reason":"chat-request-conflict"}}"#,
        "< told 1 refused",
    );
}

#[test]
fn two_terminals_are_one_and_what_comes_late_is_nobody_s() {
    let event = |seq: u32, payload: &str| {
        format!(
            "> received #1 {{\"type\":\"event\",\"event\":\"chat\",\"payload\":{{\"runId\":\"k\",\"sessionKey\":\"agent:main:s1\",{payload}}},\"seq\":{seq}}}\n"
        )
    };
    let cases = [
        (r#""state":"error","seq":9,"errorMessage":"a""#, "failed", r#""state":"error","seq":1,"errorMessage":"b""#),
        (r#""state":"aborted","seq":14"#, "stopped", r#""state":"error","seq":1,"errorMessage":"b""#),
        (r#""state":"final","message":{"content":"x"}"#, "final", r#""state":"delta","deltaText":"late""#),
        (r#""state":"final","message":{"content":"x"}"#, "final", r#""state":"status","phase":"x""#),
        (r#""state":"aborted""#, "stopped", r#""state":"final""#),
    ];
    for (first, word, second) in cases {
        play(&format!(
            "{}{}{}< unbind k\n< told 1 {word}\n{}",
            ready(),
            running(1, "k", 2),
            event(1, first),
            event(2, second)
        ));
    }
    // A better text is not kept from the page.
    play(&format!(
        "{}{}{}< unbind k\n< told 1 stopped\n{}< event openclaw-chat {{\"seq\":2,\"...\":true}}",
        ready(),
        running(1, "k", 2),
        event(1, r#""state":"aborted""#),
        event(2, r#""state":"final","message":{"content":"all of it"}"#)
    ));
}

#[test]
fn a_payload_s_own_number_may_repeat_and_go_down() {
    let delta = |seq: u32, own: u32| {
        format!(
            "> received #1 {{\"type\":\"event\",\"event\":\"chat\",\"payload\":{{\"runId\":\"k\",\"state\":\"delta\",\"seq\":{own},\"deltaText\":\"x\"}},\"seq\":{seq}}}\n< told 1 delta\n"
        )
    };
    let deltas = [delta(1, 6), delta(2, 6), delta(3, 2), delta(4, 9)].concat();
    play(&format!("{}{}{deltas}", ready(), running(1, "k", 2)));
}

#[test]
fn a_number_that_comes_twice_or_begins_late_is_no_gap() {
    let tick = |seq: u32| {
        format!(
            "> received #1 {{\"type\":\"event\",\"event\":\"tick\",\"seq\":{seq}}}\n< event openclaw-tick {{\"seq\":{seq},\"...\":true}}\n"
        )
    };
    play(&format!("{}{}", ready(), [tick(7), tick(8), tick(8), tick(3), tick(9)].concat()));
}

#[test]
fn a_gateway_that_skips_numbers_all_the_time_is_asked_for_one_history_at_a_time() {
    let mut text = ready() + &running(1, "k", 2);
    text.push_str(
        "> received #1 {\"type\":\"event\",\"event\":\"tick\",\"seq\":1}\n< event openclaw-tick {\"seq\":1,\"...\":true}\n",
    );
    for turn in 1..200 {
        let seq = 1 + turn * 5;
        text.push_str(&format!(
            "> received #1 {{\"type\":\"event\",\"event\":\"tick\",\"seq\":{seq}}}\n< ask 0 gap 4\n"
        ));
        if turn == 1 {
            text.push_str("< unbind k\n< told 1 gap seq\n< transmit #1 {\"id\":\"m3\",\"method\":\"chat.history\",\"...\":true}\n");
        }
        text.push_str(&format!("< event openclaw-tick {{\"seq\":{seq},\"...\":true}}\n"));
    }
    play(&text);
}

#[test]
fn runs_that_others_begin_and_never_end_are_bounded() {
    let mut text = ready();
    for run in 1..=40 {
        text.push_str(&format!(
            "> received #1 {{\"type\":\"event\",\"event\":\"chat\",\"payload\":{{\"runId\":\"r{run}\",\"sessionKey\":\"x\",\"state\":\"status\"}},\"seq\":{run}}}\n"
        ));
        if run > 32 {
            let oldest = run - 32;
            text.push_str(&format!("< told s{oldest} gap not-found\n< unbind r{oldest}\n< told s{oldest} lost\n"));
        }
        text.push_str(&format!("< told s{run} began other\n< bind s{run} r{run}\n< told s{run} note\n"));
    }
    play(&text);
}

#[test]
fn a_run_that_ended_long_ago_is_forgotten_and_one_that_ended_lately_is_not() {
    let chat = |run: u32, seq: u32, more: &str| {
        format!(
            "> received #1 {{\"type\":\"event\",\"event\":\"chat\",\"payload\":{{\"runId\":\"r{run}\",\"sessionKey\":\"x\",{more}}},\"seq\":{seq}}}\n"
        )
    };
    let whole = r#""state":"final","message":{"content":"x"}"#;
    let mut text = ready();
    for run in 1..=257 {
        text.push_str(&chat(run, run, whole));
        text.push_str(&format!(
            "< told s{run} began other\n< bind s{run} r{run}\n< unbind r{run}\n< told s{run} final\n"
        ));
    }
    let late = r#""state":"error","errorMessage":"late""#;
    text.push_str(&chat(257, 258, late));
    text.push_str(&chat(2, 259, late));
    text.push_str(&chat(1, 260, late));
    text.push_str("< told s258 began other\n< bind s258 r1\n< unbind r1\n< told s258 failed\n");
    play(&text);
}

#[test]
fn a_cancel_reaches_the_gateway_however_the_line_is() {
    // Before it was sent: nobody need know.
    play(&format!(
        "> connect
         < open #1
         > run 1 chat.send key:k {{\"sessionKey\":\"s\",\"message\":\"m\",\"idempotencyKey\":\"k\"}}
         > cancel 1
         < told 1 cancelled
         {}> received #1 {HELLO}
         < event ws-connected
         < event openclaw-hello {{\"...\":true}}
         < transmit #1 {{\"method\":\"health\",\"...\":true}}
         < transmit #1 {{\"method\":\"sessions.messages.subscribe\",\"...\":true}}",
        greeted(1)
    ));
    // The gateway does not answer.
    play(&format!(
        "{}{}> cancel 1
         < transmit #1 {{\"type\":\"req\",\"id\":\"m3\",\"method\":\"chat.abort\",\"params\":{{\"sessionKey\":\"s1\",\"runId\":\"k\"}}}}
         +10000ms
         < unbind k
         < told 1 cancelled",
        ready(),
        running(1, "k", 2)
    ));
    // There is no line: it goes out with the next one.
    play(&format!(
        "{}{}> closed #1 1006
         < unbind k
         < event ws-disconnected
         < event ws-reconnecting
         > cancel 1
         < told 1 cancelled
         +next
         < open #2
         {}> received #2 {HELLO}
         < event ws-connected
         < event openclaw-hello {{\"...\":true}}
         < transmit #2 {{\"method\":\"health\",\"...\":true}}
         < transmit #2 {{\"method\":\"chat.abort\",\"params\":{{\"sessionKey\":\"s1\",\"runId\":\"k\"}},\"...\":true}}
         < transmit #2 {{\"method\":\"sessions.messages.subscribe\",\"...\":true}}
         # What it still says of the run is nobody's.
         > received #2 {{\"type\":\"event\",\"event\":\"chat\",\"payload\":{{\"runId\":\"k\",\"state\":\"aborted\"}},\"seq\":1}}",
        ready(),
        running(1, "k", 2),
        greeted(2)
    ));
}

#[test]
fn a_frame_that_the_gateway_found_too_large_is_not_sent_again() {
    play(&format!(
        "{}> run 1 chat.send key:k {{\"sessionKey\":\"s\",\"message\":\"m\",\"idempotencyKey\":\"k\"}}
         < transmit #1 {{\"id\":\"m2\",\"...\":true}}
         > received #1 {{\"type\":\"res\",\"id\":\"m2\",\"ok\":true,\"payload\":{{\"key\":\"agent:main:s\"}}}}
         < transmit #1 {{\"id\":\"1\",\"...\":true}}
         > closed #1 1009 clean
         < told 1 lost
         < event ws-disconnected {{\"willReconnect\":true}}
         < event ws-reconnecting",
        ready()
    ));
}

#[test]
fn what_waits_ends_when_the_line_does() {
    play(&format!(
        "{}{}> request 2 chat.inject {{\"sessionKey\":\"s1\",\"message\":\"x\"}}
         < transmit #1 {{\"id\":\"2\",\"...\":true}}
         > received #1 {{\"type\":\"event\",\"event\":\"chat\",\"payload\":{{\"runId\":\"o\",\"sessionKey\":\"x\",\"state\":\"status\"}},\"seq\":1}}
         < told s1 began other
         < bind s1 o
         < told s1 note
         > disconnect
         < close #1 1000
         < told 2 lost
         < unbind k
         < unbind o
         < event ws-disconnected {{\"willReconnect\":false}}
         < told 1 lost 1
         < told s1 lost",
        ready(),
        running(1, "k", 2)
    ));
}

#[test]
fn a_history_that_is_refused_is_asked_for_again_and_not_for_ever() {
    let mut text = format!(
        "{}{}> received #1 {{\"type\":\"event\",\"event\":\"chat\",\"payload\":{{\"runId\":\"k\",\"sessionKey\":\"agent:main:s1\",\"state\":\"final\"}},\"seq\":1}}
         < told 1 note
         < unbind k\n",
        ready(),
        running(1, "k", 2)
    );
    for (own, wait) in [(3, 1000), (4, 2000), (5, 4000), (6, 8000)] {
        text.push_str(&format!(
            "< transmit #1 {{\"id\":\"m{own}\",\"method\":\"chat.history\",\"...\":true}}
             > received #1 {{\"type\":\"res\",\"id\":\"m{own}\",\"ok\":false,\"error\":{{\"code\":\"UNAVAILABLE\"}}}}\n"
        ));
        // Meanwhile it is time to ask for a sign of life.
        text.push_str(&if wait == 8000 {
            "+5000ms\n< transmit #1 {\"method\":\"health\",\"...\":true}\n\
             > received #1 {\"type\":\"event\",\"event\":\"tick\",\"payload\":{}}\n\
             < event openclaw-tick {\"...\":true}\n+3000ms\n"
                .to_string()
        } else {
            format!("+{wait}ms\n")
        });
    }
    text.push_str("< told 1 gap not-found\n< told 1 final\n");
    play(&text);
}

#[test]
fn a_gateway_without_read_scope_is_asked_for_nothing() {
    play(&format!(
        "{}> received #1 {{\"type\":\"res\",\"id\":\"c\",\"ok\":true,\"payload\":{{\"protocol\":4,\"auth\":{{\"scopes\":[]}},\"policy\":{{\"tickIntervalMs\":30000}}}}}}
         < event ws-connected
         < event openclaw-hello {{\"...\":true}}
         < ask 0 scopes operator.read,operator.write
         +80000ms
         < close #1 4000 heartbeat
         < event ws-disconnected {{\"cause\":\"heartbeat\"}}
         < event ws-reconnecting",
        connecting()
    ));
}

#[test]
fn a_gateway_that_has_forgotten_its_keys_is_not_asked_to_begin_again() {
    let hello = |socket: u32, uptime: u32| {
        format!(
            "> received #{socket} {{\"type\":\"res\",\"id\":\"c\",\"ok\":true,\"payload\":{{\"protocol\":3,\"snapshot\":{{\"uptimeMs\":{uptime}}}}}}}"
        )
    };
    let params = r#"{"sessionKey":"s","message":"one\n\u0001two","idempotencyKey":"k"}"#;
    let back = |rows: &str, told: &str| {
        play(&format!(
            "{}{}
             < event ws-connected
             < event openclaw-hello {{\"...\":true}}
             > run 1 chat.send key:k {params}
             < transmit #1 {{\"id\":\"1\",\"...\":true}}
             > received #1 {{\"type\":\"res\",\"id\":\"1\",\"ok\":true,\"payload\":{{\"runId\":\"k\",\"status\":\"started\"}}}}
             < bind 1 k
             < told 1 started
             > closed #1 1006
             < unbind k
             < event ws-disconnected
             < event ws-reconnecting
             +4000ms
             < open #2
             {}{}
             < event ws-connected {{\"recovered\":false}}
             < event openclaw-hello {{\"...\":true}}
             < transmit #2 {{\"id\":\"m1\",\"method\":\"chat.history\",\"...\":true}}
             > received #2 {{\"type\":\"res\",\"id\":\"m1\",\"ok\":true,\"payload\":{{\"messages\":[{rows}]}}}}
             {told}",
            connecting(),
            hello(1, 90_000),
            greeted(2),
            hello(2, 3000),
        ));
    };
    back("", "< told 1 gap not-found\n< told 1 lost 1");
    back(
        r#"{"role":"user","content":"one\n\u0001two"},{"role":"assistant","content":"yes"}"#,
        "< told 1 gap unnamed\n< told 1 final 2",
    );
    back(
        r#"{"role":"user","content":"one\ntwo"},{"role":"assistant","content":"no"}"#,
        "< told 1 gap not-found\n< told 1 lost 1",
    );
    back(
        r#"{"role":"user","content":"one\n\u0001two"},{"role":"assistant","content":[],"stopReason":"error","errorMessage":"no model"}"#,
        "< told 1 gap unnamed\n< told 1 failed 2",
    );
}
