//! A gather list that encoders fill and one write empties.
//!
//! ```text
//!   blocks    [ head ent ent head |      ] [ ent ent ....     ]
//!                  ^----- inline -------^        ^
//!   segments  { block 0, 0..40 } { payload by reference } { block 0, 40..57 } { block 1, 0..90 }
//! ```
//!
//! A block holds what comes before *and* after a payload that is taken by reference, so segments
//! name blocks by number. The last block is the one being filled.

use bytes::Bytes;
use smallvec::SmallVec;

use super::block::Block;
use super::pool::{BLOCK_BYTES, Pool};

/// Segments kept without an allocation: a flush with one payload by reference is three.
const INLINE_SEGMENTS: usize = 4;

/// Blocks kept without an allocation: a small one and the two that fill behind a write in flight.
const INLINE_BLOCKS: usize = 3;

/// The block an idle link fills: one message and its chunk header fit, and 1,000 idle links
/// together stay in the cache.
const FIRST_BLOCK_BYTES: usize = BLOCK_BYTES[0];

/// The block a busy link fills.
const NEXT_BLOCK_BYTES: usize = BLOCK_BYTES[1];

#[derive(Debug)]
enum Segment {
    Inline { block: usize, start: usize, end: usize },
    Payload(Bytes),
}

/// A place in a chain whose bytes are filled in later.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    block: usize,
    at: usize,
}

/// Bytes to be written, in order.
#[derive(Debug, Default)]
pub struct Chain {
    /// Full blocks.
    blocks: SmallVec<[Block; INLINE_BLOCKS]>,
    /// The block being filled; its number is that of the full ones.
    filling: Block,
    segments: SmallVec<[Segment; INLINE_SEGMENTS]>,
    /// Fill mark of that block: everything behind it is free.
    at: usize,
    len: usize,
}

impl Chain {
    /// At least `count` writable bytes at the end of the chain; the last block's, or a new one's.
    /// `busy` chooses the size of the first block.
    ///
    /// # Panics
    /// If `count` exceeds the smallest pooled block.
    #[inline]
    pub fn spare(&mut self, pool: &Pool, busy: bool, count: usize) -> &mut [u8] {
        if self.filling.len() - self.at < count {
            self.grow(pool, busy, count);
        }
        &mut self.filling[self.at..]
    }

    #[cold]
    fn grow(&mut self, pool: &Pool, busy: bool, count: usize) {
        assert!(count <= FIRST_BLOCK_BYTES, "{count} bytes in one piece");
        let first = self.filling.is_empty() && !busy;
        let next = pool.take(if first { FIRST_BLOCK_BYTES } else { NEXT_BLOCK_BYTES });
        let full = std::mem::replace(&mut self.filling, next);
        if !full.is_empty() {
            self.blocks.push(full);
        }
        self.at = 0;
    }

    /// Declares `count` bytes at the front of the last [`Chain::spare`] written.
    #[inline]
    pub fn commit(&mut self, count: usize) {
        let block = self.blocks.len();
        let start = self.at;
        self.at += count;
        self.len += count;
        debug_assert!(self.at <= self.filling.len());
        match self.segments.last_mut() {
            Some(Segment::Inline { block: b, end, .. }) if *b == block && *end == start => *end = self.at,
            _ if count == 0 => {}
            _ => self.segments.push(Segment::Inline { block, start, end: self.at }),
        }
    }

    /// Appends a payload by reference.
    pub fn push_payload(&mut self, payload: Bytes) {
        if !payload.is_empty() {
            self.len += payload.len();
            self.segments.push(Segment::Payload(payload));
        }
    }

    /// Reserves `count` bytes that [`Chain::patch`] fills in later.
    pub fn reserve(&mut self, pool: &Pool, busy: bool, count: usize) -> Mark {
        self.spare(pool, busy, count);
        let mark = Mark { block: self.blocks.len(), at: self.at };
        self.commit(count);
        mark
    }

    /// Fills in what was reserved.
    pub fn patch(&mut self, mark: Mark, bytes: &[u8]) {
        let block = self.blocks.get_mut(mark.block).unwrap_or(&mut self.filling);
        block[mark.at..mark.at + bytes.len()].copy_from_slice(bytes);
    }

    /// Bytes still to be written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if there is nothing to write.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes, piece by piece; none is empty.
    pub fn slices(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.segments.iter().map(|segment| match segment {
            Segment::Inline { block, start, end } => {
                &self.blocks.get(*block).unwrap_or(&self.filling)[*start..*end]
            }
            Segment::Payload(payload) => payload,
        })
    }

    /// Removes `count` bytes that were written from the front. Blocks are kept until the chain is
    /// dropped: a short write is rare, and the kernel may hold none of it then.
    ///
    /// # Panics
    /// If `count` exceeds [`Chain::len`].
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len, "cannot write {count} of {} bytes", self.len);
        self.len -= count;
        let mut left = count;
        let mut done = 0;
        for segment in &mut self.segments {
            let len = segment.len();
            if left < len {
                segment.skip(left);
                break;
            }
            left -= len;
            done += 1;
        }
        self.segments.drain(..done);
    }

    /// Forgets all bytes and keeps the last block, to be filled from its beginning.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.segments.clear();
        (self.at, self.len) = (0, 0);
    }

    /// True if it is filled from the beginning of a block of the size that `busy` asks for.
    #[must_use]
    pub fn begins_with(&self, busy: bool) -> bool {
        self.filling.len() == if busy { NEXT_BLOCK_BYTES } else { FIRST_BLOCK_BYTES }
    }

    /// All bytes in one piece, for tests and other cold paths.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.slices().flatten().copied().collect()
    }
}

impl Segment {
    fn len(&self) -> usize {
        match self {
            Self::Inline { start, end, .. } => end - start,
            Self::Payload(payload) => payload.len(),
        }
    }

    fn skip(&mut self, count: usize) {
        match self {
            Self::Inline { start, .. } => *start += count,
            Self::Payload(payload) => drop(payload.split_to(count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(chain: &mut Chain, pool: &Pool, bytes: &[u8]) {
        chain.spare(pool, false, bytes.len())[..bytes.len()].copy_from_slice(bytes);
        chain.commit(bytes.len());
    }

    fn chain(pool: &Pool) -> Chain {
        let mut chain = Chain::default();
        let mark = chain.reserve(pool, false, 2);
        put(&mut chain, pool, b"ab");
        chain.push_payload(Bytes::from_static(b"XYZ"));
        chain.push_payload(Bytes::new());
        put(&mut chain, pool, b"cd");
        chain.patch(mark, b"09");
        chain
    }

    #[test]
    fn a_payload_by_reference_shares_its_block_with_what_follows() {
        let pool = Pool::new();
        let chain = chain(&pool);
        assert_eq!(chain.to_vec(), b"09abXYZcd");
        assert_eq!(chain.slices().len(), 3);
        assert_eq!(pool.stats().out, [1, 0, 0]);
    }

    #[test]
    fn advancing_by_any_count_leaves_the_rest() {
        let pool = Pool::new();
        for count in 0..=9 {
            let mut chain = chain(&pool);
            chain.advance(count);
            assert_eq!(chain.to_vec(), b"09abXYZcd"[count..]);
            assert_eq!(chain.len(), 9 - count);
            assert!(chain.slices().all(|s| !s.is_empty()));
        }
    }

    #[test]
    fn a_chain_that_is_cleared_keeps_its_last_block_alone() {
        let pool = Pool::new();
        let mut chain = Chain::default();
        put(&mut chain, &pool, &[1; 4000]);
        assert!(chain.begins_with(false) && !chain.begins_with(true));
        put(&mut chain, &pool, &[2; 200]);
        chain.push_payload(Bytes::from_static(b"xyz"));
        chain.clear();
        assert!(chain.is_empty() && chain.slices().len() == 0);
        assert_eq!(pool.stats().out, [0, 1, 0]);
        assert!(chain.begins_with(true));
        put(&mut chain, &pool, b"next");
        assert_eq!(chain.to_vec(), b"next");
        assert_eq!(pool.stats().out, [0, 1, 0]);
    }

    #[test]
    fn a_full_block_is_followed_by_a_larger_one() {
        let pool = Pool::new();
        let mut chain = Chain::default();
        put(&mut chain, &pool, &[1; 4000]);
        put(&mut chain, &pool, &[2; 200]);
        assert_eq!(pool.stats().out, [1, 1, 0]);
        assert_eq!(chain.len(), 4200);
        drop(chain);
        assert_eq!(pool.stats().out_bytes(), 0);
    }
}
