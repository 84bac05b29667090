//! Where frames gather until they are flushed: one chain, framed as one chunk.
//!
//! ```text
//!   0000012c CR LF | frame frame frame ... | CR LF
//!   ^ reserved when the first frame comes, patched at the flush
//! ```

use bytes::Bytes;

use crate::buf::{Chain, Mark, Pool};
use crate::proto::codec::Sink;
use crate::proto::http::{CHUNK_HEADER_BYTES, CHUNK_TRAILER, LAST_CHUNK, write_chunk_header};

/// Payloads from this size on are taken by reference instead of being copied into a block: about
/// where a further segment of the gather list costs less than the copy (`benches/`).
pub(crate) const PAYLOAD_BY_REFERENCE_MIN: usize = 4 << 10;

/// A flush above this size means that the link is busy and the next one starts with a large block.
const BUSY_FLUSH_BYTES: usize = 2 << 10;

/// How the body of a stream response is framed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyFraming {
    /// HTTP/1.1: `Transfer-Encoding: chunked`, one chunk a flush.
    Chunked,
    /// HTTP/1.0: the body ends when the connection does.
    UntilClose,
}

/// The chain being filled for one connection.
#[derive(Debug)]
pub(in crate::proto) struct Outbox {
    pool: Pool,
    framing: BodyFraming,
    chain: Chain,
    /// Bytes of the chain that are payloads taken by reference.
    referred: usize,
    header: Option<Mark>,
    busy: bool,
}

impl Outbox {
    pub(in crate::proto) fn new(pool: Pool, framing: BodyFraming) -> Self {
        Self { pool, framing, chain: Chain::default(), referred: 0, header: None, busy: false }
    }

    /// Bytes waiting for a flush, framing included.
    pub(super) const fn len(&self) -> usize {
        self.chain.len()
    }

    /// Those of them that are in our memory and not in the host's.
    pub(super) const fn copied(&self) -> usize {
        self.chain.len() - self.referred
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    /// Closes the chunk and hands the chain over.
    pub(in crate::proto) fn flush(&mut self) -> Chain {
        self.end_chunk();
        self.busy = self.chain.len() > BUSY_FLUSH_BYTES;
        self.referred = 0;
        std::mem::take(&mut self.chain)
    }

    /// A chain that was written gives its last block to the next one, if that would take one of this
    /// size: a link of single messages then asks the pool for nothing.
    pub(super) fn reuse(&mut self, mut written: Chain) {
        if self.chain.is_empty() && written.begins_with(self.busy) {
            written.clear();
            self.chain = written;
        }
    }

    /// Nothing was sent for a while: the block goes home.
    pub(super) fn rest(&mut self) {
        if self.chain.is_empty() {
            self.chain = Chain::default();
        }
    }

    /// Ends the body for good: nothing may follow.
    pub(super) fn end_body(&mut self) {
        self.end_chunk();
        if self.framing == BodyFraming::Chunked {
            self.put_raw(LAST_CHUNK);
        }
    }

    fn end_chunk(&mut self) {
        if let Some(mark) = self.header.take() {
            // A chain holds one chunk, and begins with it.
            let payload = self.chain.len() - CHUNK_HEADER_BYTES;
            let mut header = [0; CHUNK_HEADER_BYTES];
            write_chunk_header(&mut header, payload as u32);
            self.chain.patch(mark, &header);
            self.put_raw(CHUNK_TRAILER);
        }
    }

    fn put_raw(&mut self, bytes: &[u8]) {
        self.chain.spare(&self.pool, self.busy, bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.chain.commit(bytes.len());
    }

    #[inline]
    fn begin_chunk(&mut self) {
        if self.chain.is_empty() && self.framing == BodyFraming::Chunked {
            self.reserve_header();
        }
    }

    #[cold]
    fn reserve_header(&mut self) {
        self.header = Some(self.chain.reserve(&self.pool, self.busy, CHUNK_HEADER_BYTES));
    }
}

impl Sink for Outbox {
    #[inline]
    fn spare(&mut self, count: usize) -> &mut [u8] {
        self.begin_chunk();
        self.chain.spare(&self.pool, self.busy, count)
    }

    #[inline]
    fn commit(&mut self, count: usize) {
        self.chain.commit(count);
    }

    #[inline]
    fn put_slice(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return; // nothing is no chunk
        }
        let spare = self.spare(1);
        if bytes.len() <= spare.len() {
            spare[..bytes.len()].copy_from_slice(bytes);
            self.chain.commit(bytes.len());
        } else {
            self.put_slice_in_parts(bytes);
        }
    }

    #[inline]
    fn put_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() >= PAYLOAD_BY_REFERENCE_MIN {
            self.begin_chunk();
            self.chain.push_payload(bytes.clone());
            self.referred += bytes.len();
        } else {
            self.put_slice(bytes);
        }
    }
}

impl Outbox {
    /// Over the end of one block, or of several.
    #[cold]
    fn put_slice_in_parts(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let spare = self.spare(1);
            let count = spare.len().min(bytes.len());
            spare[..count].copy_from_slice(&bytes[..count]);
            self.chain.commit(count);
            bytes = &bytes[count..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::BLOCK_BYTES;

    fn chunked() -> (Outbox, Pool) {
        let pool = Pool::new();
        (Outbox::new(pool.clone(), BodyFraming::Chunked), pool)
    }

    fn payload(len: usize) -> Bytes {
        vec![0xda; len].into()
    }

    #[test]
    fn all_that_was_gathered_is_one_chunk_that_tells_its_size() {
        let (mut outbox, _) = chunked();
        for size in [1, 15, 16, 4_000, 100_000] {
            let data = payload(size);
            outbox.put_slice(&data[..size / 2]);
            outbox.spare(3)[..3].copy_from_slice(b"abc");
            outbox.commit(3);
            outbox.put_slice(&data[size / 2..]);
            let gathered = outbox.len();
            let wire = outbox.flush().to_vec();
            let header = format!("{:08x}\r\n", size + 3);
            assert_eq!(gathered, header.len() + size + 3);
            let body = [&data[..size / 2], b"abc", &data[size / 2..]].concat();
            assert_eq!(wire, [header.as_bytes(), &body, b"\r\n"].concat());
            assert!(outbox.is_empty());
        }
    }

    #[test]
    fn large_payloads_travel_by_reference_and_small_ones_are_copied() {
        for (len, is_shared) in [(PAYLOAD_BY_REFERENCE_MIN - 1, false), (PAYLOAD_BY_REFERENCE_MIN, true)] {
            let (mut outbox, _) = chunked();
            let data = payload(len);
            // Even as the first of a chunk a payload comes behind the header.
            outbox.put_bytes(&data);
            outbox.put_slice(b"tail");
            let chain = outbox.flush();
            assert_eq!(chain.slices().any(|slice| slice.as_ptr() == data.as_ptr()), is_shared, "{len}");
            let header = format!("{:08x}\r\n", len + 4);
            assert_eq!(chain.to_vec(), [header.as_bytes(), &data, b"tail\r\n"].concat());
        }
    }

    #[test]
    fn bytes_split_over_blocks_where_a_block_ends() {
        let (mut outbox, pool) = chunked();
        let data: Vec<u8> = (0..200_000_u32).map(|i| i as u8).collect();
        outbox.put_slice(&data);
        let chain = outbox.flush();
        assert_eq!(chain.to_vec()[CHUNK_HEADER_BYTES..][..data.len()], data);
        assert_eq!(pool.stats().out, [1, 3, 0], "a small block first, then larger ones, each filled");
    }

    #[test]
    fn a_busy_link_starts_with_a_large_block_and_an_idle_one_with_a_small_one() {
        let (mut outbox, pool) = chunked();
        for (size, next) in [(BUSY_FLUSH_BYTES, [0, 1, 0]), (10, [1, 0, 0])] {
            outbox.put_slice(&payload(size));
            drop(outbox.flush());
            outbox.put_slice(b"x");
            assert_eq!(pool.stats().out, next, "after a flush of {size} bytes");
            drop(outbox.flush());
        }
        assert_eq!(pool.stats().out_bytes(), 0);
        const { assert!(BUSY_FLUSH_BYTES < BLOCK_BYTES[0]) };
    }

    #[test]
    fn a_link_of_single_messages_keeps_its_block_until_it_rests() {
        let (mut outbox, pool) = chunked();
        for _ in 0..3 {
            outbox.put_slice(b"x");
            let chain = outbox.flush();
            assert_eq!(chain.to_vec(), b"00000001\r\nx\r\n");
            outbox.reuse(chain);
            assert_eq!(pool.stats().out, [1, 0, 0]);
        }
        outbox.rest();
        assert_eq!(pool.stats().out_bytes(), 0);
        // A busy link goes on with a large block, and what is gathered already is not lost.
        outbox.put_slice(&payload(BUSY_FLUSH_BYTES));
        let small = outbox.flush();
        outbox.reuse(small);
        assert_eq!(pool.stats().out_bytes(), 0);
        outbox.put_slice(b"y");
        outbox.rest();
        outbox.reuse(Chain::default());
        assert_eq!(outbox.flush().to_vec(), b"00000001\r\ny\r\n");
    }

    #[test]
    fn without_framing_there_is_nothing_but_frames() {
        let mut outbox = Outbox::new(Pool::new(), BodyFraming::UntilClose);
        outbox.put_slice(b"frame");
        outbox.put_bytes(&payload(PAYLOAD_BY_REFERENCE_MIN));
        assert_eq!(outbox.len(), 5 + PAYLOAD_BY_REFERENCE_MIN);
        outbox.end_body();
        assert_eq!(outbox.flush().to_vec(), [b"frame", &payload(PAYLOAD_BY_REFERENCE_MIN)[..]].concat());
        outbox.end_body();
        assert!(outbox.is_empty());
    }

    #[test]
    fn the_last_chunk_comes_alone_or_behind_what_was_gathered() {
        let (mut outbox, _) = chunked();
        outbox.put_slice(b"x");
        outbox.end_body();
        assert_eq!(outbox.flush().to_vec(), b"00000001\r\nx\r\n0\r\n\r\n");
        let (mut outbox, _) = chunked();
        outbox.end_body();
        assert_eq!(outbox.flush().to_vec(), b"0\r\n\r\n");
    }

    #[test]
    fn nothing_gathered_is_no_chunk() {
        let (mut outbox, pool) = chunked();
        outbox.put_slice(b"");
        outbox.put_bytes(&Bytes::new());
        assert!(outbox.is_empty() && outbox.flush().is_empty());
        assert_eq!(pool.stats().out_bytes(), 0);
    }
}
