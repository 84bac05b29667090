//! Stream readers.

use raftring::buf::BLOCK_BYTES;
use raftring::proto::handshake::Established;
use raftring::proto::http::body::BodyDecoder;
use raftring::proto::status::{Action, Source};
use raftring::proto::stream::{ReadError, StreamReader, StreamReaderConfig};
use raftring::raftpb::Message;
use raftring::{Dialect, FrameLimits};
use rand::Rng;

use super::conn::{ConnId, DOWN};
use super::node::{READ_TIMEOUT, Reading, Slot, member};
use super::plan::ms;
use super::world::{Event, World, note};

impl World {
    /// A dial succeeded; `rest` came behind the answer's head.
    pub(super) fn open(&mut self, slot: Slot, conn: ConnId, established: Established, rest: &[u8]) {
        note!(self, "{slot}: conn {conn} is up, {:?}", established.framing);
        self.tally.streams += 1;
        let config = StreamReaderConfig {
            kind: slot.kind,
            local: member(slot.node),
            remote: member(slot.peer),
            limits: FrameLimits::default(),
            dialect: Dialect::default(),
            read_timeout: READ_TIMEOUT,
        };
        let (instant, pool) = (self.instant(), self.nodes[slot.node].pool.clone());
        let body = BodyDecoder::new(established.framing);
        let mut reader = Box::new(StreamReader::new(&config, body, rest, pool, instant));
        let _ = self.peer(slot.node, slot.peer).status.activate(instant);
        self.conns[conn].read_at = self.now;
        let mut out = Vec::new();
        let result = reader.decode(instant, &mut out);
        self.incoming(slot).state = Reading::Open { conn, reader, lent: None };
        self.after_read(slot, conn, out, result);
        self.read_stream(slot, conn);
    }

    pub(super) fn read_stream(&mut self, slot: Slot, conn: ConnId) {
        while self.failure.is_none() && self.reads(slot, conn) {
            let it = &self.conns[conn];
            if it.reset {
                return self.reader_ended(slot, conn, ReadError::UnexpectedEof);
            }
            if it.paused_until > self.now {
                return;
            }
            let is_at_end = it.pipes[DOWN].is_at_end();
            let available = it.pipes[DOWN].unread();
            if available == 0 && !is_at_end {
                break;
            }
            if !self.is_calm() && self.rng.random_bool(self.plan.pause) {
                self.pause_reader(conn);
                return;
            }
            self.read_once(slot, conn);
        }
        self.wake_writer(conn);
    }

    fn reads(&mut self, slot: Slot, conn: ConnId) -> bool {
        matches!(&self.incoming(slot).state, Reading::Open { conn: current, .. } if *current == conn)
    }

    /// The receiving host is busy; its kernel's buffer fills, then the sender's.
    fn pause_reader(&mut self, conn: ConnId) {
        self.tally.reader_pauses += 1;
        let until = self.now + self.rng.random_range(ms(1)..ms(1_500));
        self.conns[conn].paused_until = until;
        self.at(until, Event::Arrive(conn, DOWN));
    }

    fn read_once(&mut self, slot: Slot, conn: ConnId) {
        let most = if self.rng.random_bool(0.2) {
            self.rng.random_range(1..=self.plan.read_bytes_max.min(1 << 20))
        } else {
            usize::MAX
        };
        let instant = self.instant();
        let Reading::Open { reader, lent, .. } =
            &mut self.nodes[slot.node].peers[slot.peer].as_mut().expect("a peer").incoming
                [slot.kind as usize]
                .state
        else {
            return;
        };
        let (mut block, range) = lent.take().expect("lent between reads");
        let pipe = &mut self.conns[conn].pipes[DOWN];
        let bytes = pipe.take(most.min(range.len()));
        block[range.start..range.start + bytes.len()].copy_from_slice(bytes);
        let count = bytes.len();
        self.conns[conn].read_at = self.now;
        self.tally.split_reads += u64::from(count == most);
        let mut out = Vec::new();
        let result = reader.handle_read(instant, block, count, &mut out);
        self.after_read(slot, conn, out, result);
    }

    /// Delivers, and lends the buffer to the kernel again.
    fn after_read(&mut self, slot: Slot, conn: ConnId, out: Vec<Message>, result: Result<(), ReadError>) {
        for message in out {
            self.deliver(slot, conn, &message);
        }
        if let Err(error) = result {
            return self.reader_ended(slot, conn, error);
        }
        let arrived = self.conns[conn].pipes[DOWN].written() as usize;
        let Reading::Open { reader, lent, .. } = &mut self.incoming(slot).state else { return };
        let (block, range) = reader.lend();
        let bytes = block.len();
        let is_empty = range.is_empty();
        *lent = Some((block, range));
        // Whatever lengths the bytes declare, flipped bits among them.
        if bytes > BLOCK_BYTES[2].max(2 * arrived + BLOCK_BYTES[1]) {
            self.fail(format!("conn {conn}: a buffer of {bytes} bytes after {arrived} arrived"));
        } else if is_empty {
            self.fail(format!("conn {conn}: nothing to read into"));
        }
    }

    pub(super) fn tick_reader(&mut self, slot: Slot) {
        let instant = self.instant();
        let Reading::Open { conn, reader, .. } = &mut self.incoming(slot).state else { return };
        let conn = *conn;
        // A deadline that is announced too late is missed by this.
        let result = if instant < reader.poll_timeout() { Ok(()) } else { reader.handle_timeout(instant) };
        let is_silent = self.now >= self.conns[conn].read_at + READ_TIMEOUT;
        if is_silent != (result == Err(ReadError::Silent)) {
            return self.fail(format!("conn {conn}: silent is {is_silent}, but {result:?}"));
        }
        if let Err(error) = result {
            self.reader_ended(slot, conn, error);
        }
    }

    fn reader_ended(&mut self, slot: Slot, conn: ConnId, error: ReadError) {
        note!(self, "{slot}: conn {conn} ended: {error}");
        let heartbeats = match &self.incoming(slot).state {
            Reading::Open { reader, .. } => reader.link_heartbeats(),
            _ => 0,
        };
        self.tally.heartbeats_received += heartbeats;
        *match error {
            ReadError::Eof => &mut self.tally.clean_eofs,
            ReadError::UnexpectedEof => &mut self.tally.unexpected_eofs,
            ReadError::Silent => &mut self.tally.silences,
            ReadError::TooSlow => &mut self.tally.too_slow,
            _ => &mut self.tally.broken_frames,
        } += 1;
        if let Err(what) = self.conns[conn].may_end_with(&error) {
            self.fail(format!("conn {conn} ended with \"{error}\", but {what}"));
        }
        if error != ReadError::Eof {
            let peer = self.peer(slot.node, slot.peer);
            let _ = peer.status.deactivate(Source::Stream(slot.kind), Action::Read);
        }
        self.hang_up(conn, "the reader hung up");
        self.dial_again(slot);
    }
}
