//! The paths that are served (protocol section 3.1).

/// What a path leads to. Methods and everything else are looked at later.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Endpoint {
    /// `/raft`: one message a POST.
    Pipeline,
    /// `/raft/stream/...`: an outgoing stream.
    Stream,
    /// `/raft/snapshot`: a message and a database.
    Snapshot,
    /// `/raft/snapshot/partial`: how much of a snapshot is there. etcd does not have it.
    SnapshotPartial,
    /// `/raft/probing`: are you well.
    Probing,
}

impl Endpoint {
    /// The path of the pipeline.
    pub const PIPELINE_PATH: &'static str = "/raft";
    /// What the paths of both streams begin with.
    pub const STREAM_PREFIX: &'static str = "/raft/stream/";
    /// The path of snapshots.
    pub const SNAPSHOT_PATH: &'static str = "/raft/snapshot";
    /// The path that tells how much of a snapshot is there.
    pub const SNAPSHOT_PARTIAL_PATH: &'static str = "/raft/snapshot/partial";
    /// The path of probes.
    pub const PROBING_PATH: &'static str = "/raft/probing";

    /// The endpoint of a path without its query. `None` is a 404; Go's redirects of doubled
    /// slashes and dots are not imitated, for no peer follows them.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        match path {
            Self::PIPELINE_PATH => Some(Self::Pipeline),
            Self::SNAPSHOT_PATH => Some(Self::Snapshot),
            Self::SNAPSHOT_PARTIAL_PATH => Some(Self::SnapshotPartial),
            Self::PROBING_PATH => Some(Self::Probing),
            _ if path.starts_with(Self::STREAM_PREFIX) => Some(Self::Stream),
            _ => None,
        }
    }

    /// True for every path that is the transport's, also for one that leads nowhere: none of them is the
    /// host's.
    #[must_use]
    pub fn is_below_raft(path: &str) -> bool {
        path.strip_prefix(Self::PIPELINE_PATH).is_some_and(|below| below.is_empty() || below.starts_with('/'))
    }

    /// The one method that is answered; `None` if all are.
    #[must_use]
    pub const fn method(self) -> Option<&'static str> {
        match self {
            Self::Pipeline | Self::Snapshot => Some("POST"),
            Self::Stream | Self::SnapshotPartial => Some("GET"),
            Self::Probing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_has_paths_below_it() {
        assert_eq!(Endpoint::of_path("/raft"), Some(Endpoint::Pipeline));
        assert_eq!(Endpoint::of_path("/raft/stream/"), Some(Endpoint::Stream));
        assert_eq!(Endpoint::of_path("/raft/stream/any/thing"), Some(Endpoint::Stream));
        assert_eq!(Endpoint::of_path("/raft/snapshot"), Some(Endpoint::Snapshot));
        assert_eq!(Endpoint::of_path("/raft/snapshot/partial"), Some(Endpoint::SnapshotPartial));
        assert_eq!(Endpoint::of_path("/raft/probing"), Some(Endpoint::Probing));
        for path in ["/", "/raft/", "/raft/stream", "/raft/snapshot/", "/raft/x", "/members", "//raft"] {
            assert_eq!(Endpoint::of_path(path), None, "{path}");
        }
    }

    #[test]
    fn all_below_raft_is_the_transports() {
        assert!(["/raft", "/raft/", "/raft/x/y"].iter().all(|path| Endpoint::is_below_raft(path)));
        assert!(["/", "/rafts", "/version", "//raft"].iter().all(|path| !Endpoint::is_below_raft(path)));
    }
}
