//! A bounded queue from the host's threads to one stream writer.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::backlog::{Backlog, Weighed};
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

/// Which wall a push hit.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Refused {
    /// `messages_max` items are queued.
    Messages,
    /// `bytes_max` would be exceeded.
    Bytes,
    /// The bound that all lanes of the process have together would be exceeded.
    Process,
}

/// A queue of weighed items with one consumer.
///
/// The lock is held for a move in, a swap of the whole queue or a trim, never while anything waits.
#[derive(Debug)]
pub struct Lane<T> {
    limits: LaneLimits,
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
        Self {
            limits,
            backlog,
            queue: Mutex::new(Queue { items: Waiting::new(), announced: false }),
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
    /// Queues an item at `now`, or whenever the run of pushes began.
    ///
    /// # Errors
    /// Gives the item back with the wall it hit.
    pub fn push(&mut self, item: T, now: Instant) -> Result<(), (T, Refused)> {
        let (messages, bytes) = self.lane.depth();
        let (weight, is_empty) = (item.weight(), messages == 0);
        if messages >= self.lane.limits.messages_max {
            return Err((item, Refused::Messages));
        }
        if !is_empty && bytes.saturating_add(weight) > self.lane.limits.bytes_max {
            return Err((item, Refused::Bytes));
        }
        if !self.lane.backlog.enter(&item, is_empty) {
            return Err((item, Refused::Process));
        }
        self.lane.messages.fetch_add(1, Ordering::Relaxed);
        self.lane.bytes.fetch_add(weight, Ordering::Relaxed);
        self.queue.items.push(item, now);
        Ok(())
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
        lane.lock().push(item(bytes), Instant::now()).map_err(|(_, refused)| refused)
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
