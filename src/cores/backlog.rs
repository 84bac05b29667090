//! How many payload bytes wait in all lanes of a process.
//!
//! A leader queues one entry for each of its followers, and all of them hold the same memory. So a
//! payload is counted when it comes into the first lane, and no more when it has left the last.

use std::collections::hash_map::Entry;
use std::sync::PoisonError;

use rustc_hash::FxHashMap;

use super::rank::Rank;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// What can wait in a lane.
pub trait Weighed {
    /// Everything in it that has no fixed size, the same pieces of memory for as long as it waits.
    fn payloads(&self) -> impl Iterator<Item = &[u8]>;

    /// Bytes of all of them.
    fn weight(&self) -> usize {
        self.payloads().map(<[u8]>::len).sum()
    }

    /// How much it matters.
    fn rank(&self) -> Rank {
        Rank::Vital
    }

    /// True if a later item may make this one superfluous while it waits.
    fn may_absorb(&self) -> bool {
        false
    }

    /// Takes over what the `later` item says, which is then superfluous; false if it cannot. Its
    /// payloads stay as they are.
    fn absorb(&mut self, _later: &Self) -> bool {
        false
    }
}

/// Payloads of at least so many bytes are counted once, smaller ones in each lane: they are not worth
/// being looked up under a lock. A lane of 4,096 that are just smaller has 4 MiB of them, so that a
/// hundred lanes full of the same stay well below a bound of 1 GiB.
pub const SHARED_BYTES_MIN: usize = 1 << 10;

/// Tables of shared payloads, each with a lock of its own, so that threads hardly ever meet there.
const TABLES: usize = 16;

/// A table that is empty again keeps room for so many payloads, and gives back what it needed more.
const TABLE_PAYLOADS_KEPT: usize = 64;

/// Where a payload lies, and how long it is: what differs in either is counted apart.
type Place = (usize, usize);

/// In how many lanes (or how often in one) each payload waits. Places are no one's choice, and need no
/// defence against collisions.
type Table = FxHashMap<Place, usize>;

/// The payload bytes that wait in any number of lanes, bounded together.
#[derive(Debug)]
pub struct Backlog {
    /// By rank.
    bytes_max: [usize; Rank::ALL.len()],
    bytes: AtomicUsize,
    tables: [Mutex<Table>; TABLES],
}

impl Backlog {
    /// Nothing waits, and at most `bytes_max` bytes ever will (of lower ranks their [share](Rank)),
    /// beside one item in each lane.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let tables = std::array::from_fn(|_| Mutex::new(Table::default()));
        Self { bytes_max: Rank::shares(bytes_max), bytes: AtomicUsize::new(0), tables }
    }

    /// Payload bytes that wait now, each shared payload counted once.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// An item begins to wait. False if that would exceed the bound: then nothing is counted, unless
    /// it is to wait `regardless`.
    pub(crate) fn enter(&self, item: &impl Weighed, regardless: bool) -> bool {
        let bytes_max = if regardless { usize::MAX } else { self.bytes_max[item.rank().index()] };
        let mut entered = 0;
        let mut enter = |payload| {
            let fits = self.enter_shared(payload, bytes_max);
            entered += usize::from(fits);
            fits
        };
        let fits = shared(item).all(&mut enter) && self.reserve(small_bytes(item), bytes_max);
        if !fits {
            shared(item).take(entered).for_each(|payload| self.leave_shared(payload));
        }
        fits
    }

    /// An item waits no longer, but for its small payloads: how many bytes these are, for
    /// [`Backlog::give_back`].
    pub(crate) fn leave(&self, item: &impl Weighed) -> usize {
        shared(item).for_each(|payload| self.leave_shared(payload));
        small_bytes(item)
    }

    /// So many bytes wait no longer.
    pub(crate) fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn reserve(&self, bytes: usize, bytes_max: usize) -> bool {
        let fits = |held: usize| held.checked_add(bytes).filter(|&sum| sum <= bytes_max);
        bytes == 0 || self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn enter_shared(&self, payload: &[u8], bytes_max: usize) -> bool {
        match self.table(payload).entry(place(payload)) {
            Entry::Occupied(mut lanes) => {
                *lanes.get_mut() += 1;
                true
            }
            Entry::Vacant(vacant) => {
                let fits = self.reserve(payload.len(), bytes_max);
                if fits {
                    vacant.insert(1);
                }
                fits
            }
        }
    }

    fn leave_shared(&self, payload: &[u8]) {
        let mut table = self.table(payload);
        let Entry::Occupied(mut lanes) = table.entry(place(payload)) else { return };
        *lanes.get_mut() -= 1;
        if *lanes.get() == 0 {
            lanes.remove();
            self.give_back(payload.len());
            if table.is_empty() {
                table.shrink_to(TABLE_PAYLOADS_KEPT);
            }
        }
    }

    /// The table for this payload, locked.
    fn table(&self, payload: &[u8]) -> MutexGuard<'_, Table> {
        // Payloads lie at least so far apart; the multiplication spreads those that lie in step.
        let number = (place(payload).0 / SHARED_BYTES_MIN) as u64;
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        // Nothing panics while it is held, so a poisoned lock guards a sound table.
        self.tables[spread as usize % TABLES].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(payload: &[u8]) -> Place {
    (payload.as_ptr().addr(), payload.len())
}

/// The payloads that are looked up.
fn shared(item: &impl Weighed) -> impl Iterator<Item = &[u8]> {
    item.payloads().filter(|payload| payload.len() >= SHARED_BYTES_MIN)
}

/// Bytes of the others.
fn small_bytes(item: &impl Weighed) -> usize {
    item.payloads().map(<[u8]>::len).filter(|&bytes| bytes < SHARED_BYTES_MIN).sum()
}

/// A payload and nothing else.
#[cfg(test)]
impl Weighed for &[u8] {
    fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(*self)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LARGE: usize = SHARED_BYTES_MIN;

    /// Some payloads, as a message has them.
    struct Item<'a>(Vec<&'a [u8]>);

    impl Weighed for Item<'_> {
        fn payloads(&self) -> impl Iterator<Item = &[u8]> {
            self.0.iter().copied()
        }
    }

    fn leave(backlog: &Backlog, item: &impl Weighed) {
        backlog.give_back(backlog.leave(item));
    }

    #[test]
    fn a_large_payload_counts_once_and_small_ones_each_time() {
        let (backlog, large, small) = (Backlog::new(usize::MAX), [1; LARGE], [2; LARGE - 1]);
        let item = Item(vec![&large, &small, &large]);
        assert_eq!(item.weight(), 3 * LARGE - 1);
        assert!(backlog.enter(&item, false));
        assert!(backlog.enter(&item, false));
        assert_eq!(backlog.bytes(), LARGE + 2 * (LARGE - 1));
        leave(&backlog, &item);
        assert_eq!(backlog.bytes(), LARGE + LARGE - 1);
        leave(&backlog, &item);
        assert_eq!(backlog.bytes(), 0);
    }

    #[test]
    fn payloads_are_told_apart_by_where_they_begin_and_how_long_they_are() {
        let (backlog, [memory, other]) = (Backlog::new(usize::MAX), [[1; 2 * LARGE]; 2]);
        for (payload, bytes) in [
            (&memory[..], 2 * LARGE),
            (&memory[..LARGE], 3 * LARGE),
            (&memory[LARGE..], 4 * LARGE),
            (&other[LARGE..], 5 * LARGE),
        ] {
            assert!(backlog.enter(&payload, false));
            assert_eq!(backlog.bytes(), bytes);
        }
    }

    #[test]
    fn what_would_exceed_the_bound_is_refused_and_leaves_nothing_behind() {
        let (backlog, one, two) = (Backlog::new(2 * LARGE), [1; LARGE], [2; LARGE]);
        assert!(backlog.enter(&&one[..], false));
        let too_much = Item(vec![&one, &two, &[3]]);
        assert!(!backlog.enter(&too_much, false));
        assert_eq!(backlog.bytes(), LARGE);
        assert!(backlog.enter(&too_much, true), "regardless");
        assert_eq!(backlog.bytes(), 2 * LARGE + 1);
        assert!(backlog.enter(&Item(vec![&one, &two]), false), "what waits already adds nothing");
        assert!(backlog.enter(&Item(vec![]), false), "nor does nothing");
        assert!(!backlog.enter(&Item(vec![&[4]]), false));
        for item in [too_much, Item(vec![&one, &two]), Item(vec![&one])] {
            leave(&backlog, &item);
        }
        assert_eq!(backlog.bytes(), 0);
    }

    #[test]
    fn a_table_that_was_large_gives_its_memory_back() {
        let (backlog, memory) = (Backlog::new(usize::MAX), vec![1; 10_000 + LARGE]);
        let payloads = || (0..10_000).map(|at| &memory[at..at + LARGE]);
        payloads().for_each(|payload| assert!(backlog.enter(&payload, false)));
        payloads().for_each(|payload| leave(&backlog, &payload));
        assert_eq!(backlog.bytes(), 0);
        for table in &backlog.tables {
            let capacity = table.lock().expect("no panic").capacity();
            assert!(capacity <= 2 * TABLE_PAYLOADS_KEPT, "{capacity}");
        }
    }
}
