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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::v2::Effect;

    fn v2(method: &str, path: &str) -> v2::Request {
        let put = v2::Request::put(7, path.to_owned(), b"value".to_vec());
        v2::Request { method: Some(method.into()), ..put }
    }

    #[test]
    fn a_bare_request_of_the_second_version_is_told_apart() {
        for method in ["PUT", "POST", "DELETE", "QGET", "SYNC", "GET"] {
            for path in ["/1/key", "/0/version", ""] {
                let request = v2(method, path);
                let read = read(&request.encode_to_vec()).expect("readable");
                assert_eq!(read, EntryRequest::V2(Box::new(request)), "{method} {path}");
            }
        }
        let wrapped = InternalRaftRequest { v2: Some(v2("PUT", "/1/a")), ..InternalRaftRequest::default() };
        assert!(matches!(read(&wrapped.encode_to_vec()), Ok(EntryRequest::V2(_))));
        assert_eq!(read(b""), Ok(EntryRequest::Empty));
        assert!(read(b"\xff").is_err());
    }

    /// As 3.4.23 wrote them into its log.
    #[test]
    fn entries_of_etcd_3_4_are_read() {
        let put = b"\x22\x08\x0a\x02k1\x12\x02v1\xa2\x06\x0a\x08\x85\xce\xa7\xee\x9d\xc2\xa8\xe4\x12";
        let Ok(EntryRequest::V3(request)) = read(put) else { panic!("a put") };
        assert_eq!(request.request_id(), 0x12c8_a211_ddc9_e705);
        let put = request.put.expect("a put");
        assert_eq!((&put.key[..], &put.value[..]), (&b"k1"[..], &b"v1"[..]));
        let version = b"\x08\x84\xce\xa7\xee\x9d\xc2\xa8\xe4\x12\x12\x03PUT\x1a\x0a/0/version\x22\x053.4.0\
            \x28\x00\x32\x00\x38\x00\x48\x00\x50\x00\x58\x00\x60\x00\x68\x00\x70\x00\x78\x00\x80\x01\x00";
        let Ok(EntryRequest::V2(request)) = read(version) else { panic!("a request of the second version") };
        assert_eq!(request.effect(), Effect::ClusterVersion(b"3.4.0"));
        assert_eq!(request.encode_to_vec(), version);
    }

    #[test]
    fn only_a_plain_put_has_an_effect_on_the_members() {
        let path = "/0/members/1f/attributes";
        let attributes = Effect::Attributes { member: 0x1f, json: b"value" };
        assert_eq!(v2("PUT", path).effect(), attributes);
        assert_eq!(v2("DELETE", path).effect(), Effect::None);
        assert_eq!(v2::Request { prev_exist: Some(true), ..v2("PUT", path) }.effect(), Effect::None);
        assert_eq!(v2::Request { prev_index: Some(3), ..v2("PUT", path) }.effect(), Effect::None);
        for other in ["/0/members/1f/raftAttributes", "/0/members/xyz/attributes", "/1/version", ""] {
            assert_eq!(v2("PUT", other).effect(), Effect::None, "{other}");
        }
        let not_text = v2::Request { path: Some(vec![0xff]), ..v2("PUT", "") };
        assert_eq!(not_text.effect(), Effect::None);
    }
}
