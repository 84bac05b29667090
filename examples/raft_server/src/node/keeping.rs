//! What is kept of the log: a snapshot of the state every so often, and the entries that somebody may
//! still need.

use std::time::{Duration, Instant};

use anyhow::Result;
use raft::eraftpb::SnapshotMetadata;

use super::Node;
use super::members::Kind;
use crate::diary;

/// Entries behind a snapshot, for members that are not far behind: as many as etcd keeps.
const CATCH_UP_ENTRIES: u64 = 5_000;

/// A leader does not compact entries that an etcd member lacks, which it could not bring back by a
/// snapshot; so many at most, and then that member is lost until an etcd leads.
const KEPT_ENTRIES_MAX: u64 = 2_000_000;

/// The same in bytes on disk.
const KEPT_BYTES_MAX: usize = 2 << 30;

/// From this part of either on somebody else should lead.
const HAND_OVER_PART: u64 = 4;

/// After a snapshot that could not be written.
const RETRY: Duration = Duration::from_secs(10);

impl Node {
    /// Begins to write a snapshot of the state, when there was none for long.
    pub(super) fn save_if_due(&mut self, now: Instant) {
        let last = self.raft.store().snapshot_metadata().index;
        let is_due = self.state.applied() - last >= self.settings.snapshot_count;
        if !is_due || self.saving || self.fetching.is_some() || now < self.save_after {
            return;
        }
        let metadata = SnapshotMetadata {
            conf_state: Some(self.conf_state.clone()),
            index: self.state.applied(),
            term: self.state.applied_term(),
        };
        // Keys and values are shared; what is copied is the map.
        self.saving = self.clerk.save(metadata, self.state.clone());
    }

    pub(super) fn saved(&mut self, saved: Result<SnapshotMetadata>, now: Instant) -> Result<()> {
        self.saving = false;
        let metadata = match saved {
            Ok(metadata) => metadata,
            Err(error) => {
                diary::warn(format!("the state could not be written: {error:#}"));
                self.save_after = now + RETRY;
                return Ok(());
            }
        };
        let index = metadata.index;
        if index <= self.raft.store().snapshot_metadata().index {
            // One that came from another member was faster.
            return self.clear_snapshots();
        }
        let compact = self.compact_to(index);
        diary::note(format!("snapshot of the state at {index}; entries up to {compact} go"));
        let store = self.raft.mut_store();
        store.set_snapshot(metadata, compact)?;
        self.clear_snapshots()?;
        self.raft.store().purge()
    }

    /// Removes the files of snapshots that do not count; but while one is being fetched its file may be
    /// there already, before the log says that it counts.
    pub(super) fn clear_snapshots(&self) -> Result<()> {
        if self.fetching.is_some() {
            return Ok(());
        }
        self.snapshots.keep_only(self.raft.store().snapshot_metadata().index)
    }

    /// Up to where the log may be compacted below a snapshot.
    fn compact_to(&self, snapshot: u64) -> u64 {
        let wanted = snapshot.saturating_sub(CATCH_UP_ENTRIES);
        let needed = self.needed();
        if needed < wanted && self.kept_part(1) {
            diary::warn(format!("the log is too long: entries from {needed} on go, which a member lacks"));
            return wanted;
        }
        wanted.min(needed)
    }

    /// Entries beyond it must stay, for somebody may need them of this member.
    fn needed(&self) -> u64 {
        let leader = self.leader();
        if self.is_leader() {
            return self.needed_beyond().unwrap_or(u64::MAX);
        }
        match self.kinds.get(&leader) {
            // It makes snapshots for all.
            Some(Kind::Etcd) => u64::MAX,
            Some(Kind::Ours) => {
                self.leader_needs.filter(|(id, _)| *id == leader).map_or(0, |(_, needed)| needed)
            }
            None => 0,
        }
    }

    pub(super) fn keeps_too_much(&self) -> bool {
        self.needed_beyond().is_some() && self.kept_part(HAND_OVER_PART)
    }

    /// Whether the log has reached this part of what it may be.
    fn kept_part(&self, part: u64) -> bool {
        let store = self.raft.store();
        store.len() > KEPT_ENTRIES_MAX / part || store.bytes() as u64 > KEPT_BYTES_MAX as u64 / part
    }
}
