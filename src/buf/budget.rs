//! How much of frames that are not whole yet the process holds.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What one connection may hold of an unfinished frame like any other. Beyond, it needs the one
/// place for a frame of any legal size.
const CONNECTION_BYTES_MAX: usize = 64 << 20;

/// What all connections may hold together, beside that one frame: four of them at their maximum.
const PROCESS_BYTES_MAX: usize = 256 << 20;

static PROCESS: Budget = Budget::new();

/// Memory for partial frames beyond the pooled blocks, counted for the whole process.
#[derive(Debug)]
struct Budget {
    bytes: AtomicUsize,
    large_frame: AtomicBool,
}

/// There is no room now: the connection has to be closed, and may try again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoRoom;

/// What one connection has taken of the budget; dropping it gives everything back.
///
/// One large frame at a time is admitted whatever its (legal) size, and nobody waits while holding
/// memory: the one that has the place always finishes, the others are refused at once, so that no
/// two can keep each other from finishing.
#[derive(Debug, Default)]
pub struct Share {
    bytes: usize,
    large_frame: bool,
}

impl Budget {
    const fn new() -> Self {
        Self { bytes: AtomicUsize::new(0), large_frame: AtomicBool::new(false) }
    }

    fn take(&self, bytes: usize) -> Result<(), NoRoom> {
        let fits = |held: usize| held.checked_add(bytes).filter(|&sum| sum <= PROCESS_BYTES_MAX);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map(drop).map_err(|_| NoRoom)
    }

    fn give_back(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Share {
    /// Makes the share `bytes` large.
    ///
    /// # Errors
    /// If that is more than there is.
    pub fn resize(&mut self, bytes: usize) -> Result<(), NoRoom> {
        if bytes > CONNECTION_BYTES_MAX {
            if !self.large_frame {
                let taken = PROCESS.large_frame.swap(true, Ordering::Acquire);
                self.large_frame = !taken;
            }
            // What it held as one of many is free again.
            PROCESS.give_back(std::mem::take(&mut self.bytes));
            return if self.large_frame { Ok(()) } else { Err(NoRoom) };
        }
        if bytes > self.bytes {
            match PROCESS.take(bytes - self.bytes) {
                // Less than it has is never refused: it stays in the one place for a while.
                Err(NoRoom) if self.large_frame => return Ok(()),
                taken => taken?,
            }
        } else {
            PROCESS.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
        self.leave_large_frame();
        Ok(())
    }

    fn leave_large_frame(&mut self) {
        if std::mem::take(&mut self.large_frame) {
            PROCESS.large_frame.store(false, Ordering::Release);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        PROCESS.give_back(self.bytes);
        self.leave_large_frame();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_bounded_together_and_one_large_frame_always_finishes() {
        let mut shares: Vec<_> = (0..4).map(|_| Share::default()).collect();
        for share in &mut shares {
            assert_eq!(share.resize(CONNECTION_BYTES_MAX), Ok(()));
        }
        let mut late = Share::default();
        assert_eq!(late.resize(1), Err(NoRoom));
        assert_eq!(shares[0].resize(400 << 20), Ok(()), "the one large frame");
        assert_eq!(shares[1].resize(100 << 20), Err(NoRoom), "a second one");
        assert_eq!(late.resize(1), Ok(()), "the large one counts apart");
        for share in [&mut shares[1], &mut late] {
            assert_eq!(share.resize(CONNECTION_BYTES_MAX), Ok(()), "until nothing is left");
        }
        assert_eq!(shares[0].resize(CONNECTION_BYTES_MAX), Ok(()), "less than it had is never refused");
        drop(shares);
        assert_eq!(late.resize(CONNECTION_BYTES_MAX + 1), Ok(()));
        drop(late);
        assert_eq!(PROCESS.bytes.load(Ordering::Relaxed), 0);
        assert!(!PROCESS.large_frame.load(Ordering::Relaxed));
    }
}
