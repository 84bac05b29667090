//! The handshake by which nobody sleeps over news.
//!
//! ```text
//!   who has news: leave the news            the sleeper: say "I sleep"
//!                 -- fence --                            -- fence --
//!                 read "does it sleep?"                  look for news again
//!                 if so: wake it                         if there is none: sleep
//! ```
//!
//! Both write first and read afterwards, with a sequentially consistent fence between. One of the
//! two fences comes first, and what was written before it is read behind the other: either the one
//! side finds the sleeper, or the other finds the news. Nothing else about the words of the
//! handshake need be ordered, so they are relaxed.

use crate::sync::atomic::{AtomicBool, Ordering, fence};

/// Whether somebody sleeps who wants to be woken. Set by the sleeper; cleared by it, or by the one
/// who wakes it.
#[derive(Debug)]
pub(super) struct Asleep(AtomicBool);

impl Asleep {
    /// Somebody who is awake.
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// The sleeper is about to sleep; it looks for news once more after this.
    pub(super) fn say(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The sleeper is awake. Who finds this instead of its sleep has left news that it looks for
    /// before it sleeps the next time.
    pub(super) fn unsay(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// After news were left: true if the sleeper has to be woken, for one of all who ask.
    pub(super) fn take(&self) -> bool {
        fence(Ordering::SeqCst);
        // The load alone, as a rule: the sleeper's line is written only to wake it.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}
