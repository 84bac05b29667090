//! One transport on its core: its peers, its listener, and every task it started.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::accept;
use super::conn::Shut;
use super::core::{Core, Resident};
use super::cores::Cores;
use super::guard::{Ending, TaskCount};
use super::listener::Listener;
use super::peer::Peer;
use super::remote::Remote;
use super::requests::Requests;
use super::shared::{PeerShared, TransportShared};
use super::waits::Waits;
use crate::event::Event;
use crate::id::MemberId;
use crate::proto::limiter::{HandshakeLimiter, PostLimiter, PostSender, WaitingLimits, WaitingRoom};
use crate::proto::peer_url::PeerUrls;

/// One transport on its core.
pub(crate) struct Endpoint {
    pub(super) core: Rc<Core>,
    pub(crate) shared: Arc<TransportShared>,
    pub(super) cores: Cores,
    peers: RefCell<HashMap<MemberId, Rc<Peer>>>,
    pub(super) remotes: RefCell<Vec<Rc<Remote>>>,
    /// Peers that were removed and have tasks still, for those who ask a second time.
    leaving: RefCell<Vec<Weak<Peer>>>,
    pub(super) limiter: RefCell<HandshakeLimiter>,
    waiting: RefCell<WaitingRoom<u64>>,
    /// Served connections that are no stream (yet), with the time at which each is given up.
    served: RefCell<HashMap<u64, Served>>,
    next_served: Cell<u64>,
    /// Bodies of `POST /raft` that are being read.
    posts: RefCell<PostLimiter>,
    /// Of those that anybody may make.
    pub(super) requests: Requests,
    /// Ended early when the endpoint is stopped, and looked at once a tick while the host is asked.
    pub(super) waits: Waits,
    listener: RefCell<Option<Rc<Shut>>>,
    stopping: Cell<bool>,
    tasks: Rc<TaskCount>,
}

struct Served {
    shut: Rc<Shut>,
    deadline: Instant,
}

/// The right to read the body of one `POST /raft`.
pub(super) struct Post {
    endpoint: Rc<Endpoint>,
    sender: PostSender,
}

/// Watches over one served connection; dropped when it ends or becomes a stream.
pub(super) struct ServedGuard {
    endpoint: Rc<Endpoint>,
    id: u64,
}

impl Endpoint {
    /// The endpoint of this transport on this core: the one that is there, or a new one.
    pub(super) fn on_or_start(core: &Rc<Core>, shared: &Arc<TransportShared>) -> Option<Rc<Self>> {
        Self::on(core, shared).or_else(|| {
            let cores = shared.alive.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
            Some(Self::start(core, Arc::clone(shared), cores, None))
        })
    }

    /// Starts to accept, where there is a listener, and watches deadlines from now on.
    pub(crate) fn start(
        core: &Rc<Core>,
        shared: Arc<TransportShared>,
        cores: Cores,
        listener: Option<Listener>,
    ) -> Rc<Self> {
        let limits = WaitingLimits {
            total_max: shared.config.handshakes_max,
            address_max: shared.config.handshakes_per_address_max,
        };
        let slot = core.free_slot();
        let endpoint = Rc::new(Self {
            core: Rc::clone(core),
            shared,
            cores,
            peers: RefCell::default(),
            remotes: RefCell::default(),
            leaving: RefCell::default(),
            limiter: RefCell::default(),
            waiting: RefCell::new(WaitingRoom::new(limits)),
            served: RefCell::default(),
            next_served: Cell::new(0),
            posts: RefCell::default(),
            requests: Requests::default(),
            waits: Waits::default(),
            listener: RefCell::default(),
            stopping: Cell::new(false),
            tasks: Rc::default(),
        });
        core.move_in(slot, Rc::clone(&endpoint) as Rc<dyn Resident>);
        endpoint.shared.slots[core.shared.index].store(slot, Ordering::Release);
        if let Some(listener) = listener {
            accept::start(&endpoint, listener);
        }
        endpoint
    }

    /// The endpoint of this transport on this core, while it lives.
    pub(crate) fn on(core: &Rc<Core>, shared: &Arc<TransportShared>) -> Option<Rc<Self>> {
        let slot = shared.slots[core.shared.index].load(Ordering::Acquire);
        let endpoint = core.resident(slot)?.as_any().downcast::<Self>().ok()?;
        Arc::ptr_eq(&endpoint.shared, shared).then_some(endpoint)
    }

    /// An observer that panics is counted and otherwise not missed.
    pub(super) fn emit(&self, event: &Event) {
        self.core.guard(|| self.shared.config.observer.event(event));
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// A task of this transport; a panic in it is told and ends it alone.
    pub(super) fn spawn(self: &Rc<Self>, name: &'static str, task: impl Future<Output = ()> + 'static) {
        let guard = self.tasks.enter();
        let of_panic = Rc::clone(self);
        let task = Box::pin(task); // else it takes its size twice: captured, and awaited
        let guarded = async move {
            let _guard = guard;
            task.await;
        };
        self.core.spawn(name, guarded, move |task| of_panic.emit(&Event::Panicked { task }));
    }

    /// A task of one peer, which the peer's stop waits for.
    pub(super) fn spawn_for(
        self: &Rc<Self>,
        peer: &Rc<Peer>,
        name: &'static str,
        task: impl Future<Output = ()> + 'static,
    ) {
        self.spawn_among(&peer.tasks, name, task);
    }

    /// A task that `tasks` counts, too.
    pub(super) fn spawn_among(
        self: &Rc<Self>,
        tasks: &Rc<TaskCount>,
        name: &'static str,
        task: impl Future<Output = ()> + 'static,
    ) {
        let guard = tasks.enter();
        let task = Box::pin(task); // as in `spawn`
        self.spawn(name, async move {
            let _guard = guard;
            task.await;
        });
    }

    // ---- peers ---------------------------------------------------------------------------------

    /// Starts a peer on its core, and the transport's endpoint there if it is the first.
    pub(crate) fn add_peer(core: &Rc<Core>, transport: &Arc<TransportShared>, peer: Arc<PeerShared>) {
        let gone = transport.stopped.load(Ordering::SeqCst) || peer.stopped.load(Ordering::Acquire);
        // One that is started for a transport that was stopped would have nobody to stop it.
        let endpoint = if gone { None } else { Self::on_or_start(core, transport) };
        match endpoint.filter(|endpoint| !endpoint.stopping.get()) {
            Some(endpoint) => {
                let (id, urls) = (peer.id, peer.urls());
                let peer = Peer::start(&endpoint, peer, urls);
                endpoint.peers.borrow_mut().insert(id, peer);
            }
            None => drop(core.guard(|| transport.tell_last(&peer))),
        }
    }

    pub(crate) fn update_peer(&self, id: MemberId, urls: PeerUrls) {
        if let Some(peer) = self.peer(id) {
            peer.update_urls(urls);
        }
    }

    /// Ends a peer here; when nothing of it is left it starts on the core of `moved`.
    pub(crate) fn move_peer(
        core: &Rc<Core>,
        transport: &Arc<TransportShared>,
        moved: Arc<PeerShared>,
        ending: Ending,
    ) {
        let endpoint = Self::on(core, transport);
        let peer = endpoint.as_ref().and_then(|endpoint| endpoint.peers.borrow_mut().remove(&moved.id));
        let transport = Arc::clone(transport);
        let start = move |lost: bool| {
            let core = Arc::clone(&moved.core);
            core.run(move |core| {
                let id = moved.id;
                if lost && !moved.stopped.load(Ordering::Acquire) {
                    core.guard(|| transport.raft.report_unreachable(id));
                }
                Self::add_peer(core, &transport, moved);
            });
        };
        match endpoint.zip(peer) {
            Some((endpoint, peer)) => {
                let (old, lost) = (Arc::clone(&peer.shared), peer.shared.drops.lost());
                // A peer that is stopped tells raft nothing, but this one lives on.
                peer.tasks.at_last(move || start(old.drops.lost() > lost));
                endpoint.let_go(&peer, ending);
            }
            // It moves on before it has come here, if there is anything of its transport here at all.
            None => {
                start(false);
                ending.complete();
            }
        }
    }

    pub(crate) fn remove_peer(&self, id: MemberId, ending: Ending) {
        let peer = self.peers.borrow_mut().remove(&id);
        match peer.or_else(|| self.leaving(id)) {
            Some(peer) => self.let_go(&peer, ending),
            None => ending.complete(),
        }
    }

    pub(crate) fn remove_all_peers(&self, ending: Ending) {
        let mut peers: Vec<_> = self.peers.borrow_mut().drain().map(|(_, peer)| peer).collect();
        peers.extend(self.leaving.borrow().iter().filter_map(Weak::upgrade));
        let all: Rc<TaskCount> = Rc::default();
        for peer in peers {
            let until_then = all.enter();
            peer.tasks.at_last(move || drop(until_then));
            self.let_go(&peer, Ending::new());
        }
        all.close(ending);
    }

    /// The peer of this id that was removed last, if it has not ended.
    fn leaving(&self, id: MemberId) -> Option<Rc<Peer>> {
        self.leaving.borrow().iter().rev().filter_map(Weak::upgrade).find(|peer| peer.shared.id == id)
    }

    fn let_go(&self, peer: &Rc<Peer>, ending: Ending) {
        self.leaving
            .borrow_mut()
            .retain(|other| other.upgrade().is_some_and(|other| !Rc::ptr_eq(&other, peer)));
        self.leaving.borrow_mut().push(Rc::downgrade(peer));
        peer.stop(ending);
    }

    pub(crate) fn peer(&self, id: MemberId) -> Option<Rc<Peer>> {
        self.peers.borrow().get(&id).cloned()
    }

    // ---- connections that are served ------------------------------------------------------------

    /// Shuts the connection down at `deadline` unless the guard is dropped or told otherwise.
    pub(super) fn watch(self: &Rc<Self>, shut: Rc<Shut>, deadline: Instant) -> ServedGuard {
        let id = self.next_served.get();
        self.next_served.set(id + 1);
        if self.stopping.get() {
            shut.shutdown();
        }
        self.served.borrow_mut().insert(id, Served { shut, deadline });
        ServedGuard { endpoint: Rc::clone(self), id }
    }

    /// A connection from `address` has begun its handshake: where there are too many of them, the
    /// one that has waited longest is closed.
    pub(super) fn enter_waiting(&self, address: IpAddr, guard: &ServedGuard) {
        let leaves = self.waiting.borrow_mut().enter(address, guard.id);
        self.close_served(leaves);
    }

    /// A handshake is complete and a body follows; `None` if too many bodies are being read.
    pub(super) fn begin_post(self: &Rc<Self>, sender: PostSender, guard: &ServedGuard) -> Option<Post> {
        self.leave_waiting(guard);
        let admitted = self.posts.borrow_mut().begin(sender);
        admitted.then(|| Post { endpoint: Rc::clone(self), sender })
    }

    /// A request was served, and the connection stays for the next.
    pub(super) fn keep(&self, address: IpAddr, guard: &ServedGuard) {
        self.leave_waiting(guard);
        self.close_served(self.requests.keep(address, guard.id));
    }

    /// The handshake of this connection is complete, also if it is not its first: what is under way
    /// gives way to nobody.
    pub(super) fn leave_waiting(&self, guard: &ServedGuard) {
        self.waiting.borrow_mut().leave(guard.id);
        self.requests.leave(guard.id);
    }

    fn close_served(&self, id: Option<u64>) {
        let shut = id.and_then(|id| self.served.borrow().get(&id).map(|served| Rc::clone(&served.shut)));
        if let Some(shut) = shut {
            shut.shutdown();
        }
    }

    pub(super) fn set_listener(&self, shut: Rc<Shut>) {
        *self.listener.borrow_mut() = Some(shut);
    }

    // ---- stop ----------------------------------------------------------------------------------

    /// Ends everything; `ending` completes when the last task is gone.
    pub(crate) fn stop(&self, ending: Ending) {
        if !self.stopping.replace(true) {
            if let Some(listener) = self.listener.borrow_mut().take() {
                listener.shutdown();
            }
            let peers: Vec<_> = self.peers.borrow_mut().drain().map(|(_, peer)| peer).collect();
            for peer in peers {
                self.let_go(&peer, Ending::new());
            }
            for remote in self.remotes.take() {
                remote.stop(Ending::new());
            }
            for served in self.served.borrow().values() {
                served.shut.shutdown();
            }
            self.waits.look_again();
            self.shared.incoming.forget_all();
            // It stays until then, for deadlines and for whoever stops it a second time.
            let (core, slot) =
                (Rc::clone(&self.core), self.shared.slots[self.core.shared.index].load(Ordering::Acquire));
            self.tasks.at_last(move || core.move_out(slot));
        }
        self.tasks.close(ending);
    }
}

impl Resident for Endpoint {
    fn lane_dirty(self: Rc<Self>, _lane: usize) {}

    fn tick(self: Rc<Self>, now: Instant) {
        for served in self.served.borrow().values() {
            if now >= served.deadline {
                served.shut.shutdown();
            }
        }
        self.shared.incoming.forget_before(now);
        if self.requests.are_routed() {
            self.waits.look_again();
        }
        let dropped = |peer: &&Rc<Peer>| peer.shared.drops.has_untold();
        let peers: Vec<_> = self.peers.borrow().values().filter(dropped).cloned().collect();
        for peer in peers {
            peer.report_dropped();
        }
    }

    fn panicked(self: Rc<Self>, task: &'static str) {
        self.emit(&Event::Panicked { task });
    }

    fn as_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

impl ServedGuard {
    pub(super) fn set_deadline(&self, deadline: Instant) {
        if let Some(served) = self.endpoint.served.borrow_mut().get_mut(&self.id) {
            served.deadline = deadline;
        }
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.endpoint.posts.borrow_mut().end(self.sender);
    }
}

impl Drop for ServedGuard {
    fn drop(&mut self) {
        self.endpoint.waiting.borrow_mut().leave(self.id);
        self.endpoint.requests.leave(self.id);
        self.endpoint.served.borrow_mut().remove(&self.id);
    }
}
