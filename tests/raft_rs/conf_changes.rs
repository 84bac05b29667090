//! Changes of the membership, by etcd's numbers in the log and raft-rs's where they are applied.

use prost::Message as _;
use raft::RawNode;
use raft::eraftpb::{self, ConfChangeType as Theirs};
use raft::storage::MemStorage;
use raftring::raft_rs::{Refused, conf_change, propose_conf_change, step};
use raftring::raftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType as Ours, ConfChangeV2, Entry,
    EntryType, Message, MessageType,
};

use crate::nodes::{node, round};

fn change(number: i32, node_id: u64) -> ConfChange {
    let context = Some("{}".into());
    ConfChange { id: Some(9), r#type: Some(number), node_id: Some(node_id), context }
}

fn entry(kind: EntryType, data: Vec<u8>) -> eraftpb::Entry {
    eraftpb::Entry { entry_type: kind as i32, data, ..eraftpb::Entry::default() }
}

fn applied(change: &ConfChange) -> Result<Option<eraftpb::ConfChangeV2>, Refused> {
    conf_change(&entry(EntryType::EntryConfChange, change.encode_to_vec()))
}

#[test]
fn each_number_of_etcd_is_what_it_means_to_raft_rs() {
    let pairs = [
        (Ours::ConfChangeAddNode, Theirs::AddNode),
        (Ours::ConfChangeRemoveNode, Theirs::RemoveNode),
        (Ours::ConfChangeAddLearnerNode, Theirs::AddLearnerNode),
    ];
    for (ours, theirs) in pairs {
        let translated = applied(&change(ours as i32, 7)).expect("it can be read").expect("a change");
        assert_eq!(translated.changes.len(), 1);
        assert_eq!((translated.changes[0].get_change_type(), translated.changes[0].node_id), (theirs, 7));
        assert_eq!(translated.context, b"{}");
    }
    assert_eq!(applied(&change(Ours::ConfChangeUpdateNode as i32, 7)), Ok(None));
    assert_eq!(applied(&change(4, 7)), Err(Refused::ConfChangeType(4)));
}

#[test]
fn what_is_no_change_is_none_and_what_cannot_be_read_is_refused() {
    assert_eq!(conf_change(&entry(EntryType::EntryNormal, b"x".to_vec())), Ok(None));
    assert_eq!(conf_change(&entry(EntryType::EntryConfChange, b"\xff".to_vec())), Err(Refused::ConfChange));
    assert_eq!(conf_change(&entry(EntryType::EntryConfChangeV2, b"\xff".to_vec())), Err(Refused::ConfChange));
    let strange = eraftpb::Entry { entry_type: 3, ..eraftpb::Entry::default() };
    assert_eq!(conf_change(&strange), Err(Refused::EntryType(3)));
}

#[test]
fn changes_of_several_members_are_translated_one_by_one() {
    let single = |kind: Ours, id| ConfChangeSingle { r#type: Some(kind as i32), node_id: Some(id) };
    let several = |changes| ConfChangeV2 {
        transition: Some(ConfChangeTransition::JointExplicit as i32),
        changes,
        context: None,
    };
    let applied =
        |change: &ConfChangeV2| conf_change(&entry(EntryType::EntryConfChangeV2, change.encode_to_vec()));
    let mixed = [Ours::ConfChangeUpdateNode, Ours::ConfChangeAddLearnerNode, Ours::ConfChangeRemoveNode];
    let translated = applied(&several(mixed.map(|kind| single(kind, 4)).to_vec())).expect("it can be read");
    let translated = translated.expect("a change");
    assert_eq!(translated.enter_joint(), Some(false));
    let kinds: Vec<_> = translated.changes.iter().map(|one| one.get_change_type()).collect();
    assert_eq!(kinds, [Theirs::AddLearnerNode, Theirs::RemoveNode]);
    // Nothing is left of it, and that must not be read as leaving a joint configuration.
    assert_eq!(applied(&several(vec![single(Ours::ConfChangeUpdateNode, 4)])), Ok(None));
    let leaves = applied(&ConfChangeV2::default()).expect("it can be read").expect("a change");
    assert!(leaves.leave_joint());
    let strange = ConfChangeV2 { transition: Some(3), ..ConfChangeV2::default() };
    assert_eq!(applied(&strange), Err(Refused::ConfChangeType(3)));
}

/// A leader on its own, with all of its log applied.
fn leader() -> RawNode<MemStorage> {
    let mut node = node(&[1], 3);
    node.campaign().expect("it is alone");
    round(&mut node);
    assert_eq!(node.raft.state, raft::StateRole::Leader);
    node
}

fn last_entry(node: &RawNode<MemStorage>) -> eraftpb::Entry {
    node.raft.raft_log.all_entries().pop().expect("it has entries")
}

/// raft-rs itself panics at a proposal with number 3, and writes number 2 for a learner.
#[test]
fn a_leader_proposes_every_change_in_etcds_bytes() {
    for number in 0..4 {
        let mut node = leader();
        propose_conf_change(&mut node, change(number, 2)).expect("nothing is pending");
        let entry = last_entry(&node);
        assert_eq!(entry.entry_type, EntryType::EntryConfChange as i32);
        assert_eq!(entry.data, change(number, 2).encode_to_vec());
        assert!(node.raft.has_pending_conf());
        assert_eq!(propose_conf_change(&mut node, change(0, 3)), Err(raft::Error::ProposalDropped));
        round(&mut node);
        let change = conf_change(&entry).expect("it can be read");
        let state = change.map(|change| node.apply_conf_change(&change).expect("it is valid"));
        let expected = match number {
            0 => Some((vec![1, 2], vec![])),
            3 => Some((vec![1], vec![2])),
            1 => Some((vec![1], vec![])),
            _ => None,
        };
        let sorted = |mut ids: Vec<u64>| {
            ids.sort_unstable();
            ids
        };
        assert_eq!(state.map(|state| (sorted(state.voters), state.learners)), expected);
        propose_conf_change(&mut node, self::change(2, 1)).expect("the first one is applied");
    }
}

#[test]
fn a_follower_passes_every_change_on_and_its_leader_takes_it() {
    for number in 0..4 {
        let mut follower = node(&[1, 2, 3], 6);
        let kind = Some(MessageType::MsgHeartbeat as i32);
        let heartbeat =
            Message { r#type: kind, to: Some(1), from: Some(2), term: Some(2), ..Message::default() };
        step(&mut follower, heartbeat).expect("of its leader");
        propose_conf_change(&mut follower, change(number, 4)).expect("there is a leader");
        let passed =
            round(&mut follower).into_iter().find(|message| message.to == 2 && !message.entries.is_empty());
        let data = passed.expect("it is passed on").entries[0].data.clone();
        assert_eq!(data, change(number, 4).encode_to_vec());

        let mut leader = leader();
        let kind = Some(MessageType::MsgProp as i32);
        let r#type = Some(EntryType::EntryConfChange as i32);
        let entries = vec![Entry { r#type, data: Some(data.clone().into()), ..Entry::default() }];
        let proposal = Message { r#type: kind, to: Some(1), from: Some(2), entries, ..Message::default() };
        step(&mut leader, proposal).expect("nothing is pending");
        assert_eq!(last_entry(&leader).data, data);
    }
}

#[test]
fn a_joint_configuration_is_only_left_by_the_change_that_leaves_it() {
    let mut node = leader();
    let joint = conf_change(&entry(
        EntryType::EntryConfChangeV2,
        ConfChangeV2 {
            transition: Some(ConfChangeTransition::JointExplicit as i32),
            changes: vec![ConfChangeSingle { r#type: Some(3), node_id: Some(2) }],
            context: None,
        }
        .encode_to_vec(),
    ));
    let state = node.apply_conf_change(&joint.expect("it can be read").expect("a change")).expect("valid");
    assert_eq!((state.voters_outgoing, state.learners), (vec![1], vec![2]));
    assert_eq!(propose_conf_change(&mut node, change(0, 3)), Err(raft::Error::ProposalDropped));
    let kind = Some(MessageType::MsgProp as i32);
    let r#type = Some(EntryType::EntryConfChangeV2 as i32);
    let entries = vec![Entry { r#type, ..Entry::default() }];
    let leave = Message { r#type: kind, to: Some(1), from: Some(2), entries, ..Message::default() };
    step(&mut node, leave.clone()).expect("it leaves");
    round(&mut node);
    let change = conf_change(&last_entry(&node)).expect("it can be read").expect("a change");
    assert!(node.apply_conf_change(&change).expect("it is valid").voters_outgoing.is_empty());
    assert!(step(&mut node, leave).is_err(), "there is nothing to leave");
}
