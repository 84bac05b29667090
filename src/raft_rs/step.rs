//! Stepping raft-rs with what arrives.

use std::error::Error;
use std::fmt;

use ::raft::eraftpb::{self, MessageType};
use ::raft::{RawNode, StateRole, Storage};

use super::{Refused, conf_change, to_raft_rs};
use crate::raftpb::Message;

/// Why a message had no effect.
#[derive(Debug)]
#[non_exhaustive]
pub enum StepError {
    /// It was not converted.
    Refused(Refused),
    /// raft-rs did not take it: it is from a stranger, or a proposal that nobody can take now.
    Raft(::raft::Error),
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Raft(error) => error.fmt(f),
        }
    }
}

impl Error for StepError {}

impl From<Refused> for StepError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Converts a message that arrived and steps `node` with it: `RawNode::step`, but that messages at which
/// it would panic are refused, and that conf changes are proposed by etcd's numbers.
///
/// # Errors
/// Why the message had no effect. [`Refused::CommitBeyondLog`] means that this member lost entries which
/// it had acknowledged: it must stop. Everything else may be counted and forgotten.
pub fn step<T: Storage>(node: &mut RawNode<T>, message: Message) -> Result<(), StepError> {
    let message = to_raft_rs(message)?;
    if message.from == node.raft.id {
        return Err(Refused::From.into());
    }
    match message.get_msg_type() {
        MessageType::MsgHeartbeat => check_commit(node, &message)?,
        MessageType::MsgPropose => {
            for entry in &message.entries {
                conf_change(entry)?;
            }
            return propose(node, message).map_err(StepError::Raft);
        }
        _ => {}
    }
    node.step(message).map_err(StepError::Raft)
}

/// A leader only tells a follower to commit what that one has acknowledged.
fn check_commit<T: Storage>(node: &RawNode<T>, heartbeat: &eraftpb::Message) -> Result<(), Refused> {
    let (commit, log) = (heartbeat.commit, &node.raft.raft_log);
    if heartbeat.term < node.raft.term || commit <= log.committed {
        return Ok(());
    }
    let last = log.last_index();
    if commit > last { Err(Refused::CommitBeyondLog { commit, last }) } else { Ok(()) }
}

/// A MsgProp, of this member's or passed on by another one. A leader of raft-rs reads conf changes by its
/// own numbers and panics at others, so they are appended here, by the rules that it has: one at a time,
/// and in a joint configuration only the one that leaves it.
pub(super) fn propose<T: Storage>(
    node: &mut RawNode<T>,
    mut message: eraftpb::Message,
) -> ::raft::Result<()> {
    let is_change = |entry: &eraftpb::Entry| entry.entry_type != eraftpb::EntryType::EntryNormal as i32;
    let Some(at) = message.entries.iter().position(is_change) else { return node.raft.step(message) };
    let raft = &mut node.raft;
    if raft.state != StateRole::Leader {
        return raft.step(message);
    }
    let one = message.entries[at + 1..].iter().all(|entry| !is_change(entry));
    let is_member = raft.prs().get(raft.id).is_some();
    if !one || !is_member || raft.lead_transferee.is_some() || raft.has_pending_conf() {
        return Err(::raft::Error::ProposalDropped);
    }
    let is_joint = !raft.prs().conf().to_conf_state().voters_outgoing.is_empty();
    let change = conf_change(&message.entries[at]).map_err(|_| ::raft::Error::ProposalDropped)?;
    if is_joint != change.is_some_and(|change| change.leave_joint()) {
        return Err(::raft::Error::ProposalDropped);
    }
    let index = raft.raft_log.last_index() + 1 + at as u64;
    if !raft.append_entry(&mut message.entries) {
        return Err(::raft::Error::ProposalDropped);
    }
    raft.pending_conf_index = index;
    raft.bcast_append();
    Ok(())
}
