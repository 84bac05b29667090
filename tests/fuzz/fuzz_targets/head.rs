//! See `raftring::proto::http::fuzzing::head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| raftring::proto::http::fuzzing::head(data));
