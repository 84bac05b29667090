//! Waking a core a little later: for letters that may wait, but not until the core wakes by itself.
//!
//! ```text
//!   host: put the letter in the mailbox     core: hear the alarm
//!         mark the alarm as set                   mark it as not set
//!         it was not: set the timer               look into the mailbox
//! ```
//!
//! Who finds it set already has put its letter in before the core looks, for both marks are swaps of
//! one word: the core's comes behind the host's, and reads it. Modelled in `src/models.rs`.

use std::io;
#[cfg(not(all(test, loom)))]
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::timer::Timer;
use crate::sync::atomic::{AtomicBool, Ordering};

/// One core's alarm.
#[derive(Debug)]
pub struct Alarm {
    timer: Timer,
    set: AtomicBool,
}

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// When the process or the machine is out of descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self { timer: Timer::new()?, set: AtomicBool::new(false) })
    }

    /// After a letter was put into the mailbox: the core looks there after `time`, or sooner.
    pub fn ring_within(&self, time: Duration) {
        if !self.set.swap(true, Ordering::AcqRel) {
            self.timer.set(time);
        }
    }

    /// The core has heard it, and looks into its mailbox after this.
    pub fn heard(&self) {
        self.set.swap(false, Ordering::AcqRel);
    }

    /// Rings at once, whether it was set or not.
    pub fn ring(&self) {
        self.timer.set(Duration::from_nanos(1));
    }

    /// A second descriptor of the timer, for the read in the ring.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    #[cfg(not(all(test, loom)))]
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.timer.descriptor()
    }

    /// Stands for the read in the ring.
    #[cfg(all(test, loom))]
    pub(crate) fn hear(&self) {
        self.timer.wait();
    }
}
