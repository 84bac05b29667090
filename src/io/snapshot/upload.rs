//! One upload at its connection: what ends it, the request, the answer.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handle::Sending;
use crate::buf::Chain;
use crate::event::SnapshotError;
use crate::io::conn::{Conn, Shut};
use crate::io::dial::{begin_connect, parse, read_text};
use crate::io::endpoint::ServedGuard;
use crate::io::input::{Input, NoHead};
use crate::io::peer::Peer;
use crate::proto::handshake::{Identity, write_snapshot_partial_request};
use crate::proto::http::head::HeadSearch;
use crate::proto::peer_url::PeerUrl;
use crate::proto::snapshot::{SnapshotAnswer, SnapshotIdentity, Stall};

/// The uploads of a peer that are under way.
#[derive(Default)]
pub(in crate::io) struct Uploads(RefCell<Vec<Rc<Upload>>>);

/// What ends one from outside of its task.
pub(super) struct Upload {
    pub(super) sending: Arc<Sending>,
    shut: RefCell<Option<Rc<Shut>>>,
    ended: Cell<bool>,
}

impl Uploads {
    pub(super) fn begin(&self, sending: &Arc<Sending>) -> Rc<Upload> {
        let sending = Arc::clone(sending);
        let upload = Rc::new(Upload { sending, shut: RefCell::default(), ended: Cell::new(false) });
        self.0.borrow_mut().push(Rc::clone(&upload));
        upload
    }

    pub(super) fn remove(&self, upload: &Rc<Upload>) {
        self.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, upload));
    }

    pub(super) fn end(&self, sending: &Arc<Sending>) {
        self.0.borrow().iter().filter(|upload| Arc::ptr_eq(&upload.sending, sending)).for_each(|u| u.end());
    }

    pub(in crate::io) fn end_all(&self) {
        self.0.borrow().iter().for_each(|upload| upload.end());
    }
}

impl Upload {
    fn end(&self) {
        self.ended.set(true);
        if let Some(shut) = &*self.shut.borrow() {
            shut.shutdown();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended.get() || self.sending.is_cancelled()
    }

    fn set_shut(&self, shut: &Rc<Shut>) {
        if self.is_over() {
            shut.shutdown();
        }
        *self.shut.borrow_mut() = Some(Rc::clone(shut));
    }
}

/// A connection to the peer for one request.
pub(super) struct Exchange<'a> {
    peer: &'a Rc<Peer>,
    upload: &'a Upload,
    conn: Conn,
    guard: ServedGuard,
}

impl<'a> Exchange<'a> {
    /// Connects to the peer at `url`.
    pub(super) async fn open(
        peer: &'a Rc<Peer>,
        upload: &'a Upload,
        url: &PeerUrl,
    ) -> Result<Self, SnapshotError> {
        let conn = connect(peer, upload, url).await?;
        let stall_timeout = peer.endpoint.shared.config.snapshot_stall_timeout;
        let _ = conn.set_user_timeout(stall_timeout); // without it, it is found dead sooner
        let guard = peer.endpoint.watch(conn.shut(), Instant::now() + stall_timeout);
        upload.set_shut(&conn.shut());
        Ok(Self { peer, upload, conn, guard })
    }

    /// When the connection is given up.
    pub(super) fn set_deadline(&self, deadline: Instant) {
        self.guard.set_deadline(deadline);
    }

    /// True if the peer answers already, or is gone: then there is no point in writing on.
    pub(super) fn is_answered(&self) -> bool {
        self.conn.is_readable()
    }

    /// Writes all of it, however slowly, as long as it moves.
    pub(super) async fn write(&mut self, mut chain: Chain, stall: &mut Stall) -> io::Result<()> {
        while !chain.is_empty() {
            self.guard.set_deadline(stall.deadline());
            let (result, rest) = self.conn.write(chain).await;
            chain = rest;
            let count = result?;
            chain.advance(count);
            stall.handle_bytes(count, Instant::now());
        }
        Ok(())
    }

    /// The answer to what was written, within `timeout`.
    pub(super) async fn answer(mut self, timeout: Duration) -> Result<SnapshotAnswer, SnapshotError> {
        self.guard.set_deadline(Instant::now() + timeout);
        let mut input = Input::new(&self.peer.endpoint.core.pool);
        let len = match input.read_head(&mut self.conn, HeadSearch::response(), || ()).await {
            Ok(len) => len,
            Err(NoHead::Bad(error)) => return Err(SnapshotError::Refused(format!("bad answer: {error}"))),
            Err(NoHead::Closed) => return Err(self.broken(&io::ErrorKind::UnexpectedEof.into())),
            Err(NoHead::Broken(error)) => return Err(self.broken(&error)),
        };
        let head_bytes = input.bytes()[..len].to_vec();
        input.consume(len);
        let head = parse(&head_bytes).map_err(|error| SnapshotError::Refused(error.to_string()))?;
        let mut text = Vec::new();
        if SnapshotAnswer::needs_body(&head) {
            self.guard.set_deadline(Instant::now() + BODY_TIMEOUT);
            text =
                read_text(&mut self.conn, input.bytes(), head.framing, &self.peer.endpoint.core.pool).await;
        }
        Ok(SnapshotAnswer::of(&head, &text, self.own()))
    }

    fn own(&self) -> &Identity {
        &self.peer.endpoint.shared.own
    }

    /// What an error of the connection means.
    pub(super) fn broken(&self, error: &io::Error) -> SnapshotError {
        if self.upload.is_over() {
            SnapshotError::Stopped
        } else if self.conn.shut().is_done() {
            SnapshotError::Stalled
        } else {
            SnapshotError::Connection(error.to_string())
        }
    }
}

/// The body of a refusal is a sentence: it is there at once or not worth waiting for.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Asks a peer how much it has of a snapshot; nothing, if it is not raftring or does not say.
pub(super) async fn ask_offset(
    peer: &Rc<Peer>,
    upload: &Upload,
    url: &PeerUrl,
    identity: SnapshotIdentity,
) -> u64 {
    let timeout = peer.endpoint.shared.config.dial_timeout;
    let Ok(mut exchange) = Exchange::open(peer, upload, url).await else { return 0 };
    let (mut request, mut chain) = (Vec::with_capacity(512), Chain::default());
    write_snapshot_partial_request(&mut request, exchange.own(), url, identity);
    chain.push_payload(request.into());
    if exchange.write(chain, &mut Stall::new(timeout, Instant::now())).await.is_err() {
        return 0;
    }
    match exchange.answer(timeout).await {
        Ok(SnapshotAnswer::Taken { offset: Some(offset) }) if offset <= identity.size() => offset,
        _ => 0,
    }
}

async fn connect(peer: &Rc<Peer>, upload: &Upload, url: &PeerUrl) -> Result<Conn, SnapshotError> {
    let failed = |error: io::Error| SnapshotError::Connection(error.to_string());
    let port = url.port().ok_or_else(|| SnapshotError::Connection("the URL has no port".to_owned()))?;
    let resolver = peer.endpoint.cores.resolver();
    let resolved = peer.waits.unless(|| upload.is_over(), resolver.resolve(url.host(), port)).await;
    let addresses = resolved.ok_or(SnapshotError::Stopped)?.map_err(failed)?;
    let deadline = Instant::now() + peer.endpoint.shared.config.dial_timeout;
    let mut last = SnapshotError::Connection("the name has no address".to_owned());
    for address in addresses {
        match connect_to(peer, upload, address, deadline).await {
            Ok(conn) => return Ok(conn),
            Err(error) if upload.is_over() => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_to(
    peer: &Rc<Peer>,
    upload: &Upload,
    address: SocketAddr,
    deadline: Instant,
) -> Result<Conn, SnapshotError> {
    let failed = |error: io::Error| SnapshotError::Connection(format!("{address}: {error}"));
    let (stream, poll) = begin_connect(address).map_err(failed)?;
    let shut = Rc::new(Shut::new(stream.as_raw_fd()));
    let guard = peer.endpoint.watch(Rc::clone(&shut), deadline);
    upload.set_shut(&shut);
    let writable = peer.endpoint.core.operation(poll.writable(true)).await;
    drop(guard);
    let finish = || {
        writable?;
        if shut.is_done() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        if stream.local_addr()? == stream.peer_addr()? {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        stream.set_nonblocking(false)?;
        Conn::new(Rc::clone(&peer.endpoint.core), stream, address, Rc::clone(&shut))
    };
    finish().map_err(|error| {
        shut.forget();
        if upload.is_over() { SnapshotError::Stopped } else { failed(error) }
    })
}
