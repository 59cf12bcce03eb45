//! Whatever may lie in a storage.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stage::fuzzed::snapshot(bytes));
