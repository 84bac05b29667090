//! The system calls that no crate of ours offers in a safe form.
#![allow(unsafe_code, reason = "direct system calls")]

use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::fd::{BorrowedFd, RawFd};

use io_uring::{IoUring, opcode};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use smallvec::SmallVec;
use socket2::SockRef;

use crate::buf::Chain;

/// Shuts a socket down in both directions, so that every operation on it completes.
///
/// The number must be that of a socket that is still open: `Shut` keeps it only so long.
pub(super) fn shutdown(fd: RawFd) {
    // SAFETY: the call takes no pointer. On a number that is not a socket it does nothing.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// A second descriptor of an open socket.
pub(super) fn duplicate(fd: RawFd) -> io::Result<TcpStream> {
    // SAFETY: the number is that of a socket that is open: its owner asks, on its own thread.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fd.try_clone_to_owned().map(TcpStream::from)
}

/// Ends the sending direction of an open socket.
pub(super) fn shutdown_write(fd: RawFd) {
    // SAFETY: as above.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

/// Pieces that one direct send takes; a chain of more goes through the ring.
const PIECES_MAX: usize = 64;

/// Sends what the socket takes without waiting.
pub(super) fn send_now(socket: &TcpStream, chain: &Chain) -> io::Result<usize> {
    const FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
    let mut slices = chain.slices();
    match (slices.len(), slices.next()) {
        (1, Some(slice)) => Ok(rustix::net::send(socket, slice, FLAGS)?),
        _ => {
            let pieces: SmallVec<[IoSlice<'_>; 8]> =
                chain.slices().take(PIECES_MAX).map(IoSlice::new).collect();
            Ok(rustix::net::sendmsg(socket, &pieces, &mut SendAncillaryBuffer::default(), FLAGS)?)
        }
    }
}

/// Sends a byte if the socket takes one without waiting; what becomes of it does not matter.
pub(super) fn send_byte(fd: RawFd, byte: u8) {
    // SAFETY: `Shut` gives out the number only while the socket is open, on its own thread.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let _ = rustix::net::send(fd, &[byte], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

/// Receives what is there without waiting; 0 is the end of the connection.
pub(super) fn receive_now(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `Shut` gives out the number only while the socket is open, on its own thread.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let (count, _) = rustix::net::recv(fd, buffer, RecvFlags::DONTWAIT)?;
    Ok(count)
}

/// As [`receive_now`], but the bytes stay in the socket until [`discard`].
pub(super) fn peek_now(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: as above.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let (count, _) = rustix::net::recv(fd, buffer, RecvFlags::DONTWAIT | RecvFlags::PEEK)?;
    Ok(count)
}

/// Takes as many bytes as `peeked` is long from the front of the socket, where they are.
pub(super) fn discard(fd: RawFd, peeked: &mut [u8]) -> io::Result<usize> {
    // SAFETY: as above.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let (count, _) = rustix::net::recv(fd, peeked, RecvFlags::DONTWAIT | RecvFlags::TRUNC)?;
    Ok(count)
}

/// Tries a ring with one operation that goes all the way: one that is built may still be refused
/// when it is entered (seccomp), and monoio would wait for ever.
pub(super) fn probe_ring() -> io::Result<()> {
    let mut ring = IoUring::new(2)?;
    // SAFETY: a NOP has no buffers that would have to outlive it.
    unsafe {
        let _ = ring.submission().push(&opcode::Nop::new().build());
    }
    ring.submit_and_wait(1).map(drop)
}

/// Lets the kernel delay the acknowledgements of what was read.
///
/// A stream flows one way, so nothing goes back that they could ride on, and by itself the kernel
/// answers a read of a small message with a packet of its own, which both ends pay for. It falls back to that whenever its timer (40 ms) has run out, so this is said
/// anew before each wait; a failure only means more packets.
pub(super) fn delay_acks(fd: RawFd) {
    // SAFETY: `Shut` gives out the number only while the socket is open, on its own thread.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let _ = SockRef::from(&fd).set_tcp_quickack(false);
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
