//! What must hold when the faults are over, and at the very end.

use std::time::Duration;

use raftring::StreamKind;

use super::conn::{DOWN, UP};
use super::dial::DIAL_TIMEOUT;
use super::ledger::Fate;
use super::node::{READ_TIMEOUT, Reading, Slot};
use super::plan::ms;
use super::world::{Event, World, note};

/// After the last fault: a silent cut is noticed, a dial that vanished is given up, the next one
/// hits the dead URL, and the one after it succeeds. The rest is ticks and delays.
const HEAL_BOUND: Duration = ms(READ_TIMEOUT.as_millis() as u64 + DIAL_TIMEOUT.as_millis() as u64 + 1_000);

/// If all cuts were such that both ends are told: two dials and their pace.
const TOLD_BOUND: Duration = ms(500);

/// More, if a flipped bit made a member look as of another cluster (`MISMATCH_BACK_OFF`).
const HELD_BACK: Duration = ms(10_000);

/// More, if a reader may have to find out that the rest of a frame will never come.
const SLOW_BOUND: Duration = ms(60_000);

/// What a burst left behind is written through the narrowest wire.
const BACKLOG_BOUND: Duration = ms(120_000);

/// Between the fresh messages and the verdict: they arrive, and a heartbeat comes behind them.
const SETTLE: Duration = ms(2_000);

const FRESH_MESSAGES: usize = 8;

impl World {
    /// The last fault is over. Connections with flipped bits are cut, most of the time: without a
    /// checksum a reader may rightly wait for the rest of a frame that will never come, for the
    /// 30 s of its slow window.
    pub(super) fn calm(&mut self) {
        note!(self, "calm");
        for conn in 0..self.conns.len() {
            for dir in [UP, DOWN] {
                self.conns[conn].pipes[dir].corrupt_next = false;
            }
            if self.conns[conn].transcript.is_tainted() && !self.plan.is_patient {
                self.reset(conn, "corrupted");
            }
        }
    }

    fn slots(&self) -> Vec<Slot> {
        let nodes = 0..self.plan.nodes;
        let pairs = nodes.clone().flat_map(|node| nodes.clone().map(move |peer| (node, peer)));
        let pairs = pairs.filter(|(node, peer)| node != peer);
        pairs.flat_map(|(node, peer)| StreamKind::ALL.map(|kind| Slot { node, peer, kind })).collect()
    }

    pub(super) fn look_for_healing(&mut self) {
        let down = self.slots().into_iter().find(|&slot| !self.is_up(slot));
        let Some(down) = down else {
            if self.slots().into_iter().any(|slot| !self.is_quiet(slot)) {
                return self.check_backlog();
            }
            note!(self, "healed");
            self.is_healed = true;
            for slot in self.slots().into_iter().filter(|slot| slot.kind == StreamKind::Message) {
                self.send(slot.node, slot.peer, FRESH_MESSAGES, true);
            }
            return self.at(self.now + SETTLE, Event::Judge);
        };
        let bound = self.heal_bound();
        if self.now > self.plan.calm_at + bound {
            self.fail(format!("{down} is still down {bound:?} after the last fault"));
        }
    }

    fn heal_bound(&self) -> Duration {
        let plan = &self.plan;
        if plan.half_open + plan.vanish + plan.corrupt + plan.pause == 0.0 && plan.ends == 0 {
            return TOLD_BOUND;
        }
        let held_back = if self.is_held_back { HELD_BACK } else { ms(0) };
        let slow = if self.plan.is_patient { SLOW_BOUND } else { ms(0) };
        HEAL_BOUND + held_back + slow
    }

    /// Nothing waits to be written.
    fn is_quiet(&mut self, slot: Slot) -> bool {
        let out = self.outgoing(slot);
        out.lane.is_empty() && out.machine.is_quiet()
    }

    fn check_backlog(&mut self) {
        if self.now > self.plan.calm_at + BACKLOG_BOUND {
            self.fail(format!("there is a backlog {BACKLOG_BOUND:?} after the last fault"));
        }
    }

    /// Both ends are on the same connection and nothing has happened to it, or nothing that keeps
    /// frames from coming: behind a flipped bit in a payload all is as before.
    fn is_up(&mut self, slot: Slot) -> bool {
        let Reading::Open { conn, reader, .. } = &self.incoming(slot).state else { return false };
        let (conn, received) = (*conn, reader.link_heartbeats());
        let writer = Slot { node: slot.peer, peer: slot.node, kind: slot.kind };
        let is_attached = self.outgoing(writer).conn == Some(conn);
        let is_calm = self.is_calm();
        let it = &mut self.conns[conn];
        if is_calm && it.is_read_up() {
            it.heartbeats_when_read_up.get_or_insert(received);
        }
        let is_harmless =
            it.excuse == Some("corrupted") && it.heartbeats_when_read_up.is_some_and(|then| received > then);
        is_attached && !it.ended && (it.excuse.is_none() || is_harmless)
    }

    pub(super) fn judge(&mut self) {
        self.is_judged = true;
        for slot in self.slots() {
            if let Err(what) = self.judge_stream(slot) {
                self.fail(format!("{slot}: {what}"));
            }
        }
        self.judge_messages();
        self.judge_memory();
    }

    fn judge_stream(&mut self, slot: Slot) -> Result<(), String> {
        if !self.is_up(slot) {
            return Err("down again without a fault".to_owned());
        }
        if self.peer(slot.node, slot.peer).status.active_since().is_none() {
            return Err("up and inactive".to_owned());
        }
        let Reading::Open { conn, reader, .. } = &self.incoming(slot).state else { unreachable!() };
        let (conn, received) = (*conn, reader.link_heartbeats());
        self.tally.heartbeats_received += received;
        let it = &self.conns[conn];
        if it.transcript.is_tainted() {
            return Ok(()); // it decodes frames again, and that is all
        }
        let in_flight = u64::from(self.now - it.heartbeat_at < self.plan.delay_max + ms(10));
        if !(it.heartbeats - in_flight.min(it.heartbeats)..=it.heartbeats).contains(&received) {
            return Err(format!("{received} of {} heartbeats came on conn {conn}", it.heartbeats));
        }
        let due =
            (self.now - it.attached_at).as_millis() / (super::node::HEARTBEAT_INTERVAL + ms(50)).as_millis();
        if u128::from(it.heartbeats + it.heartbeats_spared) < due {
            return Err(format!("{} heartbeats on conn {conn}, {due} were due", it.heartbeats));
        }
        Ok(())
    }

    /// I4: each message was delivered, or somebody was told, or the wire is known to have eaten it.
    fn judge_messages(&mut self) {
        let mut failure = None;
        for sent in &self.ledger.sent {
            self.tally.sent += 1;
            let blame = |what: &str| format!("{:?} from {} to {} {what}", sent.stamp, sent.from, sent.to);
            let is_judged =
                !matches!(sent.fate, Fate::Encoded(conn) if self.conns[conn].transcript.is_tainted());
            if sent.fresh && !sent.delivered && is_judged {
                failure = Some(blame(&format!("is fresh and did not arrive: {:?}", sent.fate)));
            }
            if sent.delivered {
                self.tally.reported_yet_delivered += u64::from(matches!(sent.fate, Fate::Reported(_)));
                continue;
            }
            match sent.fate {
                Fate::WithoutStream => self.tally.without_stream += 1,
                Fate::LaneFull => self.tally.lane_full += 1,
                Fate::LostInLane => self.tally.lost_in_lane += 1,
                Fate::Reported(_) => self.tally.reported_on_detach += 1,
                Fate::Encoded(conn) if self.conns[conn].transcript.is_tainted() => {
                    self.tally.lost_to_corruption += 1;
                }
                Fate::Encoded(conn) if self.conns[conn].excuse.is_some() => self.tally.lost_in_wire += 1,
                Fate::Encoded(_) => failure = Some(blame("was written to a sound connection and is gone")),
                Fate::Queued => failure = Some(blame("is stuck in its lane")),
            }
        }
        if let Some(what) = failure {
            return self.fail(what);
        }
        let t = &self.tally;
        let told = t.without_stream + t.lane_full + t.lost_in_lane + t.reported_on_detach;
        if t.sent != t.delivered + told + t.lost_in_wire + t.lost_to_corruption {
            self.fail(format!("the sum is wrong: {t}"));
        }
    }

    /// Every block goes home when nobody holds it any more.
    fn judge_memory(&mut self) {
        for node in 0..self.plan.nodes {
            self.nodes[node].peers.clear();
            let out = self.nodes[node].pool.stats().out;
            if out != [0; 3] {
                self.fail(format!("node {node}: blocks {out:?} did not come home"));
            }
        }
    }
}
