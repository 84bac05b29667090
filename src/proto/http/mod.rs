//! HTTP/1.x as far as peers speak it (protocol section 3): heads, and body framing in place.
//!
//! ```text
//!   bytes ──HeadSearch──▶ one whole head ──▶ RequestHead / ResponseHead ──▶ Framing
//!                                                                             │
//!   bytes after the head ──────────────BodyDecoder over Marks◀────────────────┘
//! ```
//!
//! It is strict where Go's `net/http` is lenient: what a Go peer never sends, and what two HTTP
//! implementations could read in two ways, is an error.

pub mod body;
mod chunk;
pub mod date;
#[doc(hidden)]
pub mod fuzzing;
pub mod head;

pub use chunk::{CHUNK_HEADER_BYTES, CHUNK_LEN_MAX, CHUNK_TRAILER, LAST_CHUNK, write_chunk_header};
