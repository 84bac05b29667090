//! What a run leaves behind: a table and a histogram for people, a line for machines, files.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::meter::Outcome;
use crate::plan::Plan;
use crate::result_line::ResultLine;

/// The percentiles of every histogram that is printed; the largest value follows them.
pub const PERCENTILES: [f64; 7] = [50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99];

/// One run, with everything that is told about it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// The figures of the line for machines.
    pub result: ResultLine,
    /// Name and microseconds, in ascending order; the last is `max`.
    pub percentiles_us: Vec<(String, f64)>,
    /// The measured window.
    pub elapsed_s: f64,
}

impl Report {
    /// What `outcome` says about `plan`, played by `implementation`.
    #[must_use]
    pub fn new(implementation: &str, plan: &Plan, outcome: &Outcome) -> Self {
        let elapsed = outcome.elapsed.as_secs_f64();
        let messages = outcome.messages as f64;
        let entries = messages * plan.entries_per_message as f64;
        let at = |percentile| percentile_us(&outcome.latencies, percentile);
        let result = ResultLine {
            implementation: implementation.to_owned(),
            mode: plan.mode.to_string(),
            host: plan.host.to_string(),
            followers: plan.followers as u64,
            entry_size: plan.entry_size as u64,
            entries_per_message: plan.entries_per_message as u64,
            msgs_per_s: messages / elapsed,
            entries_per_s: entries / elapsed,
            bytes_per_s: entries * plan.entry_size as f64 / elapsed,
            cpu_ns_per_msg: outcome.cpu_ns as f64 / messages.max(1.0),
            p50_us: at(50.0),
            p90_us: at(90.0),
            p99_us: at(99.0),
            p999_us: at(99.9),
            max_us: at(100.0),
            dropped: outcome.dropped,
        };
        Self { result, percentiles_us: percentiles_us(&outcome.latencies), elapsed_s: elapsed }
    }

    /// The table and the percentiles, for people.
    pub fn print(&self, out: &mut impl Write) -> Result<()> {
        let r = &self.result;
        writeln!(
            out,
            "\n{} {} host={} followers={} entry_size={} entries_per_message={} over {:.2} s",
            r.implementation,
            r.mode,
            r.host,
            r.followers,
            r.entry_size,
            r.entries_per_message,
            self.elapsed_s
        )?;
        writeln!(out, "  messages   {:>14.0} /s", r.msgs_per_s)?;
        writeln!(out, "  entries    {:>14.0} /s", r.entries_per_s)?;
        writeln!(out, "  payload    {:>14.1} MB/s", r.bytes_per_s / 1e6)?;
        writeln!(out, "  processor  {:>14.1} ns/message", r.cpu_ns_per_msg)?;
        writeln!(out, "  dropped    {:>14}", r.dropped)?;
        print_percentiles(out, "latency", &self.percentiles_us)
    }
}

/// Writes reports as one JSON array, be it of one.
pub fn write_json(reports: &[Report], path: &Path) -> Result<()> {
    let file = create(path)?;
    serde_json::to_writer_pretty(file, reports).with_context(|| format!("cannot write {}", path.display()))
}

/// Prints percentiles as bars on a scale of powers of ten, widest where it is slowest.
pub fn print_percentiles(out: &mut impl Write, what: &str, percentiles: &[(String, f64)]) -> Result<()> {
    for (name, us) in percentiles {
        // Eight columns a decade above 100 ns: a tail shows as a long bar.
        let bar = ((us * 10.0).max(1.0).log10() * 8.0) as usize;
        writeln!(out, "  {what} {name:>6} {us:>12.1} us  {}", "#".repeat(bar))?;
    }
    Ok(())
}

/// The percentiles and the largest value of `latencies` in microseconds; none if it is empty.
#[must_use]
pub fn percentiles_us(latencies: &Histogram<u64>) -> Vec<(String, f64)> {
    let names = PERCENTILES.iter().map(|p| (format!("p{p}"), *p));
    let all = names.chain([("max".to_owned(), 100.0)]);
    all.filter_map(|(name, p)| Some((name, percentile_us(latencies, p)?))).collect()
}

/// Writes `latencies` (nanoseconds) as a `.hgrm` file in microseconds, as HdrHistogram's plotters
/// read it.
pub fn write_hgrm(latencies: &Histogram<u64>, path: &Path) -> Result<()> {
    let mut file = create(path)?;
    write_hgrm_lines(latencies, &mut file).with_context(|| format!("cannot write {}", path.display()))
}

fn write_hgrm_lines(latencies: &Histogram<u64>, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut total = 0;
    for step in latencies.iter_quantiles(5) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / 1e3, step.quantile_iterated_to());
        write!(out, "{value:>12.3} {quantile:>2.12} {:>10}", total)?;
        if quantile < 1.0 { writeln!(out, " {:>14.2}", 1.0 / (1.0 - quantile))? } else { writeln!(out)? }
    }
    let (mean, deviation) = (latencies.mean() / 1e3, latencies.stdev() / 1e3);
    writeln!(out, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]")?;
    let (max, count) = (latencies.max() as f64 / 1e3, latencies.len());
    writeln!(out, "#[Max     = {max:>12.3}, Total count    = {count:>12}]")
}

fn percentile_us(latencies: &Histogram<u64>, percentile: f64) -> Option<f64> {
    (!latencies.is_empty()).then(|| latencies.value_at_percentile(percentile) as f64 / 1e3)
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(BufWriter::new(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::histogram;

    #[test]
    fn percentiles_are_microseconds_and_end_with_the_largest() {
        let mut latencies = histogram();
        latencies.saturating_record_n(2_000, 99);
        latencies.saturating_record(9_000_000);
        let percentiles = percentiles_us(&latencies);
        assert_eq!(percentiles.len(), 8);
        assert_eq!(percentiles[0], ("p50".to_owned(), 2.0));
        assert!(percentiles[7].0 == "max" && (percentiles[7].1 - 9_000.0).abs() < 10.0);
        assert!(percentiles_us(&histogram()).is_empty());
    }

    #[test]
    fn a_hgrm_ends_at_one() {
        let (mut latencies, mut out) = (histogram(), Vec::new());
        latencies.saturating_record_n(5_000, 10);
        write_hgrm_lines(&latencies, &mut out).expect("memory takes everything");
        let text = String::from_utf8(out).expect("it is text");
        assert!(text.contains("1.000000000000         10\n"), "{text}");
    }
}
