//! The floor, raftring and perhaps a rival, in turns.
//!
//! A shared machine drifts: it is quicker now than a minute ago. So the implementations take turns
//! within each round, each in a process of its own, the order swaps from round to round, and what is
//! told is the median with the whole spread beside it.

pub mod child;
pub mod suite;
pub mod table;

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::cli::CompareArgs;
use crate::progress::Progress;
use child::Program;
use table::Row;

/// Runs everything and prints the tables; fails if any run failed.
pub fn run(args: &CompareArgs, progress: &Progress) -> Result<()> {
    args.check()?;
    let own = Program { name: "raftring", path: env::current_exe().context("cannot find this program")? };
    let mut players = vec![own.clone()];
    match &args.rival {
        Some(path) => players.push(Program { name: "go-rafthttp", path: path.clone() }),
        None => println!("no rival: ratios are left out"),
    }
    let mut failures = Vec::new();
    let floor = run_floor(&own, args, progress, &mut failures);
    let cases = suite::cases(args);
    let mut rows: Vec<Row> = cases.iter().map(|case| Row::new(case.clone())).collect();
    for round in 0..args.rounds {
        for row in &mut rows {
            run_case(row, &players, round, args, progress, &mut failures);
        }
    }
    progress.clear();
    table::print(&floor, &rows)?;
    if failures.is_empty() {
        return Ok(());
    }
    bail!("{} runs failed, so this comparison proves nothing:\n{}", failures.len(), failures.join("\n"))
}

/// One case by every player, starting with another one each round.
fn run_case(
    row: &mut Row,
    players: &[Program],
    round: usize,
    args: &CompareArgs,
    progress: &Progress,
    failures: &mut Vec<String>,
) {
    for turn in 0..players.len() {
        let player = &players[(turn + round) % players.len()];
        progress.say(&format!("round {}/{} {}: {}", round + 1, args.rounds, player.name, row.case.name));
        match player.run(&row.case, &folder(args, round), &args.cores) {
            Ok(reports) => row.add(player.name, reports),
            Err(error) => failures.push(format!("{} {}: {error:#}", player.name, row.case.name)),
        }
    }
}

/// The floors of the suite, once: they calibrate the machine.
fn run_floor(own: &Program, args: &CompareArgs, progress: &Progress, failures: &mut Vec<String>) -> Vec<Row> {
    let mut rows = Vec::new();
    for case in suite::floors(args) {
        progress.say(&format!("calibrating: {}", case.name));
        let mut row = Row::new(case);
        match own.run(&row.case, &folder(args, 0), &args.cores) {
            Ok(reports) => row.add("floor", reports),
            Err(error) => failures.push(format!("{}: {error:#}", row.case.name)),
        }
        rows.push(row);
    }
    rows
}

fn folder(args: &CompareArgs, round: usize) -> PathBuf {
    args.results.join(format!("round-{}", round + 1))
}
