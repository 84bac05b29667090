//! Raft messages as etcd puts them on the wire (protocol section 7): prost types, generated once
//! from `raftpb/raft.proto` and committed, with bytes as [`bytes::Bytes`] and presence kept, so
//! that every dialect of etcd can be produced byte for byte.

mod class;
mod fan_out;
#[allow(missing_docs, clippy::doc_markdown, clippy::use_self, reason = "generated")]
#[rustfmt::skip]
mod generated;
mod message;

pub use class::{ClassCounts, MessageClass};
pub use fan_out::fan_out;
pub use generated::*;
