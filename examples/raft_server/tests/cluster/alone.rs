//! Three raft servers of ours under load, while they are killed.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::history::History;
use crate::load::{self, Load};
use crate::member::Kind;
use crate::wait::until_so;

const CLIENTS: usize = 16;
const WRITES: usize = 20_000;
const KILLS: usize = 5;

/// `RAFTRING_SOAK_SECONDS=600 cargo test -p raft_server --test cluster alone -- --nocapture`
/// kills leaders for ten minutes, as fast as they come.
fn soak() -> Option<Duration> {
    let text = std::env::var("RAFTRING_SOAK_SECONDS").ok()?;
    Some(Duration::from_secs(text.parse().expect("RAFTRING_SOAK_SECONDS is a number")))
}

/// Kills whoever leads; when the others have written without it, it comes back.
fn kill_leader(cluster: &mut Cluster, load: &Load) {
    let leader = cluster.wait_for_leader();
    cluster[leader].kill();
    let (began, before) = (Instant::now(), load.acknowledged());
    until_so("a write without the old leader", || load.acknowledged() > before + CLIENTS);
    println!("{} killed after {before} writes; the others went on in {:?}", leader, began.elapsed());
    cluster[leader].start();
}

/// Goal: what was acknowledged is never lost, whoever dies; all logs agree; reads are linearizable.
///
/// Method: 16 clients in closed loops, who go to another member when one fails them. Three of four writes
/// go to keys that are never written again, so that none can be lost unseen behind a later one; the
/// others, and all reads, to eight registers. The history, with a last read of every key, is checked.
#[test]
fn twenty_thousand_writes_of_sixteen_clients_survive_five_kills_of_the_leader() {
    // A snapshot every now and then, so that restarts begin with one.
    let mut cluster = Cluster::start(&[Kind::Raftring; 3], &["--snapshot-count", "3000"]);
    let load = Load::new(if soak().is_some() { usize::MAX } else { WRITES });
    let doors = cluster.doors();
    let began = Instant::now();
    let kills = load::run(&load, CLIENTS, &doors, || match soak() {
        Some(time) => kill_for(&mut cluster, &load, time),
        None => kill_five(&mut cluster, &load),
    });
    println!("{kills} kills and {} writes in {:?}", load.acknowledged(), began.elapsed());
    cluster.wait_for_leader();
    let applied = cluster.assert_digests_agree();
    let history = load.finish(&cluster.doors());
    print_and_check(&history);
    println!("three logs of {applied} entries agree");
}

fn kill_five(cluster: &mut Cluster, load: &Load) -> usize {
    for kill in 1..=KILLS {
        until_so("the next kill's turn", || load.acknowledged() >= kill * WRITES / (KILLS + 1));
        kill_leader(cluster, load);
    }
    KILLS
}

fn kill_for(cluster: &mut Cluster, load: &Load, time: Duration) -> usize {
    let began = Instant::now();
    let mut kills = 0;
    while began.elapsed() < time {
        kill_leader(cluster, load);
        kills += 1;
    }
    load.stop();
    kills
}

pub fn print_and_check(history: &History) {
    let began = Instant::now();
    let verdict = history.check();
    println!(
        "{} writes acknowledged, {} of unknown outcome, {} reads; checked in {:?}",
        history.acknowledged().count(),
        history.unknown(),
        history.reads(),
        began.elapsed()
    );
    assert_eq!(verdict, Ok(()));
}
