//! THE DOOR. Called from any thread, never blocks, owns no socket.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

#[cfg(feature = "prometheus")]
mod collector;
mod faults;
mod metrics;
mod send;
mod snapshot;
mod stats;

#[cfg(feature = "prometheus")]
pub use collector::MetricsCollector;
pub use faults::InjectionStats;
pub use metrics::metrics_of;
pub use send::Sent;

use crate::config::{Config, Placement};
use crate::cores::least;
use crate::error::{PeerError, StartError};
use crate::id::MemberId;
use crate::io::letter::CoreShared;
use crate::io::remote::{Remote, RemoteShared};
use crate::io::shared::{PeerShared, TransportShared};
use crate::io::snapshot::{Incoming, Outgoing};
use crate::io::{Cores, Ending, Endpoint, Listener, Peer, PeerStats, Posted, wall_time};
use crate::metrics::Metrics;
use crate::proto::peer_url::PeerUrls;
use crate::proto::probe::{ProbeStats, RoundTripper};
use crate::proto::stats::Leadership;
use crate::raft::Raft;

/// A running transport, rafthttp's `Transport`. Cloning gives the same one.
///
/// It keeps running when every clone is dropped: [`Transport::stop`] ends it. A host that keeps a clone
/// inside the `Raft` that it gave makes a circle of the two, and lets go of one of them at its end.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<TransportShared>,
    local_addr: Option<SocketAddr>,
}

type Peers = FxHashMap<MemberId, Arc<PeerShared>>;

impl Transport {
    /// Starts a transport on the cores. It listens when this returns.
    ///
    /// # Errors
    /// A setting is wrong, the address cannot be bound, or the cores were stopped.
    pub fn start(mut config: Config, cores: &Cores, raft: Arc<dyn Raft>) -> Result<Self, StartError> {
        config.validate()?;
        if cores.is_stopped() {
            return Err(StartError::CoresStopped);
        }
        let home = match config.placement {
            Placement::Core(core) => cores.core(core)?.index,
            Placement::Spread => idlest(cores.all()).index,
        };
        let listener = Listener::bind(std::mem::take(&mut config.listen))?;
        let local_addr = listener.as_ref().and_then(Listener::local_addr);
        let own = config.identity();
        let (now, started) = (Instant::now(), wall_time());
        let shared = Arc::new(TransportShared {
            config,
            own,
            raft,
            peers: RwLock::default(),
            stopped: AtomicBool::new(false),
            cores: cores.all().into(),
            alive: Mutex::new(Some(cores.clone())),
            slots: cores.all().iter().map(|_| AtomicUsize::new(usize::MAX)).collect(),
            epoch: now,
            started,
            leadership: Mutex::new(Leadership::new(now, started)),
            injections: Mutex::default(),
            resend: send::resend,
            metrics: Arc::default(),
            remotes: Mutex::default(),
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
        });
        let transport = Self { shared, local_addr };
        let (shared, of_endpoint) = (Arc::clone(&transport.shared), cores.clone());
        // Letters are opened in order, so whatever is asked later finds the endpoint there.
        cores.all()[home].run(move |core| drop(Endpoint::start(core, shared, of_endpoint, listener)));
        Ok(transport)
    }

    /// The address it listens on, if it does and not on a unix socket.
    #[must_use]
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// Our own id.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.shared.config.id
    }

    /// Adds a member and begins to dial it. One that is there stays as it is. Which core owns it is
    /// decided by [`Placement`] and told by [`Transport::core_of`].
    ///
    /// # Errors
    /// Id 0 or our own, a URL that is not a peer URL, or the transport was stopped.
    pub fn add_peer<S: AsRef<str>>(
        &self,
        id: impl Into<MemberId>,
        urls: impl IntoIterator<Item = S>,
    ) -> Result<(), PeerError> {
        let placed = match self.shared.config.placement {
            Placement::Core(core) => Some(core),
            Placement::Spread => None,
        };
        self.place_peer(id.into(), urls, placed)
    }

    /// As [`Transport::add_peer`], on this core.
    ///
    /// # Errors
    /// As there, or if there is no such core.
    pub fn add_peer_on<S: AsRef<str>>(
        &self,
        core: usize,
        id: impl Into<MemberId>,
        urls: impl IntoIterator<Item = S>,
    ) -> Result<(), PeerError> {
        self.place_peer(id.into(), urls, Some(core))
    }

    fn place_peer<S: AsRef<str>>(
        &self,
        id: MemberId,
        urls: impl IntoIterator<Item = S>,
        core: Option<usize>,
    ) -> Result<(), PeerError> {
        self.check_id(id)?;
        let urls = parse_urls(urls)?;
        // Held until the letter is posted: the core must hear of comings and goings in their order.
        let mut peers = self.peers_mut();
        if self.is_stopped() {
            return Err(PeerError::Stopped);
        }
        if peers.contains_key(&id) {
            return Ok(());
        }
        let core = match core {
            Some(core) => self.core(core)?,
            None => idlest(&self.shared.cores),
        };
        let peer = Arc::new(PeerShared::new(id, urls, &self.shared, Arc::clone(core), Arc::default()));
        self.inject_all(&peer);
        peers.insert(id, Arc::clone(&peer));
        let transport = Arc::clone(&self.shared);
        core.run(move |core| Endpoint::add_peer(core, &transport, peer));
        Ok(())
    }

    /// Adds a member that is no peer (yet): what is sent to its id is posted to it, and nothing else. For
    /// the members of a cluster that is being joined, as in etcd; others tell of themselves. One that is a
    /// peer or a remote stays as it is, and a peer of the same id takes precedence.
    ///
    /// It stays until the transport is stopped.
    ///
    /// # Errors
    /// As for [`Transport::add_peer`].
    pub fn add_remote<S: AsRef<str>>(
        &self,
        id: impl Into<MemberId>,
        urls: impl IntoIterator<Item = S>,
    ) -> Result<(), PeerError> {
        let id = id.into();
        self.check_id(id)?;
        let urls = parse_urls(urls)?;
        // Held until the letter is posted, as in `place_peer`.
        let peers = self.peers();
        if self.is_stopped() {
            return Err(PeerError::Stopped);
        }
        if peers.contains_key(&id) {
            return Ok(());
        }
        let core = match self.shared.config.placement {
            Placement::Core(core) => self.core(core)?,
            Placement::Spread => idlest(&self.shared.cores),
        };
        let mut remotes = self.shared.remotes();
        let new = || {
            let metrics = self.shared.metrics.of_member(id);
            Arc::new(RemoteShared::new(id, &self.shared.config, Arc::clone(core), metrics))
        };
        if remotes.add(id, new)
            && let Some(remote) = remotes.get(id).cloned()
        {
            let transport = Arc::clone(&self.shared);
            core.run(move |core| Endpoint::add_remote(core, &transport, remote, urls));
        }
        Ok(())
    }

    /// The members that are remotes now: those the host added, and those that told of themselves.
    #[must_use]
    pub fn remotes(&self) -> Vec<MemberId> {
        self.shared.remotes().iter().map(|(id, _)| id).collect()
    }

    /// Moves a member to another core, whatever its placement was. Its connections end and are made
    /// anew there, with what that loses being told as with any connection that breaks. An unknown id
    /// is ignored. The ending completes when nothing is left on the old core.
    ///
    /// # Errors
    /// If there is no such core, or the transport was stopped.
    pub fn move_peer(&self, id: impl Into<MemberId>, core: usize) -> Result<Ending, PeerError> {
        let ending = Ending::new();
        let mut peers = self.peers_mut();
        let to = self.core(core)?;
        if self.is_stopped() {
            return Err(PeerError::Stopped);
        }
        let Some(peer) = peers.get_mut(&id.into()).filter(|peer| peer.core.index != core) else {
            ending.complete();
            return Ok(ending);
        };
        let moved = Arc::new(peer.moved(&self.shared, Arc::clone(to)));
        let old = std::mem::replace(peer, Arc::clone(&moved));
        old.stopped.store(true, Ordering::Release);
        let (transport, posted) = (Arc::clone(&self.shared), Posted::new(&ending));
        old.core.run(move |core| Endpoint::move_peer(core, &transport, moved, posted.open()));
        Ok(ending)
    }

    /// The core that owns a member.
    #[must_use]
    pub fn core_of(&self, id: impl Into<MemberId>) -> Option<usize> {
        Some(self.shared.peer(id.into())?.core.index)
    }

    /// Gives a member new URLs; connections that are up stay. An unknown id is ignored.
    ///
    /// # Errors
    /// A URL that is not a peer URL.
    pub fn update_peer<S: AsRef<str>>(
        &self,
        id: impl Into<MemberId>,
        urls: impl IntoIterator<Item = S>,
    ) -> Result<(), PeerError> {
        let urls = parse_urls(urls)?;
        // Held until the letter is posted, as in `add_peer`; and who moves it meanwhile would not know.
        let peers = self.peers();
        let Some(peer) = peers.get(&id.into()) else { return Ok(()) };
        peer.set_urls(urls.clone());
        let (transport, id) = (Arc::clone(&self.shared), peer.id);
        peer.core.run(move |core| {
            if let Some(endpoint) = Endpoint::on(core, &transport) {
                endpoint.update_peer(id, urls);
            }
        });
        Ok(())
    }

    /// Ends everything towards a member. Removing it twice, or one that was never there, is no
    /// error. The ending completes when its last task is gone.
    pub fn remove_peer(&self, id: impl Into<MemberId>) -> Ending {
        let id = id.into();
        // Held until the letters are posted, as in `add_peer`.
        let mut peers = self.peers_mut();
        if let Some(peer) = peers.remove(&id) {
            peer.stopped.store(true, Ordering::Release);
        }
        // Also where it was before: it may be leaving still.
        self.end_everywhere(move |endpoint, ending| endpoint.remove_peer(id, ending))
    }

    /// As [`Transport::remove_peer`] for all peers, also those that are leaving; remotes stay.
    pub fn remove_all_peers(&self) -> Ending {
        let mut peers = self.peers_mut();
        for (_, peer) in peers.drain() {
            peer.stopped.store(true, Ordering::Release);
        }
        self.end_everywhere(Endpoint::remove_all_peers)
    }

    /// When the member last became active; `None` while it is not, or is no peer.
    #[must_use]
    pub fn active_since(&self, id: impl Into<MemberId>) -> Option<Instant> {
        self.shared.peer(id.into())?.active_since(self.shared.epoch)
    }

    /// How many peers are active.
    #[must_use]
    pub fn active_peers(&self) -> usize {
        self.peers().values().filter(|peer| peer.active_since(self.shared.epoch).is_some()).count()
    }

    /// Drops everything to and from all peers until [`Transport::resume`]: for tests of hosts.
    pub fn pause(&self) {
        self.set_paused(true);
    }

    /// Undoes [`Transport::pause`].
    pub fn resume(&self) {
        self.set_paused(false);
    }

    /// As [`Transport::pause`], for one peer, and the remote of that id: rafthttp's `CutPeer`.
    pub fn cut_peer(&self, id: impl Into<MemberId>) {
        self.set_peer_paused(id.into(), true);
    }

    /// Undoes [`Transport::cut_peer`].
    pub fn mend_peer(&self, id: impl Into<MemberId>) {
        self.set_peer_paused(id.into(), false);
    }

    /// What a prober of a peer found so far; `None` if it is no peer. Nothing is found before the first
    /// probe has ended, `Config::probe_interval` after the peer was added.
    #[must_use]
    pub fn probe(&self, id: impl Into<MemberId>, prober: RoundTripper) -> Option<ProbeStats> {
        Some(self.shared.peer(id.into())?.probe(prober))
    }

    /// A look at one peer, taken on its core; `None` if it is no peer, or its core does not answer
    /// within a second. Not for use on a core, which would wait for itself.
    #[must_use]
    pub fn peer_stats(&self, id: impl Into<MemberId>) -> Option<PeerStats> {
        let peer = self.shared.peer(id.into())?;
        let (sender, receiver) = sync_channel(1);
        let of_letter = Arc::clone(&peer);
        peer.core.run(move |core| {
            let slot = of_letter.slot.load(Ordering::Acquire);
            let found = Peer::on(core, slot, &of_letter);
            drop(sender.send(found.map_or_else(|| of_letter.stats(), |peer| peer.stats())));
        });
        receiver.recv_timeout(Duration::from_secs(1)).ok()
    }

    /// Messages and payload bytes that wait to be encoded for a peer, on both streams, and those that wait
    /// to be posted or are being posted.
    #[must_use]
    pub fn queued(&self, id: impl Into<MemberId>) -> (usize, usize) {
        let Some(peer) = self.shared.peer(id.into()) else { return (0, 0) };
        peer.links
            .iter()
            .map(|link| link.lane.depth())
            .chain([peer.pipeline.depth()])
            .fold((0, 0), |sum, depth| (sum.0 + depth.0, sum.1 + depth.1))
    }

    /// What etcd counts, by member.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Ends the transport: sockets are shut down and every task is awaited. May be called twice,
    /// and from inside `Raft::process`; only waiting for the ending must not be done there.
    pub fn stop(&self) -> Ending {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let mut peers = self.peers_mut();
        for (_, peer) in peers.drain() {
            peer.stopped.store(true, Ordering::Release);
        }
        for remote in self.shared.remotes().clear() {
            remote.stopped.store(true, Ordering::Release);
        }
        let ending = self.end_everywhere(Endpoint::stop);
        // From here on the cores live only as long as what is left on them.
        let cores = self.shared.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(peers);
        drop(cores);
        ending
    }

    /// True once [`Transport::stop`] was called: then nothing arrives any more, and what is sent is dropped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::SeqCst)
    }

    fn set_paused(&self, paused: bool) {
        for peer in self.peers().values() {
            peer.faults.set_paused(paused);
        }
    }

    fn set_peer_paused(&self, id: MemberId, paused: bool) {
        // Under the lock: who moves it takes this along.
        if let Some(peer) = self.peers().get(&id) {
            peer.faults.set_paused(paused);
        }
        if let Some(remote) = self.shared.remotes().get(id) {
            remote.paused.store(paused, Ordering::Relaxed);
            Remote::look_at_pause(&self.shared, remote);
        }
    }

    fn check_id(&self, id: MemberId) -> Result<(), PeerError> {
        if id == MemberId(0) {
            return Err(PeerError::Id { id, advice: "0 names nobody: give the member's id" });
        }
        if id == self.shared.config.id {
            return Err(PeerError::Id { id, advice: "that is this member itself: leave it out" });
        }
        Ok(())
    }

    /// Ends something on each core.
    fn end_everywhere(&self, f: impl FnOnce(&Endpoint, Ending) + Clone + Send + 'static) -> Ending {
        let ending = Ending::of(self.shared.cores.len());
        for core in &self.shared.cores {
            self.end_on_core(core, &ending, f.clone());
        }
        ending
    }

    /// Ends something on one core; without an endpoint there is nothing left that could end.
    fn end_on_core(
        &self,
        core: &Arc<CoreShared>,
        ending: &Ending,
        f: impl FnOnce(&Endpoint, Ending) + Send + 'static,
    ) {
        let (shared, posted) = (Arc::clone(&self.shared), Posted::new(ending));
        core.run(move |core| {
            if let Some(endpoint) = Endpoint::on(core, &shared) {
                f(&endpoint, posted.open());
            }
        });
    }

    fn core(&self, core: usize) -> Result<&Arc<CoreShared>, PeerError> {
        let cores = self.shared.cores.len();
        self.shared.cores.get(core).ok_or(PeerError::Core { core, cores })
    }

    fn peers(&self) -> RwLockReadGuard<'_, Peers> {
        self.shared.peers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn peers_mut(&self) -> RwLockWriteGuard<'_, Peers> {
        self.shared.peers.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("id", &self.shared.config.id)
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

/// The core with the least to do.
fn idlest(cores: &[Arc<CoreShared>]) -> &Arc<CoreShared> {
    // There is at least one: cores without a CPU are refused.
    &cores[least(cores.iter().map(|core| &core.load)).unwrap_or(0)]
}

fn parse_urls<S: AsRef<str>>(urls: impl IntoIterator<Item = S>) -> Result<PeerUrls, PeerError> {
    let urls = PeerUrls::parse(urls).map_err(|error| PeerError::Url(error.to_string()))?;
    for url in urls.as_slice() {
        url.dialable().map_err(|error| PeerError::Url(error.to_string()))?;
    }
    Ok(urls)
}

#[cfg(test)]
mod tests;
