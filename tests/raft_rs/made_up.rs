//! Arbitrary messages, most of them nearly well-formed.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use raftring::raftpb::{ConfState, Entry, Message, Snapshot, SnapshotMetadata};

/// Numbers that logs of a few entries and terms know, their neighbours, and edges.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 0..9u64, 1 => Just(u64::MAX), 1 => Just(u64::MAX >> 1), 1 => any::<u64>()]
}

fn ids() -> impl Strategy<Value = Vec<u64>> {
    vec(0..5u64, 0..4)
}

fn payload() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..9).prop_map(Bytes::from)
}

prop_compose! {
    fn entry()(
        r#type in option::of(prop_oneof![9 => 0..3i32, 1 => any::<i32>()]),
        term in option::of(number()),
        index in option::of(number()),
        data in option::of(payload()),
    ) -> Entry {
        Entry { r#type, term, index, data }
    }
}

prop_compose! {
    fn snapshot()(
        data in option::of(payload()),
        index in option::of(number()),
        term in option::of(number()),
        (voters, learners) in (ids(), ids()),
        (voters_outgoing, learners_next) in (ids(), ids()),
        auto_leave in option::of(any::<bool>()),
        is_joint in any::<bool>(),
        is_whole in prop::bool::weighted(0.9),
    ) -> Snapshot {
        let (voters_outgoing, learners_next) =
            if is_joint { (voters_outgoing, learners_next) } else { (vec![], vec![]) };
        let state = ConfState { voters, learners, voters_outgoing, learners_next, auto_leave };
        let metadata = SnapshotMetadata { conf_state: Some(state), index, term };
        Snapshot { data, metadata: is_whole.then_some(metadata) }
    }
}

prop_compose! {
    /// Any message; if `follows` hits, its entries have the indexes and terms that an append's have.
    pub(crate) fn message()(
        ((r#type, to, from, term), (log_term, index, commit, reject_hint)) in (
            (prop_oneof![19 => 0..24i32, 1 => any::<i32>()], 0..4u64, 0..4u64, option::of(number())),
            (option::of(number()), option::of(number()), option::of(number()), option::of(number())),
        ),
        mut entries in vec(entry(), 0..4),
        snapshot in option::of(snapshot()),
        (reject, context, vote) in (option::of(any::<bool>()), option::of(payload()), option::weighted(0.03, 0..3u64)),
        follows in prop::bool::weighted(0.8),
    ) -> Message {
        if follows {
            let mut at = index.unwrap_or_default();
            for entry in &mut entries {
                at = at.wrapping_add(1);
                entry.index = Some(at);
                entry.term = log_term.max(Some(1));
            }
        }
        Message {
            r#type: Some(r#type), to: Some(to), from: Some(from), term, log_term, index, entries, commit,
            snapshot: snapshot.map(Box::new), reject, reject_hint, context, vote, responses: vec![],
        }
    }
}
