//! A host of ours that takes no appends for a while.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use raftring::Event;

use super::cluster::{Cluster, LEADER_TIMEOUT};
use super::server;

/// Past the 5 s after which etcd cuts a stream whose write has moved nothing, by as much again.
const STALL: Duration = Duration::from_secs(9);

/// As long as an argument of a program may be, nearly: some of them fill the sockets between us.
const VALUE_BYTES: usize = 120_000;

/// How many clients put it, one after the other until the stall is over.
const CLIENTS: usize = 8;

/// Goal: appends that the host does not take hold etcd up, but not for as long as etcd waits, and
/// cost neither a stream nor its leadership: heartbeats go on.
///
/// Method: large puts, which cannot be committed meanwhile. Once the host takes appends again, every
/// entry that etcd had proposed is committed by our acknowledgements.
#[test]
fn a_host_that_takes_no_appends_for_a_while_costs_etcd_no_stream_and_no_leadership() {
    if server::is_missing() {
        return;
    }
    let cluster = Cluster::start(|_| ());
    let mark = cluster.host().mark();
    let term = cluster.host().follower().term();
    cluster.host().stalls.store(true, Ordering::Relaxed);
    let tried = put_in_vain(&cluster);
    let entries = cluster.host().follower().last_index();
    cluster.host().stalls.store(false, Ordering::Relaxed);
    cluster.etcd.put_until_it_works("healed", "yes", LEADER_TIMEOUT);

    let arrived = cluster.host().follower().last_index() - entries;
    println!("{arrived} entries of {tried} puts waited, the stream {} times", cluster.member().waits());
    assert!(cluster.member().waits() > 0);
    assert!(arrived as usize >= CLIENTS);
    assert_eq!(cluster.host().follower().term(), term, "etcd led all the time");
    let down = |event: &Event| matches!(event, Event::ReaderDown { .. } | Event::WriterDown { .. });
    assert_eq!(cluster.host().count(mark, down), 0);
    cluster.finish();
}

/// Puts until the stall is over, none of which succeeds; how many were tried.
fn put_in_vain(cluster: &Cluster) -> usize {
    let (until, tried) = (Instant::now() + STALL, AtomicUsize::new(0));
    let value = "x".repeat(VALUE_BYTES);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (value, tried) = (&value, &tried);
            scope.spawn(move || {
                while Instant::now() < until {
                    let outcome =
                        cluster.etcd.put(&format!("large-{client}"), value, Duration::from_millis(500));
                    assert!(outcome.is_err(), "who acknowledged it?");
                    tried.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    tried.into_inner()
}
