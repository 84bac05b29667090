//! The state, entry by entry.

mod bolt;
mod entries;
mod etcd_member;
mod keys;
mod members;
mod model;
mod saved;
mod wal;
