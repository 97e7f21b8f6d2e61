//! libFuzzer target: see `outlast_fuzz::pack_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::pack_header(data));
