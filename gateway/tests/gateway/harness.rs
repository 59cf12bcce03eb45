//! What every test needs: a gateway process, its control endpoint, and WebSocket clients. No assertions of a
//! test's own are here.

use std::future::Future;
use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const DEADLINE: Duration = Duration::from_secs(20);

/// What happens before the deadline, or a failed test that names it.
pub async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, event).await {
        Ok(result) => result,
        Err(_) => panic!("{what} did not happen within {DEADLINE:?}"),
    }
}

/// A running gateway; killed when dropped.
pub struct Gateway {
    child: Child,
    pub ws: String,
    pub proxy: String,
    pub address: String,
}

impl Gateway {
    /// Starts on free ports, without simulated agents.
    pub async fn start(options: &str) -> Self {
        let arguments = format!("--port 0 --agents off {options}");
        let mut child = Command::new(env!("CARGO_BIN_EXE_moorline-gateway"))
            .args(arguments.split_whitespace())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the gateway starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut line = String::new();
        let mut reader = BufReader::new(stdout);
        soon("the first line", reader.read_line(&mut line)).await.expect("stdout can be read");
        let announced: Value = serde_json::from_str(&line).expect("the first line is JSON");
        let field = |name: &str| announced[name].as_str().expect("a string").to_owned();
        let url = field("url");
        let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Self { child, ws: field("ws"), proxy: field("proxy"), address }
    }

    pub async fn connect(&self) -> Client {
        Client::connect(&self.ws).await.expect("the gateway accepts")
    }

    pub async fn connect_by_proxy(&self) -> Client {
        Client::connect(&self.proxy).await.expect("the proxy accepts")
    }

    /// Connects, and waits for the session; gives its id and token.
    pub async fn newcomer(&self) -> (Client, String, String) {
        let mut client = self.connect().await;
        let (id, token) = client.session().await;
        (client, id, token)
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let reply = self.http("POST", path, "x-moorline-control: 1\r\n", &body.to_string()).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        serde_json::from_str(&reply.body).expect("controls answer in JSON")
    }

    pub async fn get(&self, path: &str) -> Value {
        let reply = self.http("GET", path, "x-moorline-control: 1\r\n", "").await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        serde_json::from_str(&reply.body).expect("controls answer in JSON")
    }

    /// Asks until the answer is as wanted; each question is a round trip.
    pub async fn until(&self, what: &str, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let asking = async {
            loop {
                let answer = self.get(path).await;
                if wanted(&answer) {
                    return answer;
                }
            }
        };
        soon(what, asking).await
    }

    /// One raw HTTP request on a connection of its own.
    pub async fn http(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let host = if headers.contains("host: ") { String::new() } else { format!("host: {}\r\n", self.address) };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{host}{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let exchange = async {
            let mut stream = TcpStream::connect(&self.address).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply).await?;
            Ok::<_, std::io::Error>(reply)
        };
        let reply = soon("an HTTP reply", exchange).await.expect("the gateway speaks HTTP");
        let reply = String::from_utf8_lossy(&reply).into_owned();
        let (head, body) = reply.split_once("\r\n\r\n").expect("a reply has a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Reply { status: status.expect("a status"), head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub async fn signal(&self, name: &str) {
        let id = self.child.id().expect("the gateway runs").to_string();
        // A shell has it built in; a bare machine has no `kill` of its own.
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().await;
        assert!(status.expect("a shell runs").success());
    }

    pub async fn exit_code(&mut self) -> Option<i32> {
        soon("the exit", self.child.wait()).await.expect("the gateway is ours").code()
    }
}

pub struct Reply {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

/// How a connection ended, as a browser would say it.
#[derive(Debug, PartialEq, Eq)]
pub enum Closed {
    Code(u16),
    /// Without a close frame.
    Unclean,
}

pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let (socket, _) = soon("the handshake", tokio_tungstenite::connect_async(url)).await?;
        Ok(Self { socket })
    }

    /// Connects as a page of this origin does.
    pub async fn connect_from(url: &str, origin: Option<&str>) -> Result<Self, Error> {
        let mut request = url.into_client_request()?;
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().expect("a header value"));
        }
        let (socket, _) = soon("the handshake", tokio_tungstenite::connect_async(request)).await?;
        Ok(Self { socket })
    }

    /// Connects with headers of its own.
    pub async fn connect_with(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let mut request = url.into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header's value"));
        }
        let (socket, _) = soon("the handshake", tokio_tungstenite::connect_async(request)).await?;
        Ok(Self { socket })
    }

    pub async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("the socket is open");
    }

    pub async fn resume(&mut self, token: &str) {
        self.send(json!({"type": "session-resume", "token": token})).await;
    }

    /// Hands a message over without caring whether the other side still takes it.
    pub async fn push(&mut self, message: Message) -> Result<(), Error> {
        soon("the hand-over", self.socket.send(message)).await
    }

    /// The next frame of this type; others before it are passed over.
    pub async fn frame(&mut self, kind: &str) -> Value {
        let reading = async {
            loop {
                let frame = self.next().await.unwrap_or_else(|closed| panic!("{closed:?}"));
                if frame["type"] == kind {
                    return frame;
                }
            }
        };
        soon(&format!("a frame of type {kind}"), reading).await
    }

    /// The next frame, whatever it is, or how the connection ended.
    pub async fn next(&mut self) -> Result<Value, Closed> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).unwrap_or(Value::from(text.as_str())));
                }
                Some(Ok(Message::Close(frame))) => {
                    // The answer goes out with the next read, which sees the end.
                    while let Some(Ok(_)) = self.socket.next().await {}
                    return Err(Closed::Code(frame.map_or(1005, |frame| frame.code.into())));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(Closed::Unclean),
            }
        }
    }

    /// The frames up to and without the first of this type.
    pub async fn kinds_before(&mut self, kind: &str) -> Vec<String> {
        let mut kinds = Vec::new();
        loop {
            let frame = soon(kind, self.next()).await.expect("the connection lasts");
            let frame_kind = frame["type"].as_str().unwrap_or_default().to_owned();
            if frame_kind == kind {
                return kinds;
            }
            kinds.push(frame_kind);
        }
    }

    /// Waits for `session-init`; gives the client's id and token.
    pub async fn session(&mut self) -> (String, String) {
        let init = self.frame("session-init").await;
        let field = |name: &str| init[name].as_str().expect("a string").to_owned();
        (field("clientId"), field("token"))
    }

    /// Passes over everything until the end.
    pub async fn closed(&mut self) -> Closed {
        let reading = async {
            loop {
                if let Err(closed) = self.next().await {
                    return closed;
                }
            }
        };
        soon("the end of the connection", reading).await
    }

    /// A close frame, and the answer to it.
    pub async fn leave(mut self) {
        let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.socket.send(Message::Close(Some(frame))).await.expect("the socket is open");
        assert_eq!(self.closed().await, Closed::Code(1000));
    }
}
