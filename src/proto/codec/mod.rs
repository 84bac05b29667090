//! The two frame formats of the streams (protocol section 6), and the messages inside (section 7).
//!
//! ```text
//!   Message --> Encoder --(message, msgappv2)--> encode --> Sink     written in one pass
//!   Bytes   --> Decoder --(message, msgappv2)--> decode --> Message  payloads are slices of Bytes
//!                                                 | anything unusual
//!                                                 '--> weigh --> prost
//! ```

mod decode;
mod dialect;
mod encode;
#[doc(hidden)]
pub mod fuzzing;
mod limits;
mod message;
mod msgappv2;
mod screen;
mod sink;
mod size;
mod stream;
mod varint;
mod weigh;

pub use super::stream_kind::StreamKind;
pub use decode::decode_bare_message;
pub use dialect::Dialect;
pub use encode::encode_bare_message;
pub use limits::{DecodeError, FrameLimits};
pub use message::{MessageDecoder, encode_message};
pub use msgappv2::{AppFrame, MsgAppV2Decoder, MsgAppV2Encoder, encode_app_entries};
pub use screen::{Implausible, screen};
pub use sink::{SPARE_MAX, Sink, VecSink};
pub use size::{entry_size, message_size, snapshot_size};
pub use stream::{Decoded, Decoder, Encoder};

/// A frame's integer, 8 bytes big endian, if all of it is there.
#[inline]
fn frame_integer(front: &[u8]) -> Option<u64> {
    front.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}
