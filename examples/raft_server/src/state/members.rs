//! The members, by etcd's rules.

use std::collections::{BTreeMap, BTreeSet};

use raftring::raftpb::{ConfChange, ConfChangeType};

use super::{MembershipChange, Refusal};
use crate::etcd::internal::DowngradeInfoSetRequest;
use crate::etcd::member::{Attributes, ConfigChangeContext, Member};
use crate::etcd::version::ClusterVersion;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Membership {
    members: BTreeMap<u64, Member>,
    removed: BTreeSet<u64>,
    version: Option<ClusterVersion>,
    downgrade: Option<DowngradeInfoSetRequest>,
}

/// In etcd 3.4 and, unless a member was told otherwise, later.
const LEARNERS_MAX: usize = 1;

impl Membership {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Member> {
        self.members.get(&id)
    }

    pub(super) fn is_removed(&self, id: u64) -> bool {
        self.removed.contains(&id)
    }

    pub(super) fn removed(&self) -> impl Iterator<Item = u64> {
        self.removed.iter().copied()
    }

    pub(super) fn version(&self) -> Option<ClusterVersion> {
        self.version
    }

    pub(super) fn set_version(&mut self, version: ClusterVersion) {
        self.version = Some(version);
    }

    pub(super) fn downgrade(&self) -> Option<&DowngradeInfoSetRequest> {
        self.downgrade.as_ref()
    }

    pub(super) fn set_downgrade(&mut self, downgrade: DowngradeInfoSetRequest) {
        self.downgrade = downgrade.enabled.then_some(downgrade);
    }

    pub(super) fn restore(&mut self, member: Member) {
        self.members.insert(member.id, member);
    }

    pub(super) fn restore_removed(&mut self, id: u64) {
        self.members.remove(&id);
        self.removed.insert(id);
    }

    /// A member tells its name; whether there is such a member.
    pub(super) fn set_attributes(&mut self, id: u64, attributes: Attributes) -> bool {
        let Some(member) = self.members.get_mut(&id) else { return false };
        member.attributes = attributes;
        true
    }

    /// Does what a conf change says, if it is valid.
    pub(super) fn change(&mut self, change: &ConfChange) -> Result<MembershipChange, Refusal> {
        let id = change.node_id();
        if self.is_removed(id) {
            return Err(Refusal::MemberRemoved);
        }
        let context = change.context.as_deref().unwrap_or_default();
        match ConfChangeType::try_from(change.r#type.unwrap_or_default()) {
            Ok(ConfChangeType::ConfChangeAddNode | ConfChangeType::ConfChangeAddLearnerNode) => {
                let context: ConfigChangeContext = read(context)?;
                self.check_add(id, &context)?;
                if context.member.id != id {
                    return Err(Refusal::NotUnderstood);
                }
                if !context.is_promote {
                    self.members.insert(id, context.member.clone());
                    return Ok(MembershipChange::Added(context.member));
                }
                if let Some(member) = self.members.get_mut(&id) {
                    member.is_learner = false;
                }
                Ok(MembershipChange::Promoted(id))
            }
            Ok(ConfChangeType::ConfChangeRemoveNode) => self.remove(id),
            Ok(ConfChangeType::ConfChangeUpdateNode) => self.update(id, &read(context)?),
            Err(_) => Err(Refusal::NotUnderstood),
        }
    }

    fn check_add(&self, id: u64, context: &ConfigChangeContext) -> Result<(), Refusal> {
        let known = self.members.get(&id);
        if context.is_promote {
            let member = known.ok_or(Refusal::MemberNotFound)?;
            return if member.is_learner { Ok(()) } else { Err(Refusal::MemberNotLearner) };
        }
        if known.is_some() {
            return Err(Refusal::MemberExists);
        }
        self.check_urls(id, &context.member.peer_urls)?;
        let learners = self.members.values().filter(|member| member.is_learner).count();
        if context.member.is_learner && learners >= LEARNERS_MAX {
            return Err(Refusal::TooManyLearners);
        }
        Ok(())
    }

    /// No two members have the same URL.
    fn check_urls(&self, id: u64, urls: &[String]) -> Result<(), Refusal> {
        let others = self.members.values().filter(|member| member.id != id);
        let mut taken = others.flat_map(|member| &member.peer_urls);
        if taken.any(|url| urls.contains(url)) { Err(Refusal::PeerUrlExists) } else { Ok(()) }
    }

    fn remove(&mut self, id: u64) -> Result<MembershipChange, Refusal> {
        let member = self.members.get(&id).ok_or(Refusal::MemberNotFound)?;
        let voters = self.members.values().filter(|member| !member.is_learner).count();
        if !member.is_learner && voters == 1 {
            return Err(Refusal::LastVoter);
        }
        self.restore_removed(id);
        Ok(MembershipChange::Removed(id))
    }

    fn update(&mut self, id: u64, new: &Member) -> Result<MembershipChange, Refusal> {
        if !self.members.contains_key(&id) {
            return Err(Refusal::MemberNotFound);
        }
        self.check_urls(id, &new.peer_urls)?;
        if new.id != id {
            return Err(Refusal::NotUnderstood);
        }
        let Some(member) = self.members.get_mut(&id) else { return Err(Refusal::MemberNotFound) };
        member.peer_urls.clone_from(&new.peer_urls);
        // As etcd does, where a learner would from then on be taken for a voter.
        member.is_learner = new.is_learner;
        Ok(MembershipChange::Updated(member.clone()))
    }
}

fn read<T: serde::de::DeserializeOwned>(context: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(context).map_err(|_| Refusal::NotUnderstood)
}
