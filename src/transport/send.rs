//! Sending: find the peer, pick the link, encode or queue there, ring once.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use smallvec::SmallVec;

use super::Transport;
use crate::cores::{Lane, Pushed, Refused};
use crate::event::{DropReason, Event};
use crate::id::MemberId;
use crate::io::faults::{Held, Way};
use crate::io::letter::CoreShared;
use crate::io::link::{HELD_MAX, Left, Moment, Parcel, Put, Visit};
use crate::io::shared::{Addressee, PIPELINE, PeerShared, TransportShared};
use crate::io::{Core, Peer};
use crate::proto::route::{self, Working};
use crate::raft::Via;
use crate::raftpb::{ClassCounts, Message, MessageClass};

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sent {
    /// Messages on their way.
    pub accepted: usize,
    /// Messages dropped; why was or will be told to the observer, and to raft as unreachable
    /// (unless the peer is unknown or paused; the fate of a MsgSnap it is always told).
    pub dropped: usize,
}

/// What an entry takes in a frame beside its data, at most: two lengths, a key, three scalars.
const ENTRY_OVERHEAD_MAX: usize = 64;

/// What everything else of a message takes, at most.
const HEAD_OVERHEAD_MAX: usize = 1 << 10;

/// So many messages to one peer are gathered before its link is visited: nothing of the host's, such
/// as its iterator, runs while we hold what the core may wait for.
const RUN_MESSAGES_MAX: usize = 64;

impl Transport {
    /// Sends messages in order; never blocks. `to` = 0 is skipped, as in rafthttp.
    ///
    /// Where a link is free, messages are encoded on the calling thread, and leave at once if
    /// nothing is in flight; appends of a thread that sends every few microseconds gather to larger
    /// writes, and what it leaves behind when it stops is sent within 1 ms. Where the link is not free
    /// they wait in the peer's lane, and a core that sleeps is woken once for the whole batch. What has no stream that is up, and each MsgSnap, waits to be
    /// posted; so does all that is sent to a remote.
    pub fn send(&self, batch: impl IntoIterator<Item = Message>) -> Sent {
        Sender::new(self).send(batch.into_iter())
    }

    /// As [`Transport::send`], for a host that keeps its messages to use them again: nothing is
    /// copied but the bytes that are encoded, and nothing is allocated or freed. Only a message that
    /// has to wait in a lane is cloned.
    pub fn send_ref<'a>(&self, batch: impl IntoIterator<Item = &'a Message>) -> Sent {
        Sender::new(self).send(batch.into_iter())
    }
}

/// Sends what faults have let go, on the core of the peer.
pub(super) fn resend(shared: &Arc<TransportShared>, peer: &Arc<PeerShared>, messages: Vec<Message>) {
    let transport = Transport { shared: Arc::clone(shared), local_addr: None };
    let mut sender = Sender::new(&transport);
    let mut visits = Visits::default();
    messages.into_iter().for_each(|message| sender.put(peer, &mut visits, message));
    sender.leave(peer, visits, true);
}

/// What of one peer a run has come to.
#[derive(Default)]
struct Visits<'p> {
    links: [Option<Visit<'p>>; 2],
    /// The lane of its pipeline.
    pipeline: bool,
}

/// One call of [`Transport::send`].
struct Sender<'a> {
    transport: &'a Transport,
    /// The core that this thread is, if it is one.
    here: Option<Rc<Core>>,
    moment: Moment,
    sent: Sent,
    /// Links at which runs of this batch wait for the last one of their peer.
    waiting: [bool; 2],
    /// Cores that got letters: each is rung once a batch.
    ring: SmallVec<[Arc<CoreShared>; 2]>,
}

impl<'a> Sender<'a> {
    fn new(transport: &'a Transport) -> Self {
        let here = Core::current();
        let moment = match &here {
            Some(core) => core.moment(),
            None => Moment { now: Instant::now(), step: None },
        };
        Self { transport, here, moment, sent: Sent::default(), waiting: [false; 2], ring: SmallVec::new() }
    }

    fn send<P: Parcel>(mut self, batch: impl Iterator<Item = P>) -> Sent {
        let mut run: SmallVec<[P; RUN_MESSAGES_MAX]> = SmallVec::new();
        let mut to = 0;
        for parcel in batch {
            let next = parcel.message().to();
            if next == 0 {
                continue;
            }
            if next != to || run.len() == RUN_MESSAGES_MAX {
                self.hand_over(to, &mut run, next != to);
                to = next;
            }
            run.push(parcel);
        }
        self.hand_over(to, &mut run, true);
        self.sent
    }

    /// A run of messages to one peer, the `last` of this batch in a row.
    fn hand_over<P: Parcel>(&mut self, to: u64, run: &mut SmallVec<[P; RUN_MESSAGES_MAX]>, last: bool) {
        if run.is_empty() {
            return;
        }
        let peer = self.transport.shared.peer(MemberId(to));
        let Some(peer) = peer else { return self.hand_to_remote(MemberId(to), run) };
        let mut visits = Visits::default();
        for parcel in run.drain(..) {
            let held = peer.faults.held();
            if held.is_free() {
                self.put(&peer, &mut visits, parcel);
            } else {
                self.pass_faults(held, &peer, &mut visits, parcel);
            }
        }
        self.leave(&peer, visits, last);
    }

    /// A message goes into its link.
    #[inline]
    fn put<'p>(&mut self, peer: &'p PeerShared, visits: &mut Visits<'p>, parcel: impl Parcel) {
        let class = parcel.message().class();
        let frame_bytes_max = self.transport.shared.config.frames.frame_bytes_max;
        let put = lane(peer, parcel.message(), frame_bytes_max).and_then(|lane| {
            let put = match visits.links.get_mut(lane) {
                Some(visit) => visit.get_or_insert_with(|| peer.links[lane].visit(self.moment)).put(parcel),
                None => {
                    visits.pipeline = true;
                    put_to_post(&peer.pipeline, parcel)
                }
            };
            put.map_err(DropReason::LaneFull)
        });
        self.note_put(put, peer, class);
    }

    /// A message meets what the host has put in its way on purpose.
    #[cold]
    fn pass_faults<'p>(
        &mut self,
        held: Held,
        peer: &'p Arc<PeerShared>,
        visits: &mut Visits<'p>,
        parcel: impl Parcel,
    ) {
        if held.is_paused() {
            return self.dropped(&**peer, DropReason::Paused, parcel.message().class());
        }
        if !held.has_faults(Way::Sent) {
            return self.put(peer, visits, parcel);
        }
        let before = self.sent;
        let message = [parcel.into_message()];
        let visited = peer.faults.visit(Way::Sent, self.moment.now, message, |messages| {
            messages.into_iter().for_each(|message| self.put(peer, visits, message));
        });
        for lost in &visited.dropped {
            self.dropped(&**peer, DropReason::Injected, lost.class());
        }
        if visited.core_is_due {
            peer.post_faults();
        }
        // One was sent, however many have left.
        let is_lost = self.sent.dropped > before.dropped;
        self.sent = before;
        self.sent.dropped += usize::from(is_lost);
        self.sent.accepted += usize::from(!is_lost);
    }

    /// Ends the visits of a run.
    fn leave<'p>(&mut self, peer: &'p Arc<PeerShared>, visits: Visits<'p>, last: bool) {
        if visits.pipeline {
            self.announce_posts(&peer.pipeline, &**peer);
        }
        for (lane, mut visit) in visits.links.into_iter().enumerate() {
            if last && std::mem::take(&mut self.waiting[lane]) {
                // An earlier run has something here that waits, also if this one has not.
                visit.get_or_insert_with(|| peer.links[lane].visit(self.moment));
            }
            if let Some(visit) = visit {
                self.waiting[lane] = !last;
                match visit.end(last) {
                    Left::Nothing => {}
                    Left::Now => self.leave_to_core(peer, lane),
                    Left::Later => {
                        peer.post_dirty(lane);
                        peer.core.alarm.ring_within(HELD_MAX);
                    }
                }
            }
        }
        // Stopped while this call was under way: its core may have looked for the last time.
        if peer.stopped.load(Ordering::SeqCst) {
            self.transport.shared.tell_last(peer);
        }
    }

    /// What is left of a visit: on the peer's own core its writer's task goes on, else the core is told.
    fn leave_to_core(&mut self, peer: &Arc<PeerShared>, lane: usize) {
        let here = self.here.as_ref().filter(|core| Arc::ptr_eq(&core.shared, &peer.core));
        match here.and_then(|core| Peer::on(core, peer.slot.load(Ordering::Acquire), peer)) {
            Some(peer) => peer.wake_writer(lane),
            None => {
                peer.post_dirty(lane);
                self.ring(&**peer);
            }
        }
    }

    /// Tells the core that something is to be posted. By a letter also on its own core: a task that is
    /// started must not find its maker at work.
    fn announce_posts(&mut self, lane: &Lane<Message>, to: &impl Addressee) {
        if lane.lock().announce() {
            to.post_dirty(PIPELINE);
            self.ring(to);
        }
    }

    /// A run of messages to somebody who is no peer.
    #[cold]
    fn hand_to_remote<P: Parcel>(&mut self, to: MemberId, run: &mut SmallVec<[P; RUN_MESSAGES_MAX]>) {
        let remote = self.transport.shared.remotes().used(to, Instant::now()).cloned();
        let Some(remote) = remote else {
            let counts = run.iter().map(Parcel::message).collect();
            run.clear();
            return self.unknown(to, counts);
        };
        let frame_bytes_max = self.transport.shared.config.frames.frame_bytes_max;
        for parcel in run.drain(..) {
            let class = parcel.message().class();
            let put = if remote.paused.load(Ordering::Relaxed) {
                Err(DropReason::Paused)
            } else if frame_bytes(parcel.message()) > frame_bytes_max {
                Err(DropReason::TooLarge)
            } else {
                put_to_post(&remote.pipeline, parcel).map_err(DropReason::LaneFull)
            };
            self.note_put(put, &*remote, class);
        }
        self.announce_posts(&remote.pipeline, &*remote);
        if remote.stopped.load(Ordering::SeqCst) {
            self.transport.shared.tell_last_of_remote(&remote);
        }
    }

    #[inline]
    fn note_put(&mut self, put: Result<Put, DropReason>, to: &impl Addressee, class: MessageClass) {
        match put {
            Ok(Put::Taken) => self.sent.accepted += 1,
            Ok(Put::Superseded) => {
                self.sent.accepted += 1;
                self.count(to, DropReason::Superseded, class);
            }
            Err(reason) => self.dropped(to, reason, class),
        }
    }

    fn ring(&mut self, to: &impl Addressee) {
        if !self.ring.iter().any(|core| Arc::ptr_eq(core, to.core())) {
            self.ring.push(Arc::clone(to.core()));
        }
    }

    /// It is nobody's core that could tell it: the observer hears it here, and raft of a snapshot on the
    /// first one.
    fn unknown(&mut self, to: MemberId, counts: ClassCounts) {
        self.sent.dropped += counts.total();
        let (shared, reason) = (&self.transport.shared, DropReason::UnknownPeer);
        shared.report_snapshots_lost(&shared.cores[0], to, counts.get(MessageClass::Snapshot));
        for (class, messages) in counts.iter() {
            shared.metrics.other().dropped.count(reason, class, messages);
            shared.config.observer.event(&Event::Dropped { peer: to, class, messages, reason });
        }
    }

    fn dropped(&mut self, to: &impl Addressee, reason: DropReason, class: MessageClass) {
        self.sent.dropped += 1;
        self.count(to, reason, class);
        if class == MessageClass::Snapshot {
            self.transport.shared.report_snapshots_lost(to.core(), to.id(), 1);
        }
    }

    /// Counted at the peer, told by its core: raft's callbacks never run inside `send`.
    fn count(&mut self, to: &impl Addressee, reason: DropReason, class: MessageClass) {
        if to.drops().count(reason, class, 1) {
            to.post_dirty(0);
            self.ring(to);
        }
    }
}

impl Drop for Sender<'_> {
    /// Also if the host's iterator panics.
    fn drop(&mut self) {
        for core in &self.ring {
            core.doorbell.ring();
        }
    }
}

/// Queues a message for the pipeline.
#[cold]
fn put_to_post(lane: &Lane<Message>, parcel: impl Parcel) -> Result<Put, Refused> {
    let (message, now) = (parcel.into_message(), Instant::now());
    let pushed = lane.lock().push(message, now);
    // What did not find room is dropped without the lock, as in `Visit::put`.
    match pushed {
        Ok(Pushed::Queued) => Ok(Put::Taken),
        Ok(Pushed::Absorbed(_)) => Ok(Put::Superseded),
        Err((_, refused)) => Err(refused),
    }
}

/// What a message takes in a frame, at most.
#[inline]
fn frame_bytes(message: &Message) -> usize {
    message.payload_bytes() + message.entries.len() * ENTRY_OVERHEAD_MAX + HEAD_OVERHEAD_MAX
}

/// The lane of a message now, or the reason for which there is none.
#[inline]
fn lane(peer: &PeerShared, message: &Message, frame_bytes_max: usize) -> Result<usize, DropReason> {
    if frame_bytes(message) > frame_bytes_max {
        return Err(DropReason::TooLarge);
    }
    let working = Working { msgapp: peer.links[0].is_up(), message: peer.links[1].is_up() };
    match route::pick(message.r#type(), working) {
        Via::Msgapp => Ok(0),
        Via::Message => Ok(1),
        Via::Pipeline | Via::Snapshot => Ok(PIPELINE),
    }
}
