//! The bytes on the wire of what raft-rs says: those of etcd (protocol 7.5).

use raft::eraftpb::{ConfState, Entry, Message, MessageType, Snapshot, SnapshotMetadata};
use raftring::proto::codec::{Dialect, VecSink, encode_bare_message};
use raftring::raft_rs::from_raft_rs;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// In the dialects of 3.4 and of 3.6.
fn encoded(message: Message) -> [String; 2] {
    let message = from_raft_rs(message).expect("etcd can say it");
    [Dialect::V3_4, Dialect::V3_6].map(|dialect| {
        let mut sink = VecSink::default();
        encode_bare_message(&message, dialect, &mut sink);
        hex(&sink.bytes)
    })
}

fn of(kind: MessageType, to: u64, from: u64, term: u64) -> Message {
    Message { msg_type: kind as i32, to, from, term, ..Message::default() }
}

#[test]
fn a_heartbeat_is_that_of_etcd() {
    let (to, from) = (0x8e9e_05c5_2164_694d, 0x91bc_3c39_8fb3_c146);
    let message = Message { commit: 300, ..of(MessageType::MsgHeartbeat, to, from, 5) };
    let start = "080810cdd2918bd2b881cf8e0118c682cffd98878fde91012005280030 0040ac02".replace(' ', "");
    let [old, new] = encoded(message);
    assert_eq!(old, format!("{start}4a0a1208 0a022800100018005000 5800").replace(' ', ""));
    assert_eq!(new, format!("{start}500058006800"));
}

#[test]
fn a_vote_is_that_of_etcd_whatever_raft_rs_adds_to_it() {
    let vote = Message { log_term: 2, index: 4, ..of(MessageType::MsgRequestVote, 2, 1, 3) };
    assert_eq!(encoded(vote.clone())[1], "0805100218012003280230044000500058006800");
    let with_commit_term = Message { commit_term: 2, ..vote };
    assert_eq!(encoded(with_commit_term)[1], "0805100218012003280230044000500058006800");
}

#[test]
fn an_append_is_that_of_etcd() {
    let entry = |index, data: &[u8]| Entry { term: 3, index, data: data.to_vec(), ..Entry::default() };
    let message = Message {
        log_term: 3,
        index: 10,
        commit: 9,
        entries: vec![entry(11, b"hi"), entry(12, b"")],
        ..of(MessageType::MsgAppend, 2, 1, 3)
    };
    let [old, new] = encoded(message);
    let both = "08031002180120032803300a3a0a08001003180b220268693a0608001003180c4009";
    assert_eq!(old, format!("{both}4a0a12080a02280010001800 50005800").replace(' ', ""));
    assert_eq!(new, format!("{both}500058006800"));
}

#[test]
fn a_snapshot_is_that_of_etcd() {
    let conf_state = ConfState { voters: vec![1, 2, 300], learners: vec![4], ..ConfState::default() };
    let metadata = SnapshotMetadata { conf_state: Some(conf_state), index: 128, term: 3 };
    let snapshot = Snapshot { data: b"{}".to_vec(), metadata: Some(metadata) };
    let message = Message { snapshot: Some(snapshot), ..of(MessageType::MsgSnapshot, 2, 1, 3) };
    let start = "08071002180120032800300040004a180a027b7d12120a0b0801080208ac0210042800108001180350005800";
    assert_eq!(encoded(message), [start.to_owned(), format!("{start}6800")]);
}
