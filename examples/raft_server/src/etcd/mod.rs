//! etcd's words: what its members put into the log, ask each other, and keep in their databases.

pub(crate) mod id;
pub(crate) mod internal;
pub(crate) mod member;
pub(crate) mod mvccpb;
pub(crate) mod peer;
pub(crate) mod request;
pub(crate) mod rpc;
pub(crate) mod v2;
pub(crate) mod version;
