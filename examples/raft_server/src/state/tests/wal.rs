//! etcd's log on disk, for tests: the entries as etcd itself wrote them.
//!
//! A record is a length of 8 bytes, whose upper byte tells of padding, and a message: 1 type, 2 checksum, 3
//! data. Type 2 is an entry.

use std::collections::BTreeMap;
use std::path::Path;

use prost::Message;
use raft::eraftpb::Entry;

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(bytes = "vec", tag = "3")]
    data: Vec<u8>,
}

const ENTRY: i64 = 2;

/// All entries in the log of a member that has ended, by index; what was written last counts.
pub(super) fn entries(member_dir: &Path) -> Vec<Entry> {
    let mut entries = BTreeMap::new();
    let files = std::fs::read_dir(member_dir.join("wal")).expect("a log");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    files.sort();
    for file in files {
        let bytes = std::fs::read(file).expect("readable");
        let mut rest = &bytes[..];
        while let Some((head, behind)) = rest.split_first_chunk() {
            let head = u64::from_le_bytes(*head);
            // Of a length below 0, the lower three bits of the upper byte are the padding.
            let padding = if head >> 63 == 1 { (head >> 56) & 7 } else { 0 };
            let length = (head & ((1 << 56) - 1)) as usize;
            if length == 0 {
                break;
            }
            let record = Record::decode(&behind[..length]).expect("a record");
            if record.kind == ENTRY {
                let entry = raftring::raftpb::Entry::decode(&record.data[..]).expect("an entry");
                let entry = raftring::raft_rs::entry_to_raft_rs(entry).expect("one that raft-rs knows");
                entries.insert(entry.index, entry);
            }
            rest = &behind[length + padding as usize..];
        }
    }
    entries.into_values().collect()
}
