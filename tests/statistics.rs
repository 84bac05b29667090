//! Statistics in the shape that etcd's users know, after exchanges over real sockets.
#![cfg(feature = "io")]

#[allow(dead_code, reason = "shared by several tests")]
#[path = "hostile/client.rs"]
mod client;
mod common;

use std::time::Duration;

use client::{Request, exchange};
use common::{Pair, app, wait_until};
use raftring::proto::stats::{MINIMUM_START, RaftState};
use raftring::raftpb::{Message, MessageType};
use raftring::{Dialect, MemberId};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(10);

fn parse(json: &str) -> Value {
    serde_json::from_str(json).expect("JSON")
}

fn exchange_appends(pair: &Pair, count: u64) {
    pair.one.transport().send((1..=count).map(|index| app(index, 3)));
    for _ in 0..count {
        pair.two.host.next(TIMEOUT).expect("it comes");
    }
}

#[test]
fn every_append_is_a_success_of_its_follower_and_nothing_else_is() {
    let pair = Pair::start();
    let one = pair.one.transport();
    let before = &one.leader_stats().followers;
    assert_eq!((before.len(), before[0].0, before[0].1.success_count()), (1, MemberId(2), 0));
    assert_eq!(before[0].1.minimum(), MINIMUM_START);
    exchange_appends(&pair, 300);
    let heartbeat =
        Message { r#type: Some(MessageType::MsgHeartbeat as i32), entries: Vec::new(), ..app(1, 3) };
    one.send([heartbeat]);
    pair.two.host.next(TIMEOUT).expect("the heartbeat");

    wait_until("each is counted", || one.leader_stats().followers[0].1.success_count() == 300);
    let stats = one.leader_stats();
    let follower = &stats.followers[0].1;
    assert_eq!((stats.leader, follower.fail_count()), (MemberId(1), 0));
    assert!(follower.minimum() > 0.0 && follower.minimum() <= follower.average());
    assert!(follower.average() <= follower.maximum() && follower.maximum() < 60_000.0);
    assert!(follower.current() >= follower.minimum() && follower.current() <= follower.maximum());
    assert!(follower.standard_deviation() <= follower.maximum());
    let told = parse(&stats.to_json());
    assert_eq!(told["leader"], "1");
    assert_eq!(told["followers"]["2"]["counts"]["success"], 300);
    assert_eq!(told["followers"]["2"]["latency"]["maximum"].as_f64(), Some(follower.maximum()));
}

#[test]
fn a_followers_statistics_move_with_it_and_go_when_it_is_removed() {
    let pair = Pair::start();
    let one = pair.one.transport();
    exchange_appends(&pair, 10);
    wait_until("each is counted", || one.leader_stats().followers[0].1.success_count() == 10);
    let core = one.core_of(2).expect("a peer");
    let other = (core + 1) % pair.cores.count();
    assert!(one.move_peer(2, other).expect("there is such a core").wait(TIMEOUT));
    assert_eq!(one.leader_stats().followers[0].1.success_count(), 10);
    assert!(one.remove_peer(2).wait(TIMEOUT));
    assert_eq!(one.leader_stats().followers, []);
    one.add_peer(2, [pair.two.url()]).expect("a good peer");
    assert_eq!(one.leader_stats().followers[0].1.success_count(), 0, "it begins anew");
    assert!(one.metrics_text().contains("etcd_network_peer_sent_bytes_total{To=\"2\"}"), "counters do not");
}

#[test]
fn a_server_tells_its_appends_by_whichever_way_they_come_and_who_leads() {
    let pair = Pair::start_with(|config| config.name = "infra1".to_owned());
    let (one, two) = (pair.one.transport(), pair.two.transport());
    assert_eq!(parse(&one.server_stats().to_json())["state"], "StateFollower");
    assert_eq!(parse(&one.server_stats().to_json())["leaderInfo"]["leader"], "");
    exchange_appends(&pair, 50);
    let post = Request::post().header("Connection", "close");
    let body = prost::Message::encode_to_vec(&Message { from: Some(1), ..app(51, 3) });
    exchange(two.local_addr().expect("it listens"), &post.body(&body));
    pair.two.host.next(TIMEOUT).expect("what was posted");
    one.tell_leadership(RaftState::Leader, Some(MemberId(1)));
    two.tell_leadership(RaftState::Follower, Some(MemberId(1)));

    let (leader, follower) = (one.server_stats(), two.server_stats());
    assert_eq!((leader.sent.count, leader.received.count), (50, 0));
    assert_eq!((follower.sent.count, follower.received.count), (0, 51));
    let told = parse(&leader.to_json());
    let expected = [
        ("name", Value::from("infra1")),
        ("id", Value::from("1")),
        ("state", Value::from("StateLeader")),
        ("sendAppendRequestCnt", Value::from(50)),
        ("recvAppendRequestCnt", Value::from(0)),
    ];
    for (name, value) in expected {
        assert_eq!(told[name], value, "{name}");
    }
    assert_eq!(told["leaderInfo"]["leader"], "1");
    for time in [&told["startTime"], &told["leaderInfo"]["startTime"]] {
        assert!(time.as_str().is_some_and(|time| time.ends_with('Z')), "{time}");
    }
    assert!(told["leaderInfo"]["uptime"].as_str().is_some_and(|uptime| uptime.ends_with('s')));
    assert_eq!(parse(&follower.to_json())["state"], "StateFollower");
}

/// A rate needs two moments: batches that the host sends one after the other.
#[test]
fn rates_are_told_while_appends_go_and_not_a_second_after() {
    let pair = Pair::start_with(|config| config.dialect = Dialect::V3_6);
    let one = pair.one.transport();
    let mut index = 0;
    wait_until("there is a rate", || {
        index += 1;
        one.send([app(index, 3)]);
        let stats = one.server_stats();
        stats.sent.per_second > 0.0 && stats.sent.bytes_per_second > stats.sent.per_second
    });
    wait_until("there is none any more", || one.server_stats().sent.per_second == 0.0);
    assert!(!one.server_stats().to_json().contains("sendPkgRate"), "0 is left out");
}
