//! Who this member is, as it was decided at its first start, and how that comes about.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use raft::eraftpb::Entry;
use raftring::{ClusterId, MemberId};
use serde::{Deserialize, Serialize};

use crate::etcd::member::Member;
use crate::flags::{ClusterState, Flags, NamedMember};
use crate::log::Log;
use crate::state::State;
use crate::watch;

/// For an answer of a member of the cluster that is joined.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Kept in the log, as JSON; from then on the flags for it are without effect, as with etcd.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Identity {
    pub(crate) id: u64,
    pub(crate) cluster: u64,
    /// The members that were known then: where to go until the log tells.
    pub(crate) members: Vec<Member>,
}

impl Identity {
    /// Of a log that was begun, or of a member that begins now.
    pub(crate) fn load_or_begin(log: &mut Log, flags: &Flags) -> Result<Self> {
        if let Some(bytes) = log.identity() {
            return serde_json::from_slice(&bytes).context("the log does not say whose it is");
        }
        match flags.initial_cluster_state {
            ClusterState::New => Self::bootstrap(log, flags),
            ClusterState::Existing => Self::join(log, flags),
        }
    }

    /// One of the first members of a new cluster.
    fn bootstrap(log: &mut Log, flags: &Flags) -> Result<Self> {
        let members = members_of(&flags.members()?, &flags.initial_cluster_token)?;
        let own = members.iter().find(|member| member.attributes.name == flags.name);
        let id = own.context("this member is not in --initial-cluster")?.id;
        let ids: Vec<_> = members.iter().map(|member| MemberId(member.id)).collect();
        let identity = Self { id, cluster: ClusterId::compute(&ids).0, members };
        identity.check_is_new()?;
        let (_, entries) = State::bootstrap(&identity.members);
        let voters = ids.iter().map(|id| id.0).collect();
        identity.begin(log, &entries, voters)?;
        Ok(identity)
    }

    /// A member that was here before and has lost its log would vote a second time.
    fn check_is_new(&self) -> Result<()> {
        let others = self.members.iter().filter(|member| member.id != self.id);
        let Some((cluster, members)) =
            others.flat_map(|member| &member.peer_urls).find_map(|url| ask(url).ok())
        else {
            return Ok(());
        };
        let was_here = |member: &Member| member.id == self.id && !member.attributes.client_urls.is_empty();
        if cluster == ClusterId(self.cluster) && members.iter().any(was_here) {
            bail!(
                "member {:x} was in this cluster before, and its log is not here: remove it from the cluster and \
                 add it as a new one",
                self.id
            );
        }
        Ok(())
    }

    /// One that was added to a cluster.
    fn join(log: &mut Log, flags: &Flags) -> Result<Self> {
        let own = flags.advertised_peer_urls();
        let named = flags.members()?;
        let others = named.iter().filter(|member| member.name != flags.name);
        let mut failed = None;
        for url in others.flat_map(|member| &member.peer_urls) {
            match ask(url) {
                Ok((cluster, members)) => {
                    let this = members.iter().find(|member| member.peer_urls == own).with_context(|| {
                        format!(
                            "the cluster has no member at {own:?}: add it first, as with `etcdctl member add`"
                        )
                    })?;
                    let identity = Self { id: this.id, cluster: cluster.0, members: members.clone() };
                    identity.begin(log, &[], Vec::new())?;
                    return Ok(identity);
                }
                Err(error) => failed = Some(error),
            }
        }
        let failed = failed.context("--initial-cluster names no other member")?;
        Err(failed.context("no member of the cluster answers"))
    }

    fn begin(&self, log: &mut Log, entries: &[Entry], voters: Vec<u64>) -> Result<()> {
        log.begin(serde_json::to_vec(self)?, entries, voters)
    }
}

fn members_of(named: &[NamedMember], token: &str) -> Result<Vec<Member>> {
    let mut members: Vec<_> =
        named.iter().map(|member| Member::initial(&member.name, &member.peer_urls, token)).collect();
    members.sort_by_key(|member| member.id);
    ensure!(members.iter().all(|member| member.id != 0), "a member's id is 0: choose another token");
    let are_unique = members.windows(2).all(|pair| pair[0].id != pair[1].id);
    ensure!(are_unique, "--initial-cluster has two members of the same URLs");
    Ok(members)
}

/// The cluster and its members, as one of them tells.
fn ask(url: &str) -> Result<(ClusterId, Vec<Member>)> {
    let (cluster, body) = watch::get(&watch::agent(ASK_TIMEOUT), url, "/members")?;
    let cluster = cluster.and_then(|text| text.parse().ok());
    let cluster = cluster.with_context(|| format!("{url}/members does not tell the cluster"))?;
    let members = serde_json::from_slice(&body).with_context(|| format!("{url}/members"))?;
    Ok((cluster, members))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, url: &str) -> NamedMember {
        NamedMember { name: name.to_owned(), peer_urls: vec![url.to_owned()] }
    }

    #[test]
    fn members_of_the_same_urls_are_refused() {
        let two = [named("a", "http://a:1"), named("b", "http://a:1")];
        assert!(members_of(&two, "token").is_err());
        let two = members_of(&[named("a", "http://a:1"), named("b", "http://b:1")], "token").expect("two");
        assert!(two[0].id < two[1].id);
    }

    #[test]
    fn what_was_begun_stays_so_whatever_the_flags_say() {
        use clap::Parser as _;
        let folder = tempfile::tempdir().expect("a folder");
        let flags = |token: &str| {
            Flags::try_parse_from(["raft_server", "--initial-cluster-token", token]).expect("flags")
        };
        let mut log = Log::open(folder.path()).expect("a log");
        let begun = Identity::load_or_begin(&mut log, &flags("one")).expect("begun");
        drop(log);
        let mut log = Log::open(folder.path()).expect("the log");
        assert_eq!(Identity::load_or_begin(&mut log, &flags("two")).expect("loaded"), begun);
    }
}
