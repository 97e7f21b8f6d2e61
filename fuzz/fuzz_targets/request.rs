//! libFuzzer target: see `outlast_fuzz::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::request(data));
