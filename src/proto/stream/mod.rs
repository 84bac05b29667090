//! The two streams of a peer as machines: bytes, messages and `now` in; chains, messages and
//! deadlines out. Protocol section 9, rafthttp's `stream.go` without its sockets.
//!
//! ```text
//!                 attach                       write error, stall,
//!        Idle ------------------> Working ---- newer attach, stop ----> Idle
//!   (not picked)                  push / tick -> chain -> written
//! ```

mod backpressure;
mod echo;
mod inbox;
mod outbox;
mod planted;
mod reader;
mod writer;

pub use backpressure::{
    Backpressure, CATCH_UP_BYTES, Decision, HOLD_MAX, OFFER_INTERVAL_MAX, OFFER_INTERVAL_MIN,
};
pub use echo::{CONNECTION_OPTION, Echo, Echoes, TooManyEchoes};
pub(in crate::proto) use inbox::Inbox;
pub use outbox::BodyFraming;
pub(in crate::proto) use outbox::Outbox;
#[cfg(feature = "test-support")]
pub use planted::Bug;
pub use reader::{ReadError, Received, STEP_BYTES, Step, StreamReader, StreamReaderConfig};
pub use writer::{
    ENCODED_BYTES_MAX, FLUSH_BYTES, FLUSH_MESSAGES, Flush, Flushed, LANE_MESSAGES_MAX, REFERRED_BYTES_MAX,
    Stalled, StreamWriter, StreamWriterConfig, WriterCounters,
};
