//! The leader's watch over what its members are: it raises the cluster's version as far as all can follow.

use std::time::{Duration, Instant};

use crate::etcd::version::ClusterVersion;
use crate::state::State;

/// When to look.
#[derive(Debug, Default)]
pub(crate) struct VersionMonitor {
    /// `None` while this member does not lead.
    next: Option<Instant>,
}

/// etcd's own.
const INTERVAL: Duration = Duration::from_secs(4);

impl VersionMonitor {
    /// This member leads, and has applied the first entry of its term.
    pub(crate) fn lead(&mut self, now: Instant) {
        self.next = Some(now);
    }

    pub(crate) fn follow(&mut self) {
        self.next = None;
    }

    /// Whether to ask all other members for their `/version` now. Answers true once an interval.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.next = Some(now + INTERVAL);
        }
        due
    }
}

/// What to propose, given what the other members said, if anything: `request::cluster_version`.
/// `release` is asked for the `etcdserver` of each; `None` of one is enough to wait with all but the first
/// version of a new cluster.
pub(crate) fn to_propose(
    state: &State,
    this: u64,
    own_release: &str,
    release: impl Fn(u64) -> Option<String>,
) -> Option<ClusterVersion> {
    let of = |id| if id == this { Some(own_release.to_owned()) } else { release(id) };
    let releases = state.members().map(|member| ClusterVersion::parse(&of(member.id)?));
    let decided: Option<Vec<ClusterVersion>> = releases.collect();
    let decided = decided.and_then(|releases| releases.into_iter().min());
    match state.cluster_version() {
        None => Some(decided.unwrap_or(ClusterVersion::MIN)),
        Some(current) => decided.filter(|decided| *decided > current),
    }
}
