//! Keys, transactions, leases, alarms.

use bytes::Bytes;

use super::entries::{apply, apply_data, bytes, delete, equal, put};
use crate::etcd::internal::InternalRaftRequest;
use crate::etcd::request;
use crate::etcd::rpc::{
    AlarmAction, AlarmType, CompactionRequest, Compare, CompareResult, CompareTarget, LeaseGrantRequest,
    LeaseRevokeRequest, Op, PutRequest, RangeRequest, TargetUnion, TxnRequest,
};
use crate::state::{Refusal, Reply, State};

/// (create revision, mod revision, version, value) of a key.
fn row(state: &State, key: &str) -> Option<(i64, i64, i64, String)> {
    let kv = state.get(key.as_bytes())?;
    let value = String::from_utf8_lossy(&kv.value).into_owned();
    Some((kv.create_revision, kv.mod_revision, kv.version, value))
}

#[test]
fn each_write_has_a_revision_and_each_key_its_versions() {
    let mut state = State::new();
    assert_eq!(state.revision(), 1, "etcd's first");
    assert_eq!(apply(&mut state, put("a", "1").into()), Reply::Put { revision: 2, previous: None });
    assert_eq!(apply(&mut state, put("a", "2").into()), Reply::Put { revision: 3, previous: None });
    assert_eq!(row(&state, "a"), Some((2, 3, 2, "2".to_owned())));
    assert_eq!(apply(&mut state, delete("a", "").into()), Reply::Deleted { revision: 4, deleted: 1 });
    assert_eq!(apply(&mut state, delete("a", "").into()), Reply::Deleted { revision: 4, deleted: 0 });
    assert_eq!(row(&state, "a"), None);
    apply(&mut state, put("a", "3").into());
    assert_eq!(row(&state, "a"), Some((5, 5, 1, "3".to_owned())), "it begins anew");
    assert_eq!(state.kv_digest(), {
        let mut other = State::new();
        for _ in 0..3 {
            apply(&mut other, put("x", "y").into());
        }
        apply(&mut other, delete("x", "").into());
        assert_ne!(other.kv_digest(), state.kv_digest());
        // The same keys after other writes.
        let mut same = State::new();
        for _ in 0..3 {
            apply(&mut same, put("a", "").into());
        }
        apply(&mut same, delete("a", "").into());
        assert_eq!(same.revision(), 5);
        let mut same = State::new();
        for key in ["p", "q", "r"] {
            apply(&mut same, put(key, key).into());
        }
        same = State { store: super::super::kv::Store::restored(4, -1), ..same };
        apply(&mut same, put("a", "3").into());
        same.kv_digest()
    });
}

#[test]
fn ranges_end_where_etcd_ends_them() {
    let filled = || {
        let mut state = State::new();
        ["a", "b", "c", "d"].iter().for_each(|key| drop(apply(&mut state, put(key, "").into())));
        state
    };
    let left = |key: &str, end: &str| {
        let mut state = filled();
        apply(&mut state, delete(key, end).into());
        state.keys().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect::<String>()
    };
    assert_eq!(left("b", ""), "acd", "one");
    assert_eq!(left("b", "d"), "ad", "without the end");
    assert_eq!(left("b", "\0"), "a", "all from it on");
    assert_eq!(left("\0", "\0"), "", "all");
    assert_eq!(left("c", "b"), "abcd", "none");
    assert_eq!(left("c", "c"), "abcd", "none");
    assert_eq!(left("", ""), "abcd", "no such key");
}

#[test]
fn a_put_keeps_what_it_is_told_to_keep() {
    let mut state = State::new();
    apply(&mut state, LeaseGrantRequest { id: 9, ttl: 100 }.into());
    let keep_value = PutRequest { ignore_value: true, ..put("a", "") };
    assert_eq!(apply(&mut state, keep_value.clone().into()), Reply::Refused(Refusal::KeyNotFound));
    apply(&mut state, PutRequest { lease: 9, ..put("a", "1") }.into());
    let previous = state.get(b"a").cloned();
    let reply = apply(&mut state, PutRequest { prev_kv: true, ..keep_value }.into());
    assert_eq!(reply, Reply::Put { revision: 3, previous });
    assert_eq!(row(&state, "a"), Some((2, 3, 2, "1".to_owned())));
    assert_eq!(state.get(b"a").map(|kv| kv.lease), Some(0), "the lease was not to be kept");
    apply(&mut state, PutRequest { lease: 9, ..put("b", "1") }.into());
    apply(&mut state, PutRequest { ignore_lease: true, ..put("b", "2") }.into());
    assert_eq!(state.get(b"b").map(|kv| kv.lease), Some(9));
    let no_lease = PutRequest { lease: 10, ..put("b", "3") };
    assert_eq!(apply(&mut state, no_lease.into()), Reply::Refused(Refusal::LeaseNotFound));
    assert_eq!(state.revision(), 5);
}

#[test]
fn keys_end_with_their_lease_in_one_revision() {
    let mut state = State::new();
    let granted = apply(&mut state, LeaseGrantRequest { id: 9, ttl: 1 }.into());
    assert_eq!(granted, Reply::Granted { lease: 9, ttl_s: 2 }, "no lease is shorter than an election");
    let again = apply(&mut state, LeaseGrantRequest { id: 9, ttl: 1 }.into());
    assert_eq!(again, Reply::Refused(Refusal::LeaseExists));
    let none = apply(&mut state, LeaseGrantRequest { id: 0, ttl: 1 }.into());
    assert_eq!(none, Reply::Refused(Refusal::LeaseNotFound));
    let long = apply(&mut state, LeaseGrantRequest { id: 8, ttl: i64::MAX }.into());
    assert_eq!(long, Reply::Refused(Refusal::LeaseTtlTooLarge));
    for key in ["a", "b", "c", "d"] {
        apply(&mut state, PutRequest { lease: 9, ..put(key, "1") }.into());
    }
    apply(&mut state, put("b", "without").into());
    apply(&mut state, delete("c", "").into());
    let keys: Vec<Bytes> = state.lease(9).expect("granted").keys.iter().cloned().collect();
    assert_eq!(keys, ["a", "d"]);
    assert_eq!(state.revision(), 7);
    assert_eq!(apply(&mut state, LeaseRevokeRequest { id: 9 }.into()), Reply::Revoked { lease: 9 });
    assert_eq!(state.revision(), 8);
    assert_eq!(state.keys().map(|kv| kv.key.clone()).collect::<Vec<_>>(), ["b"]);
    let gone = apply(&mut state, LeaseRevokeRequest { id: 9 }.into());
    assert_eq!(gone, Reply::Refused(Refusal::LeaseNotFound));
}

#[test]
fn a_transaction_compares_first_and_has_one_revision() {
    let mut state = State::new();
    apply(&mut state, put("a", "1").into());
    let inner = TxnRequest {
        // Of before: the outer put does not count.
        compare: vec![equal("a", CompareTarget::Value, TargetUnion::Value(bytes("1")))],
        success: vec![Op::Put(put("c", "inner")).into()],
        failure: vec![Op::Put(put("d", "inner")).into()],
    };
    let txn = TxnRequest {
        compare: vec![
            equal("a", CompareTarget::Version, TargetUnion::Version(1)),
            equal("none", CompareTarget::Create, TargetUnion::CreateRevision(0)),
        ],
        success: vec![
            Op::Put(put("a", "2")).into(),
            Op::Txn(inner).into(),
            Op::DeleteRange(delete("b", "")).into(),
            Op::Range(RangeRequest::default()).into(),
        ],
        failure: Vec::new(),
    };
    assert_eq!(apply(&mut state, txn.clone().into()), Reply::Txn { revision: 3, succeeded: true });
    assert_eq!(row(&state, "a"), Some((2, 3, 2, "2".to_owned())));
    assert_eq!(row(&state, "c"), Some((3, 3, 1, "inner".to_owned())));
    assert_eq!(apply(&mut state, txn.into()), Reply::Txn { revision: 3, succeeded: false });
}

#[test]
fn a_transaction_that_cannot_be_done_is_not_begun() {
    let mut state = State::new();
    let lease = PutRequest { lease: 1, ..put("b", "") };
    let put_a = || Op::Put(put("a", "1")).into();
    let txn = TxnRequest { success: vec![put_a(), Op::Put(lease).into()], ..TxnRequest::default() };
    assert_eq!(apply(&mut state, txn.into()), Reply::Refused(Refusal::LeaseNotFound));
    // Outer questions are dropped by members that were not asked, inner ones are not.
    let future = || Op::Range(RangeRequest { revision: 99, ..RangeRequest::default() }).into();
    let inner = TxnRequest { success: vec![future()], ..TxnRequest::default() };
    let txn = TxnRequest { success: vec![put_a(), Op::Txn(inner).into()], ..TxnRequest::default() };
    assert_eq!(apply(&mut state, txn.into()), Reply::Refused(Refusal::RevisionFuture));
    assert_eq!((state.revision(), state.keys().count()), (1, 0));
    let txn = TxnRequest { success: vec![put_a(), future()], ..TxnRequest::default() };
    assert_eq!(apply(&mut state, txn.into()), Reply::Txn { revision: 2, succeeded: true });
}

#[test]
fn a_range_compares_if_all_of_it_does() {
    let mut state = State::new();
    let holds = |state: &mut State, compare: Compare| {
        let txn = TxnRequest { compare: vec![compare], ..TxnRequest::default() };
        apply(state, txn.into()) == Reply::Txn { revision: state.revision(), succeeded: true }
    };
    let range = |target, union| Compare { range_end: bytes("c"), ..equal("a", target, union) };
    let value = |text| range(CompareTarget::Value, TargetUnion::Value(bytes(text)));
    assert!(!holds(&mut state, value("")), "no value is not the empty one");
    assert!(holds(&mut state, range(CompareTarget::Mod, TargetUnion::ModRevision(0))));
    apply(&mut state, put("a", "1").into());
    apply(&mut state, put("b", "1").into());
    assert!(holds(&mut state, value("1")));
    let later = Compare {
        result: CompareResult::Greater as i32,
        ..range(CompareTarget::Mod, TargetUnion::ModRevision(2))
    };
    assert!(!holds(&mut state, later.clone()), "a is not");
    assert!(holds(&mut state, Compare { key: bytes("b"), ..later }));
    let other = range(CompareTarget::Lease, TargetUnion::Version(5));
    assert!(holds(&mut state, other), "a union of another target counts as 0");
}

#[test]
fn a_compaction_only_forbids_questions() {
    let mut state = State::new();
    apply(&mut state, put("a", "1").into());
    apply(&mut state, put("a", "2").into());
    let compact = |revision| InternalRaftRequest {
        compaction: Some(CompactionRequest { revision, physical: true }),
        ..InternalRaftRequest::default()
    };
    assert_eq!(apply(&mut state, compact(4)), Reply::Refused(Refusal::RevisionFuture));
    assert_eq!(apply(&mut state, compact(3)), Reply::Compacted { revision: 3 });
    assert_eq!(apply(&mut state, compact(3)), Reply::Refused(Refusal::RevisionCompacted));
    assert_eq!(row(&state, "a"), Some((2, 3, 2, "2".to_owned())));
}

#[test]
fn while_an_alarm_is_raised_the_same_is_refused_as_in_etcd() {
    let mut state = State::new();
    let alarm = |state: &mut State, member, action, kind| {
        apply_data(state, request::alarm(7, member, action, kind));
    };
    let refusal = |state: &mut State| match apply(state, put("a", "1").into()) {
        Reply::Refused(refusal) => Some(refusal),
        _ => None,
    };
    alarm(&mut state, 1, AlarmAction::Activate, AlarmType::NoSpace);
    alarm(&mut state, 2, AlarmAction::Activate, AlarmType::NoSpace);
    assert_eq!(refusal(&mut state), Some(Refusal::NoSpace));
    assert_eq!(apply(&mut state, delete("a", "").into()), Reply::Deleted { revision: 1, deleted: 0 });
    alarm(&mut state, 1, AlarmAction::Deactivate, AlarmType::NoSpace);
    assert_eq!(refusal(&mut state), Some(Refusal::NoSpace), "one has none still");
    alarm(&mut state, 2, AlarmAction::Deactivate, AlarmType::NoSpace);
    assert_eq!(refusal(&mut state), None);
    alarm(&mut state, 1, AlarmAction::Activate, AlarmType::Corrupt);
    assert_eq!(refusal(&mut state), Some(Refusal::Corrupt));
    assert_eq!(apply(&mut state, delete("a", "").into()), Reply::Refused(Refusal::Corrupt));
}

#[test]
fn an_entry_is_applied_once_and_one_that_cannot_be_read_never() {
    let mut state = State::new();
    let entry = super::entries::normal(&state, request::put(7, bytes("a"), bytes("1")));
    state.apply(&entry);
    let once = state.clone();
    assert_eq!(state.apply(&entry), crate::state::Applied::default());
    assert_eq!(state, once);
    let junk = apply_data(&mut state, b"junk".to_vec());
    assert_eq!(junk.reply, Reply::Refused(Refusal::NotUnderstood));
    assert!(junk.warning.expect("a warning").contains("entry 2"));
    assert_eq!((state.not_understood(), state.applied(), state.revision()), (1, 2, 2));
    let empty = apply_data(&mut state, Vec::new());
    assert_eq!((empty.request_id, empty.reply), (None, Reply::Done), "a new leader's");
    assert_eq!((state.log_digest().from, state.log_digest().to), (1, 3));
}
