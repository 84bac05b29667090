//! What gives way where a peer does not read, or a host does not take: by class, each drop told once.
#![cfg(feature = "io")]

#[allow(dead_code, reason = "shared by several tests")]
#[path = "hostile/client.rs"]
mod client;
mod common;
#[allow(dead_code, reason = "shared by several tests")]
#[path = "lanes/follower.rs"]
mod follower;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Host, Member, Pair, app, wait_until};
use follower::{Follower, entry, message, start_leader};
use prost::Message as _;
use raftring::cores::{Rank, Refused};
use raftring::raftpb::{ClassCounts, Message, MessageClass, MessageType};
use raftring::{Cores, CoresConfig, DropReason, Event, MemberId, Origin, Raft, RejectReason, SnapshotStatus};

/// As many messages as a lane takes, and as may wait for a host.
const ROOM: usize = 4096;

const FULL: DropReason = DropReason::LaneFull(Refused::Messages);

fn of_type(kind: MessageType, to: u64, number: u64) -> Message {
    let numbered = Message { index: Some(number), commit: Some(number), ..app(1, 1) };
    Message { r#type: Some(kind as i32), to: Some(to), entries: Vec::new(), ..numbered }
}

fn heartbeat(to: u64, commit: u64) -> Message {
    Message { index: None, log_term: None, ..of_type(MessageType::MsgHeartbeat, to, commit) }
}

/// What a leader has sent to one follower.
struct Sender<'a> {
    leader: &'a Member,
    to: u64,
    sent: ClassCounts,
    refused: ClassCounts,
}

impl Sender<'_> {
    /// True if the message was accepted.
    fn send(&mut self, message: Message) -> bool {
        let class = message.class();
        self.sent.add(class, 1);
        let sent = self.leader.transport().send([message]);
        self.refused.add(class, sent.dropped);
        sent.accepted == 1
    }

    fn queued(&self) -> usize {
        self.leader.transport().queued(self.to).0
    }

    /// Sends messages of a type until one is refused; how many were accepted.
    fn fill(&mut self, kind: MessageType) -> usize {
        (1..).take_while(|&number| self.send(of_type(kind, self.to, number))).count()
    }

    /// Fills the socket and all that is encoded ahead, so that what comes then waits in the lane.
    fn block(&mut self) {
        let entry = entry(64 << 10);
        wait_until("messages wait", || {
            self.send(message(self.to, &entry));
            self.queued() > 16
        });
    }
}

/// What was told to be dropped for any reason, or for one.
fn told(host: &Host, of: impl Fn(DropReason) -> bool) -> ClassCounts {
    let mut counts = ClassCounts::default();
    for event in &*host.events.lock().expect("no panic") {
        if let Event::Dropped { class, messages, reason, .. } = event
            && of(*reason)
        {
            counts.add(*class, *messages);
        }
    }
    counts
}

/// Reads a `message` stream until so many messages have come. Written from the reference alone.
fn read_messages(follower: &mut Follower, count: usize) -> Vec<Message> {
    let (mut wire, mut body, mut messages) = (Vec::new(), Vec::new(), Vec::new());
    let mut piece = vec![0; 1 << 20];
    while messages.len() < count {
        let read = follower.stream.read(&mut piece).expect("more comes in time");
        assert!(read > 0, "the end after {} messages", messages.len());
        wire.extend_from_slice(&piece[..read]);
        while let Some(chunk) = take_chunk(&mut wire) {
            body.extend(chunk);
        }
        let mut at = 0;
        while let Some(length) = body[at..].first_chunk().map(|bytes| u64::from_be_bytes(*bytes) as usize)
            && let Some(frame) = body[at + 8..].get(..length)
        {
            messages.extend(Some(Message::decode(frame).expect("a message")).filter(is_of_raft));
            at += 8 + length;
        }
        body.drain(..at);
    }
    messages
}

fn is_of_raft(message: &Message) -> bool {
    !message.is_link_heartbeat()
}

fn take_chunk(wire: &mut Vec<u8>) -> Option<Vec<u8>> {
    let line = wire.windows(2).position(|pair| pair == b"\r\n")?;
    let size = std::str::from_utf8(&wire[..line]).expect("hex digits");
    let size = usize::from_str_radix(size, 16).expect("hex digits");
    let end = line + 2 + size + 2;
    if wire.len() < end {
        return None;
    }
    let chunk = wire.drain(..end).collect::<Vec<_>>();
    Some(chunk[line + 2..end - 2].to_vec())
}

#[test]
fn to_a_peer_that_does_not_read_appends_give_way_first_and_votes_never_to_anything_else() {
    use MessageType::{MsgApp, MsgAppResp, MsgProp, MsgVote};
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let leader = start_leader(&cores);
    // Without its other stream, appends share this one with everything else.
    let mut follower = Follower::on("message", &leader, 2);
    let (sent, refused) = Default::default();
    let mut sender = Sender { leader: &leader, to: 2, sent, refused };
    sender.block();

    for (kind, rank) in [(MsgApp, Rank::Bulk), (MsgProp, Rank::Request), (MsgAppResp, Rank::Answer)] {
        assert!(sender.fill(kind) > 0, "{kind:?}");
        assert_eq!(sender.queued(), rank.share(ROOM), "{kind:?}");
        assert!(!sender.send(of_type(MsgApp, 2, 1)), "appends have had their share");
    }
    assert!((1..=100).all(|term| sender.send(of_type(MsgVote, 2, term))), "votes go in");
    assert!(sender.send(heartbeat(2, 1)));
    let votes = sender.fill(MsgVote);
    assert_eq!(sender.queued(), ROOM);
    assert!((2..=50).all(|commit| sender.send(heartbeat(2, commit))), "the one that waits is enough");
    assert_eq!(sender.queued(), ROOM);
    let other = Message { context: Some("a read".into()), ..heartbeat(2, 51) };
    assert!(!sender.send(other), "this one is not for the same");

    let (mut all, reported) = (sender.sent, sender.refused);
    wait_until("each drop is told", || told(&leader.host, |reason| reason == FULL) == reported);
    let superseded = ClassCounts::of(MessageClass::Heartbeat, 49);
    wait_until("and what is superfluous", || {
        told(&leader.host, |reason| reason == DropReason::Superseded) == superseded
    });
    let stats = leader.transport().peer_stats(2).expect("a peer");
    for class in MessageClass::ALL {
        assert_eq!(stats.dropped_of(FULL, class) as usize, reported.get(class), "{class:?}");
    }
    assert_eq!(stats.dropped(DropReason::Superseded), 49);

    // It reads again, and everything that was accepted comes, in its order.
    let expected = all.total() - reported.total() - superseded.total();
    let delivered = read_messages(&mut follower, expected);
    assert_eq!(sender.queued(), 0);
    let of = |kind| delivered.iter().filter(move |message| message.is(kind));
    assert_eq!(of(MsgVote).count(), 100 + votes);
    assert!(of(MsgVote).take(100).map(Message::index).eq(1..=100));
    let beats: Vec<_> = of(MessageType::MsgHeartbeat).map(Message::commit).collect();
    assert_eq!(beats, [50], "the newest of them");
    // I4: sent is delivered and told, of each class, to the last message.
    let mut accounted: ClassCounts = delivered.iter().collect();
    accounted += told(&leader.host, |_| true);
    assert_eq!(accounted, all);

    // And the next goes through as if nothing had been.
    assert!(sender.send(of_type(MsgVote, 2, 7)));
    all.add(MessageClass::Vote, 1);
    assert_eq!(read_messages(&mut follower, 1)[0].index(), 7);
    assert_eq!(sender.sent, all);
    assert!(leader.transport().stop().wait(Duration::from_secs(10)));
}

#[test]
fn a_stream_of_appends_alone_keeps_no_room_for_others() {
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let leader = start_leader(&cores);
    let follower = Follower::of(&leader, 2);
    let (sent, refused) = Default::default();
    let mut sender = Sender { leader: &leader, to: 2, sent, refused };
    sender.block();
    sender.fill(MessageType::MsgApp);
    assert_eq!(sender.queued(), ROOM);
    drop(follower);
    wait_until("what was sent is told, all of it appends", || {
        let told = told(&leader.host, |_| true);
        assert_eq!(told.total(), told.get(MessageClass::Append));
        // What was written before the follower left is its own.
        told.total() >= ROOM + sender.refused.total()
    });
    assert!(leader.transport().stop().wait(Duration::from_secs(10)));
}

#[test]
fn where_the_process_is_full_votes_still_wait_and_appends_do_not() {
    const TOGETHER_MAX: usize = 8 << 20;
    let mut config = CoresConfig::default();
    config.queued_bytes_max = TOGETHER_MAX;
    let cores = Cores::start(&config).expect("cores start");
    let leader = start_leader(&cores);
    let followers = [2, 3].map(|id| Follower::on("message", &leader, id));
    let over = |id| {
        let stats = leader.transport().peer_stats(id).expect("a peer");
        stats.dropped_of(DropReason::LaneFull(Refused::Process), MessageClass::Append)
    };
    wait_until("appends to both are over the bound", || {
        for to in &followers {
            leader.transport().send([message(to.id, &entry(64 << 10))]);
        }
        followers.iter().all(|to| over(to.id) > 0)
    });
    let share = Rank::Bulk.share(TOGETHER_MAX);
    assert!(cores.queued_bytes() <= share, "{} of {share}", cores.queued_bytes());
    for to in &followers {
        let vote = Message { context: Some(vec![1; 512].into()), ..of_type(MessageType::MsgVote, to.id, 1) };
        assert_eq!(leader.transport().send(vec![vote; 64]).accepted, 64);
    }
    assert!(cores.queued_bytes() <= TOGETHER_MAX);
    assert!(leader.transport().stop().wait(Duration::from_secs(10)));
    assert_eq!(cores.queued_bytes(), 0);
}

/// Takes nothing until it is told to.
struct Stubborn {
    inner: Arc<Host>,
    takes: AtomicBool,
}

impl Raft for Stubborn {
    fn process(&self, origin: Origin, messages: &mut Vec<Message>) {
        if self.takes.load(Ordering::Relaxed) {
            self.inner.process(origin, messages);
        }
    }

    fn is_id_removed(&self, _: MemberId) -> bool {
        false
    }

    fn report_unreachable(&self, _: MemberId) {}

    fn report_snapshot(&self, _: MemberId, _: SnapshotStatus) {}
}

#[test]
fn of_what_a_host_does_not_take_acks_give_way_and_votes_stay() {
    const ACKS: usize = 5_000;
    const VOTES: usize = 500;
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let address = "127.0.0.1:0".parse().expect("an address");
    let host = Arc::new(Stubborn { inner: Host::new(), takes: AtomicBool::new(false) });
    let raft = Arc::clone(&host) as Arc<dyn Raft>;
    let two = Member::start_as(2, &cores, address, raft, Arc::clone(&host.inner), |_| ());
    let one = Member::start(1, &cores, address, |_| ());
    one.add(&two);
    two.add(&one);
    let pair = Pair { cores, one, two };
    pair.wait_for_streams();
    let send = |kind, count: usize| {
        for number in 1..=count as u64 {
            wait_until("the lane has room", || pair.one.transport().queued(2).0 < 1_000);
            assert_eq!(pair.one.transport().send([of_type(kind, 2, number)]).dropped, 0);
        }
    };
    send(MessageType::MsgAppResp, ACKS);
    send(MessageType::MsgVote, VOTES);
    let told = || {
        let mut counts = ClassCounts::default();
        for event in &*host.inner.events.lock().expect("no panic") {
            if let Event::Rejected { class, messages, reason: RejectReason::HostFull, .. } = event {
                counts.add(*class, *messages);
            }
        }
        counts
    };
    let over = ClassCounts::of(MessageClass::Ack, ACKS + VOTES - ROOM);
    wait_until("the newest acks are told", || told() == over);
    host.takes.store(true, Ordering::Relaxed);
    let next = || host.inner.next(Duration::from_secs(10)).expect("it waits").message;
    // Which acks stay depends on how they came: the oldest, all but those that gave way to a vote.
    let mut last = 0;
    for _ in 1..=ROOM - VOTES {
        let ack = next();
        assert_eq!(ack.class(), MessageClass::Ack);
        assert!(ack.index() > last, "{} behind {last}", ack.index());
        last = ack.index();
    }
    for number in 1..=VOTES as u64 {
        let vote = next();
        assert_eq!((vote.class(), vote.index()), (MessageClass::Vote, number));
    }
    assert_eq!(told(), over);
}
