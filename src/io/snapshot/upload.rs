//! One upload at its connection: what ends it, the request, the answer.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::faults::INJECTED;
use super::handle::Sending;
use crate::buf::Chain;
use crate::event::SnapshotError;
use crate::io::answer::{Answer, NoAnswer};
use crate::io::conn::{Conn, Shut};
use crate::io::connect::{Stop, connect};
use crate::io::endpoint::ServedGuard;
use crate::io::peer::Peer;
use crate::proto::fault::Side;
use crate::proto::handshake::{DIAL_BODY_BYTES_MAX, Identity, write_snapshot_partial_request};
use crate::proto::peer_url::PeerUrl;
use crate::proto::snapshot::{SnapshotAnswer, SnapshotIdentity, Stall};

/// The uploads of a peer that are under way.
#[derive(Default)]
pub(in crate::io) struct Uploads(RefCell<Vec<Rc<Upload>>>);

/// What ends one from outside of its task.
pub(super) struct Upload {
    pub(super) sending: Arc<Sending>,
    shut: RefCell<Option<Rc<Shut>>>,
    /// A write is pending.
    writing: Cell<bool>,
    ended: Cell<bool>,
}

impl Uploads {
    pub(super) fn begin(&self, sending: &Arc<Sending>) -> Rc<Upload> {
        let sending = Arc::clone(sending);
        let upload = Rc::new(Upload {
            sending,
            shut: RefCell::default(),
            writing: Cell::new(false),
            ended: Cell::new(false),
        });
        self.0.borrow_mut().push(Rc::clone(&upload));
        upload
    }

    pub(super) fn remove(&self, upload: &Rc<Upload>) {
        self.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, upload));
    }

    pub(super) fn end(&self, sending: &Arc<Sending>) {
        self.0.borrow().iter().filter(|upload| Arc::ptr_eq(&upload.sending, sending)).for_each(|u| u.end());
    }

    /// 100 ms went by: who answers, or is gone, and reads no more would leave a write pending for long.
    pub(in crate::io) fn tick(&self) {
        self.0.borrow().iter().for_each(|upload| upload.tick());
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

    fn tick(&self) {
        if self.writing.get()
            && let Some(shut) = &*self.shut.borrow()
            && shut.is_readable()
        {
            shut.shutdown_write();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended.get() || self.sending.is_cancelled()
    }

    fn set_shut(&self, shut: Rc<Shut>) {
        if self.is_over() {
            shut.shutdown();
        }
        *self.shut.borrow_mut() = Some(shut);
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
        if peer.shared.faults.is_apart(Side::Sending) {
            return Err(SnapshotError::Connection(INJECTED.to_owned()));
        }
        let stop = Stop {
            waits: &peer.waits,
            is_stopping: &|| upload.is_over(),
            keep: &|shut| upload.set_shut(shut),
        };
        let config = &peer.endpoint.shared.config;
        let connected = connect(&peer.endpoint, &stop, url, config.dial_timeout).await;
        let (conn, _) = connected.map_err(|error| match error {
            _ if upload.is_over() => SnapshotError::Stopped,
            error => SnapshotError::Connection(error.to_string()),
        })?;
        let _ = conn.set_user_timeout(config.snapshot_stall_timeout); // without it, it is found dead sooner
        let guard = peer.endpoint.watch(conn.shut(), Instant::now() + config.snapshot_stall_timeout);
        Ok(Self { peer, upload, conn, guard })
    }

    /// When the connection is given up.
    pub(super) fn set_deadline(&self, deadline: Instant) {
        self.guard.set_deadline(deadline);
    }

    /// True if the peer answers already, or is gone: then there is no point in writing on.
    pub(super) fn is_answered(&self) -> bool {
        self.conn.shut().is_readable()
    }

    /// Writes all of it, however slowly, as long as it moves.
    pub(super) async fn write(&mut self, mut chain: Chain, stall: &mut Stall) -> io::Result<()> {
        while !chain.is_empty() {
            self.guard.set_deadline(stall.deadline());
            self.upload.writing.set(true);
            let (result, rest) = self.conn.write(chain).await;
            self.upload.writing.set(false);
            chain = rest;
            let count = result?;
            chain.advance(count);
            stall.handle_bytes(count, Instant::now());
        }
        Ok(())
    }

    /// The answer to what was written, within `timeout`.
    pub(super) async fn answer(mut self, timeout: Duration) -> Result<SnapshotAnswer, SnapshotError> {
        let deadline = Instant::now() + timeout;
        self.guard.set_deadline(deadline);
        let read = Answer::read(&mut self.conn, &self.peer.endpoint.core.pool).await;
        let answer = read.map_err(|error| self.no_answer(error))?;
        let head = answer.head().map_err(|error| self.no_answer(error))?;
        let mut text = Vec::new();
        if SnapshotAnswer::needs_body(&head) {
            let (conn, guard) = (&mut self.conn, &self.guard);
            text = answer.body(conn, head.framing, DIAL_BODY_BYTES_MAX, guard, deadline).await.text;
        }
        Ok(SnapshotAnswer::of(&head, &text, self.own()))
    }

    fn no_answer(&self, error: NoAnswer) -> SnapshotError {
        match error {
            NoAnswer::Timeout if self.upload.is_over() => SnapshotError::Stopped,
            NoAnswer::Timeout => SnapshotError::Stalled,
            NoAnswer::Malformed(_) => SnapshotError::Refused(error.to_string()),
            NoAnswer::Closed | NoAnswer::Broken(_) => SnapshotError::Connection(error.to_string()),
        }
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
