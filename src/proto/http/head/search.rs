//! The end of a head, found as bytes arrive.

use super::error::HeadError;
use super::{HEAD_BYTES_MAX, HEADERS_MAX};

/// A search for the end of one head. It remembers how far it looked, so every byte is looked at
/// once however the head is split.
///
/// It also refuses what parsers disagree about: lone CR and LF, NUL, folded lines.
#[derive(Clone, Debug)]
pub struct HeadSearch {
    side: Side,
    searched: usize,
    at: At,
}

/// A whole head, up to and with the empty line. Made by [`HeadSearch`] alone, so a parser can rely
/// on its checks.
#[derive(Clone, Copy, Debug)]
pub struct WholeHead<'a>(&'a [u8]);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Request,
    Response,
}

/// ```text
///   LineStart ─▶ InLine* ─CR▶ Cr ─LF▶ LineStart
///       └──────────────────CR▶ LastCr ─LF▶ the end
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum At {
    LineStart,
    InLine,
    Cr,
    LastCr,
}

/// The type byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

impl HeadSearch {
    /// A search for the head of a request.
    #[must_use]
    pub const fn request() -> Self {
        Self { side: Side::Request, searched: 0, at: At::LineStart }
    }

    /// A search for the head of a response.
    #[must_use]
    pub const fn response() -> Self {
        Self { side: Side::Response, searched: 0, at: At::LineStart }
    }

    /// Looks at what is new in `bytes`, which begins with the first byte of the head and holds at
    /// least what it held in the call before. `None` asks for more bytes.
    ///
    /// The next head wants a new search.
    ///
    /// # Errors
    /// As soon as a byte shows that no acceptable head can follow.
    pub fn find<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<WholeHead<'a>>, HeadError> {
        let searchable = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
        while let Some(&byte) = searchable.get(self.searched) {
            if self.searched == 0 {
                self.check_first(byte)?;
            }
            self.searched += 1;
            if self.at == At::LastCr && byte == b'\n' {
                return Ok(Some(WholeHead(&bytes[..self.searched])));
            }
            self.at = self.at.next(byte)?;
        }
        if self.searched == HEAD_BYTES_MAX { Err(HeadError::TooLong) } else { Ok(None) }
    }

    const fn check_first(&self, byte: u8) -> Result<(), HeadError> {
        match (self.side, byte) {
            (_, TLS_HANDSHAKE) => Err(HeadError::TlsRecord),
            (Side::Request, b'A'..=b'Z') | (Side::Response, b'H') => Ok(()),
            _ => Err(HeadError::NotHttp),
        }
    }
}

impl At {
    const fn next(self, byte: u8) -> Result<Self, HeadError> {
        match (self, byte) {
            (Self::Cr, b'\n') => Ok(Self::LineStart),
            (Self::Cr | Self::LastCr, _) | (_, b'\n' | 0) => Err(HeadError::ControlByte),
            (Self::LineStart, b' ' | b'\t') => Err(HeadError::FoldedLine),
            (Self::LineStart, b'\r') => Ok(Self::LastCr),
            (Self::InLine, b'\r') => Ok(Self::Cr),
            (Self::LineStart | Self::InLine, _) => Ok(Self::InLine),
        }
    }
}

impl<'a> WholeHead<'a> {
    /// The bytes, the empty line among them.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// What follows the `?` in the target of a request, as it stands on the wire; empty without one.
    #[must_use]
    pub fn query(self) -> &'a str {
        let line = self.0.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let target = std::str::from_utf8(line).ok().and_then(|line| line.split(' ').nth(1));
        target.and_then(|target| target.split_once('?')).map_or("", |(_, query)| query)
    }

    /// All headers in their order, but for those whose value is not text; none if the head is not one
    /// that [`RequestHead`](super::RequestHead) accepts.
    #[must_use]
    pub fn fields(self) -> Vec<(String, String)> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        if request.parse(self.0).is_err() {
            return Vec::new();
        }
        let text = |header: &httparse::Header<'_>| {
            let value = std::str::from_utf8(header.value).ok()?;
            Some((header.name.to_owned(), value.to_owned()))
        };
        request.headers.iter().filter_map(text).collect()
    }

    /// How many bytes: what follows belongs to the body.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a head is never empty")]
    pub const fn len(self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        HeadSearch::request().find(bytes).map(|head| head.map(WholeHead::len))
    }

    #[test]
    fn the_end_is_found_wherever_the_head_is_split() {
        let wire = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
        for split in 0..=wire.len() {
            let mut search = HeadSearch::request();
            let first = search.find(&wire[..split]).expect("valid").map(WholeHead::len);
            let found = first.or_else(|| search.find(wire).expect("valid").map(WholeHead::len));
            assert_eq!(found, Some(wire.len() - 4), "{split}");
        }
    }

    #[test]
    fn the_rest_of_a_request_is_there_for_who_wants_it() {
        let wire = b"GET /a?b=c?d HTTP/1.1\r\nHost: x\r\nx-y:  z \r\nBad: \xff\r\n\r\n";
        let head = HeadSearch::request().find(wire).expect("valid").expect("whole");
        assert_eq!(head.query(), "b=c?d");
        let want = [("Host", "x"), ("x-y", "z")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(head.fields(), want);
        let wire = b"GET / HTTP/1.1\r\nX: ?\r\n\r\n";
        let head = HeadSearch::request().find(wire).expect("valid").expect("whole");
        assert_eq!(head.query(), "");
    }

    #[test]
    fn junk_is_known_by_its_first_byte() {
        assert_eq!(find(b"\x16\x03\x01"), Err(HeadError::TlsRecord));
        for junk in [&b"\0"[..], b" GET", b"get", b"\r\n", b"\xff", b"1"] {
            assert_eq!(find(junk), Err(HeadError::NotHttp));
        }
        assert_eq!(HeadSearch::response().find(b"GET").map(|_| ()), Err(HeadError::NotHttp));
        assert_eq!(HeadSearch::response().find(b"HTTP").map(|_| ()), Ok(()));
    }

    #[test]
    fn lone_line_ends_and_folded_lines_are_refused_as_they_come() {
        for lone in [&b"GET / HTTP/1.1\n"[..], b"GET / HTTP/1.1\r\r", b"GET / HTTP/1.1\r\nA\0", b"G\r\n\r\r"]
        {
            assert_eq!(find(lone), Err(HeadError::ControlByte), "{}", lone.escape_ascii());
        }
        for folded in [&b"GET / HTTP/1.1\r\n "[..], b"GET / HTTP/1.1\r\nA: b\r\n\t"] {
            assert_eq!(find(folded), Err(HeadError::FoldedLine));
        }
    }

    #[test]
    fn a_head_may_have_so_many_bytes_and_no_more() {
        let mut head = b"GET / HTTP/1.1\r\nA: ".to_vec();
        head.resize(HEAD_BYTES_MAX - 4, b'a');
        head.extend_from_slice(b"\r\n\r\n");
        assert_eq!(find(&head), Ok(Some(HEAD_BYTES_MAX)));
        head.insert(20, b'a');
        assert_eq!(find(&head[..HEAD_BYTES_MAX - 1]), Ok(None));
        assert_eq!(find(&head[..HEAD_BYTES_MAX]), Err(HeadError::TooLong));
        assert_eq!(find(&head), Err(HeadError::TooLong));
    }
}
