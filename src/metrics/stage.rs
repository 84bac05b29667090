//! How long messages stay in each stage of their way.
//!
//! ```text
//!   lane --queued--> encoder --encoded--> write --written--> kernel     the sender's core
//!   kernel -----> read --received--> decoder --handed over--> host      the receiver's
//! ```
//!
//! Messages that move together are recorded together, with one addition for all of them, and no
//! clock is read for each; of small batches not each is timed (`super::sample`), but each is counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A part of a message's way.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stage {
    /// In a lane, until it is encoded. Messages that found their link free were in none.
    Queued,
    /// Encoded, until the write that takes it along begins; of all that leaves together the oldest
    /// counts.
    Encoded,
    /// From the beginning of that write until the kernel has all of it.
    Written,
    /// From the end of the read that brought its last byte until it is decoded.
    Received,
    /// Decoded, until the host has taken it in `Raft::process`.
    HandedOver,
}

impl Stage {
    /// All stages, in the order of a message's way.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Encoded, Self::Written, Self::Received, Self::HandedOver];

    /// A word for labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Encoded => "encoded",
            Self::Written => "written",
            Self::Received => "received",
            Self::HandedOver => "handed_over",
        }
    }
}

/// Nanoseconds to a step of the finest buckets, as a shift: 64 ns.
const UNIT_SHIFT: u32 = 6;

/// Each power of two is divided into so many buckets, as a shift: 128, so that a duration is known
/// to two digits.
const PARTS_SHIFT: u32 = 7;

/// The longest duration that is told apart from longer ones is two to this power, in nanoseconds: 68 s.
const LONGEST_SHIFT: u32 = 36;

const PARTS: usize = 1 << PARTS_SHIFT;

/// 3,072: some 24 KiB.
const BUCKETS: usize = ((LONGEST_SHIFT - UNIT_SHIFT - PARTS_SHIFT + 1) as usize) * PARTS;

/// What one core's messages took in each stage. Written by the core and by those who send at its
/// links, read by anybody.
#[derive(Debug)]
pub struct Stages([Durations; Stage::ALL.len()]);

#[derive(Debug)]
struct Durations(Box<[AtomicU64]>);

impl Stages {
    /// Nothing recorded.
    #[must_use]
    pub fn new() -> Self {
        let empty = || Durations((0..BUCKETS).map(|_| AtomicU64::new(0)).collect());
        Self([(); Stage::ALL.len()].map(|()| empty()))
    }

    /// So many messages took so long.
    #[inline]
    pub fn record(&self, stage: Stage, took: Duration, messages: usize) {
        self.0[stage as usize].0[bucket(took)].fetch_add(messages as u64, Ordering::Relaxed);
    }

    /// Each duration that was recorded, about, with how many messages took it; ascending.
    pub fn each(&self, stage: Stage) -> impl Iterator<Item = (Duration, u64)> {
        let counts = self.0[stage as usize].0.iter().map(|count| count.load(Ordering::Relaxed));
        counts.enumerate().filter(|(_, count)| *count > 0).map(|(at, count)| (middle(at), count))
    }
}

impl Default for Stages {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
fn bucket(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    let units = (nanos.min((1 << LONGEST_SHIFT) - 1)) >> UNIT_SHIFT;
    // Below two times PARTS each bucket is a unit wide; above, twice as wide with each power of two.
    let shift = (units | (PARTS as u64)).ilog2() - PARTS_SHIFT;
    (shift as usize) * PARTS + (units >> shift) as usize
}

/// The duration in the middle of a bucket.
fn middle(bucket: usize) -> Duration {
    let shift = (bucket / PARTS).saturating_sub(1) as u32;
    let units = (bucket - (shift as usize) * PARTS) as u64;
    let width = 1 << (shift + UNIT_SHIFT);
    Duration::from_nanos(units * width + width / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_known_to_two_digits_from_10_us_to_a_minute() {
        let mut nanos = 10_000.0_f64;
        while nanos < 60e9 {
            let took = Duration::from_nanos(nanos as u64);
            let told = middle(bucket(took)).as_secs_f64();
            assert!((told / took.as_secs_f64() - 1.0).abs() < 0.005, "{took:?} told as {told}");
            nanos *= 1.01;
        }
    }

    #[test]
    fn buckets_follow_each_other_without_gap() {
        let mut last = 0;
        for units in 0..1_u64 << 16 {
            let at = bucket(Duration::from_nanos(units << UNIT_SHIFT));
            assert!(at == last || at == last + 1, "{units}");
            last = at;
        }
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        assert_eq!(bucket(Duration::from_secs(3600)), BUCKETS - 1);
    }

    #[test]
    fn messages_that_move_together_are_recorded_together() {
        let stages = Stages::new();
        stages.record(Stage::Written, Duration::from_micros(5), 700);
        stages.record(Stage::Written, Duration::from_micros(5), 1);
        stages.record(Stage::Written, Duration::from_millis(5), 2);
        let told: Vec<_> = stages.each(Stage::Written).collect();
        assert_eq!(told.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [701, 2]);
        assert!(told[0].0.as_nanos().abs_diff(5_000) <= 64);
        assert_eq!(stages.each(Stage::Queued).count(), 0);
    }
}
