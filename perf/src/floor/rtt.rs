//! The floor of a round trip: one frame there, one answer back.

use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::frames::Frames;
use super::link::{self, Wait};
use crate::affinity;
use crate::clock::{Clock, cpu_ns};
use crate::meter::{Outcome, histogram};
use crate::plan::Plan;

/// Measures for as long as `plan` says.
pub fn measure(plan: &Plan, frames: &Frames, wait: &Wait) -> Result<Outcome> {
    let (near, far) = link::connect(*wait)?;
    let (first, last) = wait.cores(plan);
    thread::scope(|scope| {
        let answerer = scope.spawn(move || answer(far, frames, last));
        // A thread of its own, so that the program's main thread stays where it may.
        let asker = scope.spawn(move || ask(near, plan, frames, first));
        let outcome = asker.join().map_err(|_| anyhow!("the asking end of the floor panicked"))?;
        answerer.join().map_err(|_| anyhow!("the answering end of the floor panicked"))??;
        outcome
    })
}

/// Answers each append until the other end is gone.
fn answer(mut end: TcpStream, frames: &Frames, core: usize) -> Result<()> {
    affinity::pin(core)?;
    let mut append = vec![0; frames.append.len()];
    while link::read_all(&mut end, &mut append)? {
        link::write_all(&mut end, &frames.answer)?;
    }
    Ok(())
}

fn ask(mut end: TcpStream, plan: &Plan, frames: &Frames, core: usize) -> Result<Outcome> {
    affinity::pin(core)?;
    let clock = Clock::start();
    let mut outcome = circles(&mut end, frames, clock, plan.warmup)?;
    let (opened, cpu) = (clock.now(), cpu_ns());
    if !plan.duration.is_zero() {
        outcome = circles(&mut end, frames, clock, plan.duration)?;
    }
    outcome.cpu_ns = cpu_ns() - cpu;
    outcome.elapsed = Duration::from_nanos(clock.now() - opened);
    end.shutdown(Shutdown::Both).context("cannot shut the floor's connection down")?;
    Ok(outcome)
}

/// Circles for `time`. The clock is read once a circle: one ends when the next begins.
fn circles(end: &mut TcpStream, frames: &Frames, clock: Clock, time: Duration) -> Result<Outcome> {
    let mut latencies = histogram();
    let mut back = vec![0; frames.answer.len()];
    let mut began = clock.now();
    let until = began + time.as_nanos() as u64;
    while began < until {
        link::write_all(end, &frames.append)?;
        ensure!(link::read_all(end, &mut back)?, "the answering end of the floor is gone");
        let now = clock.now();
        latencies.saturating_record(now - began);
        began = now;
    }
    let messages = latencies.len();
    Ok(Outcome {
        elapsed: time,
        messages,
        cpu_ns: 0,
        latencies,
        lateness: histogram(),
        dropped: 0,
        hole_queued_max: 0,
    })
}
