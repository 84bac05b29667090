//! Both ways, for any message.

use proptest::prelude::*;
use raft::eraftpb;
use raftring::raft_rs::{entry_from_raft_rs, entry_to_raft_rs, from_raft_rs, to_raft_rs};
use raftring::raftpb::{Message, MessageType, Snapshot};

use crate::made_up::message;

/// What a message says, whichever zeros and empty bytes are written out.
fn meaning(message: &Message) -> Message {
    let mut message = message.clone();
    let zeros = [
        &mut message.to,
        &mut message.from,
        &mut message.term,
        &mut message.log_term,
        &mut message.index,
        &mut message.commit,
        &mut message.reject_hint,
        &mut message.vote,
    ];
    for number in zeros {
        number.get_or_insert(0);
    }
    message.r#type.get_or_insert(0);
    message.reject.get_or_insert(false);
    message.context.get_or_insert_default();
    for entry in &mut message.entries {
        (entry.r#type, entry.term) = (Some(entry.r#type.unwrap_or(0)), Some(entry.term()));
        (entry.index, entry.data) = (Some(entry.index()), Some(entry.data.clone().unwrap_or_default()));
    }
    message.snapshot = message.snapshot.take().map(|snapshot| Box::new(snapshot_meaning(*snapshot)));
    message
}

fn snapshot_meaning(mut snapshot: Snapshot) -> Snapshot {
    snapshot.data.get_or_insert_default();
    let metadata = snapshot.metadata.get_or_insert_default();
    (metadata.index, metadata.term) = (Some(metadata.index()), Some(metadata.term()));
    metadata.conf_state.get_or_insert_default().auto_leave.get_or_insert(false);
    snapshot
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// What arrives and is passed on says the same, but for what the table of the module names.
    #[test]
    fn what_passes_comes_back_as_it_was(message in message()) {
        let Ok(theirs) = to_raft_rs(message.clone()) else { return Ok(()) };
        let mut expected = meaning(&message);
        if !message.is(MessageType::MsgSnap) {
            expected.snapshot = None;
        }
        if message.is(MessageType::MsgTransferLeader) {
            expected.term = Some(0);
        }
        prop_assert_eq!(meaning(&from_raft_rs(theirs).expect("it was etcd's")), expected);
    }

    /// And the other way, from the bytes of raft-rs's own codec.
    #[test]
    fn what_leaves_arrives_as_it_was(message in message()) {
        let Ok(theirs) = to_raft_rs(message) else { return Ok(()) };
        let ours = from_raft_rs(theirs.clone()).expect("it was etcd's");
        if theirs.msg_type != eraftpb::MessageType::MsgTransferLeader as i32 {
            prop_assert_eq!(to_raft_rs(ours).expect("nothing was added"), theirs);
        }
    }

    #[test]
    fn entries_keep_their_bytes(message in message()) {
        for entry in message.entries {
            let Ok(theirs) = entry_to_raft_rs(entry.clone()) else { continue };
            prop_assert_eq!(&theirs.data[..], &entry.data.clone().unwrap_or_default()[..]);
            let at = theirs.data.as_ptr();
            let ours = entry_from_raft_rs(theirs).expect("it was etcd's");
            let data = ours.data.unwrap_or_default();
            prop_assert_eq!(&data, &entry.data.unwrap_or_default());
            prop_assert!(data.is_empty() || data.as_ptr() == at, "moved, not copied");
        }
    }
}
