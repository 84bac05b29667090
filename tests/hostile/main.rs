//! Hostile and broken members against real transports: the process lives, the refusal is clear,
//! other peers notice nothing, memory comes back.
#![cfg(feature = "io")]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod descriptors;
mod dialled;
mod fairness;
mod handshake;
mod host;
mod post;
mod server;
mod sharp_edges;
mod strangers;
mod streams;
