//! The stream writer: what happens between a message leaving its lane and a chain being written.
//!
//! rafthttp's `streamWriter`, with one write in flight while the next chain fills. The lane itself
//! (the queue of 4,096) belongs to the caller, who drains it while there is room.

use std::time::{Duration, Instant};

use super::outbox::{BodyFraming, Outbox};
use super::planted::{Bug, Planted};
use crate::buf::{Chain, Pool};
use crate::id::MemberId;
use crate::proto::codec::{Dialect, Encoder, StreamKind};
use crate::raftpb::{ClassCounts, Message, MessageClass};

/// Slots of a lane, as rafthttp's `streamBufSize`: proposals in flight while an election runs.
pub const LANE_MESSAGES_MAX: usize = 4096;

/// Past so many messages a chain is flushed although the lane is not drained: half of the lane, so
/// that a receiver never waits for a sender that is kept busy.
pub const FLUSH_MESSAGES: usize = LANE_MESSAGES_MAX / 2;

/// Past so many bytes, likewise: half of a write buffer of 112 KiB. The kernel cuts writes into
/// segments of at most 64 KiB, and one that is a little larger than a multiple of that leaves a
/// tiny segment behind, which costs several times its share (`perf/run.sh floor` tries sizes).
pub const FLUSH_BYTES: usize = 56 << 10;

/// At most so many encoded bytes wait behind a write in flight (plus the one message that crosses
/// the line); the rest stays in the lane, where it is counted by messages and can still be told.
pub const ENCODED_BYTES_MAX: usize = 1 << 20;

/// The same with payloads that are taken by reference, on the `msgapp` stream: as much as a socket's
/// buffer takes by Linux's default. They cost no memory of ours, and one that need not wait in the
/// lane is not counted, cloned and dropped there. The `message` stream keeps to
/// [`ENCODED_BYTES_MAX`], for heartbeats come behind.
pub const REFERRED_BYTES_MAX: usize = 4 << 20;

const _: () = assert!(FLUSH_BYTES < ENCODED_BYTES_MAX && ENCODED_BYTES_MAX < REFERRED_BYTES_MAX);

/// What a stream writer needs to know once.
#[derive(Clone, Debug)]
pub struct StreamWriterConfig {
    /// Which of the two streams.
    pub kind: StreamKind,
    /// Which etcd release's bytes to produce.
    pub dialect: Dialect,
    /// Our own id.
    pub local: MemberId,
    /// The member at the other end.
    pub remote: MemberId,
    /// Between two link heartbeats, however busy the stream is; a third of the reader's deadline.
    pub heartbeat_interval: Duration,
    /// A write that makes no progress for so long ends the stream.
    pub stall_timeout: Duration,
}

/// Why a chain left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flush {
    /// The lane was empty.
    Drained,
    /// More than [`FLUSH_MESSAGES`] waited.
    Messages,
    /// More than [`FLUSH_BYTES`] waited.
    Bytes,
    /// A link heartbeat, or the end of the body.
    Urgent,
}

/// What a stream writer did since it was made; plain counters, read by copying.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct WriterCounters {
    /// Messages encoded.
    pub messages: u64,
    /// Link heartbeats encoded.
    pub heartbeats: u64,
    /// Protobuf bytes of what was flushed: what etcd counts in `peer_sent_bytes_total`.
    pub flushed_bytes: u64,
    /// Flushes by reason, in the order of [`Flush`].
    pub flushes: [u64; 4],
}

/// What leaves together, in one chain; bytes are those of protobuf.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Flushed {
    /// Why it left.
    pub reason: Flush,
    /// Messages; link heartbeats are none.
    pub messages: ClassCounts,
    /// Bytes of all of it, link heartbeats included.
    pub bytes: u64,
    /// Those of the appends.
    pub append_bytes: u64,
}

/// One stream writer; lives as long as its peer, connections come and go.
#[derive(Debug)]
pub struct StreamWriter {
    config: StreamWriterConfig,
    pool: Pool,
    heartbeat_at: Instant,
    connection: Option<Connection>,
    counters: WriterCounters,
    planted: Planted,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) encoder: Encoder,
    pub(super) outbox: Outbox,
    /// Messages in the outbox, and their protobuf bytes.
    unflushed: ClassCounts,
    unflushed_bytes: u64,
    /// Bytes of everything but appends.
    unflushed_other_bytes: u64,
    /// Messages in the chain that the kernel holds, and when it must have moved.
    in_flight: Option<InFlight>,
    drained: bool,
    /// A link heartbeat or the end of the body waits.
    urgent: bool,
    ended: bool,
}

#[derive(Debug)]
struct InFlight {
    flushed: Flushed,
    stalled_at: Instant,
}

impl StreamWriter {
    /// An idle writer. The heartbeat clock starts here and not at attach, as rafthttp's does.
    #[must_use]
    pub fn new(config: StreamWriterConfig, pool: Pool, now: Instant) -> Self {
        let heartbeat_at = now + config.heartbeat_interval;
        let (counters, planted) = (WriterCounters::default(), Planted::default());
        Self { config, pool, heartbeat_at, connection: None, counters, planted }
    }

    /// From here on it has a bug.
    #[cfg(feature = "test-support")]
    pub fn plant(&mut self, bug: Bug) {
        self.planted = Planted::new(bug);
    }

    /// A connection was handed over; its response head is written. The codec starts anew.
    /// The caller has detached the old connection, if there was one.
    ///
    /// # Panics
    /// If a connection is attached already.
    pub fn attach(&mut self, framing: BodyFraming) {
        assert!(self.connection.is_none(), "the old connection is detached first");
        let mut connection = Connection {
            encoder: Encoder::new(
                self.config.kind,
                self.config.local,
                self.config.remote,
                self.config.dialect,
            ),
            outbox: Outbox::new(self.pool.clone(), framing),
            unflushed: ClassCounts::default(),
            unflushed_bytes: 0,
            unflushed_other_bytes: 0,
            in_flight: None,
            drained: true,
            urgent: false,
            ended: false,
        };
        self.planted.attached(&mut connection);
        self.connection = Some(connection);
    }

    /// The connection is gone. Returns which messages were encoded but not known to be written:
    /// they are lost, and never sent again on another stream (a torn frame cannot be told apart).
    pub fn detach(&mut self) -> ClassCounts {
        let Some(connection) = self.connection.take() else { return ClassCounts::default() };
        let mut lost = connection.unflushed;
        if !self.planted.is(Bug::ForgetInFlight) {
            lost += connection.in_flight.as_ref().map_or_else(ClassCounts::default, |f| f.flushed.messages);
        }
        self.planted.detached(connection);
        lost
    }

    /// True while a connection is attached and not ended: only then the writer is picked.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.connection.as_ref().is_some_and(|c| !c.ended)
    }

    /// True if a message may be pushed now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let all_max = match self.config.kind {
            StreamKind::Msgapp => REFERRED_BYTES_MAX,
            StreamKind::Message => ENCODED_BYTES_MAX,
        };
        self.connection
            .as_ref()
            .is_some_and(|c| !c.ended && c.outbox.copied() < ENCODED_BYTES_MAX && c.outbox.len() < all_max)
    }

    /// True if a connection is attached with nothing encoded and nothing in flight.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.connection.as_ref().is_some_and(|c| !c.ended && c.in_flight.is_none() && c.outbox.is_empty())
    }

    /// Encoded bytes, framing included, that wait for a flush.
    #[must_use]
    pub fn unflushed_bytes(&self) -> usize {
        self.connection.as_ref().map_or(0, |c| c.outbox.len())
    }

    /// Encodes a message. From here on it is never dropped while the connection lives: the codec
    /// state has advanced.
    ///
    /// # Panics
    /// Without [`StreamWriter::has_room`].
    #[inline]
    pub fn push(&mut self, message: &Message) {
        let connection = self.connection.as_mut().expect("has_room was asked");
        let bytes = connection.encoder.encode(message, &mut connection.outbox);
        let class = message.class();
        connection.unflushed.add(class, 1);
        connection.unflushed_bytes += bytes as u64;
        if class != MessageClass::Append {
            connection.unflushed_other_bytes += bytes as u64;
        }
        connection.drained = false;
        self.counters.messages += 1;
    }

    /// The lane is empty: what was encoded may leave.
    pub fn lane_drained(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.drained = true;
        }
    }

    /// Ends the body on purpose, as etcd does when a stream is replaced or stopped.
    pub fn end(&mut self) {
        if let Some(connection) = &mut self.connection
            && !connection.ended
        {
            if !self.planted.is(Bug::ForgetLastChunk) {
                connection.outbox.end_body();
            }
            connection.ended = true;
            connection.urgent = true;
        }
    }

    /// The next chain to write, if one is due and none is in flight.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Chain> {
        let connection = self.connection.as_mut()?;
        let reason = connection.flush_due()?;
        self.counters.flushes[reason as usize] += 1;
        let flushed = connection.take_unflushed(reason);
        self.counters.flushed_bytes += flushed.bytes;
        connection.urgent = false;
        connection.in_flight = Some(InFlight { flushed, stalled_at: now + self.config.stall_timeout });
        Some(connection.outbox.flush())
    }

    /// What is in flight.
    #[must_use]
    pub fn in_flight(&self) -> Option<&Flushed> {
        self.connection.as_ref()?.in_flight.as_ref().map(|in_flight| &in_flight.flushed)
    }

    /// True if messages are encoded and not in flight.
    #[must_use]
    pub fn has_unflushed(&self) -> bool {
        self.connection.as_ref().is_some_and(|c| c.unflushed.total() > 0)
    }

    /// A part of the chain was written, and more of it is on its way.
    pub fn handle_progress(&mut self, now: Instant) {
        if let Some(Connection { in_flight: Some(in_flight), .. }) = &mut self.connection {
            in_flight.stalled_at = now + self.config.stall_timeout;
        }
    }

    /// The whole chain was written.
    pub fn handle_written(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.in_flight = None;
        }
    }

    /// As [`StreamWriter::handle_written`], for a caller who has the chain still: its memory serves the
    /// next one.
    pub fn handle_sent(&mut self, chain: Chain) {
        if let Some(connection) = &mut self.connection {
            connection.in_flight = None;
            connection.outbox.reuse(chain);
        }
    }

    /// True when the body was ended and all of it is written: the connection can be closed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.connection.as_ref().is_some_and(|c| c.ended && c.in_flight.is_none() && c.outbox.is_empty())
    }

    /// The next moment at which [`StreamWriter::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        let stalled_at = self.connection.as_ref().and_then(|c| c.in_flight.as_ref()).map(|f| f.stalled_at);
        stalled_at.map_or(self.heartbeat_at, |at| at.min(self.heartbeat_at))
    }

    /// Sends a link heartbeat when one is due, busy or not.
    ///
    /// # Errors
    /// [`Stalled`] when the kernel took nothing for `stall_timeout`: the caller closes.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Stalled> {
        if now >= self.heartbeat_at {
            // A late tick is followed by a whole interval, as Go's ticker drops what was missed.
            self.heartbeat_at = now + self.config.heartbeat_interval;
            self.push_heartbeat();
        }
        if let Some(connection) = &mut self.connection {
            connection.outbox.rest();
        }
        match self.connection.as_ref().and_then(|c| c.in_flight.as_ref()) {
            Some(in_flight) if now >= in_flight.stalled_at => Err(Stalled),
            _ => Ok(()),
        }
    }

    /// Not while one waits behind a write already: it says no more than that one, and a reader that
    /// takes a byte now and then would make us gather them without bound.
    fn push_heartbeat(&mut self) {
        let Some(connection) = self.connection.as_mut().filter(|c| !c.ended && !c.urgent) else { return };
        if self.planted.is(Bug::SkipHeartbeatWhenBusy) && connection.in_flight.is_some() {
            return;
        }
        let bytes = connection.encoder.encode_link_heartbeat(&mut connection.outbox);
        connection.unflushed_bytes += bytes as u64;
        connection.unflushed_other_bytes += bytes as u64;
        connection.urgent = true;
        self.counters.heartbeats += 1;
    }

    /// What was done so far.
    #[must_use]
    pub const fn counters(&self) -> WriterCounters {
        self.counters
    }

    /// The settings it was made with.
    #[must_use]
    pub const fn config(&self) -> &StreamWriterConfig {
        &self.config
    }
}

/// A write made no progress for `stall_timeout`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stalled;

impl Connection {
    fn take_unflushed(&mut self, reason: Flush) -> Flushed {
        let bytes = std::mem::take(&mut self.unflushed_bytes);
        Flushed {
            reason,
            messages: std::mem::take(&mut self.unflushed),
            bytes,
            append_bytes: bytes - std::mem::take(&mut self.unflushed_other_bytes),
        }
    }

    fn flush_due(&self) -> Option<Flush> {
        if self.in_flight.is_some() || self.outbox.is_empty() {
            None
        } else if self.drained {
            Some(Flush::Drained)
        } else if self.urgent {
            Some(Flush::Urgent)
        } else if self.outbox.len() > FLUSH_BYTES {
            Some(Flush::Bytes)
        } else if self.unflushed.total() > FLUSH_MESSAGES {
            Some(Flush::Messages)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests;
