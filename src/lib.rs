//! etcd's peer transport, `rafthttp`, for raft servers on Linux and io_uring.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod buf;
pub mod id;
pub mod proto;
pub mod raft;
pub mod raftpb;

#[cfg(feature = "io")]
pub mod cores;

pub use id::{ClusterId, MemberId};
