//! The transport's side of the server: what it brings goes into the inbox.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use raftring::raftpb::{Message, MessageType};
use raftring::snapshot::{SinkError, SnapshotFolder, SnapshotSink};
use raftring::{Event, MemberId, Observer, Origin, Raft, SnapshotStatus};

use crate::diary;
use crate::inbox::Inbox;

/// What the transport calls, on its cores.
pub(crate) struct Peers {
    inbox: Arc<Inbox>,
    folder: SnapshotFolder,
    /// Members that were removed for good; written by the loop.
    removed: RwLock<HashSet<u64>>,
}

impl Peers {
    pub(crate) fn new(inbox: Arc<Inbox>, folder: SnapshotFolder) -> Arc<Self> {
        Arc::new(Self { inbox, folder, removed: RwLock::default() })
    }

    /// These members are gone: whoever dials us as one of them is told.
    pub(crate) fn set_removed(&self, ids: impl IntoIterator<Item = u64>) {
        self.removed.write().unwrap_or_else(PoisonError::into_inner).extend(ids);
    }
}

impl Raft for Peers {
    fn process(&self, _origin: Origin, messages: &mut Vec<Message>) {
        self.inbox.take_messages(messages);
    }

    fn is_id_removed(&self, id: MemberId) -> bool {
        self.removed.read().unwrap_or_else(PoisonError::into_inner).contains(&id.0)
    }

    fn report_unreachable(&self, id: MemberId) {
        self.inbox.report(|reports| {
            reports.unreachable.insert(id.0);
        });
    }

    fn report_snapshot(&self, id: MemberId, status: SnapshotStatus) {
        self.inbox.report(|reports| reports.snapshots.push((id.0, status)));
    }

    fn snapshot_sink(&self, snapshot: &Message) -> Result<Box<dyn SnapshotSink>, SinkError> {
        if !snapshot.is(MessageType::MsgSnap) {
            return Err(SinkError::Failed("it is no snapshot".to_owned()));
        }
        let metadata = snapshot.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
        let index = metadata.map_or(0, |metadata| metadata.index());
        Ok(Box::new(self.folder.sink(index)?))
    }
}

impl Observer for Peers {
    fn event(&self, event: &Event) {
        match event {
            Event::MemberRemoved { by } => {
                diary::warn(format!("member {by} says that this member was removed from the cluster"));
                self.inbox.report(|reports| reports.removed = true);
            }
            Event::PeerActive { peer } => diary::note(format!("peer {peer} is active")),
            Event::PeerInactive { peer, reason } => {
                diary::note(format!("peer {peer} is inactive: {reason}"));
            }
            Event::SnapshotSendEnded { peer, index, bytes, error } => {
                diary::note(format!(
                    "snapshot {index} to {peer}, {bytes} bytes: {}",
                    outcome(error.as_ref())
                ));
            }
            Event::SnapshotReceiveEnded { peer, index, bytes, refusal } => {
                diary::note(format!(
                    "snapshot {index} of {peer}, {bytes} bytes: {}",
                    outcome(refusal.as_ref())
                ));
            }
            Event::ListenerFailed { error } => diary::warn(format!("the peer URL: {error}")),
            Event::Panicked { task } => diary::warn(format!("a panic in {task}")),
            _ => {}
        }
    }
}

fn outcome(error: Option<&impl std::fmt::Debug>) -> String {
    error.map_or_else(|| "done".to_owned(), |error| format!("failed: {error:?}"))
}
