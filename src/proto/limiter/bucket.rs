//! A token bucket.

use std::time::{Duration, Instant};

/// How fast a bucket fills.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// The time of one token.
    pub interval: Duration,
    /// How many tokens it holds.
    pub burst: u32,
}

/// A token bucket that starts full, in one word: the time at which it would be full again.
///
/// ```text
///   full_at - now:   0          interval          burst * interval
///                    | burst      | burst - 1   ...      | no token
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// `None` before the first token was taken.
    full_at: Option<Instant>,
}

impl Rate {
    /// `count` tokens a second, and as many at once.
    ///
    /// # Panics
    /// If `count` is 0.
    #[must_use]
    pub const fn per_second(count: u32) -> Self {
        Self { interval: Duration::from_nanos(1_000_000_000 / count as u64), burst: count }
    }
}

impl Bucket {
    /// Takes a token if there is one.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let has_token = self.has_token(rate, now);
        if has_token {
            let base = self.full_at.map_or(now, |full_at| full_at.max(now));
            self.full_at = Some(base + rate.interval);
        }
        has_token
    }

    /// True if there is a token.
    #[must_use]
    pub fn has_token(&self, rate: Rate, now: Instant) -> bool {
        let missing = self.full_at.map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now));
        missing + rate.interval <= rate.interval * rate.burst
    }

    /// True if no token is missing: such a bucket can be forgotten.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let (rate, start) = (Rate::per_second(20), Instant::now());
        let mut bucket = Bucket::default();
        let taken = (0..100).filter(|_| bucket.take(rate, start)).count();
        assert_eq!(taken, 20);
        let mut later = start;
        for _ in 0..5 {
            later += Duration::from_millis(50);
            assert!(bucket.take(rate, later));
            assert!(!bucket.take(rate, later));
        }
    }

    #[test]
    fn an_idle_bucket_saves_no_more_than_its_burst() {
        let (rate, start) = (Rate::per_second(20), Instant::now());
        let mut bucket = Bucket::default();
        assert!(bucket.is_full(start));
        assert!(bucket.take(rate, start));
        assert!(!bucket.is_full(start));
        let later = start + Duration::from_secs(3600);
        assert!(bucket.is_full(later));
        assert_eq!((0..100).filter(|_| bucket.take(rate, later)).count(), 20);
    }

    #[test]
    fn time_that_goes_backwards_gives_nothing() {
        let (rate, start) = (Rate::per_second(2), Instant::now() + Duration::from_secs(10));
        let mut bucket = Bucket::default();
        assert!(bucket.take(rate, start));
        assert!(!bucket.take(rate, start - Duration::from_secs(5)));
    }
}
