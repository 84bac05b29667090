//! What a member proposes on its own: its name when it has started; as a leader the ends of leases and the
//! cluster's version.
//!
//! ```text
//!   the raft loop, each round:  leads(term or none, state, now)      who leads, by raft
//!   after each entry:           applied(reply, now)
//!   at each tick:               due(state, ids, now) -> proposals, and whom to ask for their /version
//!   when they have answered:    looked(state, ids, releases) -> proposal
//! ```
//!
//! Each proposal is one that may get lost: what is still due comes again later.

use std::time::{Duration, Instant};

use super::id::RequestIds;
use super::member::Attributes;
use super::peer::leases::LeaseClock;
use super::peer::versions::{self, VersionMonitor};
use super::request;
use crate::state::{Reply, State};

/// See the module.
#[derive(Debug)]
pub(crate) struct Duties {
    member: u64,
    attributes: Attributes,
    /// What this member says of itself, in full: `3.4.23`.
    release: String,
    election: Duration,
    /// For a proposal to be applied.
    patience: Duration,
    publish_at: Instant,
    /// The term in which this member leads and has applied an entry of it.
    term: Option<u64>,
    leases: Option<LeaseClock>,
    versions: VersionMonitor,
}

/// What is to be done now.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Due {
    /// Data of normal entries.
    pub(crate) proposals: Vec<Vec<u8>>,
    /// Members, with their peer URLs, to ask for their `/version`.
    pub(crate) look: Option<Vec<(u64, Vec<String>)>>,
}

impl Duties {
    /// `election`: an election's timeout; `patience`: a request's.
    pub(crate) fn new(
        member: u64,
        attributes: Attributes,
        release: &str,
        election: Duration,
        patience: Duration,
        now: Instant,
    ) -> Self {
        Self {
            member,
            attributes,
            release: release.to_owned(),
            election,
            patience,
            publish_at: now,
            term: None,
            leases: None,
            versions: VersionMonitor::default(),
        }
    }

    /// The term in which raft says that this member leads, if it does. Its duties as a leader begin when it
    /// has applied an entry of that term: only then does it know all leases that there are.
    pub(crate) fn leads(&mut self, term: Option<u64>, state: &State, now: Instant) {
        let term = term.filter(|term| *term == state.applied_term());
        if term == self.term {
            return;
        }
        self.term = term;
        self.leases = term.map(|_| LeaseClock::start(state, self.election, now));
        match term {
            Some(_) => self.versions.lead(now),
            None => self.versions.follow(),
        }
    }

    /// Of each entry, in order.
    pub(crate) fn applied(&mut self, reply: &Reply, now: Instant) {
        let Some(leases) = &mut self.leases else { return };
        match *reply {
            Reply::Granted { lease, ttl_s } => leases.granted(lease, ttl_s, now),
            Reply::Revoked { lease } => leases.revoked(lease),
            _ => {}
        }
    }

    /// For `peer::View::leases`.
    pub(crate) fn leases(&mut self) -> Option<&mut LeaseClock> {
        self.leases.as_mut()
    }

    /// `has_leader`: without one nothing that is proposed arrives.
    pub(crate) fn due(&mut self, state: &State, has_leader: bool, ids: &mut RequestIds, now: Instant) -> Due {
        let mut due = Due::default();
        if !has_leader {
            return due;
        }
        if self.publish_at <= now && self.must_publish(state) {
            self.publish_at = now + self.patience;
            let version = state.cluster_version();
            due.proposals.push(request::publish(ids.next_id(), self.member, &self.attributes, version));
        }
        if let Some(leases) = &mut self.leases {
            due.proposals
                .extend(leases.due(now).into_iter().map(|lease| request::lease_revoke(ids.next_id(), lease)));
        }
        if self.versions.is_due(now) {
            let others = state.members().filter(|member| member.id != self.member);
            due.look = Some(others.map(|member| (member.id, member.peer_urls.clone())).collect());
        }
        due
    }

    /// The other members' releases, as far as they told them: the version to propose, if any.
    pub(crate) fn looked(
        &self,
        state: &State,
        ids: &mut RequestIds,
        release: impl Fn(u64) -> Option<String>,
    ) -> Option<Vec<u8>> {
        self.term?;
        let version = versions::to_propose(state, self.member, &self.release, release)?;
        Some(request::cluster_version(ids.next_id(), version, state.cluster_version()))
    }

    /// Also if it was known by another name or other URLs before.
    fn must_publish(&self, state: &State) -> bool {
        state.member(self.member).is_some_and(|member| member.attributes != self.attributes)
    }
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::Entry;

    use super::*;
    use crate::etcd::member::Member;

    const ELECTION: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(7);

    struct Scene {
        state: State,
        duties: Duties,
        ids: RequestIds,
        began: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let urls = |port: u16| vec![format!("http://127.0.0.1:{port}")];
            let member = |id, port| Member { id, peer_urls: urls(port), ..Member::default() };
            let (mut state, entries) = State::bootstrap(&[member(1, 1), member(2, 2)]);
            entries.iter().for_each(|entry| drop(state.apply(entry)));
            let attributes = Attributes { name: "one".to_owned(), client_urls: urls(9) };
            let began = Instant::now();
            let duties = Duties::new(1, attributes, "3.4.23", ELECTION, PATIENCE, began);
            Self { state, duties, ids: RequestIds::new(1, 1), began }
        }

        fn apply(&mut self, term: u64, data: Vec<u8>) {
            let entry = Entry { term, index: self.state.applied() + 1, data, ..Entry::default() };
            let applied = self.state.apply(&entry);
            self.duties.applied(&applied.reply, self.began);
        }

        fn due(&mut self, after_s: u64) -> Due {
            let now = self.began + Duration::from_secs(after_s);
            self.duties.due(&self.state, true, &mut self.ids, now)
        }

        fn leads(&mut self, term: Option<u64>) {
            self.duties.leads(term, &self.state, self.began);
        }
    }

    #[test]
    fn a_member_tells_its_name_until_all_know_it() {
        let mut scene = Scene::new();
        let without_leader = scene.duties.due(&scene.state, false, &mut scene.ids, scene.began);
        assert_eq!(without_leader, Due::default());
        let first = scene.due(0).proposals;
        assert_eq!((first.len(), scene.due(6).proposals.len()), (1, 0));
        let again = scene.due(7).proposals;
        assert_eq!(again.len(), 1, "the first may be lost");
        assert_ne!(again, first, "with an id of its own");
        scene.apply(1, again[0].clone());
        assert_eq!(scene.due(100), Due::default());
        assert!(scene.state.member(1).is_some_and(Member::is_started));
    }

    #[test]
    fn a_leader_begins_with_an_entry_of_its_term() {
        let mut scene = Scene::new();
        scene.apply(1, request::lease_grant(1, 9, 10));
        scene.due(0);
        scene.leads(Some(2));
        assert_eq!(scene.due(0), Due::default(), "it may not know all leases yet");
        assert!(scene.duties.leases().is_none());
        scene.apply(2, Vec::new());
        scene.leads(Some(2));
        let look = scene.due(0).look.expect("first of all it looks at the others");
        assert_eq!(look, [(2, vec!["http://127.0.0.1:2".to_owned()])]);
        assert!(scene.due(3).look.is_none());
        let publish_and_revoke = scene.due(12).proposals;
        assert_eq!(publish_and_revoke.len(), 2);
        scene.apply(2, publish_and_revoke[1].clone());
        assert_eq!(scene.state.lease(9), None);
        scene.apply(2, request::lease_grant(1, 8, 10));
        scene.leads(None);
        let published_again = scene.due(100);
        assert_eq!((published_again.proposals.len(), published_again.look), (1, None));
        assert_eq!(scene.duties.looked(&scene.state, &mut scene.ids, |_| None), None, "it came too late");
    }

    #[test]
    fn a_leader_raises_the_clusters_version_when_all_have_told_theirs() {
        let mut scene = Scene::new();
        scene.apply(2, Vec::new());
        scene.leads(Some(2));
        let mut looked = |release: Option<&str>| {
            let proposal =
                scene.duties.looked(&scene.state, &mut scene.ids, |_| release.map(str::to_owned))?;
            let entry =
                Entry { term: 2, index: scene.state.applied() + 1, data: proposal, ..Entry::default() };
            scene.state.apply(&entry);
            scene.state.cluster_version().map(|version| version.to_string())
        };
        assert_eq!(looked(None).as_deref(), Some("3.0.0"));
        assert_eq!(looked(None), None);
        assert_eq!(looked(Some("3.6.1")).as_deref(), Some("3.4.0"), "as far as this one can follow");
        assert_eq!(looked(Some("3.6.1")), None);
    }
}
