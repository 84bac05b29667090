//! What a lane holds of the process's memory: a burst's worth during a burst, hardly anything after.
//!
//! A binary of its own with one test, for its allocator counts the whole process.
#![cfg(feature = "io")]

#[path = "../hostile/client.rs"]
#[allow(dead_code, reason = "made for another test")]
mod client;
#[path = "../common/mod.rs"]
mod common;
#[path = "../alloc/counting.rs"]
mod counting;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use client::{Request, connect, read_head};
use common::{Member, app, wait_until};
use counting::{Counting, live_bytes};
use raftring::cores::SEGMENT_ITEMS;
use raftring::raftpb::{Entry, Message};
use raftring::{Cores, CoresConfig};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// As many messages as a lane takes.
const BURST: usize = 4096;

/// What an idle lane may keep: a segment, and the list it is in.
const IDLE_LANE_BYTES_MAX: usize = SEGMENT_ITEMS * size_of::<Message>() + 1024;

/// What an idle transport allocates and frees now and then, and what its core's pool keeps: blocks of
/// the burst's last writes.
const BESIDE: usize = 64 << 10;

/// A lane has been idle for a whole tick of 100 ms, and then some.
const REST: Duration = Duration::from_millis(400);

/// Dials the `msgapp` stream as member 2 and reads no more than the head of the answer.
fn follow(leader: &Member) -> TcpStream {
    let address = leader.transport().local_addr().expect("it listens");
    let mut stream = connect(address);
    let request = Request::stream("/raft/stream/msgapp/2");
    stream.write_all(request.text().as_bytes()).expect("sent");
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 200"));
    stream
}

/// Fills the socket and all that is encoded ahead, so that what comes then waits in the lane.
fn block(leader: &Member) {
    let data = vec![7; 64 << 10];
    wait_until("the lane is not empty", || {
        let entry = Entry { data: Some(data.clone().into()), ..Entry::default() };
        leader.transport().send([Message { entries: vec![entry], ..app(1, 1) }]);
        leader.transport().queued(2).0 > 0
    });
}

/// Messages without entries: all the memory they need is the lane's.
fn burst(leader: &Member) {
    let bare = Message { entries: Vec::new(), ..app(1, 1) };
    while leader.transport().send_ref([&bare; 64]).accepted > 0 {}
    assert_eq!(leader.transport().queued(2).0, BURST);
}

fn drain(leader: &Member, stream: &mut TcpStream) {
    stream.set_nonblocking(true).expect("a socket");
    let mut bytes = vec![0; 1 << 20];
    wait_until("everything is read", || {
        while stream.read(&mut bytes).is_ok() {}
        leader.transport().queued(2).0 == 0
    });
}

#[test]
fn a_lane_is_small_again_after_a_burst() {
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let leader = Member::start(1, &cores, "127.0.0.1:0".parse().expect("an address"), |_| ());
    leader.transport().add_peer(2, ["http://127.0.0.1:1"]).expect("a good peer");
    let mut stream = follow(&leader);
    // The first time everything beside the lane grows to its size, too.
    for _ in 0..2 {
        block(&leader);
        drain(&leader, &mut stream);
        std::thread::sleep(REST);
    }
    let idle = live_bytes();
    block(&leader);
    let blocked = live_bytes();
    burst(&leader);
    let full = live_bytes();
    drain(&leader, &mut stream);
    std::thread::sleep(REST);
    let rested = live_bytes();
    println!(
        "a burst of {BURST} messages takes {} KiB of its lane; idle again the process holds {} B more than before",
        (full - blocked) >> 10,
        rested as isize - idle as isize
    );
    assert!(full - blocked >= BURST * size_of::<Message>() / 2, "the burst was in the lane");
    assert!(rested <= idle + IDLE_LANE_BYTES_MAX + BESIDE, "{rested} bytes after the burst, {idle} before");
    assert!(leader.transport().stop().wait(Duration::from_secs(10)));
}
