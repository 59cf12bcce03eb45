//! Frames of any kind, to every protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stage::fuzzed::frames(bytes));
