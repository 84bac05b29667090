//! Changes of the membership: etcd's numbers in the log, raft-rs's where it applies them.

use ::raft::eraftpb::{self, ConfChangeType as Type};
use ::raft::{RawNode, Storage};
use prost::Message as _;

use super::Refused;
use super::step::propose;
use crate::raftpb::{ConfChange, ConfChangeType, ConfChangeV2, EntryType, MessageType};

/// What a committed entry changes in raft's configuration, in raft-rs's numbers, for
/// `RawNode::apply_conf_change`; `None` if it changes nothing there: other entries, and changes of a
/// member's URLs (UpdateNode).
///
/// The host may decide that the change is not valid and apply none, if it decides the same on all
/// members; etcd's members do.
///
/// # Errors
/// If the entry cannot be read. An etcd member would have ended at it.
pub fn conf_change(entry: &eraftpb::Entry) -> Result<Option<eraftpb::ConfChangeV2>, Refused> {
    let data = entry.data.as_slice();
    let change = match EntryType::try_from(entry.entry_type) {
        Ok(EntryType::EntryNormal) => return Ok(None),
        Ok(EntryType::EntryConfChange) => {
            let change = ConfChange::decode(data).map_err(|_| Refused::ConfChange)?;
            let single = single(change.r#type.unwrap_or_default(), change.node_id())?;
            let Some(single) = single else { return Ok(None) };
            let context = change.context.map_or_else(Vec::new, Into::into);
            eraftpb::ConfChangeV2 { changes: vec![single], context, ..eraftpb::ConfChangeV2::default() }
        }
        Ok(EntryType::EntryConfChangeV2) => {
            let change = ConfChangeV2::decode(data).map_err(|_| Refused::ConfChange)?;
            let Some(change) = several(change)? else { return Ok(None) };
            change
        }
        Err(_) => return Err(Refused::EntryType(entry.entry_type)),
    };
    Ok(Some(change))
}

/// Proposes a change by etcd's numbers, as the one entry of a MsgProp. `RawNode::propose_conf_change`
/// writes raft-rs's numbers, by which etcd's members would take a new learner for a change of URLs.
///
/// # Errors
/// As `RawNode::propose`; also where raft-rs would replace the change by an empty entry, since another
/// one is not applied yet.
pub fn propose_conf_change<T: Storage>(node: &mut RawNode<T>, change: ConfChange) -> ::raft::Result<()> {
    let change = ConfChange {
        // 3.4 to 3.6 write them whatever they are.
        id: Some(change.id()),
        r#type: Some(change.r#type.unwrap_or_default()),
        node_id: Some(change.node_id()),
        context: change.context,
    };
    let entry = eraftpb::Entry {
        entry_type: EntryType::EntryConfChange as i32,
        data: change.encode_to_vec(),
        ..eraftpb::Entry::default()
    };
    let message = eraftpb::Message {
        msg_type: MessageType::MsgProp as i32,
        from: node.raft.id,
        entries: vec![entry],
        ..eraftpb::Message::default()
    };
    propose(node, message)
}

fn single(number: i32, node_id: u64) -> Result<Option<eraftpb::ConfChangeSingle>, Refused> {
    let change_type = match ConfChangeType::try_from(number) {
        Ok(ConfChangeType::ConfChangeAddNode) => Type::AddNode,
        Ok(ConfChangeType::ConfChangeRemoveNode) => Type::RemoveNode,
        Ok(ConfChangeType::ConfChangeAddLearnerNode) => Type::AddLearnerNode,
        Ok(ConfChangeType::ConfChangeUpdateNode) => return Ok(None),
        Err(_) => return Err(Refused::ConfChangeType(number)),
    };
    Ok(Some(eraftpb::ConfChangeSingle { change_type: change_type as i32, node_id }))
}

/// Without any change it leaves a joint configuration, so one of which nothing is left is none.
fn several(change: ConfChangeV2) -> Result<Option<eraftpb::ConfChangeV2>, Refused> {
    // The transitions have the same numbers.
    let transition = change.transition.unwrap_or_default();
    if eraftpb::ConfChangeTransition::from_i32(transition).is_none() {
        return Err(Refused::ConfChangeType(transition));
    }
    let singles = change.changes.iter().map(|one| single(one.r#type.unwrap_or_default(), one.node_id()));
    let changes: Vec<_> = singles.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    let nothing_left = changes.is_empty() && !change.changes.is_empty();
    let context = change.context.map_or_else(Vec::new, Into::into);
    Ok((!nothing_left).then_some(eraftpb::ConfChangeV2 { transition, changes, context }))
}
