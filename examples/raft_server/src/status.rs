//! How a member is: `GET /status`, and its own metrics.

use std::fmt::Write as _;
use std::time::Duration;

use raftring::{MemberId, RoundTripper, Transport};
use serde::Serialize;

use crate::state::LogDigest;

/// What a look at the raft loop brings; ids are in hexadecimal.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) cluster: String,
    /// `0`: none is known.
    pub(crate) leader: String,
    pub(crate) role: &'static str,
    pub(crate) term: u64,
    pub(crate) commit: u64,
    pub(crate) applied: u64,
    pub(crate) revision: i64,
    /// What the cluster's members all understand, or `not_decided`.
    pub(crate) cluster_version: String,
    pub(crate) log_digest: Digest,
    pub(crate) kv_digest: String,
    /// Entries whose meaning is not known here.
    pub(crate) not_understood: u64,
    pub(crate) removed: bool,
    pub(crate) log: LogStatus,
    pub(crate) peers: Vec<PeerStatus>,
    #[serde(skip)]
    pub(crate) meters: Meters,
}

/// Over all entries from one to another.
#[derive(Debug, Serialize)]
pub(crate) struct Digest {
    from: u64,
    to: u64,
    hash: String,
}

impl From<&LogDigest> for Digest {
    fn from(digest: &LogDigest) -> Self {
        Self { from: digest.from, to: digest.to, hash: format!("{:016x}", digest.hash) }
    }
}

/// What is on disk.
#[derive(Debug, Serialize)]
pub(crate) struct LogStatus {
    /// Index of the newest snapshot.
    pub(crate) snapshot: u64,
    /// Entries that are kept.
    pub(crate) entries: u64,
    pub(crate) bytes: usize,
}

/// Another member.
#[derive(Debug, Serialize)]
pub(crate) struct PeerStatus {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) urls: Vec<String>,
    pub(crate) learner: bool,
    /// What it has of the log, as far as a leader knows.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub(crate) matched: Option<u64>,
    /// On the streams' own connections where both ends are raftring, of probes otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) round_trip_ms: Option<f64>,
    /// `None`: it is not active.
    pub(crate) active_since_s: Option<f64>,
    #[serde(skip)]
    pub(crate) number: u64,
}

/// What the loop counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meters {
    pub(crate) rounds: u64,
    pub(crate) syncs: u64,
    pub(crate) sync_time: Duration,
    pub(crate) proposed: u64,
    pub(crate) waiting: usize,
    pub(crate) messages: u64,
    pub(crate) refused: u64,
}

impl Status {
    /// Fills in what the transport knows of the peers. Waits for its cores: for a thread that may.
    pub(crate) fn ask_transport(&mut self, transport: &Transport) {
        for peer in &mut self.peers {
            let id = MemberId(peer.number);
            peer.active_since_s = transport.active_since(id).map(|since| since.elapsed().as_secs_f64());
            peer.round_trip_ms = round_trip(transport, id).map(|time| time.as_secs_f64() * 1e3);
        }
    }

    /// In the text form of Prometheus.
    pub(crate) fn metrics_text(&self) -> String {
        let meters = &self.meters;
        let leads = u64::from(self.leader == self.id);
        let gauges = [
            ("has_leader", "Whether a leader is known.", u64::from(self.leader != "0")),
            ("is_leader", "Whether this member leads.", leads),
            ("term", "The term of raft.", self.term),
            ("committed_index", "The last entry that is committed.", self.commit),
            ("applied_index", "The last entry that is applied.", self.applied),
            ("log_entries", "Entries that are kept.", self.log.entries),
            ("log_bytes", "What the log takes on disk.", self.log.bytes as u64),
            ("proposals_pending", "Proposals that wait to be applied.", meters.waiting as u64),
        ];
        let counters = [
            ("rounds_total", "Rounds of the raft loop.", meters.rounds),
            ("syncs_total", "Writes of the log that were synced.", meters.syncs),
            ("proposals_total", "Proposals that were made.", meters.proposed),
            ("messages_total", "Messages of other members.", meters.messages),
            ("messages_refused_total", "Those of them that cannot be understood.", meters.refused),
            ("entries_not_understood_total", "Entries whose meaning is not known.", self.not_understood),
        ];
        let mut text = String::new();
        let all = gauges.map(|one| (one, "gauge")).into_iter().chain(counters.map(|one| (one, "counter")));
        for ((name, help, value), kind) in all {
            let name = format!("raft_server_{name}");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        let name = "raft_server_sync_seconds_total";
        let seconds = meters.sync_time.as_secs_f64();
        let _ = writeln!(text, "# HELP {name} Time spent on them.\n# TYPE {name} counter\n{name} {seconds}");
        text
    }
}

fn round_trip(transport: &Transport, id: MemberId) -> Option<Duration> {
    let measured = transport.peer_stats(id).and_then(|stats| Some(stats.round_trips?.quantile(0.5)));
    let probed = || transport.probe(id, RoundTripper::Snapshot).map(|probe| probe.round_trip);
    measured.or_else(probed).filter(|time| !time.is_zero())
}
