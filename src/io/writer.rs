//! The writer loop: one write in flight, the next chain fills meanwhile.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use monoio::net::TcpStream;

use super::conn::Conn;
use super::peer::Peer;
use super::shared::lane_of;
use crate::buf::Chain;
use crate::event::{Direction, DropReason, Event};
use crate::proto::codec::StreamKind;
use crate::proto::status::{Action, Source};
use crate::proto::stream::BodyFraming;

/// A stream may be replaced once in this time; a faster dialler waits, for Go's second dial
/// follows its first at once and must not be refused.
const REPLACE_INTERVAL: Duration = Duration::from_millis(100);

/// A peer that replaces its streams more often than this in a minute ...
const REPLACEMENTS_A_MINUTE_MAX: u32 = 60;

/// ... waits so long for the next.
const REPLACE_PENALTY: Duration = Duration::from_secs(30);

/// Within one turn a link that has sent is not idle: what follows gathers to a write of this size
/// before it leaves, so that a host that sends in many small batches does not pay a system call
/// for each, and the receiver still begins while the rest is being encoded.
const DIRECT_SEND_BYTES: usize = 32 << 10;

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
    watch: TcpStream,
    head: Vec<u8>,
    framing: BodyFraming,
) {
    if !peer.wait_to_replace(kind).await {
        return conn.shut().shutdown();
    }
    let generation = peer.begin_attach(kind, &conn);
    let shut = conn.shut();
    watch_for_end(peer, kind, generation, watch, &conn);
    if let Err(error) = conn.write_all(head).await {
        peer.writer_failed(kind, generation, Action::Write, &error.to_string());
        return shut.shutdown();
    }
    if peer.finish_attach(kind, generation, framing) {
        run(peer, kind, generation, &mut conn).await;
    }
    // Before the connection is dropped: its watch holds a second descriptor, so that closing this one
    // alone would neither end the watch nor the connection.
    shut.shutdown();
}

/// A client sends nothing after its request, so readable means gone: found at once and not at the
/// next write that fails.
fn watch_for_end(peer: &Rc<Peer>, kind: StreamKind, generation: u64, watch: TcpStream, conn: &Conn) {
    let shut = conn.shut();
    let of_task = Rc::clone(peer);
    peer.endpoint.spawn_for(peer, "stream watch", async move {
        let _ = of_task.endpoint.core.operation(watch.readable(true)).await;
        of_task.writer_failed(kind, generation, Action::Write, "the peer closed the connection");
        shut.shutdown();
    });
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
        let mut slot = peer.writers[lane_of(kind)].borrow_mut();
        if slot.generation != generation {
            return Ok(()); // the new connection's machine knows nothing of this chain
        }
        if chain.is_empty() {
            slot.machine.handle_written();
            return Ok(());
        }
        slot.machine.handle_progress(Instant::now());
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
        slot.shut = Some(conn.shut());
        slot.generation
    }

    /// The response head is out: messages may follow. False if a newer connection came meanwhile.
    fn finish_attach(&self, kind: StreamKind, generation: u64, framing: BodyFraming) -> bool {
        let lane = lane_of(kind);
        {
            let mut slot = self.writers[lane].borrow_mut();
            if slot.generation != generation || self.is_stopping() {
                return false;
            }
            slot.machine.attach(framing);
        }
        self.shared.set_up(lane, true);
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
        let lane = lane_of(kind);
        if self.writers[lane].borrow().generation != generation {
            return Poll::Ready(None);
        }
        self.fill(lane);
        let mut slot = self.writers[lane].borrow_mut();
        if let Some(unsent) = slot.unsent.take() {
            return Poll::Ready(Some(unsent));
        }
        if slot.machine.is_finished() || slot.shut.is_none() {
            return Poll::Ready(None);
        }
        if let Some(chain) = slot.machine.poll_transmit(self.endpoint.core.now()) {
            return Poll::Ready(Some(Ok(chain)));
        }
        slot.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Sends what is encoded: at once and past the ring when the link has been idle in this turn
    /// or a good write has gathered, else when the writer's task gets to run, together with what
    /// comes until then.
    pub(super) fn transmit(&self, lane: usize) {
        if !self.send_now(lane) {
            self.wake_writer(lane);
        }
    }

    /// False if there is something to do for the writer's task.
    fn send_now(&self, lane: usize) -> bool {
        let turn = self.endpoint.core.turn_number();
        let mut slot = self.writers[lane].borrow_mut();
        let slot = &mut *slot;
        if slot.sent_in_turn == turn && slot.machine.unflushed_bytes() < DIRECT_SEND_BYTES {
            return slot.machine.unflushed_bytes() == 0;
        }
        let Some(shut) = &slot.shut else { return true };
        let Some(mut chain) = slot.machine.poll_transmit(self.endpoint.core.now()) else { return true };
        slot.sent_in_turn = turn;
        match shut.send_now(&chain) {
            Ok(count) if count == chain.len() => {
                slot.machine.handle_written();
                // What had no room to be encoded goes on from there: nobody else looks after it.
                return slot.queue.is_empty() && self.shared.lanes[lane].depth().0 == 0;
            }
            Ok(count) => chain.advance(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                slot.unsent = Some(Err(error));
                return false;
            }
        }
        slot.unsent = Some(Ok(chain));
        false
    }

    /// The connection of this generation is broken.
    pub(super) fn writer_failed(&self, kind: StreamKind, generation: u64, action: Action, reason: &str) {
        if self.writers[lane_of(kind)].borrow().generation != generation {
            return;
        }
        if self.detach(kind, reason) && !self.is_stopping() {
            self.deactivate(Source::Stream(kind), action, reason);
        }
    }

    /// Lets go of the current connection, if there is one, and tells what is lost with it.
    fn detach(&self, kind: StreamKind, reason: &str) -> bool {
        let lane = lane_of(kind);
        self.shared.set_up(lane, false);
        let (shut, encoded, waker) = {
            let mut slot = self.writers[lane].borrow_mut();
            slot.unsent = None;
            (slot.shut.take(), slot.machine.detach(), slot.waker.take())
        };
        let Some(shut) = shut else { return false };
        shut.shutdown();
        if let Some(waker) = waker {
            waker.wake();
        }
        let lost = encoded + self.drain_lane(lane);
        self.endpoint.emit(&Event::WriterDown { peer: self.shared.id, kind, reason: reason.to_owned() });
        self.report_lost(lost, DropReason::StreamLost);
        true
    }

    /// Heartbeats and stalls.
    pub(super) fn tick_writer(&self, kind: StreamKind, now: Instant) {
        let lane = lane_of(kind);
        let (result, generation, waker) = {
            let mut slot = self.writers[lane].borrow_mut();
            (slot.machine.handle_timeout(now), slot.generation, slot.waker.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        if result.is_err() {
            self.writer_failed(kind, generation, Action::Heartbeat, "a write made no progress in time");
        }
    }
}
