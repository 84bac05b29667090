//! The `msgapp` stream (protocol 6.2, `msgappv2_codec.go`): what both of its ends know.
//!
//! ```text
//!   link heartbeat   | 00 |
//!   AppEntries       | 01 | count (8) | n (8) | Entry (n) | ... | commit (8) |
//!   MsgApp           | 02 | n (8) | Message (n) |
//! ```
//!
//! Both ends keep a pair (term, index), zero at the start of a connection. An append that continues
//! at the pair goes without its head, which the other end makes up from its own pair.

mod decoder;
mod encoder;

pub use decoder::MsgAppV2Decoder;
pub use encoder::{AppFrame, MsgAppV2Encoder, encode_app_entries};

use super::Dialect;
use super::size::message_size_without_entries;
use super::varint::varint_size;
use crate::id::MemberId;
use crate::raftpb::{Message, MessageType};

pub(super) const LINK_HEARTBEAT: u8 = 0;
pub(super) const APP_ENTRIES: u8 = 1;
pub(super) const MSG_APP: u8 = 2;

/// Where the log of the stream stands: what the next append follows on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Position {
    term: u64,
    index: u64,
}

impl Position {
    /// After an AppEntries frame of `count` entries.
    #[inline]
    const fn after_entries(self, count: usize) -> Self {
        // Wraps as Go does: an index near the end is nonsense, but both ends must agree on it.
        Self { term: self.term, index: self.index.wrapping_add(count as u64) }
    }

    /// After a MsgApp frame, from whatever message it carried.
    #[inline]
    fn after_message(message: &Message) -> Self {
        let index = message.entries.last().map_or_else(|| message.index(), |entry| entry.index());
        Self { term: message.term(), index }
    }
}

/// What the head of an append takes inside of a message, but for its index and commit: the same
/// for all appends of one term on one connection, so it is added up once.
#[derive(Clone, Copy, Debug)]
struct HeadBytes(usize);

impl HeadBytes {
    fn new(from: MemberId, to: MemberId, term: u64, dialect: Dialect) -> Self {
        let head = Message {
            r#type: Some(MessageType::MsgApp as i32),
            to: Some(to.0),
            from: Some(from.0),
            term: Some(term),
            log_term: Some(term),
            index: Some(0),
            commit: Some(0),
            ..Message::default()
        };
        Self(message_size_without_entries(&head, dialect) - 2 * varint_size(0))
    }

    #[inline]
    const fn with(self, index: u64, commit: u64) -> usize {
        self.0 + varint_size(index) + varint_size(commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raftpb::Entry;

    /// Said without the codec: both ends share this file, so a round trip would not notice.
    #[test]
    fn positions_move_as_the_rules_of_etcd_say() {
        let start = Position { term: 3, index: 12 };
        for count in [0, 1, 5, 300, 1 << 20] {
            assert_eq!(start.after_entries(count), Position { term: 3, index: 12 + count as u64 });
        }
        assert_eq!(Position { term: 3, index: u64::MAX }.after_entries(2).index, 1);
        let entry = |index| Entry { term: Some(4), index: Some(index), ..Entry::default() };
        let mut message = Message { term: Some(5), log_term: Some(4), index: Some(9), ..Message::default() };
        assert_eq!(Position::after_message(&message), Position { term: 5, index: 9 });
        message.entries = vec![entry(10), entry(70)];
        assert_eq!(Position::after_message(&message), Position { term: 5, index: 70 });
        assert_eq!(Position::after_message(&Message::default()), Position::default());
    }
}
