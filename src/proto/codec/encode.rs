//! Entries and messages as protobuf bytes, by hand: one pass, no allocation, payloads handed to
//! the sink by reference. Equal to prost's bytes for what the dialect writes (see the tests).
//!
//! Fields go out in ascending order, as every etcd writes them. All that lies between two payloads
//! is one `spare` and one `commit`:
//!
//! ```text
//!   | type to from term logTerm index | 3a len type term index 22 len | data | ... | commit reject ...
//!   '-------------- spare ------------'------------- spare -----------'-bytes-'    '---- spare ----
//! ```

use super::size::{self, BLANK_SNAPSHOT, enum_bits};
use super::varint::{Pen, VARINT_BYTES_MAX};
use super::{Dialect, SPARE_MAX, Sink};
use crate::raftpb::{ConfState, Entry, Message, Snapshot, SnapshotMetadata};

/// Keys: field number times 8, plus 0 for a varint or 2 for length and bytes (protocol 7.1).
pub(super) mod key {
    pub(crate) const ENTRY_TYPE: u8 = 0x08;
    pub(crate) const ENTRY_TERM: u8 = 0x10;
    pub(crate) const ENTRY_INDEX: u8 = 0x18;
    pub(crate) const ENTRY_DATA: u8 = 0x22;

    pub(crate) const TYPE: u8 = 0x08;
    pub(crate) const TO: u8 = 0x10;
    pub(crate) const FROM: u8 = 0x18;
    pub(crate) const TERM: u8 = 0x20;
    pub(crate) const LOG_TERM: u8 = 0x28;
    pub(crate) const INDEX: u8 = 0x30;
    pub(crate) const ENTRIES: u8 = 0x3a;
    pub(crate) const COMMIT: u8 = 0x40;
    pub(crate) const SNAPSHOT: u8 = 0x4a;
    pub(crate) const REJECT: u8 = 0x50;
    pub(crate) const REJECT_HINT: u8 = 0x58;
    pub(crate) const CONTEXT: u8 = 0x62;
    pub(crate) const VOTE: u8 = 0x68;
    pub(crate) const RESPONSES: u8 = 0x72;

    pub(crate) const SNAPSHOT_DATA: u8 = 0x0a;
    pub(crate) const SNAPSHOT_METADATA: u8 = 0x12;
    pub(crate) const METADATA_CONF_STATE: u8 = 0x0a;
    pub(crate) const METADATA_INDEX: u8 = 0x10;
    pub(crate) const METADATA_TERM: u8 = 0x18;
    /// voters, learners, voters_outgoing, learners_next: not packed.
    pub(crate) const CONF_STATE_IDS: [u8; 4] = [0x08, 0x10, 0x18, 0x20];
    pub(crate) const CONF_STATE_AUTO_LEAVE: u8 = 0x28;
}

/// A key and the longest varint.
const FIELD_BYTES_MAX: usize = 1 + VARINT_BYTES_MAX;

/// The front of an entry: its length (8 bytes, or a key and a varint), type, term, index, and key
/// and length of the data. One varint more, because a pen writes whole words.
const ENTRY_FRONT_MAX: usize = 6 * FIELD_BYTES_MAX;

/// The scalars of a message with a frame's type byte and length before them: twelve fields, one of
/// them a blank snapshot, and room for the pen's whole words.
const MESSAGE_SCALARS_MAX: usize = 16 * FIELD_BYTES_MAX;

const _: () = assert!(ENTRY_FRONT_MAX <= SPARE_MAX && MESSAGE_SCALARS_MAX <= SPARE_MAX);

/// What goes out before a message, in the same piece.
#[derive(Clone, Copy)]
pub(super) enum Prefix {
    /// Nothing: the body of `POST /raft`.
    None,
    /// 8 bytes of length: a frame of the `message` stream.
    Length(u64),
    /// A type byte and 8 bytes of length: frame `02` of msgappv2.
    Typed(u8, u64),
    /// A key and a length: a field of another message.
    Field(u8, u64),
}

impl Prefix {
    #[inline]
    fn put(self, pen: &mut Pen<'_>) {
        match self {
            Self::None => {}
            Self::Length(len) => pen.frame_integer(len),
            Self::Typed(kind, len) => {
                pen.byte(kind);
                pen.frame_integer(len);
            }
            Self::Field(key, len) => pen.scalar(key, len),
        }
    }
}

/// Writes `message` as plain protobuf: the body of `POST /raft`. Returns its size.
pub fn encode_bare_message(message: &Message, dialect: Dialect, sink: &mut impl Sink) -> usize {
    put_message(Prefix::None, message, dialect, sink);
    size::message_size(message, dialect)
}

/// A scalar if it is set, or a zero if the dialect fills it in.
#[inline(always)]
fn put_scalar(pen: &mut Pen<'_>, key: u8, value: Option<u64>, fill: bool) {
    match value {
        Some(value) => pen.scalar(key, value),
        None if fill => pen.array([key, 0]),
        None => {}
    }
}

/// Writes `prefix` and `message`.
pub(super) fn put_message<S: Sink>(prefix: Prefix, message: &Message, dialect: Dialect, sink: &mut S) {
    let fill = dialect.fills_message();
    let mut pen = Pen::new(sink.spare(MESSAGE_SCALARS_MAX));
    prefix.put(&mut pen);
    put_message_head(&mut pen, message, fill);
    if !message.entries.is_empty() {
        let written = pen.written();
        sink.commit(written);
        message.entries.iter().for_each(|entry| put_entry_field(entry, dialect, sink));
        pen = Pen::new(sink.spare(MESSAGE_SCALARS_MAX));
    }
    put_scalar(&mut pen, key::COMMIT, message.commit, fill);
    if let Some(snapshot) = &message.snapshot {
        pen.scalar(key::SNAPSHOT, size::snapshot_size(snapshot, dialect) as u64);
        let written = pen.written();
        sink.commit(written);
        put_snapshot(snapshot, dialect, sink);
        pen = Pen::new(sink.spare(MESSAGE_SCALARS_MAX));
    } else if dialect.adds_snapshot() {
        pen.array(BLANK_SNAPSHOT);
    }
    put_scalar(&mut pen, key::REJECT, message.reject.map(u64::from), fill);
    put_scalar(&mut pen, key::REJECT_HINT, message.reject_hint, fill);
    if let Some(context) = &message.context {
        pen.scalar(key::CONTEXT, context.len() as u64);
        let written = pen.written();
        sink.commit(written);
        sink.put_bytes(context);
        pen = Pen::new(sink.spare(MESSAGE_SCALARS_MAX));
    }
    if dialect.has_vote_and_responses() {
        put_scalar(&mut pen, key::VOTE, message.vote, dialect.fills_vote());
    }
    let written = pen.written();
    sink.commit(written);
    if dialect.has_vote_and_responses() {
        put_responses(message, dialect, sink);
    }
}

#[inline]
fn put_message_head(pen: &mut Pen<'_>, message: &Message, fill: bool) {
    put_scalar(pen, key::TYPE, enum_bits(message.r#type), fill);
    put_scalar(pen, key::TO, message.to, fill);
    put_scalar(pen, key::FROM, message.from, fill);
    put_scalar(pen, key::TERM, message.term, fill);
    put_scalar(pen, key::LOG_TERM, message.log_term, fill);
    put_scalar(pen, key::INDEX, message.index, fill);
}

/// Never present in etcd. Sizes are computed anew at each level: quadratic in the depth, which a
/// host chooses.
fn put_responses<S: Sink>(message: &Message, dialect: Dialect, sink: &mut S) {
    for response in &message.responses {
        let len = size::message_size(response, dialect) as u64;
        put_message(Prefix::Field(key::RESPONSES, len), response, dialect, sink);
    }
}

/// An entry of a message: key, length, entry.
#[inline]
fn put_entry_field<S: Sink>(entry: &Entry, dialect: Dialect, sink: &mut S) {
    let mut pen = Pen::new(sink.spare(ENTRY_FRONT_MAX));
    pen.scalar(key::ENTRIES, size::entry_size(entry, dialect) as u64);
    put_entry_scalars(&mut pen, entry, dialect);
    let written = pen.written();
    sink.commit(written);
    if let Some(data) = &entry.data {
        sink.put_bytes(data);
    }
}

/// Data up to this size is copied along with what surrounds it, in the piece that the sink gave.
const INLINE_DATA_MAX: usize = 1 << 10;

/// Entries of an AppEntries frame, each 8 bytes of length and the entry, between `front` and
/// `back`. Returns what the entries take inside of a message.
///
/// As much as fits goes out in one `spare` and one `commit`: a frame of one small entry is one
/// piece, its front, its data and its back.
#[inline]
pub(super) fn put_entry_frames<S: Sink>(
    front: impl FnOnce(&mut Pen<'_>),
    entries: &[Entry],
    back: u64,
    dialect: Dialect,
    sink: &mut S,
) -> usize {
    let mut size = 0;
    let mut pen = Pen::new(sink.spare(SPARE_MAX));
    front(&mut pen);
    for entry in entries {
        if pen.left() < ENTRY_FRONT_MAX {
            let written = pen.written();
            sink.commit(written);
            pen = Pen::new(sink.spare(SPARE_MAX));
        }
        // The length is what was written, which is cheaper than a size computed ahead.
        let length = pen.leave_length();
        put_entry_scalars(&mut pen, entry, dialect);
        let len = pen.written() - length - size_of::<u64>() + entry.payload_bytes();
        pen.fill_in_length(length, len as u64);
        size += size::delimited_size(len);
        let Some(data) = &entry.data else { continue };
        if data.len() <= INLINE_DATA_MAX && data.len() <= pen.left() {
            pen.slice(data);
        } else {
            let written = pen.written();
            sink.commit(written);
            sink.put_bytes(data);
            pen = Pen::new(sink.spare(SPARE_MAX));
        }
    }
    if pen.left() < size_of::<u64>() {
        let written = pen.written();
        sink.commit(written);
        pen = Pen::new(sink.spare(SPARE_MAX));
    }
    pen.frame_integer(back);
    let written = pen.written();
    sink.commit(written);
    size
}

/// Everything of an entry but the bytes of its data.
#[inline(always)]
fn put_entry_scalars(pen: &mut Pen<'_>, entry: &Entry, dialect: Dialect) {
    let fill = dialect.fills_message();
    put_scalar(pen, key::ENTRY_TYPE, enum_bits(entry.r#type), fill);
    put_scalar(pen, key::ENTRY_TERM, entry.term, fill);
    put_scalar(pen, key::ENTRY_INDEX, entry.index, fill);
    if let Some(data) = &entry.data {
        pen.scalar(key::ENTRY_DATA, data.len() as u64);
    }
}

fn put_snapshot<S: Sink>(snapshot: &Snapshot, dialect: Dialect, sink: &mut S) {
    if let Some(data) = &snapshot.data {
        put_key(key::SNAPSHOT_DATA, data.len(), sink);
        sink.put_bytes(data);
    }
    match &snapshot.metadata {
        Some(metadata) => put_metadata(metadata, dialect, sink),
        None if dialect.fills_snapshot() => put_metadata(&SnapshotMetadata::default(), dialect, sink),
        None => {}
    }
}

fn put_metadata<S: Sink>(metadata: &SnapshotMetadata, dialect: Dialect, sink: &mut S) {
    put_key(key::SNAPSHOT_METADATA, size::metadata_size(metadata, dialect), sink);
    let fill = dialect.fills_snapshot();
    match &metadata.conf_state {
        Some(state) => put_conf_state(state, dialect, sink),
        None if fill => put_conf_state(&ConfState::default(), dialect, sink),
        None => {}
    }
    put_one(key::METADATA_INDEX, metadata.index, fill, sink);
    put_one(key::METADATA_TERM, metadata.term, fill, sink);
}

fn put_conf_state<S: Sink>(state: &ConfState, dialect: Dialect, sink: &mut S) {
    put_key(key::METADATA_CONF_STATE, size::conf_state_size(state, dialect), sink);
    let lists = [&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next];
    for (key, ids) in key::CONF_STATE_IDS.into_iter().zip(lists) {
        ids.iter().for_each(|&id| put_one(key, Some(id), false, sink));
    }
    let auto_leave = state.auto_leave.map(u64::from);
    put_one(key::CONF_STATE_AUTO_LEAVE, auto_leave, dialect.fills_snapshot(), sink);
}

/// One scalar in a piece of its own: snapshots are rare.
fn put_one<S: Sink>(key: u8, value: Option<u64>, fill: bool, sink: &mut S) {
    let mut pen = Pen::new(sink.spare(2 * FIELD_BYTES_MAX));
    put_scalar(&mut pen, key, value, fill);
    let written = pen.written();
    sink.commit(written);
}

/// Key and length of what follows.
fn put_key<S: Sink>(key: u8, len: usize, sink: &mut S) {
    put_one(key, Some(len as u64), false, sink);
}
