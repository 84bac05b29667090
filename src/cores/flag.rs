//! A flag that threads raise and one task waits for.

use super::asleep::Asleep;
use crate::sync::atomic::{AtomicBool, Ordering};

/// The flag, and whether somebody waits for it.
///
/// What was written before it was raised is seen by the one who finds it raised.
#[derive(Debug)]
pub(crate) struct Flag {
    raised: AtomicBool,
    waits: Asleep,
}

impl Default for Flag {
    fn default() -> Self {
        Self { raised: AtomicBool::new(false), waits: Asleep::new() }
    }
}

impl Flag {
    /// Raises the flag; true if the caller has to wake the one who waits.
    #[must_use]
    pub(crate) fn raise(&self) -> bool {
        self.raised.store(true, Ordering::Release);
        self.waits.take()
    }

    /// Lowers the flag; true if it was raised.
    pub(crate) fn lower(&self) -> bool {
        self.raised.swap(false, Ordering::Acquire)
    }

    /// Says that somebody waits, who must be ready to be woken by now, and looks again: true if the
    /// flag was raised meanwhile, and is lowered.
    #[must_use]
    pub(crate) fn wait(&self) -> bool {
        self.waits.say();
        let raised = self.lower();
        if raised {
            self.waits.unsay();
        }
        raised
    }

    /// True if nobody has lowered it since it was raised.
    pub(crate) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }
}
