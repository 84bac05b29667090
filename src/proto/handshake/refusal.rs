//! Why a request is not served, and the one place that says with which status and words.

use std::borrow::Cow;

use crate::proto::http::head::HeadError;
use crate::proto::version::Incompatible;

/// Why a request is answered with an error. The words are matched literally by etcd's clients.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// The head is not acceptable.
    BadHead(HeadError),
    /// No such path.
    NotFound,
    /// Another method than this one.
    MethodNotAllowed(&'static str),
    /// A version header that is no version. Go's handler panics here and cuts the connection.
    BadVersionHeader,
    /// The releases do not fit (protocol section 4.4).
    IncompatibleVersion(Incompatible),
    /// Of another cluster, or of none.
    ClusterIdMismatch,
    /// Not the path of a stream.
    InvalidPath,
    /// The path does not end with an id.
    InvalidFrom,
    /// The member was removed for good. An etcd member that reads this **shuts down**.
    RemovedMember,
    /// We do not know the dialler (yet).
    SenderNotFound,
    /// Somebody else was meant.
    ToFieldMismatch,
    /// The body of a message did not arrive whole.
    ReadMessage,
    /// The body of a message is no message.
    UnmarshalMessage,
    /// The host did not take a message. (Never 403: it kills the etcd member that reads it.)
    ProcessMessage,
    /// A body beyond our limit.
    MessageTooLarge,
    /// More requests in flight than we serve at once.
    Busy,
    /// The message in front of a snapshot is wrong; says how.
    SnapshotMessage(String),
    /// The message in front of a snapshot is of another type.
    SnapshotType,
    /// The snapshot was not saved; says why.
    SnapshotSave(String),
    /// No room on the disk for a snapshot.
    SnapshotSpace,
    /// A database beyond our limit.
    SnapshotTooLarge,
    /// The sender would go on where we have not come to: it begins anew.
    SnapshotOffset,
    /// The host did not take the snapshot; says why.
    SnapshotProcess(String),
    /// The body of a probe, or of a request for the host, did not arrive whole.
    ReadBody,
    /// Such a body beyond its limit.
    BodyTooLarge,
    /// The host has not answered a request for a path of its own in time.
    HostTimeout,
    /// The host has thrown such a request away.
    HostSilent,
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::BadHead(_)
            | Self::BadVersionHeader
            | Self::ReadMessage
            | Self::UnmarshalMessage
            | Self::ReadBody
            | Self::SnapshotMessage(_)
            | Self::SnapshotType => 400,
            Self::NotFound | Self::InvalidPath | Self::InvalidFrom | Self::SenderNotFound => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::RemovedMember => 410,
            Self::IncompatibleVersion(_) | Self::ClusterIdMismatch | Self::ToFieldMismatch => 412,
            Self::SnapshotOffset => 409,
            Self::MessageTooLarge | Self::SnapshotTooLarge | Self::BodyTooLarge => 413,
            Self::HostSilent | Self::ProcessMessage | Self::SnapshotSave(_) | Self::SnapshotProcess(_) => 500,
            Self::Busy | Self::HostTimeout => 503,
            Self::SnapshotSpace => 507,
        }
    }

    /// The sentence in the body, without the line feed that ends it (protocol sections 5.2, 10.2
    /// and 11.3; our own words where etcd has none).
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::BadHead(error) => return format!("bad request: {error}").into(),
            Self::NotFound => "404 page not found",
            Self::MethodNotAllowed(_) => "Method Not Allowed",
            Self::BadVersionHeader => "bad version header",
            Self::IncompatibleVersion(_) => INCOMPATIBLE_VERSION,
            Self::ClusterIdMismatch => CLUSTER_ID_MISMATCH,
            Self::InvalidPath => "invalid path",
            Self::InvalidFrom => "invalid from",
            Self::RemovedMember => "removed member",
            Self::SenderNotFound => "error sender not found",
            Self::ToFieldMismatch => "to field mismatch",
            Self::ReadMessage => "error reading raft message",
            Self::UnmarshalMessage => "error unmarshalling raft message",
            Self::ProcessMessage => "error processing raft message",
            Self::MessageTooLarge => "raft message too large",
            Self::Busy => "too many requests in flight",
            Self::SnapshotMessage(why) => return format!("failed to decode raft message ({why})").into(),
            Self::SnapshotType => "wrong raft message type",
            Self::SnapshotSave(why) => return format!("failed to save KV snapshot ({why})").into(),
            Self::SnapshotSpace => "not enough disk space for the snapshot",
            Self::SnapshotTooLarge => "the snapshot is too large",
            Self::SnapshotOffset => "no such part of the snapshot is here",
            Self::SnapshotProcess(why) => return format!("failed to process raft message ({why})").into(),
            Self::ReadBody => "error reading the body of the request",
            Self::BodyTooLarge => "the body of the request is too large",
            Self::HostTimeout => "no answer in time",
            Self::HostSilent => "no answer",
        })
    }

    /// True if it counts as a handshake that failed. A host that does not answer is no fault of who asks.
    #[must_use]
    pub const fn is_clients_fault(&self) -> bool {
        !matches!(self, Self::HostTimeout | Self::HostSilent)
    }

    /// True if whoever is there gets no answer, just the end of the connection.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        match self {
            Self::BadHead(error) => error.is_silent(),
            _ => false,
        }
    }
}

/// Matched by both sides: `errIncompatibleVersion` of rafthttp.
pub(super) const INCOMPATIBLE_VERSION: &str = "incompatible version";

/// Matched by both sides: `ErrClusterIDMismatch` of rafthttp.
pub(super) const CLUSTER_ID_MISMATCH: &str = "cluster ID mismatch";
