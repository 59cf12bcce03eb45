//! What goes into a client and what comes out of it. Types only: what they lead to is client.rs, who performs them web/driver.rs.

use crate::error::Fault;
use crate::outbox::{Delivery, Settled};
use crate::protocol::{Act, Event};
use crate::session::{Snapshot, Stored};
use crate::time::Instant;
use crate::wire::{CloseCode, FrameId, Route, SocketId, View};
use alloc::string::String;

/// Everything that can happen. Any input is legal at any time.
pub enum Input<'a> {
    Connect,
    Disconnect {
        code: CloseCode,
        reason: String,
    },
    Send {
        bytes: u32,
        delivery: Delivery,
        ttl_ms: Option<f64>,
    },
    /// The page has kept messages from an earlier visit: what follows before anything else is one `Kept` for each, with
    /// `Skipped` for the ids between. The numbers go on in the stream of that name.
    Adopt {
        stream: String,
        base: u32,
        tried: u32,
    },
    Kept {
        bytes: u32,
        ttl_ms: Option<f64>,
        /// For `Delivery::Latest`.
        key: Option<String>,
    },
    Skipped {
        count: u32,
    },
    /// Another connection, in place of the one there is: before it closes, where that can be.
    Renew,
    /// What waits is not to be sent.
    Clear,
    /// What only the protocol understands.
    #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
    Command(crate::protocol::Command),
    /// The page has done what `Act::Ask` asked; no text where it could not.
    #[cfg(any(feature = "handles", not(target_arch = "wasm32")))]
    Answered {
        ticket: u32,
        texts: [Option<String>; 3],
    },
    /// The page's own word on the session; `None` forgets it.
    Session(Option<Snapshot>),
    /// The line is to end for good: what waits is rejected.
    Dispose,
    /// The storage has answered.
    Restored(Result<Option<Stored>, Fault>),
    /// The url provider has answered: with a token or without, or it failed.
    Resolved {
        ticket: u32,
        answer: Result<Option<String>, ()>,
    },
    /// `subprotocol` is the one that the server chose; empty where it chose none.
    Opened {
        socket: SocketId,
        subprotocol: String,
    },
    Received {
        socket: SocketId,
        route: Route,
        frame: FrameId,
        view: &'a dyn View,
    },
    /// Something came that is no frame.
    Garbled {
        socket: SocketId,
        fault: Fault,
    },
    /// A socket took `count` of the messages that were offered, and holds so many bytes unsent.
    HandedOver {
        socket: SocketId,
        count: u32,
        buffered: f64,
    },
    /// So many bytes are still held by the socket.
    Buffered {
        socket: SocketId,
        buffered: f64,
    },
    Closed {
        socket: SocketId,
        code: CloseCode,
        reason: String,
        clean: bool,
        buffered: f64,
    },
    /// The storage refused a write.
    StorageDenied,
    Signal(Signal),
    Timeout,
}

/// What the surroundings say. None of it is a verdict on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Online,
    Offline,
    /// Somebody sees the page, or turns to it.
    Visible,
    Hidden,
    /// The page came back out of the back/forward cache: its socket did not survive.
    Restored,
    /// It is not frozen any more.
    Resumed,
    /// The clocks disagree: the machine slept.
    Woke,
    /// The page is being frozen or put into that cache.
    PutAway,
}

/// Everything we want done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Read the storage.
    Restore,
    /// Ask the url provider.
    Resolve {
        ticket: u32,
    },
    /// Dial the URL that was resolved; `address` is a path, a query or both, to be put into it. `beside`: the socket that
    /// there is goes on meanwhile.
    Open {
        socket: SocketId,
        address: String,
        beside: bool,
    },
    /// A control frame.
    Transmit {
        socket: SocketId,
        text: String,
    },
    /// Hand over queued messages until `count` are taken, one is refused, or the browser holds `limit` bytes.
    HandOver {
        socket: SocketId,
        from: u32,
        count: u32,
        limit: f64,
    },
    /// What the socket says after that counts if it is `awaited`; else it is given up, whatever the browser thinks of it.
    Close {
        socket: SocketId,
        code: CloseCode,
        reason: String,
        awaited: bool,
    },
    /// Save the session, or remove it.
    Persist(Option<Snapshot>),
    /// Whether messages carry their numbers from now on, and the server acknowledges them.
    #[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
    Numbered(bool),
    Settle(Settled),
    /// Ids before this one are settled for good.
    Release {
        before: u32,
    },
    Event(Event),
    Act(Act),
    /// Nothing more to do until then.
    Timeout(Option<Instant>),
}

/// What the page sees of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Idle,
    Connecting,
    Connected,
    Reconnecting,
    Closed,
}

/// Counters for `stats()`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    pub sockets: u32,
    pub connections: u32,
    pub received: f64,
    /// How often the server sent what it should not.
    pub misbehaved: f64,
    /// How often the server repeated a frame that had come.
    pub repeated: f64,
    pub rtt_ms: Option<f64>,
}
