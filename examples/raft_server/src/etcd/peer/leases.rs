//! When leases end: only a leader knows, by its own clock.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::state::State;

/// The deadlines of all leases, while this member leads.
///
/// A new leader gives each lease its whole time again, and an election's on top: it cannot know when the
/// last one was renewed.
#[derive(Debug, Default)]
pub(crate) struct LeaseClock {
    deadlines: HashMap<i64, Deadline>,
    /// By when something is to be done about it.
    queue: BTreeSet<(Instant, i64)>,
}

#[derive(Debug)]
struct Deadline {
    ends: Instant,
    /// Its place in the queue: `ends`, or when its revocation is proposed again.
    queued: Instant,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Renewal {
    /// `checkpointed`: a leader has once said how much was left, which another would go by.
    Renewed {
        ttl_s: i64,
        checkpointed: bool,
    },
    NotFound,
    /// Its time is over, and its end proposed.
    Ending,
}

/// Revocations proposed at once; etcd's own bound for a second.
const REVOCATIONS_MAX: usize = 1_000;

/// A proposal can get lost. etcd's own pause.
const REVOKE_AGAIN: Duration = Duration::from_secs(3);

/// Longer than anybody waits, and short enough to be added to any `Instant`.
const TTL_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

impl LeaseClock {
    /// This member leads, and has applied the first entry of its term. `extend`: an election timeout.
    pub(crate) fn start(state: &State, extend: Duration, now: Instant) -> Self {
        let mut clock = Self::default();
        for (id, lease) in state.leases() {
            let left_s = if lease.remaining_s > 0 { lease.remaining_s } else { lease.ttl_s };
            clock.set(id, now + seconds(left_s) + extend);
        }
        clock
    }

    /// `Reply::Granted` of an entry.
    pub(crate) fn granted(&mut self, id: i64, ttl_s: i64, now: Instant) {
        self.set(id, now + seconds(ttl_s));
    }

    /// `Reply::Revoked` of an entry.
    pub(crate) fn revoked(&mut self, id: i64) {
        if let Some(deadline) = self.deadlines.remove(&id) {
            self.queue.remove(&(deadline.queued, id));
        }
    }

    /// A client says that it lives.
    pub(crate) fn renew(&mut self, id: i64, state: &State, now: Instant) -> Renewal {
        let Some(lease) = state.lease(id) else { return Renewal::NotFound };
        if self.deadlines.get(&id).is_some_and(|deadline| deadline.ends <= now) {
            return Renewal::Ending;
        }
        self.set(id, now + seconds(lease.ttl_s));
        Renewal::Renewed { ttl_s: lease.ttl_s, checkpointed: lease.remaining_s > 0 }
    }

    /// Seconds until it ends, below 0 after that; `None` if it is not known.
    pub(crate) fn remaining_s(&self, id: i64, now: Instant) -> Option<i64> {
        let ends = self.deadlines.get(&id)?.ends;
        let whole = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Some(if ends >= now { whole(ends - now) } else { -whole(now - ends) })
    }

    /// Leases whose revocation is to be proposed now: `request::lease_revoke`.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<i64> {
        let due = self.queue.iter().take_while(|(when, _)| *when <= now).take(REVOCATIONS_MAX);
        let due: Vec<i64> = due.map(|(_, id)| *id).collect();
        for id in &due {
            if let Some(deadline) = self.deadlines.get_mut(id) {
                self.queue.remove(&(deadline.queued, *id));
                deadline.queued = now + REVOKE_AGAIN;
                self.queue.insert((deadline.queued, *id));
            }
        }
        due
    }

    fn set(&mut self, id: i64, ends: Instant) {
        self.revoked(id);
        self.deadlines.insert(id, Deadline { ends, queued: ends });
        self.queue.insert((ends, id));
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(TTL_MAX)
}
