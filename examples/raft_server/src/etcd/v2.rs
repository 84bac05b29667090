//! Requests of etcd's second version (`etcdserver.proto`). Clients of it are long gone; until 3.4 members
//! use them for the cluster's version and their own attributes.

use prost::Message;

/// Text is kept as bytes, for etcd does not look whether it is UTF-8.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Request {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) id: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) method: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) path: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(crate) val: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "5")]
    pub(crate) dir: Option<bool>,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub(crate) prev_value: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "7")]
    pub(crate) prev_index: Option<u64>,
    #[prost(bool, optional, tag = "8")]
    pub(crate) prev_exist: Option<bool>,
    #[prost(int64, optional, tag = "9")]
    pub(crate) expiration: Option<i64>,
    #[prost(bool, optional, tag = "10")]
    pub(crate) wait: Option<bool>,
    #[prost(uint64, optional, tag = "11")]
    pub(crate) since: Option<u64>,
    #[prost(bool, optional, tag = "12")]
    pub(crate) recursive: Option<bool>,
    #[prost(bool, optional, tag = "13")]
    pub(crate) sorted: Option<bool>,
    #[prost(bool, optional, tag = "14")]
    pub(crate) quorum: Option<bool>,
    #[prost(int64, optional, tag = "15")]
    pub(crate) time: Option<i64>,
    #[prost(bool, optional, tag = "16")]
    pub(crate) stream: Option<bool>,
    #[prost(bool, optional, tag = "17")]
    pub(crate) refresh: Option<bool>,
}

/// Where the cluster's version is.
pub(crate) const CLUSTER_VERSION_PATH: &str = "/0/version";

impl Request {
    /// A PUT as a member of 3.4 forms it: it writes all fields whatever they are, but for two.
    pub(crate) fn put(id: u64, path: String, val: Vec<u8>) -> Self {
        Self {
            id: Some(id),
            method: Some(b"PUT".to_vec()),
            path: Some(path.into_bytes()),
            val: Some(val),
            dir: Some(false),
            prev_value: Some(Vec::new()),
            prev_index: Some(0),
            prev_exist: None,
            expiration: Some(0),
            wait: Some(false),
            since: Some(0),
            recursive: Some(false),
            sorted: Some(false),
            quorum: Some(false),
            time: Some(0),
            stream: Some(false),
            refresh: None,
        }
    }

    /// What it changes in the membership.
    pub(crate) fn effect(&self) -> Effect<'_> {
        let compares = self.prev_exist.is_some()
            || self.prev_index.is_some_and(|index| index > 0)
            || self.prev_value.as_ref().is_some_and(|value| !value.is_empty());
        if self.method.as_deref() != Some(b"PUT") || compares {
            return Effect::None;
        }
        let path = str::from_utf8(self.path.as_deref().unwrap_or_default()).unwrap_or_default();
        let value = self.val.as_deref().unwrap_or_default();
        if path == CLUSTER_VERSION_PATH {
            return Effect::ClusterVersion(value);
        }
        match attributes_of(path) {
            Some(member) => Effect::Attributes { member, json: value },
            None => Effect::None,
        }
    }
}

/// Of a request of the second version, what is not only its store's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Effect<'a> {
    /// It reads or writes the second version's store, which nothing else knows of.
    None,
    ClusterVersion(&'a [u8]),
    Attributes {
        member: u64,
        json: &'a [u8],
    },
}

/// Where a member's attributes are.
pub(crate) fn attributes_path(member: u64) -> String {
    format!("/0/members/{member:x}/attributes")
}

/// Of which member a path has the attributes.
fn attributes_of(path: &str) -> Option<u64> {
    let id = path.strip_prefix("/0/members/")?.strip_suffix("/attributes")?;
    id.parse().map(|raftring::MemberId(id)| id).ok()
}
