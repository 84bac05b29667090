//! The sending half of one stream as every thread sees it: a lane, and behind it an encoder with a
//! socket, at which whoever finds them free does the work.
//!
//! ```text
//!   a host's thread or the core                     the core
//!   claim the encoder?  no:  push into the lane --> "lane is dirty": encode, send
//!                       yes: encode what the lane holds, then the messages
//!                            nothing in flight: send at once, past the ring
//!                            all of it went:    nobody need wake
//!                            else:              "lane is dirty": the rest goes by the ring
//! ```
//!
//! So an idle link costs no wake on the sender's side, a host encodes on its own time, and a core that
//! is busy with the link is left alone: then messages wait in the lane.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub(crate) use self::gather::HELD_MAX;
use self::gather::{Fate, Gather};
use self::meter::Meter;
pub(super) use self::meter::Meters;
use super::insight::LinkStats;
use super::sys;
use crate::buf::{Chain, Pool};
use crate::cores::{Claim, Claimed, Lane, Pushed, Rank, Refused, Waiting, Weighed};
use crate::proto::codec::StreamKind;
use crate::proto::stream::{BodyFraming, StreamWriter, StreamWriterConfig};
use crate::raftpb::{ClassCounts, Message, MessageClass, MessageType};

/// Within one step of a core (a turn, or what one read brought) a link that has sent is not idle: what
/// follows gathers to a write of this size before it leaves, so that a host that sends in many small
/// batches does not pay a system call for each, and the receiver still begins while the rest is being
/// encoded.
const DIRECT_SEND_BYTES: usize = 32 << 10;

/// So many ticks without a message in the lane, the first of which may have begun before the last
/// message, are a whole one.
const IDLE_TICKS: u8 = 2;

/// The sending half of one stream.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) lane: Lane<Message>,
    up: AtomicBool,
    desk: Claim<Desk>,
}

/// Where one thread at a time encodes and sends.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) machine: StreamWriter,
    /// Taken from the lane and not yet encoded; still counted there.
    queue: Waiting<Message>,
    /// Ticks since the queue was last filled from the lane.
    ticks_unused: u8,
    /// A descriptor of its own for direct sends, since the connection's belongs to the core.
    socket: Option<TcpStream>,
    /// What a direct send left over, or why it failed; for the writer's task.
    unsent: Option<io::Result<Chain>>,
    /// The step of the core in which something was sent directly.
    sent_in_step: u64,
    direct_writes: u64,
    ring_writes: u64,
    /// Of a `msgapp` stream alone: what a heartbeat might wait behind leaves at once.
    gather: Option<Gather>,
    meter: Meter,
}

/// What a message is handed over as: the host's own, or lent.
pub(crate) trait Parcel {
    fn message(&self) -> &Message;
    fn into_message(self) -> Message;
}

impl Parcel for Message {
    fn message(&self) -> &Message {
        self
    }

    fn into_message(self) -> Message {
        self
    }
}

impl Parcel for &Message {
    fn message(&self) -> &Message {
        self
    }

    fn into_message(self) -> Message {
        self.clone()
    }
}

/// When a sender works: on a core in one of its steps, or at any time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    /// `None` on a thread that is no core.
    pub(crate) step: Option<u64>,
}

impl Moment {
    /// What the clock says; a core's own `now` may be a step old, a sender's thread has just read it.
    fn precise(self) -> Instant {
        match self.step {
            Some(_) => Instant::now(),
            None => self.now,
        }
    }
}

/// Who gives way: appends first, which raft sends again; then proposals, whose clients try again; then
/// acks, without which a leader stands still for a while; votes and heartbeats never for any of these.
/// A snapshot comes into the lane of a pipeline alone; what is of no use to the receiver goes first.
pub(super) const fn rank(class: MessageClass) -> Rank {
    match class {
        MessageClass::Append | MessageClass::Other => Rank::Bulk,
        MessageClass::Proposal | MessageClass::Snapshot => Rank::Request,
        MessageClass::Ack => Rank::Answer,
        MessageClass::Heartbeat | MessageClass::Vote => Rank::Vital,
    }
}

impl Weighed for Message {
    fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        Self::payloads(self).map(|payload| &payload[..])
    }

    fn rank(&self) -> Rank {
        rank(self.class())
    }

    fn may_absorb(&self) -> bool {
        self.is(MessageType::MsgHeartbeat)
    }

    /// A heartbeat takes over the commit of a later one that differs in nothing else: same leader, same
    /// term, and the same read of the index, which is what a context is for. That the later commit then
    /// overtakes what stands between them does no harm, for it never exceeds what the follower has
    /// acknowledged.
    fn absorb(&mut self, later: &Self) -> bool {
        let is_bare = self.entries.is_empty() && self.snapshot.is_none() && self.responses.is_empty();
        let commit = self.commit;
        self.commit = later.commit;
        let absorbed = is_bare && self.is(MessageType::MsgHeartbeat) && self == later;
        if !absorbed {
            self.commit = commit;
        }
        absorbed
    }
}

/// What nobody looks after any more waits for nothing.
impl Drop for Link {
    fn drop(&mut self) {
        self.clear_desk().drain(&self.lane);
    }
}

impl Link {
    pub(super) fn new(
        config: StreamWriterConfig,
        lane: Lane<Message>,
        pool: Pool,
        meters: Meters,
        now: Instant,
    ) -> Self {
        let gather = (config.kind == StreamKind::Msgapp).then(Gather::new);
        let meter = Meter::new(meters, config.kind);
        let machine = StreamWriter::new(config, pool, now);
        let desk = Desk {
            machine,
            queue: Waiting::new(),
            ticks_unused: u8::MAX,
            socket: None,
            unsent: None,
            sent_in_step: 0,
            direct_writes: 0,
            ring_writes: 0,
            gather,
            meter,
        };
        Self { lane, up: AtomicBool::new(false), desk: Claim::new(desk) }
    }

    /// True while the writer has a connection.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    pub(super) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Release);
    }

    /// For the core: the desk, or a letter once it is free.
    pub(super) fn desk(&self) -> Option<Claimed<'_, Desk>> {
        self.desk.claim_or_ask()
    }

    /// For rare errands: the desk, at once or when a sender has left it, who stays for one run of
    /// messages at most. Who is not the core lets go of it by [`Claimed::leave`].
    pub(super) fn clear_desk(&self) -> Claimed<'_, Desk> {
        self.desk.claim()
    }

    pub(super) fn stats(&self) -> LinkStats {
        let (queued_messages, queued_bytes) = self.lane.depth();
        let desk = self.clear_desk();
        LinkStats {
            queued_messages,
            queued_bytes,
            unflushed_bytes: desk.machine.unflushed_bytes(),
            direct_writes: desk.direct_writes,
            ring_writes: desk.ring_writes,
            writer: desk.machine.counters(),
        }
    }

    /// Begins a run of messages of one thread.
    pub(crate) fn visit(&self, moment: Moment) -> Visit<'_> {
        let desk = self.desk.try_claim().map(|mut desk| {
            desk.fill(&self.lane);
            desk
        });
        let is_first = desk.as_ref().is_some_and(|desk| desk.queue.is_empty());
        Visit { link: self, desk, is_first, moment, queued_at: None }
    }
}

/// What became of a message at a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Put {
    /// It is encoded, or waits.
    Taken,
    /// A heartbeat that waits says the same.
    Superseded,
}

/// What a run of messages leaves for the core.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Left {
    /// Nothing.
    Nothing,
    /// Something to do.
    Now,
    /// Something to look after within [`HELD_MAX`], if it is there still.
    Later,
}

/// A run of messages on its way into a link.
pub(crate) struct Visit<'a> {
    link: &'a Link,
    desk: Option<Claimed<'a, Desk>>,
    /// True while nothing waits in front of the next message.
    is_first: bool,
    moment: Moment,
    /// When the first message of the run was queued.
    queued_at: Option<Instant>,
}

impl Visit<'_> {
    /// Encodes a message, or queues it.
    #[inline]
    pub(crate) fn put(&mut self, parcel: impl Parcel) -> Result<Put, Refused> {
        if let Some(desk) = &mut self.desk
            && self.is_first
            && desk.machine.has_room()
        {
            desk.machine.push(parcel.message());
            return Ok(Put::Taken);
        }
        self.is_first = false;
        let queued_at = *self.queued_at.get_or_insert_with(|| self.moment.precise());
        let pushed = self.link.lane.lock().push(parcel.into_message(), queued_at);
        // What did not find room is dropped without the lock: it holds what is the host's, who may send.
        match pushed {
            Ok(Pushed::Queued) => Ok(Put::Taken),
            Ok(Pushed::Absorbed(_)) => Ok(Put::Superseded),
            Err((_, refused)) => Err(refused),
        }
    }

    /// Sends what can leave at once, and tells what is left for the core. If this is not the `last`
    /// visit of a batch, only a good write leaves.
    pub(crate) fn end(self, last: bool) -> Left {
        let Self { link, desk, is_first, moment, .. } = self;
        let (mut now, mut later) = (false, false);
        if let Some(mut desk) = desk {
            if last || desk.machine.unflushed_bytes() >= DIRECT_SEND_BYTES {
                match desk.fate(moment) {
                    Fate::Leaves => now = !desk.send_now(&link.lane, moment),
                    Fate::Waits => {}
                    Fate::Ask => later = true,
                }
            }
            desk.note_encoded(moment);
            now |= desk.leave();
        }
        // What came into the lane while somebody else had the desk.
        now |= !is_first && link.lane.lock().announce();
        match (now, later) {
            (true, _) => Left::Now,
            (false, true) => Left::Later,
            (false, false) => Left::Nothing,
        }
    }
}

impl Desk {
    /// Whether what a sender has encoded leaves now. On a core all that one step brings gathers anyway.
    fn fate(&mut self, moment: Moment) -> Fate {
        match &mut self.gather {
            Some(gather) if moment.step.is_none() && self.unsent.is_none() => {
                gather.handle_batch(moment.now, self.machine.unflushed_bytes())
            }
            _ => Fate::Leaves,
        }
    }

    /// The core has come, and sends what has gathered.
    pub(super) fn look(&mut self, lane: &Lane<Message>, moment: Moment) -> bool {
        if let Some(gather) = &mut self.gather {
            gather.handle_look(moment.now);
        }
        self.send_now(lane, moment)
    }

    /// Encodes what is queued, as far as there is room.
    pub(super) fn fill(&mut self, lane: &Lane<Message>) {
        while self.machine.has_room() {
            if self.queue.is_empty() {
                if lane.depth().0 == 0 {
                    return;
                }
                lane.take(&mut self.queue);
                self.ticks_unused = 0;
                if self.queue.is_empty() {
                    return;
                }
            }
            let mut release = lane.release();
            while self.machine.has_room()
                && let Some(message) = self.queue.pop()
            {
                release.add(&message);
                self.machine.push(&message);
            }
            drop(release);
            self.meter.dequeued(&mut self.queue, Instant::now());
        }
    }

    /// The next chain for the writer's task, or why the last direct send failed.
    pub(super) fn poll_transmit(&mut self, lane: &Lane<Message>, now: Instant) -> Option<io::Result<Chain>> {
        self.fill(lane);
        self.note_drained(lane);
        let chain = self.unsent.take().or_else(|| self.meter.flush(&mut self.machine, now).map(Ok));
        self.ring_writes += u64::from(matches!(chain, Some(Ok(_))));
        chain
    }

    /// Sends what is encoded, at once and past the ring, when the link has been idle or a good write
    /// has gathered. False if there is something left to do for the writer's task.
    pub(super) fn send_now(&mut self, lane: &Lane<Message>, moment: Moment) -> bool {
        if self.unsent.is_some() {
            return false;
        }
        self.fill(lane);
        self.note_drained(lane);
        let gathered = self.machine.unflushed_bytes();
        let has_sent = moment.step.is_some_and(|step| step == self.sent_in_step);
        if has_sent && gathered < DIRECT_SEND_BYTES {
            return gathered == 0;
        }
        let Some(socket) = &self.socket else { return true };
        let Some(mut chain) = self.meter.flush_directly(&mut self.machine, moment.now) else { return true };
        self.sent_in_step = moment.step.unwrap_or_default();
        match sys::send_now(socket, &chain) {
            Ok(count) if count == chain.len() => {
                self.direct_writes += 1;
                self.note_written();
                self.machine.handle_sent(chain);
                // What had no room to be encoded goes on from there: nobody else looks after it.
                return self.is_drained(lane);
            }
            Ok(count) => chain.advance(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                self.unsent = Some(Err(error));
                return false;
            }
        }
        // From now on the kernel has to move, however long ago the batch began that is being sent.
        let now = Instant::now();
        self.machine.handle_progress(now);
        self.meter.goes_on(now);
        self.unsent = Some(Ok(chain));
        false
    }

    /// The kernel has taken the chain in flight.
    pub(super) fn handle_written(&mut self) {
        self.note_written();
        self.machine.handle_written();
    }

    fn note_written(&mut self) {
        if let Some(flushed) = self.machine.in_flight() {
            self.meter.written(flushed);
        }
    }

    /// Messages that do not leave now count as encoded from now on.
    fn note_encoded(&mut self, moment: Moment) {
        if self.meter.is_idle() && self.machine.has_unflushed() {
            self.meter.encoded(moment.precise());
        }
    }

    fn is_drained(&self, lane: &Lane<Message>) -> bool {
        self.queue.is_empty() && lane.depth().0 == 0
    }

    fn note_drained(&mut self, lane: &Lane<Message>) {
        if self.is_drained(lane) {
            self.machine.lane_drained();
        }
    }

    /// A connection whose response head is written; `socket` is a second descriptor of it.
    pub(super) fn attach(&mut self, framing: BodyFraming, socket: TcpStream) {
        self.machine.attach(framing);
        self.socket = Some(socket);
    }

    /// The connection is over; which messages were encoded and not known to be written.
    pub(super) fn detach(&mut self) -> ClassCounts {
        (self.unsent, self.socket) = (None, None);
        // A look that the core was asked for may find no connection, and would be waited for on the next.
        self.gather = self.gather.take().map(|_| Gather::new());
        self.meter.detached();
        self.machine.detach()
    }

    /// Empties the lane of a writer without a connection; which messages it held.
    pub(super) fn drain(&mut self, lane: &Lane<Message>) -> ClassCounts {
        // The memory of both goes with what is lost.
        let mut lost = std::mem::take(&mut self.queue);
        lane.take(&mut lost);
        let mut release = lane.release();
        let mut counts = ClassCounts::default();
        while let Some(message) = lost.pop() {
            release.add(&message);
            counts.add(message.class(), 1);
        }
        counts
    }

    /// A tick went by: once nothing has come through the lane for a whole one, the memory of earlier
    /// bursts is given back. Not before, for the next burst may be on its way.
    pub(super) fn tick(&mut self, lane: &Lane<Message>) {
        self.ticks_unused = self.ticks_unused.saturating_add(1);
        if self.ticks_unused == IDLE_TICKS {
            self.queue.trim(0);
            lane.trim();
        }
    }
}

mod gather;
mod meter;

#[cfg(test)]
mod tests;
