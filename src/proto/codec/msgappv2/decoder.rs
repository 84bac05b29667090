//! The receiving end of a `msgapp` stream.

use bytes::Bytes;

use super::{APP_ENTRIES, LINK_HEARTBEAT, MSG_APP, Position};
use crate::id::MemberId;
use crate::proto::codec::decode::{decode_entry, decode_message};
use crate::proto::codec::limits::{DecodeError, FrameLimits};
use crate::proto::codec::message::LENGTH_BYTES;
use crate::proto::codec::size::{delimited_size, message_size_without_entries};
use crate::proto::codec::{Decoded, Dialect, frame_integer};
use crate::raftpb::{Entry, Message, MessageType};

/// A type byte and 8 bytes of count or length.
const HEADER_BYTES: usize = 1 + LENGTH_BYTES;

/// Reads frames. Agrees with `msgAppV2Decoder.decode` on everything that is well formed, and gives
/// an error where that panics (sharp edges 1 to 3).
///
/// Units: `00`; the header of `01`; each entry with its length; the commit; the whole of `02`.
#[derive(Clone, Debug)]
pub struct MsgAppV2Decoder {
    local: MemberId,
    remote: MemberId,
    limits: FrameLimits,
    position: Position,
    /// An AppEntries frame whose commit has not arrived yet.
    partial: Option<PartialFrame>,
}

/// The entries of an AppEntries frame so far.
#[derive(Clone, Debug)]
struct PartialFrame {
    entries: Vec<Entry>,
    entries_left: usize,
    /// Entries and their lengths on the wire, held against `frame_bytes_max`.
    frame_bytes: usize,
    /// What the entries would take inside of a message.
    message_bytes: usize,
}

impl MsgAppV2Decoder {
    /// A decoder for a new connection on which `remote` sends to `local`.
    #[must_use]
    pub const fn new(local: MemberId, remote: MemberId, limits: FrameLimits) -> Self {
        Self { local, remote, limits, position: Position { term: 0, index: 0 }, partial: None }
    }

    /// See [`Decoder::decode`](crate::proto::codec::Decoder::decode).
    ///
    /// # Errors
    /// If a frame is over the limits, of an unknown type, or not made of messages and entries.
    pub fn decode(&mut self, bytes: &Bytes, out: &mut Vec<Message>) -> Result<Decoded, DecodeError> {
        let mut decoded = Decoded::default();
        loop {
            let unit = self.next_unit(&bytes[decoded.consumed..])?;
            if unit > bytes.len() - decoded.consumed {
                return Ok(decoded);
            }
            self.decode_unit(bytes, decoded.consumed..decoded.consumed + unit, &mut decoded, out)?;
            decoded.consumed += unit;
        }
    }

    /// See [`Decoder::next_unit`](crate::proto::codec::Decoder::next_unit).
    ///
    /// # Errors
    /// If the type is unknown, or a declared length or count is over the limits.
    #[inline]
    pub fn next_unit(&self, front: &[u8]) -> Result<usize, DecodeError> {
        match &self.partial {
            Some(PartialFrame { entries_left: 0, .. }) => Ok(LENGTH_BYTES),
            Some(partial) => self.next_unit_entry(partial, front),
            None => self.next_unit_frame(front),
        }
    }

    /// See [`Decoder::ends_cleanly`](crate::proto::codec::Decoder::ends_cleanly).
    #[must_use]
    pub fn ends_cleanly(&self, rest: &[u8]) -> bool {
        match &self.partial {
            Some(PartialFrame { entries_left: 0, .. }) => rest.is_empty(),
            Some(_) => matches!(rest.len(), 0 | LENGTH_BYTES),
            None => matches!(rest, [] | [_] | [MSG_APP, _, _, _, _, _, _, _, _]),
        }
    }

    /// See [`Decoder::is_inside_frame`](crate::proto::codec::Decoder::is_inside_frame).
    #[must_use]
    pub const fn is_inside_frame(&self) -> bool {
        self.partial.is_some()
    }

    #[inline]
    fn next_unit_entry(&self, partial: &PartialFrame, front: &[u8]) -> Result<usize, DecodeError> {
        let Some(len) = frame_integer(front) else {
            return Ok(LENGTH_BYTES);
        };
        // The sum of the frame counts, so that a frame of many entries is bounded as one message.
        let sum = len.saturating_add((partial.frame_bytes + LENGTH_BYTES) as u64);
        self.limits.check_len(sum)?;
        Ok(LENGTH_BYTES + len as usize)
    }

    #[inline]
    fn next_unit_frame(&self, front: &[u8]) -> Result<usize, DecodeError> {
        let Some((&kind, front)) = front.split_first() else {
            return Ok(1);
        };
        match (kind, frame_integer(front)) {
            (LINK_HEARTBEAT, _) => Ok(1),
            (APP_ENTRIES | MSG_APP, None) => Ok(HEADER_BYTES),
            (APP_ENTRIES, Some(count)) => self.limits.check_entries(count).map(|_| HEADER_BYTES),
            (MSG_APP, Some(len)) => Ok(HEADER_BYTES + self.limits.check_len(len)?),
            (kind, _) => Err(DecodeError::UnknownFrameType(kind)),
        }
    }

    /// Decodes `bytes[unit]`, which is as long as [`Self::next_unit`] said.
    #[inline]
    fn decode_unit(
        &mut self,
        bytes: &Bytes,
        unit: std::ops::Range<usize>,
        decoded: &mut Decoded,
        out: &mut Vec<Message>,
    ) -> Result<(), DecodeError> {
        match &mut self.partial {
            Some(partial) if partial.entries_left > 0 => {
                partial.push(decode_entry(bytes, unit.start + LENGTH_BYTES..unit.end)?, unit.len());
            }
            Some(_) => self.finish_app_entries(integer(&bytes[unit]), decoded, out),
            None => match bytes[unit.start] {
                LINK_HEARTBEAT => decoded.count_link_heartbeat(),
                APP_ENTRIES => {
                    self.partial = Some(PartialFrame::new(integer(&bytes[unit.start + 1..unit.end])))
                }
                _ => {
                    let message = decode_message(bytes, unit.start + HEADER_BYTES..unit.end, &self.limits)?;
                    self.position = Position::after_message(&message);
                    decoded.count(message, unit.len() - HEADER_BYTES, out);
                }
            },
        }
        Ok(())
    }

    /// Makes up the head that the frame left out. Accepted before any MsgApp frame, with term and
    /// index zero, as etcd does (sharp edge 22).
    fn finish_app_entries(&mut self, commit: u64, decoded: &mut Decoded, out: &mut Vec<Message>) {
        let Some(partial) = self.partial.take() else {
            return;
        };
        let Position { term, index } = self.position;
        self.position = self.position.after_entries(partial.entries.len());
        let message = Message {
            r#type: Some(MessageType::MsgApp as i32),
            to: Some(self.local.0),
            from: Some(self.remote.0),
            term: Some(term),
            log_term: Some(term),
            index: Some(index),
            entries: partial.entries,
            commit: Some(commit),
            ..Message::default()
        };
        let size = partial.message_bytes + message_size_without_entries(&message, Dialect::default());
        decoded.count(message, size, out);
    }
}

impl PartialFrame {
    /// `count` was checked by [`MsgAppV2Decoder::next_unit`].
    fn new(count: u64) -> Self {
        let count = count as usize;
        let entries = Vec::with_capacity(FrameLimits::entries_reserved(count));
        Self { entries, entries_left: count, frame_bytes: 0, message_bytes: 0 }
    }

    #[inline]
    fn push(&mut self, entry: Entry, unit_bytes: usize) {
        self.entries.push(entry);
        self.entries_left -= 1;
        self.frame_bytes += unit_bytes;
        self.message_bytes += delimited_size(unit_bytes - LENGTH_BYTES);
    }
}

/// A frame's integer that is known to be there.
#[inline]
fn integer(bytes: &[u8]) -> u64 {
    frame_integer(bytes).unwrap_or_default()
}
