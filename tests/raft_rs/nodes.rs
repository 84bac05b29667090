//! A raft-rs that is stepped with what passes does not end, whatever state it is in.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::collection::vec;
use proptest::prelude::*;
use raft::eraftpb::{ConfState, Entry, HardState};
use raft::storage::MemStorage;
use raft::{Config, RawNode};
use raftring::raft_rs::{Refused, StepError, from_raft_rs, step};
use raftring::raftpb::{Message, MessageType};

use crate::made_up::message;

/// Member 1 of `voters`, with a log of `last` entries of term 1, of which two thirds are committed.
pub(crate) fn node(voters: &[u64], last: u64) -> RawNode<MemStorage> {
    let conf_state = ConfState { voters: voters.to_vec(), ..ConfState::default() };
    let storage = MemStorage::new_with_conf_state(conf_state);
    let entries: Vec<_> = (1..=last).map(|index| Entry { index, term: 1, ..Entry::default() }).collect();
    storage.wl().append(&entries).expect("they follow");
    let (term, commit) = (u64::from(last > 0), last * 2 / 3);
    storage.wl().set_hardstate(HardState { term, vote: 0, commit });
    let config = Config { check_quorum: true, pre_vote: true, ..Config::new(1) };
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    RawNode::new(&config, storage, &logger).expect("a valid configuration")
}

/// One round of a host without clients: persists, applies, sends to nobody.
pub(crate) fn round(node: &mut RawNode<MemStorage>) -> Vec<raft::eraftpb::Message> {
    let mut sent = Vec::new();
    while node.has_ready() {
        let mut ready = node.ready();
        sent.extend(ready.take_messages());
        let store = node.store().clone();
        if !ready.snapshot().is_empty() {
            store.wl().apply_snapshot(ready.snapshot().clone()).expect("it is newer");
        }
        store.wl().append(ready.entries()).expect("they follow");
        if let Some(state) = ready.hs() {
            store.wl().set_hardstate(state.clone());
        }
        sent.extend(ready.take_persisted_messages());
        let mut light = node.advance(ready);
        sent.extend(light.take_messages());
        node.advance_apply();
    }
    sent
}

/// A follower, a fresh one, a candidate, a leader of three, one alone.
fn node_in(state: usize) -> RawNode<MemStorage> {
    let mut node = match state {
        0 => node(&[1, 2, 3], 6),
        1 => node(&[1, 2, 3], 0),
        2 | 3 => node(&[1, 2, 3], 6),
        _ => node(&[1], 6),
    };
    if state >= 2 {
        node.raft.become_pre_candidate();
        node.raft.campaign(raft::CAMPAIGN_ELECTION);
        round(&mut node);
    }
    if state == 3 {
        let kind = Some(MessageType::MsgVoteResp as i32);
        let term = Some(node.raft.term);
        let vote = Message { r#type: kind, to: Some(1), from: Some(2), term, ..Message::default() };
        step(&mut node, vote).expect("a vote");
        round(&mut node);
        assert_eq!(node.raft.state, raft::StateRole::Leader);
    }
    node
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_message_that_passes_ends_it(state in 0..5usize, messages in vec(message(), 1..12)) {
        let mut node = node_in(state);
        for message in messages {
            let stepped = catch_unwind(AssertUnwindSafe(|| {
                let _ = step(&mut node, message.clone());
                round(&mut node)
            }));
            prop_assert!(stepped.is_ok(), "{message:?} ends it");
            for message in stepped.unwrap_or_default() {
                prop_assert!(from_raft_rs(message).is_ok(), "etcd understands its answers");
            }
        }
    }
}

#[test]
fn a_heartbeat_that_commits_what_was_lost_is_told() {
    let mut node = node(&[1, 2, 3], 6);
    let kind = Some(MessageType::MsgHeartbeat as i32);
    let heartbeat = |commit| Message {
        r#type: kind,
        to: Some(1),
        from: Some(2),
        term: Some(2),
        commit: Some(commit),
        ..Message::default()
    };
    step(&mut node, heartbeat(6)).expect("it has the entry");
    assert_eq!(node.raft.raft_log.committed, 6);
    let refused = step(&mut node, heartbeat(7));
    let expected = Refused::CommitBeyondLog { commit: 7, last: 6 };
    assert!(matches!(refused, Err(StepError::Refused(reason)) if reason == expected), "{refused:?}");
}

#[test]
fn a_message_from_itself_is_refused() {
    let mut node = node(&[1, 2, 3], 6);
    let kind = Some(MessageType::MsgHeartbeat as i32);
    let own = Message { r#type: kind, to: Some(1), from: Some(1), term: Some(2), ..Message::default() };
    assert!(matches!(step(&mut node, own), Err(StepError::Refused(Refused::From))));
}
