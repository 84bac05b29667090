//! What a leader of ours does for etcd members and their clients beside raft: it keeps their leases, and
//! promotes their learners.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::etcdctl::{self, etcdctl};
use crate::joining::change_members;
use crate::keys;
use crate::member::Kind::{self, Etcd, Raftring};
use crate::wait::{until, until_so};

/// Seconds of a lease that is to end.
const TTL_S: u64 = 4;

/// Seconds of one that is not.
const LONG_TTL_S: u64 = 600;

/// Renewed for so many times as long as it would have lasted.
const LIVES: u32 = 2;

/// Goal: clients of an etcd member keep leases alive, look at them, and lose their keys with them, while
/// ours leads: the etcd asks the leader for each.
///
/// Method: leases that were granted under either leader. One is renewed for twice its time and then left
/// alone; another one lives on under both leaders until it is revoked.
#[test]
fn a_leader_of_ours_keeps_the_leases_of_etcds_clients() {
    if etcdctl::is_missing() {
        return;
    }
    let mut cluster = Cluster::start(&[Etcd, Raftring, Raftring], &[]);
    move_leader(&mut cluster, 0);
    let before = grant(&cluster, TTL_S, "granted-under-etcd");
    let long = grant(&cluster, LONG_TTL_S, "long");
    move_leader(&mut cluster, 1);
    let after = grant(&cluster, TTL_S, "granted-under-ours");

    let began = Instant::now();
    let mut renewed = 0;
    while began.elapsed() < LIVES * Duration::from_secs(TTL_S) {
        for lease in [&before, &after] {
            let out = etcdctl(&cluster[0], &["lease", "keep-alive", "--once", lease]).expect("renewed");
            assert!(out.contains(&format!("keepalived with TTL({TTL_S})")), "{out}");
            renewed += 1;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    for (lease, key) in [(&before, "granted-under-etcd"), (&after, "granted-under-ours")] {
        let out = etcdctl(&cluster[0], &["lease", "timetolive", "--keys", lease]).expect("told");
        assert!(
            out.contains(&format!("granted with TTL({TTL_S}s), remaining(")) && out.contains(key),
            "{out}"
        );
        assert_eq!(etcdctl::get(&cluster[0], key).as_deref(), Ok("value"));
    }
    let left_alone = Instant::now();
    for key in ["granted-under-etcd", "granted-under-ours"] {
        until_so(format!("the end of {key}"), || etcdctl::get(&cluster[0], key).as_deref() == Ok(""));
    }
    println!("renewed {renewed} times, ended {:?} after the last time", left_alone.elapsed());
    let out = etcdctl(&cluster[0], &["lease", "timetolive", &after]).expect("told");
    assert!(out.contains("already expired"), "{out}");

    assert_eq!(etcdctl::get(&cluster[0], "long").as_deref(), Ok("value"));
    move_leader(&mut cluster, 0);
    assert_eq!(etcdctl::get(&cluster[0], "long").as_deref(), Ok("value"));
    etcdctl(&cluster[0], &["lease", "revoke", &long]).expect("revoked");
    assert_eq!(etcdctl::get(&cluster[0], "long").as_deref(), Ok(""));
    keys::assert_same_on_all(&mut cluster);
}

/// A lease with one key; its id in hexadecimal.
fn grant(cluster: &Cluster, ttl_s: u64, key: &str) -> String {
    let out = etcdctl(&cluster[0], &["lease", "grant", &ttl_s.to_string()]).expect("granted");
    assert!(out.contains(&format!("granted with TTL({ttl_s}s)")), "{out}");
    let lease = out.split_whitespace().nth(1).expect("an id").to_owned();
    etcdctl(&cluster[0], &["put", "--lease", &lease, key, "value"]).expect("a put");
    lease
}

/// Goal: `etcdctl member promote` through an etcd member makes a voter of a learner, whatever kind it is,
/// while ours leads: the etcd asks the leader, who looks whether the learner has most of the log.
#[test]
fn a_leader_of_ours_promotes_learners_of_either_kind() {
    if etcdctl::is_missing() {
        return;
    }
    let mut cluster = Cluster::start(&[Etcd, Etcd, Raftring], &[]);
    for n in 0..50 {
        cluster[0].door().put(&format!("early-{n}"), "value").expect("all are there");
    }
    for kind in [Etcd, Raftring] {
        move_leader(&mut cluster, 2);
        let learner = add_learner(&mut cluster, kind);
        let id = format!("{:x}", cluster.id(learner));
        let tries = promote(&cluster, &id);
        println!("{kind:?} was promoted at the {tries}. time");
        let again = etcdctl(&cluster[0], &["member", "promote", &id]).expect_err("it votes");
        assert!(again.contains("can only promote a learner member"), "{again}");
        cluster.wait_for_leader();
        until_so("a voter that all know", || {
            let list = etcdctl(&cluster[1], &["member", "list"]).expect("etcd lists");
            list.lines()
                .any(|line| line.starts_with(&id) && line.ends_with("false") && line.contains("started"))
        });
        move_leader(&mut cluster, learner);
        cluster[learner].door().put("led-by-a-learner-once", "value").expect("it leads");
    }
    let unknown = etcdctl(&cluster[0], &["member", "promote", "abc"]).expect_err("nobody");
    assert!(unknown.contains("member not found"), "{unknown}");
    let keys = keys::assert_same_on_all(&mut cluster);
    println!("{} members have all {keys} keys", cluster.members.len());
}

/// One more member that does not vote; its index.
fn add_learner(cluster: &mut Cluster, kind: Kind) -> usize {
    let joins = cluster.add(kind, &[]);
    joins.state = "existing";
    let (name, url) = (joins.name.clone(), joins.peer_url());
    let at = cluster.members.len() - 1;
    let out = change_members(cluster, 0, &["add", &name, "--learner", "--peer-urls", &url]);
    let told = out.lines().find_map(|line| line.strip_prefix("ETCD_INITIAL_CLUSTER=")).expect("a cluster");
    cluster[at].cluster = told.trim_matches('"').to_owned();
    cluster[at].start();
    at
}

/// Until it has most of the log; how often that was asked for.
fn promote(cluster: &Cluster, id: &str) -> usize {
    let mut tries = 0;
    until("a learner in step", || {
        tries += 1;
        match etcdctl(&cluster[0], &["member", "promote", id]) {
            Err(why) if why.contains("in sync with leader") => None,
            promoted => Some(promoted.expect("a leader that promotes")),
        }
    });
    tries
}

/// Through whoever leads.
fn move_leader(cluster: &mut Cluster, to: usize) {
    let leader = cluster.wait_for_leader();
    let id = format!("{:x}", cluster.id(to));
    if leader == to {
        return;
    }
    match cluster[leader].kind {
        Etcd => drop(etcdctl(&cluster[leader], &["move-leader", &id]).expect("etcd moves leadership")),
        Raftring => drop(cluster[leader].door().post(&format!("/leader/{id}")).expect("it leads")),
    }
    cluster.wait_until_leads(to);
}
