//! Digests by which members are compared.

use prost::Message as _;
use sha1::{Digest as _, Sha1};

use crate::etcd::mvccpb::KeyValue;

/// Runs over the entries that were applied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct LogDigest {
    /// The first entry in it.
    pub(crate) from: u64,
    /// The last one; `from - 1` while there is none.
    pub(crate) to: u64,
    pub(crate) hash: u64,
}

impl LogDigest {
    pub(super) fn starting_at(from: u64) -> Self {
        Self { from, to: from - 1, hash: 0 }
    }

    pub(super) fn add(&mut self, index: u64, term: u64, entry_type: i32, data: &[u8]) {
        let mut hash = Sha1::new();
        hash.update(self.hash.to_le_bytes());
        hash.update(index.to_le_bytes());
        hash.update(term.to_le_bytes());
        hash.update(entry_type.to_le_bytes());
        hash.update(data);
        self.hash = first_eight(hash);
        self.to = index;
    }
}

/// Of one key; those of all keys are added up, so that one can change without the others being read.
pub(super) fn of_key(kv: &KeyValue) -> u64 {
    let mut hash = Sha1::new();
    hash.update(kv.encode_to_vec());
    first_eight(hash)
}

fn first_eight(hash: Sha1) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 20]>::from(hash.finalize());
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
