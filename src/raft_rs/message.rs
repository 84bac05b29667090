//! Messages, entries and snapshots.

use ::raft::eraftpb;
use bytes::Bytes;

use super::Refused;
use super::check::{check, check_entry, known};
use crate::raftpb::{ConfState, Entry, Message, MessageType, Snapshot, SnapshotMetadata};

/// A message that arrived, for `RawNode::step`; [`step`](super::step) does both. Payloads are copied.
///
/// # Errors
/// What raft-rs does not know, or would panic at.
pub fn to_raft_rs(message: Message) -> Result<eraftpb::Message, Refused> {
    let kind = check(&message)?;
    let (to, from, log_term, index) = (message.to(), message.from(), message.log_term(), message.index());
    let (commit, reject, reject_hint) = (message.commit(), message.reject(), message.reject_hint());
    // A follower passes it on and panics if it has one. It is checked by nobody.
    let term = if kind == MessageType::MsgTransferLeader { 0 } else { message.term() };
    let snapshot =
        message.snapshot.filter(|_| kind == MessageType::MsgSnap).map(|snapshot| (*snapshot).into());
    Ok(eraftpb::Message {
        msg_type: kind as i32,
        to,
        from,
        term,
        log_term,
        index,
        entries: message.entries.into_iter().map(entry_to_raft_rs).collect::<Result<_, _>>()?,
        commit,
        snapshot,
        reject,
        reject_hint,
        context: copied(message.context),
        ..eraftpb::Message::default()
    })
}

/// A message that raft-rs wants sent, for `Transport::send`. Payloads are moved.
///
/// Numbers that are zero and bytes that are empty are left out, which is what etcd's decoders read zero
/// and nothing from.
///
/// # Errors
/// What cannot be said to etcd's members; raft-rs only makes such messages if the host has set a priority,
/// requests snapshots or gives its proposals a context.
pub fn from_raft_rs(message: eraftpb::Message) -> Result<Message, Refused> {
    known(message.msg_type)?;
    if message.request_snapshot != 0 {
        return Err(Refused::RequestSnapshot);
    }
    if message.priority != 0 || message.deprecated_priority != 0 {
        return Err(Refused::Priority);
    }
    Ok(Message {
        r#type: Some(message.msg_type),
        to: Some(message.to),
        from: Some(message.from),
        term: set(message.term),
        log_term: set(message.log_term),
        index: set(message.index),
        entries: message.entries.into_iter().map(entry_from_raft_rs).collect::<Result<_, _>>()?,
        commit: set(message.commit),
        snapshot: message.snapshot.map(|snapshot| Box::new(snapshot.into())),
        reject: message.reject.then_some(true),
        reject_hint: set(message.reject_hint),
        context: moved(message.context),
        vote: None,
        responses: Vec::new(),
    })
}

/// An entry for raft-rs. Its data are copied, and are not read.
///
/// # Errors
/// [`Refused::EntryType`] if raft-rs has no such type.
pub fn entry_to_raft_rs(entry: Entry) -> Result<eraftpb::Entry, Refused> {
    let entry_type = check_entry(&entry)?;
    let (term, index) = (entry.term(), entry.index());
    Ok(eraftpb::Entry { entry_type, term, index, data: copied(entry.data), ..eraftpb::Entry::default() })
}

/// An entry of raft-rs's. Its data are moved.
///
/// # Errors
/// [`Refused::EntryContext`] if it has a context, which other members would not get;
/// [`Refused::EntryType`] if it has no type.
pub fn entry_from_raft_rs(entry: eraftpb::Entry) -> Result<Entry, Refused> {
    if !entry.context.is_empty() {
        return Err(Refused::EntryContext);
    }
    let entry = Entry {
        r#type: (entry.entry_type != 0).then_some(entry.entry_type),
        term: set(entry.term),
        index: set(entry.index),
        data: moved(entry.data),
    };
    check_entry(&entry).map(|_| entry)
}

impl From<Snapshot> for eraftpb::Snapshot {
    fn from(snapshot: Snapshot) -> Self {
        let metadata = snapshot.metadata.map(|metadata| eraftpb::SnapshotMetadata {
            index: metadata.index(),
            term: metadata.term(),
            conf_state: metadata.conf_state.map(Into::into),
        });
        Self { data: copied(snapshot.data), metadata }
    }
}

impl From<eraftpb::Snapshot> for Snapshot {
    fn from(snapshot: eraftpb::Snapshot) -> Self {
        let metadata = snapshot.metadata.map(|metadata| SnapshotMetadata {
            conf_state: metadata.conf_state.map(Into::into),
            index: Some(metadata.index),
            term: Some(metadata.term),
        });
        Self { data: moved(snapshot.data), metadata }
    }
}

impl From<ConfState> for eraftpb::ConfState {
    fn from(state: ConfState) -> Self {
        let auto_leave = state.auto_leave();
        let ConfState { voters, learners, voters_outgoing, learners_next, .. } = state;
        Self { voters, learners, voters_outgoing, learners_next, auto_leave }
    }
}

impl From<eraftpb::ConfState> for ConfState {
    fn from(state: eraftpb::ConfState) -> Self {
        let eraftpb::ConfState { voters, learners, voters_outgoing, learners_next, auto_leave } = state;
        Self { voters, learners, voters_outgoing, learners_next, auto_leave: Some(auto_leave) }
    }
}

const fn set(number: u64) -> Option<u64> {
    if number == 0 { None } else { Some(number) }
}

/// Not `Vec::from`, which would keep the whole of a buffer that nobody else holds.
fn copied(bytes: Option<Bytes>) -> Vec<u8> {
    bytes.map_or_else(Vec::new, |bytes| bytes.to_vec())
}

fn moved(bytes: Vec<u8>) -> Option<Bytes> {
    (!bytes.is_empty()).then(|| bytes.into())
}
