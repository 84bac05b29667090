//! Snapshots between transports, and with ends that are none: each arrives whole or not at all, raft
//! is told once, and nothing is left behind.
#![cfg(feature = "io")]

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod ends;
mod host;
mod limits;
mod receive;
mod resume;
mod send;
