//! libFuzzer target: see `outlast_fuzz::sftp_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outlast_fuzz::sftp_answer(data));
