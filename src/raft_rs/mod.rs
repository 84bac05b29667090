//! Messages to and from those of [raft-rs](::raft) 0.7, with its prost codec.
//!
//! ```text
//!   arrives:  raftpb::Message  -- step(node, message) ------> RawNode::step
//!             raftpb::Message  -- to_raft_rs(message) ------> eraftpb::Message      the half of it
//!   leaves:   eraftpb::Message -- from_raft_rs(message) ----> raftpb::Message       Transport::send
//!   applied:  eraftpb::Entry   -- conf_change(entry) -------> RawNode::apply_conf_change
//!   proposed: raftpb::ConfChange - propose_conf_change(...) -> RawNode
//! ```
//!
//! The two speak of the same raft, descended from etcd's, with the same numbers for what they share.
//! Payloads of messages that leave are moved, those of messages that arrive are copied once, for
//! raft-rs keeps a `Vec<u8>` each and a slice would keep a whole block of the receiver.
//!
//! # Where they differ
//!
//! | what | etcd | raft-rs 0.7 | arriving | leaving |
//! |---|---|---|---|---|
//! | message field 13 | `vote`, since 3.6, never set on the wire | `request_snapshot` | refused unless 0 | refused unless 0 |
//! | message field 14 | `responses`, since 3.6, never set on the wire | `deprecated_priority` | refused unless empty | refused unless 0 |
//! | message field 15 | none | `commit_term` | 0 | left out |
//! | message field 16 | none | `priority` | 0 | refused unless 0 |
//! | entry field 5 | none | `sync_log`, without meaning | false | left out |
//! | entry field 6 | none | `context` | empty | refused unless empty |
//! | message types 19 to 23 | for threads of one member; MsgForgetLeader | none | refused | |
//! | `ConfChangeType` 2 | UpdateNode | AddLearnerNode | [`conf_change`], when it is applied | [`propose_conf_change`] |
//! | `ConfChangeType` 3 | AddLearnerNode | none, and a panic | the same | the same |
//! | term of MsgTransferLeader | of who passes it on | none | left out: raft-rs panics when it passes it on again | kept |
//! | bytes fields | absent, or there and empty | empty | empty | absent if empty |
//! | numbers | absent, or there and 0 | 0 | 0 | absent if 0 |
//!
//! The bytes of an entry are never rewritten: all members must have the same log, so what a conf change
//! says is translated by whoever reads it. raft-rs reads one when it is proposed to a leader, and panics
//! at number 3; [`step`] and [`propose_conf_change`] therefore append conf changes themselves, by the
//! same rules.
//!
//! # What only raft-rs knows
//!
//! Fields 13 to 16 could travel between two raftrings: etcd 3.4 keeps fields it does not know and looks
//! at none, later ones skip them. They do not, for these reasons:
//!
//! - etcd gave 13 and 14 a meaning of its own years after raft-rs had taken them. Whoever sends 15 and 16
//!   today waits for the same to happen. And 13 from an etcd would be read as a request for a snapshot.
//! - `commit_term` lets a candidate that is behind learn of commits by its votes. It is a shortcut:
//!   without it raft-rs ignores the commit beside it, and learns the same from the next leader.
//! - `priority` only works if all members know it: who has one refuses its vote to all that have none,
//!   unless they have more entries, and those of etcd never have one. Among members that all have one
//!   and cannot say it nobody is elected. So [`from_raft_rs`] refuses such a vote; leave
//!   `Config::priority` 0, and move the leadership instead.
//! - `request_snapshot` in etcd's hands is an ordinary rejection, and the member that asks takes no append
//!   before it got a snapshot: it would be stuck. So that is refused as well, and what a host can do in
//!   its place is to remove the member and add it as a new one.
//! - `commit` of acks and votes is etcd's field 8, which it ignores there. It travels.
//!
//! # Messages that would end raft-rs
//!
//! raft-rs trusts its peers: it panics where a message lacks what its type is for. [`to_raft_rs`] refuses
//! all that can be seen in the message alone (see [`Refused`]), [`step`] also what depends on the member's
//! own log. None of this helps against a peer that lies within the rules: raft is not Byzantine.

mod check;
mod conf_change;
mod message;
mod refused;
mod step;

pub use conf_change::{conf_change, propose_conf_change};
pub use message::{entry_from_raft_rs, entry_to_raft_rs, from_raft_rs, to_raft_rs};
pub use refused::Refused;
pub use step::{StepError, step};
