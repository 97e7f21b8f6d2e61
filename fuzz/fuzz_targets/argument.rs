//! libFuzzer target: see `outlast_fuzz::argument`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::argument(data));
