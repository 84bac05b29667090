//! etcd's metrics beside ours.

use raftring::{Dialect, Transport};

use super::cluster::Cluster;
use super::member::wait_until;
use super::server;

use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Of the peers' network: etcd's clients, and its own list of members, are not rafthttp's.
fn types(text: &str) -> Vec<&str> {
    let others = ["etcd_network_client_grpc_", "etcd_network_known_peers", "etcd_network_server_stream_"];
    let is_ours = |line: &&str| {
        line.starts_with("# TYPE etcd_network_") && !others.iter().any(|other| line.contains(other))
    };
    text.lines().filter(is_ours).collect()
}

/// One of ours, summed over all labels that contain `label`.
fn ours(transport: &Transport, name: &str, label: &str) -> f64 {
    let text = transport.metrics_text();
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Goal: our metrics are etcd's, by name and type, and both ends count the same bytes.
///
/// Method: in etcd's own dialect, a hundred keys; then the types that etcd tells are looked up in ours,
/// and what it has received from us is compared with what we have sent, link heartbeats included, as
/// soon as both stand still for a moment; and the other way round.
#[test]
fn etcd_and_ours_tell_the_same_metrics_and_count_the_same_bytes() {
    if server::is_missing() {
        return;
    }
    let cluster = Cluster::start(|config| config.dialect = Dialect::V3_4);
    cluster.put_all(0..100);
    cluster.assert_arrived(0..100);
    let transport = cluster.member().transport();
    let (us, etcd) = (format!("\"{}\"", cluster.us.id), format!("\"{}\"", cluster.etcd_id));

    let theirs = cluster.etcd.metrics();
    let mut all = Vec::new();
    let families = transport.families();
    for family in families.iter() {
        all.push(format!("# TYPE {} {}", family.name, family.kind.name()));
    }
    assert!(types(&theirs).len() >= 3, "{:?}", types(&theirs));
    for line in types(&theirs) {
        assert!(all.iter().any(|ours| ours == line), "{line}");
    }
    for line in types(&transport.metrics_text()) {
        assert!(all.iter().any(|known| known == line));
    }

    let (sent, received) = ("etcd_network_peer_sent_bytes_total", "etcd_network_peer_received_bytes_total");
    wait_until("what we sent is what etcd received", TIMEOUT, || {
        let of_nobody = cluster.etcd.metric(received, "\"0\"");
        ours(transport, sent, &etcd) == cluster.etcd.metric(received, &us) + of_nobody
    });
    wait_until("what etcd sent is what we received", TIMEOUT, || {
        let of_nobody = ours(transport, received, "\"0\"");
        cluster.etcd.metric(sent, &us) == ours(transport, received, &etcd) + of_nobody
    });
    cluster.finish();
}
