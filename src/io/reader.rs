//! The reader loop: dial, read until it breaks, wait for the pace, dial again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::conn::{Conn, Shut};
use super::deliver::Backlog;
use super::dial::{self, Established};
use super::echo;
use super::peer::Peer;
use super::receipt::Timing;
use super::shared::lane_of;
use crate::event::{DialError, Direction, Event};
use crate::proto::codec::StreamKind;
use crate::proto::pace::Pace;
use crate::proto::status::{Action, Source};
use crate::proto::stream::{Backpressure, Decision, Echo, ReadError, Step, StreamReader, StreamReaderConfig};

/// A stream reader with the connection it has.
pub(super) struct ReaderSlot {
    machine: RefCell<Option<StreamReader>>,
    shut: RefCell<Option<Rc<Shut>>>,
    /// Why a deadline shut the connection down, for its task to tell.
    expired: Cell<Option<ReadError>>,
    pub(super) backlog: RefCell<Backlog>,
    /// When the first of it was offered for the first time.
    pub(super) left_since: Cell<Instant>,
    pub(super) timing: Timing,
    /// Whether to read on while something is in there.
    pub(super) pressure: RefCell<Backpressure>,
}

impl ReaderSlot {
    pub(super) fn new(kind: StreamKind, write_timeout: Duration) -> Self {
        Self {
            machine: RefCell::default(),
            shut: RefCell::default(),
            expired: Cell::default(),
            backlog: RefCell::default(),
            left_since: Cell::new(Instant::now()),
            timing: Timing::default(),
            pressure: RefCell::new(Backpressure::new(kind, write_timeout)),
        }
    }

    /// True while the host takes everything.
    pub(super) fn is_flowing(&self) -> bool {
        self.pressure.borrow().is_flowing()
    }

    pub(super) fn decide(&self, now: Instant) -> Decision {
        self.pressure.borrow_mut().decide(now)
    }

    pub(super) fn shutdown(&self) {
        if let Some(shut) = &*self.shut.borrow() {
            shut.shutdown();
        }
    }

    /// Lets the peer's stop end what is under way.
    pub(super) fn set_shut(&self, shut: Option<Rc<Shut>>) {
        *self.shut.borrow_mut() = shut;
    }
}

/// Starts to dial one stream of a peer.
pub(super) fn start(peer: &Rc<Peer>, kind: StreamKind) {
    let of_task = Rc::clone(peer);
    peer.endpoint.spawn_for(peer, "stream reader", async move { run(&of_task, kind).await });
}

async fn run(peer: &Rc<Peer>, kind: StreamKind) {
    let interval = Duration::from_secs_f64(peer.endpoint.shared.config.dial_frequency.recip());
    let mut pace = Pace::new(interval);
    while !peer.is_stopping() {
        let url = peer.url();
        // Boxed: a stream that is up should not keep room for its dial.
        match Box::pin(dial::stream(peer, kind, &url)).await {
            Ok(established) => {
                peer.activate();
                let up = Event::StreamUp { peer: peer.shared.id, kind, direction: Direction::Reader };
                peer.endpoint.emit(&up);
                // A host that panics in `process` costs this connection; the next one is dialled.
                match peer.endpoint.core.guarded(read(peer, kind, established)).await {
                    Some(error) => ended(peer, kind, error),
                    None => panicked(peer, kind),
                }
            }
            Err(error) => {
                peer.url_unreachable(&url);
                if let DialError::Refused(refusal) = &error
                    && let Some(pause) = refusal.back_off()
                {
                    pace.hold(Instant::now(), pause);
                }
                dial_failed(peer, kind, error);
            }
        }
        peer.readers[lane_of(kind)].set_shut(None);
        let at = pace.next_dial(Instant::now());
        peer.sleep_until(at).await;
    }
    peer.drain_stream_faults(kind);
    peer.reject_left(kind);
}

fn dial_failed(peer: &Rc<Peer>, kind: StreamKind, error: DialError) {
    if peer.is_stopping() {
        return;
    }
    let deactivates = match &error {
        DialError::Refused(refusal) => refusal.deactivates(),
        _ => true,
    };
    if deactivates {
        peer.deactivate(Source::Stream(kind), Action::Dial, &error.to_string());
    }
    if matches!(&error, DialError::Refused(refusal) if refusal.reports_removed()) {
        peer.endpoint.emit(&Event::MemberRemoved { by: peer.shared.id });
    }
    peer.endpoint.emit(&Event::DialFailed { peer: peer.shared.id, kind, error });
}

fn ended(peer: &Rc<Peer>, kind: StreamKind, error: ReadError) {
    if peer.is_stopping() {
        return;
    }
    // A clean end does not deactivate: the redial that fails will.
    if error != ReadError::Eof {
        peer.deactivate(Source::Stream(kind), Action::Read, &error.to_string());
    }
    peer.endpoint.emit(&Event::ReaderDown { peer: peer.shared.id, kind, reason: error });
}

fn panicked(peer: &Rc<Peer>, kind: StreamKind) {
    *peer.readers[lane_of(kind)].machine.borrow_mut() = None;
    peer.endpoint.emit(&Event::Panicked { task: "stream reader" });
}

async fn read(peer: &Rc<Peer>, kind: StreamKind, established: Established) -> ReadError {
    let Established { mut conn, body, rest, mut echo } = established;
    let slot = &peer.readers[lane_of(kind)];
    let config = &peer.endpoint.shared.config;
    let reader = StreamReaderConfig {
        kind,
        local: config.id,
        remote: peer.shared.id,
        limits: config.frames,
        dialect: config.dialect,
        read_timeout: config.read_timeout,
    };
    let machine = StreamReader::new(&reader, body, &rest, peer.endpoint.core.pool.clone(), Instant::now());
    *slot.machine.borrow_mut() = Some(machine);
    slot.set_shut(Some(conn.shut()));
    slot.expired.set(None);
    let error = read_until_broken(peer, kind, slot, &mut conn, echo.as_mut()).await;
    *slot.machine.borrow_mut() = None;
    conn.shut().shutdown();
    slot.expired.take().unwrap_or(error)
}

async fn read_until_broken(
    peer: &Rc<Peer>,
    kind: StreamKind,
    slot: &ReaderSlot,
    conn: &mut Conn,
    mut echo: Option<&mut Echo>,
) -> ReadError {
    let mut batch = Vec::new();
    let mut now = Instant::now();
    let mut read_at = now;
    loop {
        // Between steps and not only between reads: a block may hold more messages than may wait.
        if !slot.is_flowing() {
            wait_for_host(peer, kind, slot).await;
            now = peer.endpoint.core.now();
        }
        // The first time round: what came behind the response head.
        let (step, mut received, heartbeats) = slot.with(|machine| {
            (machine.decode_step(now, &mut batch), machine.take_received(), machine.link_heartbeats())
        });
        if let Some(echo) = &mut echo {
            echo::send(conn, echo, heartbeats);
        }
        if step.is_err() {
            received = peer.received_before_error(&batch);
        }
        peer.receive(kind, &mut batch, received, read_at);
        match step {
            Ok(Step::More) => continue,
            Ok(Step::Done) if !peer.is_stopping() => {}
            Ok(Step::Done) => return ReadError::Eof,
            Err(error) => return error,
        }
        let (block, range) = slot.with(StreamReader::lend);
        let room = range.len();
        let (read, block) = conn.read_spinning(block, range).await;
        now = peer.endpoint.core.now();
        read_at = now;
        let count = match read {
            Ok(count) => count,
            Err(error) => return ReadError::Connection(error.kind()),
        };
        if let Err(error) = slot.with(|machine| machine.begin_read(now, block, count)) {
            return error;
        }
        slot.pressure.borrow_mut().handle_read(now, count, count < room);
    }
}

/// Does not read but offers again what the host has left, as long as [`Backpressure`] says so. No
/// operation is in flight meanwhile, so the wait may end early when there is no host to wait for.
async fn wait_for_host(peer: &Rc<Peer>, kind: StreamKind, slot: &ReaderSlot) {
    let core = &peer.endpoint.core;
    let until = || match slot.decide(core.now()) {
        Decision::WaitUntil(at) if !peer.is_stopping() && !peer.is_paused() => Some(at),
        _ => None,
    };
    if until().is_none() {
        return;
    }
    core.note_host_full_wait();
    slot.with(|machine| machine.hold(core.now()));
    while let Some(at) = until() {
        peer.sleep_until(at).await;
        peer.offer_again(kind);
    }
    slot.with(|machine| machine.resume(core.now()));
}

impl ReaderSlot {
    fn with<T>(&self, f: impl FnOnce(&mut StreamReader) -> T) -> T {
        f(self.machine.borrow_mut().as_mut().expect("set while its connection is read"))
    }
}

/// Deadlines of the connection, and another offer of what the host has not taken.
pub(super) fn tick(peer: &Rc<Peer>, kind: StreamKind, now: Instant) {
    let slot = &peer.readers[lane_of(kind)];
    let expired = slot.machine.borrow_mut().as_mut().and_then(|machine| machine.handle_timeout(now).err());
    if let Some(error) = expired {
        slot.expired.set(Some(error));
        slot.shutdown();
    }
    peer.offer_again(kind);
}
