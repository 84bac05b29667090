//! THE MEANING. Sans-IO: bytes, messages and `now` in; bytes, messages and events out.
//!
//! Nothing here reads a clock, logs, or touches a socket.

pub mod codec;
pub mod http;
