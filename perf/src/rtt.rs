//! The load of `rtt`: one message circles between the leader and each follower.
//!
//! Both halves are called from wherever the host lives: inside `Raft::process`, or on a thread
//! that `process` hands the messages to (see [`crate::inbox`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use raftring::raftpb::{Message, MessageType};

use crate::message::member_id;
use crate::meter::Meter;
use crate::plan::Plan;

/// The leader's half.
pub struct Leader {
    meter: Arc<Meter>,
    /// Follower by member id.
    followers: HashMap<u64, usize>,
    circles: Vec<Mutex<Circle>>,
}

/// One follower's message under way.
#[derive(Default)]
struct Circle {
    next: u64,
    sent_at: u64,
}

impl Leader {
    /// The leader of `plan`, with nothing under way.
    #[must_use]
    pub fn new(plan: &Plan, meter: &Arc<Meter>) -> Self {
        Self {
            meter: Arc::clone(meter),
            followers: (0..plan.followers).map(|f| (member_id(f + 1), f)).collect(),
            circles: (0..plan.followers).map(|_| Mutex::default()).collect(),
        }
    }

    /// The first message to each follower.
    #[must_use]
    pub fn start(&self) -> Vec<Message> {
        (0..self.circles.len()).map(|follower| self.send(follower)).collect()
    }

    /// Takes what the leader's `process` got; pushes to `out` the messages that follow, unless the
    /// run is over.
    pub fn process(&self, messages: &[Message], out: &mut Vec<Message>) {
        let now = self.meter.clock.now();
        for message in messages {
            if message.r#type != Some(MessageType::MsgAppResp as i32) {
                continue;
            }
            let Some(&follower) = message.from.and_then(|from| self.followers.get(&from)) else { continue };
            let sent_at = self.circle(follower).sent_at;
            self.meter.circled(follower, now.saturating_sub(sent_at));
            if !self.meter.is_over() {
                out.push(self.send(follower));
            }
        }
    }

    fn send(&self, follower: usize) -> Message {
        let mut circle = self.circle(follower);
        let message = self.meter.messages.append(follower, circle.next);
        circle.next += 1;
        circle.sent_at = self.meter.clock.now();
        self.meter.sent(follower, circle.next, circle.sent_at);
        message
    }

    fn circle(&self, follower: usize) -> std::sync::MutexGuard<'_, Circle> {
        self.circles[follower].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A follower's half: counts `messages`, which its `process` got, and pushes the answers to `out`.
pub fn answer(meter: &Meter, follower: usize, messages: &[Message], out: &mut Vec<Message>) {
    meter.processed(follower, messages);
    let appends = messages.iter().filter(|message| meter.messages.number(message).is_some());
    out.extend(appends.map(|append| meter.messages.answer(append)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Mode, tests::push};

    #[test]
    fn a_message_circles_until_the_run_is_over() {
        let plan = Plan { mode: Mode::Rtt, ..push() };
        let meter = Arc::new(Meter::new(&plan));
        let leader = Leader::new(&plan, &meter);
        meter.open();
        let (mut there, mut back) = (leader.start(), Vec::new());
        for _ in 0..5 {
            for append in there.drain(..) {
                let follower = usize::from(append.to == Some(member_id(2)));
                answer(&meter, follower, &[append], &mut back);
            }
            leader.process(&back, &mut there);
            back.clear();
        }
        assert_eq!((there.len(), meter.missing()), (2, 2));
        meter.close();
        assert_eq!((meter.measured(), meter.outcome().latencies.len()), (10, 10));
        answer(&meter, 0, &there[..1], &mut back);
        leader.process(&back, &mut Vec::new());
        assert_eq!(meter.missing(), 1);
    }
}
