//! Hosts that take no more for a while: what waits, for how long, and what is told of the rest.
#![cfg(feature = "io")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Host, Member, Pair, app, wait_until, wait_within};
use raftring::raftpb::{Message, MessageType};
use raftring::{
    Config, Cores, CoresConfig, Event, MemberId, Origin, Raft, RejectReason, SnapshotStatus, Via,
};

/// What may wait in a backlog, as documented.
const BACKLOG_MESSAGES: u64 = 4096;

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes a part of what concerns it, and all of the rest.
struct Slow {
    inner: Arc<Host>,
    concerns: fn(&Origin) -> bool,
    /// Messages that it takes in one call.
    most: AtomicUsize,
}

impl Slow {
    fn take(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }
}

impl Raft for Slow {
    fn process(&self, origin: Origin, messages: &mut Vec<Message>) {
        let most = if (self.concerns)(&origin) { self.most.load(Ordering::Relaxed) } else { usize::MAX };
        let rest = messages.split_off(most.min(messages.len()));
        self.inner.process(origin, messages);
        *messages = rest;
    }

    fn is_id_removed(&self, _: MemberId) -> bool {
        false
    }

    fn report_unreachable(&self, id: MemberId) {
        self.inner.report_unreachable(id);
    }

    fn report_snapshot(&self, id: MemberId, status: SnapshotStatus) {
        self.inner.report_snapshot(id, status);
    }
}

/// Two members, the second of which has a slow host that takes nothing yet.
struct Stalled {
    pair: Pair,
    host: Arc<Slow>,
}

impl Stalled {
    fn start(concerns: fn(&Origin) -> bool) -> Self {
        let cores = Cores::start(&CoresConfig::default()).expect("cores start");
        let address = "127.0.0.1:0".parse().expect("an address");
        // Silence is not what is tested: a machine that stands still for a moment must not end it.
        let patient = |config: &mut Config| config.read_timeout = PATIENCE;
        let host = Arc::new(Slow { inner: Host::new(), concerns, most: AtomicUsize::new(0) });
        let (raft, inner) = (Arc::clone(&host) as Arc<dyn Raft>, Arc::clone(&host.inner));
        let two = Member::start_as(2, &cores, address, raft, inner, patient);
        let one = Member::start(1, &cores, address, patient);
        one.add(&two);
        two.add(&one);
        let pair = Pair { cores, one, two };
        pair.wait_for_streams();
        Self { pair, host }
    }

    /// Sends to the second member; every message finds room.
    fn send(&self, batch: impl IntoIterator<Item = Message>) {
        wait_within(PATIENCE, "the lane has room", || self.pair.one.transport().queued(2).0 < 2_000);
        assert_eq!(self.pair.one.transport().send(batch).dropped, 0);
    }

    /// A message that arrives at the second member in time.
    fn next(&self) -> Message {
        self.pair.two.host.next(PATIENCE).expect("it arrives").message
    }

    /// A heartbeat arrives, and nothing else does.
    fn beat(&self) {
        self.send([of_type(MessageType::MsgHeartbeat, 0)]);
        assert_eq!(self.next().r#type(), MessageType::MsgHeartbeat);
    }

    fn waits(&self) -> u64 {
        let of = |core| self.pair.cores.stats(core).expect("a core").host_full_waits;
        (0..self.pair.cores.count()).map(of).sum()
    }

    /// Messages that the second member tells to be dropped for this reason.
    fn told(&self, why: RejectReason) -> u64 {
        let events = self.pair.two.host.events.lock().expect("no panic");
        let of = |event: &Event| match event {
            Event::Rejected { messages, reason, .. } if *reason == why => *messages as u64,
            _ => 0,
        };
        events.iter().map(of).sum()
    }

    /// No stream was lost on either side.
    fn assert_up(&self) {
        for member in [&self.pair.one, &self.pair.two] {
            let down = |event: &&Event| matches!(event, Event::ReaderDown { .. } | Event::WriterDown { .. });
            let events = member.host.events.lock().expect("no panic");
            let lost = events.iter().find(down);
            assert!(lost.is_none(), "member {}: {lost:?}", member.id);
        }
    }
}

fn of_type(kind: MessageType, index: u64) -> Message {
    Message { r#type: Some(kind as i32), entries: Vec::new(), ..app(index + 1, 1) }
}

fn append(index: u64, data: &Bytes) -> Message {
    let mut message = app(index, 1);
    message.entries[0].data = Some(data.clone());
    message
}

fn is_msgapp(origin: &Origin) -> bool {
    origin.via == Via::Msgapp
}

#[test]
fn appends_wait_for_a_host_that_comes_back_and_heartbeats_pass_them() {
    let stalled = Stalled::start(is_msgapp);
    let data: Bytes = vec![7; 64 << 10].into();
    // More than sockets hold.
    let total = 800;
    stalled.send((1..=total).map(|index| append(index, &data)));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        stalled.beat();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(stalled.waits() > 0);
    assert!(stalled.pair.one.transport().queued(2).0 > 0, "its lane is what fills");
    stalled.host.take(usize::MAX);
    for index in 1..=total {
        assert_eq!(stalled.next().entries[0].index(), index);
    }
    assert_eq!(stalled.told(RejectReason::HostFull), 0);
    stalled.assert_up();
}

#[test]
fn of_what_a_host_does_not_take_for_long_the_excess_is_told_and_the_stream_stays() {
    let stalled = Stalled::start(is_msgapp);
    let data: Bytes = vec![7; 1 << 10].into();
    let (began, mut sent) = (Instant::now(), 0);
    // Longer than any member waits for a write or for a heartbeat of the link.
    while began.elapsed() < Duration::from_secs(8) {
        if stalled.pair.one.transport().queued(2).0 < 2_000 {
            stalled.send((sent + 1..=sent + 50).map(|index| append(index, &data)));
            sent += 50;
        }
        stalled.beat();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(stalled.told(RejectReason::HostFull) > 0);
    stalled.host.take(usize::MAX);
    let (mut delivered, mut last) = (0, 0);
    wait_within(PATIENCE, "each message is delivered or told", || {
        while let Some(got) = stalled.pair.two.host.next(Duration::from_millis(10)) {
            let index = got.message.entries[0].index();
            assert!(index > last, "{index} behind {last}");
            (delivered, last) = (delivered + 1, index);
        }
        delivered + stalled.told(RejectReason::HostFull) == sent
    });
    assert!(delivered >= BACKLOG_MESSAGES, "{delivered}: as many as may wait");
    stalled.assert_up();
    stalled.send([append(sent + 1, &data)]);
    assert_eq!(stalled.next().entries[0].index(), sent + 1);
}

#[test]
fn a_host_that_takes_one_message_a_call_gets_them_all() {
    let stalled = Stalled::start(is_msgapp);
    stalled.host.take(1);
    let data: Bytes = vec![7; 4 << 10].into();
    // More than may wait.
    let total = BACKLOG_MESSAGES + 1_000;
    for index in 1..=total {
        stalled.send([append(index, &data)]);
    }
    for index in 1..=total {
        assert_eq!(stalled.next().entries[0].index(), index);
    }
    assert!(stalled.waits() > 0);
    assert_eq!(stalled.told(RejectReason::HostFull), 0);
    stalled.assert_up();
}

#[test]
fn proposals_that_wait_for_a_leader_cost_nothing_else_a_message() {
    let stalled = Stalled::start(|origin| origin.proposals);
    assert_bounded_apart(&stalled, MessageType::MsgProp, MessageType::MsgHeartbeat);
}

#[test]
fn the_stream_of_heartbeats_is_read_even_if_they_are_not_taken() {
    let stalled = Stalled::start(|origin| origin.via == Via::Message && !origin.proposals);
    assert_bounded_apart(&stalled, MessageType::MsgHeartbeat, MessageType::MsgProp);
}

/// Of what is left as much waits as may, and the other class comes through.
fn assert_bounded_apart(stalled: &Stalled, left: MessageType, taken: MessageType) {
    let total = BACKLOG_MESSAGES + 1_000;
    for index in 0..total {
        stalled.send([of_type(left, index), of_type(taken, index)]);
    }
    for index in 0..total {
        let got = stalled.next();
        assert_eq!((got.r#type(), got.index()), (taken, index));
    }
    wait_until("the excess is told", || stalled.told(RejectReason::HostFull) == 1_000);
    assert_eq!(stalled.waits(), 0);
    stalled.host.take(usize::MAX);
    for index in 0..BACKLOG_MESSAGES {
        let got = stalled.next();
        assert_eq!((got.r#type(), got.index()), (left, index));
    }
    assert_eq!(stalled.told(RejectReason::HostFull), 1_000);
    stalled.assert_up();
}

#[test]
fn what_a_host_has_left_is_told_when_the_peer_moves_or_the_transport_stops() {
    let stalled = Stalled::start(is_msgapp);
    let (two, cores) = (stalled.pair.two.transport(), stalled.pair.cores.count());
    stalled.send((1..=100).map(|index| append(index, &Bytes::new())));
    wait_until("it waits", || stalled.waits() == 1);
    let other = (two.core_of(1).expect("a peer") + 1) % cores;
    // On a machine with one CPU there is nowhere to move to.
    assert!(two.move_peer(1, other).expect("a core").wait(Duration::from_secs(2)));
    let moved = if cores > 1 { stalled.told(RejectReason::Stopped) } else { 1 };
    assert!(moved > 0);
    wait_until("it is heard again", || {
        stalled.pair.one.transport().send([append(1, &Bytes::new())]);
        stalled.waits() > 1 || cores == 1
    });
    assert!(two.stop().wait(Duration::from_secs(2)), "it does not wait for the host");
    assert!(stalled.told(RejectReason::Stopped) > moved || cores == 1);
}
