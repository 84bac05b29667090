//! What raft-rs takes for granted, looked at before it does.

use std::collections::HashSet;

use super::Refused;
use crate::raftpb::{ConfState, Entry, EntryType, Message, MessageType, Snapshot};

/// A raft that counts a thousand million times a second is not there in 290 years.
const NUMBER_MAX: u64 = u64::MAX >> 1;

/// Members of one configuration; raft-rs compares them in the square of their number.
const MEMBERS_MAX: usize = 1024;

/// All that can be seen in a message that arrived, and its type.
pub(super) fn check(message: &Message) -> Result<MessageType, Refused> {
    use MessageType as T;
    let kind = known(message.type_number())?;
    if message.from() == 0 {
        return Err(Refused::From);
    }
    if message.vote() != 0 {
        return Err(Refused::Vote);
    }
    if !message.responses.is_empty() {
        return Err(Refused::Responses);
    }
    for number in
        [message.term(), message.log_term(), message.index(), message.commit(), message.reject_hint()]
    {
        check_number(number)?;
    }
    match kind {
        T::MsgProp | T::MsgReadIndex if message.term() != 0 => return Err(Refused::Term(message.term())),
        T::MsgProp | T::MsgReadIndex | T::MsgTransferLeader => {}
        _ if message.term() == 0 => return Err(Refused::NoTerm),
        _ => {}
    }
    match kind {
        T::MsgApp => check_append(message)?,
        T::MsgSnap => check_snapshot(message.snapshot.as_deref())?,
        T::MsgProp if message.entries.is_empty() => return Err(Refused::EntryCount(0)),
        T::MsgReadIndex | T::MsgReadIndexResp if message.entries.len() != 1 => {
            return Err(Refused::EntryCount(message.entries.len()));
        }
        _ => {}
    }
    Ok(kind)
}

/// A type that both have, and that one member says to another.
pub(super) fn known(number: i32) -> Result<MessageType, Refused> {
    use MessageType as T;
    match T::try_from(number) {
        Ok(T::MsgHup | T::MsgBeat | T::MsgUnreachable | T::MsgSnapStatus | T::MsgCheckQuorum) => {
            Err(Refused::Local(number))
        }
        Ok(kind) if number <= T::MsgPreVoteResp as i32 => Ok(kind),
        _ => Err(Refused::Type(number)),
    }
}

const fn check_number(number: u64) -> Result<(), Refused> {
    if number > NUMBER_MAX { Err(Refused::Number(number)) } else { Ok(()) }
}

/// The entries follow on the message's own index and term, one by one. With this they only conflict
/// with entries that are not committed, for raft-rs answers what begins below those by itself.
fn check_append(message: &Message) -> Result<(), Refused> {
    let (mut index, mut term) = (message.index(), message.log_term());
    if term == 0 && index > 0 {
        return Err(Refused::LogTerm);
    }
    for entry in &message.entries {
        index += 1;
        if entry.index() != index {
            return Err(Refused::EntryIndex(entry.index()));
        }
        if entry.term() < term || entry.term() == 0 || entry.term() > message.term() {
            return Err(Refused::EntryTerm(entry.term()));
        }
        term = entry.term();
    }
    check_number(index)
}

/// The number of an entry's type.
pub(super) fn check_entry(entry: &Entry) -> Result<i32, Refused> {
    let number = entry.r#type.unwrap_or_default();
    EntryType::try_from(number).map_or(Err(Refused::EntryType(number)), |kind| Ok(kind as i32))
}

fn check_snapshot(snapshot: Option<&Snapshot>) -> Result<(), Refused> {
    let metadata = snapshot.and_then(|snapshot| snapshot.metadata.as_ref()).ok_or(Refused::Snapshot)?;
    if metadata.index() == 0 || metadata.term() == 0 {
        return Err(Refused::Snapshot);
    }
    check_number(metadata.index())?;
    check_number(metadata.term())?;
    let nobody = ConfState::default();
    check_conf_state(metadata.conf_state.as_ref().unwrap_or(&nobody))
}

/// The invariants that raft-rs checks only after it has given up what it had.
fn check_conf_state(state: &ConfState) -> Result<(), Refused> {
    let refused = |why| Err(Refused::ConfState(why));
    let groups = [&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next];
    if groups.iter().any(|group| group.len() > MEMBERS_MAX) {
        return refused("too many members");
    }
    if groups.iter().any(|group| group.contains(&0)) {
        return refused("a member has no id");
    }
    let [voters, learners, outgoing, next] =
        groups.map(|group| group.iter().copied().collect::<HashSet<u64>>());
    if voters.is_empty() {
        return refused("nobody votes");
    }
    if !learners.is_disjoint(&voters) || !learners.is_disjoint(&outgoing) {
        return refused("a learner votes");
    }
    if !next.is_subset(&outgoing) || !next.is_disjoint(&voters) {
        return refused("who is to learn next has not voted before, or still votes");
    }
    if outgoing.is_empty() && state.auto_leave() {
        return refused("it leaves a joint configuration and is in none");
    }
    Ok(())
}
