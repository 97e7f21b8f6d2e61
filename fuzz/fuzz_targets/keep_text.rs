//! libFuzzer target: see `outlast_fuzz::keep_text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::keep_text(data));
