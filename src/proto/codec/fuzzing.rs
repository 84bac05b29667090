//! What the fuzz targets run, and the corpus test with them: any bytes in, properties out.

use bytes::Bytes;
use prost::Message as _;

use super::{DecodeError, Decoded, Decoder, Dialect, FrameLimits, StreamKind, VecSink, encode_bare_message};
use crate::id::MemberId;
use crate::raftpb::Message;

/// Small enough that a fuzzer reaches them.
const LIMITS: FrameLimits = FrameLimits { frame_bytes_max: 4096, entries_max: 64 };

/// The `message` stream.
pub fn message(bytes: &[u8]) {
    check_stream(StreamKind::Message, bytes);
    check_bare(bytes);
}

/// The `msgapp` stream.
pub fn msgappv2(bytes: &[u8]) {
    check_stream(StreamKind::Msgapp, bytes);
}

/// How a stream went: its messages, its counts, its error.
type Outcome = (Vec<Message>, Decoded, Option<DecodeError>);

/// Whatever the pieces in which they arrive, the same bytes give the same messages, counts and
/// error; and what was decoded survives another round.
fn check_stream(kind: StreamKind, bytes: &[u8]) {
    let whole = run(kind, bytes, bytes.len().max(1));
    for step in [1, 7, 64] {
        assert_eq!(run(kind, bytes, step), whole, "fed by {step}");
    }
    assert!(whole.1.consumed <= bytes.len());
    whole.0.iter().for_each(check_round);
}

/// Feeds `bytes` in pieces of `step`, keeping what is not consumed, as a reader does.
pub fn run(kind: StreamKind, bytes: &[u8], step: usize) -> Outcome {
    let all = Bytes::copy_from_slice(bytes);
    let mut decoder = Decoder::new(kind, MemberId(1), MemberId(2), LIMITS);
    let (mut out, mut sum, mut filled) = (Vec::new(), Decoded::default(), 0);
    loop {
        let front = all.slice(sum.consumed..filled);
        match decoder.decode(&front, &mut out) {
            Ok(decoded) => sum = add(sum, decoded),
            // Counts of the call that failed are lost: they depend on the pieces.
            Err(error) => return (out, Decoded::default(), Some(error)),
        }
        let rest = &all[sum.consumed..filled];
        match decoder.next_unit(rest) {
            Ok(unit) => assert!(unit > rest.len(), "a whole unit was left"),
            Err(error) => unreachable!("decode did not find {error}"),
        }
        if filled == all.len() {
            return (out, sum, None);
        }
        filled = all.len().min(filled + step);
    }
}

const fn add(sum: Decoded, more: Decoded) -> Decoded {
    Decoded {
        consumed: sum.consumed + more.consumed,
        link_heartbeats: sum.link_heartbeats + more.link_heartbeats,
        message_bytes: sum.message_bytes + more.message_bytes,
        link_heartbeat_bytes: sum.link_heartbeat_bytes + more.link_heartbeat_bytes,
    }
}

/// The hand-written decoder says what prost says, limits apart.
fn check_bare(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let ours = super::decode_bare_message(&bytes, &LIMITS);
    let theirs = Message::decode(bytes);
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
        (Err(DecodeError::Protobuf(ours)), Err(theirs)) => assert_eq!(ours, theirs),
        (Err(error), _) if !matches!(error, DecodeError::Protobuf(_)) => {}
        (ours, theirs) => panic!("{ours:?} is not {theirs:?}"),
    }
}

/// Presence as set loses nothing.
fn check_round(message: &Message) {
    let mut sink = VecSink::default();
    let size = encode_bare_message(message, Dialect::V3_7, &mut sink);
    assert_eq!(size, sink.bytes.len());
    assert_eq!(sink.bytes, message.encode_to_vec());
}
