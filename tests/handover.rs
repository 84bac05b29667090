//! Peers on other cores than their transport's listener: spread, handed over, moved.
#![allow(missing_docs, reason = "a test")]

mod common;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{CLUSTER, Member, Pair, app, wait_until};
use raftring::raftpb::{Message, MessageType};
use raftring::{Cores, CoresConfig, DropReason, Event, MemberId, PeerError, Placement, Transport, Via};

/// Two members, each listening on core 0 and with its peer on core `cores - 1`; on a machine with
/// one CPU nothing is handed over.
fn apart() -> Pair {
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let address = "127.0.0.1:0".parse().expect("an address");
    let member = |id| Member::start(id, &cores, address, |config| config.placement = Placement::Core(0));
    let (one, two) = (member(1), member(2));
    let far = cores.count() - 1;
    one.transport().add_peer_on(far, 2, [two.url()]).expect("a good peer");
    two.transport().add_peer_on(far, 1, [one.url()]).expect("a good peer");
    let pair = Pair { cores, one, two };
    pair.wait_for_streams();
    assert_eq!(pair.one.transport().core_of(2), Some(far));
    pair
}

fn heartbeat(from: u64, to: u64, commit: u64) -> Message {
    let kind = Some(MessageType::MsgHeartbeat as i32);
    Message { r#type: kind, from: Some(from), to: Some(to), commit: Some(commit), ..Message::default() }
}

/// What `GET /raft/stream/...` of member `from` looks like, with `behind` sent behind its head.
fn request(from: u64, behind: &str) -> String {
    format!(
        "GET /raft/stream/message/{from:x} HTTP/1.1\r\nHost: x\r\nX-Server-From: {from:x}\r\n\
         X-Server-Version: 3.4.0\r\nX-Min-Cluster-Version: 3.0.0\r\nX-Etcd-Cluster-ID: {CLUSTER:x}\r\n\
         X-Raft-To: 1\r\n\r\n{behind}"
    )
}

#[test]
fn a_peer_on_another_core_is_reached_by_both_streams_both_ways() {
    let pair = apart();
    for index in 1..=1_000 {
        pair.one.transport().send([app(index, 1), heartbeat(1, 2, index)]);
        pair.two.transport().send([heartbeat(2, 1, index)]);
    }
    for _ in 0..2_000 {
        pair.two.host.next(Duration::from_secs(10)).expect("it arrives");
    }
    for commit in 1..=1_000 {
        let got = pair.one.host.next(Duration::from_secs(10)).expect("it arrives").message;
        assert_eq!(got.commit, Some(commit));
    }
}

#[test]
fn peers_are_spread_evenly_over_the_cores() {
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let address = "127.0.0.1:0".parse().expect("an address");
    let one = Member::start(1, &cores, address, |config| config.placement = Placement::Spread);
    for id in 2..=41 {
        one.transport().add_peer(id, ["http://127.0.0.1:1"]).expect("a good peer");
    }
    let on = |core| (2..=41_u64).filter(|&id| one.transport().core_of(id) == Some(core)).count();
    let counts: Vec<_> = (0..cores.count()).map(on).collect();
    let fair = 40 / cores.count();
    assert!(counts.iter().all(|&count| count >= fair / 2), "{counts:?}");
    let told: Vec<_> = (0..cores.count()).map(|core| cores.stats(core).expect("a core").peers).collect();
    assert_eq!(counts, told);
    assert!(one.transport().stop().wait(Duration::from_secs(5)));
    let gone = |core| cores.stats(core).expect("a core").peers == 0;
    wait_until("no peer is left", || (0..cores.count()).all(gone));
}

#[test]
fn what_a_client_sends_behind_its_request_crosses_with_it_and_is_refused_there() {
    let pair = apart();
    let refused = |event: &Event| matches!(event, Event::ConnectionDropped { reason, .. } if *reason == "bytes behind a stream request");
    let mut stream =
        TcpStream::connect(pair.one.transport().local_addr().expect("it listens")).expect("it listens");
    stream.write_all(request(2, "and more").as_bytes()).expect("sent");
    wait_until("it is refused", || pair.one.host.saw(refused));
    let _ = stream.read_to_end(&mut Vec::new());
    // The stream that is up goes on.
    pair.one.transport().send([heartbeat(1, 2, 7)]);
    assert_eq!(pair.two.host.next(Duration::from_secs(10)).expect("it arrives").message.commit, Some(7));
}

/// Stops a sender also when the test fails: its thread would hold up the end for ever.
struct StopAtLast<'a>(&'a AtomicBool);

impl Drop for StopAtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends heartbeats with rising commits until told to stop; how many were accepted.
fn send_until(transport: &Transport, stop: &AtomicBool) -> u64 {
    let mut accepted = 0;
    let mut commit = 0;
    while !stop.load(Ordering::Relaxed) {
        commit += 1;
        accepted += transport.send([heartbeat(1, 2, commit)]).accepted as u64;
        std::thread::sleep(Duration::from_micros(20));
    }
    accepted
}

/// Commits that arrived at the second member; each at most once, and in order but for those that were
/// posted for want of a stream.
fn arrived(pair: &Pair) -> u64 {
    let (mut last, mut all) = (0, HashSet::new());
    while let Some(got) = pair.two.host.next(Duration::from_millis(300)) {
        let commit = got.message.commit();
        assert!(all.insert(commit), "{commit} for the second time");
        if got.origin.via != Via::Pipeline {
            assert!(commit > last, "{commit} behind {last}");
            last = commit;
        }
    }
    all.len() as u64
}

#[test]
fn connections_are_handed_over_under_load() {
    let pair = apart();
    let stop = AtomicBool::new(false);
    let address = pair.one.transport().local_addr().expect("it listens");
    let accepted = std::thread::scope(|scope| {
        let sender = scope.spawn(|| send_until(pair.one.transport(), &stop));
        let at_last = StopAtLast(&stop);
        // Each replaces the stream that carries the load, whose reader dials again; of those that
        // wait for their turn the newest is kept.
        let served = (0..10).filter(|_| {
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream.write_all(request(2, "").as_bytes()).expect("sent");
            stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
            let mut answer = [0; 15];
            let answered = stream.read_exact(&mut answer).is_ok();
            assert!(!answered || &answer == b"HTTP/1.1 200 OK");
            std::thread::sleep(Duration::from_millis(50));
            answered
        });
        assert!(served.count() > 0);
        drop(at_last);
        sender.join().expect("no panic")
    });
    let arrived = arrived(&pair);
    assert!(arrived > 0 && arrived <= accepted, "{arrived} of {accepted}");
}

#[test]
fn a_peer_moves_from_core_to_core_while_messages_flow() {
    let pair = apart();
    let (one, cores) = (pair.one.transport(), pair.cores.count());
    let stop = AtomicBool::new(false);
    let accepted = std::thread::scope(|scope| {
        let sender = scope.spawn(|| send_until(one, &stop));
        let at_last = StopAtLast(&stop);
        for round in 0..6 {
            let to = round % cores;
            assert!(one.move_peer(2, to).expect("a core").wait(Duration::from_secs(5)));
            assert_eq!(one.core_of(2), Some(to));
            wait_until("it is active again", || one.active_since(2).is_some());
        }
        drop(at_last);
        sender.join().expect("no panic")
    });
    let arrived = arrived(&pair);
    assert!(arrived > 0 && arrived <= accepted, "{arrived} of {accepted}");
    wait_until("it hears messages", || {
        one.send([heartbeat(1, 2, u64::MAX)]);
        pair.two.host.next(Duration::from_millis(50)).is_some()
    });
    let peers: usize = (0..cores).map(|core| pair.cores.stats(core).expect("a core").peers).sum();
    assert_eq!(peers, 2, "nothing is left where it was");
}

#[test]
fn a_peer_that_moves_on_before_it_has_come_is_not_forgotten() {
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let address = "127.0.0.1:0".parse().expect("an address");
    let member = |id| Member::start(id, &cores, address, |config| config.placement = Placement::Core(0));
    let (one, two) = (member(1), member(2));
    one.add(&two);
    two.add(&one);
    let pair = Pair { cores, one, two };
    pair.wait_for_streams();
    let (one, far) = (pair.one.transport(), pair.cores.count() - 1);
    // The far core has heard nothing of this transport yet.
    let endings = [far, 0].map(|core| one.move_peer(2, core).expect("a core"));
    assert!(endings.iter().all(|ending| ending.wait(Duration::from_secs(5))));
    assert_eq!(one.core_of(2), Some(0));
    wait_until("it hears messages", || {
        one.send([heartbeat(1, 2, 7)]);
        pair.two.host.next(Duration::from_millis(50)).is_some()
    });
}

#[test]
fn a_move_of_nobody_or_to_nowhere_is_told() {
    let pair = Pair::start();
    let one = pair.one.transport();
    assert!(one.move_peer(99, 0).expect("nothing to do").is_complete());
    assert!(one.move_peer(2, one.core_of(2).expect("a peer")).expect("it is there").is_complete());
    let refused = one.move_peer(2, 1_000).expect_err("no such core");
    assert!(refused.to_string().contains("no core 1000"), "{refused}");
    assert!(matches!(one.add_peer_on(1_000, 5, ["http://127.0.0.1:1"]), Err(PeerError::Core { .. })));
}

#[test]
fn what_a_peer_holds_and_did_can_be_seen() {
    let pair = Pair::start();
    let one = pair.one.transport();
    for index in 1..=100 {
        one.send([app(index, 1)]);
    }
    for _ in 0..100 {
        pair.two.host.next(Duration::from_secs(10)).expect("it arrives");
    }
    one.cut_peer(2);
    one.send([app(101, 1)]);
    wait_until("it is told", || {
        one.peer_stats(2).is_some_and(|stats| stats.dropped(DropReason::Paused) == 1)
    });
    let stats = one.peer_stats(2).expect("a peer");
    assert_eq!((stats.msgapp.writer.messages, stats.msgapp.queued_messages), (100, 0));
    assert!(stats.msgapp.direct_writes + stats.msgapp.ring_writes > 0);
    assert_eq!(stats.dropped(DropReason::StreamLost), 0);
    let core = pair.cores.stats(pair.two.transport().core_of(1).expect("a peer")).expect("a core");
    assert!(core.processed >= 100 && core.process_calls <= core.processed);
    assert!(core.turns > 0 && core.parks > 0 && core.late_max < Duration::from_secs(10));
    assert!(one.peer_stats(MemberId(77)).is_none());
}
