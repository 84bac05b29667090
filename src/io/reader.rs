//! The reader loop: dial, read until it breaks, wait for the pace, dial again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::conn::{Conn, Shut};
use super::dial::{self, Established};
use super::peer::Peer;
use super::shared::lane_of;
use crate::event::{DialError, Direction, Event, RejectReason};
use crate::proto::codec::{StreamKind, screen};
use crate::proto::pace::Pace;
use crate::proto::status::{Action, Source};
use crate::proto::stream::{ReadError, Step, StreamReader, StreamReaderConfig};
use crate::raft::{Origin, Via};
use crate::raftpb::{Message, MessageType};

/// Messages of a stream that the host left in `process` and that wait to be offered again: as many
/// as rafthttp's receive queue holds.
const BACKLOG_MESSAGES_MAX: usize = 4096;

/// Their payloads: as much as a lane queues. The first message always waits, whatever its size.
const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// How many of the messages may wait.
fn backlog_len(messages: &[Message]) -> usize {
    let mut bytes = 0_usize;
    let fits = |message: &&Message| {
        bytes = bytes.saturating_add(message.payload_bytes());
        bytes <= BACKLOG_BYTES_MAX
    };
    let fitting = messages.iter().take(BACKLOG_MESSAGES_MAX).take_while(fits).count();
    fitting.max(messages.len().min(1))
}

/// A stream reader with the connection it has.
#[derive(Default)]
pub(super) struct ReaderSlot {
    machine: RefCell<Option<StreamReader>>,
    shut: RefCell<Option<Rc<Shut>>>,
    /// Why a deadline shut the connection down, for its task to tell.
    expired: Cell<Option<ReadError>>,
    /// What the host has not taken: everything else, and proposals.
    backlog: RefCell<[Vec<Message>; 2]>,
}

impl ReaderSlot {
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
        match dial::stream(peer, kind, &url).await {
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
    let Established { mut conn, body, rest } = established;
    let slot = &peer.readers[lane_of(kind)];
    let config = &peer.endpoint.shared.config;
    let reader = StreamReaderConfig {
        kind,
        local: config.id,
        remote: peer.shared.id,
        limits: config.frames,
        read_timeout: config.read_timeout,
    };
    let machine = StreamReader::new(&reader, body, &rest, peer.endpoint.core.pool.clone(), Instant::now());
    *slot.machine.borrow_mut() = Some(machine);
    slot.set_shut(Some(conn.shut()));
    slot.expired.set(None);
    let error = read_until_broken(peer, kind, slot, &mut conn).await;
    *slot.machine.borrow_mut() = None;
    conn.shut().shutdown();
    slot.expired.take().unwrap_or(error)
}

async fn read_until_broken(
    peer: &Rc<Peer>,
    kind: StreamKind,
    slot: &ReaderSlot,
    conn: &mut Conn,
) -> ReadError {
    let mut batch = Vec::new();
    let mut now = Instant::now();
    loop {
        // The first time round: what came behind the response head.
        let step = slot.with(|machine| machine.decode_step(now, &mut batch));
        peer.deliver(kind, &mut batch);
        match step {
            Ok(Step::More) => continue,
            Ok(Step::Done) if !peer.is_stopping() => {}
            Ok(Step::Done) => return ReadError::Eof,
            Err(error) => return error,
        }
        let (block, range) = slot.with(StreamReader::lend);
        let (read, block) = conn.read_spinning(block, range).await;
        now = peer.endpoint.core.now();
        let count = match read {
            Ok(count) => count,
            Err(error) => return ReadError::Connection(error.kind()),
        };
        if let Err(error) = slot.with(|machine| machine.begin_read(now, block, count)) {
            return error;
        }
    }
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
    let waiting = slot.backlog.borrow().iter().any(|backlog| !backlog.is_empty());
    if waiting {
        peer.deliver(kind, &mut Vec::new());
    }
}

impl Peer {
    /// Hands a batch to the host, in order, proposals apart. `batch` is empty afterwards.
    fn deliver(&self, kind: StreamKind, batch: &mut Vec<Message>) {
        if self.is_paused() {
            return self.reject(batch, RejectReason::Paused);
        }
        self.screen(batch);
        let slot = &self.readers[lane_of(kind)];
        let mut backlog = slot.backlog.take();
        if kind == StreamKind::Message && batch.iter().any(is_proposal) {
            let (proposals, rest) = batch.drain(..).partition(is_proposal);
            *batch = rest;
            self.offer(kind, true, &mut backlog[1], proposals);
        } else if !backlog[1].is_empty() {
            self.offer(kind, true, &mut backlog[1], Vec::new());
        }
        // The common case: nothing is left from last time, and the host takes everything.
        if backlog[0].is_empty() {
            if !batch.is_empty() {
                self.process(kind, false, batch);
            }
            std::mem::swap(&mut backlog[0], batch);
        } else {
            self.offer(kind, false, &mut backlog[0], std::mem::take(batch));
        }
        if backlog.iter().any(|backlog| !backlog.is_empty()) {
            self.bound_backlog(&mut backlog);
        } else {
            // The memory stays with whoever reads next.
            std::mem::swap(&mut backlog[0], batch);
        }
        slot.backlog.replace(backlog);
    }

    fn offer(&self, kind: StreamKind, proposals: bool, backlog: &mut Vec<Message>, mut more: Vec<Message>) {
        backlog.append(&mut more);
        if !backlog.is_empty() {
            self.process(kind, proposals, backlog);
        }
    }

    fn process(&self, kind: StreamKind, proposals: bool, messages: &mut Vec<Message>) {
        let via = match kind {
            StreamKind::Msgapp => Via::Msgapp,
            StreamKind::Message => Via::Message,
        };
        let origin = Origin { peer: self.shared.id, via, proposals };
        self.endpoint.core.note_processed(messages.len());
        self.endpoint.shared.raft.process(origin, messages);
    }

    fn bound_backlog(&self, backlog: &mut [Vec<Message>; 2]) {
        for messages in backlog {
            let keep = backlog_len(messages);
            if keep < messages.len() {
                let mut over = messages.split_off(keep);
                self.reject(&mut over, RejectReason::HostFull);
            }
        }
    }

    /// Drops what this stream cannot carry.
    fn screen(&self, batch: &mut Vec<Message>) {
        let local = self.endpoint.shared.config.id;
        let remote = self.shared.id;
        batch.retain(|message| match screen(message, local, remote) {
            Ok(()) => true,
            Err(implausible) => {
                let reason = RejectReason::Implausible(implausible);
                self.endpoint.emit(&Event::Rejected { peer: remote, messages: 1, reason });
                false
            }
        });
    }

    fn reject(&self, batch: &mut Vec<Message>, reason: RejectReason) {
        if !batch.is_empty() {
            self.endpoint.emit(&Event::Rejected { peer: self.shared.id, messages: batch.len(), reason });
            batch.clear();
        }
    }
}

fn is_proposal(message: &Message) -> bool {
    message.r#type() == MessageType::MsgProp
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raftpb::Entry;

    fn message(bytes: usize) -> Message {
        let entry = Entry { data: Some(vec![0; bytes].into()), ..Entry::default() };
        Message { entries: vec![entry], ..Message::default() }
    }

    #[test]
    fn what_waits_for_the_host_is_bounded_in_messages_and_in_bytes() {
        assert_eq!(backlog_len(&[]), 0);
        assert_eq!(backlog_len(&vec![message(1); BACKLOG_MESSAGES_MAX + 1]), BACKLOG_MESSAGES_MAX);
        assert_eq!(backlog_len(&vec![message(20 << 20); 5]), 3);
        assert_eq!(backlog_len(&[message(BACKLOG_BYTES_MAX + 1), message(1)]), 1);
    }
}
