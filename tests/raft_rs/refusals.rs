//! Each reason for which a message or an entry is refused, and that the message passes without it.

use bytes::Bytes;
use raft::eraftpb;
use raftring::raft_rs::{Refused, entry_from_raft_rs, from_raft_rs, to_raft_rs};
use raftring::raftpb::{ConfState, Entry, EntryType, Message, MessageType, Snapshot, SnapshotMetadata};

fn of(kind: MessageType) -> Message {
    Message { r#type: Some(kind as i32), to: Some(1), from: Some(2), term: Some(3), ..Message::default() }
}

fn entry(index: u64, term: u64) -> Entry {
    Entry { index: Some(index), term: Some(term), ..Entry::default() }
}

fn append() -> Message {
    let entries = vec![entry(11, 2), entry(12, 3)];
    Message { log_term: Some(2), index: Some(10), commit: Some(9), entries, ..of(MessageType::MsgApp) }
}

/// A message that lacks a term as its type asks for it.
fn forwarded(kind: MessageType, entries: usize) -> Message {
    let entry = Entry { data: Some(Bytes::from_static(b"x")), ..Entry::default() };
    Message { term: None, entries: vec![entry; entries], ..of(kind) }
}

fn snapshot(state: ConfState) -> Message {
    let metadata = SnapshotMetadata { conf_state: Some(state), index: Some(5), term: Some(2) };
    let snapshot = Snapshot { data: None, metadata: Some(metadata) };
    Message { snapshot: Some(Box::new(snapshot)), ..of(MessageType::MsgSnap) }
}

fn voters(voters: &[u64]) -> ConfState {
    ConfState { voters: voters.to_vec(), ..ConfState::default() }
}

/// `whole` passes, and is refused for `reason` once it is broken.
fn refused(whole: Message, reason: Refused, breaks: impl FnOnce(&mut Message)) {
    assert!(to_raft_rs(whole.clone()).is_ok(), "{whole:?}");
    let mut broken = whole;
    breaks(&mut broken);
    assert_eq!(to_raft_rs(broken.clone()), Err(reason), "{broken:?}");
    assert!(!reason.to_string().is_empty());
}

#[test]
fn types_that_raft_rs_does_not_have_are_refused() {
    for number in (19..30).chain([-1, i32::MAX]) {
        refused(of(MessageType::MsgVote), Refused::Type(number), |m| m.r#type = Some(number));
    }
}

#[test]
fn types_that_stay_within_a_member_are_refused() {
    for number in [0, 1, 10, 11, 12] {
        refused(of(MessageType::MsgVote), Refused::Local(number), |m| m.r#type = Some(number));
    }
    refused(of(MessageType::MsgVote), Refused::Local(0), |m| m.r#type = None);
}

#[test]
fn messages_from_nobody_are_refused() {
    refused(of(MessageType::MsgHeartbeat), Refused::From, |m| m.from = None);
    refused(forwarded(MessageType::MsgReadIndex, 1), Refused::From, |m| m.from = Some(0));
}

#[test]
fn a_term_is_where_it_belongs() {
    for number in [3, 4, 5, 6, 7, 8, 9, 14, 16, 17, 18] {
        let mut message = if number == 7 { snapshot(voters(&[1])) } else { of(MessageType::MsgVote) };
        message.r#type = Some(number);
        if number == 16 {
            message.entries = vec![Entry::default()];
        }
        refused(message, Refused::NoTerm, |m| m.term = None);
    }
    for kind in [MessageType::MsgProp, MessageType::MsgReadIndex] {
        refused(forwarded(kind, 1), Refused::Term(3), |m| m.term = Some(3));
    }
    let transfer = to_raft_rs(of(MessageType::MsgTransferLeader)).expect("it passes");
    assert_eq!(transfer.term, 0, "a follower passes it on and panics at a term");
}

#[test]
fn numbers_that_raft_cannot_have_counted_to_are_refused() {
    let large = 1 << 63;
    let reason = Refused::Number(large);
    refused(append(), reason, |m| m.term = Some(large));
    refused(append(), reason, |m| m.commit = Some(large));
    refused(append(), reason, |m| m.index = Some(large));
    refused(append(), reason, |m| m.log_term = Some(large));
    refused(of(MessageType::MsgAppResp), reason, |m| m.reject_hint = Some(large));
    refused(append(), reason, |m| {
        m.index = Some(large - 2);
        m.entries = vec![entry(large - 1, 2), entry(large, 2)];
    });
    let metadata = |m: &mut Message, index, term| {
        let metadata = m.snapshot.as_mut().and_then(|s| s.metadata.as_mut()).expect("it has one");
        (metadata.index, metadata.term) = (Some(index), Some(term));
    };
    refused(snapshot(voters(&[1])), reason, |m| metadata(m, large, 1));
    refused(snapshot(voters(&[1])), reason, |m| metadata(m, 1, large));
}

#[test]
fn fields_that_raft_rs_reads_as_something_else_are_refused() {
    refused(of(MessageType::MsgAppResp), Refused::Vote, |m| m.vote = Some(1));
    refused(of(MessageType::MsgVote), Refused::Responses, |m| m.responses = vec![Message::default()]);
}

#[test]
fn entries_that_raft_rs_indexes_into_are_there() {
    refused(forwarded(MessageType::MsgProp, 2), Refused::EntryCount(0), |m| m.entries.clear());
    refused(forwarded(MessageType::MsgReadIndex, 1), Refused::EntryCount(0), |m| m.entries.clear());
    let two = |m: &mut Message| m.entries.push(Entry::default());
    refused(forwarded(MessageType::MsgReadIndex, 1), Refused::EntryCount(2), two);
    let answer = Message { term: Some(3), ..forwarded(MessageType::MsgReadIndexResp, 1) };
    refused(answer, Refused::EntryCount(2), two);
}

#[test]
fn entries_of_types_that_raft_rs_panics_at_are_refused() {
    for number in [3, -1] {
        refused(append(), Refused::EntryType(number), |m| m.entries[1].r#type = Some(number));
        let proposal = forwarded(MessageType::MsgProp, 2);
        refused(proposal, Refused::EntryType(number), |m| m.entries[0].r#type = Some(number));
    }
}

#[test]
fn entries_of_an_append_follow_on_each_other() {
    for index in [0, 10, 11, 13, u64::MAX] {
        refused(append(), Refused::EntryIndex(index), |m| m.entries[1].index = Some(index));
    }
    refused(append(), Refused::EntryIndex(11), |m| m.index = Some(11));
    for term in [0, 1, 4] {
        refused(append(), Refused::EntryTerm(term), |m| m.entries[1].term = Some(term));
    }
    refused(append(), Refused::EntryTerm(1), |m| m.entries[0].term = Some(1));
    let first = Message { log_term: None, index: None, entries: vec![entry(1, 1)], ..append() };
    refused(first, Refused::EntryTerm(0), |m| m.entries[0].term = None);
}

#[test]
fn an_append_behind_an_entry_without_a_term_is_refused() {
    refused(append(), Refused::LogTerm, |m| m.log_term = None);
}

#[test]
fn a_snapshot_has_an_index_and_a_term() {
    let broken: [fn(&mut Snapshot); 3] = [
        |s| s.metadata = None,
        |s| s.metadata.as_mut().expect("it has one").index = None,
        |s| s.metadata.as_mut().expect("it has one").term = None,
    ];
    refused(snapshot(voters(&[1])), Refused::Snapshot, |m| m.snapshot = None);
    for breaks in broken {
        refused(snapshot(voters(&[1])), Refused::Snapshot, |m| {
            breaks(m.snapshot.as_mut().expect("it has one"));
        });
    }
}

#[test]
fn the_members_of_a_snapshot_are_a_configuration() {
    let joint = || ConfState {
        learners: vec![5],
        voters_outgoing: vec![1, 2, 4, 6],
        learners_next: vec![4],
        auto_leave: Some(true),
        ..voters(&[1, 2, 3])
    };
    assert!(to_raft_rs(snapshot(joint())).is_ok());
    let broken = [
        voters(&[]),
        voters(&[1, 0]),
        ConfState { learners: vec![1], ..voters(&[1, 2]) },
        ConfState { learners_next: vec![3], ..voters(&[1, 2]) },
        ConfState { auto_leave: Some(true), ..voters(&[1]) },
        ConfState { learners: vec![6], ..joint() },
        ConfState { learners_next: vec![7], ..joint() },
        ConfState { learners_next: vec![1], ..joint() },
        voters(&(1..2000).collect::<Vec<_>>()),
    ];
    for state in broken {
        let refused = to_raft_rs(snapshot(state.clone()));
        assert!(matches!(refused, Err(Refused::ConfState(_))), "{state:?}: {refused:?}");
    }
}

#[test]
fn what_etcd_cannot_be_told_is_refused() {
    let leaves = || eraftpb::Message { msg_type: 5, to: 2, from: 1, term: 3, ..eraftpb::Message::default() };
    let entry = || eraftpb::Entry { context: b"x".to_vec(), ..eraftpb::Entry::default() };
    let broken: [(eraftpb::Message, Refused); 6] = [
        (eraftpb::Message { request_snapshot: 7, ..leaves() }, Refused::RequestSnapshot),
        (eraftpb::Message { priority: -1, ..leaves() }, Refused::Priority),
        (eraftpb::Message { deprecated_priority: 1, ..leaves() }, Refused::Priority),
        (eraftpb::Message { entries: vec![entry()], ..leaves() }, Refused::EntryContext),
        (eraftpb::Message { msg_type: 0, ..leaves() }, Refused::Local(0)),
        (eraftpb::Message { msg_type: 19, ..leaves() }, Refused::Type(19)),
    ];
    assert!(from_raft_rs(leaves()).is_ok());
    for (message, reason) in broken {
        assert_eq!(from_raft_rs(message), Err(reason));
    }
    assert_eq!(entry_from_raft_rs(entry()), Err(Refused::EntryContext));
    let strange = eraftpb::Entry { entry_type: 3, ..eraftpb::Entry::default() };
    assert_eq!(entry_from_raft_rs(strange), Err(Refused::EntryType(3)));
    assert_eq!(EntryType::EntryConfChangeV2 as i32, 2, "the last one that both have");
}
