//! libFuzzer target: see `outlast_fuzz::lock`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::lock(data));
