//! How long things are on the wire, exactly.

use super::Dialect;
use super::varint::varint_size;
use crate::raftpb::{ConfState, Entry, Message, Snapshot, SnapshotMetadata};

/// Bytes of a field that is a key below 16 and a varint, if it is written at all.
#[inline]
pub(super) fn scalar_size(value: Option<u64>, fill: bool) -> usize {
    match value {
        Some(value) => 1 + varint_size(value),
        None => usize::from(fill) * 2,
    }
}

/// Bytes of a field that is a key below 16, a length and that many bytes.
#[inline]
pub(super) const fn delimited_size(len: usize) -> usize {
    1 + varint_size(len as u64) + len
}

/// As [`delimited_size`], for what may be absent.
#[inline]
fn optional_size(len: Option<usize>) -> usize {
    len.map_or(0, delimited_size)
}

/// An enum's number as a varint: negative ones are sign-extended to ten bytes.
#[inline]
pub(super) fn enum_bits(number: Option<i32>) -> Option<u64> {
    number.map(|number| i64::from(number) as u64)
}

/// Protobuf bytes of `entry` as `dialect` writes it, without any length before it.
#[inline]
#[must_use]
pub fn entry_size(entry: &Entry, dialect: Dialect) -> usize {
    let fill = dialect.fills_message();
    scalar_size(enum_bits(entry.r#type), fill)
        + scalar_size(entry.term, fill)
        + scalar_size(entry.index, fill)
        + optional_size(entry.data.as_ref().map(bytes::Bytes::len))
}

/// Protobuf bytes of `message` as `dialect` writes it, without any length before it: what
/// rafthttp's byte metrics count (`m.Size()`).
#[must_use]
pub fn message_size(message: &Message, dialect: Dialect) -> usize {
    let entries: usize = message.entries.iter().map(|entry| delimited_size(entry_size(entry, dialect))).sum();
    entries + message_size_without_entries(message, dialect)
}

/// [`message_size`] of everything but the entries.
#[inline]
pub(super) fn message_size_without_entries(message: &Message, dialect: Dialect) -> usize {
    let fill = dialect.fills_message();
    let scalars = scalar_size(enum_bits(message.r#type), fill)
        + scalar_size(message.to, fill)
        + scalar_size(message.from, fill)
        + scalar_size(message.term, fill)
        + scalar_size(message.log_term, fill)
        + scalar_size(message.index, fill)
        + scalar_size(message.commit, fill)
        + scalar_size(message.reject.map(u64::from), fill)
        + scalar_size(message.reject_hint, fill);
    let context = optional_size(message.context.as_ref().map(bytes::Bytes::len));
    scalars + context + message_snapshot_size(message, dialect) + message_tail_size(message, dialect)
}

#[inline]
fn message_snapshot_size(message: &Message, dialect: Dialect) -> usize {
    match &message.snapshot {
        Some(snapshot) => delimited_size(snapshot_size(snapshot, dialect)),
        None if dialect.adds_snapshot() => BLANK_SNAPSHOT.len(),
        None => 0,
    }
}

/// Vote and responses.
#[inline]
fn message_tail_size(message: &Message, dialect: Dialect) -> usize {
    if !dialect.has_vote_and_responses() {
        return 0;
    }
    let responses: usize =
        message.responses.iter().map(|response| delimited_size(message_size(response, dialect))).sum();
    scalar_size(message.vote, dialect.fills_vote()) + responses
}

/// The whole field `snapshot` of a message of etcd 3.4 and 3.5 that has none.
///
/// ```text
///   4a 0a                  Message.snapshot, 10 bytes
///         12 08            Snapshot.metadata, 8 bytes
///               0a 02      SnapshotMetadata.conf_state, 2 bytes
///                     28 00      ConfState.auto_leave
///               10 00 18 00      index, term
/// ```
pub(super) const BLANK_SNAPSHOT: [u8; 12] = *b"\x4a\x0a\x12\x08\x0a\x02\x28\x00\x10\x00\x18\x00";

/// Protobuf bytes of `snapshot` as `dialect` writes it.
#[must_use]
pub fn snapshot_size(snapshot: &Snapshot, dialect: Dialect) -> usize {
    let data = optional_size(snapshot.data.as_ref().map(bytes::Bytes::len));
    let metadata = match &snapshot.metadata {
        Some(metadata) => Some(metadata_size(metadata, dialect)),
        None => dialect.fills_snapshot().then(|| metadata_size(&SnapshotMetadata::default(), dialect)),
    };
    data + optional_size(metadata)
}

pub(super) fn metadata_size(metadata: &SnapshotMetadata, dialect: Dialect) -> usize {
    let fill = dialect.fills_snapshot();
    let state = match &metadata.conf_state {
        Some(state) => Some(conf_state_size(state, dialect)),
        None => fill.then(|| conf_state_size(&ConfState::default(), dialect)),
    };
    optional_size(state) + scalar_size(metadata.index, fill) + scalar_size(metadata.term, fill)
}

pub(super) fn conf_state_size(state: &ConfState, dialect: Dialect) -> usize {
    let lists = [&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next];
    let ids: usize = lists.into_iter().flatten().map(|&id| 1 + varint_size(id)).sum();
    ids + scalar_size(state.auto_leave.map(u64::from), dialect.fills_snapshot())
}
