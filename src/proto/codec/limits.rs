//! What a decoder refuses, and what it says then.

use std::fmt;

use crate::raftpb::Entry;

/// Bounds on one frame, checked when its lengths arrive and before memory is taken for it.
///
/// # Memory
///
/// Nothing is reserved by a declared length. What a decoder holds is a multiple of the bytes that
/// arrived, not counting payloads, which are slices of those very bytes:
///
/// - msgappv2: an entry is at least 8 bytes on the wire and 72 in memory, twice that while its
///   vector grows: at most 18 bytes a wire byte.
/// - `message`: an empty entry is 2 bytes on the wire: 36 bytes a wire byte read by hand (the
///   vector is exact), up to 108 when prost does it (the vector doubles).
///
/// Both end at `entries_max` entries: 72 MiB by default, thrice that while a vector doubles.
/// Everything else of a message that multiplies (responses, members of a snapshot) shares
/// [`FrameLimits::EXTRAS_BYTES_MAX`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrameLimits {
    /// Bytes of one frame: the declared length of a message; of an AppEntries frame the sum of its
    /// entries with their lengths. Equal is allowed. 512 MiB: rafthttp's `readBytesLimit`, which
    /// it checks on the `message` stream only.
    pub frame_bytes_max: usize,
    /// Entries of one frame, 2^20: raft sends at most `MaxSizePerMsg` (512 KiB in etcd) of entries,
    /// at 8 bytes each.
    pub entries_max: usize,
}

impl FrameLimits {
    /// Decoded bytes of responses, snapshots and member ids in one message. etcd sends no responses
    /// at all and has tens of members; 1 MiB is 131 072 ids.
    pub const EXTRAS_BYTES_MAX: usize = 1 << 20;

    /// The largest vector of entries made because a frame says so and not because they arrived:
    /// 72 KiB, and more than a batch of raft usually has.
    pub const ENTRIES_RESERVED_MAX: usize = 1024;

    /// The room that a frame of `count` entries gets at once: exactly one for the most usual frame.
    #[inline]
    pub(super) const fn entries_reserved(count: usize) -> usize {
        if count < Self::ENTRIES_RESERVED_MAX { count } else { Self::ENTRIES_RESERVED_MAX }
    }

    /// A declared length that is allowed.
    #[inline]
    pub(super) const fn check_len(&self, len: u64) -> Result<usize, DecodeError> {
        if len > self.frame_bytes_max as u64 {
            return Err(DecodeError::FrameOverLimit { len, max: self.frame_bytes_max });
        }
        Ok(len as usize)
    }

    /// A declared count of entries that is allowed.
    #[inline]
    pub(super) const fn check_entries(&self, count: u64) -> Result<usize, DecodeError> {
        if count > self.entries_max as u64 {
            return Err(DecodeError::EntriesOverLimit { count, max: self.entries_max });
        }
        Ok(count as usize)
    }
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self { frame_bytes_max: 512 << 20, entries_max: 1 << 20 }
    }
}

// The sum in the documentation above.
const _: () = assert!(size_of::<Entry>() == 72);

/// Bytes that are not what a stream carries. The connection has to be closed: there is no way to
/// find the next frame.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DecodeError {
    /// A frame is longer than [`FrameLimits::frame_bytes_max`]. Reads as rafthttp's
    /// `ErrExceedSizeLimit`.
    FrameOverLimit {
        /// The declared length in bytes, or the sum up to here.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// A frame has more entries than [`FrameLimits::entries_max`].
    EntriesOverLimit {
        /// The declared count, or the count up to here.
        count: u64,
        /// The limit.
        max: usize,
    },
    /// A message would take more than [`FrameLimits::EXTRAS_BYTES_MAX`] for things that etcd hardly
    /// sends.
    ExtrasOverLimit,
    /// A type byte that msgappv2 does not have.
    UnknownFrameType(u8),
    /// Not protobuf, or a known field with a wrong wire type.
    Protobuf(prost::DecodeError),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // etcd's text, which its operators search for.
            Self::FrameOverLimit { .. } => f.write_str("rafthttp: error limit exceeded"),
            Self::EntriesOverLimit { count, max } => {
                write!(f, "a frame of {count} entries is over the limit of {max}")
            }
            Self::ExtrasOverLimit => f.write_str("too many responses or members in one message"),
            Self::UnknownFrameType(kind) => {
                write!(f, "failed to parse type {kind} in msgappv2 stream")
            }
            Self::Protobuf(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Protobuf(error) => Some(error),
            _ => None,
        }
    }
}

impl From<prost::DecodeError> for DecodeError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Protobuf(error)
    }
}
