//! How many appends a second.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

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

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

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
}
