//! The headers that we read.

use httparse::Header;

use super::error::HeadError;
use super::name;
use crate::proto::stream::CONNECTION_OPTION;

/// The headers that members exchange (protocol sections 4.1 and 4.2), as they stand on the wire.
///
/// Ids and versions stay texts: `cluster_id` and `raft_to` are compared as strings, and what is
/// missing must be told from what is wrong.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PeerHeaders<'a> {
    /// `X-Server-From`: the id of the sender.
    pub server_from: Option<&'a str>,
    /// `X-Server-Version`: the sender's release.
    pub server_version: Option<&'a str>,
    /// `X-Min-Cluster-Version`: the oldest release the sender works with.
    pub min_cluster_version: Option<&'a str>,
    /// `X-Etcd-Cluster-ID`.
    pub cluster_id: Option<&'a str>,
    /// `X-PeerURLs`: the sender's URLs with `,` between them.
    pub peer_urls: Option<&'a str>,
    /// `X-Raft-To`: the id of the member that is meant.
    pub raft_to: Option<&'a str>,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `X-Raftring-Snapshot`: which snapshot it is.
    pub snapshot: Option<&'a str>,
    /// `X-Raftring-Snapshot-Offset`: how much of it is there.
    pub snapshot_offset: Option<&'a str>,
}

/// The headers that decide where a message ends, in whatever order they come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FramingHeaders {
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) host: bool,
    /// `Connection: close`.
    pub(super) close: bool,
    /// `Connection: raftring-echo`.
    pub(super) echoes: bool,
    /// `Upgrade`, or `Connection: upgrade`.
    pub(super) upgrade: bool,
    pub(super) expect: bool,
    /// Something else than `identity`.
    pub(super) encoded: bool,
}

/// Reads all headers of a head.
///
/// Go takes the first of several X- headers; here two of a kind are an error like two lengths are,
/// for no peer sends them and two readers could pick different ones.
pub(super) fn read<'a>(headers: &[Header<'a>]) -> Result<(PeerHeaders<'a>, FramingHeaders), HeadError> {
    let mut peer = PeerHeaders::default();
    let mut framing = FramingHeaders::default();
    for header in headers {
        if let Some(slot) = peer.slot(header.name) {
            if slot.is_some() {
                return Err(HeadError::DuplicateHeader);
            }
            *slot = Some(ascii(header.value)?);
        } else {
            framing.read(header)?;
        }
    }
    if framing.chunked && framing.length.is_some() {
        return Err(HeadError::LengthAndChunked);
    }
    Ok((peer, framing))
}

impl<'a> PeerHeaders<'a> {
    fn slot(&mut self, header: &str) -> Option<&mut Option<&'a str>> {
        let is = |name: &str| header.eq_ignore_ascii_case(name);
        match () {
            () if is(name::X_SERVER_FROM) => Some(&mut self.server_from),
            () if is(name::X_SERVER_VERSION) => Some(&mut self.server_version),
            () if is(name::X_MIN_CLUSTER_VERSION) => Some(&mut self.min_cluster_version),
            () if is(name::X_ETCD_CLUSTER_ID) => Some(&mut self.cluster_id),
            () if is(name::X_PEER_URLS) => Some(&mut self.peer_urls),
            () if is(name::X_RAFT_TO) => Some(&mut self.raft_to),
            () if is(name::CONTENT_TYPE) => Some(&mut self.content_type),
            () if is(name::X_RAFTRING_SNAPSHOT) => Some(&mut self.snapshot),
            () if is(name::X_RAFTRING_SNAPSHOT_OFFSET) => Some(&mut self.snapshot_offset),
            () => None,
        }
    }
}

impl FramingHeaders {
    fn read(&mut self, header: &Header<'_>) -> Result<(), HeadError> {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is(name::CONTENT_LENGTH) {
            let length = parse_length(header.value).filter(|_| self.length.is_none());
            self.length = Some(length.ok_or(HeadError::ContentLength)?);
        } else if is(name::TRANSFER_ENCODING) {
            // Exactly: no list, no parameters, no other case. Go's writers know one spelling.
            if self.chunked || header.value != b"chunked" {
                return Err(HeadError::TransferEncoding);
            }
            self.chunked = true;
        } else if is(name::CONNECTION) {
            self.read_connection(ascii(header.value)?);
        } else if is(name::HOST) {
            if std::mem::replace(&mut self.host, true) {
                return Err(HeadError::DuplicateHeader);
            }
        } else if is(name::CONTENT_ENCODING) {
            self.encoded |= !header.value.eq_ignore_ascii_case(b"identity");
        } else if is(name::TRAILER) {
            return Err(HeadError::Trailers);
        }
        self.upgrade |= is(name::UPGRADE);
        self.expect |= is(name::EXPECT);
        Ok(())
    }

    fn read_connection(&mut self, value: &str) {
        for token in value.split(',').map(str::trim) {
            self.close |= token.eq_ignore_ascii_case("close");
            self.echoes |= token.eq_ignore_ascii_case(CONNECTION_OPTION);
            self.upgrade |= token.eq_ignore_ascii_case("upgrade");
        }
    }
}

/// Digits only: no sign, no list, no overflow.
fn parse_length(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn ascii(value: &[u8]) -> Result<&str, HeadError> {
    std::str::from_utf8(value).ok().filter(|text| text.is_ascii()).ok_or(HeadError::NotAscii)
}
