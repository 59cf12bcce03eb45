//! The core under a virtual clock: one binary, no sleep, no network, no browser.
#![cfg(not(target_arch = "wasm32"))]

/// What the JavaScript halves of the protocols read from a frame.
mod dialect;
/// The server's end: a Nexus gateway that can be told to misbehave.
mod gateway;
/// What must hold after every step, whatever happens.
mod invariants;
/// The real client inside the least of a driver.
mod line;
/// A simulated link, a browser's end of it, and a virtual clock for both.
mod world;

/// Action Cable beyond its page.
mod action_cable;
/// What a fuzzer feeds to the core, and its corpus.
mod fuzzed;
/// Crowds that lose their server at once.
mod herd;
/// Hermes beyond its page.
mod hermes;
/// JSON-RPC beyond its page.
mod json_rpc;
/// Silence, probes, late timers, full buffers.
mod liveness;
/// What becomes of messages.
mod messages;
/// Runs decoded from bytes, many seeds: the reference model.
mod model;
/// OpenClaw beyond its page.
mod openclaw;
/// OpenClaw gateways that answer what they like, many seeds.
mod openclaw_storm;
/// When and whether the line tries again.
mod reconnecting;
/// Connecting, resuming, the crossing, tokens that are refused.
mod sessions;
/// Two peers, many seeds, random faults.
mod storm;

/// Defaults and names that the TypeScript side repeats, as files.
mod golden;
/// The laws of src/protocol/mod.rs, over every protocol and a fake one.
mod laws;
/// Reads and checks the notation of the protocol pages.
mod notation;
/// Runs every transcript of the protocol pages.
mod transcripts;
