//! Every key on every member.

use std::collections::BTreeMap;
use std::thread;

use crate::cluster::Cluster;
use crate::door::Found;
use crate::etcdctl;
use crate::member::{Kind, Member};

/// Clients that read at a time: a linearizable read is a round of heartbeats, and rounds are shared.
const READERS: usize = 8;

/// How many keys there are, when all that run hold the same: each with the same value, written by the
/// same revision. At least one of them is an etcd.
///
/// # Panics
/// If one of them does not.
pub fn assert_same_on_all(cluster: &mut Cluster) -> usize {
    cluster.wait_until_level();
    let running = cluster.running();
    let (etcds, ours): (Vec<_>, Vec<_>) =
        running.into_iter().partition(|&member| cluster[member].kind == Kind::Etcd);
    let expected = etcdctl::all_keys(&cluster[etcds[0]]);
    for &etcd in &etcds[1..] {
        let keys = etcdctl::all_keys(&cluster[etcd]);
        assert!(keys == expected, "{} and {} differ", cluster[etcd].name, cluster[etcds[0]].name);
    }
    for &member in &ours {
        assert_has(&cluster[member], &expected);
    }
    cluster.assert_digests_agree();
    expected.len()
}

fn assert_has(member: &Member, expected: &BTreeMap<String, Found>) {
    let all: Vec<_> = expected.iter().collect();
    thread::scope(|scope| {
        for part in all.chunks(all.len().div_ceil(READERS).max(1)) {
            let door = member.door();
            scope.spawn(move || {
                for &(key, found) in part {
                    assert_eq!(door.get(key).as_ref(), Ok(&Some(found.clone())), "{key} on {}", member.name);
                }
            });
        }
    });
}
