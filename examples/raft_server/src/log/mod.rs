//! The durable log: raft-engine below, raft-rs's `Storage` above.
//!
//! ```text
//!   snapshot file at S      what is kept of the log            not on disk
//!   the state              |compacted, S ... commit ... last|   unstable entries of raft-rs
//! ```
//!
//! Beside the entries it keeps the hard state, where the snapshot of the state is and which configuration
//! it has, what was compacted, and who this member is. A batch of them is written as a whole or not at
//! all; what a crash left half written at the end is cut off when the log is opened.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use raft_engine::{Command, Config, Engine, LogBatch, ReadableSize, RecoveryMode};

mod cache;
mod record;

use cache::Cache;
use record::Record;

/// There is one raft group.
const GROUP: u64 = 1;

const HARD_STATE: &[u8] = b"hard_state";
const SNAPSHOT: &[u8] = b"snapshot";
const COMPACTED: &[u8] = b"compacted";
const IDENTITY: &[u8] = b"identity";

/// The engine writes into files of this size, and makes room for them in advance.
const FILE_BYTES: u64 = 16 << 20;

/// Above that files are dropped whose entries were compacted.
const PURGE_BYTES: u64 = 64 << 20;

/// What a snapshot of ours carries where etcd's has its members: it says of what kind the file is.
pub(crate) const SNAPSHOT_MARK: &[u8] = b"raft_server snapshot";

/// The log of one member.
pub(crate) struct Log {
    engine: Engine,
    hard_state: HardState,
    /// The hard state has changed in what may be lost: its commit.
    dirty: bool,
    snapshot: SnapshotMetadata,
    /// Index and term of the entry before the first.
    compacted: (u64, u64),
    last: u64,
    cache: Cache,
    /// Members that can read a snapshot of ours.
    readers: HashSet<u64>,
    /// Others that would need one.
    stranded: RefCell<BTreeSet<u64>>,
    /// A read failed: raft-rs has been told that there is nothing, and the server must end.
    failed: Cell<bool>,
}

impl Log {
    /// Opens it, or makes a new one.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let config = Config {
            dir: dir.to_str().context("the data directory's name is not UTF-8")?.to_owned(),
            recovery_mode: RecoveryMode::TolerateTailCorruption,
            recovery_threads: 1,
            batch_compression_threshold: ReadableSize(0),
            target_file_size: ReadableSize(FILE_BYTES),
            purge_threshold: ReadableSize(PURGE_BYTES),
            ..Config::default()
        };
        let engine =
            Engine::open(config).with_context(|| format!("cannot open the log in {}", dir.display()))?;
        let mut log = Self {
            engine,
            hard_state: HardState::default(),
            dirty: false,
            snapshot: SnapshotMetadata::default(),
            compacted: (0, 0),
            last: 0,
            cache: Cache::default(),
            readers: HashSet::new(),
            stranded: RefCell::default(),
            failed: Cell::new(false),
        };
        log.load()?;
        Ok(log)
    }

    fn load(&mut self) -> Result<()> {
        if let Some(bytes) = self.engine.get(GROUP, HARD_STATE) {
            self.hard_state.merge_from_bytes(&bytes).context("the log's hard state")?;
        }
        if let Some(bytes) = self.engine.get(GROUP, SNAPSHOT) {
            self.snapshot.merge_from_bytes(&bytes).context("the log's snapshot")?;
        }
        if let Some(bytes) = self.engine.get(GROUP, COMPACTED) {
            self.compacted = read_pair(&bytes).context("the log's first index")?;
        }
        let first = self.engine.first_index(GROUP);
        self.last = self.engine.last_index(GROUP).unwrap_or(self.compacted.0);
        ensure!(
            first.is_none_or(|first| first == self.compacted.0 + 1),
            "the log begins at {first:?}, but it was compacted up to {}: the data directory is damaged",
            self.compacted.0
        );
        ensure!(
            self.hard_state.commit <= self.last,
            "{} entries are committed and {} there: the data directory is damaged; remove the member and add \
             it as a new one",
            self.hard_state.commit,
            self.last
        );
        Ok(())
    }

    /// Who this member is, as it was begun.
    pub(crate) fn identity(&self) -> Option<Vec<u8>> {
        self.engine.get(GROUP, IDENTITY)
    }

    /// Begins the log of a member: what it was told at its first start, and a new cluster's first entries,
    /// which are committed.
    pub(crate) fn begin(&mut self, identity: Vec<u8>, entries: &[Entry], voters: Vec<u64>) -> Result<()> {
        let mut batch = LogBatch::default();
        batch.put(GROUP, IDENTITY.to_vec(), identity)?;
        self.snapshot.conf_state = Some(ConfState { voters, ..ConfState::default() });
        batch.put(GROUP, SNAPSHOT.to_vec(), self.snapshot.write_to_bytes()?)?;
        if let Some(last) = entries.last() {
            self.hard_state = HardState { term: last.term, vote: 0, commit: last.index };
        }
        self.add(&mut batch, entries)?;
        self.write(batch, true)
    }

    /// Writes what raft-rs wants kept. `sync`: a message or a promise depends on it.
    pub(crate) fn append(&mut self, entries: &[Entry], state: Option<&HardState>, sync: bool) -> Result<()> {
        if let Some(state) = state {
            self.hard_state = state.clone();
            self.dirty = true;
        }
        if entries.is_empty() && !sync {
            return Ok(());
        }
        let mut batch = LogBatch::default();
        self.add(&mut batch, entries)?;
        self.write(batch, sync)
    }

    /// What may be committed now; written along with the next entries.
    pub(crate) fn set_commit(&mut self, commit: u64) {
        self.hard_state.commit = commit;
        self.dirty = true;
    }

    /// There is a snapshot of the state in a file; entries up to `compact` are not needed any more.
    pub(crate) fn set_snapshot(&mut self, snapshot: SnapshotMetadata, compact: u64) -> Result<()> {
        let compact = compact.min(snapshot.index);
        let mut batch = LogBatch::default();
        if compact > self.compacted.0 {
            self.compacted = (compact, self.term(compact)?);
            batch.add_command(GROUP, Command::Compact { index: compact + 1 });
            self.cache.compact(compact);
        }
        self.snapshot = snapshot;
        self.put_snapshot(&mut batch)?;
        self.write(batch, true)
    }

    /// Replaces everything by a snapshot that came from another member and is in a file.
    pub(crate) fn install(&mut self, snapshot: SnapshotMetadata, state: Option<&HardState>) -> Result<()> {
        let mut batch = LogBatch::default();
        batch.add_command(GROUP, Command::Compact { index: snapshot.index.max(self.last) + 1 });
        self.compacted = (snapshot.index, snapshot.term);
        self.last = snapshot.index;
        self.cache.clear();
        if let Some(state) = state {
            self.hard_state = state.clone();
        }
        self.hard_state.commit = self.hard_state.commit.max(snapshot.index);
        self.snapshot = snapshot;
        self.put_snapshot(&mut batch)?;
        self.write(batch, true)
    }

    /// Gives files back that hold nothing needed. May take a while.
    pub(crate) fn purge(&self) -> Result<()> {
        // There is one group, and it is compacted whenever there is a snapshot.
        self.engine.purge_expired_files()?;
        Ok(())
    }

    pub(crate) const fn snapshot_metadata(&self) -> &SnapshotMetadata {
        &self.snapshot
    }

    /// Entries that are kept.
    pub(crate) const fn len(&self) -> u64 {
        self.last - self.compacted.0
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> usize {
        self.engine.get_used_size()
    }

    /// Whom a snapshot of ours may be sent to.
    pub(crate) fn set_readers(&mut self, readers: HashSet<u64>) {
        self.readers = readers;
    }

    /// Members that need entries which are compacted, and cannot read our snapshots.
    pub(crate) fn take_stranded(&self) -> BTreeSet<u64> {
        self.stranded.take()
    }

    /// True if the disk has failed in a way that raft-rs cannot be told.
    pub(crate) const fn has_failed(&self) -> bool {
        self.failed.get()
    }

    fn add(&mut self, batch: &mut LogBatch, entries: &[Entry]) -> Result<()> {
        let Some(last) = entries.last() else { return Ok(()) };
        let records = entries.iter().map(record::encode).collect::<Result<Vec<_>>>()?;
        batch.add_entries::<Record>(GROUP, &records)?;
        self.cache.append(entries);
        self.last = last.index;
        Ok(())
    }

    fn put_snapshot(&self, batch: &mut LogBatch) -> Result<()> {
        batch.put(GROUP, SNAPSHOT.to_vec(), self.snapshot.write_to_bytes()?)?;
        batch.put(GROUP, COMPACTED.to_vec(), pair(self.compacted))?;
        batch.put(GROUP, HARD_STATE.to_vec(), self.hard_state.write_to_bytes()?)?;
        Ok(())
    }

    fn write(&mut self, mut batch: LogBatch, sync: bool) -> Result<()> {
        batch.put(GROUP, HARD_STATE.to_vec(), self.hard_state.write_to_bytes()?)?;
        self.engine.write(&mut batch, sync).context("cannot write the log")?;
        self.dirty = false;
        Ok(())
    }

    fn read(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>> {
        let mut records = Vec::new();
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        self.engine.fetch_entries_to::<Record>(GROUP, low, high, Some(bytes_max), &mut records)?;
        records.iter().map(record::decode).collect()
    }

    /// A failed read, in raft-rs's words; it knows none for a broken disk.
    fn fail(&self, error: impl std::fmt::Display) -> raft::Error {
        crate::diary::warn(format!("the log cannot be read: {error:#}"));
        self.failed.set(true);
        raft::Error::Store(StorageError::Unavailable)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if self.dirty {
            // Only what may be lost is not written yet.
            let _ = self.write(LogBatch::default(), true);
        }
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let conf_state = self.snapshot.conf_state.clone().unwrap_or_default();
        Ok(RaftState { hard_state: self.hard_state.clone(), conf_state })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.compacted.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        let end = high.min(self.last + 1);
        match self.cache.range(low, end, bytes_max) {
            Some(entries) => Ok(entries),
            None => self.read(low, end, bytes_max).map_err(|error| self.fail(error)),
        }
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.compacted.0 {
            return Ok(self.compacted.1);
        }
        if index < self.compacted.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if index > self.last {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        if let Some(entry) = self.cache.get(index) {
            return Ok(entry.term);
        }
        let entries = self.read(index, index + 1, 0).map_err(|error| self.fail(error))?;
        entries.first().map(|entry| entry.term).ok_or_else(|| self.fail("an entry is missing"))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.compacted.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        if !self.readers.contains(&to) {
            self.stranded.borrow_mut().insert(to);
        } else if self.snapshot.index > 0 && self.snapshot.index >= request_index {
            return Ok(Snapshot { data: SNAPSHOT_MARK.to_vec(), metadata: Some(self.snapshot.clone()) });
        }
        Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

fn pair((one, two): (u64, u64)) -> Vec<u8> {
    [one.to_be_bytes(), two.to_be_bytes()].concat()
}

fn read_pair(bytes: &[u8]) -> Option<(u64, u64)> {
    let (one, two) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*one), u64::from_be_bytes(two.try_into().ok()?)))
}

#[cfg(test)]
mod tests;
