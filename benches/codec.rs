//! The codec against prost: nanoseconds a frame, one core, everything in cache.
//!
//! `cargo bench --bench codec` measures; under `cargo test --benches` each case runs a few times, so
//! that the bench cannot rot. Every case prints a checksum of its work.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use raftring::MemberId;
use raftring::proto::codec::{
    Decoder, Dialect, Encoder, FrameLimits, Sink, StreamKind, VecSink, encode_app_entries,
};
use raftring::raftpb::{Entry, Message, MessageType};

/// Rounds of a case, of which the fastest counts: neighbours on the machine only ever add.
const ROUNDS: usize = 15;

/// A block that is overwritten from its front by every frame, as a pooled block is.
struct BlockSink {
    bytes: Box<[u8]>,
    len: usize,
}

impl Sink for BlockSink {
    #[inline]
    fn spare(&mut self, _: usize) -> &mut [u8] {
        &mut self.bytes[self.len..]
    }

    #[inline]
    fn commit(&mut self, count: usize) {
        self.len += count;
    }

    #[inline]
    fn put_slice(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

fn entries(count: u64, size: usize) -> Vec<Entry> {
    (1..=count)
        .map(|n| Entry {
            r#type: Some(0),
            term: Some(7),
            index: Some(1_000_000 + n),
            data: Some(vec![n as u8; size].into()),
        })
        .collect()
}

fn append(entries: Vec<Entry>) -> Message {
    Message {
        r#type: Some(MessageType::MsgApp as i32),
        to: Some(0x8e9e_05c5_2164_694d),
        from: Some(0x91bc_3c39_8fb3_c146),
        term: Some(7),
        log_term: Some(7),
        index: Some(1_000_000),
        entries,
        commit: Some(999_990),
        ..Message::default()
    }
}

fn heartbeat_response() -> Message {
    Message {
        r#type: Some(MessageType::MsgHeartbeatResp as i32),
        to: Some(0x8e9e_05c5_2164_694d),
        from: Some(0x91bc_3c39_8fb3_c146),
        term: Some(7),
        ..Message::default()
    }
}

/// True if the name has the words given on the command line, if any.
fn is_wanted(name: &str) -> bool {
    std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).all(|word| name.contains(&word))
}

/// Runs `work` in rounds of about `round`, prints the best time of one call.
fn measure(name: &str, quick: bool, mut work: impl FnMut() -> usize) {
    if !is_wanted(name) {
        return;
    }
    let mut sum = work();
    let (rounds, round) = if quick { (1, Duration::ZERO) } else { (ROUNDS, Duration::from_millis(15)) };
    let mut best = f64::MAX;
    for _ in 0..rounds {
        let start = Instant::now();
        let mut calls = 0u32;
        while calls == 0 || start.elapsed() < round {
            for _ in 0..256 {
                sum = sum.wrapping_add(black_box(work()));
            }
            calls += 256;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    println!("{name:<44} {best:>9.1} ns   ({:x})", sum % 0xffff);
}

fn encode_cases(name: &str, message: &Message, quick: bool) {
    let mut sink = BlockSink { bytes: vec![0; 64 << 10].into(), len: 0 };
    measure(&format!("encode AppEntries {name}"), quick, || {
        sink.len = 0;
        let message = black_box(message);
        encode_app_entries(&message.entries, message.commit(), Dialect::Full, &mut sink) + sink.len
    });
    let ids = (MemberId(message.from()), MemberId(message.to()));
    let primed = {
        let mut encoder = Encoder::new(StreamKind::Msgapp, ids.0, ids.1, Dialect::Full);
        encoder.encode(&Message { entries: vec![], ..message.clone() }, &mut VecSink::default());
        encoder
    };
    measure(&format!("encode msgapp stream {name}"), quick, || {
        sink.len = 0;
        primed.clone().encode(black_box(message), &mut sink) + sink.len
    });
    let mut buffer = BytesMut::with_capacity(64 << 10);
    measure(&format!("prost, the same entries {name}"), quick, || {
        buffer.clear();
        let message = black_box(message);
        buffer.put_u8(1);
        buffer.put_u64(message.entries.len() as u64);
        for entry in &message.entries {
            buffer.put_u64(entry.encoded_len() as u64);
            entry.encode_raw(&mut buffer);
        }
        buffer.put_u64(message.commit());
        buffer.len()
    });
}

fn decode_cases(name: &str, message: &Message, quick: bool) {
    // Many frames in one block, as a busy reader finds them.
    let mut sink = VecSink::default();
    let frames = 65_536 / (message.payload_bytes() + 100);
    for _ in 0..frames {
        encode_app_entries(&message.entries, message.commit(), Dialect::Full, &mut sink);
    }
    let bytes = Bytes::from(sink.bytes);
    let fresh = Decoder::new(StreamKind::Msgapp, MemberId(1), MemberId(2), FrameLimits::default());
    let mut out = Vec::with_capacity(frames);
    measure_many(&format!("decode AppEntries {name}"), frames, quick, || {
        let mut decoder = fresh.clone();
        let decoded = decoder.decode(black_box(&bytes), &mut out).expect("our own frames");
        out.clear();
        decoded.consumed
    });
    let mut out: Vec<Message> = Vec::with_capacity(frames);
    measure_many(&format!("prost, the same entries {name}"), frames, quick, || {
        let mut at = 0;
        while at < bytes.len() {
            let count = integer(&bytes[at + 1..]);
            at += 9;
            let mut entries = Vec::with_capacity(count);
            for _ in 0..count {
                let len = integer(&bytes[at..]);
                entries.push(Entry::decode(bytes.slice(at + 8..at + 8 + len)).expect("our own"));
                at += 8 + len;
            }
            out.push(Message { entries, ..Message::default() });
            at += 8;
        }
        out.clear();
        at
    });
}

fn integer(bytes: &[u8]) -> usize {
    bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes) as usize)
}

fn small_cases(quick: bool) {
    let message = heartbeat_response();
    let mut sink = BlockSink { bytes: vec![0; 4 << 10].into(), len: 0 };
    let mut encoder = Encoder::new(StreamKind::Message, MemberId(1), MemberId(2), Dialect::Full);
    measure("encode MsgHeartbeatResp", quick, || {
        sink.len = 0;
        encoder.encode(black_box(&message), &mut sink)
    });
    let mut buffer = BytesMut::with_capacity(4 << 10);
    measure("prost, the same message", quick, || {
        buffer.clear();
        let message = black_box(&message);
        buffer.put_u64(message.encoded_len() as u64);
        message.encode_raw(&mut buffer);
        buffer.len()
    });
    let mut many = VecSink::default();
    for _ in 0..1000 {
        encoder.encode(&message, &mut many);
    }
    let bytes = Bytes::from(many.bytes);
    let mut decoder = Decoder::new(StreamKind::Message, MemberId(1), MemberId(2), FrameLimits::default());
    let mut out = Vec::with_capacity(1000);
    measure_many("decode MsgHeartbeatResp", 1000, quick, || {
        let decoded = decoder.decode(black_box(&bytes), &mut out).expect("our own frames");
        out.clear();
        decoded.consumed
    });
    let mut out: Vec<Message> = Vec::with_capacity(1000);
    measure_many("prost, the same message", 1000, quick, || {
        let mut at = 0;
        while at < bytes.len() {
            let len = integer(&bytes[at..]);
            out.push(Message::decode(bytes.slice(at + 8..at + 8 + len)).expect("our own"));
            at += 8 + len;
        }
        out.clear();
        at
    });
}

/// As [`measure`] for work that does `frames` at a time; prints the time of one of them.
fn measure_many(name: &str, frames: usize, quick: bool, mut work: impl FnMut() -> usize) {
    if !is_wanted(name) {
        return;
    }
    let rounds = if quick { 1 } else { 40 };
    let (mut best, mut sum) = (f64::MAX, 0usize);
    for _ in 0..rounds {
        let start = Instant::now();
        for _ in 0..8 {
            sum = sum.wrapping_add(work());
        }
        best = best.min(start.elapsed().as_nanos() as f64 / (8 * frames) as f64);
    }
    println!("{name:<44} {best:>9.1} ns   ({:x})", sum % 0xffff);
}

fn main() {
    // `cargo bench` says so; `cargo test --benches` does not.
    let quick = !std::env::args().any(|arg| arg == "--bench");
    for (name, count, size) in [("1 x 64 B", 1, 64), ("64 x 128 B", 64, 128)] {
        let message = append(entries(count, size));
        encode_cases(name, &message, quick);
        decode_cases(name, &message, quick);
    }
    small_cases(quick);
}
