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
pub(super) struct Outbox {
    pool: Pool,
    framing: BodyFraming,
    chain: Chain,
    header: Option<Mark>,
    busy: bool,
}

impl Outbox {
    pub(super) fn new(pool: Pool, framing: BodyFraming) -> Self {
        Self { pool, framing, chain: Chain::default(), header: None, busy: false }
    }

    /// Bytes waiting for a flush, framing included.
    pub(super) const fn len(&self) -> usize {
        self.chain.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    /// Closes the chunk and hands the chain over.
    pub(super) fn flush(&mut self) -> Chain {
        self.end_chunk();
        self.busy = self.chain.len() > BUSY_FLUSH_BYTES;
        std::mem::take(&mut self.chain)
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
