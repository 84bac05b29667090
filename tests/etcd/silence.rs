//! Streams on which nothing is said.

use std::time::Duration;

use raftring::{Direction, Event, StreamKind};

use super::cluster::Cluster;
use super::member::wait_until;
use super::server;

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
    cluster.finish();
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
    cluster.finish();
}
