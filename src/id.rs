//! Who is who: member and cluster ids, their textual form and how etcd computes them.
//!
//! Protocol section 2. The text form matters twice over: ids in paths and in `X-Server-From` are
//! *parsed*, while `X-Etcd-Cluster-ID` and `X-Raft-To` are *compared as strings*, so only the
//! canonical form (lower case, no zero padding) is ever sent.

use std::fmt;
use std::str::FromStr;

use sha1::{Digest, Sha1};

/// The id of one raft member, unsigned 64-bit; 0 names nobody.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MemberId(pub u64);

/// The id of a cluster, fixed at bootstrap.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClusterId(pub u64);

/// A text that is not an id: protocol section 2.1 tells what is accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParseIdError;

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an id is a 64-bit number in hexadecimal digits (leading zeros allowed), without prefix, sign or space",
        )
    }
}

impl std::error::Error for ParseIdError {}

/// Base 16, either case, leading zeros accepted; signs, prefixes, underscores, whitespace, the
/// empty text and overflow are errors. Agrees with `types.IDFromString`.
fn parse_hex(text: &str) -> Result<u64, ParseIdError> {
    // `from_str_radix` takes a leading `+`, Go's parser does not.
    if !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ParseIdError);
    }
    u64::from_str_radix(text, 16).map_err(|_| ParseIdError)
}

macro_rules! hex_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self)
            }
        }

        impl From<u64> for $name {
            fn from(id: u64) -> Self {
                Self(id)
            }
        }
    };
}

hex_id!(MemberId);
hex_id!(ClusterId);

impl MemberId {
    /// The id of a member with these peer URLs: `SHA-1(sorted URLs ++ token ++ time)`, its first
    /// eight bytes (protocol section 2.3, agrees with `membership.NewMember`).
    ///
    /// `urls` are taken letter by letter, in any order: give the canonical text of
    /// [`PeerUrl`](crate::proto::peer_url::PeerUrl). A member of the initial cluster has the
    /// cluster's token and no time; a member added at run time has the empty token and the Unix
    /// time of the addition in seconds. An id of 0, with which nobody has ever met, names nobody
    /// and must be refused by the caller.
    #[must_use]
    pub fn compute<S: AsRef<str>>(urls: &[S], token: &str, added_at_unix_s: Option<i64>) -> Self {
        let mut sorted: Vec<&str> = urls.iter().map(AsRef::as_ref).collect();
        sorted.sort_unstable();
        let mut hash = Sha1::new();
        for url in sorted {
            hash.update(url);
        }
        hash.update(token);
        if let Some(time) = added_at_unix_s {
            hash.update(time.to_string());
        }
        Self(first_eight(hash))
    }
}

impl ClusterId {
    /// The id of a cluster that was bootstrapped with these members: their ids in numerical order,
    /// eight bytes big-endian each, SHA-1, the first eight bytes (protocol section 2.4, agrees with
    /// `RaftCluster.genID`). Members that come or go later do not change it.
    #[must_use]
    pub fn compute(initial_members: &[MemberId]) -> Self {
        let mut sorted = initial_members.to_vec();
        sorted.sort_unstable();
        let mut hash = Sha1::new();
        for id in sorted {
            hash.update(id.0.to_be_bytes());
        }
        Self(first_eight(hash))
    }
}

fn first_eight(hash: Sha1) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 20]>::from(hash.finalize());
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(members: &[&[&str]], token: &str) -> (Vec<String>, String) {
        let ids: Vec<MemberId> = members.iter().map(|urls| MemberId::compute(urls, token, None)).collect();
        (ids.iter().map(ToString::to_string).collect(), ClusterId::compute(&ids).to_string())
    }

    /// Protocol section 2.5.
    #[test]
    fn ids_are_those_that_etcd_computes() {
        let (ids, id) = cluster(&[&["http://localhost:2380"]], "etcd-cluster");
        assert_eq!((ids[0].as_str(), id.as_str()), ("8e9e05c52164694d", "cdf818194e3a8c32"));

        let (ids, id) = cluster(&[&["http://127.0.0.1:2380"]], "etcd-cluster");
        assert_eq!((ids[0].as_str(), id.as_str()), ("b71f75320dc06a6c", "1c45a069f3a1d796"));

        let three: &[&[&str]] =
            &[&["http://127.0.0.1:12380"], &["http://127.0.0.1:22380"], &["http://127.0.0.1:32380"]];
        let (ids, id) = cluster(three, "etcd-cluster");
        assert_eq!(ids, ["ddd67b312462fd7b", "9e737febb6b99eee", "628170c800dbcee"]);
        assert_eq!(id, "73841b4a9097c907");

        let (ids, id) = cluster(&[&["http://127.0.0.1:23888"], &["http://127.0.0.1:23899"]], "tok-1");
        assert_eq!(ids, ["2c22c7a8865209e8", "569881f9fecd91bb"]);
        assert_eq!(id, "f153738c1d2f00d5");
    }

    #[test]
    fn several_urls_of_a_member_are_sorted_before_hashing() {
        let urls = ["http://10.0.0.2:2380", "http://10.0.0.1:2380"];
        assert_eq!(MemberId::compute(&urls, "tok", None).to_string(), "d3b8edf9430e965");
    }

    #[test]
    fn the_time_of_an_addition_makes_another_id() {
        let urls = ["http://10.0.0.1:2380"];
        let (bare, timed) = (MemberId::compute(&urls, "", None), MemberId::compute(&urls, "", Some(17)));
        assert_ne!(bare, timed);
        assert_eq!(timed, MemberId::compute(&urls, "17", None), "decimal ASCII, without a separator");
    }

    #[test]
    fn an_id_prints_in_lower_case_without_padding() {
        assert_eq!(MemberId(0x0628_170c_800d_bcee).to_string(), "628170c800dbcee");
        assert_eq!(ClusterId(0x1A2B).to_string(), "1a2b");
        assert_eq!(MemberId(0).to_string(), "0");
    }

    #[test]
    fn an_id_parses_in_either_case_with_leading_zeros() {
        for text in ["1a2b", "1A2B", "001a2b", "000000000000000000001a2b"] {
            assert_eq!(text.parse(), Ok(MemberId(0x1a2b)), "{text}");
        }
        assert_eq!("ffffffffffffffff".parse(), Ok(MemberId(u64::MAX)));
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in ["", "+2", "-2", "0x2", "1_0", " 2", "2 ", "g", "10000000000000000", "\u{0661}"] {
            assert_eq!(text.parse::<MemberId>(), Err(ParseIdError), "{text:?}");
        }
    }
}
