//! Load, latency histograms and rivals for raftring.
//!
//! ```text
//!   cli ──> Plan ──────────────┐
//!                              v
//!   Load (what to send, when) ─> Player (moves the messages) ─> FollowerMeter (what arrived, when)
//!     ^                                                              │
//!     └───────────── Credits (how far each follower is) <────────────┘
//! ```
//!
//! A [`player::Player`] brings a leader and its followers up and gives them the messages that a
//! [`load::Load`] or a [`rtt::Leader`] makes; the [`meter::Meter`] knows what was sent when and
//! what arrived. None of it knows how a message travels, so that the same plan drives raftring,
//! and a port of it drives etcd's own rafthttp (`rivals/go-rafthttp`). [`floor`] measures what the
//! machine can do without any of us, and [`compare`] runs all of them in turns.

pub mod affinity;
pub mod batch;
pub mod black_hole;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod credit;
pub mod disturbance;
pub mod drive;
pub mod floor;
pub mod inbox;
pub mod load;
pub mod message;
pub mod meter;
pub mod plan;
pub mod player;
pub mod progress;
pub mod raftring_player;
pub mod report;
pub mod result_line;
pub mod rtt;
pub mod snapshot;
