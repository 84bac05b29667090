//! Some members of one cluster.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::address;
use crate::door::Door;
use crate::member::{Kind, Member};
use crate::status::Status;
use crate::wait::{until, until_so};

pub struct Cluster {
    // Members go before their folder, and before the next test's come.
    pub members: Vec<Member>,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Nobody is started yet. Every flag is given to every member.
    ///
    /// One cluster at a time: each has the machine for itself.
    pub fn new(kinds: &[Kind], flags: &[&str]) -> Self {
        static STAGE: Mutex<()> = Mutex::new(());
        let alone = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::Builder::new().prefix("raftring-cluster-").tempdir().expect("a folder");
        let mut cluster = Self { members: Vec::new(), folder, _alone: alone };
        for kind in kinds {
            cluster.add(*kind, flags);
        }
        cluster.introduce();
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

    /// Tells all of all.
    pub fn introduce(&mut self) {
        let pairs: Vec<_> =
            self.members.iter().map(|member| format!("{}={}", member.name, member.peer_url())).collect();
        for member in &mut self.members {
            member.cluster = pairs.join(",");
        }
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

    pub fn kill_all(&mut self) {
        self.members.iter_mut().for_each(Member::kill);
    }

    pub fn doors(&self) -> Vec<Door> {
        self.members.iter().map(Member::door).collect()
    }

    /// Indices of the members of this kind.
    pub fn of(&self, kind: Kind) -> Vec<usize> {
        (0..self.members.len()).filter(|&member| self[member].kind == kind).collect()
    }

    /// Indices of those that run.
    pub fn running(&mut self) -> Vec<usize> {
        (0..self.members.len()).filter(|&member| self[member].is_running()).collect()
    }

    /// Of these members; `None` if one of them does not answer.
    pub fn statuses(&self, members: &[usize]) -> Option<Vec<Status>> {
        members.iter().map(|&member| self[member].door().status().ok()).collect()
    }

    pub fn id(&self, member: usize) -> u64 {
        until("an id", || self[member].door().status().ok()).id
    }

    // ---- waiting -------------------------------------------------------------------------------

    /// The leader whom all running members agree on, and whom all of them follow.
    pub fn wait_for_leader(&mut self) -> usize {
        let running = self.running();
        self.wait_for_leader_among(&running)
    }

    /// Whom these agree on, and who is one of them; the others may believe what they like.
    pub fn wait_for_leader_among(&self, members: &[usize]) -> usize {
        until("a leader whom all know", || self.leader_among(members))
    }

    fn leader_among(&self, members: &[usize]) -> Option<usize> {
        let statuses = self.statuses(members)?;
        let beliefs: BTreeSet<_> = statuses.iter().map(|status| (status.leader, status.term)).collect();
        let (leader, _) = *beliefs.first().filter(|_| beliefs.len() == 1)?;
        let at = statuses.iter().position(|status| status.id == leader && status.leads())?;
        Some(members[at])
    }

    /// The leader is this one, and all that run know it.
    pub fn wait_until_leads(&mut self, member: usize) {
        let running = self.running();
        let what = format!("{} to lead", self[member].name);
        until_so(what, || self.leader_among(&running) == Some(member));
    }

    /// All that run applied the same: nothing is in flight any more. The index of the last entry.
    pub fn wait_until_level(&mut self) -> u64 {
        let running = self.running();
        until("members that applied the same", || {
            let levels: BTreeSet<_> =
                self.statuses(&running)?.iter().map(|status| (status.applied, status.commit)).collect();
            let (applied, commit) = *levels.first().filter(|_| levels.len() == 1)?;
            (applied == commit).then_some(applied)
        })
    }

    /// # Panics
    /// If two of ours that run applied different entries, or hold different keys.
    pub fn assert_digests_agree(&mut self) -> u64 {
        let applied = self.wait_until_level();
        let ours: Vec<_> =
            self.running().into_iter().filter(|&member| self[member].kind == Kind::Raftring).collect();
        let statuses = self.statuses(&ours).expect("all run");
        for status in &statuses {
            assert_eq!(status.log.as_ref().map(|log| log.to), Some(applied), "{status:?}");
            assert_eq!((&status.log, &status.kv_digest), (&statuses[0].log, &statuses[0].kv_digest));
        }
        applied
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
