//! Waiting for a helper on a core: until it has done something, or there is nothing left to wait for,
//! or it takes too long. No operation of the ring is waited for here, so each wait may be dropped.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::io::core::Core;
use crate::io::signal::Signal;
use crate::io::waits::Waits;

/// Who waits, and what ends the wait early.
pub(super) struct Patience<'a> {
    pub(super) core: &'a Rc<Core>,
    pub(super) waits: &'a Waits,
    /// True once nobody needs the snapshot any more.
    pub(super) over: &'a dyn Fn() -> bool,
    /// How long a file may make no progress.
    pub(super) stall_timeout: Duration,
}

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ended {
    /// Nobody needs it any more.
    Over,
    /// The file made no progress.
    Stalled,
}

impl Patience<'_> {
    /// Until `signal` is raised.
    pub(super) async fn raised(&self, signal: &Signal) -> Result<(), Ended> {
        let deadline = Instant::now() + self.stall_timeout;
        let raised = before(self.core, deadline, signal.raised());
        match self.waits.unless(|| (self.over)(), raised).await {
            None => Err(Ended::Over),
            Some(None) => Err(Ended::Stalled),
            Some(Some(())) => Ok(()),
        }
    }

    /// As [`Patience::raised`], for as long as it takes.
    pub(super) async fn raised_at_last(&self, signal: &Signal) -> Result<(), Ended> {
        self.waits.unless(|| (self.over)(), signal.raised()).await.ok_or(Ended::Over)
    }

    pub(super) async fn sleep_until(&self, at: Instant) -> Result<(), Ended> {
        self.waits.unless(|| (self.over)(), self.core.sleep_until(at)).await.ok_or(Ended::Over)
    }
}

/// What `future` gives, or `None` at the deadline.
async fn before<T>(core: &Rc<Core>, deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut sleep) = (pin!(future), pin!(core.sleep_until(deadline)));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}
