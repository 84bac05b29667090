//! Waking a task of a core from any thread.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use super::core::Core;
use super::letter::{CoreShared, Letter};
use crate::cores::Flag;

/// A flag that any thread raises and one task of one core waits for.
///
/// No waker leaves the core: raising it posts a letter, and only when the task waits.
#[derive(Clone, Default)]
pub struct Signal(Arc<State>);

#[derive(Default)]
struct State {
    flag: Flag,
    waiter: Mutex<Option<(Arc<CoreShared>, usize)>>,
}

impl Signal {
    /// A signal that is not raised.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag; wakes the task that waits for it.
    pub fn raise(&self) {
        if self.0.flag.raise() {
            let waiter = self.0.waiter.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((core, slot)) = &*waiter {
                core.post(Letter::Wake(*slot));
            }
        }
    }

    /// Waits until the flag is raised and lowers it. One task at a time.
    ///
    /// # Panics
    /// Outside of a core, or when awaited on a second core.
    pub async fn raised(&self) {
        let core = Core::current().expect("a signal is awaited on a core");
        let slot = self.slot_on(&core);
        poll_fn(|cx| {
            if self.0.flag.lower() {
                return Poll::Ready(());
            }
            core.set_waiter(slot, cx.waker().clone());
            if self.0.flag.wait() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn slot_on(&self, core: &Core) -> usize {
        let mut waiter = self.0.waiter.lock().unwrap_or_else(PoisonError::into_inner);
        match &*waiter {
            Some((owner, slot)) => {
                assert_eq!(
                    owner.index, core.shared.index,
                    "a signal belongs to the core that awaited it first"
                );
                *slot
            }
            None => {
                let slot = core.add_waiter();
                *waiter = Some((Arc::clone(&core.shared), slot));
                slot
            }
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let waiter = self.waiter.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((core, slot)) = waiter.take() {
            core.run(move |core| core.remove_waiter(slot));
        }
    }
}

impl std::fmt::Debug for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signal").field("raised", &self.0.flag.is_raised()).finish()
    }
}
