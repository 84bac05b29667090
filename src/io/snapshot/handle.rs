//! A snapshot that is sent, as its host sees it; and the one who tells what became of it, once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::send;
use crate::event::SnapshotError;
use crate::id::MemberId;
use crate::io::core::Core;
use crate::io::shared::{PeerShared, TransportShared};
use crate::raft::{Raft, SnapshotStatus};
use crate::raftpb::Message;

/// A snapshot on its way to a peer. Cloning gives the same one; dropping it changes nothing.
#[derive(Clone)]
pub struct SnapshotHandle(Arc<Sending>);

/// What all sides share of it.
pub(super) struct Sending {
    pub(super) peer: MemberId,
    pub(super) index: u64,
    pub(super) size: u64,
    pub(super) sent: AtomicU64,
    cancelled: AtomicBool,
    outcome: Mutex<Option<Result<(), SnapshotError>>>,
    told: Condvar,
    /// Where it is sent, if it is. The host may keep its handle inside of what the transport keeps.
    place: OnceLock<(Weak<TransportShared>, Weak<PeerShared>)>,
}

impl SnapshotHandle {
    /// To whom it goes.
    #[must_use]
    pub fn peer(&self) -> MemberId {
        self.0.peer
    }

    /// Its index.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.0.index
    }

    /// Bytes of its database.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// Bytes of the database that were given to the connection, and those before, if it goes on where
    /// an earlier one was cut.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Gives it up, if it is under way; raft is told a failure.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
        let place = self.0.place.get();
        if let Some((transport, peer)) = place.and_then(|(t, p)| t.upgrade().zip(p.upgrade())) {
            let (id, sending) = (peer.id, Arc::clone(&self.0));
            peer.core.run(move |core| send::end(core, &transport, id, &sending));
        }
    }

    /// What became of it; `None` while it is under way. Raft was told before.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<(), SnapshotError>> {
        self.0.outcome().clone()
    }

    /// Waits for the outcome, at most for `timeout`. Never call it on a core, which the snapshot needs.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> Option<Result<(), SnapshotError>> {
        let deadline = Instant::now() + timeout;
        let mut outcome = self.0.outcome();
        while outcome.is_none() {
            let time = deadline.saturating_duration_since(Instant::now());
            if time.is_zero() {
                return None;
            }
            outcome = self.0.told.wait_timeout(outcome, time).unwrap_or_else(PoisonError::into_inner).0;
        }
        outcome.clone()
    }
}

impl std::fmt::Debug for SnapshotHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotHandle")
            .field("peer", &self.0.peer)
            .field("index", &self.0.index)
            .field("sent", &self.sent())
            .field("size", &self.0.size)
            .field("outcome", &self.outcome())
            .finish()
    }
}

impl Sending {
    fn outcome(&self) -> MutexGuard<'_, Option<Result<(), SnapshotError>>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}

/// Tells raft and the host what became of a snapshot, exactly once: also if it is dropped, as by a
/// task that panics or a core that has ended.
pub(crate) struct Verdict {
    pub(super) sending: Arc<Sending>,
    raft: Arc<dyn Raft>,
    told: bool,
}

impl Verdict {
    pub(crate) fn of(transport: &TransportShared, message: &Message, size: u64) -> Self {
        let sending = Sending {
            peer: MemberId(message.to()),
            index: message.snapshot_index(),
            size,
            sent: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            outcome: Mutex::default(),
            told: Condvar::new(),
            place: OnceLock::new(),
        };
        Self { sending: Arc::new(sending), raft: Arc::clone(&transport.raft), told: false }
    }

    pub(crate) fn handle(&self) -> SnapshotHandle {
        SnapshotHandle(Arc::clone(&self.sending))
    }

    pub(crate) fn set_place(&self, transport: &Arc<TransportShared>, peer: &Arc<PeerShared>) {
        let _ = self.sending.place.set((Arc::downgrade(transport), Arc::downgrade(peer)));
    }

    pub(crate) fn tell(mut self, outcome: Result<(), SnapshotError>) {
        self.tell_once(outcome);
    }

    /// The message is not one whose outcome raft waits for.
    pub(crate) fn tell_host_alone(mut self, error: SnapshotError) {
        self.told = true;
        *self.sending.outcome() = Some(Err(error));
    }

    fn tell_once(&mut self, outcome: Result<(), SnapshotError>) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let status = if outcome.is_ok() { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        report_snapshot(&*self.raft, self.sending.peer, status);
        *self.sending.outcome() = Some(outcome);
        self.sending.told.notify_all();
    }
}

/// Tells raft, on a core or wherever the last that knows of it is dropped; a panic of the host ends there.
pub(crate) fn report_snapshot(raft: &dyn Raft, peer: MemberId, status: SnapshotStatus) {
    let report = || raft.report_snapshot(peer, status);
    match Core::current() {
        Some(core) => drop(core.guard(report)),
        None => drop(catch_unwind(AssertUnwindSafe(report))),
    }
}

impl Drop for Verdict {
    fn drop(&mut self) {
        let error = if std::thread::panicking() { SnapshotError::Panicked } else { SnapshotError::Stopped };
        self.tell_once(Err(error));
    }
}
