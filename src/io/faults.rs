//! Injected faults at one peer: what stands in the way of its messages, from whichever thread they come.

use std::rc::Rc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::core::Core;
use super::peer::Peer;
use super::shared::{PeerShared, lane_of};
use crate::event::{DropReason, RejectReason};
use crate::id::MemberId;
use crate::proto::codec::StreamKind;
use crate::proto::fault::{Fault, FaultQueue, Injection, InjectionId, Rule, Side};
use crate::proto::status::Action;
use crate::raft::SnapshotStatus;
use crate::raftpb::{ClassCounts, Message, MessageClass};

/// Why a connection is not made.
pub(super) const INJECTED: &str = "refused by an injected fault";

/// A way of messages on which faults stand, each with a queue of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// From us, before a link is picked.
    Sent,
    /// To us, by the `msgapp` stream.
    Msgapp,
    /// To us, by the `message` stream.
    Message,
    /// To us, by `POST /raft`.
    Posted,
}

impl Way {
    pub(super) const ALL: [Self; 4] = [Self::Sent, Self::Msgapp, Self::Message, Self::Posted];

    pub(super) const fn of(kind: StreamKind) -> Self {
        match kind {
            StreamKind::Msgapp => Self::Msgapp,
            StreamKind::Message => Self::Message,
        }
    }

    const fn side(self) -> Side {
        match self {
            Self::Sent => Side::Sending,
            Self::Msgapp | Self::Message | Self::Posted => Side::Receiving,
        }
    }
}

/// What stands in the way, in one look: zero while nothing does, as it is for all hosts but tests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Held(u8);

const PAUSED: u8 = 1;

impl Held {
    const fn bit(way: Way) -> u8 {
        2 << way as u8
    }

    const fn apart(side: Side) -> u8 {
        match side {
            Side::Sending => 1 << 6,
            Side::Receiving => 1 << 7,
        }
    }

    pub(crate) const fn is_free(self) -> bool {
        self.0 == 0
    }

    /// rafthttp's pause.
    pub(crate) const fn is_paused(self) -> bool {
        self.0 & PAUSED != 0
    }

    /// True if faults stand in this way.
    pub(crate) const fn has_faults(self, way: Way) -> bool {
        self.0 & Self::bit(way) != 0
    }
}

/// The faults of one peer.
#[derive(Debug)]
pub(crate) struct PeerFaults {
    id: MemberId,
    held: AtomicU8,
    /// Made for the first fault, since most peers never have one.
    ways: OnceLock<Box<[Mutex<Faulty>; Way::ALL.len()]>>,
    /// The injections that keep connections apart.
    apart: Mutex<Vec<(InjectionId, Arc<Injection>)>>,
}

#[derive(Debug, Default)]
struct Faulty {
    queue: FaultQueue,
    /// Somebody hands over what has left the queue, and comes back to it: until then nothing else
    /// leaves, or it would overtake that.
    is_leaving: bool,
    /// When the core comes by itself.
    core_comes_at: Option<Instant>,
}

/// What a visit at a queue leads to.
#[derive(Debug, Default)]
pub(crate) struct Visited {
    /// What the faults have lost.
    pub(crate) dropped: Vec<Message>,
    /// The core must come sooner than it would.
    pub(crate) core_is_due: bool,
}

impl PeerFaults {
    pub(crate) fn new(id: MemberId) -> Self {
        Self { id, held: AtomicU8::new(0), ways: OnceLock::new(), apart: Mutex::default() }
    }

    /// What stands in the way.
    #[inline]
    pub(crate) fn held(&self) -> Held {
        Held(self.held.load(Ordering::Relaxed))
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.set(PAUSED, paused);
    }

    /// True while connections of this side are to fail.
    pub(crate) fn is_apart(&self, side: Side) -> bool {
        self.held().0 & Held::apart(side) != 0
    }

    fn set(&self, bit: u8, is_set: bool) {
        if is_set {
            self.held.fetch_or(bit, Ordering::Relaxed);
        } else {
            self.held.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    fn way(&self, way: Way) -> MutexGuard<'_, Faulty> {
        // Nothing of the host's runs while it is held.
        self.ways.get_or_init(Default::default)[way as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a fault in the way, as far as it concerns this peer; `count` counts for all peers.
    pub(crate) fn inject(&self, id: InjectionId, injection: &Arc<Injection>, count: &Arc<AtomicU64>) {
        if injection.fault() == Fault::Disconnect {
            return self.keep_apart(|apart| apart.push((id, Arc::clone(injection))));
        }
        for way in Way::ALL.into_iter().filter(|way| injection.concerns(self.id, way.side())) {
            let stream = self.id.0 ^ (way as u64).rotate_right(2);
            let mut faulty = self.way(way);
            faulty.queue.add(Rule::new(id, Arc::clone(injection), Arc::clone(count), stream));
            self.set(Held::bit(way), true);
        }
    }

    /// Takes it away again; the core lets go what was held back.
    pub(crate) fn mend(&self, id: InjectionId, now: Instant) {
        self.keep_apart(|apart| apart.retain(|(other, _)| *other != id));
        for way in Way::ALL.into_iter().filter(|way| self.held().has_faults(*way)) {
            let mut faulty = self.way(way);
            faulty.queue.remove(now, id);
            if !faulty.is_leaving {
                self.set(Held::bit(way), !faulty.queue.is_idle());
            }
        }
    }

    fn keep_apart(&self, change: impl FnOnce(&mut Vec<(InjectionId, Arc<Injection>)>)) {
        let mut apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut apart);
        for side in [Side::Sending, Side::Receiving] {
            let concerns = apart.iter().any(|(_, injection)| injection.concerns(self.id, side));
            self.set(Held::apart(side), concerns);
        }
    }

    /// Takes over what stands in the way of the same member elsewhere, but for what waits there.
    pub(crate) fn take_over(&self, other: &Self) {
        self.set_paused(other.held().is_paused());
        let apart = other.apart.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.keep_apart(|own| *own = apart);
        for way in Way::ALL.into_iter().filter(|way| other.held().has_faults(*way)) {
            let rules = other.way(way).queue.rules();
            let mut faulty = self.way(way);
            self.set(Held::bit(way), !rules.is_empty());
            rules.into_iter().for_each(|rule| faulty.queue.add(rule));
        }
    }

    /// Pushes messages and hands over what leaves, in order also if others do the same meanwhile.
    pub(crate) fn visit(
        &self,
        way: Way,
        now: Instant,
        messages: impl IntoIterator<Item = Message>,
        mut hand_over: impl FnMut(Vec<Message>),
    ) -> Visited {
        let mut faulty = self.way(way);
        messages.into_iter().for_each(|message| faulty.queue.push(now, message));
        let mut visited = Visited { dropped: faulty.queue.take_dropped(), core_is_due: false };
        let mut leaving = None;
        while leaving.is_some() || !faulty.is_leaving {
            let messages = faulty.queue.poll(now);
            if messages.is_empty() {
                faulty.is_leaving = false;
                break;
            }
            faulty.is_leaving = true;
            leaving.get_or_insert(Leaving { faults: self, way });
            drop(faulty);
            hand_over(messages);
            faulty = self.way(way);
        }
        visited.dropped.append(&mut faulty.queue.take_dropped());
        if !faulty.is_leaving {
            let next = faulty.queue.poll_timeout();
            visited.core_is_due = next.is_some_and(|at| faulty.core_comes_at.is_none_or(|comes| at < comes));
            self.set(Held::bit(way), !faulty.queue.is_idle());
        }
        drop(faulty);
        visited
    }

    /// For the core, which has just been there: when it comes again by itself.
    fn core_comes(&self, way: Way) -> Option<Instant> {
        let mut faulty = self.way(way);
        // Whoever is at work there tells the core when it is done.
        faulty.core_comes_at = if faulty.is_leaving { None } else { faulty.queue.poll_timeout() };
        faulty.core_comes_at
    }

    /// Nobody comes any more: all that waits is lost.
    fn drain(&self, way: Way) -> Vec<Message> {
        self.way(way).queue.drain()
    }

    /// What waited to be sent, for a peer that was stopped.
    pub(super) fn drain_sent(&self) -> Vec<Message> {
        if self.held().has_faults(Way::Sent) { self.drain(Way::Sent) } else { Vec::new() }
    }

    /// What was posted, likewise: no task of the peer's knows of it.
    pub(super) fn drain_posted(&self) -> Vec<Message> {
        self.drain(Way::Posted)
    }
}

/// Says that nobody hands over any more, also after a panic of the host.
struct Leaving<'a> {
    faults: &'a PeerFaults,
    way: Way,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.faults.way(self.way).is_leaving = false;
        }
    }
}

impl PeerShared {
    /// Lets the core of the peer look at its faults.
    pub(crate) fn post_faults(self: &Arc<Self>) {
        let peer = Arc::clone(self);
        self.core.run(move |core| {
            if let Some(peer) = Peer::on(core, peer.slot.load(Ordering::Acquire), &peer) {
                peer.look_at_faults();
            }
        });
    }
}

impl Peer {
    /// Lets go what is due, and comes again when more is.
    pub(crate) fn look_at_faults(self: &Rc<Self>) {
        if self.is_stopping() {
            return;
        }
        if self.faults.is_running.get() {
            self.faults.look_again.set(true);
            return self.waits.look_again();
        }
        self.faults.is_running.set(true);
        let of_task = Rc::clone(self);
        self.endpoint.spawn_for(self, "injected faults", async move {
            let _running = Running(&of_task);
            of_task.let_go_in_time().await;
        });
    }

    async fn let_go_in_time(self: &Rc<Self>) {
        while !self.is_stopping() {
            self.faults.look_again.set(false);
            let held = self.shared.faults.held();
            let faulty = Way::ALL.into_iter().filter(|way| held.has_faults(*way));
            let next = faulty.filter_map(|way| self.let_go(way)).min();
            let over = || self.is_stopping() || self.faults.look_again.get();
            match next {
                Some(at) => drop(self.waits.unless(over, self.endpoint.core.sleep_until(at)).await),
                None if over() => {}
                None => return,
            }
        }
    }

    /// Hands over what is due on one way; when the next will be.
    fn let_go(self: &Rc<Self>, way: Way) -> Option<Instant> {
        let faults = &self.shared.faults;
        let visited = faults.visit(way, Instant::now(), [], |mut messages| match way {
            Way::Sent => (self.endpoint.shared.resend)(&self.endpoint.shared, &self.shared, messages),
            Way::Msgapp => self.deliver_now(StreamKind::Msgapp, &mut messages, None),
            Way::Message => self.deliver_now(StreamKind::Message, &mut messages, None),
            Way::Posted => {
                for message in messages {
                    // Its sender was told that it had arrived.
                    let _ = self.endpoint.process_posted(message);
                }
            }
        });
        self.tell_injected(way, &visited.dropped);
        faults.core_comes(way)
    }

    fn tell_injected(&self, way: Way, lost: &[Message]) {
        let counts: ClassCounts = lost.iter().collect();
        match way {
            Way::Sent => {
                self.report_lost(counts, DropReason::Injected);
                for _ in 0..counts.get(MessageClass::Snapshot) {
                    let raft = &self.endpoint.shared.raft;
                    self.endpoint
                        .core
                        .guard(|| raft.report_snapshot(self.shared.id, SnapshotStatus::Failure));
                }
            }
            _ => self.tell_rejected(counts, RejectReason::Injected),
        }
    }

    /// The peer is stopped: what its faults hold back is lost.
    pub(super) fn drain_faults(&self) {
        Way::ALL.into_iter().for_each(|way| self.drain_fault(way));
    }

    fn drain_fault(&self, way: Way) {
        let faults = &self.shared.faults;
        if faults.held().has_faults(way) {
            self.tell_injected(way, &faults.drain(way));
        }
    }

    /// A stream's reader has ended for good: what its last read brought came behind the peer's stop.
    pub(super) fn drain_stream_faults(&self, kind: StreamKind) {
        self.drain_fault(Way::of(kind));
    }

    /// True if a batch that a stream brought may go on, or the rest of it.
    #[cold]
    pub(super) fn pass_faults(
        self: &Rc<Self>,
        held: Held,
        kind: StreamKind,
        batch: &mut Vec<Message>,
    ) -> bool {
        if held.is_paused() {
            self.reject(batch, RejectReason::Paused);
            return false;
        }
        let way = Way::of(kind);
        if held.has_faults(way) {
            let (came, mut passed) = (std::mem::take(batch), Vec::new());
            let now = Instant::now();
            let visited =
                self.shared.faults.visit(way, now, came, |mut messages| passed.append(&mut messages));
            self.tell_injected(way, &visited.dropped);
            *batch = passed;
            if visited.core_is_due {
                self.look_at_faults();
            }
        }
        true
    }

    /// Breaks the connections of one side, or of both: of the streams, and those that post.
    pub(super) fn break_connections(&self, side: Option<Side>) {
        if side != Some(Side::Receiving) {
            self.pipeline.break_connections();
        }
        for kind in StreamKind::ALL {
            if side != Some(Side::Receiving) {
                self.break_writer(kind, Action::Write, "broken by an injected fault");
            }
            if side != Some(Side::Sending) {
                self.readers[lane_of(kind)].shutdown();
            }
        }
    }
}

/// The task that lets go is alive.
struct Running<'a>(&'a Peer);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.faults.is_running.set(false);
    }
}

/// Breaks the connections of a peer, on its core.
pub(crate) fn break_connections(peer: &Arc<PeerShared>, side: Option<Side>) {
    let of_letter = Arc::clone(peer);
    peer.core.run(move |core: &Rc<Core>| {
        if let Some(peer) = Peer::on(core, of_letter.slot.load(Ordering::Acquire), &of_letter) {
            peer.break_connections(side);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use super::*;
    use crate::raftpb::MessageType;

    fn append(number: u64) -> Message {
        let kind = Some(MessageType::MsgApp as i32);
        Message { r#type: kind, index: Some(number), ..Message::default() }
    }

    fn inject(faults: &PeerFaults, id: u64, injection: Injection) {
        faults.inject(InjectionId(id), &Arc::new(injection), &Arc::default());
    }

    #[test]
    fn nothing_stands_in_the_way_before_the_first_fault_and_after_the_last() {
        let faults = PeerFaults::new(MemberId(2));
        let now = Instant::now();
        assert!(faults.held().is_free());
        inject(&faults, 0, Injection::new(Fault::Cut).peer(3));
        assert!(faults.held().is_free(), "that is another's");
        inject(&faults, 1, Injection::new(Fault::Disconnect).side(Side::Sending));
        inject(&faults, 2, Injection::new(Fault::Pause).side(Side::Sending));
        assert!(faults.is_apart(Side::Sending) && !faults.is_apart(Side::Receiving));
        assert!(faults.held().has_faults(Way::Sent) && !faults.held().has_faults(Way::Posted));
        let visited = faults.visit(Way::Sent, now, [append(1)], |_| panic!("it is paused"));
        assert!(visited.dropped.is_empty() && !visited.core_is_due);
        faults.mend(InjectionId(1), now);
        faults.mend(InjectionId(2), now);
        assert!(!faults.held().is_free(), "something is held back still");
        let mut leaving = 0;
        faults.visit(Way::Sent, now, [], |messages| leaving += messages.len());
        assert_eq!(leaving, 1);
        assert!(faults.held().is_free());
    }

    #[test]
    fn what_is_being_handed_over_is_not_overtaken() {
        let faults = PeerFaults::new(MemberId(2));
        let late = Duration::from_secs(1);
        inject(&faults, 0, Injection::new(Fault::Delay { min: late, max: late }));
        let now = Instant::now();
        assert!(faults.visit(Way::Sent, now, [append(1)], |_| ()).core_is_due);
        assert_eq!(faults.core_comes(Way::Sent), Some(now + late));
        assert!(!faults.visit(Way::Sent, now, [append(2)], |_| ()).core_is_due, "it comes by itself");
        let order = RefCell::new(Vec::new());
        let note = |messages: Vec<Message>| order.borrow_mut().extend(messages.iter().map(Message::index));
        faults.visit(Way::Sent, now + late, [], |messages| {
            if order.borrow().is_empty() {
                faults.mend(InjectionId(0), now);
                faults.visit(Way::Sent, now + late, [append(3)], |_| panic!("it would overtake"));
                assert_eq!(faults.core_comes(Way::Sent), None, "whoever is at work tells the core");
            }
            note(messages);
        });
        assert_eq!(*order.borrow(), [1, 2, 3]);
        assert!(faults.held().is_free());
    }

    #[test]
    fn a_host_that_panics_in_between_does_not_stop_what_follows() {
        let faults = PeerFaults::new(MemberId(2));
        inject(&faults, 0, Injection::new(Fault::Delay { min: Duration::ZERO, max: Duration::ZERO }));
        let now = Instant::now();
        let panics = || drop(faults.visit(Way::Sent, now, [append(1)], |_| panic!("the host's")));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        let mut numbers = Vec::new();
        faults.visit(Way::Sent, now, [append(2)], |messages| numbers.extend(messages));
        assert_eq!(numbers, [append(2)]);
    }
}
