//! Header names as Go spells them on the wire (protocol section 3.3); lookup ignores case.

#![allow(missing_docs, reason = "each is its own value")]

pub const ACCEPT_ENCODING: &str = "Accept-Encoding";
pub const ALLOW: &str = "Allow";
pub const CONNECTION: &str = "Connection";
pub const CONTENT_ENCODING: &str = "Content-Encoding";
pub const CONTENT_LENGTH: &str = "Content-Length";
pub const CONTENT_TYPE: &str = "Content-Type";
pub const DATE: &str = "Date";
pub const EXPECT: &str = "Expect";
pub const HOST: &str = "Host";
pub const TRAILER: &str = "Trailer";
pub const TRANSFER_ENCODING: &str = "Transfer-Encoding";
pub const UPGRADE: &str = "Upgrade";
pub const USER_AGENT: &str = "User-Agent";
pub const X_CONTENT_TYPE_OPTIONS: &str = "X-Content-Type-Options";
pub const X_ETCD_CLUSTER_ID: &str = "X-Etcd-Cluster-Id";
pub const X_MIN_CLUSTER_VERSION: &str = "X-Min-Cluster-Version";
pub const X_PEER_URLS: &str = "X-Peerurls";
pub const X_RAFTRING_SNAPSHOT: &str = "X-Raftring-Snapshot";
pub const X_RAFTRING_SNAPSHOT_OFFSET: &str = "X-Raftring-Snapshot-Offset";
pub const X_RAFT_TO: &str = "X-Raft-To";
pub const X_SERVER_FROM: &str = "X-Server-From";
pub const X_SERVER_VERSION: &str = "X-Server-Version";
