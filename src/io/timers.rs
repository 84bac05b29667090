//! Deadlines of one core, looked at once a turn: monoio's timers fire only when it parks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Who is to be woken when.
#[derive(Debug, Default)]
pub(super) struct Timers {
    sleepers: RefCell<BTreeMap<(Instant, u64), Waker>>,
    next_id: Cell<u64>,
}

impl Timers {
    /// Completes at `deadline`, or at the first turn after it.
    pub(super) fn sleep_until(self: &Rc<Self>, deadline: Instant) -> Sleep {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        Sleep { timers: Rc::clone(self), key: (deadline, id) }
    }

    /// Wakes everyone whose time has come.
    pub(super) fn fire(&self, now: Instant) {
        while let Some(waker) = self.pop_due(now) {
            waker.wake();
        }
    }

    fn pop_due(&self, now: Instant) -> Option<Waker> {
        let mut sleepers = self.sleepers.borrow_mut();
        let first = sleepers.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.sleepers.borrow().first_key_value().map(|(key, _)| key.0)
    }
}

/// A task's wait for a moment. No operation of the ring: it may be dropped at any time.
#[derive(Debug)]
pub(super) struct Sleep {
    timers: Rc<Timers>,
    key: (Instant, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // A clock is read here and nowhere in `proto`: a waker alone does not prove the time.
        if Instant::now() >= self.key.0 {
            return Poll::Ready(());
        }
        self.timers.sleepers.borrow_mut().insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.timers.sleepers.borrow_mut().remove(&self.key);
    }
}
