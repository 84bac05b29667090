//! Remotes on their core: members that are no peers, and can be posted to. Protocol sections 4.6 and 8.7.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::core::{Core, Resident};
use super::drops::Drops;
use super::endpoint::Endpoint;
use super::guard::{Ending, TaskCount};
use super::letter::CoreShared;
use super::listener::UNIX_REMOTE;
use super::pipeline::{self, Pipeline, Poster};
use super::shared::{Addressee, TransportShared, drain_unposted, pipeline_lane};
use super::waits::Waits;
use crate::config::Config;
use crate::cores::Lane;
use crate::event::{DropReason, Event};
use crate::id::MemberId;
use crate::metrics::{Follower, PeerMetrics};
use crate::proto::handshake::Introduction;
use crate::proto::peer_url::{PeerUrl, PeerUrls, Scheme};
use crate::proto::picker::Picker;
use crate::proto::remotes::Learned;
use crate::proto::status::{Action, Edge, Source, Status, failure_text};
use crate::raftpb::{ClassCounts, Message, MessageClass};

/// The part of a remote that every thread sees.
pub(crate) struct RemoteShared {
    pub(crate) id: MemberId,
    pub(crate) core: Arc<CoreShared>,
    slot: AtomicUsize,
    /// What is to be posted.
    pub(crate) pipeline: Lane<Message>,
    pub(crate) paused: AtomicBool,
    pub(crate) stopped: AtomicBool,
    drops: Drops,
    metrics: Arc<PeerMetrics>,
}

/// One remote.
pub(crate) struct Remote {
    endpoint: Rc<Endpoint>,
    shared: Arc<RemoteShared>,
    slot: usize,
    picker: RefCell<Picker>,
    status: RefCell<Status>,
    pipeline: Pipeline,
    stopping: Cell<bool>,
    waits: Waits,
    tasks: Rc<TaskCount>,
}

impl Addressee for RemoteShared {
    fn id(&self) -> MemberId {
        self.id
    }

    fn core(&self) -> &Arc<CoreShared> {
        &self.core
    }

    fn drops(&self) -> &Drops {
        &self.drops
    }

    fn slot(&self) -> usize {
        self.slot.load(Ordering::Acquire)
    }
}

impl RemoteShared {
    pub(crate) fn new(
        id: MemberId,
        config: &Config,
        core: Arc<CoreShared>,
        metrics: Arc<PeerMetrics>,
    ) -> Self {
        Self {
            id,
            pipeline: pipeline_lane(config, &core),
            core,
            slot: AtomicUsize::new(usize::MAX),
            paused: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            drops: Drops::default(),
            metrics,
        }
    }

    /// Messages were dropped, of which the observer is told now.
    fn note_told(&self, reason: DropReason, class: MessageClass, messages: usize) {
        self.drops.note_told(reason, class, messages);
        self.metrics.dropped.count(reason, class, messages);
        if matches!(reason, DropReason::LaneFull(_)) {
            self.metrics.sent_failures.add(messages as u64);
        }
    }
}

impl TransportShared {
    /// Tells what is left at a remote that was stopped, for nobody looks after it any more.
    pub(crate) fn tell_last_of_remote(&self, remote: &RemoteShared) {
        let to_post = (drain_unposted(&remote.pipeline), DropReason::Stopped);
        self.report_snapshots_lost(&remote.core, remote.id, to_post.0.get(MessageClass::Snapshot));
        for (counts, reason) in remote.drops.take().chain([to_post]) {
            for (class, messages) in counts.iter() {
                remote.note_told(reason, class, messages);
                self.config.observer.event(&Event::Dropped { peer: remote.id, class, messages, reason });
            }
        }
    }
}

impl Endpoint {
    /// Somebody told who he is and where: he is a remote from now on, unless he is known or there are
    /// too many. Nothing of it is proven, so all that it leads to is a few posts, of what the host sends
    /// to that id.
    pub(super) fn introduce(self: &Rc<Self>, introduction: Option<Introduction>, from: SocketAddr) {
        let Some(Introduction { member, peer_urls }) = introduction else { return };
        let transport = &self.shared;
        // Nobody makes us dial anything but what our listener speaks.
        let scheme = if from == UNIX_REMOTE { Scheme::Unix } else { Scheme::Http };
        let foreign = peer_urls.as_slice().iter().any(|url| url.scheme() != scheme);
        if foreign || self.is_stopping() || transport.peer(member).is_some() {
            return;
        }
        let core = &self.core.shared;
        let new = || {
            let metrics = transport.metrics.of(member);
            Arc::new(RemoteShared::new(member, &transport.config, Arc::clone(core), metrics))
        };
        let mut remotes = transport.remotes();
        if let Learned::New { evicted } = remotes.learn(member, Instant::now(), new) {
            let learned = remotes.get(member).cloned();
            drop(remotes);
            if let Some(evicted) = evicted {
                Remote::forget(transport, &evicted);
            }
            if let Some(learned) = learned {
                Remote::start(self, learned, peer_urls);
                self.emit(&Event::RemoteLearned { remote: member });
            }
        }
    }

    /// Starts a remote of the host's on its core.
    pub(crate) fn add_remote(
        core: &Rc<Core>,
        transport: &Arc<TransportShared>,
        remote: Arc<RemoteShared>,
        urls: PeerUrls,
    ) {
        let gone = transport.stopped.load(Ordering::SeqCst) || remote.stopped.load(Ordering::Acquire);
        let endpoint = if gone { None } else { Self::on_or_start(core, transport) };
        match endpoint.filter(|endpoint| !endpoint.is_stopping()) {
            Some(endpoint) => Remote::start(&endpoint, remote, urls),
            None => drop(core.guard(|| transport.tell_last_of_remote(&remote))),
        }
    }
}

impl Remote {
    fn start(endpoint: &Rc<Endpoint>, shared: Arc<RemoteShared>, urls: PeerUrls) {
        let slot = endpoint.core.free_slot();
        let remote = Rc::new(Self {
            endpoint: Rc::clone(endpoint),
            shared,
            slot,
            picker: RefCell::new(Picker::new(urls)),
            status: RefCell::default(),
            pipeline: Pipeline::default(),
            stopping: Cell::new(false),
            waits: Waits::default(),
            tasks: Rc::default(),
        });
        endpoint.core.move_in(slot, Rc::clone(&remote) as Rc<dyn Resident>);
        endpoint.remotes.borrow_mut().push(Rc::clone(&remote));
        remote.shared.slot.store(slot, Ordering::Release);
        // What was sent before there was a place for letters.
        remote.lane_dirty(super::shared::PIPELINE);
    }

    /// Stops one that is in no list any more, wherever it is.
    fn forget(transport: &Arc<TransportShared>, remote: &Arc<RemoteShared>) {
        remote.stopped.store(true, Ordering::Release);
        let (transport, gone) = (Arc::clone(transport), Arc::clone(remote));
        remote.core.run(move |core| {
            let Some(endpoint) = Endpoint::on(core, &transport) else { return };
            let of_id = |remote: &&Rc<Self>| Arc::ptr_eq(&remote.shared, &gone);
            let found = endpoint.remotes.borrow().iter().find(of_id).cloned();
            if let Some(remote) = found {
                remote.stop(Ending::new());
                endpoint.emit(&Event::RemoteForgotten { remote: gone.id });
            }
        });
    }

    /// Its flag `paused` has changed: a pause ends what is under way.
    pub(crate) fn look_at_pause(transport: &Arc<TransportShared>, remote: &Arc<RemoteShared>) {
        let (transport, shared) = (Arc::clone(transport), Arc::clone(remote));
        remote.core.run(move |core| {
            let Some(endpoint) = Endpoint::on(core, &transport) else { return };
            let found =
                endpoint.remotes.borrow().iter().find(|remote| Arc::ptr_eq(&remote.shared, &shared)).cloned();
            if let Some(remote) = found.filter(|remote| remote.halted().is_some()) {
                pipeline::halt(&*remote);
                remote.waits.look_again();
            }
        });
    }

    /// Ends everything; `ending` completes when the last task is gone.
    pub(super) fn stop(self: &Rc<Self>, ending: Ending) {
        if !self.stopping.replace(true) {
            self.shared.stopped.store(true, Ordering::SeqCst);
            self.endpoint.remotes.borrow_mut().retain(|other| !Rc::ptr_eq(other, self));
            self.report_dropped();
            pipeline::halt(&**self);
            self.waits.look_again();
            let (core, slot) = (Rc::clone(&self.endpoint.core), self.slot);
            self.tasks.at_last(move || core.move_out(slot));
            self.deactivate(Source::Pipeline, Action::Write, "the remote was stopped");
        }
        self.tasks.close(ending);
    }

    /// Tells what senders dropped since the last time: the observer alone, for raft does not know of
    /// remotes.
    fn report_dropped(&self) {
        for (lost, reason) in self.shared.drops.take() {
            self.tell(lost, reason);
        }
    }

    fn tell(&self, lost: ClassCounts, reason: DropReason) {
        for (class, messages) in lost.iter() {
            self.shared.note_told(reason, class, messages);
            self.endpoint.emit(&Event::Dropped { peer: self.shared.id, class, messages, reason });
        }
    }
}

impl Poster for Remote {
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
        self.picker.borrow().pick().clone()
    }

    fn url_unreachable(&self, url: &PeerUrl) {
        self.picker.borrow_mut().unreachable(url);
    }

    fn tasks(&self) -> &Rc<TaskCount> {
        &self.tasks
    }

    fn waits(&self) -> &Waits {
        &self.waits
    }

    fn halted(&self) -> Option<DropReason> {
        if self.stopping.get() {
            return Some(DropReason::Stopped);
        }
        self.shared.paused.load(Ordering::Relaxed).then_some(DropReason::Paused)
    }

    fn metrics(&self) -> &PeerMetrics {
        &self.shared.metrics
    }

    fn follower_stats(&self) -> Option<&Follower> {
        None
    }

    fn activate(&self) {
        // As for a peer: nobody would undo it.
        if !self.stopping.get() && self.status.borrow_mut().activate(Instant::now()) == Some(Edge::Activate) {
            self.shared.metrics.active.add(1);
            self.endpoint.emit(&Event::PeerActive { peer: self.shared.id });
        }
    }

    fn deactivate(&self, source: Source, action: Action, reason: &str) {
        if self.status.borrow_mut().deactivate(source, action).is_some() {
            self.shared.metrics.active.add(-1);
            self.shared.metrics.disconnected.add(1);
            let reason = failure_text(self.shared.id, source, action, &reason);
            self.endpoint.emit(&Event::PeerInactive { peer: self.shared.id, reason });
        }
    }

    fn report_lost(&self, lost: ClassCounts, reason: DropReason) {
        self.tell(lost, reason);
    }
}

impl Resident for Remote {
    fn lane_dirty(self: Rc<Self>, _lane: usize) {
        self.report_dropped();
        pipeline::look_after(&self);
    }

    fn tick(self: Rc<Self>, now: Instant) {
        self.pipeline.tick(now);
        if self.shared.drops.has_untold() {
            self.report_dropped();
        }
        let forgotten = self.endpoint.shared.remotes().expire(self.shared.id, now);
        if let Some(forgotten) = forgotten {
            Self::forget(&self.endpoint.shared, &forgotten);
        }
    }

    fn panicked(self: Rc<Self>, task: &'static str) {
        self.endpoint.emit(&Event::Panicked { task });
    }

    fn as_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}
