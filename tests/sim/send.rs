//! From the hosts into the lanes.

use raftring::proto::route::{Working, pick};
use raftring::proto::stream::LANE_MESSAGES_MAX;
use raftring::{StreamKind, Via};
use rand::Rng;

use super::ledger::{Fate, Sent};
use super::node::Slot;
use super::plan::ms;
use super::world::{Event, World, note};

impl World {
    pub(super) fn send_some(&mut self, from: usize, to: usize) {
        if self.is_calm() {
            return;
        }
        self.send(from, to, 1, false);
        let wait = self.rng.random_range(ms(0)..=2 * self.plan.send_interval);
        self.at(self.now + wait, Event::Send(from, to));
    }

    /// More than a lane holds, if payloads are small.
    pub(super) fn send_burst(&mut self, from: usize, to: usize) {
        let most = if self.plan.large > 0.0 { 200 } else { 6_000 };
        let count = self.rng.random_range(50..most);
        note!(self, "{count} messages at once from {from} to {to}");
        self.send(from, to, count, false);
    }

    /// Picks a way for each message, as a peer does; never waits.
    pub(super) fn send(&mut self, from: usize, to: usize, count: usize, fresh: bool) {
        for _ in 0..count {
            let peer = self.nodes[from].peers[to].as_mut().expect("not itself");
            let (message, stamp) = peer.host.next(&self.plan, &mut self.rng);
            let [msgapp, message_stream] = peer.outgoing.each_ref().map(|o| o.machine.is_working());
            let working = Working { msgapp, message: message_stream };
            let lane = match pick(message.kind().expect("known"), working) {
                Via::Msgapp => Some(&mut peer.outgoing[StreamKind::Msgapp as usize].lane),
                Via::Message => Some(&mut peer.outgoing[StreamKind::Message as usize].lane),
                _ => None,
            };
            let id = self.ledger.sent.len();
            let fate = match lane {
                None => Fate::WithoutStream,
                Some(lane) if lane.len() == LANE_MESSAGES_MAX => Fate::LaneFull,
                Some(lane) => {
                    lane.push_back(id);
                    Fate::Queued
                }
            };
            self.ledger.sent.push(Sent { message, stamp, from, to, fate, delivered: false, fresh });
        }
        for kind in StreamKind::ALL {
            self.pump(Slot { node: from, peer: to, kind });
        }
    }
}
