//! Members in processes of their own: raft servers of ours alone, and among real etcd members.
#![allow(missing_docs, unreachable_pub, reason = "modules of a test")]

mod address;
mod cluster;
mod door;
mod etcdctl;
mod history;
mod load;
mod member;
mod process;
mod status;
mod try_etcd;
mod wait;
