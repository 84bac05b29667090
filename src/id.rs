//! Who is who: member and cluster ids, their textual form and how etcd computes them.
//!
//! Protocol section 2. The text form matters twice over: ids in paths and in `X-Server-From` are
//! *parsed*, while `X-Etcd-Cluster-ID` and `X-Raft-To` are *compared as strings*, so only the
//! canonical form (lower case, no zero padding) is ever sent.

use std::fmt;
use std::str::FromStr;

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
            "an id is 1 to 16 hexadecimal digits (leading zeros allowed), without prefix, sign or space",
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
