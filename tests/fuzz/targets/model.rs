//! Runs of the reference model, as the quick suite has them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stage::model::run(bytes));
