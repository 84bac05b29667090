//! Transactions: comparisons, and what is done if they hold or do not, in turn with transactions in it.
//!
//! All comparisons, inner ones too, are of the state before; the way they lead is walked twice, once to see
//! whether it can be done, once to do it. What is nested is at most as deep as prost decodes.

use super::kv::{Store, Write};
use super::leases::Leases;
use super::{Refusal, Reply};
use crate::etcd::mvccpb::KeyValue;
use crate::etcd::rpc::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Op, PutRequest, RequestOp, TargetUnion,
    TxnRequest,
};

pub(super) fn put(store: &mut Store, leases: &mut Leases, request: PutRequest) -> Result<Reply, Refusal> {
    check_put(store, leases, &request)?;
    let prev_kv = request.prev_kv;
    let mut write = store.write(leases);
    let previous = write_put(&mut write, request);
    let revision = write.end();
    Ok(Reply::Put { revision, previous: previous.filter(|_| prev_kv) })
}

pub(super) fn delete_range(store: &mut Store, leases: &mut Leases, request: &DeleteRangeRequest) -> Reply {
    let mut write = store.write(leases);
    let deleted = write.delete_range(&request.key, &request.range_end);
    Reply::Deleted { revision: write.end(), deleted }
}

pub(super) fn txn(store: &mut Store, leases: &mut Leases, request: TxnRequest) -> Result<Reply, Refusal> {
    let mut way = Vec::new();
    find_way(store, &request, &mut way);
    check(store, leases, &request, &mut way.iter().copied(), Depth::Outer)?;
    let mut write = store.write(leases);
    perform(&mut write, request, &mut way.iter().copied());
    let revision = write.end();
    Ok(Reply::Txn { revision, succeeded: way.first().copied().unwrap_or_default() })
}

/// Whether one of its outer operations, on either side, is a put: what etcd counts as cost.
pub(super) fn has_put(request: &TxnRequest) -> bool {
    let mut operations = request.success.iter().chain(&request.failure);
    operations.any(|operation| matches!(operation.request, Some(Op::Put(_))))
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Depth {
    Outer,
    Inner,
}

fn operations(request: &TxnRequest, holds: bool) -> &[RequestOp] {
    if holds { &request.success } else { &request.failure }
}

/// For this transaction and those in it, in order: whether their comparisons hold.
fn find_way(store: &Store, request: &TxnRequest, way: &mut Vec<bool>) {
    let holds = request.compare.iter().all(|compare| compare_range(store, compare));
    way.push(holds);
    for operation in operations(request, holds) {
        if let Some(Op::Txn(inner)) = &operation.request {
            find_way(store, inner, way);
        }
    }
}

fn check(
    store: &Store,
    leases: &Leases,
    request: &TxnRequest,
    way: &mut impl Iterator<Item = bool>,
    depth: Depth,
) -> Result<(), Refusal> {
    let holds = way.next().unwrap_or_default();
    for operation in operations(request, holds) {
        match &operation.request {
            Some(Op::Put(put)) => check_put(store, leases, put)?,
            Some(Op::Txn(inner)) => check(store, leases, inner, &mut *way, Depth::Inner)?,
            // Outer questions are left out by all members of etcd but the one that was asked.
            Some(Op::Range(range)) if depth == Depth::Inner && range.revision != 0 => {
                store.check_revision(range.revision)?;
            }
            Some(Op::Range(_) | Op::DeleteRange(_)) | None => {}
        }
    }
    Ok(())
}

fn check_put(store: &Store, leases: &Leases, put: &PutRequest) -> Result<(), Refusal> {
    if put.lease != 0 && leases.get(put.lease).is_none() {
        return Err(Refusal::LeaseNotFound);
    }
    if (put.ignore_value || put.ignore_lease) && store.get(&put.key).is_none() {
        return Err(Refusal::KeyNotFound);
    }
    Ok(())
}

fn perform(write: &mut Write<'_>, request: TxnRequest, way: &mut impl Iterator<Item = bool>) {
    let holds = way.next().unwrap_or_default();
    let operations = if holds { request.success } else { request.failure };
    for operation in operations {
        match operation.request {
            Some(Op::Put(put)) => drop(write_put(write, put)),
            Some(Op::DeleteRange(delete)) => drop(write.delete_range(&delete.key, &delete.range_end)),
            Some(Op::Txn(inner)) => perform(write, inner, &mut *way),
            Some(Op::Range(_)) | None => {}
        }
    }
}

fn write_put(write: &mut Write<'_>, put: PutRequest) -> Option<KeyValue> {
    let there = write.store.get(&put.key);
    let (mut value, mut lease) = (put.value, put.lease);
    if put.ignore_value {
        value = there.map(|kv| kv.value.clone()).unwrap_or_default();
    }
    if put.ignore_lease {
        lease = there.map(|kv| kv.lease).unwrap_or_default();
    }
    write.put(put.key, value, lease)
}

/// Whether it holds for all keys of its range; of none of them only what a key that does not exist has can
/// be compared, and not a value.
fn compare_range(store: &Store, compare: &Compare) -> bool {
    let mut range = store.range(&compare.key, &compare.range_end).peekable();
    if range.peek().is_none() {
        return compare.target != CompareTarget::Value as i32 && compare_key(compare, &KeyValue::default());
    }
    range.all(|kv| compare_key(compare, kv))
}

fn compare_key(compare: &Compare, kv: &KeyValue) -> bool {
    let given = compare.target_union.as_ref();
    // A union that does not fit the target counts as 0, or as no bytes.
    let ordering = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => {
            let value = if let Some(TargetUnion::Value(value)) = given { &value[..] } else { &[] };
            kv.value[..].cmp(value)
        }
        Ok(CompareTarget::Version) => {
            kv.version.cmp(&if let Some(TargetUnion::Version(given)) = given { *given } else { 0 })
        }
        Ok(CompareTarget::Create) => kv
            .create_revision
            .cmp(&if let Some(TargetUnion::CreateRevision(given)) = given { *given } else { 0 }),
        Ok(CompareTarget::Mod) => {
            kv.mod_revision.cmp(&if let Some(TargetUnion::ModRevision(given)) = given { *given } else { 0 })
        }
        Ok(CompareTarget::Lease) => {
            kv.lease.cmp(&if let Some(TargetUnion::Lease(given)) = given { *given } else { 0 })
        }
        Err(_) => std::cmp::Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering.is_eq(),
        Ok(CompareResult::NotEqual) => ordering.is_ne(),
        Ok(CompareResult::Greater) => ordering.is_gt(),
        Ok(CompareResult::Less) => ordering.is_lt(),
        Err(_) => true,
    }
}
