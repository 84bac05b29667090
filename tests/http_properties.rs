//! Properties of heads and bodies over all inputs that chance thinks of.
//!
//! Method: a head or a body is taken apart at every place, or at places drawn at random, and must
//! mean what it means in one piece. The harnesses are those of the fuzz targets, so whatever either
//! finds is reproduced by the other; their corpus runs here as an ordinary test.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use raftring::proto::http::body::{BodyDecoder, BodyState, Marks};
use raftring::proto::http::fuzzing::{self, ChunkedEnd, chunked_in_place};
use raftring::proto::http::head::Framing;
use raftring::proto::http::{CHUNK_HEADER_BYTES, CHUNK_TRAILER, LAST_CHUNK, write_chunk_header};

/// A chunked body of these chunks, as our own writer frames it.
fn framed(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = Vec::new();
    for chunk in chunks {
        let mut header = [0; CHUNK_HEADER_BYTES];
        write_chunk_header(&mut header, chunk.len() as u32);
        wire.extend_from_slice(&header);
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(CHUNK_TRAILER);
    }
    wire.extend_from_slice(LAST_CHUNK);
    wire
}

/// Bytes that are nearly HTTP: what chance alone never makes.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "GET ",
        "POST ",
        "HTTP/1.1 ",
        "HTTP/1.0 ",
        "200 OK",
        "410 Gone",
        "412 x",
        "/raft",
        "/raft/stream/message/2",
        " HTTP/1.1",
        "\r\n",
        "\r\n",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        ": ",
        ":",
        " ",
        "\t",
        "\0",
        "Host: a\r\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "Expect: x\r\n",
        "X-Raft-To: 1\r\n",
        "X-Etcd-Cluster-Id: 1a2b\r\n",
        "X-Server-Version: 3.5.0\r\n",
        "X-Server-Version: 3\r\n",
        "X-Peerurls: http://a:1,\r\n",
        "X-Server-From: 7\r\n",
        "\u{e9}",
        "a",
    ]);
    vec(piece, 0..16).prop_map(|pieces| pieces.concat().into_bytes())
}

/// Bytes that are nearly chunks.
fn nearly_chunks() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "\r\n",
        "\r\n",
        "\r\n",
        "1\r\nx\r\n",
        "3\r\nabc\r\n",
        "0",
        "00000003",
        "a",
        "F",
        ";",
        " ",
        "\r",
        "\n",
        "0\r\n\r\n",
        "10000000000",
        "x",
        "0000000000000001\r\ny\r\n",
    ]);
    vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn a_chunked_body_is_its_payload_however_it_is_split(
        chunks in vec(vec(any::<u8>(), 1..200), 0..20),
        read in 1_usize..300,
        consume in 0_usize..300,
        after in vec(any::<u8>(), 0..20),
    ) {
        let mut wire = framed(&chunks);
        wire.extend_from_slice(&after);
        let (payload, end) = chunked_in_place(&wire, read, consume);
        prop_assert_eq!(payload, chunks.concat());
        prop_assert_eq!(end, ChunkedEnd::Ended(after.len()));
    }

    #[test]
    fn the_decoder_agrees_with_the_obvious_one(
        read in any::<u8>(), consume in any::<u8>(), wire in nearly_chunks(),
    ) {
        fuzzing::chunked(&[&[read, consume], wire.as_slice()].concat());
    }

    #[test]
    fn a_head_split_anywhere_is_the_head_in_one_piece(control in any::<u8>(), wire in nearly_http()) {
        fuzzing::head(&[&[control], wire.as_slice()].concat());
    }

    #[test]
    fn no_bytes_panic(data in vec(any::<u8>(), 0..300)) {
        fuzzing::head(&data);
        fuzzing::chunked(&data);
    }

    #[test]
    fn a_body_of_known_length_ends_there(
        body in vec(any::<u8>(), 0..100), after in vec(any::<u8>(), 0..10), read in 1_usize..120,
    ) {
        let wire = [body.as_slice(), &after].concat();
        let mut decoder = BodyDecoder::new(Framing::Length(body.len() as u64));
        let (mut buf, mut marks) = (wire.clone(), Marks::default());
        while decoder.state() == BodyState::Open {
            marks.filled = wire.len().min(marks.filled + read);
            decoder.advance(&mut buf, &mut marks).expect("no framing, no error");
        }
        prop_assert_eq!(&buf[marks.start..marks.end], body.as_slice());
        prop_assert_eq!(decoder.moved_bytes(), 0);
    }
}

#[test]
fn a_body_may_be_split_between_any_two_bytes() {
    let chunks = [b"a".to_vec(), b"hello".to_vec(), vec![7; 40]];
    let wire = framed(&chunks);
    for split in 1..wire.len() {
        for consume in [0, 1, 3, 100] {
            // Two reads: the first as long as `split`, the second at least as long as the rest.
            let (payload, end) = chunked_in_place(&wire, split, consume);
            assert_eq!((payload, end), (chunks.concat(), ChunkedEnd::Ended(0)), "{split} {consume}");
        }
    }
}

/// A frame of many megabytes that comes in one-byte chunks while nothing of it can be decoded:
/// whatever moves, moves once.
#[test]
fn many_tiny_chunks_behind_a_large_part_are_linear_work() {
    const LARGE: usize = 4 << 20;
    const TINY: usize = 200_000;
    let mut wire = framed(&[vec![1; LARGE]]);
    wire.truncate(wire.len() - LAST_CHUNK.len());
    wire.extend_from_slice(&b"00000001\r\nx\r\n".repeat(TINY));
    for read in [13, 4096, 64 << 10, wire.len()] {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let (mut buf, mut marks) = (vec![0; wire.len()], Marks::default());
        for piece in wire.chunks(read) {
            buf[marks.filled..marks.filled + piece.len()].copy_from_slice(piece);
            marks.filled += piece.len();
            assert_eq!(decoder.advance(&mut buf, &mut marks), Ok(BodyState::Open));
        }
        assert_eq!(marks.end - marks.start, LARGE + TINY);
        assert!(decoder.moved_bytes() <= TINY as u64, "{} by reads of {read}", decoder.moved_bytes());
    }
}

/// A large chunk behind a short undecoded part moves the short part.
#[test]
fn a_large_chunk_behind_a_small_part_stays_where_it_came() {
    let wire = framed(&[vec![1; 10], vec![2; 60_000]]);
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let (mut buf, mut marks) = (wire.clone(), Marks { filled: wire.len(), ..Marks::default() });
    assert_eq!(decoder.advance(&mut buf, &mut marks), Ok(BodyState::Ended));
    assert_eq!((decoder.moved_bytes(), marks.end - marks.start), (10, 60_010));
}

#[test]
fn the_corpus_of_the_fuzz_targets_breaks_no_promise() {
    run_corpus("head", fuzzing::head);
    run_corpus("chunked", fuzzing::chunked);
}

fn run_corpus(target: &str, harness: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut seeds = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        harness(&std::fs::read(entry.expect("readable").path()).expect("readable"));
        seeds += 1;
    }
    assert!(seeds >= 8, "{target} has {seeds} seeds");
}

/// Reads of the sizes that a socket gives, over a body as Go's server writes it.
#[test]
fn go_sized_chunks_are_decoded_as_well() {
    let mut wire = Vec::new();
    for i in 0..200_usize {
        let len = 1 + (i * 37) % 2048;
        wire.extend_from_slice(format!("{len:x}\r\n").as_bytes());
        wire.extend_from_slice(&vec![i as u8; len]);
        wire.extend_from_slice(CHUNK_TRAILER);
    }
    wire.extend_from_slice(LAST_CHUNK);
    for read in [1, 7, 1448, 65_536] {
        let (payload, end) = chunked_in_place(&wire, read, 500);
        assert_eq!((payload, end), fuzzing::chunked_reference(&wire));
        assert_eq!(end, ChunkedEnd::Ended(0));
    }
}
