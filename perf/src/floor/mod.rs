//! The floor: what plain TCP sockets do on the same cores with the same bytes.
//!
//! No transport can be better than this, so it must be as good as sockets can be; whoever finds a
//! way to make it faster should do so, for a weak floor makes everything above it look good. What
//! it does and why:
//!
//! - one connection over loopback, `TCP_NODELAY`, each end on a thread pinned to its core;
//! - the very frames of the load, encoded once before the clock starts (no HTTP chunk headers, no
//!   encoding, no decoding, no hand-over between threads: all of that is overhead to be seen);
//! - *spin*: both ends non-blocking, asking again at once; *park*: both ends block in the kernel;
//!   *park-one-core*: the same with both on the first core, which is quicker for a round trip
//!   wherever a wake-up of another core is slow, as in most virtual machines;
//! - round trip ([`rtt`]): an AppEntries frame there, a MsgAppResp frame back;
//! - one way ([`push`]): buffers full of frames, the best of several write sizes, and reads of
//!   whatever is there. Socket buffers are left to the kernel: setting them turns
//!   its own tuning off and is capped by `wmem_max`, below what the tuning reaches.

pub mod frames;
pub mod link;
pub mod push;
pub mod rtt;

use std::io::{Write, stdout};

use anyhow::{Context, Result, ensure};

use crate::cli::LoadArgs;
use crate::meter::Outcome;
use crate::plan::{Mode, Plan};
use crate::progress::Progress;
use crate::report::{self, Report};
use frames::Frames;
use link::Wait;

/// The name in `RESULT impl=`.
pub const NAME: &str = "floor";

/// Measures the floor of `plan` and reports it.
pub fn run(plan: &Plan, args: &LoadArgs, progress: &Progress) -> Result<()> {
    ensure!(plan.followers == 1, "the floor is that of one connection: leave --followers out");
    let frames = Frames::new(plan);
    let mut reports = Vec::new();
    for wait in waits(plan) {
        progress.say(&format!("floor: round trip, {wait}"));
        let outcome = rtt::measure(plan, &frames, wait)?;
        reports.push(finish(Mode::Rtt, wait, plan, &outcome, args)?);
        if *wait == Wait::ParkShared {
            // One way, sharing a core only halves the figure.
            continue;
        }
        progress.say(&format!("floor: one way, {wait}"));
        let (outcome, bytes) = push::measure(plan, &frames, wait)?;
        let report = finish(Mode::Push, wait, plan, &outcome, args)?;
        print_wire(&report, &frames, bytes)?;
        reports.push(report);
    }
    if let Some(json) = &args.json {
        report::write_json(&reports, json)?;
    }
    for report in &reports {
        println!("{}", report.result);
    }
    Ok(())
}

/// Two ends that spin on one core would only take turns at stopping each other.
fn waits(plan: &Plan) -> &'static [Wait] {
    if plan.cores.len() > 1 {
        return &[Wait::Spin, Wait::Park, Wait::ParkShared];
    }
    println!("floor: spinning needs two cores, so only the parked floor is measured");
    &[Wait::Park]
}

fn finish(mode: Mode, wait: &Wait, plan: &Plan, outcome: &Outcome, args: &LoadArgs) -> Result<Report> {
    let mut report = Report::new(NAME, &Plan { mode, ..plan.clone() }, outcome);
    report.result.host = wait.to_string();
    Progress::to_terminal().clear();
    report.print(&mut stdout())?;
    if let Some(folder) = args.hgrm.as_ref().filter(|_| mode == Mode::Rtt) {
        let name = format!("{NAME}-{mode}-{wait}-e{}x{}.hgrm", plan.entry_size, plan.entries_per_message);
        report::write_hgrm(&outcome.latencies, &folder.join(name))?;
    }
    Ok(report)
}

fn print_wire(report: &Report, frames: &Frames, write_bytes: usize) -> Result<()> {
    let wire = report.result.msgs_per_s * frames.append.len() as f64 / 1e9;
    writeln!(
        stdout(),
        "  wire       {wire:>14.2} GB/s  (frames of {} bytes, best with writes of about {write_bytes})",
        frames.append.len(),
    )
    .context("cannot print")
}
