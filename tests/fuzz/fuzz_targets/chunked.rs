//! See `raftring::proto::http::fuzzing::chunked`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| raftring::proto::http::fuzzing::chunked(data));
