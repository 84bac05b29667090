//! A replicated key-value server: raft-rs for consensus, raftring for transport; it stands among etcd
//! members as one of them.

mod diary;
mod flags;
mod log;

fn main() {}
