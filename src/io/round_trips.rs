//! Round trips in a histogram.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// In microseconds, to a sixteenth: 1.2 KiB a peer.
const DIGITS: u8 = 1;

/// Four seconds: a stream that is slower ends.
const MICROS_MAX: u64 = (1 << 22) - 1;

/// Round trips of a peer's streams, measured on their own connections: from a link heartbeat that was
/// encoded to its echo from the other end's core. There are none with etcd at the other end.
#[derive(Clone)]
pub struct RoundTrips(Histogram<u32>);

impl RoundTrips {
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_max(MICROS_MAX, DIGITS).expect("these bounds are possible"))
    }

    pub(super) fn record(&mut self, round_trip: Duration) {
        let micros = u64::try_from(round_trip.as_micros()).unwrap_or(MICROS_MAX);
        let recorded = self.0.record(micros.min(MICROS_MAX));
        debug_assert!(recorded.is_ok(), "within its bounds");
    }

    /// How many were measured.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The round trip within which this part of them was, 0 to 1; in microseconds, a sixteenth too much
    /// at worst, and four seconds at most.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(part))
    }

    /// The longest, likewise.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }
}

impl fmt::Debug for RoundTrips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundTrips")
            .field("count", &self.count())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_it_was_given_in_bounded_memory() {
        let mut round_trips = RoundTrips::new();
        assert_eq!((round_trips.count(), round_trips.quantile(0.5)), (0, Duration::ZERO));
        for micros in 1..=100 {
            round_trips.record(Duration::from_micros(micros));
        }
        let middle = round_trips.quantile(0.5).as_micros();
        assert!((50..=53).contains(&middle), "{middle}");
        round_trips.record(Duration::MAX);
        assert!(round_trips.max() >= Duration::from_secs(4));
        assert_eq!(round_trips.count(), 101);
        assert!(round_trips.0.distinct_values() * size_of::<u32>() <= 1_280);
    }
}
