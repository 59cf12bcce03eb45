//! The gateway as its users meet it: the binary, started anew for each test, over real loopback sockets.
//! Nothing here sleeps: every wait is for an event, and has a deadline. The protocol's finer points are
//! tested on virtual time, beside world.rs.

/// A gateway process, its controls, and clients.
mod harness;

/// Action Cable: what Rails' server does, its races, and how its connections end.
mod action_cable;
/// AnyCable's extension: sessions that are restored, histories, presence.
mod anycable;
/// Bounds: what a client cannot make the gateway do.
mod bounds;
/// Whom the controls obey, and what they do.
mod control;
/// The acknowledgement extension, rule by rule, with a client of a few lines.
mod delivery;
/// The fault proxy: each fault, seen from the client.
mod faults;
/// Static files and their headers.
mod files;
/// Hermes: the envelope, both session ids, turns, questions, and three versions.
mod hermes;
/// Starting, stopping, being killed, and what is remembered.
mod lifecycle;
/// The yoi backend: commands by HTTP, and what is observed behind a cursor.
mod observation;
/// OpenClaw: connecting with a real key, runs, and every trap.
mod openclaw;
/// A few conversations from end to end.
mod sessions;
