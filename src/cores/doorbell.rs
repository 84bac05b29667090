//! Waking a core that sleeps, and only then.
//!
//! ```text
//!   host: put the letter in the mailbox     core: say "I sleep"
//!         read "does it sleep?"                   look into the mailbox again
//!         if so: write the eventfd                if empty: sleep
//! ```
//!
//! Both sides write first and read afterwards, both sequentially consistent, so at least one of
//! them sees the other: either the host rings or the core finds the letter.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// One core's doorbell.
#[derive(Debug)]
pub struct Doorbell {
    event: OwnedFd,
    sleeping: AtomicBool,
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
            // Blocking: the read that the core keeps in its ring waits for the first ring.
            event: eventfd(0, EventfdFlags::CLOEXEC)?,
            sleeping: AtomicBool::new(false),
            rung: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        })
    }

    /// After a letter was put into the mailbox: wakes the core if it sleeps.
    pub fn ring(&self) {
        // Whoever takes the flag rings; the others need not.
        if self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst) {
            self.rung.fetch_add(1, Ordering::Relaxed);
            // Fails only when the counter is at its maximum: then it is rung already.
            let _ = rustix::io::write(self.event.as_fd(), &1_u64.to_ne_bytes());
        } else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The core is about to sleep; it looks into its mailbox once more after this.
    pub fn arm(&self) {
        self.sleeping.store(true, Ordering::SeqCst);
    }

    /// The core is awake.
    pub fn disarm(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// A second descriptor of the eventfd, for the read in the ring.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.event.try_clone()
    }

    /// How often a sleeping core was woken, and how often that was not needed.
    pub fn counters(&self) -> (u64, u64) {
        (self.rung.load(Ordering::Relaxed), self.suppressed.load(Ordering::Relaxed))
    }
}
