//! The seam to the host: what a raft server gives to the transport.

use crate::id::MemberId;
use crate::raftpb::Message;
use crate::snapshot::{SinkError, SnapshotSink};

/// Where a batch of messages came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The member on the other end. Forwarded messages (MsgProp, MsgReadIndex, MsgTransferLeader)
    /// may carry another `from`.
    pub peer: MemberId,
    /// The way they came.
    pub via: Via,
    /// True for a batch of MsgProp alone: proposals may have to wait for a leader, so they come
    /// apart from everything else.
    pub proposals: bool,
}

/// The ways of a message between members (protocol section 1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Via {
    /// The `msgapp` stream.
    Msgapp,
    /// The `message` stream.
    Message,
    /// `POST /raft`.
    Pipeline,
    /// `POST /raft/snapshot`: a MsgSnap whose database was saved before.
    Snapshot,
}

/// The outcome of a snapshot, as `raft.SnapshotStatus`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SnapshotStatus {
    /// The receiver has it (1 in etcd).
    Finish,
    /// It did not arrive (2 in etcd).
    Failure,
}

/// What the transport asks of its host, etcd's `rafthttp.Raft`.
///
/// Every method is called on a core, possibly on several at once for different peers, and in order
/// for one peer and stream. None may block: a method that waits stops every peer of its core.
/// `Transport::send` may be called from inside any of them.
pub trait Raft: Send + Sync + 'static {
    /// Takes messages from the front of `messages`, in order; what is left in it was not taken.
    ///
    /// Entry data and contexts are slices of the bytes as they were received: a payload that is kept
    /// keeps up to four times its size of them in memory, and of small reads up to 8 KiB. Copy what is
    /// kept for long.
    ///
    /// Leftovers of a stream are offered again, in front of what comes next: after 1 ms, then less
    /// and less often, every 100 ms at least. Meanwhile
    ///
    /// - a `msgapp` stream is not read, so that its sender waits in turn and nothing is lost; but for
    ///   3 s at most (and 3/5 of `Config::write_timeout`) for each 4 MiB of it, or the sender would cut
    ///   it. From then on it is read, until the host takes messages again, and what exceeds 4,096
    ///   waiting messages or 64 MiB is dropped and told as `RejectReason::HostFull`: of appends the
    ///   newest first, then of acks, and of votes and heartbeats only when nothing else is left;
    /// - the `message` stream is read all the same, for heartbeats come on it. Proposals and
    ///   everything else have these bounds each, so that neither costs the other a message.
    ///
    /// `CoreStats::host_full_waits` counts how often a stream was left unread. A message of
    /// `POST /raft` or of a snapshot that is left is answered with a 500.
    fn process(&self, origin: Origin, messages: &mut Vec<Message>);

    /// True if the member was removed from the cluster for good. Its stream dials are answered
    /// with 410, on which a real etcd member shuts itself down: never guess.
    fn is_id_removed(&self, id: MemberId) -> bool;

    /// Messages to `id` were lost: raft should probe before it streams on.
    fn report_unreachable(&self, id: MemberId);

    /// A snapshot sent to `id` arrived or failed; exactly once for each MsgSnap that was sent.
    fn report_snapshot(&self, id: MemberId, status: SnapshotStatus);

    /// Where to put the database that follows `snapshot`, a MsgSnap to us. Once it is saved the message
    /// comes by [`Raft::process`], with [`Via::Snapshot`].
    ///
    /// Unlike all others this method is called on a helper thread and may block, as may the sink's.
    ///
    /// # Errors
    /// Why there is no place for it; the sender is told. By default there is none.
    fn snapshot_sink(&self, snapshot: &Message) -> Result<Box<dyn SnapshotSink>, SinkError> {
        let _ = snapshot;
        Err(SinkError::Unsupported)
    }
}
