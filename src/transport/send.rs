//! Sending: find the peer, pick the lane, push, ring once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Transport;
use crate::cores::Refused;
use crate::event::{DropReason, Event};
use crate::id::MemberId;
use crate::io::shared::PeerShared;
use crate::io::{Core, Peer};
use crate::proto::route::{self, Working};
use crate::raft::{SnapshotStatus, Via};
use crate::raftpb::{Message, MessageType};

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sent {
    /// Messages on their way.
    pub accepted: usize,
    /// Messages dropped; why was or will be told to the observer, and to raft as unreachable
    /// (unless the peer is unknown or paused).
    pub dropped: usize,
}

/// Why one message was not accepted, by the number under which its peer counts it.
const LANE_MESSAGES: usize = 0;
const LANE_BYTES: usize = 1;
const NO_STREAM: usize = 2;
const PAUSED: usize = 3;
const TOO_LARGE: usize = 4;

/// What an entry takes in a frame beside its data, at most: two lengths, a key, three scalars.
const ENTRY_OVERHEAD_MAX: usize = 64;

/// What everything else of a message takes, at most.
const HEAD_OVERHEAD_MAX: usize = 1 << 10;

impl Transport {
    /// Sends messages in order; never blocks. `to` = 0 is skipped, as in rafthttp.
    ///
    /// On the core that owns the peers, messages are encoded at once; from any other thread they
    /// cross over, and a core is woken at most once for the whole batch.
    pub fn send(&self, batch: impl IntoIterator<Item = Message>) -> Sent {
        let mut sender = Sender::new(self);
        for message in batch {
            if message.to() != 0 && !sender.encode(&message) {
                sender.push(message);
            }
        }
        sender.finish()
    }

    /// As [`Transport::send`], for a host that keeps its messages to use them again. On the core
    /// that owns the peers nothing is copied but the bytes that are encoded, and nothing is
    /// allocated or freed; from any other thread each message is cloned.
    pub fn send_ref<'a>(&self, batch: impl IntoIterator<Item = &'a Message>) -> Sent {
        let mut sender = Sender::new(self);
        for message in batch {
            if message.to() != 0 && !sender.encode(message) {
                sender.push(message.clone());
            }
        }
        sender.finish()
    }
}

/// One call of [`Transport::send`].
///
/// Messages to the same peer in a row share one look-up.
struct Sender<'a> {
    transport: &'a Transport,
    /// Set if this thread is the core that owns the peers.
    here: Option<std::rc::Rc<Core>>,
    peer: Option<Target>,
    sent: Sent,
    ring: bool,
}

struct Target {
    shared: Arc<PeerShared>,
    /// The peer itself, on its own core.
    local: Option<std::rc::Rc<Peer>>,
    frame_bytes_max: usize,
    /// Lanes that were pushed to.
    touched: [bool; 2],
}

impl<'a> Sender<'a> {
    fn new(transport: &'a Transport) -> Self {
        let owner = &transport.shared.core;
        let here = Core::current().filter(|core| Arc::ptr_eq(&core.shared, owner));
        Self { transport, here, peer: None, sent: Sent::default(), ring: false }
    }

    /// On the peer's own core, with nothing in front of it, a message is encoded where it stands.
    /// False if it has to be pushed.
    #[inline]
    fn encode(&mut self, message: &Message) -> bool {
        let to = MemberId(message.to());
        if self.peer.as_ref().is_none_or(|target| target.shared.id != to) {
            self.leave_peer();
            self.peer = self.find(to);
        }
        let encoded = self.peer.as_mut().is_some_and(|target| target.encode(message));
        self.sent.accepted += usize::from(encoded);
        encoded
    }

    /// After [`Sender::encode`], which has found the peer.
    fn push(&mut self, message: Message) {
        let Some(target) = &mut self.peer else { return self.unknown(MemberId(message.to())) };
        let snapshot = message.is(MessageType::MsgSnap);
        match target.push(message) {
            Ok(()) => self.sent.accepted += 1,
            Err(reason) => self.dropped(reason, snapshot),
        }
    }

    fn find(&self, to: MemberId) -> Option<Target> {
        let shared = Arc::clone(self.transport.peers().get(&to)?);
        let slot = shared.slot.load(Ordering::Acquire);
        let local = self.here.as_ref().and_then(|core| Peer::on(core, slot, &shared));
        let frame_bytes_max = self.transport.shared.config.frames.frame_bytes_max;
        Some(Target { shared, local, frame_bytes_max, touched: [false; 2] })
    }

    /// There is no core to tell it on: the observer hears it here.
    fn unknown(&mut self, to: MemberId) {
        self.sent.dropped += 1;
        let event = Event::Dropped { peer: to, messages: 1, reason: DropReason::UnknownPeer };
        self.transport.shared.config.observer.event(&event);
    }

    /// Counted at the peer, told by its core: raft's callbacks never run inside `send`.
    fn dropped(&mut self, reason: usize, snapshot: bool) {
        self.sent.dropped += 1;
        let target = self.peer.as_ref().expect("dropped by it");
        if target.shared.count_dropped(reason, 1) {
            target.shared.post_dirty(0);
            self.ring = true;
        }
        if snapshot {
            let (raft, id) = (Arc::clone(&self.transport.shared.raft), target.shared.id);
            self.transport.shared.core.run(move |_| raft.report_snapshot(id, SnapshotStatus::Failure));
        }
    }

    fn leave_peer(&mut self) {
        if let Some(target) = self.peer.take() {
            self.ring |= target.leave();
            // Stopped while this call was under way: its core may have looked for the last time.
            if target.shared.stopped.load(Ordering::SeqCst) {
                self.transport.shared.tell_last(&target.shared);
            }
        }
    }

    fn finish(mut self) -> Sent {
        self.leave_peer();
        if self.ring {
            self.transport.shared.core.doorbell.ring();
        }
        self.sent
    }
}

impl Target {
    /// The lane of a message now, or the reason for which there is none.
    #[inline]
    fn lane(&self, message: &Message) -> Result<usize, usize> {
        if self.shared.paused.load(Ordering::Relaxed) {
            return Err(PAUSED);
        }
        let frame = message.payload_bytes() + message.entries.len() * ENTRY_OVERHEAD_MAX + HEAD_OVERHEAD_MAX;
        if frame > self.frame_bytes_max {
            return Err(TOO_LARGE);
        }
        let working = Working { msgapp: self.shared.is_up(0), message: self.shared.is_up(1) };
        match route::pick(message.r#type(), working) {
            Via::Msgapp => Ok(0),
            Via::Message => Ok(1),
            Via::Pipeline => Err(NO_STREAM),
        }
    }

    #[inline]
    fn encode(&mut self, message: &Message) -> bool {
        let Some(peer) = &self.local else { return false };
        let Ok(lane) = self.lane(message) else { return false };
        self.touched[lane] = true;
        peer.encode_local(lane, message)
    }

    fn push(&mut self, message: Message) -> Result<(), usize> {
        let lane = self.lane(&message)?;
        self.touched[lane] = true;
        let weight = message.payload_bytes();
        self.shared.lanes[lane].lock().push(message, weight).map_err(|(_, refused)| match refused {
            Refused::Messages => LANE_MESSAGES,
            Refused::Bytes => LANE_BYTES,
        })
    }

    /// The run of messages to this peer is over; true if its core must be rung.
    fn leave(&self) -> bool {
        let mut ring = false;
        for lane in 0..self.touched.len() {
            match &self.local {
                _ if !self.touched[lane] => {}
                Some(peer) => peer.flush(lane),
                None if self.shared.lanes[lane].lock().announce() => {
                    self.shared.post_dirty(lane);
                    ring = true;
                }
                None => {}
            }
        }
        ring
    }
}
