//! One loopback connection and the two ways to wait on it.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use anyhow::{Context, Result};
use socket2::SockRef;

use crate::plan::Plan;

/// How both ends of a link wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wait {
    /// Non-blocking, asking again at once.
    Spin,
    /// Blocked in the kernel, each on its core: a wake-up is an interrupt from core to core.
    Park,
    /// Blocked in the kernel, both on the first core: a wake-up is a switch, but the ends take turns.
    ParkShared,
}

impl Wait {
    /// Where the two ends run.
    #[must_use]
    pub fn cores(self, plan: &Plan) -> (usize, usize) {
        let first = plan.cores[0];
        let second = plan.cores.get(1).copied().unwrap_or(first);
        (first, if self == Self::ParkShared { first } else { second })
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spin => "spin",
            Self::Park => "park",
            Self::ParkShared => "park-one-core",
        })
    }
}

/// The two ends of a fresh connection.
pub fn connect(wait: Wait) -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on loopback")?;
    let near = TcpStream::connect(listener.local_addr()?).context("cannot connect over loopback")?;
    let (far, _) = listener.accept().context("cannot accept over loopback")?;
    for end in [&near, &far] {
        end.set_nodelay(true)?;
        end.set_nonblocking(wait == Wait::Spin)?;
        stop_pacing(&SockRef::from(end));
    }
    Ok((near, far))
}

/// Under `bbr` a loopback socket runs at 4/5 of its speed: the floor is what is possible, so it does
/// as `CongestionControl::Auto`. A system without `cubic` keeps its own.
fn stop_pacing(socket: &SockRef<'_>) {
    if socket.tcp_congestion().is_ok_and(|name| name.starts_with(b"bbr")) {
        let _ = socket.set_tcp_congestion(b"cubic");
    }
}

/// Reads once, however little; 0 is the end.
///
/// No pause between two tries: the system call is the pause, and it is what sees the bytes first.
pub fn read_some(end: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match end.read(into) {
            Err(error) if is_not_yet(&error) => {}
            other => return other,
        }
    }
}

/// Fills `into`; false if the other end is gone.
pub fn read_all(end: &mut TcpStream, into: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < into.len() {
        match read_some(end, &mut into[filled..])? {
            0 => return Ok(false),
            count => filled += count,
        }
    }
    Ok(true)
}

/// Writes all of `from`.
pub fn write_all(end: &mut TcpStream, mut from: &[u8]) -> io::Result<()> {
    while !from.is_empty() {
        match end.write(from) {
            Ok(count) => from = &from[count..],
            Err(error) if is_not_yet(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
