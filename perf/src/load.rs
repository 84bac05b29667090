//! The load of `push`: what to send now, and what to wait for.
//!
//! It owns no thread and never waits itself, so that the same code runs as a task on a core and on
//! a thread of the host (see [`crate::drive`]). The batch rule, the same for every rival:
//!
//! - bound by the window: each follower whose window has room for a whole batch
//!   ([`Plan::batch`](crate::plan::Plan::batch)) gets one; all of them go in one `send`;
//! - on a schedule: each burst that is due goes to every follower, late ones together.

use std::sync::Arc;

use crate::batch::Batch;
use crate::meter::Meter;
use crate::plan::{Pace, Plan};

/// Late bursts that go in one `send` at most, so that a load that was held up does not hand over
/// its whole delay at once.
const BURSTS_PER_SEND_MAX: u64 = 16;

/// What the driver of a load must do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// Hand the batch over, then take the next turn.
    Send,
    /// Wait until the credits wake the load. A wake that comes before the wait must end it.
    Wait,
    /// Wait until this time of the run's clock.
    WaitUntil(u64),
    /// The run is over: send no more.
    Over,
}

/// When the bursts are due.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pace: Pace,
    start: u64,
}

impl Schedule {
    /// When burst `n` is due, by the run's clock.
    #[must_use]
    pub fn due(&self, n: u64) -> u64 {
        self.start + self.pace.due(n)
    }
}

/// The load of one leader.
pub struct Load {
    meter: Arc<Meter>,
    batch: u64,
    in_flight_max: u64,
    schedule: Option<Schedule>,
    bursts: u64,
    /// For each follower the number of its next message.
    next: Vec<u64>,
}

impl Load {
    /// The load of `plan`; its schedule starts now.
    #[must_use]
    pub fn new(plan: &Plan, meter: &Arc<Meter>) -> Self {
        Self {
            meter: Arc::clone(meter),
            batch: plan.batch() as u64,
            in_flight_max: plan.in_flight_max() as u64,
            schedule: plan.pace.map(|pace| Schedule { pace, start: meter.clock.now() }),
            bursts: 0,
            next: vec![0; plan.followers],
        }
    }

    /// The schedule, if it has one.
    #[must_use]
    pub fn schedule(&self) -> Option<Schedule> {
        self.schedule
    }

    /// The meter of its run.
    #[must_use]
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Fills `batch`, which must be empty, with what may be sent now.
    pub fn turn(&mut self, batch: &mut Batch) -> Turn {
        debug_assert!(batch.is_empty(), "the driver hands over every batch");
        if self.meter.is_over() {
            return Turn::Over;
        }
        match self.schedule {
            Some(schedule) => self.turn_scheduled(schedule, batch),
            None => self.turn_windowed(batch),
        }
    }

    fn turn_scheduled(&mut self, schedule: Schedule, batch: &mut Batch) -> Turn {
        let now = self.meter.clock.now();
        let first = self.bursts;
        while schedule.due(self.bursts) <= now && self.bursts - first < BURSTS_PER_SEND_MAX {
            self.meter.late(now - schedule.due(self.bursts));
            for follower in 0..self.next.len() {
                self.offer(follower, now, batch);
            }
            self.bursts += 1;
        }
        if batch.is_empty() { Turn::WaitUntil(schedule.due(self.bursts)) } else { Turn::Send }
    }

    /// One burst for a follower, or none if it is hopelessly behind. Its numbers are used up
    /// either way, so that a shed burst shows as dropped.
    fn offer(&mut self, follower: usize, now: u64, batch: &mut Batch) {
        if self.room(follower) >= self.batch {
            self.append(follower, now, batch);
        } else {
            self.next[follower] += self.batch;
        }
    }

    fn turn_windowed(&mut self, batch: &mut Batch) -> Turn {
        loop {
            let now = self.meter.clock.now();
            for follower in 0..self.next.len() {
                if self.room(follower) >= self.batch {
                    self.append(follower, now, batch);
                }
            }
            if !batch.is_empty() {
                return Turn::Send;
            }
            if self.may_wait() {
                return Turn::Wait;
            }
        }
    }

    /// Declares for each follower the frontier that would let a batch go.
    fn may_wait(&self) -> bool {
        let wanted = |next: u64| next + self.batch - self.in_flight_max;
        let credits = &self.meter.credits;
        self.next.iter().enumerate().all(|(follower, &next)| credits.declare(follower, wanted(next)))
    }

    /// How many more messages may be in flight to `follower`.
    fn room(&self, follower: usize) -> u64 {
        let in_flight = self.next[follower].saturating_sub(self.meter.credits.processed(follower));
        self.in_flight_max.saturating_sub(in_flight)
    }

    fn append(&mut self, follower: usize, now: u64, batch: &mut Batch) {
        let first = self.next[follower];
        let next = first + self.batch;
        for number in first..next {
            batch.push_with(|message| self.meter.messages.write(message, follower, number));
        }
        self.next[follower] = next;
        self.meter.sent(follower, next, now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use raftring::raftpb::Message;

    use super::*;
    use crate::plan::tests::push;

    fn fresh(plan: &Plan) -> (Arc<Meter>, Load) {
        let meter = Arc::new(Meter::new(plan));
        let load = Load::new(plan, &meter);
        (meter, load)
    }

    #[test]
    fn a_window_is_filled_and_waits_for_a_whole_batch() {
        let plan = push();
        let (meter, mut load) = fresh(&plan);
        let mut sent = Vec::new();
        let mut batch = Batch::default();
        while load.turn(&mut batch) == Turn::Send {
            sent.extend(batch.drain());
        }
        assert_eq!(sent.len(), plan.window * plan.followers);
        let first: Vec<Message> = sent.iter().filter(|m| m.to == sent[0].to).cloned().collect();
        meter.processed(0, &first[..63]);
        assert_eq!(load.turn(&mut batch), Turn::Wait);
        meter.processed(0, &first[63..64]);
        assert_eq!(load.turn(&mut batch), Turn::Send);
        assert_eq!(batch.len(), 64);
        assert!(batch.iter().all(|m| m.to == sent[0].to));
    }

    #[test]
    fn a_schedule_is_kept_and_late_bursts_go_together() {
        let plan = Plan { pace: Some(Pace { rate: 1_000, burst: 2 }), ..push() };
        let (meter, mut load) = fresh(&plan);
        let mut batch = Batch::default();
        let start = load.schedule().expect("it has a pace").due(0);
        meter.clock.sleep_until(start + 7_000_000);
        assert_eq!(load.turn(&mut batch), Turn::Send);
        assert!(batch.len() >= 4 * 2 * 2, "bursts at 0, 2, 4 and 6 ms to two followers");
        batch.clear();
        assert!(matches!(load.turn(&mut batch), Turn::WaitUntil(at) if at >= start + 8_000_000));
    }

    #[test]
    fn what_does_not_arrive_is_counted() {
        let plan = Plan { warmup: Duration::ZERO, ..push() };
        let (meter, mut load) = fresh(&plan);
        let mut batch = Batch::default();
        meter.open();
        assert_eq!(load.turn(&mut batch), Turn::Send);
        meter.processed(0, &batch[..60]);
        meter.processed(1, &batch[64..]);
        meter.close();
        assert_eq!(load.turn(&mut Batch::default()), Turn::Over);
        let outcome = meter.outcome();
        assert_eq!((outcome.messages, outcome.dropped), (124, 4));
        assert_eq!(outcome.latencies.len(), 124);
    }
}
