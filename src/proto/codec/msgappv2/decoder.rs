//! The receiving end of a `msgapp` stream.

use std::ops::Range;

use bytes::Bytes;

use super::{APP_ENTRIES, HeadBytes, LINK_HEARTBEAT, MSG_APP, Position};
use crate::id::MemberId;
use crate::proto::codec::decode::{decode_entry, entry_in_order};
use crate::proto::codec::limits::{DecodeError, FrameLimits};
use crate::proto::codec::message::LENGTH_BYTES;
use crate::proto::codec::size::{delimited_size, message_size};
use crate::proto::codec::stream::push_default;
use crate::proto::codec::{Decoded, Dialect, frame_integer};
use crate::raftpb::{Entry, Message, MessageType};

/// A type byte and 8 bytes of count or length.
const HEADER_BYTES: usize = 1 + LENGTH_BYTES;

/// What is in front of the entry in a frame of one: the header and the entry's length.
const LONE_FRONT_BYTES: usize = HEADER_BYTES + LENGTH_BYTES;

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
    /// Whose sizes are counted where a frame leaves things out.
    dialect: Dialect,
    head: HeadBytes,
    link_heartbeat_bytes: usize,
    /// An AppEntries frame whose commit has not arrived yet.
    partial: Option<Partial>,
}

/// The entries of an AppEntries frame so far.
#[derive(Clone, Debug)]
struct Partial {
    frame: FrameMarks,
    entries: Vec<Entry>,
}

/// Where in an AppEntries frame the decoder is.
#[derive(Clone, Copy, Debug)]
struct FrameMarks {
    entries_left: usize,
    /// Entries and their lengths on the wire, held against `frame_bytes_max`.
    frame_bytes: usize,
    /// What the entries would take inside of a message.
    message_bytes: usize,
}

impl MsgAppV2Decoder {
    /// A decoder for a new connection on which `remote` sends to `local`.
    #[must_use]
    pub fn new(local: MemberId, remote: MemberId, limits: FrameLimits) -> Self {
        let dialect = Dialect::default();
        Self {
            local,
            remote,
            limits,
            position: Position::default(),
            dialect,
            head: HeadBytes::new(remote, local, 0, dialect),
            link_heartbeat_bytes: message_size(&Message::link_heartbeat(), dialect),
            partial: None,
        }
    }

    /// See [`Decoder::sized_as`](crate::proto::codec::Decoder::sized_as).
    #[must_use]
    pub fn sized_as(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self.head = HeadBytes::new(self.remote, self.local, self.position.term, dialect);
        self.link_heartbeat_bytes = message_size(&Message::link_heartbeat(), dialect);
        self
    }

    /// See [`Decoder::decode`](crate::proto::codec::Decoder::decode).
    ///
    /// # Errors
    /// If a frame is over the limits, of an unknown type, or not made of messages and entries.
    pub fn decode(&mut self, bytes: &Bytes, out: &mut Vec<Message>) -> Result<Decoded, DecodeError> {
        let mut decoded = Decoded::default();
        if let Some(Partial { frame, entries }) = self.partial.take()
            && !self.decode_app_entries(frame, entries, bytes, &mut decoded, out)?
        {
            return Ok(decoded);
        }
        loop {
            while self.decode_lone_entry(bytes, &mut decoded, out) {}
            let unit =
                decoded.consumed..decoded.consumed + self.next_unit_frame(&bytes[decoded.consumed..])?;
            if unit.end > bytes.len() {
                return Ok(decoded);
            }
            decoded.consumed = unit.end;
            match bytes[unit.start] {
                LINK_HEARTBEAT => decoded.count_link_heartbeat(self.link_heartbeat_bytes),
                APP_ENTRIES => {
                    let frame = FrameMarks::new(integer(&bytes[unit.start + 1..unit.end]));
                    let entries = Vec::with_capacity(FrameLimits::entries_reserved(frame.entries_left));
                    if !self.decode_app_entries(frame, entries, bytes, &mut decoded, out)? {
                        return Ok(decoded);
                    }
                }
                _ => self.decode_msg_app(bytes, unit.start + HEADER_BYTES..unit.end, &mut decoded, out)?,
            }
        }
    }

    /// See [`Decoder::next_unit`](crate::proto::codec::Decoder::next_unit).
    ///
    /// # Errors
    /// If the type is unknown, or a declared length or count is over the limits.
    #[inline]
    pub fn next_unit(&self, front: &[u8]) -> Result<usize, DecodeError> {
        match &self.partial {
            Some(Partial { frame, .. }) if frame.entries_left == 0 => Ok(LENGTH_BYTES),
            Some(Partial { frame, .. }) => self.next_unit_entry(frame, front),
            None => self.next_unit_frame(front),
        }
    }

    /// See [`Decoder::ends_cleanly`](crate::proto::codec::Decoder::ends_cleanly).
    #[must_use]
    pub fn ends_cleanly(&self, rest: &[u8]) -> bool {
        match &self.partial {
            Some(Partial { frame, .. }) if frame.entries_left == 0 => rest.is_empty(),
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
    fn next_unit_entry(&self, frame: &FrameMarks, front: &[u8]) -> Result<usize, DecodeError> {
        let Some(len) = frame_integer(front) else {
            return Ok(LENGTH_BYTES);
        };
        // The sum of the frame counts, so that a frame of many entries is bounded as one message.
        let sum = len.saturating_add((frame.frame_bytes + LENGTH_BYTES) as u64);
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

    /// The message of a MsgApp frame, `bytes[range]`.
    fn decode_msg_app(
        &mut self,
        bytes: &Bytes,
        range: Range<usize>,
        decoded: &mut Decoded,
        out: &mut Vec<Message>,
    ) -> Result<(), DecodeError> {
        let len = range.len();
        decoded.decode_message(bytes, range, &self.limits, out)?;
        self.position = out.last().map(Position::after_message).unwrap_or_default();
        self.head = HeadBytes::new(self.remote, self.local, self.position.term, self.dialect);
        decoded.drop_link_heartbeat(out, len);
        Ok(())
    }

    /// Decodes a frame of one plain entry that is all there: what a busy stream mostly carries.
    /// False, and nothing is done, if it is anything else, which the general way decodes or refuses.
    ///
    /// All that is found stays in registers until it is where it belongs: a list of entries that is
    /// filled and then moved is loaded before its stores have retired, which takes longer than to
    /// decode it.
    #[inline]
    fn decode_lone_entry(&mut self, bytes: &Bytes, decoded: &mut Decoded, out: &mut Vec<Message>) -> bool {
        let Some((front, rest)) = bytes[decoded.consumed..].split_first_chunk::<LONE_FRONT_BYTES>() else {
            return false;
        };
        let [APP_ENTRIES, 0, 0, 0, 0, 0, 0, 0, 1, len @ ..] = *front else { return false };
        let len = u64::from_be_bytes(len);
        let sum = len.saturating_add(LENGTH_BYTES as u64);
        if self.limits.check_len(sum).is_err() || self.limits.check_entries(1).is_err() {
            return false;
        }
        let Some(commit) = rest.get(len as usize..).and_then(frame_integer) else { return false };
        let start = decoded.consumed + LONE_FRONT_BYTES;
        let end = start + len as usize;
        let Ok(entry) = entry_in_order(bytes, start..end, |entry| entry) else { return false };
        decoded.consumed = end + LENGTH_BYTES;
        decoded.message_bytes += delimited_size(len as usize);
        self.push_lone(entry, commit, decoded, out);
        true
    }

    /// Hands out the append of a frame of one entry. As `fill_message_head`, but made in one go and
    /// where it is to be.
    #[inline]
    fn push_lone(&mut self, entry: Entry, commit: u64, decoded: &mut Decoded, out: &mut Vec<Message>) {
        let Position { term, index } = self.position;
        self.position = self.position.after_entries(1);
        let (local, remote) = (self.local.0, self.remote.0);
        let end = out.len();
        // Not `push`, which makes the message elsewhere and moves it.
        out.resize_with(end + 1, || Message {
            r#type: Some(MessageType::MsgApp as i32),
            to: Some(local),
            from: Some(remote),
            term: Some(term),
            log_term: Some(term),
            index: Some(index),
            commit: Some(commit),
            ..Message::default()
        });
        // The list of a fresh message needs no drop, which the compiler does not see.
        std::mem::forget(std::mem::replace(&mut out[end].entries, vec![entry]));
        decoded.message_bytes += self.head.with(index, commit);
    }

    /// Goes on with an AppEntries frame; false if its commit has not arrived yet.
    ///
    /// The entries go right to where the message is handed out, and are taken back only when bytes
    /// run out: a frame that arrived whole is never moved.
    fn decode_app_entries(
        &mut self,
        mut frame: FrameMarks,
        entries: Vec<Entry>,
        bytes: &Bytes,
        decoded: &mut Decoded,
        out: &mut Vec<Message>,
    ) -> Result<bool, DecodeError> {
        let message = push_default(out);
        message.entries = entries;
        let finished = self.fill_message(message, &mut frame, bytes, decoded);
        if !matches!(finished, Ok(true)) {
            let entries = out.pop().map_or_else(Vec::new, |message| message.entries);
            self.partial = Some(Partial { frame, entries });
        }
        finished
    }

    #[inline]
    fn fill_message(
        &mut self,
        message: &mut Message,
        frame: &mut FrameMarks,
        bytes: &Bytes,
        decoded: &mut Decoded,
    ) -> Result<bool, DecodeError> {
        while frame.entries_left > 0 {
            let unit = self.next_unit_entry(frame, &bytes[decoded.consumed..])?;
            let end = decoded.consumed + unit;
            if end > bytes.len() {
                return Ok(false);
            }
            decode_entry(&mut message.entries, bytes, decoded.consumed + LENGTH_BYTES..end)?;
            frame.pass_entry(unit);
            decoded.consumed = end;
        }
        let Some(commit) = frame_integer(&bytes[decoded.consumed..]) else {
            return Ok(false);
        };
        decoded.consumed += LENGTH_BYTES;
        self.fill_message_head(message, commit);
        decoded.message_bytes += frame.message_bytes + self.head.with(message.index(), commit);
        Ok(true)
    }

    /// Makes up the head that the frame left out. Accepted before any MsgApp frame, with term and
    /// index zero, as etcd does (sharp edge 22).
    #[inline]
    fn fill_message_head(&mut self, message: &mut Message, commit: u64) {
        let Position { term, index } = self.position;
        self.position = self.position.after_entries(message.entries.len());
        message.r#type = Some(MessageType::MsgApp as i32);
        message.to = Some(self.local.0);
        message.from = Some(self.remote.0);
        message.term = Some(term);
        message.log_term = Some(term);
        message.index = Some(index);
        message.commit = Some(commit);
    }
}

impl FrameMarks {
    /// `count` was checked by [`MsgAppV2Decoder::next_unit`].
    #[inline]
    const fn new(count: u64) -> Self {
        Self { entries_left: count as usize, frame_bytes: 0, message_bytes: 0 }
    }

    #[inline]
    const fn pass_entry(&mut self, unit_bytes: usize) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder() -> MsgAppV2Decoder {
        MsgAppV2Decoder::new(MemberId(1), MemberId(2), FrameLimits::default())
    }

    fn header(count: usize) -> Vec<u8> {
        [&[APP_ENTRIES][..], &(count as u64).to_be_bytes()].concat()
    }

    /// Room that a partial frame has taken, in entries.
    fn room(decoder: &MsgAppV2Decoder) -> usize {
        decoder.partial.as_ref().map_or(0, |partial| partial.entries.capacity())
    }

    #[test]
    fn memory_follows_what_arrived_and_not_what_was_declared() {
        let mut decoder = decoder();
        let mut out = Vec::new();
        decoder.decode(&header(FrameLimits::default().entries_max).into(), &mut out).expect("allowed");
        assert_eq!(room(&decoder), FrameLimits::ENTRIES_RESERVED_MAX);
        for arrived in 1..=5000 {
            decoder.decode(&vec![0; LENGTH_BYTES].into(), &mut out).expect("an empty entry");
            assert!(room(&decoder) <= FrameLimits::ENTRIES_RESERVED_MAX.max(2 * arrived));
        }
        assert!(out.is_empty());
    }

    #[test]
    fn a_frame_of_one_entry_gets_room_for_one() {
        let mut out = Vec::new();
        let frame = [header(1), vec![0; 2 * LENGTH_BYTES]].concat();
        let decoded = decoder().decode(&frame.into(), &mut out).expect("a whole frame");
        assert_eq!(decoded.consumed, 25);
        assert_eq!((out[0].entries.len(), out[0].entries.capacity()), (1, 1));
    }

    #[test]
    fn payloads_are_slices_of_the_input() {
        let entry = b"\x22\x04data";
        let frame = [&header(1), &6u64.to_be_bytes()[..], entry, &[0; 8]].concat();
        let bytes = Bytes::from(frame);
        let mut out = Vec::new();
        decoder().decode(&bytes, &mut out).expect("a whole frame");
        let data = out[0].entries[0].data.clone().expect("data");
        assert_eq!(data.as_ptr(), bytes[19..].as_ptr());
        assert_eq!(data, &b"data"[..]);
    }
}
