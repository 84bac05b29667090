//! How long a leader's appends to one follower take.

use std::time::Duration;

/// How long `MsgApp` to one follower take, and how many failed.
///
/// A success is what rafthttp calls one: each frame of the `msgapp` stream that is no link heartbeat,
/// whether or not the follower takes the entries, and each `POST /raft` of a `MsgApp`.
#[derive(Clone, Debug, PartialEq)]
pub struct FollowerStats {
    success: u64,
    fail: u64,
    /// All in milliseconds.
    current: f64,
    minimum: f64,
    maximum: f64,
    sum: f64,
    sum_of_squares: f64,
}

/// Where `minimum` starts, in milliseconds: etcd's own 2^63.
pub const MINIMUM_START: f64 = (1_u64 << 63) as f64;

impl FollowerStats {
    /// Nothing was sent.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            success: 0,
            fail: 0,
            current: 0.0,
            minimum: MINIMUM_START,
            maximum: 0.0,
            sum: 0.0,
            sum_of_squares: 0.0,
        }
    }

    /// So many messages left together and took so long; 0 is nothing.
    pub const fn success(&mut self, count: u64, took: Duration) {
        if count == 0 {
            return;
        }
        let ms = took.as_secs_f64() * 1_000.0;
        self.success += count;
        self.current = ms;
        self.minimum = self.minimum.min(ms);
        self.maximum = self.maximum.max(ms);
        self.sum += ms * count as f64;
        self.sum_of_squares += ms * ms * count as f64;
    }

    /// A message did not leave.
    pub const fn fail(&mut self) {
        self.fail += 1;
    }

    /// Messages that left.
    #[must_use]
    pub const fn success_count(&self) -> u64 {
        self.success
    }

    /// Messages that did not.
    #[must_use]
    pub const fn fail_count(&self) -> u64 {
        self.fail
    }

    /// The last one, in milliseconds; 0 before there was one.
    #[must_use]
    pub const fn current(&self) -> f64 {
        self.current
    }

    /// The quickest, in milliseconds; [`MINIMUM_START`] before there was one.
    #[must_use]
    pub const fn minimum(&self) -> f64 {
        self.minimum
    }

    /// The slowest, in milliseconds.
    #[must_use]
    pub const fn maximum(&self) -> f64 {
        self.maximum
    }

    /// The mean, in milliseconds; 0 before there was one.
    #[must_use]
    pub fn average(&self) -> f64 {
        if self.success == 0 { 0.0 } else { self.sum / self.success as f64 }
    }

    /// Of all, in milliseconds; never below 0, whatever rounding does to a difference.
    #[must_use]
    pub fn standard_deviation(&self) -> f64 {
        if self.success == 0 {
            return 0.0;
        }
        let average = self.average();
        (self.sum_of_squares / self.success as f64 - average * average).max(0.0).sqrt()
    }
}

impl Default for FollowerStats {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn before_the_first_message_there_are_etcds_own_beginnings() {
        let stats = FollowerStats::new();
        assert_eq!(stats.minimum(), 9_223_372_036_854_775_808.0);
        assert_eq!((stats.current(), stats.maximum()), (0.0, 0.0));
        assert_eq!((stats.average(), stats.standard_deviation()), (0.0, 0.0));
    }

    #[test]
    fn messages_that_left_together_count_as_if_they_had_left_one_by_one() {
        let (mut together, mut apart) = (FollowerStats::new(), FollowerStats::new());
        for (count, took) in [(3, ms(2)), (0, ms(900)), (1, ms(6)), (4, ms(4))] {
            together.success(count, took);
            (0..count).for_each(|_| apart.success(1, took));
        }
        together.fail();
        assert_eq!((together.success_count(), together.fail_count()), (8, 1));
        assert_eq!((together.current(), together.minimum(), together.maximum()), (4.0, 2.0, 6.0));
        assert_eq!(together.average(), 3.5);
        // (3 * 4 + 36 + 4 * 16) / 8 - 3.5^2
        assert!((together.standard_deviation() - 1.75_f64.sqrt()).abs() < 1e-12);
        assert!((together.standard_deviation() - apart.standard_deviation()).abs() < 1e-12);
    }
}
