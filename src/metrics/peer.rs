//! What is counted of one member.

use super::drops::{Dropped, Rejected};
use super::histogram::{Histogram, ROUND_TRIP_SECONDS, SNAPSHOT_SECONDS};
use super::number::{Counter, Gauge};

/// Everything that etcd counts under one value of `To`, `From` or `Remote`; bytes are those of
/// protobuf and not of frames. It outlives its peer, as a label value does in etcd.
#[derive(Debug)]
pub struct PeerMetrics {
    /// `active_peers`: 1 while the peer is active.
    pub active: Gauge,
    /// `disconnected_peers_total`: how often it became inactive.
    pub disconnected: Counter,
    /// `peer_sent_bytes_total`: by streams at a flush, by POSTs when they succeeded.
    pub sent_bytes: Counter,
    /// `peer_received_bytes_total`, by the message's `from`; link heartbeats come from 0.
    pub received_bytes: Counter,
    /// `peer_sent_failures_total`: full queues; writes, link heartbeats and POSTs that failed.
    pub sent_failures: Counter,
    /// `peer_received_failures_total`: what was received and not handed to the host for want of room.
    pub received_failures: Counter,
    /// `snapshot_send_success`.
    pub snapshot_send_success: Counter,
    /// `snapshot_send_failures`.
    pub snapshot_send_failures: Counter,
    /// `snapshot_send_inflights_total`, a gauge for all its name.
    pub snapshot_send_inflights: Gauge,
    /// `snapshot_send_total_duration_seconds`, of those that succeeded.
    pub snapshot_send_seconds: Histogram<10>,
    /// `snapshot_receive_success`.
    pub snapshot_receive_success: Counter,
    /// `snapshot_receive_failures`; see also `Metrics::unknown_sender`.
    pub snapshot_receive_failures: Counter,
    /// `snapshot_receive_inflights_total`.
    pub snapshot_receive_inflights: Gauge,
    /// `snapshot_receive_total_duration_seconds`, of those that succeeded.
    pub snapshot_receive_seconds: Histogram<10>,
    /// `peer_round_trip_time_seconds`: smoothed round trips of both probers, as the monitor sees them.
    pub round_trip_seconds: Histogram<16>,
    /// Of ours: what was not sent.
    pub dropped: Dropped,
    /// Of ours: what was not handed to the host.
    pub rejected: Rejected,
}

impl PeerMetrics {
    /// Nothing has happened.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            active: Gauge::new(),
            disconnected: Counter::new(),
            sent_bytes: Counter::new(),
            received_bytes: Counter::new(),
            sent_failures: Counter::new(),
            received_failures: Counter::new(),
            snapshot_send_success: Counter::new(),
            snapshot_send_failures: Counter::new(),
            snapshot_send_inflights: Gauge::new(),
            snapshot_send_seconds: Histogram::new(&SNAPSHOT_SECONDS),
            snapshot_receive_success: Counter::new(),
            snapshot_receive_failures: Counter::new(),
            snapshot_receive_inflights: Gauge::new(),
            snapshot_receive_seconds: Histogram::new(&SNAPSHOT_SECONDS),
            round_trip_seconds: Histogram::new(&ROUND_TRIP_SECONDS),
            dropped: Dropped::new(),
            rejected: Rejected::new(),
        }
    }
}

impl Default for PeerMetrics {
    fn default() -> Self {
        Self::new()
    }
}
