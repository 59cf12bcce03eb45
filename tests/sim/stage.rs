//! The stage without its stories, as the library that the fuzz targets of tests/fuzz stand on: the same files, so that what a
//! fuzzer finds is a run of the model.
#![allow(dead_code, reason = "the stories use the rest")]

pub mod dialect;
pub mod fuzzed;
pub mod gateway;
pub mod invariants;
pub mod line;
pub mod model;
pub mod world;
