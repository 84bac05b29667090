//! The system calls that no crate of ours offers in a safe form.
#![allow(unsafe_code, reason = "direct system calls")]

use std::os::fd::RawFd;

/// Shuts a socket down in both directions, so that every operation on it completes.
///
/// The number must be that of a socket that is still open: `Shut` keeps it only so long.
pub(super) fn shutdown(fd: RawFd) {
    // SAFETY: the call takes no pointer. On a number that is not a socket it does nothing.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Ends the sending direction of an open socket.
pub(super) fn shutdown_write(fd: RawFd) {
    // SAFETY: as above.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

/// Ignores SIGPIPE if its disposition is still the default, which would kill the process when a
/// `writev` meets a reset socket. Rust programs ignore it from the start; hosts in C and Go that
/// link us may not. A handler of the host's own stays.
pub(super) fn ignore_sigpipe() {
    // SAFETY: both calls are given a valid action of this frame, and SIG_IGN is no function that
    // could run. Another thread that changes the disposition in between is overruled at worst.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_DFL
        {
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        }
    }
}
