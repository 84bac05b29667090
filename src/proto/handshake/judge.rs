//! The dialling side: what the answer to a stream request means (protocol section 5.3).

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use crate::proto::http::head::{Framing, HeadError, ResponseHead};
use crate::proto::version::Version;

use super::refusal::{CLUSTER_ID_MISMATCH, INCOMPATIBLE_VERSION};
use super::{Identity, Precondition};

/// How much of a refusal's body is read: a sentence. etcd drains it all, be it endless.
pub const DIAL_BODY_BYTES_MAX: usize = 4 << 10;

/// A dial that succeeded: frames follow in the body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Established {
    /// How the body is framed.
    pub framing: Framing,
    /// The server's release.
    pub server_version: Version,
    /// Whether the server wants its link heartbeats echoed, which we have offered.
    pub echoes: bool,
}

/// A dial that failed though an answer came. [`DialRefusal::marks_unreachable`] and the methods
/// after it say what follows.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DialRefusal {
    /// The answer's head is not acceptable.
    BadHead(HeadError),
    /// `X-Server-Version` is no version. etcd crashes here.
    BadVersionHeader,
    /// The server is older than we are and not in the table of protocol section 5.4.
    UnsupportedStreamType,
    /// The answer says that it is from another cluster.
    ClusterIdMismatchInReply {
        /// Its cluster id, fit for a log.
        theirs: String,
    },
    /// 410: we were removed from the cluster for good.
    RemovedMember,
    /// 404: the peer has not heard of us yet.
    PeerDoesNotKnowUs,
    /// 412: it refuses our release.
    IncompatibleVersion,
    /// 412: it says that we are from another cluster.
    ClusterIdMismatch,
    /// 412 with other words, fit for a log.
    PreconditionFailed(String),
    /// Any other status.
    UnexpectedStatus(u16),
}

/// Whether [`judge`] looks at the body: then read it up to [`DIAL_BODY_BYTES_MAX`].
#[must_use]
pub const fn needs_body(head: &ResponseHead<'_>) -> bool {
    head.status == 412
}

/// Judges the answer to a stream request, in etcd's order: the version before the status.
///
/// `body` is the beginning of the payload (framing undone) if [`needs_body`], else anything. Where
/// etcd only logs the answer's cluster id, a different one is a refusal: neither frames nor a 410
/// of another cluster may reach our raft.
///
/// # Errors
/// Why there is no stream.
pub fn judge(head: &ResponseHead<'_>, body: &[u8], own: &Identity) -> Result<Established, DialRefusal> {
    let server_version =
        Version::parse_header(head.headers.server_version).ok_or(DialRefusal::BadVersionHeader)?;
    let is_older = server_version.cmp_minor(&own.versions.server) == Ordering::Less;
    if is_older && !server_version.supports_streams() {
        return Err(DialRefusal::UnsupportedStreamType);
    }
    if head.status == 412 {
        return Err(judge_precondition(body));
    }
    if let Some(theirs) = own.other_cluster(head.headers.cluster_id) {
        return Err(DialRefusal::ClusterIdMismatchInReply { theirs });
    }
    match head.status {
        200 => {
            let echoes = own.echoes && head.echoes;
            Ok(Established { framing: head.framing, server_version, echoes })
        }
        404 => Err(DialRefusal::PeerDoesNotKnowUs),
        410 => Err(DialRefusal::RemovedMember),
        status => Err(DialRefusal::UnexpectedStatus(status)),
    }
}

fn judge_precondition(body: &[u8]) -> DialRefusal {
    match Precondition::of_text(body) {
        Precondition::IncompatibleVersion => DialRefusal::IncompatibleVersion,
        Precondition::ClusterIdMismatch => DialRefusal::ClusterIdMismatch,
        Precondition::Other(text) => DialRefusal::PreconditionFailed(text),
    }
}

/// After a cluster mismatch. Swapped addresses do not heal within 100 ms, and each attempt is a
/// critical event on both sides.
const MISMATCH_BACK_OFF: Duration = Duration::from_secs(10);

impl DialRefusal {
    /// Whether the picker goes on to the next URL: always.
    #[must_use]
    pub const fn marks_unreachable(&self) -> bool {
        true
    }

    /// Whether the peer's status becomes inactive (source: the stream, action: dial).
    #[must_use]
    pub const fn deactivates(&self) -> bool {
        !matches!(self, Self::UnsupportedStreamType)
    }

    /// Whether the host is told that we were removed: the one report on etcd's error channel.
    #[must_use]
    pub const fn reports_removed(&self) -> bool {
        matches!(self, Self::RemovedMember)
    }

    /// How long not to dial this peer, beyond the usual pace.
    #[must_use]
    pub const fn back_off(&self) -> Option<Duration> {
        match self {
            Self::ClusterIdMismatch | Self::ClusterIdMismatchInReply { .. } => Some(MISMATCH_BACK_OFF),
            _ => None,
        }
    }
}

impl From<HeadError> for DialRefusal {
    fn from(error: HeadError) -> Self {
        Self::BadHead(error)
    }
}

impl fmt::Display for DialRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadHead(error) => write!(f, "bad answer: {error}"),
            Self::BadVersionHeader => f.write_str("the answer's X-Server-Version is no version"),
            Self::UnsupportedStreamType => f.write_str("unsupported stream type"),
            Self::ClusterIdMismatchInReply { theirs } => {
                write!(f, "the answer is from another cluster, \"{theirs}\"")
            }
            Self::RemovedMember => f.write_str("the member has been permanently removed from the cluster"),
            Self::PeerDoesNotKnowUs => f.write_str("the peer failed to find the local member"),
            Self::IncompatibleVersion => f.write_str(INCOMPATIBLE_VERSION),
            Self::ClusterIdMismatch => f.write_str(CLUSTER_ID_MISMATCH),
            Self::PreconditionFailed(text) => {
                write!(f, "unhandled error \"{text}\" when precondition failed")
            }
            Self::UnexpectedStatus(status) => write!(f, "unhandled http status {status}"),
        }
    }
}

impl std::error::Error for DialRefusal {}

#[cfg(test)]
mod tests {
    use super::super::accept::tests::own;
    use super::*;
    use crate::proto::http::head::PeerHeaders;

    fn answer(status: u16, version: Option<&'static str>) -> ResponseHead<'static> {
        let headers = PeerHeaders { server_version: version, ..PeerHeaders::default() };
        ResponseHead {
            status,
            version_minor: 1,
            headers,
            framing: Framing::Chunked,
            keep_alive: true,
            echoes: false,
        }
    }

    fn judged(status: u16, version: Option<&'static str>) -> Result<Established, DialRefusal> {
        judge(&answer(status, version), b"", &own())
    }

    /// `TestStreamReaderDialResult`, and the table of protocol section 5.3.
    #[test]
    fn only_200_is_a_stream_and_only_410_is_reported() {
        for status in [200, 201, 204, 301, 403, 404, 405, 410, 412, 500] {
            let result = judged(status, Some("3.5.33"));
            assert_eq!(result.is_ok(), status == 200, "{status}");
            let reported = result.is_err_and(|refusal| refusal.reports_removed());
            assert_eq!(reported, status == 410, "{status}");
        }
        assert_eq!(judged(404, Some("3.5.0")), Err(DialRefusal::PeerDoesNotKnowUs));
        assert_eq!(judged(500, Some("3.5.0")), Err(DialRefusal::UnexpectedStatus(500)));
        assert_eq!(judged(204, Some("3.5.0")), Err(DialRefusal::UnexpectedStatus(204)));
    }

    /// `TestStreamReaderDialDetectUnsupport`.
    #[test]
    fn the_version_is_looked_at_before_the_status() {
        for status in [200, 404, 410, 412] {
            assert_eq!(judged(status, None), Err(DialRefusal::UnsupportedStreamType), "{status}");
            assert_eq!(judged(status, Some("2.4.0")), Err(DialRefusal::UnsupportedStreamType));
            assert_eq!(judged(status, Some("3.5")), Err(DialRefusal::BadVersionHeader));
        }
        for supported in ["2.1.0", "3.4.23", "3.5.0", "3.9.0", "4.0.0"] {
            let established = judged(200, Some(supported)).expect(supported);
            assert_eq!(established.server_version.to_string(), supported);
        }
    }

    #[test]
    fn words_tell_the_preconditions_apart() {
        let judged = |body: &[u8]| judge(&answer(412, Some("3.5.0")), body, &own()).expect_err("a 412");
        assert_eq!(judged(b"incompatible version\n"), DialRefusal::IncompatibleVersion);
        assert_eq!(judged(b"incompatible version"), DialRefusal::IncompatibleVersion);
        assert_eq!(judged(b"cluster ID mismatch\n"), DialRefusal::ClusterIdMismatch);
        let other = |text: &str| DialRefusal::PreconditionFailed(text.to_owned());
        assert_eq!(judged(b"to field mismatch\n"), other("to field mismatch"));
        assert_eq!(judged(b"cluster ID mismatch\n\n"), other(r"cluster ID mismatch\n"));
        assert_eq!(judged(b"\x1b[2J\xff"), other(r"\x1b[2J\xff"));
        assert_eq!(judged(&[b'a'; 4096]), other(&"a".repeat(200)));
        assert!(needs_body(&answer(412, None)));
        assert!(!needs_body(&answer(410, None)));
    }

    #[test]
    fn nothing_from_another_cluster_is_believed() {
        for status in [200, 410, 404, 500] {
            let mut head = answer(status, Some("3.5.0"));
            head.headers.cluster_id = Some("1a2c");
            let refusal = judge(&head, b"", &own()).expect_err("another cluster");
            assert_eq!(refusal, DialRefusal::ClusterIdMismatchInReply { theirs: "1a2c".to_owned() });
            assert!(!refusal.reports_removed());
            assert_eq!(refusal.back_off(), Some(Duration::from_secs(10)));
            head.headers.cluster_id = Some("1a2b");
            assert_ne!(judge(&head, b"", &own()), Err(refusal));
        }
    }

    #[test]
    fn every_refusal_rotates_the_urls_and_all_but_one_deactivate() {
        let all = [
            DialRefusal::BadHead(HeadError::Malformed),
            DialRefusal::BadVersionHeader,
            DialRefusal::ClusterIdMismatch,
            DialRefusal::IncompatibleVersion,
            DialRefusal::PeerDoesNotKnowUs,
            DialRefusal::PreconditionFailed(String::new()),
            DialRefusal::RemovedMember,
            DialRefusal::UnexpectedStatus(500),
        ];
        assert!(all.iter().all(|refusal| refusal.marks_unreachable() && refusal.deactivates()));
        let unsupported = DialRefusal::UnsupportedStreamType;
        assert!(unsupported.marks_unreachable() && !unsupported.deactivates());
    }
}
