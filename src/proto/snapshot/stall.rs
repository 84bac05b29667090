//! When a transfer that goes on is given up: not after a time in total, for a database may be large
//! and a link thin, but when it no longer moves.

use std::time::{Duration, Instant};

/// A transfer must move at least so much a second, over the stall timeout: a link of 64 kbit/s passes,
/// and one byte every few seconds does not.
pub const RATE_BYTES_MIN: u64 = 1 << 10;

/// How long the other end may take from the last byte to its answer, beyond the stall timeout: etcd
/// syncs the whole file then, which a slow disk does with 8 MiB a second.
const SYNC_BYTES_PER_SECOND: u64 = 8 << 20;

/// Watches one transfer.
///
/// ```text
///   |---- timeout ----|        a window that has seen RATE_BYTES_MIN * timeout ends early, and the
///   |--------|-----|----...    next one begins there; one that runs out ends the transfer
/// ```
#[derive(Clone, Debug)]
pub struct Stall {
    timeout: Duration,
    since: Instant,
    bytes: u64,
}

impl Stall {
    /// A transfer that begins at `now`.
    #[must_use]
    pub const fn new(timeout: Duration, now: Instant) -> Self {
        Self { timeout, since: now, bytes: 0 }
    }

    /// So many bytes moved.
    pub fn handle_bytes(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes as u64;
        if self.bytes >= RATE_BYTES_MIN * self.timeout.as_secs().max(1) {
            self.restart(now);
        }
    }

    /// The time until now does not count: we ourselves held the transfer up.
    pub const fn restart(&mut self, now: Instant) {
        self.since = now;
        self.bytes = 0;
    }

    /// So much of the time did not count, and what moved before does still: a wait of ours that each
    /// piece brings must not begin a new window each time.
    pub fn skip(&mut self, waited: Duration) {
        self.since += waited;
    }

    /// When it is given up.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.since + self.timeout
    }
}

/// How long to wait for the answer to a snapshot whose database has `bytes`.
#[must_use]
pub fn answer_timeout(stall_timeout: Duration, bytes: u64) -> Duration {
    stall_timeout + Duration::from_secs(bytes / SYNC_BYTES_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// Moves `bytes` every `interval` for ten minutes; how long it lived.
    fn lives(bytes: usize, interval: Duration) -> Duration {
        let start = Instant::now();
        let (mut stall, mut now) = (Stall::new(TIMEOUT, start), start);
        while now - start < Duration::from_secs(600) {
            now += interval;
            if now > stall.deadline() {
                return stall.deadline() - start;
            }
            stall.handle_bytes(bytes, now);
        }
        now - start
    }

    #[test]
    fn a_thin_link_lives_and_a_drip_dies_in_30_s() {
        let second = Duration::from_secs(1);
        assert!(lives(8 << 10, second) >= 600 * second, "64 kbit/s");
        assert!(lives(1 << 10, second) >= 600 * second, "the limit itself");
        assert_eq!(lives(1, 4 * second), TIMEOUT);
        assert_eq!(lives(1023, second), TIMEOUT);
        assert_eq!(lives(1 << 20, 31 * second), TIMEOUT);
    }

    #[test]
    fn what_we_hold_up_ourselves_does_not_count() {
        let start = Instant::now();
        let mut stall = Stall::new(TIMEOUT, start);
        stall.handle_bytes(100, start);
        stall.restart(start + 25 * TIMEOUT);
        assert_eq!(stall.deadline(), start + 26 * TIMEOUT);
    }

    #[test]
    fn a_rate_of_our_own_does_not_save_a_receiver_that_drips() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let (mut stall, mut now) = (Stall::new(TIMEOUT, start), start);
        // For each piece of 4 KiB we wait for a second, and the receiver takes ten.
        let mut pieces = 0;
        while now <= stall.deadline() {
            stall.skip(second);
            now += 11 * second;
            stall.handle_bytes(4 << 10, now);
            pieces += 1;
            assert!(pieces < 10, "that is 400 bytes a second");
        }
        assert_eq!(stall.deadline(), start + TIMEOUT + pieces * second);
    }

    #[test]
    fn the_answer_to_a_large_file_may_take_longer() {
        assert_eq!(answer_timeout(TIMEOUT, 1 << 20), TIMEOUT);
        assert_eq!(answer_timeout(TIMEOUT, 8 << 30), TIMEOUT + Duration::from_secs(1024));
    }
}
