//! Some members of one cluster.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

use tempfile::TempDir;

use crate::address;
use crate::door::Door;
use crate::member::{Kind, Member};
use crate::status::Status;
use crate::wait::{until, until_so};

pub struct Cluster {
    // Members go before their folder.
    pub members: Vec<Member>,
    folder: TempDir,
}

impl Cluster {
    /// Nobody is started yet. Every flag is given to every member.
    pub fn new(kinds: &[Kind], flags: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("raftring-cluster-").tempdir().expect("a folder");
        let mut cluster = Self { members: Vec::new(), folder };
        for kind in kinds {
            cluster.add(*kind, flags);
        }
        let initial = cluster.initial();
        for member in &mut cluster.members {
            member.cluster.clone_from(&initial);
        }
        cluster
    }

    /// One more, which knows of no other yet.
    pub fn add(&mut self, kind: Kind, flags: &[&str]) -> &mut Member {
        let name = format!("m{}", self.members.len());
        let mut member = Member::new(&name, kind, address::two_free(address::own()), self.folder.path());
        member.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        self.members.push(member);
        self.members.last_mut().expect("just added")
    }

    /// `--initial-cluster` with everybody.
    pub fn initial(&self) -> String {
        let pairs: Vec<_> =
            self.members.iter().map(|member| format!("{}={}", member.name, member.peer_url())).collect();
        pairs.join(",")
    }

    /// All run, and all know the leader.
    pub fn start(kinds: &[Kind], flags: &[&str]) -> Self {
        let mut cluster = Self::new(kinds, flags);
        cluster.start_all();
        cluster.wait_for_leader();
        cluster
    }

    pub fn start_all(&mut self) {
        self.members.iter_mut().for_each(Member::start);
    }

    pub fn doors(&self) -> Vec<Door> {
        self.members.iter().map(Member::door).collect()
    }

    /// Of those that answer; a member that is down says nothing.
    pub fn statuses(&self) -> Vec<Option<Status>> {
        self.members.iter().map(|member| member.door().status().ok()).collect()
    }

    // ---- waiting -------------------------------------------------------------------------------

    /// The index of the leader whom all running members agree on.
    pub fn wait_for_leader(&mut self) -> usize {
        until("a leader whom all know", || self.leader())
    }

    fn leader(&mut self) -> Option<usize> {
        let running: Vec<_> = self.members.iter_mut().map(Member::is_running).collect();
        let statuses = self.statuses();
        let alive = statuses.iter().zip(running).filter(|(_, running)| *running);
        let known: Option<BTreeSet<_>> =
            alive.map(|(status, _)| status.as_ref().map(|status| (status.leader, status.term))).collect();
        let known = known?;
        let (leader, _) = *known.first().filter(|_| known.len() == 1)?;
        statuses.iter().position(|status| status.as_ref().is_some_and(|s| s.id == leader && leader != 0))
    }

    /// The leader is this one, and all know it.
    pub fn wait_until_leads(&mut self, member: usize) {
        until_so(format!("{} to lead", self[member].name), || self.leader() == Some(member));
    }

    /// Everybody applied the same: nothing is in flight any more. The index of the last entry.
    pub fn wait_until_level(&mut self) -> u64 {
        until("members that applied the same", || {
            let statuses: Option<Vec<_>> = self.statuses().into_iter().collect();
            let levels: BTreeSet<_> = statuses?.iter().map(|s| (s.applied, s.commit)).collect();
            let (applied, commit) = *levels.first().filter(|_| levels.len() == 1)?;
            (applied == commit).then_some(applied)
        })
    }
}

impl Index<usize> for Cluster {
    type Output = Member;

    fn index(&self, member: usize) -> &Member {
        &self.members[member]
    }
}

impl IndexMut<usize> for Cluster {
    fn index_mut(&mut self, member: usize) -> &mut Member {
        &mut self.members[member]
    }
}
