//! libFuzzer target: see `outlast_fuzz::note`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::note(data));
