//! The loads of a comparison.

use crate::cli::{CompareArgs, Suite};

/// One load: a subcommand with its flags.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Case {
    /// What the tables call it.
    pub name: String,
    /// The subcommand and its flags.
    pub flags: Vec<String>,
}

impl Case {
    fn new(load: &str, time: &str) -> Self {
        let flags = load.split(' ').chain(time.split(' ')).map(str::to_owned).collect();
        Self { name: load.to_owned(), flags }
    }

    /// The flags that say where it runs: none if it says so itself.
    #[must_use]
    pub fn cores(&self, cores: &[usize]) -> Vec<String> {
        if self.flags.iter().any(|flag| flag == "--cores") {
            return Vec::new();
        }
        let cores = cores.iter().map(ToString::to_string).collect::<Vec<_>>();
        vec!["--cores".to_owned(), cores.join(",")]
    }

    /// Its name, fit for a file.
    #[must_use]
    pub fn file_name(&self) -> String {
        self.name.replace("--", "").replace([' ', '/'], "-")
    }
}

/// The most telling few: `quick` must end within three minutes with a rival. Where nothing is said of
/// spinning the default is measured.
const QUICK: [&str; 6] = [
    "push --entry-size 64",
    "push --entry-size 4096",
    "push --entry-size 64 --followers 16",
    "rtt --entry-size 64",
    "rtt --entry-size 64 --spin 50us",
    "rtt --entry-size 64 --spin 50us --cores LAST",
];

/// What the saturated loads hide: bursts, single messages, many followers, a host on a thread.
const MORE: [&str; 14] = [
    "push --entry-size 64 --spin 0",
    "push --entry-size 4096 --spin 0",
    "rtt --entry-size 64 --spin 0",
    "rtt --entry-size 64 --spin 0 --followers 128",
    "rtt --entry-size 64 --host thread",
    "push --entry-size 64 --spin 0 --host thread",
    "push --entry-size 64 --spin 0 --host thread --rate 200000 --burst 64",
    "push --entry-size 64 --spin 0 --host thread --rate 200000 --burst 1024",
    "push --entry-size 64 --host thread --rate 1000 --burst 1",
    "push --entry-size 64 --host thread --rate 1000 --burst 1 --followers 16",
    "push --entry-size 128 --spin 0 --entries-per-message 64 --followers 16",
    "push --entry-size 65536 --spin 0 --window 128",
    "push --entry-size 4096 --spin 0 --followers 16 --window 256",
    "push --entry-size 64 --spin 0 --followers 128",
];

/// The loads that the players run.
#[must_use]
pub fn cases(args: &CompareArgs) -> Vec<Case> {
    if !args.load.is_empty() {
        return vec![Case { name: args.load.join(" "), flags: args.load.clone() }];
    }
    let time = time(args.suite);
    let more: &[&str] = if args.suite == Suite::Full { &MORE } else { &[] };
    let last = args.cores.last().copied().unwrap_or_default().to_string();
    QUICK.iter().chain(more).map(|load| Case::new(&load.replace("LAST", &last), time)).collect()
}

/// The floors that belong to them.
#[must_use]
pub fn floors(args: &CompareArgs) -> Vec<Case> {
    let floor = |load| Case::new(load, time(args.suite));
    vec![floor("floor --entry-size 64"), floor("floor --entry-size 4096")]
}

fn time(suite: Suite) -> &'static str {
    match suite {
        Suite::Quick => "--duration 1500ms --warmup 500ms",
        Suite::Standard | Suite::Full => "--duration 4s --warmup 1s",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn every_case_is_a_valid_command() {
        let line = ["raftring-perf", "compare", "--suite", "full", "--cores", "0"];
        let Command::Compare(args) = Cli::parse_from(line).command else { panic!("it is a comparison") };
        let mut names = Vec::new();
        for case in cases(&args).into_iter().chain(floors(&args)) {
            let cores = case.cores(&args.cores);
            let flags = ["raftring-perf"].into_iter().chain(case.flags.iter().map(String::as_str));
            let flags = flags.chain(cores.iter().map(String::as_str));
            let command = Cli::try_parse_from(flags).expect("valid").command;
            if let Command::Push(push) = command {
                push.plan().expect("a plan that can be measured");
            }
            names.push(case.file_name());
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), QUICK.len() + MORE.len() + 2);
    }
}
