//! Which snapshot it is, for transfers that go on where an earlier one was cut. Both ends must be
//! raftring; etcd ignores the headers and does not have the path.
//!
//! ```text
//!   sender                                                        receiver
//!   POST /raft/snapshot     X-Raftring-Snapshot: <identity>  ──▶  cut: it keeps what it has
//!   GET /raft/snapshot/partial     X-Raftring-Snapshot: ...  ──▶  204, X-Raftring-Snapshot-Offset: n
//!   POST /raft/snapshot     both headers; the envelope, then      it has exactly n bytes of that one,
//!     the database from n on                                 ──▶  or answers 409 and forgets them
//! ```

use std::fmt;

use sha1::{Digest, Sha1};

/// Bytes of the tag: SHA-1, which is used to tell things apart and not to prove anything.
const TAG_BYTES: usize = 20;

/// Names a snapshot: how long its database is, and a hash over its message and what the source says
/// of its bytes. Two of the same identity hold the same bytes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SnapshotIdentity {
    size: u64,
    tag: [u8; TAG_BYTES],
}

impl SnapshotIdentity {
    /// The database has `size` bytes, which `source_tag` stands for; `envelope` is the message as it
    /// is sent.
    #[must_use]
    pub fn new(size: u64, source_tag: &[u8], envelope: &[u8]) -> Self {
        let mut hash = Sha1::new();
        hash.update((source_tag.len() as u64).to_be_bytes());
        hash.update(source_tag);
        hash.update(envelope);
        Self { size, tag: hash.finalize().into() }
    }

    /// Bytes of the database.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Reads the header's value; `None` if it is not one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (size, digits) = text.split_once('-')?;
        let size = parse_number(size, 16)?;
        let digits = digits.as_bytes();
        if digits.len() != 2 * TAG_BYTES {
            return None;
        }
        let mut tag = [0; TAG_BYTES];
        for (byte, pair) in tag.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
        }
        Some(Self { size, tag })
    }
}

impl fmt::Display for SnapshotIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-", self.size)?;
        self.tag.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads the value of `X-Raftring-Snapshot-Offset`; `None` if it is no number.
#[must_use]
pub fn parse_offset(text: &str) -> Option<u64> {
    parse_number(text, 10)
}

/// Digits only: no sign, no overflow.
fn parse_number(text: &str, radix: u32) -> Option<u64> {
    let are_digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, radix).ok().filter(|_| are_digits)
}

const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_back_and_nothing_else_is() {
        let identity = SnapshotIdentity::new(0x1_0000_0000, b"tag", b"message");
        let text = identity.to_string();
        assert_eq!(SnapshotIdentity::parse(&text), Some(identity));
        assert!(text.starts_with("100000000-"));
        for bad in ["", "-", "1-", "1", "+1-00", &text[1..].replace('-', "_"), &format!("{text}0"), "g-00"] {
            assert_eq!(SnapshotIdentity::parse(bad), None, "{bad}");
        }
        assert_eq!(SnapshotIdentity::parse(&text.replace("100000000", "+10000000")), None);
        assert_eq!(SnapshotIdentity::parse(&text.to_uppercase()), None, "one spelling");
    }

    #[test]
    fn whatever_differs_makes_another_snapshot() {
        let identity = SnapshotIdentity::new(1, b"ab", b"c");
        assert_ne!(identity, SnapshotIdentity::new(2, b"ab", b"c"));
        assert_ne!(identity, SnapshotIdentity::new(1, b"a", b"bc"));
        assert_ne!(identity, SnapshotIdentity::new(1, b"ab", b"d"));
    }

    #[test]
    fn an_offset_is_a_number_in_digits() {
        assert_eq!(parse_offset("0"), Some(0));
        assert_eq!(parse_offset("18446744073709551615"), Some(u64::MAX));
        for bad in ["", "-1", "+1", "1 ", "0x1", "18446744073709551616"] {
            assert_eq!(parse_offset(bad), None, "{bad}");
        }
    }
}
