//! The command line: parsed once into `Options`. How the options take effect is not here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::config::{Config, Greet};

pub const USAGE: &str = "\
moorline-gateway: a development gateway for moorline's protocols

usage: moorline-gateway [options]

  --port N               port to listen on; 0 picks a free one [8787]
  --bind ADDRESS         address to listen on [127.0.0.1]
  --proxy-port N         port of the fault proxy, always on 127.0.0.1 [0: a free one]
  --www DIR              directory served at /
  --mount /PREFIX=DIR    directory served at /PREFIX; may be given more than once
  --csp VALUE|off        Content-Security-Policy of HTML pages [a strict one]
  --sessions FILE        keep sessions in FILE, so that they outlive a restart
  --session-life-ms N    how long a token is good for [86400000]
  --rotate-every-ms N    give connected clients a new token this often [0: never]
  --grace-ms N           absence that the others do not hear of [5000]
  --echo on|off          a sender hears its own chat [on]
  --greet wait|eager     greet after a moment for a resume, or at once [wait]
  --greet-wait-ms N      that moment [150]
  --confirm on|off       confirm a resume that crossed the greeting [on]
  --offer on|off         speak the optional extension [on]
  --delivery on|off      acknowledge messages and repeat missed frames; needs --offer on [on]
  --delivery-window N    messages that a client may leave unacknowledged [256]
  --delivery-keep N      frames kept for each session, to be repeated [1000]
  --delivery-ack-ms N    how long an acknowledgement may wait for the next [50]
  --snapshot on|off      send world_state [on]
  --agents on|off        simulate agents [on]
  --agent-every-ms N     how often an agent speaks [7000]
  --rate-limit N         frames a second that a client may send on and on [2000; 0: any number]
  --shutdown-code N      close code that clients get when the gateway stops [1001]
  --help                 this text

The first line on stdout is JSON: {\"url\":…,\"ws\":…,\"proxy\":…}. Requests to /control/… need the
header x-moorline-control: 1. SIGINT and SIGTERM stop it cleanly.

In the Nexus world the crew answers who asks: {\"type\":\"ask\",\"id\",\"text\"}, and {\"type\":\"ask-stop\",\"id\"}.
The answer is answer-begun, answer-text, answer-note, answer-end; answer-so-far is for who comes back.
GET /control/faults says where the fault proxy listens.

The acknowledgement extension (--delivery): chats, relayed frames, agents' words, who comes, goes and changes are
numbered in each session's feed; poses, snapshots and answers of the crew are of the moment. A session has 16 streams
and remembers --delivery-keep frames; with --sessions all of it outlives a kill. Controls, below /control:
  GET  taken: the numbered messages that were taken, in that order, before a restart too (with --sessions); received
       has the repeated and fenced ones, since the start
  GET  state: the epoch, each client's streams and feed, each connection's stream and acknowledgements
  POST send {\"frame\", \"feed\": true, \"to\"}: into the feed, of absent sessions too
  POST move {\"withinMs\": 5000, \"to\", \"rotate\", \"untold\"}: gateway-moving, and 1012 when the time is over
  POST delivery: a plan that holds until the next {\"holdAcks\", \"dropAcks\": N, \"resume\": \"never\"|
       \"withoutTaken\"|\"otherEpoch\"|\"takenAhead\"|\"plain\", \"resumeTimes\": N, \"resumeDelayMs\",
       \"cutAfterTaking\": N, \"killAfterTaking\": N (the process exits with 137)}
       and what is done at once {\"to\", \"forgetStreams\", \"trimFeed\": N, \"skipFeed\": N, \"repeatFeed\": N,
       \"ackAhead\": N, \"ackBehind\": N, \"ackAgain\", \"newEpoch\"}
  POST faults {\"stall\": true|\"up\"|\"down\"}: the fault proxy holds both directions, or one

OpenClaw is spoken at /openclaw; the token is moorline-openclaw. It plays release 2026.9.6 (protocol 4);
?version=2026.9.7 has lean deltas, ?protocol=3 is release 2026.5.7. Controls, below /control/openclaw:
  GET  state, received?connection=N
  POST config {\"version\", \"token\", \"pairing\": \"silent\"|\"ask\", \"queue\": \"steer\"|\"followup\"|\"collect\"|
       \"interrupt\", \"challengeMs\", \"helloMs\", \"handshakeMs\", \"tickMs\", \"deltaMs\", \"startMs\", \"skewMs\",
       \"badTokens\", \"rateLimitMs\", \"allowedOrigins\", \"liveChars\", \"maxPayload\", \"dedupeMs\"}
  POST gap {\"count\", \"to\"}, event {\"event\", \"payload\", \"to\"}, send {\"frame\"|\"text\", \"to\"}
  POST close {\"code\", \"reason\"|\"abrupt\": true, \"to\"}, rotate {\"token\"}, revoke, reset, up
  POST restart {\"downMs\", \"startingMs\", \"finishRuns\", \"kill\"}
  POST approve {\"requestId\"}, reject {\"requestId\"}
  POST inject {\"sessionKey\", \"message\", \"label\"}, run {\"sessionKey\", \"message\"}
Words in a prompt choose the answer: long, slow, think, tool, broken-tool, ask, fail, empty, hang, words:N,
pace:N; and OpenClaw's traps: replace, late, tail, lost-end.

Hermes is spoken at /api/ws?token=moorline-hermes, or ?ticket=… from POST /api/auth/ws-ticket (header
x-hermes-session-token), and GET /api/status is public. It plays version 0.19; &version=0.17 or 0.20 another.
Controls, below /control/hermes:
  GET  state, received?connection=N
  POST config {\"version\", \"token\", \"gated\", \"ticketMs\", \"readyMs\", \"agentMs\", \"pooledMs\", \"graceMs\",
       \"busy\": \"interrupt\"|\"queue\"|\"steer\"|\"redirect\", \"queuedBug\", \"resumeOverlap\", \"questionMs\",
       \"heartbeat\", \"ring\", \"maxSessions\"}
  POST send {\"frame\"|\"text\", \"to\"}, event {\"type\", \"payload\", \"sessionId\"}
  POST close {\"code\"|\"abrupt\": true, \"to\"}, restart {\"downMs\", \"kill\"}, up, ticket, reset
  POST turn {\"sessionId\", \"text\"}, expire, reap, rename {\"sessionId\"}
Words in a prompt, beside the model's: approve, sudo, secret, crash.

Action Cable is spoken at /cable, with AnyCable's extension. Channels: SessionChannel, AgentChannel (the model
answers in deltas), EchoChannel, RoomChannel, HistoryChannel, RejectChannel, BrokenChannel, LateChannel; any
other is silence. ?client=NAME names a connection, ?token=bad is unauthorized, ?token=boom is never welcomed.
What config takes may also stand in the query, for that connection alone. Controls, below /control/cable:
  GET  state, received?client=NAME
  POST config {\"connect\": \"accept\"|\"reject\"|\"raise\", \"token\", \"strictOrigin\", \"extension\", \"welcomeMs\",
       \"pings\", \"pingMs\", \"pongTimeoutMs\", \"commands\": \"kept\"|\"swap\"|\"reverse\", \"batch\", \"windowMs\",
       \"broadcasts\": \"kept\"|\"swap\", \"holdMs\", \"confirmMs\", \"loseSubscribes\", \"unsubscribeMs\",
       \"switchGapMs\", \"broker\": \"off\"|\"ext\"|\"all\", \"sessionMs\", \"historyMs\", \"historyLimit\",
       \"presenceMs\", \"repeat\"}
  POST disconnect {\"client\", \"reason\", \"reconnect\", \"code\", \"frame\": false}, restart {\"downMs\"}
  POST kill {\"client\", \"downMs\"}, down {\"downMs\"}, up, forget {\"sessions\", \"history\", \"epoch\"}, reset
  POST broadcast {\"stream\", \"message\"}, send {\"client\", \"frame\"|\"text\"|\"binaryBase64\"}

The yoi backend is at /api/runtimes/runtime-a/workers/worker-00000001: POST input, cancel, stop; GET transcript,
events/ws?cursor=…. There is a worker-00000002 too. Controls, below /control/observation; \"runtime\" and
\"worker\" choose whom they mean:
  GET  state
  POST config {\"limit\", \"sequence\", \"httpStatus\"}, restart {\"downMs\"}, down {\"downMs\"}, up, reset
  POST drop, diagnose {\"code\", \"message\"}, expire {\"keep\"}, emit {\"payload\", \"times\"}, send {\"text\"}
  POST runtime {\"available\"}, worker";

const STRICT_CSP: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' 'unsafe-inline'; \
     connect-src 'self' ws: wss:; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:";

/// What the gateway was asked to be.
#[derive(Debug)]
pub struct Options {
    pub bind: IpAddr,
    pub port: u16,
    pub proxy_port: u16,
    pub www: Option<PathBuf>,
    pub mounts: Vec<Mount>,
    pub csp: Option<String>,
    pub sessions: Option<PathBuf>,
    pub config: Config,
}

/// A directory and the path under which it is served.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    pub prefix: String,
    pub directory: PathBuf,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    Run(Box<Options>),
    Help,
}

/// Why a command line cannot be followed.
#[derive(Debug, PartialEq, Eq)]
pub enum UsageError {
    UnknownOption(String),
    MissingValue(String),
    BadValue { option: String, value: String, wants: &'static str },
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOption(option) => write!(f, "unknown option {option}"),
            Self::MissingValue(option) => write!(f, "{option} needs a value"),
            Self::BadValue { option, value, wants } => {
                write!(f, "{option} wants {wants}, not {value:?}")
            }
        }
    }
}

impl std::error::Error for UsageError {}

/// Reads `--option value` and `--option=value`; a later option wins over an earlier one.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Request, UsageError> {
    let mut options = Options {
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: 8787,
        proxy_port: 0,
        www: None,
        mounts: Vec::new(),
        csp: Some(STRICT_CSP.to_owned()),
        sessions: None,
        config: Config::default(),
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--help" || argument == "-h" {
            return Ok(Request::Help);
        }
        let (option, value) = match argument.split_once('=') {
            Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        let value = value.or_else(|| arguments.next());
        take(&mut options, Given { option, value })?;
    }
    Ok(Request::Run(Box::new(options)))
}

fn take(options: &mut Options, given: Given) -> Result<(), UsageError> {
    let config = &mut options.config;
    match given.option.as_str() {
        "--port" => options.port = given.number("a port number")?,
        "--bind" => options.bind = given.number("an IP address")?,
        "--proxy-port" => options.proxy_port = given.number("a port number")?,
        "--www" => options.www = Some(given.directory()?),
        "--mount" => options.mounts.push(given.mount()?),
        "--csp" => options.csp = given.policy()?,
        "--sessions" => options.sessions = Some(PathBuf::from(given.text()?)),
        "--session-life-ms" => config.session_life_ms = given.number(MILLISECONDS)?,
        "--rotate-every-ms" => config.rotate_every_ms = given.number(MILLISECONDS)?,
        "--grace-ms" => config.grace_ms = given.number(MILLISECONDS)?,
        "--echo" => config.echo = given.switch()?,
        "--greet" => config.greet = given.greet()?,
        "--greet-wait-ms" => config.greet_wait_ms = given.number(MILLISECONDS)?,
        "--confirm" => config.confirm = given.switch()?,
        "--offer" => config.offer = given.switch()?,
        "--delivery" => config.delivery = given.switch()?,
        "--delivery-window" => config.delivery_window = given.number("a number of messages")?,
        "--delivery-keep" => config.delivery_keep = given.number("a number of frames")?,
        "--delivery-ack-ms" => config.delivery_ack_ms = given.number(MILLISECONDS)?,
        "--snapshot" => config.snapshot = given.switch()?,
        "--agents" => config.agents = given.switch()?,
        "--agent-every-ms" => config.agent_every_ms = given.number(MILLISECONDS)?,
        "--rate-limit" => config.rate_limit = given.number("frames a second")?,
        "--shutdown-code" => config.shutdown_code = given.number("a close code")?,
        _ => return Err(UsageError::UnknownOption(given.option)),
    }
    Ok(())
}

const MILLISECONDS: &str = "a number of milliseconds";

struct Given {
    option: String,
    value: Option<String>,
}

impl Given {
    fn number<T: FromStr>(self, wants: &'static str) -> Result<T, UsageError> {
        self.text()?.parse().map_err(|_| self.bad(wants))
    }

    fn switch(self) -> Result<bool, UsageError> {
        match self.text()? {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(self.bad("on or off")),
        }
    }

    fn greet(self) -> Result<Greet, UsageError> {
        match self.text()? {
            "wait" => Ok(Greet::Wait),
            "eager" => Ok(Greet::Eager),
            _ => Err(self.bad("wait or eager")),
        }
    }

    fn directory(self) -> Result<PathBuf, UsageError> {
        let directory = PathBuf::from(self.text()?);
        if directory.is_dir() { Ok(directory) } else { Err(self.bad("a directory that exists")) }
    }

    fn mount(self) -> Result<Mount, UsageError> {
        const WANTS: &str = "/prefix=DIR with a directory that exists, outside /api, /control and /openclaw";
        let Some((prefix, directory)) = self.text()?.split_once('=') else {
            return Err(self.bad(WANTS));
        };
        let plain = |part: &str| {
            part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c)) && !["", ".", ".."].contains(&part)
        };
        let parts: Vec<&str> = prefix.split('/').collect();
        let ["", first, ref rest @ ..] = parts[..] else {
            return Err(self.bad(WANTS));
        };
        let reserved = ["api", "control", "openclaw"].contains(&first);
        let directory = PathBuf::from(directory);
        if reserved || !plain(first) || !rest.iter().all(|part| plain(part)) || !directory.is_dir() {
            return Err(self.bad(WANTS));
        }
        Ok(Mount { prefix: prefix.to_owned(), directory })
    }

    fn policy(self) -> Result<Option<String>, UsageError> {
        let policy = self.text()?;
        if policy == "off" {
            return Ok(None);
        }
        if policy.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
            return Err(self.bad("a header value or off"));
        }
        Ok(Some(policy.to_owned()))
    }

    fn text(&self) -> Result<&str, UsageError> {
        self.value.as_deref().ok_or_else(|| UsageError::MissingValue(self.option.clone()))
    }

    fn bad(&self, wants: &'static str) -> UsageError {
        let value = self.value.clone().unwrap_or_default();
        UsageError::BadValue { option: self.option.clone(), value, wants }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, UsageError> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    fn options(line: &str) -> Options {
        match parsed(line) {
            Ok(Request::Run(options)) => *options,
            other => panic!("{line:?} gave {other:?}"),
        }
    }

    #[test]
    fn without_options_it_listens_on_loopback_with_the_default_conduct() {
        let options = options("");
        assert!(options.bind.is_loopback());
        assert_eq!(options.port, 8787);
        assert_eq!(options.config, Config::default());
    }

    #[test]
    fn both_ways_of_writing_a_value_are_read() {
        let options = options("--port 1 --grace-ms=7 --echo off --greet=eager --mount=/src/x=src");
        assert_eq!(options.port, 1);
        assert_eq!(options.config.grace_ms, 7);
        assert!(!options.config.echo);
        assert_eq!(options.config.greet, Greet::Eager);
        let mount = Mount { prefix: "/src/x".to_owned(), directory: PathBuf::from("src") };
        assert_eq!(options.mounts, [mount]);
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        for (line, message) in [
            ("--prot 1", "unknown option --prot"),
            ("--nonsense", "unknown option --nonsense"),
            ("--port", "--port needs a value"),
            ("--port 70000", "--port wants a port number, not \"70000\""),
            ("--echo yes", "--echo wants on or off, not \"yes\""),
            ("--www nowhere", "--www wants a directory that exists, not \"nowhere\""),
        ] {
            assert_eq!(parsed(line).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_mount_can_neither_climb_nor_shadow_the_gateways_own_paths() {
        for mount in ["/../x=src", "/api=src", "/control/x=src", "x=src", "/=src", "/{a}=src"] {
            assert!(parsed(&format!("--mount {mount}")).is_err(), "{mount}");
        }
    }
}
