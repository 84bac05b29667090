//! Probes both ways, and the paths that etcd asks for beside those of the transport.

use std::sync::Arc;
use std::time::Duration;

use raftring::routes::{Answer, Reply, Request};
use raftring::{Event, RoundTripper};

use super::cluster::Cluster;
use super::member::wait_until;
use super::server;

/// A probe after 4 s, a look after 5, and some time for a loaded machine.
const PROBED_TIMEOUT: Duration = Duration::from_secs(20);

/// etcd's leader asks every 4 s for everyone's version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(30);

/// Our member's minor; etcd decides on the lowest.
const OUR_MINOR: u32 = 5;

fn serve(request: Request, reply: Reply) {
    reply.answer(match request.path.as_str() {
        "/version" => Answer::version(&request, &format!("3.{OUR_MINOR}.0"), "not_decided"),
        _ => Answer::not_found(),
    });
}

/// Goal: etcd's probers find us healthy, ours find etcd healthy; and a cluster with our member in it
/// decides on a version, which it does only if all members answer.
///
/// Method: a host that serves `/version`; then etcd's own metrics, log and `/version` are asked.
#[test]
fn both_find_each_other_healthy_and_the_cluster_decides_on_its_version() {
    if server::is_missing() {
        return;
    }
    let cluster = Cluster::start(|config| config.routes = Some(Arc::new(serve)));
    let us = format!("\"{}\"", cluster.us.id);
    let looks = "etcd_network_peer_round_trip_time_seconds_count";
    wait_until("etcd's probers have looked at us", PROBED_TIMEOUT, || cluster.etcd.metric(looks, &us) > 1.5);
    let sum = cluster.etcd.metric("etcd_network_peer_round_trip_time_seconds_sum", &us);
    assert!(sum > 0.0 && sum < 1.0, "{sum} s for two smoothed round trips on loopback");

    let transport = cluster.member().transport();
    for prober in RoundTripper::ALL {
        let found = || transport.probe(cluster.etcd_id, prober).expect("a peer");
        wait_until("our probers have asked etcd", PROBED_TIMEOUT, || found().total >= 2);
        let found = found();
        println!("{prober}: {found:?}");
        assert_eq!((found.healthy, found.lost), (Some(true), 0), "{:?}", found.last_error);
        assert!(found.round_trip > Duration::ZERO && found.round_trip < Duration::from_secs(1));
        assert!(found.clock_difference_ns.abs() < 1_000_000_000, "{}", found.clock_difference_ns);
    }
    let observed = format!("etcd_network_peer_round_trip_time_seconds_count{{To=\"{}\"}} 2", cluster.etcd_id);
    wait_until("our monitors have looked", PROBED_TIMEOUT, || transport.metrics_text().contains(&observed));
    assert_eq!(cluster.host().count(0, |event| matches!(event, Event::ProbeWarning { .. })), 0);

    let (mut told, decided) = (String::new(), |told: &str| {
        let minor = number_behind(told, "\"etcdserver\":\"3.").expect("its release").min(OUR_MINOR);
        told.contains(&format!("\"etcdcluster\":\"3.{minor}.0\""))
    });
    wait_until("the cluster's version is decided", VERSION_TIMEOUT, || {
        told = cluster.etcd.http_get("/version").expect("etcd tells its version");
        decided(&told)
    });
    println!("{}", told.lines().last().unwrap_or_default());
    let log = cluster.etcd.log();
    assert!(!log.contains("prober detected unhealthy"), "etcd found us unhealthy");
    assert!(!log.contains("prober found high clock drift"), "etcd found our clock wrong");
    cluster.finish();
}

fn number_behind(text: &str, mark: &str) -> Option<u32> {
    let (_, behind) = text.split_once(mark)?;
    behind.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Goal: a member that is gone is found to be so by our probers, and told.
#[test]
fn an_etcd_that_was_killed_is_found_unhealthy_and_then_healthy_again() {
    if server::is_missing() {
        return;
    }
    let quick = Duration::from_millis(300);
    let cluster = Cluster::start(|config| config.probe_interval = Some(quick));
    let health = |mark: usize, wanted: bool| {
        cluster
            .host()
            .count(mark, |event| matches!(event, Event::ProbeHealth { healthy, .. } if *healthy == wanted))
    };
    wait_until("both probers find it well", PROBED_TIMEOUT, || health(0, true) == 2);
    let mark = cluster.host().mark();
    cluster.etcd.kill();
    wait_until("both find it gone", PROBED_TIMEOUT, || health(mark, false) == 2);
    let found = cluster.member().transport().probe(cluster.etcd_id, RoundTripper::Snapshot).expect("a peer");
    println!("{found:?}");
    assert!(found.last_error.is_some_and(|error| error.contains("refused")));
    let mark = cluster.host().mark();
    cluster.etcd.start();
    wait_until("both find it well again", PROBED_TIMEOUT, || health(mark, true) == 2);
    cluster.finish();
}
