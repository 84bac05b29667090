//! Bytes of a connection before it is a stream: heads, and what comes behind them.

use std::io;

use super::conn::Conn;
use crate::buf::{BLOCK_BYTES, Block, Pool};
use crate::proto::http::head::{HEAD_BYTES_MAX, HeadError, HeadSearch};

/// What was read and not used up.
pub(super) struct Input {
    pool: Pool,
    /// `None` while a read is under way.
    block: Option<Block>,
    filled: usize,
}

/// Why there is no head.
#[derive(Debug)]
pub(super) enum NoHead {
    /// The bytes cannot become one.
    Bad(HeadError),
    /// The connection ended before its first byte, as an idle one does.
    Closed,
    /// It broke in the middle, or a deadline shut it down.
    Broken(io::Error),
}

impl Input {
    pub(super) fn new(pool: &Pool) -> Self {
        Self { pool: pool.clone(), block: Some(pool.take(BLOCK_BYTES[0])), filled: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], |block| &block[..self.filled])
    }

    /// Forgets the first `count` bytes.
    pub(super) fn consume(&mut self, count: usize) {
        if let Some(block) = &mut self.block {
            block.copy_within(count..self.filled, 0);
        }
        self.filled -= count;
    }

    /// Takes back what belongs to the next request; nothing else is held then.
    pub(super) fn put_back(&mut self, rest: &[u8]) {
        let mut block = self.pool.take(rest.len());
        block[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
        self.block = Some(block);
    }

    /// Waits for bytes without memory for them. Nothing is held.
    pub(super) async fn rest(&mut self, conn: &Conn) -> io::Result<()> {
        self.block = None;
        let readable = conn.wait_for_bytes().await;
        self.block = Some(self.pool.take(BLOCK_BYTES[0]));
        readable
    }

    /// Reads more; 0 is the end of the connection. There is room: a head ends, or is refused,
    /// before the second block size is full.
    pub(super) async fn read(&mut self, conn: &mut Conn) -> io::Result<usize> {
        let mut block = self.block.take().ok_or(io::ErrorKind::BrokenPipe)?;
        if self.filled == block.len() {
            let mut larger = self.pool.take(block.len() + 1);
            larger[..self.filled].copy_from_slice(&block);
            block = larger;
        }
        let range = self.filled..block.len();
        let (result, block) = conn.read(block, range).await;
        self.block = Some(block);
        let count = result?;
        self.filled += count;
        Ok(count)
    }

    /// Reads until a head is whole; its length. `first_byte` is told when the first of it came.
    pub(super) async fn read_head(
        &mut self,
        conn: &mut Conn,
        mut search: HeadSearch,
        first_byte: impl Fn(),
    ) -> Result<usize, NoHead> {
        loop {
            if let Some(head) = search.find(self.bytes()).map_err(NoHead::Bad)? {
                return Ok(head.len());
            }
            let was_empty = self.filled == 0;
            match self.read(conn).await {
                Ok(0) if was_empty => return Err(NoHead::Closed),
                Ok(0) => return Err(NoHead::Broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) if was_empty => first_byte(),
                Ok(_) => {}
                Err(error) => return Err(NoHead::Broken(error)),
            }
        }
    }
}

const _: () = assert!(HEAD_BYTES_MAX < BLOCK_BYTES[1]);
