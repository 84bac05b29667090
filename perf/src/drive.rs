//! The two drivers of a push load: on a thread of the host, and as a task on a core.

use std::thread;

use crate::batch::Batch;
use crate::load::{Load, Turn};

/// Runs `load` on the calling thread until the run is over. `send` takes the batch, or leaves it to
/// be written over.
///
/// The thread parks only while it has declared that it waits (see [`crate::credit`]), so a
/// follower's `process` pays for a wake only then.
pub fn on_thread(load: &mut Load, mut send: impl FnMut(&mut Batch)) {
    let meter = load.meter().clone();
    let loader = thread::current();
    meter.credits.wake_with(Box::new(move || loader.unpark()));
    let mut batch = Batch::default();
    loop {
        match load.turn(&mut batch) {
            Turn::Send => {
                send(&mut batch);
                batch.clear();
            }
            Turn::Wait => {
                thread::park();
                meter.credits.withdraw();
            }
            Turn::WaitUntil(at) => meter.clock.sleep_until(at),
            Turn::Over => return,
        }
    }
}

/// Runs `load` as a task on a core until the run is over. `send` takes the batch, or leaves it to be
/// written over.
///
/// `wait` ends at the next wake, or at once if one came since it last ended; the caller has
/// connected it with [`crate::credit::Credits::wake_with`]. A runtime's timers are too coarse to
/// pace a load, so a schedule is kept by a thread that does nothing but wake.
pub async fn on_core(load: &mut Load, mut send: impl FnMut(&mut Batch), mut wait: impl AsyncFnMut()) {
    let meter = load.meter().clone();
    if load.schedule().is_some() {
        start_pacer(load);
    }
    let mut batch = Batch::default();
    loop {
        match load.turn(&mut batch) {
            Turn::Send => {
                send(&mut batch);
                batch.clear();
            }
            Turn::Wait | Turn::WaitUntil(_) => {
                wait().await;
                meter.credits.withdraw();
            }
            Turn::Over => return,
        }
    }
}

/// Wakes the load whenever a burst is due, until the run is over.
fn start_pacer(load: &Load) {
    let (meter, schedule) = (load.meter().clone(), load.schedule());
    let pace = move || {
        let Some(schedule) = schedule else { return };
        let mut burst = 0;
        while !meter.is_over() {
            meter.clock.sleep_until(schedule.due(burst));
            meter.credits.wake();
            // Bursts that came due while it slept go with this wake.
            let now = meter.clock.now();
            while schedule.due(burst) <= now {
                burst += 1;
            }
        }
    };
    // A detached thread: it holds nothing but the meter and ends with the run.
    thread::spawn(pace);
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use raftring::raftpb::Message;

    use super::*;
    use crate::message::member_id;
    use crate::meter::Meter;
    use crate::plan::{Pace, Plan, tests::push};

    /// A load on a thread, and a "transport" of one channel that delivers what it is given.
    fn run(plan: &Plan) -> (Arc<Meter>, u64) {
        let meter = Arc::new(Meter::new(plan));
        let (sender, receiver) = mpsc::channel::<Vec<Message>>();
        let mut load = Load::new(plan, &meter);
        let follower = meter.clone();
        let delivery = thread::spawn(move || {
            for batch in receiver {
                for (at, group) in [(0, member_id(1)), (1, member_id(2))] {
                    let own: Vec<Message> = batch.iter().filter(|m| m.to == Some(group)).cloned().collect();
                    follower.processed(at, &own);
                }
            }
        });
        let driver = thread::spawn(move || {
            on_thread(&mut load, |batch| sender.send(batch.drain().collect()).expect("it listens"));
        });
        meter.open();
        thread::sleep(Duration::from_millis(60));
        meter.close();
        driver.join().expect("the load ends when the run is over");
        delivery.join().expect("the delivery ends with the load");
        let missing = meter.missing();
        (meter, missing)
    }

    #[test]
    fn a_window_keeps_flowing_and_nothing_is_missing() {
        let plan = push();
        let (meter, missing) = run(&plan);
        assert_eq!(missing, 0);
        assert!(meter.outcome().messages > 10 * plan.window as u64, "the window was refilled");
    }

    #[test]
    fn a_rate_is_kept() {
        let (meter, missing) = run(&Plan { pace: Some(Pace { rate: 20_000, burst: 8 }), ..push() });
        assert_eq!(missing, 0);
        let outcome = meter.outcome();
        let offered = 2.0 * 20_000.0 * outcome.elapsed.as_secs_f64();
        assert!((outcome.messages as f64) < 1.5 * offered + 64.0, "{} of {offered}", outcome.messages);
        assert!(outcome.messages > 0);
    }
}
