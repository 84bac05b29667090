//! A database file to be sent.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::SnapshotSource;

/// Sends a file that does not change any more.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    size: u64,
    tag: Vec<u8>,
}

impl FileSource {
    /// Opens it; its size is what it is now.
    ///
    /// # Errors
    /// If it cannot be opened, or is no file.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a snapshot is sent from a file"));
        }
        // Whatever touches the file changes one of these.
        let marks = [meta.dev(), meta.ino(), meta.size(), meta.mtime() as u64, meta.mtime_nsec() as u64];
        let changed = [meta.ctime() as u64, meta.ctime_nsec() as u64];
        let tag = marks.iter().chain(&changed).flat_map(|mark| mark.to_be_bytes()).collect();
        Ok(Self { file, size: meta.size(), tag })
    }
}

impl SnapshotSource for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn tag(&self) -> Option<Vec<u8>> {
        Some(self.tag.clone())
    }
}
