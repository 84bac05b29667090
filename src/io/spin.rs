//! What a core does instead of sleeping: it passes the time to a partner and lets sockets be polled.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Sockets that a spinning core polls in one round, at some 200 ns each; further ones wait in the
/// ring, which a round looks at as well.
const POLLERS_MAX: usize = 4;

/// Tasks that poll a socket while the core spins.
#[derive(Default)]
pub(super) struct Pollers {
    waiting: RefCell<Vec<Waker>>,
    /// How many there were in the last round.
    polled: Cell<usize>,
}

impl Pollers {
    /// True if as many sockets are polled already as a round should look at.
    pub(super) fn are_full(&self) -> bool {
        self.waiting.borrow().len() >= POLLERS_MAX
    }

    /// True if no more than one socket was polled in the last round.
    pub(super) fn poll_one_socket(&self) -> bool {
        self.polled.get() <= 1
    }

    /// Waits for the next round.
    pub(super) fn next_round(&self) -> impl Future<Output = ()> + '_ {
        let mut waiting = false;
        poll_fn(move |cx| {
            if waiting {
                return Poll::Ready(());
            }
            waiting = true;
            self.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
    }

    /// Lets those who poll a socket look at it.
    pub(super) fn wake(&self) {
        let mut waiting = self.waiting.borrow_mut();
        self.polled.set(waiting.len());
        for poller in waiting.drain(..) {
            poller.wake();
        }
    }
}

/// The other half of the fair pair that spins: two tasks that wake each other in turn stay at the
/// back of monoio's queue, where a task that wakes itself would be put in front of all others.
pub(super) struct Partner {
    shared: Rc<PartnerShared>,
}

#[derive(Default)]
struct PartnerShared {
    partner: RefCell<Option<Waker>>,
    spinner: RefCell<Option<Waker>>,
    passed: Cell<bool>,
    stopped: Cell<bool>,
}

impl Partner {
    pub(super) fn start() -> Self {
        let shared = Rc::new(PartnerShared::default());
        let own = Rc::clone(&shared);
        #[expect(clippy::disallowed_methods, reason = "it calls nobody who could panic")]
        monoio::spawn(poll_fn(move |cx| {
            if own.stopped.get() {
                return Poll::Ready(());
            }
            *own.partner.borrow_mut() = Some(cx.waker().clone());
            if let Some(spinner) = own.spinner.borrow_mut().take() {
                own.passed.set(true);
                spinner.wake();
            }
            Poll::Pending
        }));
        Self { shared }
    }

    /// Lets everything else run once, and the ring be looked at.
    pub(super) async fn pass(&self) {
        self.shared.passed.set(false);
        poll_fn(|cx| {
            if self.shared.passed.get() {
                return Poll::Ready(());
            }
            *self.shared.spinner.borrow_mut() = Some(cx.waker().clone());
            if let Some(partner) = self.shared.partner.borrow().as_ref() {
                partner.wake_by_ref();
            }
            Poll::Pending
        })
        .await;
    }

    pub(super) fn stop(self) {
        self.shared.stopped.set(true);
        if let Some(partner) = self.shared.partner.borrow_mut().take() {
            partner.wake();
        }
    }
}
