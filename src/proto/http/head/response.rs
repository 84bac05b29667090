//! Heads of responses.

use super::error::HeadError;
use super::fields::{self, FramingHeaders, PeerHeaders};
use super::search::WholeHead;
use super::{Framing, HEADERS_MAX};

/// The head of a response, its texts borrowed from the receive buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResponseHead<'a> {
    /// The status, 200 to 999.
    pub status: u16,
    /// The n of HTTP/1.n.
    pub version_minor: u8,
    /// The headers of the protocol.
    pub headers: PeerHeaders<'a>,
    /// The body that follows: all three ways of protocol section 3.4, or none.
    pub framing: Framing,
    /// True if the connection can take another request once the body was read to its end.
    pub keep_alive: bool,
    /// True if the sender wants its link heartbeats echoed: see [`Echo`](crate::proto::stream::Echo).
    pub echoes: bool,
}

impl<'a> ResponseHead<'a> {
    /// Parses a whole head.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(head: WholeHead<'a>) -> Result<Self, HeadError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        if response.parse(head.bytes())?.is_partial() {
            return Err(HeadError::Malformed);
        }
        let (Some(status), Some(version_minor)) = (response.code, response.version) else {
            return Err(HeadError::Malformed);
        };
        let (headers, fields) = fields::read(response.headers)?;
        let framing = framing_of(status, version_minor, &fields)?;
        let keep_alive = version_minor == 1 && !fields.close && framing != Framing::UntilClose;
        Ok(Self { status, version_minor, headers, framing, keep_alive, echoes: fields.echoes })
    }
}

/// An `Upgrade` in a response is an offer (some proxies make it to everyone): it is ignored.
const fn framing_of(status: u16, version_minor: u8, fields: &FramingHeaders) -> Result<Framing, HeadError> {
    let framing = match (fields.chunked, fields.length) {
        (true, _) if version_minor == 0 => return Err(HeadError::TransferEncoding),
        (true, _) => Framing::Chunked,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilClose,
    };
    match (status, framing) {
        (..=199, _) => Err(HeadError::InterimStatus),
        (204 | 304, Framing::UntilClose | Framing::Length(0)) => Ok(Framing::None),
        (204 | 304, _) => Err(HeadError::BodyNotAllowed),
        // We offer gzip as Go does, but nothing that serves raft compresses, and a stream of
        // compressed frames could not be flushed.
        _ if fields.encoded => Err(HeadError::ContentEncoding),
        (_, framing) => Ok(framing),
    }
}

#[cfg(test)]
mod tests {
    use super::super::HeadSearch;
    use super::*;

    fn parse(wire: &str) -> Result<ResponseHead<'_>, HeadError> {
        let head = HeadSearch::response().find(wire.as_bytes())?.expect("a whole head");
        ResponseHead::parse(head)
    }

    fn framing(line: &str, headers: &str) -> Result<(Framing, bool), HeadError> {
        parse(&format!("{line}\r\nDate: x\r\n{headers}\r\n")).map(|head| (head.framing, head.keep_alive))
    }

    /// Protocol section 5.2.
    #[test]
    fn the_response_of_a_go_member_is_understood() {
        let head = parse(
            "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: 1a2b\r\nX-Server-Version: 3.4.23\r\n\
             Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .expect("valid");
        assert_eq!((head.status, head.version_minor, head.framing), (200, 1, Framing::Chunked));
        assert_eq!(head.headers.cluster_id, Some("1a2b"));
        assert_eq!(head.headers.server_version, Some("3.4.23"));
    }

    /// Protocol section 3.4.
    #[test]
    fn a_body_is_chunked_counted_or_ends_with_the_connection() {
        let ok = "HTTP/1.1 200 OK";
        assert_eq!(framing(ok, "Transfer-Encoding: chunked\r\n"), Ok((Framing::Chunked, true)));
        assert_eq!(framing(ok, "Content-Length: 5\r\n"), Ok((Framing::Length(5), true)));
        assert_eq!(
            framing(ok, "Content-Length: 5\r\nConnection: close\r\n"),
            Ok((Framing::Length(5), false))
        );
        assert_eq!(framing(ok, ""), Ok((Framing::UntilClose, false)));
        assert_eq!(framing("HTTP/1.0 200 OK", ""), Ok((Framing::UntilClose, false)));
        assert_eq!(framing("HTTP/1.1 204 No Content", ""), Ok((Framing::None, true)));
        assert_eq!(framing("HTTP/1.1 204", "Upgrade: h2,h2c\r\n"), Ok((Framing::None, true)));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let ok = "HTTP/1.1 200 OK";
        let both = "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n";
        assert_eq!(framing(ok, both), Err(HeadError::LengthAndChunked));
        assert_eq!(
            framing("HTTP/1.0 200 OK", "Transfer-Encoding: chunked\r\n"),
            Err(HeadError::TransferEncoding)
        );
        assert_eq!(framing("HTTP/1.1 204 x", "Content-Length: 5\r\n"), Err(HeadError::BodyNotAllowed));
        assert_eq!(framing("HTTP/1.1 101 x", ""), Err(HeadError::InterimStatus));
        assert_eq!(framing("HTTP/1.1 100 Continue", ""), Err(HeadError::InterimStatus));
        assert_eq!(framing(ok, "Content-Encoding: gzip\r\n"), Err(HeadError::ContentEncoding));
        assert_eq!(framing("HTTP/2.0 200 OK", ""), Err(HeadError::HttpVersion));
        assert_eq!(framing("HTTP/1.1 2000 OK", ""), Err(HeadError::Malformed));
    }
}
