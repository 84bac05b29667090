//! Snapshots with their databases: rafthttp's `SendSnapshot`.

use super::Transport;
use crate::event::SnapshotError;
use crate::id::MemberId;
use crate::io::SnapshotProgress;
use crate::io::snapshot::{SnapshotHandle, SnapshotJob, Verdict, begin};
use crate::raftpb::{Message, MessageType};
use crate::snapshot::SnapshotSource;

impl Transport {
    /// Sends a MsgSnap and its database to the peer `to`, by `POST /raft/snapshot`. Never blocks, but for
    /// what the source's `size` and `tag` take, which are asked here.
    ///
    /// Raft is told the outcome by `report_snapshot`, once whatever happens (and, if it failed, that the
    /// peer is unreachable): also if the peer is unknown, paused or removed, if the source does not hold
    /// what it declared, or if another snapshot for this peer or
    /// [`CoresConfig::snapshots_max`](crate::CoresConfig::snapshots_max) others are under way. It is
    /// given up if it moves less than 1 KiB a second for
    /// [`Config::snapshot_stall_timeout`](crate::Config::snapshot_stall_timeout), and not for the time it
    /// takes. There is no second try but raft's; if that brings the same message and a source of the same
    /// tag, and the peer is raftring, it goes on where the first was cut.
    ///
    /// A message that is no MsgSnap is not sent and raft is told nothing; the handle tells.
    pub fn send_snapshot(&self, message: Message, source: impl SnapshotSource) -> SnapshotHandle {
        let verdict = Verdict::of(&self.shared, &message, source.size());
        let handle = verdict.handle();
        if !message.is(MessageType::MsgSnap) {
            verdict.tell_host_alone(SnapshotError::NotASnapshot);
            return handle;
        }
        let Some(peer) = self.shared.peer(MemberId(message.to())) else {
            // Raft's callbacks never run inside a call of the host's, so a core tells it.
            self.shared.cores[0].run(move |_| verdict.tell(Err(SnapshotError::UnknownPeer)));
            return handle;
        };
        verdict.set_place(&self.shared, &peer);
        let tag = source.tag();
        let job = SnapshotJob { message, source: Box::new(source), tag, verdict };
        let (shared, of_letter) = (self.shared.clone(), peer.clone());
        peer.core.run(move |core| begin(core, &shared, &of_letter, job));
        handle
    }

    /// The snapshots that come in now.
    #[must_use]
    pub fn receiving_snapshots(&self) -> Vec<SnapshotProgress> {
        self.shared.incoming.progress()
    }
}
