//! Snapshots: `POST /raft/snapshot`, both sides (protocol section 11).
//!
//! ```text
//!   | head | 8: length n | n: MsgSnap | database, until the body ends |       in chunks
//!            '------ envelope -------'
//!
//!   source --blocks--> SnapshotSender --> socket ====> SnapshotReceiver --pieces--> sink
//!   SnapshotOutcome <-- answer                              '--> 204, or a Refusal
//! ```
//!
//! The body's length is declared nowhere, so its end is the end of the database: an upload that broke
//! must not end its body, and a receiver believes only an end that was said.

mod answer;
mod identity;
mod rate;
mod receive;
mod send;
mod slots;
mod stall;

pub use answer::SnapshotAnswer;
pub use identity::{SnapshotIdentity, parse_offset};
pub use rate::RateLimit;
pub use receive::{SnapshotReceiver, SnapshotStep};
pub use send::{SizeMismatch, SnapshotSender};
pub use slots::{NoSlot, Slots};
pub use stall::{RATE_BYTES_MIN, Stall, answer_timeout};

/// The message in front of a database: 64 MiB, as in etcd 3.6.14 and later. It holds the membership,
/// which is kilobytes.
pub const ENVELOPE_BYTES_MAX: usize = 64 << 20;

/// How much of a database is handed on in one piece at least, but for its last: to cross to the
/// thread that writes files costs as much for a kilobyte.
pub const PIECE_BYTES_MIN: usize = 64 << 10;
