//! libFuzzer target: see `outlast_fuzz::zstd`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::zstd(data));
