//! libFuzzer target: see `outlast_fuzz::tile`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::tile(data));
