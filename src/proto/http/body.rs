//! Body framing, undone in place.

use std::fmt;

use super::chunk::{CHUNK_DIGITS_MAX, CHUNK_EXCESS_MAX, CHUNK_LEN_MAX, CHUNK_TRAILER, chunk_allowance};
use super::head::Framing;

/// Marks over one receive buffer, `start <= end <= raw <= filled <= buffer.len()`:
///
/// ```text
///   0        start        end       raw        filled       len
///   | consumed |   body    |   gap   |    raw    |   free    |
///              complete payload      bytes as they came,
///              bytes, not yet        not yet parsed
///              decoded
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Marks {
    /// First payload byte that the codec has not consumed.
    pub start: usize,
    /// End of the contiguous payload.
    pub end: usize,
    /// First byte that the body decoder has not looked at.
    pub raw: usize,
    /// End of what was read.
    pub filled: usize,
}

impl Marks {
    /// Marks over a buffer of which `filled` bytes were read and the first `head` are a head.
    #[must_use]
    pub const fn after_head(head: usize, filled: usize) -> Self {
        Self { start: head, end: head, raw: head, filled }
    }

    /// True if the order of the marks holds in a buffer of `len` bytes.
    #[must_use]
    pub const fn are_sound(&self, len: usize) -> bool {
        self.start <= self.end && self.end <= self.raw && self.raw <= self.filled && self.filled <= len
    }
}

/// Whether a body goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyState {
    /// More payload may come.
    Open,
    /// The body is complete. Bytes from `raw` on are not part of it.
    Ended,
}

/// Framing that is wrong: the connection can only be closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BodyError {
    /// The line before a chunk is not a number and CRLF.
    ChunkLine,
    /// The line before a chunk goes on after the number.
    ChunkExtension,
    /// A chunk's length has more than 16 digits or exceeds [`CHUNK_LEN_MAX`].
    ChunkTooLong,
    /// A chunk is not followed by CRLF.
    ChunkEnd,
    /// Fields after the last chunk.
    Trailers,
    /// Too much framing for too little payload.
    Overhead,
    /// The connection ended before the body did.
    Truncated,
}

/// Undoes the framing of one body, in place.
///
/// Payload that follows payload stays where the kernel put it. Where framing lies between the two,
/// the *shorter* side moves, so that a byte moves at most once after it arrived, whatever was left
/// undecoded and however small the chunks are:
///
/// ```text
///           start      end    raw                         start      end
///   |         |  left   | gap  |  run  |        becomes    |  left   |  run  |
///
///   left <= run: left moves up       run < left: run moves down      left empty: nothing moves
/// ```
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    framing: Decoder,
    moved_bytes: u64,
}

#[derive(Clone, Debug)]
enum Decoder {
    UntilClose,
    /// Bytes that are still to come.
    Length(u64),
    Chunked(Chunked),
}

#[derive(Clone, Debug)]
struct Chunked {
    at: At,
    /// Framing bytes beyond what the chunks so far allowed, as Go's `chunkedReader.excess`.
    excess: u64,
}

/// What the next byte of a chunked body is.
///
/// ```text
///   Size* ─CR▶ SizeLf ─len>0▶ Data* ▶ DataCr ▶ DataLf ─▶ Size
///                    └─len=0▶ LastCr ▶ LastLf ▶ Done
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum At {
    Size {
        digits: u8,
        len: u64,
    },
    SizeLf {
        digits: u8,
        len: u64,
    },
    /// At least one byte is to come.
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    LastCr,
    LastLf,
    Done,
}

impl BodyDecoder {
    /// A decoder for the body that follows a head.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        let framing = match framing {
            Framing::None => Decoder::Length(0),
            Framing::Length(len) => Decoder::Length(len),
            Framing::Chunked => Decoder::Chunked(Chunked { at: At::START, excess: 0 }),
            Framing::UntilClose => Decoder::UntilClose,
        };
        Self { framing, moved_bytes: 0 }
    }

    /// Takes all raw bytes: payload joins the body (`end` grows), framing disappears.
    ///
    /// While the body is open nothing raw is left afterwards, so `end == raw == filled` and the next
    /// read continues the payload without a gap. `start` may grow too, though nothing was consumed.
    ///
    /// # Errors
    /// What is wrong with the framing. The payload before it is in `start..end`, the connection is
    /// to be closed.
    ///
    /// # Panics
    /// If the marks are not in order, which no wire byte can bring about.
    pub fn advance(&mut self, buf: &mut [u8], marks: &mut Marks) -> Result<BodyState, BodyError> {
        assert!(marks.are_sound(buf.len()), "marks out of order: {marks:?} in {} bytes", buf.len());
        match &mut self.framing {
            Decoder::UntilClose => {
                let run = marks.filled - marks.raw;
                self.moved_bytes += join_run(buf, marks, run);
            }
            Decoder::Length(left) => {
                let run = at_most(*left, marks.filled - marks.raw);
                *left -= run as u64;
                self.moved_bytes += join_run(buf, marks, run);
            }
            Decoder::Chunked(chunked) => self.moved_bytes += chunked.advance(buf, marks)?,
        }
        let state = self.state();
        if state == BodyState::Open {
            debug_assert_eq!(marks.raw, marks.filled);
            marks.raw = marks.end;
            marks.filled = marks.end;
        }
        Ok(state)
    }

    /// Whether the body goes on.
    #[must_use]
    pub const fn state(&self) -> BodyState {
        match &self.framing {
            Decoder::Length(0) | Decoder::Chunked(Chunked { at: At::Done, .. }) => BodyState::Ended,
            Decoder::UntilClose | Decoder::Length(_) | Decoder::Chunked(_) => BodyState::Open,
        }
    }

    /// The connection ended.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] if the framing promised more.
    pub const fn handle_eof(&self) -> Result<(), BodyError> {
        match (&self.framing, self.state()) {
            (Decoder::UntilClose, _) | (_, BodyState::Ended) => Ok(()),
            (_, BodyState::Open) => Err(BodyError::Truncated),
        }
    }

    /// Payload bytes that were moved so far: never more than came.
    #[must_use]
    pub const fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }
}

impl Chunked {
    /// Parses until nothing raw is left or the body ended; returns how many bytes were moved.
    fn advance(&mut self, buf: &mut [u8], marks: &mut Marks) -> Result<u64, BodyError> {
        let mut moved = 0;
        while marks.raw < marks.filled && self.at != At::Done {
            if let At::Data { left } = self.at {
                let run = at_most(left, marks.filled - marks.raw);
                moved += join_run(buf, marks, run);
                let left = left - run as u64;
                self.at = if left == 0 { At::DataCr } else { At::Data { left } };
            } else {
                self.at = self.next(buf[marks.raw])?;
                marks.raw += 1;
            }
        }
        Ok(moved)
    }

    /// The state after one byte of framing.
    const fn next(&mut self, byte: u8) -> Result<At, BodyError> {
        match (self.at, byte) {
            (At::Size { digits: digits @ 1.., len }, b'\r') => Ok(At::SizeLf { digits, len }),
            (At::Size { digits, len }, _) => next_digit(digits, len, byte),
            (At::SizeLf { digits, len }, b'\n') => self.begin_chunk(digits, len),
            (At::SizeLf { .. }, _) => Err(BodyError::ChunkLine),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::START),
            (At::LastCr, b'\r') => Ok(At::LastLf),
            (At::LastLf, b'\n') => Ok(At::Done),
            (At::LastCr | At::LastLf, _) => Err(BodyError::Trailers),
            (At::DataCr | At::DataLf | At::Data { .. } | At::Done, _) => Err(BodyError::ChunkEnd),
        }
    }

    /// A header line is complete. Counts the framing as Go does since CVE-2023-39326: excess adds
    /// up over chunks, and a chunk that needs less than its allowance pays some of it back.
    const fn begin_chunk(&mut self, digits: u8, len: u64) -> Result<At, BodyError> {
        let framing = digits as u64 + 2 * CHUNK_TRAILER.len() as u64;
        self.excess = (self.excess + framing).saturating_sub(chunk_allowance(len));
        if self.excess > CHUNK_EXCESS_MAX {
            return Err(BodyError::Overhead);
        }
        Ok(if len == 0 { At::LastCr } else { At::Data { left: len } })
    }
}

impl At {
    const START: Self = Self::Size { digits: 0, len: 0 };
}

/// One more byte of a chunk's length, which has `digits` digits so far.
const fn next_digit(digits: u8, len: u64, byte: u8) -> Result<At, BodyError> {
    let value = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b';' | b' ' | b'\t' if digits > 0 => return Err(BodyError::ChunkExtension),
        _ => return Err(BodyError::ChunkLine),
    };
    // `len` is at most CHUNK_LEN_MAX, so four more bits cannot overflow.
    let len = len << 4 | value as u64;
    if digits == CHUNK_DIGITS_MAX || len > CHUNK_LEN_MAX {
        return Err(BodyError::ChunkTooLong);
    }
    Ok(At::Size { digits: digits + 1, len })
}

const _: () = assert!(CHUNK_LEN_MAX < u64::MAX >> 4);

/// `available`, or `left` if that is less.
fn at_most(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

/// Makes the next `run` raw bytes part of the body; returns how many bytes had to move.
fn join_run(buf: &mut [u8], marks: &mut Marks, run: usize) -> u64 {
    let left = marks.end - marks.start;
    let run_end = marks.raw + run;
    let moved = if run == 0 || marks.end == marks.raw {
        0
    } else if left <= run {
        let start = marks.raw - left;
        buf.copy_within(marks.start..marks.end, start);
        marks.start = start;
        marks.end = marks.raw;
        left
    } else {
        buf.copy_within(marks.raw..run_end, marks.end);
        run
    };
    marks.end += run;
    marks.raw = run_end;
    moved as u64
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChunkLine => "a chunk does not begin with a hexadecimal length and CRLF",
            Self::ChunkExtension => "a chunk has an extension",
            Self::ChunkTooLong => "a chunk is longer than is accepted",
            Self::ChunkEnd => "a chunk does not end with CRLF",
            Self::Trailers => "the body has trailers",
            Self::Overhead => "the chunked body has too much framing for its payload",
            Self::Truncated => "the connection ended within the body",
        })
    }
}

impl std::error::Error for BodyError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(framing: Framing, wire: &[u8]) -> (Result<BodyState, BodyError>, Vec<u8>, usize) {
        let mut buf = wire.to_vec();
        let mut marks = Marks { filled: wire.len(), ..Marks::default() };
        let result = BodyDecoder::new(framing).advance(&mut buf, &mut marks);
        (result, buf[marks.start..marks.end].to_vec(), marks.filled - marks.raw)
    }

    fn chunked(wire: &[u8]) -> (Result<BodyState, BodyError>, Vec<u8>) {
        let (result, payload, _) = decode(Framing::Chunked, wire);
        (result, payload)
    }

    #[test]
    fn chunk_boundaries_carry_no_meaning() {
        let want = (Ok(BodyState::Ended), b"hello world".to_vec());
        assert_eq!(chunked(b"b\r\nhello world\r\n0\r\n\r\n"), want);
        assert_eq!(chunked(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), want);
        assert_eq!(chunked(b"0000000B\r\nhello world\r\n00000000\r\n\r\n"), want);
    }

    #[test]
    fn bytes_after_the_last_chunk_stay_raw() {
        let (result, payload, rest) = decode(Framing::Chunked, b"1\r\nx\r\n0\r\n\r\nGET");
        assert_eq!((result, payload.as_slice(), rest), (Ok(BodyState::Ended), &b"x"[..], 3));
        let (result, payload, rest) = decode(Framing::Length(2), b"abGET");
        assert_eq!((result, payload.as_slice(), rest), (Ok(BodyState::Ended), &b"ab"[..], 3));
        let (result, _, rest) = decode(Framing::None, b"GET");
        assert_eq!((result, rest), (Ok(BodyState::Ended), 3));
    }

    #[test]
    fn framing_that_go_peers_never_send_is_refused() {
        let cases: &[(&[u8], BodyError)] = &[
            (b"\r\n", BodyError::ChunkLine),
            (b"x\r\n", BodyError::ChunkLine),
            (b"-1\r\n", BodyError::ChunkLine),
            (b"0x1\r\n", BodyError::ChunkLine),
            (b" 1\r\n", BodyError::ChunkLine),
            (b"1\n", BodyError::ChunkLine),
            (b"1\rx", BodyError::ChunkLine),
            (b"1;a=b\r\n", BodyError::ChunkExtension),
            (b"1 \r\n", BodyError::ChunkExtension),
            (b"10000000001\r\n", BodyError::ChunkTooLong),
            (b"ffffffffffffffff\r\n", BodyError::ChunkTooLong),
            (b"00000000000000001\r\n", BodyError::ChunkTooLong),
            (b"1\r\nxy", BodyError::ChunkEnd),
            (b"1\r\nx\n", BodyError::ChunkEnd),
            (b"1\r\nx\r\r", BodyError::ChunkEnd),
            (b"0\r\nA: b\r\n", BodyError::Trailers),
            (b"0\r\n\n", BodyError::Trailers),
        ];
        for (wire, want) in cases {
            assert_eq!(chunked(wire).0, Err(*want), "{}", wire.escape_ascii());
        }
        assert_eq!(chunked(b"10000000000\r\n").0, Ok(BodyState::Open), "the limit itself is allowed");
        assert_eq!(chunked(b"0000000000000001\r\nx").0, Ok(BodyState::Open), "sixteen digits are");
    }

    #[test]
    fn payload_before_an_error_is_delivered() {
        assert_eq!(chunked(b"2\r\nab\r\n!"), (Err(BodyError::ChunkLine), b"ab".to_vec()));
    }

    #[test]
    fn our_own_heartbeat_chunks_are_never_too_much_framing() {
        let mut wire = b"00000001\r\nx\r\n".repeat(100_000);
        wire.extend_from_slice(super::super::LAST_CHUNK);
        let (result, payload) = chunked(&wire);
        assert_eq!((result, payload.len()), (Ok(BodyState::Ended), 100_000));
    }

    #[test]
    fn sixteen_digits_around_one_byte_are_in_time_too_much() {
        // 16 digits and two CRLFs are 20 bytes, 18 are allowed: two bytes of excess each.
        let chunk = b"0000000000000001\r\nx\r\n";
        assert_eq!(chunked(&chunk.repeat(8192)).0, Ok(BodyState::Open));
        assert_eq!(chunked(&chunk.repeat(8193)).0, Err(BodyError::Overhead));
        let mut paid_back = chunk.repeat(8192);
        paid_back.extend_from_slice(b"2\r\nxy\r\n");
        paid_back.extend_from_slice(&chunk.repeat(7));
        assert_eq!(chunked(&paid_back).0, Ok(BodyState::Open));
    }

    #[test]
    fn the_shorter_side_moves() {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let mut buf = b"2\r\nab\r\n8\r\n01234567\r\n".to_vec();
        let mut marks = Marks { filled: buf.len(), ..Marks::default() };
        assert_eq!(decoder.advance(&mut buf, &mut marks), Ok(BodyState::Open));
        assert_eq!(&buf[marks.start..marks.end], b"ab01234567");
        assert_eq!((marks.start, decoder.moved_bytes()), (8, 2), "the left part moved up");

        buf.extend_from_slice(b"          ");
        let at = marks.filled;
        buf[at..at + 6].copy_from_slice(b"1\r\nc\r\n");
        marks.filled += 6;
        assert_eq!(decoder.advance(&mut buf, &mut marks), Ok(BodyState::Open));
        assert_eq!(&buf[marks.start..marks.end], b"ab01234567c");
        assert_eq!((marks.start, decoder.moved_bytes()), (8, 3), "the run moved down");
    }

    #[test]
    fn nothing_moves_when_the_codec_has_consumed_everything() {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let mut buf = b"....4\r\nabcd\r\n".to_vec();
        let mut marks = Marks::after_head(4, buf.len());
        assert_eq!(decoder.advance(&mut buf, &mut marks), Ok(BodyState::Open));
        assert_eq!(marks, Marks { start: 7, end: 11, raw: 11, filled: 11 });
        assert_eq!(decoder.moved_bytes(), 0);
    }

    #[test]
    fn a_connection_may_end_only_where_the_framing_lets_it() {
        let eof = |framing, wire: &[u8]| {
            let mut decoder = BodyDecoder::new(framing);
            let mut marks = Marks { filled: wire.len(), ..Marks::default() };
            decoder.advance(&mut wire.to_vec(), &mut marks).expect("valid");
            decoder.handle_eof()
        };
        assert_eq!(eof(Framing::UntilClose, b"abc"), Ok(()));
        assert_eq!(eof(Framing::Length(3), b"abc"), Ok(()));
        assert_eq!(eof(Framing::Length(4), b"abc"), Err(BodyError::Truncated));
        assert_eq!(eof(Framing::Chunked, b"3\r\nabc\r\n"), Err(BodyError::Truncated));
        assert_eq!(eof(Framing::Chunked, b"0\r\n\r\n"), Ok(()));
    }
}
