//! Snapshots to other members, and from them.

use anyhow::{Context, Result, ensure};
use raft::eraftpb::{HardState, Snapshot};
use raftring::raftpb::Message;

use super::Node;
use crate::diary;
use crate::snapshots::Fetched;

impl Node {
    /// raft wants this MsgSnap sent: our newest snapshot, to a member of our kind.
    pub(super) fn send_snapshot(&mut self, message: Message) {
        let (to, index) = (message.to(), index_of(&message));
        match self.snapshots.source(index) {
            // raft is told the outcome by the transport, once.
            Ok(source) => drop(self.transport.send_snapshot(message, source)),
            Err(error) => {
                diary::warn(format!("the snapshot {index} for {to:x} cannot be read: {error}"));
                self.unsent.push(to);
            }
        }
    }

    /// A MsgSnap whose file is in the folder of what was received. It takes a while to be read.
    pub(super) fn snapshot_came(&mut self, message: Message) -> Result<()> {
        let index = index_of(&message);
        if index <= self.raft.raft.raft_log.committed {
            // raft only tells the sender what it has.
            self.snapshots.discard(&message);
            return self.step_raft(message);
        }
        if let Some(fetched) = self.fetching {
            // It comes again, if it is still needed then. Of the same index the file is in use.
            if fetched != index {
                self.snapshots.discard(&message);
            }
            return Ok(());
        }
        diary::note(format!("a snapshot at {index} came from {:x}", message.from()));
        self.fetching = self.clerk.fetch(message).then_some(index);
        Ok(())
    }

    /// It was read, and is a file of ours.
    pub(super) fn fetched(&mut self, message: Message, fetched: Result<Box<Fetched>>) -> Result<()> {
        self.fetching = None;
        match fetched {
            Ok(fetched) => {
                self.fetched = Some(fetched);
                self.step_raft(message)?;
                while self.raft.has_ready() {
                    self.handle_ready()?;
                }
                if self.fetched.take().is_some() {
                    diary::note("raft had no use for the snapshot");
                    self.clear_snapshots()?;
                }
            }
            Err(error) => {
                diary::warn(format!("the snapshot at {} is no good: {error:#}", index_of(&message)));
                self.clear_snapshots()?;
            }
        }
        Ok(())
    }

    /// raft takes the snapshot that was read: it becomes the state.
    pub(super) fn install(&mut self, snapshot: &Snapshot, hard_state: Option<&HardState>) -> Result<()> {
        let metadata = snapshot.get_metadata().clone();
        let fetched = self.fetched.take().context("raft wants a snapshot that did not come")?;
        ensure!(fetched.metadata.index == metadata.index, "raft wants another snapshot than came");
        let index = metadata.index;
        self.conf_state = metadata.conf_state.clone().unwrap_or_default();
        self.raft.mut_store().install(metadata, hard_state)?;
        self.state = fetched.state;
        self.snapshots.keep_only(index)?;
        diary::note(format!("the state is that of the snapshot at {index} now"));
        self.meet_members();
        Ok(())
    }
}

fn index_of(message: &Message) -> u64 {
    let metadata = message.snapshot.as_deref().and_then(|snapshot| snapshot.metadata.as_ref());
    metadata.map_or(0, |metadata| metadata.index())
}
