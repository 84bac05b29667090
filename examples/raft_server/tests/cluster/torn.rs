//! What a disk holds of a write that the machine did not live to end.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// raft-engine's files begin with this, a version and a layout.
const MAGIC: &[u8] = b"RAFT-LOG-FILE-HEADER-9986AB3E47F320B394C8E84916EB0ED5";
const HEADER_BYTES: usize = MAGIC.len() + 16;

/// Puts the first half of a record behind the last one of the log in `data`.
///
/// # Panics
/// If there is no log with a record.
pub fn tear(data: &Path) {
    let logs = files(data).into_iter().filter(|path| path.extension().is_some_and(|end| end == "raftlog"));
    let newest = logs.max().expect("a log");
    let bytes = fs::read(&newest).expect("it can be read");
    assert!(bytes.starts_with(MAGIC), "another format of {}", newest.display());
    let (mut last, mut end) = (HEADER_BYTES, HEADER_BYTES);
    while let Some(bytes) = record_bytes(&bytes[end..]) {
        (last, end) = (end, end + bytes);
    }
    assert!(end > last, "no record in {}", newest.display());
    let half = &bytes[last..last + (end - last) / 2];
    let file = File::options().write(true).open(newest).expect("it can be written");
    file.write_all_at(half, end as u64).expect("room");
}

/// The first seven bytes of a record tell its length, and zeros lie behind the last.
fn record_bytes(rest: &[u8]) -> Option<usize> {
    let head = rest.first_chunk().map_or(0, |head| u64::from_be_bytes(*head));
    let bytes = usize::try_from(head >> 8).expect("64 bits");
    (bytes > 0 && bytes <= rest.len()).then_some(bytes)
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
