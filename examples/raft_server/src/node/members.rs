//! Who is in the cluster: the transport is told, and what kind they are is looked up.

use std::time::{Duration, Instant};

use super::Node;
use crate::diary;
use crate::etcd::peer::versions::to_propose;
use crate::etcd::request;
use crate::state::MembershipChange;
use crate::watch::Looked;

/// Of what kind a member is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// It reads our snapshots.
    Ours,
    /// It does not, and sends its own.
    Etcd,
}

/// Between two looks at the others, as etcd's leaders look.
const LOOK: Duration = Duration::from_secs(4);

/// The same while somebody's kind is not known, or the leader has just changed.
const LOOK_SOON: Duration = Duration::from_millis(500);

impl Node {
    /// Tells the transport of all members, at the start and after a snapshot.
    pub(super) fn meet_members(&mut self) {
        self.peers.set_removed(self.state.removed());
        if self.state.is_removed(self.settings.id) {
            // It was started once more.
            self.leave(Instant::now());
        }
        for id in self.state.removed() {
            drop(self.transport.remove_peer(id));
        }
        for member in self.state.members().filter(|member| member.id != self.settings.id) {
            // One that is there stays, with the URLs that it had.
            self.told(member.id, self.transport.add_peer(member.id, &member.peer_urls));
            self.told(member.id, self.transport.update_peer(member.id, &member.peer_urls));
        }
    }

    pub(super) fn member_changed(&mut self, change: MembershipChange) {
        let own = self.settings.id;
        self.next_look = Instant::now();
        match change {
            MembershipChange::Added(member) if member.id != own => {
                diary::note(format!("member {:x} at {:?}", member.id, member.peer_urls));
                self.told(member.id, self.transport.add_peer(member.id, &member.peer_urls));
            }
            MembershipChange::Updated(member) if member.id != own => {
                diary::note(format!("member {:x} is at {:?} now", member.id, member.peer_urls));
                self.told(member.id, self.transport.update_peer(member.id, &member.peer_urls));
            }
            MembershipChange::Removed(id) => {
                self.peers.set_removed([id]);
                self.kinds.remove(&id);
                drop(self.transport.remove_peer(id));
                diary::note(format!("member {id:x} was removed"));
                if id == own {
                    self.leave(Instant::now());
                }
            }
            MembershipChange::Promoted(id) => diary::note(format!("member {id:x} votes now")),
            MembershipChange::Added(_) | MembershipChange::Updated(_) | MembershipChange::Published(_) => {}
        }
    }

    fn told(&self, id: u64, told: Result<(), raftring::PeerError>) {
        if let Err(error) = told {
            diary::warn(format!("member {id:x} cannot be reached: {error}"));
        }
    }

    // ---- looks ---------------------------------------------------------------------------------

    pub(super) fn look_if_due(&mut self, now: Instant) {
        if now < self.next_look {
            return;
        }
        let others = self.state.members().filter(|member| member.id != self.settings.id);
        let targets: Vec<_> = others.map(|member| (member.id, member.peer_urls.clone())).collect();
        let all_known = targets.iter().all(|(id, _)| self.kinds.contains_key(id));
        self.next_look = now + if all_known { LOOK } else { LOOK_SOON };
        if !targets.is_empty() {
            self.watch.look(targets);
        } else if self.lead.is_some() {
            self.propose_version(&Looked::new());
        }
    }

    pub(super) fn looked(&mut self, looked: &Looked) {
        for (id, answer) in looked {
            let Some(answer) = answer else { continue };
            let kind = if answer.raft_server.is_some() { Kind::Ours } else { Kind::Etcd };
            self.kinds.insert(*id, kind);
            if let Some(own) = answer.raft_server.as_ref().filter(|_| *id == self.leader()) {
                self.leader_needs = Some((*id, own.needed_beyond.unwrap_or(u64::MAX)));
            }
        }
        let readers = self.kinds.iter().filter(|(_, kind)| **kind == Kind::Ours).map(|(id, _)| *id);
        let readers = readers.collect();
        self.raft.mut_store().set_readers(readers);
        if self.lead.is_some() {
            self.propose_version(looked);
        }
    }

    /// The leader raises the cluster's version as far as all members can follow.
    fn propose_version(&mut self, looked: &Looked) {
        let release = |id| looked.get(&id)?.as_ref().map(|answer| answer.etcdserver.clone());
        if let Some(version) = to_propose(&self.state, self.settings.id, super::RELEASE, release) {
            let id = self.ids.next_id();
            let data = request::cluster_version(id, version, self.state.cluster_version());
            self.propose_own(data);
        }
    }

    // ---- this member ---------------------------------------------------------------------------

    /// Tells the others its name and its client URLs, until the log has them.
    pub(super) fn publish_if_due(&mut self, now: Instant) {
        let (id, attributes) = (self.settings.id, &self.settings.attributes);
        let is_due = now >= self.next_publish && self.can_propose();
        let is_member = |member: &&crate::etcd::member::Member| member.attributes != *attributes;
        if !is_due || self.state.member(id).filter(is_member).is_none() {
            return;
        }
        self.next_publish = now + self.settings.election_timeout() * 2;
        let request_id = self.ids.next_id();
        let data = request::publish(request_id, id, attributes, self.state.cluster_version());
        self.propose_own(data);
    }
}
