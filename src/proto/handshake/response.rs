//! The answers of the server's side (protocol sections 3.2 and 4.2).

use crate::proto::http::date::HttpDate;
use crate::proto::http::head::{HeadWriter, name};
use crate::proto::stream::CONNECTION_OPTION;

use super::{Endpoint, Identity, Refused};

/// The head of an accepted stream; frames follow in the body.
///
/// HTTP/1.1 gets a chunked body, HTTP/1.0 one that ends with the connection, as from Go.
///
/// `echoes` says whether link heartbeats are echoed, which the request must have offered.
pub fn write_stream_accepted(
    out: &mut Vec<u8>,
    own: &Identity,
    version_minor: u8,
    echoes: bool,
    now_unix_s: u64,
) {
    let chunked = (version_minor > 0).then_some("chunked");
    HeadWriter::response(out, version_minor, 200)
        .header(name::X_ETCD_CLUSTER_ID, own.cluster)
        .header(name::X_SERVER_VERSION, &own.versions.server)
        .header(name::DATE, HttpDate(now_unix_s))
        .header_if(name::CONNECTION, echoes.then_some(CONNECTION_OPTION))
        .header_if(name::TRANSFER_ENCODING, chunked)
        .end();
}

/// The whole answer to a message or a snapshot that was taken: 204.
///
/// `keep_alive` is false if the connection is closed afterwards.
pub fn write_no_content(
    out: &mut Vec<u8>,
    own: &Identity,
    version_minor: u8,
    keep_alive: bool,
    now_unix_s: u64,
) {
    HeadWriter::response(out, version_minor, 204)
        .header(name::X_ETCD_CLUSTER_ID, own.cluster)
        .header(name::DATE, HttpDate(now_unix_s))
        .header_if(name::CONNECTION, (!keep_alive).then_some("close"))
        .end();
}

/// The whole answer to a question for a partial snapshot: 204, and how many bytes of it are there.
pub fn write_snapshot_offset(
    out: &mut Vec<u8>,
    own: &Identity,
    version_minor: u8,
    offset: u64,
    now_unix_s: u64,
) {
    HeadWriter::response(out, version_minor, 204)
        .header(name::X_ETCD_CLUSTER_ID, own.cluster)
        .header(name::X_RAFTRING_SNAPSHOT_OFFSET, offset)
        .header(name::DATE, HttpDate(now_unix_s))
        .header(name::CONNECTION, "close")
        .end();
}

/// The whole answer to a request that is not served; nothing for a silent refusal.
///
/// It always announces the end of the connection: what is left of the request is never read.
/// (Row 9 of protocol section 10.2 in Go: the same status and words, then a cut.)
pub fn write_refused(out: &mut Vec<u8>, refused: &Refused, own: &Identity, now_unix_s: u64) {
    let refusal = &refused.refusal;
    if refusal.is_silent() {
        return;
    }
    let text = refusal.text();
    let (is_405, is_stream) = (refusal.status() == 405, refused.endpoint == Some(Endpoint::Stream));
    let tells_cluster = refused.endpoint.is_some() && !is_405;
    let allow = refused.endpoint.and_then(Endpoint::method).filter(|_| is_405);
    HeadWriter::response(out, refused.version_minor, refusal.status())
        .header_if(name::ALLOW, allow)
        .header(name::CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(name::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header_if(name::X_ETCD_CLUSTER_ID, tells_cluster.then_some(own.cluster))
        .header_if(name::X_SERVER_VERSION, (tells_cluster && is_stream).then_some(&own.versions.server))
        .header(name::DATE, HttpDate(now_unix_s))
        .header(name::CONTENT_LENGTH, text.len() + 1)
        .header(name::CONNECTION, "close")
        .end();
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::super::Refusal;
    use super::super::accept::tests::own;
    use super::*;

    const NOW: u64 = 784_111_777;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    fn refused(refusal: Refusal, endpoint: Option<Endpoint>) -> String {
        let refused = Refused { refusal, endpoint, version_minor: 1, introduction: None };
        written(|out| write_refused(out, &refused, &own(), NOW))
    }

    /// Protocol section 5.2.
    #[test]
    fn an_accepted_stream_is_answered_as_by_go() {
        assert_eq!(
            written(|out| write_stream_accepted(out, &own(), 1, false, NOW)),
            "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: 1a2b\r\nX-Server-Version: 3.5.0\r\n\
             Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        assert_eq!(
            written(|out| write_stream_accepted(out, &own(), 0, false, NOW)),
            "HTTP/1.0 200 OK\r\nX-Etcd-Cluster-Id: 1a2b\r\nX-Server-Version: 3.5.0\r\n\
             Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
        );
    }

    #[test]
    fn a_message_that_was_taken_has_no_content() {
        let head = "HTTP/1.1 204 No Content\r\nX-Etcd-Cluster-Id: 1a2b\r\n\
                    Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        assert_eq!(written(|out| write_no_content(out, &own(), 1, true, NOW)), format!("{head}\r\n"));
        assert_eq!(
            written(|out| write_no_content(out, &own(), 1, false, NOW)),
            format!("{head}Connection: close\r\n\r\n")
        );
    }

    #[test]
    fn a_refused_stream_carries_cluster_and_version() {
        assert_eq!(
            refused(Refusal::RemovedMember, Some(Endpoint::Stream)),
            "HTTP/1.1 410 Gone\r\nContent-Type: text/plain; charset=utf-8\r\n\
             X-Content-Type-Options: nosniff\r\nX-Etcd-Cluster-Id: 1a2b\r\nX-Server-Version: 3.5.0\r\n\
             Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 15\r\nConnection: close\r\n\r\n\
             removed member\n"
        );
    }

    #[test]
    fn a_refused_message_carries_the_cluster_alone() {
        let answer = refused(Refusal::ProcessMessage, Some(Endpoint::Pipeline));
        assert!(answer.contains("X-Etcd-Cluster-Id: 1a2b\r\n"));
        assert!(!answer.contains("X-Server-Version"));
        assert!(
            answer
                .ends_with("Content-Length: 30\r\nConnection: close\r\n\r\nerror processing raft message\n")
        );
    }

    #[test]
    fn a_wrong_method_learns_the_right_one_and_nothing_else() {
        for (endpoint, method) in [(Endpoint::Stream, "GET"), (Endpoint::Pipeline, "POST")] {
            assert_eq!(
                refused(Refusal::MethodNotAllowed(method), Some(endpoint)),
                format!(
                    "HTTP/1.1 405 Method Not Allowed\r\nAllow: {method}\r\n\
                     Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
                     Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 19\r\n\
                     Connection: close\r\n\r\nMethod Not Allowed\n"
                )
            );
        }
    }

    #[test]
    fn strangers_learn_nothing() {
        use crate::proto::http::head::HeadError;
        let answer = refused(Refusal::NotFound, None);
        assert!(answer.ends_with("\r\n\r\n404 page not found\n"));
        assert!(!answer.contains("X-Etcd") && !answer.contains("X-Server"));
        assert_eq!(refused(Refusal::BadHead(HeadError::TlsRecord), None), "");
        assert_eq!(refused(Refusal::BadHead(HeadError::NotHttp), None), "");
        assert!(
            refused(Refusal::BadHead(HeadError::Expect), None).starts_with("HTTP/1.1 400 Bad Request\r\n")
        );
    }
}
