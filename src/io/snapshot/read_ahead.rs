//! A source, read by a helper ahead of the socket.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::Snapshots;
use super::patience::{Ended, Patience};
use crate::buf::{BLOCK_BYTES, Pool};
use crate::io::signal::Signal;
use crate::snapshot::SnapshotSource;

/// One block is being written to the socket, and these wait: 1 MiB, which a disk of 1 GB/s takes a
/// millisecond for.
const BLOCKS_MAX: usize = 4;

/// Bytes of one block, and of one write.
const BLOCK: usize = BLOCK_BYTES[BLOCK_BYTES.len() - 1];

/// Reads a source block by block. Dropping it ends that; the source is dropped on a helper.
pub(super) struct ReadAhead {
    snapshots: Arc<Snapshots>,
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    progress: Signal,
    state: Mutex<State>,
}

struct State {
    blocks: VecDeque<Bytes>,
    /// `None` while a helper reads.
    source: Option<Box<dyn SnapshotSource>>,
    offset: u64,
    /// Nothing follows the blocks.
    end: Option<io::Result<()>>,
    /// No more is read: it came to its end, or nobody wants more.
    stopped: bool,
}

/// Why there is no next block.
pub(super) enum NoBlock {
    /// The source has ended.
    End,
    /// It failed.
    Failed(io::Error),
    /// See [`Ended`].
    Ended(Ended),
}

/// A helper's turn; whatever ends it otherwise is told as a failure.
struct Turn {
    shared: Arc<Shared>,
    done: bool,
}

impl ReadAhead {
    /// Begins to read at `offset`.
    pub(super) fn start(
        snapshots: &Arc<Snapshots>,
        pool: Pool,
        source: Box<dyn SnapshotSource>,
        offset: u64,
    ) -> Self {
        let state =
            State { blocks: VecDeque::new(), source: Some(source), offset, end: None, stopped: false };
        let shared = Shared { pool, progress: Signal::new(), state: Mutex::new(state) };
        let ahead = Self { snapshots: Arc::clone(snapshots), shared: Arc::new(shared) };
        ahead.go_on();
        ahead
    }

    /// The next block, none of which is empty.
    pub(super) async fn next(&self, patience: &Patience<'_>) -> Result<Bytes, NoBlock> {
        loop {
            let next = {
                let mut state = self.shared.lock();
                match state.blocks.pop_front() {
                    Some(block) => Some(Ok(block)),
                    None => {
                        state.end.take().map(|end| Err(end.map_or_else(NoBlock::Failed, |()| NoBlock::End)))
                    }
                }
            };
            match next {
                Some(next) => {
                    self.go_on();
                    return next;
                }
                None => patience.raised(&self.shared.progress).await.map_err(NoBlock::Ended)?,
            }
        }
    }

    /// Ends the reading and takes the source back.
    pub(super) async fn reclaim(self, patience: &Patience<'_>) -> Result<Box<dyn SnapshotSource>, NoBlock> {
        self.shared.lock().stopped = true;
        loop {
            {
                let mut state = self.shared.lock();
                if let Some(source) = state.source.take() {
                    return Ok(source);
                }
                if let Some(Err(error)) = state.end.take() {
                    return Err(NoBlock::Failed(error));
                }
            }
            patience.raised(&self.shared.progress).await.map_err(NoBlock::Ended)?;
        }
    }

    /// Sends a helper if there is room and none is at it.
    fn go_on(&self) {
        let mut state = self.shared.lock();
        if state.blocks.len() < BLOCKS_MAX
            && !state.stopped
            && let Some(source) = state.source.take()
        {
            drop(state);
            let turn = Turn { shared: Arc::clone(&self.shared), done: false };
            self.snapshots.helpers.run(move || turn.read(source));
        }
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        let source = state.source.take();
        drop(state);
        if let Some(source) = source {
            self.snapshots.helpers.run(move || drop(source));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    fn read(mut self, mut source: Box<dyn SnapshotSource>) {
        loop {
            let offset = {
                let mut state = self.shared.lock();
                if state.stopped || state.blocks.len() >= BLOCKS_MAX {
                    state.source = Some(source);
                    break;
                }
                state.offset
            };
            match read_block(&self.shared.pool, &mut *source, offset) {
                Ok(block) if block.is_empty() => {
                    self.end(Ok(()), Some(source));
                    break;
                }
                Ok(block) => {
                    let mut state = self.shared.lock();
                    state.offset += block.len() as u64;
                    state.blocks.push_back(block);
                }
                Err(error) => {
                    self.end(Err(error), Some(source));
                    break;
                }
            }
            self.shared.progress.raise();
        }
        self.done = true;
        self.shared.progress.raise();
    }

    fn end(&self, end: io::Result<()>, source: Option<Box<dyn SnapshotSource>>) {
        let mut state = self.shared.lock();
        state.end = Some(end);
        state.stopped = true;
        state.source = source;
        drop(state);
        self.shared.progress.raise();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.done {
            let why = "the source panicked, or there is no thread to read it";
            self.end(Err(io::Error::other(why)), None);
        }
    }
}

/// A block as full as the source can make it; an empty one is its end.
fn read_block(pool: &Pool, source: &mut dyn SnapshotSource, offset: u64) -> io::Result<Bytes> {
    let mut block = pool.take(BLOCK);
    let mut filled = 0;
    while filled < block.len() {
        match source.read_at(offset + filled as u64, &mut block[filled..]) {
            Ok(0) => break,
            Ok(count) if count > block.len() - filled => {
                return Err(io::Error::other("the source says it read more than it was asked for"));
            }
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(block.seal().slice(..filled))
}
