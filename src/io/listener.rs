//! The socket that a transport listens on, over TCP or in the file system.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::Listen;
use crate::error::StartError;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Stands for the other end of a unix socket, which has no address. Nobody connects from this one.
pub(super) const UNIX_REMOTE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A socket that listens. The file of a unix socket is removed when it is dropped.
pub(crate) struct Listener {
    /// Of whatever family: only its descriptor is used.
    pub(super) socket: TcpListener,
    _file: Option<SocketFile>,
}

/// A unix socket's name.
struct SocketFile {
    path: PathBuf,
    /// Device and number of the file: another socket may have its name by the time it is removed.
    identity: (u64, u64),
}

impl Listener {
    /// Binds and listens; `None` for [`Listen::Nowhere`].
    pub(crate) fn bind(listen: Listen) -> Result<Option<Self>, StartError> {
        match listen {
            Listen::Nowhere => Ok(None),
            Listen::Listener(socket) => Ok(Some(Self { socket, _file: None })),
            Listen::Address(address) => match bind_address(address) {
                Ok(socket) => Ok(Some(Self { socket, _file: None })),
                Err(error) => Err(StartError::Bind { address, error }),
            },
            Listen::Unix(path) => match bind_path(&path) {
                Ok(listener) => Ok(Some(listener)),
                Err(error) => Err(StartError::BindUnix { path, error }),
            },
        }
    }

    /// Where it listens, if that is an address.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }
}

/// Binds without `SO_REUSEPORT`, so that a second process on the same address is told so.
fn bind_address(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket's file stays when its process dies: it is replaced, but only if nobody listens there. (etcd
/// removes whatever has the name.)
fn bind_path(path: &Path) -> io::Result<Listener> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path, &address)? => {
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    let file = SocketFile::of(path)?;
    socket.listen(BACKLOG)?;
    Ok(Listener { socket: socket.into(), _file: Some(file) })
}

fn is_left_over(path: &Path, address: &SockAddr) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Else it would wait where somebody listens and has too many connections.
    socket.set_nonblocking(true)?;
    Ok(socket.connect(address).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        // The process may have another directory by then.
        Ok(Self { path: std::path::absolute(path)?, identity: (metadata.dev(), metadata.ino()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
