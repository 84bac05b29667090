//! The floor of one way: buffers full of frames, written and read in as few calls as possible.

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

/// The write sizes that are tried, in bytes.
///
/// Loopback cuts a write into segments of 65,483 bytes (an MTU of 64 KiB less the headers). A size
/// just above a multiple of that leaves a tail of a few bytes, a segment of its own, with which a
/// write of 64 KiB runs at a third of the speed of one of 60,000 bytes and less. So these are round
/// numbers of segments, or far from one; powers of two would be a weak floor.
const WRITE_BYTES: [usize; 8] = [32_000, 60_000, 65_483, 120_000, 130_966, 256_000, 500_000, 1_000_000];
/// More than a read ever finds while both ends keep up, and still within the second cache.
const READ_BYTES: usize = 256 << 10;
/// Long enough for the kernel to settle its socket buffers.
const TRIAL: Duration = Duration::from_millis(120);
/// Each size is tried again after all the others, so that one bad moment of the machine spoils none.
const TRIALS: usize = 2;

/// Measures with the best write size, for as long as `plan` says; tells that size too.
pub fn measure(plan: &Plan, frames: &Frames, wait: &Wait) -> Result<(Outcome, usize)> {
    let mut best = (0.0, WRITE_BYTES[0]);
    for _ in 0..TRIALS {
        for bytes in WRITE_BYTES {
            let trial = flow(plan, frames, *wait, bytes, TRIAL / 4, TRIAL)?;
            let rate = trial.messages as f64 / trial.elapsed.as_secs_f64();
            if rate > best.0 {
                best = (rate, bytes);
            }
        }
    }
    Ok((flow(plan, frames, *wait, best.1, plan.warmup, plan.duration)?, best.1))
}

fn flow(
    plan: &Plan,
    frames: &Frames,
    wait: Wait,
    bytes: usize,
    warmup: Duration,
    time: Duration,
) -> Result<Outcome> {
    let (near, far) = link::connect(wait)?;
    let (first, last) = wait.cores(plan);
    // Whole frames, at least one.
    let full = frames.append.repeat((bytes / frames.append.len()).max(1));
    thread::scope(|scope| {
        let writer = scope.spawn(move || write(near, &full, first));
        let reader = scope.spawn(move || read(far, frames, last, warmup, time));
        let outcome = reader.join().map_err(|_| anyhow!("the reading end of the floor panicked"))?;
        writer.join().map_err(|_| anyhow!("the writing end of the floor panicked"))??;
        outcome
    })
}

/// Writes until the other end is gone.
fn write(mut end: TcpStream, full: &[u8], core: usize) -> Result<()> {
    affinity::pin(core)?;
    // The reader ends the run by closing, which shows here as an error of the next write.
    while link::write_all(&mut end, full).is_ok() {}
    Ok(())
}

fn read(
    mut end: TcpStream,
    frames: &Frames,
    core: usize,
    warmup: Duration,
    time: Duration,
) -> Result<Outcome> {
    affinity::pin(core)?;
    let mut into = vec![0; READ_BYTES];
    let clock = Clock::start();
    drain(&mut end, &mut into, clock, warmup)?;
    let (opened, cpu) = (clock.now(), cpu_ns());
    let count = drain(&mut end, &mut into, clock, time)?;
    let (elapsed, cpu_ns) = (Duration::from_nanos(clock.now() - opened), cpu_ns() - cpu);
    end.shutdown(Shutdown::Both).context("cannot shut the floor's connection down")?;
    let messages = count / frames.append.len() as u64;
    Ok(Outcome {
        elapsed,
        messages,
        cpu_ns,
        latencies: histogram(),
        lateness: histogram(),
        dropped: 0,
        hole_queued_max: 0,
    })
}

/// Reads for `time` and counts the bytes.
fn drain(end: &mut TcpStream, into: &mut [u8], clock: Clock, time: Duration) -> Result<u64> {
    let until = clock.now() + time.as_nanos() as u64;
    let mut count = 0;
    while clock.now() < until {
        let read = link::read_some(end, into)?;
        ensure!(read > 0, "the writing end of the floor is gone");
        count += read as u64;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor::rtt;
    use crate::plan::tests::push;

    #[test]
    fn both_floors_move_messages() {
        let plan = push();
        let frames = Frames::new(&plan);
        let (pushed, bytes) = measure(&plan, &frames, &Wait::Park).expect("loopback works");
        assert!(pushed.messages > 0 && WRITE_BYTES.contains(&bytes));
        let circled = rtt::measure(&plan, &frames, &Wait::Park).expect("loopback works");
        assert_eq!(circled.messages, circled.latencies.len());
        assert!(circled.messages > 0);
    }
}
