//! Probing: is the member there, how far is it, what does its clock say (protocol section 12).
//!
//! ```text
//!   Prober::begin ──GET /raft/probing──▶ write_probe_answer {"OK":true,"Now":"..."}
//!   Prober::handle_success, handle_failure ◀──┘
//!   Prober::look: every 30 s, or 5 s while the member is unhealthy, what is worth a warning
//! ```
//!
//! It tells and decides nothing: whether a peer is active never depends on it.

mod answer;
mod prober;

pub use answer::{ANSWER_BYTES_MAX, BadAnswer, parse_probe_answer, write_probe_answer};
pub use prober::{CLOCK_DIFFERENCE_MAX, HealthEdge, Look, PROBE_INTERVAL, ProbeStats, Prober, Warning};

use std::fmt;

/// A moment of a wall clock: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct WallTime {
    /// Negative before 1970.
    pub unix_ns: i128,
}

/// The two probers of a peer, named after the HTTP clients of rafthttp that they try.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RoundTripper {
    /// As snapshots and posts travel: over one connection that is kept.
    Snapshot,
    /// As streams are dialled: over a fresh connection each time.
    RaftMessage,
}

impl RoundTripper {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Snapshot, Self::RaftMessage];

    /// Its place in [`RoundTripper::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Snapshot => 0,
            Self::RaftMessage => 1,
        }
    }
}

/// etcd's name for it.
impl fmt::Display for RoundTripper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Snapshot => "ROUND_TRIPPER_SNAPSHOT",
            Self::RaftMessage => "ROUND_TRIPPER_RAFT_MESSAGE",
        })
    }
}
