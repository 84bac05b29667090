//! Single numbers.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds so many.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The sum so far.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that comes and goes.
#[derive(Debug, Default)]
pub struct Gauge {
    value: AtomicI64,
    /// A gauge that was never set tells nothing, and is not the same as one that is 0 again.
    was_set: AtomicBool,
}

impl Gauge {
    /// Zero, and not set.
    #[must_use]
    pub const fn new() -> Self {
        Self { value: AtomicI64::new(0), was_set: AtomicBool::new(false) }
    }

    /// Adds so many, or takes them away.
    pub fn add(&self, count: i64) {
        self.value.fetch_add(count, Ordering::Relaxed);
        self.was_set.store(true, Ordering::Relaxed);
    }

    /// The value, `None` if it was never set.
    #[must_use]
    pub fn get(&self) -> Option<i64> {
        self.was_set.load(Ordering::Relaxed).then(|| self.value.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_at_zero_is_not_one_that_was_never_set() {
        let gauge = Gauge::new();
        assert_eq!(gauge.get(), None);
        gauge.add(2);
        gauge.add(-1);
        assert_eq!(gauge.get(), Some(1));
        gauge.add(-1);
        assert_eq!(gauge.get(), Some(0));
    }

    #[test]
    fn a_counter_that_overflows_begins_anew_and_does_not_panic() {
        let counter = Counter::new();
        counter.add(u64::MAX);
        counter.add(3);
        assert_eq!(counter.get(), 2);
    }
}
