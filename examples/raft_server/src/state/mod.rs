//! What the log decides: keys, leases, members, the cluster's version. The same entries make the same
//! state, on members of ours as on etcd's; there is no clock here, no socket and no file but those that a
//! caller gives.
//!
//! ```text
//!   committed entry -- State::apply --> Applied { reply, conf_change, membership, .. }
//!   our snapshot    <- State::save / State::load -> State
//!   etcd's snapshot -- State::load_etcd ----------> State
//! ```

mod alarms;
mod apply;
mod bolt;
mod digest;
mod etcd_db;
mod kv;
mod leases;
mod members;
mod save;
#[cfg(test)]
mod tests;
mod txn;

use std::collections::BTreeMap;

use raft::eraftpb::{ConfChangeV2, Entry, EntryType};

use crate::etcd::internal::DowngradeInfoSetRequest;
use crate::etcd::member::Member;
use crate::etcd::mvccpb::KeyValue;
use crate::etcd::request;
use crate::etcd::version::ClusterVersion;

use self::alarms::Alarms;
pub(crate) use self::digest::LogDigest;
use self::kv::Store;
pub(crate) use self::leases::Lease;
use self::leases::Leases;
use self::members::Membership;

/// All of it. A clone shares the keys' and values' bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    applied: u64,
    term: u64,
    store: Store,
    leases: Leases,
    alarms: Alarms,
    membership: Membership,
    log_digest: LogDigest,
    not_understood: u64,
    users: bool,
}

/// What an entry has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Applied {
    /// Of the request or the conf change; `None` if it has none.
    pub(crate) request_id: Option<u64>,
    pub(crate) reply: Reply,
    /// For `RawNode::apply_conf_change`; `None` if raft's configuration stays as it is.
    pub(crate) conf_change: Option<ConfChangeV2>,
    /// For the transport.
    pub(crate) membership: Option<MembershipChange>,
    /// Something for the log of the server: an entry that was not understood.
    pub(crate) warning: Option<String>,
}

/// What whoever proposed an entry is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Reply {
    /// There is nothing to tell.
    #[default]
    Done,
    Put {
        revision: i64,
        previous: Option<KeyValue>,
    },
    Deleted {
        revision: i64,
        deleted: u64,
    },
    Txn {
        revision: i64,
        succeeded: bool,
    },
    Compacted {
        revision: i64,
    },
    Granted {
        lease: i64,
        ttl_s: i64,
    },
    Revoked {
        lease: i64,
    },
    /// The membership has changed as asked.
    Changed,
    Refused(Refusal),
}

/// Why an entry changes nothing, in etcd's words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    KeyNotFound,
    LeaseNotFound,
    LeaseExists,
    LeaseTtlTooLarge,
    RevisionCompacted,
    RevisionFuture,
    NoSpace,
    Corrupt,
    MemberRemoved,
    MemberExists,
    MemberNotFound,
    MemberNotLearner,
    PeerUrlExists,
    TooManyLearners,
    /// Nobody would be left to vote; an etcd member would end.
    LastVoter,
    /// It could not be read; an etcd member would end.
    NotUnderstood,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::KeyNotFound => "etcdserver: key not found",
            Self::LeaseNotFound => "lease not found",
            Self::LeaseExists => "lease already exists",
            Self::LeaseTtlTooLarge => "too large lease TTL",
            Self::RevisionCompacted => "mvcc: required revision has been compacted",
            Self::RevisionFuture => "mvcc: required revision is a future revision",
            Self::NoSpace => "etcdserver: no space",
            Self::Corrupt => "etcdserver: corrupt cluster",
            Self::MemberRemoved => "membership: ID removed",
            Self::MemberExists => "membership: ID exists",
            Self::MemberNotFound => "membership: ID not found",
            Self::MemberNotLearner => "membership: can only promote a learner member",
            Self::PeerUrlExists => "membership: peerURL exists",
            Self::TooManyLearners => "membership: too many learner members in cluster",
            Self::LastVoter => "the last voter stays",
            Self::NotUnderstood => "the entry cannot be read",
        })
    }
}

/// How the members have changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MembershipChange {
    Added(Member),
    /// A learner votes now.
    Promoted(u64),
    /// It has other peer URLs.
    Updated(Member),
    /// For good: its id never comes back.
    Removed(u64),
    /// A member has told its name and client URLs.
    Published(u64),
}

impl State {
    /// The first bytes of [`save`](Self::save).
    pub(crate) const MAGIC: &[u8; 8] = save::MAGIC;

    /// Before the first entry.
    pub(crate) fn new() -> Self {
        Self {
            applied: 0,
            term: 0,
            store: Store::default(),
            leases: Leases::default(),
            alarms: Alarms::default(),
            membership: Membership::default(),
            log_digest: LogDigest::starting_at(1),
            not_understood: 0,
            users: false,
        }
    }

    /// The first entries of a new cluster, as etcd has them: a conf change for each member, term 1, indexes
    /// 1 to n in the order of their ids. They are committed, and not applied yet.
    pub(crate) fn bootstrap(members: &[Member]) -> (Self, Vec<Entry>) {
        let sorted: BTreeMap<u64, &Member> = members.iter().map(|member| (member.id, member)).collect();
        let entries = (1..).zip(sorted.into_values());
        let entries = entries.map(|(index, member)| Entry {
            entry_type: EntryType::EntryConfChange as i32,
            term: 1,
            index,
            data: prost::Message::encode_to_vec(&request::add_member(0, member)),
            ..Entry::default()
        });
        (Self::new(), entries.collect())
    }

    /// The index of the last entry that was applied; those up to it change nothing any more.
    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    /// The term of that entry.
    pub(crate) fn applied_term(&self) -> u64 {
        self.term
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&KeyValue> {
        self.store.get(key)
    }

    /// All keys, in order.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> impl Iterator<Item = &KeyValue> {
        self.store.iter()
    }

    /// Of the last write; 1 before the first, as in etcd.
    pub(crate) fn revision(&self) -> i64 {
        self.store.revision()
    }

    pub(crate) fn lease(&self, id: i64) -> Option<&Lease> {
        self.leases.get(id)
    }

    pub(crate) fn leases(&self) -> impl Iterator<Item = (i64, &Lease)> {
        self.leases.iter()
    }

    /// By their ids.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.membership.iter()
    }

    pub(crate) fn member(&self, id: u64) -> Option<&Member> {
        self.membership.get(id)
    }

    /// Whether it was a member once and never will be again.
    pub(crate) fn is_removed(&self, id: u64) -> bool {
        self.membership.is_removed(id)
    }

    /// Members once, and never again.
    pub(crate) fn removed(&self) -> impl Iterator<Item = u64> {
        self.membership.removed()
    }

    /// `None` until a leader has decided.
    pub(crate) fn cluster_version(&self) -> Option<ClusterVersion> {
        self.membership.version()
    }

    /// A downgrade that was asked for by operators of 3.5 and later.
    pub(crate) fn downgrade(&self) -> Option<&DowngradeInfoSetRequest> {
        self.membership.downgrade()
    }

    /// Whether etcd's database of users is in force, which is not known here.
    pub(crate) fn has_users(&self) -> bool {
        self.users
    }

    /// Entries that nothing was done for, though a member of etcd may have.
    pub(crate) fn not_understood(&self) -> u64 {
        self.not_understood
    }

    /// Over the log: equal on members with equal logs, if it begins at the same index.
    pub(crate) fn log_digest(&self) -> &LogDigest {
        &self.log_digest
    }

    /// Over all keys with their values, revisions, versions and leases.
    pub(crate) fn kv_digest(&self) -> u64 {
        self.store.digest()
    }
}
