//! Waking a core that sleeps, and only then.
//!
//! ```text
//!   host: put the letter in the mailbox     core: say "I sleep"
//!         read "does it sleep?"                   look into the mailbox again
//!         if so: write the eventfd                if empty: sleep
//! ```
//!
//! Why one of the two always sees the other is in `src/cores/asleep.rs`; that it is so is modelled
//! in `src/models.rs`.

use std::io;
#[cfg(not(all(test, loom)))]
use std::os::fd::OwnedFd;

use super::asleep::Asleep;
use super::event::Event;
use crate::sync::atomic::{AtomicU64, Ordering};

/// One core's doorbell.
#[derive(Debug)]
pub struct Doorbell {
    event: Event,
    core: Asleep,
    rung: AtomicU64,
    suppressed: AtomicU64,
}

impl Doorbell {
    /// A doorbell that nobody has rung.
    ///
    /// # Errors
    /// When the process or the machine is out of descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            event: Event::new()?,
            core: Asleep::new(),
            rung: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        })
    }

    /// After a letter was put into the mailbox: wakes the core if it sleeps.
    pub fn ring(&self) {
        if self.core.take() {
            self.rung.fetch_add(1, Ordering::Relaxed);
            self.event.signal();
        } else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The core is about to sleep; it looks into its mailbox once more after this.
    pub fn arm(&self) {
        self.core.say();
    }

    /// The core is awake.
    pub fn disarm(&self) {
        self.core.unsay();
    }

    /// A second descriptor of the eventfd, for the read in the ring.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    #[cfg(not(all(test, loom)))]
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.event.descriptor()
    }

    /// Stands for the read in the ring.
    #[cfg(all(test, loom))]
    pub(crate) fn hear(&self) {
        self.event.wait();
    }

    /// How often a sleeping core was woken, and how often that was not needed.
    pub fn counters(&self) -> (u64, u64) {
        (self.rung.load(Ordering::Relaxed), self.suppressed.load(Ordering::Relaxed))
    }
}
