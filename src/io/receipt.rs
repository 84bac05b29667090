//! What the receiving half of a peer counts: once a step of the decoder, and not once a message.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::endpoint::Endpoint;
use super::peer::Peer;
use super::reader::ReaderSlot;
use super::shared::lane_of;
use crate::event::{Event, RejectReason};
use crate::id::MemberId;
use crate::metrics::{Sampler, Stage};
use crate::proto::codec::{StreamKind, message_size};
use crate::proto::stream::Received;
use crate::raftpb::{Message, MessageClass, MessageType};

/// What one step of the decoder brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receipt {
    pub(super) received: Received,
    /// When the read ended that brought the last of it.
    pub(super) read_at: Instant,
    /// `None` if the step is not timed.
    pub(super) decoded_at: Option<Instant>,
}

/// How long the last step took that was timed, for those behind it that are not.
#[derive(Debug, Default)]
pub(super) struct Timing {
    pub(super) sampler: Cell<Sampler>,
    pub(super) received: Cell<Duration>,
    pub(super) handed_over: Cell<Duration>,
    /// Appends and their bytes since then, which no rate has in it yet.
    unrated: Cell<(u64, u64)>,
}

impl Timing {
    /// The clock, if a step with so many messages is timed.
    pub(super) fn now(&self, messages: usize) -> Option<Instant> {
        let mut sampler = self.sampler.get();
        let is_timed = messages > 0 && sampler.times(messages);
        self.sampler.set(sampler);
        is_timed.then(Instant::now)
    }
}

impl Peer {
    /// Counts a step, before anything of it is dropped.
    pub(super) fn count_received(&self, kind: StreamKind, receipt: &Receipt, batch: &[Message]) {
        let transport = &self.endpoint.shared;
        let Receipt { received, read_at, decoded_at } = *receipt;
        if received.link_heartbeat_bytes > 0 {
            transport.metrics.nobody().received_bytes.add(received.link_heartbeat_bytes);
        }
        if batch.is_empty() {
            return;
        }
        let timing = &self.readers[lane_of(kind)].timing;
        if let Some(decoded_at) = decoded_at {
            timing.received.set(decoded_at.saturating_duration_since(read_at));
        }
        self.endpoint.core.shared.stages.record(Stage::Received, timing.received.get(), batch.len());
        // What is appended comes from the other end; what is not its own is rejected behind us.
        let (of_others, appends, append_bytes) = match kind {
            StreamKind::Msgapp => (0, batch.len(), received.message_bytes),
            StreamKind::Message => {
                let (appends, append_bytes) = self.appends(batch);
                (self.count_received_from_others(batch), appends, append_bytes)
            }
        };
        self.shared.metrics.received_bytes.add(received.message_bytes.saturating_sub(of_others));
        if appends > 0 {
            let server = transport.metrics.server.received();
            server.add(appends as u64);
            let (count, bytes) = timing.unrated.get();
            let unrated = (count + appends as u64, bytes + append_bytes);
            timing.unrated.set(if decoded_at.is_some() { (0, 0) } else { unrated });
            if let Some(now) = decoded_at {
                server.rate(now, unrated.0, unrated.1);
            }
        }
    }

    /// The host has taken so many messages, the first of which has waited since then.
    pub(super) fn count_handed_over(&self, slot: &ReaderSlot, since: Option<Instant>, messages: usize) {
        if messages == 0 {
            return;
        }
        if let Some(since) = since {
            slot.timing.handed_over.set(since.elapsed());
        }
        self.endpoint.core.shared.stages.record(Stage::HandedOver, slot.timing.handed_over.get(), messages);
    }

    /// Counts what does not come from the member at the other end: proposals that it passes on. How
    /// many bytes that is.
    fn count_received_from_others(&self, batch: &[Message]) -> u64 {
        let remote = self.shared.id.0;
        if batch.iter().all(|message| message.from() == remote) {
            return 0;
        }
        let mut sum = 0;
        for run in batch.chunk_by(|a, b| a.from() == b.from()).filter(|run| run[0].from() != remote) {
            let bytes: u64 = run.iter().map(|message| self.size(message)).sum();
            self.endpoint.shared.metrics.of(MemberId(run[0].from())).received_bytes.add(bytes);
            sum += bytes;
        }
        sum
    }

    fn appends(&self, batch: &[Message]) -> (usize, u64) {
        let appends = batch.iter().filter(|message| message.is(MessageType::MsgApp));
        appends.fold((0, 0), |(count, bytes), message| (count + 1, bytes + self.size(message)))
    }

    /// Messages in front of a broken frame, whose bytes the decoder does not tell.
    pub(super) fn received_before_error(&self, batch: &[Message]) -> Received {
        let message_bytes = batch.iter().map(|message| self.size(message)).sum();
        Received { message_bytes, link_heartbeat_bytes: 0 }
    }

    fn size(&self, message: &Message) -> u64 {
        message_size(message, self.endpoint.shared.config.dialect) as u64
    }
}

impl Endpoint {
    /// Tells messages that were posted and are not handed over.
    pub(super) fn reject_posted(
        &self,
        peer: MemberId,
        class: MessageClass,
        messages: usize,
        reason: RejectReason,
    ) {
        self.shared.metrics.of(peer).rejected.count(reason, class, messages);
        self.emit(&Event::Rejected { peer, class, messages, reason });
    }

    /// Counts a message that was posted, with the bytes of its body.
    pub(super) fn count_posted(&self, message: &Message, bytes: u64) {
        let metrics = &self.shared.metrics;
        metrics.of(MemberId(message.from())).received_bytes.add(bytes);
        if message.is(MessageType::MsgApp) {
            metrics.server.received().add_at(self.core.now(), 1, bytes);
        }
    }
}
