//! Faults on purpose, for tests of hosts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

use super::Transport;
use crate::error::ConfigError;
use crate::id::MemberId;
use crate::io::faults::break_connections;
use crate::io::shared::{Injected, Injections, PeerShared};
use crate::proto::fault::{Fault, Injection, InjectionId, RULES_MAX, Side};

/// An injected fault and what it did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InjectionStats {
    /// Its handle.
    pub id: InjectionId,
    /// What was asked for.
    pub injection: Injection,
    /// Messages it happened to, of all peers and both ways: lost, late, followed by a copy, held back by
    /// a pause, or among which the order was changed.
    pub messages: u64,
}

impl Transport {
    /// Injects a fault, until it is [mended](Transport::mend): for tests of hosts. Messages pass the
    /// faults in the order in which those were injected, before a link is picked and behind the stream
    /// they came by. A transport without faults does nothing for this. Remotes are not concerned, and a
    /// snapshot with a database by [`Fault::Disconnect`] alone.
    ///
    /// What a fault loses is counted and told as `DropReason::Injected` or `RejectReason::Injected`; raft
    /// is not told that the peer is unreachable, as it would not be of what a network loses, but of a
    /// lost MsgSnap it hears as always. What it holds back is bounded (65,536 messages and 64 MiB of
    /// each peer and way), and lost when the peer is stopped or moved.
    ///
    /// Which messages it happens to is the same for the same seed and messages: for each peer, and each
    /// of the four ways of its messages (sent, and received by one of the streams or by `POST /raft`),
    /// SplitMix64 draws one number a message and lot.
    ///
    /// # Errors
    /// A probability, delay or window that cannot be, or 64 faults at once.
    pub fn inject(&self, injection: Injection) -> Result<InjectionId, ConfigError> {
        let refused = |advice: &str| ConfigError { setting: "injection", advice: advice.to_owned() };
        injection.validate().map_err(refused)?;
        // In this order, as whoever adds a peer: each gets each fault once.
        let peers = self.peers();
        let mut injections = self.injections_mut();
        if injections.all.len() >= RULES_MAX {
            return Err(refused("64 faults are there already: mend one first"));
        }
        let id = InjectionId(injections.next);
        injections.next += 1;
        let injected = Injected { id, injection: Arc::new(injection), count: Arc::new(AtomicU64::new(0)) };
        for peer in peers.values() {
            inject(peer, &injected);
        }
        injections.all.push(injected);
        Ok(id)
    }

    /// Ends a fault. What it holds back goes on: at once, and what is late when its time has come. False
    /// if it was ended before.
    pub fn mend(&self, id: InjectionId) -> bool {
        let peers = self.peers();
        let mut injections = self.injections_mut();
        let Some(place) = injections.all.iter().position(|injected| injected.id == id) else { return false };
        injections.all.remove(place);
        let now = Instant::now();
        for peer in peers.values() {
            peer.faults.mend(id, now);
            peer.post_faults();
        }
        true
    }

    /// Ends all faults that were injected; not a [pause](Transport::pause) or a
    /// [cut](Transport::cut_peer).
    pub fn mend_all(&self) {
        for injected in self.injections() {
            self.mend(injected.id);
        }
    }

    /// The faults that are injected now, in their order.
    #[must_use]
    pub fn injections(&self) -> Vec<InjectionStats> {
        let stats = |injected: &Injected| InjectionStats {
            id: injected.id,
            injection: Injection::clone(&injected.injection),
            messages: injected.count.load(Ordering::Relaxed),
        };
        self.injections_mut().all.iter().map(stats).collect()
    }

    /// Breaks every stream to and from a peer now, and what posts to it; they are made anew at once,
    /// unless [`Fault::Disconnect`] is injected. An unknown id is ignored.
    pub fn break_connections(&self, id: impl Into<MemberId>) {
        if let Some(peer) = self.shared.peer(id.into()) {
            break_connections(&peer, None);
        }
    }

    /// Every fault there is, for a peer that is new. The caller holds the lock of all peers.
    pub(super) fn inject_all(&self, peer: &Arc<PeerShared>) {
        for injected in &self.injections_mut().all {
            inject(peer, injected);
        }
    }

    fn injections_mut(&self) -> MutexGuard<'_, Injections> {
        self.shared.injections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn inject(peer: &Arc<PeerShared>, Injected { id, injection, count }: &Injected) {
    peer.faults.inject(*id, injection, count);
    let broken = |side| injection.concerns(peer.id, side);
    if injection.fault() == Fault::Disconnect {
        for side in [Side::Sending, Side::Receiving].into_iter().filter(|side| broken(*side)) {
            break_connections(peer, Some(side));
        }
    }
}
