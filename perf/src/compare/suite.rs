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

    /// Its name, fit for a file.
    #[must_use]
    pub fn file_name(&self) -> String {
        self.name.replace("--", "").replace([' ', '/'], "-")
    }
}

/// The most telling few: `quick` must end within three minutes with a rival.
const QUICK: [&str; 5] = [
    "push --entry-size 64",
    "push --entry-size 4096",
    "rtt --entry-size 64 --spin 50us",
    "rtt --entry-size 64 --spin 0",
    "push --entry-size 64 --followers 16",
];

/// What the saturated loads hide: bursts, single messages, many followers, a host on a thread.
const MORE: [&str; 11] = [
    "push --entry-size 64 --host thread",
    "push --entry-size 128 --entries-per-message 64",
    "push --entry-size 65536 --window 128",
    "push --entry-size 4096 --followers 16 --window 256",
    "push --entry-size 64 --followers 128",
    "push --entry-size 64 --rate 200000 --burst 64 --host thread",
    "push --entry-size 64 --rate 200000 --burst 1024 --host thread",
    "push --entry-size 64 --rate 1000 --burst 1 --host thread",
    "push --entry-size 64 --rate 1000 --burst 1 --followers 16 --host thread",
    "rtt --entry-size 64 --host thread",
    "rtt --entry-size 64 --followers 128",
];

/// The loads that the players run.
#[must_use]
pub fn cases(args: &CompareArgs) -> Vec<Case> {
    if !args.load.is_empty() {
        return vec![Case { name: args.load.join(" "), flags: args.load.clone() }];
    }
    let time = time(args.suite);
    let more: &[&str] = if args.suite == Suite::Full { &MORE } else { &[] };
    QUICK.iter().chain(more).map(|load| Case::new(load, time)).collect()
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
            let flags = ["raftring-perf"].into_iter().chain(case.flags.iter().map(String::as_str));
            let command = Cli::try_parse_from(flags.chain(["--cores", "0"])).expect("valid").command;
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
