//! What cores and peers did and hold, counted where it happens and read by copying.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::round_trips::RoundTrips;
use crate::buf::PoolStats;
use crate::event::DropReason;
use crate::proto::stream::WriterCounters;
use crate::raftpb::MessageClass;

/// What one core holds and did, at one moment.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct CoreStats {
    /// Tasks alive.
    pub tasks: usize,
    /// Operations that the kernel holds.
    pub operations: usize,
    /// Blocks out and at home.
    pub blocks: PoolStats,
    /// Peers that were placed here and are not gone.
    pub peers: usize,
    /// The part of its time for which the core was busy lately, 0 to 1: neither parked nor polling
    /// for nothing.
    pub busy: f64,
    /// Looks at everything that is not I/O.
    pub turns: u64,
    /// Times that the core slept.
    pub parks: u64,
    /// Rounds of polling in which nothing was there.
    pub spins: u64,
    /// Wakes of a sleeping core, and rings that were not needed.
    pub rung: u64,
    /// See `rung`.
    pub suppressed: u64,
    /// Turns that found letters, and how many in sum.
    pub letter_batches: u64,
    /// See `letter_batches`.
    pub letters: u64,
    /// Calls of `Raft::process` by streams, and how many messages they were given.
    pub process_calls: u64,
    /// See `process_calls`.
    pub processed: u64,
    /// Times that a `msgapp` stream was left unread because its host did not take what had come.
    pub host_full_waits: u64,
    /// How late a look at the deadlines was, at most; they are looked at every 100 ms.
    pub late_max: Duration,
    /// Panics caught: of the host's callbacks, or of a task.
    pub panics: u64,
}

/// One stream writer of a peer.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LinkStats {
    /// Messages and payload bytes in the lane, not yet encoded.
    pub queued_messages: usize,
    /// See `queued_messages`.
    pub queued_bytes: usize,
    /// Bytes encoded and not yet given to the kernel.
    pub unflushed_bytes: usize,
    /// Writes that went straight to the socket, whole, and writes that went through the ring.
    pub direct_writes: u64,
    /// See `direct_writes`.
    pub ring_writes: u64,
    /// What was encoded and flushed, by reason.
    pub writer: WriterCounters,
}

/// One peer.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PeerStats {
    /// The core that owns it.
    pub core: usize,
    /// Its `msgapp` stream.
    pub msgapp: LinkStats,
    /// Its `message` stream.
    pub message: LinkStats,
    /// Round trips of both streams; `None` before the first, and for ever with etcd at the other end.
    pub round_trips: Option<RoundTrips>,
    /// By reason and class.
    pub(super) dropped: [[u64; MessageClass::ALL.len()]; DropReason::ALL.len()],
}

impl PeerStats {
    /// Messages to the peer that were dropped and told for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason.index()].iter().sum()
    }

    /// Those of them that are of this class.
    #[must_use]
    pub fn dropped_of(&self, reason: DropReason, class: MessageClass) -> u64 {
        self.dropped[reason.index()][class.index()]
    }
}

/// Counts of one core, which it alone writes and anybody reads: on cache lines of their own, for
/// what is beside them is written by others.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct CoreCounters {
    pub(super) tasks: Level,
    pub(super) operations: Level,
    pub(super) turns: Count,
    pub(super) parks: Count,
    pub(super) spins: Count,
    pub(super) letter_batches: Count,
    pub(super) letters: Count,
    pub(super) process_calls: Count,
    pub(super) processed: Count,
    pub(super) host_full_waits: Count,
    pub(super) panics: Count,
    late_max_nanos: AtomicU64,
}

/// A number that only grows. One thread writes it, so that it need not add in one step.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, count: usize) {
        self.0.store(self.get() + count as u64, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number of things alive. One thread writes it.
#[derive(Debug, Default)]
pub(super) struct Level(AtomicUsize);

impl Level {
    pub(super) fn up(&self) {
        self.0.store(self.get() + 1, Ordering::Relaxed);
    }

    pub(super) fn down(&self) {
        self.0.store(self.get() - 1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl CoreCounters {
    pub(super) fn note_late(&self, late: Duration) {
        self.late_max_nanos.fetch_max(late.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(super) fn write_to(&self, stats: &mut CoreStats) {
        stats.tasks = self.tasks.get();
        stats.operations = self.operations.get();
        stats.turns = self.turns.get();
        stats.parks = self.parks.get();
        stats.spins = self.spins.get();
        stats.letter_batches = self.letter_batches.get();
        stats.letters = self.letters.get();
        stats.process_calls = self.process_calls.get();
        stats.processed = self.processed.get();
        stats.host_full_waits = self.host_full_waits.get();
        stats.panics = self.panics.get();
        stats.late_max = Duration::from_nanos(self.late_max_nanos.load(Ordering::Relaxed));
    }
}

/// How much of its time a core has nothing to do.
#[derive(Debug)]
pub(super) struct IdleTime {
    since: Cell<Option<Instant>>,
    sum: Cell<Duration>,
    counted_from: Cell<Instant>,
}

impl IdleTime {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: Cell::new(None), sum: Cell::new(Duration::ZERO), counted_from: Cell::new(now) }
    }

    /// There is nothing to do; it may be so already.
    pub(super) fn begin(&self, now: Instant) {
        if self.since.get().is_none() {
            self.since.set(Some(now));
        }
    }

    /// There is something to do; it may be so already.
    pub(super) fn end(&self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.sum.set(self.sum.get() + now.saturating_duration_since(since));
        }
    }

    /// The part of the time since the last call for which there was something to do.
    pub(super) fn busy_part(&self, now: Instant) -> f64 {
        if self.since.get().is_some() {
            self.end(now);
            self.begin(now);
        }
        let all = now.saturating_duration_since(self.counted_from.replace(now));
        let idle = self.sum.take();
        if all.is_zero() { 0.0 } else { 1.0 - idle.as_secs_f64() / all.as_secs_f64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_busy_when_it_is_not_idle() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let idle = IdleTime::new(start);
        assert_eq!(idle.busy_part(start), 0.0, "no time, no part of it");
        idle.begin(at(10));
        idle.begin(at(20));
        idle.end(at(40));
        idle.end(at(90));
        assert_eq!(idle.busy_part(at(100)), 0.7);
        idle.begin(at(150));
        assert_eq!(idle.busy_part(at(200)), 0.5, "idle still");
        assert_eq!(idle.busy_part(at(300)), 0.0);
    }
}
