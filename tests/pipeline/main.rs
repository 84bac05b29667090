//! `POST /raft`, sending, over real sockets to a member that answers as it is told. Protocol section 10.
#![cfg(feature = "io")]
#![allow(missing_docs, reason = "a test")]

mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod connections;
mod outcomes;
mod scene;
mod stop;
