//! Durations of the stages as one can ask about them.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::stage::{Stage, Stages};

/// Bounds of what is told apart, in nanoseconds, and to how many digits.
const NANOS_MIN: u64 = 64;
const NANOS_MAX: u64 = 1 << 36;
const DIGITS: u8 = 2;

/// How long messages stayed in each stage since the cores were started: a copy, of one core or of
/// several together.
#[derive(Clone, Debug)]
pub struct Latencies([Latency; Stage::ALL.len()]);

/// How long messages stayed in one stage.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Latencies {
    /// Of all these cores together.
    #[must_use]
    pub fn of<'a>(cores: impl IntoIterator<Item = &'a Stages>) -> Self {
        let mut latencies = Stage::ALL.map(|_| Latency::new());
        for stages in cores {
            for (stage, latency) in Stage::ALL.into_iter().zip(&mut latencies) {
                stages.each(stage).for_each(|(took, messages)| latency.add(took, messages));
            }
        }
        Self(latencies)
    }

    /// Of one stage.
    #[must_use]
    pub const fn stage(&self, stage: Stage) -> &Latency {
        &self.0[stage as usize]
    }
}

impl Latency {
    fn new() -> Self {
        let bounds = Histogram::new_with_bounds(NANOS_MIN, NANOS_MAX, DIGITS);
        Self(bounds.expect("the bounds are constants that it accepts"))
    }

    fn add(&mut self, took: Duration, messages: u64) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record_n(nanos, messages);
    }

    /// Messages.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that this part of them (0 to 1) did not exceed; zero if there were none.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        if self.0.is_empty() {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.0.value_at_quantile(part.clamp(0.0, 1.0)))
    }

    /// The mean; zero if there were none.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.0.mean() as u64)
    }

    /// The shortest; zero if there were none.
    #[must_use]
    pub fn min(&self) -> Duration {
        if self.0.is_empty() { Duration::ZERO } else { Duration::from_nanos(self.0.min()) }
    }

    /// The longest, of which those above a minute are told as one; zero if there were none.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_about(told: Duration, true_value: Duration) -> bool {
        (told.as_secs_f64() / true_value.as_secs_f64() - 1.0).abs() < 0.012
    }

    #[test]
    fn cores_are_told_together() {
        let cores = [(); 2].map(|()| Stages::new());
        for us in 1..=1_000 {
            cores[us % 2].record(Stage::Queued, Duration::from_micros(us as u64 * 10), 3);
        }
        cores[0].record(Stage::Written, Duration::from_secs(7_200), 1);
        let latencies = Latencies::of(&cores);
        let queued = latencies.stage(Stage::Queued);
        assert_eq!(queued.count(), 3_000);
        for (part, ms) in [(0.5, 5.0), (0.99, 9.9), (1.0, 10.0)] {
            assert!(is_about(queued.quantile(part), Duration::from_secs_f64(ms / 1e3)), "{part}");
        }
        assert!(is_about(queued.mean(), Duration::from_micros(5_005)));
        assert!(is_about(queued.min(), Duration::from_micros(10)));
        assert!(latencies.stage(Stage::Written).max() > Duration::from_secs(60));
    }

    #[test]
    fn of_nothing_all_is_zero() {
        let latencies = Latencies::of([&Stages::new()]);
        let received = latencies.stage(Stage::Received);
        assert_eq!((received.count(), received.quantile(0.99)), (0, Duration::ZERO));
        assert_eq!((received.min(), received.max(), received.mean()), Default::default());
    }
}
