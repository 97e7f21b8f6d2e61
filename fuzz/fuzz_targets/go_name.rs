//! libFuzzer target: see `outlast_fuzz::go_name`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::go_name(data));
