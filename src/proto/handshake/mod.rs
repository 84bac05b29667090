//! Handshakes: who may talk to whom, on both sides (protocol sections 4, 5 and 10.2).
//!
//! ```text
//!   dialler                                    server
//!   write_stream_request ──GET /raft/stream/..──▶ accept ──▶ Accepted::Stream: attach
//!   judge ◀──200, body stays open─────────────────┘    └──▶ Refused: write, close
//!     └──▶ Established, or DialRefusal with what follows from it
//! ```

mod accept;
mod endpoint;
mod judge;
mod precondition;
mod refusal;
mod request;
mod response;

#[cfg(test)]
pub(in crate::proto) use accept::tests;
pub use accept::{Accepted, Introduction, Membership, Refused, accept};
pub use endpoint::Endpoint;
pub use judge::{DIAL_BODY_BYTES_MAX, DialRefusal, Established, judge, needs_body};
pub use precondition::Precondition;
pub use refusal::Refusal;
pub use request::{
    SnapshotPart, write_pipeline_request, write_probing_request, write_snapshot_partial_request,
    write_snapshot_request, write_stream_request,
};
pub use response::{write_no_content, write_refused, write_snapshot_offset, write_stream_accepted};

use crate::id::{ClusterId, MemberId};
use crate::proto::peer_url::PeerUrls;
use crate::proto::version::Versions;

/// What we say of ourselves, to those who dial us and to those we dial.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// Our member id.
    pub member: MemberId,
    /// Our cluster.
    pub cluster: ClusterId,
    /// Our release, and the oldest that we work with.
    pub versions: Versions,
    /// Our own peer URLs; without them no `X-PeerURLs` is sent, and a member that does not know us
    /// yet cannot answer us.
    pub peer_urls: Option<PeerUrls>,
    /// Whether we offer to echo link heartbeats, and want ours echoed by who offers it.
    pub echoes: bool,
}

impl Identity {
    /// The cluster that an answer names, fit for a log, if it is not ours.
    #[must_use]
    pub fn other_cluster(&self, told: Option<&str>) -> Option<String> {
        let theirs = told.filter(|&theirs| theirs != self.cluster.to_string())?;
        Some(precondition::loggable(theirs.as_bytes()))
    }
}
