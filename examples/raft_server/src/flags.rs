//! What the program is told by its command line: etcd's flags, as far as they mean something here.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};

/// A replicated key-value server: raft-rs for consensus, raftring for transport. It stands among etcd
/// members as one of them.
#[derive(Clone, Debug, Parser)]
#[command(name = "raft_server", version, rename_all = "kebab-case")]
pub(crate) struct Flags {
    /// This member's name, as in --initial-cluster.
    #[arg(long, default_value = "default")]
    pub(crate) name: String,
    /// Where the log and the snapshots are; `<name>.raft_server` if it is not given.
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where members reach this one.
    #[arg(long, default_value = "http://127.0.0.1:2380")]
    pub(crate) listen_peer_urls: String,
    /// What other members are told to dial [default: as --listen-peer-urls].
    #[arg(long)]
    pub(crate) initial_advertise_peer_urls: Option<String>,
    /// Where clients reach this one; several, separated by commas.
    #[arg(long, default_value = "http://127.0.0.1:2379")]
    pub(crate) listen_client_urls: String,
    /// What clients are told to dial [default: as --listen-client-urls].
    #[arg(long)]
    pub(crate) advertise_client_urls: Option<String>,
    /// All members, this one too: name=url,name=url [default: this one alone].
    #[arg(long)]
    pub(crate) initial_cluster: Option<String>,
    /// Part of the members' ids, so that clusters of the same URLs are told apart.
    #[arg(long, default_value = "etcd-cluster")]
    pub(crate) initial_cluster_token: String,
    /// `new`, or `existing` for a member that was added to a cluster.
    #[arg(long, value_enum, default_value_t = ClusterState::New)]
    pub(crate) initial_cluster_state: ClusterState,
    /// Milliseconds between two heartbeats of a leader.
    #[arg(long, default_value_t = 100)]
    pub(crate) heartbeat_interval: u64,
    /// Milliseconds without a leader after which an election is held.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) election_timeout: u64,
    /// Entries applied between two snapshots of the state.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) snapshot_count: u64,
    /// Cores that move messages.
    #[arg(long, default_value_t = 1)]
    pub(crate) cores: usize,
    /// Whether a core polls after its last work: `never`, `adaptive`, or for so many microseconds.
    #[arg(long, default_value = "adaptive", value_parser = spin)]
    pub(crate) spin: raftring::Spin,
    /// Ask before an election whether it could be won. Off as in etcd 3.4; on from 3.5 on.
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) pre_vote: bool,
    /// A leader that hears nothing of a majority steps down. On, as in all releases of etcd.
    #[arg(long, num_args = 0..=1, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) check_quorum: bool,
    /// Serves `POST /faults/...` to clients: for tests.
    #[arg(long, hide = true)]
    pub(crate) enable_faults: bool,
}

/// etcd's words for whether there is a cluster yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ClusterState {
    /// All members of --initial-cluster start for the first time.
    New,
    /// This member was added to a cluster that is there.
    Existing,
}

/// A member as --initial-cluster names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NamedMember {
    pub(crate) name: String,
    /// Sorted, as etcd does before it computes ids of them.
    pub(crate) peer_urls: Vec<String>,
}

/// No member can be told from a busy one in less: a tick is a heartbeat's interval.
const HEARTBEAT_MS_MIN: u64 = 10;

/// etcd's own bound: nobody waits longer for a leader.
const ELECTION_MS_MAX: u64 = 50_000;

/// etcd's own rule: an election timeout of less than five heartbeats elects for nothing.
const HEARTBEATS_PER_ELECTION_MIN: u64 = 5;

impl Flags {
    /// Refuses what cannot work, with a sentence that says what to do.
    pub(crate) fn check(&self) -> Result<()> {
        let (heartbeat, election) = (self.heartbeat_interval, self.election_timeout);
        ensure!(heartbeat >= HEARTBEAT_MS_MIN, "--heartbeat-interval: give {HEARTBEAT_MS_MIN} ms or more");
        ensure!(election <= ELECTION_MS_MAX, "--election-timeout: give {ELECTION_MS_MAX} ms or less");
        ensure!(
            election >= heartbeat.saturating_mul(HEARTBEATS_PER_ELECTION_MIN),
            "--election-timeout: give at least {HEARTBEATS_PER_ELECTION_MIN} times --heartbeat-interval"
        );
        ensure!(self.snapshot_count > 0, "--snapshot-count: give 1 or more");
        ensure!(self.cores > 0, "--cores: give 1 or more");
        ensure!(urls(&self.listen_peer_urls).len() == 1, "--listen-peer-urls: give one URL");
        self.members().map(drop)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| format!("{}.raft_server", self.name).into())
    }

    pub(crate) fn advertised_peer_urls(&self) -> Vec<String> {
        urls(self.initial_advertise_peer_urls.as_ref().unwrap_or(&self.listen_peer_urls))
    }

    pub(crate) fn advertised_client_urls(&self) -> Vec<String> {
        urls(self.advertise_client_urls.as_ref().unwrap_or(&self.listen_client_urls))
    }

    pub(crate) fn listen_client_urls(&self) -> Vec<String> {
        urls(&self.listen_client_urls)
    }

    pub(crate) fn tick(&self) -> Duration {
        Duration::from_millis(self.heartbeat_interval)
    }

    /// Ticks of an election timeout.
    pub(crate) fn election_ticks(&self) -> usize {
        usize::try_from(self.election_timeout / self.heartbeat_interval).unwrap_or(usize::MAX)
    }

    /// For a client's request: etcd's five seconds and two elections.
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * Duration::from_millis(self.election_timeout)
    }

    /// The members of --initial-cluster, this one among them.
    pub(crate) fn members(&self) -> Result<Vec<NamedMember>> {
        let own = self.advertised_peer_urls();
        let Some(cluster) = &self.initial_cluster else {
            return Ok(vec![NamedMember { name: self.name.clone(), peer_urls: own }]);
        };
        let members = parse_cluster(cluster)?;
        let Some(this) = members.iter().find(|member| member.name == self.name) else {
            bail!("--initial-cluster has no member of this name: {}", self.name);
        };
        ensure!(
            this.peer_urls == own,
            "--initial-cluster has {:?} for {}, but --initial-advertise-peer-urls is {own:?}",
            this.peer_urls,
            self.name
        );
        Ok(members)
    }
}

/// `a=http://x:1,a=http://y:1,b=...`: the URLs of one name belong to one member.
fn parse_cluster(text: &str) -> Result<Vec<NamedMember>> {
    let mut members: Vec<NamedMember> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, url) = part.split_once('=').with_context(|| {
            format!("--initial-cluster: {part:?} is not of the form name=http://10.0.0.1:2380")
        })?;
        match members.iter_mut().find(|member| member.name == name) {
            Some(member) => member.peer_urls.push(url.to_owned()),
            None => members.push(NamedMember { name: name.to_owned(), peer_urls: vec![url.to_owned()] }),
        }
    }
    members.iter_mut().for_each(|member| member.peer_urls.sort());
    ensure!(!members.is_empty(), "--initial-cluster is empty: leave it out for a cluster of one");
    Ok(members)
}

/// A list with commas, sorted.
fn urls(text: &str) -> Vec<String> {
    let mut urls: Vec<_> = text.split(',').map(str::trim).filter(|url| !url.is_empty()).collect();
    urls.sort_unstable();
    urls.into_iter().map(str::to_owned).collect()
}

fn spin(text: &str) -> Result<raftring::Spin, String> {
    match text {
        "never" => Ok(raftring::Spin::Never),
        "adaptive" => Ok(raftring::CoresConfig::default().spin),
        number => number
            .parse()
            .map(|us| raftring::Spin::Always(Duration::from_micros(us)))
            .map_err(|_| "give `never`, `adaptive`, or a number of microseconds".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(args: &[&str]) -> Flags {
        Flags::try_parse_from(["raft_server"].iter().chain(args)).expect("flags")
    }

    #[test]
    fn the_defaults_are_those_of_etcd_3_4() {
        let flags = flags(&[]);
        flags.check().expect("sound");
        assert_eq!((flags.heartbeat_interval, flags.election_timeout), (100, 1_000));
        assert_eq!((flags.snapshot_count, flags.election_ticks()), (100_000, 10));
        assert!(!flags.pre_vote && flags.check_quorum && !flags.enable_faults);
        assert_eq!(flags.request_timeout(), Duration::from_secs(7));
        assert_eq!(flags.members().expect("one")[0].peer_urls, ["http://127.0.0.1:2380"]);
        assert_eq!(flags.data_dir(), PathBuf::from("default.raft_server"));
    }

    #[test]
    fn switches_are_given_with_and_without_a_value() {
        assert!(flags(&["--pre-vote"]).pre_vote);
        assert!(flags(&["--pre-vote=true"]).pre_vote);
        assert!(!flags(&["--check-quorum=false"]).check_quorum);
    }

    #[test]
    fn urls_of_one_name_are_one_member() {
        let cluster = "b=http://b:1,a=http://z:1,a=http://y:1";
        let members = parse_cluster(cluster).expect("a cluster");
        assert_eq!(members.len(), 2);
        assert_eq!(members[1].peer_urls, ["http://y:1", "http://z:1"]);
        assert!(parse_cluster("http://a:1").is_err());
        assert!(parse_cluster(" , ").is_err());
    }

    #[test]
    fn a_cluster_without_this_member_or_with_other_urls_is_refused() {
        let with = |cluster: &str| flags(&["--name=a", "--initial-cluster", cluster]).check();
        assert!(with("a=http://127.0.0.1:2380,b=http://b:1").is_ok());
        assert!(with("b=http://b:1").is_err());
        assert!(with("a=http://127.0.0.1:9").is_err());
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for wrong in [
            ["--election-timeout=400", "--heartbeat-interval=100"],
            ["--election-timeout=60000", "--heartbeat-interval=100"],
            ["--heartbeat-interval=1", "--election-timeout=1000"],
            ["--snapshot-count=0", "--cores=1"],
            ["--snapshot-count=1", "--cores=0"],
        ] {
            assert!(flags(&wrong).check().is_err(), "{wrong:?}");
        }
        assert!(Flags::try_parse_from(["raft_server", "--spin=often"]).is_err());
        assert_eq!(flags(&["--spin=50"]).spin, raftring::Spin::Always(Duration::from_micros(50)));
    }
}
