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

mod doorbell;
mod lane;
mod mailbox;
mod pin;

pub use doorbell::Doorbell;
pub use lane::{Lane, LaneGuard, LaneLimits, Refused};
pub use mailbox::Mailbox;
pub use pin::{PinError, available_cpus, pin_current_thread};
