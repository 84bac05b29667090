//! What a message is for: the classes by which room is kept, drops are counted and faults are chosen.

use std::ops::AddAssign;

use super::{Message, MessageType};

/// The class of a message.
///
/// | class | types |
/// |---|---|
/// | append | MsgApp |
/// | proposal | MsgProp |
/// | ack | MsgAppResp, MsgHeartbeatResp, MsgReadIndex, MsgReadIndexResp |
/// | heartbeat | MsgHeartbeat |
/// | vote | MsgVote, MsgVoteResp, MsgPreVote, MsgPreVoteResp, MsgTimeoutNow, MsgTransferLeader, MsgForgetLeader |
/// | snapshot | MsgSnap |
/// | other | what never leaves a member, and types that we do not know |
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum MessageClass {
    /// Entries of the log; sent again until they are acknowledged.
    Append,
    /// A proposal on its way to the leader; its client tries again.
    Proposal,
    /// Answers to appends and heartbeats, and reads of the index, which wait for them.
    Ack,
    /// A leader's sign of life.
    Heartbeat,
    /// Whatever decides who leads.
    Vote,
    /// A snapshot, which has a way of its own.
    Snapshot,
    /// Types that are of no use to another member, and unknown ones.
    Other,
}

impl MessageClass {
    /// All classes.
    pub const ALL: [Self; 7] =
        [Self::Append, Self::Proposal, Self::Ack, Self::Heartbeat, Self::Vote, Self::Snapshot, Self::Other];

    /// Its place in [`MessageClass::ALL`].
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// One lower-case word, for labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Proposal => "proposal",
            Self::Ack => "ack",
            Self::Heartbeat => "heartbeat",
            Self::Vote => "vote",
            Self::Snapshot => "snapshot",
            Self::Other => "other",
        }
    }

    /// The class of a type. Every type is named here, so that a new one is not forgotten.
    #[must_use]
    pub const fn of(kind: MessageType) -> Self {
        match kind {
            MessageType::MsgApp => Self::Append,
            MessageType::MsgProp => Self::Proposal,
            MessageType::MsgAppResp
            | MessageType::MsgHeartbeatResp
            | MessageType::MsgReadIndex
            | MessageType::MsgReadIndexResp => Self::Ack,
            MessageType::MsgHeartbeat => Self::Heartbeat,
            MessageType::MsgVote
            | MessageType::MsgVoteResp
            | MessageType::MsgPreVote
            | MessageType::MsgPreVoteResp
            | MessageType::MsgTimeoutNow
            | MessageType::MsgTransferLeader
            | MessageType::MsgForgetLeader => Self::Vote,
            MessageType::MsgSnap => Self::Snapshot,
            MessageType::MsgHup
            | MessageType::MsgBeat
            | MessageType::MsgUnreachable
            | MessageType::MsgSnapStatus
            | MessageType::MsgCheckQuorum
            | MessageType::MsgStorageAppend
            | MessageType::MsgStorageAppendResp
            | MessageType::MsgStorageApply
            | MessageType::MsgStorageApplyResp => Self::Other,
        }
    }
}

/// Every type; the tests ask whether one is missing.
const TYPES: [MessageType; 24] = {
    use MessageType as T;
    [
        T::MsgHup,
        T::MsgBeat,
        T::MsgProp,
        T::MsgApp,
        T::MsgAppResp,
        T::MsgVote,
        T::MsgVoteResp,
        T::MsgSnap,
        T::MsgHeartbeat,
        T::MsgHeartbeatResp,
        T::MsgUnreachable,
        T::MsgSnapStatus,
        T::MsgCheckQuorum,
        T::MsgTransferLeader,
        T::MsgTimeoutNow,
        T::MsgReadIndex,
        T::MsgReadIndexResp,
        T::MsgPreVote,
        T::MsgPreVoteResp,
        T::MsgStorageAppend,
        T::MsgStorageAppendResp,
        T::MsgStorageApply,
        T::MsgStorageApplyResp,
        T::MsgForgetLeader,
    ]
};

/// The class of each type by its number: sending asks for it once a message.
const BY_NUMBER: [MessageClass; TYPES.len()] = {
    let mut classes = [MessageClass::Other; TYPES.len()];
    let mut at = 0;
    while at < TYPES.len() {
        classes[TYPES[at] as usize] = MessageClass::of(TYPES[at]);
        at += 1;
    }
    classes
};

/// A number for each class.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClassCounts([usize; MessageClass::ALL.len()]);

impl ClassCounts {
    /// So many of one class.
    #[must_use]
    pub fn of(class: MessageClass, count: usize) -> Self {
        let mut counts = Self::default();
        counts.add(class, count);
        counts
    }

    /// So many more of a class.
    #[inline]
    pub const fn add(&mut self, class: MessageClass, count: usize) {
        self.0[class.index()] += count;
    }

    /// How many of a class.
    #[must_use]
    pub const fn get(&self, class: MessageClass) -> usize {
        self.0[class.index()]
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }

    /// Those that are not zero.
    pub fn iter(&self) -> impl Iterator<Item = (MessageClass, usize)> {
        MessageClass::ALL.into_iter().zip(self.0).filter(|&(_, count)| count > 0)
    }
}

impl AddAssign for ClassCounts {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }
}

impl<'a> FromIterator<&'a Message> for ClassCounts {
    fn from_iter<I: IntoIterator<Item = &'a Message>>(messages: I) -> Self {
        let mut counts = Self::default();
        messages.into_iter().for_each(|message| counts.add(message.class(), 1));
        counts
    }
}

impl Message {
    /// What it is for; [`MessageClass::Other`] if its type is not known here.
    #[inline]
    #[must_use]
    pub fn class(&self) -> MessageClass {
        let number = usize::try_from(self.type_number()).unwrap_or(usize::MAX);
        BY_NUMBER.get(number).copied().unwrap_or(MessageClass::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_type(number: i32) -> Message {
        Message { r#type: Some(number), ..Message::default() }
    }

    #[test]
    fn every_type_that_there_is_has_its_class() {
        for number in 0..100 {
            let expected = MessageType::try_from(number).map_or(MessageClass::Other, MessageClass::of);
            assert_eq!(of_type(number).class(), expected, "{number}");
            assert!(expected == MessageClass::Other || (number as usize) < TYPES.len());
        }
        assert_eq!(of_type(-1).class(), MessageClass::Other);
        assert_eq!(of_type(i32::MAX).class(), MessageClass::Other);
        assert_eq!(Message::default().class(), MessageClass::Other, "an unset type is MsgHup");
    }

    #[test]
    fn counts_add_up() {
        let messages = [3, 3, 2, 5].map(of_type);
        let mut counts = ClassCounts::from_iter(&messages);
        assert_eq!((counts.total(), counts.get(MessageClass::Append)), (4, 2));
        counts += ClassCounts::of(MessageClass::Vote, 7);
        let all: Vec<_> = counts.iter().collect();
        assert_eq!(all, [(MessageClass::Append, 2), (MessageClass::Proposal, 1), (MessageClass::Vote, 8)]);
    }

    #[test]
    fn classes_know_their_places_and_names() {
        for (place, class) in MessageClass::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), place);
            assert!(MessageClass::ALL[..place].iter().all(|other| other.name() != class.name()));
        }
    }
}
