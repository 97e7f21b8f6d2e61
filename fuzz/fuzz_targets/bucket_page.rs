//! libFuzzer target: see `outlast_fuzz::bucket_page`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::bucket_page(data));
