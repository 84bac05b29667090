//! A sink, filled by a helper behind the socket.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::Snapshots;
use super::patience::{Ended, Patience};
use crate::io::signal::Signal;
use crate::snapshot::{SinkError, SnapshotSink};

/// Bytes that wait to be written; while so many do, the socket is not read. A piece more may join
/// them.
const QUEUED_BYTES_MAX: usize = 1 << 20;

/// Writes to a sink piece by piece. Dropping it abandons the sink, which is dropped on a helper.
pub(super) struct WriteBehind {
    snapshots: Arc<Snapshots>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    progress: Signal,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Bytes>,
    queued_bytes: usize,
    /// `None` while a helper writes, and at the end.
    sink: Option<Box<dyn SnapshotSink>>,
    written: u64,
    /// Once nothing is queued.
    commit: bool,
    end: Option<Result<(), SinkError>>,
    abandoned: bool,
}

/// Why a database was not saved.
#[derive(Debug)]
pub(super) enum NotSaved {
    /// The sink failed.
    Failed(SinkError),
    /// See [`Ended`].
    Ended(Ended),
}

/// A sink that nobody writes to now.
pub(super) struct Parked {
    snapshots: Arc<Snapshots>,
    sink: Option<Box<dyn SnapshotSink>>,
    /// How many bytes it has.
    pub(super) written: u64,
}

/// A helper's turn; whatever ends it otherwise is told as a failure.
struct Turn {
    shared: Arc<Shared>,
    done: bool,
}

impl WriteBehind {
    /// Opens a sink on a helper; waits until it is there.
    pub(super) async fn open(
        snapshots: &Arc<Snapshots>,
        make: impl FnOnce() -> Result<Box<dyn SnapshotSink>, SinkError> + Send + 'static,
        patience: &Patience<'_>,
    ) -> Result<Self, NotSaved> {
        let behind = Self { snapshots: Arc::clone(snapshots), shared: Arc::default() };
        let turn = Turn { shared: Arc::clone(&behind.shared), done: false };
        snapshots.helpers.run(move || match make() {
            Ok(sink) => turn.write(sink),
            Err(error) => turn.finish(Err(error)),
        });
        behind.until(patience, |state| state.sink.is_some().then_some(())).await?;
        Ok(behind)
    }

    /// Goes on where another transfer was cut.
    pub(super) fn resume(mut parked: Parked) -> Self {
        let state = State { sink: parked.sink.take(), written: parked.written, ..State::default() };
        let shared = Shared { progress: Signal::new(), state: Mutex::new(state) };
        Self { snapshots: Arc::clone(&parked.snapshots), shared: Arc::new(shared) }
    }

    /// Queues a piece; true if it had to wait for the sink first.
    pub(super) async fn put(&self, piece: Bytes, patience: &Patience<'_>) -> Result<bool, NotSaved> {
        let mut waited = false;
        self.until(patience, |state| {
            let has_room = state.queued_bytes < QUEUED_BYTES_MAX;
            waited |= !has_room;
            has_room.then_some(())
        })
        .await?;
        self.go_on(|state| {
            state.queued_bytes += piece.len();
            state.pieces.push_back(piece);
        });
        Ok(waited)
    }

    /// All pieces were put: waits until the sink has them for good, however long that takes.
    pub(super) async fn commit(self, patience: &Patience<'_>) -> Result<(), NotSaved> {
        self.go_on(|state| state.commit = true);
        loop {
            if let Some(end) = self.shared.lock().end.take() {
                return end.map_err(NotSaved::Failed);
            }
            patience.raised_at_last(&self.shared.progress).await.map_err(NotSaved::Ended)?;
        }
    }

    /// No more pieces will come now: waits until the sink has those that came.
    pub(super) async fn park(self, patience: &Patience<'_>) -> Result<Parked, NotSaved> {
        let (sink, written) = self
            .until(patience, |state| {
                let sink = if state.pieces.is_empty() { state.sink.take() } else { None };
                sink.map(|sink| (sink, state.written))
            })
            .await?;
        Ok(Parked { snapshots: Arc::clone(&self.snapshots), sink: Some(sink), written })
    }

    async fn until<T>(
        &self,
        patience: &Patience<'_>,
        mut is: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, NotSaved> {
        loop {
            {
                let mut state = self.shared.lock();
                if let Some(Err(error)) = &state.end {
                    return Err(NotSaved::Failed(error.clone()));
                }
                if let Some(value) = is(&mut state) {
                    return Ok(value);
                }
            }
            patience.raised(&self.shared.progress).await.map_err(NotSaved::Ended)?;
        }
    }

    /// Gives the helper something to do; sends one if none is at it.
    fn go_on(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.shared.lock();
        change(&mut state);
        let sink = state.sink.take();
        drop(state);
        if let Some(sink) = sink {
            let turn = Turn { shared: Arc::clone(&self.shared), done: false };
            self.snapshots.helpers.run(move || turn.write(sink));
        }
    }
}

impl Drop for WriteBehind {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.abandoned = true;
        let sink = state.sink.take();
        drop(state);
        drop_on_helper(&self.snapshots, sink);
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        drop_on_helper(&self.snapshots, self.sink.take());
    }
}

/// To drop a sink may remove a file.
fn drop_on_helper(snapshots: &Snapshots, sink: Option<Box<dyn SnapshotSink>>) {
    if let Some(sink) = sink {
        snapshots.helpers.run(move || drop(sink));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    fn write(mut self, mut sink: Box<dyn SnapshotSink>) {
        loop {
            let piece = {
                let mut state = self.shared.lock();
                if state.abandoned {
                    break;
                }
                match state.pieces.pop_front() {
                    Some(piece) => piece,
                    None if state.commit => {
                        drop(state);
                        return self.finish(sink.commit());
                    }
                    None => {
                        state.sink = Some(sink);
                        break;
                    }
                }
            };
            let result = sink.write(&piece);
            let mut state = self.shared.lock();
            state.queued_bytes -= piece.len();
            if let Err(error) = result {
                drop(state);
                drop(sink); // what it leaves is gone before that is told
                return self.finish(Err(error));
            }
            state.written += piece.len() as u64;
            drop(state);
            self.shared.progress.raise();
        }
        self.done = true;
        self.shared.progress.raise();
    }

    fn finish(mut self, end: Result<(), SinkError>) {
        self.done = true;
        self.end(end);
    }

    fn end(&self, end: Result<(), SinkError>) {
        self.shared.lock().end = Some(end);
        self.shared.progress.raise();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.done {
            let why = "the sink panicked, or there is no thread to write to it";
            self.end(Err(SinkError::Failed(why.to_owned())));
        }
    }
}
