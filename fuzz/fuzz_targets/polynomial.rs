//! libFuzzer target: see `outlast_fuzz::polynomial`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::polynomial(data));
