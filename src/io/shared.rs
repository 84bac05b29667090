//! The part of a transport and its peers that every thread sees.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::letter::{CoreShared, LaneKey, Letter};
use crate::config::Config;
use crate::cores::{Lane, LaneLimits, Refused};
use crate::event::{DropReason, Event};
use crate::id::MemberId;
use crate::proto::codec::StreamKind;
use crate::proto::handshake::Identity;
use crate::raft::Raft;
use crate::raftpb::Message;

/// One transport.
pub(crate) struct TransportShared {
    pub(crate) config: Config,
    /// What we say of ourselves in handshakes.
    pub(crate) own: Identity,
    pub(crate) raft: Arc<dyn Raft>,
    pub(crate) core: Arc<CoreShared>,
    pub(crate) peers: RwLock<FxHashMap<MemberId, Arc<PeerShared>>>,
    pub(crate) stopped: AtomicBool,
    /// Where the core keeps the endpoint; `usize::MAX` until it moved in.
    pub(crate) slot: AtomicUsize,
    /// What moments are counted from, to fit an atomic.
    pub(crate) epoch: Instant,
}

/// Which writer a lane belongs to; also its number.
pub(crate) const fn lane_of(kind: StreamKind) -> usize {
    match kind {
        StreamKind::Msgapp => 0,
        StreamKind::Message => 1,
    }
}

/// One peer.
pub(crate) struct PeerShared {
    pub(crate) id: MemberId,
    pub(crate) core: Arc<CoreShared>,
    /// Where the core keeps the peer; `usize::MAX` until it moved in.
    pub(crate) slot: AtomicUsize,
    pub(crate) lanes: [Lane<Message>; 2],
    up: [AtomicBool; 2],
    pub(crate) paused: AtomicBool,
    pub(crate) stopped: AtomicBool,
    /// Messages dropped by senders and not yet told; see [`PeerShared::count_dropped`].
    dropped: [AtomicUsize; DROPPED.len()],
    /// Nanoseconds since the epoch at which the peer became active, 0 while it is not.
    active_since: AtomicU64,
}

/// Reasons for which a sender drops, by the number under which it counts them.
const DROPPED: [DropReason; 5] = [
    DropReason::LaneFull(Refused::Messages),
    DropReason::LaneFull(Refused::Bytes),
    DropReason::NoStream,
    DropReason::Paused,
    DropReason::TooLarge,
];

impl TransportShared {
    /// Tells what is left at a peer that was stopped, for nobody looks after it any more.
    pub(crate) fn tell_last(&self, peer: &PeerShared) {
        let in_lanes = (0..peer.lanes.len()).map(|lane| (peer.drain_lane(lane), DropReason::Stopped));
        for (messages, reason) in peer.take_dropped().chain(in_lanes) {
            if messages > 0 {
                self.config.observer.event(&Event::Dropped { peer: peer.id, messages, reason });
            }
        }
    }
}

impl PeerShared {
    pub(crate) fn new(id: MemberId, core: Arc<CoreShared>, limits: LaneLimits) -> Self {
        Self {
            id,
            core,
            slot: AtomicUsize::new(usize::MAX),
            lanes: [Lane::new(limits), Lane::new(limits)],
            up: Default::default(),
            paused: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            dropped: Default::default(),
            active_since: AtomicU64::new(0),
        }
    }

    /// True while the writer of this lane has a connection.
    pub(crate) fn is_up(&self, lane: usize) -> bool {
        self.up[lane].load(Ordering::Acquire)
    }

    pub(super) fn set_up(&self, lane: usize, up: bool) {
        self.up[lane].store(up, Ordering::Release);
    }

    /// Tells the core that the lane has messages, unless it was told already.
    pub(crate) fn post_dirty(&self, lane: usize) {
        let slot = self.slot.load(Ordering::Acquire);
        self.core.mailbox.push(Letter::Dirty(LaneKey { slot, lane }));
    }

    /// Counts messages that a sender dropped; true if the core must be told, which then tells the
    /// host once for all of them.
    pub(crate) fn count_dropped(&self, reason: usize, messages: usize) -> bool {
        self.dropped[reason].fetch_add(messages, Ordering::Relaxed) == 0
    }

    /// True if senders dropped something that is not told yet.
    pub(super) fn has_dropped(&self) -> bool {
        self.dropped.iter().any(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// What senders dropped since the last time.
    pub(super) fn take_dropped(&self) -> impl Iterator<Item = (usize, DropReason)> {
        self.dropped.iter().map(|count| count.swap(0, Ordering::Relaxed)).zip(DROPPED)
    }

    /// Empties a lane from which nobody will write; how many messages it held.
    pub(super) fn drain_lane(&self, lane: usize) -> usize {
        let mut lost = VecDeque::new();
        self.lanes[lane].take(&mut lost);
        self.lanes[lane].release(lost.len(), lost.iter().map(Message::payload_bytes).sum());
        lost.len()
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
