//! A bounded queue from the host's threads to one stream writer.

use std::sync::PoisonError;

use super::segments::Segments;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// Bounds of a lane: whatever is reached first.
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
}

/// A queue of weighed items with one consumer.
///
/// The lock is held for a move in, a swap of the whole queue or a trim, never while anything waits.
#[derive(Debug)]
pub struct Lane<T> {
    limits: LaneLimits,
    queue: Mutex<Queue<T>>,
    // What was pushed and not yet released. Written under the lock by producers and without it by
    // the consumer, so a producer may see a lane fuller than it is, never emptier.
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

#[derive(Debug)]
struct Queue<T> {
    items: Segments<T>,
    /// The consumer was told that there is something and has not come yet.
    announced: bool,
}

/// Exclusive access for a run of pushes.
#[derive(Debug)]
pub struct LaneGuard<'a, T> {
    lane: &'a Lane<T>,
    queue: MutexGuard<'a, Queue<T>>,
}

impl<T> Lane<T> {
    /// An empty lane; memory comes with use.
    #[must_use]
    pub fn new(limits: LaneLimits) -> Self {
        Self {
            limits,
            queue: Mutex::new(Queue { items: Segments::new(), announced: false }),
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
    pub fn take(&self, into: &mut Segments<T>) {
        let mut guard = self.lock();
        guard.queue.announced = false;
        into.take(&mut guard.queue.items);
    }

    /// Gives back the memory of earlier bursts, but for one segment for what comes next.
    pub fn trim(&self) {
        self.lock().queue.items.trim(1);
    }

    /// Makes room: `messages` items of `bytes` in sum were encoded or dropped.
    pub fn release(&self, messages: usize, bytes: usize) {
        self.messages.fetch_sub(messages, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Items and bytes pushed and not yet released.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl<T> LaneGuard<'_, T> {
    /// Queues an item.
    ///
    /// # Errors
    /// Gives the item back with the wall it hit.
    pub fn push(&mut self, item: T, weight: usize) -> Result<(), (T, Refused)> {
        let (messages, bytes) = self.lane.depth();
        if messages >= self.lane.limits.messages_max {
            return Err((item, Refused::Messages));
        }
        if messages > 0 && bytes.saturating_add(weight) > self.lane.limits.bytes_max {
            return Err((item, Refused::Bytes));
        }
        self.lane.messages.fetch_add(1, Ordering::Relaxed);
        self.lane.bytes.fetch_add(weight, Ordering::Relaxed);
        self.queue.items.push(item);
        Ok(())
    }

    /// True once after the consumer came: whoever gets it tells the consumer.
    pub fn announce(&mut self) -> bool {
        !self.queue.items.is_empty() && !std::mem::replace(&mut self.queue.announced, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LaneLimits = LaneLimits { messages_max: 3, bytes_max: 100 };

    #[test]
    fn a_lane_is_bounded_in_messages_and_in_bytes() {
        let lane = Lane::new(LIMITS);
        assert_eq!(lane.lock().push('a', 60), Ok(()));
        assert_eq!(lane.lock().push('b', 60), Err(('b', Refused::Bytes)));
        assert_eq!(lane.lock().push('c', 20), Ok(()));
        assert_eq!(lane.lock().push('d', 20), Ok(()));
        assert_eq!(lane.lock().push('e', 0), Err(('e', Refused::Messages)));
        assert_eq!(lane.depth(), (3, 100));
    }

    #[test]
    fn an_empty_lane_admits_one_item_of_any_weight() {
        let lane = Lane::new(LIMITS);
        assert_eq!(lane.lock().push((), usize::MAX), Ok(()));
        assert_eq!(lane.lock().push((), 1), Err(((), Refused::Bytes)));
    }

    #[test]
    fn taken_items_count_until_they_are_released() {
        let lane = Lane::new(LIMITS);
        for item in 0..3 {
            lane.lock().push(item, 1).expect("room");
        }
        let mut taken = Segments::new();
        lane.take(&mut taken);
        assert_eq!(taken.pop(), Some(0));
        assert_eq!(lane.lock().push(3, 1), Err((3, Refused::Messages)));
        lane.release(2, 2);
        assert_eq!(lane.lock().push(3, 1), Ok(()));
        lane.take(&mut taken);
        assert_eq!(std::iter::from_fn(|| taken.pop()).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn the_consumer_is_told_once_a_visit() {
        let lane = Lane::new(LIMITS);
        assert!(!lane.lock().announce(), "nothing to tell");
        lane.lock().push(1, 1).expect("room");
        assert!(lane.lock().announce());
        lane.lock().push(2, 1).expect("room");
        assert!(!lane.lock().announce());
        lane.take(&mut Segments::new());
        lane.lock().push(3, 1).expect("room");
        assert!(lane.lock().announce());
    }
}
