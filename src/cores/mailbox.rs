//! What any thread may tell a core.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Letters to one core, taken all at once. Bounded by what is sent: one letter per dirty lane,
/// one per call of the transport's control methods.
#[derive(Debug)]
pub struct Mailbox<T> {
    letters: Mutex<Vec<T>>,
    // Lets the core pass an empty mailbox without the lock. Set under it, cleared under it.
    full: AtomicBool,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { letters: Mutex::new(Vec::new()), full: AtomicBool::new(false) }
    }
}

impl<T> Mailbox<T> {
    /// Adds a letter. The caller rings the doorbell afterwards.
    pub fn push(&self, letter: T) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        letters.push(letter);
        // SeqCst: `Doorbell` orders this store against the core's announcement to sleep.
        self.full.store(true, Ordering::SeqCst);
    }

    /// Takes every letter in the order they came; `into` must be empty and lends its memory.
    pub fn take(&self, into: &mut Vec<T>) {
        debug_assert!(into.is_empty());
        if self.is_empty() {
            return;
        }
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *letters, into);
        self.full.store(false, Ordering::SeqCst);
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        !self.full.load(Ordering::SeqCst)
    }
}
