//! A leader raises the cluster's version as far as all members can follow.

use crate::etcd::version::ClusterVersion;
use crate::state::State;

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
