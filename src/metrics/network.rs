//! etcd's `etcd_network_*`, name by name (protocol section 15), and ours of members beside them.

use std::sync::Arc;

use super::family::{Families, Kind, Value};
use super::flush::REASONS;
use super::histogram::Histogram;
use super::number::{Counter, Gauge};
use super::peer::PeerMetrics;
use super::registry::Metrics;
use crate::event::{DropReason, RejectReason};
use crate::id::MemberId;
use crate::proto::codec::StreamKind;

/// A metric of one label: what it is, its name, its label, what it tells, and how that is found.
type OfMember =
    (Kind, &'static str, &'static [&'static str], &'static str, fn(&PeerMetrics) -> Option<Value>);

const TO: &[&str] = &["To"];
const FROM: &[&str] = &["From"];

const OF_MEMBERS: [OfMember; 13] = {
    use Kind::{Counter as C, Gauge as G, Histogram as H};
    [
        (C, "etcd_network_peer_sent_bytes_total", TO, "Protobuf bytes sent.", |m| counted(&m.sent_bytes)),
        (C, "etcd_network_peer_received_bytes_total", FROM, "Protobuf bytes received.", |m| {
            counted(&m.received_bytes)
        }),
        (C, "etcd_network_peer_sent_failures_total", TO, "Failures to send.", |m| counted(&m.sent_failures)),
        (C, "etcd_network_peer_received_failures_total", FROM, "What came and was not taken.", |m| {
            counted(&m.received_failures)
        }),
        (C, "etcd_network_snapshot_send_success", TO, "Snapshots sent.", |m| {
            counted(&m.snapshot_send_success)
        }),
        (C, "etcd_network_snapshot_send_failures", TO, "Snapshots that were not sent.", |m| {
            counted(&m.snapshot_send_failures)
        }),
        (G, "etcd_network_snapshot_send_inflights_total", TO, "Snapshots being sent.", |m| {
            set(&m.snapshot_send_inflights)
        }),
        (H, "etcd_network_snapshot_send_total_duration_seconds", TO, "Time to send a snapshot.", |m| {
            observed(&m.snapshot_send_seconds)
        }),
        (C, "etcd_network_snapshot_receive_success", FROM, "Snapshots received.", |m| {
            counted(&m.snapshot_receive_success)
        }),
        (C, "etcd_network_snapshot_receive_failures", FROM, "Snapshots that were not received.", |m| {
            counted(&m.snapshot_receive_failures)
        }),
        (G, "etcd_network_snapshot_receive_inflights_total", FROM, "Snapshots being received.", |m| {
            set(&m.snapshot_receive_inflights)
        }),
        (
            H,
            "etcd_network_snapshot_receive_total_duration_seconds",
            FROM,
            "Time to receive a snapshot.",
            |m| observed(&m.snapshot_receive_seconds),
        ),
        (H, "etcd_network_peer_round_trip_time_seconds", TO, "Smoothed round trips of probes.", |m| {
            observed(&m.round_trip_seconds)
        }),
    ]
};

fn counted(counter: &Counter) -> Option<Value> {
    let count = counter.get();
    (count > 0).then_some(Value::Count(count))
}

fn set(gauge: &Gauge) -> Option<Value> {
    gauge.get().map(|level| Value::Level(level as f64))
}

fn observed<const N: usize>(histogram: &Histogram<N>) -> Option<Value> {
    // In this order: whoever observes meanwhile must not leave the whole below a part.
    let buckets = histogram.cumulative().collect();
    let count = histogram.count();
    (count > 0).then(|| Value::Histogram { buckets, sum: histogram.sum_seconds(), count })
}

impl Metrics {
    /// All that is counted by member, for the transport of `local`.
    #[must_use]
    pub fn families(&self, local: MemberId) -> Families {
        let (mut families, labels) = (Families::default(), self.labels());
        self.edges(&mut families, local, &labels);
        for (kind, name, label, help, value) in OF_MEMBERS {
            families.begin(kind, name, label, help);
            for (member, metrics) in &labels {
                if let Some(value) = value(metrics) {
                    families.sample([member], value);
                }
            }
        }
        self.drops(&mut families, local, &labels);
        self.traffic(&mut families, local);
        families
    }

    /// Who became active and inactive.
    fn edges(&self, families: &mut Families, local: MemberId, labels: &[(String, Arc<PeerMetrics>)]) {
        let both = &["Local", "Remote"];
        families.begin(Kind::Gauge, "etcd_network_active_peers", both, "Members that are active: 1, or 0.");
        for (remote, metrics) in labels {
            if let Some(value) = set(&metrics.active) {
                families.sample([&local, remote], value);
            }
        }
        let name = "etcd_network_disconnected_peers_total";
        families.begin(Kind::Counter, name, both, "How often members became inactive.");
        for (remote, metrics) in labels {
            if let Some(value) = counted(&metrics.disconnected) {
                families.sample([&local, remote], value);
            }
        }
    }

    fn drops(&self, families: &mut Families, local: MemberId, labels: &[(String, Arc<PeerMetrics>)]) {
        let (to, help) = (&["Local", "To", "Reason", "Class"], "Messages that were not sent.");
        families.begin(Kind::Counter, "raftring_dropped_messages_total", to, help);
        for (label, metrics) in labels {
            for (reason, class, count) in metrics.dropped.each() {
                let reason = DropReason::ALL[reason].name();
                families.sample([&local, label, &reason, &class.name()], Value::Count(count));
            }
        }
        let (from, help) =
            (&["Local", "From", "Reason", "Class"], "Received messages that the host was not given.");
        families.begin(Kind::Counter, "raftring_rejected_messages_total", from, help);
        for (label, metrics) in labels {
            for (reason, class, count) in metrics.rejected.each() {
                let reason = RejectReason::ALL[reason].name();
                families.sample([&local, label, &reason, &class.name()], Value::Count(count));
            }
        }
    }

    /// What is counted for all members together.
    fn traffic(&self, families: &mut Families, local: MemberId) {
        let streams = [("msgapp", StreamKind::Msgapp), ("message", StreamKind::Message)];
        let labels = &["Local", "Stream", "Reason"];
        families.begin(Kind::Counter, "raftring_flushes_total", labels, "Chains written, by why they left.");
        for (stream, kind) in streams {
            for (reason, name) in REASONS.iter().enumerate() {
                let count = self.flushes(kind).of_reason(reason);
                families.sample([&local, &stream, name], Value::Count(count));
            }
        }
        let labels = &["Local", "Stream"];
        families.begin(Kind::Histogram, "raftring_flush_messages", labels, "Messages that left together.");
        for (stream, kind) in streams {
            let flushes = self.flushes(kind);
            let buckets = flushes.cumulative().map(|(bound, count)| (bound as f64, count)).collect();
            let (sum, count) = (flushes.messages() as f64, flushes.count());
            families.sample([&local, &stream], Value::Histogram { buckets, sum, count });
        }
        families.begin(Kind::Counter, "raftring_sent_appends_total", &["Local"], "MsgApp written.");
        families.sample([&local], Value::Count(self.server.sent().count()));
        families.begin(Kind::Counter, "raftring_received_appends_total", &["Local"], "MsgApp received.");
        families.sample([&local], Value::Count(self.server.received().count()));
    }
}
