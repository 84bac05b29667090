//! Messages to and from raft-rs: both ways, what is refused and why, and that nothing which passes ends
//! a raft-rs that is stepped with it.

mod bytes;
mod conf_changes;
mod made_up;
mod nodes;
mod properties;
mod refusals;
