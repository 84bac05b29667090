//! The `msgapp` stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| raftring::proto::codec::fuzzing::msgappv2(bytes));
