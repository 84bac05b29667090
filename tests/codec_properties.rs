//! Properties of the codec, for arbitrary messages and arbitrary bytes.
//!
//! prost is the oracle throughout: what our encoders write is what prost writes for the same
//! message with the dialect's zeros filled in, and what our decoders say is what prost says.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;
use raftring::MemberId;
use raftring::proto::codec::{
    DecodeError, Decoder, Dialect, Encoder, FrameLimits, StreamKind, VecSink, decode_bare_message,
    encode_bare_message, fuzzing,
};
use raftring::raftpb::{ConfState, Entry, Message, MessageType, Snapshot, SnapshotMetadata};

const LOCAL: MemberId = MemberId(1);
const REMOTE: MemberId = MemberId(0x91bc_3c39_8fb3_c146);

/// Small numbers, varint edges, and all the rest.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4u64,
        (0..64u32).prop_map(|bit| 1 << bit),
        (0..64u32).prop_map(|b| (1 << b) - 1),
        any::<u64>()
    ]
}

fn payload() -> impl Strategy<Value = Bytes> {
    prop_oneof![vec(any::<u8>(), 0..4), vec(any::<u8>(), 120..140)].prop_map(Bytes::from)
}

fn enumeration() -> impl Strategy<Value = i32> {
    prop_oneof![9 => 0..24i32, 1 => any::<i32>()]
}

prop_compose! {
    fn entry()(
        r#type in option::of(enumeration()),
        term in option::of(number()),
        index in option::of(number()),
        data in option::of(payload()),
    ) -> Entry {
        Entry { r#type, term, index, data }
    }
}

prop_compose! {
    fn conf_state()(
        voters in vec(number(), 0..3),
        learners in vec(number(), 0..2),
        voters_outgoing in vec(number(), 0..2),
        learners_next in vec(number(), 0..2),
        auto_leave in any::<Option<bool>>(),
    ) -> ConfState {
        ConfState { voters, learners, voters_outgoing, learners_next, auto_leave }
    }
}

prop_compose! {
    fn metadata()(
        conf_state in option::of(conf_state()),
        index in option::of(number()),
        term in option::of(number()),
    ) -> SnapshotMetadata {
        SnapshotMetadata { conf_state, index, term }
    }
}

prop_compose! {
    fn snapshot()(data in option::of(payload()), metadata in option::of(metadata())) -> Snapshot {
        Snapshot { data, metadata }
    }
}

prop_compose! {
    fn message()(
        ((r#type, to, from, term), (log_term, index, commit, reject_hint)) in (
            (option::of(enumeration()), option::of(number()), option::of(number()), option::of(number())),
            (option::of(number()), option::of(number()), option::of(number()), option::of(number())),
        ),
        entries in vec(entry(), 0..4),
        snapshot in option::weighted(0.3, snapshot()),
        reject in any::<Option<bool>>(),
        context in option::of(payload()),
        vote in option::of(number()),
        responses in vec(entry(), 0..2),
    ) -> Message {
        let responses = responses
            .into_iter()
            .map(|entry| Message { term: entry.term, entries: vec![entry], ..Message::default() })
            .collect();
        let snapshot = snapshot.map(Box::new);
        Message {
            r#type, to, from, term, log_term, index, entries, commit, snapshot, reject, reject_hint, context,
            vote, responses,
        }
    }
}

fn dialect() -> impl Strategy<Value = Dialect> {
    proptest::sample::select(&Dialect::ALL[..])
}

fn fill<T: Default>(value: &mut Option<T>) {
    value.get_or_insert_default();
}

/// `message` with everything set that `dialect` writes, and without what it leaves out: protocol
/// 7.3, said again on values.
fn filled(mut message: Message, dialect: Dialect) -> Message {
    if dialect != Dialect::V3_7 {
        fill_scalars(&mut message);
    }
    match dialect {
        Dialect::V3_4 => {
            fill(&mut message.snapshot);
            (message.vote, message.responses) = (None, vec![]);
        }
        Dialect::V3_6 => fill(&mut message.vote),
        _ => {}
    }
    if let (Some(snapshot), Dialect::V3_4 | Dialect::V3_6) = (&mut message.snapshot, dialect) {
        let metadata = snapshot.metadata.get_or_insert_default();
        fill(&mut metadata.index);
        fill(&mut metadata.term);
        fill(&mut metadata.conf_state.get_or_insert_default().auto_leave);
    }
    message.responses = message.responses.into_iter().map(|response| filled(response, dialect)).collect();
    message
}

fn fill_scalars(message: &mut Message) {
    fill(&mut message.r#type);
    fill(&mut message.to);
    fill(&mut message.from);
    fill(&mut message.term);
    fill(&mut message.log_term);
    fill(&mut message.index);
    fill(&mut message.commit);
    fill(&mut message.reject);
    fill(&mut message.reject_hint);
    for entry in &mut message.entries {
        fill(&mut entry.r#type);
        fill(&mut entry.term);
        fill(&mut entry.index);
    }
}

/// What a message means, presence of zeros and of blanks apart.
fn meaning(mut message: Message) -> Message {
    if message.snapshot.as_ref().is_some_and(|snapshot| snapshot.is_blank()) {
        message.snapshot = None;
    }
    if message.context.as_ref().is_some_and(Bytes::is_empty) {
        message.context = None;
    }
    filled(message, Dialect::V3_6)
}

/// An append as a leader sends it to its follower, most of which continue the one before.
fn appends() -> impl Strategy<Value = Vec<Message>> {
    let step = (vec(option::of(payload()), 0..4), any::<u8>(), message());
    vec(step, 1..8).prop_map(|steps| {
        let (mut term, mut index) = (0, 0);
        steps
            .into_iter()
            .map(|(data, dice, other)| append_step(&mut term, &mut index, data, dice, other))
            .collect()
    })
}

fn append_step(
    term: &mut u64,
    index: &mut u64,
    data: Vec<Option<Bytes>>,
    dice: u8,
    other: Message,
) -> Message {
    if dice < 32 {
        return Message::link_heartbeat();
    }
    let log_term = *term;
    *term += u64::from(dice > 224);
    let entry = |(n, data)| Entry { r#type: None, term: Some(log_term), index: Some(*index + 1 + n), data };
    let entries: Vec<_> = (0..).zip(data).map(entry).collect();
    let mut append = Message {
        r#type: Some(MessageType::MsgApp as i32),
        to: Some(LOCAL.0),
        from: Some(REMOTE.0),
        term: Some(*term),
        log_term: Some(log_term),
        index: Some(*index),
        commit: other.commit,
        ..Message::default()
    };
    *index += entries.len() as u64;
    append.entries = entries;
    // Now and then something that only a whole message can say.
    match dice {
        32..=40 => append.r#type = other.r#type,
        41..=48 => append.context = other.context,
        49..=56 => append.reject_hint = other.reject_hint,
        57..=64 => append.snapshot = other.snapshot,
        65..=72 => append.from = other.from,
        73..=80 => append.entries = other.entries,
        81..=88 => append.responses = other.responses,
        _ => {}
    }
    append
}

fn encode_all(kind: StreamKind, messages: &[Message], dialect: Dialect) -> Vec<u8> {
    let mut encoder = Encoder::new(kind, REMOTE, LOCAL, dialect);
    let mut sink = VecSink::default();
    for message in messages {
        encoder.encode(message, &mut sink);
    }
    sink.bytes
}

/// Feeds prefixes that grow by `step`, and what is left of them, as a reader does.
fn decode_all(kind: StreamKind, bytes: &[u8], step: usize) -> Result<(Vec<Message>, usize), DecodeError> {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut decoder = Decoder::new(kind, LOCAL, REMOTE, FrameLimits::default());
    let (mut out, mut consumed, mut link_heartbeats, mut filled) = (Vec::new(), 0, 0, 0);
    while filled < bytes.len() {
        filled = bytes.len().min(filled + step);
        let decoded = decoder.decode(&bytes.slice(consumed..filled), &mut out)?;
        consumed += decoded.consumed;
        link_heartbeats += decoded.link_heartbeats;
        assert!(decoder.next_unit(&bytes[consumed..filled])? > filled - consumed, "a whole unit was left");
    }
    assert_eq!(consumed, bytes.len(), "whole frames are consumed whole");
    Ok((out, link_heartbeats))
}

fn check_stream(kind: StreamKind, messages: &[Message], dialect: Dialect) {
    let bytes = encode_all(kind, messages, dialect);
    let sent = messages.iter().filter(|message| !message.is_link_heartbeat());
    // What 3.4 has no field for does not arrive there.
    let without = |message: &Message| match dialect {
        Dialect::V3_4 => Message { vote: None, responses: vec![], ..message.clone() },
        _ => message.clone(),
    };
    let expected: Vec<_> = sent.map(|message| meaning(without(message))).collect();
    for step in [1, bytes.len().max(1)] {
        let (out, link_heartbeats) = decode_all(kind, &bytes, step).expect("our own frames");
        assert_eq!(link_heartbeats, messages.len() - expected.len());
        assert_eq!(out.into_iter().map(meaning).collect::<Vec<_>>(), expected, "{dialect:?}, by {step}");
    }
}

/// One change to good bytes.
#[derive(Clone, Debug)]
enum Damage {
    Set(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Truncate(usize),
    Repeat(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<usize>().prop_map(Damage::Remove),
        any::<usize>().prop_map(Damage::Truncate),
        any::<(usize, usize)>().prop_map(|(from, to)| Damage::Repeat(from, to)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let len = bytes.len().max(1);
        match *damage {
            _ if bytes.is_empty() => {}
            Damage::Set(at, byte) => bytes[at % len] = byte,
            Damage::Insert(at, byte) => bytes.insert(at % len, byte),
            Damage::Remove(at) => drop(bytes.remove(at % len)),
            Damage::Truncate(at) => bytes.truncate(at % len),
            Damage::Repeat(from, to) => {
                let (from, to) = (from % len, to % len);
                bytes.extend_from_within(from.min(to)..from.max(to));
            }
        }
    }
    bytes
}

fn check_against_prost(bytes: Vec<u8>) {
    let bytes = Bytes::from(bytes);
    let ours = decode_bare_message(&bytes, &FrameLimits::default());
    match (ours, Message::decode(bytes)) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
        (Err(DecodeError::Protobuf(ours)), Err(theirs)) => assert_eq!(ours, theirs),
        (ours, theirs) => panic!("{ours:?} is not {theirs:?}"),
    }
}

/// The same bytes as the one entry of an AppEntries frame.
fn check_entry_against_prost(bytes: &[u8]) {
    let count = 1u64.to_be_bytes();
    let len = (bytes.len() as u64).to_be_bytes();
    let frame = [&[1][..], &count, &len, bytes, &[0; 8]].concat();
    let ours = decode_all(StreamKind::Msgapp, &frame, frame.len());
    match (ours, Entry::decode(Bytes::copy_from_slice(bytes))) {
        (Ok((ours, _)), Ok(theirs)) => assert_eq!(ours[0].entries, [theirs]),
        (Err(DecodeError::Protobuf(ours)), Err(theirs)) => assert_eq!(ours, theirs),
        (ours, theirs) => panic!("{ours:?} is not {theirs:?}"),
    }
}

proptest! {
    #[test]
    fn encoders_write_what_prost_writes(message in message()) {
        for dialect in Dialect::ALL {
            let mut sink = VecSink::default();
            let size = encode_bare_message(&message, dialect, &mut sink);
            prop_assert_eq!(&sink.bytes, &filled(message.clone(), dialect).encode_to_vec(), "{:?}", dialect);
            prop_assert_eq!(size, sink.bytes.len());
        }
    }

    #[test]
    fn decoders_read_what_encoders_write(message in message(), dialect in dialect()) {
        let mut sink = VecSink::default();
        encode_bare_message(&message, dialect, &mut sink);
        let decoded = decode_bare_message(&sink.bytes.into(), &FrameLimits::default());
        prop_assert_eq!(decoded, Ok(filled(message, dialect)));
    }

    #[test]
    fn message_streams_survive_every_split(messages in vec(message(), 1..4), dialect in dialect()) {
        check_stream(StreamKind::Message, &messages, dialect);
    }

    #[test]
    fn msgapp_streams_survive_every_split(messages in appends(), dialect in dialect()) {
        check_stream(StreamKind::Msgapp, &messages, dialect);
    }

    #[test]
    fn damaged_messages_mean_what_prost_says(
        message in message(), dialect in dialect(), damages in vec(damage(), 0..3),
    ) {
        let mut sink = VecSink::default();
        encode_bare_message(&message, dialect, &mut sink);
        check_against_prost(damaged(sink.bytes, &damages));
    }

    #[test]
    fn damaged_entries_mean_what_prost_says(entry in entry(), damages in vec(damage(), 0..3)) {
        check_entry_against_prost(&damaged(entry.encode_to_vec(), &damages));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        check_against_prost(bytes.clone());
        fuzzing::message(&bytes);
        fuzzing::msgappv2(&bytes);
    }

    #[test]
    fn damaged_streams_never_panic(messages in appends(), damages in vec(damage(), 1..4)) {
        fuzzing::msgappv2(&damaged(encode_all(StreamKind::Msgapp, &messages, Dialect::Full), &damages));
        fuzzing::message(&damaged(encode_all(StreamKind::Message, &messages, Dialect::V3_4), &damages));
    }
}

/// Decodes `bytes`, which are followed by nothing, on a stream with default limits.
fn error_of(kind: StreamKind, bytes: &[u8]) -> Option<DecodeError> {
    let mut decoder = Decoder::new(kind, LOCAL, REMOTE, FrameLimits::default());
    decoder.decode(&Bytes::copy_from_slice(bytes), &mut Vec::new()).err()
}

/// Sharp edges 1, 2 and 4: refused by the header alone.
#[test]
fn declared_lengths_over_the_limits_are_refused_before_their_bytes_arrive() {
    let limits = FrameLimits::default();
    let max = limits.frame_bytes_max as u64;
    for len in [max + 1, 1 << 40, u64::MAX - 7, u64::MAX] {
        let over = Some(DecodeError::FrameOverLimit { len, max: limits.frame_bytes_max });
        assert_eq!(error_of(StreamKind::Message, &len.to_be_bytes()), over);
        assert_eq!(error_of(StreamKind::Msgapp, &[&[2][..], &len.to_be_bytes()].concat()), over);
        let entry = [&[1][..], &1u64.to_be_bytes(), &len.to_be_bytes()].concat();
        assert!(matches!(error_of(StreamKind::Msgapp, &entry), Some(DecodeError::FrameOverLimit { .. })));
    }
    for count in [limits.entries_max as u64 + 1, u64::MAX] {
        let over = Some(DecodeError::EntriesOverLimit { count, max: limits.entries_max });
        assert_eq!(error_of(StreamKind::Msgapp, &[&[1][..], &count.to_be_bytes()].concat()), over);
    }
}

#[test]
fn lengths_equal_to_the_limits_are_awaited() {
    let limits = FrameLimits::default();
    let decoder = |kind| Decoder::new(kind, LOCAL, REMOTE, limits);
    let max = (limits.frame_bytes_max as u64).to_be_bytes();
    let unit = decoder(StreamKind::Message).next_unit(&max);
    assert_eq!(unit, Ok(8 + limits.frame_bytes_max));
    let unit = decoder(StreamKind::Msgapp).next_unit(&[&[2][..], &max].concat());
    assert_eq!(unit, Ok(9 + limits.frame_bytes_max));
    let count = (limits.entries_max as u64).to_be_bytes();
    assert_eq!(decoder(StreamKind::Msgapp).next_unit(&[&[1][..], &count].concat()), Ok(9));
}

#[test]
fn entries_of_one_frame_are_limited_in_sum() {
    // Three entries of 8 + 10 bytes pass a limit of 54, and nothing less.
    let entry = Entry { data: Some(vec![7; 8].into()), ..Entry::default() }.encode_to_vec();
    assert_eq!(entry.len(), 10);
    let unit = [&10u64.to_be_bytes()[..], &entry].concat();
    let frame = [&[1][..], &3u64.to_be_bytes(), &unit.repeat(3), &[0; 8]].concat();
    for (frame_bytes_max, passes) in [(54, true), (53, false)] {
        let limits = FrameLimits { frame_bytes_max, ..FrameLimits::default() };
        let mut decoder = Decoder::new(StreamKind::Msgapp, LOCAL, REMOTE, limits);
        let result = decoder.decode(&Bytes::from(frame.clone()), &mut Vec::new());
        assert_eq!(result.is_ok(), passes, "{frame_bytes_max}");
    }
}

/// Sharp edges 3, 9 and 10.
#[test]
fn bad_protobuf_is_an_error_and_what_came_before_it_is_kept() {
    let deep = [&[0xa3, 0x06].repeat(100_000)[..], &[0xa4, 0x06].repeat(100_000)].concat();
    let overflow = [0x62, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    for bad in [&b"\x08"[..], &b"garbage"[..], &overflow, &deep] {
        let len = (bad.len() as u64).to_be_bytes();
        let good = Message { r#type: Some(MessageType::MsgVote as i32), ..Message::default() };
        for (kind, prefix) in [(StreamKind::Message, &[][..]), (StreamKind::Msgapp, &[2])] {
            let bytes =
                [&encode_all(kind, std::slice::from_ref(&good), Dialect::V3_7), prefix, &len, bad].concat();
            let mut decoder = Decoder::new(kind, LOCAL, REMOTE, FrameLimits::default());
            let mut out = Vec::new();
            let result = decoder.decode(&bytes.into(), &mut out);
            assert!(matches!(result, Err(DecodeError::Protobuf(_))), "{result:?}");
            assert_eq!(out, std::slice::from_ref(&good));
        }
    }
    assert_eq!(error_of(StreamKind::Msgapp, &[3]), Some(DecodeError::UnknownFrameType(3)));
    assert_eq!(DecodeError::UnknownFrameType(3).to_string(), "failed to parse type 3 in msgappv2 stream");
}

/// Sharp edge 22.
#[test]
fn app_entries_before_any_message_have_term_and_index_zero() {
    let (out, _) = decode_all(StreamKind::Msgapp, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5], 1)
        .expect("a whole frame");
    let [message] = &out[..] else { panic!("{out:?}") };
    assert_eq!((message.term, message.log_term, message.index), (Some(0), Some(0), Some(0)));
    assert_eq!((message.from(), message.to(), message.commit()), (REMOTE.0, LOCAL.0, 5));
}

/// Protocol 6.1: the same ends of a stream are clean as in `io.ReadFull`'s reading.
#[test]
fn streams_end_cleanly_between_fields() {
    let append = |index| Message {
        r#type: Some(MessageType::MsgApp as i32),
        to: Some(LOCAL.0),
        from: Some(REMOTE.0),
        index: Some(index),
        entries: vec![Entry { index: Some(index + 1), ..Entry::default() }],
        ..Message::default()
    };
    // 01 count | length entry(2) | commit, then 02 length message.
    let bytes = encode_all(StreamKind::Msgapp, &[append(0), append(7)], Dialect::V3_7);
    let clean = clean_ends(StreamKind::Msgapp, &bytes);
    assert_eq!(clean, [0, 1, 9, 17, 19, 27, 28, 36, bytes.len()]);
    let bytes = encode_all(StreamKind::Message, &[append(0), append(7)], Dialect::V3_7);
    let frame = bytes.len() / 2;
    assert_eq!(clean_ends(StreamKind::Message, &bytes), [0, 8, frame, frame + 8, 2 * frame]);
}

fn clean_ends(kind: StreamKind, bytes: &[u8]) -> Vec<usize> {
    let is_clean = |&end: &usize| {
        let bytes = Bytes::copy_from_slice(&bytes[..end]);
        let mut decoder = Decoder::new(kind, LOCAL, REMOTE, FrameLimits::default());
        let decoded = decoder.decode(&bytes, &mut Vec::new()).expect("our own frames");
        decoder.ends_cleanly(&bytes[decoded.consumed..])
    };
    (0..=bytes.len()).filter(is_clean).collect()
}

/// What fuzzing knows, on every compiler.
#[test]
fn the_fuzz_corpus_passes() {
    for (target, harness) in
        [("message", fuzzing::message as fn(&[u8])), ("msgappv2", fuzzing::msgappv2 as fn(&[u8]))]
    {
        let folder = format!("{}/tests/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
        let files: Vec<_> = std::fs::read_dir(folder).expect("a corpus").collect();
        assert!(!files.is_empty(), "the corpus of {target} is empty");
        for file in files {
            let path = file.expect("a listing").path();
            println!("{}", path.display());
            harness(&std::fs::read(path).expect("a seed"));
        }
    }
}
