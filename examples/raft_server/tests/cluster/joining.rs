//! Members of ours that are added to a running cluster and removed from it.

use std::collections::BTreeSet;

use crate::cluster::Cluster;
use crate::etcdctl::{self, etcdctl};
use crate::keys;
use crate::member::Kind::{Etcd, Raftring};
use crate::wait::{until, until_so};

/// Keys that are there before it joins.
const KEYS: usize = 100;

/// Goal: `etcdctl member add` and a raft server of ours with `--initial-cluster-state existing` make one
/// member more; `etcdctl member remove` ends it: it says why, and by its exit status.
///
/// Method: the first is removed while it leads, the second while it follows. The third is dead meanwhile,
/// so that it can learn of its removal from others alone: they answer 410.
#[test]
fn a_member_of_ours_joins_at_run_time_and_learns_that_it_was_removed() {
    if etcdctl::is_missing() {
        return;
    }
    let mut cluster = Cluster::start(&[Etcd, Etcd], &[]);
    for n in 0..KEYS {
        cluster[0].door().put(&format!("early-{n}"), "value").expect("two are a majority");
    }
    for fate in [Fate::Leads, Fate::Follows, Fate::IsDead] {
        let member = join(&mut cluster);
        remove(&mut cluster, member, fate);
    }
}

/// What one does while it is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Leads,
    Follows,
    IsDead,
}

/// Adds one, starts it, and sees it follow and lead; its index.
fn join(cluster: &mut Cluster) -> usize {
    let joins = cluster.add(Raftring, &[]);
    joins.state = "existing";
    let (name, url) = (joins.name.clone(), joins.peer_url());
    let at = cluster.members.len() - 1;
    let out = change_members(cluster, 0, &["add", &name, "--peer-urls", &url]);
    // etcdctl prints what the new one has to be told, in whatever order.
    let told = out.lines().find_map(|line| line.strip_prefix("ETCD_INITIAL_CLUSTER=")).expect("a cluster");
    cluster[at].cluster = told.trim_matches('"').to_owned();
    cluster[at].start();
    cluster.wait_for_leader();
    assert_eq!(cluster[at].door().get("early-99").expect("it follows").expect("a key").value, "value");
    let id = format!("{:x}", cluster.id(at));
    let leader = cluster.wait_for_leader();
    etcdctl(&cluster[leader], &["move-leader", &id]).expect("it has voted, so it may lead");
    cluster.wait_until_leads(at);
    cluster[at].door().put(&format!("led-by-{name}"), "value").expect("it leads");
    assert_listed(cluster, &id, &name);
    let keys = keys::assert_same_on_all(cluster);
    println!("{name} joined as {id}, led, and has all {keys} keys");
    at
}

/// `etcdctl member`, as soon as it is allowed: an etcd changes nothing before its connections to a majority
/// are five seconds old.
pub fn change_members(cluster: &Cluster, member: usize, change: &[&str]) -> String {
    until("a cluster that etcd takes for healthy", || {
        match etcdctl(&cluster[member], &[&["member"], change].concat()) {
            Err(why) if why.contains("unhealthy cluster") => None,
            changed => Some(changed.expect("a majority agrees")),
        }
    })
}

/// It published its name and where clients reach it, as etcd members do.
fn assert_listed(cluster: &Cluster, id: &str, name: &str) {
    until_so("the member's attributes", || {
        let list = etcdctl(&cluster[0], &["member", "list"]).expect("etcd lists");
        let line = list.lines().find(|line| line.starts_with(id)).expect("it is a member");
        let fields: BTreeSet<_> = line.split(", ").collect();
        fields.contains("started") && fields.contains(name) && line.matches("http://").count() == 2
    });
}

/// Removes one that leads, and sees it end with a word and a status of its own.
fn remove(cluster: &mut Cluster, member: usize, fate: Fate) {
    let id = format!("{:x}", cluster.id(member));
    if fate == Fate::Follows {
        let other = format!("{:x}", cluster.id(0));
        cluster[member].door().post(&format!("/leader/{other}")).expect("it leads");
        cluster.wait_until_leads(0);
    }
    let mut lived = cluster[member].log().len();
    if fate == Fate::IsDead {
        cluster[member].kill();
        cluster.wait_for_leader();
        lived = cluster[member].log().len();
    }
    let out = change_members(cluster, 1, &["remove", &id]);
    assert!(out.contains("removed"), "{out}");
    if fate == Fate::IsDead {
        cluster[member].start();
    }
    assert_ended_with_a_word(cluster, member, lived, fate);
    cluster.wait_for_leader();
    cluster[0].door().put("without-it", "value").expect("the others go on");
}

/// `lived`: how much it had logged before.
fn assert_ended_with_a_word(cluster: &mut Cluster, member: usize, lived: usize, fate: Fate) {
    let status = cluster[member].wait();
    let log = cluster[member].log();
    let said: Vec<_> = log[lived..].lines().filter(|line| line.contains("removed")).collect();
    println!("removed, and it {fate:?}: {status}; it said {said:?}");
    assert!(!said.is_empty(), "it said nothing");
    assert!(status.code().is_some_and(|code| code > 1), "a status of its own: {status}");
}
