//! Waiting for an orderly end: how many tasks something still has, and who waits for the last.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Tells any thread that something has ended.
#[derive(Clone, Debug)]
pub struct Ending(Arc<Left>);

/// How many parts of it have not ended.
#[derive(Debug)]
struct Left(Mutex<usize>, Condvar);

impl Ending {
    /// Of something in so many parts, each of which completes once.
    pub(crate) fn of(parts: usize) -> Self {
        Self(Arc::new(Left(Mutex::new(parts), Condvar::new())))
    }

    pub(crate) fn new() -> Self {
        Self::of(1)
    }

    pub(crate) fn complete(&self) {
        let mut left = self.left();
        *left = left.saturating_sub(1);
        self.0.1.notify_all();
    }

    fn left(&self) -> MutexGuard<'_, usize> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True once everything has ended.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        *self.left() == 0
    }

    /// Waits until everything has ended, at most for `timeout`; true if it has. Never call it on
    /// a core: what it waits for may need that core.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut left = self.left();
        while *left > 0 {
            let time = deadline.saturating_duration_since(Instant::now());
            if time.is_zero() {
                return false;
            }
            left = self.0.1.wait_timeout(left, time).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// An ending on its way to a core: completes also if the core has ended and nobody opens the letter.
pub(crate) struct Posted(Option<Ending>);

impl Posted {
    pub(crate) fn new(ending: &Ending) -> Self {
        Self(Some(ending.clone()))
    }

    pub(crate) fn open(mut self) -> Ending {
        self.0.take().unwrap_or_else(Ending::new)
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        if let Some(ending) = self.0.take() {
            ending.complete();
        }
    }
}

/// Counts tasks; when it is closed and the last of them ends, the ending is complete.
#[derive(Default)]
pub(super) struct TaskCount {
    alive: Cell<usize>,
    closed: Cell<bool>,
    last: RefCell<Vec<Box<dyn FnOnce()>>>,
    on_end: RefCell<Vec<Ending>>,
}

/// One task of a count, for as long as it lives.
pub(super) struct TaskGuard(Rc<TaskCount>);

impl TaskCount {
    pub(super) fn enter(self: &Rc<Self>) -> TaskGuard {
        self.alive.set(self.alive.get() + 1);
        TaskGuard(Rc::clone(self))
    }

    /// Runs `f` when the last task has ended, in the order in which it was asked for and before
    /// anybody is told.
    pub(super) fn at_last(&self, f: impl FnOnce() + 'static) {
        self.last.borrow_mut().push(Box::new(f));
    }

    /// No more tasks will come; `ending` completes with the last of them.
    pub(super) fn close(&self, ending: Ending) {
        self.closed.set(true);
        self.on_end.borrow_mut().push(ending);
        self.check();
    }

    fn check(&self) {
        if self.closed.get() && self.alive.get() == 0 {
            for last in self.last.take() {
                last();
            }
            for ending in self.on_end.take() {
                ending.complete();
            }
        }
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.alive.set(self.0.alive.get() - 1);
        self.0.check();
    }
}
