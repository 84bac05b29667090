//! An entry as raft-engine keeps it.

use anyhow::{Context, Result};
use protobuf::Message as _;
use protobuf::well_known_types::BytesValue;
use raft::eraftpb::Entry;
use raft_engine::MessageExt;

/// Tells the engine the index of an entry.
///
/// The engine wants messages of the crate `protobuf`, and raft-rs's are of `prost`: so an entry is kept
/// as bytes, its index in front.
#[derive(Clone)]
pub(super) struct Record;

const INDEX_BYTES: usize = 8;

impl MessageExt for Record {
    type Entry = BytesValue;

    fn index(record: &BytesValue) -> u64 {
        let index = record.value.first_chunk::<INDEX_BYTES>();
        index.map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

pub(super) fn encode(entry: &Entry) -> Result<BytesValue> {
    let mut record = BytesValue::new();
    record.value.extend_from_slice(&entry.index.to_be_bytes());
    record.value.extend(entry.write_to_bytes()?);
    Ok(record)
}

pub(super) fn decode(record: &BytesValue) -> Result<Entry> {
    let bytes = record.value.get(INDEX_BYTES..).context("a record of the log is too short")?;
    let mut entry = Entry::default();
    entry.merge_from_bytes(bytes).context("a record of the log is no entry")?;
    Ok(entry)
}
