//! The stream reader: from bytes as they come off a socket to whole messages.
//!
//! ```text
//!   read -> undo the framing in place -> is a whole unit there? -> no:  read on
//!                                                               -> yes: make the bytes stable,
//!                                                                       decode all whole units
//! ```

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::inbox::{Inbox, Stable};
use crate::buf::{Block, Pool};
use crate::id::MemberId;
use crate::proto::codec::{DecodeError, Decoder, Dialect, FrameLimits, StreamKind};
use crate::proto::http::body::{BodyDecoder, BodyError, BodyState};
use crate::raftpb::Message;

/// Inside a frame a sender must move at least this much per [`SLOW_WINDOW`]: 1 KiB/s, so that a
/// 64 kbit/s link passes and one byte every four seconds does not.
const SLOW_WINDOW_BYTES_MIN: u64 = 30 << 10;

/// The window over which that is measured.
const SLOW_WINDOW: Duration = Duration::from_secs(30);

/// Stream bytes decoded in one step: some 160 messages of one small entry, whose structures fill
/// three quarters of a first cache of 48 KiB.
pub const STEP_BYTES: usize = 16 << 10;

/// Whether [`StreamReader::decode_step`] is to be called again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// There may be more whole units.
    More,
    /// Read on.
    Done,
}

/// What a stream reader needs to know for one connection.
#[derive(Clone, Debug)]
pub struct StreamReaderConfig {
    /// Which of the two streams.
    pub kind: StreamKind,
    /// Our own id.
    pub local: MemberId,
    /// The member at the other end.
    pub remote: MemberId,
    /// Bounds of frames.
    pub limits: FrameLimits,
    /// Whose sizes are counted where a frame leaves things out.
    pub dialect: Dialect,
    /// Silence of this length ends the stream (5 s; etcd 3.5 and later forgot it).
    pub read_timeout: Duration,
}

/// Why a stream ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ReadError {
    /// The body ended where a frame ended: the sender closed on purpose.
    Eof,
    /// The connection ended inside a frame or before the last chunk.
    UnexpectedEof,
    /// The connection broke; said by the loop that reads it.
    Connection(std::io::ErrorKind),
    /// The chunked framing is broken.
    Body(BodyError),
    /// A frame is broken or too large.
    Frame(DecodeError),
    /// Nothing came for the read timeout.
    Silent,
    /// Bytes came, but too few to ever finish.
    TooSlow,
    /// The process holds as many partial frames as it may.
    NoRoom,
}

/// One connection's stream reader.
#[derive(Debug)]
pub struct StreamReader {
    body: BodyDecoder,
    decoder: Decoder,
    inbox: Inbox,
    /// The body being decoded, and how far.
    stable: Option<(Stable, usize)>,
    /// How the body stands behind what is being decoded.
    body_state: Result<BodyState, BodyError>,
    read_timeout: Duration,
    silent_at: Instant,
    slow: SlowWindow,
    /// Since when it is not read on purpose: that is no silence of the sender's.
    held_at: Option<Instant>,
    link_heartbeats: u64,
    received: Received,
}

/// Protobuf bytes that were received, as rafthttp counts them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Received {
    /// Of messages.
    pub message_bytes: u64,
    /// Of link heartbeats.
    pub link_heartbeat_bytes: u64,
}

/// Bytes that came since `since`, which is when the frame that is incomplete began or when the window
/// before was full.
#[derive(Debug)]
struct SlowWindow {
    since: Instant,
    bytes: u64,
}

impl StreamReader {
    /// A reader for a connection whose response head was read; `rest` is what came behind it, and
    /// [`StreamReader::decode_step`] is due at once.
    #[must_use]
    pub fn new(
        config: &StreamReaderConfig,
        body: BodyDecoder,
        rest: &[u8],
        pool: Pool,
        now: Instant,
    ) -> Self {
        Self {
            body,
            decoder: Decoder::new(config.kind, config.local, config.remote, config.limits)
                .sized_as(config.dialect),
            inbox: Inbox::new(pool, rest),
            stable: None,
            body_state: Ok(BodyState::Open),
            read_timeout: config.read_timeout,
            silent_at: now + config.read_timeout,
            slow: SlowWindow { since: now, bytes: 0 },
            held_at: None,
            link_heartbeats: 0,
            received: Received::default(),
        }
    }

    /// Lends the buffer to the kernel, with the range to read into (never empty).
    /// [`StreamReader::handle_read`] brings it back.
    ///
    /// # Panics
    /// If it is lent already.
    pub fn lend(&mut self) -> (Block, Range<usize>) {
        self.inbox.lend()
    }

    /// A read of `count` bytes came back; 0 is the end of the connection. Appends every whole
    /// message to `out`; after an error those before it are there too.
    ///
    /// # Errors
    /// Whatever ends the stream.
    pub fn handle_read(
        &mut self,
        now: Instant,
        block: Block,
        count: usize,
        out: &mut Vec<Message>,
    ) -> Result<(), ReadError> {
        self.begin_read(now, block, count)?;
        self.decode(now, out)
    }

    /// The first half of [`StreamReader::handle_read`]: the bytes are taken, and
    /// [`StreamReader::decode_step`] is due.
    ///
    /// # Errors
    /// The end of the connection.
    pub fn begin_read(&mut self, now: Instant, block: Block, count: usize) -> Result<(), ReadError> {
        let begins_frame = !self.is_inside_frame();
        self.inbox.restore(block, count);
        if count == 0 {
            return Err(self.end_of_stream());
        }
        self.silent_at = now + self.read_timeout;
        if begins_frame {
            self.slow = SlowWindow { since: now, bytes: 0 };
        }
        self.slow.bytes += count as u64;
        Ok(())
    }

    /// Decodes what is there, as after a read.
    ///
    /// # Errors
    /// Whatever ends the stream.
    pub fn decode(&mut self, now: Instant, out: &mut Vec<Message>) -> Result<(), ReadError> {
        while self.decode_step(now, out)? == Step::More {}
        Ok(())
    }

    /// Decodes the next [`STEP_BYTES`] or so of what is there. The messages of one step are handed
    /// over before the next is decoded, while they are still in the first cache.
    ///
    /// # Errors
    /// Whatever ends the stream; messages in front of it are in `out`.
    pub fn decode_step(&mut self, now: Instant, out: &mut Vec<Message>) -> Result<Step, ReadError> {
        if self.stable.is_none() {
            let (block, marks) = self.inbox.parts();
            self.body_state = self.body.advance(block, marks);
            if self.has_unit()? {
                self.stable = Some((self.inbox.stabilise(), 0));
            }
        }
        if self.decode_stable(now, out)? {
            return Ok(Step::More);
        }
        // Frames in front of a broken chunk were whole and valid: they are delivered all the same.
        let body_state = std::mem::replace(&mut self.body_state, Ok(BodyState::Open));
        if body_state.map_err(ReadError::Body)? == BodyState::Ended {
            return Err(self.end_of_stream());
        }
        let need = self.decoder.next_unit(self.inbox.body()).map_err(ReadError::Frame)?;
        self.inbox.make_room(need).map_err(|_| ReadError::NoRoom)?;
        Ok(Step::Done)
    }

    fn has_unit(&self) -> Result<bool, ReadError> {
        let body = self.inbox.body();
        Ok(!body.is_empty() && self.decoder.next_unit(body).map_err(ReadError::Frame)? <= body.len())
    }

    /// One step through the stable body; false when no whole unit is left in it.
    fn decode_stable(&mut self, now: Instant, out: &mut Vec<Message>) -> Result<bool, ReadError> {
        let Some((stable, at)) = &mut self.stable else { return Ok(false) };
        let rest = &stable.body[*at..];
        let need = self.decoder.next_unit(rest).map_err(ReadError::Frame)?;
        if need <= rest.len() {
            let step = stable.body.slice(*at..stable.body.len().min(*at + need.max(STEP_BYTES)));
            let before = out.len();
            let decoded = self.decoder.decode(&step, out).map_err(ReadError::Frame)?;
            *at += decoded.consumed;
            self.link_heartbeats += decoded.link_heartbeats as u64;
            self.received.message_bytes += (decoded.message_bytes - decoded.link_heartbeat_bytes) as u64;
            self.received.link_heartbeat_bytes += decoded.link_heartbeat_bytes as u64;
            // A frame was completed, and the window of the next begins. A unit is not enough for
            // that: AppEntries frames are made of as many as their sender likes.
            if out.len() > before || decoded.link_heartbeats > 0 {
                self.slow = SlowWindow { since: now, bytes: 0 };
            }
            return Ok(true);
        }
        if let Some((stable, consumed)) = self.stable.take() {
            self.inbox.consume(stable, consumed);
        }
        Ok(false)
    }

    fn is_inside_frame(&self) -> bool {
        !self.inbox.is_empty() || self.decoder.is_inside_frame()
    }

    /// EOF at a field boundary is a clean end, as in rafthttp; a chunked body must have ended too.
    fn end_of_stream(&self) -> ReadError {
        if self.body.handle_eof().is_ok() && self.decoder.ends_cleanly(self.inbox.body()) {
            ReadError::Eof
        } else {
            ReadError::UnexpectedEof
        }
    }

    /// Nothing is read from now on until [`StreamReader::resume`]: the deadlines stand still.
    pub fn hold(&mut self, now: Instant) {
        self.held_at.get_or_insert(now);
    }

    /// It is read again. What came meanwhile is found by the next read.
    pub fn resume(&mut self, now: Instant) {
        if let Some(since) = self.held_at.take() {
            let held = now.saturating_duration_since(since);
            self.silent_at += held;
            self.slow.since += held;
        }
    }

    /// The next moment at which [`StreamReader::handle_timeout`] has something to do; while the
    /// stream is held there is none before it is resumed.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.silent_at.min(self.slow.since + SLOW_WINDOW)
    }

    /// Looks at the clock.
    ///
    /// # Errors
    /// [`ReadError::Silent`] or [`ReadError::TooSlow`]: the caller closes.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ReadError> {
        if self.held_at.is_some() {
            return Ok(());
        }
        if now >= self.silent_at {
            return Err(ReadError::Silent);
        }
        if now >= self.slow.since + SLOW_WINDOW {
            if self.is_inside_frame() && self.slow.bytes < SLOW_WINDOW_BYTES_MIN {
                return Err(ReadError::TooSlow);
            }
            self.slow = SlowWindow { since: now, bytes: 0 };
        }
        Ok(())
    }

    /// Bytes that were decoded since the last time. Those in front of an error are not told, for the
    /// caller has the messages.
    pub const fn take_received(&mut self) -> Received {
        std::mem::replace(&mut self.received, Received { message_bytes: 0, link_heartbeat_bytes: 0 })
    }

    /// Link heartbeats received on this connection.
    #[must_use]
    pub const fn link_heartbeats(&self) -> u64 {
        self.link_heartbeats
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eof => f.write_str("EOF"),
            Self::UnexpectedEof => f.write_str("unexpected EOF"),
            Self::Connection(kind) => kind.fmt(f),
            Self::Body(error) => error.fmt(f),
            Self::Frame(error) => error.fmt(f),
            Self::Silent => f.write_str("nothing came within the read timeout"),
            Self::TooSlow => f.write_str("a frame came in at less than 1 KiB/s"),
            Self::NoRoom => f.write_str("no room for another large frame now"),
        }
    }
}

impl std::error::Error for ReadError {}

#[cfg(test)]
mod tests;
