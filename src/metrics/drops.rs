//! Messages that were not passed on, by reason and class.

use super::number::Counter;
use crate::event::{DropReason, RejectReason};
use crate::raftpb::MessageClass;

/// A number for each reason and class, of which most stay zero.
#[derive(Debug)]
pub struct ByReason<const REASONS: usize>([[Counter; MessageClass::ALL.len()]; REASONS]);

/// Messages to a member that were not sent.
pub type Dropped = ByReason<{ DropReason::ALL.len() }>;

/// Messages from a member that were not handed to the host.
pub type Rejected = ByReason<{ RejectReason::ALL.len() }>;

impl<const REASONS: usize> ByReason<REASONS> {
    /// Nothing was dropped.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { [const { Counter::new() }; MessageClass::ALL.len()] }; REASONS])
    }

    /// Those that are not zero: the number of the reason, the class, how many.
    pub fn each(&self) -> impl Iterator<Item = (usize, MessageClass, u64)> {
        self.0.iter().enumerate().flat_map(|(reason, classes)| {
            let counts = MessageClass::ALL.into_iter().zip(classes);
            counts.map(move |(class, count)| (reason, class, count.get())).filter(|(.., count)| *count > 0)
        })
    }

    fn add(&self, reason: usize, class: MessageClass, messages: usize) {
        self.0[reason][class.index()].add(messages as u64);
    }
}

impl<const REASONS: usize> Default for ByReason<REASONS> {
    fn default() -> Self {
        Self::new()
    }
}

impl Dropped {
    /// So many more.
    pub fn count(&self, reason: DropReason, class: MessageClass, messages: usize) {
        self.add(reason.index(), class, messages);
    }
}

impl Rejected {
    /// So many more.
    pub fn count(&self, reason: RejectReason, class: MessageClass, messages: usize) {
        self.add(reason.index(), class, messages);
    }
}
