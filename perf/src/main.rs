//! `raftring-perf`: see `perf/run.sh`.

use std::io::stdout;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use raftring_perf::cli::{Cli, Command, LoadArgs};
use raftring_perf::plan::{Mode, Plan};
use raftring_perf::player::{self, Player};
use raftring_perf::progress::Progress;
use raftring_perf::raftring_player::Raftring;
use raftring_perf::report::{self, Report};
use raftring_perf::{affinity, compare, disturbance, floor, snapshot};

/// What production servers in Rust link: glibc's allocator would dominate a load that makes and
/// drops one entry list a message, as Go's does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raftring-perf: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Push(args) => play(&args.plan()?, &args.load),
        Command::Rtt(args) => play(&args.plan(Mode::Rtt)?, &args),
        Command::Floor(args) => floor::run(&args.plan(Mode::Push)?, &args, &Progress::to_terminal()),
        Command::BlackHole(args) => disturbance::run(&args, &Progress::to_terminal()),
        Command::Snapshot(args) => {
            affinity::check(&args.cores)?;
            snapshot::run(&args, &Progress::to_terminal())
        }
        Command::Compare(args) => compare::run(&args, &Progress::to_terminal()),
    }
}

/// One run, its report and its files; messages lost without a rate to blame are a failure.
fn play(plan: &Plan, args: &LoadArgs) -> Result<()> {
    let player = Raftring;
    let outcome = player::run(&player, plan, &Progress::to_terminal())?;
    let report = Report::new(player.name(), plan, &outcome);
    report.print(&mut stdout())?;
    if !outcome.lateness.is_empty() {
        let lateness = report::percentiles_us(&outcome.lateness);
        report::print_percentiles(&mut stdout(), "sent late", &lateness)?;
    }
    if let Some(json) = &args.json {
        report::write_json(std::slice::from_ref(&report), json)?;
    }
    if let Some(folder) = &args.hgrm {
        let name = format!("{}-{}.hgrm", player.name(), plan.label());
        report::write_hgrm(&outcome.latencies, &folder.join(name))?;
    }
    println!("{}", report.result);
    if outcome.dropped > 0 && plan.pace.is_none() {
        bail!("{} messages were dropped although the load waits for credit", outcome.dropped);
    }
    Ok(())
}
