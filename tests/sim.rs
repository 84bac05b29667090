//! Members that talk through wires that lie, in simulated time, from a seed.
//!
//! Goal: whatever a network does, the streams deliver a prefix of what was encoded, at most once,
//! tell what they lost, and come back when the network does.
//!
//! Method: two or three members are put together from the sans-IO machines of `proto` alone. One
//! queue of events moves one clock. Connections split, delay, cut (RST, FIN), swallow (half open)
//! and corrupt bytes, as the seed decides, for up to three simulated seconds; then the network is
//! well, and everything has to come up again. Each message carries a stamp and a sum, and the
//! simulator remembers what was encoded for which connection.
//!
//! Corruption: plain HTTP has no checksum, so a flipped bit may come out as a wrong message. From
//! the chain of frames with the flipped bit on, deliveries of that connection are not judged. What
//! is: no panic, memory by arrival, what came before is a prefix, the rest of the world is well.
//!
//! `RAFTRING_SIM_SEED` runs one seed, `RAFTRING_SIM_SEEDS` sets how many, from that one on.

#[path = "sim/mod.rs"]
mod sim;

use raftring::proto::stream::Bug;
use sim::{Tally, run_many, run_seed};

/// What CI runs; a debug build runs a part.
const SEEDS: u64 = if cfg!(debug_assertions) { 1_000 } else { 10_000 };

/// Enough for every planted bug to show itself many times.
const SEEDS_PER_BUG: u64 = 300;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[test]
fn streams_survive_every_fault_of_the_wire() {
    let first = number("RAFTRING_SIM_SEED");
    let count = number("RAFTRING_SIM_SEEDS").unwrap_or_else(|| first.map_or(SEEDS, |_| 1));
    let first = first.unwrap_or(0);
    let seeds = first..first + count;
    let is_full = count >= 1_000;
    let start = std::time::Instant::now();
    let tally = run_many(seeds, None).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{tally}in {:?}", start.elapsed());
    for name in Tally::NAMES.iter().filter(|_| is_full) {
        assert!(tally.get(name) > 0, "nothing tested {name}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        let tally = || run_seed(seed, None).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(tally(), tally(), "seed {seed}");
    }
}

#[test]
fn the_simulator_catches_planted_bugs() {
    for bug in Bug::ALL {
        let failure = run_many(0..SEEDS_PER_BUG, Some(bug)).expect_err("the bug to be caught");
        println!("{bug:?}: seed {}: {}", failure.seed, failure.what);
    }
}
