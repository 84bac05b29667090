//! Either codec behind one type, for those who drive a stream of either kind.

use std::ops::Range;

use bytes::Bytes;

use super::decode::decode_message;
use super::limits::{DecodeError, FrameLimits};
use super::message::{MessageDecoder, encode_message};
use super::msgappv2::{MsgAppV2Decoder, MsgAppV2Encoder};
use super::{Dialect, Sink};
use crate::id::MemberId;
use crate::proto::stream_kind::StreamKind;
use crate::raftpb::Message;

/// The writing end of one connection.
#[derive(Clone, Debug)]
pub enum Encoder {
    /// Of a `msgapp` stream.
    Msgapp(MsgAppV2Encoder),
    /// Of a `message` stream, which has no state.
    Message(Dialect),
}

impl Encoder {
    /// An encoder for a new connection on which `local` sends to `remote`.
    #[must_use]
    pub fn new(kind: StreamKind, local: MemberId, remote: MemberId, dialect: Dialect) -> Self {
        match kind {
            StreamKind::Msgapp => Self::Msgapp(MsgAppV2Encoder::new(local, remote, dialect)),
            StreamKind::Message => Self::Message(dialect),
        }
    }

    /// Writes one frame. Returns the protobuf size of the message in bytes, which rafthttp's byte
    /// metrics count on both kinds of stream.
    pub fn encode(&mut self, message: &Message, sink: &mut impl Sink) -> usize {
        match self {
            Self::Msgapp(encoder) => encoder.encode(message, sink),
            Self::Message(dialect) => encode_message(message, *dialect, sink),
        }
    }

    /// Writes a link heartbeat. Returns its protobuf size, also where its frame is one byte.
    pub fn encode_link_heartbeat(&mut self, sink: &mut impl Sink) -> usize {
        self.encode(&Message::link_heartbeat(), sink)
    }
}

/// What one call of [`Decoder::decode`] did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Decoded {
    /// Bytes of the units that were decoded; the caller removes them from the front.
    pub consumed: usize,
    /// Link heartbeats among them, which are not passed on.
    pub link_heartbeats: usize,
    /// Protobuf bytes of all messages, link heartbeats included: rafthttp's
    /// `peer_received_bytes_total`. For messages whose head was left out it is what the dialect of
    /// [`Decoder::sized_as`] would take.
    pub message_bytes: usize,
    /// Those of the link heartbeats alone.
    pub link_heartbeat_bytes: usize,
}

impl Decoded {
    /// Decodes the message that is all of `bytes[range]` to the end of `out`, and counts its bytes.
    #[inline]
    pub(super) fn decode_message(
        &mut self,
        bytes: &Bytes,
        range: Range<usize>,
        limits: &FrameLimits,
        out: &mut Vec<Message>,
    ) -> Result<(), DecodeError> {
        self.message_bytes += range.len();
        let result = decode_message(push_default(out), bytes, range, limits);
        if result.is_err() {
            out.pop();
        }
        result
    }

    /// Takes the last message, which was so many bytes, away and counts it if it is a link heartbeat.
    #[inline]
    pub(super) fn drop_link_heartbeat(&mut self, out: &mut Vec<Message>, bytes: usize) {
        if out.last().is_some_and(Message::is_link_heartbeat) {
            self.link_heartbeats += 1;
            self.link_heartbeat_bytes += bytes;
            out.pop();
        }
    }

    /// One that came as a single byte and would be so many.
    #[inline]
    pub(super) fn count_link_heartbeat(&mut self, bytes: usize) {
        self.link_heartbeats += 1;
        self.message_bytes += bytes;
        self.link_heartbeat_bytes += bytes;
    }
}

/// A fresh message at the end of `out`, to be filled in place.
#[inline]
pub(super) fn push_default(out: &mut Vec<Message>) -> &mut Message {
    // Not `push`, which makes the message elsewhere and moves it.
    let end = out.len();
    out.resize_with(end + 1, Message::default);
    &mut out[end]
}

/// The reading end of one connection: incremental, in place, over the bytes of the body.
///
/// A *unit* is the smallest piece that is decoded at once: a frame, or for AppEntries its header,
/// each of its entries, and its commit. Between two calls nothing is kept but the entries of an
/// unfinished AppEntries frame.
///
/// ```text
///   bytes      | unit | unit | unit | half a un
///   decode     '------ consumed ----'             next_unit(half a un) = how long it will be
/// ```
#[derive(Clone, Debug)]
pub enum Decoder {
    /// Of a `msgapp` stream.
    Msgapp(MsgAppV2Decoder),
    /// Of a `message` stream.
    Message(MessageDecoder),
}

impl Decoder {
    /// A decoder for a new connection on which `remote` sends to `local`.
    #[must_use]
    pub fn new(kind: StreamKind, local: MemberId, remote: MemberId, limits: FrameLimits) -> Self {
        match kind {
            StreamKind::Msgapp => Self::Msgapp(MsgAppV2Decoder::new(local, remote, limits)),
            StreamKind::Message => Self::Message(MessageDecoder::new(limits)),
        }
    }

    /// What a frame leaves out counts as this dialect would write it, for the receiver's own is what
    /// rafthttp counts by.
    #[must_use]
    pub fn sized_as(self, dialect: Dialect) -> Self {
        match self {
            Self::Msgapp(decoder) => Self::Msgapp(decoder.sized_as(dialect)),
            Self::Message(decoder) => Self::Message(decoder),
        }
    }

    /// Decodes all whole units at the front of `bytes`, and pushes the messages that they complete
    /// to `out`, in order. Payloads are slices of `bytes`, of whatever size: it is the caller who
    /// knows whether that is a receive block or a small copy.
    ///
    /// # Errors
    /// See [`DecodeError`]. Messages decoded before the error are in `out`. The decoder is of no
    /// further use.
    #[inline]
    pub fn decode(&mut self, bytes: &Bytes, out: &mut Vec<Message>) -> Result<Decoded, DecodeError> {
        match self {
            Self::Msgapp(decoder) => decoder.decode(bytes, out),
            Self::Message(decoder) => decoder.decode(bytes, out),
        }
    }

    /// How many bytes, from the front, the next unit needs, at least 1. If `front` (all that there
    /// is behind what was consumed) is shorter, more has to be read; the number may then still grow
    /// once, when the unit's length has arrived.
    ///
    /// # Errors
    /// If a declared length or count is over the limits: before anybody takes memory for it.
    #[inline]
    pub fn next_unit(&self, front: &[u8]) -> Result<usize, DecodeError> {
        match self {
            Self::Msgapp(decoder) => decoder.next_unit(front),
            Self::Message(decoder) => decoder.next_unit(front),
        }
    }

    /// True if the end of the stream after `rest` (all that there is behind what was consumed) is
    /// where rafthttp sees a plain EOF, not an unexpected one: between two fields of a frame, that
    /// is also right behind a length.
    #[must_use]
    pub fn ends_cleanly(&self, rest: &[u8]) -> bool {
        match self {
            Self::Msgapp(decoder) => decoder.ends_cleanly(rest),
            Self::Message(decoder) => decoder.ends_cleanly(rest),
        }
    }

    /// True if some units of a frame were decoded and others are still to come, whether or not an
    /// end there would be a clean one.
    #[must_use]
    pub const fn is_inside_frame(&self) -> bool {
        match self {
            Self::Msgapp(decoder) => decoder.is_inside_frame(),
            Self::Message(_) => false,
        }
    }
}
