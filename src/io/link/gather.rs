//! When batches of a sender's thread leave together.
//!
//! To send a batch of 64 small messages costs a thread more than to encode it, most of all where that
//! wakes a receiver which sleeps between any two of them. So a thread that has sent in quick succession
//! for a while lets its batches gather to a larger write. It cannot know that another one follows:
//! the core is asked to look within [`HELD_MAX`], and whoever stops too often to be worth it gathers
//! no more for a while. (64-byte entries from a thread: 11.2 -> 14.7 M messages/s, `perf/run.sh`.)

use std::time::{Duration, Instant};

/// Sends that are further apart on average are single ones: their latency counts, and a system call
/// each is little.
const APART_MAX: Duration = Duration::from_micros(10);

/// A pause counts as this at most, so that a few of them do not hide what comes in between.
const PAUSE_MAX: Duration = Duration::from_micros(100);

/// Over so many sends the average is taken.
const AVERAGED: u32 = 16;

/// A write is good from this size on: three batches of 64 small messages.
const HOLD_BYTES: usize = 16 << 10;

/// What waits for this long waits for a sender that has stopped, and not for its window.
const STALE: Duration = Duration::from_micros(500);

/// So many sends leave at once after a sender stopped in between; doubled each time, up to the larger
/// one, and forgotten after so many writes that filled.
const COLD_SENDS_MIN: u32 = 16;
const COLD_SENDS_MAX: u32 = 1 << 13;
const FILLED_MIN: u32 = 64;

/// What a sender leaves behind when it stops waits no longer than this. Each look wakes the core and
/// keeps the sender from its link: at ten looks a millisecond nothing would be won.
pub(crate) const HELD_MAX: Duration = Duration::from_millis(1);

/// Whether one link's batches gather.
#[derive(Debug)]
pub(super) struct Gather {
    /// When a thread last sent.
    sent_at: Option<Instant>,
    /// How far its sends are apart, on average.
    apart: Duration,
    /// Sends that leave at once, whatever the average says.
    cold: u32,
    cold_next: u32,
    filled: u32,
    holds: bool,
    /// The core was asked to look and has not come yet.
    asked: bool,
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// It leaves.
    Leaves,
    /// It waits for the next one, and the core looks after it in time.
    Waits,
    /// As [`Fate::Waits`], but the core must be asked.
    Ask,
}

impl Gather {
    pub(super) const fn new() -> Self {
        Self {
            sent_at: None,
            apart: PAUSE_MAX,
            cold: 0,
            cold_next: COLD_SENDS_MIN,
            filled: 0,
            holds: false,
            asked: false,
        }
    }

    /// A thread has encoded a batch at `now`; so many bytes have gathered.
    pub(super) fn handle_batch(&mut self, now: Instant, bytes: usize) -> Fate {
        let before = self.sent_at.replace(now);
        let apart = before.map_or(PAUSE_MAX, |before| now.saturating_duration_since(before).min(PAUSE_MAX));
        self.apart = (self.apart * (AVERAGED - 1) + apart) / AVERAGED;
        self.cold = self.cold.saturating_sub(1);
        if self.cold > 0 || self.apart > APART_MAX {
            self.holds = false;
            return Fate::Leaves;
        }
        if bytes >= HOLD_BYTES {
            self.note_filled();
            return Fate::Leaves;
        }
        self.holds = true;
        if std::mem::replace(&mut self.asked, true) { Fate::Waits } else { Fate::Ask }
    }

    /// The core has come at `now`, and what had gathered leaves.
    pub(super) fn handle_look(&mut self, now: Instant) {
        self.asked = false;
        let held = std::mem::take(&mut self.holds);
        if held && self.sent_at.is_some_and(|at| now.saturating_duration_since(at) >= STALE) {
            self.cold = self.cold_next;
            self.cold_next = (self.cold_next * 2).min(COLD_SENDS_MAX);
            self.filled = 0;
        }
    }

    const fn note_filled(&mut self) {
        self.holds = false;
        self.filled += 1;
        if self.filled >= FILLED_MIN {
            (self.filled, self.cold_next) = (0, COLD_SENDS_MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_micros(5);
    const BATCH: usize = 6 << 10;

    /// Sends batches in quick succession until one waits; how many left before.
    fn until_one_waits(gather: &mut Gather, now: &mut Instant) -> u32 {
        let mut left = 0;
        loop {
            *now += STEP;
            match gather.handle_batch(*now, BATCH) {
                Fate::Leaves => left += 1,
                Fate::Ask => return left,
                Fate::Waits => unreachable!("nobody was asked"),
            }
        }
    }

    #[test]
    fn quick_batches_gather_to_a_good_write_and_the_core_is_asked_once() {
        let (mut gather, mut now) = (Gather::new(), Instant::now());
        let before = until_one_waits(&mut gather, &mut now);
        assert!((AVERAGED..10 * AVERAGED).contains(&before), "{before}");
        for fate in [Fate::Waits, Fate::Leaves, Fate::Waits, Fate::Waits, Fate::Leaves] {
            now += STEP;
            let gathered = if fate == Fate::Leaves { HOLD_BYTES } else { BATCH };
            assert_eq!(gather.handle_batch(now, gathered), fate);
        }
        gather.handle_look(now);
        assert_eq!(gather.handle_batch(now + STEP, BATCH), Fate::Ask);
    }

    #[test]
    fn batches_now_and_then_leave_at_once() {
        let (mut gather, mut now) = (Gather::new(), Instant::now());
        for _ in 0..1_000 {
            now += APART_MAX + STEP;
            assert_eq!(gather.handle_batch(now, BATCH), Fate::Leaves);
        }
        until_one_waits(&mut gather, &mut now);
        now += Duration::from_secs(1);
        assert_eq!(gather.handle_batch(now, 2 * BATCH), Fate::Leaves, "a pause is not quick");
    }

    #[test]
    fn a_short_pause_does_not_hide_what_comes_in_between() {
        let (mut gather, mut now) = (Gather::new(), Instant::now());
        until_one_waits(&mut gather, &mut now);
        for _ in 0..100 {
            now += STEP;
            assert_eq!(gather.handle_batch(now, BATCH), Fate::Waits);
        }
        now += Duration::from_micros(50);
        assert_eq!(gather.handle_batch(now, BATCH), Fate::Waits);
    }

    #[test]
    fn who_stops_time_and_again_gathers_ever_less() {
        let (mut gather, mut now) = (Gather::new(), Instant::now());
        until_one_waits(&mut gather, &mut now);
        let mut cold = COLD_SENDS_MIN;
        for _ in 0..12 {
            gather.handle_look(now + HELD_MAX);
            assert!(until_one_waits(&mut gather, &mut now) >= cold - 1);
            cold = (2 * cold).min(COLD_SENDS_MAX);
        }
        assert_eq!(cold, COLD_SENDS_MAX);
        // Once it is worth it, it is worth it again soon.
        for _ in 0..FILLED_MIN {
            now += STEP;
            assert_eq!(gather.handle_batch(now, HOLD_BYTES), Fate::Leaves);
        }
        now += STEP;
        assert_eq!(gather.handle_batch(now, BATCH), Fate::Waits);
        gather.handle_look(now + HELD_MAX);
        assert!(until_one_waits(&mut gather, &mut now) < 2 * COLD_SENDS_MIN);
    }

    #[test]
    fn a_core_that_comes_while_the_sender_is_at_it_changes_nothing() {
        let (mut gather, mut now) = (Gather::new(), Instant::now());
        until_one_waits(&mut gather, &mut now);
        now += STEP;
        gather.handle_look(now);
        assert_eq!(gather.handle_batch(now + STEP, BATCH), Fate::Ask);
    }
}
