//! Why a message or an entry is not converted.

use std::error::Error;
use std::fmt;

/// What the other side does not know, or what would end it. The message is to be dropped and counted;
/// none of it heals by trying again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Refused {
    /// A type without a counterpart (etcd's 19 to 23, and what is newer): raft-rs panics at its number.
    Type(i32),
    /// A type that never travels, such as MsgHup: a peer would command this member.
    Local(i32),
    /// `from` is nobody, or this member itself: raft-rs would take the message for its own.
    From,
    /// No term, where the type has one: raft-rs would take the message for its own, a candidate return to
    /// term 0, and the answer to a vote panic.
    NoTerm,
    /// A term where the type has none (MsgProp, MsgReadIndex): a follower that passes it on panics.
    Term(u64),
    /// A number that raft cannot have counted to (2^63 and more): adding one to it would overflow some day.
    Number(u64),
    /// Field 13, `vote`: raft-rs would read a request for a snapshot.
    Vote,
    /// Field 14, `responses`.
    Responses,
    /// MsgProp has none, or MsgReadIndex or MsgReadIndexResp not exactly one; how many there are.
    EntryCount(usize),
    /// The type of an entry has no counterpart: raft-rs panics at its number.
    EntryType(i32),
    /// The index of an append's entry does not follow on the one before it.
    EntryIndex(u64),
    /// The term of an append's entry is 0, lower than the one before it, or above the leader's: raft-rs
    /// would take an entry of term 0 for one that it has, and commit what it does not have.
    EntryTerm(u64),
    /// An append behind an entry of term 0, of which there is none: raft-rs would find it behind its
    /// log's end and leave a gap.
    LogTerm,
    /// A MsgSnap without a snapshot, or one without an index or a term.
    Snapshot,
    /// The members of a snapshot are no configuration: raft-rs panics when it cannot restore it.
    ConfState(&'static str),
    /// A conf change that cannot be read.
    ConfChange,
    /// A conf change of a type that etcd does not have either.
    ConfChangeType(i32),
    /// A heartbeat says that an entry is committed which this member should have and does not: its log was
    /// lost. raft-rs panics, as etcd does. Stop, and let the member be removed and added anew.
    CommitBeyondLog {
        /// The index of the commit.
        commit: u64,
        /// The last index of this member's log.
        last: u64,
    },
    /// raft-rs's `request_snapshot`: for etcd a plain rejection, which would not bring the snapshot.
    RequestSnapshot,
    /// raft-rs's `priority`, old or new: etcd's members have none.
    Priority,
    /// raft-rs's `context` of an entry: the other members would have another log.
    EntryContext,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(number) => write!(f, "raft-rs has no message of type {number}"),
            Self::Local(number) => write!(f, "messages of type {number} stay within a member"),
            Self::From => f.write_str("the message is from nobody, or from this member itself"),
            Self::NoTerm => f.write_str("the message has no term"),
            Self::Term(term) => write!(f, "the message has term {term}, and its type has none"),
            Self::Number(number) => write!(f, "{number} is no term and no index that raft can have"),
            Self::Vote => f.write_str("field 13 (vote) is set, which raft-rs reads as request_snapshot"),
            Self::Responses => f.write_str("field 14 (responses) is set, which raft-rs reads as a priority"),
            Self::EntryCount(count) => write!(f, "the message has {count} entries"),
            Self::EntryType(number) => write!(f, "raft-rs has no entry of type {number}"),
            Self::EntryIndex(index) => write!(f, "the entry {index} does not follow on the one before it"),
            Self::EntryTerm(term) => write!(f, "an entry has the term {term}, which it cannot have"),
            Self::LogTerm => f.write_str("the append follows on an entry without a term"),
            Self::Snapshot => f.write_str("the snapshot has no index or no term"),
            Self::ConfState(why) => write!(f, "the members of the snapshot are no configuration: {why}"),
            Self::ConfChange => f.write_str("the conf change cannot be read"),
            Self::ConfChangeType(number) => write!(f, "there is no conf change of type {number}"),
            Self::CommitBeyondLog { commit, last } => {
                write!(f, "entry {commit} is committed and this log ends at {last}: it has lost entries")
            }
            Self::RequestSnapshot => f.write_str("request_snapshot cannot be said to etcd's members"),
            Self::Priority => f.write_str("a priority cannot be said to etcd's members: leave it 0"),
            Self::EntryContext => f.write_str("an entry's context has no place in etcd's log"),
        }
    }
}

impl Error for Refused {}
