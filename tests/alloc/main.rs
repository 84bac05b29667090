//! Once warm, sending allocates nothing, and receiving one piece a message: its list of entries.
//!
//! A binary of its own with one test, for its allocator counts every thread of the process: the
//! host's and the leader's core as those that send, the followers' core as the one that receives.
#![cfg(feature = "io")]

mod cluster;
mod counting;

use std::sync::mpsc::channel;

use cluster::{Cluster, FOLLOWERS, Rounds};
use counting::{Allocations, Counting, Role};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Rounds before anything is counted: every queue, pool and table has grown to its size.
const WARM_UP: usize = 100;

/// Rounds that are counted, each of one message to every follower.
const ROUNDS: usize = 400;

/// One in a hundred messages may find that a queue or a pool has to grow after all: how many
/// messages meet in one place is up to the scheduler, and a warm-up has not seen every pile.
const GROWTH: f64 = 0.01;

/// What a received message owns: the list of its entries, whose bytes are slices.
const OF_ITS_OWN: f64 = 1.0;

/// Allocations per message, of those who send and those who receive.
#[derive(Debug)]
struct PerMessage {
    sending: f64,
    receiving: f64,
}

impl PerMessage {
    /// Threads that are neither count as senders: nobody else has anything to do.
    fn of(allocations: Allocations) -> Self {
        let messages = (ROUNDS * FOLLOWERS) as f64;
        let sending = allocations.sending + allocations.other;
        Self { sending: sending as f64 / messages, receiving: allocations.receiving as f64 / messages }
    }
}

/// A host's thread that keeps its messages and lends them.
fn lent_by_a_thread(cluster: &Cluster) -> Allocations {
    let mut messages = Rounds::new();
    measured(cluster, |index| {
        cluster.leader.send_ref(messages.next(index));
        cluster.arrived.wait_for(index);
    })
}

/// A host's thread that gives its messages away; making them is not counted.
fn given_by_a_thread(cluster: &Cluster) -> Allocations {
    let mut messages = Rounds::new();
    let first = cluster.arrived.last_index() + 1;
    let prepared: Vec<_> =
        (first..).take(WARM_UP + ROUNDS).map(|index| messages.next(index).to_vec()).collect();
    let mut prepared = prepared.into_iter();
    measured(cluster, |index| {
        cluster.leader.send(prepared.next().expect("one a round"));
        cluster.arrived.wait_for(index);
    })
}

/// Allocations in the rounds after the warm-up.
fn measured(cluster: &Cluster, mut round: impl FnMut(u64)) -> Allocations {
    let mut indexes = cluster.arrived.last_index() + 1..;
    indexes.by_ref().take(WARM_UP).for_each(&mut round);
    let before = Allocations::until_now();
    indexes.take(ROUNDS).for_each(&mut round);
    Allocations::until_now() - before
}

/// A task on the leader's core that keeps its messages and lends them.
fn lent_by_a_task(cluster: &Cluster) -> Allocations {
    let (leader, arrived) = (cluster.leader.clone(), cluster.arrived.clone());
    let (done, result) = channel();
    let task = move || async move {
        let mut messages = Rounds::new();
        let first = arrived.last_index() + 1;
        let mut before = Allocations::until_now();
        for index in (first..).take(WARM_UP + ROUNDS) {
            if index == first + WARM_UP as u64 {
                before = Allocations::until_now();
            }
            leader.send_ref(messages.next(index));
            arrived.until(index).await;
        }
        let _ = done.send(Allocations::until_now() - before);
    };
    cluster.leader_cores.spawn(0, task).expect("core 0");
    result.recv().expect("the task ends well")
}

#[test]
fn once_warm_sending_allocates_nothing_and_receiving_one_piece_a_message() {
    counting::enter(Role::Sending);
    let cluster = Cluster::start();

    let measured = [
        ("send_ref from a host's thread", lent_by_a_thread(&cluster)),
        ("send from a host's thread", given_by_a_thread(&cluster)),
        ("send_ref from a task on the core", lent_by_a_task(&cluster)),
    ]
    .map(|(way, allocations)| (way, PerMessage::of(allocations)));
    println!("allocations per message, {FOLLOWERS} followers, {ROUNDS} rounds:");
    for (way, PerMessage { sending, receiving }) in &measured {
        println!("  {way:<33} sending {sending:.4}  receiving {receiving:.4}");
    }
    for (way, PerMessage { sending, receiving }) in measured {
        assert!(sending < GROWTH, "{way}: {sending} allocations per message that is sent");
        assert!(receiving < OF_ITS_OWN + GROWTH, "{way}: {receiving} per message that is received");
    }
}
