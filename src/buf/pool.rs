//! One pool of blocks a core.

use std::sync::PoisonError;

use super::block::Block;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex, MutexGuard};

/// The sizes of pooled blocks, in bytes. An idle connection waits on the smallest, a busy one
/// reads into the largest, an encoder fills the middle one.
pub const BLOCK_BYTES: [usize; 3] = [4 << 10, 64 << 10, 256 << 10];

/// How many bytes of idle blocks of each size a pool keeps; what comes home beyond is freed.
/// Sixteen of the largest: enough for every connection of a core that is busy at one moment.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// A pool of blocks in three sizes. Cloning it is cheap and gives the same pool.
///
/// Taking never fails: how many blocks may be *out* is bounded by those who hold them (one block
/// being filled per reader, at most `ENCODED_BYTES_MAX` behind a write per writer, and what the
/// host keeps of large payloads), and the pool counts them.
#[derive(Clone, Debug)]
pub struct Pool {
    home: Arc<Home>,
}

/// Where blocks return to.
#[derive(Debug)]
pub(super) struct Home {
    shelves: [Shelf; BLOCK_BYTES.len()],
}

#[derive(Debug, Default)]
struct Shelf {
    // A lock and not a free list of atomics: it is taken twice a block, which is once per hundreds
    // of messages, and only ever for a push or a pop.
    idle: Mutex<Vec<Box<[u8]>>>,
    out: AtomicUsize,
}

/// What a pool holds, in blocks of each size of [`BLOCK_BYTES`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PoolStats {
    /// Blocks taken and not yet returned.
    pub out: [usize; BLOCK_BYTES.len()],
    /// Blocks at home.
    pub idle: [usize; BLOCK_BYTES.len()],
}

impl PoolStats {
    /// Bytes of all blocks that are out.
    #[must_use]
    pub fn out_bytes(&self) -> usize {
        self.out.iter().zip(BLOCK_BYTES).map(|(n, size)| n * size).sum()
    }
}

impl Pool {
    /// An empty pool; memory comes with use.
    #[must_use]
    pub fn new() -> Self {
        Self { home: Arc::new(Home { shelves: Default::default() }) }
    }

    /// A block of at least `capacity` bytes, or of the largest pooled size if that is smaller.
    #[must_use]
    pub fn take(&self, capacity: usize) -> Block {
        let class = BLOCK_BYTES.iter().position(|&size| size >= capacity).unwrap_or(BLOCK_BYTES.len() - 1);
        let shelf = &self.home.shelves[class];
        shelf.out.fetch_add(1, Ordering::Relaxed);
        let idle = shelf.lock().pop();
        let bytes = idle.unwrap_or_else(|| vec![0; BLOCK_BYTES[class]].into_boxed_slice());
        Block::pooled(bytes, Arc::clone(&self.home))
    }

    /// How many blocks are out and at home.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let mut stats = PoolStats::default();
        for (class, shelf) in self.home.shelves.iter().enumerate() {
            stats.out[class] = shelf.out.load(Ordering::Relaxed);
            stats.idle[class] = shelf.lock().len();
        }
        stats
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    pub(super) fn give_back(&self, bytes: Box<[u8]>) {
        let Some(class) = BLOCK_BYTES.iter().position(|&size| size == bytes.len()) else {
            return;
        };
        let shelf = &self.shelves[class];
        shelf.out.fetch_sub(1, Ordering::Relaxed);
        let mut idle = shelf.lock();
        if (idle.len() + 1) * bytes.len() <= KEPT_BYTES_MAX {
            idle.push(bytes);
        }
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        // Nothing panics while it is held, so a poisoned lock guards a sound list.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_home_from_any_thread_and_are_used_again() {
        let pool = Pool::new();
        let block = pool.take(1);
        assert_eq!(block.len(), BLOCK_BYTES[0]);
        let address = block.as_ptr() as usize;
        std::thread::spawn(move || drop(block)).join().expect("no panic");
        assert_eq!(pool.stats().idle, [1, 0, 0]);
        assert_eq!(pool.stats().out, [0, 0, 0]);
        assert_eq!(pool.take(4096).as_ptr() as usize, address);
    }

    #[test]
    fn a_sealed_block_stays_out_until_its_last_slice_is_dropped() {
        let pool = Pool::new();
        let sealed = pool.take(64 << 10).seal();
        let slice = sealed.slice(100..200);
        drop(sealed);
        assert_eq!(pool.stats().out_bytes(), 64 << 10);
        drop(slice);
        assert_eq!(pool.stats().out_bytes(), 0);
    }

    #[test]
    fn what_the_pool_keeps_is_bounded() {
        let pool = Pool::new();
        let many: Vec<_> = (0..100).map(|_| pool.take(256 << 10)).collect();
        drop(many);
        assert_eq!(pool.stats().idle[2] * BLOCK_BYTES[2], KEPT_BYTES_MAX);
    }

    #[test]
    fn more_than_the_largest_size_gives_the_largest() {
        assert_eq!(Pool::new().take(10 << 20).len(), 256 << 10);
    }
}
