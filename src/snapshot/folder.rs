//! A folder of databases that came, as etcd keeps them.
//!
//! ```text
//!   0000000000000010.3.snap.db.part      is being written; removed if it fails, and at the start
//!   0000000000000010.snap.db             whole and durable, named by its index
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::statvfs;

use super::{SinkError, SnapshotSink};

/// What stays free on the disk: a member whose disk is full is lost, one without a snapshot waits.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// The same as a part of the disk, in percent; the greater of the two counts.
const FREE_PERCENT_MIN: u64 = 10;

/// After so many bytes the file is synced and the disk looked at again: the kernel would hold them
/// back otherwise, and the last sync take as long as all of them together.
const SYNC_BYTES: u64 = 64 << 20;

/// What files are called while they are written.
const PART: &str = ".snap.db.part";

/// Where databases are saved. Cloning it is cheap and gives the same folder; each process has its own.
#[derive(Clone, Debug)]
pub struct SnapshotFolder {
    path: Arc<Path>,
    next: Arc<AtomicU64>,
    free_bytes_min: u64,
    free_percent_min: u64,
}

impl SnapshotFolder {
    /// Uses this folder, which is made if it is not there, and removes what an earlier process left
    /// unfinished.
    ///
    /// # Errors
    /// If it cannot be made or read.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        fs::create_dir_all(path)?;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.ends_with(PART)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self {
            path: path.into(),
            next: Arc::default(),
            free_bytes_min: FREE_BYTES_MIN,
            free_percent_min: FREE_PERCENT_MIN,
        })
    }

    /// Keeps so many bytes and so many percent of the disk free, whichever is more, in place of 1 GiB
    /// and 10 percent.
    #[must_use]
    pub const fn with_reserve(mut self, bytes: u64, percent: u64) -> Self {
        self.free_bytes_min = bytes;
        self.free_percent_min = percent;
        self
    }

    /// A file for the database of the snapshot at `index`.
    ///
    /// # Errors
    /// If the disk is full or the file cannot be made.
    pub fn sink(&self, index: u64) -> Result<FileSink, SinkError> {
        self.check_space()?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let part = self.path.join(format!("{index:016x}.{number}{PART}"));
        let file = OpenOptions::new().write(true).create_new(true).open(&part)?;
        Ok(FileSink { folder: self.clone(), file, part, path: self.file(index), unsynced: 0 })
    }

    /// Where the database of the snapshot at `index` is, once it has come.
    #[must_use]
    pub fn file(&self, index: u64) -> PathBuf {
        self.path.join(format!("{index:016x}.snap.db"))
    }

    fn check_space(&self) -> Result<(), SinkError> {
        let disk = statvfs(&*self.path).map_err(io::Error::from)?;
        let (free, all) =
            (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
        let reserve = self.free_bytes_min.max((all / 100).saturating_mul(self.free_percent_min));
        if free < reserve { Err(SinkError::Space) } else { Ok(()) }
    }
}

/// Writes one database. It appears under its name when it is whole and durable, or not at all; a file
/// that is there already stays, for it holds the same snapshot.
#[derive(Debug)]
pub struct FileSink {
    folder: SnapshotFolder,
    file: File,
    part: PathBuf,
    path: PathBuf,
    unsynced: u64,
}

impl SnapshotSink for FileSink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.file.write_all(bytes)?;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            self.file.sync_data()?;
            self.folder.check_space()?;
        }
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), SinkError> {
        self.file.sync_all()?;
        if !self.path.try_exists()? {
            fs::rename(&self.part, &self.path)?;
        }
        File::open(&self.folder.path)?.sync_all()?;
        Ok(())
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        // After a commit that gave it its name there is nothing any more.
        let _ = fs::remove_file(&self.part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{FileSource, SnapshotSource};

    /// A folder of its own that ends with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static NEXT: AtomicU64 = AtomicU64::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            Self(std::env::temp_dir().join(format!("raftring-folder-{}-{number}", std::process::id())))
        }

        fn open(&self) -> SnapshotFolder {
            SnapshotFolder::open(&self.0).expect("a folder").with_reserve(0, 0)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).expect("a folder");
            let mut names: Vec<_> =
                entries.map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
            names.sort();
            names
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn save(folder: &SnapshotFolder, index: u64, bytes: &[u8]) {
        let mut sink = Box::new(folder.sink(index).expect("a sink"));
        sink.write(bytes).expect("written");
        sink.commit().expect("saved");
    }

    #[test]
    fn a_database_appears_whole_under_its_index_or_not_at_all() {
        let scratch = Scratch::new();
        let folder = scratch.open();
        save(&folder, 0x10, b"DATABASE");
        assert_eq!(scratch.names(), ["0000000000000010.snap.db"]);
        let mut half = folder.sink(0x11).expect("a sink");
        half.write(b"DATA").expect("written");
        assert_eq!(scratch.names().len(), 2);
        drop(half);
        assert_eq!(scratch.names().len(), 1);
        assert_eq!(fs::read(folder.file(0x10)).expect("there"), b"DATABASE");
    }

    #[test]
    fn a_database_that_is_there_stays_and_is_success() {
        let scratch = Scratch::new();
        let folder = scratch.open();
        save(&folder, 7, b"first");
        save(&folder, 7, b"second");
        assert_eq!(fs::read(folder.file(7)).expect("there"), b"first");
        assert_eq!(scratch.names().len(), 1);
    }

    #[test]
    fn leftovers_are_removed_at_the_start_and_nothing_else_is() {
        let scratch = Scratch::new();
        save(&scratch.open(), 7, b"whole");
        for name in ["0000000000000008.0.snap.db.part", "other.part", "x.snap"] {
            fs::write(scratch.0.join(name), b"").expect("written");
        }
        scratch.open();
        assert_eq!(scratch.names(), ["0000000000000007.snap.db", "other.part", "x.snap"]);
    }

    #[test]
    fn a_disk_below_its_reserve_takes_nothing() {
        let scratch = Scratch::new();
        let full = scratch.open().with_reserve(u64::MAX, 0);
        assert_eq!(full.sink(1).err(), Some(SinkError::Space));
        assert_eq!(scratch.open().with_reserve(0, u64::MAX).sink(1).err(), Some(SinkError::Space));
        assert_eq!(scratch.open().with_reserve(0, 101).sink(1).err(), Some(SinkError::Space));
        assert!(scratch.names().is_empty());
    }

    #[test]
    fn a_file_is_read_at_any_offset_and_known_again_until_it_changes() {
        let scratch = Scratch::new();
        let folder = scratch.open();
        save(&folder, 1, b"0123456789");
        let mut source = FileSource::open(folder.file(1)).expect("a file");
        let mut buffer = [0; 4];
        assert_eq!(source.size(), 10);
        assert_eq!(source.read_at(8, &mut buffer).expect("read"), 2);
        assert_eq!(&buffer[..2], b"89");
        assert_eq!(source.read_at(10, &mut buffer).expect("read"), 0);
        let again = FileSource::open(folder.file(1)).expect("a file");
        assert_eq!(source.tag(), again.tag());
        fs::write(folder.file(1), b"9876543210").expect("written");
        assert_ne!(source.tag(), FileSource::open(folder.file(1)).expect("a file").tag());
        assert!(FileSource::open(&scratch.0).is_err(), "a folder is no file");
    }
}
