//! Whom something is counted for: a bounded number of label values (protocol section 17, row 18).

use std::sync::{Arc, PoisonError, RwLock};

use rustc_hash::FxHashMap;

use super::flush::Flushes;
use super::peer::PeerMetrics;
use super::server::Server;
use crate::id::MemberId;
use crate::proto::codec::StreamKind;

/// Members that the host named, since the transport was started, of which each has label values of
/// its own: a cluster has seven, and the largest that we test has a thousand.
pub const MEMBERS_MAX: usize = 1024;

/// Ids that only strangers named, as `from` or as `X-Server-From`: more than a cluster has members
/// that we have not heard of yet, and few enough for a page. They have a number of their own, so that
/// strangers cannot use up the members'.
pub const FOREIGN_IDS_MAX: usize = 64;

/// etcd's own word.
const UNKNOWN_SENDER: &str = "UNKNOWN_SNAPSHOT_SENDER";

/// All that a transport counts by member. What is beyond the bounds is counted together under
/// [`Metrics::other`], and what comes from an address alone under [`Metrics::address`].
#[derive(Debug, Default)]
pub struct Metrics {
    ids: RwLock<Ids>,
    /// Id 0, from which link heartbeats come.
    nobody: Arc<PeerMetrics>,
    other: Arc<PeerMetrics>,
    address: Arc<PeerMetrics>,
    unknown_sender: Arc<PeerMetrics>,
    flushes: [Flushes; 2],
    /// What the transport's appends say of its server.
    pub server: Server,
}

#[derive(Debug, Default)]
struct Ids {
    members: FxHashMap<MemberId, Arc<PeerMetrics>>,
    foreign: FxHashMap<MemberId, Arc<PeerMetrics>>,
}

impl Metrics {
    /// What is counted for this id, whoever named it. Not for each message: the answer is kept.
    #[must_use]
    pub fn of(&self, id: MemberId) -> Arc<PeerMetrics> {
        if id == MemberId(0) {
            return Arc::clone(&self.nobody);
        }
        if let Some(known) = self.read(|ids| ids.get(id).cloned()) {
            return known;
        }
        let mut ids = self.ids.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = ids.get(id) {
            return Arc::clone(known); // since a moment ago
        }
        if ids.foreign.len() >= FOREIGN_IDS_MAX {
            return Arc::clone(&self.other);
        }
        Arc::clone(ids.foreign.entry(id).or_default())
    }

    /// The same for an id that the host named.
    #[must_use]
    pub fn of_member(&self, id: MemberId) -> Arc<PeerMetrics> {
        let mut ids = self.ids.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = ids.members.get(&id) {
            return Arc::clone(member);
        }
        if ids.members.len() >= MEMBERS_MAX {
            return ids.foreign.get(&id).unwrap_or(&self.other).clone();
        }
        let metrics = ids.foreign.remove(&id).unwrap_or_default();
        ids.members.insert(id, Arc::clone(&metrics));
        metrics
    }

    /// Whoever link heartbeats come from: id 0.
    #[must_use]
    pub const fn nobody(&self) -> &Arc<PeerMetrics> {
        &self.nobody
    }

    /// Everybody beyond the bounds, under the label `other`.
    #[must_use]
    pub const fn other(&self) -> &Arc<PeerMetrics> {
        &self.other
    }

    /// Bodies that are no message, of which nothing is known but where they came from: `address`. etcd
    /// has a label value for each address and port.
    #[must_use]
    pub const fn address(&self) -> &Arc<PeerMetrics> {
        &self.address
    }

    /// Snapshots that were refused before it was known whose they are: etcd's
    /// `UNKNOWN_SNAPSHOT_SENDER`.
    #[must_use]
    pub const fn unknown_sender(&self) -> &Arc<PeerMetrics> {
        &self.unknown_sender
    }

    /// How messages gathered on the streams of this kind.
    #[must_use]
    pub const fn flushes(&self, kind: StreamKind) -> &Flushes {
        &self.flushes[match kind {
            StreamKind::Msgapp => 0,
            StreamKind::Message => 1,
        }]
    }

    /// Everybody of whom something may have been counted, by label value; in the order of their ids,
    /// and those who have none behind them.
    pub(super) fn labels(&self) -> Vec<(String, Arc<PeerMetrics>)> {
        let mut named = self.read(|ids| {
            let all = ids.members.iter().chain(&ids.foreign);
            all.map(|(id, metrics)| (*id, Arc::clone(metrics))).collect::<Vec<_>>()
        });
        named.push((MemberId(0), Arc::clone(&self.nobody)));
        named.sort_by_key(|(id, _)| id.0);
        let others =
            [("other", &self.other), ("address", &self.address), (UNKNOWN_SENDER, &self.unknown_sender)];
        let named = named.into_iter().map(|(id, metrics)| (id.to_string(), metrics));
        named.chain(others.map(|(label, metrics)| (label.to_owned(), Arc::clone(metrics)))).collect()
    }

    fn read<T>(&self, f: impl FnOnce(&Ids) -> T) -> T {
        f(&self.ids.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ids {
    fn get(&self, id: MemberId) -> Option<&Arc<PeerMetrics>> {
        self.members.get(&id).or_else(|| self.foreign.get(&id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_have_so_many_label_values_and_members_have_theirs_all_the_same() {
        let metrics = Metrics::default();
        for id in 1..=3 * FOREIGN_IDS_MAX as u64 {
            metrics.of(MemberId(id)).received_bytes.add(1);
        }
        assert_eq!(metrics.read(|ids| ids.foreign.len()), FOREIGN_IDS_MAX);
        assert_eq!(metrics.other().received_bytes.get(), 2 * FOREIGN_IDS_MAX as u64);
        for id in 1..=2 * MEMBERS_MAX as u64 {
            metrics.of_member(MemberId(id)).sent_bytes.add(1);
        }
        assert_eq!(metrics.read(|ids| (ids.members.len(), ids.foreign.len())), (MEMBERS_MAX, 0));
        assert_eq!(metrics.other().sent_bytes.get(), MEMBERS_MAX as u64);
    }

    #[test]
    fn a_stranger_that_becomes_a_member_keeps_what_was_counted() {
        let metrics = Metrics::default();
        metrics.of(MemberId(7)).received_bytes.add(5);
        assert_eq!(metrics.of_member(MemberId(7)).received_bytes.get(), 5);
        assert!(Arc::ptr_eq(&metrics.of(MemberId(7)), &metrics.of_member(MemberId(7))));
        assert_eq!(metrics.read(|ids| ids.foreign.len()), 0);
    }

    #[test]
    fn nobody_is_counted_apart() {
        let metrics = Metrics::default();
        metrics.of(MemberId(0)).received_bytes.add(30);
        assert_eq!(metrics.of(MemberId(0)).received_bytes.get(), 30);
        assert_eq!(metrics.read(|ids| ids.foreign.len()), 0);
    }
}
