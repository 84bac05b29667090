//! The listener: accepts, limits, and starts to serve.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::conn::Shut;
use super::endpoint::Endpoint;
use super::listener::{Listener, UNIX_REMOTE};
use super::serve;
use crate::error::Advised;
use crate::event::Event;
use crate::proto::limiter::Standing;

/// Connections accepted in one go, so that a flood of them does not hold up the core.
const ACCEPTS_A_TURN_MAX: usize = 32;

/// After an accept that failed (out of descriptors), which would fail again at once.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Accepts until the endpoint stops.
///
/// The ring waits until the listener is readable, and std accepts: an accept of monoio's leaks its
/// socket when it is cancelled, and leaves the socket open across `exec`.
pub(super) fn start(endpoint: &Rc<Endpoint>, listener: Listener) {
    let shut = Rc::new(Shut::new(listener.socket.as_raw_fd()));
    endpoint.set_listener(Rc::clone(&shut));
    let of_task = Rc::clone(endpoint);
    endpoint.spawn("listener", async move {
        // All of it: naming the socket alone would leave its file to be removed now.
        let listener = listener;
        if let Err(error) = run(&of_task, &listener.socket).await {
            tell(&of_task, &error);
        }
        shut.forget();
    });
}

async fn run(endpoint: &Rc<Endpoint>, listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let Some(poll) = second_descriptor(endpoint, listener).await? else { return Ok(()) };
    // Only waited on, never read: any stream type of monoio can poll any descriptor.
    let poll = monoio::net::TcpStream::from_std(TcpStream::from(poll))?;
    // An accept without a free descriptor fails for ever: this one is given up to close the
    // connection that cannot be served, so that its peer learns it.
    let mut reserve = listener.try_clone().ok();
    while !endpoint.is_stopping() {
        endpoint.core.operation(poll.readable(true)).await?;
        for _ in 0..ACCEPTS_A_TURN_MAX {
            match accept(listener) {
                Ok((stream, remote)) => admit(endpoint, stream, remote),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) if endpoint.is_stopping() => return Ok(()),
                // The connection was gone before it was accepted: the next one may be well.
                Err(error) if !is_scarcity(&error) => {}
                Err(error) => {
                    tell(endpoint, &error);
                    endpoint.cores.snapshots().note_scarcity();
                    drop(reserve.take());
                    drop(accept(listener));
                    reserve = listener.try_clone().ok();
                    endpoint.core.sleep(BACK_OFF).await;
                    break;
                }
            }
        }
    }
    Ok(())
}

/// A client of a unix socket has no address: [`UNIX_REMOTE`] stands for all of them.
fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, address) = SockRef::from(listener).accept()?;
    Ok((socket.into(), address.as_socket().unwrap_or(UNIX_REMOTE)))
}

/// To wait with. A transport that has started listens: if no descriptor is free that is told, and
/// one is waited for, until the endpoint stops.
async fn second_descriptor(endpoint: &Endpoint, listener: &TcpListener) -> io::Result<Option<OwnedFd>> {
    let mut told = false;
    while !endpoint.is_stopping() {
        match listener.try_clone() {
            Ok(second) => return Ok(Some(second.into())),
            Err(error) if !is_scarcity(&error) => return Err(error),
            Err(_) if told => {}
            Err(error) => tell(endpoint, &error),
        }
        told = true;
        endpoint.core.sleep(BACK_OFF).await;
    }
    Ok(None)
}

fn tell(endpoint: &Endpoint, error: &io::Error) {
    endpoint.emit(&Event::ListenerFailed { error: Advised(error).to_string() });
}

/// True if the next accept would fail as well.
fn is_scarcity(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

fn admit(endpoint: &Rc<Endpoint>, stream: TcpStream, remote: SocketAddr) {
    let origin = if endpoint.shared.is_member_address(remote.ip()) {
        Standing::MemberAddress
    } else {
        Standing::Stranger
    };
    if !endpoint.limiter.borrow().admits(remote.ip(), origin, Instant::now()) {
        let reason = "too many failed handshakes";
        return endpoint.emit(&Event::ConnectionDropped { from: remote, reason });
    }
    serve::start(endpoint, stream, remote);
}
