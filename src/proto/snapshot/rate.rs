//! How fast all snapshots of a process may leave together.

use std::time::{Duration, Instant};

/// What is saved up while nothing is sent, in time: enough for a wake-up that comes late, and little
/// beside any link.
const BURST: Duration = Duration::from_millis(20);

/// A token bucket in bytes that lends: who takes more than there is waits afterwards, so that a piece
/// may be larger than the bucket.
#[derive(Clone, Debug)]
pub struct RateLimit {
    bytes_per_second: u64,
    /// When everything that was taken is paid for.
    paid_at: Option<Instant>,
}

impl RateLimit {
    /// So many bytes a second.
    ///
    /// # Panics
    /// If that is 0.
    #[must_use]
    pub const fn new(bytes_per_second: u64) -> Self {
        assert!(bytes_per_second > 0, "nothing could ever be sent");
        Self { bytes_per_second, paid_at: None }
    }

    /// Takes `bytes`; they may be sent at the time that is returned, which is `now` or later.
    #[must_use = "wait until then"]
    pub fn take(&mut self, bytes: usize, now: Instant) -> Instant {
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let from = self.paid_at.map_or(now, |paid_at| paid_at.max(earliest));
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_second);
        self.paid_at = Some(from + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        from.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn several_senders_share_one_rate() {
        let start = Instant::now();
        let mut limit = RateLimit::new(1_000_000);
        let (mut now, mut bytes) = (start, 0);
        // Two senders, each of which waits as told; the later one's wait covers the earlier one's.
        while now < start + 10_000 * MS {
            for _sender in 0..2 {
                now = limit.take(25_000, now);
                bytes += 25_000;
            }
        }
        let rate = bytes as f64 / (now - start).as_secs_f64();
        assert!((rate / 1e6 - 1.0).abs() < 0.01, "{rate}");
    }

    #[test]
    fn a_sender_that_wakes_late_catches_up_but_not_more() {
        let start = Instant::now();
        let mut limit = RateLimit::new(1_000_000);
        let mut now = start;
        for _ in 0..100 {
            now = limit.take(10_000, now) + MS;
        }
        assert!(now - start <= 1_001 * MS, "1 MB in a second, though each wake-up was late by 1 ms");
        now += 60_000 * MS;
        let at_once = (0..1000).take_while(|_| limit.take(1_000, now) == now).count();
        assert!(at_once <= 21, "an hour of silence saves up 20 ms: {at_once}");
    }
}
