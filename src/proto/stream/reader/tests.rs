use super::*;
use crate::buf::BLOCK_BYTES;
use crate::proto::codec::{Dialect, Encoder, VecSink};
use crate::proto::http::head::Framing;
use crate::proto::http::{CHUNK_HEADER_BYTES, LAST_CHUNK, write_chunk_header};
use crate::raftpb::{Entry, MessageType};

const LOCAL: MemberId = MemberId(1);
const REMOTE: MemberId = MemberId(2);
const TIMEOUT: Duration = Duration::from_secs(5);
const MS: Duration = Duration::from_millis(1);

fn reader(kind: StreamKind, framing: Framing, rest: &[u8], now: Instant) -> StreamReader {
    let limits = FrameLimits::default();
    let config = StreamReaderConfig {
        kind,
        local: LOCAL,
        remote: REMOTE,
        limits,
        dialect: Dialect::default(),
        read_timeout: TIMEOUT,
    };
    StreamReader::new(&config, BodyDecoder::new(framing), rest, Pool::new(), now)
}

/// One read that brings all of `bytes`, which fit.
fn read(
    reader: &mut StreamReader,
    now: Instant,
    bytes: &[u8],
    out: &mut Vec<Message>,
) -> Result<(), ReadError> {
    let (mut block, range) = reader.lend();
    assert!(bytes.len() <= range.len(), "{} bytes for {range:?}", bytes.len());
    block[range.start..range.start + bytes.len()].copy_from_slice(bytes);
    reader.handle_read(now, block, bytes.len(), out)
}

/// Reads of at most `most` bytes until all is read; the largest buffer seen.
fn read_all(
    reader: &mut StreamReader,
    now: Instant,
    mut bytes: &[u8],
    most: usize,
    out: &mut Vec<Message>,
) -> (Result<(), ReadError>, usize) {
    let mut largest = 0;
    while !bytes.is_empty() {
        let (mut block, range) = reader.lend();
        largest = largest.max(block.len());
        let count = bytes.len().min(most).min(range.len());
        block[range.start..range.start + count].copy_from_slice(&bytes[..count]);
        bytes = &bytes[count..];
        if let Err(error) = reader.handle_read(now, block, count, out) {
            return (Err(error), largest);
        }
    }
    (Ok(()), largest)
}

fn append(index: u64, data: &[usize]) -> Message {
    let entry = |(i, &len): (usize, &usize)| Entry {
        r#type: Some(0),
        term: Some(3),
        index: Some(index + 1 + i as u64),
        data: Some(vec![index as u8; len].into()),
    };
    Message {
        r#type: Some(MessageType::MsgApp as i32),
        to: Some(LOCAL.0),
        from: Some(REMOTE.0),
        term: Some(3),
        log_term: Some(3),
        index: Some(index),
        entries: data.iter().enumerate().map(entry).collect(),
        commit: Some(index),
        ..Message::default()
    }
}

/// Frames of both types with entries of many sizes, heartbeats between them.
fn messages() -> Vec<Message> {
    let mut index = 10;
    let sizes: [&[usize]; 7] = [&[2], &[], &[0, 1, 300], &[5_000], &[1, 1, 1, 1], &[700, 2], &[9]];
    let mut messages = Vec::new();
    for data in sizes {
        messages.push(append(index, data));
        index += data.len() as u64;
    }
    messages.push(append(index - 1, &[4])); // a step back
    messages
}

fn frames(kind: StreamKind, messages: &[Message]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(kind, REMOTE, LOCAL, Dialect::V3_7);
    let mut sink = VecSink::default();
    let mut frames = Vec::new();
    for message in messages {
        encoder.encode_link_heartbeat(&mut sink);
        encoder.encode(message, &mut sink);
        frames.push(std::mem::take(&mut sink.bytes));
    }
    frames
}

/// The frames as a body, cut into chunks that know nothing of frames.
fn framed(framing: Framing, frames: &[Vec<u8>], chunk: usize) -> Vec<u8> {
    let bytes = frames.concat();
    if framing == Framing::UntilClose {
        return bytes;
    }
    let mut wire = Vec::new();
    for chunk in bytes.chunks(chunk) {
        let mut header = [0; CHUNK_HEADER_BYTES];
        write_chunk_header(&mut header, chunk.len() as u32);
        wire.extend_from_slice(&[&header, chunk, b"\r\n"].concat());
    }
    wire
}

const FRAMINGS: [Framing; 2] = [Framing::Chunked, Framing::UntilClose];

#[test]
fn a_stream_means_the_same_however_it_is_split() {
    let now = Instant::now();
    let want = messages();
    for kind in StreamKind::ALL {
        for framing in FRAMINGS {
            let wire = framed(framing, &frames(kind, &want), 333);
            for split in 0..=wire.len() {
                // The first part comes behind the head, the rest at once.
                let mut reader = reader(kind, framing, &wire[..split], now);
                let mut out = Vec::new();
                assert_eq!(reader.decode(now, &mut out), Ok(()));
                assert_eq!(read_all(&mut reader, now, &wire[split..], usize::MAX, &mut out).0, Ok(()));
                assert_eq!(out, want, "{kind} {framing:?} at {split}");
                assert_eq!(reader.link_heartbeats(), want.len() as u64);
            }
        }
    }
}

#[test]
fn a_stream_means_the_same_in_pieces_and_chunks_of_any_size() {
    let now = Instant::now();
    let want = messages();
    for kind in StreamKind::ALL {
        for (most, chunk) in [(1, 1), (1, 10_000), (2, 3), (7, 1), (100, 10), (4_096, 4_000), (10_000, 1)] {
            let wire = framed(Framing::Chunked, &frames(kind, &want), chunk);
            let mut reader = reader(kind, Framing::Chunked, b"", now);
            let mut out = Vec::new();
            assert_eq!(read_all(&mut reader, now, &wire, most, &mut out).0, Ok(()));
            assert_eq!(out, want, "{kind}: reads of {most}, chunks of {chunk}");
        }
    }
}

#[test]
fn a_message_is_out_as_soon_as_its_last_byte_is_there() {
    let now = Instant::now();
    let want = messages();
    for kind in StreamKind::ALL {
        let mut reader = reader(kind, Framing::UntilClose, b"", now);
        let mut out = Vec::new();
        for (i, frame) in frames(kind, &want).iter().enumerate() {
            assert_eq!(read_all(&mut reader, now, frame, 1_000, &mut out).0, Ok(()));
            assert_eq!(out.len(), i + 1);
        }
    }
}

/// What the end of the connection is after `wire`.
fn end_after(kind: StreamKind, framing: Framing, wire: &[u8]) -> ReadError {
    let now = Instant::now();
    let mut reader = reader(kind, framing, b"", now);
    let mut out = Vec::new();
    match read_all(&mut reader, now, wire, usize::MAX, &mut out).0 {
        Err(error) => error,
        Ok(()) => read(&mut reader, now, b"", &mut out).expect_err("the end"),
    }
}

#[test]
fn only_the_last_chunk_ends_a_chunked_body_cleanly() {
    for kind in StreamKind::ALL {
        let frames = frames(kind, &messages());
        let wire = framed(Framing::Chunked, &frames, 1_000);
        assert_eq!(end_after(kind, Framing::Chunked, &wire), ReadError::UnexpectedEof);
        assert_eq!(end_after(kind, Framing::Chunked, b""), ReadError::UnexpectedEof);
        let ended = [&wire[..], LAST_CHUNK].concat();
        assert_eq!(end_after(kind, Framing::Chunked, &ended), ReadError::Eof);
        for cut in 1..LAST_CHUNK.len() {
            let cut = &ended[..ended.len() - cut];
            assert_eq!(end_after(kind, Framing::Chunked, cut), ReadError::UnexpectedEof);
        }
        let torn =
            [&framed(Framing::Chunked, &[frames.concat()[..50].to_vec()], 50)[..], LAST_CHUNK].concat();
        assert_eq!(end_after(kind, Framing::Chunked, &torn), ReadError::UnexpectedEof, "inside a frame");
    }
}

#[test]
fn without_framing_any_end_between_frames_is_clean() {
    for kind in StreamKind::ALL {
        let frames = frames(kind, &messages()[..1]);
        let wire = framed(Framing::UntilClose, &frames, 1);
        assert_eq!(end_after(kind, Framing::UntilClose, &wire), ReadError::Eof);
        assert_eq!(end_after(kind, Framing::UntilClose, b""), ReadError::Eof);
        assert_eq!(end_after(kind, Framing::UntilClose, &wire[..wire.len() - 1]), ReadError::UnexpectedEof);
    }
}

#[test]
fn frames_before_an_error_are_delivered() {
    let now = Instant::now();
    let want = messages();
    let frames = frames(StreamKind::Msgapp, &want).concat();
    let wires = [
        (Framing::UntilClose, [&frames[..], &[0x77]].concat()),
        (
            Framing::Chunked,
            [&framed(Framing::Chunked, std::slice::from_ref(&frames), 10_000)[..], b"x"].concat(),
        ),
    ];
    for (framing, wire) in wires {
        let mut out = Vec::new();
        let mut reader = reader(StreamKind::Msgapp, framing, &wire, now);
        let error = reader.decode(now, &mut out).expect_err("the last byte is wrong");
        let wanted = match framing {
            Framing::Chunked => ReadError::Body(BodyError::ChunkLine),
            _ => ReadError::Frame(DecodeError::UnknownFrameType(0x77)),
        };
        assert_eq!(error, wanted);
        assert_eq!(out, want);
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_at_its_length() {
    let now = Instant::now();
    let mut reader = reader(StreamKind::Message, Framing::UntilClose, b"", now);
    let max = FrameLimits::default().frame_bytes_max;
    let result = read(&mut reader, now, &(max as u64 + 1).to_be_bytes(), &mut Vec::new());
    assert_eq!(result, Err(ReadError::Frame(DecodeError::FrameOverLimit { len: max as u64 + 1, max })));
}

#[test]
fn a_buffer_grows_by_what_arrives_and_shrinks_when_the_large_frame_is_through() {
    let now = Instant::now();
    for kind in StreamKind::ALL {
        let large = append(1, &[3 << 20]);
        let wire = framed(Framing::Chunked, &frames(kind, std::slice::from_ref(&large)), 100_000);
        let mut reader = reader(kind, Framing::Chunked, b"", now);
        let mut out = Vec::new();
        let mut arrived = 0;
        for piece in wire.chunks(20_000) {
            let (result, largest) = read_all(&mut reader, now, piece, usize::MAX, &mut out);
            assert_eq!(result, Ok(()));
            arrived += piece.len();
            assert!(largest <= (2 * arrived).max(BLOCK_BYTES[2]), "{largest} bytes after {arrived}");
        }
        assert_eq!(out, [large]);
        assert!(reader.lend().0.len() <= BLOCK_BYTES[2]);
    }
}

#[test]
fn what_was_decoded_stays_when_the_reader_goes_on_and_goes() {
    let now = Instant::now();
    let want: Vec<_> = (0..200).map(|i| append(10 + i, &[1_500])).collect();
    let wire = framed(Framing::Chunked, &frames(StreamKind::Msgapp, &want), 65_536);
    let mut reader = reader(StreamKind::Msgapp, Framing::Chunked, b"", now);
    let mut out = Vec::new();
    assert_eq!(read_all(&mut reader, now, &wire, usize::MAX, &mut out).0, Ok(()));
    drop(reader);
    assert_eq!(out, want);
}

#[test]
fn silence_ends_a_stream_and_any_byte_breaks_it() {
    let start = Instant::now();
    let mut reader = reader(StreamKind::Msgapp, Framing::Chunked, b"", start);
    assert_eq!(reader.poll_timeout(), start + TIMEOUT);
    assert_eq!(reader.handle_timeout(start + TIMEOUT - MS), Ok(()));
    let byte = start + TIMEOUT - MS;
    assert_eq!(read(&mut reader, byte, b"1", &mut Vec::new()), Ok(()));
    assert_eq!(reader.handle_timeout(start + TIMEOUT), Ok(()));
    assert_eq!(reader.poll_timeout(), byte + TIMEOUT);
    let _lent = reader.lend();
    assert_eq!(reader.handle_timeout(byte + TIMEOUT - MS), Ok(()));
    assert_eq!(reader.handle_timeout(byte + TIMEOUT), Err(ReadError::Silent));
}

#[test]
fn time_in_which_nobody_reads_is_no_silence() {
    let start = Instant::now();
    let mut reader = reader(StreamKind::Msgapp, Framing::Chunked, b"", start);
    let (held, resumed) = (start + 1_000 * MS, start + 60_000 * MS);
    reader.hold(held);
    reader.hold(held + MS);
    assert_eq!(reader.handle_timeout(resumed), Ok(()));
    reader.resume(resumed);
    reader.resume(resumed + MS);
    assert_eq!(reader.handle_timeout(resumed + 4_000 * MS - MS), Ok(()));
    assert_eq!(reader.handle_timeout(resumed + 4_000 * MS), Err(ReadError::Silent));
}

#[test]
fn a_frame_that_nobody_reads_is_not_slow() {
    let start = Instant::now();
    let wire = frames(StreamKind::Msgapp, &[append(1, &[100_000])]).concat();
    let mut reader = reader(StreamKind::Msgapp, Framing::UntilClose, b"", start);
    let mut now = start;
    // 1.5 KB/s while it is read, and a third of a KB/s by the clock.
    for piece in wire[..90_000].chunks(3_000) {
        assert_eq!(read_all(&mut reader, now, piece, usize::MAX, &mut Vec::new()).0, Ok(()));
        now += 2_000 * MS;
        reader.hold(now);
        now += 7_000 * MS;
        reader.resume(now);
        assert_eq!(reader.handle_timeout(now), Ok(()));
    }
}

/// Brings `bytes`, one piece an interval, and looks at the clock in between: when and why it ended.
fn drip(
    reader: &mut StreamReader,
    start: Instant,
    bytes: &[u8],
    piece: usize,
    interval: Duration,
) -> Result<Duration, (Duration, ReadError)> {
    let mut now = start;
    for piece in bytes.chunks(piece) {
        now += interval;
        if reader.poll_timeout() <= now {
            reader.handle_timeout(now).map_err(|error| (now - start, error))?;
        }
        read(reader, now, piece, &mut Vec::new()).map_err(|error| (now - start, error))?;
    }
    Ok(now - start)
}

#[test]
fn a_frame_that_drips_is_given_up_after_the_window() {
    let start = Instant::now();
    for kind in StreamKind::ALL {
        let wire = frames(kind, &[append(1, &[10_000])]).concat();
        let mut reader = reader(kind, Framing::UntilClose, b"", start);
        let (after, error) = drip(&mut reader, start, &wire, 1, 4_000 * MS).expect_err("too slow");
        assert_eq!(error, ReadError::TooSlow);
        assert!(after >= SLOW_WINDOW && after <= SLOW_WINDOW + 12_000 * MS, "{after:?}");
    }
}

#[test]
fn entries_that_drip_are_given_up_like_any_frame() {
    let start = Instant::now();
    // AppEntries with a million entries of no bytes at all: each is a unit of eight.
    let head = [&[1][..], &(1_u64 << 20).to_be_bytes()].concat();
    let mut reader = reader(StreamKind::Msgapp, Framing::UntilClose, &head, start);
    assert_eq!(reader.decode(start, &mut Vec::new()), Ok(()));
    let (after, error) = drip(&mut reader, start, &[0; 10_000], 1, 3_500 * MS).expect_err("too slow");
    assert_eq!(error, ReadError::TooSlow);
    assert!(after <= SLOW_WINDOW + 7_000 * MS, "{after:?}");
}

#[test]
fn a_large_frame_passes_a_thin_link() {
    let start = Instant::now();
    for kind in StreamKind::ALL {
        // 64 kbit/s, for more than two windows.
        let wire = frames(kind, &[append(1, &[600 << 10])]).concat();
        let mut reader = reader(kind, Framing::UntilClose, b"", start);
        let took = drip(&mut reader, start, &wire, 2_000, 250 * MS).expect("fast enough");
        assert!(took > 2 * SLOW_WINDOW);
    }
}

#[test]
fn an_idle_stream_is_not_slow() {
    let start = Instant::now();
    for kind in StreamKind::ALL {
        let mut encoder = Encoder::new(kind, REMOTE, LOCAL, Dialect::V3_7);
        let mut sink = VecSink::default();
        let size = {
            encoder.encode_link_heartbeat(&mut sink);
            sink.bytes.len()
        };
        let wire = sink.bytes.repeat(100);
        let mut reader = reader(kind, Framing::UntilClose, b"", start);
        assert!(drip(&mut reader, start, &wire, size, 1_667 * MS).is_ok());
        assert_eq!(reader.link_heartbeats(), 100);
    }
}

#[test]
fn small_frames_that_come_slowly_are_not_one_slow_frame() {
    let start = Instant::now();
    for kind in StreamKind::ALL {
        let many: Vec<_> = (0..100).map(|i| append(10 + i, &[50])).collect();
        let wire = frames(kind, &many).concat();
        let mut reader = reader(kind, Framing::UntilClose, b"", start);
        // Pieces of about a frame, so that most reads end inside of one.
        let took = drip(&mut reader, start, &wire, 71, 900 * MS).expect("each frame is whole in time");
        assert!(took > 2 * SLOW_WINDOW);
    }
}

#[test]
fn the_window_begins_with_the_frame_and_not_with_the_quiet_before_it() {
    let start = Instant::now();
    let config = StreamReaderConfig {
        kind: StreamKind::Message,
        local: LOCAL,
        remote: REMOTE,
        limits: FrameLimits::default(),
        dialect: Dialect::default(),
        read_timeout: 10 * SLOW_WINDOW,
    };
    let body = BodyDecoder::new(Framing::UntilClose);
    let mut reader = StreamReader::new(&config, body, b"", Pool::new(), start);
    let mut sink = VecSink::default();
    Encoder::new(StreamKind::Message, REMOTE, LOCAL, Dialect::V3_7).encode(&append(1, &[100]), &mut sink);
    let mut out = Vec::new();
    let late = start + SLOW_WINDOW - MS;
    assert_eq!(read(&mut reader, late, &sink.bytes[..50], &mut out), Ok(()));
    assert_eq!(reader.handle_timeout(late + 2 * MS), Ok(()), "half of it came a moment ago");
    assert_eq!(reader.handle_timeout(late + SLOW_WINDOW), Err(ReadError::TooSlow));
}
