//! What a leader does beside replicating: it ends leases, watches who is behind, and hands on what it
//! cannot do.

use std::time::{Duration, Instant};

use raft::ProgressState;

use super::Node;
use super::members::Kind;
use crate::diary;
use crate::etcd::peer::leases::LeaseClock;
use crate::etcd::request;

/// While this member leads, and has applied an entry of its term.
pub(super) struct Lead {
    pub(super) leases: LeaseClock,
    /// Nobody is looked for before, who could lead in its place.
    next_search: Instant,
}

/// Between two searches for a member of etcd that could lead.
const SEARCH: Duration = Duration::from_secs(5);

/// A member this far behind still can take over: it gets what it lacks first.
const BEHIND_MAX: u64 = 1_000;

impl Node {
    pub(super) fn begin_to_lead(&mut self) {
        let now = Instant::now();
        let leases = LeaseClock::start(&self.state, self.settings.election_timeout(), now);
        self.lead = Some(Lead { leases, next_search: now });
        self.next_look = now;
    }

    /// Once a tick.
    pub(super) fn lead_on(&mut self, now: Instant) {
        let Some(lead) = &mut self.lead else { return };
        for lease in lead.leases.due(now) {
            let id = self.ids.next_id();
            self.propose_own(request::lease_revoke(id, lease));
        }
        self.help_stranded(now);
    }

    /// Who needs a snapshot that only an etcd can make, or keeps too much of the log from being compacted,
    /// is better led by one.
    fn help_stranded(&mut self, now: Instant) {
        let stranded = self.raft.store().take_stranded();
        let is_long = self.keeps_too_much();
        let Some(lead) = self.lead.as_mut().filter(|lead| now >= lead.next_search) else { return };
        if stranded.is_empty() && !is_long {
            return;
        }
        lead.next_search = now + SEARCH;
        // One whose kind is not known yet may well be of ours.
        let is_etcd = |id: &u64| self.kinds.get(id) == Some(&Kind::Etcd);
        if !is_long && !stranded.iter().any(is_etcd) {
            return;
        }
        let why = match stranded.iter().find(|id| is_etcd(id)) {
            Some(id) => format!("member {id:x} needs a snapshot that only an etcd can make"),
            None => "a member that is away keeps too much of the log".to_owned(),
        };
        match self.successor(|id| self.kinds.get(&id) == Some(&Kind::Etcd)) {
            Some(to) => {
                diary::warn(format!("{why}: leadership goes to {to:x}"));
                self.raft.transfer_leader(to);
            }
            None => diary::warn(format!("{why}, and there is none that could lead")),
        }
    }

    /// Who could lead in place of this member: the one who has most of the log.
    pub(super) fn successor(&self, is_wanted: impl Fn(u64) -> bool) -> Option<u64> {
        let last = self.raft.raft.raft_log.last_index();
        let voters = self.conf_state.voters.iter().filter(|id| **id != self.settings.id && is_wanted(**id));
        let able = voters.filter_map(|id| {
            let progress = self.raft.raft.prs().get(*id)?;
            let is_near = progress.recent_active
                && progress.state == ProgressState::Replicate
                && progress.matched + BEHIND_MAX >= last;
            is_near.then_some((progress.matched, *id))
        });
        able.max().map(|(_, id)| id)
    }

    /// What a member has of the log, if this one leads.
    pub(super) fn matched(&self, id: u64) -> Option<u64> {
        let progress = self.raft.raft.prs().get(id).filter(|_| self.is_leader());
        progress.map(|progress| progress.matched)
    }

    /// Entries beyond this index are needed by a member that cannot read our snapshots, while this one
    /// leads; `None` if nobody needs any.
    pub(super) fn needed_beyond(&self) -> Option<u64> {
        let members = self.raft.raft.prs().iter().filter(|(id, _)| **id != self.settings.id);
        let others = members.filter(|(id, _)| self.kinds.get(id) != Some(&Kind::Ours));
        others.map(|(_, progress)| progress.matched).min()
    }
}
