//! What is counted is what happened, to the byte; names, types, labels and buckets are etcd's; and the
//! number of label values is bounded.
#![cfg(feature = "io")]

#[allow(dead_code, reason = "shared by several tests")]
#[path = "hostile/client.rs"]
mod client;
mod common;
#[allow(dead_code, reason = "shared by several tests")]
#[path = "lanes/follower.rs"]
mod follower;

use std::collections::BTreeMap;
use std::time::Duration;

use client::{Request, exchange};
use common::{Pair, app, wait_until};
use follower::{Follower, entry, message, start_leader};
use raftring::metrics::{FOREIGN_IDS_MAX, Metrics, Stage};
use raftring::proto::codec::message_size;
use raftring::raftpb::{Message, MessageType};
use raftring::{
    Cores, CoresConfig, Dialect, DropReason, Event, MemberId, RejectReason, Transport, metrics_of,
};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A sample's name with its labels, and its value: what a line of the text says.
fn lines(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    samples.map(parse).collect()
}

fn value(transport: &Transport, name: &str) -> f64 {
    lines(&transport.metrics_text()).get(name).copied().unwrap_or(0.0)
}

fn sum_of(transport: &Transport, prefix: &str) -> f64 {
    lines(&transport.metrics_text()).iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, v)| v).sum()
}

fn of_type(kind: MessageType, number: u64) -> Message {
    Message { r#type: Some(kind as i32), entries: Vec::new(), ..app(number, 1) }
}

// ---- names -------------------------------------------------------------------------------------

const BOTH: &[&str] = &["Local", "Remote"];
const TO: &[&str] = &["To"];
const FROM: &[&str] = &["From"];

/// Name, type, labels; and the first bucket with the number of buckets, each of which ends at twice the
/// one before it.
type Row = (&'static str, &'static str, &'static [&'static str], Option<(f64, usize)>);

/// Protocol section 15, line by line.
const NETWORK: [Row; 15] = [
    ("etcd_network_active_peers", "gauge", BOTH, None),
    ("etcd_network_disconnected_peers_total", "counter", BOTH, None),
    ("etcd_network_peer_sent_bytes_total", "counter", TO, None),
    ("etcd_network_peer_received_bytes_total", "counter", FROM, None),
    ("etcd_network_peer_sent_failures_total", "counter", TO, None),
    ("etcd_network_peer_received_failures_total", "counter", FROM, None),
    ("etcd_network_snapshot_send_success", "counter", TO, None),
    ("etcd_network_snapshot_send_failures", "counter", TO, None),
    ("etcd_network_snapshot_send_inflights_total", "gauge", TO, None),
    ("etcd_network_snapshot_send_total_duration_seconds", "histogram", TO, Some((0.1, 10))),
    ("etcd_network_snapshot_receive_success", "counter", FROM, None),
    ("etcd_network_snapshot_receive_failures", "counter", FROM, None),
    ("etcd_network_snapshot_receive_inflights_total", "gauge", FROM, None),
    ("etcd_network_snapshot_receive_total_duration_seconds", "histogram", FROM, Some((0.1, 10))),
    ("etcd_network_peer_round_trip_time_seconds", "histogram", TO, Some((0.0001, 16))),
];

/// With everything counted once of member 1a2b.
fn counted_once() -> Metrics {
    let metrics = Metrics::default();
    let peer = metrics.of_member(MemberId(0x1a2b));
    for gauge in [&peer.active, &peer.snapshot_send_inflights, &peer.snapshot_receive_inflights] {
        gauge.add(1);
    }
    let counters = [
        &peer.disconnected,
        &peer.sent_bytes,
        &peer.received_bytes,
        &peer.sent_failures,
        &peer.received_failures,
        &peer.snapshot_send_success,
        &peer.snapshot_send_failures,
        &peer.snapshot_receive_success,
        &peer.snapshot_receive_failures,
    ];
    counters.iter().for_each(|counter| counter.add(1));
    for histogram in [&peer.snapshot_send_seconds, &peer.snapshot_receive_seconds] {
        histogram.observe(Duration::from_millis(300));
    }
    peer.round_trip_seconds.observe(Duration::from_micros(150));
    metrics
}

#[test]
fn names_types_labels_and_buckets_are_those_of_etcd() {
    let text = counted_once().families(MemberId(7)).to_text();
    let types: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE etcd_network_")).collect();
    assert_eq!(types.len(), NETWORK.len(), "{types:?}");
    let samples = lines(&text);
    for (name, kind, labels, buckets) in NETWORK {
        let help = format!("# HELP {name} ");
        assert!(text.contains(&help) && text.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
        let of_label = |label: &&str| match *label {
            "Local" => "Local=\"7\"".to_owned(),
            other => format!("{other}=\"1a2b\""),
        };
        let labels = labels.iter().map(of_label).collect::<Vec<_>>().join(",");
        let Some((first, count)) = buckets else {
            assert_eq!(samples.get(&format!("{name}{{{labels}}}")), Some(&1.0), "{name}");
            continue;
        };
        let mut bound: f64 = first;
        for _ in 0..count {
            let bucket = samples.get(&format!("{name}_bucket{{{labels},le=\"{bound}\"}}"));
            let observed = if name.contains("snapshot") { 0.3 } else { 0.000_15 };
            assert_eq!(bucket, Some(&f64::from(u8::from(observed <= bound))), "{name} {bound}");
            bound *= 2.0;
        }
        assert_eq!(
            samples.keys().filter(|key| key.starts_with(&format!("{name}_bucket"))).count(),
            count + 1
        );
        assert_eq!(samples.get(&format!("{name}_bucket{{{labels},le=\"+Inf\"}}")), Some(&1.0));
        assert_eq!(samples.get(&format!("{name}_count{{{labels}}}")), Some(&1.0));
        assert!(samples[&format!("{name}_sum{{{labels}}}")] > 0.0);
    }
}

#[test]
fn what_has_no_label_values_yet_is_not_told() {
    let text = Metrics::default().families(MemberId(7)).to_text();
    assert!(!text.contains("etcd_network_"), "{text}");
}

// ---- what was counted --------------------------------------------------------------------------

/// Bytes of a link heartbeat, by protocol section 9.1.
const DIALECTS: [(Dialect, f64); 3] = [(Dialect::V3_4, 30.0), (Dialect::V3_6, 20.0), (Dialect::V3_7, 2.0)];

#[test]
fn sent_and_received_bytes_are_those_of_the_messages_in_every_dialect() {
    for (dialect, link_heartbeat) in DIALECTS {
        let pair = Pair::start_with(|config| {
            config.dialect = dialect;
            config.heartbeat_interval = Duration::from_millis(200);
        });
        let (one, two) = (pair.one.transport(), pair.two.transport());
        let mut messages: Vec<_> = (1..=300).map(|index| app(index, 3)).collect();
        messages.extend((1..=20).map(|commit| of_type(MessageType::MsgHeartbeat, commit)));
        let bytes: usize = messages.iter().map(|message| message_size(message, dialect)).sum();
        let count = messages.len();
        assert_eq!(one.send(messages).accepted, count);
        for _ in 0..count {
            pair.two.host.next(TIMEOUT).expect("it comes");
        }
        let received = value(two, "etcd_network_peer_received_bytes_total{From=\"1\"}");
        assert_eq!(received, bytes as f64, "{dialect:?}");
        let sent = value(one, "etcd_network_peer_sent_bytes_total{To=\"2\"}") - bytes as f64;
        assert_eq!(sent % link_heartbeat, 0.0, "{dialect:?}: {sent} is of link heartbeats");
        let nobody = "etcd_network_peer_received_bytes_total{From=\"0\"}";
        wait_until("link heartbeats come on both streams", || value(two, nobody) >= 6.0 * link_heartbeat);
        assert_eq!(value(two, nobody) % link_heartbeat, 0.0, "{dialect:?}");
        assert_eq!(value(one, "raftring_sent_appends_total{Local=\"1\"}"), 300.0);
        assert_eq!(value(two, "raftring_received_appends_total{Local=\"2\"}"), 300.0);
        assert_eq!(sum_of(one, "etcd_network_peer_sent_failures_total"), 0.0);
        assert_eq!(sum_of(two, "etcd_network_peer_received_failures_total"), 0.0);
        assert_eq!(sum_of(one, "raftring_flush_messages_sum"), count as f64);
    }
}

#[test]
fn every_change_of_a_peers_status_is_counted_once() {
    let pair = Pair::start();
    let one = pair.one.transport();
    let active = "etcd_network_active_peers{Local=\"1\",Remote=\"2\"}";
    let disconnected = "etcd_network_disconnected_peers_total{Local=\"1\",Remote=\"2\"}";
    assert_eq!((value(one, active), value(one, disconnected)), (1.0, 0.0));
    assert!(!one.metrics_text().contains("disconnected_peers_total"), "it has no value yet");
    assert!(pair.two.transport().stop().wait(TIMEOUT));
    wait_until("the peer is inactive", || value(one, active) == 0.0);
    let is_edge = |event: &&Event| matches!(event, Event::PeerInactive { .. });
    let edges = || pair.one.host.events.lock().expect("no panic").iter().filter(is_edge).count();
    assert_eq!(value(one, disconnected), edges() as f64);
    assert!(edges() > 0);
    // A counter outlives its peer, and statistics do not.
    assert!(one.remove_peer(2).wait(TIMEOUT));
    assert!(value(one, disconnected) > 0.0);
    assert!(one.metrics_text().contains(&format!("{active} 0\n")));
    assert!(!one.metrics_text().contains("raftring_lane_messages{"));
}

#[test]
fn what_a_full_lane_refuses_is_a_failure_and_is_told_by_reason_and_class() {
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let leader = start_leader(&cores);
    let follower = Follower::of(&leader, 2);
    let transport = leader.transport();
    let large = entry(64 << 10);
    let mut refused = 0;
    wait_until("the lane is full", || {
        refused += transport.send((0..64).map(|_| message(2, &large))).dropped;
        refused > 0
    });
    refused += transport.send((0..10).map(|_| message(2, &large))).dropped;
    let failures = "etcd_network_peer_sent_failures_total{To=\"2\"}";
    wait_until("each is counted", || value(transport, failures) == refused as f64);
    let labels = "Local=\"1\",To=\"2\"";
    let dropped = format!("raftring_dropped_messages_total{{{labels}");
    let is_of_lane = |line: &str| line.contains("Reason=\"lane_") && line.contains("Class=\"append\"");
    let told: f64 = lines(&transport.metrics_text())
        .iter()
        .filter(|(line, _)| line.starts_with(&dropped) && is_of_lane(line))
        .map(|(_, count)| count)
        .sum();
    assert_eq!(told, refused as f64);
    let queued = transport.queued(2);
    assert_eq!(
        value(transport, &format!("raftring_lane_messages{{{labels},Lane=\"msgapp\"}}")),
        queued.0 as f64
    );
    assert_eq!(
        value(transport, &format!("raftring_lane_bytes{{{labels},Lane=\"msgapp\"}}")),
        queued.1 as f64
    );

    // The stream that breaks is one failure more, and what was lost with it is of another reason.
    drop(follower);
    wait_until("the stream is gone", || value(transport, failures) == (refused + 1) as f64);
    let lost = format!("{dropped},Reason=\"{}\",Class=\"append\"}}", DropReason::StreamLost.name());
    wait_until("what waited is told", || value(transport, &lost) >= queued.0 as f64);
    assert_eq!(transport.send([message(9, &large)]).dropped, 1);
    let unknown =
        "raftring_dropped_messages_total{Local=\"1\",To=\"other\",Reason=\"unknown_peer\",Class=\"append\"}";
    assert_eq!(value(transport, unknown), 1.0);
    assert!(transport.stop().wait(TIMEOUT));
}

#[test]
fn what_cannot_have_come_is_told_by_reason_and_class() {
    let pair = Pair::start();
    let (one, two) = (pair.one.transport(), pair.two.transport());
    let wrong = Message { from: Some(5), ..of_type(MessageType::MsgVote, 1) };
    one.send([wrong, of_type(MessageType::MsgVote, 2)]);
    assert_eq!(pair.two.host.next(TIMEOUT).expect("the second").message.index(), 1);
    let reason = RejectReason::Implausible(raftring::proto::codec::Implausible::From).name();
    let rejected = format!(
        "raftring_rejected_messages_total{{Local=\"2\",From=\"1\",Reason=\"{reason}\",Class=\"vote\"}}"
    );
    assert_eq!(value(two, &rejected), 1.0);
    // As in etcd its bytes count for whom it names.
    assert!(value(two, "etcd_network_peer_received_bytes_total{From=\"5\"}") > 0.0);
}

#[test]
fn stages_tell_of_every_message() {
    let pair = Pair::start();
    let messages: Vec<_> = (1..=500).map(|index| app(index, 3)).collect();
    pair.one.transport().send(messages);
    for _ in 0..500 {
        pair.two.host.next(TIMEOUT).expect("it comes");
    }
    for stage in [Stage::Encoded, Stage::Written, Stage::Received, Stage::HandedOver] {
        wait_until("each message is counted", || pair.cores.latencies().stage(stage).count() == 500);
        let latencies = pair.one.transport().latencies();
        let latency = latencies.stage(stage);
        assert!(latency.quantile(0.5) <= latency.quantile(1.0) && latency.max() < Duration::from_secs(60));
    }
    assert!(pair.cores.latencies().stage(Stage::Written).max() > Duration::ZERO);
    let text = pair.one.transport().metrics_text();
    let counts = lines(&text);
    let written = counts.iter().filter(|(line, _)| {
        line.starts_with("raftring_stage_seconds_count") && line.contains("Stage=\"written\"")
    });
    assert_eq!(written.map(|(_, count)| count).sum::<f64>(), 500.0);
}

#[test]
fn transports_of_a_process_are_told_together_and_their_cores_once() {
    let pair = Pair::start();
    let text = metrics_of([pair.one.transport(), pair.two.transport()]).to_text();
    for name in ["etcd_network_active_peers", "raftring_core_turns_total", "raftring_stage_seconds"] {
        assert_eq!(text.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
    }
    let samples = lines(&text);
    assert_eq!(samples["etcd_network_active_peers{Local=\"1\",Remote=\"2\"}"], 1.0);
    assert_eq!(samples["etcd_network_active_peers{Local=\"2\",Remote=\"1\"}"], 1.0);
    let cores = samples.keys().filter(|name| name.starts_with("raftring_core_turns_total")).count();
    assert_eq!(cores, pair.cores.count());
}

// ---- bounds ------------------------------------------------------------------------------------

/// Protocol section 17, row 18.
#[test]
fn foreign_ids_and_addresses_take_a_bounded_number_of_label_values() {
    let pair = Pair::start();
    let two = pair.two.transport();
    let ids = 10 * FOREIGN_IDS_MAX as u64;
    // A follower passes proposals on with their first `from`, which may be anybody.
    let proposal = |from| Message { from: Some(from), ..of_type(MessageType::MsgProp, 1) };
    let messages: Vec<_> = (0..ids).map(|id| proposal(0xf000 + id)).collect();
    let bytes: usize = messages.iter().map(|message| message_size(message, Dialect::default())).sum();
    pair.one.transport().send(messages);
    for _ in 0..ids {
        pair.two.host.next(TIMEOUT).expect("it comes");
    }
    // And so may whoever posts; of what is no message there is only an address.
    let address = two.local_addr().expect("it listens");
    let mut posted = 0;
    let post = || Request::post().header("Connection", "close");
    for from in 0..20 {
        let body = prost::Message::encode_to_vec(&proposal(0xe000 + from));
        posted += body.len();
        exchange(address, &post().body(&body));
        let reply = exchange(address, &post().body(b"\xff\xff"));
        assert!(reply.contains("error unmarshalling raft message"), "{reply}");
    }
    let samples = lines(&two.metrics_text());
    let received = "etcd_network_peer_received_bytes_total{From=\"";
    let foreign = samples.iter().filter(|(name, _)| name.starts_with(received));
    let foreign: Vec<_> =
        foreign.filter(|(name, _)| !name.ends_with("\"0\"}") && !name.ends_with("\"1\"}")).collect();
    assert_eq!(foreign.len(), FOREIGN_IDS_MAX + 1, "each of so many, and all others as one");
    assert_eq!(foreign.iter().map(|(_, bytes)| *bytes).sum::<f64>(), (bytes + posted) as f64);
    let failures = samples.iter().filter(|(name, _)| name.contains("peer_received_failures_total"));
    let failures: Vec<_> = failures.map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(failures, [("etcd_network_peer_received_failures_total{From=\"address\"}", 20.0)]);
}

// ---- the crate prometheus ----------------------------------------------------------------------

#[cfg(feature = "prometheus")]
#[test]
fn a_registry_of_prometheus_tells_the_same_as_the_text() {
    use prometheus::{Encoder as _, Registry, TextEncoder};
    use raftring::MetricsCollector;

    let pair = Pair::start();
    let one = pair.one.transport();
    one.send((1..=10).map(|index| app(index, 3)));
    for _ in 0..10 {
        pair.two.host.next(TIMEOUT).expect("it comes");
    }
    let registry = Registry::new();
    let collector = || Box::new(MetricsCollector::new([one.clone()]).expect("good names"));
    registry.register(collector()).expect("it is new");
    assert!(registry.register(collector()).is_err(), "one for all transports");
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text).expect("text");
    let theirs = String::from_utf8(text).expect("text");
    let ours = one.metrics_text();
    let comments = |text: &str| {
        let mut lines: Vec<_> =
            text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(comments(&theirs), comments(&ours));
    let (theirs, ours) = (lines(&theirs), lines(&ours));
    assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());
    // What stands still between two looks.
    let still = |name: &&String| name.contains("appends") || name.contains("active_peers");
    for name in ours.keys().filter(still) {
        assert_eq!(theirs[name], ours[name], "{name}");
    }
    let kinds = one.families();
    assert!(kinds.iter().any(|family| family.kind == raftring::metrics::Kind::Histogram));
}
