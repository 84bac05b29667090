//! Real transports back to back over loopback TCP.

mod common;

use std::time::{Duration, Instant};

use common::{CORE_OPERATIONS, Host, Pair, app, wait_until};
use raftring::raftpb::{Entry, Message, MessageType};
use raftring::{CoresConfig, DropReason, Ending, Event, MemberId, RejectReason, Spin, Transport, Via};

const EVERY_TYPE: [MessageType; 12] = [
    MessageType::MsgProp,
    MessageType::MsgApp,
    MessageType::MsgAppResp,
    MessageType::MsgVote,
    MessageType::MsgVoteResp,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResp,
    MessageType::MsgTransferLeader,
    MessageType::MsgTimeoutNow,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
    MessageType::MsgPreVote,
];

#[test]
fn every_message_type_arrives_as_it_was_sent() {
    let pair = Pair::start();
    for kind in EVERY_TYPE {
        let entries = vec![Entry { data: Some("payload".into()), ..app(5, 5).entries[0].clone() }];
        let message = Message {
            r#type: Some(kind as i32),
            term: Some(3),
            log_term: Some(2),
            index: Some(4),
            commit: Some(4),
            reject: Some(true),
            reject_hint: Some(9),
            context: Some("context".into()),
            entries,
            ..app(5, 1)
        };
        let sent = pair.one.transport().send([message.clone()]);
        assert_eq!((sent.accepted, sent.dropped), (1, 0), "{kind:?}");
        let got = pair.two.host.next(Duration::from_secs(5)).expect("it arrives");
        assert_eq!(common::normalised(got.message), common::normalised(message), "{kind:?}");
        let via = if kind == MessageType::MsgApp { Via::Msgapp } else { Via::Message };
        assert_eq!(got.origin.via, via);
        assert_eq!(got.origin.peer, MemberId(1));
        assert_eq!(got.origin.proposals, kind == MessageType::MsgProp);
    }
}

#[test]
fn a_long_run_of_appends_arrives_whole_and_in_order() {
    let pair = Pair::start();
    let total = 50_000_u64;
    let mut next = 1;
    while next <= total {
        // A host that respects what is queued loses nothing.
        if pair.one.transport().queued(2).0 < 2_000 {
            let batch: Vec<_> = (next..(next + 500).min(total + 1)).map(|index| app(index, 1)).collect();
            next += batch.len() as u64;
            assert_eq!(pair.one.transport().send(batch).dropped, 0);
        }
    }
    for index in 1..=total {
        let got = pair.two.host.next(Duration::from_secs(10)).expect("it arrives").message;
        assert_eq!(got.entries[0].index(), index);
    }
}

#[test]
fn entries_of_every_size_arrive_whole() {
    let pair = Pair::start();
    for (n, size) in [0, 1, 100, 4_095, 4_096, 65_536, 1 << 20, (9 << 20) + 1].into_iter().enumerate() {
        let mut message = app(n as u64 + 1, 1);
        message.entries[0].data = Some((0..size).map(|i| i as u8).collect::<Vec<_>>().into());
        pair.one.transport().send([message.clone()]);
        let got = pair.two.host.next(Duration::from_secs(10)).expect("it arrives").message;
        assert!(got.entries == message.entries, "{size} bytes");
    }
}

#[test]
fn a_stopped_transport_leaves_nothing_behind_and_its_peer_learns_it() {
    let pair = Pair::start();
    assert_eq!(pair.one.transport().active_peers(), 1);
    assert!(pair.two.transport().stop().wait(Duration::from_secs(5)));
    assert!(pair.two.transport().is_stopped() && !pair.one.transport().is_stopped());
    wait_until("the peer is inactive", || pair.one.transport().active_since(2).is_none());
    assert!(pair.one.transport().stop().wait(Duration::from_secs(5)));
    let stats = pair.cores.stats(0).expect("core 0");
    assert_eq!((stats.tasks, stats.blocks.out_bytes()), (0, 0));
    assert_eq!(stats.operations, CORE_OPERATIONS);
}

#[test]
fn a_peer_that_comes_back_is_found_again() {
    let mut pair = Pair::start();
    let address = pair.two.transport().local_addr().expect("it listens");
    assert!(pair.two.transport().stop().wait(Duration::from_secs(5)));
    pair.two.restart(&pair.cores, address, &[&pair.one]);
    wait_until("both streams are up again", || {
        pair.one.transport().send([app(1, 1)]);
        pair.two.host.next(Duration::from_millis(20)).is_some_and(|got| got.origin.via == Via::Msgapp)
    });
    let _: &Host = &pair.one.host;
}

#[test]
fn what_one_direct_send_leaves_in_the_lane_does_not_wait_for_a_tick() {
    let pair = Pair::start();
    // Three times what is encoded in one go, in a burst that the socket takes at once.
    let bulk = vec![7_u8; 256 << 10];
    let began = Instant::now();
    for round in 0..20 {
        let batch: Vec<_> = (0..12)
            .map(|n| {
                let mut message = app(round * 12 + n + 1, 1);
                message.entries[0].data = Some(bulk.clone().into());
                message
            })
            .collect();
        assert_eq!(pair.one.transport().send(batch).dropped, 0);
        for _ in 0..12 {
            pair.two.host.next(Duration::from_secs(5)).expect("it arrives");
        }
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_second_stop_or_removal_ends_no_sooner_than_the_first() {
    let pair = Pair::start();
    let ends: [fn(&Transport) -> Ending; 3] =
        [|one| one.remove_peer(2), Transport::remove_all_peers, Transport::stop];
    for end in ends {
        let one = pair.one.transport();
        pair.one.add(&pair.two);
        let (first, second) = (end(one), end(one));
        assert!(second.wait(Duration::from_secs(5)));
        assert!(first.is_complete());
    }
}

/// etcd does so before it installs a snapshot, and adds those that are members then.
#[test]
fn all_peers_go_at_once_and_may_come_back_and_remotes_stay() {
    let pair = Pair::start();
    let one = pair.one.transport();
    one.add_peer(9, ["http://127.0.0.1:1"]).expect("a good peer");
    one.add_remote(8, ["http://127.0.0.1:1"]).expect("a good remote");
    assert!(one.remove_all_peers().wait(Duration::from_secs(10)));
    assert_eq!((one.active_peers(), one.core_of(2), one.core_of(9)), (0, None, None));
    assert_eq!(one.remotes(), [MemberId(8)]);
    assert!(one.remove_all_peers().wait(Duration::from_secs(10)), "none is no error");
    pair.one.add(&pair.two);
    wait_until("it is back", || one.active_since(2).is_some());
}

#[test]
fn a_member_that_two_threads_add_and_remove_at_once_is_not_left_running() {
    let pair = Pair::start();
    let one = pair.one.transport();
    let rest = pair.cores.stats(0).expect("core 0").tasks;
    let until = Instant::now() + Duration::from_millis(500);
    let again = || Instant::now() < until;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while again() {
                one.add_peer(9, ["http://127.0.0.1:1"]).expect("a good peer");
            }
        });
        scope.spawn(|| {
            while again() {
                drop(one.remove_peer(9));
                std::thread::sleep(Duration::from_micros(50));
            }
        });
    });
    assert!(one.remove_peer(9).wait(Duration::from_secs(5)));
    wait_until("its tasks have ended", || pair.cores.stats(0).expect("core 0").tasks <= rest);
}

fn told_dropped(host: &Host, peer: u64) -> usize {
    let events = host.events.lock().expect("no panic");
    let of = |event: &Event| match event {
        Event::Dropped { peer: to, messages, .. } if to.0 == peer => *messages,
        _ => 0,
    };
    events.iter().map(of).sum()
}

#[test]
fn what_is_sent_while_the_peer_is_removed_is_told() {
    let pair = Pair::start();
    let one = pair.one.transport();
    let remove_in_between = |index| {
        if index == 2 {
            assert!(one.remove_peer(2).wait(Duration::from_secs(5)));
        }
        app(index, 1)
    };
    let sent = one.send((1..=3).map(remove_in_between));
    assert_eq!(sent.accepted + sent.dropped, 3);
    wait_until("it is told", || told_dropped(&pair.one.host, 2) == 3);
}

#[test]
fn what_is_sent_to_a_peer_that_is_removed_before_its_core_knows_it_is_told() {
    let pair = Pair::start();
    let one = pair.one.transport();
    let busy = || async { std::thread::sleep(Duration::from_millis(50)) };
    pair.cores.spawn(0, busy).expect("core 0");
    one.add_peer(9, ["http://127.0.0.1:1"]).expect("a good peer");
    one.cut_peer(9);
    assert_eq!(one.send([Message { to: Some(9), ..app(1, 1) }]).dropped, 1);
    one.mend_peer(9);
    assert_eq!(one.send([Message { to: Some(9), ..app(2, 1) }]).accepted, 1, "it is to be posted");
    assert!(one.remove_peer(9).wait(Duration::from_secs(5)));
    wait_until("it is told", || told_dropped(&pair.one.host, 9) == 2);
}

#[test]
fn a_cut_peer_gets_and_gives_nothing_until_it_is_mended() {
    let pair = Pair::start();
    let paused = |event: &Event| matches!(event, Event::Dropped { reason: DropReason::Paused, .. });
    let rejected = |event: &Event| matches!(event, Event::Rejected { reason: RejectReason::Paused, .. });
    for (cut, mend) in [
        (Transport::pause as fn(&Transport), Transport::resume as fn(&Transport)),
        (|one: &Transport| one.cut_peer(2), |one: &Transport| one.mend_peer(2)),
    ] {
        pair.one.host.events.lock().expect("no panic").clear();
        cut(pair.one.transport());
        assert_eq!(pair.one.transport().send([app(1, 1)]).dropped, 1);
        wait_until("the drop is told", || pair.one.host.saw(paused));
        assert!(pair.two.host.next(Duration::from_millis(50)).is_none());
        let answer = Message { to: Some(1), from: Some(2), ..app(1, 1) };
        assert_eq!(pair.two.transport().send([answer]).accepted, 1);
        wait_until("what it sends is dropped as well", || pair.one.host.saw(rejected));
        assert!(pair.one.host.next(Duration::ZERO).is_none());
        assert!(pair.one.host.unreachable.lock().expect("no panic").is_empty(), "it was cut on purpose");
        mend(pair.one.transport());
        assert_eq!(pair.one.transport().send([app(1, 1)]).accepted, 1);
        assert!(pair.two.host.next(Duration::from_secs(5)).is_some());
    }
}

#[test]
fn spinning_cores_find_every_message_once_alone_or_among_others() {
    let mut cores = CoresConfig::default();
    cores.spin = Spin::Always(Duration::from_millis(20));
    let pair = Pair::start_on(&cores, |_| ());
    let mut index = 0;
    // Alone they are peeked at, in growing runs they gather, and large ones are read as they come.
    for run in 1..=60_usize {
        for size in [1, 300, 1_000, 5_000].into_iter().cycle().take(run) {
            index += 1;
            let mut message = app(index, 1);
            message.entries[0].data = Some(vec![index as u8; size].into());
            assert_eq!(pair.one.transport().send([message]).accepted, 1);
        }
        for expected in index + 1 - run as u64..=index {
            let got = pair.two.host.next(Duration::from_secs(10)).expect("it arrives").message;
            assert_eq!(got.entries[0].index(), expected);
            assert!(got.entries[0].data.iter().flatten().all(|&byte| byte == expected as u8));
        }
        // Now and then the cores fall asleep with a message that was only peeked at.
        if run % 10 == 0 {
            std::thread::sleep(Duration::from_millis(30));
        }
    }
    assert!(pair.two.transport().stop().wait(Duration::from_secs(5)));
    wait_until("its end is seen behind what was peeked at", || {
        pair.one.transport().active_since(2).is_none()
    });
}
