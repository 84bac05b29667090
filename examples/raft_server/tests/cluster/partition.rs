//! Members that cannot reach each other.

use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::door::Door;
use crate::member::Kind;
use crate::network::Network;
use crate::wait::until;

const ELECTION_TIMEOUT: Duration = Duration::from_millis(1_000);

/// Each cuts off the leader once and a follower once.
const ROUNDS: usize = 2;

/// Requests at a time to the member that is cut off, of each kind.
const ATTEMPTS: usize = 8;

/// For them. The member has noticed long before that it leads nobody, and has elected nobody.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// Writes to the majority meanwhile.
const WRITES: usize = 200;

/// What parts members.
enum Knife {
    /// Packets vanish.
    Network(Network),
    /// Transports drop what they would send.
    Faults,
}

impl Knife {
    fn cut(&self, cluster: &Cluster, member: usize) {
        match self {
            Self::Network(network) => network.cut(member),
            Self::Faults => {
                for other in (0..cluster.members.len()).filter(|&other| other != member) {
                    for (at, from) in [(member, other), (other, member)] {
                        let path = format!("/faults/cut/{:x}", cluster.id(from));
                        cluster[at].door().post(&path).expect("faults are enabled");
                    }
                }
            }
        }
    }

    fn mend(&self, cluster: &Cluster, member: usize) {
        match self {
            Self::Network(network) => network.mend(member).expect("the bridge is there"),
            Self::Faults => {
                for door in cluster.doors() {
                    door.post("/faults/mend").expect("faults are enabled");
                }
            }
        }
    }
}

/// Goal: who is cut off accepts no write and answers no read, the majority goes on, and once the
/// members reach each other again all are one cluster within two election timeouts.
///
/// Method: a namespace a member, and its port taken from the bridge: packets vanish, nobody is told.
#[test]
fn a_member_whose_packets_vanish_accepts_nothing_and_is_back_within_two_election_timeouts() {
    let Some(network) = Network::new(3) else { return };
    let mut cluster = Cluster::new(&[Kind::Raftring; 3], &["--pre-vote"]);
    network.adopt(&mut cluster);
    cluster.start_all();
    part_and_mend(&mut cluster, &Knife::Network(network));
}

/// Goal: the same. Method: the transport's own faults; connections live on, messages do not pass.
#[test]
fn a_member_whose_messages_are_cut_accepts_nothing_and_is_back_within_two_election_timeouts() {
    let mut cluster = Cluster::start(&[Kind::Raftring; 3], &["--pre-vote", "--enable-faults"]);
    part_and_mend(&mut cluster, &Knife::Faults);
}

fn part_and_mend(cluster: &mut Cluster, knife: &Knife) {
    let mut healing = Vec::new();
    for round in 0..ROUNDS {
        let leader = cluster.wait_for_leader();
        healing.push(cut_off(cluster, knife, leader, &format!("leader-{round}")));
        let follower = (cluster.wait_for_leader() + 1) % cluster.members.len();
        healing.push(cut_off(cluster, knife, follower, &format!("follower-{round}")));
    }
    cluster.wait_for_leader();
    let applied = cluster.assert_digests_agree();
    healing.sort_unstable();
    println!("{applied} entries; from the mend to a linearizable read through who was cut off: {healing:?}");
    // One of them may meet a machine that does something else; most do not.
    let median = healing[healing.len() / 2];
    assert!(median < 2 * ELECTION_TIMEOUT, "{healing:?}");
}

/// One partition: how long it took, after its end, until who was cut off served a read of what was
/// written last, for which it must know the leader, reach it, and have caught up.
fn cut_off(cluster: &Cluster, knife: &Knife, member: usize, name: &str) -> Duration {
    let others: Vec<_> = (0..cluster.members.len()).filter(|&other| other != member).collect();
    knife.cut(cluster, member);
    thread::scope(|scope| {
        let minority = scope.spawn(|| accepted(cluster, member, name));
        let leader = cluster.wait_for_leader_among(&others);
        let door = cluster[leader].door();
        for n in 0..WRITES {
            door.put(&format!("{name}-{n}"), "majority").expect("the majority goes on");
        }
        assert_eq!(minority.join().expect("no panic"), 0, "the minority answered");
    });
    let door = cluster[member].door();
    let last = format!("{name}-{}", WRITES - 1);
    let began = Instant::now();
    knife.mend(cluster, member);
    until("a read through who was cut off", || door.get(&last).ok().flatten());
    let healed = began.elapsed();
    println!("{name}: {ATTEMPTS} writes and reads refused, {WRITES} writes done, healed in {healed:?}");
    healed
}

/// How many writes and reads this member answered.
fn accepted(cluster: &Cluster, member: usize, name: &str) -> usize {
    let connect = || Door::with_timeout(Kind::Raftring, cluster[member].client, ATTEMPT_TIMEOUT);
    thread::scope(|scope| {
        let requests: Vec<_> = (0..2 * ATTEMPTS)
            .map(|n| {
                let (door, key) = (connect(), format!("lost-{name}-{n}"));
                scope.spawn(move || match n < ATTEMPTS {
                    true => door.put(&key, "minority").is_ok(),
                    false => door.get(&key).is_ok(),
                })
            })
            .collect();
        requests.into_iter().map(|request| usize::from(request.join().expect("no panic"))).sum()
    })
}
