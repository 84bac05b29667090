//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use raftring::{CoresConfig, Spin};

use crate::affinity;
use crate::plan::{Host, Mode, Pace, Plan};

/// Load, latency histograms, a floor and rivals for raftring.
#[derive(Debug, Parser)]
#[command(name = "raftring-perf", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// As many messages as a window, or a rate, lets flow from a leader to its followers.
    Push(PushArgs),
    /// One message in flight to each follower, and back.
    Rtt(LoadArgs),
    /// What plain sockets do with the same bytes on the same cores.
    Floor(LoadArgs),
    /// What a follower that takes nothing does to the others: the same load with and without it.
    BlackHole(BlackHoleArgs),
    /// A database from one transport to another, and heartbeats beside it.
    Snapshot(SnapshotArgs),
    /// The floor, raftring and perhaps a rival in turns: medians, spreads, ratios.
    Compare(CompareArgs),
}

/// The flags of every load. The rival takes the same.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Followers of the one leader.
    #[arg(long, default_value_t = 1)]
    pub followers: usize,
    /// Bytes of data in one entry.
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    pub entry_size: usize,
    /// Entries in one MsgApp.
    #[arg(long, default_value_t = 1, value_name = "K")]
    pub entries_per_message: usize,
    /// How long is measured.
    #[arg(long, default_value = "4s", value_parser = duration)]
    pub duration: Duration,
    /// How long the load runs before.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub warmup: Duration,
    /// How long an idle core spins before it parks: a time, 0 for never, or the library's default.
    #[arg(long, default_value = "adaptive", value_parser = spin)]
    pub spin: Spin,
    /// The cores to run on; the leader gets the first.
    #[arg(long, default_value = "0,1", value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// Where the host lives: on the transport's cores or on a thread of its own.
    #[arg(long, value_enum, default_value = "core")]
    pub host: Host,
    /// Write the report here as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the latency histogram into this folder as a .hgrm file.
    #[arg(long, value_name = "DIR")]
    pub hgrm: Option<PathBuf>,
}

/// The flags of push.
#[derive(Args, Clone, Debug)]
pub struct PushArgs {
    /// The load.
    #[command(flatten)]
    pub load: LoadArgs,
    /// Messages in flight to one follower, not yet processed.
    #[arg(long, default_value_t = 1024, value_name = "W")]
    pub window: usize,
    /// Messages per second offered to each follower, instead of as many as the window allows.
    #[arg(long, value_name = "R", conflicts_with = "window")]
    pub rate: Option<u64>,
    /// Messages in one burst of the rate, for each follower.
    #[arg(long, value_name = "B", requires = "rate")]
    pub burst: Option<usize>,
}

/// The flags of snapshot.
#[derive(Args, Clone, Debug)]
pub struct SnapshotArgs {
    /// MiB of the database.
    #[arg(long, default_value_t = 4096, value_name = "MIB")]
    pub mebibytes: u64,
    /// Bytes per second that the sender may use; none is no limit.
    #[arg(long, value_name = "BYTES")]
    pub rate: Option<u64>,
    /// How often it is sent; a round that has no limit lasts a few seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// How long heartbeats are measured alone, before.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub alone: Duration,
    /// The folder for both files, twice their size.
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    pub dir: PathBuf,
    /// The cores to run on; the sender gets the first, the receiver the last.
    #[arg(long, default_value = "0,1", value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// How long an idle core spins before it parks: a time, 0 for never, or the library's default.
    #[arg(long, default_value = "adaptive", value_parser = spin)]
    pub spin: Spin,
}

/// The flags of black-hole.
#[derive(Args, Clone, Debug)]
pub struct BlackHoleArgs {
    /// Rounds; with and without it take turns within each.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Followers that are well.
    #[arg(long, default_value_t = 7)]
    pub followers: usize,
    /// Bytes of data in one entry.
    #[arg(long, default_value_t = 4096, value_name = "BYTES")]
    pub entry_size: usize,
    /// Messages per second offered to each follower.
    #[arg(long, default_value_t = 5_000, value_name = "R")]
    pub rate: u64,
    /// How long each run is measured: longer than a writer waits for a stalled connection (5 s).
    #[arg(long, default_value = "7s", value_parser = duration)]
    pub duration: Duration,
    /// The cores to run on; the leader gets the first.
    #[arg(long, default_value = "0,1", value_delimiter = ',')]
    pub cores: Vec<usize>,
}

/// The flags of compare.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// The rival's program; it takes the same flags and prints the same line.
    #[arg(long, value_name = "PATH")]
    pub rival: Option<PathBuf>,
    /// Rounds; the implementations take turns within each.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Which loads: quick, standard or full.
    #[arg(long, value_enum, default_value = "standard", conflicts_with = "load")]
    pub suite: Suite,
    /// The cores to run on.
    #[arg(long, default_value = "0,1", value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// The folder for the JSON and .hgrm files.
    #[arg(long, value_name = "DIR", default_value = "perf/results")]
    pub results: PathBuf,
    /// One load of your own instead of a suite, after `--`: `-- push --entry-size 4096`.
    #[arg(last = true)]
    pub load: Vec<String>,
}

/// Which loads a comparison runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Suite {
    /// The most telling few, briefly.
    Quick,
    /// The same and more, for as long as it takes to be steady.
    Standard,
    /// Rates, sizes, hosts and many followers.
    Full,
}

impl LoadArgs {
    /// The plan of these flags, checked.
    pub fn plan(&self, mode: Mode) -> Result<Plan> {
        let plan = Plan {
            mode,
            host: self.host,
            followers: self.followers,
            entry_size: self.entry_size,
            entries_per_message: self.entries_per_message,
            window: 1,
            pace: None,
            duration: self.duration,
            warmup: self.warmup,
            spin: self.spin,
            cores: self.cores.clone(),
            black_hole: false,
        };
        plan.check()?;
        affinity::check(&plan.cores)?;
        Ok(plan)
    }
}

impl PushArgs {
    /// The plan of these flags, checked.
    pub fn plan(&self) -> Result<Plan> {
        let pace = self.rate.map(|rate| Pace { rate, burst: self.burst.unwrap_or(1) });
        let plan = Plan { window: self.window, pace, ..self.load.plan(Mode::Push)? };
        plan.check()?;
        Ok(plan)
    }
}

impl BlackHoleArgs {
    /// The plan of these flags, checked; without the black hole.
    pub fn plan(&self) -> Result<Plan> {
        ensure!(self.rounds > 0, "--rounds 0 compares nothing: give at least 1");
        let plan = Plan {
            mode: Mode::Push,
            host: Host::Thread,
            followers: self.followers,
            entry_size: self.entry_size,
            entries_per_message: 1,
            window: 1,
            pace: Some(Pace { rate: self.rate, burst: 1 }),
            duration: self.duration,
            warmup: Duration::from_secs(1),
            spin: CoresConfig::default().spin,
            cores: self.cores.clone(),
            black_hole: false,
        };
        plan.check()?;
        affinity::check(&plan.cores)?;
        Ok(plan)
    }
}

impl CompareArgs {
    /// Refuses what cannot be compared.
    pub fn check(&self) -> Result<()> {
        ensure!(self.rounds > 0, "--rounds 0 compares nothing: give at least 1");
        affinity::check(&self.cores)?;
        if let Some(rival) = &self.rival {
            ensure!(
                rival.is_file(),
                "there is no rival at {}: build it, or leave --rival out",
                rival.display()
            );
        }
        Ok(())
    }
}

/// Reads `adaptive` or how long to spin each time.
fn spin(text: &str) -> Result<Spin, String> {
    match text {
        "adaptive" => Ok(CoresConfig::default().spin),
        _ => duration(text).map(|time| if time.is_zero() { Spin::Never } else { Spin::Always(time) }),
    }
}

/// Reads `4s`, `1.5s`, `300ms`, `50us`, `800ns` or `0`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write a number and ns, us, ms or s, such as 50us or 4s");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let scale = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    // Negative numbers and what is too large end here.
    Duration::try_from_secs_f64(number * scale).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_read_or_refused() {
        assert_eq!(duration("50us"), Ok(Duration::from_micros(50)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in ["", "4", "-1s", "4min", "s", "1e300s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_core_spins_always_never_or_where_it_pays() {
        assert_eq!(spin("adaptive"), Ok(CoresConfig::default().spin));
        assert_eq!(spin("0"), Ok(Spin::Never));
        assert_eq!(spin("20us"), Ok(Spin::Always(Duration::from_micros(20))));
        assert!(spin("sometimes").is_err());
    }

    #[test]
    fn bad_values_are_refused_before_anything_starts() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("raftring-perf push --rate -5").is_err());
        assert!(parse("raftring-perf push --burst 4").is_err());
        assert!(parse("raftring-perf rtt --rate 5").is_err());
        let Ok(Cli { command: Command::Push(push) }) = parse("raftring-perf push --followers 0 --cores 0")
        else {
            panic!("well formed")
        };
        assert!(push.plan().expect_err("nobody to send to").to_string().contains("--followers 0"));
    }
}
