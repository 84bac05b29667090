use std::fs::{self, OpenOptions};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

fn entry(index: u64, term: u64, data: &str) -> Entry {
    Entry { index, term, data: data.into(), ..Entry::default() }
}

fn state(term: u64, commit: u64) -> HardState {
    HardState { term, vote: 7, commit }
}

fn metadata(index: u64, term: u64) -> SnapshotMetadata {
    let conf_state = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
    SnapshotMetadata { index, term, conf_state: Some(conf_state) }
}

fn open(dir: &TempDir) -> Log {
    Log::open(dir.path()).expect("a log")
}

/// A log with entries 1 to `last` of term 1.
fn filled(dir: &TempDir, last: u64) -> Log {
    let mut log = open(dir);
    log.begin(b"me".to_vec(), &[entry(1, 1, "1")], vec![1, 2, 3]).expect("begun");
    for index in 2..=last {
        log.append(&[entry(index, 1, &index.to_string())], Some(&state(1, index - 1)), true)
            .expect("written");
    }
    log
}

/// All entries, read on a thread of its own: the engine keeps what it read by thread and place in a file,
/// and takes it for that of another engine.
fn all(log: &mut Log) -> Vec<(u64, u64, String)> {
    let (first, last) = (log.first_index().expect("first"), log.last_index().expect("last"));
    let read = move || log.entries(first, last + 1, None, GetEntriesContext::empty(false)).expect("entries");
    let entries = std::thread::scope(|scope| scope.spawn(read).join().expect("read"));
    entries
        .into_iter()
        .map(|entry| (entry.index, entry.term, String::from_utf8(entry.data).expect("text")))
        .collect()
}

/// The file the engine writes to.
fn newest_file(dir: &TempDir) -> PathBuf {
    let files = fs::read_dir(dir.path()).expect("a folder").map(|file| file.expect("a file").path());
    files.filter(|path| path.extension().is_some_and(|e| e == "raftlog")).max().expect("a log file")
}

/// Where the last byte is that is not room made in advance.
fn written_bytes(path: &PathBuf) -> u64 {
    let bytes = fs::read(path).expect("read");
    bytes.iter().rposition(|byte| *byte != 0).expect("not empty") as u64 + 1
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let dir = TempDir::new().expect("a folder");
    assert!(open(&dir).identity().is_none());
    drop(filled(&dir, 5));
    let mut log = open(&dir);
    assert!(log.identity().is_some());
    assert_eq!(log.identity().as_deref(), Some(&b"me"[..]));
    assert_eq!(all(&mut log).len(), 5);
    let raft = log.initial_state().expect("a state");
    assert_eq!((raft.hard_state.term, raft.hard_state.vote, raft.hard_state.commit), (1, 7, 4));
    assert_eq!(raft.conf_state.voters, [1, 2, 3]);
    assert_eq!(log.term(5).expect("a term"), 1);
}

#[test]
fn a_torn_tail_is_cut_off_and_what_was_before_it_stays() {
    let dir = TempDir::new().expect("a folder");
    drop(filled(&dir, 3));
    let whole = all(&mut open(&dir));
    let file = newest_file(&dir);
    let before = written_bytes(&file);
    let mut log = open(&dir);
    log.append(&[entry(4, 1, &"x".repeat(5_000))], Some(&state(1, 3)), true).expect("written");
    drop(log);
    let after = written_bytes(&file);
    assert!(after > before + 5_000, "the last batch lies at the end");
    for cut in [after - 1, after - 100, after - 2_500, before + 1] {
        let file = OpenOptions::new().write(true).open(&file).expect("opened");
        file.set_len(cut).expect("cut");
        drop(file);
        let mut log = open(&dir);
        assert_eq!(all(&mut log), whole, "cut at {cut} of {after}");
        log.append(&[entry(4, 1, &"y".repeat(5_000))], None, true).expect("written again");
        assert_eq!(log.last_index().expect("last"), 4);
        drop(log);
        let mut log = open(&dir);
        assert_eq!(all(&mut log).len(), 4);
        // The next round tears it again.
        log.append(&[entry(4, 1, &"x".repeat(5_000))], None, true).expect("written");
        drop(log);
        break_tail(&dir, &whole);
    }
}

/// Damages the last batch of the newest file in its middle, and sees that nothing else is lost.
fn break_tail(dir: &TempDir, whole: &[(u64, u64, String)]) {
    let path = newest_file(dir);
    let end = written_bytes(&path);
    let mut bytes = fs::read(&path).expect("read");
    bytes[end as usize - 2_000] ^= 0x55;
    fs::write(&path, bytes).expect("written");
    let mut log = open(dir);
    assert_eq!(&all(&mut log)[..3], whole);
}

#[test]
fn a_conflict_replaces_the_end_also_on_disk() {
    let dir = TempDir::new().expect("a folder");
    let mut log = filled(&dir, 5);
    log.append(&[entry(3, 2, "new")], Some(&state(2, 2)), true).expect("written");
    let expected = [(1, 1, "1".to_owned()), (2, 1, "2".to_owned()), (3, 2, "new".to_owned())];
    assert_eq!(all(&mut log), expected);
    drop(log);
    let mut log = open(&dir);
    assert_eq!(all(&mut log), expected);
    assert_eq!(log.term(3).expect("a term"), 2);
    assert!(log.term(4).is_err());
}

#[test]
fn compaction_keeps_the_term_before_the_first_entry() {
    let dir = TempDir::new().expect("a folder");
    let mut log = filled(&dir, 9);
    log.set_commit(9);
    log.set_snapshot(metadata(8, 1), 6).expect("compacted");
    log.purge().expect("purged");
    for mut log in [log, open_after(&dir)] {
        assert_eq!((log.first_index().expect("first"), log.last_index().expect("last")), (7, 9));
        assert_eq!(log.term(6).expect("a term"), 1);
        assert_eq!(log.term(5), Err(raft::Error::Store(StorageError::Compacted)));
        assert_eq!(all(&mut log).len(), 3);
        assert_eq!(log.snapshot_metadata().index, 8);
    }
}

/// The log as a process finds it that starts while this one still has it.
fn open_after(dir: &TempDir) -> Log {
    let copy = TempDir::new().expect("a folder");
    for file in fs::read_dir(dir.path()).expect("a folder") {
        let file = file.expect("a file");
        if file.path().extension().is_some_and(|extension| extension == "raftlog") {
            fs::copy(file.path(), copy.path().join(file.file_name())).expect("copied");
        }
    }
    Log::open(&copy.keep()).expect("a log")
}

#[test]
fn a_snapshot_replaces_a_log_that_is_shorter_and_one_that_is_longer() {
    for index in [20, 3] {
        let dir = TempDir::new().expect("a folder");
        let mut log = filled(&dir, 9);
        log.install(metadata(index, 5), Some(&state(5, index))).expect("installed");
        assert_eq!(log.first_index().expect("first"), index + 1);
        assert_eq!(log.last_index().expect("last"), index);
        assert_eq!(log.term(index).expect("a term"), 5);
        log.append(&[entry(index + 1, 6, "next")], None, true).expect("written");
        drop(log);
        let mut log = open(&dir);
        assert_eq!(all(&mut log), [(index + 1, 6, "next".to_owned())]);
        assert_eq!(log.initial_state().expect("a state").hard_state.commit, index);
    }
}

#[test]
fn entries_that_left_memory_are_read_from_disk() {
    let dir = TempDir::new().expect("a folder");
    drop(filled(&dir, 9));
    let log = open(&dir);
    assert!(log.cache.first().is_none(), "nothing is in memory after a restart");
    let two = log.entries(2, 9, 70, GetEntriesContext::empty(false)).expect("entries");
    assert!((1..7).contains(&two.len()) && two[0].index == 2);
    assert_eq!(log.entries(2, 9, 0, GetEntriesContext::empty(false)).expect("entries").len(), 1);
    assert!(!log.has_failed());
}

#[test]
fn a_snapshot_is_given_to_those_who_can_read_it() {
    let dir = TempDir::new().expect("a folder");
    let mut log = filled(&dir, 9);
    log.set_commit(9);
    log.set_snapshot(metadata(8, 1), 8).expect("compacted");
    log.set_readers(HashSet::from([2]));
    let snapshot = log.snapshot(0, 2).expect("a snapshot");
    assert_eq!((snapshot.get_metadata().index, &*snapshot.data), (8, SNAPSHOT_MARK));
    assert!(log.snapshot(9, 2).is_err(), "there is none of that index yet");
    assert!(log.snapshot(0, 3).is_err(), "an etcd member cannot read it");
    assert_eq!(log.take_stranded().into_iter().collect::<Vec<_>>(), [3]);
    assert!(log.take_stranded().is_empty());
}
