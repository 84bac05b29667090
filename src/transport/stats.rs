//! etcd's statistics of a server and of a leader, which are no part of the peer protocol.

use std::sync::PoisonError;
use std::time::Instant;

use super::Transport;
use crate::id::MemberId;
use crate::io::wall_time;
use crate::metrics::AppendMeter;
use crate::proto::stats::{Appends, LeaderStats, RaftState, ServerStats};

impl Transport {
    /// The host tells what its raft is and who leads, for [`Transport::server_stats`]. The transport
    /// itself does nothing by it.
    pub fn tell_leadership(&self, state: RaftState, leader: Option<MemberId>) {
        let mut leadership = self.shared.leadership.lock().unwrap_or_else(PoisonError::into_inner);
        leadership.tell(state, leader, Instant::now(), wall_time());
    }

    /// How many appends this member sends and receives, and who leads.
    ///
    /// Appends are counted when they leave or come, on whatever way; rafthttp counts those it sends
    /// when they are handed to it, also those that it then drops.
    #[must_use]
    pub fn server_stats(&self) -> ServerStats {
        let (shared, now) = (&self.shared, Instant::now());
        let appends = |of: &AppendMeter| {
            let (per_second, bytes_per_second) = of.rates(now);
            Appends { count: of.count(), per_second, bytes_per_second }
        };
        let stats = ServerStats {
            name: shared.config.name.clone(),
            id: shared.config.id,
            start: shared.started,
            state: RaftState::default(),
            leader: None,
            leader_start: shared.started,
            leader_uptime: now.saturating_duration_since(shared.epoch),
            received: appends(shared.metrics.server.received()),
            sent: appends(shared.metrics.server.sent()),
        };
        let leadership = shared.leadership.lock().unwrap_or_else(PoisonError::into_inner);
        stats.set_leadership(&leadership, now)
    }

    /// How long appends to each peer take, from when they were encoded until the kernel had them, and
    /// how many failed. A peer's are forgotten when it is removed.
    ///
    /// Those that leave in one write all took as long as the oldest of them.
    #[must_use]
    pub fn leader_stats(&self) -> LeaderStats {
        let peers = self.peers();
        let mut followers: Vec<_> = peers.iter().map(|(id, peer)| (*id, peer.follower_stats.get())).collect();
        followers.sort_by_key(|(id, _)| id.0);
        LeaderStats { leader: self.shared.config.id, followers }
    }
}
