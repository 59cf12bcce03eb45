//! One client's WebSocket: frames in, the outlet out, and every way in which it can end.
//! What a frame means is world.rs.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
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

/// Serves one socket until it is gone.
pub async fn serve(socket: WebSocket, hub: Arc<Hub>) {
    let Some((id, outlet)) = hub.join() else {
        return;
    };
    // Parts even when this task is dropped midway.
    let membership = Membership { hub, id };
    let (mut sink, mut stream) = socket.split();
    let ending = tokio::select! {
        biased;
        end = last_call(&outlet) => Ending::Told(end),
        ended = read(&mut stream, &membership) => Ending::Seen(ended),
        () = write(&mut sink, &outlet) => Ending::Seen(Ended::Gone),
    };
    match ending {
        Ending::Told(End::Abort) | Ending::Seen(Ended::Gone) => {}
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

struct Membership {
    hub: Arc<Hub>,
    id: ConnectionId,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.hub.part(self.id);
    }
}

async fn read(stream: &mut SplitStream<WebSocket>, membership: &Membership) -> Ended {
    let Membership { hub, id } = membership;
    loop {
        match stream.next().await {
            Some(Ok(Message::Text(text))) => {
                hub.step(|world, now| world.received(now, *id, &text));
            }
            Some(Ok(Message::Binary(bytes))) => {
                hub.step(|world, now| world.received_binary(now, *id, &bytes));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_))) => return Ended::Closed,
            Some(Err(error)) => return fault(error),
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
                Some(End::Overrun(_) | End::Abort) | None => sink.flush().await,
            }
        };
        if written.await.is_err() {
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
        End::Close(_) => {
            let _ = timeout(CLOSE_WAIT, outlet.aborted()).await;
            End::Abort
        }
        end @ (End::Overrun(_) | End::Abort) => end,
    }
}

fn fault(error: axum::Error) -> Ended {
    let (code, reason) = match error.into_inner().downcast_ref::<Fault>() {
        Some(Fault::Capacity(_)) => (1009, "the frame is larger than 64 KiB"),
        Some(Fault::Utf8(_)) => (1007, "the text is not UTF-8"),
        Some(Fault::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
            return Ended::Gone;
        }
        Some(Fault::Protocol(_)) => (1002, "the frame breaks the WebSocket protocol"),
        _ => return Ended::Gone,
    };
    Ended::Refused(CloseFrame { code, reason: reason.into() })
}
