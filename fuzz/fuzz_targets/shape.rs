//! libFuzzer target: see `outlast_fuzz::shape`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::shape(data));
