//! Whether a peer is active (protocol section 8.4, `peer_status.go`).

use std::fmt;
use std::time::Instant;

use crate::id::MemberId;

use super::stream_kind::StreamKind;

/// The status of one peer, shared by all its mechanisms: the success or failure of any one of them
/// flips the whole.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Status {
    active_since: Option<Instant>,
}

/// A mechanism that succeeds or fails.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Source {
    /// A stream, in either direction.
    Stream(StreamKind),
    /// `POST /raft`.
    Pipeline,
    /// `POST /raft/snapshot`.
    Snapshot,
}

/// What failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Opening a stream to read from.
    Dial,
    /// Reading from a stream.
    Read,
    /// Writing to a stream, or a `POST /raft`.
    Write,
    /// Writing a link heartbeat.
    Heartbeat,
    /// A `POST /raft/snapshot`.
    Post,
}

/// A change of the status; each is counted and logged once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Edge {
    /// It became active: `active_peers` goes up.
    Activate,
    /// It became inactive: `active_peers` goes down, `disconnected_peers_total` up.
    Deactivate {
        /// The mechanism that failed.
        source: Source,
        /// What it was doing.
        action: Action,
        /// Since when it had been active.
        active_since: Instant,
    },
}

impl Status {
    /// Something worked at `now`: a dial, an attach, a POST.
    #[must_use = "an edge is counted and logged"]
    pub const fn activate(&mut self, now: Instant) -> Option<Edge> {
        if self.active_since.is_some() {
            return None;
        }
        self.active_since = Some(now);
        Some(Edge::Activate)
    }

    /// Something failed. Not called for a stream that ended cleanly: the redial that fails is what
    /// counts.
    #[must_use = "an edge is counted and logged"]
    pub const fn deactivate(&mut self, source: Source, action: Action) -> Option<Edge> {
        match self.active_since.take() {
            Some(active_since) => Some(Edge::Deactivate { source, action, active_since }),
            None => None,
        }
    }

    /// Since when it is active, if it is.
    #[must_use]
    pub const fn active_since(&self) -> Option<Instant> {
        self.active_since
    }
}

/// etcd's words for a failure, `failed to dial 1a2b on stream Message (connection refused)`.
#[must_use]
pub fn failure_text(peer: MemberId, source: Source, action: Action, reason: &dyn fmt::Display) -> String {
    format!("failed to {action} {peer} on {source} ({reason})")
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(kind) => kind.fmt(f),
            Self::Pipeline => f.write_str("pipeline"),
            Self::Snapshot => f.write_str("sendMsgSnap"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dial => "dial",
            Self::Read => "read",
            Self::Write => "write",
            Self::Heartbeat => "heartbeat",
            Self::Post => "post",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_peer_starts_inactive_and_only_changes_are_edges() {
        let (mut status, start) = (Status::default(), Instant::now());
        assert_eq!(status.active_since(), None);
        assert_eq!(status.deactivate(Source::Pipeline, Action::Write), None);

        assert_eq!(status.activate(start), Some(Edge::Activate));
        assert_eq!(status.activate(start + Duration::from_secs(1)), None);
        assert_eq!(status.active_since(), Some(start), "the time of the edge");

        let (source, action) = (Source::Stream(StreamKind::Message), Action::Dial);
        let edge = Edge::Deactivate { source, action, active_since: start };
        assert_eq!(status.deactivate(source, action), Some(edge));
        assert_eq!(status.deactivate(source, action), None);
        assert_eq!(status.active_since(), None);
    }

    #[test]
    fn failures_are_told_in_etcds_words() {
        let text = |source, action| failure_text(MemberId(0x1a2b), source, action, &"gone");
        assert_eq!(
            text(Source::Stream(StreamKind::Msgapp), Action::Heartbeat),
            "failed to heartbeat 1a2b on stream MsgApp v2 (gone)"
        );
        assert_eq!(text(Source::Snapshot, Action::Post), "failed to post 1a2b on sendMsgSnap (gone)");
    }
}
