//! The `message` stream and the messages in it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| raftring::proto::codec::fuzzing::message(bytes));
