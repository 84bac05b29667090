//! Databases on their way: what a host gives to be sent, and where it puts what comes.
//!
//! Both are used on helper threads, never on a core, so each method may block; only a source's `size` and
//! `tag` are asked by whoever sends it. One call follows the other, though not always on the same thread.

use std::fmt;
use std::io;

#[cfg(feature = "io")]
mod file_source;
#[cfg(feature = "io")]
mod folder;

#[cfg(feature = "io")]
pub use file_source::FileSource;
#[cfg(feature = "io")]
pub use folder::{FileSink, SnapshotFolder};

/// A database to be sent. Dropped when the transfer has ended.
pub trait SnapshotSource: Send + 'static {
    /// Bytes of it. Asked once; a source that then holds more or fewer fails the transfer.
    fn size(&self) -> u64;

    /// Reads from `offset` on into `buffer`: how many bytes, 0 at the end and nowhere else.
    ///
    /// # Errors
    /// Whatever went wrong; the transfer fails.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Stands for the bytes: two sources of the same tag hold the same ones. With a tag, a transfer
    /// that was cut may go on where it was cut when the host sends the same snapshot again, if the
    /// other end is raftring too; without one it begins anew.
    fn tag(&self) -> Option<Vec<u8>> {
        None
    }
}

/// Takes a database that comes. Dropped without [`SnapshotSink::commit`], it leaves nothing behind.
pub trait SnapshotSink: Send + 'static {
    /// The next bytes, in order.
    ///
    /// # Errors
    /// The transfer fails: [`SinkError::Space`] is answered with 507, all else with 500.
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError>;

    /// All bytes were written: makes them durable. The message follows through `Raft::process`.
    ///
    /// # Errors
    /// As [`SnapshotSink::write`].
    fn commit(self: Box<Self>) -> Result<(), SinkError>;
}

/// Why a database cannot be saved.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SinkError {
    /// The host has not said where snapshots go.
    Unsupported,
    /// The disk is full, or would soon be.
    Space,
    /// Anything else, in words that are told to the sender.
    Failed(String),
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported => {
                f.write_str("this member takes no snapshots: its Raft::snapshot_sink gives none")
            }
            Self::Space => f.write_str("not enough disk space"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SinkError {}

impl From<io::Error> for SinkError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Space,
            _ => Self::Failed(error.to_string()),
        }
    }
}
