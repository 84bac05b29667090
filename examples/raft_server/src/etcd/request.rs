//! What this server proposes: byte for byte what a member of etcd 3.4 would. What only etcd's clients can
//! ask for is formed for tests alone.
//!
//! Each builder takes the request's id ([`RequestIds`](super::id::RequestIds)); whoever applies the entry
//! finds it in `Applied::request_id`.

use bytes::Bytes;
use prost::Message as _;
use raftring::raftpb::{ConfChange, ConfChangeType};

use super::internal::{
    ClusterMemberAttrSetRequest, ClusterVersionSetRequest, InternalRaftRequest, MemberAttributes,
    RequestHeader,
};
use super::member::{Attributes, ConfigChangeContext, Member, to_json};
#[cfg(test)]
use super::rpc::{AlarmAction, AlarmRequest, AlarmType, LeaseGrantRequest};
use super::rpc::{
    DeleteRangeRequest, LeaseCheckpoint, LeaseCheckpointRequest, LeaseRevokeRequest, PutRequest,
};
use super::v2;
use super::version::ClusterVersion;

/// Since then members use the third version's form for what concerns themselves.
const V3_MEMBERSHIP: ClusterVersion = ClusterVersion::new(3, 5);

fn with_id(id: u64, mut request: InternalRaftRequest) -> Vec<u8> {
    request.header = Some(RequestHeader { id, ..RequestHeader::default() });
    request.encode_to_vec()
}

/// Data of an entry that writes a key.
pub(crate) fn put(id: u64, key: Bytes, value: Bytes) -> Vec<u8> {
    let put = PutRequest { key, value, ..PutRequest::default() };
    with_id(id, InternalRaftRequest { put: Some(put), ..InternalRaftRequest::default() })
}

/// Data of an entry that deletes a key, or all from it until `range_end` if that is not empty.
pub(crate) fn delete_range(id: u64, key: Bytes, range_end: Bytes) -> Vec<u8> {
    let delete = DeleteRangeRequest { key, range_end, prev_kv: false };
    with_id(id, InternalRaftRequest { delete_range: Some(delete), ..InternalRaftRequest::default() })
}

/// Data of an entry that grants a lease.
#[cfg(test)]
pub(crate) fn lease_grant(id: u64, lease: i64, ttl_s: i64) -> Vec<u8> {
    let grant = LeaseGrantRequest { ttl: ttl_s, id: lease };
    with_id(id, InternalRaftRequest { lease_grant: Some(grant), ..InternalRaftRequest::default() })
}

/// Data of an entry that ends a lease.
pub(crate) fn lease_revoke(id: u64, lease: i64) -> Vec<u8> {
    let revoke = LeaseRevokeRequest { id: lease };
    with_id(id, InternalRaftRequest { lease_revoke: Some(revoke), ..InternalRaftRequest::default() })
}

/// Data of an entry that says how much is left of a lease; 0 after it was renewed.
pub(crate) fn lease_checkpoint(id: u64, lease: i64, remaining_s: i64) -> Vec<u8> {
    let checkpoints = vec![LeaseCheckpoint { id: lease, remaining_ttl: remaining_s }];
    let request = Some(LeaseCheckpointRequest { checkpoints });
    with_id(id, InternalRaftRequest { lease_checkpoint: request, ..InternalRaftRequest::default() })
}

/// Data of an entry that raises or ends an alarm.
#[cfg(test)]
pub(crate) fn alarm(id: u64, member: u64, action: AlarmAction, alarm: AlarmType) -> Vec<u8> {
    let alarm = AlarmRequest { action: action as i32, member_id: member, alarm: alarm as i32 };
    with_id(id, InternalRaftRequest { alarm: Some(alarm), ..InternalRaftRequest::default() })
}

/// Data of an entry by which a member tells its name and its client URLs. `cluster` is the cluster's
/// version; from 3.5 on members use another form.
pub(crate) fn publish(
    id: u64,
    member: u64,
    attributes: &Attributes,
    cluster: Option<ClusterVersion>,
) -> Vec<u8> {
    if cluster.is_none_or(|version| version < V3_MEMBERSHIP) {
        let json = to_json(attributes).into_bytes();
        return v2::Request::put(id, v2::attributes_path(member), json).encode_to_vec();
    }
    let Attributes { name, client_urls } = attributes.clone();
    let set = ClusterMemberAttrSetRequest {
        member_id: member,
        member_attributes: Some(MemberAttributes { name, client_urls }),
    };
    with_id(id, InternalRaftRequest { cluster_member_attr_set: Some(set), ..InternalRaftRequest::default() })
}

/// Data of an entry by which the leader sets the cluster's version.
pub(crate) fn cluster_version(id: u64, version: ClusterVersion, cluster: Option<ClusterVersion>) -> Vec<u8> {
    let ver = version.to_string();
    if cluster.is_none_or(|version| version < V3_MEMBERSHIP) {
        let path = v2::CLUSTER_VERSION_PATH.to_owned();
        return v2::Request::put(id, path, ver.into_bytes()).encode_to_vec();
    }
    let set = Some(ClusterVersionSetRequest { ver });
    with_id(id, InternalRaftRequest { cluster_version_set: set, ..InternalRaftRequest::default() })
}

/// Adds a member, as a learner if it is one. For `raftring::raft_rs::propose_conf_change`, as all that
/// follow.
pub(crate) fn add_member(id: u64, member: &Member) -> ConfChange {
    let kind = if member.is_learner {
        ConfChangeType::ConfChangeAddLearnerNode
    } else {
        ConfChangeType::ConfChangeAddNode
    };
    conf_change(id, kind, member.id, Some(to_json(member)))
}

/// Makes a learner a voter.
pub(crate) fn promote_member(id: u64, member: u64) -> ConfChange {
    let context =
        ConfigChangeContext { member: Member { id: member, ..Member::default() }, is_promote: true };
    conf_change(id, ConfChangeType::ConfChangeAddNode, member, Some(to_json(&context)))
}

/// Gives a member other peer URLs.
#[cfg(test)]
pub(crate) fn update_member(id: u64, member: u64, peer_urls: &[String]) -> ConfChange {
    let member = Member { id: member, peer_urls: peer_urls.to_vec(), ..Member::default() };
    conf_change(id, ConfChangeType::ConfChangeUpdateNode, member.id, Some(to_json(&member)))
}

/// Removes a member for good.
#[cfg(test)]
pub(crate) fn remove_member(id: u64, member: u64) -> ConfChange {
    conf_change(id, ConfChangeType::ConfChangeRemoveNode, member, None)
}

fn conf_change(id: u64, kind: ConfChangeType, member: u64, context: Option<String>) -> ConfChange {
    ConfChange {
        id: Some(id),
        r#type: Some(kind as i32),
        node_id: Some(member),
        context: context.map(|json| Bytes::from(json.into_bytes())),
    }
}
