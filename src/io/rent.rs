//! Our buffers in the form in which monoio lends memory to the kernel.
//!
//! One of the two files of `io/` that hold `unsafe`. What every block here relies on: a [`Block`]
//! and a `Bytes` keep their bytes in one heap allocation that does not move when the value does,
//! and monoio owns the value until the kernel has answered (or for ever).
#![allow(unsafe_code, reason = "monoio's buffer traits promise stable memory and are unsafe to implement")]

use std::ops::Range;

use monoio::buf::{IoBuf, IoBufMut, IoVecBuf};

use crate::buf::{Block, Chain};

/// Free space of a block, lent for a read.
pub(super) struct ReadSpace {
    pub(super) block: Block,
    range: Range<usize>,
}

impl ReadSpace {
    /// # Panics
    /// If `range` is not inside the block.
    pub(super) fn new(block: Block, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= block.len());
        Self { block, range }
    }
}

// SAFETY: the pointer is into the block's heap allocation, which outlives `self` and does not move
// with it; `range` was checked against the block in `new` and never changes. All bytes of a block
// are initialised from its creation on, so there is nothing for `set_init` to record.
unsafe impl IoBufMut for ReadSpace {
    fn write_ptr(&mut self) -> *mut u8 {
        self.block[self.range.clone()].as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.range.len()
    }

    unsafe fn set_init(&mut self, _count: usize) {}
}

/// A chain of one piece, lent for a `send`.
pub(super) struct Single(pub(super) Chain);

// SAFETY: the pointer is into a block's or payload's heap allocation, which the chain keeps and
// which does not move with it; nobody else has access to change it while the chain is owned here.
unsafe impl IoBuf for Single {
    fn read_ptr(&self) -> *const u8 {
        self.0.slices().next().map_or(std::ptr::null(), <[u8]>::as_ptr)
    }

    fn bytes_init(&self) -> usize {
        self.0.slices().next().map_or(0, <[u8]>::len)
    }
}

/// The most pieces of one `writev`: the kernel's `UIO_MAXIOV`.
const PIECES_MAX: usize = 1024;

/// The vector that tells the kernel where the pieces of a chain are; reused from write to write.
#[derive(Default)]
pub(super) struct Pieces(Vec<libc::iovec>);

/// A chain of several pieces, lent for a `writev`.
pub(super) struct Gather {
    pub(super) chain: Chain,
    pub(super) pieces: Pieces,
}

impl Gather {
    pub(super) fn new(chain: Chain, mut pieces: Pieces) -> Self {
        pieces.0.clear();
        pieces.0.extend(
            chain.slices().take(PIECES_MAX).map(|slice| libc::iovec {
                iov_base: slice.as_ptr().cast_mut().cast(),
                iov_len: slice.len(),
            }),
        );
        Self { chain, pieces }
    }
}

// SAFETY: the vector's elements are on the heap and do not move with it; each points into memory
// that `chain`, in the same value, keeps alive and unchanged, and is only read by a `writev`.
unsafe impl IoVecBuf for Gather {
    fn read_iovec_ptr(&self) -> *const libc::iovec {
        self.pieces.0.as_ptr()
    }

    fn read_iovec_len(&self) -> usize {
        self.pieces.0.len()
    }
}
