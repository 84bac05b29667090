//! The right to work on a thing that one thread owns and others may use while it does not.
//!
//! ```text
//!   a guest: claim it? no:  leave the work in the lane    the owner: claim it? yes: work
//!                      yes: work, let go                             no:  say "I want it"
//!            -- fence --                                             -- fence --
//!            read "does the owner want it?"                          claim it? no: go on, and be told
//!            if so: tell the owner
//! ```
//!
//! Both sides write first and read afterwards (see `src/cores/asleep.rs`), so that an owner who found
//! a guest is told when that guest has left. Until the owner has had it no guest gets in any more:
//! guests without pause would keep it out for ever.

use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, TryLockError};

use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sync::{Mutex, MutexGuard};

/// Something of one owner that guests use now and then. Nobody waits for it, but for
/// [`Claim::claim`].
#[derive(Debug)]
pub struct Claim<T> {
    thing: Mutex<T>,
    wanted: AtomicBool,
}

/// The right to work on it, for as long as this lives.
#[derive(Debug)]
pub struct Claimed<'a, T> {
    wanted: &'a AtomicBool,
    thing: MutexGuard<'a, T>,
}

impl<T> Claim<T> {
    /// Nobody works on it.
    pub fn new(thing: T) -> Self {
        Self { thing: Mutex::new(thing), wanted: AtomicBool::new(false) }
    }

    /// For a guest: `None` if somebody works on it, or if the owner is about to.
    pub fn try_claim(&self) -> Option<Claimed<'_, T>> {
        if self.wanted.load(Ordering::Relaxed) { None } else { self.take() }
    }

    /// For the owner: `None` if a guest works on it, who is told by its [`Claimed::leave`] to tell
    /// the owner.
    pub fn claim_or_ask(&self) -> Option<Claimed<'_, T>> {
        let claimed = self.take().or_else(|| {
            self.wanted.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            self.take()
        })?;
        self.wanted.store(false, Ordering::Relaxed);
        Some(claimed)
    }

    /// For rare errands, which cannot come back later: waits until whoever works on it has left. If
    /// the owner has asked it is told all the same, for it is not the errand that it asked for.
    pub fn claim(&self) -> Claimed<'_, T> {
        // A guest that panicked did so between two steps of its work: the thing is sound.
        let thing = self.thing.lock().unwrap_or_else(PoisonError::into_inner);
        Claimed { wanted: &self.wanted, thing }
    }

    fn take(&self) -> Option<Claimed<'_, T>> {
        let thing = match self.thing.try_lock() {
            Ok(thing) => thing,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Claimed { wanted: &self.wanted, thing })
    }
}

impl<T> Claimed<'_, T> {
    /// Lets go; true if the owner has asked for it meanwhile and must be told.
    #[must_use]
    pub fn leave(self) -> bool {
        let Self { wanted, thing } = self;
        drop(thing);
        fence(Ordering::SeqCst);
        wanted.load(Ordering::Relaxed)
    }
}

impl<T> Deref for Claimed<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.thing
    }
}

impl<T> DerefMut for Claimed<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.thing
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_owner_who_found_a_guest_is_told_and_comes_first() {
        let claim = Claim::new(0);
        let mut guest = claim.try_claim().expect("nobody is there");
        *guest += 1;
        assert!(claim.claim_or_ask().is_none());
        assert!(claim.try_claim().is_none(), "somebody is there");
        assert!(guest.leave(), "the owner asked");
        assert!(claim.try_claim().is_none(), "the owner comes first");
        let mut owner = claim.claim_or_ask().expect("the guest has left");
        *owner += 1;
        assert!(!owner.leave());
        let guest = claim.try_claim().expect("the owner has had it");
        assert_eq!(*guest, 2);
        assert!(!guest.leave(), "nobody asked");
    }

    #[test]
    fn an_errand_does_not_take_what_the_owner_has_asked_for() {
        let claim = Claim::new(0);
        let guest = claim.try_claim().expect("nobody is there");
        assert!(claim.claim_or_ask().is_none());
        assert!(guest.leave(), "the owner asked");
        assert!(claim.claim().leave(), "and has not had it");
        assert!(claim.try_claim().is_none(), "the owner comes first");
        assert!(claim.claim_or_ask().is_some_and(|owner| !owner.leave()));
    }

    #[test]
    fn a_guest_that_panics_leaves_the_thing_behind() {
        let claim = Claim::new(7);
        std::thread::scope(|scope| {
            let guest = scope.spawn(|| {
                let _claimed = claim.try_claim();
                panic!("in the middle");
            });
            assert!(guest.join().is_err());
        });
        assert_eq!(claim.claim_or_ask().as_deref(), Some(&7));
    }
}
