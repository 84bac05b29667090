//! Members under load that are stopped, cut off, moved, misdirected and shaken at random: nothing is
//! invented, doubled or out of order meanwhile, everything heals, and nothing is left behind.
//!
//! `RAFTRING_SOAK_SECONDS=600 cargo test --release --test soak -- --nocapture` does it for ten
//! minutes; `RAFTRING_SOAK_SEED` repeats the draws of another run.
//!
//! A binary of its own with one such test, for descriptors and memory are counted for the process.
#![cfg(feature = "io")]

mod chaos;
#[path = "../common/mod.rs"]
mod common;
#[path = "../alloc/counting.rs"]
mod counting;
mod host;
mod ledger;
mod load;
mod member;
mod proxy;
#[path = "../sim/stamp.rs"]
mod stamp;

use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chaos::Chaos;
use common::{CORE_OPERATIONS, descriptors, resident_bytes, wait_within};
use counting::Counting;
use load::{Class, Load};
use member::{MEMBERS, Member, PATIENCE};
use raftring::buf::BLOCK_BYTES;
use raftring::{CoreStats, Cores, CoresConfig};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the system's allocator may keep of the memory that the load and its faults took.
const RESIDENT_TOLERANCE_BYTES: usize = 16 << 20;

/// What is still allocated when all members are gone, beside the blocks in pools: two cores with
/// their tables, as large as they ever were.
const LIVE_TOLERANCE_BYTES: usize = 4 << 20;

fn setting<T: FromStr<Err: Debug>>(name: &str, default: T) -> T {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

fn stats(cores: &Cores) -> Vec<CoreStats> {
    (0..cores.count()).map(|core| cores.stats(core).expect("a core")).collect()
}

fn blocks_kept_bytes(core: &CoreStats) -> usize {
    core.blocks.idle.iter().zip(BLOCK_BYTES).map(|(count, bytes)| count * bytes).sum()
}

fn start_members(cores: &Cores) -> Vec<Arc<Member>> {
    let members: Vec<_> = (1..=MEMBERS).map(|id| Member::start(id, cores)).collect();
    for (member, other) in pairs(&members) {
        member.add(other);
    }
    members
}

/// Every member with every other.
fn pairs(members: &[Arc<Member>]) -> impl Iterator<Item = (&Arc<Member>, &Arc<Member>)> {
    let others = move |member: &Arc<Member>| {
        let id = member.id;
        members.iter().filter(move |other| other.id != id)
    };
    members.iter().flat_map(move |member| others(member).map(move |other| (member, other)))
}

/// How many messages of each class came over each link, on the stream for them.
fn counts(members: &[Arc<Member>]) -> Vec<u64> {
    let of_pair = |(to, from): (&Arc<Member>, &Arc<Member>)| {
        let ledger = to.host.ledger();
        Class::ALL.map(|class| ledger.count(from.id, class))
    };
    pairs(members).flat_map(of_pair).collect()
}

/// Until more messages of each class have come over each link.
fn wait_for_flow(members: &[Arc<Member>]) {
    let before = counts(members);
    wait_within(PATIENCE, "messages flow on every link and stream", || {
        counts(members).iter().zip(&before).all(|(now, before)| now > before)
    });
}

fn faults(members: &[Arc<Member>]) -> Vec<String> {
    members.iter().flat_map(|member| member.host.ledger().faults.clone()).collect()
}

fn sum(members: &[Arc<Member>], of: impl Fn(&Member) -> u64) -> u64 {
    members.iter().map(|member| of(member)).sum()
}

#[test]
fn members_that_are_killed_cut_and_shaken_heal_and_leave_nothing_behind() {
    let time = Duration::from_secs(setting("RAFTRING_SOAK_SECONDS", 20));
    let seed = setting("RAFTRING_SOAK_SEED", rand::random());
    println!("{} s with RAFTRING_SOAK_SEED={seed}", time.as_secs());
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let (descriptors_before, live_before) = (descriptors(), counting::live_bytes());

    let members = start_members(&cores);
    let load = Load::start(&cores, &members);
    wait_for_flow(&members);
    counting::trim();
    let resident_before = resident_bytes();
    let mut chaos = Chaos::new(&cores, &members, seed);
    chaos.run(time);
    let healing = Instant::now();
    wait_for_flow(&members);
    println!("{}; all healed within {:?}", chaos.report(), healing.elapsed());

    load.end();
    members.iter().for_each(|member| member.stop());
    let delivered = sum(&members, |member| member.host.ledger().total());
    let accepted = sum(&members, |member| member.accepted.load(Ordering::Relaxed));
    let panics = sum(&members, |member| member.host.panics.load(Ordering::Relaxed));
    let left = sum(&members, |member| member.host.left.load(Ordering::Relaxed));
    println!("{delivered} of {accepted} accepted messages delivered; {panics} panics, {left} batches left");
    assert_eq!(faults(&members), Vec::<String>::new());
    assert!(delivered <= accepted);

    drop(members);
    wait_within(PATIENCE, "the senders' tasks end", || stats(&cores).iter().all(|core| core.tasks == 0));
    wait_within(PATIENCE, "descriptors are closed", || descriptors() == descriptors_before);
    let after = stats(&cores);
    for core in &after {
        assert_eq!(core.blocks.out_bytes(), 0, "blocks out");
        assert_eq!(core.operations, CORE_OPERATIONS);
    }
    let count = |of: fn(&CoreStats) -> usize| after.iter().map(of).sum::<usize>();
    println!(
        "descriptors {descriptors_before} before, {} after; tasks {}, blocks {} bytes, operations {} after",
        descriptors(),
        count(|core| core.tasks),
        count(|core| core.blocks.out_bytes()),
        count(|core| core.operations)
    );
    assert_eq!(after.iter().map(|core| core.panics).sum::<u64>(), panics, "only the planted ones");
    let kept = after.iter().map(blocks_kept_bytes).sum::<usize>();
    let live = counting::live_bytes().saturating_sub(live_before + kept);
    counting::trim();
    let resident = resident_bytes();
    println!("pools keep {} KiB; {} KiB more are allocated than before", kept >> 10, live >> 10);
    println!("resident before {} KiB, after {} KiB", resident_before >> 10, resident >> 10);
    assert!(live < LIVE_TOLERANCE_BYTES, "{live} bytes were not freed");
    assert!(resident < resident_before + kept + RESIDENT_TOLERANCE_BYTES, "memory comes back");
}
