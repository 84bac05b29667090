//! etcd's peer transport, `rafthttp`, for raft servers on Linux and io_uring.
//!
//! A raft server gives messages to [`Transport::send`](Transport) and is given what arrives through
//! its [`Raft`]; the bytes between the members are those of etcd.
//!
//! ```text
//!   R  send(batch): pick the stream; where its link is free, encode   proto::codec, proto::stream
//!   R  into blocks, close the chunk and send at once                  cores::Claim
//!   R  else push into its bounded lane, and wake the core if need be  cores::Lane, cores::Doorbell
//!   C  take the lane, encode; one write in flight, the next fills     (io)
//!   ================ TCP, HTTP/1.1: the reader has dialled, the writer was served ================
//!   C' read into a block, undo the chunks in place                    proto::http
//!   C' decode every whole frame, drop what cannot be                  proto::codec
//!   C' Raft::process(batch), on the core                              raft::Raft
//! ```
//!
//! R is a thread of the host, C the core that owns the peer, C' the same on the other side.
//!
#![cfg_attr(feature = "io", doc = "```no_run")]
#![cfg_attr(not(feature = "io"), doc = "```ignore")]
//! use std::{error::Error, sync::Arc, time::Duration};
//! use raftring::raftpb::{Message, MessageType};
//! use raftring::{Config, Cores, CoresConfig, Listen, MemberId, Origin, Raft, SnapshotStatus, Transport};
//!
//! struct Host; // your raft server
//!
//! impl Raft for Host {
//!     fn process(&self, from: Origin, messages: &mut Vec<Message>) {
//!         messages.drain(..).for_each(|message| println!("{from:?}: {message:?}")); // step your raft
//!     }
//!     fn is_id_removed(&self, _: MemberId) -> bool { false }
//!     fn report_unreachable(&self, _: MemberId) {}
//!     fn report_snapshot(&self, _: MemberId, _: SnapshotStatus) {}
//! }
//!
//! fn main() -> Result<(), Box<dyn Error>> {
//!     let cores = Cores::start(&CoresConfig::default())?; // once a process, for any number of transports
//!     let mut config = Config::new(1, 0x1000); // member 1 of cluster 1000
//!     config.listen = Listen::Address("10.0.0.1:2380".parse()?);
//!     let transport = Transport::start(config, &cores, Arc::new(Host))?;
//!     transport.add_peer(2, ["http://10.0.0.2:2380"])?;
//!     let kind = Some(MessageType::MsgHeartbeat as i32);
//!     transport.send([Message { r#type: kind, to: Some(2), from: Some(1), ..Message::default() }]);
//!     assert!(transport.stop().wait(Duration::from_secs(5)));
//!     Ok(())
//! }
//! ```
//!
//! What it does and does not do, and with which limits, is in the README; how it works and why so in
//! `ARCHITECTURE.md`.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(test, loom, feature = "io"))]
compile_error!("models have no sockets: build them with `--no-default-features`, as `tests/run.sh` does");

pub mod buf;
#[cfg(feature = "io")]
mod config;
#[cfg(any(feature = "io", all(test, loom)))]
pub mod cores;
#[cfg(feature = "io")]
mod error;
#[cfg(feature = "io")]
mod event;
pub mod id;
#[cfg(feature = "io")]
mod io;
#[cfg(feature = "io")]
pub mod metrics;
#[cfg(all(test, loom))]
mod models;
pub mod proto;
pub mod raft;
#[cfg(feature = "raft-rs")]
pub mod raft_rs;
pub mod raftpb;
#[cfg(feature = "io")]
pub mod routes;
pub mod snapshot;
mod sync;
#[cfg(feature = "io")]
mod transport;

#[cfg(feature = "io")]
pub use config::{Config, Listen, Placement};
#[cfg(feature = "io")]
pub use cores::Spin;
#[cfg(feature = "io")]
pub use error::{ConfigError, PeerError, StartError};
#[cfg(feature = "io")]
pub use event::{
    DialError, Direction, DropReason, Event, NoObserver, Observer, PostError, RejectReason, SnapshotError,
};
pub use id::{ClusterId, MemberId};
#[cfg(feature = "io")]
pub use io::{
    CongestionControl, CoreStats, Cores, CoresConfig, Ending, KERNEL_MIN, LinkStats, PeerStats, RoundTrips,
    Signal, SnapshotHandle, SnapshotProgress,
};
pub use proto::codec::{Dialect, FrameLimits, StreamKind};
pub use proto::fault::{Fault, Injection, InjectionId, Side};
#[cfg(feature = "io")]
pub use proto::probe::{ProbeStats, RoundTripper};
pub use raft::{Origin, Raft, SnapshotStatus, Via};
pub use raftpb::MessageClass;
#[cfg(feature = "prometheus")]
pub use transport::MetricsCollector;
#[cfg(feature = "io")]
pub use transport::{InjectionStats, Sent, Transport, metrics_of};

/// Compiles the README's quick start.
#[cfg(all(doctest, feature = "io"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
