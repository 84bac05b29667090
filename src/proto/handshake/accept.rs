//! The server's side: is this request served (protocol sections 4.5, 4.6, 5.2 and 10.2).

use crate::id::MemberId;
use crate::proto::http::head::{HeadError, PeerHeaders, RequestHead};
use crate::proto::peer_url::{PeerUrls, Scheme};
use crate::proto::stream_kind::StreamKind;
use crate::proto::version::{Version, Versions};

use super::{Endpoint, Identity, Refusal};

/// What the checks must know about members.
pub trait Membership {
    /// True if the member was removed from the cluster for good. Its dials are answered with 410,
    /// at which an etcd member shuts down: never guess.
    fn is_id_removed(&self, id: MemberId) -> bool;

    /// True if the member is a *peer*; a remote is not enough.
    fn is_known_peer(&self, id: MemberId) -> bool;
}

/// A request that is served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Accepted {
    /// Attach the connection to this writer; answer with
    /// [`write_stream_accepted`](super::write_stream_accepted) at once.
    Stream {
        /// Which writer of the peer.
        kind: StreamKind,
        /// The member that dialled.
        peer: MemberId,
        /// Whether our link heartbeats are echoed on it: the answer says so.
        echoes: bool,
    },
    /// Read one message from the body.
    Pipeline(Option<Introduction>),
    /// Read a message and a database from the body.
    Snapshot(Option<Introduction>),
    /// Tell how much of the snapshot that the headers name is there.
    SnapshotPartial,
    /// Answer that we are well.
    Probing,
}

/// Somebody told his id and his URLs: make him a remote unless he is known (`AddRemote`, protocol
/// section 4.6). Nothing of it is proven.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Introduction {
    /// Who he says he is; neither 0 nor ourselves.
    pub member: MemberId,
    /// Where he says he can be reached.
    pub peer_urls: PeerUrls,
}

/// A request that is not served. Answer with [`write_refused`](super::write_refused), then close.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// Decides which headers the answer carries; `None` before and without a known path.
    pub endpoint: Option<Endpoint>,
    /// The n of HTTP/1.n of the answer.
    pub version_minor: u8,
    /// A member that we refuse only because we do not know it yet.
    pub introduction: Option<Introduction>,
}

/// Decides about a request, with etcd's checks in etcd's order.
///
/// # Errors
/// The first check that failed.
pub fn accept(
    head: &RequestHead<'_>,
    own: &Identity,
    members: &impl Membership,
) -> Result<Accepted, Refused> {
    let endpoint = Endpoint::of_path(head.path);
    let refused = |refusal, introduction| Refused {
        refusal,
        endpoint,
        version_minor: head.version_minor,
        introduction,
    };
    let Some(endpoint) = endpoint else {
        return Err(refused(Refusal::NotFound, None));
    };
    if let Some(method) = endpoint.method().filter(|&method| method != head.method) {
        return Err(refused(Refusal::MethodNotAllowed(method), None));
    }
    if endpoint == Endpoint::Probing {
        return Ok(Accepted::Probing);
    }
    check_cluster(&head.headers, own).map_err(|refusal| refused(refusal, None))?;
    if endpoint == Endpoint::SnapshotPartial {
        return Ok(Accepted::SnapshotPartial);
    }
    if endpoint != Endpoint::Stream {
        let from = head.headers.server_from.and_then(|from| from.parse().ok());
        let introduction = from.and_then(|from| introduction(&head.headers, own, from));
        return Ok(match endpoint {
            Endpoint::Snapshot => Accepted::Snapshot(introduction),
            _ => Accepted::Pipeline(introduction),
        });
    }
    accept_stream(head, own, members).map_err(|(refusal, from)| {
        let unknown = from.filter(|_| refusal == Refusal::SenderNotFound);
        refused(refusal, unknown.and_then(|from| introduction(&head.headers, own, from)))
    })
}

/// Protocol section 4.5, `checkClusterCompatibilityFromHeader`.
fn check_cluster(headers: &PeerHeaders<'_>, own: &Identity) -> Result<(), Refusal> {
    let parse = |value| Version::parse_header(value).ok_or(Refusal::BadVersionHeader);
    let remote =
        Versions { server: parse(headers.server_version)?, min_cluster: parse(headers.min_cluster_version)? };
    own.versions.check_compatibility(&remote).map_err(Refusal::IncompatibleVersion)?;
    if headers.cluster_id != Some(own.cluster.to_string().as_str()) {
        return Err(Refusal::ClusterIdMismatch);
    }
    Ok(())
}

/// Rows 5 to 9 of protocol section 5.2. With a refusal comes the dialler, as far as he is known.
fn accept_stream(
    head: &RequestHead<'_>,
    own: &Identity,
    members: &impl Membership,
) -> Result<Accepted, (Refusal, Option<MemberId>)> {
    let below = head.path.strip_prefix(Endpoint::STREAM_PREFIX).unwrap_or_default();
    let (kind, from) = below.rsplit_once('/').ok_or((Refusal::InvalidPath, None))?;
    let kind = StreamKind::from_path_element(kind).ok_or((Refusal::InvalidPath, None))?;
    let peer: MemberId = from.parse().map_err(|_| (Refusal::InvalidFrom, None))?;
    let refused = |refusal| Err((refusal, Some(peer)));
    if members.is_id_removed(peer) {
        return refused(Refusal::RemovedMember);
    }
    if !members.is_known_peer(peer) {
        return refused(Refusal::SenderNotFound);
    }
    if head.headers.raft_to != Some(own.member.to_string().as_str()) {
        return refused(Refusal::ToFieldMismatch);
    }
    Ok(Accepted::Stream { kind, peer, echoes: own.echoes && head.echoes })
}

/// URLs that are wrong introduce nobody; in etcd they panic (protocol section 17 row 12).
fn introduction(headers: &PeerHeaders<'_>, own: &Identity, member: MemberId) -> Option<Introduction> {
    if member == MemberId(0) || member == own.member {
        return None;
    }
    let peer_urls = PeerUrls::parse_header(headers.peer_urls?).ok()?;
    if has_unix(&peer_urls) && !own.peer_urls.as_ref().is_some_and(has_unix) {
        return None;
    }
    Some(Introduction { member, peer_urls })
}

/// A stranger over the network must not make us talk to the sockets of this machine; where members are
/// reached by such, everyone is of this machine.
fn has_unix(urls: &PeerUrls) -> bool {
    urls.as_slice().iter().any(|url| matches!(url.scheme(), Scheme::Unix | Scheme::Unixs))
}

impl Refused {
    /// A request whose head could not be read.
    #[must_use]
    pub const fn bad_head(error: HeadError) -> Self {
        Self { refusal: Refusal::BadHead(error), endpoint: None, version_minor: 1, introduction: None }
    }

    /// A request that was accepted and failed later.
    #[must_use]
    pub const fn later(refusal: Refusal, endpoint: Endpoint, version_minor: u8) -> Self {
        Self { refusal, endpoint: Some(endpoint), version_minor, introduction: None }
    }
}

#[cfg(test)]
pub(in crate::proto) mod tests;
