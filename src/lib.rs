//! moorline keeps a browser page moored to its real-time gateway.
//!
//! Everything here is pure and runs anywhere, except `web`, the only place that knows a browser. `Client` takes `Input`s
//! with the time and answers with `Output`s; a driver performs them. See ARCHITECTURE.md.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod backoff;
pub mod client;
pub mod config;
pub mod contract;
pub mod error;
#[cfg(any(feature = "delivery", not(target_arch = "wasm32")))]
mod feed;
pub mod heartbeat;
mod journal;
pub mod outbox;
pub mod protocol;
pub mod session;
pub mod time;
#[cfg(target_arch = "wasm32")]
mod web;
pub mod wire;

pub use client::Client;
pub use config::{Config, Options};
pub use contract::{Counters, Input, Output, Signal, Status};
