//! Snapshots on the wire: what all cores of a process share, and the two directions.
//!
//! ```text
//!   send      helper: source --blocks--> ReadAhead --> core: chunks --> socket, at a rate
//!   receive   socket --> core: SnapshotReceiver --pieces--> WriteBehind --> helper: sink
//! ```
//!
//! Files block, so cores never touch them: a helper thread does, at most 1 MiB ahead of the socket or
//! behind it, and the core awaits it like anything else.

mod handle;
mod helpers;
mod incoming;
mod outgoing;
mod patience;
mod read_ahead;
mod receive;
mod send;
mod upload;
mod write_behind;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use handle::SnapshotHandle;
pub(crate) use handle::{Verdict, report_snapshot};
use helpers::Helpers;
pub(crate) use incoming::Incoming;
pub use incoming::SnapshotProgress;
pub(crate) use outgoing::Outgoing;
pub(super) use send::Uploads;
pub(crate) use send::{SnapshotJob, begin};

use crate::id::MemberId;
use crate::io::shared::TransportShared;
use crate::proto::snapshot::{NoSlot, RateLimit, Slots};

/// What the snapshots of a process share.
pub(crate) struct Snapshots {
    sends: Mutex<Slots<SlotKey>>,
    receives: Mutex<Slots<SlotKey>>,
    rate: Option<Mutex<RateLimit>>,
    bytes_per_second: Option<u64>,
    helpers: Helpers,
    epoch: Instant,
    /// Nanoseconds since the epoch until which nothing begins, for lack of descriptors.
    scarce_until: AtomicU64,
}

/// A transport of this process, by its address, and its peer.
type SlotKey = (usize, MemberId);

/// The first half of [`SlotKey`].
fn transport_key(transport: &Arc<TransportShared>) -> usize {
    Arc::as_ptr(transport) as usize
}

/// Which way a snapshot goes.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Send,
    Receive,
}

/// The right to one snapshot that is under way.
pub(super) struct Slot {
    snapshots: Arc<Snapshots>,
    way: Way,
    key: SlotKey,
}

/// With a limit: fifty times as often as a receiver's patience of 5 s asks for, shared by ten.
const PIECES_PER_SECOND_MIN: u64 = 20;

/// Less in a write would cost more than it spaces out.
const PIECE_BYTES_MIN: usize = 4 << 10;

/// After an accept that found no descriptor snapshots wait: streams come first.
const SCARCE_TIME: Duration = Duration::from_secs(10);

impl Snapshots {
    pub(super) fn new(max: usize, bytes_per_second: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            sends: Mutex::new(Slots::new(max)),
            receives: Mutex::new(Slots::new(max)),
            rate: bytes_per_second.map(|rate| Mutex::new(RateLimit::new(rate))),
            bytes_per_second,
            // One for each that may be under way: a disk that hangs holds up none of the others.
            helpers: Helpers::new(2 * max),
            epoch: Instant::now(),
            scarce_until: AtomicU64::new(0),
        })
    }

    /// The process is out of descriptors.
    pub(super) fn note_scarcity(&self) {
        let until = self.epoch.elapsed() + SCARCE_TIME;
        self.scarce_until.store(until.as_nanos() as u64, Ordering::Relaxed);
    }

    /// A snapshot of this transport begins; it lasts as long as the slot.
    pub(super) fn enter(
        self: &Arc<Self>,
        way: Way,
        transport: usize,
        peer: MemberId,
    ) -> Result<Slot, NoSlot> {
        if (self.epoch.elapsed().as_nanos() as u64) < self.scarce_until.load(Ordering::Relaxed) {
            return Err(NoSlot::Total);
        }
        if self.helpers.are_stuck() {
            return Err(NoSlot::Total);
        }
        let key = (transport, peer);
        self.slots(way).enter(key)?;
        Ok(Slot { snapshots: Arc::clone(self), way, key })
    }

    fn slots(&self, way: Way) -> MutexGuard<'_, Slots<SlotKey>> {
        let slots = match way {
            Way::Send => &self.sends,
            Way::Receive => &self.receives,
        };
        slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much is written at once: a limit that is low is met by small pieces, so that none of the
    /// receivers that share it waits for seconds.
    fn piece_bytes_max(&self) -> usize {
        let of_rate = |rate: u64| usize::try_from(rate / PIECES_PER_SECOND_MIN).unwrap_or(usize::MAX);
        self.bytes_per_second.map_or(usize::MAX, of_rate).max(PIECE_BYTES_MIN)
    }

    /// When so many bytes may be sent.
    fn may_send_at(&self, bytes: usize, now: Instant) -> Instant {
        match &self.rate {
            Some(rate) => rate.lock().unwrap_or_else(PoisonError::into_inner).take(bytes, now),
            None => now,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.snapshots.slots(self.way).leave(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_descriptors_snapshots_are_the_first_to_wait() {
        let snapshots = Snapshots::new(2, None);
        let (way, peer) = (Way::Receive, MemberId(1));
        let slot = snapshots.enter(way, 0, peer).expect("the first");
        assert_eq!(snapshots.enter(way, 0, peer).err(), Some(NoSlot::SamePeer));
        let other = snapshots.enter(way, 1, peer).expect("of another transport");
        assert_eq!(snapshots.enter(way, 0, MemberId(2)).err(), Some(NoSlot::Total));
        assert!(snapshots.enter(Way::Send, 0, peer).is_ok(), "the other way");
        drop((slot, other));
        snapshots.note_scarcity();
        assert_eq!(snapshots.enter(way, 0, peer).err(), Some(NoSlot::Total));
        snapshots.scarce_until.store(0, Ordering::Relaxed);
        assert!(snapshots.enter(way, 0, peer).is_ok());
    }

    /// Each of those that are given up leaves a job behind, for a helper that never comes.
    #[test]
    fn while_all_disks_hang_nothing_begins() {
        let snapshots = Snapshots::new(1, None);
        let (go_on, hangs) = std::sync::mpsc::channel::<()>();
        let hangs = Arc::new(Mutex::new(hangs));
        for _ in 0..4 {
            let hangs = Arc::clone(&hangs);
            snapshots.helpers.run(move || drop(hangs.lock().map(|hangs| hangs.recv())));
        }
        let refused = || snapshots.enter(Way::Receive, 0, MemberId(1)).err();
        let deadline = Instant::now() + Duration::from_secs(10);
        assert_eq!(refused(), Some(NoSlot::Total), "two hang, and two wait");
        drop(go_on);
        while refused().is_some() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(refused(), None);
    }

    #[test]
    fn a_low_rate_is_met_by_small_pieces() {
        assert_eq!(Snapshots::new(2, None).piece_bytes_max(), usize::MAX);
        assert_eq!(Snapshots::new(2, Some(64 << 10)).piece_bytes_max(), 4 << 10);
        assert_eq!(Snapshots::new(2, Some(50_000_000)).piece_bytes_max(), 2_500_000);
    }
}
