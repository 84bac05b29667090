//! Golden bytes. Every worked example of the protocol reference (6.4 and 7.5) both ways, and the
//! rows of rafthttp's codec tests (section 18).
//!
//! The bytes were copied from the reference, which has them from etcd; none was made by the
//! encoders under test. `A`, `B`, `C` are the reference's names of the dialects.

use Dialect::{V3_4 as A, V3_6 as B, V3_7 as C};
use bytes::Bytes;
use raftring::MemberId;
use raftring::proto::codec::{
    DecodeError, Decoder, Dialect, Encoder, FrameLimits, StreamKind, VecSink, decode_bare_message,
    encode_app_entries, encode_bare_message, message_size,
};
use raftring::raftpb::{
    ConfChange, ConfChangeSingle, ConfChangeV2, ConfState, Entry, HardState, Message, MessageType, Snapshot,
    SnapshotMetadata,
};

/// Hex digits with spaces between them.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn message(kind: MessageType, to: u64, from: u64) -> Message {
    Message { r#type: Some(kind as i32), to: Some(to), from: Some(from), ..Message::default() }
}

fn entry(term: u64, index: u64, data: Option<&'static str>) -> Entry {
    let data = data.map(|data| Bytes::from_static(data.as_bytes()));
    Entry { r#type: None, term: Some(term), index: Some(index), data }
}

fn append(term: u64, log_term: u64, index: u64, entries: Vec<Entry>, commit: u64) -> Message {
    Message {
        term: Some(term),
        log_term: Some(log_term),
        index: Some(index),
        entries,
        commit: Some(commit),
        ..message(MessageType::MsgApp, 2, 1)
    }
}

/// The example of 6.4 and 7.5.3.
fn two_entry_append() -> Message {
    append(3, 3, 10, vec![entry(3, 11, Some("hi")), entry(3, 12, None)], 9)
}

fn fill<T: Default>(value: &mut Option<T>) {
    value.get_or_insert_default();
}

/// `message` as it is after a way through `dialect`: zeros where the dialect writes them.
fn filled(mut message: Message, dialect: Dialect) -> Message {
    if dialect == C {
        return message;
    }
    fill(&mut message.r#type);
    for value in [
        &mut message.to,
        &mut message.from,
        &mut message.term,
        &mut message.log_term,
        &mut message.index,
        &mut message.commit,
        &mut message.reject_hint,
    ] {
        fill(value);
    }
    fill(&mut message.reject);
    for entry in &mut message.entries {
        fill(&mut entry.r#type);
        fill(&mut entry.term);
        fill(&mut entry.index);
    }
    match dialect {
        A => fill(&mut message.snapshot),
        _ => fill(&mut message.vote),
    }
    if let Some(snapshot) = &mut message.snapshot {
        let metadata = snapshot.metadata.get_or_insert_default();
        fill(&mut metadata.index);
        fill(&mut metadata.term);
        fill(&mut metadata.conf_state.get_or_insert_default().auto_leave);
    }
    message
}

/// Name, message, dialect, length in the reference's parentheses, bytes.
type Example = (&'static str, Message, Dialect, usize, &'static str);

/// Section 7.5.
#[rustfmt::skip] // One row a case.
fn worked_examples() -> Vec<Example> {
    let heartbeat = Message {
        term: Some(5), commit: Some(300),
        ..message(MessageType::MsgHeartbeat, 0x8e9e_05c5_2164_694d, 0x91bc_3c39_8fb3_c146)
    };
    let vote = Message {
        term: Some(3), log_term: Some(2), index: Some(4), ..message(MessageType::MsgVote, 2, 1)
    };
    let app = two_entry_append();
    let rejection = Message {
        term: Some(3), log_term: Some(2), index: Some(12), reject: Some(true), reject_hint: Some(10),
        ..message(MessageType::MsgAppResp, 1, 2)
    };
    let snap = Message {
        term: Some(3), snapshot: Some(Box::new(worked_snapshot())), ..message(MessageType::MsgSnap, 2, 1)
    };
    let request = Entry { data: Some(Bytes::from_static(b"\0\0\0\0\0\0\0\x01")), ..Entry::default() };
    let read = Message { entries: vec![request], ..message(MessageType::MsgReadIndex, 1, 2) };
    let context = Message {
        term: Some(1), context: Some(Bytes::new()), ..message(MessageType::MsgHeartbeat, 2, 1)
    };
    vec![
        ("1 heartbeat A", heartbeat.clone(), A, 49, "0808 10cdd2918bd2b881cf8e01 18c682cffd98878fde9101 2005 2800 3000 40ac02 4a0a12080a02280010001800 5000 5800"),
        ("1 heartbeat B", heartbeat.clone(), B, 39, "0808 10cdd2918bd2b881cf8e01 18c682cffd98878fde9101 2005 2800 3000 40ac02 5000 5800 6800"),
        ("1 heartbeat C", heartbeat, C, 29, "0808 10cdd2918bd2b881cf8e01 18c682cffd98878fde9101 2005 40ac02"),
        ("2 vote A", vote.clone(), A, 30, "08051002180120032802300440004a0a12080a0228001000180050005800"),
        ("2 vote B", vote.clone(), B, 20, "0805100218012003280230044000500058006800"),
        ("2 vote C", vote, C, 12, "080510021801200328023004"),
        ("3 append A", app.clone(), A, 50, "08031002180120032803300a 3a0a08001003180b22026869 3a0608001003180c 4009 4a0a12080a02280010001800 5000 5800"),
        ("3 append B", app.clone(), B, 40, "08031002180120032803300a 3a0a08001003180b22026869 3a0608001003180c 4009 5000 5800 6800"),
        ("3 append C", app, C, 30, "08031002180120032803300a 3a081003180b22026869 3a041003180c 4009"),
        ("4 rejection A", rejection.clone(), A, 30, "08041001180220032802300c40004a0a12080a022800100018005001580a"),
        ("4 rejection B", rejection.clone(), B, 20, "08041001180220032802300c40005001580a6800"),
        ("4 rejection C", rejection, C, 16, "08041001180220032802300c5001580a"),
        ("5 snapshot A", snap.clone(), A, 44, "0807100218012003280030004000 4a180a027b7d 12120a0b0801080208ac02 1004 2800 108001 1803 5000 5800"),
        ("5 snapshot B", snap.clone(), B, 46, "0807100218012003280030004000 4a180a027b7d 12120a0b0801080208ac02 1004 2800 108001 1803 5000 5800 6800"),
        ("5 snapshot C", snap, C, 34, "0807100218012003 4a180a027b7d 12120a0b0801080208ac02 1004 2800 108001 1803"),
        ("6 read index A", read.clone(), A, 48, "080f10011802200028003000 3a10080010001800 22080000000000000001 4000 4a0a12080a02280010001800 5000 5800"),
        ("6 read index B", read.clone(), B, 38, "080f10011802200028003000 3a10080010001800 22080000000000000001 4000 5000 5800 6800"),
        ("6 read index C", read, C, 18, "080f10011802 3a0a 22080000000000000001"),
        ("7 empty context A", context, A, 32, "08081002180120012800300040004a0a12080a02280010001800500058006200"),
    ]
}

fn worked_snapshot() -> Snapshot {
    let conf_state = ConfState {
        voters: vec![1, 2, 300],
        learners: vec![4],
        auto_leave: Some(false),
        ..ConfState::default()
    };
    let metadata = SnapshotMetadata { conf_state: Some(conf_state), index: Some(128), term: Some(3) };
    Snapshot { data: Some(Bytes::from_static(b"{}")), metadata: Some(metadata) }
}

#[test]
fn worked_messages_encode_to_the_reference_bytes() {
    for (name, message, dialect, len, expected) in worked_examples() {
        let mut sink = VecSink::default();
        let size = encode_bare_message(&message, dialect, &mut sink);
        assert_eq!(sink.bytes, hex(expected), "{name}");
        assert_eq!((size, message_size(&message, dialect)), (len, len), "{name}");
    }
}

#[test]
fn worked_messages_decode_from_the_reference_bytes() {
    for (name, message, dialect, _, bytes) in worked_examples() {
        let decoded = decode_bare_message(&hex(bytes).into(), &FrameLimits::default());
        assert_eq!(decoded, Ok(filled(message, dialect)), "{name}");
    }
}

fn check_small<M: prost::Message + Default + PartialEq + std::fmt::Debug>(name: &str, value: M, bytes: &str) {
    assert_eq!(value.encode_to_vec(), hex(bytes), "{name}");
    assert_eq!(M::decode(&*hex(bytes)), Ok(value), "{name}");
}

/// The small values of 7.5, as the generated types have them.
#[test]
fn small_values_are_the_reference_bytes() {
    let zero = Entry { r#type: Some(0), ..entry(0, 0, None) };
    check_small("entry, all zero", zero.clone(), "080010001800");
    check_small("entry, empty data", Entry { data: Some(Bytes::new()), ..zero }, "0800100018002200");
    check_small("entry", Entry { r#type: Some(0), ..entry(3, 11, Some("hi")) }, "08001003180b22026869");
    check_small("conf state", ConfState { auto_leave: Some(false), ..ConfState::default() }, "2800");
    check_small("hard state", HardState { term: Some(5), vote: Some(0), commit: Some(7) }, "080510001807");
    let context = Some(Bytes::from_static(b"x"));
    let mut change = ConfChange { id: Some(0), r#type: Some(0), node_id: Some(2), context };
    check_small("conf change", change.clone(), "080010001802220178");
    change.id = None;
    check_small("conf change C", change, "10001802220178");
    let remove = ConfChangeSingle { r#type: Some(1), node_id: Some(3) };
    let mut change = ConfChangeV2 { transition: Some(0), changes: vec![remove], context: None };
    check_small("conf change v2", change.clone(), "0800120408011003");
    change.changes.clear();
    check_small("conf change v2, all zero", change, "0800");
}

/// The entries of 7.5, cut out of an AppEntries frame (17 bytes before, 8 behind).
#[test]
fn small_entries_encode_to_the_reference_bytes() {
    let empty = Entry { data: Some(Bytes::new()), ..Entry::default() };
    for (name, entry, expected) in [
        ("all zero", Entry::default(), "080010001800"),
        ("empty data", empty, "0800100018002200"),
        ("hi", entry(3, 11, Some("hi")), "08001003180b22026869"),
    ] {
        for dialect in [A, B] {
            let mut sink = VecSink::default();
            encode_app_entries(std::slice::from_ref(&entry), 0, dialect, &mut sink);
            assert_eq!(sink.bytes[17..sink.bytes.len() - 8], hex(expected), "{name} {dialect:?}");
        }
    }
}

/// One frame: name, message, its bytes in dialects A, B and C.
type Frame = (&'static str, Message, [&'static str; 3]);

/// The connection of 6.4, in order.
#[rustfmt::skip] // One row a case.
fn msgappv2_frames() -> Vec<Frame> {
    vec![
        ("first append", two_entry_append(), [
            "02 0000000000000032 08031002180120032803300a3a0a08001003180b220268693a0608001003180c40094a0a12080a0228001000180050005800",
            "02 0000000000000028 08031002180120032803300a3a0a08001003180b220268693a0608001003180c4009500058006800",
            "02 000000000000001e 08031002180120032803300a3a081003180b220268693a041003180c4009",
        ]),
        ("consecutive append", append(3, 3, 12, vec![entry(3, 13, Some("x"))], 12), [
            "01 0000000000000001 0000000000000009 08001003180d220178 000000000000000c",
            "01 0000000000000001 0000000000000009 08001003180d220178 000000000000000c",
            "01 0000000000000001 0000000000000007 1003180d220178     000000000000000c",
        ]),
        ("empty append", append(3, 3, 13, vec![], 13), ["01 0000000000000000 000000000000000d"; 3]),
        ("link heartbeat", Message::link_heartbeat(), ["00"; 3]),
    ]
}

fn link_heartbeat_frames() -> Vec<Frame> {
    let bytes = [
        "000000000000001e 0808100018002000280030004000 4a0a 12080a0228001000180050005800",
        "0000000000000014 0808100018002000280030004000500058006800",
        "0000000000000002 0808",
    ];
    vec![("link heartbeat", Message::link_heartbeat(), bytes)]
}

fn check_frames(kind: StreamKind, frames: &[Frame]) {
    for (n, dialect) in [A, B, C].into_iter().enumerate() {
        let mut encoder = Encoder::new(kind, MemberId(1), MemberId(2), dialect);
        let mut decoder = Decoder::new(kind, MemberId(2), MemberId(1), FrameLimits::default());
        for (name, message, bytes) in frames {
            let name = format!("{name} {dialect:?}");
            let bytes = hex(bytes[n]);
            let mut sink = VecSink::default();
            let size = encoder.encode(message, &mut sink);
            assert_eq!(sink.bytes, bytes, "{name}");
            assert_eq!(size, message_size(message, dialect), "{name}");
            check_decode(&name, &mut decoder, bytes, message, dialect);
        }
    }
}

fn check_decode(name: &str, decoder: &mut Decoder, bytes: Vec<u8>, message: &Message, dialect: Dialect) {
    let mut out = Vec::new();
    let (len, made_up_head) = (bytes.len(), bytes[0] == 1);
    let decoded = decoder.decode(&bytes.into(), &mut out).expect(name);
    assert_eq!(decoded.consumed, len, "{name}");
    if message.is_link_heartbeat() {
        assert_eq!((decoded.link_heartbeats, out.len()), (1, 0), "{name}");
    } else if made_up_head {
        // Only the entries came in their dialect.
        let entries = filled(message.clone(), dialect).entries;
        assert_eq!(out, [Message { entries, ..message.clone() }], "{name}");
    } else {
        assert_eq!(out, [filled(message.clone(), dialect)], "{name}");
    }
}

#[test]
fn the_connection_of_the_reference_goes_both_ways() {
    check_frames(StreamKind::Msgapp, &msgappv2_frames());
}

#[test]
fn link_heartbeats_of_the_reference_go_both_ways() {
    check_frames(StreamKind::Message, &link_heartbeat_frames());
}

/// rafthttp's TestMsgAppV2: one connection, each message comes out as it went in.
#[test]
fn test_msg_app_v2() {
    let data = Some("some data");
    let append = |term, log_term, index, entries| append(term, log_term, index, entries, 0);
    let three = vec![entry(1, 1, data), entry(1, 2, data), entry(1, 3, data)];
    let rows = [
        ("link heartbeat", 0, Message::link_heartbeat()),
        ("first append", 2, append(1, 1, 0, three)),
        ("consecutive append", 1, append(1, 1, 3, vec![entry(1, 4, data)])),
        ("heartbeat in between", 0, Message::link_heartbeat()),
        ("consecutive append after heartbeat", 1, append(1, 1, 4, vec![entry(1, 5, data)])),
        ("higher term", 2, append(3, 1, 5, vec![entry(3, 6, data)])),
        ("heartbeat", 0, Message::link_heartbeat()),
        ("logTerm different from term", 2, append(3, 2, 6, vec![entry(3, 7, data)])),
        ("consecutive empty append", 2, append(3, 2, 7, vec![])),
        ("last heartbeat", 0, Message::link_heartbeat()),
    ];
    let mut encoder = Encoder::new(StreamKind::Msgapp, MemberId(1), MemberId(2), C);
    let mut decoder = Decoder::new(StreamKind::Msgapp, MemberId(2), MemberId(1), FrameLimits::default());
    for (name, frame_type, message) in rows {
        let mut sink = VecSink::default();
        encoder.encode(&message, &mut sink);
        assert_eq!(sink.bytes[0], frame_type, "{name}");
        check_decode(name, &mut decoder, sink.bytes, &message, C);
    }
}

/// rafthttp's TestMessage, with a small limit as there.
#[test]
fn test_message() {
    const LIMIT: usize = 1000;
    let data = |text: Vec<u8>| Entry { data: Some(text.into()), ..Entry::default() };
    let proposal = |entries| Message { entries, ..message(MessageType::MsgProp, 2, 1) };
    let big = proposal(vec![data(vec![b'a'; LIMIT + 10])]);
    let len = message_size(&big, C) as u64;
    let rows = [
        ("append", append(1, 1, 3, vec![entry(1, 4, None)], 0), None),
        ("three entries", proposal(vec![data(b"some data".to_vec()); 3]), None),
        ("over the limit", big, Some(DecodeError::FrameOverLimit { len, max: LIMIT })),
    ];
    let limits = FrameLimits { frame_bytes_max: LIMIT, ..FrameLimits::default() };
    for (name, message, error) in rows {
        let mut encoder = Encoder::new(StreamKind::Message, MemberId(1), MemberId(2), C);
        let mut decoder = Decoder::new(StreamKind::Message, MemberId(2), MemberId(1), limits);
        let mut sink = VecSink::default();
        encoder.encode(&message, &mut sink);
        let Some(error) = error else {
            check_decode(name, &mut decoder, sink.bytes, &message, C);
            continue;
        };
        assert_eq!(decoder.decode(&sink.bytes.into(), &mut Vec::new()), Err(error.clone()), "{name}");
        assert_eq!(error.to_string(), "rafthttp: error limit exceeded");
    }
}
