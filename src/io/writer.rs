//! The writer loop: one write in flight, the next chain fills meanwhile.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::conn::{Conn, Shut};
use super::echo::FarEnd;
use super::link::Desk;
use super::peer::Peer;
use super::shared::lane_of;
use crate::buf::Chain;
use crate::cores::Claimed;
use crate::event::{Direction, DropReason, Event};
use crate::proto::codec::StreamKind;
use crate::proto::fault::Side;
use crate::proto::status::{Action, Source};
use crate::proto::stream::BodyFraming;

/// A stream may be replaced once in this time; a faster dialler waits, for Go's second dial
/// follows its first at once and must not be refused.
const REPLACE_INTERVAL: Duration = Duration::from_millis(100);

/// A peer that replaces its streams more often than this in a minute ...
const REPLACEMENTS_A_MINUTE_MAX: u32 = 60;

/// ... waits so long for the next.
const REPLACE_PENALTY: Duration = Duration::from_secs(30);

/// How often a stream was replaced lately.
#[derive(Debug, Default)]
pub(super) struct Flapping {
    since: Option<Instant>,
    count: u32,
}

impl Flapping {
    /// When the next replacement is admitted.
    fn admit(&mut self, now: Instant) -> Instant {
        match self.since {
            Some(since) if now < since + Duration::from_secs(60) => self.count += 1,
            _ => (self.since, self.count) = (Some(now), 1),
        }
        if self.count > REPLACEMENTS_A_MINUTE_MAX {
            (self.since, self.count) = (None, 0);
            now + REPLACE_PENALTY
        } else {
            now + REPLACE_INTERVAL
        }
    }
}

/// Attaches a connection whose handshake was accepted, and writes until it ends. `head` is the
/// response head; the old connection is closed before its first byte leaves.
pub(super) async fn attach(
    peer: &Rc<Peer>,
    kind: StreamKind,
    mut conn: Conn,
    end: FarEnd,
    head: Vec<u8>,
    framing: BodyFraming,
) {
    let _at_last = ShutAtLast(conn.shut());
    if !peer.wait_to_replace(kind).await || peer.shared.faults.is_apart(Side::Sending) {
        return;
    }
    let generation = peer.begin_attach(kind, &conn);
    let echoes = end.echoes;
    end.watch(peer, kind, generation, &conn);
    // Boxed: the stream that follows should not keep room for it.
    if let Err(error) = Box::pin(conn.write_all(head)).await {
        return peer.writer_failed(kind, generation, Action::Write, &error.to_string());
    }
    match conn.duplicate() {
        Ok(socket) => {
            if peer.finish_attach(kind, generation, framing, socket) {
                peer.await_echoes(lane_of(kind), echoes);
                run(peer, kind, generation, &mut conn).await;
            }
        }
        Err(error) => peer.writer_failed(kind, generation, Action::Write, &error.to_string()),
    }
    peer.finish(kind, generation);
}

/// Ends a connection before it is dropped, also by a panic: its watch and the link hold descriptors of
/// their own, so that closing this one alone would neither end the watch nor the connection.
struct ShutAtLast(Rc<Shut>);

impl Drop for ShutAtLast {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

async fn run(peer: &Rc<Peer>, kind: StreamKind, generation: u64, conn: &mut Conn) {
    while let Some(chain) = poll_fn(|cx| peer.poll_chain(kind, generation, cx)).await {
        let written = match chain {
            Ok(chain) => write(peer, kind, generation, conn, chain).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            return peer.writer_failed(kind, generation, Action::Write, &error.to_string());
        }
    }
}

async fn write(
    peer: &Rc<Peer>,
    kind: StreamKind,
    generation: u64,
    conn: &mut Conn,
    mut chain: Chain,
) -> io::Result<()> {
    loop {
        let (result, rest) = conn.write(chain).await;
        chain = rest;
        chain.advance(result?);
        // A connection that was replaced meanwhile has no machine any more that knows of this chain.
        let Some(mut desk) = poll_fn(|cx| peer.poll_desk(kind, generation, cx)).await else { return Ok(()) };
        if chain.is_empty() {
            desk.handle_written();
            return Ok(());
        }
        desk.machine.handle_progress(Instant::now());
    }
}

impl Peer {
    /// False if the peer was stopped meanwhile, or a newer connection wants the same place: of those
    /// that wait only the newest is kept, or a member that dials in haste would fill the process.
    async fn wait_to_replace(&self, kind: StreamKind) -> bool {
        let writer = &self.writers[lane_of(kind)];
        let number = writer.borrow().asked + 1;
        writer.borrow_mut().asked = number;
        self.waits.look_again();
        let over = || self.is_stopping() || writer.borrow().asked != number;
        loop {
            let admitted = writer.borrow().replace_at;
            if over() {
                return false;
            }
            if admitted <= Instant::now() {
                return true;
            }
            self.waits.unless(over, self.endpoint.core.sleep_until(admitted)).await;
        }
    }

    /// Detaches the old connection and makes this one the newest.
    fn begin_attach(&self, kind: StreamKind, conn: &Conn) -> u64 {
        let lane = lane_of(kind);
        self.detach(kind, "replaced by a newer connection");
        let now = Instant::now();
        let mut slot = self.writers[lane].borrow_mut();
        slot.replace_at = slot.flapping.admit(now);
        slot.generation += 1;
        slot.echoes = None;
        slot.shut = Some(conn.shut());
        slot.generation
    }

    /// The response head is out: messages may follow. False if a newer connection came meanwhile.
    fn finish_attach(
        &self,
        kind: StreamKind,
        generation: u64,
        framing: BodyFraming,
        socket: std::net::TcpStream,
    ) -> bool {
        let lane = lane_of(kind);
        if self.writers[lane].borrow().generation != generation || self.is_stopping() {
            return false;
        }
        let link = &self.shared.links[lane];
        link.clear_desk().attach(framing, socket);
        link.set_up(true);
        self.activate();
        self.endpoint.emit(&Event::StreamUp { peer: self.shared.id, kind, direction: Direction::Writer });
        true
    }

    /// The next chain to write (or why the last direct send failed), `None` when the connection is
    /// over.
    fn poll_chain(
        &self,
        kind: StreamKind,
        generation: u64,
        cx: &Context<'_>,
    ) -> Poll<Option<io::Result<Chain>>> {
        let Some(mut desk) = ready!(self.poll_desk(kind, generation, cx)) else { return Poll::Ready(None) };
        let lane = lane_of(kind);
        if let Some(chain) = desk.poll_transmit(&self.shared.links[lane].lane, self.endpoint.core.now()) {
            return Poll::Ready(Some(chain));
        }
        let mut slot = self.writers[lane].borrow_mut();
        if desk.machine.is_finished() || slot.shut.is_none() {
            return Poll::Ready(None);
        }
        slot.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The desk of this connection, once a sender has left it; `None` when the connection is over.
    fn poll_desk(
        &self,
        kind: StreamKind,
        generation: u64,
        cx: &Context<'_>,
    ) -> Poll<Option<Claimed<'_, Desk>>> {
        let lane = lane_of(kind);
        let mut slot = self.writers[lane].borrow_mut();
        if slot.generation != generation || slot.shut.is_none() {
            return Poll::Ready(None);
        }
        if let Some(desk) = self.shared.links[lane].desk() {
            return Poll::Ready(Some(desk));
        }
        slot.waker = Some(cx.waker().clone());
        slot.wants_desk = true;
        Poll::Pending
    }

    /// The connection of this generation is broken.
    pub(super) fn writer_failed(&self, kind: StreamKind, generation: u64, action: Action, reason: &str) {
        if self.writers[lane_of(kind)].borrow().generation != generation {
            return;
        }
        if self.detach(kind, reason) && !self.is_stopping() {
            self.shared.metrics.sent_failures.add(1);
            self.deactivate(Source::Stream(kind), action, reason);
        }
    }

    /// The connection there is, if any, is broken.
    pub(super) fn break_writer(&self, kind: StreamKind, action: Action, reason: &str) {
        let generation = self.writers[lane_of(kind)].borrow().generation;
        self.writer_failed(kind, generation, action, reason);
    }

    /// Lets go of the current connection, if there is one, and tells what is lost with it.
    fn detach(&self, kind: StreamKind, reason: &str) -> bool {
        let lane = lane_of(kind);
        let link = &self.shared.links[lane];
        link.set_up(false);
        let Some(shut) = self.writers[lane].borrow_mut().shut.take() else { return false };
        let mut desk = link.clear_desk();
        let mut lost = desk.detach();
        lost += desk.drain(&link.lane);
        drop(desk);
        shut.shutdown();
        self.wake_writer(lane);
        self.endpoint.emit(&Event::WriterDown { peer: self.shared.id, kind, reason: reason.to_owned() });
        self.report_lost(lost, DropReason::StreamLost);
        true
    }

    /// The writer's task is done with its connection: nothing of it is kept.
    fn finish(&self, kind: StreamKind, generation: u64) {
        let lane = lane_of(kind);
        let mut slot = self.writers[lane].borrow_mut();
        if slot.generation == generation && slot.shut.take().is_some() {
            self.shared.links[lane].clear_desk().detach();
        }
    }

    /// Heartbeats and stalls.
    pub(super) fn tick_writer(&self, kind: StreamKind, now: Instant) {
        let lane = lane_of(kind);
        let link = &self.shared.links[lane];
        // A sender who has the desk moves the link: the next tick is early enough.
        let Some(mut desk) = link.desk() else { return };
        let result = desk.machine.handle_timeout(now);
        let heartbeats = desk.machine.counters().heartbeats;
        desk.tick(&link.lane);
        drop(desk);
        self.note_heartbeats(lane, heartbeats);
        self.look_after(lane);
        if result.is_err() {
            self.break_writer(kind, Action::Heartbeat, "a write made no progress in time");
        }
    }
}
