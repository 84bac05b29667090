//! What an alarm is made of: a timerfd, or in models something that may ring at any moment.

#[cfg(not(all(test, loom)))]
mod real {
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    /// A timerfd.
    #[derive(Debug)]
    pub(in crate::cores) struct Timer(OwnedFd);

    impl Timer {
        pub(in crate::cores) fn new() -> io::Result<Self> {
            // Blocking: the read that the core keeps in its ring waits until it rings.
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)
                .map(Self)
                .map_err(io::Error::from)
        }

        /// Rings once after `time`, which is not zero: that would unset it.
        pub(in crate::cores) fn set(&self, time: Duration) {
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let after = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
            let once = Itimerspec { it_interval: zero, it_value: after };
            // Fails only for a time that is none.
            let _ = timerfd_settime(self.0.as_fd(), TimerfdTimerFlags::empty(), &once);
        }

        pub(in crate::cores) fn descriptor(&self) -> io::Result<OwnedFd> {
            self.0.try_clone()
        }
    }
}

#[cfg(all(test, loom))]
mod model {
    use std::io;
    use std::time::Duration;

    use crate::cores::event::Event;

    /// Time is not modelled: it rings as soon as it is set, in every order with everything else.
    #[derive(Debug)]
    pub(crate) struct Timer(Event);

    impl Timer {
        pub(crate) fn new() -> io::Result<Self> {
            Event::new().map(Self)
        }

        pub(crate) fn set(&self, _time: Duration) {
            self.0.signal();
        }

        pub(crate) fn wait(&self) {
            self.0.wait();
        }
    }
}

#[cfg(all(test, loom))]
pub(super) use model::Timer;
#[cfg(not(all(test, loom)))]
pub(super) use real::Timer;
