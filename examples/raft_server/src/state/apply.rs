//! One entry after the other.

use prost::Message as _;
use raft::eraftpb::{Entry, EntryType};
use raftring::raftpb::ConfChange;

use super::alarms::Mode;
use super::{Applied, MembershipChange, Refusal, Reply, State, txn};
use crate::etcd::internal::{self, EntryRequest, InternalRaftRequest};
use crate::etcd::member::Attributes;
use crate::etcd::v2::{self, Effect};
use crate::etcd::version::ClusterVersion;

impl State {
    /// Applies a committed entry; they come in order. One that was applied already does nothing, and one
    /// that cannot be read neither, with a warning.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Applied {
        if entry.index <= self.applied {
            return Applied::default();
        }
        self.applied = entry.index;
        self.term = entry.term;
        self.log_digest.add(entry.index, entry.term, entry.entry_type, &entry.data);
        let applied = match EntryType::from_i32(entry.entry_type) {
            Some(EntryType::EntryNormal) => self.apply_normal(&entry.data),
            Some(EntryType::EntryConfChange) => self.apply_conf_change(entry),
            // etcd proposes none of its second form, and ends at one.
            Some(EntryType::EntryConfChangeV2) | None => Applied::not_understood(entry.index, "of that type"),
        };
        self.not_understood += u64::from(applied.warning.is_some());
        applied
    }

    fn apply_normal(&mut self, data: &[u8]) -> Applied {
        match internal::read(data) {
            Ok(EntryRequest::Empty) => Applied::default(),
            Ok(EntryRequest::V3(request)) => self.apply_v3(*request),
            Ok(EntryRequest::V2(request)) => self.apply_v2(&request),
            Err(_) => Applied::not_understood(self.applied, "that can be read"),
        }
    }

    fn apply_v2(&mut self, request: &v2::Request) -> Applied {
        let mut applied = Applied { request_id: request.id.filter(|id| *id != 0), ..Applied::default() };
        match request.effect() {
            // Nobody here reads that store.
            Effect::None => {}
            Effect::ClusterVersion(text) => {
                let version = str::from_utf8(text).ok().and_then(ClusterVersion::parse);
                match version {
                    Some(version) => self.membership.set_version(version),
                    None => applied.warn(self.applied, "with a version that can be read"),
                }
            }
            Effect::Attributes { member, json } => match serde_json::from_slice::<Attributes>(json) {
                Ok(attributes) => self.publish(member, attributes, &mut applied),
                Err(_) => applied.warn(self.applied, "with attributes that can be read"),
            },
        }
        applied
    }

    fn publish(&mut self, member: u64, attributes: Attributes, applied: &mut Applied) {
        if self.membership.set_attributes(member, attributes) {
            applied.membership = Some(MembershipChange::Published(member));
        } else if !self.membership.is_removed(member) {
            applied.warn(self.applied, "of a member that is known");
        }
    }

    fn apply_v3(&mut self, request: InternalRaftRequest) -> Applied {
        let request_id = Some(request.request_id()).filter(|id| *id != 0);
        let mut applied = Applied { request_id, ..Applied::default() };
        match self.refusal(&request) {
            Some(refusal) => applied.reply = Reply::Refused(refusal),
            None => self.perform(request, &mut applied),
        }
        applied
    }

    /// What an alarm refuses.
    fn refusal(&self, request: &InternalRaftRequest) -> Option<Refusal> {
        match self.alarms.mode() {
            Mode::Normal => None,
            Mode::Capped => {
                let grows = request.put.is_some()
                    || request.txn.as_ref().is_some_and(txn::has_put)
                    || request.lease_grant.is_some();
                grows.then_some(Refusal::NoSpace)
            }
            Mode::Corrupt => {
                let touches = request.put.is_some()
                    || request.range.is_some()
                    || request.delete_range.is_some()
                    || request.txn.is_some()
                    || request.compaction.is_some()
                    || request.lease_grant.is_some()
                    || request.lease_revoke.is_some();
                touches.then_some(Refusal::Corrupt)
            }
        }
    }

    fn perform(&mut self, request: InternalRaftRequest, applied: &mut Applied) {
        let (store, leases) = (&mut self.store, &mut self.leases);
        let outcome = if request.is_question() {
            Ok(Reply::Done)
        } else if let Some(put) = request.put {
            txn::put(store, leases, put)
        } else if let Some(delete) = request.delete_range {
            Ok(txn::delete_range(store, leases, &delete))
        } else if let Some(request) = request.txn {
            txn::txn(store, leases, request)
        } else if let Some(compaction) = request.compaction {
            store.compact(compaction.revision).map(|()| Reply::Compacted { revision: store.revision() })
        } else if let Some(grant) = request.lease_grant {
            leases.grant(grant.id, grant.ttl).map(|ttl_s| Reply::Granted { lease: grant.id, ttl_s })
        } else if let Some(revoke) = request.lease_revoke {
            self.revoke(revoke.id)
        } else if let Some(alarm) = request.alarm {
            self.alarms.apply(&alarm);
            Ok(Reply::Done)
        } else if let Some(request) = request.lease_checkpoint {
            request.checkpoints.iter().for_each(|lease| leases.checkpoint(lease.id, lease.remaining_ttl));
            Ok(Reply::Done)
        } else {
            self.perform_rare(request, applied);
            Ok(Reply::Done)
        };
        applied.reply = outcome.unwrap_or_else(Reply::Refused);
    }

    /// The keys end with the lease, in one revision.
    fn revoke(&mut self, id: i64) -> Result<Reply, Refusal> {
        let lease = self.leases.revoke(id).ok_or(Refusal::LeaseNotFound)?;
        let mut write = self.store.write(&mut self.leases);
        for key in &lease.keys {
            write.delete_range(key, &[]);
        }
        write.end();
        Ok(Reply::Revoked { lease: id })
    }

    /// What concerns the cluster and not its keys.
    fn perform_rare(&mut self, request: InternalRaftRequest, applied: &mut Applied) {
        if let Some(set) = request.cluster_version_set {
            match ClusterVersion::parse(&set.ver) {
                Some(version) => self.membership.set_version(version),
                None => applied.warn(self.applied, "with a version that can be read"),
            }
        } else if let Some(set) = request.cluster_member_attr_set {
            let told = set.member_attributes.unwrap_or_default();
            let attributes = Attributes { name: told.name, client_urls: told.client_urls };
            self.publish(set.member_id, attributes, applied);
        } else if let Some(downgrade) = request.downgrade_info_set {
            self.membership.set_downgrade(downgrade);
        } else if request.auth_enable.is_some() {
            self.users = true;
            applied.warn(self.applied, "without users: what they may not do is not known here");
        } else if request.auth_disable.is_some() {
            self.users = false;
        } else if !request.is_about_users() {
            applied.warn(self.applied, "with a request that is known");
        }
    }

    fn apply_conf_change(&mut self, entry: &Entry) -> Applied {
        let Ok(change) = ConfChange::decode(entry.data.as_slice()) else {
            return Applied::not_understood(entry.index, "with a conf change that can be read");
        };
        let mut applied = Applied { request_id: change.id.filter(|id| *id != 0), ..Applied::default() };
        // Read before anything is done, for it may refuse.
        let Ok(for_raft) = raftring::raft_rs::conf_change(entry) else {
            applied.warn(entry.index, "with a conf change of a known type");
            return applied;
        };
        match self.membership.change(&change) {
            Ok(membership) => {
                applied.reply = Reply::Changed;
                applied.conf_change = for_raft;
                applied.membership = Some(membership);
            }
            Err(refusal) => {
                if refusal == Refusal::NotUnderstood {
                    applied.warn(entry.index, "with a member that can be read");
                }
                applied.reply = Reply::Refused(refusal);
            }
        }
        applied
    }
}

impl Applied {
    fn not_understood(index: u64, what: &str) -> Self {
        let mut applied = Self { reply: Reply::Refused(Refusal::NotUnderstood), ..Self::default() };
        applied.warn(index, what);
        applied
    }

    fn warn(&mut self, index: u64, what: &str) {
        self.reply = Reply::Refused(Refusal::NotUnderstood);
        self.warning = Some(format!("entry {index} is none {what}"));
    }
}
