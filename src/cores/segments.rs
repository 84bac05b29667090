//! A queue that grows by segments and gives them back.

use std::collections::VecDeque;

/// Items of a segment. Sixteen messages and their segment stay just below a page, so that a lane in
/// which something waits now and then costs no more than that; a full one has 256 segments.
pub const SEGMENT_ITEMS: usize = 16;

/// A queue in segments of [`SEGMENT_ITEMS`].
///
/// Growing moves nothing, however much is queued, and segments that were emptied are filled again, so
/// that a queue which has seen its worst allocates no more until it is [trimmed](Segments::trim).
#[derive(Debug)]
pub struct Segments<T> {
    /// In order; none is empty.
    filled: VecDeque<VecDeque<T>>,
    spare: Vec<VecDeque<T>>,
}

impl<T> Segments<T> {
    /// An empty queue, without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { filled: VecDeque::new(), spare: Vec::new() }
    }

    /// True if nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filled.is_empty()
    }

    /// Queues an item behind the others.
    pub fn push(&mut self, item: T) {
        match self.filled.back_mut() {
            Some(last) if last.len() < SEGMENT_ITEMS => last.push_back(item),
            _ => {
                let mut segment = self.spare.pop().unwrap_or_else(|| VecDeque::with_capacity(SEGMENT_ITEMS));
                segment.push_back(item);
                self.filled.push_back(segment);
            }
        }
    }

    /// The item that has waited longest.
    pub fn pop(&mut self) -> Option<T> {
        let first = self.filled.front_mut()?;
        let item = first.pop_front();
        if first.is_empty() {
            self.spare.extend(self.filled.pop_front());
        }
        item
    }

    /// How many items are queued, for a queue from which none was popped.
    pub(super) fn len_unpopped(&self) -> usize {
        let last = self.filled.back().map_or(0, VecDeque::len);
        self.filled.len().saturating_sub(1) * SEGMENT_ITEMS + last
    }

    /// The item at this place, in a queue from which none was popped.
    pub(super) fn get_mut_unpopped(&mut self, place: usize) -> Option<&mut T> {
        self.filled.get_mut(place / SEGMENT_ITEMS)?.get_mut(place % SEGMENT_ITEMS)
    }

    /// Takes everything of `other`, segment by segment; an empty queue gives its own spare segments
    /// in exchange.
    pub fn take(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, other);
        } else {
            self.filled.append(&mut other.filled);
        }
    }

    /// Gives back the memory of all segments but those that are filled and `spare_max` others.
    pub fn trim(&mut self, spare_max: usize) {
        self.spare.truncate(spare_max);
        self.spare.shrink_to_fit();
        self.filled.shrink_to_fit();
    }
}

impl<T> Default for Segments<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(items: impl IntoIterator<Item = usize>) -> Segments<usize> {
        let mut queue = Segments::new();
        items.into_iter().for_each(|item| queue.push(item));
        queue
    }

    fn all(mut queue: Segments<usize>) -> Vec<usize> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    fn segments<T>(queue: &Segments<T>) -> usize {
        queue.filled.len() + queue.spare.len()
    }

    #[test]
    fn items_come_out_in_their_order_across_segments() {
        let queue = filled(0..100);
        assert_eq!(segments(&queue), 100_usize.div_ceil(SEGMENT_ITEMS));
        assert_eq!(all(queue), Vec::from_iter(0..100));
        assert_eq!(all(Segments::new()), [0_usize; 0]);
    }

    #[test]
    fn a_queue_that_was_only_filled_knows_the_place_of_each_item() {
        let mut queue = Segments::new();
        for place in 0..100 {
            assert_eq!(queue.len_unpopped(), place);
            assert_eq!(queue.get_mut_unpopped(place), None);
            queue.push(place);
        }
        for place in 0..100 {
            assert_eq!(queue.get_mut_unpopped(place), Some(&mut { place }));
        }
    }

    #[test]
    fn what_is_taken_comes_behind_what_was_there() {
        let (mut queue, mut other) = (filled(0..20), filled(20..50));
        queue.take(&mut other);
        assert!(other.is_empty());
        other.push(50);
        queue.take(&mut other);
        assert_eq!(all(queue), Vec::from_iter(0..51));
    }

    #[test]
    fn emptied_segments_are_filled_again() {
        let (mut producer, mut consumer) = (Segments::new(), Segments::new());
        for _ in 0..10 {
            (0..100).for_each(|item| producer.push(item));
            consumer.take(&mut producer);
            while consumer.pop().is_some() {}
        }
        let of_one_burst = 100_usize.div_ceil(SEGMENT_ITEMS);
        assert_eq!(segments(&producer) + segments(&consumer), 2 * of_one_burst);
    }

    #[test]
    fn a_segment_that_is_emptied_as_fast_as_it_is_filled_stays_the_only_one() {
        let mut queue = filled(0..1);
        for item in 1..100 {
            queue.push(item);
            assert_eq!(queue.pop(), Some(item - 1));
        }
        assert_eq!(segments(&queue), 1);
    }

    #[test]
    fn trimming_gives_back_what_is_not_filled() {
        let mut queue = filled(0..100);
        (0..90).for_each(|item| assert_eq!(queue.pop(), Some(item)));
        queue.trim(1);
        assert_eq!((queue.filled.len(), queue.spare.len()), (2, 1));
        queue.trim(0);
        assert_eq!((queue.spare.capacity(), segments(&queue)), (0, 2));
        assert_eq!(all(queue), Vec::from_iter(90..100));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Take,
        Pop(usize),
        Trim(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1..50_usize).prop_map(Step::Push),
            Just(Step::Take),
            (1..50_usize).prop_map(Step::Pop),
            (0..3_usize).prop_map(Step::Trim),
        ]
    }

    proptest! {
        #[test]
        fn two_queues_behave_as_plain_ones_do(steps in prop::collection::vec(step(), 0..60)) {
            let (mut lane, mut desk) = (Segments::new(), Segments::new());
            let (mut plain_lane, mut plain_desk) = (VecDeque::new(), VecDeque::new());
            let mut items = 0..;
            for step in steps {
                match step {
                    Step::Push(count) => for item in items.by_ref().take(count) {
                        lane.push(item);
                        plain_lane.push_back(item);
                    },
                    Step::Take => {
                        desk.take(&mut lane);
                        plain_desk.append(&mut plain_lane);
                    }
                    Step::Pop(count) => for _ in 0..count {
                        prop_assert_eq!(desk.pop(), plain_desk.pop_front());
                    },
                    Step::Trim(spare_max) => desk.trim(spare_max),
                }
                prop_assert_eq!(lane.is_empty(), plain_lane.is_empty());
                prop_assert!(desk.filled.iter().all(|segment| !segment.is_empty()));
                prop_assert!(desk.filled.iter().all(|segment| segment.capacity() == SEGMENT_ITEMS));
            }
        }
    }
}
