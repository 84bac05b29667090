//! A gather list: bytes of one write, in order, from several places.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::block::Block;

/// Segments kept without an allocation: a small flush is one block, a flush with one payload by
/// reference is three.
const INLINE_SEGMENTS: usize = 4;

/// One contiguous run of bytes of a chain.
#[derive(Debug)]
pub enum Segment {
    /// Encoded bytes, a range of a block that the chain owns.
    Block(Block, Range<usize>),
    /// A payload by reference.
    Bytes(Bytes),
}

impl AsRef<[u8]> for Segment {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Block(block, range) => &block[range.clone()],
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Bytes to be written, in order; never contains an empty segment.
#[derive(Debug, Default)]
pub struct Chain {
    segments: SmallVec<[Segment; INLINE_SEGMENTS]>,
    len: usize,
}

impl Chain {
    /// Appends a segment; an empty one is dropped.
    pub fn push(&mut self, segment: Segment) {
        let len = segment.as_ref().len();
        if len > 0 {
            self.len += len;
            self.segments.push(segment);
        }
    }

    /// Bytes in all segments.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if there is nothing to write.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The segments, in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The segments, for filling in what was reserved.
    pub fn segments_mut(&mut self) -> &mut [Segment] {
        &mut self.segments
    }

    /// Removes `count` bytes that were written from the front, and every segment that is done.
    ///
    /// # Panics
    /// If `count` exceeds [`Chain::len`].
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len, "cannot write {count} of {} bytes", self.len);
        self.len -= count;
        let mut left = count;
        let mut done = 0;
        for segment in &mut self.segments {
            let len = segment.as_ref().len();
            if left < len {
                segment.skip(left);
                break;
            }
            left -= len;
            done += 1;
        }
        self.segments.drain(..done);
    }

    /// All bytes in one piece, for tests and other cold paths.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.segments.iter().flat_map(|s| s.as_ref().iter().copied()).collect()
    }
}

impl Segment {
    fn skip(&mut self, count: usize) {
        match self {
            Self::Block(_, range) => range.start += count,
            Self::Bytes(bytes) => drop(bytes.split_to(count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Chain {
        let mut block = Block::unpooled(8);
        block.copy_from_slice(b"abcdefgh");
        let mut chain = Chain::default();
        chain.push(Segment::Block(block, 1..4));
        chain.push(Segment::Bytes(Bytes::new()));
        chain.push(Segment::Bytes(Bytes::from_static(b"XYZ")));
        chain
    }

    #[test]
    fn advancing_by_any_count_leaves_the_rest() {
        for count in 0..=6 {
            let mut chain = chain();
            assert_eq!(chain.segments().len(), 2);
            chain.advance(count);
            assert_eq!(chain.to_vec(), b"bcdXYZ"[count..]);
            assert_eq!(chain.len(), 6 - count);
            assert!(chain.segments().iter().all(|s| !s.as_ref().is_empty()));
        }
    }
}
