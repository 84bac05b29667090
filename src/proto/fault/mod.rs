//! Faults for tests of hosts: messages that are lost, late, twice or out of order, on purpose.
//!
//! ```text
//!   push -> cut, drop -> duplicate -> reorder -> delay -> pause -> poll
//!           told          a copy       window     due      gate
//! ```
//!
//! A [`FaultQueue`] stands in the way of the messages of one peer in one direction; its rules are the
//! [`Injection`]s that concern it. Which messages come out, how often and in which order is decided by
//! the rules, their seeds and the order of what was pushed; when, by the clock.

mod injection;
mod queue;
mod random;

pub use injection::{Fault, Injection, InjectionId, Side};
pub use queue::{FaultQueue, HELD_BYTES_MAX, HELD_MESSAGES_MAX, REORDER_WAIT, RULES_MAX, Rule};
pub use random::SplitMix64;
