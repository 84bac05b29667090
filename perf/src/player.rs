//! The seam to what is measured, and one run through it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::meter::{Meter, Outcome};
use crate::plan::Plan;
use crate::progress::Progress;

/// How long what is under way at the end may take to arrive before it counts as dropped.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// A load that saw the end a moment late has sent its last batch by now.
const SETTLE: Duration = Duration::from_millis(20);
/// How often a wait looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Something that moves the messages of a load: a leader and its followers.
pub trait Player {
    /// The name in `RESULT impl=`.
    fn name(&self) -> &'static str;

    /// Plays one run:
    ///
    /// 1. brings the leader and the followers of `plan` up and waits until hellos arrive by the
    ///    msgapp stream at every follower (see [`wait_until`]);
    /// 2. starts the load: [`crate::drive`] for push, [`crate::rtt`] for rtt;
    /// 3. calls `watch`, which returns when the run is over and what was under way has arrived;
    /// 4. ends the load, if it has not ended by itself, and takes everything down.
    fn play(&self, plan: &Plan, meter: &Arc<Meter>, watch: &mut dyn FnMut()) -> Result<()>;
}

/// Plays `plan` once with `player`.
pub fn run(player: &dyn Player, plan: &Plan, progress: &Progress) -> Result<Outcome> {
    let meter = Arc::new(Meter::new(plan));
    progress.say(&format!("{} {}: connecting", player.name(), plan.label()));
    player.play(plan, &meter, &mut || watch(player.name(), plan, &meter, progress))?;
    progress.clear();
    if !meter.is_over() {
        bail!("{} ended without measuring anything: its player must call watch", player.name());
    }
    Ok(meter.outcome())
}

/// Opens the measured window after the warm-up, closes it in time, and waits for what is under way.
fn watch(name: &str, plan: &Plan, meter: &Meter, progress: &Progress) {
    progress.say(&format!("{name} {}: warming up", plan.label()));
    thread::sleep(plan.warmup);
    meter.open();
    progress.during(plan.duration, |elapsed| {
        let rate = meter.measured() as f64 / elapsed.as_secs_f64().max(1e-9);
        format!("{name} {}: {rate:.0} messages/s", plan.label())
    });
    meter.close();
    thread::sleep(SETTLE);
    let deadline = Instant::now() + DRAIN_MAX;
    while meter.missing() > 0 && Instant::now() < deadline {
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Waits until `is_done`, or fails and says for what it waited.
pub fn wait_until(what: &str, timeout: Duration, mut is_done: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + timeout;
    while !is_done() {
        if Instant::now() >= deadline {
            bail!("waited {timeout:?} in vain until {what}: look for an error above");
        }
        thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}
