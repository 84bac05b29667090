//! What a sleeping core hears: an eventfd, or loom's likeness of one in models.

#[cfg(not(all(test, loom)))]
mod real {
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::event::{EventfdFlags, eventfd};

    /// An eventfd.
    #[derive(Debug)]
    pub(in crate::cores) struct Event(OwnedFd);

    impl Event {
        pub(in crate::cores) fn new() -> io::Result<Self> {
            // Blocking: the read that the core keeps in its ring waits for the first ring.
            eventfd(0, EventfdFlags::CLOEXEC).map(Self).map_err(io::Error::from)
        }

        pub(in crate::cores) fn signal(&self) {
            // Fails only when the counter is at its maximum: then it is signalled already.
            let _ = rustix::io::write(self.0.as_fd(), &1_u64.to_ne_bytes());
        }

        pub(in crate::cores) fn descriptor(&self) -> io::Result<OwnedFd> {
            self.0.try_clone()
        }
    }
}

#[cfg(all(test, loom))]
mod model {
    use std::io;

    use loom::sync::Notify;

    /// As an eventfd it remembers a signal that nobody waits for. It also wakes for nothing, as a
    /// core does when I/O completes.
    #[derive(Debug)]
    pub(crate) struct Event(Notify);

    impl Event {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self(Notify::new()))
        }

        pub(crate) fn signal(&self) {
            self.0.notify();
        }

        pub(crate) fn wait(&self) {
            self.0.wait();
        }
    }
}

#[cfg(all(test, loom))]
pub(crate) use model::Event;
#[cfg(not(all(test, loom)))]
pub(super) use real::Event;
