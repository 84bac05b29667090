//! Keys with their values as etcd keeps them (package `mvccpb`), and leases (`leasepb`).

use bytes::Bytes;

use super::rpc::{LeaseTimeToLiveRequest, LeaseTimeToLiveResponse};

/// A key with all that is known of it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct KeyValue {
    /// Never empty.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) key: Bytes,
    /// The revision in which it began to exist.
    #[prost(int64, tag = "2")]
    pub(crate) create_revision: i64,
    /// The revision in which it was written last.
    #[prost(int64, tag = "3")]
    pub(crate) mod_revision: i64,
    /// Writes since it began to exist.
    #[prost(int64, tag = "4")]
    pub(crate) version: i64,
    #[prost(bytes = "bytes", tag = "5")]
    pub(crate) value: Bytes,
    /// The lease whose end is the key's end; 0 for none.
    #[prost(int64, tag = "6")]
    pub(crate) lease: i64,
}

/// A lease as it is in the database (`leasepb.Lease`).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Lease {
    #[prost(int64, tag = "1")]
    pub(crate) id: i64,
    /// Seconds.
    #[prost(int64, tag = "2")]
    pub(crate) ttl: i64,
    /// Seconds that were left at the last checkpoint; 0 if there was none since the last renewal.
    #[prost(int64, tag = "3")]
    pub(crate) remaining_ttl: i64,
}

/// The body of `POST /leases/internal`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct LeaseInternalRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) time_to_live: Option<LeaseTimeToLiveRequest>,
}

/// The answer to it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LeaseInternalResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) time_to_live: Option<LeaseTimeToLiveResponse>,
}
