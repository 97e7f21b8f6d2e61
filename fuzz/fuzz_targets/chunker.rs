//! libFuzzer target: see `outlast_fuzz::chunker`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::chunker(data));
