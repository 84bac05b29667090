//! A bounded queue from the host's threads to one stream writer.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::backlog::{Backlog, Weighed};
use super::rank::Rank;
use super::waiting::Waiting;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// Bounds of a lane: whatever is reached first. All lanes together have one more, their [`Backlog`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LaneLimits {
    /// Items.
    pub messages_max: usize,
    /// Sum of their weights. An empty lane admits one item of any weight, or the heaviest
    /// legal one could never travel.
    pub bytes_max: usize,
}

/// What became of an item that was pushed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pushed<T> {
    /// It waits.
    Queued,
    /// There was no room, but one that waits says what it said: it is superfluous.
    Absorbed(T),
}

/// Which wall a push hit.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Refused {
    /// `messages_max` items are queued, or the [share](Rank) of lower ranks in it.
    Messages,
    /// `bytes_max` would be exceeded, or the share in it.
    Bytes,
    /// The bound that all lanes of the process have together would be exceeded, or the share in it.
    Process,
}

impl LaneLimits {
    /// What items of this rank may fill.
    const fn share(self, rank: Rank) -> Self {
        Self { messages_max: rank.share(self.messages_max), bytes_max: rank.share(self.bytes_max) }
    }
}

/// A queue of weighed items with one consumer.
///
/// The lock is held for a move in, a swap of the whole queue or a trim, never while anything waits.
#[derive(Debug)]
pub struct Lane<T> {
    /// By rank.
    limits: [LaneLimits; Rank::ALL.len()],
    backlog: Arc<Backlog>,
    queue: Mutex<Queue<T>>,
    // What was pushed and not yet released. Written under the lock by producers and without it by
    // the consumer, so a producer may see a lane fuller than it is, never emptier.
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

#[derive(Debug)]
struct Queue<T> {
    items: Waiting<T>,
    /// The consumer was told that there is something and has not come yet.
    announced: bool,
    /// Where the last item is that may absorb others.
    absorbing: Option<usize>,
}

/// Exclusive access for a run of pushes.
#[derive(Debug)]
pub struct LaneGuard<'a, T> {
    lane: &'a Lane<T>,
    queue: MutexGuard<'a, Queue<T>>,
}

/// Makes room in a lane, for what was counted here, when it is dropped.
#[derive(Debug)]
pub struct Release<'a, T> {
    lane: &'a Lane<T>,
    messages: usize,
    bytes: usize,
    small_bytes: usize,
}

impl<T> Lane<T> {
    /// An empty lane; memory comes with use. What waits in it counts in `backlog`, too: whoever ends
    /// a lane takes and releases what is left.
    #[must_use]
    pub fn new(limits: LaneLimits, backlog: Arc<Backlog>) -> Self {
        Self::with_limits(Rank::ALL.map(|rank| limits.share(rank)), backlog)
    }

    /// As [`Lane::new`], for items of one rank alone: no room in it need be kept for others.
    #[must_use]
    pub fn of_one_rank(limits: LaneLimits, backlog: Arc<Backlog>) -> Self {
        Self::with_limits([limits; Rank::ALL.len()], backlog)
    }

    fn with_limits(limits: [LaneLimits; Rank::ALL.len()], backlog: Arc<Backlog>) -> Self {
        Self {
            limits,
            backlog,
            queue: Mutex::new(Queue { items: Waiting::new(), announced: false, absorbing: None }),
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Locks the lane for pushing.
    pub fn lock(&self) -> LaneGuard<'_, T> {
        // Nothing panics while it is held, so a poisoned lock guards a sound queue.
        LaneGuard { lane: self, queue: self.queue.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Takes everything, appending to `into`. The caller releases what it is done with.
    pub fn take(&self, into: &mut Waiting<T>) {
        let mut guard = self.lock();
        guard.queue.announced = false;
        guard.queue.absorbing = None;
        into.take(&mut guard.queue.items);
    }

    /// Gives back the memory of earlier bursts, but for one segment for what comes next.
    pub fn trim(&self) {
        self.lock().queue.items.trim(1);
    }

    /// Begins to make room.
    pub const fn release(&self) -> Release<'_, T> {
        Release { lane: self, messages: 0, bytes: 0, small_bytes: 0 }
    }

    /// Items and bytes pushed and not yet released.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl<T: Weighed> LaneGuard<'_, T> {
    /// Queues an item at `now`, or whenever the run of pushes began, if there is room for its rank. Where there is none, it may still be absorbed by
    /// the last one that can, as long as that waits here.
    ///
    /// # Errors
    /// Gives the item back with the wall it hit.
    pub fn push(&mut self, item: T, now: Instant) -> Result<Pushed<T>, (T, Refused)> {
        let weight = item.weight();
        if let Err(refused) = self.admit(&item, weight) {
            return if self.absorb(&item) { Ok(Pushed::Absorbed(item)) } else { Err((item, refused)) };
        }
        self.lane.messages.fetch_add(1, Ordering::Relaxed);
        self.lane.bytes.fetch_add(weight, Ordering::Relaxed);
        if item.may_absorb() {
            self.queue.absorbing = Some(self.queue.items.len_unpopped());
        }
        self.queue.items.push(item, now);
        Ok(Pushed::Queued)
    }

    fn admit(&self, item: &T, weight: usize) -> Result<(), Refused> {
        let (messages, bytes) = self.lane.depth();
        let limits = &self.lane.limits[item.rank().index()];
        let is_empty = messages == 0;
        if messages >= limits.messages_max {
            return Err(Refused::Messages);
        }
        // What adds nothing is bounded by its number alone: a vote comes in behind the largest append.
        if !is_empty && weight > 0 && bytes.saturating_add(weight) > limits.bytes_max {
            return Err(Refused::Bytes);
        }
        if self.lane.backlog.enter(item, is_empty) { Ok(()) } else { Err(Refused::Process) }
    }

    /// Kept out of the way of those that find room.
    #[cold]
    fn absorb(&mut self, item: &T) -> bool {
        let place = self.queue.absorbing.filter(|_| item.may_absorb());
        let waiting = place.and_then(|place| self.queue.items.get_mut_unpopped(place));
        waiting.is_some_and(|waiting| waiting.absorb(item))
    }
}

impl<T> LaneGuard<'_, T> {
    /// True once after the consumer came: whoever gets it tells the consumer.
    pub fn announce(&mut self) -> bool {
        !self.queue.items.is_empty() && !std::mem::replace(&mut self.queue.announced, true)
    }
}

impl<T: Weighed> Release<'_, T> {
    /// An item that was taken is being encoded or dropped.
    pub fn add(&mut self, item: &T) {
        self.messages += 1;
        self.bytes += item.weight();
        self.small_bytes += self.lane.backlog.leave(item);
    }
}

impl<T> Drop for Release<'_, T> {
    fn drop(&mut self) {
        // The lane's own last: one that is seen empty admits whatever comes.
        self.lane.backlog.give_back(self.small_bytes);
        self.lane.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.lane.messages.fetch_sub(self.messages, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::cores::SHARED_BYTES_MIN;

    const LIMITS: LaneLimits = LaneLimits { messages_max: 3, bytes_max: 100 };

    type Item = &'static [u8];

    /// An item of so many bytes.
    fn item(bytes: usize) -> Item {
        &[0; 4 * SHARED_BYTES_MIN][..bytes]
    }

    fn lane(limits: LaneLimits) -> Lane<Item> {
        Lane::new(limits, Arc::new(Backlog::new(usize::MAX)))
    }

    fn push(lane: &Lane<Item>, bytes: usize) -> Result<(), Refused> {
        lane.lock().push(item(bytes), Instant::now()).map(drop).map_err(|(_, refused)| refused)
    }

    /// Takes everything, and releases the first `count` of what was taken.
    fn release(lane: &Lane<Item>, taken: &mut Waiting<Item>, count: usize) {
        lane.take(taken);
        let mut release = lane.release();
        std::iter::from_fn(|| taken.pop()).take(count).for_each(|item| release.add(&item));
    }

    #[test]
    fn a_lane_is_bounded_in_messages_and_in_bytes() {
        let lane = lane(LIMITS);
        assert_eq!(push(&lane, 60), Ok(()));
        assert_eq!(push(&lane, 61), Err(Refused::Bytes));
        assert_eq!(push(&lane, 20), Ok(()));
        assert_eq!(push(&lane, 20), Ok(()));
        assert_eq!(push(&lane, 0), Err(Refused::Messages));
        assert_eq!(lane.depth(), (3, 100));
        assert_eq!(lane.backlog.bytes(), 100);
    }

    #[test]
    fn all_lanes_are_bounded_together() {
        let backlog = Arc::new(Backlog::new(100));
        let [one, two] = [(); 2].map(|()| Lane::new(LIMITS, Arc::clone(&backlog)));
        assert_eq!(push(&one, 60), Ok(()));
        assert_eq!(push(&two, 60), Ok(()), "a lane was empty");
        assert_eq!(push(&one, 1), Err(Refused::Process));
        assert_eq!(push(&two, 1), Err(Refused::Process));
        assert_eq!(push(&two, 0), Ok(()), "it adds nothing");
        release(&one, &mut Waiting::new(), 1);
        assert_eq!((one.depth(), two.depth(), backlog.bytes()), ((0, 0), (2, 60), 60));
        assert_eq!(push(&two, 40), Ok(()));
    }

    #[test]
    fn an_empty_lane_admits_one_item_of_any_weight() {
        let lane = Lane::new(LIMITS, Arc::new(Backlog::new(100)));
        assert_eq!(push(&lane, 2 * SHARED_BYTES_MIN), Ok(()));
        assert_eq!(push(&lane, 1), Err(Refused::Bytes));
    }

    #[test]
    fn taken_items_count_until_they_are_released() {
        let (lane, mut taken) = (lane(LIMITS), Waiting::new());
        for bytes in 1..=3 {
            assert_eq!(push(&lane, bytes), Ok(()));
        }
        release(&lane, &mut taken, 0);
        assert_eq!(push(&lane, 4), Err(Refused::Messages));
        release(&lane, &mut taken, 2);
        assert_eq!((lane.depth(), lane.backlog.bytes()), ((1, 3), 3));
        assert_eq!(push(&lane, 4), Ok(()));
        lane.take(&mut taken);
        assert_eq!(std::iter::from_fn(|| taken.pop()).collect::<Vec<_>>(), [item(3), item(4)]);
    }

    /// An item with everything that can be asked of it.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    struct Ranked(Rank, &'static [u8], u64);

    impl Weighed for Ranked {
        fn payloads(&self) -> impl Iterator<Item = &[u8]> {
            std::iter::once(self.1)
        }

        fn rank(&self) -> Rank {
            self.0
        }

        fn may_absorb(&self) -> bool {
            self.0 == Rank::Vital && self.2 > 0
        }

        fn absorb(&mut self, later: &Self) -> bool {
            let same = self.1 == later.1;
            if same {
                self.2 = later.2;
            }
            same
        }
    }

    fn fill(lane: &Lane<Ranked>, rank: Rank, bytes: usize) -> (usize, Refused) {
        let mut pushed = 0;
        loop {
            match lane.lock().push(Ranked(rank, item(bytes), 0), Instant::now()) {
                Ok(_) => pushed += 1,
                Err((_, refused)) => return (pushed, refused),
            }
        }
    }

    #[test]
    fn each_rank_fills_its_share_and_the_next_goes_on_from_there() {
        let limits = LaneLimits { messages_max: 4096, bytes_max: 4096 };
        for (bytes, wall) in [(0, Refused::Messages), (1, Refused::Messages)] {
            let lane = Lane::new(limits, Arc::new(Backlog::new(usize::MAX)));
            for (rank, pushed) in Rank::ALL.into_iter().zip([3072, 512, 256, 256]) {
                assert_eq!(fill(&lane, rank, bytes), (pushed, wall));
                assert_eq!(fill(&lane, Rank::Bulk, bytes), (0, wall));
            }
        }
        let lane = Lane::new(limits, Arc::new(Backlog::new(usize::MAX)));
        for (rank, pushed) in Rank::ALL.into_iter().zip([3072, 512, 256, 256]) {
            assert_eq!(fill(&lane, rank, 2), (pushed / 2, Refused::Bytes));
        }
        let lane = Lane::of_one_rank(limits, Arc::new(Backlog::new(usize::MAX)));
        assert_eq!(fill(&lane, Rank::Bulk, 1), (4096, Refused::Messages));
    }

    #[test]
    fn the_bound_of_the_process_is_shared_by_rank_also_where_a_lane_is_not() {
        let limits = LaneLimits { messages_max: 100, bytes_max: usize::MAX };
        let lane = Lane::of_one_rank(limits, Arc::new(Backlog::new(64)));
        for (rank, pushed) in Rank::ALL.into_iter().zip([48, 8, 4, 4]) {
            assert_eq!(fill(&lane, rank, 1), (pushed, Refused::Process));
        }
    }

    #[test]
    fn what_adds_nothing_comes_in_behind_the_largest_item() {
        let lane = Lane::new(LIMITS, Arc::new(Backlog::new(100)));
        assert!(lane.lock().push(Ranked(Rank::Bulk, item(1000), 0), Instant::now()).is_ok());
        assert_eq!(fill(&lane, Rank::Vital, 1), (0, Refused::Bytes));
        assert_eq!(fill(&lane, Rank::Vital, 0), (2, Refused::Messages));
    }

    #[test]
    fn where_there_is_no_room_a_later_one_takes_the_place_of_one_that_waits() {
        let lane = Lane::new(LIMITS, Arc::new(Backlog::new(usize::MAX)));
        let beat = |number| Ranked(Rank::Vital, item(3), number);
        let push = |item| lane.lock().push(item, Instant::now());
        assert_eq!(push(beat(1)), Ok(Pushed::Queued));
        assert_eq!(push(beat(2)), Ok(Pushed::Queued), "there is room for both");
        assert_eq!(push(Ranked(Rank::Vital, item(5), 0)), Ok(Pushed::Queued));
        assert_eq!(push(beat(3)), Ok(Pushed::Absorbed(beat(3))));
        assert_eq!(push(beat(4)), Ok(Pushed::Absorbed(beat(4))));
        let other = Ranked(Rank::Vital, item(4), 9);
        assert_eq!(push(other), Err((other, Refused::Messages)), "it says something else");
        let vote = Ranked(Rank::Vital, item(3), 0);
        assert_eq!(push(vote), Err((vote, Refused::Messages)), "it is said once alone");
        assert_eq!((lane.depth(), lane.backlog.bytes()), ((3, 11), 11));
        let mut taken = Waiting::new();
        lane.take(&mut taken);
        assert_eq!(push(beat(5)), Err((beat(5), Refused::Messages)), "what was taken is as it is");
        let numbers: Vec<_> = std::iter::from_fn(|| taken.pop()).map(|item| item.2).collect();
        assert_eq!(numbers, [1, 4, 0]);
    }

    #[test]
    fn the_consumer_is_told_once_a_visit() {
        let lane = lane(LIMITS);
        assert!(!lane.lock().announce(), "nothing to tell");
        assert_eq!(push(&lane, 1), Ok(()));
        assert!(lane.lock().announce());
        assert_eq!(push(&lane, 1), Ok(()));
        assert!(!lane.lock().announce());
        lane.take(&mut Waiting::new());
        assert_eq!(push(&lane, 1), Ok(()));
        assert!(lane.lock().announce());
    }
}
