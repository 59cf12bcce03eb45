//! One client's WebSocket: frames in, the outlet out, and every way in which it can end.
//! What a frame means is the member's, for whom it is served: world.rs, or another protocol's module.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tungstenite::Error as Fault;

use crate::hub::Hub;
use crate::outlet::{End, Outlet};
use crate::world::ConnectionId;

pub const MAX_CLIENT_FRAME: usize = 64 * 1024;

/// How long a client may take to answer a close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// How long a close frame may wait behind what a slow client does not read.
const OVERRUN_WAIT: Duration = Duration::from_secs(2);

/// Who hears what comes in on a socket.
pub trait Member {
    fn text(&mut self, text: &Utf8Bytes);

    fn binary(&mut self, bytes: &Bytes);

    /// The close frame for a client that broke a rule; none when the connection is simply lost.
    fn farewell(&self, fault: &Fault) -> Option<CloseFrame>;

    /// Whether a client's close frame is answered, as WebSocket wants it.
    fn answers_close(&self) -> bool {
        true
    }
}

/// Serves one socket of the world until it is gone.
pub async fn serve(socket: WebSocket, hub: Arc<Hub>) {
    let Some((id, outlet)) = hub.join() else {
        return;
    };
    // Parts even when this task is dropped midway.
    converse(socket, &outlet, Resident { hub, id }).await;
}

/// Lets a member and its socket talk until the socket is gone.
pub async fn converse(socket: WebSocket, outlet: &Outlet, mut member: impl Member) {
    let (mut sink, mut stream) = socket.split();
    let ending = tokio::select! {
        biased;
        end = last_call(outlet) => Ending::Told(end),
        ended = read(&mut stream, &mut member) => Ending::Seen(ended),
        () = write(&mut sink, outlet) => Ending::Seen(Ended::Gone),
    };
    match ending {
        Ending::Told(End::Abort | End::HangUp) | Ending::Seen(Ended::Gone) => {}
        Ending::Seen(Ended::Closed) if !member.answers_close() => {}
        Ending::Told(End::Close(frame) | End::Overrun(frame)) => {
            let _ = timeout(OVERRUN_WAIT, sink.send(Message::Close(Some(frame)))).await;
        }
        Ending::Seen(Ended::Closed) => {
            // Flushes the answer to the client's close frame.
            let _ = timeout(CLOSE_WAIT, sink.close()).await;
        }
        Ending::Seen(Ended::Refused(frame)) => {
            let _ = timeout(CLOSE_WAIT, sink.send(Message::Close(Some(frame)))).await;
        }
    }
}

enum Ending {
    Told(End),
    Seen(Ended),
}

enum Ended {
    /// By the client's close frame, or its answer to ours.
    Closed,
    /// Without a word.
    Gone,
    /// By a frame that breaks a rule of WebSocket, or of ours.
    Refused(CloseFrame),
}

/// A connection in the world.
struct Resident {
    hub: Arc<Hub>,
    id: ConnectionId,
}

impl Member for Resident {
    fn text(&mut self, text: &Utf8Bytes) {
        self.hub.step(|world, now| world.received(now, self.id, text));
    }

    fn binary(&mut self, bytes: &Bytes) {
        self.hub.step(|world, now| world.received_binary(now, self.id, bytes));
    }

    fn farewell(&self, fault: &Fault) -> Option<CloseFrame> {
        let (code, reason) = match fault {
            Fault::Capacity(_) => (1009, "the frame is larger than 64 KiB"),
            Fault::Utf8(_) => (1007, "the text is not UTF-8"),
            Fault::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => return None,
            Fault::Protocol(_) => (1002, "the frame breaks the WebSocket protocol"),
            _ => return None,
        };
        Some(CloseFrame { code, reason: reason.into() })
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.hub.part(self.id);
    }
}

async fn read(stream: &mut SplitStream<WebSocket>, member: &mut impl Member) -> Ended {
    loop {
        match stream.next().await {
            Some(Ok(Message::Text(text))) => member.text(&text),
            Some(Ok(Message::Binary(bytes))) => member.binary(&bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_))) => return Ended::Closed,
            Some(Err(error)) => {
                let error = error.into_inner();
                let farewell = error.downcast_ref::<Fault>().and_then(|fault| member.farewell(fault));
                return farewell.map_or(Ended::Gone, Ended::Refused);
            }
            None => return Ended::Gone,
        }
    }
}

/// Writes what waits. Returns when the socket fails; after a close frame the reader has the last word.
async fn write(sink: &mut SplitSink<WebSocket, Message>, outlet: &Outlet) {
    loop {
        let (messages, end) = outlet.next().await;
        let written = async {
            for message in messages {
                sink.feed(message).await?;
            }
            match &end {
                Some(End::Close(frame)) => sink.send(Message::Close(Some(frame.clone()))).await,
                Some(End::Overrun(_) | End::Abort | End::HangUp) | None => sink.flush().await,
            }
        };
        if written.await.is_err() || matches!(end, Some(End::HangUp)) {
            return;
        }
        if end.is_some() {
            return pending().await;
        }
    }
}

/// Waits for the moment at which reading and writing are over, whatever they wait for.
async fn last_call(outlet: &Outlet) -> End {
    match outlet.ended().await {
        End::Close(_) | End::HangUp => {
            let _ = timeout(CLOSE_WAIT, outlet.aborted()).await;
            End::Abort
        }
        end @ (End::Overrun(_) | End::Abort) => end,
    }
}
