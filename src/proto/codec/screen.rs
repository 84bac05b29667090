//! What a well-formed message may not say.

use std::fmt;

use crate::id::MemberId;
use crate::raftpb::{Message, MessageType};

/// Why a decoded message is not passed to raft. The message is dropped and counted; the connection
/// stays, for closing it would only loop through redials.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Implausible {
    /// `to` is another member: a switched address, or a port that was used again.
    To,
    /// `from` is not the member on the other end, and the type is not one that is forwarded.
    From,
    /// The indexes of a MsgApp's entries do not follow on its own and on each other.
    Entries,
    /// It lacks what raft takes for granted and indexes into: the entry of a MsgReadIndex (protocol
    /// section 17, row 23).
    Lacking,
}

impl fmt::Display for Implausible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::To => "the message is for another member",
            Self::From => "the message is from another member and cannot have been forwarded",
            Self::Entries => "the entries of the append are not contiguous",
            Self::Lacking => "the message lacks what its type is for",
        })
    }
}

impl std::error::Error for Implausible {}

/// Checks a message that `peer` sent to `local`, whichever way it came. Link heartbeats, which name
/// nobody, pass.
///
/// # Errors
/// With the reason for which the message is to be dropped.
#[inline]
pub fn screen(message: &Message, local: MemberId, peer: MemberId) -> Result<(), Implausible> {
    if message.is_link_heartbeat() {
        return Ok(());
    }
    if message.to() != local.0 {
        return Err(Implausible::To);
    }
    if message.from() != peer.0 && !is_forwarded(message) {
        return Err(Implausible::From);
    }
    match message.kind() {
        Some(MessageType::MsgApp) if !message.has_contiguous_entries() => Err(Implausible::Entries),
        Some(MessageType::MsgReadIndex) if message.entries.is_empty() => Err(Implausible::Lacking),
        _ => Ok(()),
    }
}

/// A follower passes these on to its leader with their first `from` (protocol 6.3).
fn is_forwarded(message: &Message) -> bool {
    use MessageType::{MsgProp, MsgReadIndex, MsgTransferLeader};
    matches!(message.kind(), Some(MsgProp | MsgReadIndex | MsgTransferLeader))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raftpb::Entry;

    const LOCAL: MemberId = MemberId(1);
    const PEER: MemberId = MemberId(2);

    fn message(kind: MessageType, from: u64, to: u64) -> Message {
        Message { r#type: Some(kind as i32), from: Some(from), to: Some(to), ..Message::default() }
    }

    #[test]
    fn only_messages_between_the_two_and_forwarded_ones_pass() {
        use MessageType::*;
        assert_eq!(screen(&message(MsgVote, 2, 1), LOCAL, PEER), Ok(()));
        assert_eq!(screen(&message(MsgVote, 2, 3), LOCAL, PEER), Err(Implausible::To));
        assert_eq!(screen(&message(MsgVote, 3, 1), LOCAL, PEER), Err(Implausible::From));
        assert_eq!(screen(&message(MsgHeartbeat, 0, 1), LOCAL, PEER), Err(Implausible::From));
        for forwarded in [MsgProp, MsgReadIndex, MsgTransferLeader] {
            let whole = Message { entries: vec![Entry::default()], ..message(forwarded, 3, 1) };
            assert_eq!(screen(&whole, LOCAL, PEER), Ok(()));
            assert_eq!(screen(&message(forwarded, 3, 3), LOCAL, PEER), Err(Implausible::To));
        }
        assert_eq!(screen(&Message::link_heartbeat(), LOCAL, PEER), Ok(()));
    }

    #[test]
    fn what_raft_indexes_into_is_there() {
        let read = message(MessageType::MsgReadIndex, 2, 1);
        assert_eq!(screen(&read, LOCAL, PEER), Err(Implausible::Lacking));
        assert_eq!(screen(&message(MessageType::MsgReadIndexResp, 2, 1), LOCAL, PEER), Ok(()));
    }

    #[test]
    fn entries_of_an_append_follow_on_each_other() {
        let entries = |indexes: &[u64]| -> Vec<Entry> {
            indexes.iter().map(|&index| Entry { index: Some(index), ..Entry::default() }).collect()
        };
        let mut append = message(MessageType::MsgApp, 2, 1);
        append.index = Some(10);
        for (indexes, expected) in [
            (&[][..], Ok(())),
            (&[11], Ok(())),
            (&[11, 12, 13], Ok(())),
            (&[10], Err(Implausible::Entries)),
            (&[11, 13], Err(Implausible::Entries)),
            (&[11, 11], Err(Implausible::Entries)),
        ] {
            append.entries = entries(indexes);
            assert_eq!(screen(&append, LOCAL, PEER), expected, "{indexes:?}");
        }
        // Proposals have no indexes yet.
        let proposal = Message { entries: entries(&[0, 0]), ..message(MessageType::MsgProp, 2, 1) };
        assert_eq!(screen(&proposal, LOCAL, PEER), Ok(()));
    }
}
