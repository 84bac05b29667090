//! Everything that happens, as data: logging and metrics hang on one observer.

use std::fmt;
use std::net::SocketAddr;

use crate::cores::Refused;
use crate::id::MemberId;
use crate::proto::codec::{Implausible, StreamKind};
use crate::proto::handshake::{DialRefusal, Refusal};
use crate::proto::pipeline::PostRefusal;
use crate::proto::probe::{RoundTripper, Warning};
use crate::proto::snapshot::{NoSlot, SizeMismatch};
use crate::proto::stream::ReadError;
use crate::raftpb::MessageClass;

/// Which way the bytes of a stream flow, seen from here.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    /// We dialled it, messages arrive.
    Reader,
    /// The peer dialled it, messages leave.
    Writer,
}

/// Why messages were not sent.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DropReason {
    /// The lane was full, or all lanes of the process together.
    LaneFull(Refused),
    /// It was posted for want of a stream, or because it is a MsgSnap, and nobody said that he took it.
    PostFailed,
    /// They were queued or being written when the stream was lost.
    StreamLost,
    /// The peer is cut off on purpose.
    Paused,
    /// Larger than a frame may be: every receiver would close the stream over it.
    TooLarge,
    /// `to` is neither a peer nor a remote.
    UnknownPeer,
    /// The transport or the peer was stopped.
    Stopped,
    /// Where there was no room, a heartbeat that waited took over what this one said: nothing is lost,
    /// and raft is told nothing.
    Superseded,
    /// Lost by a fault that the host injected, or held back by one when the peer was stopped or moved.
    /// Raft is told nothing, as of a message that a network loses.
    Injected,
}

impl DropReason {
    /// All reasons.
    pub const ALL: [Self; 11] = [
        Self::LaneFull(Refused::Messages),
        Self::LaneFull(Refused::Bytes),
        Self::LaneFull(Refused::Process),
        Self::PostFailed,
        Self::StreamLost,
        Self::Paused,
        Self::TooLarge,
        Self::UnknownPeer,
        Self::Stopped,
        Self::Superseded,
        Self::Injected,
    ];

    /// True if raft is told that the peer is unreachable: not of what the host holds back on purpose,
    /// nor of what is superfluous.
    pub(crate) const fn is_loss(self) -> bool {
        !matches!(self, Self::Paused | Self::Superseded | Self::Injected)
    }

    /// Its place in [`DropReason::ALL`].
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::LaneFull(Refused::Messages) => 0,
            Self::LaneFull(Refused::Bytes) => 1,
            Self::LaneFull(Refused::Process) => 2,
            Self::PostFailed => 3,
            Self::StreamLost => 4,
            Self::Paused => 5,
            Self::TooLarge => 6,
            Self::UnknownPeer => 7,
            Self::Stopped => 8,
            Self::Superseded => 9,
            Self::Injected => 10,
        }
    }

    /// One word, for labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LaneFull(Refused::Messages) => "lane_messages",
            Self::LaneFull(Refused::Bytes) => "lane_bytes",
            Self::LaneFull(Refused::Process) => "process_bytes",
            Self::PostFailed => "post_failed",
            Self::StreamLost => "stream_lost",
            Self::Paused => "paused",
            Self::TooLarge => "too_large",
            Self::UnknownPeer => "unknown_peer",
            Self::Stopped => "stopped",
            Self::Superseded => "superseded",
            Self::Injected => "injected",
        }
    }
}

/// Why a received message was not handed to the host.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RejectReason {
    /// Its `to`, `from` or entries are not what this stream can carry, or it lacks what it is for.
    Implausible(Implausible),
    /// The host left it, or what came before it, in `Raft::process`, and no more may wait.
    HostFull,
    /// The peer is cut off on purpose.
    Paused,
    /// The host had left it in `Raft::process` when the peer was removed or moved, or the transport
    /// stopped.
    Stopped,
    /// Lost by a fault that the host injected, or held back by one when the peer was stopped or moved.
    Injected,
}

impl RejectReason {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::Implausible(Implausible::To),
        Self::Implausible(Implausible::From),
        Self::Implausible(Implausible::Entries),
        Self::HostFull,
        Self::Paused,
        Self::Stopped,
        Self::Injected,
        Self::Implausible(Implausible::Lacking),
    ];

    /// Its place in [`RejectReason::ALL`].
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Implausible(Implausible::To) => 0,
            Self::Implausible(Implausible::From) => 1,
            Self::Implausible(Implausible::Entries) => 2,
            Self::HostFull => 3,
            Self::Paused => 4,
            Self::Stopped => 5,
            Self::Injected => 6,
            Self::Implausible(Implausible::Lacking) => 7,
        }
    }

    /// One word, for labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Implausible(Implausible::To) => "wrong_to",
            Self::Implausible(Implausible::From) => "wrong_from",
            Self::Implausible(Implausible::Entries) => "gap_in_entries",
            Self::Implausible(Implausible::Lacking) => "lacking",
            Self::HostFull => "host_full",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Injected => "injected",
        }
    }
}

/// Why a dial did not lead to a stream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DialError {
    /// The name has no address, or the helper that looks names up failed.
    Resolve(String),
    /// No connection, or it broke before the answer was complete.
    Connect(String),
    /// No answer in time.
    Timeout,
    /// The answer is not one of HTTP.
    Malformed(String),
    /// The peer refuses, in its own words or by its version.
    Refused(DialRefusal),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => write!(f, "cannot resolve: {error}"),
            Self::Connect(error) => f.write_str(error),
            Self::Timeout => f.write_str("no connection or no answer in time"),
            Self::Malformed(error) => write!(f, "malformed answer: {error}"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for DialError {}

/// Why a `POST /raft` failed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PostError {
    /// The name has no address, or the helper that looks names up failed.
    Resolve(String),
    /// No connection, or it broke before the answer was complete.
    Connection(String),
    /// No connection, no progress, or no answer in time.
    Timeout,
    /// The answer is not one of HTTP.
    Malformed(String),
    /// The peer refuses.
    Refused(PostRefusal),
    /// A bug of ours: the task ended early.
    Panicked,
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => write!(f, "cannot resolve: {error}"),
            Self::Connection(error) => f.write_str(error),
            Self::Timeout => f.write_str("no connection, no progress or no answer in time"),
            Self::Malformed(error) => write!(f, "malformed answer: {error}"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Panicked => f.write_str("the task that posted it panicked"),
        }
    }
}

impl std::error::Error for PostError {}

/// Why a snapshot did not arrive.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The message is no MsgSnap.
    NotASnapshot,
    /// `to` is no peer.
    UnknownPeer,
    /// The peer is cut off on purpose.
    Paused,
    /// Others are under way.
    Busy(NoSlot),
    /// The message itself is larger than receivers accept.
    MessageTooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// The source failed.
    Source(String),
    /// The source does not hold what it declared.
    Size(SizeMismatch),
    /// The peer was not reached, or broke the connection.
    Connection(String),
    /// It moved too little for too long, or did not answer.
    Stalled,
    /// The peer says that we were removed from the cluster (403).
    MemberRemoved,
    /// The peer answered with something else than 204, in its words.
    Refused(String),
    /// The host cancelled it.
    Cancelled,
    /// The peer was removed or moved, or the transport stopped.
    Stopped,
    /// A bug of ours, or of the host's source: the task that sent it ended early.
    Panicked,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASnapshot => f.write_str("the message is no MsgSnap"),
            Self::UnknownPeer => f.write_str("member not found"),
            Self::Paused => f.write_str("the peer is paused"),
            Self::Busy(slot) => slot.fmt(f),
            Self::MessageTooLarge { bytes } => {
                write!(f, "the message of {bytes} bytes is larger than receivers accept")
            }
            Self::Source(why) => write!(f, "the source failed: {why}"),
            Self::Size(mismatch) => mismatch.fmt(f),
            Self::Connection(why) => f.write_str(why),
            Self::Stalled => f.write_str("it made no progress"),
            Self::MemberRemoved => f.write_str("the member has been permanently removed from the cluster"),
            Self::Refused(answer) => f.write_str(answer),
            Self::Cancelled => f.write_str("it was cancelled"),
            Self::Stopped => f.write_str("the peer or the transport was stopped"),
            Self::Panicked => f.write_str("the task that sent it panicked"),
        }
    }
}

impl std::error::Error for SnapshotError {}

/// Something happened on a core.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The peer, or the remote, became active: a stream came up or something was posted.
    PeerActive {
        /// Which peer.
        peer: MemberId,
    },
    /// The peer, or the remote, became inactive.
    PeerInactive {
        /// Which peer.
        peer: MemberId,
        /// `failed to <action> <peer> on <source> (<reason>)`, as etcd words it.
        reason: String,
    },
    /// A stream is up.
    StreamUp {
        /// Which peer.
        peer: MemberId,
        /// Which stream.
        kind: StreamKind,
        /// Which way.
        direction: Direction,
    },
    /// A stream of ours to the peer ended.
    WriterDown {
        /// Which peer.
        peer: MemberId,
        /// Which stream.
        kind: StreamKind,
        /// Why.
        reason: String,
    },
    /// A stream of the peer to us ended.
    ReaderDown {
        /// Which peer.
        peer: MemberId,
        /// Which stream.
        kind: StreamKind,
        /// Why.
        reason: ReadError,
    },
    /// A dial failed.
    DialFailed {
        /// Which peer.
        peer: MemberId,
        /// Which stream.
        kind: StreamKind,
        /// Why.
        error: DialError,
    },
    /// A prober found that the peer answers, or that it does not: when that changes, and the first time.
    /// Whether the peer is active does not depend on it. See `Transport::probe`.
    ProbeHealth {
        /// Which peer.
        peer: MemberId,
        /// Which prober.
        prober: RoundTripper,
        /// Whether it answers.
        healthy: bool,
    },
    /// A prober's monitor warns, once a look: every 5 s while the peer does not answer, and every 30 s
    /// while its clock is off.
    ProbeWarning {
        /// Which peer.
        peer: MemberId,
        /// Which prober.
        prober: RoundTripper,
        /// Of what.
        warning: Warning,
    },
    /// A `POST /raft` failed; what it carried is told as dropped.
    PostFailed {
        /// To whom.
        peer: MemberId,
        /// Why.
        error: PostError,
    },
    /// A stranger told of himself and is a remote now; what is sent to its id is posted there.
    RemoteLearned {
        /// Who it says it is.
        remote: MemberId,
    },
    /// A remote that told of itself was forgotten: nothing was sent to it for long.
    RemoteForgotten {
        /// Which remote.
        remote: MemberId,
    },
    /// A member told us that we were removed from the cluster: etcd's error channel.
    MemberRemoved {
        /// Who said so.
        by: MemberId,
    },
    /// The listener could not accept, or ended.
    ListenerFailed {
        /// What the kernel said.
        error: String,
    },
    /// We refused a request.
    RequestRefused {
        /// From where.
        from: SocketAddr,
        /// Why, and with what answer.
        refusal: Refusal,
    },
    /// A connection was closed before it made a request that could be answered.
    ConnectionDropped {
        /// From where.
        from: SocketAddr,
        /// Why.
        reason: &'static str,
    },
    /// Messages were not sent.
    Dropped {
        /// To whom.
        peer: MemberId,
        /// Of which class.
        class: MessageClass,
        /// How many.
        messages: usize,
        /// Why.
        reason: DropReason,
    },
    /// Received messages were not handed over.
    Rejected {
        /// Over whose stream they came.
        peer: MemberId,
        /// Of which class.
        class: MessageClass,
        /// How many.
        messages: usize,
        /// Why.
        reason: RejectReason,
    },
    /// A snapshot begins to leave.
    SnapshotSendBegan {
        /// To whom.
        peer: MemberId,
        /// Its index.
        index: u64,
        /// Bytes of its database.
        bytes: u64,
        /// Where it begins: an earlier transfer brought what is before.
        offset: u64,
    },
    /// A snapshot was sent, or not.
    SnapshotSendEnded {
        /// To whom.
        peer: MemberId,
        /// Its index.
        index: u64,
        /// Bytes of its database that were written to the connection.
        bytes: u64,
        /// Why it failed, if it did.
        error: Option<SnapshotError>,
    },
    /// A snapshot begins to come.
    SnapshotReceiveBegan {
        /// From whom.
        peer: MemberId,
        /// Its index.
        index: u64,
        /// Where it begins: an earlier transfer brought what is before.
        offset: u64,
    },
    /// A snapshot came and raft has it, or not.
    SnapshotReceiveEnded {
        /// From whom.
        peer: MemberId,
        /// Its index.
        index: u64,
        /// Bytes of its database that came.
        bytes: u64,
        /// Why it failed, if it did, and with what answer.
        refusal: Option<Refusal>,
    },
    /// A callback of the host panicked; its connection was closed, everything else goes on.
    Panicked {
        /// What ran: a connection's role.
        task: &'static str,
    },
}

/// Receives every event, on the core where it happened; must not block. Messages to an unknown peer
/// and those of a peer that was removed meanwhile are told on the thread that sent them.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn event(&self, event: &Event);
}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// Any closure observes.
impl<F: Fn(&Event) + Send + Sync + 'static> Observer for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn event(&self, _event: &Event) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_know_their_places_and_names() {
        for (place, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), place);
            assert!(DropReason::ALL[..place].iter().all(|other| other.name() != reason.name()));
        }
        for (place, reason) in RejectReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), place);
            assert!(RejectReason::ALL[..place].iter().all(|other| other.name() != reason.name()));
        }
    }
}
