//! libFuzzer target: see `outlast_fuzz::unpacked`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::unpacked(data));
