//! THE CROSSING. Lanes, mailboxes, doorbells, pinning. Knows no raft, no HTTP and no runtime.
//!
//! ```text
//!   host threads                                a core
//!   ------------                                ------
//!   lane.push ... lane.push                     take all of a lane at once
//!      '-- first in an empty lane:              take all of the mailbox at once
//!          mailbox.push("lane is dirty") ---->  ^
//!          doorbell.ring, only if it sleeps --> eventfd read kept in the ring
//! ```

mod alarm;
mod asleep;
mod backlog;
mod claim;
mod doorbell;
mod event;
mod flag;
mod lane;
mod load;
mod mailbox;
#[cfg(not(all(test, loom)))]
mod pin;
mod rank;
mod segments;
mod timer;
mod wager;
mod waiting;

pub use alarm::Alarm;
pub use backlog::{Backlog, SHARED_BYTES_MIN, Weighed};
pub use claim::{Claim, Claimed};
pub use doorbell::Doorbell;
#[cfg(all(test, loom))]
pub(crate) use event::Event;
pub(crate) use flag::Flag;
pub use lane::{Lane, LaneGuard, LaneLimits, Pushed, Refused, Release};
pub use load::{Load, least};
pub use mailbox::Mailbox;
#[cfg(not(all(test, loom)))]
pub use pin::{PinError, available_cpus, pin_current_thread, unpin_current_thread};
pub use rank::Rank;
pub use segments::{SEGMENT_ITEMS, Segments};
pub use wager::{Spin, Wager};
pub use waiting::Waiting;
