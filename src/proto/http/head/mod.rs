//! Heads: the lines before a body (protocol sections 3.2 to 3.5 and 4).
//!
//! A head is searched for as bytes arrive ([`HeadSearch`]), parsed once when it is whole
//! ([`RequestHead::parse`], [`ResponseHead::parse`]) and written in Go's spelling and order
//! ([`HeadWriter`]).

mod error;
mod fields;
pub mod name;
mod request;
mod response;
mod search;
mod write;

pub use error::HeadError;
pub use fields::PeerHeaders;
pub use request::RequestHead;
pub use response::ResponseHead;
pub use search::{HeadSearch, WholeHead};
pub use write::HeadWriter;

/// Bytes of a head, with the empty line. Real heads stay below 1 KiB; the rest is for peer URLs.
pub const HEAD_BYTES_MAX: usize = 8 << 10;

/// Header lines of a head. Go's peers send nine, a proxy may add a few.
pub const HEADERS_MAX: usize = 32;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Until the connection ends (responses only).
    UntilClose,
}
