//! etcd's `v2stats`: how long a leader's appends take, and how many a server sends and receives
//! (protocol sections 9.1, 10.1, 13 and the end of 15).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

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

/// Appends a second, from the last [`RATE_BATCHES_MAX`] batches.
///
/// etcd looks at the last 200 appends. Here those that leave or come together are one batch, or a
/// rate above 200 in one flush could not be told.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    batches: VecDeque<Batch>,
    appends: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    at: Instant,
    appends: u64,
    bytes: u64,
}

/// As many as etcd's queue of requests has.
pub const RATE_BATCHES_MAX: usize = 200;

/// With nothing for longer than that the rate is 0.
const RATE_AGE_MAX: Duration = Duration::from_secs(1);

impl Rate {
    /// So many came at `now`, which does not go back.
    pub fn add(&mut self, now: Instant, appends: u64, bytes: u64) {
        if self.batches.len() == RATE_BATCHES_MAX
            && let Some(oldest) = self.batches.pop_front()
        {
            self.appends -= oldest.appends;
            self.bytes -= oldest.bytes;
        }
        self.batches.push_back(Batch { at: now, appends, bytes });
        self.appends += appends;
        self.bytes += bytes;
    }

    /// Appends and bytes a second. Nothing for a second is 0 and begins anew; so is a single moment,
    /// where etcd would divide by zero.
    pub fn rates(&mut self, now: Instant) -> (f64, f64) {
        let (Some(first), Some(last)) = (self.batches.front(), self.batches.back()) else {
            return (0.0, 0.0);
        };
        if now.saturating_duration_since(last.at) > RATE_AGE_MAX {
            *self = Self::default();
            return (0.0, 0.0);
        }
        let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
        if seconds == 0.0 {
            return (0.0, 0.0);
        }
        (self.appends as f64 / seconds, self.bytes as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_batches() {
        let (start, mut rate) = (Instant::now(), Rate::default());
        assert_eq!(rate.rates(start), (0.0, 0.0));
        rate.add(start, 7, 70);
        assert_eq!(rate.rates(start), (0.0, 0.0), "one moment has no rate");
        for at in 1..=1_000 {
            rate.add(start + ms(at), 2, 100);
        }
        assert_eq!(rate.batches.len(), RATE_BATCHES_MAX);
        let (appends, bytes) = rate.rates(start + ms(1_500));
        // As in etcd, 200 of them lie in 199 steps.
        assert!((appends - 400.0 / 0.199).abs() < 1e-6 && (bytes - 20_000.0 / 0.199).abs() < 1e-6);
        assert_eq!(rate.rates(start + ms(2_001)), (0.0, 0.0), "nothing for a second");
        assert_eq!(rate.batches.len(), 0);
    }

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
