//! The requests of the dialling side, byte for byte those of a Go member (protocol section 3.5).

use crate::id::MemberId;
use crate::proto::http::head::{HeadWriter, name};
use crate::proto::peer_url::PeerUrl;
use crate::proto::snapshot::SnapshotIdentity;
use crate::proto::stream::CONNECTION_OPTION;
use crate::proto::stream_kind::StreamKind;

use super::{Endpoint, Identity};

/// Asks `to`, who listens at `url`, for a stream of messages to us.
pub fn write_stream_request(
    out: &mut Vec<u8>,
    own: &Identity,
    kind: StreamKind,
    to: MemberId,
    url: &PeerUrl,
) {
    let path = format_args!("{}{}/{}", Endpoint::STREAM_PREFIX, kind.path_element(), own.member);
    let head = HeadWriter::request(out, "GET", path, url.authority())
        .header_if(name::CONNECTION, own.echoes.then_some(CONNECTION_OPTION));
    finish(head, own, Some(to));
}

/// The head of `POST /raft` with a body of `length` bytes.
pub fn write_pipeline_request(out: &mut Vec<u8>, own: &Identity, url: &PeerUrl, length: u64) {
    let head = HeadWriter::request(out, "POST", Endpoint::PIPELINE_PATH, url.authority())
        .header(name::CONTENT_LENGTH, length)
        .header(name::CONTENT_TYPE, "application/protobuf");
    finish(head, own, None);
}

/// Which part of which snapshot it is, for receivers that are raftring; etcd ignores it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotPart {
    /// Which snapshot. `None` says nothing, as etcd does.
    pub identity: Option<SnapshotIdentity>,
    /// Where the database begins; 0 is not said.
    pub offset: u64,
}

/// The head of `POST /raft/snapshot`; the body follows in chunks, its length is not declared.
pub fn write_snapshot_request(out: &mut Vec<u8>, own: &Identity, url: &PeerUrl, part: SnapshotPart) {
    let head = HeadWriter::request(out, "POST", Endpoint::SNAPSHOT_PATH, url.authority())
        .header(name::TRANSFER_ENCODING, "chunked")
        .header(name::CONTENT_TYPE, "application/octet-stream")
        .header_if(name::X_RAFTRING_SNAPSHOT, part.identity)
        .header_if(name::X_RAFTRING_SNAPSHOT_OFFSET, (part.offset > 0).then_some(part.offset));
    finish(head, own, None);
}

/// The whole request that asks how much of a snapshot is there.
pub fn write_snapshot_partial_request(
    out: &mut Vec<u8>,
    own: &Identity,
    url: &PeerUrl,
    identity: SnapshotIdentity,
) {
    let head = HeadWriter::request(out, "GET", Endpoint::SNAPSHOT_PARTIAL_PATH, url.authority())
        .header(name::X_RAFTRING_SNAPSHOT, identity);
    finish(head, own, None);
}

/// The whole request of a probe; it carries none of the X- headers.
pub fn write_probing_request(out: &mut Vec<u8>, url: &PeerUrl) {
    HeadWriter::request(out, "GET", Endpoint::PROBING_PATH, url.authority())
        .header(name::ACCEPT_ENCODING, "gzip")
        .end();
}

/// The headers of protocol section 4.1, sorted as Go sorts them.
fn finish(head: HeadWriter<'_>, own: &Identity, to: Option<MemberId>) {
    head.header(name::X_ETCD_CLUSTER_ID, own.cluster)
        .header(name::X_MIN_CLUSTER_VERSION, &own.versions.min_cluster)
        .header_if(name::X_PEER_URLS, own.peer_urls.as_ref())
        .header_if(name::X_RAFT_TO, to)
        .header(name::X_SERVER_FROM, own.member)
        .header(name::X_SERVER_VERSION, &own.versions.server)
        .header(name::ACCEPT_ENCODING, "gzip")
        .end();
}

#[cfg(test)]
mod tests {
    use super::super::accept::tests::own;
    use super::*;
    use crate::proto::version::Version;

    fn written(write: impl FnOnce(&mut Vec<u8>, &Identity, &PeerUrl)) -> String {
        let mut own = own();
        own.member = MemberId(1);
        own.versions.server = Version::new(3, 4, 23);
        let url = PeerUrl::parse("http://127.0.0.1:45471").expect("valid");
        let mut out = Vec::new();
        write(&mut out, &own, &url);
        String::from_utf8(out).expect("ASCII")
    }

    /// Protocol section 3.5; `TestStreamReaderDialRequest`.
    #[test]
    fn a_stream_is_asked_for_as_by_go() {
        assert_eq!(
            written(|out, own, url| write_stream_request(out, own, StreamKind::Message, MemberId(2), url)),
            "GET /raft/stream/message/1 HTTP/1.1\r\nHost: 127.0.0.1:45471\r\n\
             User-Agent: Go-http-client/1.1\r\nX-Etcd-Cluster-Id: 1a2b\r\nX-Min-Cluster-Version: 3.0.0\r\n\
             X-Peerurls: http://10.0.0.1:2380,http://10.0.0.2:2380\r\nX-Raft-To: 2\r\nX-Server-From: 1\r\n\
             X-Server-Version: 3.4.23\r\nAccept-Encoding: gzip\r\n\r\n"
        );
    }

    #[test]
    fn who_echoes_says_so_in_one_more_line() {
        let plain = written(|out, own, url| {
            write_stream_request(out, own, StreamKind::Message, MemberId(2), url);
        });
        let offering = written(|out, own, url| {
            let own = Identity { echoes: true, ..own.clone() };
            write_stream_request(out, &own, StreamKind::Message, MemberId(2), url);
        });
        assert_eq!(offering.replace("Connection: raftring-echo\r\n", ""), plain);
        assert_ne!(offering, plain);
    }

    /// Protocol section 3.5; `TestPipelinePost`.
    #[test]
    fn a_message_is_posted_as_by_go() {
        assert_eq!(
            written(|out, own, url| write_pipeline_request(out, own, url, 30)),
            "POST /raft HTTP/1.1\r\nHost: 127.0.0.1:45471\r\nUser-Agent: Go-http-client/1.1\r\n\
             Content-Length: 30\r\nContent-Type: application/protobuf\r\nX-Etcd-Cluster-Id: 1a2b\r\n\
             X-Min-Cluster-Version: 3.0.0\r\nX-Peerurls: http://10.0.0.1:2380,http://10.0.0.2:2380\r\n\
             X-Server-From: 1\r\nX-Server-Version: 3.4.23\r\nAccept-Encoding: gzip\r\n\r\n"
        );
    }

    #[test]
    fn a_snapshot_does_not_declare_its_length_and_may_lack_urls() {
        let head = written(|out, own, url| {
            let own = Identity { peer_urls: None, ..own.clone() };
            write_snapshot_request(out, &own, url, SnapshotPart::default());
        });
        assert_eq!(
            head,
            "POST /raft/snapshot HTTP/1.1\r\nHost: 127.0.0.1:45471\r\nUser-Agent: Go-http-client/1.1\r\n\
             Transfer-Encoding: chunked\r\nContent-Type: application/octet-stream\r\n\
             X-Etcd-Cluster-Id: 1a2b\r\nX-Min-Cluster-Version: 3.0.0\r\nX-Server-From: 1\r\n\
             X-Server-Version: 3.4.23\r\nAccept-Encoding: gzip\r\n\r\n"
        );
    }

    #[test]
    fn a_snapshot_that_may_be_resumed_says_which_it_is() {
        let identity = SnapshotIdentity::new(0x10, b"tag", b"envelope");
        let said = format!("X-Raftring-Snapshot: {identity}\r\n");
        let head = |offset| {
            let part = SnapshotPart { identity: Some(identity), offset };
            written(|out, own, url| write_snapshot_request(out, own, url, part))
        };
        assert!(head(0).contains(&said) && !head(0).contains("Offset"));
        assert!(head(7).contains(&format!("{said}X-Raftring-Snapshot-Offset: 7\r\n")));
        let asked = written(|out, own, url| write_snapshot_partial_request(out, own, url, identity));
        assert!(asked.starts_with("GET /raft/snapshot/partial HTTP/1.1\r\n") && asked.contains(&said));
        assert!(asked.contains("X-Etcd-Cluster-Id: 1a2b\r\n"));
    }

    #[test]
    fn a_probe_says_nothing_of_us() {
        assert_eq!(
            written(|out, _, url| write_probing_request(out, url)),
            "GET /raft/probing HTTP/1.1\r\nHost: 127.0.0.1:45471\r\nUser-Agent: Go-http-client/1.1\r\n\
             Accept-Encoding: gzip\r\n\r\n"
        );
    }
}
