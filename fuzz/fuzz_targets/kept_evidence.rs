//! libFuzzer target: see `outlast_fuzz::kept_evidence`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::kept_evidence(data));
