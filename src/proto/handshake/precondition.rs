//! What a 412 says (protocol sections 5.3 and 10.1).

use std::fmt;

use super::refusal::{CLUSTER_ID_MISMATCH, INCOMPATIBLE_VERSION};

/// Which of our preconditions the other side does not accept.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Precondition {
    /// Our release.
    IncompatibleVersion,
    /// It says that we are from another cluster.
    ClusterIdMismatch,
    /// Other words, fit for a log.
    Other(String),
}

impl Precondition {
    /// The meaning of the body of a 412, or of its beginning; etcd matches it literally.
    #[must_use]
    pub fn of_text(body: &[u8]) -> Self {
        let text = body.strip_suffix(b"\n").unwrap_or(body);
        if text == INCOMPATIBLE_VERSION.as_bytes() {
            Self::IncompatibleVersion
        } else if text == CLUSTER_ID_MISMATCH.as_bytes() {
            Self::ClusterIdMismatch
        } else {
            Self::Other(loggable(text))
        }
    }
}

impl fmt::Display for Precondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IncompatibleVersion => f.write_str(INCOMPATIBLE_VERSION),
            Self::ClusterIdMismatch => f.write_str(CLUSTER_ID_MISMATCH),
            Self::Other(text) => write!(f, "unhandled error \"{text}\" when precondition failed"),
        }
    }
}

/// Bytes of a remote's text that go into an error.
const LOGGABLE_BYTES_MAX: usize = 200;

/// Somebody else's text: one line of visible ASCII, and not much of it.
pub(super) fn loggable(text: &[u8]) -> String {
    text[..text.len().min(LOGGABLE_BYTES_MAX)].escape_ascii().to_string()
}
