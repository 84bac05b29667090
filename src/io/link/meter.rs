//! What a desk counts: once a flush, and not once a message.

use std::sync::Arc;
use std::time::Instant;

use crate::buf::Chain;
use crate::cores::Waiting;
use crate::metrics::{Follower, Metrics, PeerMetrics, Stage, Stages};
use crate::proto::codec::StreamKind;
use crate::proto::stream::{Flushed, StreamWriter};
use crate::raftpb::{Message, MessageClass};

/// Where the desk of one link counts.
#[derive(Clone, Debug)]
pub(in crate::io) struct Meters {
    pub(in crate::io) transport: Arc<Metrics>,
    pub(in crate::io) peer: Arc<PeerMetrics>,
    pub(in crate::io) follower: Arc<Follower>,
    pub(in crate::io) stages: Arc<Stages>,
}

/// The desk's own hand.
#[derive(Debug)]
pub(super) struct Meter {
    meters: Meters,
    kind: StreamKind,
    /// When the first message was encoded that is not in flight yet.
    encoded_at: Option<Instant>,
    flight: Flight,
}

/// What is in flight: when it was encoded, and when its write began.
#[derive(Clone, Copy, Debug)]
struct Flight {
    encoded_at: Instant,
    began: Instant,
}

impl Meter {
    pub(super) const fn new(meters: Meters, kind: StreamKind, now: Instant) -> Self {
        Self { meters, kind, encoded_at: None, flight: Flight { encoded_at: now, began: now } }
    }

    /// Messages that waited have been encoded.
    pub(super) fn dequeued(&mut self, queue: &mut Waiting<Message>, now: Instant) {
        let stages = &self.meters.stages;
        queue.settle(|since, messages| {
            stages.record(Stage::Queued, now.saturating_duration_since(since), messages);
        });
        self.encoded_at.get_or_insert(now);
    }

    /// True if nothing was encoded since the last flush, as far as the meter knows.
    pub(super) const fn is_idle(&self) -> bool {
        self.encoded_at.is_none()
    }

    /// Messages have been encoded, the first of them now or at the moment of an earlier call.
    pub(super) fn encoded(&mut self, now: Instant) {
        self.encoded_at.get_or_insert(now);
    }

    /// The next chain, counted as it leaves.
    pub(super) fn flush(&mut self, machine: &mut StreamWriter, now: Instant) -> Option<Chain> {
        let chain = machine.poll_transmit(now)?;
        if let Some(flushed) = machine.in_flight() {
            self.leaves(flushed, Instant::now());
        }
        Some(chain)
    }

    fn leaves(&mut self, flushed: &Flushed, now: Instant) {
        let encoded_at = self.encoded_at.take().unwrap_or(now);
        self.flight = Flight { encoded_at, began: now };
        let Meters { transport, peer, stages, .. } = &self.meters;
        let messages = flushed.messages.total();
        peer.sent_bytes.add(flushed.bytes);
        transport.flushes(self.kind).add(flushed.reason as usize, messages);
        if messages > 0 {
            stages.record(Stage::Encoded, now.saturating_duration_since(encoded_at), messages);
        }
        let appends = flushed.messages.get(MessageClass::Append);
        if appends > 0 {
            transport.server.sent_appends(now, appends as u64, flushed.append_bytes);
        }
    }

    /// The kernel has all of it.
    pub(super) fn written(&self, flushed: &Flushed, now: Instant) {
        let messages = flushed.messages.total();
        if messages == 0 {
            return;
        }
        let Flight { encoded_at, began } = self.flight;
        self.meters.stages.record(Stage::Written, now.saturating_duration_since(began), messages);
        if self.kind == StreamKind::Msgapp {
            let took = now.saturating_duration_since(encoded_at);
            self.meters.follower.successes(messages as u64, took);
        }
    }

    /// The connection is gone, and what was encoded with it.
    pub(super) const fn detached(&mut self) {
        self.encoded_at = None;
    }
}
