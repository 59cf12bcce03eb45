//! The stage of tests/sim, for the fuzz targets: the same files, so that what a fuzzer finds is a run of the model.
#![allow(dead_code, reason = "the stories of tests/sim use the rest")]

#[path = "../sim/dialect.rs"]
pub mod dialect;
#[path = "../sim/fuzzed.rs"]
pub mod fuzzed;
#[path = "../sim/gateway.rs"]
pub mod gateway;
#[path = "../sim/invariants.rs"]
pub mod invariants;
#[path = "../sim/line.rs"]
pub mod line;
#[path = "../sim/model.rs"]
pub mod model;
#[path = "../sim/world.rs"]
pub mod world;
