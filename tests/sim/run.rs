//! One seed, or many on all cores.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{fmt, thread};

use raftring::proto::stream::Bug;

use super::tally::Tally;
use super::world::World;

/// Lines of the log that a failure shows.
const LOG_TAIL: usize = 60;

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    pub(crate) what: String,
    log: Vec<String>,
}

pub(crate) type Outcome = Result<Tally, Box<Failure>>;

/// Runs a seed; if it fails, once more to write down how.
pub(crate) fn run_seed(seed: u64, bug: Option<Bug>) -> Outcome {
    run_once(seed, bug, false).map_err(|what| {
        let mut log = Vec::new();
        let again = run_logged(seed, bug, &mut log);
        let what = if again.as_ref() == Err(&what) { what } else { format!("{what}, then {again:?}") };
        Box::new(Failure { seed, what, log })
    })
}

fn run_once(seed: u64, bug: Option<Bug>, is_logged: bool) -> Result<Tally, String> {
    let run = || {
        let mut world = World::new(seed, bug, is_logged);
        world.run();
        world.failure.map_or(Ok(world.tally), Err)
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(text_of(&*panic)))
}

fn run_logged(seed: u64, bug: Option<Bug>, log: &mut Vec<String>) -> Result<Tally, String> {
    let mut world = World::new(seed, bug, true);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    *log = world.log.take().unwrap_or_default();
    result.map_err(|panic| text_of(&*panic))?;
    world.failure.map_or(Ok(world.tally), Err)
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without words"))
}

/// Runs seeds on all cores until one fails; the sum of what they did.
pub(crate) fn run_many(seeds: Range<u64>, bug: Option<Bug>) -> Outcome {
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicBool::new(false);
    let sum = Mutex::new(Ok(Tally::default()));
    let work = || {
        let mut own = Tally::default();
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            match run_seed(seed, bug) {
                Ok(tally) => own.add(&tally),
                Err(failure) => {
                    failed.store(true, Ordering::Relaxed);
                    *sum.lock().expect("no panic") = Err(failure);
                    return;
                }
            }
        }
        if let Ok(sum) = &mut *sum.lock().expect("no panic") {
            sum.add(&own);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    sum.into_inner().expect("no panic")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.what)?;
        writeln!(f, "again with RAFTRING_SIM_SEED={}; the last steps were", self.seed)?;
        for line in &self.log[self.log.len().saturating_sub(LOG_TAIL)..] {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}
