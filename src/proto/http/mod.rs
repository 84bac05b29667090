//! HTTP/1.x as far as peers speak it (protocol section 3): heads, and body framing in place.
pub mod body;
