//! Faults on purpose, seen from the other side: each does what it says, to what it was said for, counted
//! to the message, and ends when it is mended.
#![cfg(feature = "io")]

#[allow(dead_code, reason = "shared by several tests")]
#[path = "hostile/client.rs"]
mod client;
mod common;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use client::{Request, answer};
use common::{Host, Member, Pair, app, wait_until};
use prost::Message as _;
use raftring::raftpb::{ClassCounts, Message, MessageClass, MessageType};
use raftring::{
    DropReason, Event, Fault, Injection, InjectionId, MemberId, Placement, RejectReason, Side,
    SnapshotStatus, Via,
};

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message from 1 to 2 that is known by its number.
fn of_type(kind: MessageType, number: u64) -> Message {
    Message { r#type: Some(kind as i32), entries: Vec::new(), ..app(number + 1, 1) }
}

fn append(number: u64) -> Message {
    of_type(MessageType::MsgApp, number)
}

fn vote(number: u64) -> Message {
    of_type(MessageType::MsgVote, number)
}

fn inject(at: &Member, injection: Injection) -> InjectionId {
    at.transport().inject(injection).expect("it can be")
}

/// Messages that a fault has happened to.
fn happened(at: &Member, id: InjectionId) -> u64 {
    let injections = at.transport().injections();
    injections.iter().find(|injection| injection.id == id).expect("it is there").messages
}

/// Numbers of the next messages that arrive at the second member.
fn arrive(pair: &Pair, count: usize) -> Vec<u64> {
    let next = || pair.two.host.next(PATIENCE).expect("it arrives").message;
    (0..count).map(|_| next()).map(|message| message.index()).collect()
}

/// Nothing but this vote arrives.
fn only_a_vote_arrives(pair: &Pair, number: u64) {
    assert_eq!(pair.one.transport().send([vote(number)]).accepted, 1);
    let next = pair.two.host.next(PATIENCE).expect("the vote arrives").message;
    assert_eq!((next.class(), next.index()), (MessageClass::Vote, number));
}

fn told(host: &Host, of: DropReason) -> ClassCounts {
    let mut counts = ClassCounts::default();
    for event in &*host.events.lock().expect("no panic") {
        if let Event::Dropped { class, messages, reason, .. } = event
            && *reason == of
        {
            counts.add(*class, *messages);
        }
    }
    counts
}

fn rejected(host: &Host) -> ClassCounts {
    let mut counts = ClassCounts::default();
    for event in &*host.events.lock().expect("no panic") {
        if let Event::Rejected { class, messages, reason: RejectReason::Injected, .. } = event {
            counts.add(*class, *messages);
        }
    }
    counts
}

/// So that streams are waited for anew.
fn clear_events(pair: &Pair) {
    for member in [&pair.one, &pair.two] {
        member.host.events.lock().expect("no panic").clear();
    }
}

#[test]
fn what_is_lost_by_lot_is_told_exactly_and_the_same_again_for_the_same_seed() {
    const COUNT: u64 = 1_000;
    let pair = Pair::start();
    let half = Injection::new(Fault::Drop { probability: 0.5 }).peer(2).classes([MessageClass::Append]);
    let mut lost_before = 0;
    let mut run = |seed| {
        let id = inject(&pair.one, half.clone().side(Side::Sending).seed(seed));
        let mut dropped = 0;
        for number in 1..=COUNT {
            dropped += pair.one.transport().send([append(number)]).dropped;
            wait_until("the lane has room", || pair.one.transport().queued(2).0 < 1_000);
        }
        let got = arrive(&pair, COUNT as usize - dropped);
        assert!(got.is_sorted() && (400..600).contains(&got.len()), "{} of {COUNT}", got.len());
        assert_eq!(happened(&pair.one, id), dropped as u64);
        lost_before += dropped;
        let lost = ClassCounts::of(MessageClass::Append, lost_before);
        wait_until("each loss is told", || told(&pair.one.host, DropReason::Injected) == lost);
        assert!(pair.one.transport().mend(id));
        assert!(!pair.one.transport().mend(id), "it was mended");
        got
    };
    let (first, again, other) = (run(7), run(7), run(8));
    assert_eq!(first, again);
    assert_ne!(first, other);
    let stats = pair.one.transport().peer_stats(2).expect("a peer");
    assert_eq!(stats.dropped_of(DropReason::Injected, MessageClass::Append) as usize, lost_before);
    only_a_vote_arrives(&pair, 1);
    let unreachable = pair.one.host.unreachable.lock().expect("no panic");
    assert!(unreachable.is_empty(), "a network does not tell what it loses");
}

#[test]
fn a_class_is_cut_on_either_side_and_others_pass() {
    let pair = Pair::start();
    let cut = Injection::new(Fault::Cut).classes([MessageClass::Append]);
    // Whoever loses them tells it.
    let sending = inject(&pair.one, cut.clone().side(Side::Sending));
    assert_eq!(pair.one.transport().send([append(1), append(2)]).dropped, 2);
    only_a_vote_arrives(&pair, 1);
    let lost = ClassCounts::of(MessageClass::Append, 2);
    wait_until("it is told", || told(&pair.one.host, DropReason::Injected) == lost);
    assert!(pair.one.transport().mend(sending));

    let receiving = inject(&pair.two, cut.peer(1).side(Side::Receiving));
    assert_eq!(pair.one.transport().send([append(3), append(4)]).accepted, 2);
    wait_until("it is told", || rejected(&pair.two.host) == lost);
    only_a_vote_arrives(&pair, 2);
    assert_eq!(happened(&pair.two, receiving), 2);
    assert!(pair.two.transport().mend(receiving));
    assert_eq!(pair.one.transport().send([append(5)]).accepted, 1);
    assert_eq!(arrive(&pair, 1), [5]);
}

#[test]
fn a_limit_ends_a_fault_by_itself() {
    let pair = Pair::start();
    let id = inject(&pair.one, Injection::new(Fault::Cut).side(Side::Sending).limit(3));
    assert_eq!(pair.one.transport().send((1..=5).map(append)).dropped, 3);
    assert_eq!(arrive(&pair, 2), [4, 5]);
    assert_eq!(happened(&pair.one, id), 3, "it is there still, and does nothing");
}

#[test]
fn late_messages_are_as_late_as_said_and_in_order() {
    const COUNT: u64 = 500;
    let pair = Pair::start();
    let (min, max) = (Duration::from_millis(40), Duration::from_millis(60));
    for (at, side) in [(&pair.one, Side::Sending), (&pair.two, Side::Receiving)] {
        let late = Injection::new(Fault::Delay { min, max }).classes([MessageClass::Append]).side(side);
        let id = inject(at, late);
        let sent_at = Instant::now();
        assert_eq!(pair.one.transport().send((1..=COUNT).map(append)).accepted, COUNT as usize);
        only_a_vote_arrives(&pair, 1);
        assert_eq!(arrive(&pair, 1), [1]);
        assert!(sent_at.elapsed() >= min, "{:?}", sent_at.elapsed());
        assert!(arrive(&pair, COUNT as usize - 1).into_iter().eq(2..=COUNT));
        assert_eq!(happened(at, id), COUNT);
        assert!(at.transport().mend(id));
    }
    assert_eq!(pair.one.transport().send([append(9)]).accepted, 1);
    assert_eq!(arrive(&pair, 1), [9]);
}

#[test]
fn a_jitter_under_load_loses_nothing_and_keeps_the_order() {
    const COUNT: u64 = 5_000;
    let pair = Pair::start();
    let jitter = Fault::Delay { min: Duration::ZERO, max: Duration::from_millis(2) };
    inject(&pair.one, Injection::new(jitter).side(Side::Sending).seed(1));
    inject(&pair.two, Injection::new(jitter).side(Side::Receiving).seed(2));
    for number in 1..=COUNT {
        assert_eq!(pair.one.transport().send([append(number)]).accepted, 1);
        if number % 100 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        if number == COUNT / 2 {
            // What comes after does not overtake what is late still.
            pair.one.transport().mend_all();
        }
    }
    assert!(arrive(&pair, COUNT as usize).into_iter().eq(1..=COUNT));
}

#[test]
fn copies_arrive_and_are_counted() {
    let pair = Pair::start();
    let twice = Injection::new(Fault::Duplicate { probability: 0.5 }).side(Side::Sending).seed(3);
    let id = inject(&pair.one, twice);
    assert_eq!(pair.one.transport().send((1..=200).map(append)).accepted, 200);
    let copies = happened(&pair.one, id) as usize;
    assert!((50..150).contains(&copies), "{copies}");
    let got = arrive(&pair, 200 + copies);
    assert!(got.is_sorted());
    assert_eq!(HashSet::<_>::from_iter(&got).len(), 200);
    assert!(pair.one.transport().mend(id));
    only_a_vote_arrives(&pair, 1);
}

#[test]
fn the_order_changes_within_the_window_and_nothing_is_lost() {
    const WINDOW: usize = 4;
    let pair = Pair::start();
    let reorder = Injection::new(Fault::Reorder { window: WINDOW }).side(Side::Sending).seed(5);
    let id = inject(&pair.one, reorder.classes([MessageClass::Append]));
    assert_eq!(pair.one.transport().send((1..=200).map(append)).accepted, 200);
    let got = arrive(&pair, 200);
    assert!(!got.is_sorted());
    for (place, number) in got.iter().enumerate() {
        let overtaken_by = got[..place].iter().filter(|other| *other > number).count();
        assert!(overtaken_by <= WINDOW, "{number} by {overtaken_by}");
    }
    let mut sorted = got;
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(1..=200));
    assert_eq!(happened(&pair.one, id), 200);
}

#[test]
fn a_pause_holds_everything_back_and_lets_it_go_in_order() {
    let pair = Pair::start();
    for (at, side) in [(&pair.one, Side::Sending), (&pair.two, Side::Receiving)] {
        let pause = Injection::new(Fault::Pause).side(side).classes([MessageClass::Append]);
        let id = inject(at, pause);
        assert_eq!(pair.one.transport().send((1..=300).map(append)).accepted, 300);
        wait_until("all have come so far", || happened(at, id) == 300);
        only_a_vote_arrives(&pair, 1);
        assert!(at.transport().mend(id));
        assert!(arrive(&pair, 300).into_iter().eq(1..=300));
    }
    assert_eq!(told(&pair.one.host, DropReason::Injected).total(), 0);
    assert_eq!(rejected(&pair.two.host).total(), 0);
}

#[test]
fn what_is_held_back_when_a_peer_goes_is_told_and_a_snapshot_reported_once() {
    let mut pair = Pair::start();
    inject(&pair.one, Injection::new(Fault::Pause).peer(2).side(Side::Sending));
    let snapshot = || of_type(MessageType::MsgSnap, 1);
    assert_eq!(pair.one.transport().send([append(1), vote(1), snapshot()]).accepted, 3);
    assert!(pair.one.transport().remove_peer(2).wait(PATIENCE));
    let mut lost = ClassCounts::of(MessageClass::Append, 1);
    lost.add(MessageClass::Vote, 1);
    lost.add(MessageClass::Snapshot, 1);
    assert_eq!(told(&pair.one.host, DropReason::Injected), lost);
    let failure = (MemberId(2), SnapshotStatus::Failure);
    assert_eq!(*pair.one.host.snapshots.lock().expect("no panic"), [failure]);

    // One that is lost at once is reported, too, and a peer that comes later meets what is there.
    pair.one.add(&pair.two);
    inject(&pair.one, Injection::new(Fault::Cut).classes([MessageClass::Snapshot]));
    assert_eq!(pair.one.transport().send([append(2), snapshot()]).dropped, 1);
    wait_until("it is reported", || *pair.one.host.snapshots.lock().expect("no panic") == [failure, failure]);
    lost.add(MessageClass::Snapshot, 1);
    wait_until("and told", || told(&pair.one.host, DropReason::Injected) == lost);
    assert!(pair.one.transport().stop().wait(PATIENCE));
    lost.add(MessageClass::Append, 1);
    assert_eq!(told(&pair.one.host, DropReason::Injected), lost);
    pair.one.restart(&pair.cores, "127.0.0.1:0".parse().expect("an address"), &[]);
}

#[test]
fn faults_go_with_a_peer_that_moves_and_what_they_hold_is_told() {
    let pair = Pair::start_with(|config| config.placement = Placement::Core(0));
    if pair.cores.count() < 2 {
        return;
    }
    let id = inject(&pair.one, Injection::new(Fault::Pause).side(Side::Sending));
    assert_eq!(pair.one.transport().send([append(1)]).accepted, 1);
    clear_events(&pair);
    assert!(pair.one.transport().move_peer(2, 1).expect("a core").wait(PATIENCE));
    let lost = ClassCounts::of(MessageClass::Append, 1);
    assert_eq!(told(&pair.one.host, DropReason::Injected), lost);
    pair.wait_for_streams();
    assert_eq!(pair.one.transport().send([append(2)]).accepted, 1);
    assert_eq!(happened(&pair.one, id), 2, "it is paused still");
    assert!(pair.one.transport().mend(id));
    assert_eq!(arrive(&pair, 1), [2]);
}

#[test]
fn members_that_are_kept_apart_are_inactive_until_it_is_mended() {
    let pair = Pair::start();
    clear_events(&pair);
    let id = inject(&pair.one, Injection::new(Fault::Disconnect).peer(2));
    for (member, other) in [(&pair.one, 2), (&pair.two, 1)] {
        wait_until("it is inactive", || member.transport().active_since(other).is_none());
    }
    let refused = |event: &Event| matches!(event, Event::DialFailed { error, .. } if error.to_string().contains("injected"));
    wait_until("dials are refused", || pair.one.host.saw(refused));
    let not_let_in = |event: &Event| matches!(event, Event::ConnectionDropped { reason, .. } if reason.contains("injected"));
    wait_until("and nobody is let in", || pair.one.host.saw(not_let_in));
    // Nor does anything go by post.
    assert_eq!(pair.one.transport().send([append(7)]).accepted, 1);
    let not_posted = |event: &Event| matches!(event, Event::PostFailed { error, .. } if error.to_string().contains("injected"));
    wait_until("it is not posted", || pair.one.host.saw(not_posted));
    let lost = ClassCounts::of(MessageClass::Append, 1);
    wait_until("and told", || told(&pair.one.host, DropReason::PostFailed) == lost);
    let is_up = |event: &Event| matches!(event, Event::StreamUp { .. });
    assert!(!pair.one.host.saw(is_up) && !pair.two.host.saw(is_up));
    assert!(pair.one.transport().mend(id));
    pair.wait_for_streams();
    wait_until("both are active", || {
        pair.one.transport().active_since(2).is_some() && pair.two.transport().active_since(1).is_some()
    });
    assert_eq!(pair.one.transport().send([append(1)]).accepted, 1);
    assert_eq!(arrive(&pair, 1), [1]);
}

#[test]
fn connections_of_one_side_are_kept_apart_alone() {
    let pair = Pair::start();
    clear_events(&pair);
    let id = inject(&pair.one, Injection::new(Fault::Disconnect).side(Side::Sending));
    let count = |of: fn(&Event) -> bool| {
        pair.one.host.events.lock().expect("no panic").iter().filter(|event| of(event)).count()
    };
    wait_until("both of ours are down", || count(|event| matches!(event, Event::WriterDown { .. })) == 2);
    let answer = Message { to: Some(1), from: Some(2), ..append(1) };
    assert_eq!(pair.two.transport().send([answer]).accepted, 1, "the other two are up");
    assert!(pair.one.host.next(PATIENCE).is_some());
    assert_eq!(count(|event| matches!(event, Event::ReaderDown { .. })), 0);
    assert!(pair.one.transport().mend(id));
    wait_until("ours are up again", || count(|event| matches!(event, Event::StreamUp { .. })) == 2);
    assert_eq!(pair.one.transport().send([append(2)]).accepted, 1);
    assert_eq!(arrive(&pair, 1), [2]);
}

#[test]
fn connections_that_are_broken_are_made_anew() {
    let pair = Pair::start();
    clear_events(&pair);
    pair.one.transport().break_connections(2);
    pair.one.transport().break_connections(9);
    let down = |event: &Event| matches!(event, Event::WriterDown { .. } | Event::ReaderDown { .. });
    wait_until("they break", || pair.one.host.saw(down) && pair.two.host.saw(down));
    pair.wait_for_streams();
    assert_eq!(pair.one.transport().send([append(1)]).accepted, 1);
    assert_eq!(arrive(&pair, 1), [1]);
}

#[test]
fn what_is_posted_meets_the_faults_of_its_sender() {
    let pair = Pair::start();
    let address = pair.one.transport().local_addr().expect("it listens");
    let post = |number| {
        let message = Message { to: Some(1), from: Some(2), ..vote(number) };
        let body = Request::post().header("Connection", "close").body(&message.encode_to_vec());
        String::from_utf8(body).map(|request| answer(address, &request)).expect("small numbers are text")
    };
    let cut = inject(&pair.one, Injection::new(Fault::Cut).peer(2).side(Side::Receiving));
    assert!(post(1).starts_with("HTTP/1.1 204"), "its sender does not know");
    assert_eq!(rejected(&pair.one.host), ClassCounts::of(MessageClass::Vote, 1));
    assert!(pair.one.transport().mend(cut));
    let pause = inject(&pair.one, Injection::new(Fault::Pause).peer(2));
    assert!(post(2).starts_with("HTTP/1.1 204"));
    assert!(pair.one.host.next(Duration::from_millis(50)).is_none());
    assert!(pair.one.transport().mend(pause));
    let got = pair.one.host.next(PATIENCE).expect("it is let go");
    assert_eq!((got.message.index(), got.origin.via), (2, Via::Pipeline));
}

#[test]
fn faults_are_listed_and_what_cannot_be_is_refused() {
    let pair = Pair::start();
    let one = pair.one.transport();
    assert!(one.injections().is_empty());
    let bad = [Fault::Drop { probability: 2.0 }, Fault::Reorder { window: 0 }];
    for fault in bad {
        let error = one.inject(Injection::new(fault)).expect_err("it cannot be");
        assert_eq!(error.setting, "injection");
    }
    let delay = Injection::new(Fault::Delay { min: Duration::ZERO, max: Duration::ZERO });
    for count in 1..=64 {
        one.inject(delay.clone()).expect("so many may be");
        assert_eq!(one.injections().len(), count);
    }
    one.inject(delay.clone()).expect_err("one too many");
    assert!(one.injections().iter().all(|injected| injected.injection == delay && injected.messages == 0));
    one.mend_all();
    assert!(one.injections().is_empty());
    assert_eq!(one.send([append(1)]).accepted, 1);
    assert_eq!(arrive(&pair, 1), [1]);
}
