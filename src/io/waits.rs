//! Waits of a peer's tasks that end early when there is nothing left to wait for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};

/// The tasks that wait, each under a number of its own: one that is done must not take the
/// others' wakers with it.
#[derive(Debug, Default)]
pub(super) struct Waits {
    wakers: RefCell<BTreeMap<u64, Waker>>,
    next: Cell<u64>,
}

impl Waits {
    /// What `future` gives, or `None` once `over` is true; [`Waits::look_again`] tells when to ask.
    ///
    /// For sleeps and signals. Never for an operation of the ring, which would be dropped (rule N1).
    pub(super) async fn unless<T>(
        &self,
        over: impl Fn() -> bool,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let mut future = pin!(future);
        let waiter = Waiter { waits: self, id: self.next.replace(self.next.get() + 1) };
        poll_fn(|cx| {
            if over() {
                return Poll::Ready(None);
            }
            self.wakers.borrow_mut().insert(waiter.id, cx.waker().clone());
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Lets every task that waits ask whether it is over.
    pub(super) fn look_again(&self) {
        for waker in self.wakers.take().into_values() {
            waker.wake();
        }
    }
}

struct Waiter<'a> {
    waits: &'a Waits,
    id: u64,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.waits.wakers.borrow_mut().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::task::Context;

    use super::*;

    #[test]
    fn one_wait_that_ends_leaves_the_others_their_wakers() {
        let waits = Waits::default();
        let mut cx = Context::from_waker(Waker::noop());
        let over = Cell::new(false);
        let mut long = pin!(waits.unless(|| over.get(), pending::<()>()));
        assert!(long.as_mut().poll(&mut cx).is_pending());
        let mut short = pin!(waits.unless(|| false, ready(7)));
        assert_eq!(short.as_mut().poll(&mut cx), Poll::Ready(Some(7)));
        assert_eq!(waits.wakers.borrow().len(), 1);
        over.set(true);
        waits.look_again();
        assert_eq!(long.as_mut().poll(&mut cx), Poll::Ready(None));
    }
}
