//! What is counted, for whoever scrapes.

use std::sync::{Arc, PoisonError};

use super::Transport;
use crate::io::core_families;
use crate::io::letter::CoreShared;
use crate::io::shared::{PeerShared, TransportShared};
use crate::metrics::{Families, Kind, Latencies, Value};

/// All that these transports and their cores count. What they count of the same member is added up,
/// as etcd does for all transports of a process; cores that they share are there once.
///
/// Takes no lock that anybody holds for long and crosses to no core: it may be called anywhere, also
/// inside of `Raft::process`.
#[must_use]
pub fn metrics_of<'a>(transports: impl IntoIterator<Item = &'a Transport>) -> Families {
    let (mut families, mut cores) = (Families::default(), Vec::<&Arc<CoreShared>>::new());
    for transport in transports {
        families.merge(transport.shared.families());
        for core in &transport.shared.cores {
            if !cores.iter().any(|known| Arc::ptr_eq(known, core)) {
                cores.push(core);
            }
        }
    }
    families.merge(core_families(&cores));
    families
}

impl Transport {
    /// All that this transport and its cores count, as data; several transports of a process by [`metrics_of`].
    #[must_use]
    pub fn families(&self) -> Families {
        metrics_of([self])
    }

    /// The same as Prometheus reads it, for a page of the type
    /// [`TEXT_CONTENT_TYPE`](crate::metrics::TEXT_CONTENT_TYPE).
    #[must_use]
    pub fn metrics_text(&self) -> String {
        self.families().to_text()
    }

    /// How long messages stayed in each stage of their way, since the cores were started: those of all
    /// transports on these cores.
    #[must_use]
    pub fn latencies(&self) -> Latencies {
        Latencies::of(self.shared.cores.iter().map(|core| &*core.stages))
    }
}

impl TransportShared {
    fn families(&self) -> Families {
        let mut families = self.metrics.families(self.config.id);
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        self.lane_depths(&mut families, peers);
        families
    }

    fn lane_depths(&self, families: &mut Families, mut peers: Vec<Arc<PeerShared>>) {
        peers.sort_by_key(|peer| peer.id.0);
        let (local, labels) = (self.config.id, &["Local", "To", "Lane"]);
        let depths = peers.iter().flat_map(|peer| {
            let [msgapp, message] = &peer.links;
            let lanes = [("msgapp", &msgapp.lane), ("message", &message.lane), ("pipeline", &peer.pipeline)];
            lanes.map(|(way, lane)| (peer.id, way, lane.depth()))
        });
        let depths: Vec<_> = depths.collect();
        families.begin(Kind::Gauge, "raftring_lane_messages", labels, "Messages that wait to be encoded.");
        for (to, way, (messages, _)) in &depths {
            families.sample([&local, to, way], Value::Level(*messages as f64));
        }
        families.begin(Kind::Gauge, "raftring_lane_bytes", labels, "Payload bytes of messages that wait.");
        for (to, way, (_, bytes)) in &depths {
            families.sample([&local, to, way], Value::Level(*bytes as f64));
        }
    }
}
