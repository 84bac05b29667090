//! AppendMeter of all peers together: what v2stats tells of a server.

use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::Instant;

use super::number::Counter;
use crate::proto::stats::Rate;

/// AppendMeter sent and received by a transport.
#[derive(Debug, Default)]
pub struct Server {
    sent: AppendMeter,
    received: AppendMeter,
}

/// Those of one direction.
#[derive(Debug, Default)]
pub struct AppendMeter {
    count: Counter,
    rate: Mutex<Rate>,
}

impl Server {
    /// What was sent.
    #[must_use]
    pub const fn sent(&self) -> &AppendMeter {
        &self.sent
    }

    /// What was received.
    #[must_use]
    pub const fn received(&self) -> &AppendMeter {
        &self.received
    }
}

impl AppendMeter {
    /// So many more.
    pub fn add(&self, appends: u64) {
        self.count.add(appends);
    }

    /// So many moved by `now`, since the last time, of those that were added.
    pub fn rate(&self, now: Instant, appends: u64, bytes: u64) {
        // Whoever finds it taken goes on: the count is exact, a rate may miss one batch of 200.
        match self.rate.try_lock() {
            Ok(mut rate) => rate.add(now, appends, bytes),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().add(now, appends, bytes),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// Both.
    pub fn add_at(&self, now: Instant, appends: u64, bytes: u64) {
        self.add(appends);
        self.rate(now, appends, bytes);
    }

    /// All of them.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// AppendMeter and bytes a second.
    pub fn rates(&self, now: Instant) -> (f64, f64) {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).rates(now)
    }
}
