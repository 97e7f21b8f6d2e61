//! libFuzzer target: see `outlast_fuzz::planted`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::planted(data));
