//! libFuzzer target: see `outlast_fuzz::index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::index(data));
