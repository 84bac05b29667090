//! What a desk counts: once a flush, and not once a message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::buf::Chain;
use crate::cores::Waiting;
use crate::metrics::{Follower, Metrics, PeerMetrics, Sampler, Stage, Stages};
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
    sampler: Sampler,
    /// When the first message was encoded that is not in flight yet.
    encoded_at: Option<Instant>,
    /// When the write in flight began, if it is timed.
    began: Option<Instant>,
    /// How long the last one that was timed stayed encoded, and then took.
    encoded: Duration,
    written: Duration,
    /// Appends and their bytes since then, which no rate has in it yet.
    unrated: (u64, u64),
}

impl Meter {
    pub(super) fn new(meters: Meters, kind: StreamKind) -> Self {
        Self {
            meters,
            kind,
            sampler: Sampler::default(),
            encoded_at: None,
            began: None,
            encoded: Duration::ZERO,
            written: Duration::ZERO,
            unrated: (0, 0),
        }
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

    /// The next chain for a write on the ring, counted as it leaves.
    pub(super) fn flush(&mut self, machine: &mut StreamWriter, now: Instant) -> Option<Chain> {
        let chain = machine.poll_transmit(now)?;
        if let Some(flushed) = machine.in_flight() {
            self.leaves(flushed, Some(Instant::now()));
        }
        Some(chain)
    }

    /// The same for one that is sent at once: of small ones not each is timed.
    pub(super) fn flush_directly(&mut self, machine: &mut StreamWriter, now: Instant) -> Option<Chain> {
        let chain = machine.poll_transmit(now)?;
        if let Some(flushed) = machine.in_flight() {
            let is_timed = self.sampler.times(flushed.messages.total());
            self.leaves(flushed, is_timed.then(Instant::now));
        }
        Some(chain)
    }

    fn leaves(&mut self, flushed: &Flushed, began: Option<Instant>) {
        self.began = began;
        let encoded_at = self.encoded_at.take();
        if let Some(began) = began {
            self.encoded = began.saturating_duration_since(encoded_at.unwrap_or(began));
        }
        let Meters { transport, peer, stages, .. } = &self.meters;
        let messages = flushed.messages.total();
        peer.sent_bytes.add(flushed.bytes);
        transport.flushes(self.kind).add(flushed.reason as usize, messages);
        if messages > 0 {
            stages.record(Stage::Encoded, self.encoded, messages);
        }
    }

    /// The kernel did not take all of it at once, so that it is timed from now on.
    pub(super) fn goes_on(&mut self, now: Instant) {
        self.began.get_or_insert(now);
    }

    /// The kernel has all of it.
    pub(super) fn written(&mut self, flushed: &Flushed) {
        let messages = flushed.messages.total();
        if messages == 0 {
            return;
        }
        let now = self.began.map(|began| {
            let now = Instant::now();
            self.written = now.saturating_duration_since(began);
            now
        });
        let Meters { transport, follower, stages, .. } = &self.meters;
        stages.record(Stage::Written, self.written, messages);
        if self.kind == StreamKind::Msgapp {
            follower.successes(messages as u64, self.encoded + self.written);
        }
        let appends = flushed.messages.get(MessageClass::Append) as u64;
        if appends > 0 {
            transport.server.sent().add(appends);
            self.unrated = (self.unrated.0 + appends, self.unrated.1 + flushed.append_bytes);
            if let Some(now) = now {
                let (appends, bytes) = std::mem::take(&mut self.unrated);
                transport.server.sent().rate(now, appends, bytes);
            }
        }
    }

    /// The connection is gone, and what was encoded with it.
    pub(super) const fn detached(&mut self) {
        self.encoded_at = None;
    }
}
