//! Handing over to the host what a stream brought, and keeping what it leaves.

use std::rc::Rc;
use std::time::Instant;

use super::link::rank;
use super::peer::Peer;
use super::reader::ReaderSlot;
use super::receipt::Receipt;
use super::shared::lane_of;
use crate::cores::Rank;
use crate::event::{Event, RejectReason};
use crate::proto::codec::{StreamKind, screen};
use crate::proto::stream::{Decision, Received};
use crate::raft::{Origin, Via};
use crate::raftpb::{ClassCounts, Message, MessageType};

/// Messages of a stream that the host left in `process` and that wait to be offered again: as many
/// as rafthttp's receive queue holds.
const BACKLOG_MESSAGES_MAX: usize = 4096;

/// Their payloads: as much as a lane queues. The first message always waits, whatever its size.
const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// Drops what may not wait: of what matters least the newest, until the rest is within both bounds or a
/// single message. What stays keeps its order.
fn bound(messages: &mut Vec<Message>) -> ClassCounts {
    let mut bytes: usize = messages.iter().map(Message::payload_bytes).sum();
    let mut count = messages.len();
    let mut dropped = ClassCounts::default();
    if count <= BACKLOG_MESSAGES_MAX && bytes <= BACKLOG_BYTES_MAX {
        return dropped;
    }
    let mut stays = vec![true; count];
    for of_rank in Rank::ALL {
        for (message, stays) in messages.iter().zip(&mut stays).rev() {
            if count == 1 || (count <= BACKLOG_MESSAGES_MAX && bytes <= BACKLOG_BYTES_MAX) {
                break;
            }
            let weight = message.payload_bytes();
            // One that weighs nothing makes no room for bytes.
            if rank(message.class()) == of_rank && (weight > 0 || count > BACKLOG_MESSAGES_MAX) {
                *stays = false;
                count -= 1;
                bytes -= weight;
                dropped.add(message.class(), 1);
            }
        }
    }
    let mut stays = stays.into_iter();
    messages.retain(|_| stays.next().unwrap_or(true));
    dropped
}

/// What the host has not taken of a stream: everything else, and proposals. Each class has bounds of
/// its own, so that proposals that wait for a leader are dropped and nothing else is for their sake.
pub(super) type Backlog = [Vec<Message>; 2];

fn count(backlog: &Backlog) -> usize {
    backlog.iter().map(Vec::len).sum()
}

impl Peer {
    /// Counts what a step of the decoder brought, after the read that ended at `read_at`, and hands it
    /// over. `batch` is empty afterwards.
    pub(super) fn receive(
        self: &Rc<Self>,
        kind: StreamKind,
        batch: &mut Vec<Message>,
        received: Received,
        read_at: Instant,
    ) {
        let decoded_at = self.readers[lane_of(kind)].timing.now(batch.len());
        self.count_received(kind, &Receipt { received, read_at, decoded_at }, batch);
        self.deliver(kind, batch, decoded_at);
    }

    /// Hands a batch to the host, in order, behind what it has left and proposals apart. `batch` is
    /// empty afterwards.
    fn deliver(self: &Rc<Self>, kind: StreamKind, batch: &mut Vec<Message>, decoded_at: Option<Instant>) {
        let held = self.shared.faults.held();
        if held.is_free() || self.pass_faults(held, kind, batch) {
            self.deliver_now(kind, batch, decoded_at);
        }
    }

    /// As [`Peer::deliver`], past the faults.
    pub(super) fn deliver_now(
        &self,
        kind: StreamKind,
        batch: &mut Vec<Message>,
        decoded_at: Option<Instant>,
    ) {
        self.screen(batch);
        let slot = &self.readers[lane_of(kind)];
        let mut backlog = slot.backlog.take();
        let before = count(&backlog);
        let offered = batch.len() + before;
        let since = if before > 0 { Some(slot.left_since.get()) } else { decoded_at };
        self.offer_all(kind, &mut backlog, batch);
        let left = count(&backlog);
        self.count_handed_over(slot, since, offered - left.min(offered));
        if left > 0 && before == 0 {
            slot.left_since.set(decoded_at.unwrap_or_else(Instant::now));
        }
        if left > 0 || !slot.is_flowing() {
            self.note_offer(slot, offered.saturating_sub(left), &mut backlog);
        }
        if left == 0 {
            // The memory stays with whoever reads next.
            std::mem::swap(&mut backlog[0], batch);
        }
        slot.backlog.replace(backlog);
    }

    /// Another offer of what the host has left, if it has left something.
    pub(super) fn offer_again(self: &Rc<Self>, kind: StreamKind) {
        if count(&self.readers[lane_of(kind)].backlog.borrow()) > 0 {
            self.deliver(kind, &mut Vec::new(), None);
        }
    }

    /// Nobody will offer it any more.
    pub(super) fn reject_left(&self, kind: StreamKind) {
        for mut left in self.readers[lane_of(kind)].backlog.take() {
            self.reject(&mut left, RejectReason::Stopped);
        }
    }

    fn offer_all(&self, kind: StreamKind, backlog: &mut Backlog, batch: &mut Vec<Message>) {
        if kind == StreamKind::Message && batch.iter().any(is_proposal) {
            let (proposals, rest) = batch.drain(..).partition(is_proposal);
            *batch = rest;
            self.offer(kind, true, &mut backlog[1], proposals);
        } else if !backlog[1].is_empty() {
            self.offer(kind, true, &mut backlog[1], Vec::new());
        }
        // The common case: nothing is left from last time, and the host takes everything.
        if backlog[0].is_empty() {
            if !batch.is_empty() {
                self.process(kind, false, batch);
            }
            std::mem::swap(&mut backlog[0], batch);
        } else {
            self.offer(kind, false, &mut backlog[0], std::mem::take(batch));
        }
    }

    fn offer(&self, kind: StreamKind, proposals: bool, backlog: &mut Vec<Message>, mut more: Vec<Message>) {
        backlog.append(&mut more);
        if !backlog.is_empty() {
            self.process(kind, proposals, backlog);
        }
    }

    fn process(&self, kind: StreamKind, proposals: bool, messages: &mut Vec<Message>) {
        let via = match kind {
            StreamKind::Msgapp => Via::Msgapp,
            StreamKind::Message => Via::Message,
        };
        let origin = Origin { peer: self.shared.id, via, proposals };
        self.endpoint.core.note_processed(messages.len());
        self.endpoint.shared.raft.process(origin, messages);
    }

    /// The host took so many messages, and left these.
    fn note_offer(&self, slot: &ReaderSlot, taken: usize, left: &mut Backlog) {
        let now = self.endpoint.core.now();
        slot.pressure.borrow_mut().handle_offer(now, taken, count(left));
        if slot.decide(now) == Decision::Drop {
            self.bound_backlog(left);
        }
    }

    fn bound_backlog(&self, backlog: &mut Backlog) {
        for messages in backlog {
            self.tell_rejected(bound(messages), RejectReason::HostFull);
        }
    }

    /// Drops what this stream cannot carry.
    fn screen(&self, batch: &mut Vec<Message>) {
        let local = self.endpoint.shared.config.id;
        let remote = self.shared.id;
        batch.retain(|message| match screen(message, local, remote) {
            Ok(()) => true,
            Err(implausible) => {
                let reason = RejectReason::Implausible(implausible);
                self.tell_rejected(ClassCounts::of(message.class(), 1), reason);
                false
            }
        });
    }

    pub(super) fn reject(&self, batch: &mut Vec<Message>, reason: RejectReason) {
        if !batch.is_empty() {
            self.tell_rejected(batch.iter().collect(), reason);
            batch.clear();
        }
    }

    pub(super) fn tell_rejected(&self, counts: ClassCounts, reason: RejectReason) {
        let peer = self.shared.id;
        for (class, messages) in counts.iter() {
            self.shared.metrics.rejected.count(reason, class, messages);
            if reason == RejectReason::HostFull {
                self.shared.metrics.received_failures.add(messages as u64);
            }
            self.endpoint.emit(&Event::Rejected { peer, class, messages, reason });
        }
    }
}

fn is_proposal(message: &Message) -> bool {
    message.r#type() == MessageType::MsgProp
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raftpb::{Entry, MessageClass};

    fn message(bytes: usize) -> Message {
        let entry = Entry { data: Some(vec![0; bytes].into()), ..Entry::default() };
        Message { entries: vec![entry], ..Message::default() }
    }

    fn of_type(kind: MessageType, number: usize, bytes: usize) -> Message {
        Message { r#type: Some(kind as i32), index: Some(number as u64), ..message(bytes) }
    }

    #[test]
    fn what_waits_for_the_host_is_bounded_in_messages_and_in_bytes() {
        let left = |mut messages: Vec<Message>| {
            let (before, dropped) = (messages.len(), bound(&mut messages).total());
            assert_eq!(before - dropped, messages.len());
            messages.len()
        };
        assert_eq!(left(Vec::new()), 0);
        assert_eq!(left(vec![message(1); BACKLOG_MESSAGES_MAX]), BACKLOG_MESSAGES_MAX);
        assert_eq!(left(vec![message(1); BACKLOG_MESSAGES_MAX + 1]), BACKLOG_MESSAGES_MAX);
        assert_eq!(left(vec![message(20 << 20); 5]), 3);
        assert_eq!(left(vec![message(BACKLOG_BYTES_MAX + 1), message(1)]), 1);
    }

    #[test]
    fn of_what_exceeds_the_newest_that_matters_least_goes_and_the_rest_keeps_its_order() {
        use MessageType::{MsgApp, MsgAppResp, MsgVote};
        let kinds = [MsgVote, MsgApp, MsgAppResp, MsgApp];
        let number = |message: &Message| message.index() as usize;
        let mut messages: Vec<_> =
            (0..BACKLOG_MESSAGES_MAX + 100).map(|at| of_type(kinds[at % 4], at, 1)).collect();
        let dropped = bound(&mut messages);
        assert_eq!(dropped, ClassCounts::of(MessageClass::Append, 100));
        assert_eq!(messages.len(), BACKLOG_MESSAGES_MAX);
        assert!(messages.is_sorted_by_key(number));
        let last_append = messages.iter().rfind(|message| message.is(MsgApp)).map(number);
        assert_eq!(last_append, Some(BACKLOG_MESSAGES_MAX - 101));
        assert!(messages.last().is_some_and(|message| message.is(MsgAppResp)), "votes and acks stay");
    }

    #[test]
    fn a_message_of_any_size_gives_way_to_what_matters_more() {
        use MessageType::{MsgApp, MsgHeartbeat, MsgVote};
        let giant = of_type(MsgApp, 0, BACKLOG_BYTES_MAX + 1);
        let mut messages = vec![giant.clone(), of_type(MsgVote, 1, 0), of_type(MsgHeartbeat, 2, 8)];
        assert_eq!(bound(&mut messages), ClassCounts::of(MessageClass::Append, 1));
        assert_eq!(messages.len(), 2);
        let mut alone = vec![giant];
        assert_eq!(bound(&mut alone).total(), 0, "somebody may take it");
    }
}
