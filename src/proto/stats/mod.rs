//! etcd's `v2stats`: how long a leader's appends take, and how many a server sends and receives
//! (protocol sections 9.1, 10.1, 13 and the end of 15).

mod follower;
mod leader;
mod rate;
mod server;

pub use follower::{FollowerStats, MINIMUM_START};
pub use leader::LeaderStats;
pub use rate::{RATE_BATCHES_MAX, Rate};
pub use server::{Appends, Leadership, RaftState, ServerStats};
