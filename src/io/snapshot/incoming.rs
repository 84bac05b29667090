//! What a transport knows of snapshots that come: those under way, and what is left of those that
//! were cut.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::write_behind::Parked;
use crate::id::MemberId;
use crate::proto::snapshot::SnapshotIdentity;

/// Parts that are kept; each is a file, and the sink that writes to it.
const PARTS_MAX: usize = 2;

/// How far a snapshot that comes has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SnapshotProgress {
    /// From whom.
    pub peer: MemberId,
    /// Its index.
    pub index: u64,
    /// Bytes of the database that are here.
    pub bytes: u64,
    /// Bytes it has; only raftring says that beforehand.
    pub size: Option<u64>,
}

/// Of one transport; any core and any thread may ask.
#[derive(Default)]
pub(crate) struct Incoming {
    under_way: Mutex<Vec<Arc<Receiving>>>,
    parts: Mutex<Vec<Part>>,
}

/// One that is under way.
pub(super) struct Receiving {
    pub(super) peer: MemberId,
    pub(super) index: u64,
    pub(super) size: Option<u64>,
    pub(super) bytes: AtomicU64,
}

/// What came of a snapshot before it was cut.
pub(super) struct Part {
    pub(super) from: MemberId,
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) identity: SnapshotIdentity,
    pub(super) parked: Parked,
    pub(super) until: Instant,
}

impl Incoming {
    pub(crate) fn progress(&self) -> Vec<SnapshotProgress> {
        let progress = |receiving: &Arc<Receiving>| SnapshotProgress {
            peer: receiving.peer,
            index: receiving.index,
            bytes: receiving.bytes.load(Ordering::Relaxed),
            size: receiving.size,
        };
        lock(&self.under_way).iter().map(progress).collect()
    }

    pub(super) fn begin(&self, receiving: Receiving) -> Arc<Receiving> {
        let receiving = Arc::new(receiving);
        lock(&self.under_way).push(Arc::clone(&receiving));
        receiving
    }

    pub(super) fn end(&self, receiving: &Arc<Receiving>) {
        lock(&self.under_way).retain(|other| !Arc::ptr_eq(other, receiving));
    }

    /// Bytes that are here of this snapshot from this member.
    pub(super) fn offset_of(&self, from: MemberId, identity: SnapshotIdentity) -> u64 {
        let parts = lock(&self.parts);
        parts.iter().find(|part| part.is(from, identity)).map_or(0, |part| part.parked.written)
    }

    /// Keeps a part; where there are too many the oldest goes.
    pub(super) fn keep(&self, part: Part) {
        let mut parts = lock(&self.parts);
        parts.retain(|other| other.from != part.from);
        if parts.len() >= PARTS_MAX {
            parts.remove(0);
        }
        parts.push(part);
    }

    /// The part of this snapshot from this member, if it has `offset` bytes. Whatever else is here of
    /// that member is forgotten: it sends something new.
    pub(super) fn take(
        &self,
        from: MemberId,
        identity: Option<SnapshotIdentity>,
        offset: u64,
    ) -> Option<Part> {
        let mut parts = lock(&self.parts);
        let at = parts.iter().position(|part| part.from == from)?;
        let part = parts.remove(at);
        let fits = identity.is_some_and(|identity| part.is(from, identity)) && part.parked.written == offset;
        fits.then_some(part)
    }

    pub(crate) fn forget_before(&self, now: Instant) {
        lock(&self.parts).retain(|part| part.until > now);
    }

    pub(crate) fn forget_all(&self) {
        lock(&self.parts).clear();
    }
}

impl Part {
    fn is(&self, from: MemberId, identity: SnapshotIdentity) -> bool {
        self.from == from && self.identity == identity
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
