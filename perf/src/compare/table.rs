//! Medians, spreads and ratios.

use std::io::{Write, stdout};

use anyhow::Result;

use super::suite::Case;
use crate::report::{Report, print_percentiles};
use crate::result_line::ResultLine;

/// What is compared of a run, and its scale.
type Figure = (&'static str, fn(&ResultLine) -> Option<f64>);

const FIGURES: [Figure; 8] = [
    ("messages k/s", |r| Some(r.msgs_per_s / 1e3)),
    ("payload MB/s", |r| Some(r.bytes_per_s / 1e6)),
    ("cpu ns/msg", |r| Some(r.cpu_ns_per_msg)),
    ("p50 us", |r| r.p50_us),
    ("p99 us", |r| r.p99_us),
    ("p99.9 us", |r| r.p999_us),
    ("max us", |r| r.max_us),
    ("dropped", |r| Some(r.dropped as f64)),
];

/// All runs of one case.
pub struct Row {
    /// The load.
    pub case: Case,
    /// Who ran it, and what each of the rounds reported.
    runs: Vec<(String, Vec<Report>)>,
}

/// The middle of several runs, and their ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one, or the mean of the middle two.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Row {
    /// No runs yet.
    #[must_use]
    pub fn new(case: Case) -> Self {
        Self { case, runs: Vec::new() }
    }

    /// Adds what `player` reported in one round. A report that waits in its own way (the floor
    /// spins and parks, there and one way) is told apart by its mode and host.
    pub fn add(&mut self, player: &str, reports: Vec<Report>) {
        for report in reports {
            let r = &report.result;
            let name = if player == "floor" { format!("{} {}", r.mode, r.host) } else { player.to_owned() };
            match self.runs.iter_mut().find(|(known, _)| *known == name) {
                Some((_, runs)) => runs.push(report),
                None => self.runs.push((name, vec![report])),
            }
        }
        // The first round's order must not decide who is divided by whom.
        if player != "floor" {
            self.runs.sort_by_key(|(name, _)| name != "raftring");
        }
    }

    fn spread(&self, player: usize, figure: fn(&ResultLine) -> Option<f64>) -> Option<Spread> {
        let (_, reports) = self.runs.get(player)?;
        Spread::of(reports.iter().filter_map(|report| figure(&report.result)).collect())
    }
}

impl Spread {
    /// Of `values`; `None` if there are none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median, min, max })
    }
}

/// Prints the floors, then each case: a table, then the histograms of the middle round.
pub fn print(floors: &[Row], rows: &[Row]) -> Result<()> {
    let mut out = stdout().lock();
    for row in floors {
        print_row(&mut out, row)?;
    }
    for row in rows {
        print_row(&mut out, row)?;
        print_histograms(&mut out, row)?;
    }
    // The lines for machines, all rounds of them.
    writeln!(out)?;
    for (_, reports) in floors.iter().chain(rows).flat_map(|row| &row.runs) {
        for report in reports {
            writeln!(out, "{}", report.result)?;
        }
    }
    Ok(())
}

fn print_row(out: &mut impl Write, row: &Row) -> Result<()> {
    writeln!(out, "\n== {}", row.case.name)?;
    write!(out, "{:<14}", "")?;
    for (name, reports) in &row.runs {
        write!(out, " | {:<33}", format!("{name}, median of {} [min..max]", reports.len()))?;
    }
    // Only players are compared; the ways of the floor are no rivals of each other.
    let is_compared = row.runs.len() == 2 && row.runs[0].0 == "raftring";
    writeln!(out, "{}", if is_compared { " | raftring / rival" } else { "" })?;
    for (name, figure) in FIGURES {
        write!(out, "{name:<14}")?;
        let spreads: Vec<Option<Spread>> = (0..row.runs.len()).map(|p| row.spread(p, figure)).collect();
        for spread in &spreads {
            write!(out, " | {:<33}", spread.map_or("-".to_owned(), show))?;
        }
        if let ([Some(own), Some(rival)], true) = (&spreads[..], is_compared) {
            write!(out, " | {}", show_ratio(own.median, rival.median))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn print_histograms(out: &mut impl Write, row: &Row) -> Result<()> {
    for (name, reports) in &row.runs {
        let mut by_median: Vec<&Report> = reports.iter().collect();
        by_median.sort_by(|a, b| a.result.msgs_per_s.total_cmp(&b.result.msgs_per_s));
        if let Some(report) = by_median.get(by_median.len() / 2) {
            writeln!(out, "  {name}")?;
            print_percentiles(out, "latency", &report.percentiles_us)?;
        }
    }
    Ok(())
}

fn show(spread: Spread) -> String {
    format!("{:>10.1} [{:.1}..{:.1}]", spread.median, spread.min, spread.max)
}

fn show_ratio(own: f64, rival: f64) -> String {
    if rival == 0.0 { "-".to_owned() } else { format!("{:>6.2} x", own / rival) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_between_its_ends() {
        assert_eq!(Spread::of(vec![]), None);
        assert_eq!(Spread::of(vec![3.0, 1.0, 9.0]), Some(Spread { median: 3.0, min: 1.0, max: 9.0 }));
        assert_eq!(Spread::of(vec![4.0, 2.0]), Some(Spread { median: 3.0, min: 2.0, max: 4.0 }));
    }

    fn report(line: &str) -> Report {
        let result = line.parse().expect("a good line");
        Report { result, percentiles_us: vec![("p50".to_owned(), 2.0)], elapsed_s: 1.0 }
    }

    #[test]
    fn a_comparison_divides_ours_by_the_rivals_whoever_began() {
        let rival = crate::result_line::tests::LINE;
        let own = rival.replace("impl=go-rafthttp", "impl=raftring").replace("=500000", "=4000000");
        let mut row = Row::new(Case { name: "push".to_owned(), flags: Vec::new() });
        row.add("go-rafthttp", vec![report(rival)]);
        row.add("raftring", vec![report(&own)]);
        let mut out = Vec::new();
        print_row(&mut out, &row).expect("memory takes everything");
        let text = String::from_utf8(out).expect("it is text");
        assert!(text.contains("4000.0 [4000.0..4000.0]"), "{text}");
        assert!(text.contains("  8.00 x"), "{text}");
        // What nobody measured is shown as such.
        assert!(text.contains("p99.9 us       | -"), "{text}");
    }
}
