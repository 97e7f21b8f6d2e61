//! libFuzzer target: see `outlast_fuzz::snapshot`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::snapshot(data));
