//! All members at once: killed in the middle of everything, or ended in order.

use crate::alone::print_and_check;
use crate::cluster::Cluster;
use crate::load::{self, Load};
use crate::member::Kind;
use crate::torn;
use crate::wait::until_so;

/// Acknowledged writes from one kill to the next.
const WRITES: usize = 700;

const KILLS: usize = 4;

const CLIENTS: usize = 8;

/// Goal: what was acknowledged is there after all members died at once, whatever they were writing.
///
/// Method: SIGKILL to all while clients write, snapshots every 100 entries, so that kills meet them.
/// Before every second start each log gets a torn tail. The history, with a last read of every key, is checked.
#[test]
fn all_members_killed_at_once_lose_nothing_that_was_acknowledged() {
    let mut cluster = Cluster::start(&[Kind::Raftring; 3], &["--snapshot-count", "100"]);
    let load = Load::new(usize::MAX);
    let doors = cluster.doors();
    let mut torn = 0;
    load::run(&load, CLIENTS, &doors, || {
        for kill in 1..=KILLS {
            until_so("the next kill's turn", || load.acknowledged() >= kill * WRITES);
            cluster.kill_all();
            if kill % 2 == 0 {
                cluster.members.iter().for_each(|member| torn::tear(&member.data()));
                torn += cluster.members.len();
            }
            cluster.start_all();
            cluster.wait_for_leader();
        }
        let before = load.acknowledged();
        until_so("writes after the last start", || load.acknowledged() > before + CLIENTS);
        load.stop();
    });
    let history = load.finish(&cluster.doors());
    print_and_check(&history);
    let applied = cluster.assert_digests_agree();
    println!("{KILLS} kills of all three, {torn} torn logs; three logs of {applied} entries agree");
    let snapshots = torn::files(&cluster[0].data()).len();
    println!("{snapshots} files in a member's folder after all");
}

/// Goal: SIGTERM ends a member in order, with status 0; all of them come back as they were.
#[test]
fn members_that_are_ended_in_order_come_back_as_they_were() {
    let mut cluster = Cluster::start(&[Kind::Raftring; 3], &["--snapshot-count", "100"]);
    let load = Load::new(500);
    load::run(&load, CLIENTS, &cluster.doors(), || ());
    let applied = cluster.assert_digests_agree();
    let before = cluster.statuses(&[0]).expect("it runs").remove(0);
    for member in &mut cluster.members {
        let status = member.terminate();
        assert!(status.success(), "{status}");
    }
    cluster.start_all();
    cluster.wait_for_leader();
    cluster.assert_digests_agree();
    let after = cluster.statuses(&[0]).expect("it runs").remove(0);
    // A new leader adds an entry of its own, which changes no key.
    assert_eq!((before.revision, &before.kv_digest), (after.revision, &after.kv_digest));
    assert!(after.applied > applied, "{after:?}");
    print_and_check(&load.finish(&cluster.doors()));
}

/// Goal: one that was away for longer than its log is kept comes back by a snapshot of ours, and one
/// that is killed while a snapshot comes starts over.
#[test]
fn a_member_away_for_longer_than_the_log_comes_back_by_a_snapshot_of_ours() {
    let mut cluster = Cluster::start(&[Kind::Raftring; 3], &["--snapshot-count", "100"]);
    let leader = cluster.wait_for_leader();
    let away = (leader + 1) % 3;
    cluster[away].kill();
    let load = Load::new(6_000);
    let doors: Vec<_> = (0..3).filter(|&member| member != away).map(|m| cluster[m].door()).collect();
    load::run(&load, CLIENTS, &doors, || ());
    for _ in 0..3 {
        cluster[away].start();
        cluster[away].kill();
    }
    cluster[away].start();
    cluster.wait_for_leader();
    let applied = cluster.assert_digests_agree();
    print_and_check(&load.finish(&cluster.doors()));
    let log = cluster[away].log();
    let lines: Vec<_> = log.lines().filter(|line| line.to_lowercase().contains("snapshot")).collect();
    println!("three logs of {applied} entries agree; the one that was away said: {lines:?}");
    assert!(!lines.is_empty());
}
