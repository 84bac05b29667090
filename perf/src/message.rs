//! The messages of a load, the same for every implementation that is measured.
//!
//! ```text
//! message n to a follower:  MsgApp { term = log_term = TERM, index = i, commit = i, K entries i+1 ..= i+K }
//!                           where i = INDEX_BASE + n * K
//! ```
//!
//! Index follows index, so after the first one every frame of the msgapp stream is the short
//! `AppEntries`, and the number of a message can be read off it at the far end.

use bytes::Bytes;
use raftring::raftpb::{Entry, EntryType, Message, MessageType};

use crate::plan::Plan;

/// The term of every message, some elections into a cluster's life.
pub const TERM: u64 = 7;
/// The log before the first message: large enough that an index has the four bytes of a real log.
pub const INDEX_BASE: u64 = 10_000_000;

/// The id of the leader (0) or of a follower (1..), spread over 64 bits as etcd's hashes are.
#[must_use]
pub fn member_id(member: usize) -> u64 {
    // splitmix64: any mixer would do, but the rival must compute the same.
    let mut z = (member as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Makes the messages of one plan and reads their numbers back.
#[derive(Clone, Debug)]
pub struct Messages {
    /// One allocation for the data of all entries: what is measured is the transport, not memcpy
    /// into a fresh payload.
    payload: Bytes,
    entries_per_message: u64,
}

impl Messages {
    /// For `plan`.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        // Not zeros: nothing on the way should get the chance to be clever.
        let payload = (0..plan.entry_size).map(|i| (i as u8).wrapping_mul(31).wrapping_add(7)).collect();
        Self { payload, entries_per_message: plan.entries_per_message as u64 }
    }

    /// Message number `n` to `follower` (0..).
    #[must_use]
    pub fn append(&self, follower: usize, n: u64) -> Message {
        let index = INDEX_BASE + n * self.entries_per_message;
        Message {
            entries: (1..=self.entries_per_message).map(|k| self.entry(index + k)).collect(),
            ..self.head(follower, index)
        }
    }

    /// As [`Self::append`], over a message of an earlier batch.
    pub fn write(&self, message: &mut Message, follower: usize, n: u64) {
        let index = INDEX_BASE + n * self.entries_per_message;
        if message.entries.len() != self.entries_per_message as usize {
            *message = self.append(follower, n);
            return;
        }
        message.to = Some(member_id(follower + 1));
        message.index = Some(index);
        message.commit = Some(index);
        for (entry, index) in message.entries.iter_mut().zip(index + 1..) {
            entry.index = Some(index);
        }
    }

    /// A MsgApp without a number, to find out whether the streams are up.
    #[must_use]
    pub fn hello(&self, follower: usize) -> Message {
        self.head(follower, 0)
    }

    /// What a follower answers to `append`.
    #[must_use]
    pub fn answer(&self, append: &Message) -> Message {
        Message {
            r#type: Some(MessageType::MsgAppResp as i32),
            to: append.from,
            from: append.to,
            term: append.term,
            index: Some(append.index.unwrap_or(0) + append.entries.len() as u64),
            ..Message::default()
        }
    }

    /// What a follower answers to a hello, by the other stream.
    #[must_use]
    pub fn hello_back(&self, follower: usize) -> Message {
        self.answer(&self.hello(follower))
    }

    /// True for what [`Self::hello_back`] makes: a MsgAppResp to no entry.
    #[must_use]
    pub fn is_hello_back(&self, message: &Message) -> bool {
        message.r#type == Some(MessageType::MsgAppResp as i32) && message.index == Some(0)
    }

    /// The number of a MsgApp of this load; `None` for a hello and for anything else.
    #[must_use]
    pub fn number(&self, message: &Message) -> Option<u64> {
        if message.r#type != Some(MessageType::MsgApp as i32) {
            return None;
        }
        let past = message.index?.checked_sub(INDEX_BASE)?;
        Some(past / self.entries_per_message)
    }

    /// As [`Self::number`], for a message that most likely has number `expected`: the divisions of a
    /// saturated run are a tenth of what its receiver does.
    #[must_use]
    pub fn number_near(&self, message: &Message, expected: u64) -> Option<u64> {
        let index = INDEX_BASE + expected * self.entries_per_message;
        let as_expected = message.r#type == Some(MessageType::MsgApp as i32) && message.index == Some(index);
        if as_expected { Some(expected) } else { self.number(message) }
    }

    /// True for the MsgApp that [`Self::hello`] makes.
    #[must_use]
    pub fn is_hello(&self, message: &Message) -> bool {
        message.r#type == Some(MessageType::MsgApp as i32) && message.index.unwrap_or(0) == 0
    }

    fn head(&self, follower: usize, index: u64) -> Message {
        Message {
            r#type: Some(MessageType::MsgApp as i32),
            to: Some(member_id(follower + 1)),
            from: Some(member_id(0)),
            term: Some(TERM),
            log_term: Some(TERM),
            index: Some(index),
            commit: Some(index),
            ..Message::default()
        }
    }

    pub(crate) fn entry(&self, index: u64) -> Entry {
        Entry {
            r#type: Some(EntryType::EntryNormal as i32),
            term: Some(TERM),
            index: Some(index),
            data: Some(self.payload.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::push;

    #[test]
    fn messages_are_consecutive_and_numbered() {
        let messages = Messages::new(&push());
        let (first, second) = (messages.append(1, 0), messages.append(1, 1));
        assert_eq!(first.entries.last().and_then(|e| e.index), second.index);
        assert_eq!(first.log_term, first.term);
        assert_eq!(messages.number(&second), Some(1));
        assert_eq!(messages.number(&messages.hello(1)), None);
        assert!(messages.is_hello(&messages.hello(1)));
        assert!(messages.is_hello_back(&messages.hello_back(1)));
        assert!(!messages.is_hello_back(&messages.answer(&messages.append(1, 0))));
        assert_eq!(messages.answer(&first).index, second.index);
    }

    #[test]
    fn member_ids_are_those_of_the_rival() {
        assert_eq!(member_id(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(member_id(1), 0x6e78_9e6a_a1b9_65f4);
    }
}
