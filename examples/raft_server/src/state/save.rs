//! Our own snapshots.
//!
//! ```text
//!   magic, 8 bytes; records; a record of length 0; SHA-1 of all before it, 20 bytes
//!   record: length, 4 bytes little-endian; a message: first the head, then leases, then keys, ascending
//! ```

use std::io::{self, Read, Write};

use anyhow::{Context, Result, ensure};
use prost::Message;
use sha1::{Digest, Sha1};

use super::State;
use super::alarms::{Alarms, Mode};
use super::digest::LogDigest;
use super::kv::Store;
use super::leases::Leases;
use super::members::Membership;
use crate::etcd::internal::DowngradeInfoSetRequest;
use crate::etcd::member::{Member, to_json};
use crate::etcd::mvccpb::{self, KeyValue};
use crate::etcd::rpc::AlarmMember;
use crate::etcd::version::ClusterVersion;

/// The last byte is the format's version.
pub(super) const MAGIC: &[u8; 8] = b"RAFTRST\x01";

/// Larger than any request a member of etcd is likely to take (1.5 MiB, unless told otherwise).
const RECORD_BYTES_MAX: u32 = 256 << 20;

/// Memory is given to a record as its bytes arrive, so that a wrong length reserves none.
const RECORD_BYTES_FIRST: usize = 64 << 10;

const CHECKSUM_BYTES: usize = 20;

/// All that is not a key or a lease.
#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(uint64, tag = "1")]
    applied: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(int64, tag = "3")]
    revision: i64,
    #[prost(int64, tag = "4")]
    compacted: i64,
    #[prost(uint64, tag = "5")]
    digest_from: u64,
    #[prost(uint64, tag = "6")]
    digest_to: u64,
    #[prost(fixed64, tag = "7")]
    digest_hash: u64,
    #[prost(uint64, tag = "8")]
    leases: u64,
    #[prost(uint64, tag = "9")]
    keys: u64,
    /// As etcd's JSON.
    #[prost(string, repeated, tag = "10")]
    members: Vec<String>,
    #[prost(fixed64, repeated, packed = "true", tag = "11")]
    removed: Vec<u64>,
    /// Empty if there is none.
    #[prost(string, tag = "12")]
    cluster_version: String,
    #[prost(message, optional, tag = "13")]
    downgrade: Option<DowngradeInfoSetRequest>,
    #[prost(message, repeated, tag = "14")]
    alarms: Vec<AlarmMember>,
    /// 0 none, 1 capped, 2 corrupt.
    #[prost(uint32, tag = "15")]
    alarm_mode: u32,
    #[prost(uint64, tag = "16")]
    not_understood: u64,
    #[prost(bool, tag = "17")]
    users: bool,
}

impl State {
    /// Writes all of it.
    ///
    /// # Errors
    /// Those of `output`, and a key that is too large.
    pub(crate) fn save(&self, output: &mut impl Write) -> Result<()> {
        let mut output = Records { inner: output, hash: Sha1::new() };
        output.raw(MAGIC)?;
        output.record(&self.head())?;
        for (id, lease) in self.leases.iter() {
            output.record(&mvccpb::Lease { id, ttl: lease.ttl_s, remaining_ttl: lease.remaining_s })?;
        }
        for kv in self.store.iter() {
            output.record(kv)?;
        }
        output.raw(&0_u32.to_le_bytes())?;
        let checksum = output.hash.finalize();
        output.inner.write_all(&checksum)?;
        Ok(())
    }

    fn head(&self) -> Head {
        Head {
            applied: self.applied,
            term: self.term,
            revision: self.store.revision(),
            compacted: self.store.compacted(),
            digest_from: self.log_digest.from,
            digest_to: self.log_digest.to,
            digest_hash: self.log_digest.hash,
            leases: self.leases.iter().count() as u64,
            keys: self.store.len() as u64,
            members: self.membership.iter().map(to_json).collect(),
            removed: self.membership.removed().collect(),
            cluster_version: self.cluster_version().map(|version| version.to_string()).unwrap_or_default(),
            downgrade: self.membership.downgrade().cloned(),
            alarms: self.alarms.iter().map(|(alarm, member_id)| AlarmMember { member_id, alarm }).collect(),
            alarm_mode: match self.alarms.mode() {
                Mode::Normal => 0,
                Mode::Capped => 1,
                Mode::Corrupt => 2,
            },
            not_understood: self.not_understood,
            users: self.users,
        }
    }

    /// Reads what [`save`](Self::save) wrote, to the end of `input`.
    ///
    /// # Errors
    /// Those of `input`, and whatever is not as it was written.
    pub(crate) fn load(input: &mut impl Read) -> Result<Self> {
        let mut input = Records { inner: input, hash: Sha1::new() };
        let magic = input.take_raw::<{ MAGIC.len() }>()?;
        ensure!(magic == *MAGIC, "not a snapshot of this server, or of another version of it");
        let head: Head = input.take_record()?;
        let mut leases = Leases::default();
        for _ in 0..head.leases {
            let lease: mvccpb::Lease = input.take_record()?;
            ensure!(leases.get(lease.id).is_none() && lease.id != 0, "a lease that is there twice");
            leases.restore(lease.id, lease.ttl, lease.remaining_ttl);
        }
        let store = input.take_keys(&head, &mut leases)?;
        let end = input.take_raw::<4>()?;
        ensure!(end == [0; 4], "more records than were announced");
        let expected = input.hash.clone().finalize();
        let checksum = input.take_raw::<CHECKSUM_BYTES>()?;
        ensure!(checksum == *expected, "the checksum is wrong");
        ensure!(input.inner.read(&mut [0])? == 0, "there is something behind the snapshot");
        head.state(store, leases)
    }
}

impl Head {
    fn state(self, store: Store, leases: Leases) -> Result<State> {
        let mut membership = Membership::default();
        for member in &self.members {
            let member: Member = serde_json::from_str(member).context("a member")?;
            membership.restore(member);
        }
        self.removed.iter().for_each(|id| membership.restore_removed(*id));
        if !self.cluster_version.is_empty() {
            let version = ClusterVersion::parse(&self.cluster_version).context("the cluster's version")?;
            membership.set_version(version);
        }
        self.downgrade.into_iter().for_each(|downgrade| membership.set_downgrade(downgrade));
        let mut alarms = Alarms::default();
        self.alarms.iter().for_each(|alarm| alarms.restore(alarm.alarm, alarm.member_id));
        alarms.set_mode(match self.alarm_mode {
            0 => Mode::Normal,
            1 => Mode::Capped,
            _ => Mode::Corrupt,
        });
        Ok(State {
            applied: self.applied,
            term: self.term,
            store,
            leases,
            alarms,
            membership,
            log_digest: LogDigest { from: self.digest_from, to: self.digest_to, hash: self.digest_hash },
            not_understood: self.not_understood,
            users: self.users,
        })
    }
}

/// Reads or writes, and counts all of it into a checksum.
struct Records<'a, T> {
    inner: &'a mut T,
    hash: Sha1,
}

impl<T: Write> Records<'_, T> {
    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.inner.write_all(bytes)
    }

    fn record(&mut self, message: &impl Message) -> Result<()> {
        let bytes = message.encode_to_vec();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        ensure!(length <= RECORD_BYTES_MAX, "a record of {} bytes", bytes.len());
        // A message may be empty, a record never is.
        self.raw(&(length + 1).to_le_bytes())?;
        self.raw(&bytes)?;
        Ok(())
    }
}

impl<T: Read> Records<'_, T> {
    fn take_raw<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes).context("it ends too early")?;
        self.hash.update(bytes);
        Ok(bytes)
    }

    fn take_record<M: Message + Default>(&mut self) -> Result<M> {
        let length =
            u32::from_le_bytes(self.take_raw()?).checked_sub(1).context("fewer records than announced")?;
        ensure!(length <= RECORD_BYTES_MAX, "a record of {length} bytes");
        let length = length as usize;
        let mut bytes = Vec::with_capacity(length.min(RECORD_BYTES_FIRST));
        Read::take(&mut *self.inner, length as u64).read_to_end(&mut bytes)?;
        ensure!(bytes.len() == length, "it ends too early");
        self.hash.update(&bytes);
        M::decode(&bytes[..]).context("a record that cannot be read")
    }

    fn take_keys(&mut self, head: &Head, leases: &mut Leases) -> Result<Store> {
        let mut store = Store::restored(head.revision, head.compacted);
        let mut last: Option<bytes::Bytes> = None;
        for _ in 0..head.keys {
            let kv: KeyValue = self.take_record()?;
            ensure!(last.as_ref().is_none_or(|last| *last < kv.key), "keys that are not in order");
            ensure!(kv.mod_revision <= head.revision, "a key from the future");
            last = Some(kv.key.clone());
            leases.attach(kv.lease, &kv.key);
            store.restore_key(kv);
        }
        Ok(store)
    }
}
