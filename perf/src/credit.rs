//! How far each follower is, and waking a load that waits for it.
//!
//! The way of a credit is in-process and costs no message: a follower stores its frontier, the
//! load reads it. A load that has nothing left to send *declares* for which frontier it waits and
//! looks again; the follower stores its frontier and looks for a declaration. Both sides store
//! before they load, sequentially consistent, so at least one of them sees the other.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Nobody waits for this follower.
const NOT_WAITED_FOR: u64 = u64::MAX;

/// Wakes the load, from any thread. It may be called when nobody waits.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// How far each follower is.
#[derive(Default)]
pub struct Credits {
    followers: Vec<Frontier>,
    wake: OnceLock<Wake>,
}

/// Each on a line of its own: the load reads all of them, each follower writes one.
#[repr(align(128))]
struct Frontier {
    /// The number after the last message processed.
    processed: AtomicU64,
    /// The frontier the load waits for.
    waited_for: AtomicU64,
}

impl Credits {
    /// For so many followers, none of which has processed anything.
    #[must_use]
    pub fn new(followers: usize) -> Self {
        let frontier =
            || Frontier { processed: AtomicU64::new(0), waited_for: AtomicU64::new(NOT_WAITED_FOR) };
        Self { followers: (0..followers).map(|_| frontier()).collect(), wake: OnceLock::new() }
    }

    /// Sets how the load is woken: once, before the first message is sent.
    ///
    /// # Panics
    /// If it was set before: two loads cannot share one window.
    pub fn wake_with(&self, wake: Wake) {
        assert!(self.wake.set(wake).is_ok(), "one load only: how to wake it was set before");
    }

    /// Wakes the load, for its schedule or because the run is over.
    pub fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// The number after the last message that `follower` processed.
    #[must_use]
    pub fn processed(&self, follower: usize) -> u64 {
        self.followers[follower].processed.load(Ordering::Acquire)
    }

    /// Called by the follower: everything below `frontier` is processed (or lost). A message that
    /// took another way and comes late does not move the frontier back.
    pub fn advance(&self, follower: usize, frontier: u64) {
        let own = &self.followers[follower];
        own.processed.fetch_max(frontier, Ordering::SeqCst);
        let waited_for = own.waited_for.load(Ordering::SeqCst);
        // The swap lets only one of two advances wake.
        if frontier >= waited_for && own.waited_for.swap(NOT_WAITED_FOR, Ordering::SeqCst) != NOT_WAITED_FOR {
            self.wake();
        }
    }

    /// Called by the load, alone: it is about to wait until `follower` reaches `frontier`. False if
    /// it is there already, and the load must not wait.
    #[must_use]
    pub fn declare(&self, follower: usize, frontier: u64) -> bool {
        let other = &self.followers[follower];
        other.waited_for.store(frontier, Ordering::SeqCst);
        other.processed.load(Ordering::SeqCst) < frontier
    }

    /// Called by the load: it waits no longer.
    pub fn withdraw(&self) {
        for follower in &self.followers {
            follower.waited_for.store(NOT_WAITED_FOR, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn only_the_frontier_that_is_waited_for_wakes_and_only_once() {
        let (credits, wakes) = (Credits::new(2), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&wakes);
        credits.wake_with(Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        assert!(credits.declare(0, 10));
        credits.advance(0, 9);
        credits.advance(1, 100);
        assert_eq!(wakes.load(Ordering::Relaxed), 0);
        credits.advance(0, 10);
        credits.advance(0, 11);
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        credits.advance(0, 5);
        assert!(!credits.declare(0, 11));
    }
}
