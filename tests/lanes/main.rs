//! What a lane takes of the process's memory: a burst's worth during a burst, hardly anything after.
//!
//! A binary of its own with one test, for its allocator counts the whole process.
#![cfg(feature = "io")]

#[allow(dead_code, reason = "shared by several tests")]
#[path = "../hostile/client.rs"]
mod client;
#[path = "../common/mod.rs"]
mod common;
#[path = "../alloc/counting.rs"]
mod counting;
mod follower;

use std::thread::sleep;
use std::time::Duration;

use common::{Member, app, wait_until};
use counting::{Counting, live_bytes};
use follower::{Follower, entry, message, start_leader};
use raftring::cores::SEGMENT_ITEMS;
use raftring::raftpb::Message;
use raftring::{Cores, CoresConfig};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// As many messages as a lane takes.
const BURST: usize = 4096;

/// What an idle lane may keep: a segment, and the list it is in.
const IDLE_LANE_BYTES_MAX: usize = SEGMENT_ITEMS * size_of::<Message>() + 1024;

/// What else may come and go meanwhile: a block of the core's pool, of the largest size.
const BESIDE: usize = 256 << 10;

/// A lane has been idle for a whole tick of 100 ms, and then some.
const REST: Duration = Duration::from_millis(400);

/// Fills the socket and all that is encoded ahead, so that what comes then waits in the lane.
fn block(leader: &Member, follower: &Follower) {
    let entry = entry(64 << 10);
    wait_until("a message waits", || {
        leader.transport().send([message(follower.id, &entry)]);
        leader.transport().queued(follower.id).0 > 0
    });
}

/// Messages without entries: all the memory they need is the lane's.
fn burst(leader: &Member, follower: &Follower) {
    let bare = Message { to: Some(follower.id), entries: Vec::new(), ..app(1, 1) };
    while leader.transport().send_ref([&bare; 64]).accepted > 0 {}
    assert_eq!(leader.transport().queued(follower.id).0, BURST);
}

fn drain_and_rest(leader: &Member, follower: &mut Follower) {
    follower.drain(leader);
    sleep(REST);
}

#[test]
fn a_lane_is_small_again_after_a_burst() {
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let leader = start_leader(&cores);
    let mut follower = Follower::of(&leader, 2);
    // What is beside the lane grows to its size.
    for _ in 0..2 {
        block(&leader, &follower);
        drain_and_rest(&leader, &mut follower);
    }
    let idle = live_bytes();
    block(&leader, &follower);
    let blocked = live_bytes();
    burst(&leader, &follower);
    let of_burst = live_bytes() - blocked;
    drain_and_rest(&leader, &mut follower);
    let kept = live_bytes().saturating_sub(idle);
    println!("a burst of {BURST} messages takes {of_burst} bytes; {kept} of them are kept afterwards");
    assert!(of_burst >= (BURST - 64) * size_of::<Message>(), "the burst waited in the lane");
    assert!(kept <= IDLE_LANE_BYTES_MAX + BESIDE, "{kept} bytes are kept after a burst");
    assert!(leader.transport().stop().wait(Duration::from_secs(10)));
}
