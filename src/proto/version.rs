//! Versions: what they mean in a handshake (protocol sections 4.3, 4.4 and 5.4).

use std::cmp::Ordering;
use std::fmt;

/// A release, `x.y.z` with an optional pre-release and metadata.
///
/// Handshakes look at the first two numbers only; the whole text is kept for headers and logs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Version(semver::Version);

/// What a member says of itself in every request: `X-Server-Version` and `X-Min-Cluster-Version`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Versions {
    /// Its own release.
    pub server: Version,
    /// The oldest release it works with.
    pub min_cluster: Version,
}

/// Why two members cannot talk (protocol section 4.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Incompatible {
    /// The remote is older than the oldest that we work with.
    TooLow,
    /// The remote works with releases newer than ours only.
    TooHigh,
}

impl Version {
    /// The release that this transport says it is, unless its host says otherwise: 3.5 is known to
    /// the stream tables of 3.5 and all later releases, and to 3.4 it is not older than itself.
    pub const SERVER: Self = Self::new(3, 5, 0);

    /// The oldest release that etcd 3.4 to 3.8 works with.
    pub const MIN_CLUSTER: Self = Self::new(3, 0, 0);

    /// What a message without the header is taken to come from.
    pub const MISSING: Self = Self::new(2, 0, 0);

    /// The release `major.minor.patch`.
    #[must_use]
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self(semver::Version::new(major, minor, patch))
    }

    /// Parses strictly: `3.5`, `v3.5.0` and garbage are `None` (they are fatal to etcd, protocol
    /// section 17 rows 7 and 8).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        semver::Version::parse(text).ok().map(Self)
    }

    /// The value of a version header, where missing and empty mean 2.0.0 (`serverVersion` and
    /// `minClusterVersion`).
    #[must_use]
    pub fn parse_header(value: Option<&str>) -> Option<Self> {
        match value {
            None | Some("") => Some(Self::MISSING),
            Some(text) => Self::parse(text),
        }
    }

    /// Compares major and minor, nothing else (`compareMajorMinorVersion`).
    #[must_use]
    pub fn cmp_minor(&self, other: &Self) -> Ordering {
        (self.0.major, self.0.minor).cmp(&(other.0.major, other.0.minor))
    }

    /// Whether a server of this release, being older than we are, speaks both streams of today
    /// (`checkStreamSupport`; the table of protocol section 5.4 lists no kind apart).
    #[must_use]
    pub const fn supports_streams(&self) -> bool {
        match self.0.major {
            2 => self.0.minor >= 1 && self.0.minor <= 3,
            3 => self.0.minor <= NEWEST_MINOR_OF_3,
            _ => false,
        }
    }
}

/// The newest entry of etcd's own table on its main branch.
const NEWEST_MINOR_OF_3: u64 = 8;

impl Default for Versions {
    fn default() -> Self {
        Self { server: Version::SERVER, min_cluster: Version::MIN_CLUSTER }
    }
}

impl Versions {
    /// Whether we, being these, can talk to a remote that says it is `remote`
    /// (`checkVersionCompatibility`). There is no upper limit on the remote's release.
    ///
    /// # Errors
    /// Which side is too old.
    pub fn check_compatibility(&self, remote: &Self) -> Result<(), Incompatible> {
        if remote.server.cmp_minor(&self.min_cluster) == Ordering::Less {
            return Err(Incompatible::TooLow);
        }
        if remote.min_cluster.cmp_minor(&self.server) == Ordering::Greater {
            return Err(Incompatible::TooHigh);
        }
        Ok(())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLow => "the remote is older than the oldest release we work with",
            Self::TooHigh => "we are older than the oldest release the remote works with",
        })
    }
}

impl std::error::Error for Incompatible {}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).expect("valid")
    }

    /// `TestCompareMajorMinorVersion`.
    #[test]
    fn only_major_and_minor_are_compared() {
        let cases = [
            ("2.1.0", "2.1.0", Ordering::Equal),
            ("2.0.0", "2.1.0", Ordering::Less),
            ("2.2.0", "2.1.0", Ordering::Greater),
            ("2.1.0", "2.1.5", Ordering::Equal),
            ("2.1.0-alpha.0", "2.1.0+git", Ordering::Equal),
            ("3.0.0", "2.9.0", Ordering::Greater),
        ];
        for (a, b, want) in cases {
            assert_eq!(version(a).cmp_minor(&version(b)), want, "{a} {b}");
        }
    }

    /// `TestServerVersion`, `TestMinClusterVersion`.
    #[test]
    fn a_missing_header_means_two_zero() {
        assert_eq!(Version::parse_header(None), Some(Version::new(2, 0, 0)));
        assert_eq!(Version::parse_header(Some("")), Some(Version::new(2, 0, 0)));
        assert_eq!(Version::parse_header(Some("2.1.0")), Some(Version::new(2, 1, 0)));
        let long = Version::parse_header(Some("2.1.0-alpha.0+git")).expect("valid");
        assert_eq!(long.to_string(), "2.1.0-alpha.0+git");
    }

    #[test]
    fn what_would_crash_etcd_is_none() {
        for text in ["3.5", "3.4", "v3.5.0", "x", "3.5.0.1", " 3.5.0", "3.-1.0", "99999999999999999999.0.0"] {
            assert_eq!(Version::parse_header(Some(text)), None, "{text}");
        }
    }

    /// `TestCheckVersionCompatibility`.
    #[test]
    fn a_remote_may_be_newer_but_not_older_than_our_minimum() {
        let own = Versions::default();
        let remote = |server, min| Versions { server: version(server), min_cluster: version(min) };
        assert_eq!(own.check_compatibility(&own), Ok(()));
        assert_eq!(own.check_compatibility(&remote("3.4.23", "3.0.0")), Ok(()));
        assert_eq!(own.check_compatibility(&remote("4.1.0", "3.0.0")), Ok(()));
        assert_eq!(own.check_compatibility(&remote("3.9.0", "3.5.9")), Ok(()));
        assert_eq!(own.check_compatibility(&remote("3.0.0-alpha", "2.0.0")), Ok(()));
        assert_eq!(own.check_compatibility(&remote("2.3.9", "2.0.0")), Err(Incompatible::TooLow));
        assert_eq!(own.check_compatibility(&remote("2.0.0", "2.0.0")), Err(Incompatible::TooLow));
        assert_eq!(own.check_compatibility(&remote("3.9.0", "3.6.0")), Err(Incompatible::TooHigh));
    }

    /// `TestCheckStreamSupport`, `TestStreamSupportCurrentVersion`.
    #[test]
    fn the_stream_table_lists_minors_and_our_own_is_among_them() {
        let supported = ["2.1.0", "2.3.9", "3.0.0-rc.1", "3.4.23", "3.8.0-alpha.0"];
        assert!(supported.iter().all(|text| version(text).supports_streams()));
        let unsupported = ["2.0.0", "2.4.0", "1.9.0", "3.9.0", "4.0.0"];
        assert!(!unsupported.iter().any(|text| version(text).supports_streams()));
        assert!(Version::SERVER.supports_streams());
    }
}
