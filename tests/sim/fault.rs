//! When the wire lies, and how bytes get on it.

use rand::Rng;

use super::conn::{Conn, ConnId, DOWN, UP};
use super::plan::ms;
use super::world::{Event, World, note};

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Fault {
    /// Both ends see an error, what was on its way is gone.
    Rst,
    /// Somebody on the way hangs up on both: what was on its way arrives, then the end.
    Fin,
    /// From here on bytes vanish and nobody is told.
    HalfOpen,
    /// A bit of the next bytes flips. No checksum of plain HTTP will tell.
    Corrupt,
}

impl World {
    /// Decides what will happen to a new connection.
    pub(super) fn plan_faults(&mut self, conn: ConnId) {
        let plan = &self.plan;
        let chances = [
            (Fault::Rst, plan.rst),
            (Fault::Fin, plan.fin),
            (Fault::HalfOpen, plan.half_open),
            (Fault::Corrupt, plan.corrupt),
        ];
        for (fault, chance) in chances {
            if self.rng.random_bool(chance) {
                let after = ms([0, 5, 100, 1_000, 3_000][self.rng.random_range(0..5)]);
                let at = self.now + self.rng.random_range(ms(0)..=after);
                self.at(at, Event::Fault(conn, fault));
            }
        }
    }

    pub(super) fn inject(&mut self, conn: ConnId, fault: Fault) {
        if self.is_calm() || self.conns[conn].is_over() {
            return;
        }
        note!(self, "conn {conn}: {fault:?}");
        match fault {
            Fault::Rst => {
                self.tally.rsts += 1;
                self.reset(conn, "RST");
            }
            Fault::Fin => {
                self.tally.fins += 1;
                self.conns[conn].excuse("FIN");
                self.close(conn, UP);
                self.close(conn, DOWN);
            }
            Fault::HalfOpen => {
                self.tally.half_opens += 1;
                self.vanish(conn);
            }
            Fault::Corrupt => {
                let dir = if self.rng.random_bool(0.2) { UP } else { DOWN };
                self.conns[conn].pipes[dir].corrupt_next = true;
            }
        }
    }

    /// Connects are silent about it too.
    pub(super) fn vanish(&mut self, conn: ConnId) {
        self.conns[conn].excuse("half open");
        for pipe in &mut self.conns[conn].pipes {
            pipe.vanishes = true;
        }
    }

    pub(super) fn reset(&mut self, conn: ConnId, why: &'static str) {
        self.conns[conn].excuse(why);
        self.conns[conn].reset = true;
        self.at(self.now, Event::Arrive(conn, UP));
        self.at(self.now, Event::Arrive(conn, DOWN));
    }

    /// Nothing more is written to one direction; the other end learns it behind the last byte.
    pub(super) fn close(&mut self, conn: ConnId, dir: usize) {
        let pipe = &mut self.conns[conn].pipes[dir];
        pipe.close();
        let at = pipe.last_arrival().max(self.now) + ms(1);
        self.at(at, Event::Arrive(conn, dir));
    }

    /// Puts bytes on the wire: late, in pieces, perhaps with a bit flipped.
    pub(super) fn put(&mut self, conn: ConnId, dir: usize, mut bytes: Vec<u8>) {
        self.tally.bytes_on_wire += bytes.len() as u64;
        if self.conns[conn].pipes[dir].corrupt_next && !bytes.is_empty() && !self.is_calm() {
            self.corrupt(conn, dir, &mut bytes);
        }
        if bytes.len() > 1 && self.rng.random_bool(0.2) {
            let rest = bytes.split_off(self.rng.random_range(1..bytes.len()));
            self.put_segment(conn, dir, bytes);
            self.put_segment(conn, dir, rest);
        } else {
            self.put_segment(conn, dir, bytes);
        }
    }

    fn put_segment(&mut self, conn: ConnId, dir: usize, bytes: Vec<u8>) {
        let delay = self.rng.random_range(ms(0)..=self.plan.delay_max);
        self.tally.delayed_segments += u64::from(delay > ms(0));
        let at = self.conns[conn].pipes[dir].write(bytes, self.now + delay);
        self.at(at, Event::Arrive(conn, dir));
    }

    fn corrupt(&mut self, conn: ConnId, dir: usize, bytes: &mut [u8]) {
        // Lengths are where a flipped bit does most, and they stand in front.
        let most = if self.rng.random_bool(0.5) { bytes.len() } else { bytes.len().min(24) };
        let (at, bit) = (self.rng.random_range(0..most), self.rng.random_range(0..8));
        bytes[at] ^= 1 << bit;
        self.tally.corruptions += 1;
        let Conn { pipes, transcript, .. } = &mut self.conns[conn];
        pipes[dir].corrupt_next = false;
        // A request that was changed asks for anything.
        let offset = if dir == UP { 0 } else { pipes[dir].written() + at as u64 };
        transcript.taint(offset);
        let from = transcript.tainted_from;
        self.conns[conn].excuse("corrupted");
        note!(self, "conn {conn}: bit {bit} of byte {offset} flips, tainted from message {from:?}");
    }
}
