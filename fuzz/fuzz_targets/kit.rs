//! libFuzzer target: see `outlast_fuzz::kit`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::kit(data));
