//! A replicated key-value server: raft-rs for consensus, raftring for transport; it stands among etcd
//! members as one of them.

mod etcd;
mod state;

fn main() {}
