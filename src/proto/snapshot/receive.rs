//! The receiving side: the message in front, then the database in pieces (protocol section 11.3).

use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{ENVELOPE_BYTES_MAX, PIECE_BYTES_MIN, Stall};
use crate::buf::{Block, Pool};
use crate::id::MemberId;
use crate::proto::codec::{FrameLimits, decode_bare_message};
use crate::proto::handshake::Refusal;
use crate::proto::http::body::{BodyDecoder, BodyError, BodyState};
use crate::proto::http::head::Framing;
use crate::proto::stream::Inbox;
use crate::raftpb::{Message, MessageType};

/// The length before the message.
const LENGTH_BYTES: usize = 8;

/// Go's words for a body that ends where none of the awaited bytes came, and in their midst.
const EOF: &str = "EOF";
const UNEXPECTED_EOF: &str = "unexpected EOF";

/// Reads the body of one `POST /raft/snapshot`. Memory follows what arrives, and of the database it
/// holds a piece.
#[derive(Debug)]
pub struct SnapshotReceiver {
    body: BodyDecoder,
    inbox: Inbox,
    stall: Stall,
    stage: Stage,
    /// The connection ended.
    cut: bool,
    bytes_max: u64,
    /// Bytes of the database that were handed on.
    bytes: u64,
    from: MemberId,
    message_bytes: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Envelope,
    Database,
}

/// What there is.
#[derive(Debug)]
pub enum SnapshotStep {
    /// More has to be read.
    NeedsMore,
    /// The message, a MsgSnap, which comes first and once.
    Message {
        /// The message.
        message: Box<Message>,
        /// Its protobuf size, which is what rafthttp counts.
        bytes: usize,
    },
    /// The next bytes of the database.
    Piece(Bytes),
    /// The body was ended: the database is whole, as far as anybody can tell.
    End,
}

impl SnapshotReceiver {
    /// The body behind a request head; `rest` is what came with the head. A database of more than
    /// `bytes_max` is refused, and one that moves nothing for `stall_timeout` (see [`Stall`]) is to be
    /// cut at [`SnapshotReceiver::deadline`].
    #[must_use]
    pub fn new(
        framing: Framing,
        rest: &[u8],
        bytes_max: u64,
        stall_timeout: Duration,
        pool: Pool,
        now: Instant,
    ) -> Self {
        Self {
            body: BodyDecoder::new(framing),
            inbox: Inbox::new(pool, rest),
            stall: Stall::new(stall_timeout, now),
            stage: Stage::Envelope,
            cut: false,
            bytes_max,
            bytes: 0,
            from: MemberId(0),
            message_bytes: 0,
        }
    }

    /// Looks at what is there.
    ///
    /// # Errors
    /// Rows 4, 6 and 8 of protocol section 11.3 as far as the body is at fault; too large; no memory.
    pub fn poll(&mut self) -> Result<SnapshotStep, Refusal> {
        let (block, marks) = self.inbox.parts();
        let state = self.body.advance(block, marks);
        match self.stage {
            Stage::Envelope => self.poll_envelope(state),
            Stage::Database => self.poll_database(state),
        }
    }

    fn poll_envelope(&mut self, state: Result<BodyState, BodyError>) -> Result<SnapshotStep, Refusal> {
        let wrong = |why: String| Err(Refusal::SnapshotMessage(why));
        let body = self.inbox.body();
        let length = body.first_chunk::<LENGTH_BYTES>().map(|bytes| u64::from_be_bytes(*bytes));
        if length.is_some_and(|length| length > ENVELOPE_BYTES_MAX as u64) {
            return wrong("rafthttp: error limit exceeded".to_owned());
        }
        let unit = LENGTH_BYTES + length.unwrap_or(0) as usize;
        let held = body.len();
        if length.is_some() && held >= unit {
            return self.take_envelope(unit);
        }
        match state {
            Err(error) => wrong(error.to_string()),
            Ok(BodyState::Ended) if held == 0 || held == LENGTH_BYTES => wrong(EOF.to_owned()),
            Ok(BodyState::Ended) => wrong(UNEXPECTED_EOF.to_owned()),
            Ok(BodyState::Open) if self.cut => wrong(UNEXPECTED_EOF.to_owned()),
            Ok(BodyState::Open) => self.need(unit),
        }
    }

    fn take_envelope(&mut self, unit: usize) -> Result<SnapshotStep, Refusal> {
        let stable = self.inbox.stabilise();
        let envelope = stable.body.slice(LENGTH_BYTES..unit);
        self.inbox.consume(stable, unit);
        self.stage = Stage::Database;
        let limits = FrameLimits { frame_bytes_max: ENVELOPE_BYTES_MAX, ..FrameLimits::default() };
        let message = decode_bare_message(&envelope, &limits)
            .map_err(|error| Refusal::SnapshotMessage(error.to_string()))?;
        self.from = MemberId(message.from());
        self.message_bytes = envelope.len();
        if !message.is(MessageType::MsgSnap) {
            return Err(Refusal::SnapshotType);
        }
        Ok(SnapshotStep::Message { message: Box::new(message), bytes: envelope.len() })
    }

    /// What came before a fault is handed on first: a transfer that is resumed need not bring it again.
    fn poll_database(&mut self, state: Result<BodyState, BodyError>) -> Result<SnapshotStep, Refusal> {
        let held = self.inbox.body().len();
        let is_last = self.cut || state != Ok(BodyState::Open);
        if held >= PIECE_BYTES_MIN || (is_last && held > 0) {
            if self.bytes + held as u64 > self.bytes_max {
                return Err(Refusal::SnapshotTooLarge);
            }
            self.bytes += held as u64;
            let stable = self.inbox.stabilise();
            let piece = stable.body.clone();
            self.inbox.consume(stable, held);
            return Ok(SnapshotStep::Piece(piece));
        }
        match state {
            Err(error) => Err(Refusal::SnapshotSave(error.to_string())),
            Ok(BodyState::Ended) => Ok(SnapshotStep::End),
            Ok(BodyState::Open) if self.cut => Err(Refusal::SnapshotSave(UNEXPECTED_EOF.to_owned())),
            Ok(BodyState::Open) => self.need(PIECE_BYTES_MIN),
        }
    }

    fn need(&mut self, unit: usize) -> Result<SnapshotStep, Refusal> {
        self.inbox.make_room(unit).map_err(|_| Refusal::Busy)?;
        Ok(SnapshotStep::NeedsMore)
    }

    /// Lends the buffer to the kernel, with the range to read into.
    pub fn lend(&mut self) -> (Block, Range<usize>) {
        self.inbox.lend()
    }

    /// A read came back; 0 is the end of the connection.
    pub fn handle_read(&mut self, block: Block, count: usize, now: Instant) {
        self.cut |= count == 0;
        self.inbox.restore(block, count);
        self.stall.handle_bytes(count, now);
    }

    /// The time until `now` was not the sender's fault: the file was not written as fast.
    pub const fn handle_own_wait(&mut self, now: Instant) {
        self.stall.restart(now);
    }

    /// When the connection is given up.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.stall.deadline()
    }

    /// Who sent the message, 0 while that is not known.
    #[must_use]
    pub const fn from(&self) -> MemberId {
        self.from
    }

    /// The protobuf size of the message, whatever its type; 0 while there is none.
    #[must_use]
    pub const fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    /// Bytes of the database that were handed on.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// True if the connection ended: the sender may come again.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::codec::{Dialect, VecSink, encode_message};
    use crate::raftpb::{Snapshot, SnapshotMetadata};

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn message() -> Message {
        let metadata = SnapshotMetadata { index: Some(10), term: Some(3), ..SnapshotMetadata::default() };
        let snapshot = Snapshot { data: Some(Bytes::from_static(b"V2")), metadata: Some(metadata) };
        Message {
            r#type: Some(MessageType::MsgSnap as i32),
            from: Some(1),
            to: Some(2),
            term: Some(3),
            snapshot: Some(Box::new(snapshot)),
            ..Message::default()
        }
    }

    fn envelope(message: &Message) -> Vec<u8> {
        let mut sink = VecSink::default();
        encode_message(message, Dialect::V3_4, &mut sink);
        sink.bytes
    }

    /// What became of a body that came in pieces of `step` bytes, then the connection's end.
    #[derive(Debug, PartialEq)]
    struct Got {
        message: Option<Message>,
        database: Vec<u8>,
        result: Result<(), Refusal>,
    }

    fn receive(framing: Framing, wire: &[u8], step: usize, bytes_max: u64) -> Got {
        let now = Instant::now();
        let mut receiver = SnapshotReceiver::new(framing, b"", bytes_max, TIMEOUT, Pool::new(), now);
        let mut got = Got { message: None, database: Vec::new(), result: Ok(()) };
        let mut wire = wire;
        loop {
            match receiver.poll() {
                Ok(SnapshotStep::NeedsMore) => {}
                Ok(SnapshotStep::Message { message, bytes }) => {
                    assert_eq!(got.message.replace(*message), None, "once");
                    assert!(bytes > 0);
                    continue;
                }
                Ok(SnapshotStep::Piece(piece)) => {
                    assert!(!piece.is_empty());
                    got.database.extend_from_slice(&piece);
                    continue;
                }
                Ok(SnapshotStep::End) => return got,
                Err(refusal) => {
                    got.result = Err(refusal);
                    return got;
                }
            }
            let (mut block, range) = receiver.lend();
            let count = step.min(range.len()).min(wire.len());
            block[range.start..range.start + count].copy_from_slice(&wire[..count]);
            wire = &wire[count..];
            receiver.handle_read(block, count, now);
        }
    }

    fn chunked(payload: &[u8], chunk: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        for piece in payload.chunks(chunk) {
            wire.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            wire.extend_from_slice(piece);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        wire
    }

    fn refused(framing: Framing, wire: &[u8]) -> String {
        let refusal = receive(framing, wire, 1 << 20, u64::MAX).result.expect_err("refused");
        format!("{} {}", refusal.status(), refusal.text())
    }

    #[test]
    fn the_example_of_the_protocol_is_read_however_it_is_split() {
        let mut payload = vec![0, 0, 0, 0, 0, 0, 0, 0x26];
        let hex = "08071002180120032800300040004a120a025632120c0a06080108022800100a180350005800";
        payload.extend(
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex")),
        );
        let split = payload.len();
        payload.extend_from_slice(b"DBDATA");
        let mut wire = format!("{split:x}\r\n").into_bytes();
        wire.extend_from_slice(&payload[..split]);
        wire.extend_from_slice(b"\r\n6\r\nDBDATA\r\n0\r\n\r\n");
        for step in [1, 2, 7, 50, 1 << 20] {
            let got = receive(Framing::Chunked, &wire, step, u64::MAX);
            assert_eq!((got.database.as_slice(), &got.result), (&b"DBDATA"[..], &Ok(())));
            let snapshot = got.message.expect("a message").snapshot.expect("a snapshot");
            assert_eq!(snapshot.metadata.expect("metadata").index(), 10);
        }
    }

    #[test]
    fn a_large_database_comes_in_large_pieces_and_whole() {
        let database: Vec<u8> = (0..3_000_000_u32).map(|n| ((n * 31) >> 3) as u8).collect();
        let payload = [envelope(&message()), database.clone()].concat();
        for (chunk, step) in [(32 << 10, 1 << 20), (1 << 20, 100_000), (1000, 4096)] {
            let got = receive(Framing::Chunked, &chunked(&payload, chunk), step, u64::MAX);
            assert!(got.database == database && got.result == Ok(()), "{chunk} {step}");
        }
        let got = receive(Framing::Length(payload.len() as u64), &payload, 1 << 20, u64::MAX);
        assert!(got.database == database && got.result == Ok(()));
        let got = receive(Framing::Length(payload.len() as u64), &payload, 1 << 20, 2_999_999);
        assert_eq!(got.result, Err(Refusal::SnapshotTooLarge));
        assert!(got.database.len() < 3_000_000);
    }

    /// Row 4 of protocol section 11.3, with the texts of Go.
    #[test]
    fn a_message_that_is_not_whole_or_none_is_refused_in_gos_words() {
        let prefix = "400 failed to decode raft message";
        assert_eq!(refused(Framing::None, b""), format!("{prefix} (EOF)"));
        assert_eq!(refused(Framing::Chunked, &chunked(b"", 1)), format!("{prefix} (EOF)"));
        assert_eq!(refused(Framing::Length(3), &[0; 3]), format!("{prefix} (unexpected EOF)"));
        assert_eq!(refused(Framing::Length(8), &[0, 0, 0, 0, 0, 0, 0, 1]), format!("{prefix} (EOF)"));
        assert_eq!(
            refused(Framing::Length(9), &[0, 0, 0, 0, 0, 0, 0, 2, 8]),
            format!("{prefix} (unexpected EOF)")
        );
        assert_eq!(refused(Framing::Length(9), &[0; 7]), format!("{prefix} (unexpected EOF)"), "a cut");
        let limit = format!("{prefix} (rafthttp: error limit exceeded)");
        assert_eq!(refused(Framing::Chunked, &chunked(&[0xff; 8], 8)), limit);
        assert_eq!(refused(Framing::Chunked, &chunked(&[0, 0, 0, 0, 4, 0, 0, 1], 8)), limit);
        assert!(refused(Framing::Length(9), &[0, 0, 0, 0, 0, 0, 0, 1, 0xff]).starts_with(prefix));
        assert!(refused(Framing::Chunked, b"zz\r\n").starts_with(prefix));
    }

    /// Row 6; sharp edge 11: a MsgSnap without a snapshot is a message like any other here.
    #[test]
    fn only_a_snapshot_is_a_snapshot() {
        let heartbeat = Message::link_heartbeat();
        assert_eq!(
            refused(Framing::Chunked, &chunked(&envelope(&heartbeat), 99)),
            "400 wrong raft message type"
        );
        assert_eq!(refused(Framing::Length(8), &[0; 8]), "400 wrong raft message type");
        let bare = Message { snapshot: None, ..message() };
        let got = receive(Framing::Chunked, &chunked(&envelope(&bare), 99), 5, u64::MAX);
        assert!(got.message.is_some() && got.database.is_empty() && got.result == Ok(()));
    }

    /// Row 8, as far as the wire is at fault: nothing but the end of the body is the end.
    #[test]
    fn a_database_that_is_cut_at_any_point_is_not_whole() {
        let payload = [envelope(&message()), b"DATABASE".to_vec()].concat();
        let wire = chunked(&payload, 9);
        for end in 0..wire.len() {
            let got = receive(Framing::Chunked, &wire[..end], 13, u64::MAX);
            let refusal = got.result.expect_err("not whole");
            assert!(refusal.text().contains(UNEXPECTED_EOF), "{end}: {}", refusal.text());
            assert_eq!(refusal.status(), if got.message.is_some() { 500 } else { 400 });
            assert!(b"DATABASE".starts_with(&got.database), "what came is handed on");
        }
        let got =
            receive(Framing::Chunked, &[&wire[..wire.len() - 3], b"X-A: b\r\n\r\n"].concat(), 99, u64::MAX);
        assert!(matches!(got.result, Err(Refusal::SnapshotSave(_))), "{:?}", got.result);
    }

    #[test]
    fn memory_follows_what_arrived_and_not_what_was_declared() {
        let now = Instant::now();
        let pool = Pool::new();
        let mut receiver =
            SnapshotReceiver::new(Framing::Length(1 << 30), b"", u64::MAX, TIMEOUT, pool.clone(), now);
        let declared = [0, 0, 0, 0, 4, 0, 0, 0];
        assert!(matches!(receiver.poll(), Ok(SnapshotStep::NeedsMore)));
        let (mut block, range) = receiver.lend();
        block[range.start..range.start + 8].copy_from_slice(&declared);
        receiver.handle_read(block, 8, now);
        assert!(matches!(receiver.poll(), Ok(SnapshotStep::NeedsMore)));
        assert_eq!(pool.stats().out_bytes(), 4 << 10);
        assert_eq!(receiver.deadline(), now + TIMEOUT);
    }
}
