//! The statistics of one follower where many threads reach them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::proto::stats::FollowerStats;

/// The statistics of one follower. They go when the peer is removed, as in etcd.
#[derive(Debug, Default)]
pub struct Follower(Mutex<FollowerStats>);

impl Follower {
    /// A `MsgApp` was sent and took so long.
    pub fn success(&self, took: Duration) {
        self.successes(1, took);
    }

    /// So many were, together.
    pub fn successes(&self, count: u64, took: Duration) {
        self.lock().success(count, took);
    }

    /// A `MsgApp` was not sent.
    pub fn fail(&self) {
        self.lock().fail();
    }

    /// A look at them.
    #[must_use]
    pub fn get(&self) -> FollowerStats {
        self.lock().clone()
    }

    /// Held for a few additions or a copy.
    fn lock(&self) -> MutexGuard<'_, FollowerStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
