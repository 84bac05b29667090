//! The `message` stream (protocol 6.1, `msg_codec.go`).
//!
//! ```text
//!   0        8           8 + n
//!   | n (BE) | Message   |        frames follow each other directly
//! ```

use bytes::Bytes;

use super::encode::{Prefix, put_message};
use super::limits::{DecodeError, FrameLimits};
use super::size::message_size;
use super::{Decoded, Dialect, Sink, frame_integer};
use crate::raftpb::Message;

/// The length before a message.
pub(super) const LENGTH_BYTES: usize = 8;

/// Writes one frame. Agrees with `messageEncoder.encode`; has no limit, like it.
///
/// Returns the protobuf size of the message, which is the frame less its 8 bytes of length.
pub fn encode_message(message: &Message, dialect: Dialect, sink: &mut impl Sink) -> usize {
    let size = message_size(message, dialect);
    put_message(Prefix::Length(size as u64), message, dialect, sink);
    size
}

/// Reads frames; a unit is one whole frame. Agrees with `messageDecoder.decode`.
#[derive(Clone, Debug)]
pub struct MessageDecoder {
    limits: FrameLimits,
}

impl MessageDecoder {
    /// A decoder for a new connection.
    #[must_use]
    pub const fn new(limits: FrameLimits) -> Self {
        Self { limits }
    }

    /// See [`Decoder::decode`](super::Decoder::decode).
    ///
    /// # Errors
    /// If a frame is over the limits or is not a message.
    pub fn decode(&mut self, bytes: &Bytes, out: &mut Vec<Message>) -> Result<Decoded, DecodeError> {
        let mut decoded = Decoded::default();
        loop {
            let unit = self.next_unit(&bytes[decoded.consumed..])?;
            if unit > bytes.len() - decoded.consumed {
                return Ok(decoded);
            }
            let end = decoded.consumed + unit;
            decoded.decode_message(bytes, decoded.consumed + LENGTH_BYTES..end, &self.limits, out)?;
            decoded.drop_link_heartbeat(out, unit - LENGTH_BYTES);
            decoded.consumed = end;
        }
    }

    /// See [`Decoder::next_unit`](super::Decoder::next_unit).
    ///
    /// # Errors
    /// If the declared length is over the limit.
    #[inline]
    pub fn next_unit(&self, front: &[u8]) -> Result<usize, DecodeError> {
        match frame_integer(front) {
            Some(len) => Ok(LENGTH_BYTES + self.limits.check_len(len)?),
            None => Ok(LENGTH_BYTES),
        }
    }

    /// See [`Decoder::ends_cleanly`](super::Decoder::ends_cleanly).
    #[must_use]
    pub const fn ends_cleanly(&self, rest: &[u8]) -> bool {
        matches!(rest.len(), 0 | LENGTH_BYTES)
    }
}
