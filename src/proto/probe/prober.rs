//! One prober of one peer: when to ask, and what the answers say (protocol sections 12.2 and 12.3).

use std::time::{Duration, Instant};

use super::WallTime;

/// Between two probes: etcd's read timeout of 5 s less one second, so that a connection that is kept
/// stays open.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(4);

/// The monitor's first look, and the next one while the member is unhealthy.
const LOOK_SOON: Duration = Duration::from_secs(5);

/// The next look while it is well.
const LOOK_LATER: Duration = Duration::from_secs(30);

/// Clocks further apart are worth a warning. etcd warns only if its own is ahead.
pub const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(1);

/// Bytes of the last error that are kept.
const ERROR_BYTES_MAX: usize = 256;

/// One prober's schedule and what it found. One probe is under way at a time.
///
/// A probe is given up after an interval ([`Prober::deadline`]): in etcd a member that accepts and
/// never answers stops its prober for good.
#[derive(Clone, Debug)]
pub struct Prober {
    interval: Duration,
    next_at: Instant,
    /// When the probe under way began.
    began: Option<Instant>,
    look_at: Instant,
    /// Counts failures: the URL to ask, modulo how many there are.
    url: usize,
    stats: ProbeStats,
}

/// What one prober found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ProbeStats {
    /// Whether the last probe succeeded; `None` before the first one ended.
    pub healthy: Option<bool>,
    /// Probes that ended.
    pub total: u64,
    /// Those that failed.
    pub lost: u64,
    /// The smoothed time from a request to its answer; zero before the first.
    pub round_trip: Duration,
    /// How far our clock is ahead of the member's, in nanoseconds; negative if it is behind.
    pub clock_difference_ns: i64,
    /// Why the last probe failed, if it did.
    pub last_error: Option<String>,
}

/// The member's health changed, or became known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HealthEdge {
    /// It answers.
    Healthy,
    /// It does not, or not well.
    Unhealthy,
}

/// What the monitor saw.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Look {
    /// For the histogram: the smoothed round trip, also of a member that is unhealthy.
    pub round_trip: Duration,
    /// What an operator should hear, one thing at a time.
    pub warning: Option<Warning>,
}

/// What is wrong with a member.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// The last probe failed.
    Unhealthy {
        /// How.
        error: String,
    },
    /// The clocks differ by more than [`CLOCK_DIFFERENCE_MAX`].
    ClockDifference {
        /// As in [`ProbeStats::clock_difference_ns`].
        clock_difference_ns: i64,
    },
}

impl Prober {
    /// Starts at `now`: the first probe follows an `interval` later.
    #[must_use]
    pub fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            next_at: now + interval,
            began: None,
            look_at: now + LOOK_SOON,
            url: 0,
            stats: ProbeStats::default(),
        }
    }

    /// True if a probe should begin.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.began.is_none() && now >= self.next_at
    }

    /// Begins a probe of one of so many URLs; its number.
    ///
    /// # Panics
    /// If there is no URL.
    pub fn begin(&mut self, urls: usize, now: Instant) -> usize {
        self.began = Some(now);
        self.url % urls
    }

    /// When the probe that began at `now` is given up.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Instant {
        now + self.interval
    }

    /// The answer came, and said what the member's clock showed; ours showed `wall` at `now`.
    pub fn handle_success(&mut self, theirs: WallTime, now: Instant, wall: WallTime) -> Option<HealthEdge> {
        let round_trip = now.saturating_duration_since(self.began.unwrap_or(now));
        self.end(now);
        let stats = &mut self.stats;
        stats.last_error = None;
        stats.round_trip =
            if stats.round_trip.is_zero() { round_trip } else { (stats.round_trip * 7 + round_trip) / 8 };
        let one_way_ns = stats.round_trip.as_nanos() as i128 / 2;
        stats.clock_difference_ns = clamp(wall.unix_ns - theirs.unix_ns - one_way_ns);
        (stats.healthy.replace(true) != Some(true)).then_some(HealthEdge::Healthy)
    }

    /// The probe failed: the next one goes to the next URL.
    pub fn handle_failure(&mut self, error: &str, now: Instant) -> Option<HealthEdge> {
        self.end(now);
        self.url = self.url.wrapping_add(1);
        let stats = &mut self.stats;
        stats.lost += 1;
        stats.last_error = Some(shortened(error));
        (stats.healthy.replace(false) != Some(false)).then_some(HealthEdge::Unhealthy)
    }

    /// As etcd's ticker: what was missed meanwhile is lost.
    fn end(&mut self, now: Instant) {
        self.began = None;
        self.stats.total += 1;
        let late = now.saturating_duration_since(self.next_at);
        let intervals = late.as_nanos() / self.interval.as_nanos().max(1) + 1;
        self.next_at += self.interval * u32::try_from(intervals).unwrap_or(u32::MAX);
    }

    /// What the monitor sees, if it is time for a look. Until the first probe has ended there is
    /// nothing to see, which etcd calls unhealthy.
    pub fn look(&mut self, now: Instant) -> Option<Look> {
        if now < self.look_at {
            return None;
        }
        let stats = &self.stats;
        let healthy = stats.healthy?;
        self.look_at = now + if healthy { LOOK_LATER } else { LOOK_SOON };
        let apart = Duration::from_nanos(stats.clock_difference_ns.unsigned_abs());
        let warning = if !healthy {
            Some(Warning::Unhealthy { error: stats.last_error.clone().unwrap_or_default() })
        } else if apart > CLOCK_DIFFERENCE_MAX {
            Some(Warning::ClockDifference { clock_difference_ns: stats.clock_difference_ns })
        } else {
            None
        };
        Some(Look { round_trip: stats.round_trip, warning })
    }

    /// What it found so far.
    #[must_use]
    pub const fn stats(&self) -> &ProbeStats {
        &self.stats
    }
}

fn clamp(ns: i128) -> i64 {
    ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

fn shortened(error: &str) -> String {
    let end = (0..=ERROR_BYTES_MAX.min(error.len())).rev().find(|&end| error.is_char_boundary(end));
    error[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const MS_NS: i128 = 1_000_000;

    /// A prober whose clock stands where `Instant` does.
    struct Bench {
        prober: Prober,
        start: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let start = Instant::now();
            Self { prober: Prober::new(PROBE_INTERVAL, start), start }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        /// A probe that begins at `ms`, takes `took`, and finds the member's clock `behind` ours
        /// when it answers, half way.
        fn succeed(&mut self, ms: u64, took: u64, behind: i128) -> Option<HealthEdge> {
            assert!(self.prober.is_due(self.at(ms)));
            self.prober.begin(1, self.at(ms));
            let theirs = WallTime { unix_ns: i128::from(ms + took / 2) * MS_NS - behind * MS_NS };
            let ours = WallTime { unix_ns: i128::from(ms + took) * MS_NS };
            self.prober.handle_success(theirs, self.at(ms + took), ours)
        }

        fn fail(&mut self, ms: u64, took: u64) -> Option<HealthEdge> {
            assert!(self.prober.is_due(self.at(ms)));
            self.prober.begin(1, self.at(ms));
            self.prober.handle_failure("gone", self.at(ms + took))
        }

        fn look(&mut self, ms: u64) -> Option<Look> {
            let at = self.at(ms);
            self.prober.look(at)
        }
    }

    #[test]
    fn there_is_a_probe_every_four_seconds_one_at_a_time() {
        let mut bench = Bench::new();
        assert!(!bench.prober.is_due(bench.at(3_999)));
        assert!(bench.prober.is_due(bench.at(4_000)));
        bench.prober.begin(1, bench.at(4_000));
        assert!(!bench.prober.is_due(bench.at(9_000)), "one is under way");
        assert_eq!(bench.prober.deadline(bench.at(4_000)), bench.at(8_000));
        assert_eq!(bench.prober.handle_failure("gone", bench.at(9_000)), Some(HealthEdge::Unhealthy));
        assert!(!bench.prober.is_due(bench.at(11_999)), "what was missed is lost");
        assert!(bench.prober.is_due(bench.at(12_000)));
    }

    #[test]
    fn the_first_round_trip_counts_as_it_is_and_later_ones_an_eighth() {
        let mut bench = Bench::new();
        assert_eq!(bench.succeed(4_000, 8, 0), Some(HealthEdge::Healthy));
        assert_eq!(bench.prober.stats().round_trip, 8 * MS);
        assert_eq!(bench.succeed(8_000, 16, 0), None);
        assert_eq!(bench.prober.stats().round_trip, 9 * MS);
        assert_eq!((bench.prober.stats().total, bench.prober.stats().lost), (2, 0));
    }

    #[test]
    fn health_changes_at_edges_and_failures_are_counted() {
        let mut bench = Bench::new();
        assert_eq!(bench.prober.stats().healthy, None);
        assert_eq!(bench.fail(4_000, 1), Some(HealthEdge::Unhealthy));
        assert_eq!(bench.fail(8_000, 1), None);
        assert_eq!(bench.prober.stats().last_error.as_deref(), Some("gone"));
        assert_eq!(bench.succeed(12_000, 2, 0), Some(HealthEdge::Healthy));
        assert_eq!(bench.prober.stats().last_error, None);
        assert_eq!((bench.prober.stats().total, bench.prober.stats().lost), (3, 2));
        assert_eq!(bench.fail(16_000, 1), Some(HealthEdge::Unhealthy));
        assert_eq!(bench.prober.stats().round_trip, 2 * MS, "what is known of it stays");
    }

    #[test]
    fn a_failure_leads_to_the_next_url() {
        let mut bench = Bench::new();
        let mut asked = Vec::new();
        for n in 1..=4 {
            let at = bench.at(n * 4_000);
            asked.push(bench.prober.begin(3, at));
            bench.prober.handle_failure("gone", at);
        }
        let at = bench.at(20_000);
        asked.push(bench.prober.begin(3, at));
        bench.prober.handle_success(WallTime { unix_ns: 0 }, at, WallTime { unix_ns: 0 });
        asked.push(bench.prober.begin(3, bench.at(24_000)));
        assert_eq!(asked, [0, 1, 2, 0, 1, 1]);
    }

    #[test]
    fn the_clock_difference_has_a_sign_and_no_limit() {
        let mut bench = Bench::new();
        bench.succeed(4_000, 10, 1_500);
        assert_eq!(bench.prober.stats().clock_difference_ns, 1_500_000_000, "ours is ahead");
        bench.succeed(8_000, 10, -1_500);
        assert_eq!(bench.prober.stats().clock_difference_ns, -1_500_000_000, "ours is behind");
        let (now, never) = (bench.at(12_000), WallTime { unix_ns: i128::MAX / 4 });
        bench.prober.begin(1, now);
        bench.prober.handle_success(never, now, WallTime { unix_ns: 0 });
        assert_eq!(bench.prober.stats().clock_difference_ns, i64::MIN);
    }

    #[test]
    fn the_monitor_looks_seldom_at_what_is_well() {
        let mut bench = Bench::new();
        assert_eq!(bench.look(4_999), None);
        assert_eq!(bench.look(5_000), None, "no probe has ended: there is nothing to say");
        bench.succeed(5_000, 2, 0);
        assert_eq!(bench.look(5_100), Some(Look { round_trip: 2 * MS, warning: None }));
        assert_eq!(bench.look(35_099), None);
        assert_eq!(bench.look(35_100), Some(Look { round_trip: 2 * MS, warning: None }));
    }

    #[test]
    fn the_monitor_warns_of_one_thing_at_each_look() {
        let mut bench = Bench::new();
        bench.fail(4_000, 1);
        let warning = |look: Option<Look>| look.and_then(|look| look.warning);
        let unhealthy = Some(Warning::Unhealthy { error: "gone".to_owned() });
        assert_eq!(warning(bench.look(5_000)), unhealthy);
        assert_eq!(warning(bench.look(9_999)), None);
        bench.fail(8_000, 1);
        assert_eq!(warning(bench.look(10_000)), unhealthy);
        for (ms, behind) in [(12_000, 1_001), (16_000, -1_001)] {
            bench.succeed(ms, 0, behind);
            bench.prober.look_at = bench.at(ms);
            let clock_difference_ns = behind as i64 * 1_000_000;
            assert_eq!(
                warning(bench.look(ms)),
                Some(Warning::ClockDifference { clock_difference_ns }),
                "whoever is ahead"
            );
        }
        bench.succeed(20_000, 0, 1_000);
        bench.prober.look_at = bench.at(20_000);
        assert_eq!(warning(bench.look(20_000)), None, "a second is not more than a second");
    }

    #[test]
    fn an_error_is_kept_within_bounds() {
        let (mut bench, long) = (Bench::new(), "\u{e9}".repeat(ERROR_BYTES_MAX));
        let at = bench.at(4_000);
        bench.prober.begin(1, at);
        bench.prober.handle_failure(&long, at);
        assert_eq!(bench.prober.stats().last_error.as_ref().map(String::len), Some(ERROR_BYTES_MAX));
    }
}
