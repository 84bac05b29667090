//! Heads of requests.

use super::error::HeadError;
use super::fields::{self, FramingHeaders, PeerHeaders};
use super::search::WholeHead;
use super::{Framing, HEADERS_MAX};

/// The head of a request, its texts borrowed from the receive buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestHead<'a> {
    /// `GET`, `POST`, ...
    pub method: &'a str,
    /// The path without the query, as it stands on the wire (not percent-decoded).
    pub path: &'a str,
    /// The n of HTTP/1.n.
    pub version_minor: u8,
    /// The headers of the protocol.
    pub headers: PeerHeaders<'a>,
    /// The body that follows; never [`Framing::UntilClose`].
    pub framing: Framing,
    /// True if the sender may send another request once this one is answered.
    ///
    /// Only if its body was read to the end: what is left of it must never be parsed as a request.
    pub keep_alive: bool,
    /// True if the sender offers to echo link heartbeats: see [`Echo`](crate::proto::stream::Echo).
    pub echoes: bool,
}

impl<'a> RequestHead<'a> {
    /// Parses a whole head.
    ///
    /// # Errors
    /// What is wrong with it. All of it is refused by Go too, but for what smuggles: both a length
    /// and chunks, two equal lengths, and X- headers that occur twice.
    pub fn parse(head: WholeHead<'a>) -> Result<Self, HeadError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        if request.parse(head.bytes())?.is_partial() {
            return Err(HeadError::Malformed);
        }
        let (Some(method), Some(target), Some(version_minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(HeadError::Malformed);
        };
        let (headers, framing) = fields::read(request.headers)?;
        Ok(Self {
            method,
            path: path_of(target)?,
            version_minor,
            headers,
            framing: framing_of(version_minor, &framing)?,
            keep_alive: version_minor == 1 && !framing.close,
            echoes: framing.echoes,
        })
    }
}

/// Absolute targets are for proxies, `*` is for OPTIONS: peers send neither.
fn path_of(target: &str) -> Result<&str, HeadError> {
    let path = target.split('?').next().unwrap_or_default();
    if path.starts_with('/') { Ok(path) } else { Err(HeadError::Target) }
}

const fn framing_of(version_minor: u8, headers: &FramingHeaders) -> Result<Framing, HeadError> {
    if headers.upgrade {
        return Err(HeadError::Upgrade);
    }
    if headers.expect {
        return Err(HeadError::Expect);
    }
    if version_minor == 1 && !headers.host {
        return Err(HeadError::NoHost);
    }
    match (headers.chunked, headers.length) {
        (false, None) => Ok(Framing::None),
        (false, Some(0)) => Ok(Framing::Length(0)),
        _ if version_minor == 0 => Err(HeadError::BodyOnHttp10),
        (true, _) => Ok(Framing::Chunked),
        (false, Some(length)) => Ok(Framing::Length(length)),
    }
}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooManyHeaders,
            httparse::Error::Version => Self::HttpVersion,
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::HeadSearch;
    use super::*;

    fn parse(wire: &str) -> Result<RequestHead<'_>, HeadError> {
        let head = HeadSearch::request().find(wire.as_bytes())?.expect("a whole head");
        RequestHead::parse(head)
    }

    fn with(headers: &str) -> Result<Framing, HeadError> {
        parse(&format!("POST /raft HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n")).map(|head| head.framing)
    }

    /// Protocol section 3.5.
    #[test]
    fn the_request_of_a_go_member_is_understood() {
        let head = parse(
            "GET /raft/stream/message/1?x=y HTTP/1.1\r\nHost: 127.0.0.1:45471\r\n\
             User-Agent: Go-http-client/1.1\r\nX-Etcd-Cluster-Id: 1a2b\r\nX-Min-Cluster-Version: 3.0.0\r\n\
             X-Peerurls: http://10.0.0.1:2380,http://10.0.0.2:2380\r\nx-raft-to: 2\r\nX-SERVER-FROM:1 \r\n\
             X-Server-Version: 3.4.23\r\nAccept-Encoding: gzip\r\n\r\n",
        )
        .expect("valid");
        let headers = PeerHeaders {
            server_from: Some("1"),
            server_version: Some("3.4.23"),
            min_cluster_version: Some("3.0.0"),
            cluster_id: Some("1a2b"),
            peer_urls: Some("http://10.0.0.1:2380,http://10.0.0.2:2380"),
            raft_to: Some("2"),
            content_type: None,
            snapshot: None,
            snapshot_offset: None,
        };
        let path = "/raft/stream/message/1";
        let framing = Framing::None;
        assert_eq!(
            head,
            RequestHead {
                method: "GET",
                path,
                version_minor: 1,
                headers,
                framing,
                keep_alive: true,
                echoes: false
            }
        );
    }

    #[test]
    fn a_body_has_one_framing() {
        assert_eq!(with("Content-Length: 30"), Ok(Framing::Length(30)));
        assert_eq!(with("Content-Length: 0"), Ok(Framing::Length(0)));
        assert_eq!(with("Transfer-Encoding: chunked"), Ok(Framing::Chunked));
        assert_eq!(with("Accept: */*"), Ok(Framing::None));
    }

    /// Each row is an advisory against some HTTP/1 server.
    #[test]
    fn whatever_smuggles_is_refused() {
        let cases = [
            ("Content-Length: 3\r\nTransfer-Encoding: chunked", HeadError::LengthAndChunked),
            ("Transfer-Encoding: chunked\r\nContent-Length: 3", HeadError::LengthAndChunked),
            ("Content-Length: 3\r\nContent-Length: 3", HeadError::ContentLength),
            ("Content-Length: 3\r\ncontent-length: 4", HeadError::ContentLength),
            ("Content-Length: 3, 3", HeadError::ContentLength),
            ("Content-Length: +3", HeadError::ContentLength),
            ("Content-Length: -3", HeadError::ContentLength),
            ("Content-Length: 0x3", HeadError::ContentLength),
            ("Content-Length: 3 3", HeadError::ContentLength),
            ("Content-Length:", HeadError::ContentLength),
            ("Content-Length: 18446744073709551616", HeadError::ContentLength),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", HeadError::TransferEncoding),
            ("Transfer-Encoding: gzip, chunked", HeadError::TransferEncoding),
            ("Transfer-Encoding: chunked, identity", HeadError::TransferEncoding),
            ("Transfer-Encoding: identity", HeadError::TransferEncoding),
            ("Transfer-Encoding: xchunked", HeadError::TransferEncoding),
            ("Transfer-Encoding: Chunked", HeadError::TransferEncoding),
            ("Transfer-Encoding: \"chunked\"", HeadError::TransferEncoding),
            ("Transfer-Encoding: chunked;q=1", HeadError::TransferEncoding),
            ("Transfer-Encoding: \u{b}chunked", HeadError::Malformed),
            ("Transfer-Encoding : chunked", HeadError::Malformed),
            ("Transfer-Encoding\t: chunked", HeadError::Malformed),
            ("Content-Length : 3", HeadError::Malformed),
            ("Transfer-\u{e9}ncoding: chunked", HeadError::Malformed),
            (": x", HeadError::Malformed),
            ("no colon", HeadError::Malformed),
            ("Trailer: X", HeadError::Trailers),
            ("Upgrade: h2c", HeadError::Upgrade),
            ("Connection: Upgrade, HTTP2-Settings", HeadError::Upgrade),
            ("Expect: 100-continue", HeadError::Expect),
            ("Host: b", HeadError::DuplicateHeader),
            ("X-Raft-To: 1\r\nX-Raft-To: 2", HeadError::DuplicateHeader),
            ("X-Raft-To: \u{e9}", HeadError::NotAscii),
        ];
        for (headers, want) in cases {
            assert_eq!(with(headers), Err(want), "{headers:?}");
        }
    }

    #[test]
    fn http_1_0_has_neither_bodies_nor_a_second_request() {
        let head = parse("GET / HTTP/1.0\r\n\r\n").expect("valid");
        assert_eq!((head.version_minor, head.framing, head.keep_alive), (0, Framing::None, false));
        for body in ["Content-Length: 1", "Transfer-Encoding: chunked"] {
            let wire = format!("POST / HTTP/1.0\r\n{body}\r\n\r\n");
            assert_eq!(parse(&wire), Err(HeadError::BodyOnHttp10));
        }
    }

    #[test]
    fn only_paths_of_http_1_are_served() {
        for target in ["http://a/raft", "*", "a:1", "?x"] {
            let wire = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(parse(&wire), Err(HeadError::Target), "{target}");
        }
        assert_eq!(parse("PRI * HTTP/2.0\r\n\r\n"), Err(HeadError::HttpVersion));
        assert_eq!(parse("GET / HTTP/1.1\r\n\r\n"), Err(HeadError::NoHost));
        assert_eq!(parse("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(HeadError::Malformed));
    }

    #[test]
    fn the_sender_says_whether_it_goes_on() {
        let keep_alive = |value: &str| {
            let wire = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {value}\r\n\r\n");
            parse(&wire).expect("valid").keep_alive
        };
        assert!(keep_alive("keep-alive"));
        assert!(!keep_alive("x, Close"));
    }

    #[test]
    fn headers_are_counted() {
        let headers = |count: usize| with(&vec!["A: b"; count].join("\r\n"));
        assert_eq!(headers(HEADERS_MAX - 1), Ok(Framing::None), "Host is one, too");
        assert_eq!(headers(HEADERS_MAX), Err(HeadError::TooManyHeaders));
    }
}
