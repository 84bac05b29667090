//! What any thread may tell a core.

use std::sync::PoisonError;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Letters to one core, taken all at once. Bounded by what is sent: one letter per dirty lane,
/// one per call of the transport's control methods.
#[derive(Debug)]
pub struct Mailbox<T> {
    /// `None` once it is closed.
    letters: Mutex<Option<Vec<T>>>,
    // Lets the core pass an empty mailbox without the lock. Set under it, cleared under it. Relaxed:
    // the letters come with the lock, and the doorbell's fences see to it that a core which is about
    // to sleep finds this set.
    full: AtomicBool,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { letters: Mutex::new(Some(Vec::new())), full: AtomicBool::new(false) }
    }
}

impl<T> Mailbox<T> {
    /// Adds a letter; drops it if the core has ended. The caller rings the doorbell afterwards.
    pub fn push(&self, letter: T) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(letters) = &mut *letters {
            letters.push(letter);
            self.full.store(true, Ordering::Relaxed);
        }
    }

    /// Nobody will take letters any more: those that wait are dropped, as are all that come.
    pub fn close(&self) {
        let left = self.letters.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Outside of the lock: what a letter holds may post another one when it is dropped.
        drop(left);
        self.full.store(false, Ordering::Relaxed);
    }

    /// Takes every letter in the order they came; `into` must be empty and lends its memory.
    pub fn take(&self, into: &mut Vec<T>) {
        debug_assert!(into.is_empty());
        if self.is_empty() {
            return;
        }
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(letters) = &mut *letters {
            std::mem::swap(letters, into);
        }
        self.full.store(false, Ordering::Relaxed);
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        !self.full.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn letters_come_in_order_and_all_at_once() {
        let mailbox = Mailbox::default();
        assert!(mailbox.is_empty());
        mailbox.push(1);
        mailbox.push(2);
        let mut taken = Vec::new();
        mailbox.take(&mut taken);
        assert_eq!(taken, [1, 2]);
        assert!(mailbox.is_empty());
    }

    #[test]
    fn letters_to_a_core_that_has_ended_are_dropped_and_not_kept() {
        let (mailbox, letter) = (Mailbox::default(), Arc::new(()));
        mailbox.push(Arc::clone(&letter));
        mailbox.close();
        mailbox.push(Arc::clone(&letter));
        assert!(mailbox.is_empty());
        assert_eq!(Arc::strong_count(&letter), 1);
    }
}
