//! Entries, made short.

use bytes::Bytes;
use prost::Message;
use raft::eraftpb::{Entry, EntryType};
use raftring::raftpb::ConfChange;

use crate::etcd::internal::{InternalRaftRequest, RequestHeader};
use crate::etcd::rpc::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, Op,
    PutRequest, RequestOp, TargetUnion, TxnRequest,
};
use crate::state::{Applied, Reply, State};

pub(super) fn normal(state: &State, data: Vec<u8>) -> Entry {
    let index = state.applied() + 1;
    Entry { term: 2, index, data, ..Entry::default() }
}

/// Applies data as the next entry.
pub(super) fn apply_data(state: &mut State, data: Vec<u8>) -> Applied {
    let entry = normal(state, data);
    state.apply(&entry)
}

pub(super) fn apply(state: &mut State, mut request: InternalRaftRequest) -> Reply {
    request.header = Some(RequestHeader { id: 7, ..RequestHeader::default() });
    let applied = apply_data(state, request.encode_to_vec());
    assert_eq!((applied.request_id, applied.warning), (Some(7), None));
    applied.reply
}

pub(super) fn apply_change(state: &mut State, change: &ConfChange) -> Applied {
    let entry_type = EntryType::EntryConfChange as i32;
    let entry = Entry { entry_type, ..normal(state, change.encode_to_vec()) };
    state.apply(&entry)
}

pub(super) fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: bytes(key), value: bytes(value), ..PutRequest::default() }
}

pub(super) fn delete(key: &str, end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: bytes(key), range_end: bytes(end), prev_kv: false }
}

pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(super) fn equal(key: &str, target: CompareTarget, union: TargetUnion) -> Compare {
    Compare {
        result: CompareResult::Equal as i32,
        target: target as i32,
        key: bytes(key),
        target_union: Some(union),
        range_end: Bytes::new(),
    }
}

impl From<PutRequest> for InternalRaftRequest {
    fn from(put: PutRequest) -> Self {
        Self { put: Some(put), ..Self::default() }
    }
}

impl From<DeleteRangeRequest> for InternalRaftRequest {
    fn from(delete: DeleteRangeRequest) -> Self {
        Self { delete_range: Some(delete), ..Self::default() }
    }
}

impl From<TxnRequest> for InternalRaftRequest {
    fn from(txn: TxnRequest) -> Self {
        Self { txn: Some(txn), ..Self::default() }
    }
}

impl From<LeaseGrantRequest> for InternalRaftRequest {
    fn from(grant: LeaseGrantRequest) -> Self {
        Self { lease_grant: Some(grant), ..Self::default() }
    }
}

impl From<LeaseRevokeRequest> for InternalRaftRequest {
    fn from(revoke: LeaseRevokeRequest) -> Self {
        Self { lease_revoke: Some(revoke), ..Self::default() }
    }
}

impl From<Op> for RequestOp {
    fn from(op: Op) -> Self {
        Self { request: Some(op) }
    }
}
