//! The gateway as its users meet it: the binary, started anew for each test, over real loopback sockets.
//! Nothing here sleeps: every wait is for an event, and has a deadline. The protocol's finer points are
//! tested on virtual time, beside world.rs.

/// A gateway process, its controls, and clients.
mod harness;

/// Bounds: what a client cannot make the gateway do.
mod bounds;
/// Whom the controls obey, and what they do.
mod control;
/// The fault proxy: each fault, seen from the client.
mod faults;
/// Static files and their headers.
mod files;
/// Starting, stopping, being killed, and what is remembered.
mod lifecycle;
/// A few conversations from end to end.
mod sessions;
