//! Entries and messages out of protobuf bytes.
//!
//! Fields that come as every etcd writes them (ascending, each once, the expected wire types) are
//! read by hand, payloads as slices of the input. Whatever else it is, *the same range* is given to
//! prost from its start, so that merging, unknown fields, packed lists, wrong wire types and errors
//! are prost's by construction (protocol 7.4). Reading twice costs only those who send oddities.

use std::ops::Range;

use bytes::Bytes;
use prost::Message as _;

use super::encode::key;
use super::limits::{DecodeError, FrameLimits};
use super::size::BLANK_SNAPSHOT;
use super::varint::{Cursor, Unusual};
use super::weigh;
use crate::raftpb::{ConfState, Entry, Message, Snapshot, SnapshotMetadata};

/// Decodes one message that is all of `bytes`, the body of `POST /raft`. Payloads are slices of
/// `bytes`.
///
/// # Errors
/// If it is over the limits or not a message.
pub fn decode_bare_message(bytes: &Bytes, limits: &FrameLimits) -> Result<Message, DecodeError> {
    limits.check_len(bytes.len() as u64)?;
    let mut message = Message::default();
    decode_message(&mut message, bytes, 0..bytes.len(), limits)?;
    Ok(message)
}

/// Decodes the message that is all of `bytes[range]` into `message`, a fresh one.
///
/// In place, here and for entries, because results that are moved stall: they are stored word by
/// word and loaded again as vectors before the stores have retired, ten nanoseconds a move.
#[inline]
pub(super) fn decode_message(
    message: &mut Message,
    bytes: &Bytes,
    range: Range<usize>,
    limits: &FrameLimits,
) -> Result<(), DecodeError> {
    match message_in_order(message, bytes, range.clone(), limits) {
        Ok(()) => Ok(()),
        Err(Unusual) => decode_unusual_message(message, bytes.slice(range), limits),
    }
}

#[cold]
fn decode_unusual_message(
    message: &mut Message,
    bytes: Bytes,
    limits: &FrameLimits,
) -> Result<(), DecodeError> {
    weigh::check(&bytes, limits)?;
    *message = Message::decode(bytes)?;
    Ok(())
}

/// Decodes the entry that is all of `bytes[range]` to the end of `entries`.
#[inline]
pub(super) fn decode_entry(
    entries: &mut Vec<Entry>,
    bytes: &Bytes,
    range: Range<usize>,
) -> Result<(), DecodeError> {
    match entry_in_order(bytes, range.clone(), |entry| entries.push(entry)) {
        Ok(()) => Ok(()),
        Err(Unusual) => decode_unusual_entry(entries, bytes.slice(range)),
    }
}

#[cold]
fn decode_unusual_entry(entries: &mut Vec<Entry>, bytes: Bytes) -> Result<(), DecodeError> {
    entries.push(Entry::decode(bytes)?);
    Ok(())
}

/// As prost: the low 32 bits.
#[inline]
fn enum_number(bits: Option<u64>) -> Option<i32> {
    bits.map(|bits| bits as i32)
}

/// Reads the entry that is all of `bytes[range]` and gives it to `put`, which knows its place.
#[inline(always)]
pub(super) fn entry_in_order<T>(
    bytes: &Bytes,
    range: Range<usize>,
    put: impl FnOnce(Entry) -> T,
) -> Result<T, Unusual> {
    let mut cursor = Cursor::new(&bytes[..range.end], range.start);
    let r#type = enum_number(cursor.scalar(key::ENTRY_TYPE)?);
    let term = cursor.scalar(key::ENTRY_TERM)?;
    let index = cursor.scalar(key::ENTRY_INDEX)?;
    let data = cursor.delimited(key::ENTRY_DATA)?;
    cursor.done()?;
    Ok(match data {
        Some(range) => put(Entry { r#type, term, index, data: Some(bytes.slice(range)) }),
        None => put(Entry { r#type, term, index, data: None }),
    })
}

/// Leaves anything in `message` if it is unusual.
fn message_in_order(
    message: &mut Message,
    bytes: &Bytes,
    range: Range<usize>,
    limits: &FrameLimits,
) -> Result<(), Unusual> {
    let mut cursor = Cursor::new(&bytes[..range.end], range.start);
    message.r#type = enum_number(cursor.scalar(key::TYPE)?);
    message.to = cursor.scalar(key::TO)?;
    message.from = cursor.scalar(key::FROM)?;
    message.term = cursor.scalar(key::TERM)?;
    message.log_term = cursor.scalar(key::LOG_TERM)?;
    message.index = cursor.scalar(key::INDEX)?;
    message.entries = entries_in_order(bytes, &mut cursor, limits)?;
    message.commit = cursor.scalar(key::COMMIT)?;
    message.snapshot = blank_snapshot(bytes, &mut cursor)?;
    message.reject = cursor.scalar(key::REJECT)?.map(|bits| bits != 0);
    message.reject_hint = cursor.scalar(key::REJECT_HINT)?;
    message.context = cursor.delimited(key::CONTEXT)?.map(|range| bytes.slice(range));
    message.vote = cursor.scalar(key::VOTE)?;
    cursor.done()
}

fn entries_in_order(
    bytes: &Bytes,
    cursor: &mut Cursor<'_>,
    limits: &FrameLimits,
) -> Result<Vec<Entry>, Unusual> {
    if !cursor.next_is(key::ENTRIES) {
        return Ok(Vec::new());
    }
    // Hopping over them first finds the count, so that the vector is made once and exact.
    let mut hops = *cursor;
    let mut count = 0;
    while hops.delimited(key::ENTRIES)?.is_some() {
        count += 1;
    }
    if count > limits.entries_max {
        return Err(Unusual);
    }
    let mut entries = Vec::with_capacity(count);
    while let Some(range) = cursor.delimited(key::ENTRIES)? {
        entry_in_order(bytes, range, |entry| entries.push(entry))?;
    }
    Ok(entries)
}

/// The snapshot that etcd 3.4 and 3.5 put into every message, byte for byte; any other is for prost.
#[inline]
fn blank_snapshot(bytes: &[u8], cursor: &mut Cursor<'_>) -> Result<Option<Box<Snapshot>>, Unusual> {
    let start = cursor.at();
    let Some(range) = cursor.delimited(key::SNAPSHOT)? else {
        return Ok(None);
    };
    if bytes[start..range.end] != BLANK_SNAPSHOT {
        return Err(Unusual);
    }
    let conf_state = ConfState { auto_leave: Some(false), ..ConfState::default() };
    let metadata = SnapshotMetadata { conf_state: Some(conf_state), index: Some(0), term: Some(0) };
    Ok(Some(Box::new(Snapshot { data: None, metadata: Some(metadata) })))
}
