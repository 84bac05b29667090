//! One side is gone, or seems to be, and comes back.

use std::time::{Duration, Instant};

use raftring::proto::stream::ReadError;
use raftring::raftpb::MessageType;
use raftring::{DialError, DropReason, Event, StreamKind, Via};
use rustix::process::Signal;

use super::cluster::{Cluster, LEADER_TIMEOUT, key, value};
use super::member::wait_until;
use super::server;

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
    cluster.finish();
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

/// While nobody is there, a message is posted in vain, which the observer is told, and raft.
fn assert_loss_is_reported(cluster: &Cluster) {
    let (mark, sent_at) = (cluster.host().mark(), Instant::now());
    let sent = cluster.member().transport().send([cluster.stale_answer()]);
    assert_eq!((sent.accepted, sent.dropped), (1, 0));
    wait_until("raft is told", Duration::from_secs(1), || cluster.host().unreachable_since(sent_at) == 1);
    let told = |event: &Event| matches!(event, Event::Dropped { messages: 1, reason: DropReason::PostFailed, peer, .. } if *peer == cluster.etcd_id);
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
    cluster.finish();
}

/// Goal: an etcd that is stopped in order is understood to the last: it hands over the lead (to us,
/// who do not take it) and ends its streams where a message ends.
#[test]
fn an_etcd_that_stops_in_order_says_goodbye() {
    if server::is_missing() {
        return;
    }
    let cluster = Cluster::start(|_| ());
    cluster.put_all(0..5);
    let mark = cluster.host().mark();
    cluster.etcd.signal(Signal::TERM);
    wait_until("etcd ends by itself", Duration::from_secs(15), || !cluster.etcd.is_running());
    wait_until("both its streams are down", Duration::from_secs(1), || {
        readers_down(&cluster, mark).len() == 2
    });
    for (_, reason) in readers_down(&cluster, mark) {
        assert_eq!(reason, ReadError::Eof);
    }
    let tally = cluster.host().follower().tally.clone();
    assert!(tally.messages(MessageType::MsgTimeoutNow, Via::Message) > 0, "it hands over the lead");
    cluster.etcd.kill();
    cluster.etcd.start();
    cluster.etcd.put_until_it_works("healed", "yes", LEADER_TIMEOUT);
    cluster.print("stopped in order and back");
    cluster.finish();
}

/// Goal: an etcd that is silent without being gone is given up after the read timeout of 5 s, and
/// found again when it wakes.
///
/// Method: SIGSTOP. Its kernel still accepts our dials, so that these end by their own timeout.
#[test]
fn a_frozen_etcd_is_given_up_and_found_again() {
    if server::is_missing() {
        return;
    }
    let cluster = Cluster::start(|_| ());
    cluster.put_all(0..5);
    let (mark, frozen) = (cluster.host().mark(), Instant::now());
    cluster.etcd.signal(Signal::STOP);
    wait_until("both streams are given up", Duration::from_secs(7), || {
        readers_down(&cluster, mark).len() == 2
    });
    for (at, reason) in readers_down(&cluster, mark) {
        println!("given up {:?} after the freeze", at - frozen);
        assert_eq!(reason, ReadError::Silent);
        // Counted from the last frame, which was up to a link heartbeat's period before.
        assert!((3_200..6_000).contains(&(at - frozen).as_millis()), "{:?}", at - frozen);
    }
    assert!(cluster.host().count(mark, |event| matches!(event, Event::PeerInactive { .. })) > 0);
    wait_until("dials time out", Duration::from_secs(4), || {
        let timed_out = |event: &Event| matches!(event, Event::DialFailed { error: DialError::Timeout, .. });
        cluster.host().count(mark, timed_out) >= 2
    });
    let woken = Instant::now();
    cluster.etcd.signal(Signal::CONT);
    cluster.etcd.put_until_it_works("awake", "yes", LEADER_TIMEOUT);
    println!("a put {:?} after it woke", woken.elapsed());
    cluster.put_all(5..10);
    cluster.assert_arrived(0..10);
    cluster.finish();
}

/// When and why streams that we read ended since a mark.
fn readers_down(cluster: &Cluster, mark: usize) -> Vec<(Instant, ReadError)> {
    let down = |(at, event)| match event {
        Event::ReaderDown { reason, .. } => Some((at, reason)),
        _ => None,
    };
    cluster.host().events(mark).into_iter().filter_map(down).collect()
}
