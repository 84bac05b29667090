//! What waits in the lanes of a process: bounded together, and a shared payload counted once.
#![cfg(feature = "io")]

#[allow(dead_code, reason = "shared by several tests")]
#[path = "hostile/client.rs"]
mod client;
mod common;
#[path = "lanes/follower.rs"]
mod follower;

use std::time::Duration;

use common::{Member, wait_until};
use follower::{Follower, entry, message, start_leader};
use raftring::cores::Refused;
use raftring::{Cores, CoresConfig, DropReason, MemberId};

const ENTRY_BYTES: usize = 64 << 10;

const OVER_ALL: DropReason = DropReason::LaneFull(Refused::Process);

fn stop(leader: &Member) {
    assert!(leader.transport().stop().wait(Duration::from_secs(10)));
}

fn queued_bytes(leader: &Member, follower: &Follower) -> usize {
    leader.transport().queued(follower.id).1
}

#[test]
fn what_several_followers_wait_for_is_counted_once() {
    const EACH: usize = 64 * ENTRY_BYTES;
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let leader = start_leader(&cores);
    let [deaf, dumb, mut well] = [2, 3, 4].map(|id| Follower::of(&leader, id));
    let of = |follower: &Follower| queued_bytes(&leader, follower);
    while of(&deaf) < EACH {
        leader.transport().send([message(deaf.id, &entry(ENTRY_BYTES))]);
    }
    while of(&dumb) < EACH {
        let entry = entry(ENTRY_BYTES);
        leader.transport().send([&deaf, &dumb, &well].map(|follower| message(follower.id, &entry)));
        well.drain(&leader);
    }
    // Each lane holds the newest entries, and the longer one those of the other, too.
    wait_until("what waits is in the longer lane", || cores.queued_bytes() == of(&deaf).max(of(&dumb)));
    println!("{} and {} bytes wait, {} in all", of(&deaf), of(&dumb), cores.queued_bytes());
    drop(deaf);
    wait_until("what waited for one alone is gone", || cores.queued_bytes() == of(&dumb));
    assert!(of(&dumb) >= EACH);
    stop(&leader);
    assert_eq!(cores.queued_bytes(), 0);
}

#[test]
fn all_lanes_of_all_transports_are_bounded_together() {
    const TOGETHER_MAX: usize = 2 << 20;
    let mut config = CoresConfig::default();
    config.queued_bytes_max = TOGETHER_MAX;
    let cores = Cores::start(&config).expect("cores start");
    let [one, two] = [(); 2].map(|()| start_leader(&cores));
    let [deaf, dumb] = [Follower::of(&one, 2), Follower::of(&two, 3)];
    let dropped = |leader: &Member, follower: &Follower| {
        leader.transport().peer_stats(follower.id).expect("a peer").dropped(OVER_ALL)
    };
    wait_until("what is over the bound is dropped", || {
        let entry = entry(ENTRY_BYTES);
        one.transport().send([message(deaf.id, &entry)]);
        two.transport().send([message(dumb.id, &entry)]);
        assert!(cores.queued_bytes() <= TOGETHER_MAX);
        dropped(&one, &deaf) > 0 && dropped(&two, &dumb) > 0
    });
    assert!(one.host.unreachable.lock().expect("no panic").contains(&MemberId(deaf.id)));

    // Those who keep up do not suffer: their lanes are empty.
    let mut well = Follower::of(&one, 4);
    for _ in 0..64 {
        let sent = one.transport().send([message(well.id, &entry(ENTRY_BYTES))]);
        assert_eq!(sent.accepted, 1);
        well.drain(&one);
    }
    assert!(cores.queued_bytes() > 0);
    stop(&one);
    assert_eq!(cores.queued_bytes(), queued_bytes(&two, &dumb));
    stop(&two);
    assert_eq!(cores.queued_bytes(), 0);
}
