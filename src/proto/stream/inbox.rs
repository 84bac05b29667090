//! The receive buffer of one connection: one block at a time, grown by what arrives.
//!
//! ```text
//!   | consumed |  body, undecoded  | gap |  raw  |   free -> kernel   |      (see `Marks`)
//! ```

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::buf::{BLOCK_BYTES, Block, NoRoom, Pool, Share};
use crate::proto::http::body::Marks;

/// A body that fills at least this part of its block is sealed with it: slices then pin at most
/// so many times their own stream bytes. A smaller one is copied.
const SEAL_PART: usize = 4;

/// A body of at most this is copied behind the one before it, into memory that is used again when
/// nobody keeps slices of it any more. A larger copy has memory of its own, or an idle connection
/// would hold on to that.
const COPIES_BYTES_MAX: usize = BLOCK_BYTES[0];

/// With less free space than this behind the bytes the block is compacted or replaced: a read
/// into a few bytes costs as much as one into many.
const READ_BYTES_MIN: usize = 2 << 10;

/// The most that one read asks for: what a loop may do before it looks at its neighbours.
const READ_BYTES_MAX: usize = BLOCK_BYTES[BLOCK_BYTES.len() - 1];

/// So many reads in a row must have fitted the smaller block before it is used again.
const SMALL_READS_TO_SHRINK: u8 = 8;

const _: () = assert!(READ_BYTES_MIN < BLOCK_BYTES[0]);

/// Bytes of one connection on their way to the decoder.
#[derive(Debug)]
pub(in crate::proto) struct Inbox {
    pool: Pool,
    /// `None` while lent to the kernel.
    block: Option<Block>,
    marks: Marks,
    /// Which of [`BLOCK_BYTES`] the next block has.
    class: usize,
    small_reads: u8,
    /// What a frame larger than any pooled block takes.
    share: Share,
    /// Small bodies; see [`COPIES_BYTES_MAX`].
    copies: BytesMut,
}

impl Inbox {
    /// A buffer that begins with `rest`, raw bytes that came behind the response head.
    pub(in crate::proto) fn new(pool: Pool, rest: &[u8]) -> Self {
        let mut block = Self::block_for(&pool, 0, rest.len() + READ_BYTES_MIN);
        block[..rest.len()].copy_from_slice(rest);
        let marks = Marks { filled: rest.len(), ..Marks::default() };
        Self {
            pool,
            block: Some(block),
            marks,
            class: 0,
            small_reads: 0,
            share: Share::default(),
            copies: BytesMut::new(),
        }
    }

    /// A pooled block of at least the class's size, or memory of its own if that is too small.
    fn block_for(pool: &Pool, class: usize, bytes: usize) -> Block {
        let bytes = bytes.max(BLOCK_BYTES[class]);
        if bytes > READ_BYTES_MAX { Block::unpooled(bytes) } else { pool.take(bytes) }
    }

    /// Lends the block to the kernel with the range to read into, which is never empty.
    pub(in crate::proto) fn lend(&mut self) -> (Block, Range<usize>) {
        let block = self.block.take().expect("one read at a time");
        let to = block.len().min(self.marks.filled + READ_BYTES_MAX);
        (block, self.marks.filled..to)
    }

    /// The block is back, with `count` more bytes.
    pub(in crate::proto) fn restore(&mut self, block: Block, count: usize) {
        let asked = (block.len() - self.marks.filled).min(READ_BYTES_MAX);
        debug_assert!(count <= asked);
        self.block = Some(block);
        self.marks.filled += count;
        self.adapt_class(count, asked);
    }

    /// A read that filled all it was given asks for the next size; a run of reads that would have
    /// fitted a smaller block asks for that.
    fn adapt_class(&mut self, count: usize, asked: usize) {
        if count == asked && self.class + 1 < BLOCK_BYTES.len() {
            self.class += 1;
            self.small_reads = 0;
        } else if self.class > 0 && count <= BLOCK_BYTES[self.class - 1] / 2 {
            self.small_reads += 1;
            if self.small_reads == SMALL_READS_TO_SHRINK {
                self.class -= 1;
                self.small_reads = 0;
            }
        } else {
            self.small_reads = 0;
        }
    }

    /// The block and its marks, for undoing the framing in place.
    pub(in crate::proto) fn parts(&mut self) -> (&mut [u8], &mut Marks) {
        (self.block.as_mut().expect("not lent"), &mut self.marks)
    }

    /// The undecoded body.
    pub(in crate::proto) fn body(&self) -> &[u8] {
        &self.block.as_ref().expect("not lent")[self.marks.start..self.marks.end]
    }

    /// What came behind the end of the body.
    pub(in crate::proto) fn raw(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], |block| &block[self.marks.raw..self.marks.filled])
    }

    /// The undecoded body, in memory that slices may keep. [`Inbox::consume`] follows.
    pub(in crate::proto) fn stabilise(&mut self) -> Stable {
        let body_bytes = self.body().len();
        let block_bytes = self.block.as_ref().map_or(0, |b| b.len());
        if body_bytes * SEAL_PART < block_bytes || block_bytes == BLOCK_BYTES[0] {
            return Stable { body: self.copy_body(), sealed: None };
        }
        let sealed = self.block.take().expect("not lent").seal();
        Stable { body: sealed.slice(self.marks.start..self.marks.end), sealed: Some(sealed) }
    }

    /// Allocates nothing while the host keeps nothing: one message at a time, this would be two
    /// allocations for each.
    fn copy_body(&mut self) -> Bytes {
        let body = &self.block.as_ref().expect("not lent")[self.marks.start..self.marks.end];
        if body.len() > COPIES_BYTES_MAX {
            return Bytes::copy_from_slice(body);
        }
        self.copies.extend_from_slice(body);
        self.copies.split().freeze()
    }

    /// The first `count` bytes of the body were decoded.
    pub(in crate::proto) fn consume(&mut self, stable: Stable, count: usize) {
        self.marks.start += count;
        if let Some(sealed) = stable.sealed {
            // Never refused: what is left is less than what the share was given for.
            let _ = self.refill(&sealed, 0);
        }
        if self.marks.start == self.marks.end && self.marks.raw == self.marks.filled {
            self.marks = Marks::default();
            self.swap_class();
        }
    }

    /// Makes room for the next read, knowing that the next unit needs `need` bytes. Memory grows
    /// by what arrived, never by what was declared: at most to twice the bytes at hand.
    ///
    /// # Errors
    /// If the process holds too much of unfinished frames already.
    pub(in crate::proto) fn make_room(&mut self, need: usize) -> Result<(), NoRoom> {
        let block = self.block.as_ref().expect("not lent");
        if block.len() - self.marks.filled >= READ_BYTES_MIN {
            return Ok(());
        }
        let held = self.held();
        let block = self.block.take().expect("not lent");
        if held + READ_BYTES_MIN <= block.len() / 2 && block.len() == BLOCK_BYTES[self.class] {
            self.compact(block);
        } else {
            let wanted = need.saturating_add(READ_BYTES_MIN).min(2 * held).max(held + READ_BYTES_MIN);
            self.refill(&block, wanted)?;
        }
        Ok(())
    }

    /// True if every byte that was read is decoded; also known while the block is lent.
    pub(in crate::proto) const fn is_empty(&self) -> bool {
        self.held() == 0
    }

    /// Undecoded body and unparsed raw bytes.
    pub(in crate::proto) const fn held(&self) -> usize {
        self.marks.end - self.marks.start + self.marks.filled - self.marks.raw
    }

    fn compact(&mut self, mut block: Block) {
        let Marks { start, end, raw, filled } = self.marks;
        block.copy_within(start..end, 0);
        block.copy_within(raw..filled, end - start);
        self.block = Some(block);
        self.marks_at_front();
    }

    /// Takes a new block and moves what is not decoded over from the old one.
    fn refill(&mut self, old: &[u8], bytes: usize) -> Result<(), NoRoom> {
        let Marks { start, end, raw, filled } = self.marks;
        let body = end - start;
        let bytes = bytes.max(self.held() + READ_BYTES_MIN);
        self.share.resize(if bytes > READ_BYTES_MAX { bytes } else { 0 })?;
        let mut block = Self::block_for(&self.pool, self.class, bytes);
        block[..body].copy_from_slice(&old[start..end]);
        block[body..body + filled - raw].copy_from_slice(&old[raw..filled]);
        self.block = Some(block);
        self.marks_at_front();
        Ok(())
    }

    fn marks_at_front(&mut self) {
        let body = self.marks.end - self.marks.start;
        self.marks = Marks { start: 0, end: body, raw: body, filled: self.held() };
    }

    /// An empty block of another size than wanted is exchanged.
    fn swap_class(&mut self) {
        if self.block.as_ref().is_some_and(|block| block.len() != BLOCK_BYTES[self.class]) {
            let _ = self.share.resize(0); // giving back is never refused
            self.block = None; // goes home before the next one is taken
            self.block = Some(self.pool.take(BLOCK_BYTES[self.class]));
        }
    }

    /// Bytes of memory held now, lent or not.
    #[cfg(test)]
    pub(in crate::proto) fn capacity(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.len())
    }
}

/// A body in memory that slices may keep.
#[derive(Debug)]
pub(in crate::proto) struct Stable {
    pub(in crate::proto) body: Bytes,
    /// The whole block, if that was sealed.
    sealed: Option<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `bytes` in one piece as if they were unframed body.
    fn read(inbox: &mut Inbox, bytes: &[u8]) -> usize {
        let (mut block, range) = inbox.lend();
        let count = range.len().min(bytes.len());
        block[range.start..range.start + count].copy_from_slice(&bytes[..count]);
        inbox.restore(block, count);
        let (_, marks) = inbox.parts();
        marks.end = marks.filled;
        marks.raw = marks.filled;
        count
    }

    #[test]
    fn an_idle_link_waits_on_a_small_block_and_a_busy_one_reads_into_large_ones() {
        let pool = Pool::new();
        let mut inbox = Inbox::new(pool.clone(), b"");
        let data = vec![7; 1 << 20];
        for _ in 0..4 {
            read(&mut inbox, &data);
            let stable = inbox.stabilise();
            let all = stable.body.len();
            inbox.consume(stable, all);
        }
        assert_eq!(inbox.capacity(), BLOCK_BYTES[2]);
        for _ in 0..40 {
            read(&mut inbox, b"beat");
            let stable = inbox.stabilise();
            inbox.consume(stable, 4);
        }
        assert_eq!(inbox.capacity(), BLOCK_BYTES[0]);
        assert_eq!(pool.stats().out, [1, 0, 0]);
    }

    #[test]
    fn memory_follows_the_bytes_that_arrived_and_not_the_length_declared() {
        let mut inbox = Inbox::new(Pool::new(), b"");
        let mut arrived = 0;
        for size in [1, 100, 5_000, 50_000, 300_000, 3_000_000] {
            while arrived < size {
                arrived += read(&mut inbox, &vec![1; (size - arrived).min(10_000)]);
                inbox.make_room(usize::MAX).expect("room");
            }
            assert!(inbox.capacity() <= (2 * arrived + 10_000).max(BLOCK_BYTES[2]), "{arrived} arrived");
            assert_eq!(inbox.body().len(), arrived);
        }
    }

    #[test]
    fn a_partial_tail_moves_to_the_next_block_when_its_block_is_sealed() {
        let pool = Pool::new();
        let mut inbox = Inbox::new(pool, &[5; 40_000]);
        let (_, marks) = inbox.parts();
        (marks.end, marks.raw) = (39_990, 39_995);
        let stable = inbox.stabilise();
        assert!(stable.sealed.is_some());
        inbox.consume(stable, 39_000);
        assert_eq!(inbox.body(), &[5; 990]);
        assert_eq!(*inbox.parts().1, Marks { start: 0, end: 990, raw: 990, filled: 995 });
    }

    #[test]
    fn a_small_body_is_copied_and_its_block_goes_on() {
        let pool = Pool::new();
        let mut inbox = Inbox::new(pool.clone(), &[]);
        inbox.class = 1;
        inbox.swap_class();
        read(&mut inbox, &[3; BLOCK_BYTES[1] / SEAL_PART - 1]);
        let stable = inbox.stabilise();
        assert!(stable.sealed.is_none());
        let kept = stable.body.clone();
        let all = kept.len();
        inbox.consume(stable, all);
        assert_eq!(pool.stats().out, [0, 1, 0], "nothing pins the block");
        read(&mut inbox, &[4; 100]);
        assert!(kept.iter().all(|&byte| byte == 3));
    }

    #[test]
    fn copies_of_small_bodies_share_memory_that_is_used_again_when_nobody_keeps_them() {
        let mut inbox = Inbox::new(Pool::new(), &[]);
        let mut copy = |byte: u8| {
            read(&mut inbox, &[byte; 100]);
            let stable = inbox.stabilise();
            let body = stable.body.clone();
            inbox.consume(stable, 100);
            body
        };
        let address = copy(1).as_ptr();
        assert_eq!(copy(2).as_ptr(), address);
        let kept = copy(3);
        assert_ne!(copy(4).as_ptr(), address);
        assert_eq!(kept, [3; 100][..]);
    }

    #[test]
    fn a_sealed_block_is_pinned_by_its_slices_and_by_nothing_else() {
        let pool = Pool::new();
        let mut inbox = Inbox::new(pool.clone(), &[]);
        inbox.class = 1;
        inbox.swap_class();
        read(&mut inbox, &[3; BLOCK_BYTES[1] / SEAL_PART]);
        let stable = inbox.stabilise();
        assert!(stable.sealed.is_some());
        let slice = stable.body.slice(5..9);
        inbox.consume(stable, BLOCK_BYTES[1] / SEAL_PART);
        assert_eq!(pool.stats().out, [0, 2, 0]);
        read(&mut inbox, &[4; 100]);
        assert_eq!(slice, [3; 4][..]);
        drop(slice);
        assert_eq!(pool.stats().out, [0, 1, 0]);
        drop(inbox);
        assert_eq!(pool.stats().out_bytes(), 0);
    }

    #[test]
    fn a_tail_at_the_end_of_its_block_is_moved_to_the_front() {
        let pool = Pool::new();
        let mut inbox = Inbox::new(pool, &[]);
        inbox.class = 1;
        inbox.swap_class();
        read(&mut inbox, &[1; BLOCK_BYTES[1] - 1_000]);
        inbox.marks.start = inbox.marks.end - 500; // decoded, but for a tail
        inbox.make_room(10_000).expect("room");
        assert_eq!((inbox.body(), inbox.capacity()), (&[1; 500][..], BLOCK_BYTES[1]));
        assert_eq!(*inbox.parts().1, Marks { start: 0, end: 500, raw: 500, filled: 500 });
        let (_, range) = inbox.lend();
        assert_eq!(range, 500..BLOCK_BYTES[1]);
    }

    #[test]
    fn there_is_always_something_to_read_into() {
        for rest in [0, 1, 4_000, 4_096, 64 << 10, 256 << 10, 1 << 20] {
            let mut inbox = Inbox::new(Pool::new(), &vec![1; rest]);
            let (block, range) = inbox.lend();
            assert!(range.len() >= READ_BYTES_MIN, "{range:?} behind {rest} bytes");
            inbox.restore(block, 0);
            let (_, marks) = inbox.parts();
            (marks.end, marks.raw) = (rest, rest);
            for need in [1, 100_000, usize::MAX] {
                inbox.make_room(need).expect("room");
                let (block, range) = inbox.lend();
                assert!(range.len() >= READ_BYTES_MIN && range.len() <= READ_BYTES_MAX);
                let count = range.len() - 1;
                inbox.restore(block, count);
                let (_, marks) = inbox.parts();
                (marks.end, marks.raw) = (marks.filled, marks.filled);
            }
        }
    }
}
