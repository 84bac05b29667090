//! One peer on its core: two writers that are served, two readers that dial.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::conn::Shut;
use super::core::{Core, Resident};
use super::endpoint::Endpoint;
use super::guard::{Ending, TaskCount};
use super::insight::PeerStats;
use super::pipeline::{self, Pipeline, Poster};
use super::probe::{self, Probes};
use super::reader::{self, ReaderSlot};
use super::round_trips::RoundTrips;
use super::shared::{PIPELINE, PeerShared, lane_of};
use super::snapshot::Uploads;
use super::waits::Waits;
use super::writer::Flapping;
use crate::cores::Lane;
use crate::event::{DropReason, Event};
use crate::id::MemberId;
use crate::metrics::{Follower, PeerMetrics};
use crate::proto::codec::StreamKind;
use crate::proto::fault::Side;
use crate::proto::peer_url::{PeerUrl, PeerUrls};
use crate::proto::picker::Picker;
use crate::proto::status::{Action, Edge, Source, Status, failure_text};
use crate::proto::stream::Echoes;
use crate::raftpb::{ClassCounts, Message};

/// One peer.
pub(crate) struct Peer {
    pub(super) endpoint: Rc<Endpoint>,
    pub(super) shared: Arc<PeerShared>,
    slot: usize,
    picker: RefCell<Picker>,
    status: RefCell<Status>,
    pub(super) probes: Probes,
    /// Of both streams; `None` before the first.
    round_trips: RefCell<Option<Box<RoundTrips>>>,
    pub(super) writers: [RefCell<WriterSlot>; 2],
    pub(super) readers: [ReaderSlot; 2],
    pub(super) pipeline: Pipeline,
    pub(super) uploads: Uploads,
    stopping: Cell<bool>,
    /// Ended early when the peer is stopped.
    pub(super) waits: Waits,
    pub(super) tasks: Rc<TaskCount>,
    pub(super) faults: FaultTask,
}

/// The task that lets messages go that faults have held back.
#[derive(Debug, Default)]
pub(super) struct FaultTask {
    pub(super) is_running: Cell<bool>,
    pub(super) look_again: Cell<bool>,
}

/// What only the core knows of a stream writer's connection; the rest is its [`Link`].
///
/// [`Link`]: super::link::Link
pub(super) struct WriterSlot {
    pub(super) waker: Option<Waker>,
    /// The task waits for the desk, which a sender has.
    pub(super) wants_desk: bool,
    pub(super) shut: Option<Rc<Shut>>,
    /// Tells one connection from the next: a task that finds another number has been replaced.
    pub(super) generation: u64,
    /// Counts the connections that asked to be attached: the newest wins, also among those that wait.
    pub(super) asked: u64,
    /// When a replacement is next admitted without delay.
    pub(super) replace_at: Instant,
    pub(super) flapping: Flapping,
    /// Link heartbeats whose echo is awaited, where the other end echoes them.
    pub(super) echoes: Option<Echoes>,
}

impl Peer {
    /// Takes up residence on the core and starts to dial.
    pub(super) fn start(endpoint: &Rc<Endpoint>, shared: Arc<PeerShared>, urls: PeerUrls) -> Rc<Self> {
        let slot = endpoint.core.free_slot();
        let peer = Rc::new(Self::new(Rc::clone(endpoint), shared, slot, urls));
        endpoint.core.move_in(slot, Rc::clone(&peer) as Rc<dyn Resident>);
        peer.shared.slot.store(slot, Ordering::Release);
        // What was sent before there was a place for letters.
        Rc::clone(&peer).lane_dirty(PIPELINE);
        if !peer.shared.faults.held().is_free() {
            peer.look_at_faults();
        }
        for kind in StreamKind::ALL {
            reader::start(&peer, kind);
        }
        peer
    }

    fn new(endpoint: Rc<Endpoint>, shared: Arc<PeerShared>, slot: usize, urls: PeerUrls) -> Self {
        let writer = || {
            RefCell::new(WriterSlot {
                waker: None,
                wants_desk: false,
                shut: None,
                generation: 0,
                asked: 0,
                replace_at: Instant::now(),
                flapping: Flapping::default(),
                echoes: None,
            })
        };
        let reader = |kind| ReaderSlot::new(kind, endpoint.shared.config.write_timeout);
        Self {
            writers: [writer(), writer()],
            readers: [reader(StreamKind::Msgapp), reader(StreamKind::Message)],
            pipeline: Pipeline::default(),
            picker: RefCell::new(Picker::new(urls)),
            status: RefCell::new(Status::default()),
            probes: Probes::new(endpoint.shared.config.probe_interval, slot, Instant::now()),
            round_trips: RefCell::default(),
            endpoint,
            shared,
            slot,
            uploads: Uploads::default(),
            stopping: Cell::new(false),
            waits: Waits::default(),
            tasks: Rc::default(),
            faults: FaultTask::default(),
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
        self.probes.restart(Instant::now());
    }

    pub(super) fn urls(&self) -> PeerUrls {
        self.picker.borrow().urls().clone()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.shared.faults.held().is_paused()
    }

    // ---- sending -------------------------------------------------------------------------------

    /// Something of this lane is left for the core: what waits in it, what a direct send left over,
    /// or the desk that a task waits for.
    pub(crate) fn look_after(&self, lane: usize) {
        let link = &self.shared.links[lane];
        let Some(mut desk) = link.desk() else { return };
        let (sent, lost) = if desk.machine.is_working() {
            (desk.look(&link.lane, self.endpoint.core.moment()), ClassCounts::default())
        } else {
            (true, desk.drain(&link.lane))
        };
        drop(desk);
        // Also one whose stream has ended: it has the last of it to write.
        if !sent || self.writers[lane].borrow().wants_desk {
            self.wake_writer(lane);
        }
        self.report_lost(lost, DropReason::StreamLost);
    }

    pub(crate) fn wake_writer(&self, lane: usize) {
        let waker = {
            let mut slot = self.writers[lane].borrow_mut();
            slot.wants_desk = false;
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Messages were lost: told once for all of them of a class, and to raft once for all, as rafthttp
    /// does.
    pub(super) fn report_lost(&self, lost: ClassCounts, reason: DropReason) {
        for (class, messages) in lost.iter() {
            self.shared.note_told(reason, class, messages);
            self.endpoint.emit(&Event::Dropped { peer: self.shared.id, class, messages, reason });
        }
        if lost.total() > 0 && reason.is_loss() && !self.stopping.get() {
            self.report_unreachable();
        }
    }

    /// Tells raft that messages were lost.
    pub(super) fn report_unreachable(&self) {
        let raft = &self.endpoint.shared.raft;
        if self.endpoint.core.guard(|| raft.report_unreachable(self.shared.id)).is_none() {
            self.endpoint.emit(&Event::Panicked { task: "report_unreachable" });
        }
    }

    /// Tells what senders dropped since the last time.
    pub(crate) fn report_dropped(&self) {
        for (lost, reason) in self.shared.drops.take() {
            self.report_lost(lost, reason);
        }
    }

    // ---- status --------------------------------------------------------------------------------

    pub(super) fn activate(&self) {
        // What was under way may still succeed, and nobody would undo it.
        if self.is_stopping() {
            return;
        }
        let now = Instant::now();
        let edge = self.status.borrow_mut().activate(now);
        if edge == Some(Edge::Activate) {
            self.shared.set_active_since(self.endpoint.shared.epoch, Some(now));
            self.shared.metrics.active.add(1);
            self.endpoint.emit(&Event::PeerActive { peer: self.shared.id });
        }
    }

    pub(super) fn deactivate(&self, source: Source, action: Action, reason: &str) {
        let edge = self.status.borrow_mut().deactivate(source, action);
        if edge.is_some() {
            self.shared.set_active_since(self.endpoint.shared.epoch, None);
            self.shared.metrics.active.add(-1);
            self.shared.metrics.disconnected.add(1);
            let reason = failure_text(self.shared.id, source, action, &reason);
            self.endpoint.emit(&Event::PeerInactive { peer: self.shared.id, reason });
        }
    }

    pub(super) fn note_round_trip(&self, round_trip: Duration) {
        let mut round_trips = self.round_trips.borrow_mut();
        round_trips.get_or_insert_with(|| Box::new(RoundTrips::new())).record(round_trip);
    }

    /// What it holds and did.
    pub(crate) fn stats(&self) -> PeerStats {
        let round_trips = self.round_trips.borrow().as_deref().cloned();
        PeerStats { round_trips, ..self.shared.stats() }
    }

    // ---- stop ----------------------------------------------------------------------------------

    /// Ends every connection and task; `ending` completes when the last is gone.
    pub(super) fn stop(self: &Rc<Self>, ending: Ending) {
        if !self.stopping.replace(true) {
            self.shared.stopped.store(true, Ordering::Release);
            self.report_dropped();
            self.drain_faults();
            for kind in StreamKind::ALL {
                let lane = lane_of(kind);
                let link = &self.shared.links[lane];
                link.set_up(false);
                let mut desk = link.clear_desk();
                desk.machine.end();
                let lost = desk.drain(&link.lane);
                drop(desk);
                self.wake_writer(lane);
                self.report_lost(lost, DropReason::Stopped);
                self.readers[lane].shutdown();
            }
            self.probes.shutdown();
            pipeline::halt(self.as_ref());
            self.uploads.end_all();
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

impl Poster for Peer {
    fn id(&self) -> MemberId {
        self.shared.id
    }

    fn endpoint(&self) -> &Rc<Endpoint> {
        &self.endpoint
    }

    fn lane(&self) -> &Lane<Message> {
        &self.shared.pipeline
    }

    fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    fn url(&self) -> PeerUrl {
        self.url()
    }

    fn url_unreachable(&self, url: &PeerUrl) {
        self.url_unreachable(url);
    }

    fn tasks(&self) -> &Rc<TaskCount> {
        &self.tasks
    }

    fn waits(&self) -> &Waits {
        &self.waits
    }

    fn halted(&self) -> Option<DropReason> {
        self.is_stopping().then_some(DropReason::Stopped)
    }

    fn is_apart(&self) -> bool {
        self.shared.faults.is_apart(Side::Sending)
    }

    fn metrics(&self) -> &PeerMetrics {
        &self.shared.metrics
    }

    fn follower_stats(&self) -> Option<&Follower> {
        Some(&self.shared.follower_stats)
    }

    fn activate(&self) {
        self.activate();
    }

    fn deactivate(&self, source: Source, action: Action, reason: &str) {
        self.deactivate(source, action, reason);
    }

    fn report_lost(&self, lost: ClassCounts, reason: DropReason) {
        self.report_lost(lost, reason);
    }
}

impl Resident for Peer {
    fn lane_dirty(self: Rc<Self>, lane: usize) {
        self.report_dropped();
        match lane {
            PIPELINE => pipeline::look_after(&self),
            stream => self.look_after(stream),
        }
    }

    fn tick(self: Rc<Self>, now: Instant) {
        self.uploads.tick();
        if !self.shared.faults.held().is_free() {
            // Whatever became of the task, as every wait has a second reason to end.
            self.look_at_faults();
        }
        for kind in StreamKind::ALL {
            self.tick_writer(kind, now);
            reader::tick(&self, kind, now);
        }
        probe::tick(&self, now);
        self.pipeline.tick(now);
    }

    fn panicked(self: Rc<Self>, task: &'static str) {
        self.endpoint.emit(&Event::Panicked { task });
    }

    fn as_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}
