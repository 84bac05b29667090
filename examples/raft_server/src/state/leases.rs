//! Leases and the keys that end with them. When they end the leader decides, by its clock
//! (`crate::etcd::peer::leases`); here it is an entry.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::Refusal;

/// A lease that was granted and not revoked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Lease {
    /// Seconds.
    pub(crate) ttl_s: i64,
    /// Seconds that were left when a leader said so last; 0 if none did.
    pub(crate) remaining_s: i64,
    pub(crate) keys: BTreeSet<Bytes>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Leases(BTreeMap<i64, Lease>);

/// etcd's own bound, 285 years.
const TTL_S_MAX: i64 = 9_000_000_000;

/// In etcd's default settings: one and a half election timeouts, rounded up. A lease could not outlive an
/// election otherwise.
const TTL_S_MIN: i64 = 2;

impl Leases {
    pub(super) fn get(&self, id: i64) -> Option<&Lease> {
        self.0.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &Lease)> {
        self.0.iter().map(|(id, lease)| (*id, lease))
    }

    /// Gives the time that is granted.
    pub(super) fn grant(&mut self, id: i64, ttl_s: i64) -> Result<i64, Refusal> {
        if id == 0 {
            return Err(Refusal::LeaseNotFound);
        }
        if ttl_s > TTL_S_MAX {
            return Err(Refusal::LeaseTtlTooLarge);
        }
        if self.0.contains_key(&id) {
            return Err(Refusal::LeaseExists);
        }
        let ttl_s = ttl_s.max(TTL_S_MIN);
        self.0.insert(id, Lease { ttl_s, ..Lease::default() });
        Ok(ttl_s)
    }

    pub(super) fn restore(&mut self, id: i64, ttl_s: i64, remaining_s: i64) {
        self.0.insert(id, Lease { ttl_s, remaining_s, keys: BTreeSet::new() });
    }

    pub(super) fn revoke(&mut self, id: i64) -> Option<Lease> {
        self.0.remove(&id)
    }

    pub(super) fn checkpoint(&mut self, id: i64, remaining_s: i64) {
        if let Some(lease) = self.0.get_mut(&id) {
            lease.remaining_s = remaining_s;
        }
    }

    pub(super) fn attach(&mut self, id: i64, key: &Bytes) {
        if let Some(lease) = self.0.get_mut(&id) {
            lease.keys.insert(key.clone());
        }
    }

    pub(super) fn detach(&mut self, id: i64, key: &Bytes) {
        if let Some(lease) = self.0.get_mut(&id) {
            lease.keys.remove(key);
        }
    }
}
