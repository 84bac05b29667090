//! etcd's peer transport, `rafthttp`, for raft servers on Linux and io_uring.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod buf;
#[cfg(feature = "io")]
mod config;
#[cfg(feature = "io")]
pub mod cores;
#[cfg(feature = "io")]
mod error;
#[cfg(feature = "io")]
mod event;
pub mod id;
#[cfg(feature = "io")]
mod io;
pub mod proto;
pub mod raft;
pub mod raftpb;
#[cfg(feature = "io")]
mod transport;

#[cfg(feature = "io")]
pub use config::{Config, Listen};
#[cfg(feature = "io")]
pub use error::{ConfigError, PeerError, StartError};
#[cfg(feature = "io")]
pub use event::{DialError, Direction, DropReason, Event, NoObserver, Observer, RejectReason};
pub use id::{ClusterId, MemberId};
#[cfg(feature = "io")]
pub use io::{CoreStats, Cores, CoresConfig, Ending, KERNEL_MIN, Signal};
pub use proto::codec::{Dialect, FrameLimits, StreamKind};
pub use raft::{Origin, Raft, SnapshotStatus, Via};
#[cfg(feature = "io")]
pub use transport::{Sent, Transport};
