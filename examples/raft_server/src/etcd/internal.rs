//! What stands in a normal entry (package `etcdserverpb`, `raft_internal.proto`), of etcd 3.4 to 3.6.
//!
//! An entry is an [`InternalRaftRequest`] or, from before etcd 3 and for the membership until 3.4, a bare
//! [`v2::Request`]. Nothing in it says which: it is the second if it cannot be read as the first. The
//! method is the second one's field 2, and none of `PUT`, `POST`, `DELETE`, `QGET`, `SYNC` and `GET` can be
//! read as the first one's field 2, which is a message.

use prost::Message;

use super::rpc::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, LeaseCheckpointRequest, LeaseGrantRequest,
    LeaseRevokeRequest, PutRequest, RangeRequest, TxnRequest,
};
use super::v2;

/// Who asked, and the request's id where `InternalRaftRequest::id` is 0, which it is since etcd 3.0.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct RequestHeader {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    /// Where users are known: who.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) username: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub(crate) auth_revision: u64,
}

/// One of its fields beside `header` and `id` is there. What is about users and roles is told apart, but
/// not read any further.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct InternalRaftRequest {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    /// Until 3.5.
    #[prost(message, optional, tag = "2")]
    pub(crate) v2: Option<v2::Request>,
    #[prost(message, optional, tag = "3")]
    pub(crate) range: Option<RangeRequest>,
    #[prost(message, optional, tag = "4")]
    pub(crate) put: Option<PutRequest>,
    #[prost(message, optional, tag = "5")]
    pub(crate) delete_range: Option<DeleteRangeRequest>,
    #[prost(message, optional, tag = "6")]
    pub(crate) txn: Option<TxnRequest>,
    #[prost(message, optional, tag = "7")]
    pub(crate) compaction: Option<CompactionRequest>,
    #[prost(message, optional, tag = "8")]
    pub(crate) lease_grant: Option<LeaseGrantRequest>,
    #[prost(message, optional, tag = "9")]
    pub(crate) lease_revoke: Option<LeaseRevokeRequest>,
    #[prost(message, optional, tag = "10")]
    pub(crate) alarm: Option<AlarmRequest>,
    #[prost(message, optional, tag = "11")]
    pub(crate) lease_checkpoint: Option<LeaseCheckpointRequest>,
    #[prost(message, optional, tag = "100")]
    pub(crate) header: Option<RequestHeader>,
    #[prost(bytes = "vec", optional, tag = "1000")]
    pub(crate) auth_enable: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1011")]
    pub(crate) auth_disable: Option<Vec<u8>>,
    /// At every login while there are users.
    #[prost(bytes = "vec", optional, tag = "1012")]
    pub(crate) authenticate: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1013")]
    pub(crate) auth_status: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1100")]
    pub(crate) auth_user_add: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1101")]
    pub(crate) auth_user_delete: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1102")]
    pub(crate) auth_user_get: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1103")]
    pub(crate) auth_user_change_password: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1104")]
    pub(crate) auth_user_grant_role: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1105")]
    pub(crate) auth_user_revoke_role: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1106")]
    pub(crate) auth_user_list: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1107")]
    pub(crate) auth_role_list: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1200")]
    pub(crate) auth_role_add: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1201")]
    pub(crate) auth_role_delete: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1202")]
    pub(crate) auth_role_get: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1203")]
    pub(crate) auth_role_grant_permission: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1204")]
    pub(crate) auth_role_revoke_permission: Option<Vec<u8>>,
    /// Since 3.5, as the next two.
    #[prost(message, optional, tag = "1300")]
    pub(crate) cluster_version_set: Option<ClusterVersionSetRequest>,
    #[prost(message, optional, tag = "1301")]
    pub(crate) cluster_member_attr_set: Option<ClusterMemberAttrSetRequest>,
    #[prost(message, optional, tag = "1302")]
    pub(crate) downgrade_info_set: Option<DowngradeInfoSetRequest>,
    /// Since 3.6; it does nothing.
    #[prost(bytes = "vec", optional, tag = "9900")]
    pub(crate) downgrade_version_test: Option<Vec<u8>>,
}

impl InternalRaftRequest {
    /// The request's id; 0 if it has none.
    pub(crate) fn request_id(&self) -> u64 {
        match (self.id, &self.header) {
            (0, Some(header)) => header.id,
            (id, _) => id,
        }
    }

    /// Whether it only asks, so that it changes nothing.
    pub(crate) fn is_question(&self) -> bool {
        self.range.is_some()
            || self.auth_status.is_some()
            || self.auth_user_get.is_some()
            || self.auth_user_list.is_some()
            || self.auth_role_get.is_some()
            || self.auth_role_list.is_some()
            || self.downgrade_version_test.is_some()
    }

    /// Whether it changes users or what they may, or is one's login.
    pub(crate) fn is_about_users(&self) -> bool {
        self.authenticate.is_some()
            || self.auth_user_add.is_some()
            || self.auth_user_delete.is_some()
            || self.auth_user_change_password.is_some()
            || self.auth_user_grant_role.is_some()
            || self.auth_user_revoke_role.is_some()
            || self.auth_role_add.is_some()
            || self.auth_role_delete.is_some()
            || self.auth_role_grant_permission.is_some()
            || self.auth_role_revoke_permission.is_some()
    }
}

/// `membershippb.ClusterVersionSetRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ClusterVersionSetRequest {
    #[prost(string, tag = "1")]
    pub(crate) ver: String,
}

/// `membershippb.Attributes`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct MemberAttributes {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) client_urls: Vec<String>,
}

/// `membershippb.ClusterMemberAttrSetRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ClusterMemberAttrSetRequest {
    #[prost(uint64, tag = "1")]
    pub(crate) member_id: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) member_attributes: Option<MemberAttributes>,
}

/// `membershippb.DowngradeInfoSetRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct DowngradeInfoSetRequest {
    #[prost(bool, tag = "1")]
    pub(crate) enabled: bool,
    #[prost(string, tag = "2")]
    pub(crate) ver: String,
}

/// What a normal entry says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum EntryRequest {
    /// A new leader's first entry.
    Empty,
    V3(Box<InternalRaftRequest>),
    V2(Box<v2::Request>),
}

/// Reads a normal entry.
///
/// # Errors
/// If it is neither of the two. An etcd member ends at such an entry.
pub(crate) fn read(data: &[u8]) -> Result<EntryRequest, prost::DecodeError> {
    if data.is_empty() {
        return Ok(EntryRequest::Empty);
    }
    let Ok(mut request) = InternalRaftRequest::decode(data) else {
        return v2::Request::decode(data).map(|request| EntryRequest::V2(Box::new(request)));
    };
    Ok(match request.v2.take() {
        Some(v2) => EntryRequest::V2(Box::new(v2)),
        None => EntryRequest::V3(Box::new(request)),
    })
}
