//! One connection to a peer URL: its name looked up, each of its addresses in turn.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket, Type};

use super::conn::{Conn, Shut};
use super::endpoint::Endpoint;
use super::listener::UNIX_REMOTE;
use super::waits::Waits;
use crate::error::Advised;
use crate::event::DialError;
use crate::proto::peer_url::PeerUrl;

/// One place to connect to.
struct Target<'a> {
    address: SockAddr,
    /// The same, or what stands for a unix socket.
    remote: SocketAddr,
    /// The name of a unix socket's file.
    name: Option<&'a str>,
}

/// How the stop of the caller ends what waits here: it makes `is_stopping` true, lets `waits` look
/// again, and shuts down what `keep` was given last.
pub(super) struct Stop<'a> {
    pub(super) waits: &'a Waits,
    pub(super) is_stopping: &'a dyn Fn() -> bool,
    pub(super) keep: &'a dyn Fn(Rc<Shut>),
}

impl<'a> Target<'a> {
    fn tcp(address: SocketAddr) -> Self {
        Self { address: address.into(), remote: address, name: None }
    }

    /// As in etcd a name that is no path is that of a file in the working directory.
    fn unix(name: &'a str) -> Result<Self, ConnectError> {
        let address = SockAddr::unix(name);
        let address = address.map_err(|error| ConnectError::Connect(format!("{name}: {error}")))?;
        Ok(Self { address, remote: UNIX_REMOTE, name: Some(name) })
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => f.write_str(name),
            None => self.remote.fmt(f),
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum ConnectError {
    /// The name has no address, or the helper that looks names up failed.
    Resolve(String),
    /// No address took the connection.
    Connect(String),
    /// Not in time, or the caller was stopped.
    Timeout,
}

/// Connects to a URL within `timeout`, of which the look-up of the name is no part: it ends by itself,
/// or with the caller. With the connection comes the end of that time, for who waits for an answer, too.
pub(super) async fn connect(
    endpoint: &Rc<Endpoint>,
    stop: &Stop<'_>,
    url: &PeerUrl,
    timeout: Duration,
) -> Result<(Conn, Instant), ConnectError> {
    let Some(port) = url.port() else {
        let deadline = Instant::now() + timeout;
        return Ok((one(endpoint, stop, &Target::unix(url.host())?, deadline).await?, deadline));
    };
    let resolver = endpoint.cores.resolver();
    // A look-up may take long, and nobody needs it once the caller is stopped.
    let resolved = stop.waits.unless(stop.is_stopping, resolver.resolve(url.host(), port)).await;
    let addresses = resolved
        .unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))
        .map_err(|error| ConnectError::Resolve(error.to_string()))?;
    let deadline = Instant::now() + timeout;
    Ok((any(endpoint, stop, &addresses, deadline).await?, deadline))
}

/// Each address in turn, within one deadline.
async fn any(
    endpoint: &Rc<Endpoint>,
    stop: &Stop<'_>,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<Conn, ConnectError> {
    let mut last = ConnectError::Resolve("the name has no address".to_owned());
    for &address in addresses {
        match one(endpoint, stop, &Target::tcp(address), deadline).await {
            Ok(conn) => return Ok(conn),
            Err(error) => last = error,
        }
        if (stop.is_stopping)() || Instant::now() >= deadline {
            break;
        }
    }
    Err(last)
}

/// Connects with a socket of our own, for monoio's would hide its descriptor while it waits and
/// could not be told to give up.
async fn one(
    endpoint: &Rc<Endpoint>,
    stop: &Stop<'_>,
    target: &Target<'_>,
    deadline: Instant,
) -> Result<Conn, ConnectError> {
    let failed = |error: io::Error| ConnectError::Connect(format!("{target}: {}", Advised(&error)));
    // Who was stopped before he could give us anything to shut down would not be told by that.
    if (stop.is_stopping)() {
        return Err(ConnectError::Timeout);
    }
    let (stream, poll) = begin(target).map_err(failed)?;
    let shut = Rc::new(Shut::new(stream.as_raw_fd()));
    let guard = endpoint.watch(Rc::clone(&shut), deadline);
    (stop.keep)(Rc::clone(&shut));
    let writable = endpoint.core.operation(poll.writable(true)).await;
    drop(guard);
    if shut.is_done() {
        shut.forget();
        return Err(ConnectError::Timeout);
    }
    let finish = || {
        writable?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        // Dialling a free port of the ephemeral range can connect a socket to itself.
        if target.name.is_none() && stream.local_addr()? == stream.peer_addr()? {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        stream.set_nonblocking(false)?;
        Conn::new(Rc::clone(&endpoint.core), stream, target.remote, Rc::clone(&shut))
    };
    finish().map_err(|error| {
        shut.forget();
        failed(error)
    })
}

/// A socket that connects, and a second descriptor of it to wait with.
fn begin(target: &Target<'_>) -> io::Result<(TcpStream, monoio::net::TcpStream)> {
    let socket = Socket::new(target.address.domain(), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&target.address) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    let stream = TcpStream::from(socket);
    let poll = monoio::net::TcpStream::from_std(stream.try_clone()?)?;
    Ok((stream, poll))
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => write!(f, "cannot resolve: {error}"),
            Self::Connect(error) => f.write_str(error),
            Self::Timeout => f.write_str("no connection in time"),
        }
    }
}

impl From<ConnectError> for DialError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Resolve(error) => Self::Resolve(error),
            ConnectError::Connect(error) => Self::Connect(error),
            ConnectError::Timeout => Self::Timeout,
        }
    }
}
