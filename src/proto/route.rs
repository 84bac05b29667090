//! Which way a message goes (protocol sections 6.3 and 8.2, `peer.pick`).

use crate::raft::Via;
use crate::raftpb::{MessageClass, MessageType};

/// Which of a peer's stream writers have a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Working {
    /// The msgapp writer.
    pub msgapp: bool,
    /// The message writer.
    pub message: bool,
}

/// The way of a message of type `kind` now.
#[must_use]
pub const fn pick(kind: MessageType, working: Working) -> Via {
    match kind {
        // Not even when all streams are up: a snapshot would hold up everything behind it.
        MessageType::MsgSnap => Via::Pipeline,
        MessageType::MsgApp if working.msgapp => Via::Msgapp,
        _ if working.message => Via::Message,
        _ => Via::Pipeline,
    }
}

/// The way of a message of type `kind` while everything is up.
#[must_use]
pub const fn normal(kind: MessageType) -> Via {
    pick(kind, Working { msgapp: true, message: true })
}

/// True for types that raft uses inside a member only. A receiver's raft drops them silently.
#[must_use]
pub const fn is_local(kind: MessageType) -> bool {
    matches!(MessageClass::of(kind), MessageClass::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `TestPeerPick`.
    #[test]
    fn a_message_takes_the_best_way_that_is_up() {
        use MessageType::{MsgApp, MsgHeartbeat, MsgProp, MsgSnap};
        let cases = [
            (true, true, MsgSnap, Via::Pipeline),
            (true, true, MsgApp, Via::Msgapp),
            (true, true, MsgProp, Via::Message),
            (true, true, MsgHeartbeat, Via::Message),
            (false, true, MsgSnap, Via::Pipeline),
            (false, true, MsgApp, Via::Message),
            (false, true, MsgProp, Via::Message),
            (false, true, MsgHeartbeat, Via::Message),
            (true, false, MsgSnap, Via::Pipeline),
            (true, false, MsgApp, Via::Msgapp),
            (true, false, MsgProp, Via::Pipeline),
            (true, false, MsgHeartbeat, Via::Pipeline),
            (false, false, MsgSnap, Via::Pipeline),
            (false, false, MsgApp, Via::Pipeline),
            (false, false, MsgProp, Via::Pipeline),
            (false, false, MsgHeartbeat, Via::Pipeline),
        ];
        for (msgapp, message, kind, want) in cases {
            assert_eq!(pick(kind, Working { msgapp, message }), want, "{kind:?} {msgapp} {message}");
        }
    }

    /// Protocol section 6.3.
    #[test]
    fn every_type_that_travels_has_its_normal_way() {
        for number in 0..=23 {
            let kind = MessageType::try_from(number).expect("a type");
            let want = match number {
                3 => Via::Msgapp,
                7 => Via::Pipeline,
                _ => Via::Message,
            };
            assert_eq!(normal(kind), want);
            assert_eq!(is_local(kind), matches!(number, 0 | 1 | 10 | 11 | 12 | 19..=22), "{number}");
        }
    }
}
