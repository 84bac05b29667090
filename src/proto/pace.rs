//! The pace of dials (protocol section 9.2, the reader's rate limiter).

use std::time::{Duration, Instant};

/// etcd's `DialRetryFrequency`: ten dials a second.
pub const DIAL_INTERVAL: Duration = Duration::from_millis(100);

/// The pace of one stream reader: a token bucket that holds one token and starts full.
///
/// The first dial asks nobody. So the second follows the first failure at once, and from then on
/// there is one an interval:
///
/// ```text
///   dial ─fails▶ dial ─fails▶ · · · 100 ms · · · dial ─fails▶ · · ·
///                └ the token     one interval after that token was taken
/// ```
#[derive(Clone, Debug)]
pub struct Pace {
    interval: Duration,
    /// When the next token is there; `None` before the first was taken.
    token_at: Option<Instant>,
}

impl Pace {
    /// One dial an `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self { interval, token_at: None }
    }

    /// Takes a token at `now`, after a dial or a stream ended: when the next dial may begin, which
    /// is never before `now`.
    #[must_use = "dial then"]
    pub fn next_dial(&mut self, now: Instant) -> Instant {
        let at = self.token_at.map_or(now, |token_at| token_at.max(now));
        self.token_at = Some(at + self.interval);
        at
    }

    /// No dial before `now + pause`, whatever the pace: see
    /// [`DialRefusal::back_off`](super::handshake::DialRefusal::back_off).
    pub fn hold(&mut self, now: Instant, pause: Duration) {
        let until = now + pause;
        self.token_at = Some(self.token_at.map_or(until, |token_at| token_at.max(until)));
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(DIAL_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_second_dial_is_immediate_and_then_there_are_ten_a_second() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        // Every dial fails within 1 ms.
        let mut now = start;
        let mut dials = vec![0];
        for _ in 0..4 {
            now = pace.next_dial(now + MS);
            dials.push((now - start).as_millis());
        }
        assert_eq!(dials, [0, 1, 101, 201, 301]);
    }

    #[test]
    fn a_long_stream_saves_one_token_not_many() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let late = start + 1000 * DIAL_INTERVAL;
        assert_eq!(pace.next_dial(start), start);
        assert_eq!(pace.next_dial(late), late);
        assert_eq!(pace.next_dial(late), late + DIAL_INTERVAL);
    }

    #[test]
    fn a_hold_delays_the_next_dial() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.hold(start, 10_000 * MS);
        assert_eq!(pace.next_dial(start), start + 10_000 * MS);
        pace.hold(start, MS);
        assert_eq!(
            pace.next_dial(start),
            start + 10_000 * MS + DIAL_INTERVAL,
            "a shorter one changes nothing"
        );
    }
}
