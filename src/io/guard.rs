//! Waiting for an orderly end: how many tasks something still has, and who waits for the last.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tells any thread that something has ended.
#[derive(Clone, Debug, Default)]
pub struct Ending(Arc<(Mutex<bool>, Condvar)>);

impl Ending {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn complete(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// True once everything has ended.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything has ended, at most for `timeout`; true if it has. Never call it on
    /// a core: what it waits for may need that core.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut done = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*done {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            done = self.0.1.wait_timeout(done, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// Counts tasks; when it is closed and the last of them ends, the ending is complete.
#[derive(Default)]
pub(super) struct TaskCount {
    alive: Cell<usize>,
    on_end: RefCell<Option<OnEnd>>,
}

struct OnEnd {
    last: Box<dyn FnOnce()>,
    endings: Vec<Ending>,
}

/// One task of a count, for as long as it lives.
pub(super) struct TaskGuard(Rc<TaskCount>);

impl TaskCount {
    pub(super) fn enter(self: &Rc<Self>) -> TaskGuard {
        self.alive.set(self.alive.get() + 1);
        TaskGuard(Rc::clone(self))
    }

    /// No more tasks will come; when the last of them has ended, `last` is called (that of the
    /// first close) and `ending` completes.
    pub(super) fn close(&self, ending: Ending, last: impl FnOnce() + 'static) {
        self.on_end
            .borrow_mut()
            .get_or_insert_with(|| OnEnd { last: Box::new(last), endings: Vec::new() })
            .endings
            .push(ending);
        self.check();
    }

    fn check(&self) {
        if self.alive.get() > 0 {
            return;
        }
        let on_end = self.on_end.borrow_mut().take();
        if let Some(OnEnd { last, endings }) = on_end {
            last();
            endings.iter().for_each(Ending::complete);
        }
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.alive.set(self.0.alive.get() - 1);
        self.0.check();
    }
}
