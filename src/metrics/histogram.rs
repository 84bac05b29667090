//! Durations in buckets, as Prometheus counts them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::number::Counter;

/// Upper bounds of the buckets of `snapshot_{send,receive}_total_duration_seconds`: 0.1 s to 51.2 s.
pub const SNAPSHOT_SECONDS: [f64; 10] = doubling(0.1);

/// Those of `peer_round_trip_time_seconds`: 0.1 ms to 3.2768 s.
pub const ROUND_TRIP_SECONDS: [f64; 16] = doubling(0.0001);

const fn doubling<const N: usize>(first: f64) -> [f64; N] {
    let mut bounds = [first; N];
    let mut at = 1;
    while at < N {
        bounds[at] = bounds[at - 1] * 2.0;
        at += 1;
    }
    bounds
}

/// A histogram of seconds with fixed buckets.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    /// Upper bounds, ascending.
    bounds: &'static [f64; N],
    /// Observations up to each bound and above the one before it.
    buckets: [Counter; N],
    /// Those above the last bound.
    above: Counter,
    /// The bits of a sum of seconds.
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    /// Nothing observed.
    #[must_use]
    pub const fn new(bounds: &'static [f64; N]) -> Self {
        Self { bounds, buckets: [const { Counter::new() }; N], above: Counter::new(), sum: AtomicU64::new(0) }
    }

    /// Something took so long.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.iter().position(|bound| seconds <= *bound);
        bucket.map_or(&self.above, |at| &self.buckets[at]).add(1);
        let add = |bits| Some((f64::from_bits(bits) + seconds).to_bits());
        let _always = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Each bound with how many observations are not above it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        self.bounds.iter().zip(&self.buckets).scan(0_u64, |sum, (bound, bucket)| {
            *sum = sum.wrapping_add(bucket.get());
            Some((*bound, *sum))
        })
    }

    /// How many observations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        let counts = self.buckets.iter().chain([&self.above]).map(Counter::get);
        counts.fold(0, u64::wrapping_add)
    }

    /// Their sum in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        f64::from_bits(self.sum.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_etcd() {
        assert_eq!(SNAPSHOT_SECONDS, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2]);
        assert_eq!(ROUND_TRIP_SECONDS[0], 0.0001);
        assert_eq!(ROUND_TRIP_SECONDS[15], 3.2768);
    }

    #[test]
    fn an_observation_counts_in_its_bucket_and_in_those_above() {
        let histogram = Histogram::new(&SNAPSHOT_SECONDS);
        for ms in [0, 100, 101, 51_200, 60_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let counts: Vec<_> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 3, 3, 3, 4]);
        assert_eq!(histogram.count(), 5);
        assert!((histogram.sum_seconds() - 111.401).abs() < 1e-9);
    }
}
