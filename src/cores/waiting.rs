//! What waits in a lane, and since when.

use std::time::Instant;

use smallvec::SmallVec;

use super::segments::Segments;

/// So many moments are known of what waits. If there are more, neighbours are told as one, by the
/// earliest of them: some waits then seem longer than they were, by about an eighth of the longest.
const RUNS_MAX: usize = 16;

/// A queue whose items know, by runs, when they came: nothing is kept for each.
#[derive(Debug)]
pub struct Waiting<T> {
    items: Segments<T>,
    runs: SmallVec<[Run; RUNS_MAX]>,
    /// How many moments the last run is, and how many it is to be.
    moments: usize,
    stride: usize,
    /// Items that were popped and still count in the first runs.
    popped: usize,
}

/// Items that came one behind the other.
#[derive(Clone, Copy, Debug)]
struct Run {
    since: Instant,
    items: usize,
}

impl<T> Waiting<T> {
    /// Nothing waits.
    #[must_use]
    pub fn new() -> Self {
        Self { items: Segments::new(), runs: SmallVec::new(), moments: 0, stride: 1, popped: 0 }
    }

    /// True if nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Queues an item that came at `now`. Items that come together have the same moment.
    #[inline]
    pub fn push(&mut self, item: T, now: Instant) {
        self.items.push(item);
        match self.runs.last_mut() {
            Some(last) if last.since == now => last.items += 1,
            _ => self.push_run(Run { since: now, items: 1 }),
        }
    }

    /// The item that has waited longest.
    pub fn pop(&mut self) -> Option<T> {
        let item = self.items.pop()?;
        self.popped += 1;
        Some(item)
    }

    /// See [`Segments::len_unpopped`].
    pub(super) fn len_unpopped(&self) -> usize {
        self.items.len_unpopped()
    }

    /// See [`Segments::get_mut_unpopped`].
    pub(super) fn get_mut_unpopped(&mut self, place: usize) -> Option<&mut T> {
        self.items.get_mut_unpopped(place)
    }

    /// Since when those have waited that were popped since the last time: moments, each with how many
    /// items.
    pub fn settle(&mut self, mut each: impl FnMut(Instant, usize)) {
        let mut gone = 0;
        while self.popped > 0
            && let Some(run) = self.runs.get_mut(gone)
        {
            let items = run.items.min(self.popped);
            each(run.since, items);
            run.items -= items;
            self.popped -= items;
            gone += usize::from(run.items == 0);
        }
        self.runs.drain(..gone);
    }

    /// Takes everything of `other`, behind what is here. Memory is exchanged as by [`Segments::take`].
    pub fn take(&mut self, other: &mut Self) {
        self.settle(|_, _| ());
        other.settle(|_, _| ());
        let was_empty = self.items.is_empty();
        self.items.take(&mut other.items);
        if was_empty {
            // Not a swap: of the room for runs a few are used.
            self.runs.clear();
            self.runs.extend_from_slice(&other.runs);
            (self.moments, self.stride) = (other.moments, other.stride);
        } else {
            other.runs.iter().for_each(|run| self.push_run(*run));
        }
        other.runs.clear();
    }

    /// See [`Segments::trim`].
    pub fn trim(&mut self, spare_max: usize) {
        self.items.trim(spare_max);
    }

    fn push_run(&mut self, run: Run) {
        if self.runs.is_empty() {
            (self.moments, self.stride) = (0, 1);
        } else if self.runs.len() == RUNS_MAX && self.moments == self.stride {
            self.halve();
        }
        match self.runs.last_mut() {
            Some(last) if last.since == run.since => last.items += run.items,
            Some(last) if self.moments < self.stride => {
                last.items += run.items;
                self.moments += 1;
            }
            _ => {
                self.runs.push(run);
                self.moments = 1;
            }
        }
    }

    /// Tells each two neighbours as one, and from now on as many moments.
    fn halve(&mut self) {
        for at in 0..RUNS_MAX / 2 {
            let [first, second] = [self.runs[2 * at], self.runs[2 * at + 1]];
            self.runs[at] = Run { since: first.since, items: first.items + second.items };
        }
        self.runs.truncate(RUNS_MAX / 2);
        self.stride *= 2;
        self.moments = self.stride;
    }
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    /// What `settle` tells, in milliseconds since `start`.
    fn settled(waiting: &mut Waiting<u64>, start: Instant) -> Vec<(u64, usize)> {
        let mut told = Vec::new();
        waiting.settle(|since, items| told.push(((since - start).as_millis() as u64, items)));
        told
    }

    #[test]
    fn items_know_when_they_came_and_those_of_one_moment_are_one_run() {
        let (start, mut waiting) = (Instant::now(), Waiting::new());
        for (item, ms) in [(1, 0), (2, 0), (3, 5), (4, 7)] {
            waiting.push(item, at(start, ms));
        }
        assert_eq!(settled(&mut waiting, start), []);
        assert_eq!(waiting.pop(), Some(1));
        assert_eq!(settled(&mut waiting, start), [(0, 1)]);
        assert_eq!([waiting.pop(), waiting.pop()], [Some(2), Some(3)]);
        assert_eq!(settled(&mut waiting, start), [(0, 1), (5, 1)]);
        assert_eq!([waiting.pop(), waiting.pop()], [Some(4), None]);
        assert_eq!(settled(&mut waiting, start), [(7, 1)]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn what_is_taken_keeps_its_moments() {
        let (start, mut lane, mut desk) = (Instant::now(), Waiting::new(), Waiting::new());
        lane.push(1, at(start, 1));
        lane.push(2, at(start, 2));
        desk.take(&mut lane);
        lane.push(3, at(start, 3));
        assert_eq!(desk.pop(), Some(1));
        desk.take(&mut lane);
        assert_eq!(std::iter::from_fn(|| desk.pop()).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(settled(&mut desk, start), [(2, 1), (3, 1)]);
    }

    #[test]
    fn of_many_moments_some_are_told_as_one_and_no_wait_is_told_too_short() {
        let (start, mut waiting) = (Instant::now(), Waiting::new());
        for ms in 0..10_000 {
            waiting.push(ms, at(start, ms));
        }
        assert!(!waiting.runs.spilled());
        assert_eq!(waiting.stride, 1024);
        while waiting.pop().is_some() {}
        let told = settled(&mut waiting, start);
        assert_eq!(told.iter().map(|(_, items)| items).sum::<usize>(), 10_000);
        let mut first = 0;
        for (since, items) in told {
            assert_eq!(since, first, "the earliest of its run");
            assert!(items <= 10_000 / 8, "{items} as one");
            first += items as u64;
        }
        waiting.push(0, at(start, 0));
        waiting.push(1, at(start, 1));
        assert_eq!((waiting.runs.len(), waiting.stride), (2, 1), "all is exact again");
    }
}
