//! A disk of a few MiB: a file system of its own, where this process may mount one.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use raftring::snapshot::{SinkError, SnapshotFolder, SnapshotSink};

/// A file system in memory that ends with the test.
struct Disk(PathBuf);

impl Disk {
    /// `None`, said aloud, if it cannot be mounted.
    fn mount(mebibytes: u32) -> Option<Self> {
        let path = std::env::temp_dir().join(format!("raftring-disk-{}-{mebibytes}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        let disk = Self(path);
        let size = format!("size={mebibytes}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&disk.0).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(disk);
        }
        // Past the test harness, which would swallow what a passing test prints.
        let _ = std::io::stderr().write_all(b"\nSKIPPED: no file system can be mounted here\n\n");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_real_disk_that_fills_up_says_so_and_keeps_nothing() {
    let Some(disk) = Disk::mount(8) else { return };
    let folder = SnapshotFolder::open(&disk.0).expect("a folder").with_reserve(0, 0);
    let piece = vec![7; 1 << 20];
    let mut sink = folder.sink(1).expect("it is empty");
    let written = (0..20).map(|_| sink.write(&piece)).take_while(Result::is_ok).count();
    assert!((6..=8).contains(&written), "{written} MiB");
    assert_eq!(sink.write(&piece), Err(SinkError::Space));
    drop(sink);
    assert_eq!(fs::read_dir(&disk.0).expect("a folder").count(), 0);

    let mut sink = Box::new(folder.sink(2).expect("there is room again"));
    sink.write(&piece).expect("written");
    sink.commit().expect("saved");
    let careful = folder.clone().with_reserve(0, 90);
    assert_eq!(careful.sink(3).err(), Some(SinkError::Space), "an eighth is used, a tenth may be");
    assert!(folder.with_reserve(6 << 20, 80).sink(3).is_ok());
}

/// The reserve is looked at before, and again as it fills.
#[test]
fn a_reserve_is_kept_while_a_database_comes() {
    let Some(disk) = Disk::mount(256) else { return };
    let folder = SnapshotFolder::open(&disk.0).expect("a folder").with_reserve(100 << 20, 0);
    let piece = vec![7; 1 << 20];
    let mut sink = folder.sink(1).expect("it is empty");
    let written = (0..256).map(|_| sink.write(&piece)).take_while(Result::is_ok).count();
    assert!((156 - 1..156 + 64).contains(&written), "{written} MiB");
}
