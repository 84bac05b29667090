//! Keys with etcd's revisions. Only the last revision is kept: nobody asks this server for older ones.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::Refusal;
use super::digest;
use super::leases::Leases;
use crate::etcd::mvccpb::KeyValue;

/// The keys, and how often they were written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Store {
    keys: BTreeMap<Bytes, KeyValue>,
    revision: i64,
    /// Questions for older revisions are refused; -1 before the first compaction.
    compacted: i64,
    digest: u64,
}

/// etcd's first revision: the first write has the second.
const FIRST_REVISION: i64 = 1;

impl Default for Store {
    fn default() -> Self {
        Self { keys: BTreeMap::new(), revision: FIRST_REVISION, compacted: -1, digest: 0 }
    }
}

impl Store {
    /// From a snapshot.
    pub(super) fn restored(revision: i64, compacted: i64) -> Self {
        // A compaction does not need a write after it, but the revision is never below.
        Self { revision: revision.max(compacted).max(FIRST_REVISION), compacted, ..Self::default() }
    }

    pub(super) fn restore_key(&mut self, kv: KeyValue) {
        self.remove(&kv.key);
        self.insert(kv);
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&KeyValue> {
        self.keys.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &KeyValue> {
        self.keys.values()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    pub(super) fn compacted(&self) -> i64 {
        self.compacted
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// As in a request: without an end `key` alone, with the one byte 0 all from it on.
    pub(super) fn range(&self, key: &[u8], end: &[u8]) -> impl Iterator<Item = &KeyValue> {
        let (start, end) = match end {
            [] => (Bound::Included(key), Bound::Included(key)),
            [0] => (Bound::Included(key), Bound::Unbounded),
            // An end before the key: a range of nothing, which a map does not take.
            end if end <= key => (Bound::Included(key), Bound::Excluded(key)),
            end => (Bound::Included(key), Bound::Excluded(end)),
        };
        let nothing = matches!((start, end), (Bound::Included(a), Bound::Excluded(b)) if a == b);
        let range = (!nothing).then(|| self.keys.range::<[u8], _>((start, end)));
        range.into_iter().flatten().map(|(_, kv)| kv)
    }

    pub(super) fn compact(&mut self, revision: i64) -> Result<(), Refusal> {
        self.check_revision(revision)?;
        if revision == self.compacted {
            return Err(Refusal::RevisionCompacted);
        }
        self.compacted = revision;
        Ok(())
    }

    /// Whether this revision could be read.
    pub(super) fn check_revision(&self, revision: i64) -> Result<(), Refusal> {
        if revision > self.revision {
            return Err(Refusal::RevisionFuture);
        }
        if revision < self.compacted {
            return Err(Refusal::RevisionCompacted);
        }
        Ok(())
    }

    /// Begins to write. All that is written until [`Write::end`] has one revision.
    pub(super) fn write<'a>(&'a mut self, leases: &'a mut Leases) -> Write<'a> {
        // It wraps, as in Go: a database may say anything.
        Write { revision: self.revision.wrapping_add(1), changed: false, store: self, leases }
    }

    fn insert(&mut self, kv: KeyValue) {
        self.digest = self.digest.wrapping_add(digest::of_key(&kv));
        self.keys.insert(kv.key.clone(), kv);
    }

    fn remove(&mut self, key: &[u8]) -> Option<KeyValue> {
        let kv = self.keys.remove(key)?;
        self.digest = self.digest.wrapping_sub(digest::of_key(&kv));
        Some(kv)
    }
}

/// A transaction that writes.
pub(super) struct Write<'a> {
    pub(super) store: &'a mut Store,
    pub(super) leases: &'a mut Leases,
    revision: i64,
    changed: bool,
}

impl Write<'_> {
    /// Writes a key; tells what was there.
    pub(super) fn put(&mut self, key: Bytes, value: Bytes, lease: i64) -> Option<KeyValue> {
        let previous = self.store.remove(&key);
        if let Some(previous) = &previous {
            self.leases.detach(previous.lease, &key);
        }
        self.leases.attach(lease, &key);
        let (created, version) =
            previous.as_ref().map_or((self.revision, 0), |kv| (kv.create_revision, kv.version));
        self.store.insert(KeyValue {
            key,
            create_revision: created,
            mod_revision: self.revision,
            version: version.wrapping_add(1),
            value,
            lease,
        });
        self.changed = true;
        previous
    }

    /// Deletes the keys of a range; tells how many there were.
    pub(super) fn delete_range(&mut self, key: &[u8], end: &[u8]) -> u64 {
        let keys: Vec<Bytes> = self.store.range(key, end).map(|kv| kv.key.clone()).collect();
        for key in &keys {
            if let Some(kv) = self.store.remove(key) {
                self.leases.detach(kv.lease, key);
            }
        }
        self.changed |= !keys.is_empty();
        keys.len() as u64
    }

    /// The revision afterwards: the next one if anything was written.
    pub(super) fn end(self) -> i64 {
        if self.changed {
            self.store.revision = self.revision;
        }
        self.store.revision
    }
}
