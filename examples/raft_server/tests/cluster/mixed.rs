//! Members of ours among etcd members: they follow, they lead, they die and come back, and clients of
//! the etcd members see none of it.

use std::time::Duration;

use crate::alone::print_and_check;
use crate::cluster::Cluster;
use crate::etcdctl::{self, etcdctl};
use crate::keys;
use crate::load::{self, Load};
use crate::member::Kind::{self, Etcd, Raftring};
use crate::wait::until_so;

/// `etcdctl put` and `get` through each etcd member in each stage.
const PAIRS: usize = 10;

/// Clients that write and read all the while, through all members.
const CLIENTS: usize = 4;

/// Between two requests of theirs: the history should be long, and the machine free for members.
const CLIENT_PAUSE: Duration = Duration::from_millis(10);

/// Kills of a leading etcd until one of ours is elected in its place; each is as likely.
const KILLS_MAX: usize = 10;

/// A cluster and what was counted in it.
struct Scene {
    cluster: Cluster,
    pairs: usize,
    leaders: Vec<usize>,
}

/// Goal: one of ours is an equal member of a cluster of etcd 3.4.
#[test]
fn two_etcd_members_and_one_of_ours_are_one_cluster() {
    if !etcdctl::is_missing() {
        live_through_everything(&[Etcd, Etcd, Raftring]);
    }
}

/// Goal: the same with the majority ours: the etcd member is led and served by us alone.
#[test]
fn one_etcd_member_and_two_of_ours_are_one_cluster() {
    if !etcdctl::is_missing() {
        live_through_everything(&[Raftring, Etcd, Raftring]);
    }
}

/// Method: leadership goes round by etcdctl, by our endpoint and by kills; each member in turn is killed
/// and comes back. In every stage `etcdctl` writes and reads through each etcd member, and what it wrote
/// is read from ours. Beside all of it clients write and read through all members without looking at
/// leaders; that history must be linearizable. At the end every key is the same on every member.
fn live_through_everything(kinds: &[Kind]) {
    let mut scene = Scene { cluster: Cluster::start(kinds, &[]), pairs: 0, leaders: Vec::new() };
    let load = Load::new(usize::MAX).with_pause(CLIENT_PAUSE);
    let doors = scene.cluster.doors();
    load::run(&load, CLIENTS, &doors, || {
        scene.work("at first");
        scene.lead_in_turn();
        scene.kill_in_turn();
        scene.kill_a_leading_etcd();
        load.stop();
    });
    let history = load.finish(&doors);
    print_and_check(&history);
    let keys = keys::assert_same_on_all(&mut scene.cluster);
    println!(
        "{} pairs of etcdctl put and get, leaders {:?}; {keys} keys are on all",
        scene.pairs, scene.leaders
    );
}

impl Scene {
    /// Puts and gets by etcdctl through each etcd member that runs; ours have what it wrote.
    fn work(&mut self, stage: &str) {
        self.leaders.push(self.cluster.wait_for_leader());
        let running = self.cluster.running();
        for member in self.cluster.of(Etcd).into_iter().filter(|member| running.contains(member)) {
            for n in 0..PAIRS {
                let key = format!("etcdctl-{}-{n}", self.pairs);
                let (etcd, value) = (&self.cluster[member], format!("value-{}", self.pairs));
                assert_eq!(etcdctl::put(etcd, &key, &value), Ok(()), "{stage}");
                assert_eq!(etcdctl::get(etcd, &key).as_ref(), Ok(&value), "{stage}");
                self.pairs += 1;
                self.assert_ours_have(&key, &value, stage);
            }
        }
    }

    fn assert_ours_have(&mut self, key: &str, value: &str, stage: &str) {
        let running = self.cluster.running();
        for member in self.cluster.of(Raftring).into_iter().filter(|member| running.contains(member)) {
            let found = self.cluster[member].door().get(key).expect(stage).expect(stage);
            assert_eq!(found.value, value, "{stage}");
        }
    }

    /// Each of ours leads, moved to it by whoever leads, and gives leadership back by its endpoint.
    fn lead_in_turn(&mut self) {
        let etcd = self.cluster.of(Etcd)[0];
        for ours in self.cluster.of(Raftring) {
            self.move_leader(etcd);
            self.work("an etcd leads");
            self.move_leader(ours);
            self.work("one of ours leads");
            let door = self.cluster[ours].door();
            let revision = door.put("written-by-a-leader", "of ours").expect("it leads");
            println!("{} leads at revision {revision}", self.cluster[ours].name);
            let seen = || etcdctl::get(&self.cluster[etcd], "written-by-a-leader");
            assert_eq!(seen(), Ok("of ours".to_owned()));
            assert_eq!(door.delete("written-by-a-leader"), Ok(1));
            assert_eq!(seen(), Ok(String::new()));
            self.move_leader(etcd);
            self.work("an etcd leads again");
        }
    }

    /// By `etcdctl move-leader` if an etcd leads, by `POST /leader/<id>` if one of ours does.
    fn move_leader(&mut self, to: usize) {
        let leader = self.cluster.wait_for_leader();
        let id = format!("{:x}", self.cluster.id(to));
        match self.cluster[leader].kind {
            _ if leader == to => {}
            Etcd => {
                drop(etcdctl(&self.cluster[leader], &["move-leader", &id]).expect("etcd moves leadership"))
            }
            Raftring => drop(self.cluster[leader].door().post(&format!("/leader/{id}")).expect("it leads")),
        }
        self.cluster.wait_until_leads(to);
    }

    /// Two of three go on without each of them.
    fn kill_in_turn(&mut self) {
        for member in 0..self.cluster.members.len() {
            self.cluster[member].kill();
            self.work("one is dead");
            self.cluster[member].start();
            self.work("it is back");
        }
    }

    /// Until one of ours is elected in its place.
    fn kill_a_leading_etcd(&mut self) {
        let etcd = self.cluster.of(Etcd)[0];
        for kill in 1..=KILLS_MAX {
            self.move_leader(etcd);
            self.cluster[etcd].kill();
            let next = self.cluster.wait_for_leader();
            if self.cluster[next].kind == Raftring {
                self.work("one of ours was elected");
            }
            self.cluster[etcd].start();
            self.work("the etcd is back");
            if self.cluster[next].kind == Raftring {
                println!("one of ours was elected at kill {kill} of a leading etcd");
                return;
            }
        }
        panic!("{KILLS_MAX} kills of a leading etcd, and none of ours was elected");
    }
}

/// Goal: one of ours that was away for longer than etcd keeps entries comes back by etcd's snapshot and
/// follows on.
///
/// Method: etcd 3.4 keeps 5,000 entries behind a snapshot, whatever `--snapshot-count` says.
#[test]
fn a_member_away_for_longer_than_the_log_comes_back_by_the_snapshot_of_an_etcd() {
    if etcdctl::is_missing() {
        return;
    }
    let mut cluster = Cluster::start(&[Etcd, Etcd, Raftring], &["--snapshot-count", "500"]);
    let ours = 2;
    cluster[2].door().put("before", "the snapshot").expect("it follows");
    let id = cluster.id(ours);
    cluster[ours].kill();
    cluster.wait_for_leader();
    let load = Load::new(7_000);
    let doors = cluster.doors()[..2].iter().map(crate::door::Door::another).collect::<Vec<_>>();
    load::run(&load, 16, &doors, || ());

    cluster[ours].start();
    cluster.wait_for_leader();
    let snapshots = || -> f64 {
        let label = format!("To=\"{id:x}\"");
        let metric = |door| metric(door, "etcd_network_snapshot_send_success", &label);
        doors.iter().map(metric).sum()
    };
    until_so("etcd to count its snapshot", || snapshots() >= 1.0);
    cluster[ours].door().put("behind", "the snapshot").expect("it follows on");
    assert_eq!(etcdctl::get(&cluster[0], "behind"), Ok("the snapshot".to_owned()));
    let keys = keys::assert_same_on_all(&mut cluster);
    println!("{} snapshots sent by etcd; {keys} keys are on all", snapshots());

    // What came by the snapshot is on its disk.
    cluster[ours].kill();
    cluster[ours].start();
    cluster.wait_for_leader();
    assert_eq!(keys::assert_same_on_all(&mut cluster), keys);
}

/// The sum of one metric over all lines that contain `label`.
fn metric(door: &crate::door::Door, name: &str, label: &str) -> f64 {
    let text = door.page("/metrics").expect("a member that runs tells its metrics");
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Goal: a leader of ours, which cannot build etcd's snapshots, keeps what an etcd follower that is away
/// will need, and the etcd follows on.
///
/// Method: the etcd is away for ten times `--snapshot-count`, under a leader of ours.
#[test]
fn an_etcd_away_for_longer_than_the_snapshot_count_follows_a_leader_of_ours() {
    if etcdctl::is_missing() {
        return;
    }
    let cluster = Cluster::start(&[Etcd, Raftring, Raftring], &["--snapshot-count", "200"]);
    let mut scene = Scene { cluster, pairs: 0, leaders: Vec::new() };
    scene.move_leader(1);
    scene.cluster[0].kill();
    let load = Load::new(2_000);
    let doors = scene.cluster.doors();
    load::run(&load, 8, &doors[1..], || ());
    scene.cluster[0].start();
    scene.work("the etcd is back");
    let keys = keys::assert_same_on_all(&mut scene.cluster);
    println!("the etcd followed on over 2,000 writes; {keys} keys are on all");
}

/// Goal: a leader of ours that an etcd follower needs a snapshot of, which it cannot make, hands leadership
/// to an etcd member that can.
///
/// Method: while an etcd leads and another one is away, both the leader and ours compact their logs past it.
/// Then ours leads, and the one that was away comes back.
#[test]
fn a_leader_of_ours_hands_on_to_an_etcd_when_another_one_needs_a_snapshot() {
    if etcdctl::is_missing() {
        return;
    }
    let cluster = Cluster::start(&[Etcd, Etcd, Raftring], &["--snapshot-count", "500"]);
    let mut scene = Scene { cluster, pairs: 0, leaders: Vec::new() };
    scene.move_leader(0);
    scene.cluster[1].kill();
    let load = Load::new(7_000);
    load::run(&load, 16, &[scene.cluster[0].door()], || ());
    scene.move_leader(2);
    let heard = scene.cluster[2].log().len();
    scene.cluster[1].start();
    let handed_on = || {
        let log = scene.cluster[2].log();
        log[heard..]
            .lines()
            .find(|line| line.contains("snapshot that only an etcd can make"))
            .map(str::to_owned)
    };
    println!("{}", crate::wait::until("leadership to be handed on", handed_on));
    scene.work("the etcd is back");
    let keys = keys::assert_same_on_all(&mut scene.cluster);
    println!("led by {:?}; {keys} keys are on all", scene.leaders);
}
