//! A replicated key-value server: raft-rs for consensus, raftring for transport; it stands among etcd
//! members as one of them.

mod diary;
mod etcd;
mod flags;
mod log;
mod state;

fn main() {}
