//! Random requests, done by the state and by a model that is too simple to be wrong in the same way: it
//! does a transaction to a copy and throws that away if something is not allowed.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::entries::{apply, apply_data, bytes};
use crate::etcd::internal::InternalRaftRequest;
use crate::etcd::rpc::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, Op, PutRequest, RequestOp,
    TargetUnion, TxnRequest,
};
use crate::state::{Reply, State};

#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    created: i64,
    modified: i64,
    version: i64,
    value: Vec<u8>,
    lease: i64,
}

#[derive(Clone, Debug, Default)]
struct Model {
    rows: BTreeMap<Vec<u8>, Row>,
    leases: Vec<i64>,
    revision: i64,
}

impl Model {
    fn selects(key: &[u8], end: &[u8], candidate: &[u8]) -> bool {
        match end {
            [] => candidate == key,
            [0] => candidate >= key,
            _ => candidate >= key && candidate < end,
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let selected: Vec<Row> = self
            .rows
            .iter()
            .filter(|(key, _)| Self::selects(&compare.key, &compare.range_end, key))
            .map(|(_, row)| row.clone())
            .collect();
        let missing = selected.is_empty();
        let rows = if missing { vec![Row::default()] } else { selected };
        rows.iter().all(|row| {
            let order = match compare.target_union.as_ref().expect("generated with one") {
                TargetUnion::Version(given) => row.version.cmp(given),
                TargetUnion::CreateRevision(given) => row.created.cmp(given),
                TargetUnion::ModRevision(given) => row.modified.cmp(given),
                TargetUnion::Lease(given) => row.lease.cmp(given),
                TargetUnion::Value(_) if missing => return false,
                TargetUnion::Value(given) => row.value[..].cmp(given),
            };
            match compare.result {
                0 => order.is_eq(),
                1 => order.is_gt(),
                2 => order.is_lt(),
                _ => order.is_ne(),
            }
        })
    }

    /// On `self` as it is to be, by comparisons of `before`; false if it is not allowed.
    fn put(&mut self, before: &Self, put: &PutRequest) -> bool {
        let there = before.rows.get(&put.key[..]);
        if (put.lease != 0 && !self.leases.contains(&put.lease))
            || ((put.ignore_value || put.ignore_lease) && there.is_none())
        {
            return false;
        }
        let old = self.rows.get(&put.key[..]).cloned();
        let created = old.as_ref().map_or(before.revision + 1, |row| row.created);
        let old = old.unwrap_or_default();
        let row = Row {
            created,
            modified: before.revision + 1,
            version: old.version + 1,
            value: if put.ignore_value { old.value } else { put.value.to_vec() },
            lease: if put.ignore_lease { old.lease } else { put.lease },
        };
        self.rows.insert(put.key.to_vec(), row);
        self.revision = before.revision + 1;
        true
    }

    fn delete(&mut self, before: &Self, delete: &DeleteRangeRequest) {
        let count = self.rows.len();
        self.rows.retain(|key, _| !Self::selects(&delete.key, &delete.range_end, key));
        if self.rows.len() < count {
            self.revision = before.revision + 1;
        }
    }

    fn txn(&mut self, before: &Self, txn: &TxnRequest) -> bool {
        let holds = txn.compare.iter().all(|compare| before.holds(compare));
        let operations = if holds { &txn.success } else { &txn.failure };
        operations.iter().all(|operation| match operation.request.as_ref() {
            Some(Op::Put(put)) => self.put(before, put),
            Some(Op::DeleteRange(delete)) => {
                self.delete(before, delete);
                true
            }
            Some(Op::Txn(inner)) => self.txn(before, inner),
            Some(Op::Range(_)) | None => true,
        })
    }

    fn apply(&mut self, request: &InternalRaftRequest) {
        let before = self.clone();
        let mut after = self.clone();
        let allowed = if let Some(put) = &request.put {
            after.put(&before, put)
        } else if let Some(delete) = &request.delete_range {
            after.delete(&before, delete);
            true
        } else if let Some(txn) = &request.txn {
            after.txn(&before, txn)
        } else if let Some(grant) = &request.lease_grant {
            after.leases.push(grant.id);
            !before.leases.contains(&grant.id)
        } else if let Some(revoke) = &request.lease_revoke {
            let count = after.rows.len();
            after.rows.retain(|_, row| row.lease != revoke.id);
            after.revision += i64::from(after.rows.len() < count);
            after.leases.retain(|id| *id != revoke.id);
            before.leases.contains(&revoke.id)
        } else {
            true
        };
        if allowed {
            *self = after;
        }
    }
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "aa", "ab", "b", "c", "d"]).prop_map(str::to_owned)
}

fn end() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "", "", "\0", "b", "c", "zz"]).prop_map(str::to_owned)
}

fn put() -> impl Strategy<Value = PutRequest> {
    let lease = prop::sample::select(vec![0, 0, 1, 2, 3]);
    (key(), 0..3_u8, lease, prop::bool::weighted(0.1), prop::bool::weighted(0.1)).prop_map(
        |(key, value, lease, ignore_value, ignore_lease)| PutRequest {
            key: bytes(&key),
            value: if ignore_value { bytes("") } else { bytes(&value.to_string()) },
            lease: if ignore_lease { 0 } else { lease },
            prev_kv: value == 0,
            ignore_value,
            ignore_lease,
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (key(), end()).prop_map(|(key, end)| super::entries::delete(&key, &end))
}

fn compare() -> impl Strategy<Value = Compare> {
    let union = prop_oneof![
        (0..4_i64).prop_map(TargetUnion::Version),
        (0..30_i64).prop_map(TargetUnion::CreateRevision),
        (0..30_i64).prop_map(TargetUnion::ModRevision),
        (0..3_u8).prop_map(|value| TargetUnion::Value(bytes(&value.to_string()))),
        (0..4_i64).prop_map(TargetUnion::Lease),
    ];
    (key(), end(), 0..4_i32, union).prop_map(|(key, end, result, union)| Compare {
        result,
        target: match union {
            TargetUnion::Version(_) => 0,
            TargetUnion::CreateRevision(_) => 1,
            TargetUnion::ModRevision(_) => 2,
            TargetUnion::Value(_) => 3,
            TargetUnion::Lease(_) => 4,
        },
        key: bytes(&key),
        target_union: Some(union),
        range_end: bytes(&end),
    })
}

/// Without two writes of one key on one side, which no member of etcd would propose.
fn txn() -> impl Strategy<Value = TxnRequest> {
    let leaf = (prop::collection::vec(compare(), 0..3), prop::option::of(put()), prop::option::of(delete()));
    let leaf = leaf.prop_map(|(compare, put, delete)| {
        let success = put.map(Op::Put).map(RequestOp::from).into_iter().collect();
        let failure = delete.map(Op::DeleteRange).map(RequestOp::from).into_iter().collect();
        TxnRequest { compare, success, failure }
    });
    leaf.prop_recursive(3, 12, 3, |inner| {
        (prop::collection::vec(compare(), 0..3), prop::collection::vec(inner, 0..3), put(), any::<bool>())
            .prop_map(|(compare, inner, put, on_success)| {
                let mut operations: Vec<RequestOp> =
                    inner.into_iter().map(|txn| Op::Txn(txn).into()).collect();
                operations.push(Op::Put(put).into());
                if on_success {
                    TxnRequest { compare, success: operations, failure: Vec::new() }
                } else {
                    TxnRequest { compare, success: Vec::new(), failure: operations }
                }
            })
    })
}

fn request() -> impl Strategy<Value = InternalRaftRequest> {
    prop_oneof![
        4 => put().prop_map(InternalRaftRequest::from),
        2 => delete().prop_map(InternalRaftRequest::from),
        4 => txn().prop_map(InternalRaftRequest::from),
        1 => (1..4_i64).prop_map(|id| LeaseGrantRequest { id, ttl: 60 }.into()),
        1 => (1..4_i64).prop_map(|id| LeaseRevokeRequest { id }.into()),
    ]
}

fn rows(state: &State) -> BTreeMap<Vec<u8>, Row> {
    let row = |kv: &crate::etcd::mvccpb::KeyValue| Row {
        created: kv.create_revision,
        modified: kv.mod_revision,
        version: kv.version,
        value: kv.value.to_vec(),
        lease: kv.lease,
    };
    state.keys().map(|kv| (kv.key.to_vec(), row(kv))).collect()
}

proptest! {
    #[test]
    fn the_state_does_what_the_model_does(requests in prop::collection::vec(request(), 1..60)) {
        let mut state = State::new();
        let mut model = Model { revision: 1, ..Model::default() };
        for request in requests {
            model.apply(&request);
            let reply = apply(&mut state, request.clone());
            prop_assert_eq!(rows(&state), model.rows.clone(), "{:?}", request);
            prop_assert_eq!(state.revision(), model.revision);
            if let Reply::Put { revision, .. } | Reply::Deleted { revision, .. } | Reply::Txn { revision, .. } = reply {
                prop_assert_eq!(revision, model.revision);
            }
        }
        for (id, lease) in state.leases() {
            let attached: Vec<_> = state.keys().filter(|kv| kv.lease == id).map(|kv| kv.key.clone()).collect();
            prop_assert_eq!(attached, lease.keys.iter().cloned().collect::<Vec<_>>());
        }
        // What was added up and taken off on the way is what is there.
        let mut saved = Vec::new();
        state.save(&mut saved).expect("into memory");
        let loaded = State::load(&mut &saved[..]).expect("what was saved");
        prop_assert_eq!(&loaded, &state);
    }

    #[test]
    fn no_entry_ends_it(entries in prop::collection::vec((0..4_i32, prop::collection::vec(any::<u8>(), 0..40)), 1..20)) {
        let mut state = State::new();
        for (entry_type, data) in entries {
            let entry = raft::eraftpb::Entry { entry_type, ..super::entries::normal(&state, data) };
            state.apply(&entry);
        }
    }

    #[test]
    fn no_damaged_request_ends_it(request in request(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut data = prost::Message::encode_to_vec(&request);
        let at = at.index(data.len().max(1));
        data.get_mut(at).into_iter().for_each(|byte| *byte = with);
        apply_data(&mut State::new(), data);
    }
}
