//! WHAT IS COUNTED. etcd's `etcd_network_*` metrics (protocol section 15) and the numbers behind
//! them; counted where things happen, read by whoever asks, on any thread.
//!
//! ```text
//!   a core, a sender: one relaxed add a flush, read or batch --> PeerMetrics <-- a scrape reads
//!   who is it about?  found once, when a peer is started     --> Metrics::of
//! ```
//!
//! Nothing here locks, waits or allocates where messages move.

mod drops;
mod family;
mod flush;
mod follower;
mod histogram;
mod latency;
mod network;
mod number;
mod peer;
mod registry;
mod sample;
mod server;
mod stage;

pub use drops::{ByReason, Dropped, Rejected};
pub use family::{Families, Family, Kind, Sample, TEXT_CONTENT_TYPE, Value};
pub use flush::{FLUSH_MESSAGES, Flushes};
pub use follower::Follower;
pub use histogram::{Histogram, ROUND_TRIP_SECONDS, SNAPSHOT_SECONDS};
pub use latency::{Latencies, Latency};
pub use number::{Counter, Gauge};
pub use peer::PeerMetrics;
pub use registry::{FOREIGN_IDS_MAX, MEMBERS_MAX, Metrics};
pub use sample::Sampler;
pub use server::{AppendMeter, Server};
pub use stage::{Stage, Stages};
