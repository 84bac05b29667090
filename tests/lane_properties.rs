//! Whatever is pushed, taken and released in whatever order: what waits is counted to the byte.
#![cfg(feature = "io")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use raftring::cores::{Backlog, Lane, LaneLimits, SHARED_BYTES_MIN, Waiting, Weighed};

const LIMITS: LaneLimits = LaneLimits { messages_max: 64, bytes_max: 32 * SHARED_BYTES_MIN };
const TOGETHER_MAX: usize = 8 * SHARED_BYTES_MIN;

/// The largest payload, in units of the smallest that is shared.
const LARGEST: usize = 4;

/// Two payloads, each of which is the beginning of this memory: those as long are the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Item([usize; 2]);

impl Weighed for Item {
    fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        static MEMORY: [u8; LARGEST * SHARED_BYTES_MIN] = [0; LARGEST * SHARED_BYTES_MIN];
        self.0.iter().map(|&bytes| &MEMORY[..bytes])
    }
}

/// What a thread does: push to a lane, or encode so many items of one.
#[derive(Clone, Debug)]
enum Step {
    Push(usize, Item),
    Encode(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![0..SHARED_BYTES_MIN, (1..=LARGEST).prop_map(|units| units * SHARED_BYTES_MIN)];
    let item = [bytes.clone(), bytes].prop_map(Item);
    let step = prop_oneof![
        3 => (0..2_usize, item).prop_map(|(lane, item)| Step::Push(lane, item)),
        1 => (0..2_usize, 1..8_usize).prop_map(|(lane, count)| Step::Encode(lane, count)),
    ];
    prop::collection::vec(step, 0..200)
}

fn two_lanes() -> (Arc<Backlog>, [Lane<Item>; 2]) {
    let backlog = Arc::new(Backlog::new(TOGETHER_MAX));
    let lanes = [(); 2].map(|()| Lane::new(LIMITS, Arc::clone(&backlog)));
    (backlog, lanes)
}

/// Takes what waits and releases up to `count` items; the others stay in `desk`, and are counted.
fn encode(lane: &Lane<Item>, desk: &mut Waiting<Item>, count: usize) -> Vec<Item> {
    lane.take(desk);
    let mut release = lane.release();
    std::iter::from_fn(|| desk.pop()).take(count).inspect(|item| release.add(item)).collect()
}

/// Each shared payload once, each small one as often as it waits.
fn bytes_of(waiting: &[Vec<Item>; 2]) -> usize {
    let payloads = waiting.iter().flatten().flat_map(|item| item.0);
    let (shared, small): (Vec<_>, Vec<_>) = payloads.partition(|&bytes| bytes >= SHARED_BYTES_MIN);
    small.into_iter().sum::<usize>() + HashSet::<_>::from_iter(shared).into_iter().sum::<usize>()
}

proptest! {
    #[test]
    fn what_waits_is_counted_to_the_byte(steps in steps()) {
        let (backlog, lanes) = two_lanes();
        let (mut desks, mut waiting) = ([(); 2].map(|()| Waiting::new()), [const { Vec::new() }; 2]);
        for step in steps {
            match step {
                Step::Push(lane, item) => {
                    let (before, was_empty) = (backlog.bytes(), waiting[lane].is_empty());
                    if lanes[lane].lock().push(item, Instant::now()).is_ok() {
                        waiting[lane].push(item);
                        let adds_nothing = backlog.bytes() == before;
                        prop_assert!(was_empty || adds_nothing || backlog.bytes() <= TOGETHER_MAX);
                    }
                    prop_assert!(!waiting[lane].is_empty(), "an empty lane admits anything");
                }
                Step::Encode(lane, count) => {
                    let encoded = encode(&lanes[lane], &mut desks[lane], count);
                    let expected: Vec<_> = waiting[lane].drain(..count.min(waiting[lane].len())).collect();
                    prop_assert_eq!(encoded, expected);
                }
            }
            prop_assert_eq!(backlog.bytes(), bytes_of(&waiting));
        }
    }

    #[test]
    fn two_threads_leave_nothing_counted(steps in [steps(), steps()]) {
        let (backlog, lanes) = two_lanes();
        std::thread::scope(|scope| {
            for (own, steps) in steps.into_iter().enumerate() {
                let (backlog, lanes) = (&backlog, &lanes);
                scope.spawn(move || {
                    let mut desk = Waiting::new();
                    for step in steps {
                        match step {
                            Step::Push(lane, item) => drop(lanes[lane].lock().push(item, Instant::now())),
                            // A lane has one consumer.
                            Step::Encode(_, count) => drop(encode(&lanes[own], &mut desk, count)),
                        }
                        let beside = 2 * 2 * LARGEST * SHARED_BYTES_MIN;
                        assert!(backlog.bytes() <= TOGETHER_MAX + beside, "one more item in each lane");
                    }
                    encode(&lanes[own], &mut desk, usize::MAX);
                });
            }
        });
        // What one thread pushed to the other's lane when that had ended.
        lanes.iter().for_each(|lane| drop(encode(lane, &mut Waiting::new(), usize::MAX)));
        prop_assert_eq!(backlog.bytes(), 0);
        prop_assert!(lanes.iter().all(|lane| lane.depth() == (0, 0)));
    }
}
