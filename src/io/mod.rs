//! THE WIRE. All monoio code: short loops that feed and drain the machines of `proto`.
//!
//! Eight rules hold here, because of what monoio 0.2 does otherwise:
//!
//! - **N1** never drop a submitted operation. **N2** never `select!` or `timeout` around one.
//! - **N3** to stop I/O: shut the socket down and await the operation's own completion ([`conn`]).
//! - **N4** no monoio waker, handle or buffer leaves its core. **N5** every spawn is unwind-guarded.
//! - **N6** no task wakes itself; only a core's own fair pair may spin ([`spin`]), and each turn it
//!   looks at the mailbox and at its own deadlines. **N7** none of monoio's helper types.
//! - **N8** every wait has a second reason to end.

mod accept;
mod answer;
mod congestion;
mod conn;
mod connect;
pub(crate) mod core;
mod cores;
mod deliver;
mod dial;
mod drops;
mod echo;
mod endpoint;
mod families;
pub(crate) mod faults;
mod guard;
mod handover;
mod input;
mod insight;
pub(crate) mod letter;
pub(crate) mod link;
mod listener;
mod operation;
mod peer;
mod pipeline;
mod probe;
mod reader;
mod receipt;
pub(crate) mod remote;
mod rent;
mod requests;
mod resolve;
mod ring;
mod round_trips;
mod routes;
mod serve;
pub(crate) mod shared;
mod signal;
pub(crate) mod snapshot;
mod spin;
mod sys;
mod timers;
mod waits;
mod wakes;
mod writer;

pub(crate) use self::core::Core;
pub use congestion::CongestionControl;
pub use cores::{Cores, CoresConfig};
pub(crate) use endpoint::Endpoint;
pub(crate) use families::core_families;
pub use guard::Ending;
pub(crate) use guard::Posted;
pub use insight::{CoreStats, LinkStats, PeerStats};
pub(crate) use listener::Listener;
pub(crate) use peer::Peer;
pub use ring::KERNEL_MIN;
pub use round_trips::RoundTrips;
pub(crate) use serve::wall_time;
pub use signal::Signal;
pub use snapshot::{SnapshotHandle, SnapshotProgress};
