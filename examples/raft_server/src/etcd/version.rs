//! The cluster's version: what all its members understand.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A release without its last number: this is how clusters speak of versions.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct ClusterVersion {
    pub(crate) major: u64,
    pub(crate) minor: u64,
}

impl ClusterVersion {
    /// What a new cluster has until all its members have told theirs.
    pub(crate) const MIN: Self = Self::new(3, 0);

    pub(crate) const fn new(major: u64, minor: u64) -> Self {
        Self { major, minor }
    }

    /// Of a full version, as `3.4.23` or `3.6.0-rc.1`; `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let mut number = || -> Option<u64> { digits(parts.next()?) };
        let (major, minor) = (number()?, number()?);
        let patch = parts.next()?;
        digits(patch.split(['-', '+']).next()?)?;
        Some(Self { major, minor })
    }
}

/// `u64::from_str` takes a leading `+`.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for ClusterVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.0", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_etcd_does() {
        assert_eq!(ClusterVersion::parse("3.4.23"), Some(ClusterVersion::new(3, 4)));
        assert_eq!(ClusterVersion::parse("3.6.0-rc.1"), Some(ClusterVersion::new(3, 6)));
        assert_eq!(ClusterVersion::parse("3.4.0+git"), Some(ClusterVersion::new(3, 4)));
        for none in ["", "3", "3.4", "3.4.", "v3.4.0", "3.+4.0", "a.b.c", "3.4.x", "not_decided"] {
            assert_eq!(ClusterVersion::parse(none), None, "{none}");
        }
        assert_eq!(ClusterVersion::new(3, 4).to_string(), "3.4.0");
        assert!(ClusterVersion::new(3, 10) > ClusterVersion::new(3, 9));
    }
}
