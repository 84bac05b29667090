//! Messages that were dropped on their way to one peer, by reason and class.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::event::DropReason;
use crate::raftpb::{ClassCounts, MessageClass};

const CLASSES: usize = MessageClass::ALL.len();
const REASONS: usize = DropReason::ALL.len();

/// What senders count on their threads, and what the core has told of it.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    /// Messages in `counted`, written after these: one look for a core that has nothing to tell.
    untold: AtomicUsize,
    /// Made for the first drop, since most peers lose nothing.
    tables: OnceLock<Box<Tables>>,
}

#[derive(Debug, Default)]
struct Tables {
    counted: [[AtomicUsize; CLASSES]; REASONS],
    told: [[AtomicU64; CLASSES]; REASONS],
}

impl Drops {
    fn tables(&self) -> &Tables {
        self.tables.get_or_init(Box::default)
    }

    /// Counts messages that a sender dropped; true if the core must be told, which then tells the host
    /// once for all of them.
    pub(crate) fn count(&self, reason: DropReason, class: MessageClass, messages: usize) -> bool {
        self.tables().counted[reason.index()][class.index()].fetch_add(messages, Ordering::Relaxed);
        self.untold.fetch_add(messages, Ordering::Release) == 0
    }

    /// True if senders dropped something that is not told yet.
    pub(super) fn has_untold(&self) -> bool {
        self.untold.load(Ordering::Relaxed) > 0
    }

    /// What senders dropped since the last time, by reason.
    pub(super) fn take(&self) -> impl Iterator<Item = (ClassCounts, DropReason)> {
        let any = self.has_untold() && self.untold.swap(0, Ordering::Acquire) > 0;
        let reasons = DropReason::ALL.into_iter().filter(move |_| any);
        reasons.map(|reason| {
            let mut counts = ClassCounts::default();
            for class in MessageClass::ALL {
                let counted = &self.tables().counted[reason.index()][class.index()];
                counts.add(class, counted.swap(0, Ordering::Relaxed));
            }
            (counts, reason)
        })
    }

    pub(super) fn note_told(&self, reason: DropReason, class: MessageClass, messages: usize) {
        self.tables().told[reason.index()][class.index()].fetch_add(messages as u64, Ordering::Relaxed);
    }

    /// How many messages were lost and told, but for those of which raft need not know.
    pub(super) fn lost(&self) -> u64 {
        let told = self.snapshot();
        let losses = DropReason::ALL.into_iter().filter(|reason| reason.is_loss());
        losses.map(|reason| told[reason.index()].iter().sum::<u64>()).sum()
    }

    /// All that was told.
    pub(super) fn snapshot(&self) -> [[u64; CLASSES]; REASONS] {
        let Some(tables) = self.tables.get() else { return [[0; CLASSES]; REASONS] };
        tables.told.each_ref().map(|classes| classes.each_ref().map(|told| told.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_drop_is_taken_once_and_the_core_is_told_once_of_many() {
        let drops = Drops::default();
        assert!(drops.take().next().is_none());
        assert!(drops.count(DropReason::PostFailed, MessageClass::Vote, 1));
        assert!(!drops.count(DropReason::PostFailed, MessageClass::Append, 2));
        assert!(!drops.count(DropReason::TooLarge, MessageClass::Append, 3));
        let taken: Vec<_> = drops.take().filter(|(counts, _)| counts.total() > 0).collect();
        let mut of_post = ClassCounts::of(MessageClass::Vote, 1);
        of_post.add(MessageClass::Append, 2);
        let too_large = ClassCounts::of(MessageClass::Append, 3);
        assert_eq!(taken, [(of_post, DropReason::PostFailed), (too_large, DropReason::TooLarge)]);
        assert!(drops.take().next().is_none());
        assert!(drops.count(DropReason::PostFailed, MessageClass::Vote, 1), "and again");
    }

    #[test]
    fn what_raft_need_not_know_is_no_loss() {
        let drops = Drops::default();
        for reason in DropReason::ALL {
            drops.note_told(reason, MessageClass::Heartbeat, 1);
        }
        let silent = [DropReason::Paused, DropReason::Superseded, DropReason::Injected];
        assert_eq!(drops.lost() as usize, DropReason::ALL.len() - silent.len());
        assert!(silent.into_iter().all(|reason| !reason.is_loss()));
        assert_eq!(drops.snapshot()[DropReason::Paused.index()][MessageClass::Heartbeat.index()], 1);
    }
}
