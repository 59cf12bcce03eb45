//! What can go wrong, sorted by who has to act: the caller, the server, the network. Every variant has one code.
//!
//! No text for people beyond a sentence, and no decision: whether to retry is the client's and `wire`'s business.

/// Why a socket, an attempt or the whole line ended. Its name is the `cause` of the lifecycle events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Ten (or as many as allowed) attempts failed in a row.
    AttemptsExhausted,
    /// The page said so.
    Closed,
    /// The server's close code forbids another attempt (or `closePolicy` says so).
    CloseCode,
    /// The protocol was not ready in time, whether or not the socket opened.
    HandshakeTimeout,
    /// Silence, or a probe without an answer.
    Heartbeat,
    /// The browser put the page away and took the socket with it.
    Lifecycle,
    /// The browser says that there is no network.
    Offline,
    /// The server has to be told first that this device may come in.
    PairingRequired,
    /// The server and we have no version of the protocol in common.
    ProtocolUnsupported,
    /// The server has said why not, and that it would say so again.
    Refused,
    /// The server has no room for us now (1013, 4408, 4429).
    Overloaded,
    /// The server said that it restarts (1012) or goes away (1001).
    ServerRestart,
    /// The socket failed or was cut.
    Transport,
    /// The server does not accept who we are (4401, 4403).
    Unauthorized,
    /// The page's url provider failed.
    UrlProvider,
}

impl Cause {
    pub const fn name(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts-exhausted",
            Self::Closed => "closed",
            Self::CloseCode => "close-code",
            Self::HandshakeTimeout => "handshake-timeout",
            Self::Heartbeat => "heartbeat",
            Self::Lifecycle => "lifecycle",
            Self::Offline => "offline",
            Self::PairingRequired => "pairing-required",
            Self::ProtocolUnsupported => "protocol-unsupported",
            Self::Refused => "refused",
            Self::Overloaded => "overloaded",
            Self::ServerRestart => "server-restart",
            Self::Transport => "transport",
            Self::Unauthorized => "unauthorized",
            Self::UrlProvider => "url-provider",
        }
    }
}

/// The caller's mistake: thrown at the caller's line, nothing changed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// `config.invalid`: an option outside what it may be.
    Config { option: &'static str, why: &'static str },
    /// `close.code`: a page may send 1000 or 3000 to 4999.
    CloseCode { code: u16 },
    /// `close.reason`: at most 123 bytes of UTF-8 (RFC 6455, section 5.5).
    CloseReason,
    /// `send.too-large`: one message above `queue.maxBytes`.
    TooLarge,
    /// `send.queue-full`: the queue is at its bound and `overflow` is `"reject"`.
    QueueFull,
}

impl ApiMisuse {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Config { .. } => "config.invalid",
            Self::CloseCode { .. } => "close.code",
            Self::CloseReason => "close.reason",
            Self::TooLarge => "send.too-large",
            Self::QueueFull => "send.queue-full",
        }
    }
}

/// Why a call, a run, a subscription or an observation ends before it has begun. Told to its handle alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The protocol has no such thing.
    Unsupported,
    /// As many as may wait do.
    QueueFull,
    /// Longer than the server takes, or than the queue ever has room for.
    TooLarge,
    /// The subscription that it was for has ended.
    SubscriptionEnded,
    /// The server has neither confirmed nor rejected the subscription.
    Unconfirmed,
    /// The line observes something else.
    Busy,
}

impl Rejection {
    pub const ALL: [Self; 6] =
        [Self::Unsupported, Self::QueueFull, Self::TooLarge, Self::SubscriptionEnded, Self::Unconfirmed, Self::Busy];

    pub const fn code(self) -> &'static str {
        match self {
            Self::Unsupported => "call.unsupported",
            Self::QueueFull => "call.queue-full",
            Self::TooLarge => "call.too-large",
            Self::SubscriptionEnded => "subscription.ended",
            Self::Unconfirmed => "subscription.unconfirmed",
            Self::Busy => "observe.busy",
        }
    }
}

/// What is told by `ws-error`: the line goes on, but somebody should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The server sent a binary message where the protocol has text.
    Binary,
    /// The server sent something above `maxFrameBytes`.
    FrameTooLarge,
    /// The server sent text that is not JSON.
    NotJson,
    /// A frame of a known type lacks what the type needs.
    Malformed,
    /// The server acknowledges what it was never sent.
    AckAhead,
    /// The server acknowledges less than it did before.
    AckBehind,
    /// The storage refused to be read or written.
    StorageDenied,
    /// What lies under our key is not a session.
    StorageCorrupt,
    /// The page's url provider threw, rejected or returned nonsense.
    UrlProvider,
    /// Messages whose time to live ended.
    Expired,
    /// Messages that made room for others.
    Evicted,
    /// Messages that came when there was no room.
    Rejected,
    /// Messages that were handed to a socket which then died: they may have arrived or not.
    Unknown,
}

impl Fault {
    pub const ALL: [Self; 13] = [
        Self::Binary,
        Self::FrameTooLarge,
        Self::NotJson,
        Self::Malformed,
        Self::AckAhead,
        Self::AckBehind,
        Self::StorageDenied,
        Self::StorageCorrupt,
        Self::UrlProvider,
        Self::Expired,
        Self::Evicted,
        Self::Rejected,
        Self::Unknown,
    ];

    pub const fn code(self) -> &'static str {
        match self {
            Self::Binary => "frame.binary",
            Self::FrameTooLarge => "frame.too-large",
            Self::NotJson => "frame.not-json",
            Self::Malformed => "frame.malformed",
            Self::AckAhead => "peer.ack-ahead",
            Self::AckBehind => "peer.ack-behind",
            Self::StorageDenied => "storage.denied",
            Self::StorageCorrupt => "storage.corrupt",
            Self::UrlProvider => "url.provider",
            Self::Expired => "send.expired",
            Self::Evicted => "send.evicted",
            Self::Rejected => "send.rejected",
            Self::Unknown => "send.unknown",
        }
    }

    /// Whether the server is at fault.
    pub const fn is_the_peers(self) -> bool {
        matches!(
            self,
            Self::Binary | Self::FrameTooLarge | Self::NotJson | Self::Malformed | Self::AckAhead | Self::AckBehind
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_code_of_its_own() {
        let mut codes: Vec<_> = Fault::ALL.iter().map(|fault| fault.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Fault::ALL.len());
    }
}
