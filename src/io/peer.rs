//! One peer on its core: two writers that are served, two readers that dial.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Instant;

use super::conn::Shut;
use super::core::{Core, Resident};
use super::endpoint::Endpoint;
use super::guard::{Ending, TaskCount};
use super::reader::{self, ReaderSlot};
use super::shared::{PeerShared, lane_of};
use super::waits::Waits;
use super::writer::Flapping;
use crate::buf::Chain;
use crate::event::{DropReason, Event};
use crate::proto::codec::StreamKind;
use crate::proto::peer_url::{PeerUrl, PeerUrls};
use crate::proto::picker::Picker;
use crate::proto::status::{Action, Edge, Source, Status, failure_text};
use crate::proto::stream::{StreamWriter, StreamWriterConfig};
use crate::raftpb::Message;

/// One peer.
pub(crate) struct Peer {
    pub(super) endpoint: Rc<Endpoint>,
    pub(super) shared: Arc<PeerShared>,
    slot: usize,
    picker: RefCell<Picker>,
    status: RefCell<Status>,
    pub(super) writers: [RefCell<WriterSlot>; 2],
    pub(super) readers: [ReaderSlot; 2],
    stopping: Cell<bool>,
    /// Ended early when the peer is stopped.
    pub(super) waits: Waits,
    pub(super) tasks: Rc<TaskCount>,
}

/// A stream writer with what is queued for it and the connection it has.
pub(super) struct WriterSlot {
    pub(super) machine: StreamWriter,
    /// Taken from the lane and not yet encoded; still counted there.
    pub(super) queue: VecDeque<Message>,
    pub(super) waker: Option<Waker>,
    pub(super) shut: Option<Rc<Shut>>,
    /// Tells one connection from the next: a task that finds another number has been replaced.
    pub(super) generation: u64,
    /// Counts the connections that asked to be attached: the newest wins, also among those that wait.
    pub(super) asked: u64,
    /// When a replacement is next admitted without delay.
    pub(super) replace_at: Instant,
    pub(super) flapping: Flapping,
    /// What a direct send left over, or why it failed; for the writer's task.
    pub(super) unsent: Option<io::Result<Chain>>,
    /// The turn in which something was sent directly.
    pub(super) sent_in_turn: u64,
}

impl Peer {
    /// Takes up residence on the core and starts to dial.
    pub(super) fn start(endpoint: &Rc<Endpoint>, shared: Arc<PeerShared>, urls: PeerUrls) -> Rc<Self> {
        let slot = endpoint.core.free_slot();
        let peer = Rc::new(Self::new(Rc::clone(endpoint), shared, slot, urls));
        endpoint.core.move_in(slot, Rc::clone(&peer) as Rc<dyn Resident>);
        peer.shared.slot.store(slot, Ordering::Release);
        for kind in StreamKind::ALL {
            reader::start(&peer, kind);
        }
        peer
    }

    fn new(endpoint: Rc<Endpoint>, shared: Arc<PeerShared>, slot: usize, urls: PeerUrls) -> Self {
        let now = Instant::now();
        let writer = |kind| {
            let config = StreamWriterConfig {
                kind,
                dialect: endpoint.shared.config.dialect,
                local: endpoint.shared.config.id,
                remote: shared.id,
                heartbeat_interval: endpoint.shared.config.heartbeat_interval,
                stall_timeout: endpoint.shared.config.write_timeout,
            };
            RefCell::new(WriterSlot {
                machine: StreamWriter::new(config, endpoint.core.pool.clone(), now),
                queue: VecDeque::new(),
                waker: None,
                shut: None,
                generation: 0,
                asked: 0,
                replace_at: now,
                flapping: Flapping::default(),
                unsent: None,
                sent_in_turn: 0,
            })
        };
        Self {
            writers: [writer(StreamKind::Msgapp), writer(StreamKind::Message)],
            readers: Default::default(),
            picker: RefCell::new(Picker::new(urls)),
            status: RefCell::new(Status::default()),
            endpoint,
            shared,
            slot,
            stopping: Cell::new(false),
            waits: Waits::default(),
            tasks: Rc::default(),
        }
    }

    /// The peer in this slot of the core, if it is still this one.
    pub(crate) fn on(core: &Rc<Core>, slot: usize, shared: &Arc<PeerShared>) -> Option<Rc<Self>> {
        let peer = core.resident(slot)?.as_any().downcast::<Self>().ok()?;
        Arc::ptr_eq(&peer.shared, shared).then_some(peer)
    }

    pub(super) fn url(&self) -> PeerUrl {
        self.picker.borrow().pick().clone()
    }

    pub(super) fn url_unreachable(&self, url: &PeerUrl) {
        self.picker.borrow_mut().unreachable(url);
    }

    pub(super) fn update_urls(&self, urls: PeerUrls) {
        self.picker.borrow_mut().update(urls);
    }

    pub(super) fn lives_at(&self, address: IpAddr) -> bool {
        self.picker.borrow().urls().as_slice().iter().any(|url| url.host().parse() == Ok(address))
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.shared.paused.load(Ordering::Relaxed)
    }

    // ---- sending -------------------------------------------------------------------------------

    /// Sends from the core itself: true if nothing waits in front of the message and it is
    /// encoded, else it has to go through the lane.
    #[inline]
    pub(crate) fn encode_local(&self, lane: usize, message: &Message) -> bool {
        let mut slot = self.writers[lane].borrow_mut();
        let first =
            slot.queue.is_empty() && self.shared.lanes[lane].depth().0 == 0 && slot.machine.has_room();
        if first {
            slot.machine.push(message);
        }
        first
    }

    /// The end of a run of messages: what was encoded, and what waits in the lane, may leave.
    pub(crate) fn flush(&self, lane: usize) {
        self.fill(lane);
        self.transmit(lane);
    }

    /// Encodes what is queued, as far as there is room.
    pub(super) fn fill(&self, lane: usize) {
        let source = &self.shared.lanes[lane];
        let mut slot = self.writers[lane].borrow_mut();
        let slot = &mut *slot;
        while slot.machine.has_room() {
            if slot.queue.is_empty() {
                if source.depth().0 == 0 {
                    return slot.machine.lane_drained();
                }
                source.take(&mut slot.queue);
                if slot.queue.is_empty() {
                    return slot.machine.lane_drained();
                }
            }
            let (mut messages, mut bytes) = (0, 0);
            while slot.machine.has_room()
                && let Some(message) = slot.queue.pop_front()
            {
                slot.machine.push(&message);
                messages += 1;
                bytes += message.payload_bytes();
            }
            source.release(messages, bytes);
        }
    }

    pub(super) fn wake_writer(&self, lane: usize) {
        let waker = self.writers[lane].borrow_mut().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Empties a lane whose writer has no connection; how many messages it held.
    pub(super) fn drain_lane(&self, lane: usize) -> usize {
        let taken = std::mem::take(&mut self.writers[lane].borrow_mut().queue);
        self.shared.lanes[lane].release(taken.len(), taken.iter().map(Message::payload_bytes).sum());
        taken.len() + self.shared.drain_lane(lane)
    }

    /// Messages were lost: told once for all of them, as rafthttp does.
    pub(super) fn report_lost(&self, messages: usize, reason: DropReason) {
        if messages > 0 {
            self.endpoint.emit(&Event::Dropped { peer: self.shared.id, messages, reason });
            if reason != DropReason::Paused && !self.stopping.get() {
                let raft = &self.endpoint.shared.raft;
                if self.endpoint.core.guard(|| raft.report_unreachable(self.shared.id)).is_none() {
                    self.endpoint.emit(&Event::Panicked { task: "report_unreachable" });
                }
            }
        }
    }

    /// Tells what senders dropped since the last time.
    pub(crate) fn report_dropped(&self) {
        for (messages, reason) in self.shared.take_dropped() {
            self.report_lost(messages, reason);
        }
    }

    // ---- status --------------------------------------------------------------------------------

    pub(super) fn activate(&self) {
        let now = Instant::now();
        let edge = self.status.borrow_mut().activate(now);
        if edge == Some(Edge::Activate) {
            self.shared.set_active_since(self.endpoint.shared.epoch, Some(now));
            self.endpoint.emit(&Event::PeerActive { peer: self.shared.id });
        }
    }

    pub(super) fn deactivate(&self, source: Source, action: Action, reason: &str) {
        let edge = self.status.borrow_mut().deactivate(source, action);
        if edge.is_some() {
            self.shared.set_active_since(self.endpoint.shared.epoch, None);
            let reason = failure_text(self.shared.id, source, action, &reason);
            self.endpoint.emit(&Event::PeerInactive { peer: self.shared.id, reason });
        }
    }

    // ---- stop ----------------------------------------------------------------------------------

    /// Ends every connection and task; `ending` completes when the last is gone.
    pub(super) fn stop(self: &Rc<Self>, ending: Ending) {
        if !self.stopping.replace(true) {
            self.shared.stopped.store(true, Ordering::Release);
            self.report_dropped();
            for kind in StreamKind::ALL {
                let lane = lane_of(kind);
                self.shared.set_up(lane, false);
                self.writers[lane].borrow_mut().machine.end();
                self.wake_writer(lane);
                let lost = self.drain_lane(lane);
                self.report_lost(lost, DropReason::Stopped);
                self.readers[lane].shutdown();
            }
            self.waits.look_again();
            // It stays until then: a last write that nobody reads is still found to stall.
            let (core, slot) = (Rc::clone(&self.endpoint.core), self.slot);
            self.tasks.at_last(move || core.move_out(slot));
            self.deactivate(Source::Stream(StreamKind::Message), Action::Read, "the peer was stopped");
        }
        self.tasks.close(ending);
    }

    /// A wait that ends early when the peer is stopped.
    pub(super) async fn sleep_until(&self, deadline: Instant) {
        self.waits.unless(|| self.is_stopping(), self.endpoint.core.sleep_until(deadline)).await;
    }
}

impl Resident for Peer {
    fn lane_dirty(self: Rc<Self>, lane: usize) {
        self.report_dropped();
        if self.writers[lane].borrow().machine.is_working() {
            self.flush(lane);
        } else {
            let lost = self.drain_lane(lane);
            self.report_lost(lost, DropReason::StreamLost);
        }
    }

    fn tick(self: Rc<Self>, now: Instant) {
        for kind in StreamKind::ALL {
            self.tick_writer(kind, now);
            reader::tick(&self, kind, now);
        }
    }

    fn panicked(self: Rc<Self>, task: &'static str) {
        self.endpoint.emit(&Event::Panicked { task });
    }

    fn as_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}
