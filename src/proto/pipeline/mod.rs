//! The pipeline: messages as bodies of `POST /raft`, one a request. Protocol section 10.
//!
//! ```text
//!   lane ── up to 4 at a time ──▶ write_post ──▶ connection ──▶ answer ──▶ judge_post
//!     full: dropped, told          kept alive, reused while idle for less than 4 s
//! ```

mod body;
mod outcome;
mod request;

pub use body::{BodyOutcome, MessageBody};
pub use outcome::{PostRefusal, judge_post};
pub use request::write_post;

use std::time::Duration;

/// Messages that wait for a POST to one peer: etcd's `pipelineBufSize`.
pub const PIPELINE_MESSAGES_MAX: usize = 64;

/// POSTs to one peer at once: etcd's `connPerPipeline`.
pub const POSTS_IN_FLIGHT_MAX: usize = 4;

/// A connection that was idle for so long is closed and not used again: etcd's server closes one
/// after 5 s, and what is written to it meanwhile is lost.
pub const POST_IDLE_MAX: Duration = Duration::from_secs(4);

/// For the answer to a POST whose body is written. etcd waits for ever, and its `Process` may wait
/// 7 s for a proposal.
pub const POST_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer's body that are read: etcd's are sentences.
pub const POST_ANSWER_BYTES_MAX: usize = 4 << 10;
