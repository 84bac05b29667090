//! The state in a snapshot of etcd: the MsgSnap's data is the second version's store as JSON, in which the
//! members are, and its database has all else, and the members too.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use prost::Message as _;
use raft::eraftpb::ConfState;
use raftring::MemberId;
use serde::Deserialize;

use super::State;
use super::alarms::Alarms;
use super::bolt::Bolt;
use super::digest::LogDigest;
use super::kv::Store;
use super::leases::Leases;
use super::members::Membership;
use crate::etcd::member::{Attributes, Member, RaftAttributes};
use crate::etcd::mvccpb::{self, KeyValue};
use crate::etcd::rpc::AlarmMember;
use crate::etcd::version::ClusterVersion;

/// Of a key in the bucket `key`: main revision 8, `_` 1, sub revision 8, and `t` if it was deleted.
const REVISION_BYTES: usize = 17;

impl State {
    /// The state at `index`, from a MsgSnap's data and its database. The digest of the log begins anew
    /// behind it.
    ///
    /// # Errors
    /// If either cannot be read, or is of another time or another cluster than `index` and `conf_state`.
    pub(crate) fn load_etcd(
        message_data: &[u8],
        database: &Path,
        index: u64,
        term: u64,
        conf_state: &ConfState,
    ) -> Result<Self> {
        let bolt = Bolt::open(database)?;
        let consistent = number(&bolt, "consistent_index")?.unwrap_or(0);
        ensure!(consistent <= index, "a database of index {consistent} for a snapshot of {index}");
        let (store, leases) = read_keys(&bolt)?;
        let membership = match read_v2_store(message_data)? {
            Some(membership) => membership,
            None => read_members(&bolt)?,
        };
        let voters = &conf_state.voters;
        ensure!(
            voters.is_empty() || voters.iter().any(|id| membership.get(*id).is_some()),
            "a database of another cluster"
        );
        let mut users = false;
        bolt.for_each("auth", |key, value| {
            users |= key == b"authEnabled" && value == [1];
            Ok(())
        })?;
        Ok(Self {
            applied: index,
            term,
            store,
            leases,
            alarms: read_alarms(&bolt)?,
            membership,
            log_digest: LogDigest::starting_at(index.saturating_add(1)),
            not_understood: 0,
            users,
        })
    }
}

/// One of the eight-byte numbers in `meta`.
fn number(bolt: &Bolt, name: &str) -> Result<Option<u64>> {
    let mut found = None;
    bolt.for_each("meta", |key, value| {
        if key == name.as_bytes() {
            found = Some(u64::from_be_bytes(value.try_into().context("a number in `meta`")?));
        }
        Ok(())
    })?;
    Ok(found)
}

/// A compaction's revision: the first 8 of 17 bytes.
fn compacted(bolt: &Bolt) -> Result<i64> {
    let mut compacted = -1;
    bolt.for_each("meta", |key, value| {
        if key == b"scheduledCompactRev" || key == b"finishedCompactRev" {
            let main = value.first_chunk().context("a revision in `meta`")?;
            compacted = compacted.max(i64::from_be_bytes(*main));
        }
        Ok(())
    })?;
    Ok(compacted)
}

fn read_keys(bolt: &Bolt) -> Result<(Store, Leases)> {
    let mut keys: HashMap<bytes::Bytes, KeyValue> = HashMap::new();
    let mut revision = 0;
    let found = bolt.for_each("key", |key, value| {
        let main = *key.first_chunk().context("a revision that is too short")?;
        revision = revision.max(i64::from_be_bytes(main));
        ensure!(key.len() >= REVISION_BYTES, "a revision that is too short");
        let kv = KeyValue::decode(value).context("a key that cannot be read")?;
        // Revisions come in order: what comes later is newer.
        match key.get(REVISION_BYTES) {
            Some(b't') => drop(keys.remove(&kv.key)),
            _ => drop(keys.insert(kv.key.clone(), kv)),
        }
        Ok(())
    })?;
    ensure!(found, "a database without keys");
    let mut leases = Leases::default();
    bolt.for_each("lease", |_, value| {
        let lease = mvccpb::Lease::decode(value).context("a lease that cannot be read")?;
        leases.restore(lease.id, lease.ttl, lease.remaining_ttl);
        Ok(())
    })?;
    let mut store = Store::restored(revision, compacted(bolt)?);
    for kv in keys.into_values() {
        leases.attach(kv.lease, &kv.key);
        store.restore_key(kv);
    }
    Ok((store, leases))
}

fn read_alarms(bolt: &Bolt) -> Result<Alarms> {
    let mut alarms = Alarms::default();
    bolt.for_each("alarm", |key, _| {
        let alarm = AlarmMember::decode(key).context("an alarm that cannot be read")?;
        alarms.restore(alarm.alarm, alarm.member_id);
        Ok(())
    })?;
    Ok(alarms)
}

/// From the database.
fn read_members(bolt: &Bolt) -> Result<Membership> {
    let mut membership = Membership::default();
    bolt.for_each("members", |_, value| {
        membership.restore(serde_json::from_slice::<Member>(value).context("a member that cannot be read")?);
        Ok(())
    })?;
    bolt.for_each("members_removed", |key, _| {
        membership.restore_removed(member_id(str::from_utf8(key)?)?);
        Ok(())
    })?;
    bolt.for_each("cluster", |key, value| {
        match key {
            b"clusterVersion" => membership.set_version(version(str::from_utf8(value)?)?),
            b"downgrade" => {
                // JSON, and only of whether operators have asked for one.
                let enabled = str::from_utf8(value).is_ok_and(|json| json.contains("\"enabled\":true"));
                let downgrade =
                    crate::etcd::internal::DowngradeInfoSetRequest { enabled, ver: String::new() };
                membership.set_downgrade(downgrade);
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(membership)
}

/// A node of the second version's store.
#[derive(Debug, Default, Deserialize)]
struct Node {
    #[serde(default, rename = "Value")]
    value: String,
    #[serde(default, rename = "Children")]
    children: Option<HashMap<String, Self>>,
}

#[derive(Debug, Deserialize)]
struct V2Store {
    #[serde(rename = "Root")]
    root: Node,
}

impl Node {
    fn child(&self, name: &str) -> Option<&Self> {
        self.children.as_ref()?.get(name)
    }

    fn children(&self, name: &str) -> impl Iterator<Item = (&String, &Self)> {
        self.child(name).and_then(|node| node.children.as_ref()).into_iter().flatten()
    }
}

/// From the message; `None` if it has no members.
fn read_v2_store(data: &[u8]) -> Result<Option<Membership>> {
    if data.is_empty() {
        return Ok(None);
    }
    let store: V2Store = serde_json::from_slice(data).context("the data of the snapshot's message")?;
    let Some(cluster) = store.root.child("0").filter(|cluster| cluster.child("members").is_some()) else {
        return Ok(None);
    };
    let mut membership = Membership::default();
    for (id, node) in cluster.children("members") {
        membership.restore(member(member_id(id)?, node)?);
    }
    for (id, _) in cluster.children("removed_members") {
        membership.restore_removed(member_id(id)?);
    }
    if let Some(node) = cluster.child("version") {
        membership.set_version(version(&node.value)?);
    }
    Ok(Some(membership))
}

fn member(id: u64, node: &Node) -> Result<Member> {
    let raft = node.child("raftAttributes").context("a member without URLs")?;
    let raft: RaftAttributes = serde_json::from_str(&raft.value).context("a member's URLs")?;
    let attributes = match node.child("attributes") {
        Some(node) => serde_json::from_str(&node.value).context("a member's attributes")?,
        None => Attributes::default(),
    };
    Ok(Member { id, peer_urls: raft.peer_urls, is_learner: raft.is_learner, attributes })
}

fn member_id(text: &str) -> Result<u64> {
    text.parse().map(|MemberId(id)| id).with_context(|| format!("a member's id {text:?}"))
}

fn version(text: &str) -> Result<ClusterVersion> {
    ClusterVersion::parse(text).with_context(|| format!("the cluster's version {text:?}"))
}
