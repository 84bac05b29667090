//! What can be wrong with a head.

use std::fmt;

use super::{HEAD_BYTES_MAX, HEADERS_MAX};

/// A head that is not accepted. The connection is to be closed after the answer, if there is one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HeadError {
    /// The first byte is that of a TLS record.
    TlsRecord,
    /// The first byte is not that of any HTTP head.
    NotHttp,
    /// No end within [`HEAD_BYTES_MAX`].
    TooLong,
    /// More than [`HEADERS_MAX`] headers.
    TooManyHeaders,
    /// LF without CR before it, CR without LF after it, or NUL.
    ControlByte,
    /// A header that goes on in the next line.
    FoldedLine,
    /// Not the grammar of HTTP: among other things, a space before a colon.
    Malformed,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    HttpVersion,
    /// A request for something else than a path.
    Target,
    /// HTTP/1.1 without `Host`.
    NoHost,
    /// A header that we read occurs twice.
    DuplicateHeader,
    /// A header that we read is not ASCII.
    NotAscii,
    /// `Content-Length` is not one number.
    ContentLength,
    /// `Transfer-Encoding` is not exactly `chunked`.
    TransferEncoding,
    /// Both of the two: what one reader takes for a body is the next request to another.
    LengthAndChunked,
    /// A request of HTTP/1.0 with a body.
    BodyOnHttp10,
    /// An answer that can have no body declares one.
    BodyNotAllowed,
    /// `Trailer` is set.
    Trailers,
    /// `Upgrade` is set.
    Upgrade,
    /// `Expect` is set.
    Expect,
    /// An interim answer (1xx), which nothing we send asks for.
    InterimStatus,
    /// The body of an answer is compressed.
    ContentEncoding,
}

impl HeadError {
    /// True if whoever is there does not speak HTTP to us: close without an answer.
    #[must_use]
    pub const fn is_silent(self) -> bool {
        matches!(self, Self::TlsRecord | Self::NotHttp)
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TlsRecord => "TLS on a port that speaks plain HTTP",
            Self::NotHttp => "not HTTP",
            Self::TooLong => return write!(f, "the head is longer than {HEAD_BYTES_MAX} bytes"),
            Self::TooManyHeaders => return write!(f, "more than {HEADERS_MAX} headers"),
            Self::ControlByte => "a lone CR, a lone LF or a NUL in the head",
            Self::FoldedLine => "a header goes on in the next line",
            Self::Malformed => "malformed head",
            Self::HttpVersion => "neither HTTP/1.1 nor HTTP/1.0",
            Self::Target => "the request target is not a path",
            Self::NoHost => "no Host header",
            Self::DuplicateHeader => "a header occurs twice",
            Self::NotAscii => "a header is not ASCII",
            Self::ContentLength => "Content-Length is not one number",
            Self::TransferEncoding => "Transfer-Encoding is not exactly chunked",
            Self::LengthAndChunked => "both Content-Length and Transfer-Encoding",
            Self::BodyOnHttp10 => "a body with HTTP/1.0",
            Self::BodyNotAllowed => "a body where none is allowed",
            Self::Trailers => "trailers are not supported",
            Self::Upgrade => "upgrades are not supported",
            Self::Expect => "expectations are not supported",
            Self::InterimStatus => "an interim answer",
            Self::ContentEncoding => "a compressed body",
        })
    }
}

impl std::error::Error for HeadError {}
