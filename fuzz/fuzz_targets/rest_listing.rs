//! libFuzzer target: see `outlast_fuzz::rest_listing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::rest_listing(data));
