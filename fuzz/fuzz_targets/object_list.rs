//! libFuzzer target: see `outlast_fuzz::object_list`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::object_list(data));
