//! THE MEANING. Sans-IO: bytes, messages and `now` in; bytes, messages and events out.
//!
//! Nothing here reads a clock, logs, or touches a socket.

pub mod codec;
pub mod fault;
pub mod handshake;
pub mod http;
pub mod limiter;
pub mod pace;
pub mod peer_url;
pub mod picker;
pub mod pipeline;
pub mod probe;
pub mod remotes;
pub mod route;
pub mod snapshot;
pub mod stats;
pub mod status;
pub mod stream;
pub mod stream_kind;
pub mod version;
