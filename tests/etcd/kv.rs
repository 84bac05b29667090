//! What etcd puts into its entries, as far as these tests look: `etcdserverpb/raft_internal.proto`.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message as _;

use super::follower::Logged;

#[derive(Clone, PartialEq, prost::Message)]
struct InternalRaftRequest {
    #[prost(message, optional, tag = "4")]
    put: Option<PutRequest>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// The keys that these entries put, each with its value: the last one counts.
pub fn puts<'a>(entries: impl IntoIterator<Item = &'a Logged>) -> HashMap<String, Bytes> {
    entries.into_iter().filter_map(|logged| put(logged.entry.data.clone()?)).collect()
}

fn put(data: Bytes) -> Option<(String, Bytes)> {
    let put = InternalRaftRequest::decode(data).ok()?.put?;
    Some((String::from_utf8(put.key.to_vec()).ok()?, put.value))
}
