//! The part of a transport and its peers that every thread sees.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::cores::Cores;
use super::drops::Drops;
use super::faults::PeerFaults;
use super::insight::PeerStats;
use super::letter::{CoreShared, LaneKey, Letter};
use super::link::{Link, Meters};
use super::remote::RemoteShared;
use super::snapshot::{Incoming, Outgoing, report_snapshot};
use crate::config::Config;
use crate::cores::{Lane, LaneLimits, Waiting};
use crate::event::{DropReason, Event};
use crate::id::MemberId;
use crate::metrics::{Follower, Metrics, PeerMetrics};
use crate::proto::codec::StreamKind;
use crate::proto::fault::{Injection, InjectionId};
use crate::proto::handshake::Identity;
use crate::proto::peer_url::{PeerUrl, PeerUrls};
use crate::proto::pipeline::POSTS_IN_FLIGHT_MAX;
use crate::proto::probe::{ProbeStats, RoundTripper, WallTime};
use crate::proto::remotes::Remotes;
use crate::proto::stats::Leadership;
use crate::proto::stream::StreamWriterConfig;
use crate::raft::{Raft, SnapshotStatus};
use crate::raftpb::{ClassCounts, Message, MessageClass};

/// One transport.
pub(crate) struct TransportShared {
    pub(crate) config: Config,
    /// What we say of ourselves in handshakes.
    pub(crate) own: Identity,
    pub(crate) raft: Arc<dyn Raft>,
    pub(crate) peers: RwLock<FxHashMap<MemberId, Arc<PeerShared>>>,
    pub(crate) stopped: AtomicBool,
    pub(crate) cores: Box<[Arc<CoreShared>]>,
    /// Keeps the threads alive; `None` once it was stopped.
    pub(crate) alive: Mutex<Option<Cores>>,
    /// Where each core keeps its endpoint; `usize::MAX` until it moved in.
    pub(crate) slots: Box<[AtomicUsize]>,
    /// What moments are counted from, to fit an atomic.
    pub(crate) epoch: Instant,
    /// Faults that the host has injected.
    pub(crate) injections: Mutex<Injections>,
    /// The door's own way of sending, for messages that faults have let go.
    pub(crate) resend: Resend,
    /// When it was started.
    pub(crate) started: WallTime,
    /// What the host has told of its raft.
    pub(crate) leadership: Mutex<Leadership>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) remotes: Mutex<Remotes<Arc<RemoteShared>>>,
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
}

/// Sends messages to a peer, past its faults.
pub(crate) type Resend = fn(&Arc<TransportShared>, &Arc<PeerShared>, Vec<Message>);

/// Every fault that was injected and not mended, in order.
#[derive(Debug, Default)]
pub(crate) struct Injections {
    pub(crate) all: Vec<Injected>,
    pub(crate) next: u64,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Injected {
    pub(crate) id: InjectionId,
    pub(crate) injection: Arc<Injection>,
    pub(crate) count: Arc<AtomicU64>,
}

/// Which writer a lane belongs to; also its number.
pub(crate) const fn lane_of(kind: StreamKind) -> usize {
    match kind {
        StreamKind::Msgapp => 0,
        StreamKind::Message => 1,
    }
}

/// The number of a pipeline's lane, behind those of the streams.
pub(crate) const PIPELINE: usize = 2;

/// A lane of what is to be posted and of what is being posted: nothing is released before its post has
/// ended, so that what is in flight stays counted. While no stream is up everything comes here, and
/// appends, of which there are always more, must leave room for the votes.
pub(super) fn pipeline_lane(config: &Config, core: &CoreShared) -> Lane<Message> {
    let messages_max = config.pipeline_messages_max + POSTS_IN_FLIGHT_MAX;
    let limits = LaneLimits { messages_max, bytes_max: config.lane_bytes_max };
    Lane::new(limits, Arc::clone(&core.backlog))
}

/// Whom messages are sent to, as senders see him.
pub(crate) trait Addressee {
    fn id(&self) -> MemberId;
    fn core(&self) -> &Arc<CoreShared>;
    fn drops(&self) -> &Drops;
    /// Where the core keeps him; `usize::MAX` until he moved in.
    fn slot(&self) -> usize;

    /// Tells the core that the lane has messages, unless it was told already.
    fn post_dirty(&self, lane: usize) {
        self.core().mailbox.push(Letter::Dirty(LaneKey { slot: self.slot(), lane }));
    }
}

/// One peer.
pub(crate) struct PeerShared {
    pub(crate) id: MemberId,
    /// Where it is dialled: the core that owns it has a copy in its picker.
    urls: RwLock<PeerUrls>,
    pub(crate) core: Arc<CoreShared>,
    /// Where the core keeps the peer; `usize::MAX` until it moved in.
    pub(crate) slot: AtomicUsize,
    pub(crate) links: [Link; 2],
    /// What is to be posted.
    pub(crate) pipeline: Lane<Message>,
    pub(crate) faults: PeerFaults,
    pub(crate) stopped: AtomicBool,
    pub(crate) drops: Drops,
    /// Nanoseconds since the epoch at which the peer became active, 0 while it is not.
    active_since: AtomicU64,
    /// What its probers found; by the number of their `RoundTripper`.
    probes: Mutex<[ProbeStats; 2]>,
    /// What etcd counts of it; stays when the peer goes.
    pub(crate) metrics: Arc<PeerMetrics>,
    /// What etcd tells of it in the leader's statistics; goes with the peer.
    pub(crate) follower_stats: Arc<Follower>,
}

impl TransportShared {
    /// One of its peers.
    pub(crate) fn peer(&self, id: MemberId) -> Option<Arc<PeerShared>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// True if a peer's URL names this address.
    pub(super) fn is_member_address(&self, address: IpAddr) -> bool {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.values().any(|peer| peer.lives_at(address))
    }

    /// So many snapshots to a member were lost: raft is told on its core, for no callback of the host's
    /// runs inside `send`.
    pub(crate) fn report_snapshots_lost(&self, core: &CoreShared, id: MemberId, count: usize) {
        if count > 0 {
            let lost = LostSnapshots { raft: Arc::clone(&self.raft), id, count };
            core.run(move |_| drop(lost));
        }
    }

    pub(crate) fn remotes(&self) -> MutexGuard<'_, Remotes<Arc<RemoteShared>>> {
        // Nothing panics while it is held, so a poisoned lock guards a sound list.
        self.remotes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what is left at a peer that was stopped, for nobody looks after it any more.
    pub(crate) fn tell_last(&self, peer: &PeerShared) {
        let drain = |lane| (peer.drain(lane), DropReason::Stopped);
        let in_lanes = (0..peer.links.len()).map(drain);
        let to_post = (drain_unposted(&peer.pipeline), DropReason::Stopped);
        let injected = peer.faults.drain_sent();
        let held_back = (injected.iter().collect::<ClassCounts>(), DropReason::Injected);
        let snapshots = to_post.0.get(MessageClass::Snapshot) + held_back.0.get(MessageClass::Snapshot);
        self.report_snapshots_lost(&peer.core, peer.id, snapshots);
        for (counts, reason) in peer.drops.take().chain(in_lanes).chain([to_post, held_back]) {
            for (class, messages) in counts.iter() {
                peer.note_told(reason, class, messages);
                self.config.observer.event(&Event::Dropped { peer: peer.id, class, messages, reason });
            }
        }
    }
}

/// Tells raft of snapshots that were lost, when it is dropped: so also if its core has ended.
struct LostSnapshots {
    raft: Arc<dyn Raft>,
    id: MemberId,
    count: usize,
}

impl Drop for LostSnapshots {
    fn drop(&mut self) {
        (0..self.count).for_each(|_| report_snapshot(&*self.raft, self.id, SnapshotStatus::Failure));
    }
}

/// Empties a pipeline's lane, on any thread; which messages it held.
pub(super) fn drain_unposted(lane: &Lane<Message>) -> ClassCounts {
    let (mut lost, mut counts) = (Waiting::new(), ClassCounts::default());
    lane.take(&mut lost);
    let mut release = lane.release();
    while let Some(message) = lost.pop() {
        release.add(&message);
        counts.add(message.class(), 1);
    }
    counts
}

impl Drop for PeerShared {
    fn drop(&mut self) {
        self.core.load.remove();
    }
}

impl Addressee for PeerShared {
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

impl PeerShared {
    pub(crate) fn new(
        id: MemberId,
        urls: PeerUrls,
        transport: &TransportShared,
        core: Arc<CoreShared>,
        follower_stats: Arc<Follower>,
    ) -> Self {
        let config = &transport.config;
        core.load.add();
        let now = Instant::now();
        let limits = LaneLimits { messages_max: config.lane_messages_max, bytes_max: config.lane_bytes_max };
        let meters = Meters {
            transport: Arc::clone(&transport.metrics),
            peer: transport.metrics.of_member(id),
            follower: Arc::clone(&follower_stats),
            stages: Arc::clone(&core.stages),
        };
        let link = |kind| {
            let writer = StreamWriterConfig {
                kind,
                dialect: config.dialect,
                local: config.id,
                remote: id,
                heartbeat_interval: config.heartbeat_interval,
                stall_timeout: config.write_timeout,
            };
            let backlog = Arc::clone(&core.backlog);
            let lane = match kind {
                // Nothing but appends ever waits there.
                StreamKind::Msgapp => Lane::of_one_rank(limits, backlog),
                StreamKind::Message => Lane::new(limits, backlog),
            };
            Link::new(writer, lane, core.pool.clone(), meters.clone(), now)
        };
        Self {
            id,
            urls: RwLock::new(urls),
            links: [link(StreamKind::Msgapp), link(StreamKind::Message)],
            pipeline: pipeline_lane(config, &core),
            core,
            slot: AtomicUsize::new(usize::MAX),
            faults: PeerFaults::new(id),
            stopped: AtomicBool::new(false),
            drops: Drops::default(),
            active_since: AtomicU64::new(0),
            probes: Mutex::default(),
            metrics: meters.peer,
            follower_stats,
        }
    }

    /// The same member, to be started on another core.
    pub(crate) fn moved(&self, transport: &TransportShared, core: Arc<CoreShared>) -> Self {
        let moved = Self::new(self.id, self.urls(), transport, core, Arc::clone(&self.follower_stats));
        moved.faults.take_over(&self.faults);
        moved
    }

    pub(super) fn set_probe(&self, which: RoundTripper, stats: ProbeStats) {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)[which.index()] = stats;
    }

    pub(crate) fn probe(&self, which: RoundTripper) -> ProbeStats {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)[which.index()].clone()
    }

    pub(crate) fn urls(&self) -> PeerUrls {
        self.urls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_urls(&self, urls: PeerUrls) {
        *self.urls.write().unwrap_or_else(PoisonError::into_inner) = urls;
    }

    fn lives_at(&self, address: IpAddr) -> bool {
        let urls = self.urls.read().unwrap_or_else(PoisonError::into_inner);
        let lives = |url: &PeerUrl| match url.port() {
            Some(_) => url.host().parse() == Ok(address),
            // Of a unix socket: all its clients have this address.
            None => address.is_unspecified(),
        };
        urls.as_slice().iter().any(lives)
    }

    /// Empties a stream's lane, on any thread; which messages it held.
    fn drain(&self, lane: usize) -> ClassCounts {
        let link = &self.links[lane];
        let mut desk = link.clear_desk();
        let lost = desk.drain(&link.lane);
        if desk.leave() {
            self.post_dirty(lane);
            self.core.doorbell.ring();
        }
        lost
    }

    /// Messages were dropped, of which the observer is told now.
    pub(super) fn note_told(&self, reason: DropReason, class: MessageClass, messages: usize) {
        self.drops.note_told(reason, class, messages);
        self.metrics.dropped.count(reason, class, messages);
        if matches!(reason, DropReason::LaneFull(_)) {
            self.metrics.sent_failures.add(messages as u64);
        }
    }

    /// What the peer holds and did; waits for a sender at work, so only for the core.
    pub(crate) fn stats(&self) -> PeerStats {
        let dropped = self.drops.snapshot();
        let [msgapp, message] = &self.links;
        PeerStats {
            core: self.core.index,
            msgapp: msgapp.stats(),
            message: message.stats(),
            dropped,
            ..PeerStats::default()
        }
    }

    pub(crate) fn active_since(&self, epoch: Instant) -> Option<Instant> {
        match self.active_since.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(epoch + Duration::from_nanos(nanos)),
        }
    }

    pub(super) fn set_active_since(&self, epoch: Instant, since: Option<Instant>) {
        // A peer that became active in the very first nanosecond still counts as active.
        let nanos = since.map_or(0, |at| at.saturating_duration_since(epoch).as_nanos().max(1) as u64);
        self.active_since.store(nanos, Ordering::Relaxed);
    }
}
