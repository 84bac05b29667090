//! Whether it pays to poll for a while before a core sleeps.
//!
//! A core that polls answers at once and burns its CPU for nothing if nothing comes; one that sleeps
//! pays for a wake-up, some 35 us of latency on the machines we know. Which is better depends on when
//! the next work comes, and the best guess for that is when it came the last times.
//!
//! ```text
//!                 won: up to CREDIT_MAX           no work in time: -1
//!   credit  0 ... 4      spin while there is credit
//!           '-- sleep; after 1, 2, 4 ... 64 idle times try once again; a try that is won gives credit
//! ```

use std::time::Duration;

/// When a core polls for work instead of sleeping.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spin {
    /// It sleeps as soon as there is nothing to do.
    Never,
    /// It polls for so long after its last work where that has paid lately, and tries now and then
    /// whether it would.
    Adaptive(Duration),
    /// It always polls for so long after its last work.
    Always(Duration),
}

impl Spin {
    /// How long it polls at most.
    #[must_use]
    pub const fn limit(self) -> Duration {
        match self {
            Self::Never => Duration::ZERO,
            Self::Adaptive(limit) | Self::Always(limit) => limit,
        }
    }
}

/// A habit of short pauses is given up after so many long ones in a row.
const CREDIT_MAX: u8 = 4;

/// At most so many idle times pass between two tries: with wake-ups of some 80 us of CPU, a try of
/// 50 us that fails each time costs a hundredth of them.
const TRY_INTERVAL_MAX: u32 = 64;

/// The habit of one core.
#[derive(Debug)]
pub struct Wager {
    spin: Spin,
    credit: u8,
    /// Idle times between two tries, and how many of them are left.
    interval: u32,
    left: u32,
    /// Of the current idle time; `None` before it was asked for.
    spins: Option<bool>,
}

impl Wager {
    /// The first idle time is a try.
    #[must_use]
    pub const fn new(spin: Spin) -> Self {
        Self { spin, credit: 0, interval: 1, left: 0, spins: None }
    }

    /// How long to poll at most.
    #[must_use]
    pub const fn limit(&self) -> Duration {
        self.spin.limit()
    }

    /// True if it is worth to poll in this idle time, of which `idle_for` has passed.
    pub fn spins(&mut self, idle_for: Duration) -> bool {
        let spins = match self.spins {
            Some(spins) => spins,
            None => self.decide(),
        };
        if spins && idle_for >= self.limit() {
            self.lost();
        }
        self.spins == Some(true)
    }

    fn decide(&mut self) -> bool {
        let spins = match self.spin {
            Spin::Never => false,
            Spin::Always(_) => true,
            Spin::Adaptive(_) => self.credit > 0 || self.left == 0,
        };
        if !spins {
            self.left = self.left.saturating_sub(1);
        }
        self.spins = Some(spins);
        spins
    }

    fn lost(&mut self) {
        self.spins = Some(false);
        if self.credit > 0 {
            self.credit -= 1;
        } else {
            self.interval = (self.interval * 2).min(TRY_INTERVAL_MAX);
        }
        self.left = self.interval;
    }

    /// Work has come after `idle_for`: the next idle time begins.
    #[inline]
    pub fn worked(&mut self, idle_for: Duration) {
        if self.spins.take().is_some() && idle_for < self.limit() {
            // Also if it slept: it was woken sooner than it would have given up.
            (self.credit, self.interval) = ((self.credit + 1).min(CREDIT_MAX), 1);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SPIN: Duration = Duration::from_micros(50);
    const SHORT: Duration = Duration::from_micros(5);
    const LONG: Duration = Duration::from_millis(1);

    /// Idle times of one length; how many of them began with polling.
    fn spun(wager: &mut Wager, idle_for: Duration, times: usize) -> usize {
        let mut spun = 0;
        for _ in 0..times {
            spun += usize::from(wager.spins(Duration::ZERO));
            wager.spins(idle_for);
            wager.worked(idle_for);
        }
        spun
    }

    #[test]
    fn short_pauses_are_polled_through_and_long_ones_are_slept_through() {
        let mut wager = Wager::new(Spin::Adaptive(SPIN));
        assert_eq!(spun(&mut wager, SHORT, 100), 100);
        let given_up = spun(&mut wager, LONG, 100);
        assert!((4..=12).contains(&given_up), "{given_up}");
        assert!(spun(&mut wager, LONG, 6_400) <= 100, "a try now and then");
        let found = spun(&mut wager, SHORT, 100);
        assert!(found >= 36, "{found}: found again after 64 idle times at most");
    }

    #[test]
    fn most_pauses_short_is_enough() {
        let mut wager = Wager::new(Spin::Adaptive(SPIN));
        let mut rounds = || spun(&mut wager, SHORT, 3) + spun(&mut wager, LONG, 1);
        assert_eq!((0..100).map(|_| rounds()).sum::<usize>(), 400);
    }

    #[test]
    fn a_core_that_is_woken_sooner_than_it_would_have_given_up_spins_the_next_time() {
        let mut wager = Wager::new(Spin::Adaptive(SPIN));
        spun(&mut wager, LONG, 1_000);
        while wager.spins(Duration::ZERO) {
            wager.spins(LONG);
            wager.worked(LONG);
        }
        wager.worked(SHORT);
        assert!(wager.spins(Duration::ZERO));
    }

    #[test]
    fn always_and_never_learn_nothing() {
        assert_eq!(spun(&mut Wager::new(Spin::Always(SPIN)), LONG, 100), 100);
        assert_eq!(spun(&mut Wager::new(Spin::Never), SHORT, 100), 0);
    }

    #[test]
    fn it_ends_after_its_time_and_not_before() {
        let mut wager = Wager::new(Spin::Always(SPIN));
        assert!(wager.spins(SPIN - Duration::from_nanos(1)));
        assert!(!wager.spins(SPIN));
        assert!(!wager.spins(Duration::ZERO), "until there is work again");
        wager.worked(LONG);
        assert!(wager.spins(Duration::ZERO));
    }
}
