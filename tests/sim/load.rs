//! What the hosts send: appends that follow each other, jump or stand still, and everything else.

use raftring::raftpb::{Entry, Message, MessageType};
use rand::Rng;
use rand::rngs::SmallRng;

use super::plan::Plan;
use super::stamp::Stamp;

/// What one host sends to one other.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) epoch: u32,
    term: u64,
    /// Index of the last entry appended.
    last: u64,
    /// Messages so far of each class: appends, everything else.
    seqs: [u64; 2],
}

impl Host {
    pub(super) const fn new(from: u64, to: u64, epoch: u32) -> Self {
        Self { from, to, epoch, term: 1, last: 0, seqs: [0; 2] }
    }

    pub(super) fn next(&mut self, plan: &Plan, rng: &mut SmallRng) -> (Message, Stamp) {
        let class = u32::from(rng.random_bool(0.4));
        self.seqs[class as usize] += 1;
        let stamp = Stamp { epoch: self.epoch, class, seq: self.seqs[class as usize] };
        let message = if class == 0 { self.append(stamp, plan, rng) } else { self.other(stamp, plan, rng) };
        (message, stamp)
    }

    fn append(&mut self, stamp: Stamp, plan: &Plan, rng: &mut SmallRng) -> Message {
        let mut log_term = self.term;
        match rng.random_range(0..20) {
            0 => self.term += 1,
            1 => self.last = self.last.saturating_sub(rng.random_range(1..10)),
            2 => log_term = self.term - 1,
            _ => {}
        }
        log_term = log_term.min(self.term);
        let count = [0, 1, 1, 1, 1, 2, 3, 8][rng.random_range(0..8)];
        let index = self.last;
        self.last += count;
        let entry = |part| Entry {
            r#type: Some(0),
            term: Some(self.term),
            index: Some(index + 1 + part),
            data: Some(stamp.payload(part, size(plan, rng))),
        };
        Message {
            log_term: Some(log_term),
            index: Some(index),
            commit: Some(stamp.seq),
            entries: (0..count).map(entry).collect(),
            ..self.head(MessageType::MsgApp)
        }
    }

    fn other(&self, stamp: Stamp, plan: &Plan, rng: &mut SmallRng) -> Message {
        use MessageType::{MsgAppResp, MsgHeartbeat, MsgProp, MsgVote};
        let kind = [MsgProp, MsgHeartbeat, MsgAppResp, MsgVote][rng.random_range(0..4)];
        let mut message = self.head(kind);
        if kind == MsgProp {
            let entry = |part| Entry { data: Some(stamp.payload(part, size(plan, rng))), ..Entry::default() };
            message.entries = (0..3).map(entry).collect();
        } else {
            message.index = Some(self.last);
            message.reject = Some(stamp.seq.is_multiple_of(2));
            message.context = Some(stamp.payload(0, rng.random_range(0..100)));
        }
        message
    }

    fn head(&self, kind: MessageType) -> Message {
        let (from, to) = (Some(self.from), Some(self.to));
        Message { r#type: Some(kind as i32), from, to, term: Some(self.term), ..Message::default() }
    }
}

/// Bytes of a payload: mostly small; around the size from which payloads go by reference; and far
/// above what a block holds.
fn size(plan: &Plan, rng: &mut SmallRng) -> usize {
    if !rng.random_bool(plan.large) {
        return rng.random_range(0..200);
    }
    match rng.random_range(0..20) {
        0 => rng.random_range(100_000..600_000),
        1..4 => rng.random_range(10_000..70_000),
        4..10 => rng.random_range(4_000..4_200),
        _ => rng.random_range(200..4_000),
    }
}
