//! Stream writers: from a lane onto the wire.

use raftring::StreamKind;
use raftring::proto::status::{Action, Source};
use rand::Rng;

use super::conn::{Conn, ConnId, DOWN};
use super::ledger::Fate;
use super::node::{HEARTBEAT_INTERVAL, STALL_TIMEOUT, Slot};
use super::world::{Event, World, note};

impl World {
    /// Encodes what there is room for and hands the kernel the next chain.
    pub(super) fn pump(&mut self, slot: Slot) {
        let Some(conn) = self.outgoing(slot).conn else { return };
        let instant = self.instant();
        let out = &mut self.nodes[slot.node].peers[slot.peer].as_mut().expect("a peer").outgoing
            [slot.kind as usize];
        let it = &mut self.conns[conn];
        while out.machine.has_room() {
            let Some(id) = out.lane.pop_front() else {
                out.machine.lane_drained();
                break;
            };
            out.machine.push(&self.ledger.sent[id].message);
            self.ledger.sent[id].fate = Fate::Encoded(conn);
            it.transcript.encoded.push(id);
        }
        if out.chain.is_none()
            && let Some(chain) = out.machine.poll_transmit(instant)
        {
            let transcript = &mut it.transcript;
            transcript.chains.push((it.pipes[DOWN].written(), transcript.flushed));
            transcript.flushed = transcript.encoded.len();
            self.tally.app_entries_frames +=
                u64::from(chain_has_app_entries(&chain, slot.kind, it.is_http_1_0));
            out.chain = Some(chain);
            out.moved_at = self.now;
            out.heartbeat_waits = false;
        }
        if out.chain.is_none() && out.lane.is_empty() && out.machine.is_working() && !out.machine.is_quiet() {
            return self.fail(format!("conn {conn}: something was encoded and does not leave"));
        }
        if out.machine.is_finished() && out.chain.is_none() {
            return self.finished(slot, conn);
        }
        self.submit(slot, conn);
    }

    /// One write: the kernel takes what it has room for, or less, and says so later.
    fn submit(&mut self, slot: Slot, conn: ConnId) {
        let room = self.conns[conn].pipes[DOWN].room(self.plan.socket_bytes);
        let out = self.outgoing(slot);
        if out.is_writing || room == 0 {
            return; // a read at the other end makes room
        }
        let Some(chain) = &out.chain else { return };
        let mut bytes = Vec::with_capacity(chain.len());
        for slice in chain.slices() {
            bytes.extend_from_slice(slice);
        }
        out.is_writing = true;
        let mut count = bytes.len().min(room);
        if self.rng.random_bool(0.2) {
            count = count.min(self.rng.random_range(1..=self.plan.write_bytes_max.min(1 << 20)));
        }
        self.tally.short_writes += u64::from(count < bytes.len());
        bytes.truncate(count);
        self.put(conn, DOWN, bytes);
        let at = self.now + std::time::Duration::from_micros(self.rng.random_range(1..1_000));
        self.at(at, Event::Written(slot, conn, count));
    }

    /// A write came back.
    pub(super) fn written(&mut self, slot: Slot, conn: ConnId, count: usize) {
        let (instant, now) = (self.instant(), self.now);
        let out = self.outgoing(slot);
        if out.conn != Some(conn) {
            return; // of a connection that was detached
        }
        out.is_writing = false;
        out.moved_at = now;
        let chain = out.chain.as_mut().expect("was being written");
        chain.advance(count);
        if chain.is_empty() {
            out.chain = None;
            out.machine.handle_written();
            let transcript = &mut self.conns[conn].transcript;
            transcript.confirmed = transcript.flushed;
        } else {
            out.machine.handle_progress(instant);
        }
        self.pump(slot);
    }

    /// The receiver of `conn` has read.
    pub(super) fn wake_writer(&mut self, conn: ConnId) {
        let Conn { dialler, server, kind, .. } = self.conns[conn];
        let slot = Slot { node: server, peer: dialler, kind };
        if self.outgoing(slot).conn == Some(conn) {
            self.submit(slot, conn);
        }
    }

    pub(super) fn tick_writer(&mut self, slot: Slot) {
        let (instant, now) = (self.instant(), self.now);
        let out = &mut self.nodes[slot.node].peers[slot.peer].as_mut().expect("a peer").outgoing
            [slot.kind as usize];
        let expected = now >= out.heartbeat_at;
        let is_stalled = out.chain.is_some() && now >= out.moved_at + STALL_TIMEOUT;
        if instant < out.machine.poll_timeout() {
            if expected || is_stalled {
                self.fail(format!("{slot}: a heartbeat or the end is due and not announced"));
            }
            return;
        }
        let is_beating = expected && out.machine.is_working();
        if expected {
            out.heartbeat_at = now + HEARTBEAT_INTERVAL;
        }
        let result = out.machine.handle_timeout(instant);
        if let Some(conn) = out.conn
            && is_beating
        {
            let it = &mut self.conns[conn];
            if std::mem::replace(&mut out.heartbeat_waits, true) {
                it.heartbeats_spared += 1;
            } else {
                self.tally.heartbeats_sent += 1;
                it.heartbeats += 1;
                it.heartbeat_at = now;
            }
        }
        if result.is_err() != is_stalled {
            return self.fail(format!("{slot}: stalled is {is_stalled}, but {result:?}"));
        }
        if is_stalled {
            self.stalled(slot);
        }
        self.pump(slot);
    }

    fn stalled(&mut self, slot: Slot) {
        self.tally.stalls += 1;
        if let Some(conn) = self.outgoing(slot).conn
            && self.conns[conn].excuse.is_none()
        {
            self.fail(format!("conn {conn} stalled, but nothing had happened to it"));
        }
        self.writer_failed(slot, "a write made no progress in time");
    }

    pub(super) fn end_stream(&mut self, slot: Slot) {
        if let Some(conn) = self.outgoing(slot).conn {
            note!(self, "conn {conn}: ended on purpose");
            self.tally.ended_on_purpose += 1;
            self.outgoing(slot).machine.end();
            self.conns[conn].ended = true;
            self.pump(slot);
        }
    }

    /// The last byte of a body that was ended is written.
    fn finished(&mut self, slot: Slot, conn: ConnId) {
        if let Some(lost) = self.let_go(slot, "finished")
            && lost > 0
        {
            self.fail(format!("conn {conn}: {lost} messages lost though the end was written"));
        }
        self.end_service(conn, None);
    }

    pub(super) fn writer_failed(&mut self, slot: Slot, why: &'static str) {
        if self.outgoing(slot).conn.is_some() {
            self.detach(slot, why);
            let peer = self.peer(slot.node, slot.peer);
            let _ = peer.status.deactivate(Source::Stream(slot.kind), Action::Write);
        }
    }

    pub(super) fn detach(&mut self, slot: Slot, why: &'static str) {
        let Some(conn) = self.outgoing(slot).conn else { return };
        self.let_go(slot, why);
        self.end_service(conn, Some(why));
    }

    /// I4: what `detach` returns is what the simulator knows to be encoded and not written.
    fn let_go(&mut self, slot: Slot, why: &'static str) -> Option<usize> {
        let out = self.outgoing(slot);
        let conn = out.conn.take()?;
        let lost = out.machine.detach().total();
        out.chain = None;
        out.is_writing = false;
        out.heartbeat_waits = false;
        let lane = std::mem::take(&mut out.lane);
        note!(self, "conn {conn}: detached ({why}), {lost} lost in it and {} in its lane", lane.len());
        for id in lane {
            self.ledger.sent[id].fate = Fate::LostInLane;
        }
        let transcript = &self.conns[conn].transcript;
        let unconfirmed = &transcript.encoded[transcript.confirmed..];
        for &id in unconfirmed {
            self.ledger.sent[id].fate = Fate::Reported(conn);
        }
        if lost != unconfirmed.len() {
            let known = unconfirmed.len();
            self.fail(format!("conn {conn}: detach reports {lost} lost messages of {known}"));
        }
        Some(lost)
    }
}

/// Whether an AppEntries frame begins a chain: a glance at the mix of frames, nothing more.
fn chain_has_app_entries(chain: &raftring::buf::Chain, kind: StreamKind, is_http_1_0: bool) -> bool {
    let at = if is_http_1_0 { 0 } else { raftring::proto::http::CHUNK_HEADER_BYTES };
    let first = chain.slices().next().and_then(|slice| slice.get(at));
    kind == StreamKind::Msgapp && first == Some(&1)
}
