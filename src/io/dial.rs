//! One dial: name, connection, request, answer. Protocol section 5.3.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::conn::{Conn, Shut};
use super::input::{Input, NoHead};
use super::peer::Peer;
use super::shared::lane_of;
use crate::error::Advised;
use crate::event::DialError;
use crate::proto::codec::StreamKind;
use crate::proto::handshake::{DIAL_BODY_BYTES_MAX, judge, needs_body, write_stream_request};
use crate::proto::http::body::{BodyDecoder, BodyState, Marks};
use crate::proto::http::head::{Framing, HeadSearch, ResponseHead};
use crate::proto::peer_url::PeerUrl;

/// The body of a refusal is a sentence: it is there at once or not worth waiting for.
const REFUSAL_BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// A stream that is up, its body not yet looked at.
pub(super) struct Established {
    pub(super) conn: Conn,
    pub(super) body: BodyDecoder,
    /// Bytes behind the response head.
    pub(super) rest: Vec<u8>,
}

/// Dials one stream of a peer at one URL.
pub(super) async fn stream(
    peer: &Rc<Peer>,
    kind: StreamKind,
    url: &PeerUrl,
) -> Result<Established, DialError> {
    let port = url.port().ok_or_else(|| DialError::Resolve(format!("{} has no port", url.as_str())))?;
    let resolver = peer.endpoint.cores.resolver();
    // A look-up may take long, and nobody needs it once the peer is stopped.
    let resolved = peer.waits.unless(|| peer.is_stopping(), resolver.resolve(url.host(), port)).await;
    let addresses = resolved
        .unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))
        .map_err(|error| DialError::Resolve(error.to_string()))?;
    let deadline = Instant::now() + peer.endpoint.shared.config.dial_timeout;
    let conn = connect_any(peer, kind, &addresses, deadline).await?;
    request(peer, kind, url, conn, deadline).await
}

/// Each address in turn, within one deadline.
async fn connect_any(
    peer: &Rc<Peer>,
    kind: StreamKind,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<Conn, DialError> {
    let mut last = DialError::Resolve("the name has no address".to_owned());
    for &address in addresses {
        match connect(peer, kind, address, deadline).await {
            Ok(conn) => return Ok(conn),
            Err(error) => last = error,
        }
        if peer.is_stopping() || Instant::now() >= deadline {
            break;
        }
    }
    Err(last)
}

/// Connects with a socket of our own, for monoio's would hide its descriptor while it waits and
/// could not be told to give up.
async fn connect(
    peer: &Rc<Peer>,
    kind: StreamKind,
    address: SocketAddr,
    deadline: Instant,
) -> Result<Conn, DialError> {
    let failed = |error: io::Error| DialError::Connect(format!("{address}: {}", Advised(&error)));
    let (stream, poll) = begin_connect(address).map_err(failed)?;
    let shut = Rc::new(Shut::new(stream.as_raw_fd()));
    let guard = peer.endpoint.watch(Rc::clone(&shut), deadline);
    peer.readers[lane_of(kind)].set_shut(Some(Rc::clone(&shut)));
    let writable = peer.endpoint.core.operation(poll.writable(true)).await;
    drop(guard);
    if shut.is_done() {
        shut.forget();
        return Err(DialError::Timeout);
    }
    let finish = || {
        writable?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        // Dialling a free port of the ephemeral range can connect a socket to itself.
        if stream.local_addr()? == stream.peer_addr()? {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        stream.set_nonblocking(false)?;
        Conn::new(Rc::clone(&peer.endpoint.core), stream, address, Rc::clone(&shut))
    };
    finish().map_err(|error| {
        shut.forget();
        failed(error)
    })
}

/// A socket that connects, and a second descriptor of it to wait with.
pub(super) fn begin_connect(address: SocketAddr) -> io::Result<(TcpStream, monoio::net::TcpStream)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    let stream = TcpStream::from(socket);
    let poll = monoio::net::TcpStream::from_std(stream.try_clone()?)?;
    Ok((stream, poll))
}

async fn request(
    peer: &Rc<Peer>,
    kind: StreamKind,
    url: &PeerUrl,
    mut conn: Conn,
    deadline: Instant,
) -> Result<Established, DialError> {
    let own = &peer.endpoint.shared.own;
    let guard = peer.endpoint.watch(conn.shut(), deadline);
    let mut request = Vec::with_capacity(512);
    write_stream_request(&mut request, own, kind, peer.shared.id, url);
    conn.write_all(request).await.map_err(|error| broken(&conn, &error))?;
    let mut input = Input::new(&peer.endpoint.core.pool);
    let len = match input.read_head(&mut conn, HeadSearch::response(), || ()).await {
        Ok(len) => len,
        Err(NoHead::Bad(error)) => return Err(DialError::Malformed(error.to_string())),
        Err(NoHead::Closed) => return Err(broken(&conn, &io::ErrorKind::UnexpectedEof.into())),
        Err(NoHead::Broken(error)) => return Err(broken(&conn, &error)),
    };
    let head_bytes = input.bytes()[..len].to_vec();
    input.consume(len);
    let head = parse(&head_bytes)?;
    let mut text = Vec::new();
    if needs_body(&head) {
        guard.set_deadline(deadline.min(Instant::now() + REFUSAL_BODY_TIMEOUT));
        text = read_text(&mut conn, input.bytes(), head.framing, &peer.endpoint.core.pool).await;
    }
    let established = judge(&head, &text, own).map_err(DialError::Refused)?;
    drop(guard);
    if conn.shut().is_done() {
        return Err(DialError::Timeout);
    }
    Ok(Established { conn, body: BodyDecoder::new(established.framing), rest: input.bytes().to_vec() })
}

pub(super) fn parse(bytes: &[u8]) -> Result<ResponseHead<'_>, DialError> {
    let malformed = |error: crate::proto::http::head::HeadError| DialError::Malformed(error.to_string());
    let head = HeadSearch::response().find(bytes).map_err(malformed)?;
    let head = head.ok_or_else(|| DialError::Malformed("the head is not whole".to_owned()))?;
    ResponseHead::parse(head).map_err(malformed)
}

/// The payload of a refusal, as far as it comes in time and fits; what is missing was never said.
pub(super) async fn read_text(
    conn: &mut Conn,
    rest: &[u8],
    framing: Framing,
    pool: &crate::buf::Pool,
) -> Vec<u8> {
    let mut block = pool.take(rest.len() + DIAL_BODY_BYTES_MAX);
    block[..rest.len()].copy_from_slice(rest);
    let mut body = BodyDecoder::new(framing);
    let mut marks = Marks::after_head(0, rest.len());
    while matches!(body.advance(&mut block, &mut marks), Ok(BodyState::Open)) {
        let to = block.len().min(marks.start + DIAL_BODY_BYTES_MAX);
        if marks.filled >= to {
            break;
        }
        let (result, back) = conn.read(block, marks.filled..to).await;
        block = back;
        match result {
            Ok(count) if count > 0 => marks.filled += count,
            _ => break,
        }
    }
    block[marks.start..marks.end].to_vec()
}

fn broken(conn: &Conn, error: &io::Error) -> DialError {
    if conn.shut().is_done() { DialError::Timeout } else { DialError::Connect(error.to_string()) }
}
