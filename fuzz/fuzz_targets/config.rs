//! libFuzzer target: see `outlast_fuzz::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::config(data));
