//! A real etcd as the other end: it leads a cluster of two, and the other member is a transport of
//! ours with a scripted follower behind it. Without our acknowledgements it could commit nothing.
#![allow(unreachable_pub, reason = "helpers in modules of a test")]

#[path = "etcd/cluster.rs"]
mod cluster;
#[path = "etcd/follower.rs"]
mod follower;
#[path = "etcd/kv.rs"]
mod kv;
#[path = "etcd/member.rs"]
mod member;
#[path = "etcd/server.rs"]
mod server;

use std::time::{Duration, Instant};

use cluster::{Cluster, LEADER_TIMEOUT, STREAMS_TIMEOUT, key, value};
use member::{Member, Who, wait_until};
use raftring::proto::handshake::{DialRefusal, Refusal};
use raftring::raftpb::MessageType;
use raftring::{ClusterId, DialError, Dialect, Direction, DropReason, Event, MemberId, StreamKind, Via};

/// Goal: everything that etcd's leader sends is understood, and everything we answer is.
///
/// Method: a thousand keys by `etcdctl put`, a process each. Each put succeeds only if our
/// acknowledgement reached etcd; then every key and value must be in our log, in entries that came
/// by msgappv2. A linearizable read succeeds only if etcd got its heartbeat's context back.
#[test]
fn a_thousand_keys_put_with_etcdctl_arrive_by_msgappv2_and_are_committed_by_our_acks() {
    if server::is_missing() {
        return;
    }
    let cluster = Cluster::start(|_| ());
    let mark = cluster.host().mark();
    let took = cluster.put_all(0..1_000);
    cluster.assert_arrived(0..1_000);
    assert_eq!(cluster.etcd.get(&key(500)), Ok(value(500)));
    println!("1,000 puts took {took:?}");
    cluster.print("after them");

    let tally = cluster.host().follower().tally.clone();
    assert!(tally.entries(Via::Msgapp) >= 1_000);
    assert_eq!(tally.messages(MessageType::MsgApp, Via::Pipeline), 0, "the stream was up all the time");
    assert!(tally.messages(MessageType::MsgHeartbeat, Via::Message) > 0);
    assert!(cluster.host().accepted() >= tally.messages(MessageType::MsgApp, Via::Msgapp));
    cluster.host().assert_quiet(mark);
    assert_sees_us(&cluster);
    cluster.host().assert_sound();
    assert!(cluster.etcd.is_running());
}

/// etcd's own view: we are an active peer, and it failed to send or to understand nothing since
/// its streams came up.
fn assert_sees_us(cluster: &Cluster) {
    let us = format!("\"{}\"", cluster.us.id);
    assert!((cluster.etcd.metric("etcd_network_active_peers", &us) - 1.0).abs() < 0.5);
    assert!(cluster.etcd.metric("etcd_network_peer_received_bytes_total", &us) > 0.0);
    assert!(cluster.etcd.metric("etcd_network_peer_received_failures_total", &us) < 0.5);
    assert!((cluster.etcd.metric("etcd_server_is_leader", "") - 1.0).abs() < 0.5);
}

/// The short version of the test above, in one dialect.
fn etcd_understands(dialect: Dialect) {
    if server::is_missing() {
        return;
    }
    let cluster = Cluster::start(|config| config.dialect = dialect);
    let mark = cluster.host().mark();
    cluster.put_all(0..50);
    cluster.assert_arrived(0..50);
    assert_eq!(cluster.etcd.get(&key(49)), Ok(value(49)));
    cluster.print(&format!("{dialect:?}"));
    cluster.host().assert_quiet(mark);
    assert_sees_us(&cluster);
    cluster.host().assert_sound();
}

#[test]
fn etcd_understands_the_dialect_of_3_4() {
    etcd_understands(Dialect::V3_4);
}

#[test]
fn etcd_understands_the_dialect_of_3_6() {
    etcd_understands(Dialect::V3_6);
}

#[test]
fn etcd_understands_the_dialect_of_3_7() {
    etcd_understands(Dialect::V3_7);
}

#[test]
fn etcd_understands_the_full_dialect() {
    etcd_understands(Dialect::Full);
}

/// Goal: a crash of etcd under load is noticed, told and healed without any help, and no write that
/// was acknowledged is lost.
///
/// Method: SIGKILL while keys are put; every stream must be told as down, a message sent to the dead
/// must be told as lost, and dials must keep their pace. Then it starts on the same data, and every
/// put that had succeeded is in our log and in etcd.
#[test]
fn an_etcd_that_was_killed_is_missed_and_found_again() {
    if server::is_missing() {
        return;
    }
    let cluster = Cluster::start(|_| ());
    let mark = cluster.host().mark();
    let (killed, acknowledged) = kill_while_keys_are_put(&cluster);
    wait_until("all four streams are down", Duration::from_secs(1), || {
        let host = cluster.host();
        host.count(mark, |event| matches!(event, Event::ReaderDown { .. })) == 2
            && host.count(mark, |event| matches!(event, Event::WriterDown { .. })) == 2
    });
    let inactive = cluster.host().when(mark, |event| matches!(event, Event::PeerInactive { .. }));
    let inactive = inactive.expect("told before the last stream was");
    assert!(cluster.member().transport().active_since(cluster.etcd_id).is_none());
    assert_loss_is_reported(&cluster);
    assert_dials_keep_their_pace(&cluster);

    let (mark, started) = (cluster.host().mark(), Instant::now());
    cluster.etcd.start();
    let up = cluster.wait_for_streams(mark);
    assert!(up - started < RECONNECT_MAX, "{:?}", up - started);
    let active = cluster.host().when(mark, |event| matches!(event, Event::PeerActive { .. }));
    assert!(active.is_some_and(|active| active <= up && active > inactive));
    cluster.etcd.put_until_it_works("healed", "yes", LEADER_TIMEOUT);
    println!(
        "{} puts, inactive {:?} after the kill; streams {:?} and a put {:?} after the start",
        acknowledged.len(),
        inactive - killed,
        up - started,
        started.elapsed()
    );
    for &n in &acknowledged {
        assert_eq!(cluster.etcd.get(&key(n)), Ok(value(n)));
    }
    cluster.put_all(1_000..1_020);
    cluster.assert_arrived(acknowledged.into_iter().chain(1_000..1_020));
    cluster.print("killed and back");
    cluster.host().assert_sound();
}

/// The moment of the kill, and the puts that had succeeded by then.
fn kill_while_keys_are_put(cluster: &Cluster) -> (Instant, Vec<usize>) {
    std::thread::scope(|scope| {
        let puts = scope.spawn(|| cluster.try_all(0..100, Duration::from_secs(1)));
        wait_until("some keys are put", Duration::from_secs(10), || {
            cluster.host().follower().last_index() > 20
        });
        cluster.etcd.kill();
        let killed = Instant::now();
        let outcomes = puts.join().expect("the putting thread");
        let succeeded = outcomes.into_iter().filter(|(_, outcome)| outcome.is_ok());
        let acknowledged: Vec<_> = succeeded.map(|(n, _)| n).collect();
        assert!((5..100).contains(&acknowledged.len()), "the kill came in between: {acknowledged:?}");
        (killed, acknowledged)
    })
}

/// From the start of one side to four streams: etcd needs some 50 ms until it listens, each side
/// dials every 100 ms, and the rest is for busy machines.
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// While nobody is there, a message is refused by `send`, told to the observer, and to raft.
fn assert_loss_is_reported(cluster: &Cluster) {
    let (mark, sent_at) = (cluster.host().mark(), Instant::now());
    let sent = cluster.member().transport().send([cluster.stale_answer()]);
    assert_eq!((sent.accepted, sent.dropped), (0, 1));
    cluster.host().note_refused(sent.dropped);
    wait_until("raft is told", Duration::from_secs(1), || cluster.host().unreachable_since(sent_at) == 1);
    let told = |event: &Event| matches!(event, Event::Dropped { messages: 1, reason: DropReason::NoStream, peer } if *peer == cluster.etcd_id);
    assert_eq!(cluster.host().count(mark, told), 1);
}

/// Ten dials a second and stream: no fewer than would heal quickly, and no storm.
fn assert_dials_keep_their_pace(cluster: &Cluster) {
    let (mark, window) = (cluster.host().mark(), Duration::from_millis(1_500));
    std::thread::sleep(window);
    for of_kind in StreamKind::ALL {
        let dials = cluster.host().count(
            mark,
            |event| matches!(event, Event::DialFailed { kind, error: DialError::Connect(_), .. } if *kind == of_kind),
        );
        assert!((5..=20).contains(&dials), "{dials} dials of {of_kind} in {window:?}");
    }
}

/// etcd's default: a leader that hears from no majority for so long gives up.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// etcd is still the leader when we come back.
#[test]
fn our_member_comes_back_with_its_log_and_is_found_again() {
    comes_back_after(Duration::ZERO);
}

/// etcd has given up the lead, and needs our vote first.
#[test]
fn our_member_comes_back_late_and_votes_before_it_follows() {
    comes_back_after(3 * ELECTION_TIMEOUT);
}

/// Goal: our restart heals, and an append that contradicts our log repairs the log.
///
/// Method: stop the transport, see that etcd commits nothing without us, plant an entry that no
/// leader sent, start a new transport on the same port with the same log. Puts work again, the
/// planted entry is gone.
fn comes_back_after(pause: Duration) {
    if server::is_missing() {
        return;
    }
    let mut cluster = Cluster::start(|_| ());
    cluster.put_all(0..20);
    cluster.assert_arrived(0..20);

    let before = cluster.stop_ours();
    before.assert_sound();
    let without_us = cluster.etcd.put("alone", "1", Duration::from_millis(500));
    // The client's words if it gives up first, or etcd's.
    let told = |error: &String| error.contains("deadline exceeded") || error.contains("timed out");
    assert!(without_us.as_ref().is_err_and(told), "no quorum: {without_us:?}");
    let votes_before = before.follower().tally.votes();
    std::thread::sleep(pause);
    before.follower().plant(1, "never sent");
    let planted = before.follower().last_index();
    assert_eq!(before.follower().truncated, 0);

    let started = Instant::now();
    cluster.start_ours(|_| ());
    let up = cluster.wait_for_streams(0);
    assert!(up - started < RECONNECT_MAX, "{:?}", up - started);
    cluster.etcd.put_until_it_works("healed", "yes", LEADER_TIMEOUT);
    println!("streams {:?} and a put {:?} after our start", up - started, started.elapsed());
    assert!(
        cluster.host().when(0, |event| matches!(event, Event::PeerActive { .. })).is_some_and(|at| at <= up)
    );
    {
        let follower = cluster.host().follower();
        let votes = follower.tally.votes() - votes_before;
        assert!(pause < ELECTION_TIMEOUT || votes > 0, "there was an election");
        assert_eq!(follower.truncated, 1, "the planted entry");
        assert!(follower.log[planted as usize - 1].via.is_some(), "a real one took its place");
    }
    cluster.put_all(20..40);
    cluster.assert_arrived(0..40);
    cluster.print("stopped and back");
    cluster.host().assert_sound();
}

/// Goal: what etcd posts while we have not dialled it is understood too, and streams take over.
///
/// Method: ours looks for etcd where nobody listens, while etcd knows where we are: it can only post
/// (votes, appends, heartbeats), and our answers leave by the stream that it dialled. Then ours is
/// told the right place.
#[test]
fn what_etcd_posts_is_as_good_as_what_it_streams() {
    if server::is_missing() {
        return;
    }
    let mut cluster = Cluster::new();
    cluster.etcd.start();
    let nowhere = format!("http://{}", server::free_port(cluster.us.listen.ip()));
    cluster.start_ours_dialling(&nowhere, |_| ());
    cluster.etcd.put_until_it_works("posted", "put", LEADER_TIMEOUT);
    cluster.put_all(0..20);
    let tally = cluster.host().follower().tally.clone();
    assert!(tally.messages(MessageType::MsgVote, Via::Pipeline) > 0);
    assert!(tally.messages(MessageType::MsgHeartbeat, Via::Pipeline) > 0);
    assert!(tally.entries(Via::Pipeline) > 20);
    assert_eq!(tally.entries(Via::Msgapp) + tally.entries(Via::Message), 0);
    cluster.print("posted");

    let url = cluster.etcd.url();
    cluster.member().transport().update_peer(cluster.etcd_id, [url]).expect("a good URL");
    cluster.wait_for_streams(0);
    cluster.put_all(20..40);
    cluster.assert_arrived(20..40);
    cluster.print("streamed");
    cluster.host().assert_sound();
}

/// Past etcd's read timeout of 5 s, by more than a heartbeat.
const LONGER_THAN_A_READ_TIMEOUT: Duration = Duration::from_secs(7);

/// Our msgapp stream carries nothing but link heartbeats, and etcd's next to nothing else.
#[test]
fn idle_streams_outlive_the_read_timeouts_of_both_sides() {
    if server::is_missing() {
        return;
    }
    let cluster = Cluster::start(|_| ());
    let mark = cluster.host().mark();
    std::thread::sleep(LONGER_THAN_A_READ_TIMEOUT);
    cluster.host().assert_quiet(mark);
    cluster.put_all(0..5);
    cluster.assert_arrived(0..5);
    cluster.host().assert_sound();
}

/// The counterpart of the test above, without which it would show little: etcd does cut a stream
/// that is silent for 5 s. It dials again at once, and all the while puts work.
#[test]
fn a_stream_too_quiet_for_etcd_is_cut_and_replaced_without_a_loss() {
    if server::is_missing() {
        return;
    }
    let cluster = Cluster::start(|config| {
        (config.heartbeat_interval, config.read_timeout) =
            (Duration::from_secs(60), Duration::from_secs(120));
    });
    let is_msgapp = |event: &Event, direction| matches!(event, Event::StreamUp { kind: StreamKind::Msgapp, direction: d, .. } if *d == direction);
    let up = cluster.host().when(0, |event| is_msgapp(event, Direction::Writer)).expect("it is up");
    let mark = cluster.host().mark();
    let cut = |event: &Event| matches!(event, Event::WriterDown { kind: StreamKind::Msgapp, .. });
    wait_until("etcd cuts it", LONGER_THAN_A_READ_TIMEOUT, || cluster.host().count(mark, cut) > 0);
    let after = cluster.host().when(mark, cut).expect("just seen") - up;
    assert!((4_500..6_500).contains(&after.as_millis()), "cut after {after:?}");
    wait_until("etcd dials it again", Duration::from_secs(1), || {
        cluster.host().count(mark, |event| is_msgapp(event, Direction::Writer)) > 0
    });
    assert_eq!(cluster.host().count(mark, |event| matches!(event, Event::ReaderDown { .. })), 0);
    assert_eq!(cluster.host().count(mark, |event| matches!(event, Event::Dropped { .. })), 0);
    cluster.put_all(0..5);
    cluster.assert_arrived(0..5);
    println!("a silent stream was cut after {after:?}");
    cluster.host().assert_sound();
}

/// Goal: members of another cluster refuse each other in words that both understand, and nobody
/// comes to harm.
///
/// Method: ours says another cluster id, at the place and with the id of etcd's other member. After
/// some refusals in both directions the right one takes its place, and the cluster comes to life.
#[test]
fn another_cluster_is_refused_both_ways_and_etcd_survives() {
    if server::is_missing() {
        return;
    }
    let mut cluster = Cluster::new();
    let other = Who { cluster: ClusterId(0x0bad), ..cluster.us.clone() };
    cluster.etcd.start();
    let stranger = Member::start(&other, &cluster.follower, |_| ());
    stranger.transport().add_peer(cluster.etcd_id, [cluster.etcd.url()]).expect("a good peer");
    wait_until("both streams are refused by etcd", STREAMS_TIMEOUT, || {
        StreamKind::ALL.into_iter().all(|kind| {
            dial_refused(&stranger, kind, |refusal| *refusal == DialRefusal::ClusterIdMismatch) > 0
        })
    });
    wait_until("etcd is refused", STREAMS_TIMEOUT, || {
        refused(&stranger, |refusal| *refusal == Refusal::ClusterIdMismatch) >= 5
    });
    assert_no_stream(&stranger);
    stranger.stop().assert_sound();
    assert_eq!(Refusal::ClusterIdMismatch.status(), 412);
    wait_until("etcd tells why", Duration::from_secs(2), || {
        cluster.etcd.log().contains("request sent was ignored by remote peer due to cluster ID mismatch")
    });
    assert_comes_to_life(&mut cluster);
}

/// Goal: a member that the other does not know (yet) is told so with 404, and nobody comes to harm.
///
/// Method: at the place of etcd's other member stands one that does not know etcd; and one with an
/// id that etcd does not know dials it. Then the right one takes its place.
#[test]
fn an_unknown_member_is_refused_both_ways_and_etcd_survives() {
    if server::is_missing() {
        return;
    }
    let mut cluster = Cluster::new();
    cluster.etcd.start();
    let knows_nobody = Member::start(&cluster.us, &cluster.follower, |_| ());
    let listen = server::free_port(cluster.us.listen.ip());
    let unknown = Who { id: MemberId(0x5757), listen, ..cluster.us.clone() };
    let unknown = Member::start(&unknown, &cluster.follower, |_| ());
    unknown.transport().add_peer(cluster.etcd_id, [cluster.etcd.url()]).expect("a good peer");
    wait_until("both our streams are refused by etcd, again and again", STREAMS_TIMEOUT, || {
        StreamKind::ALL.into_iter().all(|kind| {
            dial_refused(&unknown, kind, |refusal| *refusal == DialRefusal::PeerDoesNotKnowUs) >= 5
        })
    });
    wait_until("etcd is refused", STREAMS_TIMEOUT, || {
        refused(&knows_nobody, |refusal| *refusal == Refusal::SenderNotFound) >= 5
    });
    assert_eq!(Refusal::SenderNotFound.status(), 404);
    for member in [knows_nobody, unknown] {
        assert_no_stream(&member);
        member.stop().assert_sound();
    }
    assert!(cluster.etcd.log().contains("failed to find remote peer in cluster"), "and so etcd says");
    assert_comes_to_life(&mut cluster);
}

fn dial_refused(member: &Member, of_kind: StreamKind, is: impl Fn(&DialRefusal) -> bool) -> usize {
    member.host.count(0, |event| {
        matches!(event, Event::DialFailed { kind, error: DialError::Refused(refusal), .. }
            if *kind == of_kind && is(refusal))
    })
}

fn refused(member: &Member, is: impl Fn(&Refusal) -> bool) -> usize {
    member.host.count(0, |event| matches!(event, Event::RequestRefused { refusal, .. } if is(refusal)))
}

fn assert_no_stream(member: &Member) {
    assert_eq!(member.host.count(0, |event| matches!(event, Event::StreamUp { .. })), 0);
    assert_eq!(member.transport().active_peers(), 0);
}

/// The right member starts where the wrong one was; etcd is none the worse.
fn assert_comes_to_life(cluster: &mut Cluster) {
    assert!(cluster.etcd.is_running());
    let started = Instant::now();
    cluster.start_ours(|_| ());
    cluster.wait_for_streams(0);
    cluster.etcd.put_until_it_works("alive", "yes", LEADER_TIMEOUT);
    println!("the right member, and a put after {:?}", started.elapsed());
    cluster.put_all(0..10);
    cluster.assert_arrived(0..10);
    cluster.host().assert_sound();
}
