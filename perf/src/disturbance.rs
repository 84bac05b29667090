//! What one black hole among the followers does to the others: the same load with and without it, in
//! turns.

use anyhow::{Result, ensure};

use crate::black_hole::resident_bytes_max;
use crate::cli::BlackHoleArgs;
use crate::compare::table::Spread;
use crate::plan::Plan;
use crate::player;
use crate::progress::Progress;
use crate::raftring_player::Raftring;

/// One of the two: without, and with the black hole.
#[derive(Default)]
struct Side {
    p50: Vec<f64>,
    p99: Vec<f64>,
    dropped: u64,
    queued_max: usize,
}

/// Runs the rounds and prints both sides; fails if a healthy follower lost a message.
pub fn run(args: &BlackHoleArgs, progress: &Progress) -> Result<()> {
    let plan = args.plan()?;
    let mut sides = [Side::default(), Side::default()];
    for round in 0..args.rounds {
        for turn in 0..2 {
            let hole = (turn + round) % 2 == 1;
            sides[usize::from(hole)].add(&Plan { black_hole: hole, ..plan.clone() }, progress)?;
        }
    }
    progress.clear();
    let [without, with] = &sides;
    println!("{} healthy followers, {} rounds, medians [min..max]", plan.followers, args.rounds);
    without.print("without")?;
    with.print("with a black hole")?;
    println!(
        "waited for the black hole: {:.1} MiB of payloads at most; resident: {:.0} MiB at most",
        mib(with.queued_max),
        mib(resident_bytes_max())
    );
    ensure!(without.dropped + with.dropped == 0, "a healthy follower lost messages");
    Ok(())
}

impl Side {
    fn add(&mut self, plan: &Plan, progress: &Progress) -> Result<()> {
        let outcome = player::run(&Raftring, plan, progress)?;
        let us = |percentile| outcome.latencies.value_at_percentile(percentile) as f64 / 1e3;
        self.p50.push(us(50.0));
        self.p99.push(us(99.0));
        self.dropped += outcome.dropped;
        self.queued_max = self.queued_max.max(outcome.hole_queued_max);
        Ok(())
    }

    fn print(&self, name: &str) -> Result<()> {
        let spread = |values: &Vec<f64>| {
            Spread::of(values.clone()).map(|s| format!("{:.1} [{:.1}..{:.1}] us", s.median, s.min, s.max))
        };
        let (p50, p99) =
            spread(&self.p50).zip(spread(&self.p99)).ok_or_else(|| anyhow::anyhow!("no round"))?;
        println!("  {name:<18} p50 {p50}, p99 {p99}, dropped {}", self.dropped);
        Ok(())
    }
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
