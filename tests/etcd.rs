//! A real etcd as the other end: it leads a cluster of two, and the other member is a transport of
//! ours with a scripted follower behind it. Without our acknowledgements it could commit nothing.
#![cfg(feature = "io")]
#![allow(unreachable_pub, reason = "helpers in modules of a test")]

#[path = "etcd/cluster.rs"]
mod cluster;
#[path = "etcd/follower.rs"]
mod follower;
#[path = "etcd/kv.rs"]
mod kv;
#[path = "etcd/member.rs"]
mod member;
#[path = "etcd/metrics.rs"]
mod metrics;
#[path = "etcd/outages.rs"]
mod outages;
#[path = "etcd/posted.rs"]
mod posted;
#[path = "etcd/probing.rs"]
mod probing;
#[path = "etcd/refusals.rs"]
mod refusals;
#[path = "etcd/server.rs"]
mod server;
#[path = "etcd/silence.rs"]
mod silence;
#[path = "etcd/snapshot.rs"]
mod snapshot;
#[path = "etcd/stall.rs"]
mod stall;
#[path = "etcd/statistics.rs"]
mod statistics;

use std::time::Duration;

use cluster::{Cluster, LEADER_TIMEOUT, key, value};
use raftring::raftpb::MessageType;
use raftring::{Dialect, Via};

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
    cluster.finish();
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
    cluster.finish();
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
    cluster.finish();
}

/// Goal: large appends, in both forms of msgappv2, arrive whole; a log is filled up from nothing.
///
/// Method: 8 MiB of keys, then both members stop and ours loses its log. etcd restarts with it, for
/// it never asks a follower again for what it knows to be acknowledged; then it sends everything,
/// a megabyte a message.
#[test]
fn a_member_with_an_empty_log_is_sent_everything_in_large_appends() {
    if server::is_missing() {
        return;
    }
    let mut cluster = Cluster::start(|_| ());
    let large: Vec<_> = (0..80).map(|n| n * 100 + 99).collect();
    for &n in &large {
        assert_eq!(cluster.etcd.put(&key(n), &value(n), Duration::from_secs(5)), Ok(()));
    }
    cluster.stop_ours();
    cluster.etcd.kill();
    cluster.forget();
    cluster.start_ours(|_| ());
    cluster.etcd.start();
    cluster.etcd.put_until_it_works("again", "yes", LEADER_TIMEOUT);
    cluster.assert_arrived(large);
    cluster.print("all at once");
    let largest = cluster.host().follower().tally.largest;
    assert!(largest > 512 << 10, "the largest append held {largest} bytes");
    cluster.finish();
}
